"""Train a first-spike network on MNIST-like images, by STDP and reward-modulated STDP: ``python train.py --help``."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))  # python -I and -P leave it out

from errors import InputError, command_line, prepare_start, print_output

if __name__ == "__main__":
    prepare_start()

import engine  # noqa: F401  before torch, see engine/__init__.py

# isort: split
from dataclasses import replace

from models import model_class
from network_trainer import Progress
from report.formats import FORMAT
from report.run_folder import RunFolder, find_checkpoint, find_run
from report.summary import list_models
from training.checkpoint import load_run, rebuild_network
from training.initial import continue_from, find_shared, initialize_from, take_over
from training.plan import Plan, describe, load_data, make_plan, prepare_machine, resolve
from training.run import Run
from training.settings import EPOCH_FILES, NOTHING, ROUNDING, TrainSettings, to_text
from training.stopping import Stopped, offer_resume
from utils import (
    claim_folder,
    describe_environment,
    find_temporaries,
    lock_folder,
    put_in_place,
    to_folder_name,
    write_json,
    write_text,
)


@command_line
def main(words: list[str]) -> int | None:
    """Train, resume or print, as the words of a command line request. Returns the exit code if a signal stopped it."""
    settings = TrainSettings.parse(words)
    try:
        if settings.list_models:
            print_output(list_models())
        elif settings.summary:
            print_summary(settings)
        elif settings.resume:
            resume(settings)
        else:
            train(settings)
    except Stopped as stopped:
        return stopped.code


def print_summary(settings: TrainSettings) -> None:
    data = load_data(settings)
    _, _, model = resolve(settings, data)
    print_output(describe(model, data, settings))


def train(settings: TrainSettings) -> None:
    """Train a new network. All settings are checked before the run's folder is created."""
    device = prepare_machine(settings)
    model_class(settings.model)  # an unknown name is refused before the data are read
    data = load_data(settings)
    settings, encoder, model = resolve(settings, data, device)
    plan = make_plan(settings, data, encoder, model)
    summary = describe(model, data, settings)
    if encoder.fitted and not settings.init_from:  # which takes the fitted encoder of the checkpoint
        encoder = encoder.with_state(encoder.fit(data.train_images[plan.data.splits["train"]]))
    origin = {}
    notes = []
    progress = Progress()
    code = {}
    if settings.init_from:
        checkpoint = find_checkpoint(settings.init_from, settings.output)
        encoder, origin["init_from"], notes = initialize_from(checkpoint, plan)
    plan = replace(plan, encoder=encoder)
    if settings.continue_from:
        path = RunFolder(find_run(settings.continue_from, settings.output)).last
        checkpoint, count, lines = continue_from(path, plan)
        progress = take_over(checkpoint, model, count)
        origin["continue_from"] = {"checkpoint": str(path), "phases": [phase.name for phase in model.phases[:count]]}
        code = checkpoint.run["code"]
        notes += lines
    if not data.colours and model.augmentation:
        notes.append(f"without the moved copies of {model.name} ({model.augmentation}), because events are not moved")
    name = f"{model.name}-{to_folder_name(data.name)}-seed{settings.seed}{'-dry' * settings.dry_run}"
    shared = share_phases(settings, plan)
    record = {"format": FORMAT, "command_line": settings.command_line, "flags": settings.to_dict()}
    record |= {**origin, **describe_environment()}
    with claim_folder(settings.output, name, settings.name) as folder:
        (folder / "checkpoints").mkdir()
        write_json(folder / "args.json", record)
        write_text(folder / "summary.txt", summary + "\n")
        run = Run(plan, folder, progress, notes, shared, code)
        run.save()
        run.folder = put_in_place(folder)  # from now on, the run can be resumed
        with offer_resume(run.folder):
            run.train()


def share_phases(settings: TrainSettings, plan: Plan) -> list[Path]:
    """Return the places of phases in the folder ``--shared-phases``.

    Phases are not shared if the run writes files after each epoch, or if it begins with the weights of another run.
    Raises InputError if there cannot be such a folder.
    """
    if settings.shared_phases is None or settings.init_from or any(settings.select(EPOCH_FILES).values()):
        return []
    try:
        Path(settings.shared_phases).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        settings.refuse("shared_phases", f"cannot be the folder {settings.shared_phases}: {error.strerror}")
    return find_shared(settings.shared_phases, plan.phases)


def resume(settings: TrainSettings) -> None:
    """Continue an interrupted run in its own folder with its own settings, or train more epochs of its last phase."""
    run = RunFolder(find_run(settings.resume, settings.output))
    content = load_run(run.last)
    progress = content.progress
    trained = TrainSettings.from_dict(content.run["flags"])
    wanted = run.epochs
    if "epochs" not in settings.given and wanted and is_longer(wanted, trained.epochs):  # killed before the first save
        settings = replace(settings, epochs=wanted, given=settings.given | {"epochs"})
    saved, longer = apply_changes(trained, settings)
    done = progress.phase == len(saved.epochs)
    if done and not longer and run.is_finished:
        epochs = to_text((*saved.epochs[:-1], saved.epochs[-1] + 1))
        longer = f"to train it longer, add --epochs with a larger last number: --epochs {epochs}"
        print_output(f"{run.path} is finished; {longer}")
        return
    device = prepare_machine(saved)
    model = rebuild_network(content, device, saved.backend)
    saved = replace(saved, device=str(device))
    data = load_data(saved)
    before = content.run["fingerprint"]
    if before != data.fingerprint:
        change = f"its fingerprint was {before} and is now {data.fingerprint}"
        raise InputError(f"{data.name} has changed since the run began ({change}); restore the images")
    plan = make_plan(saved, data, content.build_encoder(), model)
    if longer and done:
        continue_last_phase(run, plan, progress)
    shared = share_phases(saved, plan)
    with lock_folder(run.path), offer_resume(run.path):
        if longer:
            run.lengthen(saved.epochs)
        for left in find_temporaries(run.path):
            left.unlink()
        Run(plan, run.path, progress, shared=shared, code=content.run["code"]).train(is_resumed=True)


def continue_last_phase(run: RunFolder, plan: Plan, progress: Progress) -> None:
    """Set the progress of a finished run back into its last phase. Raises InputError if the phase ended by itself."""
    settings = plan.settings
    phase = plan.model.phases[-1]
    row = None
    if progress.history and progress.history[-1]["phase"] == phase.name:
        row = progress.history[-1]
        progress.epoch = row["epoch"]
    progress.phase -= 1
    if phase.needs_labels and 0 < settings.patience <= progress.epochs_since_best:
        raise InputError(f"{run.path} was stopped by --patience {settings.patience}, not by --epochs")
    if row and settings.converge and not phase.needs_labels:
        raise InputError(f"{run.path} was stopped by --converge {settings.converge:g}, not by --epochs")


def apply_changes(saved: TrainSettings, settings: TrainSettings) -> tuple[TrainSettings, bool]:
    """Return a run's settings with the changes of the command line, and whether the last phase has more epochs.

    Raises InputError for a change that would lead to other weights or other files.
    """
    commands = {"until": settings.until, "shared_phases": settings.shared_phases}
    ignored = {"resume", "config", "traceback", "output", *commands}
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
            settings.refuse(name, f"{to_text(given[name])} would change the run, which has {to_text(before)}")
    return replace(saved, **commands, **{name: given[name] for name in given.keys() & free}), longer


def is_longer(epochs: tuple[int, ...], before: tuple[int, ...]) -> bool:
    """Return whether only the last number of epochs differs, and is larger."""
    return len(epochs) == len(before) and epochs[:-1] == before[:-1] and epochs[-1:] > before[-1:]


if __name__ == "__main__":
    sys.exit(main())
