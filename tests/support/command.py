"""Run train.py and evaluate.py in a test, and read what they write."""

import csv
import hashlib
import json
import os
import shlex
from pathlib import Path
from unittest.mock import patch

import numba
from matplotlib.figure import Figure

import evaluate
import train
from report import report

DIGITS = "--dataset digits --device cpu --threads 1"  # several are slow while others share the cores
FEW_DIGITS = Path(__file__).with_name("few_digits.npz")  # 150 training images and 40 test images of ``digits``
# 138 training images, which are 3 batches in an epoch, and 12 validation images
SMALL = f"--model mozafari2018 --dataset {FEW_DIGITS} --device cpu --threads 1 --batch-size 50"
CORES = numba.config.NUMBA_NUM_THREADS


def start(words, output):
    return train.main([*shlex.split(words), "--output", str(output)])


def start_evaluation(words, output):
    return evaluate.main([*shlex.split(words), "--output", str(output)])


def train_here(program, words, here, folder, stop, variables):
    """``sweep.train_one`` in this process."""
    with patch.dict(os.environ, variables):
        code = train.main(words)
    return {0: "done", 130: "stopped"}.get(code, f"exit code {code}")


def read_csv(path):
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


def results(folder):
    return json.loads((folder / "results.json").read_text())


def contents(folder):
    """Every file and folder below, with what it holds and when it was written."""
    return {
        str(path.relative_to(folder)): (
            path.lstat().st_mtime_ns,
            hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else None,
        )
        for path in folder.rglob("*")
    }


def dont_draw(monkeypatch):
    """Let runs draw one empty figure: drawing takes several times as long as training with a few images."""

    def draw_history(report, caption):
        return [("", Figure(figsize=(1, 1)))] if report.history else []

    draw_history.caption = ""
    monkeypatch.setattr(report, "FIGURES", {"history": draw_history})


def refuse(words, capsys, command=train):
    """Run train.py or evaluate.py and expect one line on stderr and nothing else. Returns the line."""
    assert command.main(shlex.split(words)) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    assert err.startswith(f"{command.__name__}.py: ")
    return err
