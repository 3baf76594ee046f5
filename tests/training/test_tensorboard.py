"""The order of TensorBoard's event files, which is that of their names."""

import itertools
import time

import pytest
from support.run_folders import curves
from tensorboard.summary.writer import event_file_writer

from training.tensorboard import Board


class Clock:
    """A clock that goes on while a program sleeps."""

    def __init__(self):
        self.now = 1_700_000_000.5

    def time(self):
        return self.now

    def sleep(self, seconds):
        self.now += seconds


@pytest.mark.parametrize("pauses", [(0, 0), (0.4, 1)], ids=str)
def test_the_latest_writer_is_read_last(pauses, tmp_path, monkeypatch):
    """Writers 9, 10 and 11 of one process: as texts, "10" sorts before "9"."""
    clock = Clock()
    monkeypatch.setattr(time, "time", clock.time)
    monkeypatch.setattr(time, "sleep", clock.sleep)
    monkeypatch.setattr(event_file_writer._global_uid, "get", itertools.count(9).__next__)
    for pause, values in zip((0, *pauses), ({1: 0.5, 2: 0.25, 3: 0.75}, {2: 0.375, 3: 0.875}, {3: 0.125}), strict=True):
        clock.sleep(pause)
        before = clock.time()
        board = Board(tmp_path)
        for step, value in values.items():
            board.get_writer("train", min(values)).add_scalar("loss/by_epoch", value, step)
        board.close()
        assert clock.time() - before < 1.1  # what waiting takes
    assert curves(tmp_path) == {("train", "loss/by_epoch"): {1: 0.5, 2: 0.375, 3: 0.125}}
    names = sorted(path.name for path in (tmp_path / "train").iterdir())
    assert [name.rsplit(".", 1)[1] for name in names] == ["9", "10", "11"]
