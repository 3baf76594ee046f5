"""Deciding: a layer without a threshold decides by its strongest potential at the last time step, and learns.

Each image changes only a few features. Therefore the potentials of a *chunk* of images are computed together, in
parallel, with the weights before the chunk: by codes if the layer is screened (``screening.py``), otherwise exactly
(``find_peaks``). Then ``learn_decisions`` learns from one image after another. For each image, it sums exactly only the
candidates, or the features that have changed within the chunk. All sums are taken in the same order, so that the
results are bit-identical.
"""

from typing import NamedTuple

import numpy as np
from numba import int64

from engine.checks import check_learners
from engine.compiled import compiled
from engine.decision import strongest
from engine.event.layout import Geometry, Weights, bank_width, to_banks
from engine.event.plasticity import clamp, renew
from engine.event.potentials import Inputs, Peaks, raise_peaks
from engine.event.screening import Screen, encode, find_candidates

LARGE_CHUNK = 64  # images of a chunk of a layer that is screened, or of a SpikingDense, whose weights no cache holds
EXACT_CHUNK = 8  # of other layers, because each feature that has changed is summed again for each image


class DecidingLayer(NamedTuple):
    """A decision layer, the rule by which it learns, and the memory for a chunk of images."""

    geometry: Geometry
    weights: Weights
    plasticity: tuple
    classes: np.ndarray  # int64 (F,): the class of each feature
    drops: bool  # whether neurons that are left out do not decide
    inputs: Inputs
    peaks: Peaks
    screen: Screen
    drift: np.ndarray  # float64 (F,): the sum of the largest changes of weights that codes or banks do not contain yet


class Decisions(NamedTuple):
    """The decisions on N images."""

    winners: np.ndarray  # (N, 3): feature, line, column; -1: silent
    highest: np.ndarray  # (N,): the potential of the winner


@compiled
def learn_decisions(labels, layer, rates, left_out, decisions):
    """Decide and learn from the images of a chunk, in order, as ``torch_backend._decide`` does; return their number.

    The chunk ends early after the first update, which clips the weights of all features.

    Args:
        labels: int64 (N,).
        layer: a ``DecidingLayer``. Its inputs contain the spikes of the chunk; if it is screened, ``sum_codes`` has
            summed their codes, otherwise its peaks are those of ``find_peaks``. Both change.
        rates: (N, rows, 2); (0, rows, 2): the layer decides and does not learn.
        left_out: bool (N, F), the neurons that are left out.
        decisions: receives the decisions.

    Raises ValueError if the verdict of the rule is impossible.
    """
    geometry, weights, plasticity, classes, drops, inputs, peaks, screen, drift = layer
    features = geometry.features
    is_screened = len(screen.spacing) > 0
    group = np.zeros(features, np.int64)  # see ``find_candidates``
    candidates = np.empty(features, weights.transposed.dtype)  # the peaks of one image, -1 for a neuron left out
    learners = np.empty((features, 2), np.int64)  # (feature, row of the rates) of the neurons that learn
    renewed = np.empty(weights.transposed.shape[1:], weights.transposed.dtype)
    has_learned = False
    n = int64(0)
    while n < len(labels) and (weights.inside[0] or not has_learned):
        changed = np.flatnonzero(drift)
        values = peaks.values[n, :features]
        if is_screened:
            for f in range(features):
                group[f] = 2 if left_out[n, f] else classes[f] != labels[n]
            find_candidates(inputs, n, geometry, weights.transposed, drift, group, screen, peaks)
        else:
            for f in changed:
                values[f] = -np.inf
            for position in range(geometry.out_height * geometry.out_width):
                raise_peaks(inputs, n, geometry, weights.transposed, position, changed, peaks)
        for f in range(features):
            if drops and left_out[n, f]:
                values[f] = -1
        best = strongest(values)
        decisions.winners[n] = -1
        if best >= 0:
            position = peaks.positions[n, best]
            decisions.highest[n] = values[best]
            decisions.winners[n, 0] = best
            decisions.winners[n, 1] = position // geometry.out_width
            decisions.winners[n, 2] = position % geometry.out_width
        if best >= 0 and len(rates) > 0:
            for f in range(features):
                candidates[f] = -1 if left_out[n, f] else values[f]
            learners[:] = -1
            count = int64(plasticity.verdict(candidates, labels[n], classes, learners))
            check_learners(learners, count, rates.shape[1])
            for i in range(count):
                feature = learners[i, 0]
                row = learners[i, 1]
                position = int64(peaks.positions[n, feature])
                winner = position // geometry.out_width, position % geometry.out_width, geometry.time_steps - 1
                synapses = weights.transposed[feature]
                renew(inputs.times[n], geometry, synapses, winner, rates[n, row], plasticity, renewed)
                drift[feature] += _replace(synapses, renewed)
                has_learned = True
        n += 1
    stale = np.flatnonzero(drift > screen.spacing) if is_screened else np.flatnonzero(drift)
    if has_learned and not weights.inside[0]:
        clamp(weights.transposed, plasticity)
        weights.inside[0] = True
        stale = np.arange(features)
    if is_screened:
        for f in stale:
            screen.lowest[f] = min(max(screen.lowest[f] - drift[f], plasticity.lower), plasticity.upper)
            screen.highest[f] = min(max(screen.highest[f] + drift[f], plasticity.lower), plasticity.upper)
        encode(weights.transposed, stale, screen)
    else:
        to_banks(weights.transposed, stale, bank_width(geometry), weights.rows)
    drift[stale] = 0
    return n


@compiled
def _replace(synapses, renewed):
    """Copy the renewed weights (k · k, C) of a feature; return the largest change, rounded upwards."""
    largest = np.zeros_like(synapses[0])
    for offset in range(len(synapses)):
        before = synapses[offset]
        after = renewed[offset]
        for c in range(len(before)):
            change = abs(after[c] - before[c])
            largest[c] = change if change > largest[c] else largest[c]
            before[c] = after[c]
    return np.float64(largest.max()) * 1.000001
