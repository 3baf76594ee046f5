"""``--init-from``: a new network starts from weights of a trained network."""

import hashlib
from pathlib import Path

import numpy as np
import torch

from errors import InputError
from network_trainer import NetworkTrainer
from training.checkpoint import load_checkpoint
from training.encoders import build_encoder, encoder_config
from training.run import Data, divide
from training.settings import TrainSettings


def initialize_from(path: Path, model: NetworkTrainer, encoder, data: Data):
    """Copy each stage of a checkpoint whose name and weights' shapes fit into the model, with the rates of its rules.

    Returns a record of it for args.json, and lines for the log. Raises InputError if the checkpoint's encoder differs,
    or if no stage fits.
    """
    checkpoint = load_checkpoint(path)
    theirs, own = encoder_config(build_encoder(checkpoint.encoding)), encoder_config(encoder)
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
            f"--init-from {path} contains a {checkpoint.model}; no stage of it fits a stage of {model.name}",
            flag="--init-from",
            path=path,
        )
    new = [name for name, stage in model.stages.items() if stage.convs and name not in copied]
    record = {"checkpoint": str(path), "sha256": hashlib.sha256(path.read_bytes()).hexdigest(), "stages": copied}
    note = f"{' '.join(copied)} from {path}" + (f"; {' '.join(new)} from the seed" if new else "")
    return record, [note, *_validation_notes(path, checkpoint.run, data)]


def _copy_stage(model: NetworkTrainer, name: str, state: dict[str, torch.Tensor]) -> bool:
    """Copy the stage's tensors that have the same shape in ``state``, if all of its weights have; return whether."""
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
    """Return a line if the checkpoint's network was, or may have been, trained on the validation images; else []."""
    if not len(data.validation):
        return []
    if not run:
        return [f"{path} does not name its training images: they may include these validation images"]
    if run["fingerprint"] != data.set.fingerprint:
        return [f"{path} was trained on other data, {run['dataset']}: they may include these validation images"]
    trained, _ = divide(data.set.train_labels, TrainSettings.from_dict(run["flags"]))
    seen = len(np.intersect1d(trained, data.validation))
    if not seen:
        return []
    return [
        f"{path} was trained on another split: on {seen:,} of these {len(data.validation):,} validation images; the "
        "validation accuracy is too high"
    ]
