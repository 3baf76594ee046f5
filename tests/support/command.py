"""Run train.py and evaluate.py in a test, and read what they write."""

import csv
import json
import os
import shlex
from pathlib import Path

import numba
import numpy as np
from matplotlib.figure import Figure
from PIL import Image

import evaluate
import train
from report import evaluation, report
from training import testing
from utils import ROOT

NO_REFERENCES = "--no-references"  # for runs whose comparison no test reads: it takes seconds
DIGITS = f"--dataset digits --device cpu --threads 1 {NO_REFERENCES}"  # several threads are slow beside other tests
FEW_DIGITS = Path(__file__).with_name("few_digits.npz")  # 150 training images and 40 test images of ``digits``
# 138 training images, which are 3 batches in an epoch, and 12 validation images
COMPARED = f"--model mozafari2018 --dataset {FEW_DIGITS} --device cpu --threads 1 --batch-size 50"
SMALL = f"{COMPARED} {NO_REFERENCES}"
CORES = numba.config.NUMBA_NUM_THREADS
MACHINE = "--device cpu --threads 1"
TRAINED = ROOT / "results" / "checkpoints" / "mozafari2018.safetensors"


def start(words, output):
    return train.main([*shlex.split(words), "--output", str(output)])


def start_evaluation(words, output):
    return evaluate.main([*shlex.split(words), "--output", str(output)])


def find_newest(output, pattern):
    """Return the folder in ``output`` of which a file with this pattern was written last; None: there is none."""
    paths = sorted(output.glob(f"[!.]*/{pattern}"), key=os.path.getmtime)
    return output / paths[-1].relative_to(output).parts[0] if paths else None


def run_train(words, output, code=0):
    """Run train.py, which must end with this exit code; return the folder of its run."""
    assert start(words, output) == code, words
    return find_newest(output, "checkpoints/last.safetensors")


def run_evaluate(words, output, code=0):
    """Run evaluate.py, which must end with this exit code; return the folder of its results."""
    assert start_evaluation(words, output) == code, words
    return find_newest(output, "*")


def train_here(run, start, resume, here, threads, is_stopped=None):
    """``sweep.train_one`` in this process."""
    _, program, *words = resume if Path(run).is_dir() else start
    main = {"train": train, "evaluate": evaluate}[Path(program).stem].main
    return Path(run).name, main(words), ""


def read_csv(path):
    with open(path, encoding="utf-8-sig", newline="") as file:
        return list(csv.DictReader(file))


def results(folder):
    return json.loads((folder / "results.json").read_text())


def read_few_digits():
    """Return {name: array} of the file FEW_DIGITS."""
    with np.load(FEW_DIGITS) as few:
        return dict(few)


def save_pictures(folder, images):
    """Save each image as a file; return the paths."""
    files = [folder / f"{number:02}.png" for number in range(len(images))]
    for file, image in zip(files, images, strict=True):
        Image.fromarray(image).save(file)
    return files


def contents(folder):
    """Every file and folder below, with its number, its size and when it was written. Networks take time to read."""
    found = {path.relative_to(folder): path.lstat() for path in folder.rglob("*")}
    return {path: (stat.st_ino, stat.st_size, stat.st_mtime_ns) for path, stat in found.items()}


def dont_draw(monkeypatch):
    """Let runs draw one empty figure, and measure neither ROC curves nor how early they decide.

    This takes several times as long as training with a few images.
    """

    def draw_history(report, caption):
        return [("", Figure(figsize=(1, 1)))] if report.history else []

    draw_history.caption = ""
    monkeypatch.setattr(report, "FIGURES", {"history": draw_history})
    monkeypatch.setattr(evaluation, "compute_mean_roc_auc", lambda *_: 0.5)
    for module in (evaluate, testing):
        monkeypatch.setattr(module, "measure_decision_time", lambda *_: {})
