"""Count synaptic operations (additions of one weight), and measure their limit, the speed of plain additions."""

import time

import numpy as np

from engine.compiled import compiled
from engine.event.layout import allocate_aligned
from report.energy import sum_taps


def count_operations(layer, latencies, last=None):
    """Return the additions per image of each spike at the positions it reaches, up to time step ``last`` (N,)."""
    latencies = np.asarray(latencies)
    until = np.full(len(latencies), layer.time_steps - 1) if last is None else np.asarray(last)
    spiked = latencies <= until[:, None, None, None]
    return float(sum_taps(layer, spiked.sum(0)).sum() * layer.stage.out_channels / len(latencies))


def find_last_steps(winners, steps):
    """Return the last time step (N,) that learning needs of each image, from the winners (N, K, 4) of ``learn``."""
    winners = np.asarray(winners)
    complete = (winners[..., 0] >= 0).all(1)
    return np.where(complete, winners[..., 3].max(1), steps - 1)


@compiled
def _add(p, w, times):
    for _ in range(times):
        for i in range(p.size):
            p[i] += w[i]


def measure_plain_additions(repeats=9):
    """Return the giga-additions per second of ``p += w`` in float32 in the innermost cache, the best of four sizes."""
    best = 0.0
    for size in (512, 1024, 2048, 4096):
        # Arrays that do not begin with a cache line are up to 40 % slower.
        p, w = (allocate_aligned(size, np.empty(0, np.float32)) for _ in range(2))
        p[:], w[:] = 0, 1
        times = 20_000_000 // size
        _add(p, w, times)
        for _ in range(repeats):
            start = time.perf_counter()
            _add(p, w, times)
            best = max(best, size * times / (time.perf_counter() - start) / 1e9)
    return best
