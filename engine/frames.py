"""The operations of ``event.py`` frame by frame, as tensor operations on any device: whole spike waves, one convolution
for each time step. The slow, obvious twin on a CPU, and what a GPU runs.

Same interface, same winners; notation as in ``event.py``. A *rule* is anything with ``bounds`` and ``stabilize``.
"""

import torch
from torch.nn import functional as F

from SpykeTorch import functional as sf

WAVE_ELEMENTS = 1 << 26  # potentials that are held at once where images can share a convolution


def _apply(layer, features, causal, rates, rule):
    """Change the weights of the winners' features by STDP with the rates (LTP, LTD); the first time, clamp all."""
    rows = layer.weight[features]
    rows = (rows + sf.stdp_change(rows, causal, *rates, rule.stabilize, *rule.bounds)).clamp_(*rule.bounds)
    rows[rows.abs() < torch.finfo(rows.dtype).tiny] = 0  # denormal numbers are slow to add
    if not layer.clamped:
        layer.weight.clamp_(*rule.bounds)
        layer.clamped = True
    layer.weight[features] = rows


class FiringLayer:
    """A layer with a threshold, made for a call: weight (F, C, k, k), changed in place."""

    def __init__(self, weight, steps, pad, threshold):
        self.weight, self.steps, self.pad, self.threshold = weight, steps, pad, threshold
        self.clamped = False

    def _wave(self, latency):
        return sf.latency_to_wave(F.pad(latency, [self.pad] * 4, value=self.steps), self.steps, self.weight.dtype)

    def fire(self, latency, pool=1):
        """latency (N, C, H, W) -> first spikes (N, F, Ho / pool, Wo / pool), the earliest of each pooling window."""
        out_h, out_w = (size + 2 * self.pad - self.weight.shape[2] + 1 for size in latency.shape[2:])
        out = latency.new_empty((len(latency), len(self.weight), out_h // pool, out_w // pool))
        chunk = max(1, WAVE_ELEMENTS // (self.steps * len(self.weight) * out_h * out_w))
        for start in range(0, len(latency), chunk):
            wave = self._wave(latency[start : start + chunk])  # (n, T, C, H, W)
            fired = sf.conv2d(wave.flatten(0, 1), self.weight) > self.threshold
            first = sf.wave_to_latency(fired.unflatten(0, wave.shape[:2]))
            out[start : start + chunk] = pool_latency(first, pool)
        return out

    def compete(self, latency, winners, radius, pool=1):
        """One image (C, H, W): its winners (n, 4) and the pooled first spikes (F, Ho / pool, Wo / pool)."""
        spikes, thresholded = sf.fire(sf.conv2d(self._wave(latency), self.weight), self.threshold, True)
        inhibited = sf.pointwise_inhibition(thresholded)
        chosen = sf.get_k_winners(inhibited, winners, radius, inhibited.sign())
        first = sf.wave_to_latency(spikes)
        return torch.tensor([(*w, int(first[w])) for w in chosen], dtype=torch.int16).reshape(-1, 4), pool_latency(
            first, pool
        )

    def update(self, latency, winners, rates, rule):
        """Weight changes of the winners (n, 4) of one image (C, H, W) with the rates (LTP, LTD)."""
        if len(winners) == 0:
            return
        feature, line, column, time = winners.to(latency.device, torch.long).unbind(1)
        kernel = torch.arange(self.weight.shape[2], device=latency.device)
        rows, columns = line[:, None] + kernel, column[:, None] + kernel
        before = F.pad(latency, [self.pad] * 4, value=self.steps)[:, rows[:, :, None], columns[:, None, :]]
        causal = (before <= time[:, None, None]).transpose(0, 1)  # silent inputs come after every winner
        _apply(self, feature, causal, rates, rule)

    def learn(self, latency, winners, radius, rates, seen, schedule, rule):
        """STDP over latency (N, C, H, W), one image after another; ``rates`` (2,) and ``seen`` (1,) are advanced.

        Returns the winners, (N, K, 4): feature, line, column, time step; -1: fewer winners.
        """
        every, factor, highest, depression = schedule
        found = torch.full((len(latency), winners, 4), -1, dtype=torch.int16)
        for n, image in enumerate(latency):
            seen[0] += 1
            if every > 0 and seen[0] % every == 0:
                rates[0] = min(rates[0] * factor, highest)
                rates[1] = depression * rates[0]
            chosen, _ = self.compete(image, winners, radius)
            self.update(image, chosen, rates, rule)
            found[n, : len(chosen)] = chosen
        return found


class DecisionLayer:
    """A layer without a threshold, which looks only at the last time step; made for a call.

    weight: (F, C, k, k), changed in place.
    """

    def __init__(self, weight, steps, pad):
        self.weight, self.steps, self.pad = weight, steps, pad
        self.clamped = False

    def _potentials(self, latency):
        return sf.conv2d((latency < self.steps).to(self.weight.dtype), self.weight, padding=self.pad)

    def peaks(self, latency):
        """Highest potential of each feature at the last time step: latency (N, C, H, W) -> (N, F)."""
        parts = [self._potentials(part).amax((2, 3)) for part in latency.split(1000)]
        return torch.cat(parts) if parts else self.weight.new_empty((0, len(self.weight)))

    def learn(self, latency, labels, classes, rates, rule):
        """R-STDP over latency (N, C, H, W) with labels (N,), one image after another.

        ``classes`` (F,): the class of each feature. ``rates`` (2, 2): reward and punishment, each (LTP, LTD); None:
        decide without learning. Returns the winners (N, 3): feature, line, column, -1: silent; and their potentials
        (N,).
        """
        winners = torch.full((len(latency), 3), -1, dtype=torch.int16)
        highest = torch.zeros(len(latency), dtype=self.weight.dtype)
        classes, labels = classes.tolist(), labels.tolist()
        kernel = self.weight.shape[2]
        for n, image in enumerate(latency):
            potentials = self._potentials(image[None])
            chosen = sf.get_k_winners(potentials, 1)  # of a single time step: the last
            if not chosen:
                continue
            feature, line, column = chosen[0]
            winners[n] = torch.tensor(chosen[0], dtype=torch.int16)
            highest[n] = potentials[0][chosen[0]]
            spiked = F.pad(image, [self.pad] * 4, value=self.steps) < self.steps
            causal = spiked[:, line : line + kernel, column : column + kernel][None]
            outcome = 0 if classes[feature] == labels[n] else 1
            if rates is not None:
                _apply(self, [feature], causal, rates[outcome], rule)
        return winners, highest


def learn_together(firing, deciding, latency, labels, pool, firing_rule, firing_rates, classes, rule, rates):
    """R-STDP of a FiringLayer by the decisions of a DecisionLayer above it, one image after another.

    latency (N, C, H, W): input of the firing layer, whose output is pooled by ``pool`` on its way up; labels (N,).
    Rates (2, 2): reward and punishment, each (LTP, LTD); ``rates`` None: the decision layer does not learn. Returns
    the decision layer's winners (N, 3), as ``DecisionLayer.learn``, and the firing layer's (N, K, 4).
    """
    winners = torch.full((len(latency), firing_rule.winners, 4), -1, dtype=torch.int16)
    decisions = torch.empty((len(latency), 3), dtype=torch.int16)
    for n, image in enumerate(latency):
        chosen, above = firing.compete(image, firing_rule.winners, firing_rule.radius, pool)
        winners[n, : len(chosen)] = chosen
        decision, _ = deciding.learn(above[None], labels[n : n + 1], classes, rates, rule)
        decisions[n] = decision[0]
        feature = int(decision[0, 0])
        if feature >= 0:
            outcome = 0 if int(classes[feature]) == int(labels[n]) else 1
            firing.update(image, chosen, firing_rates[outcome], firing_rule)
    return decisions, winners


def pool_latency(latency, size):
    """The earliest spike of each size×size window of (…, H, W); what does not fit is dropped."""
    height, width = (n // size for n in latency.shape[-2:])
    windows = latency[..., : height * size, : width * size].unflatten(-1, (width, size)).unflatten(-3, (height, size))
    return windows.amin((-3, -1))
