"""The command line: what a run leaves, what it refuses, and that an interruption changes nothing."""

import argparse
import csv
import errno
import hashlib
import json
import math
import os
import pickle
import re
import shlex
import shutil
import signal
import string
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path

import numba
import numpy as np
import pytest
import torch
import torchvision
from kill_and_resume import ROOT, only_run, outcome, same
from PIL import Image

import datasets
import train
from errors import InputError
from models import MODELS, build_model
from report import figures, writing
from s1c1 import S1C1
from training import checkpoint
from training.image_file import ORIENTATION, read_image
from training.run import Run, wanted_maps
from utils import choose_device, held, peak_memory, write_atomically

NETWORKS = sorted({cls.name for cls in MODELS.values()})
DIGITS = "--dataset digits --device cpu --threads 1"  # several are slow while others share the cores
SMALL = f"--model mozafari2018 {DIGITS} --ratio 0.2 --batch-size 100"  # 264 images: 3 batches in an epoch
CORES = numba.config.NUMBA_NUM_THREADS


def start(words, output):
    return train.main([*shlex.split(words), "--output", str(output)])


def read_csv(path):
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


def results(folder):
    return json.loads((folder / "results.json").read_text())


def contents(folder):
    """Every file and folder below, with what it holds and when it was written."""
    return {
        str(path.relative_to(folder)): (
            path.stat().st_mtime_ns,
            hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else None,
        )
        for path in folder.rglob("*")
    }


def dont_draw(monkeypatch):
    for name in ("draw_network", "draw_evaluation"):
        monkeypatch.setattr(writing, name, lambda *_: ())


@pytest.fixture
def undrawn(monkeypatch):
    """Runs leave no figures but the history: drawing takes longer than training."""
    dont_draw(monkeypatch)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """The folder of a finished run that has learned something."""
    output = tmp_path_factory.mktemp("trained")
    with pytest.MonkeyPatch.context() as monkeypatch:
        dont_draw(monkeypatch)
        assert start(f"--model mozafari2018 {DIGITS} --batch-size 100 --epochs 2 12 5", output) == 0
    return only_run(output)


# ---------------------------------------------------------------------------------------------------------------------
# What a run leaves


@pytest.mark.parametrize("name", NETWORKS)
def test_a_dry_run_leaves_every_file(name, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(figures, "DPI", 20)
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    with_all = name == "mozafari2018"
    more = "--tensorboard --map-index 3" if with_all else ""
    assert start(f"--model {name} {DIGITS} --dry-run {more}", tmp_path / "runs") == 0
    out, err = capsys.readouterr()
    assert err == ""
    folder = only_run(tmp_path / "runs")
    assert str(folder) in out
    assert sorted(path.name for path in tmp_path.iterdir()) == ["elsewhere", "runs"]
    assert not list((tmp_path / "elsewhere").iterdir())

    files = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    model = build_model(name)
    drawn = {path.removeprefix("figures/") for path in files if path.startswith("figures/")}
    assert drawn == {
        "confusion_matrix.png", "errors.png", "history.png", "roc_curves.png", "spike_times.png", "spike_wave.png",
        f"filters_{next(model.named_convs())[0]}.png",
        *(f"features_{label}.png" for label, _ in model.named_convs(list(model.stages)[:-1])),
    }  # fmt: skip
    maps = {path for path in files if path.startswith("maps/")}
    assert len(maps) == (len(model.stages) + 2 if with_all else 0)
    events = {path for path in files if path.startswith("events.out.tfevents.")}
    assert len(events) == (1 if with_all else 0)
    rest = {path for path in files - maps - events if not path.startswith(("figures/", "00", "projector_config"))}
    assert rest == {
        "args.json", "metrics.csv", "results.json", "predictions.csv", "summary.txt",
        "checkpoints/best.pt", "checkpoints/last.pt",
    }  # fmt: skip

    rows = read_csv(folder / "metrics.csv")
    assert [(row["phase"], row["rule"], row["epoch"]) for row in rows] == [(p.name, p.rule, "1") for p in model.phases]
    assert name in (folder / "summary.txt").read_text()
    saved = json.loads((folder / "args.json").read_text())
    assert saved["flags"]["model"] == name
    assert saved["flags"]["epochs"] == [1] * len(model.phases)
    assert saved["command_line"].startswith(f"train.py --model {name} --dataset digits")
    check_results(folder, 100)
    if with_all:
        check_tensorboard(folder, {f"figures/{Path(name).stem}" for name in drawn})


def check_tensorboard(folder, figures):
    """Every kind of thing that the README promises is in the events of a run of mozafari2018."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(folder), size_guidance={"images": 0}).Reload()
    tags, rates = events.Tags(), ("ltp_rate", "ltd_rate")
    rewarded = [f"{outcome}_{rate}" for outcome in ("reward", "punishment") for rate in rates]
    assert set(tags["scalars"]) == {
        *(f"{split}/{part}" for split in ("train", "val", "test") for part in ("accuracy", "loss", "silent")),
        "test/f1_macro", "test/roc_auc_macro",
        *(f"stdp/{stage}/{kind}" for stage in ("s1", "s2") for kind in ("convergence", "dead_features", *rates)),
        *(f"stdp/s3/{kind}" for kind in ("convergence", "dead_features", *rewarded)),
    }  # fmt: skip
    stages = ("s1", "s2", "s3")
    assert set(tags["histograms"]) == {
        f"stdp/{stage}/{kind}" for stage in stages for kind in ("weights", "wins_per_feature")
    }
    assert set(tags["images"]) == {"stdp/s1/filters", *figures}
    assert "network/text_summary" in tags["tensors"]
    accuracy = results(folder)["test"]["best"]["accuracy"]
    assert events.Scalars("test/accuracy")[-1].value == pytest.approx(accuracy)
    assert any(tag.startswith("_hparams_") for tag in events.summary_metadata)
    (labels,) = folder.glob("*/*/metadata.tsv")
    assert len(labels.read_text().split()) == 100
    assert (labels.parent / "sprite.png").is_file()
    assert len((labels.parent / "tensors.tsv").read_text().splitlines()) == 100


def check_results(folder, images):
    found = results(folder)
    for scores in (found["test"]["best"], found["test"]["last"], found["validation"]["best"]):
        assert {"f1_macro", "precision_macro", "recall_macro", "roc_auc_macro"} < scores.keys()
        assert math.isclose(scores["accuracy"] + scores["wrong"] + scores["silent"], 1)
        matrix = np.array(scores["confusion_matrix"])
        assert matrix.shape == (10, 11)  # the last column is silence
        assert matrix.sum() == scores["count"]
        assert np.trace(matrix) / scores["count"] == scores["accuracy"]
        assert matrix[:, -1].sum() / scores["count"] == scores["silent"]

    best = found["test"]["best"]
    rows = read_csv(folder / "predictions.csv")
    assert [int(row["index"]) for row in rows] == list(range(images))
    pairs = Counter((row["label"], row["prediction"]) for row in rows)
    names = [*"0123456789", "silent"]
    assert [[pairs[label, name] for name in names] for label in names[:-1]] == best["confusion_matrix"]
    assert best["count"] == images


def test_a_run_that_has_learned(trained):
    check_results(trained, 360)
    found = results(trained)
    assert found["test"]["best"]["accuracy"] > 0.4
    assert found["images"] == {"train": 1318, "validation": 119, "test": 360}
    assert found["best_epoch"]["accuracy"] == found["validation"]["best"]["accuracy"]
    accuracies = [float(row["val_accuracy"]) for row in read_csv(trained / "metrics.csv") if row["val_accuracy"]]
    assert max(accuracies) == found["best_epoch"]["accuracy"]


def test_nothing_is_held_out(tmp_path, undrawn):
    assert start(f"{SMALL} --epochs 1 1 1 --val-split 0", tmp_path) == 0
    folder = only_run(tmp_path)
    found = results(folder)
    assert "validation" not in found
    assert found["best_epoch"] is None
    assert found["test"]["best"] == found["test"]["last"]
    best, last = (checkpoint.load(folder / "checkpoints" / f"{name}.pt")["state"] for name in ("best", "last"))
    assert same(best, last)


@pytest.mark.parametrize(("epochs", "phases"), [("0 1 2", ["s2", "s3", "s3"]), ("1 1 0", ["s1", "s2"])])
def test_no_epochs_skip_a_phase(epochs, phases, tmp_path, undrawn):
    assert start(f"{SMALL} --epochs {epochs}", tmp_path) == 0
    assert [row["phase"] for row in read_csv(only_run(tmp_path) / "metrics.csv")] == phases


def test_no_epochs_at_all(tmp_path, undrawn):
    assert start(f"{SMALL} --epochs 0 0 0", tmp_path) == 0
    assert results(only_run(tmp_path))["test"]["best"]["count"] == 360


def test_patience(tmp_path, undrawn):
    assert start(f"{SMALL} --epochs 1 1 20 --patience 2", tmp_path) == 0
    folder = only_run(tmp_path)
    done = [row for row in read_csv(folder / "metrics.csv") if row["phase"] == "s3"]
    assert len(done) == results(folder)["best_epoch"]["epoch"] + 2 < 20


def test_both_spellings_of_the_batch_size(tmp_path, undrawn):
    assert start(f"{SMALL} --epochs 0 0 1 --batch_size 50", tmp_path) == 0
    assert json.loads((only_run(tmp_path) / "args.json").read_text())["flags"]["batch_size"] == 50


def test_lists(capsys):
    assert train.main(["--list-models"]) == 0
    out = capsys.readouterr().out
    assert [line.split(maxsplit=1)[0].rstrip(":") for line in out.splitlines()[::2]] == NETWORKS
    assert train.main(["--summary", "--model", "mozafari2018", "--dataset", "digits"]) == 0
    assert "mozafari2018 for 6×28×28 inputs" in capsys.readouterr().out


# ---------------------------------------------------------------------------------------------------------------------
# Bad input


class Code:
    """Its pickle makes a folder when it is read."""

    def __init__(self, folder):
        self.folder = folder

    def __reduce__(self):
        return Path.mkdir, (self.folder,)


@pytest.fixture(scope="module")
def bad(trained, tmp_path_factory):
    """A folder of files that are not what they should be."""
    folder = tmp_path_factory.mktemp("bad")
    (folder / "empty").touch()
    (folder / "text.png").write_text("no image")
    (folder / "folder").mkdir()
    (folder / "noise.pt").write_bytes(np.random.default_rng(0).bytes(5000))
    (folder / "code.pt").write_bytes(pickle.dumps(Code(folder / "executed")))
    torch.save({"weights": torch.zeros(3)}, folder / "foreign.pt")
    torch.save(Code(folder / "executed"), folder / "foreign_code.pt")
    content = checkpoint.load(trained / "checkpoints" / "best.pt")
    torch.save({**content, "format": 99}, folder / "version.pt")
    torch.save({**content, "model": "gone"}, folder / "model.pt")
    torch.save({**content, "run": {}}, folder / "bare.pt")
    torch.save({key: content[key] for key in ("format", "state")}, folder / "part.pt")
    weight = {"stages.s2.weight": torch.zeros(250, 30, 5, 5)}
    torch.save({**content, "state": {**content["state"], **weight}}, folder / "shape.pt")
    (folder / "truncated.pt").write_bytes((trained / "checkpoints" / "best.pt").read_bytes()[:-1000])
    (folder / "run" / "checkpoints").mkdir(parents=True)
    torch.save(content, folder / "run" / "checkpoints" / "last.pt")
    digit = np.zeros((28, 28), np.uint8)
    digit[4:24, 12:16] = 255
    Image.fromarray(digit).save(folder / "digit.png")
    (folder / "truncated.png").write_bytes((folder / "digit.png").read_bytes()[:60])
    return folder


NEW = f"--model mozafari2018 {DIGITS} --output {{out}} "
MISTAKES = {
    # flags
    "--model nonsense": r"unknown model 'nonsense'; there are deep2024, .*mozafari2018",
    "--dataset digits": r"name a network with --model; --list-models prints them",
    "--summary": r"name a network with --model",
    "--summary --model nonsense": r"unknown model 'nonsense'",
    "--nonsense": r"unrecognized arguments: --nonsense",
    "--mod mozafari2018": r"unrecognized arguments: --mod",
    "--batch-size many": r"--batch-size.* invalid int value: 'many'",
    NEW + "--epochs 1 2": r"--epochs takes 3 numbers for mozafari2018, one for each phase \(s1 s2 s3\), not 2",
    NEW + "--epochs 1 -1 2": r"--epochs must be 0 or more for each phase \(s1 s2 s3\), not -1",
    NEW + "--batch-size 0": r"--batch-size must be 1 or more, not 0",
    NEW + "--patience -1": r"--patience must be 0 or more, not -1",
    NEW + "--patience 5 --val-split 0": r"--patience needs validation images; leave out --val-split 0",
    "--summary --resume {run}": r"--summary and --resume are different things to do; leave one out",
    "--list-models --evaluate {run} --predict {bad}/digit.png": r"--list-models and --evaluate and --predict are diff",
    NEW + "--seed -1": r"--seed must be 0 or more, not -1",
    NEW + "--save-every nan": r"--save-every must be 0 or more, not nan",
    NEW + "--save-maps -1": r"--save-maps must be 0 or more, not -1",
    NEW + "--map-every -1": r"--map-every must be 0 or more, not -1",
    NEW + "--map-index 0 360": r"--map-index must be 0 to 359, the test images",
    NEW + "--map-index -1": r"--map-index must be 0 to 359, the test images",
    # data
    "--model mozafari2018 --dataset nonsense": r"no data set is called 'nonsense'; there are: mnist, .*digits",
    "--model mozafari2018 --data-dir {bad}/missing": r"missing/MNIST/raw lacks train-images.* download failed .*put",
    "--model mozafari2018 --data-dir {bad}/folder": r"folder/MNIST/raw lacks train-images.* download failed .*put",
    "--model mozafari2018 --data-dir {bad}/empty": r"empty/MNIST/raw lacks train-images",
    NEW + "--ratio 0": r"ratio .*must be above 0 and at most 1, not 0.0",
    NEW + "--ratio 1.5": r"ratio .*must be above 0 and at most 1, not 1.5",
    NEW + "--ratio nan": r"ratio .*must be above 0 and at most 1, not nan",
    NEW + "--ratio 0.001": r"ratio of 0.001 leaves a class without any of the 1318 images",
    NEW + "--val-split -1": r"--val-split must be 0 or more, not -1",
    NEW + "--val-split nan": r"--val-split must be 0 or more, not nan",
    NEW + "--val-split some": r"--val-split: invalid .* value: 'some'",
    NEW + "--val-split 1437": r"--val-split: cannot hold out 1437 of 1437 .* give a count from 1 to 1436, or",
    NEW + "--val-split 1.5": r"--val-split: cannot hold out 1.5 of 1437 images",
    NEW + "--val-split 5": r"--val-split: holding out 5 of 1437 images leaves a class without an image",
    # machine
    NEW + "--device cuda": r"no device 'cuda' here: 0 CUDA devices found; use cpu or auto",
    NEW + "--device nonsense": r"no such device: 'nonsense'; use cpu, cuda, cuda:N or auto",
    NEW + "--device meta": r"device 'meta' is not supported; use cpu, cuda, cuda:N or auto",
    NEW + "--backend nonsense": r"--backend: invalid choice: 'nonsense' \(choose from .*event",
    NEW + "--threads 99999": rf"--threads must be 1 to {CORES} on this machine",
    NEW + "--threads -1": rf"--threads must be 1 to {CORES} on this machine",
    # output
    NEW + "--output {bad}/text.png": r"text.png",
    NEW + "--output {bad}/text.png/deep/er": r"cannot write to --output .*text.png.*name another folder",
    "--evaluate {run} --dry-run --output {bad}/text.png": r"text.png",
    "--evaluate latest --output {bad}/folder": r"there is no run in .*folder yet",
    # checkpoints
    "--evaluate {bad}/missing": r"no checkpoint at .*missing",
    "--evaluate {bad}/folder": r"no checkpoint at .*folder/checkpoints/last.pt",
    "--evaluate {bad}/empty": r"empty is damaged or no checkpoint of this program",
    "--evaluate {bad}/noise.pt": r"noise.pt is damaged or no checkpoint of this program",
    "--evaluate {bad}/truncated.pt": r"truncated.pt is damaged",
    "--evaluate {bad}/code.pt": r"code.pt is damaged or no checkpoint of this program",
    "--evaluate {bad}/foreign_code.pt": r"foreign_code.pt is damaged or no checkpoint of this program",
    "--evaluate {bad}/foreign.pt": r"foreign.pt is no checkpoint of this program",
    "--evaluate {bad}/part.pt": r"part.pt is no checkpoint of this program",
    "--evaluate {bad}/version.pt": r"version.pt is no checkpoint of this program, or of another version of it",
    "--evaluate {bad}/model.pt": r"unknown model 'gone'; there are ",
    "--evaluate {bad}/shape.pt": r"weights of 'mozafari2018' do not fit .*stages.s2.weight",
    "--evaluate {run} --model deep2024": r"holds a mozafari2018, not a deep2024",
    "--evaluate {run} --map-index 360": r"--map-index must be 0 to 359, the test images",
    "--evaluate {run} --epochs 1 1 1 --tensorboard": r"--evaluate does not train; leave out --epochs, --tensorboard",
    "--evaluate {run} --batch-size 5 --seed 3": r"--evaluate does not train; leave out --batch-size, --seed",
    "--predict {bad}/digit.png --evaluate {run} --ratio 0.1": r"--predict takes image files; leave out --ratio",
    "--predict {bad}/digit.png --evaluate {run} --save-maps": r"--predict takes image files; leave out --save-maps",
    "--predict {bad}/digit.png --evaluate {run} --model deep2024": r"holds a mozafari2018, not a deep2024",
    "--evaluate {run} --model nonsense": r"unknown model 'nonsense'; there are ",
    "--evaluate {bad}/bare.pt": r"bare.pt does not say which images its network was trained on",
    "--predict {bad}/digit.png --evaluate {bad}/bare.pt": r"bare.pt does not say which images",
    "--evaluate {run} --save-maps -1": r"--save-maps must be 0 or more, not -1",
    # resuming
    "--resume {bad}/missing": r"no checkpoint at .*missing/checkpoints/last.pt",
    "--resume latest --output {bad}/folder": r"there is no run in .*folder yet",
    "--resume {bad}/run": r"last.pt holds a network, but no run to go on with",
    "--resume {run} --epochs 2 12 6": r"leave out --epochs \[2, 12, 6\] \(the run has \[2, 12, 5\]\)",
    "--resume {run} --seed 1": r"leave out --seed 1 \(the run has 0\)",
    "--resume {run} --model deep2024": r"leave out --model deep2024 \(the run has mozafari2018\)",
    "--resume {run} --save-every -1": r"--save-every must be 0 or more, not -1",
    # images
    "--predict {bad}/missing.png --evaluate {run}": r"no image at .*missing.png",
    "--predict {bad}/folder --evaluate {run}": r"no image at .*folder",
    "--predict {bad}/empty --evaluate {run}": r"empty cannot be read as an image; give a PNG or JPEG file",
    "--predict {bad}/text.png --evaluate {run}": r"text.png cannot be read as an image; give a PNG or JPEG file",
    "--predict {bad}/truncated.png --evaluate {run}": r"truncated.png cannot be read as an image",
    "--predict {bad}/digit.png --output {bad}/folder": r"there is no run in .*folder yet",
    "--predict": r"--predict: expected at least one argument",
}  # fmt: skip


def refuse(words, capsys):
    """Start and expect one line on stderr and nothing else; returns it."""
    assert train.main(shlex.split(words)) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    assert err.startswith("train.py: ")
    return err


@pytest.mark.parametrize("words", MISTAKES)
def test_a_mistake_gets_one_line(words, bad, trained, tmp_path, monkeypatch, capsys):
    """Before anything is computed, and without a trace of it in what was there or in the output folder."""

    def fail(*_):
        raise OSError("no network")

    monkeypatch.setattr(torchvision.datasets.utils, "download_url", fail)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    monkeypatch.setattr(S1C1, "encode", lambda *_: pytest.fail("encoded images first"))
    monkeypatch.chdir(tmp_path)
    before = contents(bad), contents(trained)
    line = refuse(words.format(bad=bad, run=trained, out=tmp_path / "runs"), capsys)
    assert re.search(MISTAKES[words], line), line
    assert (contents(bad), contents(trained)) == before
    assert not list(tmp_path.iterdir())


def test_the_event_backend_on_a_gpu(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    words = f"--model mozafari2018 --dataset digits --device cuda --backend event --output {tmp_path}"
    assert "the event backend runs on a CPU, not on cuda; use the torch backend there" in refuse(words, capsys)
    assert not list(tmp_path.iterdir())


def test_a_gpu_is_used_when_it_is_asked_for(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    assert [choose_device("auto", backend).type for backend in ("auto", "event", "torch")] == ["cpu", "cpu", "cuda"]
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert choose_device("auto", "torch").type == "cpu"


def test_two_processes_in_one_run(trained, capsys):
    with held(trained):
        assert "another process is training in" in refuse(f"--resume {trained}", capsys)


def test_a_run_in_a_folder_that_has_become_read_only(trained, monkeypatch, capsys):
    def fail(**_):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    monkeypatch.setattr(tempfile, "TemporaryFile", fail)
    assert re.search(r"cannot write to .*: Permission denied", refuse(f"--resume {trained}", capsys))


def test_an_error_of_the_disk_gets_one_line(monkeypatch, capsys):
    def fail(_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "runs/events.out")

    monkeypatch.setattr(train, "train", fail)
    assert refuse("", capsys) == "train.py: cannot read or write runs/events.out: No space left on device\n"


def test_another_number_of_classes(trained, tmp_path, monkeypatch, capsys):
    labels = np.arange(52) % 26
    letters = np.zeros((52, 28, 28), np.uint8), labels, np.zeros((52, 28, 28), np.uint8), labels
    data = datasets.DataSet("emnist-letters", *letters, tuple(string.ascii_lowercase))
    monkeypatch.setattr(datasets, "load", lambda *_: data)
    line = refuse(f"--evaluate {trained} --dataset emnist-letters --output {tmp_path}", capsys)
    assert "tells 10 classes (digits) apart; emnist-letters has 26" in line
    assert not list(tmp_path.iterdir())


# ---------------------------------------------------------------------------------------------------------------------
# Using a trained network


@pytest.mark.parametrize("place", ["", "checkpoints/best.pt"])
def test_evaluating_gives_the_numbers_of_the_run(place, trained, tmp_path, undrawn, capsys):
    before = contents(trained)
    for _ in range(2):
        assert start(f"--evaluate {trained / place} --device cpu --threads 1", tmp_path) == 0
    assert "mozafari2018 on digits, test images:" in capsys.readouterr().out
    first, second = tmp_path.iterdir()
    for folder in first, second:
        assert results(folder)["test"] == results(trained)["test"]["best"]
        assert (folder / "predictions.csv").read_text() == (trained / "predictions.csv").read_text()
    assert contents(trained) == before


def test_an_alias_is_its_network(tmp_path, undrawn):
    words = f"--model deepr2024_2 {DIGITS} --dry-run"
    assert start(words, tmp_path) == 0
    assert start("--evaluate latest --model deepr2024_2 --dry-run --device cpu --threads 1", tmp_path) == 0


def test_maps_of_chosen_and_of_named_images():
    labels = datasets.load("digits").test_labels
    first, second = np.flatnonzero(labels == 1)[:2].tolist()
    flags = argparse.Namespace(map_index=[second, first], save_maps=1, dry_run=False)
    indices = wanted_maps(flags, labels)
    assert indices[:2].tolist() == flags.map_index
    assert len(set(indices.tolist())) == len(indices) == 11  # and the first one of each of nine other classes
    assert sorted(labels[indices[1:]].tolist()) == list(range(10))


def test_evaluating_on_another_data_set(trained, tmp_path, undrawn):
    assert start(f"--evaluate {trained} --dataset mnist --dry-run --device cpu", tmp_path) == 0
    (folder,) = tmp_path.iterdir()
    assert results(folder)["test"]["count"] == 100
    assert len(read_csv(folder / "predictions.csv")) == 100


def predictions(files, network, capsys):
    """What is printed for each file: (class, note)."""
    assert (
        train.main(["--predict", *map(str, files), "--evaluate", str(network), "--device", "cpu", "--threads", "1"])
        == 0
    )
    out = capsys.readouterr().out.splitlines()
    assert [line.split(": ")[0] for line in out] == [str(file) for file in files]
    parts = [line.split(": ", 1)[1].partition("  ") for line in out]
    return [name for name, _, _ in parts], [note for _, _, note in parts]


def test_predicting_image_files(trained, tmp_path, capsys):
    """An exact image file is decided as the test image is; one that had to be adapted comes with a note."""
    images, labels = datasets.load("digits").test_images[:20], datasets.load("digits").test_labels[:20]
    model = checkpoint.rebuild(checkpoint.load(trained / "checkpoints" / "best.pt"))
    decided = [str(label) for label in model.predict(S1C1().encode(images)).tolist()]
    assert len(set(decided)) > 4
    assert np.mean([name == str(label) for name, label in zip(decided, labels, strict=True)]) > 0.4

    def write(kind, change):
        files = [tmp_path / f"{index:02}-{kind}.png" for index in range(len(images))]
        for file, image in zip(files, images, strict=True):
            change(Image.fromarray(image)).save(file)
        return predictions(files, trained, capsys)

    assert write("exact", lambda picture: picture) == (decided, [""] * 20)
    negative = write("negative", lambda picture: Image.fromarray(255 - np.asarray(picture)))
    assert negative == (decided, ["(inverted: it was dark on light)"] * 20)
    assert write("colour", lambda picture: picture.convert("RGB")) == (decided, ["(made grey)"] * 20)
    assert write("opaque", lambda picture: picture.convert("RGBA")) == (decided, ["(made grey)"] * 20)
    names, notes = write("large", lambda picture: picture.resize((280, 280), Image.Resampling.NEAREST))
    assert notes == ["(resized from 280×280)"] * 20
    assert np.mean([a == b for a, b in zip(names, decided, strict=True)]) > 0.7


def test_predicting_silence(trained, tmp_path, capsys):
    Image.new("L", (28, 28)).save(tmp_path / "black.png")
    names, _ = predictions([tmp_path / "black.png"], trained, capsys)
    assert names == ["silent: no neuron of the last stage fired"]


# ---------------------------------------------------------------------------------------------------------------------
# Stopping and resuming


@pytest.fixture
def stop_after(monkeypatch):
    """A function that has every further start stopped, as by Ctrl-C, after so many batches (None: never)."""
    plain, limit = Run.after_batch, None

    def after_batch(self, progress):
        self.batches = getattr(self, "batches", 0) + 1
        self.stop.asked = self.batches == limit
        plain(self, progress)

    def set_limit(batches):
        nonlocal limit
        limit = batches

    monkeypatch.setattr(Run, "after_batch", after_batch)
    return set_limit


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """The outcome of flags without an interruption; each is run once."""
    known = {}

    def run(words):
        if words not in known:
            output = tmp_path_factory.mktemp("undisturbed")
            assert start(words, output) == 0
            known[words] = outcome(only_run(output))
        return known[words]

    return run


def assert_same(found, expected):
    for what, value in expected.items():
        assert same(found[what], value), f"{what} differ"


THREADS = f"--threads {min(2, CORES)}"
# s1, s2, s3: batches 1-3, 4-6, 7-12; a stop after an epoch's last batch comes before the epoch's row is written
RESUMES = [([2], ""), ([5], THREADS), ([8], THREADS), ([12], ""), ([1] * 11, "")]


@pytest.mark.parametrize(("stops", "more"), RESUMES, ids=lambda value: str(value).replace(" ", ""))
def test_an_interruption_changes_nothing(stops, more, tmp_path, undrawn, undisturbed, stop_after, capsys):
    words = f"{SMALL} --epochs 1 1 2"
    expected = undisturbed(words)
    stop_after(stops[0])
    assert start(words, tmp_path) == 130
    run = only_run(tmp_path)
    assert f"python train.py --resume {shlex.quote(str(run))}" in capsys.readouterr().out
    for batches in stops[1:]:
        stop_after(batches)
        assert train.main(shlex.split(f"--resume {run} {more}")) == 130
    assert not (run / "results.json").exists()
    stop_after(None)
    assert start(f"--resume latest {more}", tmp_path) == 0
    assert list(tmp_path.iterdir()) == [run]
    assert_same(outcome(run), expected)
    assert not list(run.glob("**/.*"))


@pytest.mark.parametrize("name", ["deepr2024_greedy", "inception2024", "majority2024"])
def test_an_interruption_changes_nothing_in_another_network(name, tmp_path, undrawn, undisturbed, stop_after):
    """Turns between two stages, branches that fire, branches that vote: stopped within the R-STDP phase."""
    phases = len(build_model(name).phases)
    words = f"--model {name} {DIGITS} --ratio 0.1 --batch-size 50 --epochs {'1 ' * (phases - 1)} 2"  # 3 batches
    stop_after(3 * (phases - 1) + 1)
    assert start(words, tmp_path) == 130
    stop_after(None)
    assert start("--resume latest", tmp_path) == 0
    assert_same(outcome(only_run(tmp_path)), undisturbed(words))


def test_a_kill_loses_no_maps(tmp_path, undrawn, monkeypatch):
    """While the maps of an epoch are drawn: they are there after the resume."""
    words = f"{SMALL} --epochs 1 1 1 --map-index 0 --map-every 1"
    plain = Run.save_maps

    def kill(self, name):
        if len(self.progress.history) == 2:
            raise KeyboardInterrupt
        plain(self, name)

    monkeypatch.setattr(figures, "DPI", 20)
    with monkeypatch.context() as context:
        context.setattr(Run, "save_maps", kill)
        assert start(words, tmp_path) == 130
    assert start("--resume latest", tmp_path) == 0
    found = sorted(path.name for path in (only_run(tmp_path) / "maps").iterdir())
    assert found == ["0001-s1-epoch1", "0002-s2-epoch1", "0003-s3-epoch1", "end"]


@pytest.mark.parametrize("epoch", [1, 3])
def test_a_kill_doubles_no_curve_in_tensorboard(epoch, tmp_path, undrawn, monkeypatch):
    """After the epoch's events, but before its checkpoint: the epoch is done again, and shown once."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    save = Run.save

    def kill(self, name="last.pt", state=None):
        if len(self.progress.history) == epoch:
            raise KeyboardInterrupt
        save(self, name, state)

    with monkeypatch.context() as context:
        context.setattr(Run, "save", kill)
        assert start(f"{SMALL} --epochs 1 1 2 --tensorboard", tmp_path) == 130
    assert start("--resume latest", tmp_path) == 0
    events = EventAccumulator(str(only_run(tmp_path)), size_guidance={"histograms": 0}).Reload()
    for end, kind, read in (("/convergence", "scalars", events.Scalars), ("/weights", "histograms", events.Histograms)):
        tags = [tag for tag in events.Tags()[kind] if tag.endswith(end)]
        assert sorted(event.step for tag in tags for event in read(tag)) == [1, 2, 3, 4]
    assert [event.step for event in events.Scalars("val/accuracy")] == [3, 4]


def test_resuming_a_finished_run(trained, tmp_path, undrawn):
    shutil.copytree(trained, tmp_path / "run")
    assert train.main(["--resume", str(tmp_path / "run")]) == 0
    assert_same(outcome(tmp_path / "run"), outcome(trained))


def test_the_number_of_threads_changes_nothing(tmp_path, undrawn, undisturbed):
    words = f"{SMALL} --epochs 1 1 2 --threads "
    assert_same(undisturbed(words + str(min(2, CORES))), undisturbed(words + "1"))


def popen(*words):
    return subprocess.Popen(words, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_the_command(tmp_path, undrawn, undisturbed):
    """The real thing, its output not a terminal: Ctrl-C, then the command that it prints."""
    words = f"--model mozafari2018 {DIGITS} --batch-size 50 --epochs 1 2 3"
    with popen(sys.executable, "train.py", *words.split(), "--output", tmp_path) as process:
        lines = [process.stdout.readline()]
        while " epoch " not in lines[-1]:
            lines.append(process.stdout.readline())
            assert lines[-1], process.stderr.read()
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=100)
    assert lines[0].startswith("run folder  ")
    assert lines[-1].split()[:4] == ["s1", "STDP", "epoch", "1/1"]
    assert process.returncode == 130
    assert err == "\nstopping after this batch; Ctrl-C again stops at once\n"
    *_, told, command = out.splitlines()
    assert told == "stopped and saved; go on with"
    python, *command = shlex.split(command)
    assert python == "python"

    with popen(sys.executable, *command) as process:
        out, err = process.communicate(timeout=100)
    assert (process.returncode, err) == (0, "")
    assert not set("\r\x1b") & set(out)  # no bars
    lines = out.splitlines()
    assert lines[0].startswith("resuming  ")
    assert sum(line.startswith("s3     R-STDP epoch ") for line in lines) == 3
    assert lines[-1].endswith(f"see {only_run(tmp_path)}")
    assert_same(outcome(only_run(tmp_path)), undisturbed(words))


# ---------------------------------------------------------------------------------------------------------------------
# Files


def digit(height=28, width=28):
    """A light bar on a dark ground, with greys."""
    pixels = np.zeros((height, width), np.uint8)
    pixels[height // 4 : -height // 4, width // 3 : -width // 3] = 200
    pixels[height // 4, width // 3 : -width // 3] = 90
    return pixels


def saved(path, pixels, mode=None):
    picture = Image.fromarray(pixels)
    (picture.convert(mode) if mode else picture).save(path)
    return path


def test_a_grey_image_is_taken_as_it_is(tmp_path):
    pixels, note = read_image(saved(tmp_path / "grey.png", digit()), 28, 28)
    assert (pixels.dtype, note) == (np.uint8, "")
    assert np.array_equal(pixels, digit())


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "LA", "P"])
def test_colours_become_grey(mode, tmp_path):
    pixels, note = read_image(saved(tmp_path / "colour.png", digit(), mode), 28, 28)
    assert note == "made grey"
    assert np.array_equal(pixels, digit())


def test_dark_on_light_is_inverted(tmp_path):
    pixels, note = read_image(saved(tmp_path / "ink.png", 255 - digit()), 28, 28)
    assert note == "inverted: it was dark on light"
    assert np.array_equal(pixels, digit())


def test_ink_on_a_transparent_ground(tmp_path):
    ink = np.zeros((28, 28, 4), np.uint8)
    ink[..., 3] = digit()
    pixels, note = read_image(saved(tmp_path / "ink.png", ink), 28, 28)
    assert note == "made grey, inverted: it was dark on light"
    assert np.array_equal(pixels, digit())


@pytest.mark.parametrize("light", [200, 255])
def test_light_on_a_transparent_ground(light, tmp_path):
    chalk = np.full((28, 28, 4), light, np.uint8)
    chalk[..., 3] = np.where(digit() > 0, 255, 0)
    pixels, note = read_image(saved(tmp_path / "chalk.png", chalk), 28, 28)
    assert note == "made grey"
    assert np.array_equal(pixels, np.where(digit() > 0, light, 0))


@pytest.mark.parametrize("orientation", [1, 3, 6])
def test_a_camera_held_sideways(orientation, tmp_path):
    turns = {1: 0, 3: 180, 6: 90}  # degrees that the picture was turned by when it was saved
    picture = Image.fromarray(digit()).rotate(turns[orientation], expand=True)
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    picture.save(tmp_path / "photo.png", exif=exif)
    pixels, note = read_image(tmp_path / "photo.png", 28, 28)
    assert note == ("turned upright, as the camera noted" if orientation != 1 else "")
    assert np.array_equal(pixels, digit())


def test_sixteen_bits_keep_their_greys(tmp_path):
    pixels, note = read_image(saved(tmp_path / "deep.png", digit().astype(np.uint16) * 257), 28, 28)
    assert note == "reduced to 8 bits"
    assert np.array_equal(pixels, digit())


@pytest.mark.parametrize(("height", "width"), [(56, 56), (14, 14), (56, 28), (20, 300), (1, 1)])
def test_another_size_keeps_its_proportions(height, width, tmp_path):
    pixels, note = read_image(saved(tmp_path / "other.png", np.full((height, width), 100, np.uint8)), 28, 28)
    assert pixels.shape == (28, 28)
    assert note == f"resized from {width}×{height}"
    scale = 28 / max(height, width)
    rows, columns = (pixels > 50).any(1), (pixels > 50).any(0)
    assert (rows.sum(), columns.sum()) == (round(height * scale), round(width * scale))
    for light in rows, columns:
        assert abs(int(light.argmax()) - int(light[::-1].argmax())) <= 1  # in the middle


def test_a_full_disk(tmp_path):
    def fail(temporary):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with pytest.raises(InputError, match=r"cannot write .*file\.txt: No space left on device"):
        write_atomically(tmp_path / "file.txt", fail)


def test_a_system_that_does_not_tell_the_memory(monkeypatch):
    assert peak_memory() > 10
    monkeypatch.setitem(sys.modules, "resource", None)  # as on Windows
    assert peak_memory() is None


@pytest.mark.parametrize("content", [b"", b"text", b"\x89PNG\r\n\x1a\n", b"GIF89a"])
def test_no_image(content, tmp_path):
    (tmp_path / "file.png").write_bytes(content)
    with pytest.raises(InputError, match=r"file\.png cannot be read as an image; give a PNG or JPEG file"):
        read_image(tmp_path / "file.png", 28, 28)
    with pytest.raises(InputError, match=r"no image at .*missing\.png"):
        read_image(tmp_path / "missing.png", 28, 28)


@pytest.mark.parametrize("error", [OSError, KeyboardInterrupt])
def test_a_failed_write_leaves_the_old_file(error, tmp_path):
    path = tmp_path / "file.txt"
    write_atomically(path, lambda temporary: temporary.write_text("old"))

    def fail(temporary):
        temporary.write_text("half of the n")
        raise error

    with pytest.raises(InputError if error is OSError else error):
        write_atomically(path, fail)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]
    write_atomically(path, lambda temporary: temporary.write_text("new"))
    assert path.read_text() == "new"
