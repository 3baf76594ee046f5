"""The median time of several repeats. Programs that run by path, without this repository, use it too."""

import statistics
import time
from collections.abc import Callable
from typing import NamedTuple


class Timing(NamedTuple):
    """Milliseconds per image."""

    median: float
    least: float
    most: float

    def __str__(self):
        digits = 3 if self.median < 1 else 2 if self.median < 10 else 1
        return f"{self.median:.{digits}f} ({self.least:.{digits}f} to {self.most:.{digits}f})"


def measure_per_image(work: Callable, images: int, repeats: int = 7, prepare: Callable = lambda: None) -> Timing:
    """Time ``work()``, which processes ``images`` images; ``prepare`` undoes what it changed and is not timed."""
    milliseconds = []
    for _ in range(1 + repeats):
        prepare()
        start = time.perf_counter()
        work()
        milliseconds.append(1000 * (time.perf_counter() - start) / images)
    return Timing(statistics.median(milliseconds[1:]), min(milliseconds[1:]), max(milliseconds[1:]))
