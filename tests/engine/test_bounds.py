"""The tests of all kernels with numba's bounds checks: no kernel reads or writes outside of its arrays."""

import os
import subprocess
import sys

import pytest

from utils import ROOT

TESTS = {
    # a single type, which is compiled once
    "layers": ["tests/engine/test_event.py", "-k", "event-float64 or event and (by_hand or joint or equals)"],
    # poolings by rank, inhibition, votes, thresholds that adapt
    "networks": ["--slow", "tests/engine/test_random_networks.py"],
    "maps": ["tests/engine/test_packed.py", "tests/models/test_networks.py", "-k", "packed or of_a_rank or a_share"],
    "images": ["tests/test_s1c1.py", "tests/imagesets/test_augmentation.py"],
}


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("cache")


@pytest.mark.slow
@pytest.mark.parametrize("part", TESTS)
def test_no_kernel_leaves_its_arrays(part, cache):
    environment = {**os.environ, "NUMBA_BOUNDSCHECK": "1", "NUMBA_CACHE_DIR": str(cache), "RANDOM_NETWORKS": "12"}
    words = [sys.executable, "-m", "pytest", "-n", "0", "-x", *TESTS[part]]
    done = subprocess.run(words, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
