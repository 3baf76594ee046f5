"""Rules with classes of one name: no rule learns by the machine code of another rule."""

import sys
from functools import partial
from types import ModuleType

import numpy as np
import pytest
import torch
from support.draws import draw_maps
from support.layers import learn_decisions, learn_features, learn_on_both, make_layer
from support.tiers import slow_except

from engine.rules import RSTDP, RULES, STDP, Rewarded
from errors import find_place
from models import import_plugin

# A rule whose winners strengthen the inputs that fulfil a condition, and weaken the others.
RULE = """
from dataclasses import dataclass
from typing import ClassVar

from engine.rules import STDP, Additive


class {kind}(Additive):
    def window(self, t_in, t_out, ltp, ltd):
        return ({condition}) * ltp + (({condition}) < 1) * ltd


@dataclass(frozen=True)
class Mine{name}(STDP):
    name: ClassVar[str] = "{name}"

    def plasticity(self, number=float):
        return {kind}(*map(number, self.bounds))
"""
VERDICT = """
class Same(Rewarded):
    def verdict(self, peaks, label, classes, learners):
        learners[0, 0] = {chosen}
        learners[0, 1] = 0
        return 1
"""
EARLY, LATE = "t_in <= t_out", "t_in > t_out"
RATES = {"rates": (0.05, -0.03), "double_every": 0}


@pytest.fixture(autouse=True)
def forget():
    yield
    sys.modules.pop("notebook", None)


LATENCY = draw_maps(20, 2, 8, 8)
START = torch.from_numpy(np.random.default_rng(0).uniform(0.4, 0.6, (4, 2, 3, 3)))


def learn(rule, backend):
    """Return the weights after 20 images of random spikes."""
    weight, rates = START.clone(), rule.schedule(rule.first_rates(), np.arange(1, 21), 0)
    learn_features(make_layer(backend, weight, 15, 1, 3), LATENCY, rule, rates)
    return weight


def learn_equally(rule):
    return learn_on_both(partial(learn, rule))


def load(path, name, condition, kind="Window"):
    """Import a plugin with a rule of this name, and return the rule."""
    path.parent.mkdir(exist_ok=True)
    path.write_text(RULE.format(name=name, kind=kind, condition=condition))
    import_plugin(path)
    return RULES[name](winners=2, radius=1, **RATES)


def define(module, condition):
    """Define the rule "cell" in a module, as a cell of a notebook does, and return it."""
    exec(RULE.format(name="cell", kind="Window", condition=condition), module.__dict__)
    return module.Minecell(winners=2, radius=1, **RATES)


@pytest.fixture
def notebook():
    module = sys.modules["notebook"] = ModuleType("notebook")
    return module


@pytest.mark.slow
def test_plugins_with_a_class_of_one_name(tmp_path):
    """The files have one name, too."""
    paths = [tmp_path / name for name in ("one/own.py", "two/own.py")]
    names = {"early": EARLY, "late": LATE}
    rules = [load(path, name, condition) for path, (name, condition) in zip(paths, names.items(), strict=True)]
    ends = [learn_equally(rule) for rule in rules]
    assert not torch.equal(*ends)
    assert torch.equal(learn_equally(rules[0]), ends[0])
    assert {type(rule.plasticity()).__qualname__ for rule in rules} == {"Window"}
    assert [sys.modules[rule.__module__].__file__ for rule in rules] == [str(path) for path in paths]


@pytest.mark.parametrize("stabilized_first", slow_except([True], [True, False]))
def test_a_class_with_the_name_of_ours(stabilized_first, tmp_path):
    rules = [STDP(winners=2, radius=1, **RATES), load(tmp_path / "own.py", "other", LATE, "Stabilized")]
    ends = [learn_equally(rule) for rule in rules[:: 1 if stabilized_first else -1]]
    assert not torch.equal(*ends)
    assert type(rules[0].plasticity()).__name__ == "Stabilized"


@pytest.mark.slow
def test_a_class_that_is_defined_again(notebook):
    ends = [learn_equally(define(notebook, condition)) for condition in (EARLY, LATE)]
    assert not torch.equal(*ends)


@pytest.mark.slow
def test_verdicts_of_one_name():
    """Both classes are called ``Same``: the strongest neuron learns, or the neuron of the label."""
    ends = []
    for chosen in ("np.argmax(peaks)", "int(label)"):
        scope = {"__name__": "cell", "Rewarded": Rewarded, "np": np}
        exec(VERDICT.format(chosen=chosen), scope)
        ends.append(decide_equally(scope["Same"]))
    assert not torch.equal(*ends)


def decide_equally(kind):
    """Return the weights of a decision layer after 20 images, which both backends must share."""

    class Judged(RSTDP):
        name = "judged"

        def plasticity(self, number=float):
            return kind(number(0), number(1))

    def decide(backend):
        layer = make_layer(backend, START.clone(), 15, 1, rule=Judged())
        learn_decisions(layer, LATENCY, np.arange(20) % 4, np.arange(4), rates)
        return layer.weight

    rates = np.tile([(0.02, -0.01), (-0.03, 0.015)], (20, 1, 1))
    return learn_on_both(decide)


@pytest.mark.slow
@pytest.mark.parametrize("body", ["ltp / (t_in - t_in)", "t_in.missing"])
def test_an_exception_in_machine_code_has_the_place_of_the_rule(body, tmp_path):
    rule = load(tmp_path / "own.py", "wrong", body)
    with pytest.raises(Exception, match=r".") as caught:
        learn(rule, "event")
    line = 1 + RULE[: RULE.index("    def window")].count("\n")
    assert find_place(caught.value) == f"{tmp_path / 'own.py'}, line {line}"
