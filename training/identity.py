"""What identifies a trained phase: the key of all that its weights depend on, and the version of the code.

Two runs have bit-identical weights after a phase if the keys of the phase are equal and the code is the same. The code
is compared apart: ``--continue-from DIR`` leaves out the runs in a folder that other code has trained, while
``--resume`` and ``--continue-from RUN`` warn of other code.
"""

import functools
import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from engine.backends import choose_backend
from engine.declaration import Declared
from engine.encoder import Encoder
from engine.phases import Epochs
from network_trainer import NetworkTrainer
from training.settings import CODE, LABELS, LEARNING, TrainSettings
from utils import ROOT, find_commit

# All files on which the weights depend, beside the settings and the data
CORE = (
    "SpykeTorch/*.py", "engine/**/*.py", "encoders/*.py", "models/*.py", "imagesets/*.py", "network_trainer.py",
    "s1c1.py", "training/plan.py",
)  # fmt: skip


@dataclass(frozen=True)
class PhaseKey:
    """The key of a phase of a run.

    Attributes:
        stages: the stages that learn.
        needs_labels: whether they learn with labels.
        epochs: the number of epochs that are planned; 0: the phase is skipped.
        parts: {what: its value as a text} of all that the weights after the phase depend on, without the phases before
            it. Flags and fields that have their defaults are left out, so that a new one does not change the key.
        digest: the SHA-256 over the parts of this phase and of all phases before it.
    """

    stages: list[str]
    needs_labels: bool
    epochs: int
    parts: dict[str, str]
    digest: str


def make_keys(
    model: NetworkTrainer,
    encoder: Encoder,
    settings: TrainSettings,
    fingerprint: str,
    images: np.ndarray,
    weights: str = "",
    trained: Sequence[PhaseKey] = (),
) -> list[PhaseKey]:
    """Return the keys of the phases of a run.

    The backend and the kind of device belong to them, because they round differently, and rounding can choose another
    winner. A phase depends on the stages up to the highest that has learned, because initial weights are drawn in this
    order.

    Args:
        settings: completed by ``plan.resolve``.
        fingerprint: of the data set.
        images: indices of the training images.
        weights: the SHA-256 of the checkpoint of ``--init-from``; "": unknown.
        trained: the keys of the first phases, which were trained before, perhaps with another backend.
    """
    flags = settings.flags()
    common = {}
    for name, value in settings.select(LEARNING, CODE).items():
        if value != flags[name].default:
            common[flags[name].flag] = value
    if weights:
        common["--init-from"] = weights
    device, _, _ = settings.device.partition(":")
    common |= {"--backend": choose_backend(settings.backend, device), "--device": device, "encoder": encoder}
    common |= {"fingerprint of the data": fingerprint, "choice of training images": images}
    names = list(model.declaration)
    lengths = Epochs(model.phases, settings.epochs, settings.converge, len(images))
    keys = []
    top = 0
    digest = hashlib.sha256()
    for number, (phase, epochs) in enumerate(zip(model.phases, common.pop("--epochs"), strict=True)):
        if phase.needs_labels:
            common |= settings.select(LABELS)
        top = max(top, *(1 + names.index(name) for name in phase.stages))
        attributes = {name: vars(phase)[name] for name in vars(phase).keys() - vars(nn.Module()).keys()}
        planned = epochs if lengths.least(number) == epochs else f"at most {epochs}"
        learning = {"class": type(phase).__qualname__, "--epochs": planned, **attributes}
        stages = {name: model.declaration[name] for name in names[:top]}
        parts = {what: describe(value) for what, value in (common | learning | stages).items()}
        if number < len(trained):
            parts = trained[number].parts
        digest.update(json.dumps(parts, sort_keys=True).encode())
        keys.append(PhaseKey(list(phase.stages), phase.needs_labels, epochs, parts, digest.hexdigest()))
    return keys


def describe(value: Any) -> str:
    """Return a text that differs if the value of a setting, a declaration or an attribute of a phase differs."""
    if isinstance(value, np.ndarray | torch.Tensor):
        return hashlib.sha256(np.asarray(value).tobytes()).hexdigest()
    if isinstance(value, tuple | list):
        return f"({', '.join(map(describe, value))})"
    if isinstance(value, dict):
        return describe([*value.items()])
    if isinstance(value, Declared):
        given = []
        for item in fields(value):
            content = getattr(value, item.name)
            if content != item.default:
                given.append(f"{item.name}={describe(content)}")
        return f"{type(value).__name__}({', '.join(given)})"
    if isinstance(value, float) and value.is_integer():
        value = int(value)  # 15.0 is 15
    return repr(value)


def count_equal(keys: Sequence[PhaseKey], others: Sequence[PhaseKey]) -> int:
    """Return the number of first phases without labels in which two runs are equal."""
    pairs = zip(keys, others, strict=False)
    equal = [key.digest == other.digest and not key.needs_labels for key, other in pairs]
    return [*equal, False].index(False)


# ---------------------------------------------------------------------------------------------------------------------
# The version of the code


@functools.cache
def digest_core() -> str:
    """Compute the SHA-256, in hexadecimal digits, over the files of ``CORE``."""
    digest = hashlib.sha256()
    for pattern in CORE:
        for path in sorted(ROOT.glob(pattern)):
            digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()


def describe_code() -> dict[str, str | None]:
    """Return {``digest_core()``: the commit}, the version of the code that a run saves in its checkpoints.

    If the code is changed while a run is interrupted, its checkpoints contain both versions.
    """
    return {digest_core(): find_commit()}


def compare_code(path: Path, before: dict[str, str | None]) -> list[str]:
    """Return a warning if other code than this has trained a run, because its result may be another one, else [].

    path: of the run, or of its checkpoint. before: the versions that have trained it.
    """
    here = describe_code()
    if before.keys() == here.keys():
        return []
    commits = [" ".join(map(str, code.values())) for code in (before, here)]
    return [f"warning: {path} was trained by other code (commit {commits[0]}; here: {commits[1]})"]


def compare_backends(before: TrainSettings, now: TrainSettings) -> list[str]:
    """Return a note if a resumed run has another backend or another kind of device than before, else []."""
    used = []
    for settings in (before, now):
        kind, _, _ = settings.device.partition(":")
        used.append(f"the {choose_backend(settings.backend, kind)} backend on {kind}")
    if used[0] == used[1]:
        return []
    return [f"{used[1]} continues the training of {used[0]}; they round differently"]
