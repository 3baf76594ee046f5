"""The vector loops against numpy, element by element: every length, nothing outside the range touched."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from numba import njit
from numba.core.registry import cpu_target

from engine.event import simd

BLOCKS = 40
TYPES = [np.float32, np.float64]
GUARD = 40  # untouched numbers expected on each side


@njit
def add_rows(p, at, w, rows, lo, hi, shift, n):
    simd.add_rows(p, at, w, rows, lo, hi, shift, n)


@njit
def any_above(p, at, n, level):
    return simd.any_above(p, at, n, level)


@njit
def mark_above(latency, at, p, start, n, level, step):
    simd.mark_above(latency, at, p, start, n, level, step)


def lengths(dtype):
    block = simd.lanes(np.dtype(dtype))
    return range(0, BLOCKS * block + 1, block)


def numbers(size, dtype, seed=0):
    return np.random.default_rng(seed).normal(size=size).astype(dtype)


def test_a_block_is_one_cache_line():
    """64 bytes: 16 numbers of float32, 8 of float64."""
    assert [simd.lanes(np.dtype(t)) for t in TYPES] == [16, 8]


@pytest.mark.parametrize(
    ("cpu", "features", "blocks"),
    [
        ("generic", "", 4),
        ("haswell", "", 4),
        ("haswell", "+avx512f", 8),
        ("skylake-avx512", "", 8),
        ("skylake-avx512", "-avx512f", 4),
    ],
)
def test_the_target_says_how_many_blocks_fit_into_registers(cpu, features, blocks):
    """Whatever machine compiles: by the name of the target's processor and what is added to it or taken away."""
    triple, *_ = cpu_target.target_context.codegen().magic_tuple()
    if not triple.startswith("x86_64"):
        pytest.skip("LLVM is there for the processors of this machine's kind only")
    assert simd.accumulators(triple, cpu, features) == blocks


@pytest.mark.parametrize("index", [np.int32, np.int64])
@pytest.mark.parametrize("dtype", TYPES)
def test_add_rows_adds_in_order_and_only_there(dtype, index):
    """Equal, bit for bit, to adding one row after another; all else stays as it was."""
    w = numbers(4000, dtype, 1)
    rows = np.random.default_rng(2).integers(0, 2000, 7).astype(index)
    lo, hi, shift = 2, 6, 5
    for n in lengths(dtype):
        for at in (GUARD, GUARD + 3):
            p = numbers(at + n + GUARD, dtype)
            expected = p.copy()
            for row in rows[lo:hi]:
                expected[at : at + n] += w[row + shift : row + shift + n]
            before = w.copy(), rows.copy()
            add_rows(p, at, w, rows, lo, hi, shift, n)
            np.testing.assert_array_equal(p, expected)
            np.testing.assert_array_equal(w, before[0])
            np.testing.assert_array_equal(rows, before[1])


@pytest.mark.parametrize("dtype", TYPES)
def test_add_rows_of_no_rows_changes_nothing(dtype):
    """An empty range of rows is no addition, not even of the first row."""
    p, rows = numbers(100, dtype), np.zeros(3, np.int32)
    expected = p.copy()
    for lo, hi in ((0, 0), (3, 3), (2, 1)):
        add_rows(p, 0, numbers(100, dtype, 1), rows, lo, hi, 0, 64)
    np.testing.assert_array_equal(p, expected)


@pytest.mark.parametrize("dtype", TYPES)
def test_any_above_sees_every_place_of_the_range_and_no_other(dtype):
    """One value over the level is found wherever it is; one just outside, at the level or NaN is not."""
    level = dtype(2.5)
    for n in lengths(dtype):
        for at in (0, GUARD + 3):
            p = np.full(at + n + GUARD, level, dtype)
            if at:
                p[at - 1] = 9
            p[at + n] = np.inf
            assert not any_above(p, at, n, level)
            for i in {0, n // 3, n // 2, n - 1} if n else ():
                p[at + i] = np.nan
                assert not any_above(p, at, n, level)
                p[at + i] = np.nextafter(level, dtype(3))
                assert any_above(p, at, n, level)
                p[at + i] = level
    n = max(lengths(dtype))
    for i in range(n):
        p = np.zeros(n, dtype)
        p[i] = 1
        assert any_above(p, 0, n, dtype(0))


@pytest.mark.parametrize("dtype", TYPES)
def test_mark_above_takes_the_minimum_where_the_level_is_passed(dtype):
    """As numpy's where and minimum, at different offsets of the two arrays; unsigned, strict, NaN never above."""
    level, step = dtype(0.25), 200
    for n in lengths(dtype):
        for at, start in ((GUARD, GUARD), (GUARD + 1, GUARD + 6)):
            p = numbers(start + n + GUARD, dtype, n)
            p[::5] = np.nan
            p[1::5] = level
            p[2::5] = np.inf
            latency = np.random.default_rng(n).integers(0, 256, at + n + GUARD, dtype=np.uint8)
            expected, values = latency.copy(), p.copy()
            window = expected[at : at + n]
            window[:] = np.where(p[start : start + n] > level, np.minimum(window, step), window)
            mark_above(latency, at, p, start, n, level, step)
            np.testing.assert_array_equal(latency, expected)
            np.testing.assert_array_equal(p, values)


OUT_OF_RANGE = """
import sys; sys.path[:0] = [{root!r}, {here!r}]
import numpy as np
from test_simd import add_rows, any_above, mark_above
p, w, marks, rows = np.zeros(64, np.float32), np.zeros(64, np.float32), np.zeros(64, np.uint8), np.zeros(2, np.int32)
far = np.array([40, -1], np.int32)
add_rows(p, 32, w, rows, 0, 2, 32, 32), any_above(p, 48, 16, np.float32(0))
mark_above(marks, 0, p, 0, 64, np.float32(0), 1)
for reaches_out in (
    lambda: add_rows(p, 40, w, rows, 0, 1, 0, 32),
    lambda: add_rows(p, -1, w, rows, 0, 1, 0, 16),
    lambda: add_rows(p, 0, w, rows, 0, 3, 0, 16),
    lambda: add_rows(p, 0, w, far, 0, 1, 0, 32),
    lambda: add_rows(p, 0, w, far, 1, 2, 0, 16),
    lambda: any_above(p, 49, 16, np.float32(0)),
    lambda: mark_above(marks, 0, p, 32, 48, np.float32(0), 1),
    lambda: mark_above(marks, 56, p, 0, 16, np.float32(0), 1),
):
    try:
        reaches_out()
    except IndexError as error:
        print(error)
"""


def test_with_bounds_checks_no_loop_reaches_out(tmp_path):
    """What numba does not check in these loops they check themselves in that mode."""
    here = Path(__file__).parent
    program = OUT_OF_RANGE.format(root=str(here.parent.parent), here=str(here))
    environment = {**os.environ, "NUMBA_BOUNDSCHECK": "1", "NUMBA_CACHE_DIR": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == ["a vector loop reaches out of its array"] * 8
