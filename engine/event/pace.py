"""How many threads a decision layer learns on, with ``--threads auto``: all, or one where that is faster.

Where other programs use the same cores, or the layer is small, one thread may be done sooner. Nobody but a clock can
know. What is learned does not depend on it.
"""

import statistics
from collections import deque

FIRST, RECENT = 3, 7  # calls on each number of threads before it is judged, and of which the median counts
LOSS = 0.01  # fraction of the time that looking again at the slower one may cost
FEWEST = 200  # images of a call that counts: starting takes its time too

automatic = False  # whether anything here is asked
_paces = {}  # of layers, by their shapes and the number of threads


def pace_of(shape, most):
    """The ``Pace`` of the layers of this shape, on at most ``most`` threads; None if there is nothing to choose."""
    return _paces.setdefault((shape, most), Pace(most)) if automatic and most > 1 else None


def forget():
    """Try everything anew."""
    _paces.clear()


class Pace:
    """One thread or ``most``: the faster, and now and then the other."""

    def __init__(self, most):
        self._seconds = {count: deque(maxlen=RECENT) for count in (most, 1)}  # per image, of recent calls
        self._calls, self._last = 0, {}  # and at which call each number was the last time

    def threads(self):
        """For the next call."""
        fewest = min(self._seconds, key=lambda count: len(self._seconds[count]))
        if len(self._seconds[fewest]) < FIRST:
            return fewest
        medians = {count: statistics.median(seconds) for count, seconds in self._seconds.items()}
        fast, slow = sorted(medians, key=medians.get)
        return slow if self._calls - self._last[slow] > (medians[slow] / medians[fast] - 1) / LOSS else fast

    def note(self, threads, images, seconds):
        """The call with so many images took so long on so many threads."""
        if images >= FEWEST:
            self._calls += 1
            self._last[threads] = self._calls
            self._seconds[threads].append(seconds / images)
