"""Synaptic operations (one addition of one weight) that an image costs, and the speed limit of plain additions."""

import time

import numpy as np

from engine.compiled import compiled
from engine.event.layout import aligned
from report.activity import reached


def synaptic_operations(conv, latencies, last=None):
    """Additions per image: each spike, up to time step ``last`` (N,) of its image, adds weights where it reaches."""
    latencies = np.asarray(latencies)
    until = np.full(len(latencies), conv.time_steps - 1) if last is None else np.asarray(last)
    spiked = latencies <= until[:, None, None, None]
    spikes = spiked.sum(1)  # per pixel
    return float((spikes * reached(conv, *latencies.shape[2:])).sum() * conv.out_channels / len(latencies))


def last_winner(winners, steps):
    """Up to which time step learning had to follow each image: winners (N, K, 4) of ``learn_stdp`` -> (N,)."""
    winners = np.asarray(winners)
    complete = (winners[..., 0] >= 0).all(1)
    return np.where(complete, winners[..., 3].max(1), steps - 1)


@compiled
def _add(p, w, times):
    for _ in range(times):
        for i in range(p.size):
            p[i] += w[i]


def plain_additions(repeats=9):
    """Giga-additions per second of ``p += w`` over float32 arrays in the innermost cache: the best of four sizes."""
    best = 0.0
    for size in (512, 1024, 2048, 4096):
        # from the beginning of a cache line on: elsewhere additions are up to 40 % slower
        p, w = (aligned(size, np.empty(0, np.float32)) for _ in range(2))
        p[:], w[:] = 0, 1
        times = 20_000_000 // size
        _add(p, w, times)
        for _ in range(repeats):
            start = time.perf_counter()
            _add(p, w, times)
            best = max(best, size * times / (time.perf_counter() - start) / 1e9)
    return best
