"""Where a run begins: in new weights, or in trained weights (``--init-from``)."""

import hashlib
from pathlib import Path

import numpy as np

from engine.encoder import Encoder
from errors import InputError
from imagesets.data_set import list_first
from network_trainer import NetworkTrainer
from run_folder import RunFolder, find_checkpoint, find_run, is_run, list_runs
from training.checkpoint import RunRecord, StateDict, load_checkpoint
from training.data import Splits
from training.settings import TrainSettings


def initialize_from(
    init_from: str, settings: TrainSettings, splits: Splits, encoder: Encoder, model: NetworkTrainer
) -> tuple[Encoder, dict, list[str]]:
    """Copy all stages of ``--init-from`` that have the same name and shapes in the network, with their rules' rates.

    The decision stage is not copied from a network that was trained for other classes, whose order counts.

    Returns the encoder of the checkpoint, which is fitted to the training images of its run; what the record of the run
    contains of the checkpoint; and lines for the log.

    Raises InputError if the run has another encoder, if no stage fits, or if the decision stage is not copied because
    of its classes and does not learn.
    """
    path = find_source(init_from, settings)
    checkpoint = load_checkpoint(path)
    fitted = checkpoint.build_encoder()
    if fitted != encoder:
        raise InputError(f"--init-from {path} was trained with another encoder: {fitted}, not {encoder}")
    names = list(model.declaration)
    notes = _class_notes(path, checkpoint.record, settings, splits, model)
    if notes:
        names.remove(model.find_decision())
    copied = [name for name in names if _copy_stage(model, name, checkpoint.state)]
    if not copied:
        raise InputError(f"--init-from {path}: no stage of {checkpoint.model} fits a stage of {model.name}")
    if model.decision in copied and not checkpoint.record.class_names:
        notes.append(f"{path} does not name its classes; {model.decision} is copied as if they were these")
    if model.decision in copied and checkpoint.record.spread:
        notes.append(f"{model.decision} of {path}, which is copied, has learned from labels that were spread")
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    source = {"checkpoint": str(path), "sha256": digest, "stages": copied}
    weights = f"weights: {' '.join(copied)} from {path}"
    return fitted, source, [weights, *notes, *_validation_notes(path, checkpoint.record, splits)]


def find_source(init_from: str, settings: TrainSettings) -> Path:
    """Return the checkpoint of ``--init-from``; of a folder of runs, that of the run with the seed of the settings.

    Raises InputError unless the folder contains one such run, which is finished.
    """
    path = find_run(init_from, settings.output)
    if path.is_dir() and not is_run(path):
        runs = [RunFolder(folder) for folder in list_runs(path)]
        of_seed = [run for run in runs if run.flags.get("seed") == settings.seed]
        if len(of_seed) != 1:
            names = ", ".join(run.path.name for run in of_seed) or "none"
            settings.refuse("init_from", f"{path} must contain one run of seed {settings.seed}; it contains {names}")
        (run,) = of_seed
        path = run.path
        if not run.is_finished:
            settings.refuse("init_from", f"{path} is not finished")
    return find_checkpoint(path, settings.output)


def _class_notes(
    path: Path, record: RunRecord, settings: TrainSettings, splits: Splits, model: NetworkTrainer
) -> list[str]:
    """Return a line if the checkpoint's network decides between other classes than this network, else [].

    So it does if labels are spread, because its decision stage may have learned from other labels.

    Raises InputError if the decision stage of this network does not learn these classes.
    """
    classes = record.class_names
    if model.decision is None:
        return []
    if settings.spread:
        text = f"{path} may have learned from other labels"
    elif classes and tuple(classes) != splits.data.class_names:
        text = f"{path} was trained for other classes, {list_first(classes)}"
    else:
        return []
    learning = zip(model.phases, settings.epochs, strict=True)
    if not any(epochs and model.decision in phase.stages for phase, epochs in learning):
        phase = f"the phase of {model.decision} 1 or more --epochs"
        raise InputError(f"--init-from {text}; give {phase} to learn these classes")
    return [f"{text}, so {model.decision} begins with new weights"]


def _copy_stage(model: NetworkTrainer, name: str, state: StateDict) -> bool:
    """Copy a stage's tensors from ``state`` if its weights have the same shapes there. Returns whether they have."""
    own = model.stages[name].state_dict(prefix=f"stages.{name}.")
    fitting = [key for key in own if key in state and state[key].shape == own[key].shape]
    weights = [key for key in own if key.endswith("weight")]
    if not weights or not set(weights) <= set(fitting):
        return False
    for key in fitting:
        own[key].copy_(state[key])
    return True


def _validation_notes(path: Path, record: RunRecord, splits: Splits) -> list[str]:
    """Return a line if the checkpoint's network was or may have been trained on the validation images, else []."""
    validation = splits.indices["validation"]
    if not len(validation):
        return []
    if not record.dataset:
        return [f"{path} does not name its training data, which may include these validation images"]
    if record.fingerprint != splits.data.fingerprint:
        return [f"{path} was trained on other data, {record.dataset}, which may include these validation images"]
    trained = Splits(TrainSettings.from_dict(record.flags), splits.data).indices["train"]
    seen = len(np.intersect1d(trained, validation))
    if not seen:
        return []
    counts = f"{seen:,} of these {len(validation):,} validation images"
    return [f"{path} was trained on another split: on {counts}, so the validation accuracy is too high"]
