"""The tensor backend: whole spike waves, one convolution for each time step, on any device.

It consists of SpykeTorch's operations. A GPU runs it, and it is the slow reference implementation with which the tests
compare ``engine/event``.
"""

from functools import reduce

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from engine import backend
from engine.adaptation import adapt_thresholds, choose_position
from engine.backend import update_together
from engine.decision import check_learners, strongest, tolerance
from engine.rules import MAX_LEARNERS
from SpykeTorch import functional as sf

__all__ = ["DecisionLayer", "FiringLayer", "pool_latency", "update_together"]

WAVE_ELEMENTS = 1 << 26  # potentials in memory at the same time, if images share a convolution
IMAGES = 1000  # that share a convolution in a decision layer


class _Tensors:
    """What both kinds of layers have."""

    def _prepare(self):
        self.clamped = False  # whether an update has clipped all weights

    def _pad(self, latency):
        return F.pad(latency, [self.padding] * 4, value=self.time_steps)

    def _change_weights(self, features, times, time, rates, rule):
        """Change the weights of winners.

        features: list or int64 (n,). times: (n, C, k, k), of the input spikes of each winner. time: (n, 1, 1, 1), of
        the spike of the winner, or one number. rates: float64 (2,), (LTP, LTD).
        """
        weight = self.weight
        plasticity = rule.plasticity()
        ltp, ltd = weight.new_tensor(rates.tolist())
        before = weight[features]
        rate = plasticity.window(times.int(), time, ltp, ltd)
        after = before + rate * plasticity.change(before)
        after = after.clamp_(plasticity.lower, plasticity.upper)
        after[after.abs() < torch.finfo(after.dtype).tiny] = 0  # additions of denormal numbers are slow
        weight[features] = after

    def _clip_once(self, rule):
        """Clip all weights after the first image whose winners have learned, as the kernels do."""
        if not self.clamped:
            plasticity = rule.plasticity()
            self.weight.clamp_(plasticity.lower, plasticity.upper)
            self.clamped = True


class FiringLayer(_Tensors, backend.FiringLayer):
    """A layer with a threshold."""

    def _fire(self, latency, out, pool):
        elements = self.time_steps * self.features * latency[0, 0].numel()
        images = max(1, WAVE_ELEMENTS // elements)
        for part, target in zip(latency.split(images), out.split(images), strict=True):
            first = sf.wave_to_latency(self._potentials(part) > self.limit)
            target.copy_(pool_latency(first, pool))

    def _potentials(self, latency):
        """Return the potentials (N, T, F, Ho, Wo), less what the threshold of each feature is higher.

        A potential that can fall is replaced by its highest value so far, which crosses the threshold at the same step,
        and with the same value, but never falls.
        """
        wave = sf.latency_to_wave(self._pad(latency), self.time_steps, self.weight.dtype)  # (N, T, C, H, W)
        potentials = sf.conv2d(wave.flatten(0, 1), self.weight) - self.raised.to(self.weight.dtype)[:, None, None]
        potentials = potentials.unflatten(0, wave.shape[:2])
        if self.weight.min() < 0:
            potentials = potentials.cummax(1).values
        return potentials

    def _compete(self, image, rule, closed=None):
        """Return the winners int32 (n, 4) and the first spikes (F, Ho, Wo) of one image (C, H, W).

        closed: bool (Ho, Wo), the positions where no neuron can win.
        """
        spikes, thresholded = sf.fire(self._potentials(image[None])[0], self.limit, True)
        inhibited = sf.pointwise_inhibition(merge_ties(thresholded))
        if closed is not None:
            inhibited = inhibited * ~torch.from_numpy(closed).to(inhibited.device)
        winners = sf.get_k_winners(inhibited, rule.winners, rule.radius, inhibited.sign())
        first = sf.wave_to_latency(spikes)
        rows = [(*winner, int(first[winner])) for winner in winners]
        return torch.tensor(rows, dtype=torch.int32).reshape(-1, 4), first

    def _update_winners(self, image, winners, rates, rule):
        """Change the weights of the winners (n, 4) of one image (C, H, W)."""
        if len(winners) == 0:
            return
        feature, line, column, time = winners.to(image.device, torch.long).unbind(1)
        kernel = torch.arange(self.kernel, device=image.device)
        rows = (line[:, None] + kernel)[:, :, None]
        columns = (column[:, None] + kernel)[:, None, :]
        times = self._pad(image)[:, rows, columns].transpose(0, 1)
        self._change_weights(feature, times, time[:, None, None, None], rates, rule)
        self._clip_once(rule)

    def _compete_and_update(self, latency, rule, rates, draws, winners):
        for n, image in enumerate(latency):
            closed = draws.closed[n] if len(draws.closed) else None
            winners_of_image, first = self._compete(image, rule, closed)
            if len(draws.steps):
                self._adapt_thresholds(image, first, winners_of_image, rule, draws, n)
            self._update_winners(image, winners_of_image, rates[n, 0], rule)
            winners[n, : len(winners_of_image)] = winners_of_image

    def _adapt_thresholds(self, image, first, winners, rule, draws, n):
        """Change the thresholds after the n-th image (C, H, W), with its first spikes (F, Ho, Wo) and winners."""
        pixels = image.numpy(force=True)
        size = self.time_steps, self.kernel, self.padding, *first.shape[1:]
        line, column = choose_position(pixels, draws.patches[n], *size)
        time = -1.0
        if line >= 0:
            time = min(int(first[:, line, column].min()), self.time_steps) / self.time_steps
        raised = self.raised.numpy(force=True)
        step = draws.steps[n] * self.threshold
        adapt_thresholds(raised, winners[:, 0].numpy(), time, step, draws.target, rule.winners)
        self.raised.copy_(torch.from_numpy(raised))

    def _update_together(self, top, latency, labels, pool, rules, rates, result):
        rule, top_rule = rules
        rates, top_rates = rates
        for n, image in enumerate(latency):
            winners, first = self._compete(image, rule)
            result.winners[n, : len(winners)] = winners
            pooled = pool_latency(first, pool)
            rates_of_image = None if top_rates is None else top_rates[n]
            top._decide_and_update_one(pooled, int(labels[n]), top_rule, rates_of_image, None, result, n)
            feature = int(result.decisions[n, 0])
            if feature >= 0:
                row = 0 if result.classes[feature] == labels[n] else 1
                self._update_winners(image, winners, rates[n, row], rule)


class DecisionLayer(_Tensors, backend.DecisionLayer):
    """A layer without a threshold."""

    def _potentials(self, latency):
        spiked = (latency < self.time_steps).to(self.weight.dtype)
        return sf.conv2d(spiked, self.weight, padding=self.padding)

    def _peaks(self, latency, peaks):
        for part, target in zip(latency.split(IMAGES), peaks.split(IMAGES), strict=True):
            target.copy_(self._potentials(part).amax((2, 3)))

    @staticmethod
    def _find_position(potential):
        """Return the first position (line, column) with the highest potential (Ho, Wo), up to ``tolerance``."""
        lowest = potential.max() * float(1 - tolerance(potential.numpy(force=True)))
        first = int((potential >= lowest).flatten().int().argmax())
        return divmod(first, potential.shape[1])

    def _decide_and_update(self, latency, labels, rule, rates, left_out, result):
        for n, image in enumerate(latency):
            left_out_of_image = left_out[n] if len(left_out) else None
            self._decide_and_update_one(image, int(labels[n]), rule, rates[n], left_out_of_image, result, n)

    def _decide_and_update_one(self, image, label, rule, rates, left_out, result, n):
        """Decide the n-th image (C, H, W), and learn from it unless rates (rows, 2) is None."""
        potentials = self._potentials(image[None])[0]
        peaks = potentials.amax((1, 2)).numpy(force=True)
        best = int(strongest(peaks))
        if best < 0:
            return
        result.decisions[n] = torch.tensor([best, *self._find_position(potentials[best])])
        result.highest[n] = float(peaks[best])
        if rates is None:
            return
        candidates = peaks if left_out is None else np.where(left_out, -1, peaks)
        learners = np.full((MAX_LEARNERS, 2), -1)
        count = int(rule.plasticity().verdict(candidates, label, result.classes, learners))
        check_learners(learners, count, self.features, len(rates))
        for feature, row in learners[:count]:
            line, column = self._find_position(potentials[feature])
            times = self._pad(image)[:, line : line + self.kernel, column : column + self.kernel]
            self._change_weights([feature], times[None], self.time_steps - 1, rates[row], rule)
        if count:
            self._clip_once(rule)


def merge_ties(potentials: Tensor) -> Tensor:
    """Return the potentials; those that are equal up to ``tolerance`` become the highest of them."""
    relative = float(tolerance(potentials.new_empty(0).numpy(force=True)))
    if relative == 0:
        return potentials
    values, places = potentials.unique(return_inverse=True)  # ascending
    is_last = torch.ones_like(values, dtype=torch.bool)  # of the values that are equal
    is_last[:-1] = values[1:] * (1 - relative) > values[:-1]
    group = is_last.cumsum(0) - is_last.long()
    return values[is_last][group][places]


def pool_latency(latency: Tensor, size: int, padding: int = 0) -> Tensor:
    """Return the earliest spike of each size×size window of latency (…, H, W); what does not fit is dropped.

    padding: silent neurons on each side, at most half of ``size``, so that each window contains a neuron.
    """
    if padding:
        latency = F.pad(latency, [padding] * 4, value=torch.iinfo(torch.uint8).max)  # later than any spike and silence
    height = latency.shape[-2] // size * size
    width = latency.shape[-1] // size * size
    lines = reduce(torch.minimum, [latency[..., i:height:size, :width] for i in range(size)])
    return reduce(torch.minimum, [lines[..., i::size] for i in range(size)])
