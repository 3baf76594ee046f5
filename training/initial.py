"""Where a run begins: in new weights, in trained weights (``--init-from``), or after phases of another run."""

import hashlib
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from engine.encoder import Encoder
from errors import InputError
from imagesets.data_set import MAX_LISTED
from network_trainer import NetworkTrainer, Progress
from report.run_folder import RunFolder, find_checkpoint, find_run
from training.checkpoint import load_checkpoint, load_run
from training.plan import Data, Plan
from training.settings import TrainSettings
from training.shared_phases import compare_phases, describe_code, take_over


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

    The decision stage is not copied from a network that was trained for other classes, whose order counts.

    Returns the encoder of the checkpoint, fitted to the training images of its run, a record for args.json, and lines
    for the log. Raises InputError if the plan has another encoder, if no stage fits, or if the decision stage is not
    copied because of its classes and does not learn.
    """
    model = plan.model
    checkpoint = load_checkpoint(path)
    encoder = checkpoint.build_encoder()
    if encoder != plan.encoder:
        raise InputError(f"--init-from {path} was trained with another encoder: {encoder}, not {plan.encoder}")
    names = list(model.declaration)
    notes = _class_notes(path, checkpoint.run, plan)
    if notes:
        names.remove(model.decision)
    copied = [name for name in names if _copy_stage(model, name, checkpoint.state)]
    if not copied:
        raise InputError(f"--init-from {path}: no stage of {checkpoint.model} fits a stage of {model.name}")
    if model.decision in copied and "class_names" not in checkpoint.run:
        notes.append(f"{path} does not name its classes; {model.decision} is copied as if they were these")
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    record = {"checkpoint": str(path), "sha256": digest, "stages": copied}
    note = f"weights: {' '.join(copied)} from {path}"
    return encoder, record, [note, *notes, *_validation_notes(path, checkpoint.run, plan.data)]


def _class_notes(path: Path, run: dict, plan: Plan) -> list[str]:
    """Return a line if the checkpoint's network decides between other classes than that of the plan, else [].

    Raises InputError if the decision stage of the plan does not learn these classes.
    """
    decision = plan.model.decision
    classes = run.get("class_names")
    if None in (decision, classes) or tuple(classes) == plan.data.set.class_names:
        return []
    listed = ", ".join(classes[:MAX_LISTED]) + ", …" * (len(classes) > MAX_LISTED)
    text = f"{path} was trained for other classes, {listed}"
    learning = zip(plan.model.phases, plan.settings.epochs, strict=True)
    if not any(epochs and decision in phase.stages for phase, epochs in learning):
        raise InputError(f"--init-from {text}; give the phase of {decision} 1 or more --epochs to learn these classes")
    return [f"{text}, so {decision} begins with new weights"]


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
