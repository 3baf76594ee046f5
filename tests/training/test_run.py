"""What a run leaves."""

import json
import math
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from command import DIGITS, SMALL, read_csv, results, start
from kill_and_resume import only_run, same

from models import MODELS, build_model
from report import figures
from training import checkpoint

NETWORKS = sorted({cls.name for cls in MODELS.values()})


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
    assert (folder / "log.txt").read_text() == out
    assert sorted(path.name for path in tmp_path.iterdir()) == ["elsewhere", "runs"]
    assert not list((tmp_path / "elsewhere").iterdir())

    files = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    model = build_model(name)
    drawn = {path.removeprefix("figures/") for path in files if path.startswith("figures/")}
    assert drawn == {
        "confusion_matrix.png", "errors.png", "history.png", "roc_curves.png", "spike_times.png", "spike_wave.png",
        f"filters_{next(model.named_convs())[0]}.png", *(f"features_{label}.png" for label, _ in model.named_convs()),
    }  # fmt: skip
    maps = {path for path in files if path.startswith("maps/")}
    assert len(maps) == (len(model.stages) + 1 if with_all else 0)
    events = {path for path in files if path.startswith("events.out.tfevents.")}
    assert len(events) == (1 if with_all else 0)
    rest = {path for path in files - maps - events if not path.startswith(("figures/", "00", "projector_config"))}
    assert rest == {
        "args.json", "log.txt", "metrics.csv", "results.json", "predictions.csv", "summary.txt",
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
        assert math.isclose(scores["accuracy"] + scores["loss"] + scores["silent"], 1)
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
