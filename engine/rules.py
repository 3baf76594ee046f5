"""Learning rules, shared by both backends.

User-defined rules can be in any file (``--plugin``). A rule is a frozen dataclass in a network's declaration. It has

* a *name*, and whether it *needs labels*;
* a *schedule*: the rates (LTP, LTD) of each image of a batch, and ``adapt``: the rates after the outcome of a batch;
* a *plasticity*: a flat ``NamedTuple`` of numbers with the methods
    ``window``: the rate of a synapse, from the times of its input's spike and of the winner's spike;
    ``change``: Δw, from the weight and the rate, where w becomes w + Δw, within ``lower`` and ``upper``;
    ``verdict``, if the rule needs labels: which neurons of a decision stage learn from an image, with which rates;
* a *phase*, only if it needs a state for each feature or another way to learn (``engine/phases.py``). It may learn
  without ``verdict`` and ``competition``, which are required only if it learns by the layers.

The methods of a plasticity are compiled into the kernels, which find them by its type, and the torch backend calls
them on tensors. Therefore ``window`` and ``change`` are expressions without ``if``, ``min`` or ``max``. If they contain
only + - * and comparisons, both backends compute the same bits. With powers or divisions, they are equal up to the
rounding of the type of the weights. ``verdict`` gets NumPy arrays in both backends, and may be any code that numba
compiles.

References: Mozafari et al., Pattern Recognition 94, 2019 (arXiv 1804.00227); Kheradpisheh et al., Neural Networks 99,
2018.
"""

from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from inspect import signature
from typing import Any, ClassVar, NamedTuple

import numpy as np

from engine.checks import cast, takes
from engine.decision import Outcome, strongest, tolerance
from engine.declaration import MAX_VALUE, Changes, Declared, fits, ranged, to_field
from engine.registry import register
from errors import InputError, abbreviate

MAX_WINNERS = 2**15 - 1  # of an image; also the largest radius
# The methods of a plasticity and their parameters
METHODS = {
    "window": ("t_in", "t_out", "ltp", "ltd"),
    "change": ("w", "rate"),
    "verdict": ("peaks", "label", "classes", "learners"),
}

# ---------------------------------------------------------------------------------------------------------------------
# Plasticity: what happens at a synapse


class Additive(NamedTuple):
    """A weight changes by the rate: Δw = rate."""

    lower: float
    upper: float

    def window(self, t_in, t_out, ltp, ltd):
        """Return the rate of a synapse: LTP if t_in <= t_out, otherwise LTD, also for a silent input (t_in = T)."""
        return (t_in <= t_out) * ltp + (t_in > t_out) * ltd

    def change(self, w, rate):
        """Return Δw; the rate is positive if the synapse is strengthened."""
        return rate


class Stabilized(Additive):
    """The stabilizer slows a weight near a bound: Δw = rate · (w - lower)(upper - w) (Kheradpisheh et al. 2018)."""

    def change(self, w, rate):
        return rate * ((w - self.lower) * (self.upper - w))


def reads_strongest(verdict):
    """Mark a verdict that reads no peaks but those of the strongest neuron of the true class and of the strongest other
    neuron, so that the others may be -1 (engine/event/screening.py).

    It is the function that is marked, because a subclass with a verdict of its own must not inherit the mark.
    """
    verdict.reads_strongest = True
    return verdict


class Rewarded(Additive):
    """The neuron with the highest potential learns: by row 0 of the rates if its class is correct, else by row 1."""

    @reads_strongest
    def verdict(self, peaks, label, classes, learners):
        """Choose the neurons of a decision stage that learn from an image.

        peaks (F,): the highest potential of each feature; negative if the feature is left out. classes int64 (F,): the
        class of each feature. Writes (feature, row of the rates) to ``learners`` int64 (F, 2), with different
        features, and returns their number. Other values raise an InputError in training.
        """
        best = strongest(peaks)
        if best < 0:
            return 0
        learners[0, 0] = best
        learners[0, 1] = 0 if classes[best] == label else 1
        return 1


class RewardedStabilized(Rewarded):
    """``Rewarded`` with the stabilizer. It is a type, because kernels are compiled for the type of a plasticity."""

    change = Stabilized.change


class Margin(NamedTuple):
    """The strongest neuron of the true class and the strongest other neuron learn, unless the first leads by a margin.

    Neither learns if p_true >= (1 + margin) · p_other, for their highest potentials, up to ``tolerance``.
    """

    lower: float = 0.0
    upper: float = 1.0
    margin: float = 0.0

    window = Additive.window  # type: ignore[misc]  # a NamedTuple may share methods
    change = Additive.change  # type: ignore[misc]  # likewise

    @reads_strongest
    def verdict(self, peaks, label, classes, learners):
        """As in ``Rewarded``: the neuron of the true class learns by row 0 of the rates, the other by row 1."""
        true = np.full_like(peaks, -1)
        other = np.full_like(peaks, -1)
        for f in range(len(peaks)):
            if classes[f] == label:
                true[f] = peaks[f]
            else:
                other[f] = peaks[f]
        a = strongest(true)
        b = strongest(other)
        if a < 0 or b < 0 or peaks[a] >= (1 + self.margin) * peaks[b] * (1 - tolerance(peaks.itemsize)):
            return 0
        learners[0, 0] = a
        learners[0, 1] = 0
        learners[1, 0] = b
        learners[1, 1] = 1
        return 2


# ---------------------------------------------------------------------------------------------------------------------
# Rules

RULES: dict[str, type["Rule"]] = {}  # by name; a class that declares a name registers when it is declared


class Competition(NamedTuple):
    """How many neurons of a firing stage win for an image, and how far around each no other one wins, see ``STDP``."""

    winners: int
    radius: int


@dataclass(frozen=True)
class Rule(Declared):
    """The base class of all rules; a user's own rule derives from it or from another rule.

    The fields of a rule are checked when it is declared (``engine/declaration.py``), and its bounds, if it has any. The
    state of a stage contains the current rates of its rule: rows of (LTP, LTD). Unsupervised rules have one row. If a
    rule has a field ``warm_up``, a stage first learns by the rule in it.
    """

    title: ClassVar[str]  # in texts and figures
    source: ClassVar[str] = ""  # what a paper cites for it
    family: ClassVar[Mapping[str, type["Rule"]]] = RULES
    needs_labels: ClassVar[bool] = False
    counts_images: ClassVar[bool] = False  # whether the schedule depends on the images seen
    rows: ClassVar[tuple[str, ...]] = ("",)  # names of the rows of its rates
    rewards_firing: ClassVar[bool] = False  # whether a stage with a threshold may learn by it
    only_firing: ClassVar[Collection[str]] = ()  # fields that have no effect without a threshold
    phase: ClassVar[type | None] = None  # the subclass of engine.phases.Phase that trains it; None: any phase

    def __init_subclass__(cls, **kwargs: Any):
        super().__init_subclass__(**kwargs)
        if "name" in vars(cls):
            if "." in str(cls.name):
                raise InputError(f"the name of a rule cannot contain a dot: {cls.name!r}")
            register(RULES, [cls.name], cls)

    def __post_init__(self):
        super().__post_init__()
        bounds = getattr(self, "bounds", (0, 1))
        if not fits(bounds, tuple[float, float]) or not bounds[0] < bounds[1]:
            raise InputError(f"bounds must be two numbers in ascending order, not {abbreviate(bounds)}")

    @property
    def drops(self) -> bool:
        """Whether neurons that are left out do not decide, either."""
        return False

    def find_replacement(self, name: str, changes: Changes) -> "Declared":
        """Return the rule of this name. Raises InputError also if only one of the two rules needs labels."""
        needs_labels = RULES.get(name, type(self)).needs_labels
        if needs_labels != self.needs_labels:
            needs = "labels" if needs_labels else "no labels"
            raise InputError(f"{name} needs {needs}, unlike {self.name}, which it would replace")
        return super().find_replacement(name, changes)

    def competition(self) -> Competition:
        """Return the fields of this name of a rule by which a stage with a threshold learns."""
        return Competition(getattr(self, "winners", 0), getattr(self, "radius", -1))

    def first_rates(self) -> np.ndarray:
        """Return the rates before the first image: float64 (2,) or (rows, 2)."""
        raise TypeError(f"{type(self).__name__} has no rates")

    def schedule(self, rates: np.ndarray, numbers: np.ndarray, epoch: int) -> np.ndarray:
        """Return the rates of each image of a batch: float64 (N, rows, 2).

        rates (rows, 2): after the last batch. numbers int64 (N,): the count of each image among all images that the
        stage has learned from, from 1 on; of a rule that does not count images, from 1 on in each batch. epoch: number
        of epochs of this run's phase before this one.
        """
        return np.broadcast_to(rates, (len(numbers), *rates.shape))

    def adapt(self, outcome: Outcome) -> np.ndarray | None:
        """Return the rates after a batch with this outcome, float64 (rows, 2); None if they do not change."""
        return None

    def draw_left_out(self, rng: np.random.Generator, images: int, features: int) -> np.ndarray | None:
        """Return which neurons of a decision stage are left out for which image: bool (N, F); None: none.

        They cannot learn and, if the rule ``drops``, they do not decide.
        """
        return None

    def plasticity(self, number: type = float) -> Any:
        """Return the plasticity, with numbers of this type."""
        raise TypeError(f"{type(self).__name__} has no plasticity")


@dataclass(frozen=True)
class STDP(Rule):
    """Unsupervised STDP of a firing stage (Mozafari et al. 2018; Kheradpisheh et al. 2018, section 2.3).

    At most ``winners`` neurons learn from an image. Of each position, the first feature to spike is a candidate; the
    earliest candidates win, of equally early ones those with the highest potential. Winners belong to different
    features, and none is in the (2 · ``radius`` + 1)² square around another. Each synapse of a winner changes:

        Δw = ltp · s(w)   if t_in <= t_out
        Δw = ltd · s(w)   otherwise
        s(w) = (w - lower)(upper - w)  with the stabilizer, else 1

    The rates (ltp, ltd) are ``rates`` at first. For the image number ``double_every``, counted from 1, and for each
    multiple of it, ltp doubles, up to ``highest``, and ltd becomes ``depression`` · ltp. A first ltp above ``highest``
    does not double. If ``double_every`` is 0, the rates are constant.

    """

    name: ClassVar[str] = "stdp"
    title: ClassVar[str] = "STDP"
    source = "Kheradpisheh et al. 2018, Neural Networks 99, doi 10.1016/j.neunet.2017.12.005"
    counts_images: ClassVar[bool] = True

    winners: int = ranged(1, MAX_WINNERS)
    radius: int = ranged(0, MAX_WINNERS)
    rates: tuple[float, float] = (0.004, -0.003)
    bounds: tuple[float, float] = (0.0, 1.0)
    stabilize: bool = True
    double_every: int = ranged(0, 2**63 - 1, default=500)
    highest: float = 0.15
    depression: float = -0.75

    def first_rates(self):
        return np.array(self.rates, np.float64)

    def schedule(self, rates, numbers, epoch):
        # the numbers of the images decide alone: the last rates and the epoch are not used
        doublings = numbers // self.double_every if self.double_every else np.zeros_like(numbers)
        ltp = self.rates[0] * 2.0 ** np.minimum(doublings, 64)
        ltp = np.minimum(ltp, max(self.highest, self.rates[0]))
        doubled = np.stack([ltp, self.depression * ltp], 1)
        scheduled = np.where(doublings[:, None] > 0, doubled, self.first_rates())
        return scheduled[:, None]

    def plasticity(self, number=float):
        plasticity = Stabilized if self.stabilize else Additive
        return plasticity(*map(number, self.bounds))


@dataclass(frozen=True)
class RSTDP(Rule):
    """Reward-modulated STDP (Mozafari et al. 2018, section 2.5).

    Each synapse of a winner changes by

        Δw = ltp · s(w)   if t_in <= t_out
        Δw = ltd · s(w)   otherwise
        s(w) = 1, or (w - lower)(upper - w) with the stabilizer

    If the decision is correct, (ltp, ltd) are the rates of the reward (STDP). If it is wrong, they are the rates of the
    punishment (anti-STDP: ltp is negative). If the image is silent, nothing changes. In the first batch the rates are
    ``reward`` and ``punishment``. After each batch, they become ``reward`` · (a · wrong + b) and ``punishment`` · (a ·
    correct + b), with the fractions of wrong and correct decisions of that batch, and (a, b) = ``adaptation``.

    In a decision stage without a threshold, the winner is the neuron with the highest potential. In a stage with a
    threshold, ``winners`` and ``radius`` choose the winners as in ``STDP``. They learn from the decision, which is that
    of the first of them in a decision stage. Below the decision stage, a phase of unsupervised STDP, ``warm_up``, may
    come first.

    With the probability ``dropout``, a feature of a decision stage is dropped for a batch: it neither decides nor
    learns (Mozafari et al. 2018, IEEE TNNLS). Without learning, all features decide.
    """

    name: ClassVar[str] = "rstdp"
    title: ClassVar[str] = "R-STDP"
    source = "Mozafari et al. 2019, Pattern Recognition 94, arXiv 1804.00227"
    needs_labels: ClassVar[bool] = True
    rows: ClassVar[tuple[str, ...]] = ("reward", "punishment")
    rewards_firing: ClassVar[bool] = True
    only_firing: ClassVar[Collection[str]] = "winners", "radius"

    winners: int = ranged(1, MAX_WINNERS, default=1)
    radius: int = ranged(0, MAX_WINNERS, default=0)
    reward: tuple[float, float] = (0.004, -0.003)
    punishment: tuple[float, float] = (-0.004, 0.0005)
    bounds: tuple[float, float] = (0.2, 0.8)
    stabilize: bool = False
    warm_up: STDP | None = None
    dropout: float = ranged(0, 1, default=0.0, below=True)
    adaptation: tuple[float, float] = ranged(0, MAX_VALUE, default=(1.0, 0.0))

    def first_rates(self):
        return np.array([self.reward, self.punishment], np.float64)

    def adapt(self, outcome):
        slope, least = self.adaptation
        fractions = np.array([[outcome.fraction("wrong")], [outcome.fraction("correct")]])
        return self.first_rates() * (slope * fractions + least)

    @property
    def drops(self) -> bool:
        return self.dropout > 0

    def draw_left_out(self, rng, images, features):
        if not self.drops:
            return None
        return np.tile(rng.random(features) < self.dropout, (images, 1))

    def plasticity(self, number=float):
        plasticity = RewardedStabilized if self.stabilize else Rewarded
        return plasticity(*map(number, self.bounds))


@dataclass(frozen=True)
class MarginRule(Rule):
    """A supervised, local rule without gradients for a decision stage.

    From each image two neurons learn: of the true class, and of all other classes, the one with the highest potential.
    They do not learn if the first potential is at least (1 + ``margin``) times the second. A synapse changes by
    Δw = ltp if its input has spiked, and by Δw = ltd otherwise. The rates are

        (ltp, ltd) = (r, -``ltd`` · r)   for the neuron of the true class (STDP)
        (ltp, ltd) = (-r, ``ltd`` · r)   for the other neuron (anti-STDP)
        r = ``rate`` · ``decay`` ^ (epochs of this run's phase that are done)

    A reward only tells whether a decision was correct; this rule uses the label itself, so it is supervised learning.
    Each neuron is left out of the learning from an image with the probability ``left_out``; all neurons decide.
    """

    name: ClassVar[str] = "margin"
    title: ClassVar[str] = "margin"
    source = "this program, engine/rules.py"
    needs_labels: ClassVar[bool] = True
    rows: ClassVar[tuple[str, ...]] = ("right", "rival")

    margin: float = ranged(0, MAX_VALUE, default=0.03)
    rate: float = 0.01
    decay: float = ranged(0, 1, default=0.9, above=True)
    ltd: float = 0.05
    bounds: tuple[float, float] = (0.0, 1.0)
    left_out: float = ranged(0, 1, default=0.0, below=True)

    def first_rates(self):
        return self.rate * np.array([(1, -self.ltd), (-1, self.ltd)])

    def schedule(self, rates, numbers, epoch):
        decays = self.decay ** np.full(len(numbers), epoch)
        return decays[:, None, None] * self.first_rates()

    def draw_left_out(self, rng, images, features):
        if not self.left_out:
            return None
        return rng.random((images, features)) < self.left_out

    def plasticity(self, number=float):
        return Margin(*map(number, (*self.bounds, self.margin)))


def check_rule(rule: Rule, is_firing: bool) -> None:
    """Raise InputError unless a stage can learn by a rule, also by a user's own. is_firing: it has a threshold.

    A rule that names its phase is checked by ``check_competing`` when this learns by a layer, as it may do otherwise.
    """
    rule.check_name()
    for name in ("plasticity", "competition", "first_rates", "schedule", "adapt", "draw_left_out"):
        of_base = signature(getattr(Rule, name))
        _, *arguments = of_base.parameters
        if not (takes(getattr(rule, name), *arguments) and takes(rule.plasticity)):  # this also without arguments
            raise InputError(f"{name} of {rule.name!r} must have the arguments {of_base}")
    find_first_rates(rule)
    plasticity = rule.plasticity()
    _check_method(rule, "window")
    _check_method(rule, "change")
    weights = np.array([0.25, 0.5])
    try:
        [*map(float, plasticity)]  # they are numbers, also those that no change reads
        bounds = to_field((plasticity.lower, plasticity.upper))
        if not fits(bounds, tuple[float, float]):
            raise TypeError(f"its bounds must be two numbers, not {bounds}")
        plasticity.change(weights, plasticity.window(np.array([1, 2]), 1, weights, -weights))
    except Exception as error:
        raise InputError(
            f"window and change of {rule.name!r} cannot be computed from its numbers and arrays: "
            f"{type(error).__name__}: {error}"
        ) from error
    if rule.phase is None:
        check_competing(rule, is_firing)


def check_competing(rule: Rule, is_firing: bool) -> None:
    """Raise InputError unless a layer can find who learns by a rule: by its competition or its verdict.

    In a firing layer with labels, a kernel reads a row of the rates of a reward, and a row of those of a punishment.
    """
    if rule.needs_labels and not is_firing:
        _check_method(rule, "verdict")
    elif rule.rewards_firing or not rule.needs_labels:
        find_competition(rule)
        if rule.needs_labels and len(rule.rows) != 2:
            raise InputError(f"{rule.name!r} needs 2 rows, of a reward and of a punishment, not {rule.rows}")


def _check_method(rule: Rule, name: str) -> None:
    plasticity = rule.plasticity()
    method = getattr(plasticity, name, None)
    if method is None or tuple(signature(method).parameters) != METHODS[name]:  # numba compares names
        raise InputError(
            f"the plasticity {type(plasticity).__name__} of {rule.name!r} needs the method {name}(self, "
            f"{', '.join(METHODS[name])})"
        )


def find_first_rates(rule: Rule) -> np.ndarray:
    """Return the first rates of a rule, float64 (2,) or (rows, 2). Raises InputError for others.

    A user's own rule may return others each time.
    """
    found = rule.first_rates()
    rates = cast(found, np.float64)
    rows = len(rule.rows)
    if np.atleast_2d(rates).shape != (rows, 2) or not (abs(rates) <= MAX_VALUE).all():
        form = f"{rows} pairs of numbers from -1e6 to 1e6, a pair for each of its rows"
        raise InputError(f"the first rates of {rule.name!r} must be {form}, not {abbreviate(found)}")
    return rates


def find_competition(rule: Rule) -> Competition:
    """Return the competition of a rule, which is read once for a batch: a user's own rule may return another each time.

    Raises InputError unless they are whole numbers in their ranges. A kernel writes as many winners.
    """
    found = rule.competition()
    numbers = cast(found, np.int64)
    if numbers.shape != (2,) or not (1 <= numbers[0] <= MAX_WINNERS and 0 <= numbers[1] <= MAX_WINNERS):
        raise InputError(
            f"{rule.name!r} needs winners, from 1 to {MAX_WINNERS}, and radius, from 0 to {MAX_WINNERS}, not "
            f"{abbreviate(found)}"
        )
    return Competition(*numbers.tolist())


@contextmanager
def naming(*rules: Rule) -> Iterator[None]:
    """Add the places of the rules' methods to exceptions, because machine code leaves no frames in tracebacks.

    Raises an InputError that names the rule, the last one that needs labels, if its verdict is impossible.
    """
    try:
        yield
    except InputError:
        raise
    except Exception as error:
        places = []
        for rule in rules:
            for name in ("verdict", "change", "window"):
                code = getattr(getattr(rule.plasticity(), name, None), "__code__", None)
                if code is not None:
                    places.append((code.co_filename, code.co_firstlineno))
        vars(error)["places"] = places
        if isinstance(error, ValueError) and rules[-1].needs_labels:
            raise InputError(f"the verdict of the rule {rules[-1].name!r} {error}") from error
        raise
