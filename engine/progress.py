"""The progress of a training, the rows of its history, and the steps that ``NetworkTrainer.steps`` yields."""

from collections.abc import Iterable
from dataclasses import MISSING, dataclass, field, fields
from typing import Any, Literal, NamedTuple

import torch

from engine.layers import Layer
from engine.phases import Learned, Phase


class Column(NamedTuple):
    """A column of the history, in metrics.csv and where else it is shown.

    Attributes:
        about: what it contains, for docs/outputs.md.
        page: its heading on the page, and how a number is formatted there; None: the page does not show it.
        tag: TensorBoard's run and tag, see ``training/tensorboard.py``; None: TensorBoard does not show it.
    """

    about: str
    page: tuple[str, str] | None = None
    tag: tuple[str, str] | None = None


def column(*about: Any, default: Any = None) -> Any:
    """Return a field of ``Row``. about: the fields of its ``Column``."""
    return field(default=default, metadata={"column": Column(*about)})


@dataclass(frozen=True, kw_only=True)
class Row:
    """An epoch in the history of a training. A value that does not apply to its phase is None.

    ``row["phase"]`` is ``row.phase``, and ``dict(row)`` has all of them. ``values``: {name: what this function with
    ``@after_epoch`` has computed}.
    """

    step: int = column("epochs of all phases, from 1", default=MISSING)
    phase: str = column("name of the phase", ("phase", ""), default=MISSING)
    rule: str = column("its rule", ("rule", ""), default=MISSING)
    epoch: int = column("epoch of this phase, from 1", ("epoch", ""), default=MISSING)
    images: int = column("learned images", default=MISSING)
    train_accuracy: float | None = column(
        "fraction of the images that were correctly classified when they were learned",
        ("train accuracy", ".2%"),
        ("train", "accuracy/by_epoch"),
    )
    train_loss: float | None = column(
        "fraction that was wrongly classified", ("train wrong", ".2%"), ("train", "loss/by_epoch")
    )
    train_silent: float | None = column(
        "fraction without a decision; the three together are 1", ("train silent", ".2%"), ("train", "scores/silent")
    )
    val_accuracy: float | None = column(
        "the same of the validation images after the epoch",
        ("val accuracy", ".2%"),
        ("validation", "accuracy/by_epoch"),
    )
    val_loss: float | None = column("wrong", ("val wrong", ".2%"), ("validation", "loss/by_epoch"))
    val_silent: float | None = column("silent", ("val silent", ".2%"), ("validation", "scores/silent"))
    val_balanced: float | None = column(
        "mean over the classes of the fraction that was correctly classified, if the classes are unequal",
        ("val balanced", ".2%"),
        ("validation", "scores/balanced"),
    )
    convergence: float | None = column(
        "mean of (w - lower)(upper - w) / (upper - lower)² of the features that won; the highest of the convolutions",
        ("convergence", ".1e"),
    )
    winners_per_image: float = column("mean number", default=0.0)
    dead_features: int = column("features that did [not win](did_my_layer_learn.md) in this epoch", default=0)
    ltp_rate: float | None = column("rate of potentiation after the epoch; for R-STDP, of a reward")
    ltd_rate: float | None = column("rate of depression, likewise")
    seconds: float = column("time of the epoch", ("seconds", ".1f"), default=0.0)
    values: dict[str, Any] = field(default_factory=dict)

    @property
    def has_labels(self) -> bool:
        """Whether it is of a phase with labels."""
        return self.train_accuracy is not None

    def __getitem__(self, name: str) -> Any:
        return vars(self)[name]

    def get(self, name: str, default: Any = None) -> Any:
        return vars(self).get(name, default)

    def keys(self) -> Iterable[str]:
        return vars(self).keys()


COLUMNS = {item.name: item.metadata["column"] for item in fields(Row) if item.metadata}  # in the order of metrics.csv


@dataclass
class Progress:
    """The state of a training run. The order of the images follows from the seed, the rates are in the state dict.

    Attributes:
        phase, epoch, batch: the next ones to train, from 0.
        outcome: [correct, wrong, silent] of this epoch so far.
        wins: {name of a layer that learns: int64 (F,), how often each feature has won in this epoch}.
        history: one row for each finished epoch.
        best: phase, epoch, step, correct, accuracy, balanced and state of the epoch with the best validation accuracy.
        ended_by: the setting that ended the last phase that has ended, see ``engine/lengths.py``.
        seconds: time spent in this epoch before an interruption.
        phase_seconds: {phase: seconds}.
    """

    phase: int = 0
    epoch: int = 0
    batch: int = 0
    outcome: list[int] = field(default_factory=lambda: [0, 0, 0])
    wins: dict[str, torch.Tensor] = field(default_factory=dict)
    history: list[Row] = field(default_factory=list)
    best: dict | None = None
    ended_by: str | None = None
    seconds: float = 0.0
    phase_seconds: dict[str, float] = field(default_factory=dict)

    @property
    def rows(self) -> list[Row]:
        """The history of this phase."""
        return self.history[len(self.history) - self.epoch :]

    def add(self, learned: Learned, layers: dict[str, Layer]) -> None:
        """Add what a batch has learned. ``layers``: {name: layer} of the phase."""
        if learned.outcome:
            self.outcome = [a + b for a, b in zip(self.outcome, learned.outcome, strict=True)]
        for layer_name, layer in layers.items():
            features = layer.stage.out_channels
            wins = self.wins.setdefault(layer_name, torch.zeros(features, dtype=torch.int64))
            if layer_name in learned.winners:  # a stage that does not learn from this batch has none
                wins += torch.bincount(learned.winners[layer_name], minlength=features)

    def finish_epoch(self, row: Row) -> None:
        """Add an epoch to the history, and begin the next one."""
        self.phase_seconds[row.phase] = self.phase_seconds.get(row.phase, 0.0) + row.seconds
        self.history.append(row)
        self.epoch += 1
        self.batch = 0
        self.seconds = 0.0
        self.outcome = [0, 0, 0]
        self.wins = {}

    def finish_phase(self, ended_by: str) -> None:
        """Begin the next phase. ended_by: the setting that has ended this one."""
        self.phase += 1
        self.epoch = 0
        self.ended_by = ended_by


class PhaseStep(NamedTuple):
    """A phase begins, or goes on after an interruption."""

    phase: Phase
    kind: Literal["phase"] = "phase"


class ChunkStep(NamedTuple):
    """A chunk of images has passed stages that do not learn: ``done`` of ``total`` images of the work ``title``."""

    phase: Phase
    title: str
    done: int
    total: int
    kind: Literal["chunk"] = "chunk"


class BatchStep(NamedTuple):
    """A batch was learned: ``done`` of ``total`` images of the epoch ``title``.

    learned: what ``Phase.learn`` has returned. length: the number of epochs of the phase, see ``Lengths.count``.
    """

    phase: Phase
    title: str
    done: int
    total: int
    learned: Learned
    length: int
    kind: Literal["batch"] = "batch"


class EpochStep(NamedTuple):
    """An epoch ends. wins: {name of a layer: int64 (F,), how often each feature has won}. row: of the history."""

    phase: Phase
    wins: dict[str, torch.Tensor]
    row: Row
    kind: Literal["epoch"] = "epoch"


class EndStep(NamedTuple):
    """A phase has ended, whose last epoch is the last of the history. ended_by: the setting that ended it."""

    phase: Phase
    ended_by: str
    kind: Literal["end"] = "end"


Step = PhaseStep | ChunkStep | BatchStep | EpochStep | EndStep  # what ``NetworkTrainer.steps`` yields
