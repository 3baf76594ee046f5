"""The decision stage: no threshold, the strongest potential at the last time step decides, so only whether an input
spiked counts.

Each image changes a few features at most. So the potentials of a *chunk* of images are computed together from the
weights before it, and per image only the features changed since are computed again, in *slots*: a bank of changed
features. The sums are taken in the same order, so the result is that of computing every image from the beginning.
"""

from typing import NamedTuple

import numpy as np
from numba import prange

from engine.compiled import compiled
from engine.decision import strongest
from engine.event.layout import BANK, Geometry, Weights, aligned, to_bank, to_banks
from engine.event.plasticity import clamp, renew
from engine.event.simd import add_rows

CHUNK = 32  # images: with one learner each, the features they change fill one bank


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


class Slots(NamedTuple):
    """The features changed within the chunk: their weights, (k · k, C) rows of BANK, and what follows from these."""

    rows: np.ndarray
    slot_of: np.ndarray  # (F,): of a changed feature, -1 for all others
    changed: np.ndarray  # (BANK,): the feature of each slot
    potential: np.ndarray  # of one image, rows (Ho, Wo) of BANK
    peaks: np.ndarray
    places: np.ndarray


class Scratch(NamedTuple):
    """Work space of ``learn`` for one size of input."""

    inputs: Inputs
    potential: np.ndarray  # of a chunk of images
    peaks: Peaks
    slots: Slots
    present: np.ndarray  # the peaks, negative where a neuron is left out
    learners: np.ndarray  # (feature, row of the rates) of those that learn from one image
    renewed: np.ndarray  # new weights of a feature


class Deciding(NamedTuple):
    """A decision layer, and how it learns. ``learning``: whether it does, or only decides."""

    geometry: Geometry
    weights: Weights
    plasticity: tuple
    classes: np.ndarray  # (F,): the class of each feature
    most_learners: int  # from one image
    learning: bool


class Decisions(NamedTuple):
    """What was decided: winners (N, 3) of feature, line, column, -1: silent; ``highest`` (N,): their potentials."""

    winners: np.ndarray
    highest: np.ndarray


@compiled
def make_scratch(geometry, like, most_learners):
    """Empty ``Scratch`` for weights of the type of ``like``."""
    pixels, synapses = geometry.height * geometry.width, geometry.kernel * geometry.kernel
    positions, features = geometry.out_height * geometry.out_width, geometry.features
    inputs = Inputs(
        np.empty(CHUNK * geometry.channels * pixels + 1, np.int32),
        np.zeros((CHUNK, pixels + 1), np.int64),
        np.zeros((CHUNK, pixels, geometry.channels), np.uint8),
    )
    slots = Slots(
        aligned(BANK * synapses * geometry.channels, like),
        np.full(features, -1),
        np.empty(BANK, np.int64),
        aligned(positions * BANK, like),
        np.empty(BANK, like.dtype),
        np.empty(BANK, np.int64),
    )
    slots.rows[:] = 0
    return Scratch(
        inputs,
        aligned(CHUNK * positions * geometry.stride, like),
        Peaks(np.empty(geometry.stride, like.dtype), np.empty(geometry.stride, np.int64)),
        slots,
        np.empty(features, like.dtype),
        np.empty((most_learners, 2), np.int64),
        np.empty((synapses, geometry.channels), like.dtype),
    )


# ---------------------------------------------------------------------------------------------------------------------
# Potentials


@compiled
def _sort_by_pixel(latency, time_steps, inputs, n):
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
def _add_slice(inputs, images, geometry, rows, slice_at, offset, used, potentials):
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
def _add_bank(inputs, images, geometry, weights, changed, bank, values):
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
        _add_slice(inputs, images, geometry, banks, slice_at, offset, BANK, potentials)


@compiled
def _find_peaks(potential, positions, features, stride, peaks):
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
        _sort_by_pixel(latency[n], geometry.time_steps, inputs, n)
    positions = geometry.out_height * geometry.out_width
    size = positions * geometry.stride
    values = aligned(count * size, weights.rows)
    unchanged = np.empty(0, np.int64)
    for bank in range(geometry.stride // BANK):
        _add_bank(inputs, range(count), geometry, weights, unchanged, bank, values)
    found = Peaks(np.empty(geometry.stride, values.dtype), np.empty(geometry.stride, np.int64))
    for n in range(count):
        _find_peaks(values[n * size :], positions, geometry.features, geometry.stride, found)
        peaks[n] = found.values[: geometry.features]


@compiled(parallel=True)
def find_peaks(latency, geometry, weights, peaks):
    """Highest potential of each feature of each image (N, C, H, W), into ``peaks`` (N, F); parallel over the images."""
    for chunk in prange(-(-len(latency) // CHUNK)):
        part = slice(chunk * CHUNK, (chunk + 1) * CHUNK)
        # a function: numba does not see what becomes of arrays inside a record in the body of a parallel loop
        _peaks_of_chunk(latency[part], geometry, weights, peaks[part])


# ---------------------------------------------------------------------------------------------------------------------
# A chunk of images, prepared by all threads


@compiled
def _begin(latency, geometry, inputs, weights, changed, thread, threads):
    """A thread's part of what precedes a chunk: list its spikes; pack the changes that ``_add`` does not."""
    for n in range(thread, latency.shape[0], threads):
        inputs.first[n, 0] = n * latency[n].size
        _sort_by_pixel(latency[n], geometry.time_steps, inputs, n)
    banks = geometry.stride // BANK
    for bank in range(banks // threads * threads, banks):
        within = changed[changed // BANK == bank]
        for offset in range(thread, weights.turned.shape[1], threads):
            to_bank(weights.turned, within, bank, offset, weights.rows)


@compiled
def _add(count, geometry, inputs, weights, changed, values, thread, threads):
    """A thread's part of the potentials of ``count`` images: as many whole banks as the others have, which it also
    packs, and some images of those left over."""
    banks = geometry.stride // BANK
    whole = banks // threads * threads
    for bank in range(thread, whole, threads):
        _add_bank(inputs, range(count), geometry, weights, changed, bank, values)
    some = range(thread * count // threads, (thread + 1) * count // threads)
    for bank in range(whole, banks):
        _add_bank(inputs, some, geometry, weights, changed[:0], bank, values)


@compiled(parallel=True)
def _prepare(latency, geometry, inputs, weights, changed, values, threads):
    """Potentials of a chunk of images with the weights as they are; the banks get those that changed before."""
    for thread in prange(threads):
        _begin(latency, geometry, inputs, weights, changed, thread, threads)
    for thread in prange(threads):
        _add(len(latency), geometry, inputs, weights, changed, values, thread, threads)


# ---------------------------------------------------------------------------------------------------------------------
# Learning


@compiled
def _refresh(n, geometry, scratch, used):
    """Replace the peaks of the features that have changed within the chunk by those of their new weights, image n."""
    slots, peaks = scratch.slots, scratch.peaks
    slots.potential[:] = 0
    potentials = Potentials(slots.potential, BANK, -n * geometry.out_height * geometry.out_width * BANK)
    for offset in range(geometry.kernel * geometry.kernel):
        at = offset * geometry.channels * BANK
        _add_slice(scratch.inputs, range(n, n + 1), geometry, slots.rows, at, offset, used, potentials)
    positions = geometry.out_height * geometry.out_width
    _find_peaks(slots.potential, positions, used, BANK, Peaks(slots.peaks, slots.places))
    for i in range(used):
        peaks.values[slots.changed[i]] = slots.peaks[i]
        peaks.places[slots.changed[i]] = slots.places[i]


@compiled
def _change(n, feature, deciding, rates, scratch, used):
    """Change a neuron's weights, in ``turned`` and in its slot; returns how many slots are used then."""
    geometry, slots, renewed = deciding.geometry, scratch.slots, scratch.renewed
    place = scratch.peaks.places[feature]
    winner = (feature, place // geometry.out_width, place % geometry.out_width, geometry.time_steps - 1)
    synapses = deciding.weights.turned[feature]
    renew(scratch.inputs.times[n], geometry, synapses, winner, rates, deciding.plasticity, renewed)
    if slots.slot_of[feature] < 0:
        slots.slot_of[feature] = used
        slots.changed[used] = feature
        used += 1
    lane = slots.slot_of[feature]
    offsets, channels = synapses.shape
    for offset in range(offsets):
        for c in range(channels):
            synapses[offset, c] = renewed[offset, c]
            slots.rows[(offset * channels + c) * BANK + lane] = renewed[offset, c]
    return used


@compiled
def learn(latency, labels, deciding, rates, left_out, threads, scratch, decisions):
    """Supervised learning over images (N, C, H, W) with labels (N,), one image after another.

    ``rates`` (N, rows, 2). ``left_out`` bool (N, F): neurons that cannot learn from an image; or (0, F): none.
    """
    geometry, weights, plasticity, classes, _, learning = deciding
    inputs, values, peaks, slots, present, learners, _ = scratch
    features, out_width = geometry.features, geometry.out_width
    positions = geometry.out_height * out_width
    size = positions * geometry.stride
    used = 0

    start = 0
    while start < len(latency):
        # the first update clips all weights, and with them every feature: no chunk may reach beyond it
        count = min(CHUNK, len(latency) - start) if weights.inside[0] else 1
        some, stale = latency[start : start + count], slots.changed[:used]
        if threads > 1:
            _prepare(some, geometry, inputs, weights, stale, values, threads)
        else:  # without the start of threads: a firing stage below comes here for every image
            _begin(some, geometry, inputs, weights, stale, 0, 1)
            _add(count, geometry, inputs, weights, stale, values, 0, 1)
        slots.slot_of[stale] = -1
        used = 0
        n = 0
        while n < count and used + len(learners) <= BANK:  # a slot for each that may learn
            _find_peaks(values[n * size :], positions, features, geometry.stride, peaks)
            if used > 0:
                _refresh(n, geometry, scratch, used)
            best = strongest(peaks.values[:features])
            place = peaks.places[max(best, 0)]
            decisions.highest[start + n] = peaks.values[max(best, 0)]
            decisions.winners[start + n, 0] = best
            decisions.winners[start + n, 1] = place // out_width if best >= 0 else -1
            decisions.winners[start + n, 2] = place % out_width if best >= 0 else -1
            if learning and best >= 0:
                present[:] = peaks.values[:features]
                if len(left_out) > 0:
                    present[left_out[start + n]] = -1
                for i in range(plasticity.verdict(present, labels[start + n], classes, learners)):
                    used = _change(n, learners[i, 0], deciding, rates[start + n, learners[i, 1]], scratch, used)
            n += 1
        if used > 0 and not weights.inside[0]:
            turned = weights.turned.reshape(-1)
            clamp(turned, turned.size, turned.size, plasticity)
            to_banks(weights.turned, np.arange(features), weights.rows)
            weights.inside[0] = True
        start += n
    to_banks(weights.turned, slots.changed[:used], weights.rows)
    slots.slot_of[slots.changed[:used]] = -1
