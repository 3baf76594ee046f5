"""evaluate.py: it tests a trained network and classifies image files."""

import json
import os
import re
import shlex
import shutil

import numpy as np
import pytest
import torch
from PIL import Image
from support.command import (
    FEW_DIGITS,
    MACHINE,
    TRAINED,
    contents,
    read_csv,
    results,
    run_evaluate,
    run_train,
    save_pictures,
)
from support.refusals import assert_refuses, refuses
from support.run_folders import curves, load_best

import evaluate
import imagesets
from encoders import choose_encoder
from models import build_model
from run_folder import RunFolder
from s1c1 import S1C1
from training.checkpoint import collect_checkpoint, rebuild_network, save_checkpoint
from training.trained import load_network
from utils import ROOT


def test_an_evaluation_has_the_numbers_of_the_run(trained, tmp_path, undrawn, capsys):
    """Of the folder, or of a checkpoint."""
    before = contents(trained)
    for place in ("", "checkpoints/best.safetensors"):
        folder = run_evaluate(f"{trained / place} {MACHINE} --tensorboard", tmp_path)
        out = capsys.readouterr().out
        assert "mozafari2018 on digits, test images:" in out
        assert "per image" in out
        assert results(folder)["test"] == results(trained)["test"]["best"]
        assert results(folder)["operations"] == results(trained)["operations"]
        assert curves(folder)[".", "test/loss"] == {0: pytest.approx(results(folder)["test"]["loss"])}
        assert (folder / "predictions.csv").read_text() == (trained / "predictions.csv").read_text()
    assert contents(trained) == before


@pytest.mark.parametrize("letter", ["d", "数"])
def test_long_names_of_a_run_and_of_a_data_set(letter, trained, tmp_path, undrawn):
    run = shutil.copytree(trained, tmp_path / "runs" / f"x{letter * 70}")
    data = shutil.copy(FEW_DIGITS, tmp_path / f"x{letter * 70}.npz")
    run_evaluate(f"{run} --dataset {data} --dry-run --no-figures {MACHINE}", tmp_path / "tests")


def test_the_folder_of_a_test_has_the_name_of_the_run(trained, tmp_path, undrawn):
    for words in (trained, f"{trained} --dataset {FEW_DIGITS}", TRAINED):
        folder = run_evaluate(f"{words} {MACHINE} --no-figures --dry-run", tmp_path)
    assert results(folder)["test"]["count"] == len(read_csv(folder / "predictions.csv")) == 100  # of MNIST
    names = sorted(re.sub("-[0-9]{8}-[0-9]{6}$", "", folder.name) for folder in tmp_path.iterdir())
    own = [f"{trained.name}-evaluation", f"{trained.name}-{FEW_DIGITS.name}-evaluation"]
    assert names == sorted([*own, "mozafari2018-mnist-evaluation"])


@pytest.mark.parametrize("networks", [1, 2])
def test_images_of_another_size_are_refused_with_the_flag(networks, trained, tmp_path):
    np.savez(tmp_path / "small.npz", x_train=np.eye(16, dtype=np.uint8)[None].repeat(60, 0), y_train=np.arange(60) % 10)
    words = f"{' '.join([str(trained)] * networks)} --dataset {tmp_path / 'small.npz'} --output {tmp_path}"
    line = assert_refuses(evaluate.main, words, "--image-size 28 28")
    assert "--image-size 16 16" in line


def predictions(files, network, capsys, more=""):
    """What is printed for each file: (classes, notes)."""
    run_evaluate(f"{network} --predict {shlex.join(map(str, files))} {MACHINE} {more}", files[0].parent)
    out = capsys.readouterr().out.splitlines()
    assert [line.split(": ")[0] for line in out] == [str(file) for file in files]
    parts = [line.split(": ", 1)[1].partition("  ") for line in out]
    return [name for name, _, _ in parts], [note for _, _, note in parts]


def agreement(names, others):
    return np.mean([a == b for a, b in zip(names, others, strict=True)])


def test_predicting_image_files(trained, tmp_path, capsys):
    """An exact image file is classified as the test image is; if it had to be adapted, a note says so."""
    images, labels = imagesets.load("digits").test_images[:20], imagesets.load("digits").test_labels[:20]
    model = rebuild_network(load_best(trained))
    decided = [str(label) for label in model.predict(S1C1().encode(images)).tolist()]
    assert len(set(decided)) > 4
    assert agreement(decided, map(str, labels)) > 0.4

    def predict(changed, more=""):
        return predictions(save_pictures(tmp_path, changed), trained, capsys, more)

    assert predict(images) == (decided, [""] * 20)
    assert predict(images[..., None].repeat(3, -1)) == (decided, [""] * 20)
    for changed in (255 - images, images.repeat(10, 1).repeat(10, 2)):
        names, notes = predict(changed)
        assert agreement(names, decided) >= 0.6
        assert all("centred" in note for note in notes)
    names, notes = predict(255 - images, "--raw")
    assert all("border" in note for note in notes)  # light, and that of the training images is black
    assert agreement(names, decided) < 1


@pytest.mark.unix
def test_a_pipe_in_place_of_a_record_is_not_waited_for(tmp_path):
    (tmp_path / "checkpoints").mkdir()
    os.mkfifo(tmp_path / "args.json")
    assert RunFolder(tmp_path).args == {}


def test_a_broken_picture_among_others_and_alone(trained, tmp_path, capsys):
    """Alone, it is an empty list of JSON."""
    files = save_pictures(tmp_path, imagesets.load("digits").test_images[:3])
    files[1].write_text("no picture")
    run_evaluate(f"{trained} --predict {shlex.join(map(str, files))} {MACHINE}", tmp_path, 2)
    out, err = capsys.readouterr()
    assert [line.split(": ")[0] for line in out.splitlines()] == [str(files[0]), str(files[2])]
    assert err.count("\n") == 1
    assert str(files[1]) in err
    run_evaluate(f"{trained} --predict {files[1]} --json {MACHINE}", tmp_path, 2)
    out, err = capsys.readouterr()
    assert json.loads(out) == []
    assert err.count("\n") == 1


def test_predicting_silence(trained, tmp_path, capsys):
    Image.new("L", (28, 28)).save(tmp_path / "black.png")
    names, _ = predictions([tmp_path / "black.png"], trained, capsys)
    assert names[0].startswith("silent")


def test_loading_a_network_in_one_call(trained, tmp_path):
    data = imagesets.load("digits")
    images = data.test_images[:30]
    network = load_network(trained)
    classes, scores = network.classify(images)
    assert (classes.dtype, scores.dtype, scores.shape) == (np.int64, np.float32, (30, 10))
    assert np.array_equal(classes, network.model.predict(network.encoder.encode(images)))
    assert np.array_equal(scores.argmax(1), classes)
    assert (classes == data.test_labels[:30]).mean() > 0.5
    assert network.class_names == data.class_names
    files = save_pictures(tmp_path, images[:3])
    for found, expected in zip(network.classify(files), (classes[:3], scores[:3]), strict=True):
        assert np.array_equal(found, expected)
    with Image.open(files[0]) as picture:
        for image in (files[0], str(files[0]), picture, images[0], torch.from_numpy(images[0]), [images[0]], [picture]):
            assert network.classify(image)[0].tolist() == classes[:1].tolist()
    silent, scores = network.classify(np.zeros((2, 28, 28), np.uint8))
    assert (silent.tolist(), scores.max()) == ([-1, -1], 0)
    assert len(network.classify(images[:0])[0]) == 0
    for name in (trained / "checkpoints" / "best.safetensors", trained.name, "latest"):
        again = load_network(name, output=trained.parent)
        assert np.array_equal(again.classify(images)[0], classes)


def test_a_colour_image(tmp_path):
    encoder = choose_encoder(S1C1(), colours=3)
    save_checkpoint(collect_checkpoint(tmp_path / "colours", build_model("mozafari2018", in_channels=18), encoder))
    network = load_network(tmp_path / "colours")
    for shape, count in (((28, 28, 3), 1), ((2, 28, 28, 3), 2)):
        assert network.classify(np.zeros(shape, np.uint8))[0].tolist() == [-1] * count
    with refuses():
        network.classify(np.zeros((28, 28), np.uint8))


def test_images_that_cannot_be_classified_are_refused(trained):
    network = load_network(trained)
    sizes = [np.zeros(shape, np.uint8) for shape in ((28, 28, 3), (1, 28, 28, 3), (1, 14, 14), (28,), (1, 2, 2))]
    for images in (*sizes, [], ["nowhere.png"], np.zeros((1, 28, 28)), [np.zeros((2, 2)), np.zeros(3)]):
        with refuses():
            network.classify(images)


def test_a_run_is_found_by_its_name(trained, capsys):
    run_evaluate(f"{trained.name} --predict {ROOT / 'images' / 'page.png'} --device cpu", trained.parent)
    run_train(f"--resume {trained.name}", trained.parent)
    assert "finished" in capsys.readouterr().out
