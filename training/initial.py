"""Where a run begins: in new weights, or in trained weights (``--init-from``)."""

import hashlib
from pathlib import Path

import numpy as np
import torch

from errors import InputError
from imagesets.data_set import list_classes
from network_trainer import NetworkTrainer
from report.run_folder import find_checkpoint
from training.checkpoint import RunRecord, load_checkpoint
from training.data import Data
from training.plan import Plan
from training.settings import TrainSettings


def begin(plan: Plan) -> None:
    """Fit the encoder of the plan of a new run, and take over what ``--init-from`` names.

    Raises InputError if it cannot be used.
    """
    if plan.settings.init_from:  # with the fitted encoder of the checkpoint
        initialize_from(plan)
    elif plan.encoder.fitted:
        state = plan.encoder.fit(plan.data.set.train_images[plan.data.splits["train"]])
        plan.encoder = plan.encoder.with_state(state)


def initialize_from(plan: Plan) -> None:
    """Copy all stages of ``--init-from`` that have the same name and shapes in the network, with their rules' rates.

    The decision stage is not copied from a network that was trained for other classes, whose order counts. The plan
    gets the encoder of the checkpoint, which is fitted to the training images of its run.

    Raises InputError if the plan has another encoder, if no stage fits, or if the decision stage is not copied because
    of its classes and does not learn.
    """
    model = plan.model
    path = find_checkpoint(plan.settings.init_from, plan.settings.output)
    checkpoint = load_checkpoint(path)
    encoder = checkpoint.build_encoder()
    if encoder != plan.encoder:
        raise InputError(f"--init-from {path} was trained with another encoder: {encoder}, not {plan.encoder}")
    names = list(model.declaration)
    notes = _class_notes(path, checkpoint.record, plan)
    if notes:
        names.remove(model.decision)
    copied = [name for name in names if _copy_stage(model, name, checkpoint.state)]
    if not copied:
        raise InputError(f"--init-from {path}: no stage of {checkpoint.model} fits a stage of {model.name}")
    if model.decision in copied and not checkpoint.record.class_names:
        notes.append(f"{path} does not name its classes; {model.decision} is copied as if they were these")
    plan.encoder = encoder
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    plan.record.origin["init_from"] = {"checkpoint": str(path), "sha256": digest, "stages": copied}
    plan.notes.append(f"weights: {' '.join(copied)} from {path}")
    plan.notes += [*notes, *_validation_notes(path, checkpoint.record, plan.data)]


def _class_notes(path: Path, record: RunRecord, plan: Plan) -> list[str]:
    """Return a line if the checkpoint's network decides between other classes than that of the plan, else [].

    Raises InputError if the decision stage of the plan does not learn these classes.
    """
    decision = plan.model.decision
    classes = record.class_names
    if decision is None or not classes or tuple(classes) == plan.data.set.class_names:
        return []
    text = f"{path} was trained for other classes, {list_classes(classes)}"
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


def _validation_notes(path: Path, record: RunRecord, data: Data) -> list[str]:
    """Return a line if the checkpoint's network was or may have been trained on the validation images, else []."""
    validation = data.splits["validation"]
    if not len(validation):
        return []
    if not record.dataset:
        return [f"{path} does not name its training data, which may include these validation images"]
    if record.fingerprint != data.set.fingerprint:
        return [f"{path} was trained on other data, {record.dataset}, which may include these validation images"]
    trained = Data(TrainSettings.from_dict(record.flags), data.set).splits["train"]
    seen = len(np.intersect1d(trained, validation))
    if not seen:
        return []
    counts = f"{seen:,} of these {len(validation):,} validation images"
    return [f"{path} was trained on another split: on {counts}, so the validation accuracy is too high"]
