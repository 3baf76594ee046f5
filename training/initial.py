"""Start a run from trained weights (``--init-from``) or from phases of another run (``--continue-from``)."""

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import torch

from encoders import get_encoder_config
from engine.phases import find_stages
from errors import InputError
from network_trainer import NetworkTrainer, Progress
from s1c1 import Encoder
from training.checkpoint import Checkpoint, load_checkpoint, rebuild_network
from training.data import Data, split_indices
from training.settings import CODE, LEARNING, TrainSettings
from utils import choose_device


def initialize_from(path: Path, model: NetworkTrainer, encoder: Encoder, data: Data) -> tuple[dict, list[str]]:
    """Copy into the model all stages of a checkpoint that have the same name and shapes, with the rates of their rules.

    The encoder becomes that of the checkpoint, fitted to the training images of its run.

    Returns a record for args.json, and lines for the log. Raises InputError if the checkpoint's encoder differs, or if
    no stage fits.
    """
    checkpoint = load_checkpoint(path)
    config = get_encoder_config(encoder)
    trained_encoder = checkpoint.build_encoder()
    config_of_checkpoint = get_encoder_config(trained_encoder)
    differences = []
    for key in config | config_of_checkpoint:
        value = config.get(key)
        trained = config_of_checkpoint.get(key)
        if trained != value:
            differences.append(f"{key} {trained}, not {value}")
    if differences:
        raise InputError(
            f"--init-from {path} was trained with another encoder: {', '.join(differences)}",
        )
    encoder.load_state(trained_encoder.state)
    copied = [name for name in model.declaration if _copy_stage(model, name, checkpoint.state)]
    if not copied:
        raise InputError(
            f"--init-from {path}: no stage of {checkpoint.model} fits a stage of {model.name}",
        )
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    record = {"checkpoint": str(path), "sha256": digest, "stages": copied}
    note = f"weights: {' '.join(copied)} from {path}"
    new = [name for name, stage in model.declaration.items() if stage.convs and name not in copied]
    if new:
        note += f"; {' '.join(new)} from the seed"
    return record, [note, *_validation_notes(path, checkpoint.run, data)]


def _copy_stage(model: NetworkTrainer, name: str, state: dict[str, torch.Tensor]) -> bool:
    """Copy a stage's tensors from ``state`` if all of its weights have the same shapes. Returns whether they have."""
    tensors = _select_stage(model.state_dict(), name)
    trained = _select_stage(state, name)
    shapes = _find_shapes(tensors)
    if not shapes or shapes != _find_shapes(trained):
        return False
    for key, tensor in tensors.items():
        if key in trained and trained[key].shape == tensor.shape:
            tensor.copy_(trained[key])
    return True


def _select_stage(state: dict[str, torch.Tensor], name: str) -> dict[str, torch.Tensor]:
    return {key: tensor for key, tensor in state.items() if key.startswith(f"stages.{name}.")}


def _find_shapes(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Size]:
    """Return the shapes of the weights."""
    return {key: tensor.shape for key, tensor in tensors.items() if key.endswith(".weight")}


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
# Phases that several runs share


def describe_phases(
    model: NetworkTrainer, encoder: Encoder, settings: TrainSettings, fingerprint: str
) -> list[dict[str, Any]]:
    """Return everything that the weights depend on, for each phase before the first phase that needs labels.

    Also the backend and the kind of device, because they round differently, and rounding can choose another winner.

    Two runs have bit-identical weights after a phase if they are equal in this phase and in all phases before it. A
    phase depends on the stages up to the highest that has learned, because initial weights are drawn in this order.
    """
    flags = settings.flags()
    common = {flags[name].flag: value for name, value in settings.select(LEARNING, CODE).items()}
    common |= {"fingerprint of the data": fingerprint, "encoder": get_encoder_config(encoder)}
    device = choose_device(settings.device, settings.backend).type
    backend = settings.backend
    if backend == "auto":
        backend = "event" if device == "cpu" else "torch"
    common |= {"--backend": backend, "--device": device}
    names = list(model.declaration)
    phases = []
    top = 0
    for phase, epochs in zip(model.phases, settings.epochs, strict=True):
        if phase.needs_labels:
            break
        top = max(top, *(1 + names.index(name) for name in phase.stages))
        learning = {"phase": phase.name, "class": type(phase), "rules": phase.rules, "alternate": phase.alternate}
        stages = {name: model.declaration[name] for name in names[:top]}
        phases.append(common | {"--epochs": epochs} | learning | stages)
    return phases


def count_equal(phases: list[dict], others: list[dict]) -> int:
    """Return the number of first phases in which two runs are equal."""
    equal = [phase == other for phase, other in zip(phases, others, strict=False)]
    return [*equal, False].index(False)


def load_shared_phases(path: Path, phases: list[dict]) -> tuple[Checkpoint, int]:
    """Load the last checkpoint of a run. Returns it, and the number of its first phases that another run can take over.

    phases: of the other run, as ``describe_phases`` returns them.

    Raises InputError if the number is 0.
    """
    checkpoint = load_checkpoint(path)
    progress = checkpoint.progress
    run = checkpoint.run
    if progress is None or not run:
        raise InputError(f"{path} is not the last checkpoint of a run")
    model = rebuild_network(checkpoint)
    encoder = checkpoint.build_encoder()
    settings = TrainSettings.from_dict(run["flags"])
    trained = describe_phases(model, encoder, settings, run["fingerprint"])
    count = count_equal(phases, trained[: progress.phase])
    is_begun = progress.epoch > 0 or progress.batch > 0
    begun = list(model.phases)[: progress.phase + is_begun]
    while find_stages(begun[:count]) & find_stages(begun[count:]):  # a later phase has trained them again
        count -= 1
    if not count:
        first = next(iter(trained), {})
        other = next(iter(phases), {})
        different = [name for name in first if name in other and first[name] != other[name]]
        reason = "no finished phase without labels is the same"
        if different:
            reason = f"its first phase was trained with another {', '.join(different)}"
        raise InputError(f"--continue-from {path}: {reason}")
    return checkpoint, count


def continue_from(path: Path, model: NetworkTrainer, phases: list[dict]) -> tuple[Progress, dict, str]:
    """Copy the stages that a run has trained, as far as its first phases are equal to those of the network.

    path: the last checkpoint of the run. phases: of the network, as ``describe_phases`` returns them.

    Returns the progress after these phases, a record for args.json and a line for the log. Raises InputError if no
    phase can be taken over.
    """
    checkpoint, count = load_shared_phases(path, phases)
    taken = list(model.phases)[:count]
    prefixes = [f"stages.{name}." for name in find_stages(taken)]
    prefixes += [f"phases.{number}." for number in range(count)]
    state = {key: tensor for key, tensor in checkpoint.state.items() if key.startswith(tuple(prefixes))}
    model.load_state_dict(state, strict=False)
    names = [phase.name for phase in taken]
    epochs = sum(phase["--epochs"] for phase in phases[:count])
    history = checkpoint.progress.history[:epochs]
    seconds = {name: value for name, value in checkpoint.progress.phase_seconds.items() if name in names}
    progress = Progress(phase=count, history=history, phase_seconds=seconds)
    note = f"{' '.join(names)}: from {path}, with the seconds of that training"
    return progress, {"checkpoint": str(path), "phases": names}, note
