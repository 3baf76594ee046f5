"""How many epochs the phases of a training have. Only this file decides when a phase ends."""

import math
from collections.abc import Iterable, Sequence

from engine.phases import Phase
from engine.progress import Row

# A phase that goes on until it has converged ends at the latest after MAX_EPOCHS, or of few images after as many epochs
# as these presentations of an image take: s1 to s4 of multiscale2026 need 3,000 to 8,000 presentations of 100, 300 or
# 1,000 images of MNIST (results/logs/presentations.log), and 20 epochs of 1,000 images are 20,000.
MAX_EPOCHS = 20
MAX_PRESENTATIONS = 20_000
FEW_PRESENTATIONS = 3_000  # below what any of them needs


def has_converged(rows: Sequence[Row], converge: float) -> bool:
    """Return whether the convergence of the last epoch is below this number. Without a win, it is not."""
    convergence = rows[-1].convergence
    return convergence is not None and convergence < converge


def has_given_up(rows: Sequence[Row], patience: float) -> bool:
    """Return whether this number of epochs has passed without a better validation accuracy."""
    accuracies = [row.val_accuracy for row in rows if row.val_accuracy is not None]
    if len(accuracies) < len(rows):  # there are no validation images
        return False
    return len(rows) - 1 - accuracies.index(max(accuracies)) >= patience


# What ends a phase before its last epoch: {setting: function of the rows of the phase and of the setting's value}. A
# setting that is 0 ends no phase.
WITHOUT_LABELS = {"converge": has_converged}
WITH_LABELS = {"patience": has_given_up}
EARLY = WITHOUT_LABELS | WITH_LABELS


class Lengths:
    """How many epochs the phases of a training have.

    A phase has the number of epochs that is planned for it, unless a setting of ``EARLY`` ends it before. With
    ``converge``, a phase without labels goes on until it has converged. Then a number up to MAX_EPOCHS is the least,
    and ``most`` is computed from the number of images; a larger number is the most, and 1 the least.

    Args:
        phases: the phases.
        planned: a number for each of them; 0: it is skipped.
        images: the number of images that phases without labels learn from.
        converge, patience: the values of the settings of ``EARLY``.

    Attributes, lists with a value for each phase:
        converges: whether its convergence decides when it ends.
        least: the number of epochs that is planned, or the lowest if its convergence decides.
        most: the highest number of epochs if its convergence decides.
        is_short: whether it has no labels and ends before features can learn, after fewer than FEW_PRESENTATIONS.
    """

    def __init__(
        self,
        phases: Iterable[Phase],
        planned: Sequence[int],
        images: int,
        converge: float = 0.0,
        patience: float = 0,
    ):
        self.planned = tuple(planned)
        self.converge = converge
        self.converges = []
        self.least = []
        self.most = []
        self.is_short = []
        self._needs_labels = [phase.needs_labels for phase in phases]
        self._early = {"converge": converge, "patience": patience}
        of_images = max(MAX_EPOCHS, math.ceil(MAX_PRESENTATIONS / images))
        for count, needs_labels in zip(self.planned, self._needs_labels, strict=True):
            is_large = count > MAX_EPOCHS
            converges = converge > 0 and count > 0 and not needs_labels
            self.converges.append(converges)
            self.least.append(1 if converges and is_large else count)
            self.most.append(count if is_large else of_images)
            self.is_short.append(not needs_labels and not converges and 0 < count * images < FEW_PRESENTATIONS)

    def find_end(self, number: int, rows: Sequence[Row]) -> str | None:
        """Return the setting that ends the phase with this number, from 0, after its epochs; None: it goes on.

        rows: the history of the phase. Returns "epochs" or a setting of ``EARLY``.
        """
        least = self.least[number]
        most = self.most[number] if self.converges[number] else least
        conditions = WITHOUT_LABELS
        if self._needs_labels[number]:
            conditions = WITH_LABELS
            least = 1
        if rows and len(rows) >= least:
            for name, has_ended in conditions.items():
                if self._early[name] and has_ended(rows, self._early[name]):
                    return name
        return "epochs" if len(rows) >= most else None

    def count(self, number: int, rows: Sequence[Row]) -> int:
        """Return the number of epochs of a phase, as far as its history ``rows`` decides it."""
        least = self.least[number]
        if not self.converges[number]:
            return least
        if self.find_end(number, rows):
            return len(rows)
        return max(least, len(rows) + 1)
