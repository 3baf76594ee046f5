"""Train a first-spike network on MNIST-like images, by STDP and reward-modulated STDP: ``python train.py --help``."""

import os
import signal
import sys

if __name__ == "__main__":  # Ctrl-C while modules are imported, some of which would catch a KeyboardInterrupt
    interrupt = signal.signal(signal.SIGINT, lambda *_: os._exit(130))

import gc
from dataclasses import replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))  # python -I and -P leave it out

from errors import InputError, check_environment, print_output, run_program

if __name__ == "__main__":
    check_environment()
    gc.disable()  # no imported module is garbage, and a search among them takes a quarter of the start

import engine  # noqa: F401  before torch, see engine/__init__.py

# isort: split
from encoders import get_encoder_config
from models import model_class
from network_trainer import Progress
from report.summary import list_models
from training.checkpoint import find_checkpoint, load_checkpoint, rebuild_network
from training.data import Data, load_data
from training.initial import continue_from, describe_phases, initialize_from
from training.log import replace_unprintable
from training.plan import check_run, describe, prepare_machine, resolve
from training.run import Run, is_finished, lengthen, read_epochs
from training.settings import NOTHING, ROUNDING, TrainSettings, to_text
from training.stopping import Stopped, offer_resume
from utils import (
    create_run_folder,
    describe_environment,
    find_run,
    find_temporaries,
    lock_folder,
    to_folder_name,
    write_json,
    write_text,
)


def main(argv: list[str] | None = None) -> int:
    """Run a command line (default: ``sys.argv``). Returns the exit code."""
    replace_unprintable()
    return run_program("train.py", execute, argv)


def execute(words: list[str]) -> int | None:
    """Execute the command that the words of a command line name. Returns the exit code if a signal stopped it."""
    commands = {"train": train, "resume": resume, "summary": print_summary, "list_models": print_models}
    settings = TrainSettings.parse(words)
    try:
        commands[settings.command](settings)
    except Stopped as stopped:
        return stopped.code


def print_models(settings: TrainSettings) -> None:
    print_output(list_models())


def print_summary(settings: TrainSettings) -> None:
    data = load_data(settings)
    _, _, model = resolve(settings, data)
    print_output(describe(model, data, settings))


def train(settings: TrainSettings) -> None:
    """Train a new network. All settings are checked before the run's folder is created."""
    device = prepare_machine(settings)
    model_class(settings.model)  # an unknown name is refused before the data are read
    settings = replace(settings, dataset=settings.dataset or "mnist", device=str(device))
    data = Data(settings)
    settings, encoder, model = resolve(settings, data.set, device)
    check_run(model, data, settings)
    summary = describe(model, data.set, settings)
    if encoder.fitted and not settings.init_from:  # which takes the fitted encoder of the checkpoint
        encoder.fit(data.set.train_images[data.train])
    origin = {}
    notes = []
    progress = Progress()
    if settings.init_from:
        checkpoint = find_checkpoint(settings.init_from, settings.output)
        origin["init_from"], notes = initialize_from(checkpoint, model, encoder, data)
    if settings.continue_from:
        checkpoint = find_run(settings.continue_from, settings.output) / "checkpoints" / "last.safetensors"
        phases = describe_phases(model, encoder, settings, data.set.fingerprint)
        progress, origin["continue_from"], note = continue_from(checkpoint, model, phases)
        notes.append(note)
    if not data.set.colours and model.augmentation != "none":
        notes.append(f"without the moved copies of {model.name} ({model.augmentation}), because events are not moved")
    default_name = f"{model.name}-{to_folder_name(data.set.name)}-seed{settings.seed}"
    if settings.dry_run:
        default_name += "-dry"
    folder = create_run_folder(settings.output, default_name, settings.name)
    (folder / "checkpoints").mkdir()
    record = {"command_line": settings.command_line, "flags": settings.to_dict(), **origin, **describe_environment()}
    write_json(folder / "args.json", record)
    write_text(folder / "summary.txt", summary + "\n")
    with lock_folder(folder), offer_resume(folder):
        run = Run(settings, folder, model, encoder, data, progress, notes)
        run.save()  # from now on, the run can be resumed
        run.train()


def resume(settings: TrainSettings) -> None:
    """Continue an interrupted run in its own folder with its own settings, or train more epochs of its last phase."""
    folder = find_run(settings.resume, settings.output)
    path = folder / "checkpoints" / "last.safetensors"
    content = load_checkpoint(path)
    if content.progress is None or not content.run:
        raise InputError(f"{path} contains a network without a training run, so it cannot be continued")
    encoder = content.build_encoder()
    progress = content.progress
    names = {"encoder": get_encoder_config(encoder)["name"], "model": model_class(content.model).name}
    trained = TrainSettings.from_dict({**content.run["flags"], **names})
    wanted = read_epochs(folder / "args.json")
    if "epochs" not in settings.given and wanted and is_longer(wanted, trained.epochs):  # killed before the first save
        settings = replace(settings, epochs=wanted, given=settings.given | {"epochs"})
    saved, longer = apply_changes(trained, settings)
    done = progress.phase == len(saved.epochs)
    if done and not longer and is_finished(folder, saved.figures, saved.epochs):
        epochs = to_text((*saved.epochs[:-1], saved.epochs[-1] + 1))
        print_output(
            f"{folder} is finished; to train it longer, add --epochs with a larger last number: --epochs {epochs}"
        )
        return
    if done and longer and 0 < saved.patience <= progress.epochs_since_best:
        raise InputError(f"{folder} was stopped by --patience {saved.patience}, not by --epochs")
    device = prepare_machine(saved)
    model = rebuild_network(content, device, saved.backend)
    if saved.until and model.find_phase(saved.until) < progress.phase and not longer:
        print_output(f"{folder} has finished {saved.until}")
        return
    data = Data(saved)
    before = content.run["fingerprint"]
    if before != data.set.fingerprint:
        raise InputError(
            f"{data.set.name} has changed since the run began (its fingerprint was {before} and is now "
            f"{data.set.fingerprint}); restore the images, or begin a new run",
        )
    with lock_folder(folder), offer_resume(folder):
        if longer:
            lengthen(folder, saved.epochs)
        for left in find_temporaries(folder):
            left.unlink()
        if longer and done:
            progress.phase -= 1
            progress.epoch = trained.epochs[-1]
        Run(replace(saved, device=str(device)), folder, model, encoder, data, progress).train(is_resumed=True)


def apply_changes(saved: TrainSettings, settings: TrainSettings) -> tuple[TrainSettings, bool]:
    """Return a run's settings with the changes of the command line, and whether the last phase has more epochs.

    Raises InputError for a change that would lead to other weights or other files.
    """
    ignored = {"resume", "config", "until", "traceback"}
    if settings.resume == "latest":
        ignored.add("output")
    given = {name: getattr(settings, name) for name in settings.given - ignored}
    if "model" in given:
        given["model"] = model_class(given["model"]).name
    longer = "epochs" in given and is_longer(given["epochs"], saved.epochs)
    free = {*saved.names(ROUNDING, NOTHING)}
    if longer:
        free.add("epochs")
    for name in sorted(given.keys() - free):
        before = getattr(saved, name)
        if given[name] != before:
            change = f"{to_text(given[name])} would change the run, which has {to_text(before)}"
            advice = "restore the file" if name == "plugin" else "leave it out"
            settings.refuse(name, f"{change}; {advice}")
    changes = {name: given[name] for name in given.keys() & free}
    return replace(saved, until=settings.until, **changes), longer


def is_longer(epochs: tuple[int, ...], before: tuple[int, ...]) -> bool:
    """Return whether only the last number of epochs differs, and is larger."""
    return len(epochs) == len(before) and epochs[:-1] == before[:-1] and epochs[-1:] > before[-1:]


if __name__ == "__main__":
    gc.freeze()
    gc.enable()
    signal.signal(signal.SIGINT, interrupt)
    sys.exit(main())
