"""Competition: point-wise inhibition, then the K winners of an image."""

from typing import NamedTuple

import numpy as np

from engine.compiled import compiled
from engine.decision import strongest, tolerance
from engine.event.firing import Spikes, integrate, reset, sort_by_time
from engine.event.layout import Geometry
from engine.event.simd import any_above


class Competitor(NamedTuple):
    """A firing layer whose neurons compete, and its work space: made once for a batch of images."""

    geometry: Geometry
    rows: np.ndarray  # of the weights
    limit: float  # the declared threshold, higher by ``tolerance``: an equal potential does not fire, despite rounding
    start: np.ndarray  # a row of potentials before the first spike: 0, or -inf of a feature that is left out
    max_winners: int
    radius: int  # within which a winner inhibits all neurons
    potential: np.ndarray  # of one image: rows (Ho, mirrored Wo)
    spikes: Spikes  # of one image


class Arena(NamedTuple):
    """The neurons of one image that can still win. Positions have mirrored columns, like the potentials."""

    closed: np.ndarray  # bool (Ho, Wo): no neuron can win here, because it is blocked, or a feature has crossed
    blocked: np.ndarray  # bool (Ho, Wo): within the radius of a winner
    has_won: np.ndarray  # bool (F,)
    candidates: np.ndarray  # int32 (Ho · Wo, 3), of one time step: feature, line, column
    strengths: np.ndarray  # (Ho · Wo,): their potentials


@compiled
def compete(latency, layer, winners):
    """Write the winners of an image, as ``torch_backend._compete`` finds them, to ``winners``; return their number.

    At each position, point-wise inhibition leaves the feature that crosses the threshold first; of several at the same
    time, the feature with the highest potential, then the lowest index. Among these neurons, the winners are the
    earliest; of several at the same time, those with the highest potential, then the lowest flat index (F, Ho, Wo).
    Potentials that differ only by rounding are equal: see ``tolerance``.

    The image is followed only until the time step of the last winner, and only at positions where a neuron can still
    win.

    Args:
        latency: uint8 (C, H, W).
        layer: a ``Competitor``.
        winners: int32 (K, 4): feature, line, column, time step.
    """
    geometry, rows, limit, start, max_winners, radius, potential, spikes = layer
    positions = geometry.out_height * geometry.out_width
    sort_by_time(latency, geometry, spikes)
    reset(potential, start)
    arena = _make_arena(geometry, rows)
    open_positions = positions
    count = 0
    for t in range(geometry.time_steps):
        # while few positions are closed, the test of each position costs more than it saves
        skips_closed = 4 * open_positions < 3 * positions
        top, bottom = integrate(t, spikes, rows, geometry, potential, skips_closed, arena.closed)
        if bottom <= top:
            continue
        crossed = _find_candidates(top, bottom, potential, limit, geometry, arena)
        open_positions -= crossed
        while count < max_winners:
            best = _best_candidate(crossed, geometry, arena)
            if best < 0:
                break
            feature, line, column = arena.candidates[best, 0], arena.candidates[best, 1], arena.candidates[best, 2]
            arena.has_won[feature] = True
            open_positions -= _block(line, column, radius, arena)
            winners[count, 0] = feature
            winners[count, 1] = line
            winners[count, 2] = geometry.out_width - 1 - column
            winners[count, 3] = t
            count += 1
        if count == max_winners or open_positions == 0:
            break
    return count


@compiled
def _make_arena(geometry, rows):
    """Return the ``Arena`` before the first time step."""
    size = geometry.out_height, geometry.out_width
    closed = np.zeros(size, np.bool_)
    candidates = np.empty((closed.size, 3), np.int32)
    strengths = np.empty(closed.size, rows.dtype)
    return Arena(closed, np.zeros(size, np.bool_), np.zeros(geometry.features, np.bool_), candidates, strengths)


@compiled
def _find_candidates(top, bottom, potential, limit, geometry, arena):
    """Find the open positions of the lines top … bottom - 1 where a feature crosses its threshold, and close them.

    Writes the strongest feature of each as a candidate; returns their number.
    """
    stride = geometry.stride
    closed = arena.closed
    crossed = 0
    for line in range(top, bottom):
        for column in range(geometry.out_width):
            at = (line * geometry.out_width + column) * stride
            if closed[line, column] or not any_above(potential, at, stride, limit):
                continue
            closed[line, column] = True
            best = strongest(potential[at : at + geometry.features])
            arena.strengths[crossed] = potential[at + best]
            arena.candidates[crossed, 0] = best
            arena.candidates[crossed, 1] = line
            arena.candidates[crossed, 2] = column
            crossed += 1
    return crossed


@compiled
def _block(line, column, radius, arena):
    """Block and close the positions within the radius of a winner; return how many were open."""
    out_height, out_width = arena.closed.shape
    opened = 0
    for y in range(max(0, line - radius), min(out_height, line + radius + 1)):
        for x in range(max(0, column - radius), min(out_width, column + radius + 1)):
            arena.blocked[y, x] = True
            opened += not arena.closed[y, x]
            arena.closed[y, x] = True
    return opened


@compiled
def _best_candidate(crossed, geometry, arena):
    """Return the index of the next winner among the first ``crossed`` candidates, or -1.

    Of those that ``torch_backend.merge_ties`` makes equal, it is the first neuron.
    """
    _, blocked, has_won, candidates, strengths = arena
    highest = strengths.dtype.type(0)
    for i in range(crossed):
        if not has_won[candidates[i, 0]] and not blocked[candidates[i, 1], candidates[i, 2]]:
            highest = max(highest, strengths[i])
    lowest = highest * (1 - tolerance(strengths.itemsize))
    best = -1
    lowest_index = 0
    for i in range(crossed):
        f, y, x = candidates[i, 0], candidates[i, 1], candidates[i, 2]
        if has_won[f] or blocked[y, x] or strengths[i] < lowest:
            continue
        index = (f * geometry.out_height + y) * geometry.out_width + geometry.out_width - 1 - x
        if best < 0 or index < lowest_index:
            best = i
            lowest_index = index
    return best
