"""What a run leaves; runs without a test, and with moved copies of the training images."""

import errno
import html
import math
import os
import re
import shlex
import shutil
from collections import Counter
from pathlib import Path
from unittest import mock

import numpy as np
import pytest
import torch
from support.command import DIGITS, FEW_DIGITS, SMALL, read_csv, results, run_train, start
from support.draws import draw_pixels
from support.refusals import assert_refuses
from support.run_folders import events_of, files_in, load_best, load_last, read_args, read_log, same
from support.tiers import slow_except

import evaluate
import imagesets
import train
import utils
from engine.augmentation import Augmentation
from engine.phases import Phase
from engine.progress import COLUMNS, Row
from engine.rules import RSTDP, STDP
from engine.stages import Pool, SpikingConv
from imagesets.augmentation import make_copies, move_images
from models import MODELS, build_model
from network_trainer import NetworkTrainer
from report import figures
from report.sweep_report import read_runs
from s1c1 import S1C1
from training.log import RunLog
from training.testing import best_weights
from utils import ROOT, lock_folder

DRY = {  # networks, and more words of their command; copies are fewer than the network's own 8
    "mozafari2018": "--tensorboard --map-index 3", "inception2024": "", "majority2024": "",
    "multiscale2026": "--augment copies=1 turn=8",
}  # fmt: skip


def test_a_run_replaces_a_dry_run_of_its_name(trained, tmp_path, undrawn):
    """It replaces nothing else: no run, no other files, also in a dry run, no link, and no dry run that is trained."""
    small = f"{SMALL} --set s2.out_channels=20"  # many copies of its checkpoints are written
    words = f"{small} --epochs 0 0 1 --save-every 1000 --output {tmp_path}"
    for _ in range(2):
        run_train(f"{small} --dry-run --name mine", tmp_path)
    dry = shutil.copytree(tmp_path / "mine", tmp_path / "locked")
    shutil.copytree(trained, tmp_path / "run")
    (tmp_path / "thesis").mkdir()
    shutil.copy(dry / "args.json", tmp_path / "thesis")  # for --config
    (tmp_path / "link").symlink_to(dry)
    with lock_folder(dry):
        assert_refuses(train.main, f"{words} --name locked", "--name")
    shutil.copytree(dry, tmp_path / "nesting")
    shutil.copytree(trained, tmp_path / "nesting" / "train")
    refused = ["run", "thesis", "link", "nesting"]
    nested = "notes.txt figures/mine.txt figures/mine.png checkpoints/other.safetensors maps/end/notes.txt train/x.csv"
    for number, file in enumerate(nested.split()):
        refused.append(f"nested{number}")
        path = shutil.copytree(dry, tmp_path / refused[-1]) / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("mine")
    for name in refused:
        assert_refuses(train.main, f"{words} --name {name}", "--name")

    run_train(f"{words} --name mine", tmp_path)
    assert results(tmp_path / "mine")["images"]["train"] == 138
    replaced, *log = read_log(tmp_path / "mine").splitlines()
    assert "dry run" in replaced
    assert log[0].startswith("run folder")
    assert "dry run" not in str(log)
    assert {path.name for path in tmp_path.iterdir()} == {"mine", "locked", *refused}
    assert_refuses(train.main, f"{words} --dry-run --name mine", "--name")


@pytest.mark.parametrize("name", slow_except(["mozafari2018"], DRY))
def test_a_dry_run_leaves_every_file(name, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(figures, "DPI", 20)
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    with_all = name == "mozafari2018"
    words = SMALL.replace("mozafari2018", name)
    folder = run_train(f"{words} --dry-run {DRY[name]}", tmp_path / "runs")
    out, err = capsys.readouterr()
    assert err == ""
    assert str(folder) in out
    assert read_log(folder) == out
    assert not [line for line in out.splitlines() if line.startswith("test ")]  # of a few images
    assert sorted(path.name for path in tmp_path.iterdir()) == ["elsewhere", "runs"]
    assert not list((tmp_path / "elsewhere").iterdir())

    assert train.is_replaced(folder)  # it contains no file of others
    files = files_in(folder)
    model = build_model(name)
    drawn = {path.removeprefix("figures/") for path in files if path.startswith("figures/")}
    always = "confusion_matrix decision_time errors history raster roc_curves spike_times spike_wave"
    assert drawn == {
        *(f"{figure}.png" for figure in always.split()), f"filters_{next(model.named_layers())[0]}.png",
        *(
            f"{figure}_{label}.png"
            for label, _ in model.named_layers(list(model.declaration)[:-1])
            for figure in ("features", "emergence")
        ),
        *(["moved_images.png"] if model.augmentation else []),
    }  # fmt: skip
    maps = {path for path in files if path.startswith("maps/")}
    assert len(maps) == (len(model.declaration) + 2 if with_all else 0)
    events = {path for path in files if "events.out.tfevents." in path}
    assert len(events) == (5 if with_all else 0)
    rest = {path for path in files - maps - events if not path.startswith("figures/")}
    written = "args.json index.html log.txt methods.md metrics.csv results.json predictions.csv summary.txt"
    assert rest == {*written.split(), "checkpoints/best.safetensors", "checkpoints/last.safetensors"}

    rows = read_csv(folder / "metrics.csv")
    assert [(row["phase"], row["rule"], row["epoch"]) for row in rows] == [
        (p.name, p.main_rule.name, "1") for p in model.phases
    ]
    assert name in (folder / "summary.txt").read_text()
    saved = read_args(folder)
    assert saved["flags"]["model"] == name
    assert saved["flags"]["epochs"] == [1] * len(model.phases)
    assert saved["command_line"].startswith(f"train.py --model {name} --dataset {FEW_DIGITS}")
    check_results(folder, 40)
    assert {"version", "versions", "git_commit", "processor", "cores", "threads"} < results(folder)["machine"].keys()
    operations = results(folder)["operations"]
    assert list(operations)[:2] == ["input", "s1"]
    assert all(count.get("spikes", 1) > 0 for count in operations.values())
    decision_time = results(folder)["decision_time"]
    tested = results(folder)["test"]["best"]
    assert [(part, len(values), values[-1]) for part, values in decision_time.items()] == [
        (part, model.time_steps, tested[part]) for part in ("accuracy", "silent")
    ]
    if with_all:
        check_tensorboard(folder, {f"figures/{Path(name).stem}" for name in drawn})
        check_columns(folder)


def test_a_table_and_a_page_that_are_open_elsewhere_stop_no_run(undrawn, tmp_path, monkeypatch, capsys):
    """As on Windows, where a file that is open cannot be replaced."""

    def replace(source, target):
        if target.name in ("metrics.csv", "index.html"):
            raise PermissionError(errno.EACCES, "Permission denied", str(target))
        plain(source, target)

    plain = os.replace
    monkeypatch.setattr(utils, "WAITS", ())
    monkeypatch.setattr(os, "replace", replace)
    run = run_train(f"{SMALL} --epochs 1 0 1", tmp_path)
    lines = [line for line in capsys.readouterr().out.splitlines() if "Permission denied" in line]
    assert {str(run / "metrics.csv"), str(run / "index.html")} == {line.split()[2].rstrip(":") for line in lines}
    assert results(run)["test"]
    assert not (run / "metrics.csv").exists()
    assert not (run / "index.html").exists()


def test_an_open_table_is_written_at_the_end(tmp_path, monkeypatch):
    row = Row(step=1, phase="s1", rule="stdp", epoch=1, images=1, winners_per_image=1.0, seconds=0.0)
    log = RunLog(tmp_path)
    monkeypatch.setattr(utils, "WAITS", ())
    with mock.patch.object(os, "replace", side_effect=PermissionError):
        log.log_epoch([row], "s1")
    assert not (tmp_path / "metrics.csv").exists()
    log.close()
    assert [line["phase"] for line in read_csv(tmp_path / "metrics.csv")] == ["s1"]


def check_tensorboard(folder, figures):
    """Everything that is promised is in the events of a run of mozafari2018 that had an epoch of each phase."""
    events = events_of(folder)
    assert list(events) == [".", "emergence/s1", "train", "train_within_epochs", "validation"]
    own, rates = events["."], ("ltp_rate", "ltd_rate")
    kinds = "scalars", "images", "histograms", "tensors"
    tags = {name: {kind: set(run.Tags()[kind]) for kind in kinds} for name, run in events.items()}
    rewarded = [f"{outcome}/{rate}" for outcome in ("reward", "punishment") for rate in rates]
    scores = ("accuracy", "loss", "silent", "f1_macro", "roc_auc_macro")
    assert tags["."]["scalars"] == {
        *(f"{split}/{part}" for split in ("test", "validation") for part in scores),
        *(f"stages/{stage}/{kind}" for stage in ("s1", "s2") for kind in ("convergence", "dead_features", *rates)),
    }
    both = {"accuracy/by_epoch", "loss/by_epoch", "scores/silent"}
    assert tags["validation"]["scalars"] == both
    assert tags["train"]["scalars"] == both | {
        f"stages/s3/{kind}" for kind in ("convergence", "dead_features", *rewarded)
    }
    assert tags["train_within_epochs"]["scalars"] == {"accuracy/by_images", "loss/by_images"}
    for name, stages in ((".", ("s1", "s2")), ("train", ("s3",))):
        kinds = {f"stages/{stage}/{kind}" for stage in stages for kind in ("weights", "wins_per_feature")}
        assert tags[name]["histograms"] == kinds
    maps = {f"maps/{path.parent.name}/{path.stem}" for path in folder.glob("maps/end/*/*.png")}
    assert len(maps) == 6
    assert tags["."]["images"] == {"filters/s1", *maps, *figures}
    assert "network/text_summary" in tags["."]["tensors"]
    best = results(folder)["test"]["best"]
    assert own.Scalars("test/accuracy")[-1].value == pytest.approx(best["accuracy"])
    assert own.Scalars("test/f1_macro")[-1].value == pytest.approx(best["f1_macro"])
    row = read_csv(folder / "metrics.csv")[-1]
    for run, column in (("train", "train_loss"), ("validation", "val_loss")):
        (point,) = events[run].Scalars("loss/by_epoch")
        assert (point.step, point.value) == (1, pytest.approx(float(row[column])))


def check_columns(folder):
    """Each field of a row of the history is in the table and, with a value, on the page and in TensorBoard."""
    page = (folder / "index.html").read_text()
    events = events_of(folder)
    rows = read_csv(folder / "metrics.csv")
    assert rows[0].keys() == {*COLUMNS}
    empty = {name for name in COLUMNS if not any(row[name] for row in rows)}
    assert empty <= {"val_balanced"}
    for name, column in COLUMNS.items():
        if name in empty:
            continue
        if column.page:
            assert f"<th>{column.page[0]}</th>" in page
        if column.tag:
            run, tag = column.tag
            assert tag in events[run or "."].Tags()["scalars"]


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
    assert found["finished"] == found["flags"]["epochs"] == [2, 4, 5]
    assert found["best_epoch"]["accuracy"] == found["validation"]["best"]["accuracy"]
    accuracies = [float(row["val_accuracy"]) for row in read_csv(trained / "metrics.csv") if row["val_accuracy"]]
    assert max(accuracies) == found["best_epoch"]["accuracy"]


def test_the_records_of_a_run_are_documented_and_state_its_methods(trained):
    """Each key of args.json and results.json is named on docs/outputs.md; methods.md is on the page, too."""
    page = (ROOT / "docs" / "outputs.md").read_text()
    found, args = results(trained), read_args(trained)
    (row,) = re.findall(r"^\|`args.json`\|(.*)", page, re.MULTILINE)
    assert args.keys() <= {*re.findall(r"`(\w+)`", row)}
    (table,) = re.findall(r"^\|key\|content\|\n((?:\|.*\n)+)", page.split("## results.json")[1], re.MULTILINE)
    listed = re.findall(r"`(\w+)[.`]", " ".join(re.findall(r"^\|([^|]*)\|", table, re.MULTILINE)))
    assert found.keys() <= {*listed}
    assert found["class_names"] == [*"0123456789"]
    assert {split: sum(counts) for split, counts in found["images_per_class"].items()} == found["images"]
    epochs = {"s1": 2, "s2": 4, "s3": 5}
    assert found["phases"] == {phase: {"epochs": count, "ended_by": "epochs"} for phase, count in epochs.items()}
    assert found["stages"]["s1"]["SpikingConv"]["rule"]["stdp"]["winners"] == 5
    assert found["encoder"]["s1c1"]["threshold"] == 50
    methods = (trained / "methods.md").read_text()
    for text in (
        found["fingerprint"], "1,318 images", "Alpaydin and Kaynak 1998", "arXiv 1804.00227", "s3 learned by R-STDP",
        "for 5 epochs", "winners=5", "numba", "scipy", "pillow", "Test, last",
        "class of the neuron of s3 with the highest potential",
        f"{100 * found['test']['best']['accuracy']:.2f} % (95 % interval",
    ):  # fmt: skip
        assert text in methods
    page = re.sub("</?b>", "**", html.unescape((trained / "index.html").read_text()))
    assert methods.partition("**Network.**")[2] in page


def test_nothing_is_held_out(tmp_path, undrawn):
    folder = run_train(f"{SMALL} --epochs 1 1 1 --val-split 0", tmp_path)
    found = results(folder)
    assert "validation" not in found
    assert found["best_epoch"] is None
    methods = (folder / "methods.md").read_text()
    assert "Validation: 0" not in methods
    assert "No validation images chose an epoch" in methods
    assert methods.count("\nTest: accuracy") == 1
    assert "Test, " not in methods
    assert found["test"]["best"] == found["test"]["last"]
    assert same(load_best(folder).state, load_last(folder).state)


def test_patience(tmp_path, undrawn, capsys):
    folder = run_train(f"{SMALL} --epochs 1 1 20 --patience 2", tmp_path)
    done = [row for row in read_csv(folder / "metrics.csv") if row["phase"] == "s3"]
    assert len(done) == results(folder)["best_epoch"]["epoch"] + 2 < 20
    assert f"s3 ends after epoch {len(done)}, by --patience 2" in read_log(folder)
    assert results(folder)["phases"]["s3"] == {"epochs": len(done), "ended_by": "patience"}
    methods = (folder / "methods.md").read_text()
    assert f"for {len(done)} epochs, the number that --patience 2 gives" in methods
    assert_refuses(train.main, f"--resume {folder} --epochs 1 1 30", "--patience")
    capsys.readouterr()
    run_train(f"--resume {folder}", tmp_path)
    assert "--epochs" not in capsys.readouterr().out  # they would be refused


@pytest.mark.parametrize("more", ["", "--no-test"])
def test_the_best_and_the_last_weights_are_tested_on_their_own_maps(more, tmp_path, undrawn):
    class Silenced(NetworkTrainer, name="silenced"):
        """Its last but one phase makes s2 silent, and the best epoch comes before that."""

        epochs = (1, 3, 1)

        def __init__(self, *args, **options):
            super().__init__(*args, **options | {"dtype": torch.float64})  # other tests need these kernels, too

        def build(self, num_classes):
            falls = (-0.015, -0.015)
            rule = RSTDP(winners=4, reward=falls, punishment=falls, bounds=(0.0, 1.0))
            return {
                "s1": SpikingConv(4, 5, padding=2, threshold=5, rule=STDP(winners=4, radius=0)),
                "c1": Pool(4),
                "s2": SpikingConv(8, 3, threshold=3, rule=rule),
                "s3": SpikingConv(2 * num_classes, 5, rule=RSTDP()),
            }

        def build_phases(self):
            features, together = super().build_phases()
            decisions = Phase(("s3",), {"s3": together.rules["s3"]})
            return [features, together, decisions]

    found = results(run_train(f"{SMALL} --model silenced {more}", tmp_path))
    split = found["validation" if more else "test"]
    assert (found["best_epoch"]["phase"], found["best_epoch"]["epoch"]) == ("s2+s3", 1)
    assert found["validation"]["best"]["accuracy"] == found["best_epoch"]["accuracy"]
    assert split["best"]["silent"] < 1
    assert split["last"]["silent"] == 1


def test_the_scores_are_written_before_anything_is_drawn(tmp_path, monkeypatch):
    def fail(*_):
        raise RuntimeError

    monkeypatch.setattr("training.testing.draw_figures", fail)
    with pytest.raises(RuntimeError):
        start(f"--model mozafari2018 {DIGITS} --dry-run --epochs 0 0 0 --name run", tmp_path)
    assert results(tmp_path / "run")["test"]["best"]["count"] == 100


def test_no_figures(tmp_path):
    run = run_train(f"{SMALL} --epochs 0 0 1 --no-figures --map-index 0 --map-every 1 --tensorboard", tmp_path)
    assert not list(run.glob("figures/*")) + list(run.glob("maps/**/*.png"))
    assert len(list(run.glob("maps/*/*.npz"))) == 2
    assert results(run)["test"]["best"]["count"] == len(read_csv(run / "predictions.csv")) == 40


def test_a_network_that_decides_nothing(tmp_path, monkeypatch, capsys):
    """It trains and resumes; the last epoch is its best; it writes all files, and the reason in place of scores."""
    monkeypatch.setattr(MODELS["kheradpisheh2018"], "readout", None)
    monkeypatch.setattr(figures, "DPI", 20)
    words = f"--model kheradpisheh2018 {DIGITS} --dry-run --map-index 3 --tensorboard --name one"
    run = run_train(words, tmp_path)
    out = capsys.readouterr().out
    found = results(run)
    assert found["scores"].startswith("no stage of this network decides")
    assert found["scores"] in out
    assert not found.keys() & {"test", "validation", "best_epoch"}
    assert not (run / "predictions.csv").exists()
    assert same(load_best(run).state, load_last(run).state)
    rows = read_csv(run / "metrics.csv")
    assert [row["phase"] for row in rows] == ["s1", "s2"]
    assert all(float(row["convergence"]) > 0 and row["val_accuracy"] == "" for row in rows)
    drawn = {path.name for path in run.glob("figures/*")}
    assert {"filters_s1.png", "features_s1.png", "features_s2.png", "history.png", "spike_times.png"} <= drawn
    assert not drawn & {"confusion_matrix.png", "roc_curves.png", "errors.png"}
    with np.load(*run.glob("maps/end/*.npz")) as maps:
        assert {"s1", "c1", "s2", "c2"} <= set(maps)
    run_train("--resume one --no-figures", tmp_path)
    nothing = "kheradpisheh2018 has no decision stage"
    assert_refuses(evaluate.main, f"{run}", nothing)
    image = shlex.quote(str(ROOT / "images" / "example-digit.png"))
    assert_refuses(evaluate.main, f"{run} --predict {image}", nothing)
    assert_refuses(train.main, f"{words} --patience 1 --output {tmp_path}", "--patience")


WORDS = f"{SMALL} --epochs 0 0 2"


def test_the_test_images_are_not_read(tmp_path, monkeypatch, undrawn, capsys):
    """The data set loses its test images when it is loaded: to read them is an error."""

    def load(*args, load=imagesets.load):
        data = load(*args)
        assert data.fingerprint  # of all images, and kept
        object.__setattr__(data, "test_images", None)  # it is frozen
        return data

    monkeypatch.setattr(imagesets, "load", load)
    run = run_train(f"{WORDS} --no-test --map-index 3 --tensorboard --save-features c1", tmp_path)
    out = capsys.readouterr().out
    found = results(run)
    assert "test" not in found
    assert (found["test_reads"], "test" in found["images"]) == (0, False)
    assert found["validation"].keys() == {"best", "last"}
    assert "test " not in out
    assert f"validation best  accuracy {100 * found['best_epoch']['accuracy']:.2f} %, wrong" in out
    held_out = found["images"]["validation"]
    assert sorted(file.stem for file in run.glob("features/*.npz")) == ["train", "validation"]
    assert len(read_csv(run / "predictions.csv")) == found["validation"]["best"]["count"] == held_out
    assert len(list(run.glob("maps/end/*.npz"))) == 1
    page = (run / "index.html").read_text()
    assert "validation, last epoch" in page
    assert "means over at most 1,000 validation images" in page
    assert f"validation {100 * found['best_epoch']['accuracy']:.2f} %" in read_runs([run])[0].describe()


def test_copies_are_the_moved_images_encoded():
    images = draw_pixels(7, 28, 28)
    moves = Augmentation(copies=2, turn=10, shift=1)
    copies = make_copies(images, moves, 3, S1C1().encode)
    assert len(copies) == 2
    for number, copy in enumerate(copies, start=1):
        assert len(copy) == 7
        assert torch.equal(copy[2:5], S1C1().encode(move_images(images, moves, number, 3)[2:5]))


def test_the_network_has_its_best_weights_within_the_context_alone():
    """Afterwards it has its own again, also after an exception; without a best epoch it has its own all the time."""
    model = build_model("mozafari2018", num_classes=2)
    own = model.stages["s3"].weight.clone()
    best = {"state": {name: torch.zeros_like(tensor) for name, tensor in model.state_dict().items()}}

    def stop():
        assert not model.stages["s3"].weight.any()
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), best_weights(model, best):
        stop()
    assert torch.equal(model.stages["s3"].weight, own)
    with best_weights(model, None):
        assert torch.equal(model.stages["s3"].weight, own)
