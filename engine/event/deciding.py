"""The decision stage learns: no threshold, the strongest potential at the last time step decides.

Each image changes a few features at most. So the potentials of a *chunk* of images are computed together from the
weights before it, and per image only the features changed since are computed again, in *slots*: a bank of changed
features. The sums are taken in the same order, so the result is that of computing every image from the beginning.

Where a number is written as ``int64(0)``, numba would compile the function that gets it once more for the constant 0.
"""

from typing import NamedTuple

import numpy as np
from numba import int64, prange

from engine.compiled import compiled
from engine.decision import strongest
from engine.event.layout import BANK, Geometry, Weights, aligned, to_bank, to_banks
from engine.event.peaks import CHUNK, Inputs, Peaks, Potentials, add_bank, add_slice, find_image_peaks, sort_by_pixel
from engine.event.plasticity import clamp, renew


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
# A chunk of images, prepared by all threads


@compiled
def _begin(latency, geometry, inputs, weights, changed, thread, threads):
    """A thread's part of what precedes a chunk: list its spikes; pack the changes that ``_add`` does not."""
    for n in range(thread, latency.shape[0], threads):
        inputs.first[n, 0] = n * latency[n].size
        sort_by_pixel(latency[n], geometry.time_steps, inputs, n)
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
        add_bank(inputs, range(count), geometry, weights, changed, bank, values)
    some = range(thread * count // threads, (thread + 1) * count // threads)
    for bank in range(whole, banks):
        add_bank(inputs, some, geometry, weights, changed[:0], bank, values)


@compiled(parallel=True)
def _prepare(latency, geometry, inputs, weights, changed, values, threads):
    """Potentials of a chunk of images with the weights as they are; the banks get those that changed before."""
    for thread in prange(threads):
        _begin(latency, geometry, inputs, weights, changed, int64(thread), threads)
    for thread in prange(threads):
        _add(len(latency), geometry, inputs, weights, changed, values, int64(thread), threads)


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
        add_slice(scratch.inputs, range(n, n + 1), geometry, slots.rows, at, offset, used, potentials)
    positions = geometry.out_height * geometry.out_width
    find_image_peaks(slots.potential, positions, used, int64(BANK), Peaks(slots.peaks, slots.places))
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
    used = int64(0)

    start = 0
    while start < len(latency):
        # the first update clips all weights, and with them every feature: no chunk may reach beyond it
        count = min(CHUNK, len(latency) - start) if weights.inside[0] else 1
        some, stale = latency[start : start + count], slots.changed[:used]
        if threads > 1:
            _prepare(some, geometry, inputs, weights, stale, values, threads)
        else:  # without the start of threads: a firing stage below comes here for every image
            _begin(some, geometry, inputs, weights, stale, int64(0), int64(1))
            _add(count, geometry, inputs, weights, stale, values, int64(0), int64(1))
        slots.slot_of[stale] = -1
        used = int64(0)
        n = int64(0)
        while n < count and used + len(learners) <= BANK:  # a slot for each that may learn
            find_image_peaks(values[n * size :], positions, features, geometry.stride, peaks)
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
