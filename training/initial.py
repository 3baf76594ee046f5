"""Start a run from trained weights (``--init-from``), or from phases that another run has trained.

Phases are taken over from a run (``--continue-from``) or from a folder that several runs share (``--shared-phases``).
"""

import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from encoders import get_encoder_config
from engine.phases import find_stages
from errors import InputError
from network_trainer import NetworkTrainer, Progress
from training.checkpoint import Checkpoint, load_checkpoint, load_run, rebuild_network
from training.plan import Data, Plan, describe_phases
from training.settings import TrainSettings


def initialize_from(path: Path, plan: Plan) -> tuple[dict, list[str]]:
    """Copy all stages of a checkpoint that have the same name and shapes in the network, with the rates of their rules.

    The encoder becomes that of the checkpoint, fitted to the training images of its run.

    Returns a record for args.json, and lines for the log. Raises InputError if the checkpoint's encoder differs, or if
    no stage fits.
    """
    model = plan.model
    checkpoint = load_checkpoint(path)
    config = get_encoder_config(plan.encoder)
    if checkpoint.encoding != config:
        raise InputError(f"--init-from {path} was trained with another encoder: {checkpoint.encoding}, not {config}")
    plan.encoder.load_state(checkpoint.encoder_state)
    copied = [name for name in model.declaration if _copy_stage(model, name, checkpoint.state)]
    if not copied:
        raise InputError(f"--init-from {path}: no stage of {checkpoint.model} fits a stage of {model.name}")
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    record = {"checkpoint": str(path), "sha256": digest, "stages": copied}
    note = f"weights: {' '.join(copied)} from {path}"
    return record, [note, *_validation_notes(path, checkpoint.run, plan.data)]


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
# Phases that several runs share


def find_shared(folder: str | Path, phases: Sequence[dict]) -> list[Path]:
    """Return the places of the first phases without labels in a folder of phases that several runs share.

    phases: as ``describe_phases`` returns them. The name of a place is the SHA-256 of what the phase and all phases
    before it depend on.
    """
    digest = hashlib.sha256()
    places = []
    for phase in phases:
        if phase["needs labels"]:
            break
        digest.update(repr(phase).encode())
        places.append(Path(folder) / digest.hexdigest())
    return places


def count_equal(phases: Sequence[dict], others: Sequence[dict]) -> int:
    """Return the number of first phases without labels in which two runs are equal."""
    pairs = zip(phases, others, strict=False)
    equal = [phase == other and not phase["needs labels"] for phase, other in pairs]
    return [*equal, False].index(False)


def continue_from(path: Path, plan: Plan) -> tuple[Progress, list[str]]:
    """Take over the phases of a run, as far as its first phases are equal to those of the network.

    path: the last checkpoint of the run.

    Returns the progress after these phases, and their names. Raises InputError if no phase can be taken over.
    """
    checkpoint = load_run(path)
    phases = plan.phases
    progress = checkpoint.progress
    run = checkpoint.run
    source = rebuild_network(checkpoint)
    settings = TrainSettings.from_dict(run["flags"])
    trained = describe_phases(source, checkpoint.build_encoder(), settings, run["fingerprint"])
    count = count_equal(phases, trained[: progress.phase])
    is_begun = progress.epoch > 0 or progress.batch > 0
    begun = list(plan.model.phases)[: progress.phase + is_begun]
    while find_stages(begun[:count]) & find_stages(begun[count:]):  # a later phase has trained them again
        count -= 1
    if not count:
        different = [name for name, value in trained[0].items() if phases[0].get(name) != value]
        reason = "no finished phase without labels is the same"
        if different:
            reason = f"its first phase was trained with another {', '.join(different)}"
        raise InputError(f"--continue-from {path}: {reason}")
    taken = phases[:count]
    progress = take_over(checkpoint, plan.model, [phase["--epochs"] for phase in taken])
    return progress, [phase["phase"] for phase in taken]


def take_over(checkpoint: Checkpoint, model: NetworkTrainer, epochs: Sequence[int]) -> Progress:
    """Copy the stages that a run has trained in its first phases, which are those of the network.

    epochs: the number of epochs of each of these phases. Returns the progress after them.
    """
    phases = list(model.phases)[: len(epochs)]
    prefixes = [f"stages.{name}." for name in find_stages(phases)]
    prefixes += [f"phases.{number}." for number in range(len(phases))]
    state = {key: tensor for key, tensor in checkpoint.state.items() if key.startswith(tuple(prefixes))}
    model.load_state_dict(state, strict=False)
    progress = checkpoint.progress
    names = {phase.name for phase in phases}
    seconds = {name: value for name, value in progress.phase_seconds.items() if name in names}
    return Progress(phase=len(phases), history=progress.history[: sum(epochs)], phase_seconds=seconds)
