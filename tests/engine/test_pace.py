"""How many threads a decision layer takes: what was faster, tried anew now and then."""

import itertools

import numpy as np
import pytest
import torch

from engine.event import crew, layers, pace
from engine.rules import RSTDP
from engine.stages import SpikingConv


def calls(pacer, seconds, count, images=1000):
    """The numbers of threads of so many calls that take ``seconds[threads]``."""
    found = []
    for _ in range(count):
        found.append(pacer.threads())
        pacer.note(found[-1], images, seconds[found[-1]])
    return found


@pytest.mark.parametrize(("seconds", "faster"), [({1: 1.5, 4: 1.0}, 4), ({1: 1.0, 4: 1.5}, 1)])
def test_it_keeps_to_what_was_faster_and_looks_again_rarely(seconds, faster):
    """Half as slow again: once in 52 calls costs the one percent allowed."""
    pacer = pace.Pace(4)
    assert calls(pacer, seconds, 6) == [4, 1] * 3
    found = calls(pacer, seconds, 600)
    assert found.count(faster) == 600 - 11
    other = [i for i, count in enumerate(found) if count != faster]
    assert {after - before for before, after in itertools.pairwise(other)} == {52}


def test_the_nearer_the_more_often_it_looks():
    pacer = pace.Pace(2)
    assert calls(pacer, {1: 1.0, 2: 1.025}, 306)[6:].count(2) == 300 / 4


def test_it_notices_that_others_have_begun():
    """All threads were faster, now one is."""
    pacer = pace.Pace(4)
    assert calls(pacer, {1: 1.5, 4: 1.0}, 100)[-1] == 4
    assert calls(pacer, {1: 1.5, 4: 2.0}, 100)[-10:] == [1] * 10


def test_one_slow_call_decides_nothing():
    pacer = pace.Pace(4)
    assert pacer.threads() == 4
    pacer.note(4, 1000, 99.0)
    assert calls(pacer, {1: 1.5, 4: 1.0}, 6)[-1] == 4


def test_small_calls_and_fewer_threads(monkeypatch):
    """A few images say nothing; a later call may have fewer threads, and one thread leaves no choice."""
    pacer = pace.Pace(4)
    assert calls(pacer, {1: 9.0, 4: 1.0}, 5, images=pace.FEWEST - 1) == [4] * 5
    calls(pacer, {1: 3.0, 4: 1.0}, 6)
    assert pacer.threads() == 4
    monkeypatch.setattr(pace, "automatic", True)
    monkeypatch.setattr(pace, "_paces", {((3, 4), 4): pacer})
    assert pace.pace_of((3, 4), 4) is pacer
    assert pace.pace_of((3, 4), 2).threads() == 2
    assert pace.pace_of((3, 4), 1) is None


@pytest.mark.parametrize("automatic", [False, True])
def test_the_layer_asks_if_it_is_to(monkeypatch, automatic):
    """And learns the same, whatever the answer."""
    asked = []

    class Always(pace.Pace):
        def threads(self):
            asked.append(2)
            return 1

    conv = SpikingConv(4, 3, in_channels=3, rule=RSTDP())
    conv.weight.data = torch.from_numpy(np.random.default_rng(0).normal(0.8, 0.05, conv.weight.shape)).float()
    before = conv.weight.clone()
    latency = torch.from_numpy(np.random.default_rng(1).integers(0, 16, (50, 3, 5, 5)).astype(np.uint8))
    learned = []
    monkeypatch.setattr(pace, "automatic", automatic)
    monkeypatch.setattr(pace, "_paces", {(tuple(conv.weight.shape), 2): Always(2)})
    monkeypatch.setattr(layers, "get_num_threads", lambda: 2)
    monkeypatch.setattr(crew, "LEAST", 0)
    for _ in range(2):
        conv.weight.copy_(before)
        labels = torch.arange(50) % 2
        conv.learn_decisions(latency, labels, np.array([0, 0, 1, 1]), np.random.default_rng(2), 50)
        learned.append(conv.weight.clone())
        monkeypatch.setattr(pace, "automatic", False)
    assert len(asked) == automatic
    assert torch.equal(*learned)
