"""The run log where the console, or log.txt, is not as usual; the order of TensorBoard's event files."""

import itertools
import os
import subprocess
import sys
import time
from types import SimpleNamespace

import pytest
from support.command import SMALL, run_train
from support.run_folders import curves, read_log
from tensorboard.summary.writer import event_file_writer

import network_trainer
from engine.compiled import counts
from engine.decision import Outcome
from engine.phases import Phase
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
    assert read_log(tmp_path) == "one\ntwo\n"
    said = capsys.readouterr().err
    assert said.count("\n") == said.count("log.txt") == (output is not None)


@pytest.mark.unix
def test_a_link_is_replaced_and_not_followed_and_a_pipe_is_not_waited_for(tmp_path):
    (tmp_path / "mine").write_text("old\n")
    (tmp_path / "log.txt").symlink_to(tmp_path / "mine")
    log = RunLog(tmp_path)
    log.info("one")
    assert (tmp_path / "mine").read_text() == "old\n"
    assert read_log(tmp_path) == "one\n"
    (tmp_path / "log.txt").unlink()
    os.mkfifo(tmp_path / "log.txt")
    log.info("two")
    assert read_log(tmp_path) == "two\n"


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


def test_the_time_left_is_estimated_without_compilation(tmp_path, undrawn, monkeypatch):
    """A batch takes 10 s, and the first of each phase compiles for 100 s more. By hand: 138 images, three batches, take
    27.6 s by the second batch, of 50 images. The whole second epoch of s3 takes 30 s."""
    clock = [0.0]
    shown = []
    learn = Phase.learn

    def compile_and_learn(phase, *args, **options):
        clock[0] += 10
        if not int(phase.batches):
            counts["compiled"] += 1
            clock[0] += 100
        return learn(phase, *args, **options)

    def show(log, title, done, total, outcome=None, left=""):
        if "/" in title:
            shown.append((title.split()[0], done, left.split(" left")[0]))

    monkeypatch.setattr(network_trainer, "time", SimpleNamespace(perf_counter=lambda: clock[0]))
    monkeypatch.setattr(Phase, "learn", compile_and_learn)
    monkeypatch.setattr(RunLog, "show", show)
    run_train(f"{SMALL} --epochs 1 1 3 --no-figures", tmp_path)
    batches = [each for each in shown if each[1] in (50, 100, 138)]
    assert [left for name, done, left in batches if done == 50][:3] == ["", "", ""]
    assert batches[1] == ("s1", 100, "phase 00:07, run 01:58")  # 27.6 · 38/138, and four epochs
    assert batches[4] == ("s2", 100, "phase 00:07, run 01:30")
    assert [left for name, done, left in batches if (name, done) == ("s3", 50)][1:] == [
        "phase 00:45, run 00:45",  # 27.6 · (2 - 50/138)
        "phase 00:19, run 00:19",  # 30 · (1 - 50/138)
    ]


@pytest.mark.unix
@pytest.mark.slow
def test_a_full_output():
    """No window is opened."""
    with open("/dev/full", "w", encoding="utf-8") as full:
        words = [sys.executable, "-u", "train.py", "--list-models"]
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
