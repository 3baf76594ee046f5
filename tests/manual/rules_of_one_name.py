"""Learn by many rules whose classes have one name, and compare both backends.

    python tests/manual/rules_of_one_name.py

12 windows of a firing layer and 27 verdicts of a decision layer are classes called ``Same``, as in a notebook's cell
that is run again. Each rule learns twice on the compiled backend, the second time after all others, and once on the
tensor backend. All weights must be equal. Each rule is compiled, so that this takes minutes. The exit code is 1 if a
rule fails.
"""

import sys
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch

ROOT = Path(__file__).resolve().parent.parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from support.layers import learn_decisions, learn_features, make_layer  # noqa: E402

from engine.rules import STDP, Additive, Rewarded, Rule  # noqa: E402

WINDOW = """
class Same(Additive):
    def window(self, t_in, t_out, ltp, ltd):
        near = {condition}
        return near * {more} + (near < 1) * {less}
"""
CONDITIONS = "t_in <= t_out", "t_in > t_out", "t_in < 4", "t_in + 2 >= t_out"
RATES = ("ltp", "ltd"), ("ltd", "3 * ltp"), ("2 * ltp", "ltd")
VERDICT = """
class Same(Rewarded):
    def verdict(self, peaks, label, classes, learners):
        count = 0
        for f in ({first}, {second}):
            if count == 0 or learners[0, 0] != f:
                learners[count, 0], learners[count, 1] = f, {row}
                count += 1
        return count
"""
FIRST = "np.argmax(peaks)", "np.argmin(peaks)", "int(label)"
SECOND = "int(label)", "2", "(int(label) + 1) % 4"
ROWS = "0", "1", "count"


def define(text, **parts):
    """Return the class ``Same`` of this text."""
    scope = {"__name__": "cell", "Additive": Additive, "Rewarded": Rewarded, "np": np}
    exec(text.format(**parts), scope)
    return scope["Same"]


WINDOWS = [
    define(WINDOW, condition=condition, more=more, less=less) for condition, (more, less) in product(CONDITIONS, RATES)
]
VERDICTS = [define(VERDICT, first=first, second=second, row=row) for first, second, row in product(FIRST, SECOND, ROWS)]


@dataclass(frozen=True)
class Windowed(STDP):
    name: ClassVar[str] = "windowed"

    number: int = 0

    def plasticity(self, number=float):
        return WINDOWS[self.number](number(0), number(1))


@dataclass(frozen=True)
class Judged(Rule):
    name: ClassVar[str] = "judged"
    title: ClassVar[str] = "judged"
    needs_labels: ClassVar[bool] = True
    rows: ClassVar[tuple[str, ...]] = ("first", "second")

    number: int = 0

    def first_rates(self):
        return np.array([(0.02, -0.01), (-0.03, 0.015)])

    def plasticity(self, number=float):
        return VERDICTS[self.number](number(0), number(1))


def learn(rule, backend):
    """Return the weights float64 (4, 2, 3, 3) after 20 images of random spikes."""
    rng = np.random.default_rng(0)
    latency = torch.from_numpy(rng.integers(0, 16, (20, 2, 8, 8), dtype=np.uint8))
    weight = torch.from_numpy(rng.uniform(0.4, 0.6, (4, 2, 3, 3)))
    rates = rule.schedule(rule.first_rates(), np.arange(1, 21), 0)
    if rule.needs_labels:
        layer = make_layer(backend, weight, padding=1, rule=rule)
        learn_decisions(layer, latency, rng.integers(0, 4, 20), np.arange(4), rates)
    else:
        learn_features(make_layer(backend, weight, padding=1, threshold=5), latency, rule, rates)
    return weight


def compare(title, rules):
    """Print the numbers of rules, of different results and of failures; return the number of failures."""
    first = [learn(rule, "event") for rule in rules]
    again = [learn(rule, "event") for rule in rules]
    failed = 0
    for rule, one, two in zip(rules, first, again, strict=True):
        failed += not (torch.equal(one, two) and torch.allclose(one, learn(rule, "torch"), rtol=0, atol=1e-12))
    different = len({weight.numpy().tobytes() for weight in first})
    print(f"{title}: {len(rules)} rules, {different} different results, {failed} failed", flush=True)
    return failed


def main():
    windows = [Windowed(2, 1, (0.05, -0.03), double_every=0, number=number) for number in range(len(WINDOWS))]
    verdicts = [Judged(number=number) for number in range(len(VERDICTS))]
    return int(compare("windows", windows) + compare("verdicts", verdicts) > 0)


if __name__ == "__main__":
    sys.exit(main())
