"""The decision stage learns: no threshold, the strongest potential at the last time step decides.

Each image changes a few features at most. So the potentials of a *chunk* of images are computed together from the
weights before it, by all threads, and per image only the features changed since are computed again, in *slots*: a bank
of changed features. The sums are taken in the same order, so the result is that of computing every image from the
beginning.

Where a number is written as ``int64(0)``, numba would compile the function that gets it once more for the constant 0.
"""

from typing import NamedTuple

import numpy as np
from numba import int64

from engine.compiled import compiled
from engine.decision import strongest
from engine.event.crew import find, gather
from engine.event.layout import BANK, Geometry, Weights, aligned, to_banks
from engine.event.peaks import CHUNK, Peaks, add_bank, find_bank_peaks
from engine.event.plasticity import clamp, renew


class Slots(NamedTuple):
    """The features changed within the chunk: their weights, (k · k, C) rows of BANK, and what follows from these."""

    rows: np.ndarray
    slot_of: np.ndarray  # (F,): of a changed feature, -1 for all others
    changed: np.ndarray  # (BANK,): the feature of each slot
    potential: np.ndarray  # of one image, rows (Ho, Wo) of BANK
    peaks: Peaks


class Scratch(NamedTuple):
    """Work space of ``learn`` for one size of input."""

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
    synapses, positions = geometry.kernel * geometry.kernel, geometry.out_height * geometry.out_width
    slots = Slots(
        aligned(BANK * synapses * geometry.channels, like),
        np.full(geometry.features, -1),
        np.empty(BANK, np.int64),
        aligned(positions * BANK, like),
        Peaks(np.empty(BANK, like.dtype), np.empty(BANK, np.int32)),
    )
    slots.rows[:] = 0
    return Scratch(
        Peaks(np.empty(geometry.stride, like.dtype), np.empty(geometry.stride, np.int32)),
        slots,
        np.empty(geometry.features, like.dtype),
        np.empty((most_learners, 2), np.int64),
        np.empty((synapses, geometry.channels), like.dtype),
    )


@compiled
def _refresh(inputs, image, geometry, scratch, used):
    """Replace the peaks of the features that have changed within the chunk by those of their new weights.

    image (1,): where it is in ``inputs``.
    """
    slots, peaks = scratch.slots, scratch.peaks
    add_bank(inputs, image, geometry, slots.rows, int64(0), used, slots.potential)
    find_bank_peaks(slots.potential, int64(0), geometry, slots.peaks, int64(0))
    for i in range(used):
        peaks.values[slots.changed[i]] = slots.peaks.values[i]
        peaks.places[slots.changed[i]] = slots.peaks.places[i]


@compiled
def _change(times, feature, deciding, rates, scratch, used):
    """Change a neuron's weights, in ``turned`` and in its slot; returns how many slots are used then."""
    geometry, slots, renewed = deciding.geometry, scratch.slots, scratch.renewed
    place = scratch.peaks.places[feature]
    winner = (feature, place // geometry.out_width, place % geometry.out_width, geometry.time_steps - 1)
    synapses = deciding.weights.turned[feature]
    renew(times, geometry, synapses, winner, rates, deciding.plasticity, renewed)
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
def learn(latency, labels, deciding, rates, left_out, crew, scratch, decisions):
    """Supervised learning over images (N, C, H, W) with labels (N,), one image after another.

    ``rates`` (N, rows, 2). ``left_out`` bool (N, F): neurons that cannot learn from an image; or (0, F): none.
    """
    geometry, weights, plasticity, classes, _, learning = deciding
    peaks, slots, present, learners, _ = scratch
    features, out_width = geometry.features, geometry.out_width
    image = np.empty(1, np.int64)
    used = start = generation = int64(0)
    while start < len(latency):
        # the first update clips all weights, and with them every feature: no chunk may reach beyond it
        count = min(CHUNK, len(latency) - start) if weights.inside[0] else int64(1)
        find(crew, latency, generation, start, count, slots.changed[:used])
        slots.slot_of[slots.changed[:used]] = -1
        used, end = int64(0), start + count
        n = start
        while n < end and used + len(learners) <= BANK:  # a slot for each that may learn
            image[0] = gather(crew, generation, n - start, peaks)
            if used > 0:
                _refresh(crew.inputs, image, geometry, scratch, used)
            best = strongest(peaks.values[:features])
            place = peaks.places[max(best, 0)]
            decisions.highest[n] = peaks.values[max(best, 0)]
            decisions.winners[n, 0] = best
            decisions.winners[n, 1] = place // out_width if best >= 0 else -1
            decisions.winners[n, 2] = place % out_width if best >= 0 else -1
            if learning and best >= 0:
                present[:] = peaks.values[:features]
                if len(left_out) > 0:
                    present[left_out[n]] = -1
                times = crew.inputs.times[image[0]]
                for i in range(plasticity.verdict(present, labels[n], classes, learners)):
                    used = _change(times, learners[i, 0], deciding, rates[n, learners[i, 1]], scratch, used)
            n += 1
        if used > 0 and not weights.inside[0]:
            turned = weights.turned.reshape(-1)
            clamp(turned, turned.size, turned.size, plasticity)
            to_banks(weights.turned, np.arange(features), weights.rows)
            weights.inside[0] = True
        start = n
        generation += 1
    to_banks(weights.turned, slots.changed[:used], weights.rows)
    slots.slot_of[slots.changed[:used]] = -1
