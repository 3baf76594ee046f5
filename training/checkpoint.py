"""Checkpoints: a network that can be used again, and a run that goes on as if it had never stopped.

A checkpoint is torch's archive of a dict of plain values and tensors: the fields of ``checkpoint_fields``. No wrong
byte becomes a wrong number: before anything is built of it, the archive's own checksums are compared, then the type and
the range of every field, then the SHA-256 over all that was saved, and last, beside its network, every weight.
"""

import hashlib
import io
import struct
import warnings
import zipfile
from contextlib import contextmanager
from pathlib import Path

import torch

from errors import InputError
from models import build_model
from training import checkpoint_fields, checkpoint_fit
from training.kinds import refuse, walk
from utils import find_latest_run, write_atomically

FORMAT = 2
CHECKSUM = "sha256"  # the field; format 1 had none


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
        "state": {key: value.cpu().contiguous() for key, value in (state or model.state_dict()).items()},
    }
    buffer = io.BytesIO()  # so that a full disk is Python's error, not torch's
    torch.save(signed(content), buffer)
    write_atomically(path, lambda temporary: temporary.write_bytes(buffer.getbuffer()))


def signed(content):
    """The content of a checkpoint with its checksum."""
    content = {key: value for key, value in content.items() if key != CHECKSUM}
    return {**content, CHECKSUM: checksum(content)}


def checksum(content):
    """SHA-256, as hexadecimal digits, over nested dicts and lists of plain values and tensors: types, sizes and values.

    Each value begins with its type and its size, so that no two contents are one row of bytes.
    """
    digest = hashlib.sha256()
    _add(digest, content)
    return digest.hexdigest()


def _add(digest, value):
    if isinstance(value, torch.Tensor):
        digest.update(f"tensor {value.dtype} {tuple(value.shape)}:".encode())
        digest.update(value.detach().cpu().contiguous().numpy().data)
    elif isinstance(value, dict):
        digest.update(f"dict {len(value)}:".encode())
        for item in value.items():
            _add(digest, item)
    elif isinstance(value, list | tuple):
        digest.update(f"{type(value).__name__} {len(value)}:".encode())
        for item in value:
            _add(digest, item)
    else:
        # a float's own bytes: those of another NaN or of -0.0 differ too
        content = struct.pack("<d", value) if isinstance(value, float) else repr(value).encode()
        digest.update(f"{type(value).__name__} {len(content)}:".encode() + content)


def find(name, output):
    """The path of the checkpoint that a flag names: itself, or the best of a run, of the 'latest' one in ``output``."""
    place = find_latest_run(output) if name == "latest" else Path(name)
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
        content = _read(path)
    except InputError as error:
        raise InputError(f"{path} is damaged or was changed: {error}") from error
    except Exception as error:  # zipfile and torch raise many kinds: a bad archive, a bad pickle, a forbidden class
        raise InputError(f"{path} is damaged or no checkpoint of this program ({type(error).__name__})") from error
    known = (
        isinstance(content, dict)
        and type(content.get("format")) is int
        and content["format"] in checkpoint_fields.FORMATS
    )
    if not known or not content.keys() >= set(checkpoint_fields.NEEDED):
        raise InputError(f"{path} is no checkpoint of this program, or of another version of it")
    with telling(path):
        content = _renamed(content)
        checkpoint_fields.check(content)
        if content["format"] > 1 and content.get(CHECKSUM) != signed(content)[CHECKSUM]:
            raise InputError("what it holds does not give its checksum")
    return content


def _read(path):
    """What torch reads of the archive, if that is whole. Errors: of many kinds."""
    with open(path, "rb") as file:
        with zipfile.ZipFile(file) as archive:
            entries = archive.infolist()
            stored = all(entry.compress_type == zipfile.ZIP_STORED for entry in entries)
            if not stored or sum(entry.file_size for entry in entries) > path.stat().st_size or archive.testzip():
                raise zipfile.BadZipFile
        file.seek(0)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch's opinion of a bare pickle, which is refused anyway
            content = torch.load(file, map_location="cpu", weights_only=True)
    # torch believes the pickle, which says how long each storage is, and would read what lies behind
    tensors = [value for _, value in walk(content) if isinstance(value, torch.Tensor)]
    storages = {tensor.untyped_storage().data_ptr(): tensor.untyped_storage().nbytes() for tensor in tensors}
    sizes = [entry.file_size for entry in entries if "/data/" in entry.filename]
    if sorted(storages.values()) != sorted(sizes):
        raise zipfile.BadZipFile
    return content


def _renamed(content):
    """The content with today's names: what is called the loss was "wrong" once."""
    progress = content["progress"]
    rows = progress.get("history") if isinstance(progress, dict) else None
    if content["format"] > 1 or not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        return content
    rows = [{str(key).replace("_wrong", "_loss"): value for key, value in row.items()} for row in rows]
    return {**content, "progress": {**progress, "history": rows}}


@contextmanager
def telling(path):
    """Have the errors about what a checkpoint holds name the checkpoint."""
    try:
        yield
    except InputError as error:
        raise InputError(f"{path} is damaged or was changed: {error}") from error


def lack(path, content):
    """A sentence about what the checkpoint of an older version does not have; None if it has all."""
    if content["format"] == FORMAT:
        return None
    return f"{path} has no checksum (written by an older version): small damage to its weights would not be seen"


def rebuild(content, device="cpu", backend="auto"):
    """The network of a checkpoint. Errors: InputError if its weights do not belong to the network it names."""
    flags = content["run"].get("flags", {})
    model = build_model(
        content["model"],
        in_channels=content["in_channels"],
        num_classes=content["num_classes"],
        seed=flags.get("seed") or 0,
        time_steps=content["steps"],
        dtype=getattr(torch, content["dtype"]),
        device=device,
        backend=backend,
        overrides=content.get("overrides"),  # older ones have none
        image_size=content.get("image_size", (28, 28)),  # nor this; their networks take any size
    )
    check_fit(model, content["state"], content["model"])
    with telling(f"the checkpoint of {content['model']!r}"):
        _check_with(model, content)
    model.load_state_dict(content["state"])
    return model


def _check_with(model, content):
    """Errors: InputError unless the checkpoint's fields are those of the network, which has its first weights."""
    progress, flags = content["progress"], content["run"].get("flags", {})
    states = {"state": content["state"]}
    if progress and progress.get("best"):
        states["progress.best.state"] = progress["best"]["state"]
    for where, state in states.items():
        checkpoint_fit.check_state(state, model, where)
        if not flags.get("init_from"):  # whose rules may have had other bounds
            checkpoint_fit.check_bounds(state, model, where)
    classes = None if model.decision is None else model.class_of_feature().tolist()
    if content.get("class_of_feature", classes) != classes:
        refuse("class_of_feature", content["class_of_feature"], "that of its network")
    if progress:
        checkpoint_fit.check_progress(progress, model, flags.get("epochs"))


def restore(model, state, name):
    """Load a state. Errors: InputError if it is not one of the network, which is called ``name``."""
    check_fit(model, state, name)
    model.load_state_dict(state)


def check_fit(model, state, name):
    try:
        checkpoint_fit.check_state(state, model)
    except InputError as error:
        raise InputError(f"the weights of {name!r} do not fit this version of the network: {error}") from error
