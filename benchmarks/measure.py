"""Timing: several repeats after a warm-up; the median, and the range beside it."""

import statistics
import time
from typing import NamedTuple

import numpy as np

BATCH = 1000


class Timing(NamedTuple):
    """Milliseconds for each image."""

    median: float
    least: float
    most: float

    def __str__(self):
        digits = 3 if self.median < 1 else 2 if self.median < 10 else 1
        return f"{self.median:.{digits}f} ({self.least:.{digits}f} to {self.most:.{digits}f})"


def per_image(work, images, repeats=7, prepare=lambda: None):
    """Time ``work()``, which does ``images`` images; ``prepare`` undoes what it changed and is not timed."""
    prepare()
    work()
    milliseconds = []
    for _ in range(repeats):
        prepare()
        start = time.perf_counter()
        work()
        milliseconds.append(1000 * (time.perf_counter() - start) / images)
    return Timing(statistics.median(milliseconds), min(milliseconds), max(milliseconds))


def train_features(model, latencies):
    """All phases but the last, by one epoch each."""
    for phase in model.phases[:-1]:
        model.train_unsupervised(latencies, phase.stages[0])


def learn(model, inputs, labels):
    """The last phase, in batches."""
    rng = np.random.default_rng(0)
    for part, those in zip(inputs.split(BATCH), labels.split(BATCH), strict=True):
        model.learn_rstdp(part, those, rng=rng)
