"""The order of TensorBoard's event files, which is that of their names."""

import itertools
import time

import pytest
from support.run_folders import curves
from tensorboard.summary.writer import event_file_writer

from training.tensorboard import Board

NOW = 1_700_000_000.5


@pytest.mark.parametrize("clock", [(0, 0, 0), (0, 0.4, 1), (0, -3600, -3599), (0, 1, -1)], ids=str)
def test_the_latest_writer_is_read_last(clock, tmp_path, monkeypatch):
    """Writers 9, 10 and 11 of one process: "9" sorts behind them. Also after the clock has been set back."""
    monkeypatch.setattr(event_file_writer._global_uid, "get", itertools.count(9).__next__)
    for seconds, values in zip(clock, ({1: 0.5, 2: 0.25, 3: 0.75}, {2: 0.375, 3: 0.875}, {3: 0.125}), strict=True):
        monkeypatch.setattr(time, "time", lambda seconds=seconds: NOW + seconds)
        board = Board(tmp_path)
        for step, value in values.items():
            board.scalar("train", "loss/by_epoch", value, step)
        board.close()
    assert curves(tmp_path) == {("train", "loss/by_epoch"): {1: 0.5, 2: 0.375, 3: 0.125}}
    names = sorted(path.name for path in (tmp_path / "train").iterdir())
    assert [name.rsplit(".", 1)[1] for name in names] == ["9", "10", "11"]
    assert names[-1].split(".")[3] == str(int(NOW + clock[-1]))
