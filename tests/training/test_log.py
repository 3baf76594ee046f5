"""The run log where the console, or log.txt, is not as usual."""

import os
import subprocess
import sys
import time

import pytest
from support.run_folders import ROOT

from engine.decision import Outcome
from network_trainer import Progress
from training.log import NoBoard, RunLog, align_titles, describe_epoch, estimate_left
from training.tensorboard import Board


@pytest.mark.parametrize("output", ["/dev/full", "closed pipe", None])
def test_a_broken_output_ends_the_printing_and_nothing_else(output, tmp_path, monkeypatch, capsys):
    reading, writing = os.pipe()
    os.close(reading)
    with open("/dev/full" if output == "/dev/full" else writing, "w") as file:
        monkeypatch.setattr(sys, "stdout", output and file)
        log = RunLog(tmp_path)
        log.info("one")
        log.info("two")
        log.close()
    assert (tmp_path / "log.txt").read_text() == "one\ntwo\n"
    said = capsys.readouterr().err
    assert said.count("\n") == said.count("log.txt") == (output is not None)


def test_a_log_without_tensorboard_takes_the_same_calls():
    helpers = {"log_scalars", "log_pixels"}
    assert {name for name in vars(Board) if name.startswith("log_")} - helpers <= {*vars(NoBoard)}


def test_a_link_is_replaced_and_not_followed(tmp_path):
    (tmp_path / "mine").write_text("old\n")
    (tmp_path / "log.txt").symlink_to(tmp_path / "mine")
    RunLog(tmp_path).info("one")
    assert (tmp_path / "mine").read_text() == "old\n"
    assert (tmp_path / "log.txt").read_text() == "one\n"


@pytest.mark.parametrize(("phases", "epochs"), [(("s1", "s2", "s3+s4"), (2, 4, 680)), (("s1", "a_long_name"), (3, 5))])
def test_lines_of_epochs_are_aligned_and_short(phases, epochs):
    rules = ["STDP", "STDP", "R-STDP"][: len(phases)]
    row = {"epoch": 1, "images": 55_000, "seconds": 61.25, "convergence": 1e-5, "winners_per_image": 15.25}
    row |= dict.fromkeys(("train_accuracy", "train_loss", "train_silent", "val_accuracy", "val_loss", "val_silent"))
    right = {"train_accuracy": 0.5, "train_loss": 0.25, "train_silent": 0.25}
    rows = [row | {"dead_features": 15}, row | {"dead_features": 0}, row | {"dead_features": 1}]
    rows += [row | right, row | right | {"val_accuracy": 1.0, "val_loss": 0.0, "val_silent": 0.125}]
    titles = align_titles([*zip(phases, rules, strict=True)], epochs)
    assert len({len(title.format(1)) for title in titles}) == 1
    lines = [describe_epoch(each, title) for each in rows for title in titles]
    of_stdp = lines[: 3 * len(phases)]
    assert max(map(len, of_stdp)) <= 80 + max(map(len, phases)) - len("s3+s4")
    assert max(map(len, lines)) <= 100
    assert "15 features" in lines[0]
    assert "1 feature never" in of_stdp[-1]
    assert all("silent 12.50 %" in line and "100.00 %" in line and "loss" not in line for line in lines[-len(phases) :])


def test_the_time_left_follows_from_the_seconds_of_each_phase():
    names, epochs = ["s1", "s2", "s3"], [2, 4, 10]
    begun = Progress(phase=0, epoch=0, seconds=5.0)  # half an epoch: 10 s for each of the 16 epochs
    assert estimate_left(begun, names, epochs, 0.5) == "phase 00:15, run 02:35 left"
    rows = [{"phase": "s1", "seconds": 10.0}, {"phase": "s2", "seconds": 60.0}]
    later = Progress(phase=1, epoch=2, seconds=15.0, history=rows)
    assert estimate_left(later, names, epochs, 0.25) == "phase 01:45, run 11:45 left"


def test_a_bar_shows_the_time_left(tmp_path, capsys):
    log = RunLog(tmp_path)
    log.is_live = True
    log.show("s1 STDP 1/2", 10, 100, left="phase 00:15, run 02:35 left", unit="digits")
    assert "?" not in capsys.readouterr().out  # the rate is not known yet
    time.sleep(0.2)
    log.show("s1 STDP 1/2", 100, 100, Outcome(90, 10, 0), "phase 00:15, run 02:35 left")
    log.close()
    shown = capsys.readouterr().out
    assert "run 02:35 left" in shown
    assert "digits/s" in shown


@pytest.mark.parametrize("flag", ["--list-models", "--help"])
def test_an_isolated_python_and_a_full_output(flag):
    """``python -I`` does not add the folder of the script to the module path. No window is opened."""
    with open("/dev/full", "w") as full:
        words = [sys.executable, "-I", "-u", "train.py", flag]
        environment = os.environ | {"MPLBACKEND": "nonsense"}
        done = subprocess.run(words, cwd=ROOT, env=environment, stdout=full, stderr=subprocess.PIPE, text=True)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "output" in done.stderr
