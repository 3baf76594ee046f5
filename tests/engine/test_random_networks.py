"""Random small networks: both backends, any number of threads, and a resume after any step give the same results.

``RANDOM_NETWORKS=300 RANDOM_SEED=1`` in the environment tests 300 networks that follow from the seed 1. In the first
tier, they have only rules whose kernels other tests compile, too.
"""

import math
import os
from copy import deepcopy
from functools import partial

import numpy as np
import pytest
import torch
from hypothesis import given, seed, settings
from hypothesis import strategies as st
from support.tiers import slow_except

from engine.rules import RSTDP, STDP, MarginRule
from engine.stages import Branches, Inhibit, Pool, SpikingConv, SpikingDense, Vote
from network_trainer import LatencyDataset, NetworkTrainer, Progress

EXAMPLES = int(os.environ.get("RANDOM_NETWORKS", 24))
SEED = int(os.environ.get("RANDOM_SEED", 0))
CLASSES = 2
TRAIN, VALIDATION = slice(0, 8), slice(8, 12)
BATCH = 4


class Drawn(NetworkTrainer):
    """A network and images that follow from a number."""

    def __init__(self, number, every_rule=False, **options):
        self.number, self.every_rule = number, every_rule
        self.rng = np.random.default_rng(number)
        steps = int(self.rng.choice([1, 2, 5, 15, 254], p=[0.1, 0.2, 0.3, 0.35, 0.05]))
        self.size = self.choose(6, 7, 9), self.choose(6, 8, 9)
        channels = self.choose(1, 2, 3)
        self.is_signed = self.choose(False, True)  # whether weights can be negative
        options |= {"seed": number % 1000, "time_steps": steps, "image_size": self.size, "dtype": torch.float64}
        super().__init__(channels, CLASSES, **options)
        latencies = self.rng.integers(0, 2 * steps, (12, channels, *self.size)).clip(0, steps)
        latencies[self.rng.random(12) < 0.1] = steps  # silent
        latencies[self.rng.random(12) < 0.1] = 0  # all at once
        self.latencies = torch.from_numpy(latencies.astype(np.uint8))
        self.labels = self.rng.integers(0, CLASSES, 12)
        self.counts = [self.choose(1, 2) for _ in self.phases]

    def choose(self, *values):
        return values[self.rng.integers(len(values))]

    def choose_bounds(self):
        return self.choose((-1.0, 1.0), (-0.5, 0.25)) if self.is_signed else self.choose((0.0, 1.0), (0.2, 0.8))

    def build(self, num_classes):
        kernel = self.choose(1, 2, 3)
        stages = {"s1": self.make_firing(self.make_stdp(), kernel, self.choose(0, kernel - 1))}
        if self.choose(False, True):
            stages["c1"] = self.choose(Pool(2), Pool(2, padding=1), Pool(2, rank=3))
        if self.choose(False, True):
            stages["i1"] = Inhibit(self.choose(0.2, 0.7))
        kind = self.choose("conv", "branches", "rewarded", "none")
        if kind == "branches":
            rule = self.make_stdp()
            stages["s2"] = Branches(self.make_firing(rule, 1, 0), self.make_firing(rule, 3, self.choose(1, 2)))
        elif kind != "none":
            rule = self.make_stdp()
            if kind == "rewarded":
                rule = self.make_rstdp(dropout=0.0, winners=self.choose(1, 3), radius=self.choose(0, 1))
            stages["s2"] = self.make_firing(rule, 2, self.choose(0, 1))
        top = "conv" if kind == "rewarded" else self.choose("conv", "dense", "vote")
        if top == "conv":
            stages["top"] = self.make_deciding(learns_alone=kind != "rewarded")
        elif top == "vote":
            rule = self.make_rstdp()
            stages["top"] = Vote(*[self.make_deciding(rule) for _ in range(3)])
        else:
            levels = self.choose((), (1,)) if self.time_steps > 1 else ()
            inputs = sorted({"s1", list(stages)[-1]})
            rule = self.make_decision_rule()
            threshold = self.choose_threshold(rule)
            stages["top"] = SpikingDense(6, threshold=threshold, rule=rule, levels=levels, inputs=inputs)
        return stages

    def make_firing(self, rule, kernel, padding):
        features = self.choose(2, 5, 17)
        threshold = self.choose(0.3, 1.0, 2.5)
        return SpikingConv(features, kernel, padding=padding, threshold=threshold, rule=rule, first_weights=self.draw())

    def make_deciding(self, rule=None, learns_alone=True):
        kernel = self.choose(1, 2)
        threshold = math.inf
        if rule is None:
            rule = self.make_decision_rule(learns_alone)
            if learns_alone:
                threshold = self.choose_threshold(rule)
        return SpikingConv(6, kernel, padding=kernel - 1, threshold=threshold, rule=rule, first_weights=self.draw())

    def choose_threshold(self, rule):
        return self.choose(math.inf, 0.5, 1.5) if rule.rewards_firing else math.inf

    def draw(self):
        return self.choose((0.1, 0.3), (0.3, 0.5)) if self.is_signed else self.choose((0.8, 0.05), (0.5, 0.2))

    def make_stdp(self):
        return STDP(
            winners=self.choose(1, 2, 4),
            radius=self.choose(0, 1, 3),
            rates=(0.0937, -0.0713),
            bounds=self.choose_bounds(),
            stabilize=self.choose(False, True),
            double_every=self.choose(0, 5),
        )

    def make_rstdp(self, dropout=None, **competition):
        return RSTDP(
            reward=(0.0831, -0.0617),
            punishment=(-0.0729, 0.0411),
            bounds=self.choose_bounds(),
            stabilize=self.choose(False, self.every_rule),
            dropout=self.choose(0.0, 0.4) if dropout is None else dropout,
            adaptation=self.choose((1.0, 0.0), (0.7, 0.3)),
            **competition,
        )

    def make_decision_rule(self, learns_alone=True):
        margin = MarginRule(margin=0.3, rate=0.0531, left_out=self.choose(0.0, 0.3), bounds=self.choose_bounds())
        rstdp = self.make_rstdp(None if learns_alone else 0.0)
        return self.choose(rstdp, margin if learns_alone or self.every_rule else rstdp)

    def learn(self, progress=None):
        """Train from the progress on. Returns what resumes after each third step, and what must be equal."""
        sets = [LatencyDataset(self.latencies[part], self.labels[part]) for part in (TRAIN, VALIDATION)]
        progress = progress or Progress()
        snapshots = []
        steps = self.steps(*sets, self.counts, batch_size=BATCH, progress=progress, patience=1)
        for number, _ in enumerate(steps, start=self.number % 3):
            if number % 3 == 0:
                snapshots.append(deepcopy((self.state_dict(), progress)))
        maps = [latency for _, latency in self.walk(self.latencies)]
        rows = [{**row, "seconds": 0} for row in progress.history]
        return snapshots, [*self.state_dict().values(), *maps, *self.decide(self.latencies)], rows


def assert_equal(one, two):
    for a, b in zip(one, two, strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=0, equal_nan=True)


@pytest.mark.parametrize(
    ("every_rule", "examples"), slow_except([(False, 8)], [(False, 8), (False, EXAMPLES), (True, EXAMPLES)])
)
def test_random_networks(every_rule, examples):
    """Both backends agree; no number of threads and no interruption changes a bit."""

    @seed(SEED)
    @settings(max_examples=examples, database=None)
    @given(st.integers(0, 2**32 - 1))
    def compare(number):
        compare_ways(partial(Drawn, number, every_rule))

    compare()


def compare_ways(make):
    torch.set_num_threads(1)
    snapshots, whole, rows = make().learn()
    *_, tensors, others = make(backend="torch").learn()
    for a, b in zip(whole, tensors, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-12)
    for row, other in zip(rows, others, strict=True):
        assert row["val_accuracy"] == other["val_accuracy"]
    for threads in (2, 8):
        torch.set_num_threads(threads)
        *_, found, others = make().learn()
        assert_equal(found, whole)
        assert others == rows
    torch.set_num_threads(1)
    for state, progress in snapshots:
        network = make()
        network.load_state_dict(state)
        *_, found, others = network.learn(progress)
        assert_equal(found, whole)
        assert others == rows
