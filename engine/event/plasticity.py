"""Plasticity: the synapses of winners change. The equations of the rules are in ``engine/rules.py``."""

import numpy as np
from numba import int64, types
from numba.extending import overload_method

from engine.adaptation import adapt_thresholds, choose_position
from engine.compiled import compiled
from engine.decision import tolerance
from engine.event.competition import compete
from engine.event.layout import to_rows

for _kind in (types.NamedTuple, types.NamedUniTuple):  # kernels call the methods that a rule's class has

    @overload_method(_kind, "window")
    def _window(self, t_in, t_out, ltp, ltd):
        return self.instance_class.window

    @overload_method(_kind, "change")
    def _change(self, w, rate):
        return self.instance_class.change

    @overload_method(_kind, "verdict")
    def _verdict(self, peaks, label, classes, learners):
        return self.instance_class.verdict


@compiled
def update_batch(latency, layer, weights, plasticity, rates, draws, winners):
    """Compete and learn without labels on images (N, C, H, W), one after another, with rates (N, rows, 2).

    layer: a ``Competitor`` with the rows of ``weights``. draws: see ``engine/adaptation.py``, with shifts in units of
    the potential. The thresholds change in place. winners: int32 (N, K, 4), receives the winners.
    """
    geometry = layer.geometry
    times = layer.spikes.times
    renewed = np.empty(weights.transposed.shape[1:], weights.rows.dtype)
    excluded = np.empty((0, 0), np.bool_)
    _, raised, start = layer.thresholds
    for n in range(latency.shape[0]):
        if len(draws.closed) > 0:
            excluded = draws.closed[n]
        count = compete(latency[n], layer, excluded, winners[n])
        if len(draws.shifts) > 0:
            time = _find_first_spike(latency[n], layer, draws.patches[n])
            features = winners[n, :count, 0]
            adapt_thresholds(raised, features, time, draws.shifts[n], draws.target, layer.max_winners)
            _set_start(raised, start)
        update_winners(times, geometry, weights, winners[n, :count], rates[n, 0], plasticity, renewed)


@compiled
def update_decided(latency, targets, layer, weights, plasticity, rates, left_out, winners):
    """Decide images (N, C, H, W) by their first spikes, one after another; the winners learn from each decision.

    Args:
        targets: the labels (N,), and the class of each feature (F,).
        layer: as in ``update_batch``; its thresholds change in place.
        rates: (N, 2, 2), the rows (LTP, LTD) of a reward and of a punishment.
        left_out: bool (N, F), the features that do not fire: their thresholds are infinite.
        winners: int32 (N, K, 4), receives the winners; the first of them decides.
    """
    labels, classes = targets
    renewed = np.empty(weights.transposed.shape[1:], weights.rows.dtype)
    nowhere = np.empty((0, 0), np.bool_)
    _, raised, start = layer.thresholds
    declared = raised.copy()
    for n in range(len(latency)):
        for f in range(len(raised)):
            raised[f] = np.inf if left_out[n, f] else declared[f]
        _set_start(raised, start)
        count = compete(latency[n], layer, nowhere, winners[n])
        if count > 0:
            row = 0 if classes[winners[n, 0, 0]] == labels[n] else 1
            times = layer.spikes.times
            update_winners(times, layer.geometry, weights, winners[n, :count], rates[n, row], plasticity, renewed)


@compiled
def _set_start(raised, start):
    """Set the potentials before the first spike for raised thresholds, as ``Layer.start`` does."""
    for f in range(len(raised)):
        start[f] = -raised[f] * (1 + tolerance(start.itemsize))


@compiled
def _find_first_spike(latency, layer, numbers):
    """Return the time of the first spike at a random position, as a fraction of the time steps; -1 without input.

    layer: a ``Competitor`` that has listed the spikes of latency (C, H, W). numbers: as in ``choose_position``.
    """
    geometry, rows, thresholds, _, _, _, spikes = layer
    times = spikes.times
    kernel = geometry.kernel
    height = geometry.height
    width = geometry.width
    stride = geometry.stride
    size = geometry.out_height, geometry.out_width
    line, column = choose_position(latency, numbers, geometry.time_steps, kernel, geometry.padding, *size)
    if line < 0:
        return -1.0
    potential = thresholds.start.copy()
    for t in range(geometry.time_steps):
        for ky in range(kernel):
            for kx in range(kernel):
                y = line - geometry.padding + ky
                x = column - geometry.padding + kx
                if not (0 <= y < height and 0 <= x < width):
                    continue
                inputs = times[y * width + x]
                for c in range(len(inputs)):
                    if inputs[c] == t:
                        at = ((c * kernel + ky) * kernel + kx) * stride
                        for f in range(stride):
                            potential[f] += rows[at + f]
        for f in range(geometry.features):
            if potential[f] > thresholds.limit:
                return t / geometry.time_steps
    return 1.0


@compiled
def update_winners(times, geometry, weights, winners, rates, plasticity, renewed):
    """Change the synapses of all winners (n, 4) of an image, each (feature, line, column, time step).

    The first update clips every weight, also the weights of features that did not win.
    """
    stride = geometry.stride
    rows = weights.rows
    for i in range(len(winners)):
        feature = winners[i, 0]
        position = int64(winners[i, 1]), int64(winners[i, 2]), int64(winners[i, 3])
        synapses = weights.transposed[feature]
        renew(times, geometry, synapses, position, rates, plasticity, renewed)
        # After a few thousand images, most weights are at a bound and no longer change. In the rows, the weights of a
        # feature lie far apart, so that only changes are copied.
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
    if len(winners) > 0 and not weights.inside[0]:
        clamp(weights.transposed, plasticity)
        to_rows(weights.transposed, rows)
        weights.inside[0] = True


@compiled
def renew(times, geometry, synapses, position, rates, plasticity, renewed):
    """Compute the new synapses (k · k, C) of a winner at ``position`` (line, column, time step): w + Δw.

    The result is clipped to the bounds and written to ``renewed``, because the compiler does not vectorise the loop if
    it writes to what it reads. Weights below the smallest normal number become 0: the stabilizer drives weights towards
    0 forever, and additions of denormal numbers take many times longer.

    ``times`` (H · W + 1, C): the times of the input spikes; the last row stands for what lies outside the image.
    """
    ltp, ltd = rates[0], rates[1]  # read here, because the compiler cannot know that they do not change
    kernel = geometry.kernel
    height = geometry.height
    width = geometry.width
    line, column = position[0] - geometry.padding, position[1] - geometry.padding
    time = np.int32(position[2])  # as wide as a float32 weight, so that vectors contain equal numbers of both
    for ky in range(kernel):
        for kx in range(kernel):
            y = line + ky
            x = column + kx
            offset = ky * kernel + kx
            pixel = y * width + x if 0 <= y < height and 0 <= x < width else height * width
            before = synapses[offset]
            after = renewed[offset]
            inputs = times[pixel]
            for c in range(len(before)):
                w = before[c]
                rate = plasticity.window(np.int32(inputs[c]), time, ltp, ltd)
                w += type(w)(plasticity.change(w, type(w)(rate)))
                w = min(max(w, plasticity.lower), plasticity.upper)
                after[c] = w if abs(w) >= np.finfo(type(w)).tiny else w - w


@compiled
def clamp(transposed, plasticity):
    """Clip transposed weights (F, k · k, C) to the bounds of the rule, in place."""
    flat = transposed.reshape(-1)
    for i in range(len(flat)):
        flat[i] = min(max(flat[i], plasticity.lower), plasticity.upper)
