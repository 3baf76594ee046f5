"""The rules: numbers worked out by hand, and users' own rules on both backends."""

from contextlib import nullcontext
from dataclasses import make_dataclass
from functools import partial
from typing import Any
from unittest import mock

import numpy as np
import pytest
import torch
from support.golden_traces import GOLDEN
from support.layers import learn_decisions, learn_features, learn_on_both, make_layer
from support.own_rules import ChosenRule, RecentSTDP, RootSTDP, SoftSTDP
from support.pages import find_example
from support.refusals import refuses
from support.tiers import slow_except

from engine.backends import BACKENDS
from engine.decision import Outcome
from engine.layers import Layer
from engine.rules import RSTDP, RULES, STDP, Additive, Margin, MarginRule, Stabilized
from engine.stages import SpikingConv
from models import build_model
from utils import ROOT

DIGITS = torch.from_numpy(GOLDEN["encoding"][:60])


def weights(*shape, low=0.1, high=0.9):
    return torch.from_numpy(np.random.default_rng(0).uniform(low, high, shape))


# By hand


def test_the_rates_double_every_500_images():
    """0.004 up to image 499, doubled at image 500 and at every 500th, at most 0.15; LTD is -0.75 LTP."""
    numbers = np.array([1, 499, 500, 999, 1000, 2500, 2999, 3000, 10**9])
    ltp = [0.004, 0.004, 0.008, 0.008, 0.016, 0.128, 0.128, 0.15, 0.15]
    scheduled = STDP(winners=1, radius=0).schedule(None, numbers, 0)
    assert scheduled[:, 0, 0].tolist() == ltp
    assert scheduled[:, 0, 1].tolist() == [-0.003, -0.003, *(-0.75 * rate for rate in ltp[2:])]
    still = STDP(winners=1, radius=0, double_every=0).schedule(None, numbers, 0)
    assert (still == (0.004, -0.003)).all()
    high = STDP(winners=1, radius=0, rates=(0.4, -0.35)).schedule(None, np.array([499, 500, 10**6]), 0)
    np.testing.assert_allclose(high[:, 0], [[0.4, -0.35], [0.4, -0.3], [0.4, -0.3]])  # above 0.15, it does not double
    other = STDP(winners=1, radius=0, rates=(0.004, -0.002)).schedule(None, np.array([499, 500]), 0)
    assert other[:, 0].tolist() == [[0.004, -0.002], [0.008, -0.006]]  # its own LTD until the first doubling


def test_a_stage_counts_its_images():
    """Two batches are scheduled as one; the state holds the rates of the last image."""
    rule = STDP(winners=1, radius=0)
    layer = Layer(SpikingConv(1, 1, threshold=1, rule=rule), 1)
    parts = [layer.next_rates(rule, images) for images in (300, 0, 200)]
    assert [len(part) for part in parts] == [300, 0, 200]
    rates = np.concatenate(parts)
    assert (rates[:499] == (0.004, -0.003)).all()
    assert rates[499].tolist() == [[0.008, -0.006]]
    assert (layer.stdp_rates.tolist(), int(layer.images_seen)) == ([0.008, -0.006], 500)


def test_rewards_follow_the_outcome():
    """Reward times the fraction wrong, punishment times the fraction right; silence is neither."""
    adapted = RSTDP().adapt(Outcome(correct=60, wrong=30, silent=10))
    np.testing.assert_allclose(adapted, [[0.3 * 0.004, 0.3 * -0.003], [0.6 * -0.004, 0.6 * 0.0005]])
    scheduled = RSTDP().schedule(adapted, np.arange(1, 4), 0)  # the same for every image of a batch
    assert (scheduled == adapted).all()
    assert scheduled.shape == (3, 2, 2)


@pytest.mark.parametrize(
    ("rule", "window", "change"), [
        (STDP(1, 0), [0.5, 0.5, -0.25, -0.25], 0.25 * 0.75),
        (STDP(1, 0, stabilize=False), [0.5, 0.5, -0.25, -0.25], 1),
        (STDP(1, 0, bounds=(0.2, 0.8)), [0.5, 0.5, -0.25, -0.25], (0.25 - 0.2) * (0.8 - 0.25)),
        (RSTDP(stabilize=True), [0.5, 0.5, -0.25, -0.25], (0.25 - 0.2) * (0.8 - 0.25)),
        (RSTDP(), [0.5, 0.5, -0.25, -0.25], 1), (RecentSTDP(1, 0, span=1), [-0.25, 0.5, -0.25, -0.25], 1),
        (SoftSTDP(1, 0), [0.5, 0.5, -0.25, -0.25], 0.75),
    ],
)  # fmt: skip
def test_window_and_change(rule, window, change):
    """Inputs at 0, 4, 5 and never (15), a winner at 4; a weight of 0.25. On numbers and on tensors."""
    plasticity, times = rule.plasticity(), (0, 4, 5, 15)
    assert [plasticity.window(t, 4, 0.5, -0.25) for t in times] == window
    rates = torch.tensor([0.5, -0.25], dtype=torch.float64)
    assert plasticity.window(torch.tensor(times), 4, *rates).tolist() == window
    assert plasticity.change(0.25, 1) == pytest.approx(change, rel=1e-15)


STRONGEST = """
1 3 2 3    | 0 | 1 0
1 3 2 4    | 0 | 3 1
0 0 0 0    | 0 |
-1 -1 2 -1 | 1 | 2 0
4 3 2 1    | 0 | 0 0
"""
MARGINS = """
3 1 2 2.95   | 0 | 0 0, 3 1 | 3 is less than 3 % over 2.95
3 1 2 2.95   | 1 | 3 0, 0 1 | and class 1 is not ahead at all
3 1 2 2.5    | 0 |
2.05 1 2 1   | 0 | 0 0, 2 1
2.06 1 2 1   | 0 |          | exactly 3 % over 2
2.0599999999999996 1 2 1 | 0 | | the same, up to rounding
-1 1 2 2.5   | 0 | 1 0, 3 1 | feature 0 is left out
-1 -1 2 2.5  | 0 |          | the whole class is
-1 -1 2 2.5  | 1 |          | all others are
2 2 2 2      | 1 | 2 0, 0 1 | the first of equal ones
"""
VERDICTS_BY_HAND = [(RSTDP(), row) for row in STRONGEST.strip().splitlines()]
VERDICTS_BY_HAND += [(MarginRule(), row) for row in MARGINS.strip().splitlines()]


@pytest.mark.parametrize(("rule", "row"), VERDICTS_BY_HAND)
def test_which_features_learn(rule, row):
    """The peaks of classes 0 0 1 1, the label, and which features learn by which row of the rates.

    By R-STDP, by row 0 if the first of the strongest is of the true class, else by row 1.
    """
    peaks, label, expected, *_ = row.split("|")
    peaks, learners = np.array(peaks.split(), float), np.empty((2, 2), np.int64)
    count = rule.plasticity().verdict(peaks, int(label), np.array([0, 0, 1, 1]), learners)
    assert ", ".join(f"{feature} {row}" for feature, row in learners[:count]) == expected.strip()


# Users' own rules


class Old(Additive):
    def change(self, w):
        return 1


class Renamed(Additive):
    def change(self, weight, rate):
        return 1


class Branching(Additive):
    def change(self, w, rate):
        return rate if w < 1 else 0


@pytest.mark.parametrize(
    ("kind", "word"),
    [
        (Old, "(self, w, rate)"),
        (Renamed, "(self, w, rate)"),
        (Branching, "change"),
        (lambda *bounds: Additive(bounds, bounds), "numbers"),
        (lambda *bounds: Stabilized(*map(str, bounds)), "numbers"),
        (lambda *bounds: Additive(*map(bool, bounds)), "numbers"),
    ],
)
def test_a_plasticity_that_no_backend_can_use_is_refused_in_the_declaration(kind, word):
    rule = type("Mine", (STDP,), {"name": "mine", "plasticity": lambda self, number=float: kind(0.0, 1.0)})
    RULES["mine"] = rule
    with refuses(word):
        SpikingConv(4, 5, threshold=5, rule=rule(winners=1, radius=0))


@pytest.mark.parametrize("bounds", [(False, 1), (0, True), ("a", 2), (0, 1, 2), True, (1, 0)])
def test_bounds_of_a_loose_type_are_two_numbers_in_ascending_order(bounds):
    loose = make_dataclass("Loose", [("bounds", Any, bounds)], bases=(STDP,), frozen=True)
    with refuses("two numbers in ascending order"):
        loose(winners=1, radius=0)


@pytest.mark.parametrize("backend", ["torch", pytest.param("event", marks=pytest.mark.slow)])
def test_a_root_needs_the_size_of_the_distance_to_the_bound(backend):
    """Half of the first weights are above it until the first change. The line names this cause, and what helps."""
    for sized, expectation in ((False, refuses("abs(upper - w)")), (True, nullcontext())):
        changes = {"s1.rule": RootSTDP.name, "s1.rule.sized": sized, "s1.first_weights": (1.0, 0.05)}
        network = build_model("mozafari2018", in_channels=6, overrides=changes, backend=backend)
        weight = network.stages["s1"].weight
        assert (weight > 1).any()
        with expectation:
            network.train_unsupervised(DIGITS[:5], "s1")
    assert ((weight >= 0) & (weight <= 1)).all()


def documented(name):
    """Declare a rule of the documentation, or of the tutorial."""
    code = (ROOT / "tutorial" / "recent.py").read_text() if name == "RecentSTDP" else find_example(f"class {name}(")
    names = {}
    exec(code, names)
    return names[name]


@pytest.mark.slow
@pytest.mark.parametrize("own", [partial(RecentSTDP, span=0), SoftSTDP, "DecaySTDP", "RecentSTDP"])
def test_other_plasticities_on_both_backends(own):
    """Every winner of 40 digits and every weight; and not those of the published rule."""
    kind = documented(own) if isinstance(own, str) else own
    rule = kind(winners=5, radius=3, rates=(0.05, -0.03), double_every=0)
    published = STDP(rule.winners, rule.radius, rule.rates, stabilize=False, double_every=0)

    def learn(backend, learned=rule):
        weight = weights(20, 6, 5, 5, low=0.2, high=0.6)
        rates = learned.schedule(None, np.arange(1, 41), 0)
        winners = learn_features(make_layer(backend, weight, 15, 2, 10), DIGITS[:40], learned, rates)
        assert (winners[..., 0] >= 0).sum() > 50
        return winners, weight

    _, weight = learn_on_both(learn)
    assert not torch.equal(weight, learn("torch", published)[1])


@pytest.mark.parametrize(
    ("rule", "left_out", "expected"),
    [
        (RSTDP(bounds=(0.0, 1.0)), False, [0.9 + 0.0625, 0.5]), (RSTDP(bounds=(0.0, 1.0)), True, [0.9, 0.5 - 0.125]),
        (MarginRule(left_out=0.5), True, [0.9, 0.5]),  # the whole class is left out
    ],
)  # fmt: skip
def test_neurons_that_are_left_out_do_not_learn_but_decide(rule, left_out, expected, backend):
    """Of classes 0 1: feature 0 is the strongest and decides; left out, feature 1 learns in its place."""
    weight = torch.tensor([0.9, 0.5], dtype=torch.float64).reshape(2, 1, 1, 1)
    latency, rates = torch.zeros(1, 1, 1, 1, dtype=torch.uint8), np.array([[[0.0625, -0.5], [-0.125, 0.5]]])
    layer = make_layer(backend, weight, rule=rule)
    found = learn_decisions(layer, latency, [0], np.array([0, 1]), rates, np.array([[left_out, False]]))
    assert found.decisions.tolist() == [[0, 0, 0]]
    np.testing.assert_allclose(weight.ravel(), expected)


def test_the_margin_rule_decays_by_epoch():
    """0.01 · 0.9^epochs for inputs that spiked, -0.05 of it for all others; the opposite for the rival."""
    assert MarginRule().schedule(None, np.array([1, 10]), 0).tolist() == [[[0.01, -0.0005], [-0.01, 0.0005]]] * 2
    scheduled = MarginRule().schedule(None, np.array([7]), 2)
    np.testing.assert_allclose(scheduled, 0.81 * np.array([[[0.01, -0.0005], [-0.01, 0.0005]]]))


def test_the_margin_rule_leaves_a_part_of_the_neurons_out():
    drawn = MarginRule(left_out=0.1).draw_left_out(np.random.default_rng(0), 1000, 20)
    assert (drawn.shape, drawn.dtype) == ((1000, 20), bool)
    assert drawn.mean() == pytest.approx(0.1, abs=0.01)
    assert MarginRule().draw_left_out(np.random.default_rng(0), 1000, 20) is None


def learn_on_both_backends(rule):
    """Assert that decisions and weights are equal over 60 digits in three batches; return how many features learned."""
    start = weights(20, 6, 5, 5, low=0.4, high=0.6)

    def learn(backend):
        layer = make_layer(backend, start.clone(), rule=rule)
        labels, classes, found = torch.from_numpy(GOLDEN["label"][:60]), np.arange(20) // 2, []
        for batch, part in enumerate(np.split(np.arange(60), 3)):
            rng = np.random.default_rng(batch)
            found.append(layer.learn_decisions(DIGITS[part], labels[part], classes, rng).decisions)
        return torch.cat(found), layer.weight

    _, weight = learn_on_both(learn)
    return (weight != start).flatten(1).any(1).sum()


@pytest.mark.parametrize("left_out", [0.0, 0.4])
def test_the_margin_rule_on_both_backends(left_out):
    """With and without neurons that are left out."""
    assert learn_on_both_backends(MarginRule(margin=0.2, rate=0.05, left_out=left_out)) > 12


@pytest.mark.slow
def test_the_decision_rule_of_the_documentation_on_both_backends():
    assert learn_on_both_backends(documented("CorrectingRule")(rate=0.05)) > 6


def test_all_weights_are_clipped_after_both_learners_of_the_first_image(backend):
    """Both learners change their weights from outside the bounds; 1.3 - 0.05 is clipped, not 1 - 0.05."""
    weight = torch.tensor([[1.2, 0.5], [1.3, 0.6]]).reshape(2, 2, 1, 1)
    latency = torch.zeros(1, 2, 1, 1, dtype=torch.uint8)
    latency[0, 1] = 15
    rule = MarginRule(rate=0.05, margin=10.0)
    layer = make_layer(backend, weight, rule=rule)
    learn_decisions(layer, latency, [0], np.arange(2), rule.first_rates()[None])
    expected = torch.tensor([[1, 0.4975], [1, 0.6025]])
    torch.testing.assert_close(weight.flatten(1), expected)


def learn_chosen(backend, **verdict):
    """Learn from 40 digits by a rule that chooses so; return the weights (40, 6, 5, 5)."""
    weight, rule = weights(40, 6, 5, 5, low=0.4, high=0.6), ChosenRule(**verdict)
    rates = rule.schedule(rule.first_rates(), np.arange(40), 0)
    layer = make_layer(backend, weight, padding=2, rule=rule)
    learn_decisions(layer, DIGITS[:40], GOLDEN["label"][:40], np.arange(40) // 4, rates)
    return weight


@pytest.mark.slow
@pytest.mark.parametrize("count", [0, 5, 20, 37])
def test_as_many_neurons_learn_as_the_verdict_chooses(count):
    """Many features that have changed end a chunk of images early, and change nothing else."""
    weight = learn_on_both(partial(learn_chosen, count=count, feature=3))
    changed = (weight != weights(40, 6, 5, 5, low=0.4, high=0.6)).flatten(1).any(1)
    assert changed.nonzero()[:, 0].tolist() == list(range(3, 3 + count))


VERDICTS = {"count": -1}, {"count": 41}, {"feature": -1}, {"feature": 40}, {"count": 2, "feature": 39}
VERDICTS += {"row": -1}, {"row": 1}, {"count": 2, "step": 0}


@pytest.mark.parametrize("verdict", slow_except([VERDICTS[-1]], VERDICTS))
def test_an_impossible_verdict_is_refused(backend, verdict):
    with refuses("rule"):
        learn_chosen(backend, **verdict)


def test_numbers_of_a_plasticity_that_change_between_batches_have_an_effect(monkeypatch):
    """They need not be fields of the rule."""
    margins = [0.0]
    monkeypatch.setattr(MarginRule, "plasticity", lambda self, number=float: Margin(*map(number, (0, 1, margins[-1]))))
    weight = weights(20, 6, 5, 5)
    layers = [make_layer(backend, weight.clone(), padding=2, rule=MarginRule(rate=0.05)) for backend in BACKENDS]
    for _ in range(3):
        for layer in layers:
            layer.learn_decisions(DIGITS[:20], GOLDEN["label"][:20], np.arange(20) // 2, np.random.default_rng(0))
        torch.testing.assert_close(layers[0].weight, layers[1].weight, rtol=0, atol=1e-12)
        margins.append(margins[-1] + 5)


def test_a_competition_that_changes_with_each_call_is_read_once_for_a_batch(backend, monkeypatch):
    """A kernel writes as many winners as there is memory for."""
    numbers = iter([(2, 1), (5, 0), (1, 30)])  # of the declaration, and of two batches
    monkeypatch.setattr(STDP, "competition", lambda self: next(numbers))
    layer = Layer(SpikingConv(8, 5, threshold=10, rule=STDP(winners=1, radius=0)), 6, backend=backend)
    for winners in (5, 1):
        assert layer.learn_features(DIGITS[:4], layer.stage.rule).shape == (4, winners, 4)


@pytest.mark.parametrize("found", [3, (2,), (2.0, 1.0), (0, 1), (1, -1)])
def test_a_competition_without_two_whole_numbers_is_refused(found, monkeypatch):
    monkeypatch.setattr(STDP, "competition", lambda self: found)
    with refuses("winners"):
        SpikingConv(8, 5, threshold=10, rule=STDP(winners=1, radius=0))


NAMES = "plasticity", "competition", "first_rates", "schedule", "draw_left_out"
CALLS = [(name, lambda self, number: None) for name in NAMES]


@pytest.mark.parametrize(("name", "method"), [*CALLS, *((name, lambda self: None) for name in ("adapt", "plasticity"))])
def test_a_method_with_other_arguments_is_refused_in_the_declaration(name, method, monkeypatch):
    monkeypatch.setattr(STDP, name, method)
    with refuses(f"{name} of 'stdp'"):
        SpikingConv(8, 5, threshold=10, rule=STDP(winners=1, radius=0))


def test_first_rates_that_lose_rows_are_refused():
    """A kernel would read the rates of a punishment, or of an image, outside of their array."""
    stage = SpikingConv(8, 5, threshold=10, rule=RSTDP())
    for rates in (np.ones(2), np.ones((3, 2)), np.empty((0, 2)), np.empty((2, 0)), np.array(0.1)):
        with mock.patch.object(RSTDP, "first_rates", lambda self, rates=rates: rates), refuses("rates"):
            Layer(stage, 6)
