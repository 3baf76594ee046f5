"""Potentials of a decision stage at the last time step, where only whether an input spiked counts, and their peaks."""

from typing import NamedTuple

import numpy as np
from numba import int64, prange

from engine.compiled import compiled
from engine.event.layout import BANK, aligned
from engine.event.simd import add_rows, highest_of

CHUNK = 32  # images whose potentials are computed together: with one learner each, what they change fills one bank


class Inputs(NamedTuple):
    """The spikes of several images, by (pixel, channel)."""

    sources: np.ndarray  # of each spike: where the row of its channel begins in a slice of a bank
    first: np.ndarray  # (images, H · W + 1): where the spikes of each pixel begin
    times: np.ndarray  # (images, H · W, C): the latencies


class Peaks(NamedTuple):
    """Of each feature: the highest potential, and the first position that has it."""

    values: np.ndarray
    places: np.ndarray


@compiled
def make_inputs(images, geometry):
    """Empty ``Inputs``; those of image n begin at n · C · H · W."""
    pixels, channels = geometry.height * geometry.width, geometry.channels
    return Inputs(
        np.empty(images * channels * pixels + 1, np.int32),
        np.empty((images, pixels + 1), np.int64),
        np.empty((images, pixels, channels), np.uint8),
    )


@compiled
def sort_by_pixel(latency, time_steps, inputs, n):
    """List the spikes of latency (C, H, W) as those of image n."""
    sources, first, times = inputs
    channels, height, width = latency.shape
    at = n * latency.size
    first[n, 0] = at
    for y in range(height):
        for x in range(width):
            for c in range(channels):
                sources[at] = c * BANK
                t = latency[c, y, x]
                times[n, y * width + x, c] = t
                at += t < time_steps
            first[n, y * width + x + 1] = at


@compiled
def add_slice(inputs, images, geometry, rows, slice_at, offset, used, values):
    """Add the weights of one kernel offset of a bank to the potentials of ``images``, (image, Ho, Wo) rows of BANK.

    ``rows[slice_at:]``: the weights, (C,) rows of BANK. Only the first ``used`` features of them need to be right.
    """
    sources, first, _ = inputs
    width, out_height, out_width = geometry.width, geometry.out_height, geometry.out_width
    dy, dx = offset // geometry.kernel - geometry.padding, offset % geometry.kernel - geometry.padding
    for i in range(len(images)):
        n = images[i]
        for oy in range(max(0, -dy), min(out_height, geometry.height - dy)):
            for ox in range(max(0, -dx), min(out_width, width - dx)):
                pixel = (oy + dy) * width + ox + dx
                at = ((i * out_height + oy) * out_width + ox) * BANK
                lo, hi = first[n, pixel], first[n, pixel + 1]
                if used > BANK // 2:  # two loops, each of a constant length
                    add_rows(values, at, rows, sources, lo, hi, slice_at, BANK)
                else:
                    add_rows(values, at, rows, sources, lo, hi, slice_at, BANK // 2)


@compiled
def add_bank(inputs, images, geometry, rows, bank, used, values):
    """Potentials of ``images`` for a bank of features, of which only the first ``used`` need to be right.

    Kernel offset by kernel offset, so that the weights of one stay in the innermost cache. Each potential sums its
    synapses in the order (ky, kx, channel).
    """
    values[: len(images) * geometry.out_height * geometry.out_width * BANK] = 0
    offsets = geometry.kernel * geometry.kernel
    for offset in range(offsets):
        slice_at = (bank * offsets + offset) * geometry.channels * BANK
        add_slice(inputs, images, geometry, rows, slice_at, offset, used, values)


@compiled
def find_bank_peaks(values, image, geometry, peaks, at):
    """Peaks of a bank of features, into ``peaks[at : at + BANK]``, of the image-th of the images in ``values``."""
    positions = geometry.out_height * geometry.out_width
    highest_of(values, image * positions * BANK, positions, BANK, peaks.values, peaks.places, at)


@compiled
def _peaks_of_chunk(latency, geometry, rows, peaks):
    """As ``find_peaks``, for at most CHUNK images on one thread."""
    count, features = len(latency), geometry.features
    inputs = make_inputs(count, geometry)
    for n in range(count):
        sort_by_pixel(latency[n], geometry.time_steps, inputs, n)
    values = aligned(count * geometry.out_height * geometry.out_width * BANK, rows)
    found = Peaks(np.empty(BANK, values.dtype), np.empty(BANK, np.int32))
    images = np.arange(count)
    for bank in range(geometry.stride // BANK):
        add_bank(inputs, images, geometry, rows, bank, int64(BANK), values)
        end = min(features, (bank + 1) * BANK)
        for n in range(count):
            find_bank_peaks(values, n, geometry, found, int64(0))
            peaks[n, bank * BANK : end] = found.values[: end - bank * BANK]


@compiled(parallel=True)
def find_peaks(latency, geometry, rows, peaks):
    """Highest potential of each feature of each image (N, C, H, W), into ``peaks`` (N, F); parallel over the images."""
    for chunk in prange(-(-len(latency) // CHUNK)):
        part = slice(chunk * CHUNK, (chunk + 1) * CHUNK)
        # a function: numba does not see what becomes of arrays inside a record in the body of a parallel loop
        _peaks_of_chunk(latency[part], geometry, rows, peaks[part])
