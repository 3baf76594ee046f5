"""The learning rules. All that a rule means is here, once, for both backends; a rule of your own may be in any file.

A rule is a frozen dataclass in a network's declaration. It has

* a *name*, and whether it *needs labels*;
* a *schedule*: the rates (LTP, LTD) of each image, from how many images were seen; and, for rewards, ``adapted`` rates
  from the outcome of the last batch;
* a *plasticity*: a flat ``NamedTuple`` of numbers whose methods are the rule proper:
    ``window``: the rate of a synapse, from the times of its input's spike and of the winner's;
    ``change``: s(w), so that w becomes w + rate · s(w), within ``lower`` and ``upper``;
    ``verdict``, if the rule needs labels: which neurons of a decision stage learn from an image, and with which rates.

The methods of a plasticity are compiled into the kernels, which find them by its type, and called on tensors by the
tensor backend. So ``window`` and ``change`` are expressions of + - * and comparisons, which both compute alike to the
bit: no ``if``, ``min`` or ``max``. ``verdict`` gets NumPy arrays in both, and may be any code that numba compiles.

References: Mozafari et al., Pattern Recognition 94, 2019 (arXiv 1804.00227); Kheradpisheh et al., Neural Networks 99,
2018.
"""

import math
from dataclasses import dataclass
from numbers import Integral
from typing import ClassVar, NamedTuple

import numpy as np
from numba import types
from numba.extending import overload_method

from engine.decision import strongest
from errors import InputError

MOST = 2**15 - 1  # winners of an image, and their radius
MAX_LEARNERS = 32  # decision neurons that may learn from one image: what the kernels have room for

# ---------------------------------------------------------------------------------------------------------------------
# Plasticity: what happens at a synapse


class Additive(NamedTuple):
    """A weight changes by the rate itself: s(w) = 1."""

    lower: float
    upper: float

    def window(self, t_in, t_out, ltp, ltd):
        """LTP if the input spiked no later than the winner, LTD otherwise, silent inputs (t_in = T) included."""
        return (t_in <= t_out) * ltp + (t_in > t_out) * ltd

    def change(self, w):
        return 1


class Stabilized(Additive):
    """The stabilizer drives each weight to a bound: s(w) = (w - lower)(upper - w) (Kheradpisheh et al. 2018)."""

    def change(self, w):
        return (w - self.lower) * (self.upper - w)


class Rewarded(Additive):
    """The strongest neuron learns: by the first rates (reward) if it is of the true class, else by the second."""

    def verdict(self, peaks, label, classes, learners):
        """Which neurons of a decision stage learn from an image.

        peaks (F,): the highest potential of each feature; negative where a neuron is left out. classes int64 (F,): the
        class of each feature. ``learners`` int64 (MAX_LEARNERS, 2) gets (feature, row of the rule's rates); the
        features must differ. Returns how many.
        """
        best = strongest(peaks)
        if best < 0:
            return 0
        learners[0, 0] = best
        learners[0, 1] = 0 if classes[best] == label else 1
        return 1


class RewardedStabilized(Rewarded):
    """``Rewarded``, with the stabilizer."""

    change = Stabilized.change


class Margin(NamedTuple):
    """The strongest neuron of the true class learns against the strongest other, unless it leads by a margin."""

    lower: float
    upper: float
    margin: float

    window = Additive.window
    change = Additive.change

    def verdict(self, peaks, label, classes, learners):
        """As of ``Rewarded``: the neuron of the true class by the first rates, its rival by the second; or nobody."""
        right, rival = np.full_like(peaks, -1), np.full_like(peaks, -1)
        for f in range(len(peaks)):
            if classes[f] == label:
                right[f] = peaks[f]
            else:
                rival[f] = peaks[f]
        a, b = strongest(right), strongest(rival)
        if a < 0 or b < 0 or peaks[a] >= (1 + self.margin) * peaks[b]:
            return 0
        learners[0, 0], learners[0, 1] = a, 0
        learners[1, 0], learners[1, 1] = b, 1
        return 2


for _kind in (types.NamedTuple, types.NamedUniTuple):

    @overload_method(_kind, "window")
    def _window(self, t_in, t_out, ltp, ltd):
        return self.instance_class.window

    @overload_method(_kind, "change")
    def _change(self, w):
        return self.instance_class.change

    @overload_method(_kind, "verdict")
    def _verdict(self, peaks, label, classes, learners):
        return self.instance_class.verdict


# ---------------------------------------------------------------------------------------------------------------------
# Rules


@dataclass(frozen=True)
class Rule:
    """What every rule has. ``rates``, in the state of a stage, are rows of (LTP, LTD); unsupervised rules have one row.

    A rule of your own derives from this or from another rule, and overrides what differs.
    """

    name: ClassVar[str]
    title: ClassVar[str]  # as it is printed
    needs_labels: ClassVar[bool] = False
    counts_images: ClassVar[bool] = False  # whether the schedule depends on the images seen
    rows: ClassVar[tuple[str, ...]] = ("",)  # what the rows of its rates are called
    most_learners: ClassVar[int] = 1  # decision neurons that may learn from one image
    rewards_firing: ClassVar[bool] = False  # whether a firing stage below the decision may learn by it

    def first_rates(self):
        """The rates before the first image: float64 (2,), or (rows, 2)."""
        raise TypeError(f"{type(self).__name__} has no rates")

    def schedule(self, rates: np.ndarray, numbers: np.ndarray, epoch: int) -> np.ndarray:
        """Return the rates of each image of a batch: float64 (N, rows, 2).

        rates (rows, 2): after the last batch. numbers int64 (N,): the count of each image among all images that the
        stage has learned from, from 1 on; of a rule that does not count images, from 1 on in each batch. epoch: number
        of epochs of this run's phase before this one.
        """
        return np.broadcast_to(rates, (len(numbers), *rates.shape))

    def adapted(self, outcome):
        """The rates after a batch with that ``Outcome``, float64 (rows, 2); None: as they were."""
        return None

    def draw_left_out(self, rng, images, features):
        """Which neurons of a decision stage cannot learn from which image: bool (N, F); None: all can."""
        return None

    def plasticity(self, number=float):
        """The rule proper, of numbers of this type."""
        raise TypeError(f"{type(self).__name__} has no plasticity")


@dataclass(frozen=True)
class STDP(Rule):
    """Unsupervised STDP of a firing stage (Mozafari et al. 2018; Kheradpisheh et al. 2018, section 2.3).

    From each image at most ``winners`` neurons learn, of different features and more than ``radius`` apart, chosen
    after point-wise inhibition. A synapse w of a winner changes by rate · s(w), where rate is the first of ``rates``
    (LTP) if its input spiked no later than the winner, else the second (LTD), and s(w) = (w - lower)(upper - w) with
    the stabilizer, else 1. Every ``double_every`` images seen the LTP rate doubles, up to ``highest``, and LTD becomes
    ``depression`` · LTP; 0: never.
    """

    name: ClassVar[str] = "stdp"
    title: ClassVar[str] = "STDP"
    counts_images: ClassVar[bool] = True

    winners: int
    radius: int
    rates: tuple[float, float] = (0.004, -0.003)
    bounds: tuple[float, float] = (0.0, 1.0)
    stabilize: bool = True
    double_every: int = 500
    highest: float = 0.15
    depression: float = -0.75

    def __post_init__(self):
        check_competition(self)
        check_numbers(self, "rates", "highest", "depression")
        if self.double_every < 0:
            raise InputError(f"double_every is a number of images, or 0 for never; not {self.double_every}")

    def first_rates(self):
        return np.array(self.rates, np.float64)

    def schedule(self, rates, numbers, epoch):
        doublings = numbers // self.double_every if self.double_every else np.zeros_like(numbers)
        ltp = np.minimum(self.rates[0] * 2.0 ** np.minimum(doublings, 64), self.highest)
        doubled = np.stack([ltp, self.depression * ltp], 1)
        return np.where(doublings[:, None] > 0, doubled, self.first_rates())[:, None]

    def plasticity(self, number=float):
        return (Stabilized if self.stabilize else Additive)(*map(number, self.bounds))


@dataclass(frozen=True)
class RSTDP(Rule):
    """Reward-modulated STDP (Mozafari et al. 2018, section 2.5).

    After a right decision the winners learn with the rates ``reward`` (STDP), after a wrong one with ``punishment``
    (anti-STDP; the rate for inputs that came before the winner stands first), after silence not at all. After each
    batch the rates become ``reward`` · fraction wrong and ``punishment`` · fraction right of that batch.

    In a decision stage the one winner is the neuron with the highest potential. In a firing stage ``winners`` and
    ``radius`` choose the winners as in STDP; there a ``warm_up`` phase of unsupervised STDP may come first.
    """

    name: ClassVar[str] = "rstdp"
    title: ClassVar[str] = "R-STDP"
    needs_labels: ClassVar[bool] = True
    rows: ClassVar[tuple[str, ...]] = ("reward", "punishment")
    rewards_firing: ClassVar[bool] = True

    winners: int = 1
    radius: int = 0
    reward: tuple[float, float] = (0.004, -0.003)
    punishment: tuple[float, float] = (-0.004, 0.0005)
    bounds: tuple[float, float] = (0.2, 0.8)
    stabilize: bool = False
    warm_up: STDP | None = None

    def __post_init__(self):
        check_competition(self)
        check_numbers(self, "reward", "punishment")

    def first_rates(self):
        return np.array([self.reward, self.punishment], np.float64)

    def adapted(self, outcome):
        return self.first_rates() * [[outcome.fraction("wrong")], [outcome.fraction("correct")]]

    def plasticity(self, number=float):
        return (RewardedStabilized if self.stabilize else Rewarded)(*map(number, self.bounds))


@dataclass(frozen=True)
class MarginRule(Rule):
    """Supervised, local and without gradients: the true class's strongest neuron against the strongest of any other.

    Unless the potential of the first is at least ``margin`` (a fraction) over that of the second, the first learns by
    STDP, +rate for inputs that spiked and -``ltd`` · rate for all others, and the second by anti-STDP, -rate and
    +``ltd`` · rate; otherwise neither does. The rate is ``rate`` · ``decay``^(epochs done). Unlike a reward, which says
    only right or wrong, the label names the class that should have won: this is supervised learning. Of each image a
    neuron is left out of the learning with the probability ``left_out``; decisions count all neurons.
    """

    name: ClassVar[str] = "margin"
    title: ClassVar[str] = "margin"
    needs_labels: ClassVar[bool] = True
    rows: ClassVar[tuple[str, ...]] = ("right", "rival")
    most_learners: ClassVar[int] = 2

    margin: float = 0.03
    rate: float = 0.01
    decay: float = 0.9
    ltd: float = 0.05
    bounds: tuple[float, float] = (0.0, 1.0)
    left_out: float = 0.0

    def __post_init__(self):
        check_bounds(self)
        check_numbers(self, "margin", "rate", "decay", "ltd", "left_out")
        if not (self.margin >= 0 and 0 < self.decay <= 1 and 0 <= self.left_out < 1):
            raise InputError(
                f"margin must be 0 or more, decay over 0 up to 1 and left_out from 0 to below 1; not {self.margin}, "
                f"{self.decay} and {self.left_out}"
            )

    def first_rates(self):
        return self.rate * np.array([(1, -self.ltd), (-1, self.ltd)])

    def schedule(self, rates, numbers, epoch):
        return self.decay ** np.full(len(numbers), epoch)[:, None, None] * self.first_rates()

    def draw_left_out(self, rng, images, features):
        return rng.random((images, features)) < self.left_out if self.left_out else None

    def plasticity(self, number=float):
        return Margin(*map(number, (*self.bounds, self.margin)))


def check_competition(rule):
    """Errors: InputError unless ``winners``, ``radius`` and ``bounds`` are possible ones."""
    check_bounds(rule)
    if not (isinstance(rule.winners, Integral) and 1 <= rule.winners <= MOST):
        raise InputError(f"winners must be a whole number from 1 to {MOST}, not {rule.winners}")
    if not (isinstance(rule.radius, Integral) and 0 <= rule.radius <= MOST):
        raise InputError(f"radius must be a whole number from 0 to {MOST}, not {rule.radius}")


def check_bounds(rule):
    if len(rule.bounds) != 2 or not -math.inf < rule.bounds[0] < rule.bounds[1] < math.inf:
        raise InputError(f"bounds must be two numbers, the lower one first, not {rule.bounds}")


def check_numbers(rule, *fields):
    """Errors: InputError unless the fields are finite numbers, or pairs of them (LTP, LTD) where the default is one."""
    for field in fields:
        value = getattr(rule, field)
        pair = isinstance(type(rule).__dataclass_fields__[field].default, tuple)
        numbers = value if pair and isinstance(value, tuple | list) else (value,)
        if len(numbers) != 1 + pair or not all(isinstance(n, int | float) and math.isfinite(n) for n in numbers):
            raise InputError(f"{field} must be {'two finite numbers (LTP, LTD)' if pair else 'a number'}, not {value}")
