"""Start a run from trained weights (``--init-from``), or from phases that another run has trained.

Phases are taken over from a run (``--continue-from``) or from a folder that several runs share (``--shared-phases``).
In both cases ``count_equal`` compares everything that the weights depend on except for the code. Phases that another
version of the code has trained are not shared, and ``--continue-from`` warns of them.
"""

import functools
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from engine.phases import find_stages
from errors import InputError
from network_trainer import NetworkTrainer, Progress
from report.run_folder import RunFolder, find_checkpoint, find_run
from s1c1 import Encoder
from training.checkpoint import Checkpoint, load_checkpoint, load_run, rebuild_network
from training.plan import Data, Plan, list_dependencies
from training.settings import EPOCH_FILES, TrainSettings
from utils import ROOT, find_commit

# All files on which the weights depend, beside the settings and the data
CORE = (
    "SpykeTorch/*.py", "engine/**/*.py", "encoders/*.py", "models/*.py", "datasets/splits.py", "network_trainer.py",
    "s1c1.py",
)  # fmt: skip


@dataclass
class Start:
    """Where a run begins.

    Attributes:
        progress: the progress, of the run itself or of another run.
        record: what checkpoints contain of the training before: "code", "test_reads" and "diagnosis" of
            ``Checkpoint.run``.
        origin: for args.json, which weights and phases are those of another run.
        notes: lines for the log.
    """

    progress: Progress = field(default_factory=Progress)
    record: dict[str, Any] = field(default_factory=dict)
    origin: dict[str, Any] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


def begin(plan: Plan) -> tuple[Plan, Start]:
    """Fit the encoder of a plan, and take over what ``--init-from`` and ``--continue-from`` name.

    Returns the plan with the fitted encoder, and where the run begins. Raises InputError.
    """
    settings = plan.settings
    encoder = plan.encoder
    start = Start()
    if settings.init_from:  # with the fitted encoder of the checkpoint
        path = find_checkpoint(settings.init_from, settings.output)
        encoder, start.origin["init_from"], start.notes = initialize_from(path, plan)
    elif encoder.fitted:
        encoder = encoder.with_state(encoder.fit(plan.data.set.train_images[plan.data.splits["train"]]))
    plan = replace(plan, encoder=encoder)
    if settings.continue_from:
        continue_from(RunFolder(find_run(settings.continue_from, settings.output)).last, plan, start)
    model = plan.model
    if not plan.data.set.colours and model.augmentation:
        lost = f"without the moved copies of {model.name} ({model.augmentation}), because events are not moved"
        start.notes.append(lost)
    return plan, start


def continue_last_phase(folder: RunFolder, plan: Plan, progress: Progress) -> None:
    """Set the progress of a finished run back into its last phase. Raises InputError if the phase ended by itself."""
    settings = plan.settings
    phase = plan.model.phases[-1]
    row = None
    if progress.history and progress.history[-1]["phase"] == phase.name:
        row = progress.history[-1]
        progress.epoch = row["epoch"]
    progress.phase -= 1
    if phase.needs_labels and 0 < settings.patience <= progress.epochs_since_best:
        raise InputError(f"{folder.path} was stopped by --patience {settings.patience}, not by --epochs")
    if row and settings.converge and not phase.needs_labels:
        raise InputError(f"{folder.path} was stopped by --converge {settings.converge:g}, not by --epochs")


def initialize_from(path: Path, plan: Plan) -> tuple[Encoder, dict, list[str]]:
    """Copy all stages of a checkpoint that have the same name and shapes in the network, with the rates of their rules.

    Returns the encoder of the checkpoint, fitted to the training images of its run, a record for args.json, and lines
    for the log. Raises InputError if the plan has another encoder, or if no stage fits.
    """
    model = plan.model
    checkpoint = load_checkpoint(path)
    encoder = checkpoint.build_encoder()
    if encoder != plan.encoder:
        raise InputError(f"--init-from {path} was trained with another encoder: {encoder}, not {plan.encoder}")
    copied = [name for name in model.declaration if _copy_stage(model, name, checkpoint.state)]
    if not copied:
        raise InputError(f"--init-from {path}: no stage of {checkpoint.model} fits a stage of {model.name}")
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    record = {"checkpoint": str(path), "sha256": digest, "stages": copied}
    note = f"weights: {' '.join(copied)} from {path}"
    return encoder, record, [note, *_validation_notes(path, checkpoint.run, plan.data)]


def _copy_stage(model: NetworkTrainer, name: str, state: dict[str, torch.Tensor]) -> bool:
    """Copy a stage's tensors from ``state`` if its weights have the same shapes there. Returns whether they have."""
    prefix = f"stages.{name}."
    own = {key: tensor for key, tensor in model.state_dict().items() if key.startswith(prefix)}
    fitting = [key for key in own if key in state and state[key].shape == own[key].shape]
    weights = [key for key in own if "weight" in key]
    if not weights or not set(weights) <= set(fitting):
        return False
    for key in fitting:
        own[key].copy_(state[key])
    return True


def _validation_notes(path: Path, run: dict, data: Data) -> list[str]:
    """Return a line if the checkpoint's network was or may have been trained on the validation images, else []."""
    validation = data.splits["validation"]
    if not len(validation):
        return []
    if run.get("fingerprint") != data.set.fingerprint:
        return [f"{path} was trained on other data, {run.get('dataset')}, which may include these validation images"]
    trained = Data(TrainSettings.from_dict(run["flags"]), data.set).splits["train"]
    seen = len(np.intersect1d(trained, validation))
    if not seen:
        return []
    counts = f"{seen:,} of these {len(validation):,} validation images"
    return [f"{path} was trained on another split: on {counts}, so the validation accuracy is too high"]


# ---------------------------------------------------------------------------------------------------------------------
# Phases that another run has trained


def continue_from(path: Path, plan: Plan, start: Start) -> None:
    """Take over the phases of a run that are equal to the first phases of the plan.

    path: the last checkpoint of the run. start: gets the progress after these phases, and lines for the log: a warning
    if other code has trained them, because the result may not be that of a run without interruption.

    Raises InputError if no phase can be taken over.
    """
    checkpoint = load_run(path)
    count, different = compare_phases(checkpoint, plan)
    if not count:
        reason = "no finished phase without labels is the same"
        if different:
            reason = f"its first phase was trained with another {', '.join(different)}"
        raise InputError(f"--continue-from {path}: {reason}")
    names = [phase["phase"] for phase in plan.dependencies[:count]]
    start.progress = take_over(checkpoint, plan.model, count)
    start.record["code"] = before = checkpoint.run["code"]
    start.origin["continue_from"] = {"checkpoint": str(path), "phases": names}
    start.notes.append(f"{' '.join(names)}: from {path}, with the seconds of that training")
    here = describe_code()
    if before.keys() != here.keys():
        commits = [" ".join(map(str, code.values())) for code in (before, here)]
        start.notes.append(f"warning: {path} was trained by other code (commit {commits[0]}; here: {commits[1]})")


def share_phases(plan: Plan) -> list[Path]:
    """Return the places of the plan's phases in the folder ``--shared-phases``.

    Phases are not shared if the run writes files after each epoch, or if it begins with the weights of another run.
    Raises InputError if there cannot be such a folder.
    """
    settings = plan.settings
    if settings.shared_phases is None or settings.init_from or any(settings.select(EPOCH_FILES).values()):
        return []
    try:
        Path(settings.shared_phases).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        settings.refuse("shared_phases", f"cannot be the folder {settings.shared_phases}: {error.strerror}")
    return find_shared(settings.shared_phases, plan.dependencies)


def find_shared(folder: str | Path, phases: Sequence[dict]) -> list[Path]:
    """Return the places of the first phases without labels in a folder of phases that several runs share.

    phases: as ``list_dependencies`` returns them. The name of a place is the SHA-256 of what the phase and all phases
    before it depend on: their descriptions, and the code.
    """
    digest = hashlib.sha256(digest_core().encode())
    places = []
    for phase in phases:
        if phase["needs labels"]:
            break
        digest.update(repr(phase).encode())
        places.append(Path(folder) / digest.hexdigest())
    return places


def load_shared(path: Path, plan: Plan, number: int) -> Progress:
    """Take over the phases up to ``number`` from the file of a shared phase. Returns the progress after them.

    Raises InputError if the file is damaged, or if it contains other phases or phases that other code has trained.
    """
    checkpoint = load_run(path)
    count, _ = compare_phases(checkpoint, plan)
    if count <= number or checkpoint.run["code"].keys() != {digest_core()}:
        raise InputError(f"{path} contains other phases")
    return take_over(checkpoint, plan.model, number + 1)


def compare_phases(checkpoint: Checkpoint, plan: Plan) -> tuple[int, list[str]]:
    """Return how many phases of a run are equal to the first phases of a plan, and what differs in the first phase.

    A phase is finished, has no labels, and no later phase has trained its stages again.
    """
    progress = checkpoint.progress
    model = rebuild_network(checkpoint)
    settings = TrainSettings.from_dict(checkpoint.run["flags"])
    trained = list_dependencies(model, checkpoint.build_encoder(), settings, checkpoint.run["fingerprint"])
    count = count_equal(plan.dependencies, trained[: progress.phase])
    is_begun = progress.epoch > 0 or progress.batch > 0
    begun = list(model.phases)[: progress.phase + is_begun]
    while find_stages(begun[:count]) & find_stages(begun[count:]):
        count -= 1
    return count, [name for name, value in trained[0].items() if plan.dependencies[0].get(name) != value]


def count_equal(phases: Sequence[dict], others: Sequence[dict]) -> int:
    """Return the number of first phases without labels in which two runs are equal."""
    pairs = zip(phases, others, strict=False)
    equal = [phase == other and not phase["needs labels"] for phase, other in pairs]
    return [*equal, False].index(False)


def take_over(checkpoint: Checkpoint, model: NetworkTrainer, count: int) -> Progress:
    """Copy the stages that a run has trained in its first ``count`` phases, which are those of the network.

    Returns the progress after these phases.
    """
    phases = list(model.phases)[:count]
    prefixes = [f"stages.{name}." for name in find_stages(phases)]
    prefixes += [f"phases.{number}." for number in range(count)]
    state = {key: tensor for key, tensor in checkpoint.state.items() if key.startswith(tuple(prefixes))}
    model.load_state_dict(state, strict=False)
    progress = checkpoint.progress
    names = {phase.name for phase in phases}
    seconds = {name: value for name, value in progress.phase_seconds.items() if name in names}
    history = [row for row in progress.history if row["phase"] in names and row["train_accuracy"] is None]
    return Progress(phase=count, history=history, phase_seconds=seconds)


# ---------------------------------------------------------------------------------------------------------------------
# The version of the code


@functools.cache
def digest_core() -> str:
    """Compute the SHA-256, in hexadecimal digits, over the files of ``CORE``."""
    digest = hashlib.sha256()
    for pattern in CORE:
        for path in sorted(ROOT.glob(pattern)):
            digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()


def describe_code() -> dict[str, str | None]:
    """Return {``digest_core()``: the commit}, the version of the code that a run saves in its checkpoints.

    If the code is changed while a run is interrupted, its checkpoints contain both versions.
    """
    return {digest_core(): find_commit()}
