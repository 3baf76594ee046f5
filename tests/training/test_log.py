"""The run log where the console, or log.txt, is not as usual."""

import os
import subprocess
import sys

import pytest
from support.run_folders import ROOT

from training.log import RunLog, align_titles, describe_epoch


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


def test_a_link_is_replaced_and_not_followed(tmp_path):
    (tmp_path / "mine").write_text("old\n")
    (tmp_path / "log.txt").symlink_to(tmp_path / "mine")
    RunLog(tmp_path, quiet=True).info("one")
    assert (tmp_path / "mine").read_text() == "old\n"
    assert (tmp_path / "log.txt").read_text() == "one\n"


@pytest.mark.parametrize(("phases", "epochs"), [(("s1", "s2", "s3+s4"), (2, 4, 680)), (("s1", "a_long_name"), (3, 5))])
def test_lines_of_epochs_are_aligned_and_short(phases, epochs):
    rules = ["STDP", "STDP", "R-STDP"][: len(phases)]
    row = {"epoch": 1, "images": 55_000, "seconds": 61.25, "convergence": 1e-5, "winners_per_image": 15.25}
    row |= dict.fromkeys(("train_accuracy", "train_loss", "train_silent", "val_accuracy", "val_loss", "val_silent"))
    right = {"train_accuracy": 0.5, "train_loss": 0.25, "train_silent": 0.25}
    rows = [row | {"dead_features": 150}, row | {"dead_features": 0}]
    rows += [row | right, row | right | {"val_accuracy": 1.0, "val_loss": 0.0, "val_silent": 0.125}]
    titles = align_titles([*zip(phases, rules, strict=True)], epochs)
    assert len({len(title.format(1)) for title in titles}) == 1
    lines = [describe_epoch(each, title) for each in rows for title in titles]
    assert max(map(len, lines)) <= 100
    assert "150" in lines[0]
    assert all("12.50 % silent" in line and "100.00 %" in line and "loss" not in line for line in lines[-len(phases) :])


def test_an_isolated_python_and_a_full_output():
    """``python -I`` does not add the folder of the script to the module path. No window is opened."""
    with open("/dev/full", "w") as full:
        words = [sys.executable, "-I", "train.py", "--list-models"]
        environment = os.environ | {"MPLBACKEND": "nonsense"}
        done = subprocess.run(words, cwd=ROOT, env=environment, stdout=full, stderr=subprocess.PIPE, text=True)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "output" in done.stderr
