"""The progress of a training, and the steps that ``NetworkTrainer.steps`` yields."""

from dataclasses import dataclass, field
from typing import NamedTuple

import torch

from engine.layers import Layer
from engine.phases import Learned, Phase


@dataclass
class Progress:
    """The state of a training run. The order of the images follows from the seed, the rates are in the state dict.

    Attributes:
        phase, epoch, batch: the next ones to train, from 0.
        outcome: [correct, wrong, silent] of this epoch so far.
        wins: {name of a layer that learns: int64 (F,), how often each feature has won in this epoch}.
        history: one row for each finished epoch, see ``training/log.py``.
        best: phase, epoch, step, correct, accuracy and state of the epoch with the best validation accuracy.
        epochs_since_best: number of epochs of the phase since its epoch with the best validation accuracy.
        seconds: time spent in this epoch before an interruption.
        phase_seconds: {phase: seconds}.
    """

    phase: int = 0
    epoch: int = 0
    batch: int = 0
    outcome: list[int] = field(default_factory=lambda: [0, 0, 0])
    wins: dict[str, torch.Tensor] = field(default_factory=dict)
    history: list[dict] = field(default_factory=list)
    best: dict | None = None
    epochs_since_best: int = 0
    seconds: float = 0.0
    phase_seconds: dict[str, float] = field(default_factory=dict)

    def has_given_up(self, patience: int) -> bool:
        """Return whether this number of epochs has passed without a better validation accuracy. 0: never."""
        return 0 < patience <= self.epochs_since_best

    def add(self, learned: Learned, layers: dict[str, Layer]) -> None:
        """Add what a batch has learned. ``layers``: {name: layer} of the phase."""
        if learned.outcome:
            self.outcome = [a + b for a, b in zip(self.outcome, learned.outcome, strict=True)]
        for layer_name, layer in layers.items():
            features = layer.stage.out_channels
            wins = self.wins.setdefault(layer_name, torch.zeros(features, dtype=torch.int64))
            if layer_name in learned.winners:  # a stage that does not learn from this batch has none
                wins += torch.bincount(learned.winners[layer_name], minlength=features)


class PhaseStep(NamedTuple):
    """A phase begins, or goes on after an interruption."""

    phase: Phase

    kind = "phase"


class ChunkStep(NamedTuple):
    """A chunk of images has passed stages that do not learn: ``done`` of ``total`` images of the work ``title``."""

    phase: Phase
    title: str
    done: int
    total: int

    kind = "chunk"


class BatchStep(NamedTuple):
    """A batch was learned: ``done`` of ``total`` images of the epoch ``title``.

    learned: of ``Phase.learn``. epochs: how many the phase has, see ``Epochs.count``.
    """

    phase: Phase
    title: str
    done: int
    total: int
    learned: Learned
    epochs: int

    kind = "batch"


class EpochStep(NamedTuple):
    """An epoch ends. wins: {name of a layer: int64 (F,), how often each feature has won}."""

    phase: Phase
    wins: dict[str, torch.Tensor]

    kind = "epoch"


class EndStep(NamedTuple):
    """A phase has ended, whose last epoch is the last of the history. gave_up: it ended by ``patience``."""

    phase: Phase
    gave_up: bool

    kind = "end"


Step = PhaseStep | ChunkStep | BatchStep | EpochStep | EndStep  # what ``NetworkTrainer.steps`` yields
