"""Train a first-spike network on MNIST-like images, by STDP and reward-modulated STDP: ``python train.py --help``.

``learn`` runs the steps of ``NetworkTrainer.steps``, which trains, and the recorders of each step. docs/method.md lists
what to read from there on, down to the change of a weight: engine/torch_backend.py, which ``--backend torch`` runs, and
the compiled kernels, which compute the same.
"""

import sys
from collections.abc import Iterator
from functools import partial
from itertools import chain
from pathlib import Path

from errors import InputError
from training.command import command_line, prepare_start, print_output

if __name__ == "__main__":
    prepare_start()

from engine.lengths import EARLY
from models import model_class
from network_trainer import LatencyDataset
from report.report import FIGURES
from report.summary import list_models
from run_folder import LATEST, RunFolder, find_run
from training.changes import write_start
from training.checkpoint import collect_checkpoint, load_run, save_checkpoint
from training.data import load_data
from training.parsing import to_text
from training.plan import Plan, describe, prepare_machine, resolve
from training.recorders.checkpoints import Checkpoints
from training.recorders.curves import Curves
from training.recorders.findings import Findings
from training.recorders.log import Log
from training.recorders.maps import Maps
from training.recorders.moments import Moments
from training.recorders.page import Page
from training.recorders.recorder import RECORDERS, Recorder
from training.recorders.values import Values
from training.run import Run
from training.settings import TrainSettings, apply_changes
from training.spread import spread
from training.stopping import Stopped, handle_signals, offer_resume
from training.testing import finish
from utils import claim_folder, find_temporaries, lock_folder, put_in_place, to_folder_name


@command_line
def main(words: list[str]) -> int | None:
    """Train, resume or print, as the words of a command line request. Returns the exit code if a signal stopped it."""
    settings = TrainSettings.parse(words)
    try:
        if settings.list_models:
            print_output(list_models())
        elif settings.summary:
            _, _, model = resolve(settings, load_data(settings))
            print_output(describe(model, settings))
        elif settings.resume:
            resume(settings.resume, settings)
        else:
            train(settings)
    except Stopped as stopped:
        return stopped.code
    return None


def train(settings: TrainSettings) -> None:
    """Train a new network. All settings are checked before the run's folder is created."""
    device = prepare_machine(settings)
    model_class(settings.model)  # an unknown name is refused before the data are read
    plan = Plan.new(settings, load_data(settings), device)
    name = f"{plan.model.name}-{to_folder_name(plan.splits.data.name)}-seed{settings.seed}"
    if settings.dry_run:
        name += "-dry"
    replaces = settings.name is not None and is_replaced(Path(settings.output, settings.name))
    with claim_folder(settings.output, name, settings.name, replaces) as folder:
        (folder / "checkpoints").mkdir()
        facts = {"flags": plan.record.flags, "paths": plan.record.paths, **plan.record.origin}
        write_start(folder, settings, facts, describe(plan.model, plan.settings))
        last = RunFolder(folder).last
        save_checkpoint(collect_checkpoint(last, plan.model, plan.encoder, plan.record, plan.progress))
        folder = put_in_place(folder)  # from now on, the run can be resumed
        with offer_resume(folder):
            run = Run(plan, folder)
            if replaces:
                run.log.info(f"replaces the dry run in {folder}")
            run.log_start("run folder")
            learn(run)
            finish(run)


def is_replaced(path: Path) -> bool:
    """Return whether a new run replaces a folder: that of a dry run. Raises InputError if it has files of others."""
    folder = RunFolder(path)
    if path.is_symlink() or not folder.is_dry_run:
        return False
    files = chain.from_iterable(recorder.files for recorder in RECORDERS.values())
    if others := folder.find_others([*files, *(f"figures/{name}*" for name in FIGURES)]):
        raise InputError(f"the dry run {path} would be replaced, but contains {others[0]}; choose another --name")
    return True


def learn(run: Run) -> None:
    """Train the network of a run step by step. After each step, the recorders log, draw and save."""
    plan = run.plan
    settings = plan.settings
    with handle_signals(run.stop.note):  # an exception would be lost while a kernel is loaded
        images = run.open()
        recorders = [*list_recorders(run, images), Checkpoints(run)]  # what they count as done is then on the disk
        steps = plan.model.steps(
            images,
            run.validation,
            settings.epochs,
            batch_size=settings.batch_size,
            seed=settings.seed,
            progress=plan.progress,
            copies=run.make_copies(),
            folder=run.folder,
            teach=partial(spread, run) if settings.spread else None,
            **settings.early,
        )
        for step in steps:
            for recorder in recorders:
                recorder.record(step)


def list_recorders(run: Run, images: LatencyDataset) -> Iterator[Recorder]:
    """Yield what records each step of a run, in this order. images: the encoded training images."""
    settings = run.plan.settings
    yield Log(run)  # the console, log.txt, metrics.csv
    yield Values(run)  # values.json, of functions with @after_epoch
    if settings.tensorboard:
        yield Curves(run)
    if settings.figures:
        yield Moments(run)  # of features that emerge
    if settings.map_every:
        yield Maps(run)
    if settings.figures:
        yield Page(run)  # index.html
    if not settings.dry_run:
        yield Findings(run, images)  # what is wrong, and advice
    yield from (recorder(run) for recorder in RECORDERS.values() if recorder.every_run)  # of plugins


def resume(run: str, settings: TrainSettings) -> None:
    """Lock a run before it is read, and continue it."""
    folder = RunFolder(find_run(run, settings.output))
    if not folder.last.is_file():
        raise InputError(f"no checkpoint at {folder.last}")
    advice = "wait for it or stop it"
    if run == LATEST:
        advice = "if another job has begun it, name your run: --resume RUN"
    with lock_folder(folder.path, advice=advice):
        continue_run(settings, folder)


def continue_run(settings: TrainSettings, folder: RunFolder) -> None:
    """Continue an interrupted run in its own folder with its own settings, or train more epochs of its last phase."""
    checkpoint = load_run(folder.last)
    before = TrainSettings.from_dict(checkpoint.record.flags)
    resumed = apply_changes(before, settings)
    if missing := checkpoint.kept.keys() - RECORDERS.keys():
        raise InputError(f"{folder.last} is of a run with {', '.join(missing)}, a recorder that is missing here")
    was_trained = checkpoint.progress.phase == len(resumed.epochs)
    if was_trained and resumed.epochs == before.epochs and folder.is_finished:
        hint = "none of its stages learns"
        if resumed.epochs:
            epochs = to_text((*resumed.epochs[:-1], resumed.epochs[-1] + 1))
            hint = f"to train it longer, add --epochs with a larger last number: --epochs {epochs}"
        ended_by = checkpoint.progress.ended_by
        if ended_by in EARLY:
            hint = f"{before.describe(ended_by)} ended it"
        print_output(f"{folder.path} is finished; {hint}")
        return
    plan = Plan.resumed(checkpoint, resumed)
    with offer_resume(folder.path):
        for temporary in find_temporaries(folder.path):
            temporary.unlink()
        run = Run(plan, folder.path)
        run.save()  # with these settings
        run.log_start("resuming")
        learn(run)
        finish(run)


if __name__ == "__main__":
    sys.exit(main())
