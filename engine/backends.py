"""The backends: their names, the choice of one, and what they read of a layer.

A backend is a module of five functions: ``engine/event/`` or ``engine/torch_backend.py``. ``Promised`` in
``tests/engine/test_backends.py`` states them.
"""

from typing import Protocol

import torch
from torch import Tensor

from engine.stages import SpikingConv
from errors import InputError

BACKENDS = "event", "torch"
AUTO = "auto"


def choose_backend(name: str, device: str | torch.device) -> str:
    """Return the name of the backend on a device; "auto" is "event" on a CPU, and "torch" on all other devices.

    Raises InputError for an unknown name, for the event backend on another device than a CPU, and for a device without
    float64, the type of the rates.
    """
    kind = torch.device(device).type
    is_on_cpu = kind == "cpu"
    if kind == "mps":
        raise InputError(f"{device} has no float64, the type of the rates: use a CPU")
    if name == AUTO:
        return "event" if is_on_cpu else "torch"
    if name not in BACKENDS:
        raise InputError(f"backend must be {', '.join(BACKENDS)} or {AUTO}, not {name!r}")
    if name == "event" and not is_on_cpu:
        raise InputError(f"the event backend runs on a CPU, not on {device}: use torch")
    return name


class LayerState(Protocol):
    """What a backend reads of a layer, and changes when the layer learns: ``weight``."""

    stage: SpikingConv
    time_steps: int  # T
    weight: Tensor  # (F, C, k, k)
    threshold: float  # θ
