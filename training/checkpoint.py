"""Checkpoints: a network that can be used again, and a run that goes on as if it had never stopped."""

import io
import warnings
from pathlib import Path

import torch

from errors import InputError
from models import build_model
from utils import latest_run, write_atomically

FORMAT = 1
NEEDED = {"model", "in_channels", "num_classes", "steps", "dtype", "encoding", "run", "progress", "state"}


def save(path, model, encoding, run=None, progress=None, state=None):
    """Write a checkpoint: the network (or the given ``state`` of it) and how to feed and read it.

    ``encoding``: of ``encoders.encoder_config``; ``run``: the run's settings and data set; ``progress``: for a resume.
    """
    content = {
        "format": FORMAT,
        "model": model.name,
        "in_channels": model.in_channels,
        "num_classes": model.num_classes,
        "steps": model.time_steps,
        "overrides": model.overrides,
        "image_size": list(model.image_size),
        "dtype": str(model.convs()[0].weight.dtype).removeprefix("torch."),
        "class_of_feature": None if model.decision is None else model.class_of_feature().tolist(),
        "encoding": encoding,
        "run": run or {},
        "progress": progress.to_dict() if progress else None,
        "state": state or model.state_dict(),
    }
    buffer = io.BytesIO()  # so that a full disk is Python's error, not torch's
    torch.save(content, buffer)
    write_atomically(path, lambda temporary: temporary.write_bytes(buffer.getbuffer()))


def find(name, output):
    """The path of the checkpoint that a flag names: itself, or the best of a run, of the 'latest' one in ``output``."""
    place = latest_run(output) if name == "latest" else Path(name)
    if not place.is_dir():
        return place
    best = place / "checkpoints" / "best.pt"
    return best if best.is_file() else best.with_name("last.pt")


def load(path):
    """The content of a checkpoint. Errors: InputError if it is missing, damaged, or something else."""
    path = Path(path)
    if not path.is_file():
        raise InputError(f"no checkpoint at {path}")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch's opinion of a bare pickle, which is refused anyway
            content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises many kinds: a bad archive, a bad pickle, a forbidden class
        raise InputError(f"{path} is damaged or no checkpoint of this program ({type(error).__name__})") from error
    if not isinstance(content, dict) or content.get("format") != FORMAT or not content.keys() >= NEEDED:
        raise InputError(f"{path} is no checkpoint of this program, or of another version of it")
    if content["progress"] is not None:
        # what is now called the loss was "wrong" once
        rows = content["progress"]["history"]
        rows[:] = [{key.replace("_wrong", "_loss"): value for key, value in row.items()} for row in rows]
    return content


def rebuild(content, device="cpu", backend="auto"):
    """The network of a checkpoint. Errors: InputError if its weights do not belong to the network it names."""
    model = build_model(
        content["model"],
        in_channels=content["in_channels"],
        num_classes=content["num_classes"],
        time_steps=content["steps"],
        dtype=getattr(torch, content["dtype"]),
        device=device,
        backend=backend,
        overrides=content.get("overrides"),  # older ones have none
        image_size=content.get("image_size", (28, 28)),  # nor this; their networks take any size
    )
    restore(model, content["state"], content["model"])
    return model


def restore(model, state, name):
    try:
        model.load_state_dict(state)
    except RuntimeError as error:
        reason = " ".join(str(error).split())[:300]
        raise InputError(f"the weights of {name!r} do not fit this version of the network: {reason}") from error
