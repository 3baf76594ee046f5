"""The run log where the console, or log.txt, is not as usual; the order of TensorBoard's event files."""

import itertools
import os
import subprocess
import sys
import time

import pytest
from support.run_folders import curves
from tensorboard.summary.writer import event_file_writer

from engine.decision import Outcome
from training.log import RunLog
from training.tensorboard import Board
from utils import ROOT


@pytest.mark.unix
@pytest.mark.parametrize("output", ["/dev/full", "closed pipe", None])
def test_a_broken_output_ends_the_printing_and_nothing_else(output, tmp_path, monkeypatch, capsys):
    reading, writing = os.pipe()
    os.close(reading)
    with open("/dev/full" if output == "/dev/full" else writing, "w", encoding="utf-8") as file:
        monkeypatch.setattr(sys, "stdout", output and file)
        log = RunLog(tmp_path)
        log.info("one")
        log.info("two")
        log.close()
    assert (tmp_path / "log.txt").read_text() == "one\ntwo\n"
    said = capsys.readouterr().err
    assert said.count("\n") == said.count("log.txt") == (output is not None)


@pytest.mark.unix
def test_a_link_is_replaced_and_not_followed(tmp_path):
    (tmp_path / "mine").write_text("old\n")
    (tmp_path / "log.txt").symlink_to(tmp_path / "mine")
    RunLog(tmp_path).info("one")
    assert (tmp_path / "mine").read_text() == "old\n"
    assert (tmp_path / "log.txt").read_text() == "one\n"


@pytest.mark.unix
def test_a_pipe_is_replaced_and_not_waited_for(tmp_path):
    log = RunLog(tmp_path)
    log.info("one")
    (tmp_path / "log.txt").unlink()
    os.mkfifo(tmp_path / "log.txt")
    log.info("two")
    assert (tmp_path / "log.txt").read_text() == "two\n"


def test_a_bar_shows_the_time_left(tmp_path, capsys):
    log = RunLog(tmp_path)
    log.is_live = True
    log.show("s1 STDP 1/2", 10, 100, left="phase 00:15, run 02:35 left")
    time.sleep(0.2)
    log.show("s1 STDP 1/2", 100, 100, Outcome(90, 10, 0), "phase 00:15, run 02:35 left")
    log.close()
    shown = capsys.readouterr().out
    assert "run 02:35 left" in shown
    assert "images/s" in shown


def test_without_a_terminal_a_long_phase_prints_a_line_per_minute(tmp_path, monkeypatch, capsys):
    log = RunLog(tmp_path)
    now = time.monotonic()
    for seconds in range(10, 140, 10):
        monkeypatch.setattr(time, "monotonic", lambda seconds=seconds: now + seconds)
        log.show("s1 STDP 1/2", seconds, 200, left="run 02:35 left")
    assert [line.split()[3:5] for line in capsys.readouterr().out.splitlines()] == [["30", "%"], ["65", "%"]]


@pytest.mark.unix
@pytest.mark.slow
def test_an_isolated_python_and_a_full_output():
    """``python -I`` does not add the folder of the script to the module path. No window is opened."""
    with open("/dev/full", "w", encoding="utf-8") as full:
        words = [sys.executable, "-I", "-u", "train.py", "--list-models"]
        environment = os.environ | {"MPLBACKEND": "nonsense"}
        done = subprocess.run(words, cwd=ROOT, env=environment, stdout=full, stderr=subprocess.PIPE, text=True)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "output" in done.stderr


@pytest.mark.parametrize("pauses", [(0, 0), (0.4, 1)], ids=str)
def test_the_latest_writer_is_read_last(pauses, tmp_path, monkeypatch):
    """Writers 9, 10 and 11 of one process: as texts, "10" sorts before "9"."""
    clock = [1_700_000_000.5]  # it goes on while a program sleeps
    monkeypatch.setattr(time, "time", lambda: sum(clock))
    monkeypatch.setattr(time, "sleep", clock.append)
    monkeypatch.setattr(event_file_writer._global_uid, "get", itertools.count(9).__next__)
    for pause, values in zip((0, *pauses), ({1: 0.5, 2: 0.25, 3: 0.75}, {2: 0.375, 3: 0.875}, {3: 0.125}), strict=True):
        time.sleep(pause)
        before = time.time()
        board = Board(tmp_path)
        for step, value in values.items():
            board.get_writer("train", min(values)).add_scalar("loss/by_epoch", value, step)
        board.close()
        assert time.time() - before < 1.1  # what waiting takes
    assert curves(tmp_path) == {("train", "loss/by_epoch"): {1: 0.5, 2: 0.375, 3: 0.125}}
    names = sorted(path.name for path in (tmp_path / "train").iterdir())
    assert [name.rsplit(".", 1)[1] for name in names] == ["9", "10", "11"]
