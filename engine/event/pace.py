"""How many threads a decision layer learns on, with ``--threads auto``: all, or one where that is faster.

The threads wait for each other twice in every chunk of images. Where other programs use the same cores, some of them
wait for their turn, and all the others for them; then one thread is done sooner. Nobody but a clock can know. What is
learned does not depend on it.
"""

import statistics
import time

TRIALS = 3  # calls on each number of threads, of which the median counts
AGAIN = 20.0  # seconds until the next trials
FEWEST = 200  # images of a call that counts: starting threads takes its time too

automatic = False  # whether anything here is asked
_paces = {}  # of layers, by their shapes


def pace_of(shape):
    """The ``Pace`` of the layers of this shape."""
    return _paces.setdefault(shape, Pace())


def forget():
    """Try everything anew."""
    _paces.clear()


class Pace:
    """Tries one thread and all in turn, and then keeps to what was faster, for a while."""

    def __init__(self):
        self._plan, self._seconds, self._best, self._until = [], {}, None, 0.0

    def threads(self, most):
        """For the next call; at most ``most``."""
        if most == 1:
            return 1
        if not self._plan and (self._best is None or self._best > most or time.perf_counter() >= self._until):
            self._plan, self._seconds = [1, most] * TRIALS, {1: [], most: []}
        return min(self._plan[-1], most) if self._plan else self._best

    def note(self, threads, images, seconds):
        """A call with so many images took so long."""
        if images < FEWEST or not self._plan or threads != self._plan[-1]:
            return
        self._seconds[self._plan.pop()].append(seconds / images)
        if not self._plan:
            self._best = min(self._seconds, key=lambda count: statistics.median(self._seconds[count]))
            self._until = time.perf_counter() + AGAIN
