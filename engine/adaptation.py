"""Thresholds that adapt while a stage learns, and random positions: the part that both backends share.

The thresholds of a stage begin at its declared threshold θ and never fall below it. After each image,

    θ_f += shift · (target - t)         for all features f, if the image has a spike
    θ_f += shift · (w_f - W / F) / K    w_f: 1 if f has won, W: number of winners, F: features, K: most winners

where t is the time of the first output spike at a position that reads a random input spike, as a fraction of the time
steps; 1 if no neuron spikes there. The first line moves all thresholds until neurons fire at the target. The second
lets all features win equally often. Both are after Falez et al. 2019 (arXiv 1904.01908), who learn from one random
patch of each image: t there is the time of its winner, and a silent patch changes nothing. Here the winners are the
earliest of many positions, so t is measured at another position, which does not depend on them.
"""

from typing import NamedTuple

import numpy as np

from engine.compiled import compiled


class Draws(NamedTuple):
    """What a rule draws for a batch of images, and how far it shifts thresholds.

    Attributes:
        closed: bool (N, Ho, Wo), the positions where no neuron can win; empty: neurons can win everywhere.
        patches: float64 (N, 3), from 0 to 1: which input spike, and its line and column in the kernel.
        shifts: float64 (N,), of the thresholds, as fractions of the declared threshold; (0,): they do not change.
        target: the target of the first spike, as a fraction of the time steps.
    """

    closed: np.ndarray
    patches: np.ndarray
    shifts: np.ndarray
    target: float


# Neurons can win at all positions, and no threshold changes.
NO_DRAWS = Draws(np.empty((0, 0, 0), bool), np.empty((0, 3)), np.empty(0), 0.0)


@compiled
def choose_position(latency, numbers, time_steps, kernel, padding, out_height, out_width):
    """Return the output position (line, column) that reads a random spike of latency (C, H, W); (-1, -1) without one.

    numbers (3,): a row of ``Draws.patches``.
    """
    channels, height, width = latency.shape
    spikes = 0
    for c in range(channels):
        for y in range(height):
            for x in range(width):
                spikes += latency[c, y, x] < time_steps
    left = int(numbers[0] * spikes)
    for c in range(channels):
        for y in range(height):
            for x in range(width):
                if latency[c, y, x] >= time_steps:
                    continue
                if left == 0:
                    line = y + padding - int(numbers[1] * kernel)
                    column = x + padding - int(numbers[2] * kernel)
                    return min(max(line, 0), out_height - 1), min(max(column, 0), out_width - 1)
                left -= 1
    return -1, -1


@compiled
def adapt_thresholds(raised, winners, time, shift, target, max_winners):
    """Change the thresholds after an image, in place.

    raised: float64 (F,), how much higher the threshold of each feature is than the declared threshold. winners: the
    features that have won. time: t of the first line of the equation; negative without a spike. shift: in units of the
    potential.
    """
    change = -shift * len(winners) / (max_winners * len(raised))
    if time >= 0:
        change += shift * (target - time)
    for f in range(len(raised)):
        raised[f] += change
    for f in winners:
        raised[f] += shift / max_winners
    for f in range(len(raised)):
        raised[f] = max(raised[f], 0.0)
