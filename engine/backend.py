"""The interface of both backends: tensors in, tensors out.

The layers of ``engine/event`` (compiled) and ``engine/frames`` (tensor operations) derive from the layers here, and
choose the same winners. A stage makes a layer for each call and does not keep it, because users can write to the
weights of a stage at any time. The stage has checked its arguments. Here only shapes are checked, because kernels check
no bounds.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from engine.adaptation import Draws
from engine.decision import tolerance
from engine.geometry import output_size, pooled_size
from engine.latency import to_latency_map
from engine.rules import Rule
from errors import InputError


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
        self.weight = weight.detach()
        self.time_steps = time_steps
        self.padding = padding
        self.features, self.channels, self.kernel, _ = weight.shape
        self._prepare()

    def _check_latency(self, latency):
        """Return (latency, (Ho, Wo)) if the layer can take latency uint8 (N, C, H, W)."""
        latency = to_latency_map(latency, self.channels)
        return latency.contiguous(), output_size(*latency.shape[2:], self.kernel, self.padding)


class FiringLayer(_Layer):
    """A layer whose neurons fire once, when their potential is above the threshold (strictly, up to ``tolerance``).

    Args:
        raised: float64 (F,), how much higher the threshold of each feature is; learning changes it in place. None: 0.
    """

    def __init__(self, weight: Tensor, time_steps: int, padding: int, threshold: float, raised: Tensor | None = None):
        self.threshold = float(threshold)
        relative = tolerance(np.empty(0, str(weight.dtype).removeprefix("torch.")))
        self.limit = self.threshold * (1 + float(relative))  # a neuron fires when its potential exceeds this number
        self.raised = weight.new_zeros(len(weight), dtype=torch.float64) if raised is None else raised
        check_shape("raised", self.raised, (len(weight),))
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

    def compete_and_update(self, latency: Tensor, rule: Rule, rates: np.ndarray, draws: Draws | None = None) -> Tensor:
        """Learn without labels from latency uint8 (N, C, H, W), one image after another.

        Args:
            rule: a rule that needs no labels.
            rates: float64 (N, 1, 2), (LTP, LTD) for each image.
            draws: what the rule has drawn; None: neurons can win at all positions, and no threshold changes.

        Returns:
            The winners, int32 (N, K, 4): feature, line, column, time step; -1: fewer winners.
        """
        latency, size = self._check_latency(latency)
        rates = check_rates(rates, len(latency), 1)
        draws = check_draws(draws, len(latency), size)
        winners = torch.full((len(latency), rule.winners, 4), -1, dtype=torch.int32)
        if len(latency):
            with _naming(rule):
                self._compete_and_update(latency, rule, rates, draws, winners)
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

    def decide_and_update(
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
        check_shape("labels", labels, (len(latency),))
        result = self._make_result(len(latency), 0, classes)
        rates = check_rates(rates, len(latency), 1)
        if left_out is None:
            left_out = np.empty((0, self.features), bool)
        else:
            left_out = np.asarray(left_out, bool)
            check_shape("left_out", left_out, (len(latency), self.features))
        if len(latency):
            with _naming(rule):
                self._decide_and_update(latency, labels, rule, rates, left_out, result)
        return result

    def _make_result(self, images, winners, classes):
        """Return the ``Result`` of images that are all silent."""
        check_shape("classes", classes, (self.features,))
        decisions = torch.full((images, 3), -1, dtype=torch.int32)
        highest = torch.zeros(images, dtype=self.weight.dtype)
        return Result(decisions, highest, torch.full((images, winners, 4), -1, dtype=torch.int32), classes)


def update_together(
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
    check_shape("labels", labels, (len(latency),))
    result = deciding._make_result(len(latency), rules[0].winners, classes)
    lower_rates, rates = rates
    lower_rates = check_rates(lower_rates, len(latency), 2)
    if rates is not None:
        rates = check_rates(rates, len(latency), 1)
    if len(latency):
        with _naming(rules[0]), _naming(rules[1]):
            firing._update_together(deciding, latency, labels, pool, rules, (lower_rates, rates), result)
    return result


def check_shape(name: str, values: Tensor | np.ndarray, shape: tuple[int, ...]) -> None:
    """Raise InputError, which names the values, if they have another shape."""
    require(values.shape == shape, f"{name} must be {shape}, not {tuple(values.shape)}")


def check_rates(rates: np.ndarray, images: int, rows: int) -> np.ndarray:
    """Return rates as float64 (images, at least ``rows``, 2). Raises InputError if they have another shape."""
    rates = np.asarray(rates, np.float64)
    fits = rates.ndim == 3 and len(rates) == images and rates.shape[1] >= rows and rates.shape[2] == 2
    require(fits, f"rates must be ({images}, {rows} or more, 2), not {rates.shape}")
    return rates


def check_draws(draws: Draws | None, images: int, size: tuple[int, int]) -> Draws:
    """Return the draws of a rule, or draws without effect. Raises InputError if they have another shape."""
    if draws is None:
        return Draws(np.empty((0, *size), bool), np.empty((0, 3)), np.empty(0), 0.0)
    closed, patches, steps, target = draws
    closed = np.ascontiguousarray(closed, bool)
    patches = np.ascontiguousarray(patches, np.float64)
    steps = np.ascontiguousarray(steps, np.float64)
    check_shape("closed", closed, (images if len(closed) else 0, *size))
    check_shape("steps", steps, (images if len(steps) else 0,))
    check_shape("patches", patches, (len(steps), 3))
    require(((patches >= 0) & (patches < 1)).all(), "patches must be numbers from 0 to 1")
    return Draws(closed, patches, steps, float(target))


@contextmanager
def _naming(rule: Rule) -> Iterator[None]:
    """Add the places of a rule's methods to exceptions, because machine code leaves no frames in tracebacks.

    Raises an InputError that names the rule if its verdict is impossible.
    """
    try:
        yield
    except InputError:
        raise
    except Exception as error:
        plasticity = rule.plasticity()
        codes = [getattr(getattr(plasticity, name, None), "__code__", None) for name in ("verdict", "change", "window")]
        error.places = [(code.co_filename, code.co_firstlineno) for code in filter(None, codes)]
        if isinstance(error, ValueError) and rule.needs_labels:
            raise InputError(f"the verdict of the rule {rule.name!r} {error}") from error
        raise


def require(condition: bool, message: str) -> None:
    """Raise InputError if the condition is false."""
    if not condition:
        raise InputError(message)
