"""Start a run from trained weights: ``--init-from``, and the first phases that runs of a sweep share."""

import hashlib
import inspect
from pathlib import Path

import numpy as np
import torch
from torch import nn

from encoders import build_encoder, get_encoder_config
from engine.stages import Stage
from errors import InputError
from network_trainer import NetworkTrainer, Progress
from s1c1 import Encoder
from training.checkpoint import load_checkpoint
from training.data import Data, split_indices
from training.settings import CODE, LEARNING, ROUNDING, TrainSettings


def initialize_from(path: Path, model: NetworkTrainer, encoder: Encoder, data: Data) -> tuple[dict, list[str]]:
    """Copy into the model all stages of a checkpoint that have the same name and shapes, with the rates of their rules.

    Returns a record for args.json, and lines for the log. Raises InputError if the checkpoint's encoder differs, or if
    no stage fits.
    """
    checkpoint = load_checkpoint(path)
    theirs, own = get_encoder_config(build_encoder(checkpoint.encoding)), get_encoder_config(encoder)
    if theirs != own:
        differences = [
            f"{key} {theirs.get(key)}, not {own.get(key)}" for key in own | theirs if own.get(key) != theirs.get(key)
        ]
        raise InputError(
            f"--init-from {path} was trained with another encoder: {', '.join(differences)}",
            flag="--init-from",
            path=path,
        )
    copied = [name for name in model.stages if _copy_stage(model, name, checkpoint.state)]
    if not copied:
        raise InputError(
            f"--init-from {path}: no stage of {checkpoint.model} fits a stage of {model.name}",
            flag="--init-from",
            path=path,
        )
    new = [name for name, stage in model.stages.items() if stage.convs and name not in copied]
    record = {"checkpoint": str(path), "sha256": hashlib.sha256(path.read_bytes()).hexdigest(), "stages": copied}
    note = f"weights: {' '.join(copied)} from {path}" + (f"; {' '.join(new)} from the seed" if new else "")
    return record, [note, *_validation_notes(path, checkpoint.run, data)]


def _copy_stage(model: NetworkTrainer, name: str, state: dict[str, torch.Tensor]) -> bool:
    """Copy a stage's tensors from ``state`` if all of its weights have the same shapes. Returns whether they have."""
    own, theirs = (
        {key: tensor for key, tensor in tensors.items() if key.startswith(f"stages.{name}.")}
        for tensors in (model.state_dict(), state)
    )
    shapes, their_shapes = (
        {key: tensor.shape for key, tensor in tensors.items() if key.endswith(".weight")} for tensors in (own, theirs)
    )
    if not shapes or shapes != their_shapes:
        return False
    for key, tensor in own.items():
        if key in theirs and theirs[key].shape == tensor.shape:
            tensor.copy_(theirs[key])
    return True


def _validation_notes(path: Path, run: dict, data: Data) -> list[str]:
    """Return a line if the checkpoint's network was or may have been trained on the validation images, else []."""
    if not len(data.validation):
        return []
    if not run:
        return [f"{path} does not name its training images, which may include these validation images"]
    if run["fingerprint"] != data.set.fingerprint:
        return [f"{path} was trained on other data, {run['dataset']}, which may include these validation images"]
    settings = TrainSettings.from_dict(run["flags"])
    split = settings.val_split, settings.ratio, settings.seed, settings.dry_run
    trained, _ = split_indices(data.set.train_labels, *split)
    seen = len(np.intersect1d(trained, data.validation))
    if not seen:
        return []
    return [
        f"{path} was trained on another split: on {seen:,} of these {len(data.validation):,} validation images, so the "
        "validation accuracy is too high"
    ]


# ---------------------------------------------------------------------------------------------------------------------
# What the runs of a sweep share

BEGINNING = "SWEEP_BEGINNING"  # the environment variable with the folder of the beginning from which a run continues
# Attributes of a network that either are compared or do not change how stages learn without labels.
DECLARED = {"name", "aliases", "epochs", "encoder", "augmentation", "readout", "build", "build_phases"}


def identify_phases(model: NetworkTrainer, encoder: object, settings: TrainSettings, fingerprint: str) -> list[str]:
    """Compute a key for each phase before the first phase that needs labels.

    Runs that have the same key for a phase have bit-identical weights after this phase. A key covers everything that
    the weights depend on: the settings, with one number of epochs per phase; the fingerprint of the data; the encoder;
    the network's own code; the phases; and the stages up to the highest that has learned, because initial weights are
    drawn in this order.
    """
    own = type(model).__mro__[: type(model).__mro__.index(NetworkTrainer)]
    own = {name: value for kind in own for name, value in vars(kind).items() if name[:2] != "__" or callable(value)}
    is_code = any(hasattr(own[name], "__get__") or hasattr(NetworkTrainer, name) for name in own.keys() - DECLARED)
    learned = settings.select(LEARNING, CODE, ROUNDING)
    del learned["epochs"]  # compared phase by phase
    covered = [learned, fingerprint, get_encoder_config(encoder), type(model) if is_code else None]
    names, top, keys = list(model.stages), 0, []
    for phase, epochs in zip(model.phases, settings.epochs, strict=True):
        if phase.needs_labels:
            break
        top = max(top, *(1 + names.index(name) for name in phase.stages))
        stages = [(name, _describe(model.stages[name])) for name in names[:top]]
        kinds = [(rule.name, type(rule)) for rule in phase.rules.values()]  # in a rule's text, the name is missing
        covered += [epochs, type(phase), phase.stages, phase.rules, kinds, stages]
        keys.append(hashlib.sha256(repr(covered).encode()).hexdigest()[:16])
    return keys


def _describe(value: object) -> object:
    """Return the type and the arguments of a stage."""
    if isinstance(value, Stage):
        return type(value), [_describe(getattr(value, name)) for name in inspect.signature(type(value)).parameters]
    return [_describe(each) for each in value] if isinstance(value, nn.ModuleList) else value


def continue_from(folder: Path, model: NetworkTrainer) -> tuple[Progress, dict, str]:
    """Copy the weights that a beginning has learned into a new network.

    Returns the progress after its phases, a record for args.json and a line for the log.
    """
    checkpoint = load_checkpoint(folder / "checkpoints" / "last.safetensors")
    progress, names = checkpoint.progress, list(model.stages)
    phases = list(model.phases)[: progress.phase]
    top = max(1 + names.index(name) for phase in phases for name in phase.stages)
    copied = *(f"stages.{name}." for name in names[:top]), *(f"phases.{number}." for number in range(len(phases)))
    model.load_state_dict({key: own for key, own in checkpoint.state.items() if key.startswith(copied)}, strict=False)
    record = {"folder": str(folder), "phases": [phase.name for phase in phases]}
    note = f"{' '.join(record['phases'])}: trained once for several runs of a sweep; its seconds are of that training"
    return progress, {"shared": record}, note
