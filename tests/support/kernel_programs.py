"""Programs that compile small kernels, for the tests of the kernel cache."""

import os
import signal
import subprocess
import sys
from pathlib import Path

from utils import ROOT

RULE = """
from typing import NamedTuple

class Rule(NamedTuple):
    ltp: float
    ltd: float

    def window(self, t_in, t_out):
        return (t_in <= t_out) * self.ltp + (t_in > t_out) * self.ltd
"""
KERNELS = """
from numba import njit, types
from numba.extending import overload_method
from engine.compiled import compiled

@overload_method(types.NamedUniTuple, "window")
def window(self, t_in, t_out):
    return self.instance_class.window

@compiled
def change(rule, t_in, t_out):
    return rule.window(t_in, t_out)

def times(factor):
    @njit
    def multiply(x):
        total = 0
        for i in range(x):
            total += factor * (i % 7) * (total % 3 + 1)  # without a loop, LLVM would inline this function
        return total

    @compiled
    def kernel(x):
        return multiply(x) + multiply(x + 1) + multiply(x + 2)

    return kernel
"""
RUN = """
from kernels import change, times
from rule import Rule
rule = Rule(0.5, -0.25)
"""
PRINT = """
from engine import compiled
values = [change(rule, 3, 4), change(rule, 4, 3), *[times(factor)(10) for factor in {0}]]
print(*values, compiled.counts["compiled"], compiled.counts["loaded"])
"""


class Programs:
    """Programs that import the modules of a folder and keep their machine code in ``folder/cache``."""

    def __init__(self, folder: Path):
        self.folder, self.cache = folder, folder / "cache"

    def start(self, *words, env=None, **options) -> subprocess.Popen:
        """Start Python with these words of its command line, and with more environment variables."""
        paths = os.pathsep.join(map(str, (self.folder, ROOT)))
        environment = {**os.environ, "NUMBA_CACHE_DIR": str(self.cache), "PYTHONPATH": paths, **(env or {})}
        words = [sys.executable, "-B", "-W", "error", *map(str, words)]
        pipe = subprocess.PIPE
        return subprocess.Popen(words, stdout=pipe, stderr=pipe, text=True, env=environment, cwd=self.folder, **options)

    def run(self, code: str, warnings: int = 0, **options) -> list[float]:
        """Return the numbers that a program prints. It must exit with 0 and write this number of lines on stderr."""
        process = self.start("-c", code, **options)
        out, err = process.communicate()
        assert (process.returncode, err.count("\n")) == (0, warnings), err
        return [float(word) for word in out.split()]

    def kept(self) -> list[Path]:
        """Return the files of the cache."""
        return sorted(self.cache.rglob("*.kernel"))


def limit_files():
    """Let each write of the process end with an error after 2,000 bytes, as on a full disk."""
    import resource  # which Windows does not have

    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000))
