"""Firing: the spikes of the input in the order of their times, potentials, thresholds, first spikes, pooling.

``wide.py`` contains another ``fire``, for layers with many features.
"""

from typing import NamedTuple

import numpy as np

from engine.compiled import compiled
from engine.event.layout import allocate_aligned
from engine.event.simd import add_rows


class Thresholds(NamedTuple):
    """The thresholds of a layer: of the feature f, ``lowest`` + ``raised[f]``, with raised float64 (F,).

    ``lowest`` is the declared threshold, higher by ``tolerance``: an equal potential does not fire, despite rounding.
    ``start`` is a row of potentials before the first spike: -raised. So all potentials are compared with one number.
    """

    lowest: float
    raised: np.ndarray
    start: np.ndarray


class Spikes(NamedTuple):
    """The spikes of an image (C, H, W), sorted by (time, pixel, channel).

    A *group* contains all spikes of one pixel at one time step.
    """

    sources: np.ndarray  # of each spike: where the rows of its channel's weights begin
    groups: np.ndarray  # (groups + 1, 3): line, column, first spike; the last entry has only the last
    step_groups: np.ndarray  # (T + 1,): the first group of each time step
    times: np.ndarray  # (H · W + 1, C): the latencies; the last row is silent, as all is outside the image
    indices: np.ndarray  # work space
    pixels: np.ndarray  # work space


class ImageBuffers(NamedTuple):
    """Work space for images of one size."""

    potential: np.ndarray  # rows (Ho, mirrored Wo)
    marks: np.ndarray  # first spikes, as rows (Ho, mirrored Wo)
    spikes: Spikes


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
def make_image_buffers(like, geometry):
    """Return an empty ``ImageBuffers`` for potentials of the type of ``like``."""
    numbers = geometry.out_height * geometry.out_width * geometry.stride
    return ImageBuffers(allocate_aligned(numbers, like), np.empty(numbers, np.uint8), make_spikes(geometry))


@compiled
def reset(potential, start, is_raised):
    """Set each row of potentials to ``start``. is_raised: whether a threshold is raised; zeros are written faster."""
    potential[:] = 0
    if is_raised:
        stride = len(start)
        for at in range(0, len(potential), stride):
            potential[at : at + stride] = start


@compiled
def sort_by_time(latency, geometry, spikes):
    """List the spikes of latency (C, H, W)."""
    sources, groups, step_groups, times, indices, pixels = spikes
    channels, height, width = latency.shape
    time_steps = geometry.time_steps
    weights_of_channel = geometry.kernel * geometry.kernel * geometry.stride
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
        sources[next_index[t]] = i % channels * weights_of_channel
        pixels[next_index[t]] = i // channels
        next_index[t] += 1
    group = 0
    i = 0
    for t in range(time_steps):
        step_groups[t] = group
        last = -1
        while i < ends[t]:
            if pixels[i] != last:
                last = pixels[i]
                groups[group, 0] = last // width
                groups[group, 1] = last % width
                groups[group, 2] = i
                group += 1
            i += 1
    step_groups[time_steps] = group
    groups[group, 2] = count


@compiled
def integrate(step, spikes, rows, geometry, potential, skip, closed):
    """Add the spikes of one time step to the potentials; return the range (top, bottom) of changed output lines.

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
    for g in range(spikes.step_groups[step], spikes.step_groups[step + 1]):
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
def mark_lines(top, bottom, step, threshold, geometry, buffers):
    """Mark the first spikes at this time step in the output lines top … bottom - 1."""
    line = geometry.out_width * geometry.stride
    potential = buffers.potential[top * line : bottom * line]
    marks = buffers.marks[top * line : bottom * line]
    now = np.uint8(step)
    for i in range(len(marks)):
        before = marks[i]
        marks[i] = now if potential[i] > threshold and before > now else before


@compiled
def pool_out(marks, geometry, pool, out):
    """Pool first spikes: rows (Ho, mirrored Wo) -> out (F, Ho / pool, Wo / pool), the minimum of each window."""
    stride = geometry.stride
    out_width = geometry.out_width
    earliest = np.empty(stride, np.uint8)
    for py in range(out.shape[1]):
        for px in range(out.shape[2]):
            earliest[:] = geometry.time_steps
            for y in range(py * pool, (py + 1) * pool):
                for x in range(px * pool, (px + 1) * pool):
                    at = (y * out_width + out_width - 1 - x) * stride
                    window = marks[at : at + stride]
                    for f in range(stride):
                        earliest[f] = min(earliest[f], window[f])
            for f in range(geometry.features):
                out[f, py, px] = earliest[f]


@compiled
def _find_lines(spikes, geometry, line_groups):
    """Write the first group of each time step and line to ``line_groups`` (T, H + 1).

    The last entry of a time step is the end of its groups.
    """
    group = 0
    for t in range(geometry.time_steps):
        for line in range(geometry.height):
            line_groups[t, line] = group
            while group < spikes.step_groups[t + 1] and spikes.groups[group, 0] == line:
                group += 1
        line_groups[t, geometry.height] = group


@compiled
def _fire_image(latency, rows, geometry, thresholds, pool, buffers, line_groups, out):
    """Compute the first spikes of an image, one output line after another.

    The potentials of a line stay in the innermost cache from the first time step to the last. They add their weights in
    the same order as in ``integrate``. With separate functions for the loops, small layers take up to 20 % longer.
    """
    threshold = thresholds.lowest
    is_raised = thresholds.raised.max() > 0
    potential, marks, spikes = buffers
    sort_by_time(latency, geometry, spikes)
    _find_lines(spikes, geometry, line_groups)
    sources = spikes.sources
    groups = spikes.groups
    kernel = geometry.kernel
    padding = geometry.padding
    stride = geometry.stride
    out_width = geometry.out_width
    size = out_width * stride
    marks[:] = geometry.time_steps
    for line in range(geometry.out_height):
        reset(potential[:size], thresholds.start, is_raised)
        line_marks = marks[line * size : (line + 1) * size]
        top, bottom = max(0, line - padding), min(geometry.height, line - padding + kernel)  # the input that it sees
        for t in range(geometry.time_steps):
            is_changed = False
            for y in range(top, bottom):
                ky = y + padding - line
                for g in range(line_groups[t, y], line_groups[t, y + 1]):
                    x = groups[g, 1] + padding
                    leftmost = max(0, out_width - 1 - x)
                    end = out_width - x + min(kernel - 1, x)
                    shift = (ky * kernel + leftmost - (out_width - 1 - x)) * stride
                    at = leftmost * stride
                    numbers = (end - leftmost) * stride
                    add_rows(potential, at, rows, sources, (groups[g, 2], groups[g + 1, 2]), shift, numbers, 1)
                    is_changed = True
            if is_changed:
                now = np.uint8(t)
                for i in range(size):
                    before = line_marks[i]
                    line_marks[i] = now if potential[i] > threshold and before > now else before
    pool_out(marks, geometry, pool, out)


@compiled
def fire(part, parts, latency, rows, geometry, thresholds, pool, out):
    """Compute the first spikes of a part of the images (N, C, H, W), pooled: out (N, F, Ho / pool, Wo / pool)."""
    buffers = make_image_buffers(rows, geometry)
    line_groups = np.empty((geometry.time_steps, geometry.height + 1), np.int64)
    for n in range(part, len(latency), parts):
        _fire_image(latency[n], rows, geometry, thresholds, pool, buffers, line_groups, out[n])
