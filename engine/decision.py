"""What a decision is: its outcome, the strongest neuron, the majority of votes, the class of each feature."""

import math
from typing import NamedTuple

import numpy as np
import torch
from torch.nn import functional as F

from engine.compiled import compiled


class Outcome(NamedTuple):
    """How many images of a set were decided right, decided wrong, or not at all."""

    correct: int
    wrong: int
    silent: int

    @classmethod
    def of(cls, predictions, labels):
        correct = int((predictions == labels).sum())
        silent = int((predictions == -1).sum())
        return cls(correct, len(labels) - correct - silent, silent)

    def __add__(self, other):
        return Outcome(*(a + b for a, b in zip(self, other, strict=True)))

    def fraction(self, part):
        """``part`` ("correct", "wrong" or "silent") as a fraction of all images."""
        return getattr(self, part) / max(1, sum(self))


@compiled
def tolerance(values):
    """Relative difference under which two sums of weights are taken as equal.

    Sums taken in different order differ by rounding. In float64 that is far below any real difference, and must not
    decide; in float32 it is not, and taking real differences as ties would gain nothing.
    """
    return values.dtype.type(64 * np.finfo(np.float64).eps if values.itemsize == 8 else 0.0)


@compiled
def strongest(peaks):
    """The deciding feature: the first within rounding of the highest potential; -1, silence, if none is positive.

    peaks (F,): the highest potential of each feature.
    """
    highest = peaks[0]
    for f in range(1, peaks.size):
        highest = max(highest, peaks[f])
    if not highest > 0:
        return -1
    lowest = highest * (1 - tolerance(peaks))
    f = 0
    while peaks[f] < lowest:
        f += 1
    return f


@compiled
def _strongest_of_each(peaks, found):
    for n in range(len(peaks)):
        found[n] = strongest(peaks[n])


def deciding_features(peaks):
    """The deciding feature of each image: tensor (N, F) of highest potentials -> int64 (N,), -1 for silence."""
    found = np.empty(len(peaks), np.int64)
    _strongest_of_each(np.ascontiguousarray(peaks.numpy(force=True)), found)
    return torch.from_numpy(found).to(peaks.device)


def majority(votes, strength, num_classes):
    """The decision by ``Vote``'s rule: votes (N, B) int64, strength (N, B) potentials -> (N,) int64."""
    middle = votes[:, votes.shape[1] // 2]
    loudest = votes.gather(1, strength.masked_fill(votes < 0, -math.inf).argmax(1, keepdim=True))[:, 0]
    alone = torch.where(middle >= 0, middle, loudest)
    counts = F.one_hot(votes + 1, num_classes + 1).sum(1)[:, 1:]
    most, leader = counts.max(1)
    decided = (most >= 2) & ((counts == most[:, None]).sum(1) == 1)
    return torch.where(decided, leader, alone)


def class_of_features(features, num_classes):
    """The class that each feature of a decision stage stands for, int64 (F,): equal parts in the order of features."""
    return np.arange(features) * num_classes // features
