"""The run log where the console, or log.txt, is not as usual."""

import os
import subprocess
import sys

import pytest
from support.run_folders import ROOT

from training.log import RunLog


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


def test_an_isolated_python_and_a_full_output():
    """``python -I`` does not add the folder of the script to the module path. No window is opened."""
    with open("/dev/full", "w") as full:
        words = [sys.executable, "-I", "train.py", "--list-models"]
        environment = os.environ | {"MPLBACKEND": "nonsense"}
        done = subprocess.run(words, cwd=ROOT, env=environment, stdout=full, stderr=subprocess.PIPE, text=True)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "output" in done.stderr
