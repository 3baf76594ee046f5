"""Latency maps and labels as tensors: their types and shapes."""

from typing import Any

import torch
from torch import Tensor

from errors import InputError

INTEGERS = {torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64}


def to_tensor(values: Any, what: str) -> Tensor:
    """Return values as a dense tensor. Raises InputError, which names ``what`` they are, if they are no numbers."""
    try:
        tensor = torch.as_tensor(values)
    except (RuntimeError, TypeError, ValueError) as error:
        raise InputError(f"{what} must be a tensor, not {type(values).__name__}: {error}") from error
    if tensor.layout != torch.strided or tensor.is_meta:
        raise InputError(f"{what} must be a dense tensor, not {tensor.layout} on {tensor.device}")
    return tensor


def to_latency_map(values: Any, channels: int | None = None) -> Tensor:
    """Return a latency map as a tensor. Raises InputError unless it is uint8 (N, channels, H, W); None: any number."""
    latency = to_tensor(values, "latency")
    if latency.dtype != torch.uint8 or latency.dim() != 4 or channels not in (None, latency.shape[1]):
        wanted = f"uint8 (N, {channels or 'C'}, H, W)"
        raise InputError(f"latencies must be {wanted}, not {latency.dtype} {tuple(latency.shape)}")
    return latency


def to_classes(values: Any, what: str, count: int, num_classes: int) -> Tensor:
    """Return classes as int64 (count,) on the CPU.

    Raises InputError, which names ``what`` they are, unless they are ``count`` integers from 0 to ``num_classes`` - 1.
    """
    values = to_tensor(values, what).cpu()
    if values.shape != (count,) or values.dtype not in INTEGERS:
        message = f"{what} must be {count} integers ({count},), not {values.dtype} {tuple(values.shape)}"
        raise InputError(message)
    if count and not 0 <= int(values.min()) <= int(values.max()) < num_classes:
        message = f"{what} must be 0 to {num_classes - 1}, not {values.min()} to {values.max()}"
        raise InputError(message)
    return values.long()


def drop_times(latency: Tensor, time_steps: int) -> Tensor:
    """Return a latency map in which all spikes come at once, at step 0."""
    return (latency >= time_steps).to(torch.uint8) * time_steps
