"""Timing: several repeats after a warm-up; the median, and the range beside it."""

import statistics
import time
from typing import NamedTuple


class Timing(NamedTuple):
    """Milliseconds for each image."""

    median: float
    least: float
    most: float

    def __str__(self):
        digits = 3 if self.median < 1 else 2 if self.median < 10 else 1
        return f"{self.median:.{digits}f} ({self.least:.{digits}f} to {self.most:.{digits}f})"


def per_image(work, images, repeats=7, prepare=lambda: None):
    """Time ``work()``, which does ``images`` images; ``prepare`` undoes what it changed and is not timed."""
    prepare()
    work()
    milliseconds = []
    for _ in range(repeats):
        prepare()
        start = time.perf_counter()
        work()
        milliseconds.append(1000 * (time.perf_counter() - start) / images)
    return Timing(statistics.median(milliseconds), min(milliseconds), max(milliseconds))
