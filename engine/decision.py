"""What a decision is: its outcome, the strongest neuron, the majority of votes, the class of each feature.

Of many decisions: the balanced accuracy.
"""

import math
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from engine.compiled import compiled

# Classes are unequal from two images of the largest to one of the smallest: a network that always chooses the larger of
# two is then correct for 67 % of the images. With the classes of MNIST, 1.3 to 1, it would be correct for 56 %.
UNEQUAL = 2
FEW = 2  # images that are added to the smallest class: 2 images beside 1 of a small part are not unequal


class Outcome(NamedTuple):
    """How many images were classified correctly, wrongly, or not at all."""

    correct: int
    wrong: int
    silent: int

    @classmethod
    def of(cls, predictions: Any, labels: Any) -> "Outcome":
        """Count predictions, int64 (N,) with -1 for silence, against labels, int64 (N,): tensors or arrays."""
        correct = int((predictions == labels).sum())
        silent = int((predictions == -1).sum())
        return cls(correct, len(labels) - correct - silent, silent)

    def fraction(self, part: str) -> float:
        """Return ``part`` ("correct", "wrong" or "silent") as a fraction of all images."""
        return getattr(self, part) / max(1, sum(self))

    def scores(self) -> dict[str, float]:
        """Return all three fractions by the names that they have in files."""
        return {"accuracy": self.fraction("correct"), "loss": self.fraction("wrong"), "silent": self.fraction("silent")}


def are_unequal(support: np.ndarray) -> bool:
    """Return whether classes have unequal numbers of images. support: int64 (classes,); 0 of a class does not count."""
    return support.max() >= UNEQUAL * (support[support > 0].min() + FEW)


def measure_balanced(predictions: np.ndarray, labels: np.ndarray) -> float | None:
    """Return the balanced accuracy, the mean over the classes of the fraction of their images that is correct.

    predictions: int64 (N,), -1 for silence. labels: int64 (N,). Returns None if the classes are not unequal.
    """
    support = np.bincount(labels)
    if not are_unequal(support):
        return None
    correct = np.bincount(labels[predictions == labels], minlength=len(support))
    is_present = support > 0
    recalls = correct[is_present] / support[is_present]
    return sum(recalls.tolist()) / len(recalls)


class Targets(NamedTuple):
    """What neurons learn from beside N images. Without labels, all are empty."""

    labels: np.ndarray  # int64 (N,)
    classes: np.ndarray  # int64 (F,): the class of each feature of the decision stage
    left_out: np.ndarray  # bool (N, F): the features that are left out; (0, F): none


NO_TARGETS = Targets(np.empty(0, np.int64), np.empty(0, np.int64), np.empty((0, 0), bool))


class Result(NamedTuple):
    """The decisions of a decision layer that learns, and the winners of a firing layer that learns from them."""

    decisions: Tensor  # int32 (N, 3): feature, line, column; -1: silent
    highest: Tensor  # (N,): the potentials of the decisions at the last step; 0: silent, or the first spike decides
    winners: Tensor  # int32 (N, K, 4), of the firing layer: feature, line, column, time step; -1: fewer winners

    @classmethod
    def silent(cls, images: int, dtype: torch.dtype, winners: int = 0) -> "Result":
        """Return the result for images that are all silent. dtype: of the potentials. winners: K."""
        decisions = torch.full((images, 3), -1, dtype=torch.int32)
        highest = torch.zeros(images, dtype=dtype)
        return cls(decisions, highest, torch.full((images, winners, 4), -1, dtype=torch.int32))

    @classmethod
    def of_first_spikes(cls, winners: Tensor, dtype: torch.dtype) -> "Result":
        """Return the result of a layer whose first winner decides. winners: int32 (N, K, 4)."""
        return cls(winners[:, 0, :3].clone(), torch.zeros(len(winners), dtype=dtype), winners)


@compiled
def tolerance(itemsize):
    """Return the relative difference up to which two sums of weights are taken as equal. itemsize: of their type.

    Sums in different orders differ by rounding. In float64, this is far below each real difference, and must not
    decide. In float32, it is not below: there, the tolerance is 0, because otherwise real differences would be ties.
    """
    return 64 * np.finfo(np.float64).eps if itemsize == 8 else 0.0


def allow_rounding(threshold: float | Tensor | np.ndarray, dtype: torch.dtype | np.dtype) -> Any:
    """Return thresholds, higher by ``tolerance``: a sum of this type that equals a threshold does not exceed it."""
    return threshold * (1 + tolerance(dtype.itemsize))


@compiled
def strongest(peaks):
    """Return the feature that decides: the first feature whose peak is the highest, up to ``tolerance``.

    peaks (F,): the highest potential of each feature. Returns -1, silence, if no peak is positive.
    """
    highest = peaks[0]
    for f in range(1, peaks.size):
        highest = max(highest, peaks[f])
    if not highest > 0:
        return -1
    lowest = highest * (1 - tolerance(peaks.itemsize))
    f = 0
    while peaks[f] < lowest:
        f += 1
    return f


def deciding_features(peaks: Tensor) -> Tensor:
    """Return the feature that decides each image: peaks (N, F) -> int64 (N,), -1 for silence."""
    rows = np.ascontiguousarray(peaks.numpy(force=True))
    return torch.tensor(list(map(strongest, rows)), dtype=torch.int64, device=peaks.device)


def majority(votes: Tensor, strengths: Tensor, num_classes: int) -> Tensor:
    """Return the decisions of a ``Vote`` stage, int64 (N,), by the rule that its docstring states.

    votes: int64 (N, B), the class that each branch votes for, -1 for silence. strengths: (N, B), the potentials.
    """
    middle = votes[:, votes.shape[1] // 2]
    loudest = votes.gather(1, strengths.masked_fill(votes < 0, -math.inf).argmax(1, keepdim=True))[:, 0]
    alone = torch.where(middle >= 0, middle, loudest)
    counts = F.one_hot(votes + 1, num_classes + 1).sum(1)[:, 1:]
    highest, leader = counts.max(1)
    is_majority = (highest >= 2) & ((counts == highest[:, None]).sum(1) == 1)
    return torch.where(is_majority, leader, alone)


def class_of_features(features: int, num_classes: int) -> np.ndarray:
    """Return the class of each feature of a decision stage, int64 (F,): equal parts, in the order of the features."""
    return np.arange(features) * num_classes // features


def classes_of(feature: Tensor, classes: np.ndarray) -> Tensor:
    """Return the classes of deciding features, int64 (N,), -1 for silence. classes: int64 (F,), of each feature."""
    classes = torch.from_numpy(classes).to(feature.device)
    return torch.where(feature < 0, -1, classes[feature.clamp(min=0)])
