"""The vector loops against NumPy, bit by bit: each length, and no number outside of the range matters or changes."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from numba import njit

from engine.event import simd

TYPES = [np.float32, np.float64]
GUARD = 40  # numbers on each side of the range


@njit
def add_rows(p, at, w, rows, lo, hi, shift, n, scale=1):
    simd.add_rows(p, at, w, rows, (lo, hi), shift, n, scale)


@njit
def any_above(p, at, n, level):
    return simd.any_above(p, at, n, level)


@njit
def find_spikes(times, at, silent):
    return simd.find_spikes(times, at, silent)


def random_numbers(size, dtype, seed=0):
    return np.random.default_rng(seed).normal(size=size).astype(dtype)


@pytest.mark.parametrize("dtype", TYPES)
def test_add_rows_adds_in_order_and_only_there(dtype):
    """Equal to the bit to the addition of one row after another; of no rows, too. Everything else stays as it was."""
    w = random_numbers(4000, dtype, 1)
    rows = np.random.default_rng(2).integers(0, 2000, 7).astype(np.int32)
    block = simd.lanes(np.dtype(dtype))
    before = w.copy(), rows.copy()
    for n in range(0, 40 * block + 1, block):
        for at in (GUARD, GUARD + 3):
            for lo, hi in ((2, 6), (0, 0), (7, 7), (2, 1)):
                p = random_numbers(at + n + GUARD, dtype)
                expected = p.copy()
                for row in rows[lo:hi]:
                    expected[at : at + n] += w[row + 5 : row + 5 + n]
                add_rows(p, at, w, rows, lo, hi, 5, n)
                np.testing.assert_array_equal(p, expected)
    np.testing.assert_array_equal(w, before[0])
    np.testing.assert_array_equal(rows, before[1])


@pytest.mark.parametrize(
    ("codes", "sums", "most"), [(np.int16, np.int32, 2**30), (np.uint8, np.uint8, 255)], ids=["wider", "bytes"]
)
def test_add_rows_adds_codes(codes, sums, most):
    """Sums of 16 bits with a sign are added to numbers of 32 bits; sums of bytes stay at 255. The rows are numbered."""
    rng = np.random.default_rng(0)
    w = rng.integers(-(2**9) if codes == np.int16 else 0, 90, 10_000).astype(codes)
    rows = rng.integers(0, 80, 64).astype(np.int32)
    for n in range(0, 1200, 64):
        p = rng.integers(0, most, GUARD + n + GUARD).astype(sums)
        expected = p.astype(int)
        for row in rows[3:9]:
            expected[GUARD : GUARD + n] += w[row * 100 + 5 : row * 100 + 5 + n]
        add_rows(p, GUARD, w, rows, 3, 9, 5, n, 100)
        np.testing.assert_array_equal(p, expected.clip(max=255) if sums == np.uint8 else expected)


@pytest.mark.parametrize("dtype", TYPES)
def test_any_above_sees_the_range_and_nothing_else(dtype):
    """A single number above the level is found in the range and not outside; equal is not above."""
    block = simd.lanes(np.dtype(dtype))
    level = dtype(0.5)
    for n in (0, block, 3 * block):
        for place in range(GUARD + n + GUARD):
            p = np.full(GUARD + n + GUARD, level)
            p[place] = np.nextafter(level, dtype(1))
            assert any_above(p, GUARD, n, level) == (GUARD <= place < GUARD + n)


def test_find_spikes_has_a_bit_for_each_of_64_bytes():
    times = np.random.default_rng(0).integers(0, 256, 200, np.uint8)
    for at in (0, 3, 136):
        for silent in (0, 15, 255):
            expected = np.packbits(times[at : at + 64] < silent, bitorder="little").view(np.uint64)
            assert find_spikes(times, at, silent) == expected


OUT_OF_RANGE = """
import sys; sys.path[:0] = [{root!r}, {here!r}]
import numpy as np
from test_simd import add_rows
p, w = np.zeros((2, 64), np.float32)
rows, far = np.array([[0, 0], [40, -1]], np.int32)
add_rows(p, 32, w, rows, 0, 2, 32, 32)
for arguments in (
    (p, 40, w, rows, 0, 1, 0, 32), (p, -1, w, rows, 0, 1, 0, 16), (p, 0, w, rows, 0, 3, 0, 16),
    (p, 0, w, far, 0, 1, 0, 32), (p, 0, w, far, 1, 2, 0, 16),
):
    try:
        add_rows(*arguments)
    except IndexError:
        print("refused")
"""


@pytest.mark.slow
def test_with_bounds_checks_no_address_is_outside(tmp_path):
    """numba does not check the addresses of ``add_rows``: in this mode, it checks them itself."""
    here = Path(__file__).parent
    program = OUT_OF_RANGE.format(root=str(here.parent.parent), here=str(here))
    environment = {**os.environ, "NUMBA_BOUNDSCHECK": "1", "NUMBA_CACHE_DIR": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == ["refused"] * 5
