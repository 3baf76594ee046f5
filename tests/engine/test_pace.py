"""``--threads auto``: a decision layer takes the number of threads that was faster, and tries the other rarely."""

import numba
import numpy as np
import pytest
import torch

from engine import event
from engine.event import pace
from engine.rules import RSTDP

CHUNK = 32


def learn(pacer, seconds, turns):
    """Return the number of threads of so many turns, if an image takes ``seconds[threads]``."""
    chosen = []
    for _ in range(turns):
        threads = pacer.threads
        chosen.append(threads)
        spent = 0
        while spent < pace.TURN:
            pacer.add(CHUNK, CHUNK * seconds[threads])
            spent += CHUNK * seconds[threads]
    return chosen


@pytest.mark.parametrize("slower", [1, 4])
@pytest.mark.parametrize(("ratio", "fraction"), [(1.5, 0.02), (1.05, 0.2), (3, 0.005)])
def test_the_faster_number_is_kept_and_the_other_tried_rarely(slower, ratio, fraction):
    """However much slower it is, trials of the slower number take about one percent of the time."""
    pacer = pace.Pace({1, 4})
    seconds = {1: 1e-3, 4: 1e-3, slower: ratio * 1e-3}
    assert set(learn(pacer, seconds, 2 * pace.RECENT)) == {1, 4}
    chosen = learn(pacer, seconds, 1000)
    assert 0 < chosen.count(slower) / 1000 <= 1.1 * fraction
    assert chosen.count(slower) * (ratio - 1) <= 1000 * 1.1 * pace.LOSS


def test_a_change_is_noticed():
    """All threads were faster; then other programs begin, and one thread is; then they end."""
    pacer, quiet, busy = pace.Pace({1, 4}), {1: 1.5e-3, 4: 1e-3}, {1: 1.5e-3, 4: 2e-3}
    assert learn(pacer, quiet, 20)[-1] == 4
    assert learn(pacer, busy, 100)[pace.RECENT :].count(1) > 90
    assert learn(pacer, quiet, 300)[-10:] == [4] * 10


def test_one_slow_turn_decides_nothing():
    pacer = pace.Pace({1, 4})
    pacer.add(CHUNK, 99.0)
    assert learn(pacer, {1: 1.5e-3, 4: 1e-3}, 2 * pace.RECENT)[-1] in (1, 4)
    assert learn(pacer, {1: 1.5e-3, 4: 1e-3}, 10)[-1] == 4


@pytest.mark.parametrize("automatic", [False, True])
def test_a_layer_learns_the_same_and_leaves_the_threads(monkeypatch, automatic):
    """With more than one number of threads to choose from, all are used; afterwards numba has its own number again."""
    if numba.config.NUMBA_NUM_THREADS < 2:
        pytest.skip("one core")
    monkeypatch.setattr(pace, "automatic", automatic)
    monkeypatch.setattr(pace, "paces", {})
    monkeypatch.setattr(pace, "TURN", 1e-9)
    used, set_threads = [], numba.set_num_threads
    monkeypatch.setattr(
        "engine.event.layers.set_num_threads", lambda threads: used.append(threads) or set_threads(threads)
    )
    rng, rule, images = np.random.default_rng(0), RSTDP(), 300
    first = torch.from_numpy(rng.normal(0.8, 0.05, (40, 3, 3, 3)))
    latency = torch.from_numpy(rng.integers(0, 16, (images, 3, 5, 5)).astype(np.uint8))
    labels, classes, rates = (
        rng.integers(0, 2, images),
        np.arange(40) % 2,
        np.broadcast_to(rule.first_rates(), (images, 2, 2)),
    )
    ends = []
    for threads in (2, 1):
        set_threads(threads)
        weight = first.clone()
        event.DecisionLayer(weight, 15, 0).learn(latency, labels, classes, rule, rates)
        ends.append(weight)
        assert numba.get_num_threads() == threads
        assert set(used) == ({1, 2} if automatic and threads == 2 else {threads})
        used.clear()
    assert torch.equal(*ends)
