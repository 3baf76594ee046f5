"""A firing layer and the decision layer above it learn together from each decision.

This is one kernel, because calls from Python would lay out all weights again for each image.
"""

from typing import NamedTuple

import numpy as np
from numba import int64

from engine.compiled import compiled
from engine.event.competition import Competitor, compete
from engine.event.deciding import Decisions, learn_decisions
from engine.event.firing import FiringFeatures, find_reach, fire_features, make_reach
from engine.event.layout import Weights, bank_width
from engine.event.plasticity import update_winners
from engine.event.potentials import find_peaks_of_bank, list_spikes


class LowerLayer(NamedTuple):
    """A firing layer with its weights and its rule, and the size of the pooling below the decision layer."""

    competitor: Competitor
    features: FiringFeatures  # all, with the rows of ``weights``
    weights: Weights
    plasticity: tuple
    pool: int


@compiled
def learn_together(latency, labels, lower, upper, lower_rates, upper_rates, winners, decisions):
    """Decide images (N, C, H, W) with labels (N,), and let both layers learn, as ``torch_backend.learn_together`` does.

    Args:
        lower: a ``LowerLayer``.
        upper: a ``DecidingLayer`` with memory for one image.
        lower_rates: (N, 2, 2); the firing layer learns with row 0 after a correct decision, with row 1 after a wrong
            one, and not at all after silence.
        upper_rates: (N, rows, 2), of the decision layer; (0, rows, 2): it decides and does not learn.
        winners: int32 (N, K, 4), receives the winners of the firing layer.
        decisions: receives the decisions.
    """
    competitor, features, weights, plasticity, pool = lower
    geometry = competitor.geometry
    deciding = upper.geometry
    spikes = competitor.spikes
    line_groups, reach = make_reach(spikes, geometry)
    renewed = np.empty(weights.transposed.shape[1:], weights.rows.dtype)
    between = np.empty((deciding.channels, deciding.height, deciding.width), np.uint8)
    none_left_out = np.zeros((1, deciding.features), np.bool_)
    for n in range(len(latency)):
        count = compete(latency[n], competitor, winners[n])
        find_reach(spikes, geometry, line_groups, reach)
        between[:] = geometry.time_steps
        fire_features(spikes, line_groups, reach, features, pool, between)
        list_spikes(between, deciding, upper.inputs, int64(0))
        for bank in range(deciding.stride // bank_width(deciding)):
            find_peaks_of_bank(upper.inputs, int64(0), int64(1), deciding, upper.weights.rows, bank, upper.peaks)
        part = slice(n, n + 1)
        decision = Decisions(decisions.winners[part], decisions.highest[part])
        learn_decisions(labels[part], upper, upper_rates[part], none_left_out, decision)
        best = decisions.winners[n, 0]
        if best >= 0:
            row = 0 if upper.classes[best] == labels[n] else 1
            rates = lower_rates[n, row]
            update_winners(spikes.times, geometry, weights, winners[n, :count], rates, plasticity, renewed)
