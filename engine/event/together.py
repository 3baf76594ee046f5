"""A firing stage and the decision stage above it, which learn together from every decision."""

from typing import NamedTuple

import numpy as np
from numba import int64

from engine.compiled import compiled
from engine.event import deciding as decision_layer
from engine.event.competition import Competition, compete
from engine.event.crew import make_crew
from engine.event.firing import make_scratch, pool_out
from engine.event.layout import Geometry, Weights
from engine.event.plasticity import update_winners


class Firing(NamedTuple):
    """A firing layer, how it competes and learns, and the size of the pooling above it."""

    geometry: Geometry
    weights: Weights
    competition: Competition
    plasticity: tuple
    pool: int


@compiled
def learn(latency, labels, firing, deciding, firing_rates, rates, winners, decisions):
    """Over images (N, C, H, W), one after another: decide, then both layers learn.

    ``winners`` (N, K, 4) gets the firing layer's, which learn with the first row of their rates after a right decision
    and with the second after a wrong one.
    """
    geometry, weights, competition, plasticity, pool = firing
    scratch = make_scratch(weights.rows, geometry)
    renewed = np.empty(weights.turned.shape[1:], weights.rows.dtype)
    shape = (1, geometry.features, geometry.out_height // pool, geometry.out_width // pool)
    between = np.empty(shape, np.uint8)
    top_scratch = decision_layer.make_scratch(deciding.geometry, weights.rows, deciding.most_learners)
    crew = make_crew(deciding.geometry, deciding.weights, int64(1), int64(1))
    none_left_out = np.empty((0, deciding.geometry.features), np.bool_)
    for n in range(latency.shape[0]):
        found = compete(latency[n], weights.rows, geometry, competition, True, scratch, winners[n])
        pool_out(scratch.marks, geometry, pool, between[0])
        one = slice(n, n + 1)
        decided = decision_layer.Decisions(decisions.winners[one], decisions.highest[one])
        decision_layer.learn(between, labels[one], deciding, rates[one], none_left_out, crew, top_scratch, decided)
        best = decisions.winners[n, 0]
        if best >= 0:
            row = 0 if deciding.classes[best] == labels[n] else 1
            times = scratch.spikes.times
            update_winners(times, geometry, weights, winners[n, :found], firing_rates[n, row], plasticity, renewed)
