"""What a backend promises, stated once: tensors in, tensors out, and every input checked here, at the edge.

``engine/event`` (compiled) and ``engine/frames`` (tensor operations) derive their layers from these and choose the same
winners. A layer is made for a call, not kept, because a stage's weights can be written to at any time. Inside, nothing
is checked any more: compiled kernels have no bounds.
"""

from typing import NamedTuple

import numpy as np
import torch

from engine.geometry import output_size, pooled_size
from engine.rules import MAX_LEARNERS
from errors import InputError

MAX_FEATURES = 2**15
MAX_WEIGHTS = 2**31 - 1  # of the weights: where those of a spike begin is an int32


class Found(NamedTuple):
    """What a decision layer found while it learned, and the firing layer below it.

    ``decisions`` int32 (N, 3): feature, line, column; -1: silent. ``highest`` (N,): their potentials. ``winners`` int32
    (N, K, 4) of the firing layer: feature, line, column, time step; -1: fewer winners. ``classes`` int64 (F,).
    """

    decisions: torch.Tensor
    highest: torch.Tensor
    winners: torch.Tensor
    classes: np.ndarray


class _Layer:
    """weight: (F, C, k, k) float32 or float64, contiguous, changed in place by learning. time_steps: 1 to 254."""

    def __init__(self, weight, time_steps, padding):
        if weight.dim() != 4 or weight.shape[2] != weight.shape[3] or min(weight.shape) < 1:
            raise InputError(f"weights must be (features, channels, kernel, kernel), not {tuple(weight.shape)}")
        if weight.dtype not in (torch.float32, torch.float64) or not weight.is_contiguous():
            raise InputError(f"weights must be contiguous float32 or float64, not {weight.dtype}")
        if len(weight) >= MAX_FEATURES:
            raise InputError(f"a layer has fewer than {MAX_FEATURES:,} features, not {len(weight):,}")
        if (len(weight) + 32) * weight[0].numel() > MAX_WEIGHTS:
            raise InputError(f"a layer of {weight.numel():,} weights is too large; {MAX_WEIGHTS:,} is the limit")
        if not 1 <= time_steps <= 254 or padding < 0:
            raise InputError(f"time steps are 1 to 254 and padding is 0 or more, not {time_steps} and {padding}")
        self.weight, self.time_steps, self.padding = weight.detach(), time_steps, padding
        self.features, self.channels, self.kernel, _ = weight.shape

    def _checked(self, latency):
        """latency as the kernels take it. Errors: InputError."""
        latency = torch.as_tensor(latency)
        if latency.dtype != torch.uint8 or latency.dim() != 4 or latency.shape[1] != self.channels:
            raise InputError(
                f"latencies must be uint8 (N, {self.channels}, H, W), not {latency.dtype} {tuple(latency.shape)}"
            )
        if latency.device != self.weight.device:
            raise InputError(f"latencies on {latency.device} and weights on {self.weight.device}: move one of them")
        return latency.contiguous()

    def _output_size(self, latency):
        return output_size(*latency.shape[2:], self.kernel, self.padding)

    def _checked_rates(self, rates, images, rows):
        rates = np.asarray(rates, np.float64)
        if rates.ndim != 3 or rates.shape[0] != images or rates.shape[1] < rows or rates.shape[2] != 2:
            raise InputError(f"rates must be ({images}, {rows} or more, 2), not {rates.shape}")
        return rates


class FiringLayer(_Layer):
    """A layer whose neurons fire once, when their potential is over the threshold (strictly)."""

    def __init__(self, weight, time_steps, padding, threshold):
        super().__init__(weight, time_steps, padding)
        self.threshold = float(threshold)
        if not self.threshold >= 0:
            raise InputError(f"a threshold must be 0 or more, not {threshold}")
        self._prepare()

    def fire(self, latency, pool=1):
        """latency uint8 (N, C, H, W) -> first spikes uint8 (N, F, Ho / pool, Wo / pool), the earliest of a window."""
        latency = self._checked(latency)
        size = pooled_size(*self._output_size(latency), pool)
        out = latency.new_empty((len(latency), self.features, *size))
        if len(latency):
            self._fire(latency, out, pool)
        return out

    def learn(self, latency, rule, rates):
        """Unsupervised learning over latency uint8 (N, C, H, W), one image after another.

        rule: an unsupervised ``Rule``. rates: float64 (N, 1, 2), (LTP, LTD) for each image. Returns the winners, int32
        (N, K, 4): feature, line, column, time step; -1: fewer winners.
        """
        latency = self._checked(latency)
        self._output_size(latency)
        rates = self._checked_rates(rates, len(latency), 1)
        winners = torch.full((len(latency), rule.winners, 4), -1, dtype=torch.int32)
        if len(latency):
            self._learn(latency, rule, rates, winners)
        return winners


class DecisionLayer(_Layer):
    """A layer without a threshold, which looks only at the last time step: the strongest neuron decides."""

    def __init__(self, weight, time_steps, padding):
        super().__init__(weight, time_steps, padding)
        self._prepare()

    def peaks(self, latency):
        """Highest potential of each feature at the last time step: latency uint8 (N, C, H, W) -> (N, F)."""
        latency = self._checked(latency)
        self._output_size(latency)
        peaks = self.weight.new_empty((len(latency), self.features))
        if len(latency):
            self._peaks(latency, peaks)
        return peaks

    def learn(self, latency, labels, classes, rule, rates, left_out=None):
        """Supervised learning over latency uint8 (N, C, H, W) with labels int64 (N,), one image after another.

        classes: int64 (F,), the class of each feature. rule: a ``Rule`` that needs labels. rates: float64 (N, rows, 2),
        the rule's rows of (LTP, LTD) for each image. left_out: bool (N, F), the neurons that cannot learn from an
        image; None: none. Returns ``Found``; without winners of a firing layer.
        """
        latency = self._checked(latency)
        self._output_size(latency)
        labels, found = self._checked_labels(labels, len(latency)), self._found(len(latency), 0, classes)
        rates = self._checked_rates(rates, len(latency), 1)
        left_out = np.empty((0, self.features), bool) if left_out is None else np.asarray(left_out)
        if left_out.shape not in ((0, self.features), (len(latency), self.features)) or left_out.dtype != bool:
            raise InputError(f"left_out must be bool ({len(latency)}, {self.features}), not {left_out.shape}")
        if not 1 <= rule.most_learners <= MAX_LEARNERS:
            raise InputError(f"from 1 to {MAX_LEARNERS} neurons may learn from an image, not {rule.most_learners}")
        if len(latency):
            self._learn(latency, labels, found.classes, rule, rates, left_out, found)
        return found

    def _checked_labels(self, labels, count):
        labels = torch.as_tensor(labels).cpu().long()
        if labels.shape != (count,):
            raise InputError(f"{count} images need labels ({count},), not {tuple(labels.shape)}")
        return labels

    def _found(self, images, winners, classes):
        classes = np.ascontiguousarray(classes, np.int64)
        if classes.shape != (self.features,):
            raise InputError(f"{self.features} features need classes ({self.features},), not {classes.shape}")
        decisions = torch.full((images, 3), -1, dtype=torch.int32)
        highest = torch.zeros(images, dtype=self.weight.dtype)
        return Found(decisions, highest, torch.full((images, winners, 4), -1, dtype=torch.int32), classes)


def learn_together(firing, deciding, latency, labels, pool, classes, rules, rates):
    """A FiringLayer and the DecisionLayer above it learn from every decision, one image after another.

    latency uint8 (N, C, H, W): input of the firing layer, whose output is pooled by ``pool`` on its way up; labels
    int64 (N,). classes: as of ``DecisionLayer.learn``. rules and rates: of the firing layer, then of the decision
    layer; rates float64 (N, rows, 2), for the firing layer's row 0 after a right decision, row 1 after a wrong one;
    None for the decision layer: it only decides. Returns ``Found``.
    """
    latency = firing._checked(latency)
    above = pooled_size(*firing._output_size(latency), pool)
    output_size(*above, deciding.kernel, deciding.padding)
    if deciding.channels != firing.features or deciding.weight.dtype != firing.weight.dtype:
        raise InputError(
            f"a decision layer of {deciding.channels} channels ({deciding.weight.dtype}) does not fit a firing layer "
            f"of {firing.features} features ({firing.weight.dtype})"
        )
    labels = deciding._checked_labels(labels, len(latency))
    found = deciding._found(len(latency), rules[0].winners, classes)
    rates = (
        firing._checked_rates(rates[0], len(latency), 2),
        None if rates[1] is None else deciding._checked_rates(rates[1], len(latency), 1),
    )
    if len(latency):
        firing._learn_together(deciding, latency, labels, pool, rules, rates, found)
    return found
