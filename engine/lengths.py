"""How many epochs the phases of a training have."""

import math
from collections.abc import Iterable, Sequence

from engine.phases import Phase
from engine.progress import Row

# A phase that goes on until it has converged ends at the latest after MAX_EPOCHS, or of few images after as many epochs
# as these presentations of an image take: s1 to s4 of multiscale2026 need 3,000 to 8,000 presentations of 100, 300 or
# 1,000 images of MNIST (results/logs/presentations.log), and 20 epochs of 1,000 images are 20,000.
MAX_EPOCHS = 20
MAX_PRESENTATIONS = 20_000


class Epochs:
    """How many epochs the phases of a training have.

    A phase has the number of epochs that is planned for it. With ``converge``, a phase without labels ends as soon as
    its convergence is below this number. Then a number up to MAX_EPOCHS is the least, and ``most`` is computed from the
    number of images; a larger number is the most, and 1 the least.

    Args:
        phases: the phases.
        planned: a number for each of them; 0: it is skipped.
        converge: the convergence at which a phase without labels ends; 0: phases end after the planned epochs.
        images: the number of images that phases without labels learn from.
    """

    def __init__(self, phases: Iterable[Phase], planned: Sequence[int], converge: float, images: int):
        self.planned = tuple(planned)
        self.converge = converge
        self.images = images
        self._needs_labels = [phase.needs_labels for phase in phases]

    def can_converge(self, number: int) -> bool:
        """Return whether the convergence of the phase with this number, from 0, decides when it ends."""
        return self.converge > 0 and self.planned[number] > 0 and not self._needs_labels[number]

    def has_converged(self, number: int, row: Row) -> bool:
        """Return whether the convergence of an epoch, a row of ``Progress.history``, ends its phase."""
        convergence = row.convergence
        return self.can_converge(number) and convergence is not None and convergence < self.converge

    def least(self, number: int) -> int:
        """Return the lowest number of epochs of a phase."""
        planned = self.planned[number]
        return 1 if planned > MAX_EPOCHS and self.can_converge(number) else planned

    def most(self, number: int) -> int:
        """Return the highest number of epochs of a phase if its convergence decides when it ends."""
        planned = self.planned[number]
        return planned if planned > MAX_EPOCHS else max(MAX_EPOCHS, math.ceil(MAX_PRESENTATIONS / self.images))

    def count(self, number: int, row: Row | None) -> int:
        """Return the number of epochs of a phase, as far as its last epoch decides it. It ends when they are done.

        row: of this epoch in ``Progress.history``; None before the first.
        """
        least = self.least(number)
        if row is None or row.epoch < least or not self.can_converge(number):
            return least
        if self.has_converged(number, row):
            return row.epoch
        return min(row.epoch + 1, self.most(number))
