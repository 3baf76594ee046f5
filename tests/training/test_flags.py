"""Runs with flags that may be 0 or absent, in pairs: each ends, and leaves its results."""

from itertools import combinations

import pytest
from support.command import COMPARED, results, run_train
from support.tiers import slow_except

FLAGS = (
    "--epochs 1 1 0",
    "--epochs 0 0 1",
    "--epochs 0 0 0",
    "--val-split 0",
    "--no-test",
    "--no-references",
    "--no-figures",
    "--labels 20",
    "--labels 20 --spread",
)
REFUSED = ("--val-split 0", "--no-test")
FAST = [
    ("--epochs 1 1 0", "--labels 20"),
    ("--epochs 0 0 0", "--no-test"),
    ("--val-split 0", "--labels 20 --spread"),
]


def differ(pair):
    first, second = pair
    return first.split()[0] != second.split()[0] and pair != REFUSED


@pytest.mark.parametrize(("first", "second"), slow_except(FAST, filter(differ, combinations(FLAGS, 2))))
def test_a_run_ends_with_each_pair_of_flags(first, second, tmp_path, undrawn):
    words = f"{COMPARED} --epochs 1 1 1 {first} {second}"
    run = run_train(words, tmp_path)
    found = results(run)
    is_skipped = "--epochs" in first and first.endswith("0")
    assert found["finished"] == [int(word) for word in words.rpartition("--epochs ")[2].split()[:3]]
    assert ("references" in found) == ("--no-references" not in words)
    assert (found["best_epoch"] is None) == (is_skipped or "--val-split 0" in words)
    assert (run / "index.html").exists() == ("--no-figures" not in words)
