"""Few labels and many images: which phases learn from which images, what is saved, shared, resumed and refused."""

from unittest import mock

import numpy as np
import pytest
from support.command import SMALL, read_csv, read_few_digits, results, run_train
from support.refusals import assert_refuses
from support.run_folders import read_features, read_log
from support.tiers import slow_except

import train
from imagesets import DataSet
from training import data, readout
from training.settings import TrainSettings

WORDS = f"{SMALL} --epochs 1 1 2 --labels 20"


@pytest.fixture
def unlabelled(tmp_path):
    """A file with five labelled images of each digit, and 100 images without labels."""
    arrays = read_few_digits()
    chosen = np.concatenate([np.flatnonzero(arrays["y_train"] == digit)[:5] for digit in range(10)])
    rest = np.setdiff1d(np.arange(len(arrays["y_train"])), chosen)
    arrays["x_unlabelled"] = arrays["x_train"][rest]
    for name in ("x_train", "y_train"):
        arrays[name] = arrays[name][chosen]
    np.savez(tmp_path / "few.npz", **arrays)
    return tmp_path / "few.npz"


def test_phases_with_labels_learn_from_few_images_and_the_others_from_all(tmp_path, learned, undrawn, capsys):
    run = run_train(f"{WORDS} --augment copies=2 turn=5 --save-features", tmp_path)
    assert learned == {"s1": [50, 50, 38], "s2": [50, 50, 38], "s3": [20, 20]}
    assert [row["images"] for row in read_csv(run / "metrics.csv")] == ["138", "138", "20", "20"]
    assert results(run)["images"] == {"train": 138, "validation": 12, "test": 40, "labelled": 20}
    features = read_features(run)
    saved = features["train"]
    assert saved["labelled"].shape == saved["labels"].shape == (138,)
    assert np.bincount(saved["labels"][saved["labelled"]]).tolist() == [2] * 10
    assert "labelled" not in features["test"]
    text = capsys.readouterr().out
    assert "20 labelled" in text
    assert "12 validation images" in text


@pytest.mark.parametrize("more", slow_except(["--labels 20"], ["", "--labels 20"]))
def test_images_without_labels_teach_phases_without_labels(more, unlabelled, tmp_path, learned, undrawn):
    words = f"--model mozafari2018 --dataset {unlabelled} --threads 1 --epochs 1 1 1 --save-features {more}"
    run = run_train(words, tmp_path)
    count = 20 if more else 40
    assert learned == {"s1": [140], "s2": [140], "s3": [count]}
    saved = read_features(run)["train"]
    assert (saved["labels"] == -1).sum() == 100
    assert saved["labelled"].sum() == count
    assert saved["labels"][saved["labelled"]].min() == 0


def test_labels_spread_to_images_in_which_the_same_neurons_spike(tmp_path, learned, undrawn):
    """Three groups of 15 equal images, one of which has no label. So its images stay out."""
    images = np.zeros((45, 28, 28), np.uint8)
    for group, image in enumerate(images.reshape(3, 15, 28, 28)):
        image[:, 9 * group : 9 * group + 3, 4:24] = 255
    arrays = {"x_train": images[:30], "y_train": np.arange(30) // 15, "x_unlabelled": images[30:]}
    np.savez(tmp_path / "groups.npz", **arrays, x_test=images[:30], y_test=np.arange(30) // 15)
    words = f"--model mozafari2018 --dataset {tmp_path / 'groups.npz'} --threads 1 --val-split 0 --no-references"
    words += " --epochs 1 1 2 --labels 2 --spread --augment copies=1 shift=1"
    run = run_train(words, tmp_path / "runs")
    assert learned == {"s1": [45], "s2": [45], "s3": [30, 30]}
    expected = {"given": [1, 1], "spread": [14, 14], "certainty": 1.0, "known": 28, "wrong": 0, "left_out": 0}
    assert expected.items() <= results(run)["spread"].items()
    assert "28 of 45" in read_log(run)
    methods = (run / "methods.md").read_text()
    assert "shifted by up to 1 pixels" in methods
    assert "rotated" not in methods


def test_a_readout_learns_from_the_labelled_images(tmp_path, undrawn):
    result = {"C": 1.0, "converged": True, "test": {"accuracy": 0.5}}
    with mock.patch.object(readout, "train_readout", return_value=result) as train_readout:
        run_train(f"{SMALL} --model kheradpisheh2018 --epochs 1 0 --labels 20", tmp_path)
    inputs, labels = train_readout.call_args.args[1]["train"]
    assert inputs.shape[0] == len(labels) == 20
    assert np.bincount(labels).tolist() == [2] * 10


@pytest.mark.parametrize("labels", [4, 1000])  # of 10 classes and 138 training images
def test_a_dry_run_refuses_the_labels_that_the_run_refuses(labels, tmp_path):
    words = f"{SMALL} --output {tmp_path / 'runs'} --labels {labels}"
    refused = assert_refuses(train.main, words, "--labels")
    assert assert_refuses(train.main, f"{words} --dry-run", "--labels") == refused


@pytest.mark.parametrize(("fraction", "count"), slow_except([(0.04, 10)], [(0.04, 10), (0.9, 20), (100, 20)]))
def test_a_dry_run_takes_the_labels_of_a_fraction(fraction, count, tmp_path, undrawn, monkeypatch):
    """As many as the run has, 0.04 · 250, or all images of the dry run. It refuses what the run refuses."""
    monkeypatch.setitem(data.DRY_RUN_IMAGES, "train", 20)
    few = read_few_digits()
    np.savez(tmp_path / "many.npz", x_train=few["x_train"].repeat(2, 0), y_train=few["y_train"].repeat(2) % 3)
    words = f"{SMALL} --dataset {tmp_path / 'many.npz'} --val-split 0 --dry-run --labels"
    assert_refuses(train.main, f"{words} 0.001 --output {tmp_path / 'runs'}", "--labels")
    assert results(run_train(f"{words} {fraction}", tmp_path / "runs"))["images"]["labelled"] == count


def test_a_dry_run_has_images_of_all_classes_of_sorted_data():
    images = np.zeros((6000, 8, 8), np.uint8)
    labels = np.repeat(np.arange(5), 1200)
    sorted_data = DataSet("sorted", images, labels, tuple("abcde"), images, labels)
    splits = data.Splits(TrainSettings.parse(["--model", "mozafari2018", "--dry-run"]), sorted_data)
    for name in splits.indices:
        labels_of_split = splits.get_split(name).labels
        assert len(labels_of_split) == data.DRY_RUN_IMAGES[name]
        assert set(labels_of_split) == {0, 1, 2, 3, 4}
