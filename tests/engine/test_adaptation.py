"""Thresholds that adapt, and random positions."""

import numpy as np
import pytest
import torch
from support.golden_traces import GOLDEN
from support.tiers import slow_except

from engine.adaptation import adapt_thresholds, choose_position
from engine.rules import STDP
from engine.stages import SpikingConv

DIGITS = torch.from_numpy(GOLDEN["encoding"][:60])


def make_stage(backend, **fields):
    stage = SpikingConv(20, 5, padding=2, threshold=3, rule=STDP(winners=5, radius=3, **fields), in_channels=6).double()
    stage.backend = backend
    stage.weight.data.copy_(torch.rand(stage.weight.shape, generator=torch.Generator().manual_seed(0)))
    return stage


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
    one, two = (make_stage(backend, **fields) for backend in ("event", "torch"))
    for batch in range(2):
        winners = [stage.learn_features(DIGITS, stage.rule, 0, np.random.default_rng(batch)) for stage in (one, two)]
        assert torch.equal(*winners)
        assert (winners[0][..., 0] >= 0).sum() > 100
    torch.testing.assert_close(one.weight, two.weight, rtol=0, atol=1e-12)
    torch.testing.assert_close(one.thresholds, two.thresholds, rtol=0, atol=1e-12)
    assert (one.thresholds.std() > 0) == ("target" in fields)
    assert torch.equal(one.fire(DIGITS, 2), two.fire(DIGITS, 2))


def test_all_features_win_and_the_target_is_reached():
    """Without adaptation, three features are far ahead and win all images, at the first time steps."""
    images = DIGITS.repeat(5, 1, 1, 1)
    wins = {}
    times = {}
    for target in (0.0, 0.7):
        stage = make_stage("event", target=target, threshold_rate=0.5)
        stage.weight.data[:3] = 1
        for batch in range(4):
            winners = stage.learn_features(images, stage.rule, 0, np.random.default_rng(batch))
        found = winners[winners[..., 0] >= 0]
        wins[target] = len(found[:, 0].unique())
        times[target] = float(found[:, 3].double().mean())
    assert wins[0.0] <= 3
    assert wins[0.7] == 20
    assert times[0.7] > times[0.0] + 1
