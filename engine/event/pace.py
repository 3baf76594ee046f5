"""The number of threads of a decision layer with ``--threads auto``: all, or one if that is faster.

One thread may be faster if other programs use the same cores, or if the layer is small. The number changes no result.
"""

import statistics
from collections import deque

import torch

PERIOD = 0.1  # seconds that are measured together: a busy machine then has switched between programs many times
KEPT_PERIODS = 3  # periods on each number of threads, whose median counts
TRIAL_FRACTION = 0.01  # fraction of the time that trials of the slower number may take

automatic = False  # whether --threads is auto
paces = {}  # the ``Pace`` of layers, by their shape and the number of all threads


class Pace:
    """Chooses ``threads``, the number of threads of the next chunk, by the time per image of recent periods."""

    def __init__(self, choices: set[int]):
        self.threads = max(choices)
        self._times = {threads: deque([0.0] * KEPT_PERIODS, KEPT_PERIODS) for threads in choices}  # 0: not measured yet
        self._periods_unchanged = 0  # periods since the number changed
        self._images = 0
        self._seconds = 0.0  # of this period

    def add(self, images: int, seconds: float) -> None:
        """Count a chunk that took so long on ``threads``. At the end of a period, choose again."""
        self._images += images
        self._seconds += seconds
        if self._seconds >= PERIOD:
            self._times[self.threads].append(self._seconds / self._images)
            self._images = 0
            self._seconds = 0.0
            medians = {threads: statistics.median(times) for threads, times in self._times.items()}
            fast = min(medians, key=medians.get)
            slow = max(medians, key=medians.get)
            is_due = medians[slow] - medians[fast] < TRIAL_FRACTION * self._periods_unchanged * medians[fast]
            chosen = slow if is_due else fast
            self._periods_unchanged += 1
            if chosen != self.threads:
                self._periods_unchanged = 0
            self.threads = chosen


def pace_of(shape: tuple[int, ...]) -> Pace:
    """Return the ``Pace`` of all layers of this shape."""
    threads = torch.get_num_threads()
    if not automatic:
        return Pace({threads})
    return paces.setdefault((shape, threads), Pace({1, threads}))
