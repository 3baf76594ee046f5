"""Plasticity: the synapses of winners change. The equations of the rules are in ``engine/rules.py``."""

import numpy as np
from numba import int64, types
from numba.extending import overload_method

from engine.compiled import compiled
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
def update_winners(times, geometry, weights, winners, rates, plasticity, renewed):
    """Change the synapses of all winners (n, 4) of an image, as ``torch_backend._update_winners`` does.

    The first update clips every weight, also the weights of features that did not win.

    winners: each (feature, line, column, time step).
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
    """Compute the new synapses (k · k, C) of a winner, w + Δw, as ``torch_backend._change_weights`` does.

    The result is clipped to the bounds and written to ``renewed``, because the compiler does not vectorise the loop if
    it writes to what it reads. Weights below the smallest normal number become 0: the stabilizer drives weights towards
    0 forever, and additions of denormal numbers take many times longer.

    position: (line, column, time step). times: (H · W + 1, C), of the input spikes; the last row stands for what lies
    outside the image.
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
