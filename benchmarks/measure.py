"""Functions of several benchmarks: the median time of several repeats after a warm-up, training, and tables."""

import statistics
import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import torch

from network_trainer import NetworkTrainer

BATCH = 1000


class Timing(NamedTuple):
    """Milliseconds per image."""

    median: float
    least: float
    most: float

    def __str__(self):
        digits = 3 if self.median < 1 else 2 if self.median < 10 else 1
        return f"{self.median:.{digits}f} ({self.least:.{digits}f} to {self.most:.{digits}f})"


def measure_per_image(work: Callable, images: int, repeats: int = 7, prepare: Callable = lambda: None) -> Timing:
    """Time ``work()``, which processes ``images`` images; ``prepare`` undoes what it changed and is not timed."""
    milliseconds = []
    for _ in range(1 + repeats):
        prepare()
        start = time.perf_counter()
        work()
        milliseconds.append(1000 * (time.perf_counter() - start) / images)
    return Timing(statistics.median(milliseconds[1:]), min(milliseconds[1:]), max(milliseconds[1:]))


def train_features(model: NetworkTrainer, latencies: torch.Tensor) -> None:
    """Train all phases but the last for one epoch each."""
    for phase in model.phases[:-1]:
        model.train_unsupervised(latencies, phase.stages[0])


def learn(model: NetworkTrainer, inputs: torch.Tensor, labels: torch.Tensor) -> None:
    """Train the last phase for one epoch, in batches; ``inputs`` are the maps that its first stage reads."""
    rng = np.random.default_rng(0)
    for part, those in zip(inputs.split(BATCH), labels.split(BATCH), strict=True):
        model.phases[-1].learn(model, part, those, rng=rng)


def format_row(cells: Sequence) -> str:
    """Return the row of a Markdown table."""
    return f"| {' | '.join(map(str, cells))} |"


def format_header(cells: Sequence) -> str:
    """Return the two rows with which a Markdown table begins."""
    return f"{format_row(cells)}\n{'|---' * len(cells)}|"
