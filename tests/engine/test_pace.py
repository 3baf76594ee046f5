"""``--threads auto``: a decision layer takes the number of threads that was faster, and tries the other rarely."""

import numpy as np
import pytest
import torch

from engine import event
from engine.event import pace
from engine.event import peaks as peaks_module
from engine.rules import RSTDP

CHUNK = 32


def learn(pacer, seconds, periods):
    """Return the number of threads in each period, if an image takes ``seconds[threads]``."""
    chosen = []
    for _ in range(periods):
        threads = pacer.threads
        chosen.append(threads)
        spent = 0
        while spent < pace.PERIOD:
            pacer.add(CHUNK, CHUNK * seconds[threads])
            spent += CHUNK * seconds[threads]
    return chosen


@pytest.mark.parametrize("slower", [1, 4])
@pytest.mark.parametrize(("ratio", "fraction"), [(1.5, 0.02), (1.05, 0.2), (3, 0.005)])
def test_the_faster_number_is_kept_and_the_other_tried_rarely(slower, ratio, fraction):
    """However much slower it is, trials of the slower number take about one percent of the time."""
    pacer = pace.Pace({1, 4})
    seconds = {1: 1e-3, 4: 1e-3, slower: ratio * 1e-3}
    assert set(learn(pacer, seconds, 2 * pace.KEPT_PERIODS)) == {1, 4}
    chosen = learn(pacer, seconds, 1000)
    assert 0 < chosen.count(slower) / 1000 <= 1.1 * fraction
    assert chosen.count(slower) * (ratio - 1) <= 1000 * 1.1 * pace.TRIAL_FRACTION


def test_a_change_is_noticed():
    """All threads were faster; then other programs begin, and one thread is; then they end."""
    pacer, quiet, busy = pace.Pace({1, 4}), {1: 1.5e-3, 4: 1e-3}, {1: 1.5e-3, 4: 2e-3}
    assert learn(pacer, quiet, 20)[-1] == 4
    assert learn(pacer, busy, 100)[pace.KEPT_PERIODS :].count(1) > 90
    assert learn(pacer, quiet, 300)[-10:] == [4] * 10


def test_one_slow_turn_decides_nothing():
    pacer = pace.Pace({1, 4})
    pacer.add(CHUNK, 99.0)
    assert learn(pacer, {1: 1.5e-3, 4: 1e-3}, 2 * pace.KEPT_PERIODS)[-1] in (1, 4)
    assert learn(pacer, {1: 1.5e-3, 4: 1e-3}, 10)[-1] == 4


@pytest.mark.parametrize("automatic", [False, True])
def test_a_layer_takes_these_numbers(monkeypatch, automatic):
    used = []

    def find_peaks(*arguments):
        used.append(arguments[-1])
        return peaks_module.find_peaks(*arguments)

    torch.set_num_threads(3)
    monkeypatch.setattr(pace, "automatic", automatic)
    monkeypatch.setattr(pace, "paces", {})
    monkeypatch.setattr(pace, "PERIOD", 1e-9)
    monkeypatch.setattr("engine.event.layers.find_peaks", find_peaks)
    latency, rule = torch.zeros((10 * CHUNK, 3, 3, 3), dtype=torch.uint8), RSTDP()
    rates = np.broadcast_to(rule.first_rates(), (len(latency), 2, 2))
    layer = event.DecisionLayer(torch.full((10, 3, 3, 3), 0.5, dtype=torch.float64), 15, 0)
    layer.decide_and_update(latency, torch.zeros(len(latency), dtype=torch.int64), np.arange(10), rule, rates)
    assert set(used) == ({1, 3} if automatic else {3})
