"""Latency maps as tensors."""

from typing import Any

import torch
from torch import Tensor

from errors import InputError


def to_latency_map(values: Any, channels: int | None = None) -> Tensor:
    """Return a latency map as a tensor. Raises InputError unless it is uint8 (N, channels, H, W); None: any number."""
    latency = torch.as_tensor(values)
    if latency.dtype != torch.uint8 or latency.dim() != 4 or channels not in (None, latency.shape[1]):
        wanted = f"uint8 (N, {channels or 'C'}, H, W)"
        raise InputError(f"latencies must be {wanted}, not {latency.dtype} {tuple(latency.shape)}")
    return latency


def drop_times(latency: Tensor, time_steps: int) -> Tensor:
    """Return a latency map in which all spikes come at once, at step 0."""
    return (latency >= time_steps).to(torch.uint8) * time_steps
