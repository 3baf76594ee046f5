"""Where a run begins: in new weights, in trained weights (``--init-from``), or after phases of another run.

Phases of another run are taken over if their keys are equal (``training/identity.py``): those of a named run, or of the
run in a folder that has finished most of them (``--continue-from``).
"""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from engine.phases import find_stages
from errors import InputError
from imagesets.data_set import list_classes
from network_trainer import NetworkTrainer, Progress, has_labels
from report.run_folder import RunFolder, find_checkpoint, find_run, is_run
from training.checkpoint import Checkpoint, RunRecord, load_checkpoint, load_run, rebuild_network
from training.identity import PhaseKey, compare_code, count_equal, digest_core, make_keys
from training.plan import Data, Plan
from training.settings import TrainSettings


def begin(plan: Plan) -> None:
    """Fit the encoder of the plan of a new run, and take over what ``--init-from`` and ``--continue-from`` name.

    Raises InputError if they cannot be used.
    """
    if plan.settings.init_from:  # with the fitted encoder of the checkpoint
        initialize_from(plan)
    elif plan.encoder.fitted:
        state = plan.encoder.fit(plan.data.set.train_images[plan.data.splits["train"]])
        plan.encoder = plan.encoder.with_state(state)
    path = find_source(plan)
    if path:
        continue_from(path, plan)
    elif plan.settings.continue_from:
        plan.notes.append(
            f"no run in {plan.settings.continue_from} has finished the same phases without labels, by this code"
        )


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


# ---------------------------------------------------------------------------------------------------------------------
# Phases of another run


def find_source(plan: Plan) -> Path | None:
    """Return the last checkpoint of the run that ``--continue-from`` names. None: no run.

    In a folder of runs, it is that of the run that has finished most phases of the plan, with the code of this version.
    """
    if plan.settings.continue_from is None:
        return None
    place = find_run(plan.settings.continue_from, plan.settings.output)
    if not place.is_dir() or is_run(place):
        return RunFolder(place).last
    counts = {run.last: count_shared(run.header, plan) for run in map(RunFolder, sorted(place.iterdir()))}
    best = max(counts, key=counts.get, default=None)
    return best if counts.get(best) else None


def count_shared(header: dict, plan: Plan) -> int:
    """Return how many phases a run with this ``RunFolder.header`` has finished that are the first of the plan.

    They are 0 if other code has trained it.
    """
    run = header.get("run") or {}
    if run.get("code", {}).keys() != {digest_core()}:
        return 0
    progress = header["progress"]
    place = Progress(progress["phase"], progress["epoch"], progress["batch"])
    return count_finished(place, plan.keys, [PhaseKey(**key) for key in run["phases"]])


def continue_from(path: Path, plan: Plan) -> None:
    """Take over the phases of a run that are equal to the first phases of the plan. ``path``: its last checkpoint.

    Raises InputError if there is no such phase.
    """
    checkpoint = load_run(path)
    trained = read_keys(checkpoint, plan)
    count = count_finished(checkpoint.progress, plan.keys, trained)
    if not count:
        reason = "no finished phase without labels is the same"
        pairs = trained[0].parts, plan.keys[0].parts
        different = [what for what in pairs[0] | pairs[1] if pairs[0].get(what) != pairs[1].get(what)]
        if different:
            reason = f"its first phase was trained with another {', '.join(different)}"
        raise InputError(f"--continue-from {path}: {reason}")
    plan.progress = take_over(checkpoint, plan.model, count)
    names = [phase.name for phase in plan.model.phases[:count]]
    origin = {**plan.record.origin, "continue_from": {"checkpoint": str(path), "phases": names}}
    plan.record = replace(plan.record, code=checkpoint.record.code, origin=origin)
    plan.notes.append(f"{' '.join(names)}: from {path}, with the seconds of that training")
    plan.notes += compare_code(path, checkpoint.record.code)


def read_keys(checkpoint: Checkpoint, plan: Plan) -> list[PhaseKey]:
    """Return the keys of the phases of a run. Those of an older checkpoint, which has none, are computed.

    The choice of the training images of an older run is that of the plan, if the data are the same.
    """
    if checkpoint.record.phases:
        return checkpoint.record.phases
    settings = TrainSettings.from_dict(checkpoint.record.flags)
    fingerprint = checkpoint.record.fingerprint
    data = plan.data
    if fingerprint == data.set.fingerprint:
        data = Data(settings, data.set)
    weights = checkpoint.record.origin.get("init_from", {}).get("sha256", "")
    run = rebuild_network(checkpoint), checkpoint.build_encoder(), settings
    return make_keys(*run, fingerprint, data.splits["train"], weights)


def count_finished(progress: Progress, keys: Sequence[PhaseKey], trained: Sequence[PhaseKey]) -> int:
    """Return how many phases of a run are equal to the first phases of another.

    Such a phase is finished, has no labels, and no later phase has trained its stages again.

    keys, trained: the keys of the run that begins, and of the run that has this progress.
    """
    count = count_equal(keys, trained[: progress.phase])
    is_begun = progress.epoch > 0 or progress.batch > 0
    begun = trained[: progress.phase + is_begun]
    while not _stages(begun[:count]).isdisjoint(_stages(key for key in begun[count:] if key.epochs)):
        count -= 1
    return count


def _stages(keys: Iterable[PhaseKey]) -> set[str]:
    return {stage for key in keys for stage in key.stages}


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
    history = [row for row in progress.history if row["phase"] in names and not has_labels(row)]
    return Progress(phase=count, history=history, phase_seconds=seconds)
