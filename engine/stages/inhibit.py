"""Inhibition between the features at each position."""

import math
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from engine.compiled import compiled
from engine.declaration import ranged
from engine.stages.pool import find_time
from engine.stages.stage import Stage
from engine.threads import run_parts


@dataclass(frozen=True)
class Inhibit(Stage):
    """Inhibition between the features at each position: the first spikes pass, later ones are silent.

    A spike passes if fewer than k = ⌈share · F⌉ of the F features spike earlier at its position. Spikes at the same
    time pass together, so that no potential is needed.

    Args:
        share: the share of the features that pass, if all spike at different times; above 0, at most 1.
        inputs: see ``Stage``.
    """

    share: float = ranged(0, 1, above=True)

    title: ClassVar[str] = "inhibition"

    def count(self, features: int) -> int:
        """Return k of F features. Without the rounding, 0.07 · 100 would be 7.000000000000001, and k would be 8."""
        return max(1, math.ceil(round(self.share * features, 9)))

    def explain(self) -> str:
        return f"the spikes of the first {100 * self.share:.4g} % of the features at each position"

    def fire(self, latency: Tensor, time_steps: int) -> Tensor:
        """Return the map, see ``Stage``. Kernel: ``_inhibit_images``, which counts spikes instead of sorting them."""
        rank = self.count(latency.shape[1])
        latest = latency.sort(1).values[:, rank - 1 : rank]
        passes = (latency <= latest) & (latency < time_steps)
        return torch.where(passes, latency, time_steps)

    def fire_compiled(self, latency: Tensor, time_steps: int) -> Tensor:
        flat = latency.flatten(2)
        out = torch.empty(flat.shape, dtype=torch.uint8)
        rank = self.count(latency.shape[1])
        run_parts(_inhibit_images, len(flat), flat.numpy(), rank, time_steps, out.numpy())
        return out.view(latency.shape)


@compiled
def _inhibit_images(part, parts, latency, rank, silent, out):
    """Let pass what is not later than the spike of a rank, as ``Inhibit.fire`` does. latency, out: (N, F, H · W)."""
    images, channels, positions = latency.shape
    counts = np.empty((positions, silent), np.int32)
    last = np.empty(positions, np.uint8)
    for n in range(part, images, parts):
        counts[:] = 0
        for c in range(channels):
            times = latency[n, c]
            for p in range(positions):
                t = times[p]
                if t < silent:
                    counts[p, t] += 1
        for p in range(positions):
            last[p] = find_time(counts[p], rank)
        for c in range(channels):
            times = latency[n, c]
            passed = out[n, c]
            for p in range(positions):
                passed[p] = times[p] if times[p] <= last[p] else silent
