"""Threads: each calls a kernel for its own part of the images, or of other independent work.

Kernels release the interpreter's lock, so Python's threads suffice. numba's own (``parallel=True``) have these faults:

* such a function takes three times as long to compile;
* a forked process, such as a worker of torch's DataLoader, is killed when it calls one (numba on OpenMP);
* a program is killed when two of its threads call one at the same time (numba on its "workqueue").
"""

import functools
import os
from concurrent.futures import ThreadPoolExecutor

import torch


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
