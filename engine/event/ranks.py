"""The spike of a rank among others, found by counting the spikes of each time step.

Times beyond the last time step count as silence.
"""

import numpy as np
import torch
from torch import Tensor

from engine.compiled import compiled
from engine.threads import run_parts


def pool_by_rank(latency: Tensor, size: int, rank: int, time_steps: int) -> Tensor:
    """Return when the spike of a rank, from 1 on, comes in each size×size window of latency uint8 (N, C, H, W).

    Returns:
        uint8 (N, C, H / size, W / size); ``time_steps`` where a window has fewer spikes.
    """
    images, channels, height, width = latency.shape
    out = torch.empty((images, channels, height // size, width // size), dtype=torch.uint8)
    run_parts(_pool_images, images, latency.numpy(), size, rank, time_steps, out.numpy())
    return out


def inhibit(latency: Tensor, rank: int, time_steps: int) -> Tensor:
    """Compute the map of an ``Inhibit`` stage, of the same shape as latency uint8 (N, F, H, W).

    rank: spikes that come after the spike of this rank at their position do not pass.
    """
    flat = latency.flatten(2)
    out = torch.empty(flat.shape, dtype=torch.uint8)
    run_parts(_inhibit_images, len(flat), flat.numpy(), rank, time_steps, out.numpy())
    return out.view(latency.shape)


@compiled
def _pool_images(part, parts, latency, size, rank, silent, out):
    _, channels, height, width = out.shape
    counts = np.empty((width, silent), np.int32)
    for n in range(part, len(out), parts):
        for c in range(channels):
            for y in range(height):
                counts[:] = 0
                for line in latency[n, c, y * size : (y + 1) * size]:
                    for x in range(width * size):
                        t = line[x]
                        if t < silent:  # a branch, because most neurons are silent
                            counts[x // size, t] += 1
                for x in range(width):
                    out[n, c, y, x] = _find_time(counts[x], rank)


@compiled
def _inhibit_images(part, parts, latency, rank, silent, out):
    """latency, out: (N, C, H · W)."""
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
            last[p] = _find_time(counts[p], rank)
        for c in range(channels):
            times = latency[n, c]
            passed = out[n, c]
            for p in range(positions):
                passed[p] = times[p] if times[p] <= last[p] else silent


@compiled
def _find_time(counts, rank):
    """Return the time step of the spike of a rank, or T if there are fewer. counts (T,): the spikes of each step."""
    seen = 0
    for t in range(len(counts)):
        seen += counts[t]
        if seen >= rank:
            return t
    return len(counts)
