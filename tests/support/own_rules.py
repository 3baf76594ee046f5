"""Users' own rules and a user's own network, outside of the engine."""

from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import numpy as np

from engine.rules import STDP, Additive, MarginRule, Rule
from engine.stages import Inhibit, Pool, SpikingConv, SpikingDense
from network_trainer import NetworkTrainer


class Recent(NamedTuple):
    """Only inputs of the last ``span`` time steps before the winner are potentiated; no stabilizer."""

    lower: float
    upper: float
    span: float

    def window(self, t_in, t_out, ltp, ltd):
        recent = (t_in <= t_out) * (t_in + self.span >= t_out)
        return recent * ltp + (recent < 1) * ltd

    def change(self, w, rate):
        return rate


@dataclass(frozen=True)
class RecentSTDP(STDP):
    name: ClassVar[str] = "recently"
    title: ClassVar[str] = "recent STDP"

    span: int = 3

    def plasticity(self, number=float):
        return Recent(*map(number, (*self.bounds, self.span)))


class Soft(NamedTuple):
    """Soft bounds, the expression of docs/extending.md: LTP in proportion to upper - w, LTD to w - lower."""

    lower: float
    upper: float

    window = Additive.window

    def change(self, w, rate):
        return (rate > 0) * rate * (self.upper - w) + (rate < 0) * rate * (w - self.lower)


@dataclass(frozen=True)
class SoftSTDP(STDP):
    name: ClassVar[str] = "soft"
    title: ClassVar[str] = "STDP with soft bounds"

    def plasticity(self, number=float):
        return Soft(*map(number, self.bounds))


class Root(Additive):
    def change(self, w, rate):
        return rate * (self.upper - w) ** 0.5


class RootOfSize(Additive):
    def change(self, w, rate):
        return rate * abs(self.upper - w) ** 0.5


@dataclass(frozen=True)
class RootSTDP(STDP):
    """In proportion to the root of the distance to the upper bound, above which first weights may be."""

    name: ClassVar[str] = "root"
    title: ClassVar[str] = "STDP with a root"

    sized: bool = False

    def plasticity(self, number=float):
        kind = RootOfSize if self.sized else Root
        return kind(*map(number, self.bounds))


class Chosen(NamedTuple):
    """``count`` features learn, from ``feature`` on in steps of ``step``, all by one row of the rates."""

    lower: float
    upper: float
    count: float
    feature: float
    step: float
    row: float

    window = Additive.window
    change = Additive.change

    def verdict(self, peaks, label, classes, learners):
        for i in range(min(int(self.count), len(learners))):
            learners[i, 0], learners[i, 1] = int(self.feature + i * self.step), int(self.row)
        return int(self.count)


@dataclass(frozen=True)
class ChosenRule(Rule):
    name: ClassVar[str] = "chosen"
    title: ClassVar[str] = "chosen"
    needs_labels: ClassVar[bool] = True
    rows: ClassVar[tuple[str, ...]] = ("all",)

    count: int = 1
    feature: int = 0
    step: int = 1
    row: int = 0
    rate: float = 0.01

    def first_rates(self):
        return np.array([(self.rate, -self.rate)])

    def plasticity(self, number=float):
        return Chosen(*map(number, (0, 1, self.count, self.feature, self.step, self.row)))


class Own(NetworkTrainer):
    """A user's network: a pooling first, negative weights, and decision neurons that see two maps, one with levels."""

    name, aliases = "own", ()

    def build(self, num_classes):
        return {
            "c0": Pool(2, rank=3),
            "s1": SpikingConv(7, 3, threshold=3, rule=STDP(winners=2, radius=1, bounds=(-0.5, 1.0))),
            "i1": Inhibit(0.3),
            "c1": Pool(3, padding=1),
            "s2": SpikingDense(3 * num_classes, levels=(4, 9), rule=MarginRule(), inputs=("c0", "c1")),
        }
