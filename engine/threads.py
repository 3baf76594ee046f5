"""Threads: each calls a kernel for its own part of the images, or of other independent work.

Kernels release the interpreter's lock, so Python's threads suffice. numba's own (``parallel=True``) have these faults:

* such a function takes three times as long to compile;
* a forked process, such as a worker of torch's DataLoader, is killed when it calls one (numba on OpenMP);
* a program is killed when two of its threads call one at the same time (numba on its "workqueue").

Users call networks from threads of their own: see ``Turns``.
"""

import functools
import os
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import torch

from errors import InputError


def run_parts(kernel, count: int, *arguments, threads: int | None = None) -> None:
    """Call ``kernel(part, parts, *arguments)`` for each ``part`` in ``range(parts)``, at the same time.

    Args:
        kernel: does a part of ``count`` pieces of work. If they are images, it takes every ``parts``-th from ``part``
            on, because neighbours in a data set may take similar time. If ``part`` is ``count``, it does nothing.
        threads: the largest number of parts; None: the number of torch's threads.
    """
    parts = max(1, min(count, threads or torch.get_num_threads()))
    if parts > 1 and not getattr(kernel, "signatures", True):
        kernel(count, count, *arguments)  # no work: compiles the kernel in this thread, which Ctrl-C interrupts
    others = [_pool(os.getpid()).submit(kernel, part, parts, *arguments) for part in range(1, parts)]
    kernel(0, parts, *arguments)
    for other in others:
        other.result()


@functools.cache
def _pool(process: int) -> ThreadPoolExecutor:
    """Return the threads of this process; a forked process has none of those that its parent has started."""
    return ThreadPoolExecutor(os.cpu_count(), "kernel")


class Turns:
    """The turns in which a network learns. Threads may read its weights at the same time, but not beside a batch.

    Nobody waits: what a thread has read beside a batch of another thread is refused, and the batch is not disturbed.
    """

    def __init__(self):
        self._learner = None  # the thread whose turn it is
        self._batches = 0

    def __reduce__(self):
        return Turns, ()  # a copy of a network has its own

    @contextmanager
    def learn(self) -> Iterator[None]:
        """Change weights; within a turn of this thread, as a part of it. Raises InputError if another thread does."""
        if self._learner == threading.get_ident():
            yield
            return
        self._check(self._batches)
        self._learner = threading.get_ident()
        self._batches += 1
        try:
            yield
        finally:
            self._learner = None

    @contextmanager
    def read(self) -> Iterator[None]:
        """Read weights. Raises InputError, at the beginning or at the end, if another thread changes them meanwhile."""
        batches = self._batches
        self._check(batches)
        yield
        self._check(batches)

    def _check(self, batches):
        if self._learner not in (None, threading.get_ident()) or batches != self._batches:
            raise InputError("this network learns in another thread: use it between two batches, or a copy.deepcopy")
