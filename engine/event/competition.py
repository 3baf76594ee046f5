"""Competition: point-wise inhibition, then K winners."""

from typing import NamedTuple

import numpy as np

from engine.compiled import compiled
from engine.decision import tolerance
from engine.event.firing import integrate, mark_lines, sort_by_time
from engine.event.simd import any_above


class Competition(NamedTuple):
    """Who fires, and how many may win."""

    threshold: float
    winners: int  # at most
    radius: int  # around a winner within which no other neuron wins


@compiled
def compete(latency, rows, geometry, competition, full, scratch, winners):
    """Winners of one image, each (feature, line, column, time step), into ``winners``; returns how many.

    Winners are wanted earliest first, so the image is followed only up to the time step of the last of them, and only
    at the positions where one could still come from, unless ``full`` (then ``marks`` holds the first spikes of all
    neurons afterwards). Point-wise inhibition leaves at each position the feature that crosses first, and of several at
    once the one with the highest potential, then the lowest index. Among those left: the earliest, then the highest
    potential, then the lowest flat index (F, Ho, Wo).
    Two neurons that see the same patch at different times have the same potential but for rounding: see ``tolerance``.
    """
    threshold, most, radius = competition
    stride, out_height, out_width = geometry.stride, geometry.out_height, geometry.out_width
    potential, marks, spikes = scratch
    positions = out_height * out_width
    sort_by_time(latency, geometry.time_steps, geometry.kernel * geometry.kernel * stride, spikes)
    potential[:] = 0
    if full:
        marks[:] = geometry.time_steps
    # positions, with mirrored columns as the potentials
    blocked = np.zeros((out_height, out_width), np.bool_)  # within the radius of a winner
    closed = np.zeros((out_height, out_width), np.bool_)  # blocked, or a feature has crossed: no neuron can win here
    open_positions = positions
    won = np.zeros(geometry.features, np.bool_)
    candidate = np.empty((positions, 3), np.int32)
    strength = np.empty(positions, rows.dtype)
    found = 0
    for t in range(geometry.time_steps):
        # looking costs more than it saves while few positions are closed
        skip = not full and 4 * open_positions < 3 * positions
        top, bottom = integrate(t, spikes, rows, geometry, potential, skip, closed)
        if bottom <= top:
            continue
        if full:
            mark_lines(top, bottom, t, threshold, geometry, scratch)
            if found == most or open_positions == 0:
                continue
        count = 0
        for y in range(top, bottom):
            for x in range(out_width):
                at = (y * out_width + x) * stride
                if closed[y, x] or not any_above(potential, at, stride, threshold):
                    continue
                closed[y, x] = True
                open_positions -= 1
                best = 0
                for f in range(1, geometry.features):
                    if potential[at + f] > potential[at + best]:
                        best = f
                strength[count] = potential[at + best]
                candidate[count, 0] = best
                candidate[count, 1] = y
                candidate[count, 2] = x
                count += 1
        while found < most:
            best = _best_candidate(candidate[:count], strength, won, blocked, geometry)
            if best < 0:
                break
            f, y, x = candidate[best, 0], candidate[best, 1], candidate[best, 2]
            won[f] = True
            for line in range(max(0, y - radius), min(out_height, y + radius + 1)):
                for column in range(max(0, x - radius), min(out_width, x + radius + 1)):
                    blocked[line, column] = True
                    open_positions -= not closed[line, column]
                    closed[line, column] = True
            winners[found, 0] = f
            winners[found, 1] = y
            winners[found, 2] = out_width - 1 - x
            winners[found, 3] = t
            found += 1
        if not full and (found == most or open_positions == 0):
            break
    return found


@compiled
def _best_candidate(candidate, strength, won, blocked, geometry):
    """The next winner among candidates (feature, line, mirrored column) of one time step; -1: none is left."""
    highest = strength.dtype.type(0)
    for i in range(len(candidate)):
        if not won[candidate[i, 0]] and not blocked[candidate[i, 1], candidate[i, 2]]:
            highest = max(highest, strength[i])
    lowest = highest * (1 - tolerance(strength))
    best = -1
    lowest_index = 0
    for i in range(len(candidate)):
        f, y, x = candidate[i, 0], candidate[i, 1], candidate[i, 2]
        if won[f] or blocked[y, x] or strength[i] < lowest:
            continue
        index = (f * geometry.out_height + y) * geometry.out_width + geometry.out_width - 1 - x
        if best < 0 or index < lowest_index:
            best, lowest_index = i, index
    return best
