"""Firing: the spikes of the input in the order of their times, potentials, thresholds, first spikes, pooling.

``counting.py`` finds the features whose potentials are counts; their rows are bytes.
"""

from typing import NamedTuple

import numpy as np

from engine.compiled import compiled
from engine.event.layout import Geometry, allocate_aligned
from engine.event.simd import add_rows


class Spikes(NamedTuple):
    """The spikes of an image (C, H, W), sorted by (time, pixel, channel).

    A *group* contains all spikes of one pixel at one time step.
    """

    sources: np.ndarray  # of each spike: where the rows of its channel's weights begin
    groups: np.ndarray  # (groups + 1, 3): line, column, first spike; in the last row, only the number of spikes is set
    step_groups: np.ndarray  # (T + 1,): the first group of each time step
    times: np.ndarray  # (H · W + 1, C): the latencies; the last row is silent, as all is outside the image
    found: np.ndarray  # work space
    pixels: np.ndarray  # work space


@compiled
def make_spikes(geometry):
    """Return empty ``Spikes``."""
    pixels = geometry.height * geometry.width
    size = geometry.channels * pixels + 1
    spikes = Spikes(
        np.empty(size, np.int32),
        np.empty((size, 3), np.int32),
        np.empty(geometry.time_steps + 1, np.int64),
        np.empty((pixels + 1, geometry.channels), np.uint8),
        np.empty(size, np.uint32),
        np.empty(size, np.int32),
    )
    spikes.times[pixels] = geometry.time_steps
    return spikes


@compiled
def reset(potential, start):
    """Set each row of potentials to ``start``."""
    potential[:] = 0  # faster
    for f in range(len(start)):
        if start[f] < 0:
            potential[f :: len(start)] = start[f]


@compiled
def sort_by_time(latency, geometry, spikes):
    """List the spikes of latency (C, H, W)."""
    sources, groups, step_groups, times, indices, pixels = spikes
    channels, height, width = latency.shape
    time_steps = geometry.time_steps
    weights_of_channel = geometry.kernel * geometry.kernel * geometry.stride
    unsigned_channels = np.uint32(channels)  # their division is faster
    for c in range(channels):
        for y in range(height):
            for x in range(width):
                times[y * width + x, c] = latency[c, y, x]
    in_order = times.reshape(-1)
    count = 0
    for i in range(latency.size):
        indices[count] = i  # without a branch, which the processor would often predict wrongly
        count += in_order[i] < time_steps
    next_index = np.zeros(time_steps + 1, np.int64)  # a counting sort
    for i in indices[:count]:
        next_index[in_order[i] + 1] += 1
    for t in range(time_steps):
        next_index[t + 1] += next_index[t]
    ends = next_index[1:].copy()
    for i in indices[:count]:
        t = in_order[i]
        pixel = np.int64(i // unsigned_channels)
        sources[next_index[t]] = (i - pixel * channels) * weights_of_channel
        pixels[next_index[t]] = pixel
        next_index[t] += 1
    unsigned_width = np.uint32(width)
    group = 0
    i = 0
    for t in range(time_steps):
        step_groups[t] = group
        last = -1
        while i < ends[t]:
            if pixels[i] != last:
                last = pixels[i]
                line = np.int64(np.uint32(last) // unsigned_width)
                groups[group, 0] = line
                groups[group, 1] = last - line * width
                groups[group, 2] = i
                group += 1
            i += 1
    step_groups[time_steps] = group
    groups[group, 2] = count


@compiled
def integrate(t, spikes, rows, geometry, potential, skip, closed):
    """Add the spikes of a time step to the potentials, as ``torch_backend._compute_potentials`` does for all.

    Returns the range (top, bottom) of changed output lines.

    If ``skip`` is true, the potentials of ``closed`` positions, bool (Ho, mirrored Wo), may become wrong.
    """
    sources = spikes.sources
    groups = spikes.groups
    kernel = geometry.kernel
    padding = geometry.padding
    stride = geometry.stride
    out_height = geometry.out_height
    out_width = geometry.out_width
    top, bottom = out_height, 0
    for g in range(spikes.step_groups[t], spikes.step_groups[t + 1]):
        y = groups[g, 0] + padding
        x = groups[g, 1] + padding
        # the run of output columns that the spike reaches
        leftmost = max(0, out_width - 1 - x)
        end = out_width - x + min(kernel - 1, x)
        for ky in range(max(0, y - out_height + 1), min(kernel - 1, y) + 1):
            line = y - ky
            column = leftmost
            while column < end:
                stop = end
                if skip:
                    if closed[line, column]:
                        column += 1
                        continue
                    stop = column + 1
                    while stop < end and not closed[line, stop]:
                        stop += 1
                at = (line * out_width + column) * stride
                shift = (ky * kernel + column - (out_width - 1 - x)) * stride
                numbers = (stop - column) * stride
                add_rows(potential, at, rows, sources, (groups[g, 2], groups[g + 1, 2]), shift, numbers, 1)
                top = min(top, line)
                bottom = max(bottom, line + 1)
                column = stop
    return top, bottom


@compiled
def make_reach(spikes, geometry):
    """Return the empty arrays ``line_groups`` and ``reach`` of ``find_reach``."""
    line_groups = np.empty((geometry.time_steps, geometry.height + 1), np.uint64)
    return line_groups, np.empty((len(spikes.groups), 5), np.int32)


@compiled
def find_reach(spikes, geometry, line_groups, reach):
    """Write what the output lines need of each group of spikes, once for all lines and features.

    line_groups (T, H + 1): the first group of each time step and line; the last entry is the end of its groups.
    reach (groups, 5): the first mirrored column that the spikes reach, how many columns, their column of the kernel
    there, and the range of the spikes.
    """
    out_width = geometry.out_width
    groups = spikes.groups
    group = 0
    for t in range(geometry.time_steps):
        for line in range(geometry.height):
            line_groups[t, line] = group
            while group < spikes.step_groups[t + 1] and groups[group, 0] == line:
                x = groups[group, 1] + geometry.padding
                leftmost = max(0, out_width - 1 - x)
                reach[group, 0] = leftmost
                reach[group, 1] = out_width - x + min(geometry.kernel - 1, x) - leftmost
                reach[group, 2] = line * geometry.kernel + leftmost - (out_width - 1 - x)
                reach[group, 3] = groups[group, 2]
                reach[group, 4] = groups[group + 1, 2]
                group += 1
        line_groups[t, geometry.height] = group


class FiringFeatures(NamedTuple):
    """Some features of a layer, with potentials of one type: counts in bytes, or sums of weights."""

    indices: np.ndarray  # in the layer, int64 (n,)
    rows: np.ndarray
    geometry: Geometry
    limit: float  # a potential above it fires
    start: np.ndarray  # rows (Wo,) of potentials before the first spike
    # Of the sources of the spikes: the stride if they are listed with a stride of 1, else 1. While a layer learns, it
    # is a constant 1 (``integrate``): a number that the compiler does not know makes a step of s1 35 % longer.
    scale: int


@compiled
def fire_part(part, parts, latency, geometry, counted, summed, pool, out):
    """Compute the first spikes of a part of the images (N, C, H, W), pooled: out (N, F, Ho / pool, Wo / pool).

    ``out`` contains silence. The spikes are listed once for both kinds of features, with a stride of 1.

    Args:
        counted: ``FiringFeatures`` whose potentials are counts; see ``counting.py``.
        summed: all others.
    """
    spikes = make_spikes(geometry)
    line_groups, reach = make_reach(spikes, geometry)
    for n in range(part, len(latency), parts):
        sort_by_time(latency[n], geometry, spikes)
        find_reach(spikes, geometry, line_groups, reach)
        if len(counted.indices) > 0:
            fire_features(spikes, line_groups, reach, counted, pool, out[n])
        if len(summed.indices) > 0:
            fire_features(spikes, line_groups, reach, summed, pool, out[n])


@compiled
def fire_features(spikes, line_groups, reach, features, pool, out):
    """Compute the first spikes of some features, one output line after another: out (F, Ho / pool, Wo / pool).

    The potentials of a line stay in the innermost cache from the first time step to the last. They add their weights in
    the same order as in ``integrate``. With separate functions for the loops, small layers take up to 20 % longer.
    Lines that the pooling leaves out are not computed.
    """
    indices, rows, geometry, limit, start, scale = features
    sources = spikes.sources
    kernel = geometry.kernel
    padding = geometry.padding
    stride = geometry.stride
    out_width = geometry.out_width
    size = out_width * stride
    potential = allocate_aligned(size, rows)
    marks = np.empty(size, np.uint8)  # the first spikes in the lines of a window, as rows (mirrored Wo)
    earliest = np.empty(stride, np.uint8)
    for py in range(out.shape[1]):
        marks[:] = geometry.time_steps
        for line in range(py * pool, (py + 1) * pool):
            for i in range(size):
                potential[i] = start[i]
            top = max(0, line - padding)  # the input lines that it sees
            bottom = min(geometry.height, line - padding + kernel)
            offset = (padding - line) * kernel
            for t in range(geometry.time_steps):
                begin, end = line_groups[t, top], line_groups[t, bottom]
                for g in range(begin, end):
                    at = reach[g, 0] * stride
                    numbers = reach[g, 1] * stride
                    shift = (reach[g, 2] + offset) * stride
                    add_rows(potential, at, rows, sources, (reach[g, 3], reach[g, 4]), shift, numbers, scale)
                if begin < end:
                    now = np.uint8(t)
                    for i in range(size):
                        before = marks[i]
                        marks[i] = now if potential[i] > limit and before > now else before
        for px in range(out.shape[2]):
            earliest[:] = geometry.time_steps
            for x in range(px * pool, (px + 1) * pool):
                at = (out_width - 1 - x) * stride
                column = marks[at : at + stride]
                for f in range(stride):
                    earliest[f] = min(earliest[f], column[f])
            first = np.uint8(geometry.time_steps)
            for f in range(stride):
                first = min(first, earliest[f])
            if first < geometry.time_steps:
                for f in range(geometry.features):
                    out[indices[f], py, px] = earliest[f]
