"""The number of threads of a decision layer with ``--threads auto``: all, or one if that is faster.

If other programs use the same cores, or if the layer is small, one thread may be faster. This does not change what is
learned.
"""

import statistics
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager

from numba import get_num_threads, set_num_threads

TURN = 0.05  # seconds that are measured together: several time slices of a busy machine
RECENT = 3  # turns on each number of threads whose median counts
LOSS = 0.01  # fraction of the time that new trials of the slower number may take

automatic = False  # --threads auto
_paces = {}  # of layers, by their shape and the number of all threads


class Pace:
    """Chooses the number of threads of the next chunk, by the time per image of recent chunks."""

    def __init__(self, choices: set[int]):
        self._seconds = {threads: deque(maxlen=RECENT) for threads in choices}  # per image, of each turn
        self._turns = dict.fromkeys(choices, 0)  # since the last turn on this number of threads
        self._start(max(choices))

    def _start(self, threads):
        self.threads, self._images, self._time = threads, 0, 0.0

    def add(self, images: int, seconds: float) -> None:
        """Count a chunk of so many images, which took so long on ``self.threads``; at the end of a turn, choose."""
        self._images += images
        self._time += seconds
        if self._time < TURN:
            return
        self._seconds[self.threads].append(self._time / self._images)
        self._turns = {threads: turns + 1 for threads, turns in self._turns.items()} | {self.threads: 0}
        fewest = min(self._seconds, key=lambda threads: len(self._seconds[threads]))
        medians = {threads: statistics.median(times or [0]) for threads, times in self._seconds.items()}
        fast, slow = min(medians, key=medians.get), max(medians, key=medians.get)
        if len(self._seconds[fewest]) < RECENT:
            self._start(fewest)
        else:
            self._start(slow if self._turns[slow] > (medians[slow] / medians[fast] - 1) / LOSS else fast)


@contextmanager
def pace_of(shape: tuple[int, ...]) -> Iterator[Pace]:
    """Yield the ``Pace`` of all layers of this shape; afterwards, numba has its number of threads again."""
    threads = get_num_threads()
    try:
        yield _paces.setdefault((shape, threads), Pace({1, threads})) if automatic else Pace({threads})
    finally:
        set_num_threads(threads)


def forget() -> None:
    """Measure everything again."""
    _paces.clear()
