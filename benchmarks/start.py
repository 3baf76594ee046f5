"""Measure the time that a start takes: ``python -m benchmarks.start``, on a quiet machine, not on Windows.

``train.py`` runs in a separate terminal. The table shows the seconds until its first line, until its first bar moves
(a dry run may be too short for one), and until its end, once without kernels on the disk, and then, as the median of
``REPEATS``, with them.
"""

import math
import os
import re
import statistics
import struct
import subprocess
import sys
import tempfile
import time

from benchmarks.measure import format_header, format_row
from utils import ROOT, find_processor

try:
    import fcntl
    import pty
    import termios
except ImportError:
    sys.exit("benchmarks.start needs a terminal of Linux or macOS; Windows has none")

REPEATS = 3
COMMANDS = ("--model mozafari2018 --epochs 1 1 1 --no-figures", "--model mozafari2018 --dry-run")
MOVES = re.compile(rb"\b[1-9]\d{0,2}% ?\|")


def main():
    print(f"{find_processor()}, {os.cpu_count()} cores; seconds\n")
    print(format_header(("train.py …", "kernels", "first line", "first bar moves", "end")))
    for words in COMMANDS:
        with tempfile.TemporaryDirectory() as folder:
            command = [sys.executable, str(ROOT / "train.py"), *words.split(), "--output", folder]
            starts = [watch(command, folder) for _ in range(1 + REPEATS)]
        rows = {"to be compiled": starts[0], "on the disk": map(statistics.median, zip(*starts[1:], strict=True))}
        for kernels, seconds in rows.items():
            print(format_row((words, kernels, *(f"{value:.1f}" for value in seconds))), flush=True)


def watch(command, cache):
    """Return the seconds until a command prints, a bar of it moves (nan: never), and it ends.

    The kernels are kept in the folder ``cache``.
    """
    leader, follower = pty.openpty()
    fcntl.ioctl(follower, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 120, 0, 0))  # without a width there are no bars
    start = time.perf_counter()
    terminal = {"stdin": follower, "stdout": follower, "stderr": follower}
    process = subprocess.Popen(command, cwd=ROOT, env={**os.environ, "NUMBA_CACHE_DIR": cache}, **terminal)
    os.close(follower)
    printed, first, moved = b"", math.nan, math.nan
    while part := _read(leader):
        now = time.perf_counter() - start
        printed += part
        first = now if math.isnan(first) else first
        moved = now if math.isnan(moved) and MOVES.search(printed) else moved
    os.close(leader)
    if process.wait():
        raise RuntimeError(f"{command} ended with {process.returncode}: {printed.decode(errors='replace')}")
    return first, moved, time.perf_counter() - start


def _read(terminal):
    try:
        return os.read(terminal, 1 << 16)
    except OSError:  # Linux reports the end in this way
        return b""


if __name__ == "__main__":
    main()
