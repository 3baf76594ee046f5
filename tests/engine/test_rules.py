"""The rules: numbers worked out by hand, and users' own rules on both backends."""

import ast
import math
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from support.own_rules import ChosenRule, ContrastRule, ExponentialSTDP, Recent, RecentSTDP
from support.refusals import refuses

import engine
from engine.decision import Outcome
from engine.rules import RSTDP, STDP, MarginRule
from engine.stages import BACKENDS, SpikingConv

GOLDEN = np.load(Path(__file__).parent.parent / "golden" / "reference_traces.npz")
DIGITS = torch.from_numpy(GOLDEN["encoding"][:60])


def weights(*shape, low=0.1, high=0.9):
    return torch.from_numpy(np.random.default_rng(0).uniform(low, high, shape))


# ---------------------------------------------------------------------------------------------------------------------
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
    other = STDP(winners=1, radius=0, rates=(0.004, -0.002)).schedule(None, np.array([499, 500]), 0)
    assert other[:, 0].tolist() == [[0.004, -0.002], [0.008, -0.006]]  # its own LTD until the first doubling


def test_a_stage_counts_its_images():
    """Two batches are scheduled as one; the state holds the rates of the last image."""
    stage = SpikingConv(1, 1, threshold=1, in_channels=1, rule=STDP(winners=1, radius=0))
    parts = [stage.next_rates(stage.rule, images) for images in (300, 0, 200)]
    assert [len(part) for part in parts] == [300, 0, 200]
    rates = np.concatenate(parts)
    assert (rates[:499] == (0.004, -0.003)).all()
    assert rates[499].tolist() == [[0.008, -0.006]]
    assert (stage.stdp_rates.tolist(), int(stage.images_seen)) == ([0.008, -0.006], 500)


def test_rewards_follow_the_outcome():
    """Reward times the fraction wrong, punishment times the fraction right; silence is neither."""
    adapted = RSTDP().adapt(Outcome(correct=60, wrong=30, silent=10))
    np.testing.assert_allclose(adapted, [[0.3 * 0.004, 0.3 * -0.003], [0.6 * -0.004, 0.6 * 0.0005]])
    scheduled = RSTDP().schedule(adapted, np.arange(1, 4), 0)  # the same for every image of a batch
    assert (scheduled == adapted).all()
    assert scheduled.shape == (3, 2, 2)


@pytest.mark.parametrize(
    ("rule", "window", "change"),
    [
        (STDP(1, 0), [0.5, 0.5, -0.25, -0.25], 0.25 * 0.75),
        (STDP(1, 0, stabilize=False), [0.5, 0.5, -0.25, -0.25], 1),
        (STDP(1, 0, bounds=(0.2, 0.8)), [0.5, 0.5, -0.25, -0.25], (0.25 - 0.2) * (0.8 - 0.25)),
        (RSTDP(stabilize=True), [0.5, 0.5, -0.25, -0.25], (0.25 - 0.2) * (0.8 - 0.25)),
        (RSTDP(), [0.5, 0.5, -0.25, -0.25], 1),
        (RecentSTDP(1, 0, span=1), [-0.25, 0.5, -0.25, -0.25], 1),
    ],
)
def test_window_and_change(rule, window, change):
    """Inputs at 0, 4, 5 and never (15), a winner at 4; a weight of 0.25. On numbers and on tensors."""
    plasticity, times = rule.plasticity(), (0, 4, 5, 15)
    assert [plasticity.window(t, 4, 0.5, -0.25) for t in times] == window
    rates = torch.tensor([0.5, -0.25], dtype=torch.float64)
    assert plasticity.window(torch.tensor(times), 4, *rates).tolist() == window
    assert plasticity.change(0.25) == pytest.approx(change, rel=1e-15)


@pytest.mark.parametrize(
    ("peaks", "label", "expected"),
    [
        ([1, 3, 2, 3], 0, [(1, 0)]), ([1, 3, 2, 4], 0, [(3, 1)]), ([0, 0, 0, 0], 0, []), ([-1, -1, 2, -1], 1, [(2, 0)]),
        ([4, 3, 2, 1], 0, [(0, 0)]),
    ],
)  # fmt: skip
def test_the_strongest_is_rewarded_or_punished(peaks, label, expected):
    """Classes 0 0 1 1: row 0 of the rates if the first of the strongest is of the true class, else row 1."""
    learners = np.empty((1, 2), np.int64)
    count = RSTDP().plasticity().verdict(np.array(peaks, float), label, np.array([0, 0, 1, 1]), learners)
    assert [tuple(one) for one in learners[:count]] == expected


@pytest.mark.parametrize(
    ("make", "field"),
    [
        (lambda: STDP(winners=0, radius=0), "winners"),
        (lambda: STDP(winners=1, radius=2**63), "radius"),
        (lambda: STDP(winners=1, radius=-1), "radius"),
        (lambda: STDP(winners=1, radius=0, bounds=(1.0, 0.0)), "bounds"),
        (lambda: STDP(winners=1, radius=0, bounds=(0.5, 0.5)), "bounds"),
        (lambda: STDP(winners=1, radius=0, bounds=(0, 1e20)), "bounds"),
        (lambda: STDP(winners=1, radius=0, rates=(0.1,)), "rates"),
        (lambda: STDP(winners=1, radius=0, highest=1e7), "highest"),
        (lambda: STDP(winners=1, radius=0, double_every=10**30), "double_every"),
        (lambda: STDP(winners=1, radius=0, double_every=-1), "double_every"),
        (lambda: STDP(winners=1, radius=0, positions=0.0), "positions"),
        (lambda: STDP(winners=1, radius=0, target=1.5), "target"),
        (lambda: STDP(winners=1, radius=0, threshold_rate=-0.1), "threshold_rate"),
        (lambda: STDP(winners=1, radius=0, threshold_images=0), "threshold_images"),
        (lambda: RSTDP(reward=(float("nan"), 0.0)), "reward"),
        (lambda: MarginRule(left_out=1.0), "left_out"),
        (lambda: MarginRule(margin=-0.1), "margin"),
    ],
)
def test_impossible_rules_are_refused(make, field):
    with refuses(field):
        make()


# ---------------------------------------------------------------------------------------------------------------------
# Users' own rules


@pytest.mark.parametrize(("kind", "more", "tolerance"), [(RecentSTDP, {"span": 0}, 1e-12), (ExponentialSTDP, {}, 1e-6)])
def test_another_window_on_both_backends(kind, more, tolerance):
    """Every winner of 40 digits and every weight; and not those of the published window.

    In a power, torch computes with float32.
    """
    rule = kind(winners=5, radius=3, rates=(0.05, -0.03), double_every=0, **more)
    ends = []
    for backend, learned in (("event", rule), ("torch", rule), ("event", replace_window(rule))):
        weight = weights(20, 6, 5, 5, low=0.2, high=0.6)
        rates = learned.schedule(None, np.arange(1, 41), 0)
        winners = BACKENDS[backend].FiringLayer(weight, 15, 2, 10).compete_and_update(DIGITS[:40], learned, rates)
        assert (winners[..., 0] >= 0).sum() > 50
        ends.append((winners, weight))
    assert torch.equal(ends[0][0], ends[1][0])
    torch.testing.assert_close(ends[0][1], ends[1][1], rtol=0, atol=tolerance)
    assert not torch.equal(ends[0][1], ends[2][1])


def replace_window(rule):
    return STDP(rule.winners, rule.radius, rule.rates, stabilize=False, double_every=0)


def reference_contrast(latency, labels, classes, weight, rates):
    """Compute a rule with two learners, image by image, with all potentials. Returns which neurons learned."""
    learned = []
    for image, label in zip(latency, labels, strict=True):
        spiked = torch.nn.functional.pad((image < 15).to(weight), [2] * 4)
        patches = spiked.unfold(1, 5, 1).unfold(2, 5, 1)  # (C, Ho, Wo, k, k)
        potentials = torch.einsum("fcij,cyxij->fyx", weight, patches)
        before, own = weight.clone(), torch.as_tensor(classes == label)
        for row, mine in ((0, own), (1, ~own)):
            peaks = potentials.amax((1, 2)).masked_fill(~mine, -1).round(decimals=9)
            feature = int(peaks.argmax())
            if peaks[feature] <= 0:
                continue
            y, x = divmod(int(potentials[feature].round(decimals=9).flatten().argmax()), potentials.shape[2])
            change = torch.where(patches[:, y, x] > 0, *rates[row])
            weight[feature] = (before[feature] + change).clamp(0, 1)
            learned.append(feature)
    return learned


@pytest.mark.parametrize("features", [10, 100])
def test_two_neurons_learn_from_an_image(backend, features):
    """The weights are those of the reference after 60 images."""
    rng = np.random.default_rng(0)
    latency = torch.from_numpy(rng.integers(0, 15, (60, 8, 5, 5), dtype=np.uint8))
    latency[torch.from_numpy(rng.random(latency.shape)) < 0.7] = 15
    latency[7] = 15
    labels, classes, rule = rng.integers(0, 5, 60), np.arange(features) * 5 // features, ContrastRule()
    found, expected = weights(features, 8, 5, 5), weights(features, 8, 5, 5)
    learned = reference_contrast(latency, labels, classes, expected, torch.from_numpy(rule.first_rates()))
    assert len(learned) == 118
    rates = rule.schedule(rule.first_rates(), np.arange(60), 0)
    layer = BACKENDS[backend].DecisionLayer(found, 15, 2)
    decided = layer.decide_and_update(latency, torch.from_numpy(labels), classes, rule, rates).decisions
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)
    assert decided[7].tolist() == [-1, -1, -1]


def test_neurons_that_are_left_out_do_not_learn_but_decide(backend):
    """Of classes 0 1: feature 0 is the strongest and decides; left out, feature 1 learns in its place."""
    latency, classes = torch.zeros(1, 1, 1, 1, dtype=torch.uint8), np.array([0, 1])
    for left_out, expected in (([False, False], [0.9 + 0.0625, 0.5]), ([True, False], [0.9, 0.5 - 0.125])):
        weight = torch.tensor([0.9, 0.5], dtype=torch.float64).reshape(2, 1, 1, 1)
        rates = np.array([[[0.0625, -0.5], [-0.125, 0.5]]])
        found = (
            BACKENDS[backend]
            .DecisionLayer(weight, 15, 0)
            .decide_and_update(
                latency, torch.tensor([0]), classes, RSTDP(bounds=(0.0, 1.0)), rates, np.array([left_out])
            )
        )
        assert found.decisions.tolist() == [[0, 0, 0]]
        np.testing.assert_allclose(weight.ravel(), expected)


@pytest.mark.parametrize(
    ("peaks", "label", "expected"),
    [
        ([3, 1, 2, 2.95], 0, [(0, 0), (3, 1)]),  # 3 is less than 3 % over 2.95
        ([3, 1, 2, 2.95], 1, [(3, 0), (0, 1)]),  # and class 1 is not ahead at all
        ([3, 1, 2, 2.5], 0, []),
        ([2.05, 1, 2, 1], 0, [(0, 0), (2, 1)]),
        ([2.06, 1, 2, 1], 0, []),  # exactly 3 % over 2
        ([math.nextafter(2.06, 0), 1, 2, 1], 0, []),  # the same, up to rounding
        ([-1, 1, 2, 2.5], 0, [(1, 0), (3, 1)]),  # feature 0 is left out
        ([-1, -1, 2, 2.5], 0, []),  # the whole class is
        ([-1, -1, 2, 2.5], 1, []),  # all others are
        ([2, 2, 2, 2], 1, [(2, 0), (0, 1)]),  # the first of equal ones
    ],
)
def test_the_margin_decides_whether_two_learn(peaks, label, expected):
    learners = np.empty((2, 2), np.int64)
    peaks, classes = np.array(peaks, float), np.array([0, 0, 1, 1])
    count = MarginRule().plasticity().verdict(peaks, label, classes, learners)
    assert [tuple(one) for one in learners[:count]] == expected


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


@pytest.mark.parametrize("left_out", [0.0, 0.4])
def test_the_margin_rule_on_both_backends(left_out):
    """Decisions and weights are equal over 60 digits in three batches, with and without neurons that are left out."""
    rule = MarginRule(margin=0.2, rate=0.05, left_out=left_out)
    ends = []
    for backend in ("event", "torch"):
        stage = SpikingConv(20, 5, in_channels=6, rule=rule, first_weights=(0.5, 0.05))
        stage.backend, stage.weight.data = backend, weights(20, 6, 5, 5, low=0.4, high=0.6)
        labels, classes, found = GOLDEN["label"][:60], np.arange(20) // 2, []
        for batch, part in enumerate(np.split(np.arange(60), 3)):
            rng = np.random.default_rng(batch)
            found.append(stage.learn_decisions(DIGITS[part], labels[part], classes, rng).decisions)
        ends.append((torch.cat(found), stage.weight))
    assert torch.equal(ends[0][0], ends[1][0])
    torch.testing.assert_close(ends[0][1], ends[1][1], rtol=0, atol=1e-12)
    changed = (ends[0][1] != weights(20, 6, 5, 5, low=0.4, high=0.6)).flatten(1).any(1)
    assert changed.sum() > 12


def test_all_weights_are_clipped_after_both_learners_of_the_first_image(backend):
    """Both learners change their weights from outside the bounds; 1.3 - 0.05 is clipped, not 1 - 0.05."""
    weight = torch.tensor([[1.2, 0.5], [1.3, 0.6]]).reshape(2, 2, 1, 1)
    latency = torch.zeros(1, 2, 1, 1, dtype=torch.uint8)
    latency[0, 1] = 15
    rule = MarginRule(rate=0.05, margin=10.0)
    layer = BACKENDS[backend].DecisionLayer(weight, 15, 0)
    layer.decide_and_update(latency, torch.tensor([0]), np.arange(2), rule, rule.first_rates()[None])
    expected = torch.tensor([[1, 0.4975], [1, 0.6025]])
    torch.testing.assert_close(weight.flatten(1), expected)


def learn_chosen(backend, **verdict):
    """Learn from 40 digits by a rule that chooses so; return the weights (40, 6, 5, 5)."""
    weight, rule = weights(40, 6, 5, 5, low=0.4, high=0.6), ChosenRule(**verdict)
    rates = rule.schedule(rule.first_rates(), np.arange(40), 0)
    layer = BACKENDS[backend].DecisionLayer(weight, 15, 2)
    layer.decide_and_update(DIGITS[:40], torch.from_numpy(GOLDEN["label"][:40]), np.arange(40) // 4, rule, rates)
    return weight


@pytest.mark.parametrize("count", [0, 5, 20, 32])
def test_as_many_neurons_learn_as_the_verdict_chooses(count):
    """More learners than slots are left for end a chunk of images early, and change nothing else."""
    ends = [learn_chosen(backend, count=count, feature=3) for backend in BACKENDS]
    torch.testing.assert_close(*ends, rtol=0, atol=1e-12)
    changed = (ends[0] != weights(40, 6, 5, 5, low=0.4, high=0.6)).flatten(1).any(1)
    assert changed.nonzero()[:, 0].tolist() == list(range(3, 3 + count))


@pytest.mark.parametrize(
    "verdict",
    [
        {"count": -1},
        {"count": 33},
        {"feature": -1},
        {"feature": 40},
        {"count": 2, "feature": 39},
        {"row": -1},
        {"row": 1},
        {"count": 2, "step": 0},
    ],
)
def test_an_impossible_verdict_is_refused(backend, verdict):
    with refuses("rule"):
        learn_chosen(backend, **verdict)


@pytest.mark.parametrize(
    ("method", "result"),
    [
        ("first_rates", np.full((2, 2), math.inf)), ("schedule", np.zeros((2, 2))),
        ("schedule", np.full((4, 2, 2), math.nan)), ("adapt", np.zeros(3)), ("adapt", np.full((2, 2), math.inf)),
        ("plasticity", (0.0, 1.0)), ("plasticity", None),
    ],
)  # fmt: skip
def test_a_rule_returns_what_the_stage_needs(method, result):
    kind = type("Wrong", (RSTDP,), {method: lambda *_: result, "name": "wrong_result"})
    with refuses("rule"):
        stage = SpikingConv(20, 5, in_channels=6, rule=kind())
        stage.next_rates(stage.rule, 4)
        stage.adapt(stage.rule, Outcome(1, 2, 1))


# ---------------------------------------------------------------------------------------------------------------------
# The shape of the engine


def test_no_function_of_the_engine_has_more_than_eight_parameters():
    """``self`` and numba's ``typingctx`` aside."""
    for path in Path(engine.__file__).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef):
                names = [a.arg for a in (*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs)]
                assert len(set(names) - {"self", "cls", "typingctx"}) <= 8, f"{path.name}: {node.name}"


def test_both_backends_promise_the_same():
    for name in ("FiringLayer", "DecisionLayer"):
        one, two = (getattr(backend, name) for backend in BACKENDS.values())
        for method in ("__init__", "fire", "compete_and_update", "peaks", "decide_and_update"):
            assert getattr(one, method, None) is getattr(two, method, None)
    event, torch_backend = BACKENDS.values()
    assert event.update_together is torch_backend.update_together


def test_a_record_of_ones_own_may_stand_beside_others():
    assert replace(RecentSTDP(1, 0), span=5).plasticity() == Recent(0.0, 1.0, 5.0)


SECOND_START = """
import sys; sys.path[:0] = [{root!r}, {tests!r}]
import numpy as np, torch
from support.own_rules import ContrastRule, RecentSTDP
from engine import compiled, event
latency = torch.zeros(2, 6, 5, 5, dtype=torch.uint8)
rule = RecentSTDP(winners=1, radius=0)
weight = torch.full((4, 6, 5, 5), 0.5, dtype=torch.float64)
event.FiringLayer(weight, 15, 2, 10).compete_and_update(latency, rule, rule.schedule(None, np.arange(1, 3), 0))
rule = ContrastRule()
rates = rule.schedule(rule.first_rates(), np.arange(2), 0)
labels, classes = torch.tensor([0, 1]), np.array([0, 0, 1, 1])
event.DecisionLayer(weight, 15, 2).decide_and_update(latency, labels, classes, rule, rates)
print(compiled.counts["compiled"], compiled.counts["loaded"])
"""


def test_a_second_start_with_rules_of_ones_own_compiles_nothing():
    tests = Path(__file__).parent.parent
    program = SECOND_START.format(root=str(tests.parent), tests=str(tests))
    for _ in range(2):
        done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    compiled, loaded = map(int, done.stdout.split())
    assert compiled == 0
    assert loaded > 5
