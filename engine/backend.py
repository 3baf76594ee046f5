"""The interface of both backends: tensors in, tensors out. It checks all inputs, because kernels check no bounds.

The layers of ``engine/event`` (compiled) and ``engine/frames`` (tensor operations) derive from the layers here, and
choose the same winners. A stage makes a layer for each call and does not keep it, because users can write to the
weights of a stage at any time.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from engine.geometry import output_size, pooled_size
from engine.rules import Rule, check_competition
from errors import InputError

MAX_FEATURES = 2**15 - 1
MAX_WEIGHTS = 2**31 - 1  # of a layer, because the kernels keep positions in the weights as int32


class Result(NamedTuple):
    """The decisions of a decision layer that learns, and the winners of the firing layer that learns with it."""

    decisions: Tensor  # int32 (N, 3): feature, line, column; -1: silent
    highest: Tensor  # (N,): the potentials of the decisions
    winners: Tensor  # int32 (N, K, 4), of the firing layer: feature, line, column, time step; -1: fewer winners
    classes: np.ndarray  # int64 (F,): the class of each feature


class _Layer:
    """A convolution of stride 1.

    Args:
        weight: (F, C, k, k) float32 or float64, contiguous; learning changes it in place.
        time_steps: T, from 1 to 254; a latency of T means silence.
        padding: silent lines and columns on each side of the input.
    """

    def __init__(self, weight: Tensor, time_steps: int, padding: int):
        shape, kinds = tuple(weight.shape), (torch.float32, torch.float64)
        is_square = len(shape) == 4 and shape[2] == shape[3] and min(shape) > 0
        require(is_square, "weight", f"weights must be (features, channels, kernel, kernel), not {shape}")
        is_usable = weight.dtype in kinds and weight.is_contiguous()
        require(is_usable, "weight", f"weights must be contiguous float32 or float64, not {weight.dtype}")
        check_size(len(weight), weight[0].numel())
        require(1 <= time_steps <= 254, "time_steps", f"time steps are 1 to 254, not {time_steps}")
        require(padding >= 0, "padding", f"padding must be 0 or more, not {padding}")
        self.weight, self.time_steps, self.padding = weight.detach(), time_steps, padding
        self.features, self.channels, self.kernel, _ = shape
        self._prepare()

    def _check_latency(self, latency):
        """Return (latency, (Ho, Wo)) if the layer can take latency uint8 (N, C, H, W)."""
        latency, wanted = torch.as_tensor(latency), f"uint8 (N, {self.channels}, H, W) on {self.weight.device}"
        fits = latency.dtype == torch.uint8 and latency.dim() == 4 and latency.shape[1] == self.channels
        given = f"{latency.dtype} {tuple(latency.shape)} on {latency.device}"
        require(fits and latency.device == self.weight.device, "latency", f"latencies must be {wanted}, not {given}")
        return latency.contiguous(), output_size(*latency.shape[2:], self.kernel, self.padding)

    def _check_rates(self, rates, images, rows):
        rates = np.asarray(rates, np.float64)
        fits = rates.ndim == 3 and len(rates) == images and rates.shape[1] >= rows and rates.shape[2] == 2
        require(fits, "rates", f"rates must be ({images}, {rows} or more, 2), not {rates.shape}")
        require(np.isfinite(rates).all(), "rates", "rates must be finite")
        return rates


class FiringLayer(_Layer):
    """A layer whose neurons fire once, when their potential is above the threshold (strictly)."""

    def __init__(self, weight: Tensor, time_steps: int, padding: int, threshold: float):
        self.threshold = float(threshold)
        require(self.threshold >= 0, "threshold", f"a threshold must be 0 or more, not {threshold}")
        super().__init__(weight, time_steps, padding)

    def fire(self, latency: Tensor, pool: int = 1) -> Tensor:
        """Compute the first spikes of latency uint8 (N, C, H, W).

        Returns:
            uint8 (N, F, Ho / pool, Wo / pool), the earliest spike of each pool×pool window.
        """
        latency, size = self._check_latency(latency)
        out = latency.new_empty((len(latency), self.features, *pooled_size(*size, pool)))
        if len(latency):
            self._fire(latency, out, pool)
        return out

    def learn(self, latency: Tensor, rule: Rule, rates: np.ndarray) -> Tensor:
        """Learn without labels from latency uint8 (N, C, H, W), one image after another.

        Args:
            rule: a rule that needs no labels.
            rates: float64 (N, 1, 2), (LTP, LTD) for each image.

        Returns:
            The winners, int32 (N, K, 4): feature, line, column, time step; -1: fewer winners.
        """
        latency, _ = self._check_latency(latency)
        rates = self._check_rates(rates, len(latency), 1)
        check_competition(rule)
        winners = torch.full((len(latency), rule.winners, 4), -1, dtype=torch.int32)
        if len(latency):
            self._learn(latency, rule, rates, winners)
        return winners


class DecisionLayer(_Layer):
    """A layer without a threshold: the neuron with the highest potential at the last time step decides."""

    def peaks(self, latency: Tensor) -> Tensor:
        """Compute the highest potential of each feature at the last time step: uint8 (N, C, H, W) -> (N, F)."""
        latency, _ = self._check_latency(latency)
        peaks = self.weight.new_empty((len(latency), self.features))
        if len(latency):
            self._peaks(latency, peaks)
        return peaks

    def learn(
        self,
        latency: Tensor,
        labels: Tensor,
        classes: np.ndarray,
        rule: Rule,
        rates: np.ndarray,
        left_out: np.ndarray | None = None,
    ) -> Result:
        """Learn from latency uint8 (N, C, H, W) with labels int64 (N,), one image after another.

        Args:
            classes: int64 (F,), the class of each feature.
            rule: a rule that needs labels.
            rates: float64 (N, rows, 2), the rows (LTP, LTD) of the rule for each image.
            left_out: bool (N, F), the neurons that cannot learn from an image; None: all neurons can.

        Returns:
            The decisions; ``winners`` is empty.
        """
        latency, _ = self._check_latency(latency)
        labels, result = self._check_labels(labels, len(latency)), self._make_result(len(latency), 0, classes)
        rates = self._check_rates(rates, len(latency), 1)
        shape = len(latency), self.features
        left_out = np.empty((0, self.features), bool) if left_out is None else np.asarray(left_out)
        fits = left_out.dtype == bool and left_out.shape in (shape, (0, self.features))
        require(fits, "left_out", f"left_out must be bool {shape}, not {left_out.dtype} {left_out.shape}")
        if len(latency):
            with _naming(rule):
                self._learn(latency, labels, rule, rates, left_out, result)
        return result

    def _check_labels(self, labels, count):
        labels = torch.as_tensor(labels).cpu().long()
        require(labels.shape == (count,), "labels", f"labels must be ({count},), not {tuple(labels.shape)}")
        return labels

    def _make_result(self, images, winners, classes):
        """Return the ``Result`` of images that are all silent."""
        classes = np.ascontiguousarray(classes, np.int64)
        fits = classes.shape == (self.features,)
        require(fits, "classes", f"classes must be ({self.features},), not {classes.shape}")
        decisions = torch.full((images, 3), -1, dtype=torch.int32)
        highest = torch.zeros(images, dtype=self.weight.dtype)
        return Result(decisions, highest, torch.full((images, winners, 4), -1, dtype=torch.int32), classes)


def learn_together(
    firing: FiringLayer,
    deciding: DecisionLayer,
    latency: Tensor,
    labels: Tensor,
    pool: int,
    classes: np.ndarray,
    rules: tuple[Rule, Rule],
    rates: tuple[np.ndarray, np.ndarray | None],
) -> Result:
    """Let a firing layer and the decision layer above it learn from each decision, one image after another.

    Args:
        latency: uint8 (N, C, H, W), the input of the firing layer.
        labels: int64 (N,).
        pool: size of the pooling between the layers.
        classes: int64 (F,), the class of each feature of the decision layer.
        rules: of the firing layer, and of the decision layer.
        rates: float64 (N, rows, 2) of the firing layer (row 0 after a correct decision, row 1 after a wrong decision),
            and of the decision layer; None: the decision layer does not learn.
    """
    latency, size = firing._check_latency(latency)
    output_size(*pooled_size(*size, pool), deciding.kernel, deciding.padding)
    above, below = (deciding.channels, deciding.weight.dtype), (firing.features, firing.weight.dtype)
    require(above == below, "weight", f"a decision layer of {above} channels does not fit {below} features below it")
    labels = deciding._check_labels(labels, len(latency))
    result = deciding._make_result(len(latency), rules[0].winners, classes)
    rates = (
        firing._check_rates(rates[0], len(latency), 2),
        None if rates[1] is None else deciding._check_rates(rates[1], len(latency), 1),
    )
    check_competition(rules[0])
    if len(latency):
        with _naming(rules[1]):
            firing._learn_together(deciding, latency, labels, pool, rules, rates, result)
    return result


def check_size(features: int, synapses: int) -> None:
    """Raise InputError if a layer has more features, or more weights, than the kernels can take."""
    fits = features <= MAX_FEATURES
    require(fits, "out_channels", f"a layer has fewer than {MAX_FEATURES + 1:,} features, not {features:,}")
    count = features * synapses
    fits = count + 32 * synapses <= MAX_WEIGHTS  # the kernels pad the features
    require(fits, "out_channels", f"a layer has at most {MAX_WEIGHTS:,} weights, not {count:,}")


@contextmanager
def _naming(rule: Rule) -> Iterator[None]:
    """Raise an InputError that names the rule if its verdict is impossible."""
    try:
        yield
    except ValueError as error:
        raise InputError(f"the verdict of the rule {rule.name!r} {error}", field="rule") from None


def require(condition: bool, field: str, message: str) -> None:
    """Raise InputError about an argument if the condition is false."""
    if not condition:
        raise InputError(message, field=field)
