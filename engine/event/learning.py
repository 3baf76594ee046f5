"""Learning: the winners of a firing layer learn from one image after another."""

import numpy as np

from engine.compiled import compiled
from engine.event.competition import compete
from engine.event.plasticity import update_winners


@compiled
def learn_features(latency, targets, layer, weights, plasticity, rates, winners):
    """Compete and learn on images (N, C, H, W), one after another.

    Args:
        targets: see ``engine/decision.py``. With labels, the first winner decides, and all winners learn from the
            decision: by row 0 of the rates if it is correct, else by row 1.
        layer: a ``Competitor`` with the rows of ``weights``.
        rates: (N, rows, 2).
        winners: int32 (N, K, 4), receives the winners.
    """
    geometry = layer.geometry
    labels, classes, left_out = targets
    times = layer.spikes.times
    renewed = np.empty(weights.transposed.shape[1:], weights.rows.dtype)
    start = layer.start
    for n in range(len(latency)):
        if len(left_out) > 0:
            for f in range(geometry.features):
                start[f] = -np.inf if left_out[n, f] else 0
        count = compete(latency[n], layer, winners[n])
        row = 0
        if count > 0 and len(labels) > 0 and classes[winners[n, 0, 0]] != labels[n]:
            row = 1
        update_winners(times, geometry, weights, winners[n, :count], rates[n, row], plasticity, renewed)
