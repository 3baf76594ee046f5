"""From spikes to first spikes: the input's spikes in the order of their time, potentials, thresholds, pooling."""

from typing import NamedTuple

import numpy as np
from numba import boolean, prange

from engine.compiled import compiled
from engine.event.layout import aligned
from engine.event.simd import add_rows, mark_above


class Spikes(NamedTuple):
    """The spikes of an image (C, H, W), by (time, pixel, channel).

    A *group* is all spikes of one pixel at one time.
    """

    sources: np.ndarray  # of each spike: where the rows of its channel's weights begin
    groups: np.ndarray  # (…, 3): line, column, first spike; with one entry more at the end
    step_groups: np.ndarray  # (T + 1,): the first group of each time step
    times: np.ndarray  # (H · W, C): the latencies, with a pixel's channels in one run
    found: np.ndarray  # work space
    pixel: np.ndarray  # work space


class Scratch(NamedTuple):
    """Work space for images of one size."""

    potential: np.ndarray  # rows (Ho, mirrored Wo)
    marks: np.ndarray  # the same, of first spikes
    spikes: Spikes


@compiled
def make_scratch(like, geometry):
    """Empty ``Scratch`` for potentials of the type of ``like``."""
    pixels = geometry.height * geometry.width
    size = geometry.channels * pixels + 1
    numbers = geometry.out_height * geometry.out_width * geometry.stride
    spikes = Spikes(
        np.empty(size, np.int32),
        np.empty((size, 3), np.int32),
        np.empty(geometry.time_steps + 1, np.int64),
        np.empty((pixels, geometry.channels), np.uint8),
        np.empty(size, np.uint32),
        np.empty(size, np.int32),
    )
    return Scratch(aligned(numbers, like), np.empty(numbers, np.uint8), spikes)


@compiled
def sort_by_time(latency, time_steps, weights_of_channel, spikes):
    """List the spikes of latency (C, H, W); ``weights_of_channel``: how many numbers its rows take."""
    sources, groups, step_groups, times, found, pixel = spikes
    channels, height, width = latency.shape
    for c in range(channels):
        for y in range(height):
            for x in range(width):
                times[y * width + x, c] = latency[c, y, x]
    in_order = times.reshape(-1)
    count = 0
    for i in range(in_order.size):
        found[count] = i  # always, and kept if there is a spike: a branch would be guessed wrong too often
        count += in_order[i] < time_steps
    place = np.zeros(time_steps + 1, np.int64)
    for i in found[:count]:
        place[in_order[i] + 1] += 1
    for t in range(time_steps):
        place[t + 1] += place[t]
    ends = place[1:].copy()
    for i in found[:count]:
        t = in_order[i]
        sources[place[t]] = i % channels * weights_of_channel
        pixel[place[t]] = i // channels
        place[t] += 1
    group = 0
    i = 0
    for t in range(time_steps):
        step_groups[t] = group
        last = -1
        while i < ends[t]:
            if pixel[i] != last:
                last = pixel[i]
                groups[group, 0] = last // width
                groups[group, 1] = last % width
                groups[group, 2] = i
                group += 1
            i += 1
    step_groups[time_steps] = group
    groups[group, 2] = count


@compiled
def integrate(step, spikes, rows, geometry, potential, skip, closed):
    """Add the spikes of one time step to the potentials; returns the range of output lines touched.

    With ``skip``, the potentials of positions that are ``closed`` (Ho, mirrored Wo) need not be right any more.
    """
    sources, groups = spikes.sources, spikes.groups
    kernel, padding, stride = geometry.kernel, geometry.padding, geometry.stride
    out_height, out_width = geometry.out_height, geometry.out_width
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
                add_rows(
                    potential,
                    (line * out_width + column) * stride,
                    rows,
                    sources,
                    groups[g, 2],
                    groups[g + 1, 2],
                    (ky * kernel + column - (out_width - 1 - x)) * stride,
                    (stop - column) * stride,
                )
                top = min(top, line)
                bottom = max(bottom, line + 1)
                column = stop
    return top, bottom


@compiled
def pool_out(marks, geometry, pool, out):
    """marks: rows (Ho, mirrored Wo) of latencies -> out (F, Ho/pool, Wo/pool): the earliest spike of each window."""
    stride, out_width = geometry.stride, geometry.out_width
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
def mark_lines(top, bottom, step, threshold, geometry, scratch):
    """Note the first spikes of the output lines top … bottom - 1 at this time step."""
    at = top * geometry.out_width * geometry.stride
    size = bottom * geometry.out_width * geometry.stride - at
    mark_above(scratch.marks, at, scratch.potential, at, size, threshold, np.uint8(step))


@compiled
def _fire_image(latency, rows, geometry, threshold, pool, scratch, out):
    potential, marks, spikes = scratch
    sort_by_time(latency, geometry.time_steps, geometry.kernel * geometry.kernel * geometry.stride, spikes)
    potential[:] = 0
    marks[:] = geometry.time_steps
    closed = np.zeros((1, 1), np.bool_)  # not looked at
    for t in range(geometry.time_steps):
        top, bottom = integrate(t, spikes, rows, geometry, potential, boolean(False), closed)
        if bottom > top:
            mark_lines(top, bottom, t, threshold, geometry, scratch)
    pool_out(marks, geometry, pool, out)


@compiled(parallel=True)
def fire(latency, rows, geometry, threshold, pool, threads, out):
    """First spikes of images (N, C, H, W), pooled, into ``out`` (N, F, Ho/pool, Wo/pool); parallel over the images."""
    images = latency.shape[0]
    parts = min(images, threads)
    for part in prange(parts):
        scratch = make_scratch(rows, geometry)
        # every parts-th image: neighbours in the data set may be alike in cost
        for n in range(part, images, parts):
            _fire_image(latency[n], rows, geometry, threshold, pool, scratch, out[n])
