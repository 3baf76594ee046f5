"""How many threads a decision layer takes: what was faster, tried anew now and then."""

import numpy as np
import pytest
import torch

from engine.event import layers, pace
from engine.rules import RSTDP
from engine.stages import SpikingConv


@pytest.fixture
def clock(monkeypatch):
    """Seconds that pass only when a test says so."""
    now = [0.0]
    monkeypatch.setattr(pace.time, "perf_counter", lambda: now[0])
    return now


def calls(pacer, seconds, count, images=1000):
    """The numbers of threads of so many calls that take ``seconds[threads]``."""
    found = []
    for _ in range(count):
        found.append(pacer.threads())
        pacer.note(images, seconds[found[-1]])
    return found


@pytest.mark.parametrize(("seconds", "faster"), [({1: 3.0, 4: 1.0}, 4), ({1: 1.0, 4: 3.0}, 1)])
def test_it_keeps_to_what_was_faster(clock, seconds, faster):
    pacer = pace.Pace(4)
    assert calls(pacer, seconds, 9) == [4, 1] * 3 + [faster] * 3


def test_it_looks_again_after_a_while(clock):
    """Another program has begun meanwhile: all threads were faster, now one is."""
    pacer = pace.Pace(4)
    calls(pacer, {1: 3.0, 4: 1.0}, 6)
    clock[0] += pace.AGAIN - 1
    assert calls(pacer, {1: 1.0, 4: 3.0}, 2) == [4, 4]
    clock[0] += 1
    assert calls(pacer, {1: 1.0, 4: 3.0}, 7) == [4, 1] * 3 + [1]


def test_one_slow_call_decides_nothing(clock):
    pacer = pace.Pace(4)
    assert pacer.threads() == 4
    pacer.note(1000, 99.0)
    assert calls(pacer, {1: 3.0, 4: 1.0}, 6)[-1] == 4


def test_small_calls_and_fewer_threads(clock, monkeypatch):
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

    conv = SpikingConv(3, 4, 3, rule=RSTDP())
    conv.weight.data = torch.from_numpy(np.random.default_rng(0).normal(0.8, 0.05, conv.weight.shape)).float()
    before = conv.weight.clone()
    latency = torch.from_numpy(np.random.default_rng(1).integers(0, 16, (50, 3, 5, 5)).astype(np.uint8))
    learned = []
    monkeypatch.setattr(pace, "automatic", automatic)
    monkeypatch.setattr(pace, "_paces", {(tuple(conv.weight.shape), 2): Always(2)})
    monkeypatch.setattr(layers, "get_num_threads", lambda: 2)
    for _ in range(2):
        conv.weight.copy_(before)
        labels = torch.arange(50) % 2
        conv.learn_decisions(latency, labels, np.array([0, 0, 1, 1]), np.random.default_rng(2), 50)
        learned.append(conv.weight.clone())
        monkeypatch.setattr(pace, "automatic", False)
    assert len(asked) == automatic
    assert torch.equal(*learned)
