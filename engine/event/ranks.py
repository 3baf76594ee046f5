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
    run_parts(_pool_images, images, latency.numpy(force=True), size, rank, time_steps, out.numpy())
    return out.to(latency.device)


def pass_first(latency: Tensor, rank: int, time_steps: int) -> Tensor:
    """Return latency uint8 (N, C, H, W) without the spikes that come after the spike of a rank at their position."""
    out = torch.empty(latency.shape, dtype=torch.uint8)
    run_parts(_pass_first_of_images, len(latency), latency.numpy(force=True), rank, time_steps, out.numpy())
    return out.to(latency.device)


@compiled
def _pool_images(part, parts, latency, size, rank, silent, out):
    _, channels, height, width = out.shape
    counts = np.empty(silent + 1, np.int64)
    for n in range(part, len(out), parts):
        for c in range(channels):
            for y in range(height):
                for x in range(width):
                    counts[:] = 0
                    for line in latency[n, c, y * size : (y + 1) * size]:
                        for t in line[x * size : (x + 1) * size]:
                            counts[min(t, silent)] += 1
                    out[n, c, y, x] = _find_time(counts, rank)


@compiled
def _pass_first_of_images(part, parts, latency, rank, silent, out):
    _, channels, height, width = out.shape
    counts = np.empty((height, width, silent + 1), np.int64)
    last = np.empty((height, width), np.uint8)
    for n in range(part, len(out), parts):
        counts[:] = 0
        for c in range(channels):
            for y in range(height):
                for x in range(width):
                    counts[y, x, min(latency[n, c, y, x], silent)] += 1
        for y in range(height):
            for x in range(width):
                last[y, x] = _find_time(counts[y, x], rank)
        for c in range(channels):
            for y in range(height):
                for x in range(width):
                    t = latency[n, c, y, x]
                    out[n, c, y, x] = t if t <= last[y, x] else silent


@compiled
def _find_time(counts, rank):
    """Return the time step of the spike of a rank. counts (T + 1,): spikes of each time step, then silent neurons."""
    t = 0
    seen = counts[0]
    while seen < rank and t < len(counts) - 1:
        t += 1
        seen += counts[t]
    return t
