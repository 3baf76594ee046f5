"""evaluate.py --save-features: the features of a data set and of files, as train.py and ``features`` compute them."""

import shutil

import numpy as np
import torch
from support.command import FEW_DIGITS, MACHINE, SMALL, TRAINED, results, run_evaluate, run_train
from support.refusals import refuses
from support.run_folders import read_features

import imagesets
from models import build_model, model_class
from training.trained import load_network, save_network
from utils import ROOT

PICTURES = [ROOT / "images" / f"{name}.png" for name in ("example-digit", "page")]


def test_they_are_those_of_the_run(tmp_path, undrawn, capsys):
    """The same splits, labelled images and maps, also if the checkpoint is in another place.

    They are those of all images of each part, with their labels and places in the data set.
    """
    words = "--epochs 1 0 0 --labels 20 --ratio 0.5 --seed 3 --save-features c1"
    run = run_train(f"{SMALL} {words}", tmp_path)
    shutil.copy(run / "checkpoints" / "last.safetensors", tmp_path / "moved")
    again = run_evaluate(f"{tmp_path / 'moved'} --save-features c1 {MACHINE}", tmp_path)
    expected, found = read_features(run), read_features(again)
    assert found.keys() == expected.keys() == {"train", "validation", "test"}
    data, network = imagesets.load(str(FEW_DIGITS)), load_network(run)
    for split, arrays in expected.items():
        assert found[split].keys() == arrays.keys()
        for name, values in arrays.items():
            np.testing.assert_array_equal(found[split][name], values)
        part, chosen = "test" if split == "test" else "train", arrays["indices"]
        assert len(chosen) == len({*chosen.tolist()}) == results(run)["images"][split]
        np.testing.assert_array_equal(arrays["labels"], getattr(data, f"{part}_labels")[chosen])
        features = network.features(getattr(data, f"{part}_images")[chosen], "c1")
        np.testing.assert_array_equal(15 - arrays["latencies"], features)
        assert (str(arrays["stage"]), arrays["time_steps"], arrays["latencies"].dtype) == ("c1", 15, np.uint8)
    assert str(again / "features") in capsys.readouterr().out
    assert {path.name for path in again.iterdir()} == {"args.json", "features", "summary.txt"}


def test_another_data_set_has_its_own_parts_and_any_classes(tmp_path):
    """All of its training images are in one part, because no run has divided them."""
    data = imagesets.load(str(FEW_DIGITS))
    chosen = data.train_labels < 3
    arrays = {"x_train": data.train_images[chosen], "y_train": data.train_labels[chosen]}
    arrays |= {"x_test": data.test_images[:1], "y_test": np.zeros(1, int)}
    np.savez(tmp_path / "three.npz", **arrays)
    words = f"{TRAINED} --dataset {tmp_path / 'three.npz'} --save-features {MACHINE}"
    found = read_features(run_evaluate(words, tmp_path))
    assert found.keys() == {"train", "test"}
    network = load_network(TRAINED)
    features = network.features(arrays["x_train"], "c2")
    np.testing.assert_array_equal(15 - found["train"]["latencies"], features)
    np.testing.assert_array_equal(found["train"]["labels"], arrays["y_train"])
    np.testing.assert_array_equal(found["train"]["indices"], np.arange(chosen.sum()))
    assert str(found["test"]["stage"]) == "c2"


def test_the_features_of_files(tmp_path, capsys):
    """Also of a network that does not decide. A file that is no picture is named, and the exit code is 2."""
    encoder = model_class("kheradpisheh2018").encoder
    sizes = {"in_channels": encoder.channels, "time_steps": encoder.time_steps, "image_size": (28, 28)}
    save_network(tmp_path / "saved", build_model("kheradpisheh2018", **sizes))
    (tmp_path / "text.png").write_text("text")
    words = f"{tmp_path / 'saved'} --save-features c1 {MACHINE} --predict"
    folder = run_evaluate(f"{words} {PICTURES[0]} {tmp_path / 'text.png'} {PICTURES[1]}", tmp_path, 2)
    assert "text.png" in capsys.readouterr().err
    files = read_features(folder)["files"]
    assert files["files"].tolist() == list(map(str, PICTURES))
    assert (files["labels"].tolist(), files["indices"].tolist()) == ([-1, -1], [0, 1])
    network = load_network(tmp_path / "saved")
    features = network.features(PICTURES, "c1")
    with refuses("kheradpisheh2018"):
        network.classify(PICTURES)
    assert torch.equal(15 - torch.from_numpy(files["latencies"]).float(), features)
    run_evaluate(f"{words} {tmp_path / 'text.png'}", tmp_path / "none", 2)
    assert not (tmp_path / "none").exists()
