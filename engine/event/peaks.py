"""Potentials of a decision stage at the last time step, where only whether an input spiked counts, and their peaks."""

from typing import NamedTuple

import numpy as np
from numba import int64, prange

from engine.compiled import compiled
from engine.event.layout import BANK, aligned, to_bank
from engine.event.simd import add_rows

CHUNK = 32  # images whose potentials are computed together: with one learner each, what they change fills one bank


class Inputs(NamedTuple):
    """The spikes of a chunk of images, by (pixel, channel)."""

    sources: np.ndarray  # of each spike: where the row of its channel begins in a slice of a bank
    first: np.ndarray  # (CHUNK, H · W + 1): where the spikes of each pixel begin
    times: np.ndarray  # (CHUNK, H · W, C): the latencies


class Potentials(NamedTuple):
    """Rows (image, Ho, Wo) of ``stride`` numbers; a bank's begin at ``lane``."""

    values: np.ndarray
    stride: int
    lane: int


class Peaks(NamedTuple):
    """Of each feature: the highest potential, and the first position that has it."""

    values: np.ndarray
    places: np.ndarray


@compiled
def sort_by_pixel(latency, time_steps, inputs, n):
    """List the spikes of latency (C, H, W), the chunk's n-th image; its ``first[n, 0]`` says where the list begins."""
    sources, first, times = inputs
    channels, height, width = latency.shape
    at = first[n, 0]
    for y in range(height):
        for x in range(width):
            for c in range(channels):
                sources[at] = c * BANK
                t = latency[c, y, x]
                times[n, y * width + x, c] = t
                at += t < time_steps
            first[n, y * width + x + 1] = at


@compiled
def add_slice(inputs, images, geometry, rows, slice_at, offset, used, potentials):
    """Add the weights of one kernel offset of a bank to the potentials of ``images`` (a range of the chunk).

    ``rows[slice_at:]``: the weights, (C,) rows of BANK. Only the first ``used`` features of them need to be right.
    """
    sources, first, _ = inputs
    values, stride, lane = potentials
    width, out_height, out_width = geometry.width, geometry.out_height, geometry.out_width
    dy, dx = offset // geometry.kernel - geometry.padding, offset % geometry.kernel - geometry.padding
    for n in images:
        for oy in range(max(0, -dy), min(out_height, geometry.height - dy)):
            for ox in range(max(0, -dx), min(out_width, width - dx)):
                pixel = (oy + dy) * width + ox + dx
                at = ((n * out_height + oy) * out_width + ox) * stride + lane
                lo, hi = first[n, pixel], first[n, pixel + 1]
                if used > BANK // 2:  # two loops, each of a constant length
                    add_rows(values, at, rows, sources, lo, hi, slice_at, BANK)
                else:
                    add_rows(values, at, rows, sources, lo, hi, slice_at, BANK // 2)


@compiled
def add_bank(inputs, images, geometry, weights, changed, bank, values):
    """Potentials (image, Ho, Wo) of ``images`` for a bank of features, which first gets its changed weights.

    Kernel offset by kernel offset, so that the weights of one stay in the innermost cache. Each potential sums its
    synapses in the order (ky, kx, channel).
    """
    turned, banks, _ = weights
    stride, lane = geometry.stride, bank * BANK
    size = geometry.out_height * geometry.out_width * stride
    for n in images:  # by the thread that adds to them, whose cache then has them
        for at in range(n * size + lane, (n + 1) * size, stride):
            values[at : at + BANK] = 0
    within = changed[changed // BANK == bank]
    offsets = geometry.kernel * geometry.kernel
    potentials = Potentials(values, stride, lane)
    for offset in range(offsets):
        to_bank(turned, within, bank, offset, banks)
        slice_at = (bank * offsets + offset) * geometry.channels * BANK
        add_slice(inputs, images, geometry, banks, slice_at, offset, int64(BANK), potentials)


@compiled
def find_image_peaks(potential, positions, features, stride, peaks):
    """Highest potential of each feature over the positions, and the first position that has it."""
    values, places = peaks
    values[:] = potential[:stride]
    places[:] = 0
    for position in range(1, positions):
        row = potential[position * stride : (position + 1) * stride]
        for f in range(features):
            if row[f] > values[f]:
                values[f] = row[f]
                places[f] = position


@compiled
def _peaks_of_chunk(latency, geometry, weights, peaks):
    """As ``find_peaks``, for at most CHUNK images on one thread."""
    count, pixels = len(latency), geometry.height * geometry.width
    inputs = Inputs(
        np.empty(latency.size + 1, np.int32),
        np.zeros((count, pixels + 1), np.int64),
        np.empty((count, pixels, geometry.channels), np.uint8),
    )
    for n in range(count):
        inputs.first[n, 0] = n * latency[n].size
        sort_by_pixel(latency[n], geometry.time_steps, inputs, n)
    positions = geometry.out_height * geometry.out_width
    size = positions * geometry.stride
    values = aligned(count * size, weights.rows)
    unchanged = np.empty(0, np.int64)
    for bank in range(geometry.stride // BANK):
        add_bank(inputs, range(count), geometry, weights, unchanged, bank, values)
    found = Peaks(np.empty(geometry.stride, values.dtype), np.empty(geometry.stride, np.int64))
    for n in range(count):
        find_image_peaks(values[n * size :], positions, geometry.features, geometry.stride, found)
        peaks[n] = found.values[: geometry.features]


@compiled(parallel=True)
def find_peaks(latency, geometry, weights, peaks):
    """Highest potential of each feature of each image (N, C, H, W), into ``peaks`` (N, F); parallel over the images."""
    for chunk in prange(-(-len(latency) // CHUNK)):
        part = slice(chunk * CHUNK, (chunk + 1) * CHUNK)
        # a function: numba does not see what becomes of arrays inside a record in the body of a parallel loop
        _peaks_of_chunk(latency[part], geometry, weights, peaks[part])
