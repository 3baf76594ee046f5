"""Checkpoints: files from which a network is rebuilt and a run is resumed, bit for bit.

A checkpoint is a safetensors file. Its tensors are ``state/<name>`` (the network's state dict), ``best/<name>`` (the
state dict of the best epoch so far), ``wins/<layer>`` (wins of each feature in the current epoch),
``kept/<recorder>/<key>`` (what recorders keep, see ``training/recorders/recorder.py``) and ``encoder/<name>`` (what the
encoder has fitted to the training images). The metadata in its header have two entries: ``checkpoint``, one JSON text
with all other fields of ``Checkpoint``, and ``sha256``, a checksum over this text and the tensors. What the checksum
covers is trusted.

Versions 2.0 and 2.1 had ``moments/<layer>/<images>``, which is now what the recorder ``Moments`` keeps. These versions
refuse a checkpoint with ``kept`` in one line, as every field that they do not know, instead of resuming the run without
it. Only the last checkpoint of a run has it, so they read the best one. Therefore, the format has the same number.
"""

import hashlib
import json
import os
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import safetensors.torch
import torch

from encoders import read_encoder
from engine.declaration import to_plain
from engine.encoder import Encoder
from engine.plugins import PLUGINS
from engine.progress import Progress, Row
from engine.stages import read_stages
from errors import InputError, describe_reason
from models import build_model
from network_trainer import NetworkTrainer
from run_folder import FORMAT, check_format
from utils import copy_plain, join_words, write_atomically

StateDict = dict[str, torch.Tensor]
Kept = dict[str, dict[str, Any]]  # {name of a recorder: {key: plain value for JSON, or tensor}}


@dataclass
class RunRecord:
    """What the checkpoints of a run contain beside the network and the progress. Newer fields have their defaults.

    A run changes the last five fields.

    Attributes:
        flags: the settings of train.py.
        paths: the absolute paths of what the flags name: {"dataset": "folder:PATH", "plugin": [path of each file]}.
        dataset, class_names, image_size, fingerprint: of the data set; the size in pixels, see ``picture_size``.
        origin: which weights ("init_from") are those of another run, as in args.json.
        border: of the training images, see ``find_border``; None if no run trained the network.
        characters: whether the training images are characters in the form of MNIST.
        sheet: {image: class} of the sheet of --labels; {} without one.
        spread: how many labels were spread, see ``training/spread.py``; {} without ``--spread``.
        test_reads: how often the run has classified the test images.
        findings, advice: what was wrong, rows of stage, measured and usual, and what the user can try, see
            ``report/diagnosis.py``.
        diagnosis: the findings of earlier versions, as texts.
        earlier: both as they were before the end of the last phase, from where a run that trains it longer goes on.
    """

    flags: dict = field(default_factory=dict)
    paths: dict[str, Any] = field(default_factory=dict)
    dataset: str = ""
    class_names: list[str] = field(default_factory=list)
    image_size: list[int] = field(default_factory=list)
    fingerprint: str = ""
    origin: dict[str, dict] = field(default_factory=dict)
    border: float | None = None
    characters: bool = False
    sheet: dict[str, str] = field(default_factory=dict)
    spread: dict[str, Any] = field(default_factory=dict)
    test_reads: int = 0
    diagnosis: list[str] = field(default_factory=list)
    findings: list[list[str]] = field(default_factory=list)
    advice: dict[str, Any] = field(default_factory=dict)
    earlier: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Checkpoint:
    """The content of a checkpoint.

    Args:
        path: the file, whose name is not saved.
        model, in_channels, num_classes, time_steps, image_size, dtype: arguments of ``build_model``; ``dtype`` is a
            name such as "float32".
        declaration: {name: stage} as plain values. Other values in the file of the network do not change a saved
            network. A field that is newer than the checkpoint has its default.
        encoding: the encoder as plain values.
        state: the network's state dict.
        record: of the run that trained the network, which is empty if no run did. Its key in the file is "run".
        progress: how far the run is; None if the checkpoint contains only a network.
        encoder_state: what the encoder has fitted to the training images.
        kept: what the recorders of the run keep.
    """

    path: Path
    model: str
    in_channels: int
    num_classes: int
    time_steps: int
    image_size: tuple[int, int]
    dtype: str
    declaration: dict
    encoding: dict
    state: StateDict
    record: RunRecord = field(default_factory=RunRecord)
    progress: Progress | None = None
    encoder_state: StateDict = field(default_factory=dict)
    kept: Kept = field(default_factory=dict)

    @property
    def picture_size(self) -> tuple[int, int]:
        """Height and width of the images, in pixels, which an encoder may change to ``image_size``."""
        height, width = self.record.image_size or self.image_size
        return height, width

    def build_encoder(self) -> Encoder:
        """Build the encoder, fitted as it was. Raises InputError if this version of the program has no such encoder."""
        return read_encoder(self.encoding).with_state(self.encoder_state)


@dataclass(frozen=True)
class RunCheckpoint(Checkpoint):
    """The last checkpoint of a run, with which it goes on."""

    progress: Progress = field(default_factory=Progress)


def collect_checkpoint(
    path: Path,
    model: NetworkTrainer,
    encoder: Encoder,
    record: RunRecord | None = None,
    progress: Progress | None = None,
    state: StateDict | None = None,
    kept: Kept | None = None,
) -> Checkpoint:
    """Return a checkpoint of a network with the weights ``state`` (None: its current weights), see ``Checkpoint``."""
    state = model.state_dict() if state is None else state
    dtype = str(next(model.parameters()).dtype).removeprefix("torch.")
    return Checkpoint(
        path=path,
        model=model.name,
        in_channels=model.in_channels,
        num_classes=model.num_classes,
        time_steps=model.time_steps,
        image_size=model.image_size,
        dtype=dtype,
        declaration={name: to_plain(stage) for name, stage in model.declaration.items()},
        encoding=to_plain(encoder),
        state=state,
        record=record or RunRecord(),
        progress=progress,
        encoder_state=dict(encoder.state),
        kept=kept or {},
    )


def save_checkpoint(checkpoint: Checkpoint) -> None:
    """Save a checkpoint. Raises InputError if the file cannot be written."""
    data = encode_checkpoint(checkpoint)  # safetensors' own writer raises no OSError if the disk is full
    write_atomically(checkpoint.path, lambda temporary: temporary.write_bytes(data), is_durable=True)


def load_checkpoint(path: Path | str) -> Checkpoint:
    """Load a checkpoint.

    Raises InputError if it is missing, damaged, of another version or another kind of file, or if its run was trained
    with a plugin that is not imported.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"no checkpoint at {path}")
    checkpoint = decode_checkpoint(path.read_bytes(), path)
    imported = [plugin.name for plugin in PLUGINS]
    for plugin in checkpoint.record.flags.get("plugin", ()):
        name, _, _ = plugin.rpartition(" ")
        if name not in imported:
            recorded = [path for path in checkpoint.record.paths.get("plugin", ()) if Path(path).name == name]
            place = next(filter(os.path.isfile, recorded), name)
            add = f'{join_words(["--plugin", place])}, in Python plugin="{place}"'
            raise InputError(f"{path} was trained with a user's own file: add {add}")
    return checkpoint


def load_run(path: Path) -> RunCheckpoint:
    """Load the last checkpoint of a run. Raises InputError as ``load_checkpoint``, and for any other checkpoint."""
    checkpoint = load_checkpoint(path)
    if checkpoint.progress is None:
        raise InputError(f"{path} is not the last checkpoint of a run")
    return RunCheckpoint(**vars(checkpoint))


def rebuild_network(
    checkpoint: Checkpoint, device: torch.device | str = "cpu", backend: str = "auto"
) -> NetworkTrainer:
    """Rebuild the network of a checkpoint, with its weights.

    Raises InputError if this version of the program has no such network, or if it does not fit.
    """
    try:
        model = build_model(
            checkpoint.model,
            in_channels=checkpoint.in_channels,
            num_classes=checkpoint.num_classes,
            time_steps=checkpoint.time_steps,
            image_size=checkpoint.image_size,
            dtype=getattr(torch, checkpoint.dtype, None),  # layers refuse a type that torch does not have
            device=device,
            backend=backend,
            saved=read_stages(checkpoint.declaration),
        )
        restore_state(model, checkpoint.state)
    except InputError as error:
        raise InputError(f"{checkpoint.path} cannot be used: {error}") from error
    return model


def restore_state(model: NetworkTrainer, state: StateDict) -> None:
    """Load a state dict. Raises InputError if names or shapes differ from those of the network."""
    try:
        model.load_state_dict(state)
    except RuntimeError as error:
        raise InputError(
            f"the weights do not fit this version of {model.name}: {' '.join(str(error).split())}"
        ) from error


@contextmanager
def best_weights(model: NetworkTrainer, best: dict | None) -> Iterator[None]:
    """Give a network the weights of its best epoch, ``Progress.best``, until the context ends; None: its own."""
    own = deepcopy(model.state_dict())
    if best:
        restore_state(model, best["state"])
    try:
        yield
    finally:
        restore_state(model, own)


# ---------------------------------------------------------------------------------------------------------------------
# The file's bytes

GROUPS = {  # of tensors in the file: the field that contains them, {name: tensor}
    "state": "state",
    "encoder": "encoder_state",
    "wins": "progress.wins",
    "best": "progress.best.state",
}


def find_groups(values: dict) -> Iterator[tuple[str, dict, str]]:
    """Yield each group of ``GROUPS`` that these values have, the dict of its field, and its key there."""
    for group, name in GROUPS.items():
        *parents, key = name.split(".")
        part = values
        for parent in parents:
            part = part.get(parent) or {}
        if part:
            yield group, part, key


def encode_checkpoint(checkpoint: Checkpoint) -> bytes:
    """Return the content of a checkpoint's file. Raises InputError if it cannot contain what a recorder keeps."""
    values = {"format": FORMAT, **vars(checkpoint)}
    del values["path"]
    values["run"] = asdict(values.pop("record"))
    if checkpoint.progress is not None:
        values["progress"] = progress = dict(vars(checkpoint.progress))
        progress["history"] = list(map(dict, progress["history"]))
        progress["best"] = progress["best"] and dict(progress["best"])
    tensors = {}
    for group, part, key in find_groups(values):
        for name, tensor in part.pop(key).items():
            tensors[f"{group}/{name}"] = tensor
    plain, kept = divide_kept(values.pop("kept"))
    if plain:
        values["kept"] = plain
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in (tensors | kept).items()}
    text = json.dumps(values)
    return safetensors.torch.save(tensors, {"checkpoint": text, "sha256": compute_checksum(text, tensors)})


def divide_kept(kept: Kept) -> tuple[Kept, StateDict]:
    """Return what recorders keep with None in place of tensors, and the tensors; nothing of a recorder without state.

    Raises InputError for what would be another value after a resume.
    """
    plain: Kept = {}
    tensors: StateDict = {}
    for recorder, values in kept.items():
        rest = dict(values)
        try:
            for key, value in values.items():
                if isinstance(value, torch.Tensor):
                    rest[key] = None
                    tensors[f"kept/{recorder}/{key}"] = value.clone()
                    if value.numpy(force=True).dtype.kind == "c":
                        raise TypeError("a tensor of complex numbers")
            if copy_plain(rest) != rest:
                raise TypeError("JSON has no tuples, and only str as keys")
        except (TypeError, ValueError, RecursionError) as error:
            raise InputError(f"a checkpoint cannot contain what {recorder} keeps: {describe_reason(error)}") from error
        if rest:
            plain[recorder] = rest
    return plain, tensors


def decode_checkpoint(data: bytes, path: Path) -> Checkpoint:
    """Return the checkpoint of the bytes of a file. ``path``: the file, for the messages.

    Raises InputError if the data are damaged, of another version, or not a checkpoint.
    """
    try:
        # safetensors reads no metadata from bytes: 8 bytes for the size of the header, and the header, a JSON text
        size = int.from_bytes(data[:8], "little")
        metadata = json.loads(data[8 : 8 + size])["__metadata__"]
        text = metadata["checkpoint"]
        checksum = metadata["sha256"]
        tensors = safetensors.torch.load(data)
        computed = compute_checksum(text, tensors)
    except (safetensors.SafetensorError, ValueError, TypeError, LookupError, RecursionError) as error:
        raise InputError(f"{path} is damaged, or is not a checkpoint of this program") from error
    if computed != checksum:
        raise InputError(f"{path} is damaged or was changed")
    groups: dict[str, dict] = defaultdict(dict)
    for name, tensor in tensors.items():
        group, _, key = name.partition("/")
        groups[group][key] = tensor
    values = check_format(json.loads(text), path)
    for group, part, key in find_groups(values):
        part[key] = groups[group]
    try:
        values["path"] = path
        values["image_size"] = tuple(values["image_size"])
        if progress := values.get("progress"):
            convergences = progress.pop("convergences", {})
            if groups["moments"]:  # of 2.0 or 2.1
                values["kept"] = {"Moments": {"convergences": convergences, **groups["moments"]}}
            progress["history"] = [Row(**row) for row in progress.get("history", ())]
            values["progress"] = Progress(**progress)
        for name, tensor in groups["kept"].items():
            recorder, _, key = name.partition("/")
            values["kept"][recorder][key] = tensor
        run = values.pop("run", None) or {}
        values["record"] = RunRecord(**run)
        return Checkpoint(**values)
    except (TypeError, LookupError) as error:
        reason = describe_reason(error)
        raise InputError(f"{path} is a checkpoint of another version of this program: {reason}") from error


def compute_checksum(text: str, tensors: StateDict) -> str:
    """Return the SHA-256, in hexadecimal digits, over a text and the name, type, shape and bytes of each tensor.

    The tensors are on the CPU and contiguous.
    """
    digest = hashlib.sha256(text.encode())
    for name, tensor in sorted(tensors.items()):
        dtype = str(tensor.dtype).removeprefix("torch.")
        digest.update(f"\n{name}: {dtype} {tuple(tensor.shape)}\n".encode())  # a JSON text has no line break
        digest.update(tensor.numpy().data)
    return digest.hexdigest()
