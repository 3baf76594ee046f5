"""How many threads a decision layer learns on, with ``--threads auto``: all, or one where that is faster.

The threads wait for each other twice in every chunk of images. Where other programs use the same cores, some of them
wait for their turn, and all the others for them; then one thread is done sooner. Nobody but a clock can know. What is
learned does not depend on it.
"""

import math
import statistics
import time

TRIALS = 3  # calls on each number of threads, of which the median counts
AGAIN = 20.0  # seconds until the next trials
FEWEST = 200  # images of a call that counts: starting threads takes its time too

automatic = False  # whether anything here is asked
_paces = {}  # of layers, by their shapes and the number of threads


def pace_of(shape, most):
    """The ``Pace`` of the layers of this shape, on at most ``most`` threads; None if there is nothing to choose."""
    return _paces.setdefault((shape, most), Pace(most)) if automatic and most > 1 else None


def forget():
    """Try everything anew."""
    _paces.clear()


class Pace:
    """Tries one thread and ``most`` in turn, and then keeps to what was faster, for a while."""

    def __init__(self, most):
        self._most, self._plan, self._seconds, self._best, self._until = most, [], {}, None, -math.inf

    def threads(self):
        """For the next call."""
        if not self._plan and time.perf_counter() >= self._until:
            self._plan, self._seconds = [1, self._most] * TRIALS, {1: [], self._most: []}
        return self._plan[-1] if self._plan else self._best

    def note(self, images, seconds):
        """The call with so many images took so long."""
        if images < FEWEST or not self._plan:
            return
        self._seconds[self._plan.pop()].append(seconds / images)
        if not self._plan:
            self._best = min(self._seconds, key=lambda count: statistics.median(self._seconds[count]))
            self._until = time.perf_counter() + AGAIN
