"""Deciding: a layer without a threshold decides by its strongest potential at the last time step, and learns.

Each image changes only a few features. Therefore ``find_peaks`` computes the peaks of a *chunk* of images together, in
parallel, with the weights before the chunk. Then ``learn_chunk`` learns from one image after another. For each image,
it computes again only the peaks of the features that have changed within the chunk. The weights of these features lie
in *slots*, one bank of features. A feature of a ``SpikingDense`` has too many weights to copy them to a slot for a few
images; its sum is taken over its transposed weights instead. All sums are taken in the same order, so that the results
are bit-identical.
"""

from typing import NamedTuple

import numpy as np
from numba import int64

from engine.compiled import compiled
from engine.decision import check_learners, strongest
from engine.event.layout import BANK, Geometry, Weights, allocate_aligned, is_dense, to_banks
from engine.event.peaks import Peaks, add_bank, find_highest, make_peaks
from engine.event.plasticity import clamp, renew
from engine.rules import MAX_LEARNERS

CHUNK = 32  # images whose potentials are computed together; one learner for each image fills the slots
DENSE_CHUNK = 64  # the same for a SpikingDense: weights that no cache holds are read and written once in a chunk


class DecisionParameters(NamedTuple):
    """A decision layer and the rule by which it learns."""

    geometry: Geometry
    weights: Weights
    plasticity: tuple
    classes: np.ndarray  # int64 (F,): the class of each feature


class Slots(NamedTuple):
    """The features that have changed within the chunk."""

    weights: np.ndarray  # (k · k, C) rows of BANK; none for a SpikingDense
    slot_of: np.ndarray  # (F,): the slot of each feature, or -1
    features: np.ndarray  # (BANK,), for a SpikingDense (F + MAX_LEARNERS,): the feature of each slot
    potential: np.ndarray  # of one image: (Ho, Wo) rows of BANK
    peaks: Peaks  # of one image: (1, BANK)


class ChunkBuffers(NamedTuple):
    """Work space of ``learn_chunk``."""

    slots: Slots
    candidates: np.ndarray  # (F,): the peaks of one image, -1 for a neuron that is left out
    learners: np.ndarray  # (MAX_LEARNERS, 2): (feature, row of the rates) of the neurons that learn from one image
    renewed: np.ndarray  # (k · k, C): the new weights of a feature


class Decisions(NamedTuple):
    """The decisions on N images."""

    winners: np.ndarray  # (N, 3): feature, line, column; -1: silent
    highest: np.ndarray  # (N,): the potential of the winner


def chunk_size(geometry: Geometry) -> int:
    """Return how many images a chunk of the layer has."""
    return DENSE_CHUNK if is_dense(geometry) else CHUNK


def make_chunk_buffers(geometry: Geometry, dtype: np.dtype) -> ChunkBuffers:
    """Return an empty ``ChunkBuffers`` for weights of this type."""
    offsets = geometry.kernel * geometry.kernel
    like = np.empty(0, dtype)
    dense = is_dense(geometry)
    slots = Slots(
        allocate_aligned(0 if dense else BANK * offsets * geometry.channels, like),
        np.full(geometry.features, -1),
        np.empty(geometry.features + MAX_LEARNERS if dense else BANK, np.int64),
        allocate_aligned(geometry.out_height * geometry.out_width * BANK, like),
        make_peaks(1, BANK, dtype),
    )
    slots.weights[:] = 0
    candidates = np.empty(geometry.features, dtype)
    learners = np.empty((MAX_LEARNERS, 2), np.int64)
    return ChunkBuffers(slots, candidates, learners, np.empty((offsets, geometry.channels), dtype))


@compiled
def learn_chunk(labels, layer, rates, left_out, inputs, peaks, buffers, decisions):
    """Learn with labels (N,) from the images of a chunk, one after another; return the number of images.

    The chunk ends early before an image for whose learners too few slots are left, and after the first update, which
    clips the weights of all features.

    Args:
        rates: (N, rows, 2); (0, rows, 2): the layer decides and does not learn.
        left_out: bool (N, F), the neurons that cannot learn from an image; (0, F): all neurons can.
        inputs, peaks: of the chunk, as computed by ``find_peaks``; ``peaks`` changes.
        decisions: receives the decisions.

    Raises ValueError if the verdict of the rule is impossible.
    """
    geometry, weights, plasticity, classes = layer
    slots, candidates, learners, _ = buffers
    features = geometry.features
    used = n = int64(0)  # of the slots, and of the images
    while n < len(labels) and (used == 0 or weights.inside[0]):
        if used > 0:
            _refresh_peaks(inputs, n, layer, slots, used, peaks)
        best = strongest(peaks.values[n, :features])
        position = peaks.positions[n, max(best, 0)]
        decisions.highest[n] = peaks.values[n, max(best, 0)]
        decisions.winners[n, 0] = best
        decisions.winners[n, 1] = position // geometry.out_width if best >= 0 else -1
        decisions.winners[n, 2] = position % geometry.out_width if best >= 0 else -1
        if best >= 0 and len(rates) > 0:
            candidates[:] = peaks.values[n, :features]
            if len(left_out) > 0:
                candidates[left_out[n]] = -1
            learners[:] = -1
            count = int64(plasticity.verdict(candidates, labels[n], classes, learners))
            check_learners(learners, count, features, rates.shape[1])
            if used > 0 and used + count > len(slots.features):
                break
            for i in range(count):
                feature = learners[i, 0]
                row = learners[i, 1]
                position = int64(peaks.positions[n, feature])
                used = _update_winner(inputs.times[n], feature, position, layer, rates[n, row], buffers, used)
        n += 1
    changed = slots.features[:used]
    if used > 0 and not weights.inside[0]:
        clamp(weights.transposed, plasticity)
        weights.inside[0] = True
        to_banks(weights.transposed, np.arange(features), weights.rows)
    else:
        to_banks(weights.transposed, changed, weights.rows)
    slots.slot_of[changed] = -1
    return n


@compiled
def _refresh_peaks(inputs, n, layer, slots, used, peaks):
    """Replace the peaks of the features in the slots by the peaks with their new weights, for image n."""
    geometry = layer.geometry
    if is_dense(geometry):
        sources = inputs.sources[inputs.first[n, 0] : inputs.first[n, 1]]
        for start in range(0, used, 4):
            features = slots.features[start : min(start + 4, used)]
            _sum_synapses(sources, layer.weights.transposed, features, peaks.values[n])
        return
    add_bank(inputs, n, n + 1, geometry, slots.weights, int64(0), used, slots.potential)
    find_highest(slots.potential, int64(0), geometry, slots.peaks.values[0], slots.peaks.positions[0])
    for i in range(used):
        peaks.values[n, slots.features[i]] = slots.peaks.values[0, i]
        peaks.positions[n, slots.features[i]] = slots.peaks.positions[0, i]


@compiled
def _sum_synapses(sources, transposed, features, sums):
    """Sum the weights of one to four features of a ``SpikingDense``; four sums hide the latency of an addition."""
    last = len(features) - 1
    first, second, third, fourth = features[0], features[min(1, last)], features[min(2, last)], features[last]
    a = b = c = d = sums.dtype.type(0)
    for source in sources:
        channel = source // BANK
        a += transposed[first, 0, channel]
        b += transposed[second, 0, channel]
        c += transposed[third, 0, channel]
        d += transposed[fourth, 0, channel]
    sums[first] = a
    sums[second] = b
    sums[third] = c
    sums[fourth] = d


@compiled
def _update_winner(times, feature, position, layer, rates, buffers, used):
    """Change the synapses of a winner, in the transposed weights and its slot; return the number of used slots."""
    geometry = layer.geometry
    slots = buffers.slots
    renewed = buffers.renewed
    synapses = layer.weights.transposed[feature]
    winner = position // geometry.out_width, position % geometry.out_width, geometry.time_steps - 1
    renew(times, geometry, synapses, winner, rates, layer.plasticity, renewed)
    if slots.slot_of[feature] < 0:
        slots.slot_of[feature] = used
        slots.features[used] = feature
        used += 1
    lane = slots.slot_of[feature]
    offsets, channels = synapses.shape
    has_slot = not is_dense(geometry)
    for offset in range(offsets):
        for c in range(channels):
            synapses[offset, c] = renewed[offset, c]
            if has_slot:
                slots.weights[(offset * channels + c) * BANK + lane] = renewed[offset, c]
    return used
