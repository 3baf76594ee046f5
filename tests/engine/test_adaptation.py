"""Thresholds that adapt, and random positions."""

from unittest import mock

import numpy as np
import pytest
import torch
from support.golden_traces import GOLDEN
from support.layers import learn_features, make_layer
from support.refusals import refuses
from support.tiers import slow_except

from engine.adaptation import Draws, adapt_thresholds, choose_position
from engine.rules import STDP

DIGITS = torch.from_numpy(GOLDEN["encoding"][:60])


def make_adaptive(backend, **fields):
    weight = torch.rand((20, 6, 5, 5), generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    return make_layer(backend, weight, 15, 2, 3, STDP(winners=5, radius=3, **fields))


def learn(layer, images, batch):
    return layer.learn_features(images, layer.stage.rule, 0, np.random.default_rng(batch))


def test_thresholds_after_an_image_by_hand():
    """Four features, of which two of at most K = 4 winners have won; a step of 0.8."""
    raised = np.array([1.0, 0.1, 2.0, 0.0])
    adapt_thresholds(raised, np.array([0, 3]), 0.4, 0.8, 0.65, 4)
    # all: 0.8 (0.65 - 0.4) - 0.8 · 2 / 4 / 4 = 0.1; winners: + 0.8 / 4
    assert raised.tolist() == pytest.approx([1.3, 0.2, 2.1, 0.3])
    adapt_thresholds(raised, np.array([], np.int64), 1.0, 0.8, 0.65, 4)  # a silent position: - 0.28
    assert raised.tolist() == pytest.approx([1.02, 0, 1.82, 0.02])
    adapt_thresholds(raised, np.array([1]), -1.0, 0.8, 0.65, 4)  # a silent image: only the balance
    assert raised.tolist() == pytest.approx([0.97, 0.15, 1.77, 0])


def test_a_position_that_reads_a_spike_by_hand():
    latency = np.full((2, 4, 5), 15, np.uint8)
    size = 15, 3, 1, 4, 5  # time steps, kernel, padding, output
    assert choose_position(latency, np.array([0.5, 0.5, 0.5]), *size) == (-1, -1)
    latency[0, 2, 3] = latency[1, 0, 4] = 7
    assert choose_position(latency, np.array([0.4, 0.0, 0.0]), *size) == (3, 4)  # the first spike, its last neuron
    assert choose_position(latency, np.array([0.4, 0.9, 0.5]), *size) == (1, 3)
    assert choose_position(latency, np.array([0.6, 0.9, 0.0]), *size) == (0, 4)  # moved into the map


FIELDS = {"positions": 0.2, "target": 0.6}, {"positions": 0.1}, {"target": 0.8}


@pytest.mark.parametrize("fields", slow_except(FIELDS[:1], FIELDS))
def test_both_backends_choose_the_same_winners(fields):
    """Each winner, weight and threshold of two batches of digits, then all first spikes."""
    one, two = (make_adaptive(backend, **fields) for backend in ("event", "torch"))
    for batch in range(2):
        winners = [learn(layer, DIGITS[:8], batch) for layer in (one, two)]
        assert torch.equal(*winners)
        assert (winners[0][..., 0] >= 0).sum() > 13
    torch.testing.assert_close(one.weight, two.weight, rtol=0, atol=1e-12)
    torch.testing.assert_close(one.thresholds, two.thresholds, rtol=0, atol=1e-12)
    assert (one.thresholds.std() > 0) == ("target" in fields)
    assert torch.equal(one.fire(DIGITS[:20], 2), two.fire(DIGITS[:20], 2))


def test_neurons_win_only_at_open_positions():
    layer = make_adaptive("event")
    closed = np.ones((60, 28, 28), bool)
    closed[:, 10, 12] = closed[:, 15, 20] = False
    draws = Draws(closed, np.empty((0, 3)), np.empty(0), 0.0)
    rule = layer.stage.rule
    winners = learn_features(layer, DIGITS, rule, layer.next_rates(rule, 60)[1], draws).reshape(-1, 4)
    found = winners[winners[:, 0] >= 0][:, 1:3]
    assert {tuple(position) for position in found.tolist()} == {(10, 12), (15, 20)}
    for wrong in (draws._replace(closed=closed[:3]), draws._replace(shifts=np.ones(60)), draws._replace(shifts=[0.1])):
        with refuses("draw of stdp"), mock.patch.object(STDP, "draw", lambda *_, wrong=wrong: wrong):
            layer.learn_features(DIGITS, rule)


def test_all_features_win_and_the_target_is_reached():
    """Without adaptation, three features are far ahead and win all images, at the first time steps."""
    images = DIGITS.repeat(5, 1, 1, 1)
    wins = {}
    times = {}
    for target in (0.0, 0.7):
        layer = make_adaptive("event", target=target, threshold_rate=0.5)
        layer.weight.data[:3] = 1
        for batch in range(4):
            winners = learn(layer, images, batch)
        found = winners[winners[..., 0] >= 0]
        wins[target] = len(found[:, 0].unique())
        times[target] = float(found[:, 3].double().mean())
    assert wins[0.0] <= 3
    assert wins[0.7] == 20
    assert times[0.7] > times[0.0] + 1
