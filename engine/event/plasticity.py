"""Plasticity: what the synapses of a winner become. The rule itself is in ``engine/rules.py``."""

import numpy as np
from numba import int64

from engine.compiled import compiled
from engine.event.competition import compete
from engine.event.firing import make_scratch


@compiled
def clamp(values, features, stride, plasticity):
    """Clip rows of weights to the bounds, but not their padding."""
    for at in range(0, values.size, stride):
        for f in range(features):
            values[at + f] = min(max(values[at + f], plasticity.lower), plasticity.upper)


@compiled
def within(values, features, stride, plasticity):
    """Whether all weights lie within the bounds."""
    outside = 0
    for at in range(0, values.size, stride):
        for f in range(features):
            outside += (values[at + f] < plasticity.lower) | (values[at + f] > plasticity.upper)
    return outside == 0


@compiled
def _renewed(w, rate, plasticity):
    """The new value of one weight: w + rate · s(w), within the bounds.

    Weights below the smallest normal number become 0: the stabilizer drives weights towards 0 for ever, and additions
    of denormal numbers are many times slower.
    """
    change = type(w)(rate * type(w)(plasticity.change(w)))
    w = min(max(w + change, plasticity.lower), plasticity.upper)
    return w if abs(w) >= np.finfo(type(w)).tiny else w - w


@compiled
def renew(times, geometry, synapses, winner, rates, plasticity, renewed):
    """New values of the synapses (k · k, C) of a winner (feature, line, column, time), into ``renewed``.

    That is other memory: in place, the loops could not be vectorised.
    ``times`` (H · W, C): when the inputs spiked. What lies outside the image never spikes.
    """
    ltp, ltd = rates[0], rates[1]  # read once: the compiler cannot know that they stay
    kernel, height, width = geometry.kernel, geometry.height, geometry.width
    channels = synapses.shape[1]
    time = np.int32(winner[3])  # as wide as a weight: the loops take as many at once
    silent = plasticity.window(np.int32(geometry.time_steps), time, ltp, ltd)
    for ky in range(kernel):
        for kx in range(kernel):
            offset = ky * kernel + kx
            y, x = winner[1] + ky - geometry.padding, winner[2] + kx - geometry.padding
            if 0 <= y < height and 0 <= x < width:
                pixel = y * width + x
                for c in range(channels):
                    rate = plasticity.window(np.int32(times[pixel, c]), time, ltp, ltd)
                    renewed[offset, c] = _renewed(synapses[offset, c], rate, plasticity)
            else:
                for c in range(channels):
                    renewed[offset, c] = _renewed(synapses[offset, c], silent, plasticity)


@compiled
def _update_winner(times, geometry, weights, winner, rates, plasticity, renewed):
    """Change the synapses of one winner, and the rows where they change.

    After a few thousand images most change no more: the stabilizer has driven them to a bound. A feature's numbers in
    the rows lie far apart, so only what differs is carried over.
    """
    feature = winner[0]
    synapses, rows, stride = weights.turned[feature], weights.rows, geometry.stride
    numbers = int64(feature), int64(winner[1]), int64(winner[2]), int64(winner[3])
    renew(times, geometry, synapses, numbers, rates, plasticity, renewed)
    offsets, channels = synapses.shape
    for offset in range(offsets):
        differ = False
        for c in range(channels):
            differ |= renewed[offset, c] != synapses[offset, c]
        if differ:
            for c in range(channels):
                if renewed[offset, c] != synapses[offset, c]:
                    synapses[offset, c] = renewed[offset, c]
                    rows[(c * offsets + offset) * stride + feature] = renewed[offset, c]


@compiled
def update_winners(times, geometry, weights, winners, rates, plasticity, renewed):
    """Change the synapses of all winners of an image, each (feature, line, column, time).

    The first update clips every weight, also those of features that did not win.
    """
    for winner in winners:
        _update_winner(times, geometry, weights, winner, rates, plasticity, renewed)
    if len(winners) > 0 and not weights.inside[0]:
        turned = weights.turned.reshape(-1)
        clamp(turned, turned.size, turned.size, plasticity)
        clamp(weights.rows, geometry.features, geometry.stride, plasticity)
        weights.inside[0] = True


@compiled
def learn(latency, geometry, weights, competition, plasticity, rates, winners):
    """Unsupervised learning over images (N, C, H, W), one after another, with the rates (N, rows, 2) of each."""
    scratch = make_scratch(weights.rows, geometry)
    renewed = np.empty(weights.turned.shape[1:], weights.rows.dtype)
    for n in range(latency.shape[0]):
        found = compete(latency[n], weights.rows, geometry, competition, False, scratch, winners[n])
        times = scratch.spikes.times
        update_winners(times, geometry, weights, winners[n, :found], rates[n, 0], plasticity, renewed)
