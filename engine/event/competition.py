"""Competition: point-wise inhibition, then the K winners of an image."""

from typing import NamedTuple

import numpy as np

from engine.compiled import compiled
from engine.decision import strongest, tolerance
from engine.event.firing import Thresholds, integrate, mark_lines, reset, sort_by_time
from engine.event.simd import any_above


class Competition(NamedTuple):
    """The thresholds, the maximum number of winners, and the radius within which a winner inhibits all neurons."""

    thresholds: Thresholds
    max_winners: int
    radius: int


@compiled
def compete(latency, rows, geometry, competition, never, full, buffers, winners):
    """Write the winners of an image, each (feature, line, column, time step), to ``winners``; return their number.

    At each position, point-wise inhibition leaves the feature that crosses the threshold first; of several at the same
    time, the feature with the highest potential, then the lowest index. Among these neurons, the winners are the
    earliest; of several at the same time, those with the highest potential, then the lowest flat index (F, Ho, Wo).
    Potentials that differ only by rounding are equal: see ``tolerance``.

    ``never``, bool (Ho, Wo) or (0, 0): the positions where no neuron can win.

    The image is followed only until the time step of the last winner, and only at positions where a neuron can still
    win. If ``full`` is true, it is followed to its end, and ``buffers.marks`` then contains all first spikes.
    """
    thresholds, max_winners, radius = competition
    threshold = thresholds.lowest
    stride = geometry.stride
    out_height = geometry.out_height
    out_width = geometry.out_width
    potential, marks, spikes = buffers
    positions = out_height * out_width
    sort_by_time(latency, geometry, spikes)
    reset(potential, thresholds.start, thresholds.raised.max() > 0)
    if full:
        marks[:] = geometry.time_steps
    # these have mirrored columns, like the potentials
    blocked = np.zeros((out_height, out_width), np.bool_)  # within the radius of a winner
    closed = np.zeros((out_height, out_width), np.bool_)  # no neuron can win here: blocked, or a feature has crossed
    open_positions = positions
    for y in range(len(never)):
        for x in range(out_width):
            closed[y, x] = never[y, out_width - 1 - x]
            open_positions -= closed[y, x]
    won = np.zeros(geometry.features, np.bool_)
    candidates = np.empty((positions, 3), np.int32)
    strengths = np.empty(positions, rows.dtype)
    count = 0
    for t in range(geometry.time_steps):
        # while few positions are closed, the test of each position costs more than it saves
        skip = not full and 4 * open_positions < 3 * positions
        top, bottom = integrate(t, spikes, rows, geometry, potential, skip, closed)
        if bottom <= top:
            continue
        if full:
            mark_lines(top, bottom, t, threshold, geometry, buffers)
            if count == max_winners or open_positions == 0:
                continue
        crossed = 0
        for y in range(top, bottom):
            for x in range(out_width):
                at = (y * out_width + x) * stride
                if closed[y, x] or not any_above(potential, at, stride, threshold):
                    continue
                closed[y, x] = True
                open_positions -= 1
                best = strongest(potential[at : at + geometry.features])
                strengths[crossed] = potential[at + best]
                candidates[crossed, 0] = best
                candidates[crossed, 1] = y
                candidates[crossed, 2] = x
                crossed += 1
        while count < max_winners:
            best = _best_candidate(candidates[:crossed], strengths, won, blocked, geometry)
            if best < 0:
                break
            f, y, x = candidates[best, 0], candidates[best, 1], candidates[best, 2]
            won[f] = True
            for line in range(max(0, y - radius), min(out_height, y + radius + 1)):
                for column in range(max(0, x - radius), min(out_width, x + radius + 1)):
                    blocked[line, column] = True
                    open_positions -= not closed[line, column]
                    closed[line, column] = True
            winners[count, 0] = f
            winners[count, 1] = y
            winners[count, 2] = out_width - 1 - x
            winners[count, 3] = t
            count += 1
        if not full and (count == max_winners or open_positions == 0):
            break
    return count


@compiled
def _best_candidate(candidates, strengths, won, blocked, geometry):
    """Return the index of the next winner among candidates (feature, line, mirrored column) of one time step, or -1."""
    highest = strengths.dtype.type(0)
    for i in range(len(candidates)):
        if not won[candidates[i, 0]] and not blocked[candidates[i, 1], candidates[i, 2]]:
            highest = max(highest, strengths[i])
    lowest = highest * (1 - tolerance(strengths))
    best = -1
    lowest_index = 0
    for i in range(len(candidates)):
        f, y, x = candidates[i, 0], candidates[i, 1], candidates[i, 2]
        if won[f] or blocked[y, x] or strengths[i] < lowest:
            continue
        index = (f * geometry.out_height + y) * geometry.out_width + geometry.out_width - 1 - x
        if best < 0 or index < lowest_index:
            best = i
            lowest_index = index
    return best
