"""The tensor backend: whole spike waves, frame by frame, one convolution for each time step, on any device.

The slow, obvious twin of ``engine/event``, made of SpykeTorch's operations, and what a GPU runs.
"""

import numpy as np
import torch
from torch.nn import functional as F

from engine import backend
from engine.backend import learn_together
from engine.decision import strongest, tolerance
from SpykeTorch import functional as sf

__all__ = ["DecisionLayer", "FiringLayer", "learn_together", "pool_latency"]

WAVE_ELEMENTS = 1 << 26  # potentials in memory at once where images can share a convolution
IMAGES = 1000  # that share a convolution in a decision layer


def _apply(layer, features, times, time, rates, rule):
    """Change the weights of winners' features (n,); the first time, clamp all.

    times (n, C, k, k): when the inputs of each winner spiked; time (n, 1, 1, 1): when it did itself; rates: (LTP, LTD).
    """
    weight, plasticity = layer.weight, rule.plasticity()
    ltp, ltd = weight.new_tensor(rates.tolist())
    before = weight[features]
    after = before + plasticity.window(times.int(), time, ltp, ltd) * plasticity.change(before)
    after = after.clamp_(plasticity.lower, plasticity.upper)
    after[after.abs() < torch.finfo(after.dtype).tiny] = 0  # denormal numbers are slow to add
    if not layer.clamped:
        weight.clamp_(plasticity.lower, plasticity.upper)
        layer.clamped = True
    weight[features] = after


class FiringLayer(backend.FiringLayer):
    """A layer with a threshold."""

    def _prepare(self):
        self.clamped = False

    def _padded(self, latency):
        return F.pad(latency, [self.padding] * 4, value=self.time_steps)

    def _wave(self, latency):
        return sf.latency_to_wave(self._padded(latency), self.time_steps, self.weight.dtype)

    def _fire(self, latency, out, pool):
        elements = self.time_steps * self.features * torch.Size(self._output_size(latency)).numel()
        for part, target in zip(*(x.split(max(1, WAVE_ELEMENTS // elements)) for x in (latency, out)), strict=True):
            wave = self._wave(part)  # (n, T, C, H, W)
            fired = sf.conv2d(wave.flatten(0, 1), self.weight) > self.threshold
            target.copy_(pool_latency(sf.wave_to_latency(fired.unflatten(0, wave.shape[:2])), pool))

    def _compete(self, image, rule):
        """One image (C, H, W): its winners int32 (n, 4) and first spikes (F, Ho, Wo)."""
        spikes, thresholded = sf.fire(sf.conv2d(self._wave(image), self.weight), self.threshold, True)
        inhibited = sf.pointwise_inhibition(thresholded)
        chosen = sf.get_k_winners(inhibited, rule.winners, rule.radius, inhibited.sign())
        first = sf.wave_to_latency(spikes)
        return torch.tensor([(*w, int(first[w])) for w in chosen], dtype=torch.int32).reshape(-1, 4), first

    def _update(self, image, winners, rates, rule):
        """Weight changes of the winners (n, 4) of one image (C, H, W)."""
        if len(winners) == 0:
            return
        feature, line, column, time = winners.to(image.device, torch.long).unbind(1)
        kernel = torch.arange(self.kernel, device=image.device)
        rows, columns = line[:, None] + kernel, column[:, None] + kernel
        times = self._padded(image)[:, rows[:, :, None], columns[:, None, :]].transpose(0, 1)
        _apply(self, feature, times, time[:, None, None, None], rates, rule)

    def _learn(self, latency, rule, rates, winners):
        for n, image in enumerate(latency):
            chosen, _ = self._compete(image, rule)
            self._update(image, chosen, rates[n, 0], rule)
            winners[n, : len(chosen)] = chosen

    def _learn_together(self, top, latency, labels, pool, rules, rates, found):
        for n, image in enumerate(latency):
            chosen, first = self._compete(image, rules[0])
            found.winners[n, : len(chosen)] = chosen
            above = pool_latency(first, pool)
            top_rates = None if rates[1] is None else rates[1][n]
            top._learn_one(above, int(labels[n]), rules[1], top_rates, None, found, n)
            feature = int(found.decisions[n, 0])
            if feature >= 0:
                row = 0 if found.classes[feature] == labels[n] else 1
                self._update(image, chosen, rates[0][n, row], rules[0])


class DecisionLayer(backend.DecisionLayer):
    """A layer without a threshold."""

    def _prepare(self):
        self.clamped = False

    def _potentials(self, latency):
        return sf.conv2d((latency < self.time_steps).to(self.weight.dtype), self.weight, padding=self.padding)

    @staticmethod
    def _place(potential):
        """The first position (line, column) within rounding of the highest potential (Ho, Wo) of a feature."""
        close = potential >= potential.max() * float(1 - tolerance(potential.numpy(force=True)))
        return divmod(int(close.flatten().int().argmax()), potential.shape[1])

    def _peaks(self, latency, peaks):
        for part, target in zip(latency.split(IMAGES), peaks.split(IMAGES), strict=True):
            target.copy_(self._potentials(part).amax((2, 3)))

    def _learn(self, latency, labels, classes, rule, rates, left_out, found):
        for n, image in enumerate(latency):
            out = left_out[n] if len(left_out) else None
            self._learn_one(image, int(labels[n]), rule, rates[n], out, found, n)

    def _learn_one(self, image, label, rule, rates, left_out, found, n):
        """Decide the n-th image (C, H, W), and learn from it unless rates (rows, 2) is None."""
        potentials = self._potentials(image[None])[0]
        peaks = potentials.amax((1, 2)).numpy(force=True)
        best = int(strongest(peaks))
        if best < 0:
            return
        found.decisions[n] = torch.tensor([best, *self._place(potentials[best])])
        found.highest[n] = float(peaks[best])
        if rates is None:
            return
        if left_out is not None:
            peaks = np.where(left_out, -1, peaks)
        learners = np.empty((rule.most_learners, 2), np.int64)
        padded = F.pad(image, [self.padding] * 4, value=self.time_steps)
        for feature, row in learners[: rule.plasticity().verdict(peaks, label, found.classes, learners)]:
            line, column = self._place(potentials[feature])
            times = padded[:, line : line + self.kernel, column : column + self.kernel][None]
            _apply(self, [feature], times, self.time_steps - 1, rates[row], rule)


def pool_latency(latency, size):
    """The earliest spike of each size×size window of (…, H, W); what does not fit is dropped."""
    height, width = (n // size for n in latency.shape[-2:])
    windows = latency[..., : height * size, : width * size].unflatten(-1, (width, size)).unflatten(-3, (height, size))
    return windows.amin((-3, -1))
