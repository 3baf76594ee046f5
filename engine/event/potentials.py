"""Peaks: the highest potential of each feature of a decision layer at the last time step.

At the last time step it only matters whether an input has spiked.
"""

from typing import NamedTuple

import numpy as np
from numba import uint64
from numba.cpython.unsafe.numbers import trailing_zeros

from engine.compiled import compiled
from engine.decision import tolerance
from engine.event.layout import BANK, allocate_aligned, bank_width, is_dense
from engine.event.simd import LINE_BYTES, add_rows, find_spikes
from engine.threads import run_parts

DENSE_ROWS = 512  # rows of a bank (128 kB in float32) that stay in the second cache while all images are added


class Inputs(NamedTuple):
    """The spikes of N images, sorted by (pixel, channel)."""

    sources: np.ndarray  # the channel of each spike
    first: np.ndarray  # (N, H · W + 1): the first spike of each pixel; at the end, the end of the image's spikes
    times: np.ndarray  # (N, H · W + 1 or more, C): the latencies; the last rows, 64 bytes or more, are silent


class Peaks(NamedTuple):
    """Of each image and feature: the highest potential, and the first position y · Wo + x where it is reached.

    A position reaches it if its potential differs only by rounding, see ``tolerance``.
    """

    values: np.ndarray  # (N, stride)
    positions: np.ndarray  # (N, stride)


def make_inputs(images: int, geometry) -> Inputs:
    """Return empty ``Inputs``; the spikes of image n begin at n · C · H · W."""
    pixels = geometry.height * geometry.width
    channels = geometry.channels
    times = np.empty((images, pixels + 1 + LINE_BYTES // channels, channels), np.uint8)
    times[:, pixels:] = geometry.time_steps
    return Inputs(np.empty(images * channels * pixels + 1, np.int32), np.empty((images, pixels + 1), np.int64), times)


def make_peaks(images: int, features: int, dtype) -> Peaks:
    """Return ``Peaks`` to fill; the only position of a dense layer is 0."""
    return Peaks(np.empty((images, features), dtype), np.zeros((images, features), np.int32))


def find_peaks(latency, geometry, banks, size, inputs, peaks, threads=None):
    """Compute the peaks of images (N, C, H, W) in pieces of work: ``size`` images and a bank of features."""
    run_parts(list_spikes_of_images, len(latency), latency, geometry, inputs, threads=threads)
    pieces = geometry.stride // bank_width(geometry) * -(-len(latency) // size)
    run_parts(_find_peaks_of_pieces, pieces, len(latency), size, geometry, banks, inputs, peaks, threads=threads)


@compiled
def list_spikes_of_images(part, parts, latency, geometry, inputs):
    for n in range(part, len(latency), parts):
        list_spikes(latency[n], geometry, inputs, n)


@compiled
def _find_peaks_of_pieces(part, parts, images, size, geometry, banks, inputs, peaks):
    pieces_of_bank = -(-images // size)
    pieces = geometry.stride // bank_width(geometry) * pieces_of_bank
    # consecutive pieces, because those of one bank read the same weights
    for piece in range(part * pieces // parts, min((part + 1) * pieces // parts, pieces)):
        first = piece % pieces_of_bank * size
        last = min(first + size, images)
        find_peaks_of_bank(inputs, first, last, geometry, banks, piece // pieces_of_bank, peaks)


@compiled
def list_spikes(latency, geometry, inputs, n):
    """List the spikes of latency (C, H, W) as the spikes of image n."""
    sources, first, times = inputs
    channels, height, width = latency.shape
    at = n * latency.size
    first[n, 0] = at
    if height * width == 1:  # two loops over lines of memory take a third of the time
        flat = latency.reshape(-1)
        in_order = times[n].reshape(-1)
        for c in range(channels):
            in_order[c] = flat[c]
        for start in range(0, channels, LINE_BYTES):
            spikes = find_spikes(in_order, start, geometry.time_steps)
            while spikes:
                sources[at] = start + trailing_zeros(spikes)
                spikes &= spikes - uint64(1)
                at += 1
        first[n, 1] = at
        return
    for y in range(height):
        for x in range(width):
            pixel = y * width + x
            for c in range(channels):
                sources[at] = c
                t = latency[c, y, x]
                times[n, pixel, c] = t
                at += t < geometry.time_steps
            first[n, pixel + 1] = at


@compiled
def find_peaks_of_bank(inputs, first, last, geometry, banks, bank, peaks):
    """Compute the peaks of a bank of features, of the images first … last - 1."""
    if is_dense(geometry):
        _add_bank_of_dense(inputs, first, last, geometry, banks, bank, peaks)
        return
    values = allocate_aligned((last - first) * geometry.out_height * geometry.out_width * BANK, banks)
    add_bank(inputs, first, last, geometry, banks, bank, values)
    for n in range(first, last):
        lanes = slice(bank * BANK, (bank + 1) * BANK)
        find_highest(values, n - first, geometry, peaks.values[n, lanes], peaks.positions[n, lanes])


@compiled
def add_bank(inputs, first, last, geometry, banks, bank, values):
    """Compute the potentials of images first … last - 1 for a bank of features, as ``torch_backend.sum_weights`` does.

    values: receives them, (images, Ho, Wo) rows of BANK.

    The weights are added kernel offset by kernel offset, so that the weights of one offset stay in the innermost cache.
    Each potential sums its synapses in the order (ky, kx, channel).
    """
    width = geometry.width
    out_height = geometry.out_height
    out_width = geometry.out_width
    values[: (last - first) * out_height * out_width * BANK] = 0
    for offset in range(geometry.kernel * geometry.kernel):
        weights = (bank * geometry.kernel * geometry.kernel + offset) * geometry.channels * BANK
        dy, dx = offset // geometry.kernel - geometry.padding, offset % geometry.kernel - geometry.padding
        for n in range(first, last):
            for y in range(max(0, -dy), min(out_height, geometry.height - dy)):
                for x in range(max(0, -dx), min(out_width, width - dx)):
                    pixel = (y + dy) * width + x + dx
                    at = (((n - first) * out_height + y) * out_width + x) * BANK
                    lo = inputs.first[n, pixel]
                    hi = inputs.first[n, pixel + 1]
                    add_rows(values, at, banks, inputs.sources, (lo, hi), weights, BANK, BANK)


@compiled
def _add_bank_of_dense(inputs, first, last, geometry, banks, bank, peaks):
    """Do the work of ``find_peaks_of_bank`` for a layer whose one kernel offset has too many weights for a cache."""
    width = bank_width(geometry)
    weights = bank * geometry.channels * width
    values = peaks.values.reshape(-1)
    done = inputs.first[first:last, 0].copy()  # of each image: the first spike that has not been added yet
    peaks.values[first:last, bank * width : (bank + 1) * width] = 0
    for row in range(0, geometry.channels, DENSE_ROWS):
        for n in range(first, last):
            lo = done[n - first]
            hi = lo
            while hi < inputs.first[n, 1] and inputs.sources[hi] < row + DENSE_ROWS:
                hi += 1
            at = n * geometry.stride + bank * width
            add_rows(values, at, banks, inputs.sources, (lo, hi), weights, width, width)
            done[n - first] = hi


@compiled
def find_highest(values, n, geometry, highest, positions):
    """Write the peaks of image n: highest and positions (BANK,), as ``torch_backend._find_position``.

    values: the potentials, (images, Ho, Wo) rows of BANK.
    """
    count = geometry.out_height * geometry.out_width
    potentials = values[n * count * BANK : (n + 1) * count * BANK]
    highest[:] = -np.inf
    positions[:] = 0
    for position in range(count):
        row = potentials[position * BANK : (position + 1) * BANK]
        for f in range(BANK):
            higher = row[f] > highest[f]
            highest[f] = row[f] if higher else highest[f]
            positions[f] = position if higher else positions[f]
    relative = tolerance(values.itemsize)
    if relative == 0:
        return
    lowest = highest - np.abs(highest) * relative
    for position in range(count - 1, -1, -1):
        row = potentials[position * BANK : (position + 1) * BANK]
        for f in range(BANK):
            positions[f] = position if row[f] >= lowest[f] else positions[f]


@compiled
def raise_peaks(inputs, n, geometry, transposed, position, features, peaks):
    """Raise the peaks of some features, int64 (n,), of image n to their potentials at a position if these are higher.

    A potential that is higher only by rounding (``tolerance``) does not change the position of a peak.
    The weights are transposed (F, k · k, C). Four sums at a time hide the latency of an addition.
    """
    highest = peaks.values[n]
    positions = peaks.positions[n]
    sums = np.empty(4, highest.dtype)
    relative = tolerance(sums.itemsize)
    top = position // geometry.out_width - geometry.padding
    left = position % geometry.out_width - geometry.padding
    for start in range(0, len(features), 4):
        group = features[start : start + 4]
        last = len(group) - 1
        first, second, third, fourth = group[0], group[min(1, last)], group[min(2, last)], group[last]
        a = b = c = d = highest.dtype.type(0)
        for ky in range(max(0, -top), min(geometry.kernel, geometry.height - top)):
            for kx in range(max(0, -left), min(geometry.kernel, geometry.width - left)):
                pixel = (top + ky) * geometry.width + left + kx
                offset = ky * geometry.kernel + kx
                sources = inputs.sources[inputs.first[n, pixel] : inputs.first[n, pixel + 1]]
                for channel in sources:
                    a += transposed[first, offset, channel]
                    b += transposed[second, offset, channel]
                    c += transposed[third, offset, channel]
                    d += transposed[fourth, offset, channel]
        sums[0] = a
        sums[1] = b
        sums[2] = c
        sums[3] = d
        for i in range(last + 1):
            before = highest[group[i]]
            if sums[i] > before:
                highest[group[i]] = sums[i]
                if sums[i] - abs(sums[i]) * relative > before:
                    positions[group[i]] = position
