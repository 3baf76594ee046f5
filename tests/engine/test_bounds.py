"""The tests of the layers with numba's bounds checks: no kernel reads or writes outside of its arrays."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent


@pytest.mark.slow
def test_no_kernel_leaves_its_arrays(tmp_path):
    environment = {**os.environ, "NUMBA_BOUNDSCHECK": "1", "NUMBA_CACHE_DIR": str(tmp_path)}
    chosen = "event-float64 or event and (by_hand or joint or equals)"  # a single type, which is compiled once
    words = [sys.executable, "-m", "pytest", "-n", "0", "-x", "tests/engine/test_event.py", "-k", chosen]
    done = subprocess.run(words, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
