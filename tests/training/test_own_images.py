"""Users' own images in every command: a folder in colour, and a file of arrays."""

import json
import re
import shlex

import numpy as np
import pytest
from PIL import Image
from support.command import MACHINE, dont_draw, results, start, start_evaluation
from support.refusals import assert_refuses
from support.run_folders import only_run

import evaluate
import train
from training.checkpoint import load_checkpoint
from training.trained import load_network


@pytest.fixture(scope="module")
def faces(tmp_path_factory):
    """A folder of 30×26 pixels in colour, 8 of each of two classes: a vertical red bar, or a horizontal blue bar."""
    root = tmp_path_factory.mktemp("own") / "my faces"
    rng = np.random.default_rng(0)
    for name, colour in (("anna", 0), ("ben", 2)):
        (root / name).mkdir(parents=True)
        for index in range(8):
            image = np.zeros((30, 26, 3), np.uint8)
            y, x = rng.integers(4, 14, 2)
            height, width = (12, 4) if colour else (4, 12)
            image[y : y + height, x : x + width, colour] = 255
            Image.fromarray(image).save(root / name / f"{index}.png")
    return root


@pytest.fixture(scope="module")
def run(faces, tmp_path_factory):
    output = tmp_path_factory.mktemp("runs")
    words = f"--model mozafari2018 --dataset 'folder:{faces}' --image-size 28 28 {MACHINE} --epochs 1 1 1"
    with pytest.MonkeyPatch.context() as monkeypatch:
        dont_draw(monkeypatch)
        assert start(f"{words} --tensorboard --map-index 0", output) == 0
    return only_run(output)


def test_a_folder_in_colour(run):
    assert run.name.startswith("mozafari2018-my-faces-seed0-")
    log = (run / "log.txt").read_text()
    assert "3 of 16 images are held out" in log
    content = load_checkpoint(run / "checkpoints" / "best.safetensors")
    assert (content.in_channels, content.encoding["s1c1"]["colours"], content.num_classes) == (18, 3, 2)
    about = content.run
    assert (about.dataset, about.class_names, content.image_size) == ("my faces", ["anna", "ben"], (28, 28))
    assert re.fullmatch("[0-9a-f]{16}", about.fingerprint)
    assert results(run)["test"]["best"]["count"] == 3
    assert '"shape": [28, 28, 3]' in (run / "index.html").read_text()


def test_evaluating_and_noise(run, tmp_path, undrawn, capsys):
    for number, more in enumerate(("", "--noise gaussian=0.5", "--noise gaussian=0.5", "--noise gaussian=0.0")):
        assert start_evaluation(f"{run} {MACHINE} --name {number} {more}", tmp_path) == 0
    assert "my faces with noise gaussian=0.5" in capsys.readouterr().out
    plain, noisy, again, none = (results(tmp_path / str(number)) for number in range(4))
    assert plain["test"] == none["test"] == results(run)["test"]["best"]
    assert noisy["test"] == again["test"]
    assert (noisy["noise"], noisy["dataset"]) == ("gaussian=0.5", "my faces")
    assert "noise" not in plain
    rows = [(tmp_path / str(number) / "predictions.csv").read_text() for number in range(4)]
    assert rows[0] == rows[3] != rows[1] == rows[2]


def test_predicting_a_folder(run, faces, capsys):
    words = f"{run} --predict '{faces}/anna' '{faces}/ben/[01].png' --json --scores {MACHINE}"
    assert evaluate.main(shlex.split(words)) == 0
    found = json.loads(capsys.readouterr().out)
    expected = [*(f"anna/{index}.png" for index in range(8)), "ben/0.png", "ben/1.png"]
    assert [entry["image"] for entry in found] == [f"{faces}/{name}" for name in expected]
    for entry in found:
        assert entry["note"] == "stretched from 26×30"  # as in training
        assert entry["class"] == max(entry["scores"], key=entry["scores"].get)
        assert list(entry["scores"]) == ["anna", "ben"]
    assert evaluate.main(shlex.split(f"{run} --predict '{faces}/ben/0.png' --scores {MACHINE}")) == 0
    first, second = capsys.readouterr().out.splitlines()
    assert first.startswith(f"{faces}/ben/0.png: {found[8]['class']}")
    assert re.fullmatch(r"    anna \S+  ben \S+", second)


def test_predicting_on_the_ground_of_the_training(run, tmp_path, capsys):
    Image.new("RGBA", (26, 30), (90, 90, 90, 0)).save(tmp_path / "icon.png")
    network = load_network(run)
    assert (network.read_image(tmp_path / "icon.png")[0] == 0).all()  # white: nothing to see
    picture = Image.new("RGBA", (26, 30))
    picture.paste((250, 250, 250, 255), (8, 8, 18, 20))
    for ground, least in (("white", 250), ("black", 0)):
        network.checkpoint.run.flags["ground"] = ground
        image, note = network.read_image(picture)
        assert image.min() == least
        assert ("its border is 255, that of the training images 0 of 255" in note) == (ground == "white")


def test_what_does_not_fit_the_network(run, tmp_path, capsys):
    images = np.random.default_rng(0).integers(0, 255, (28, 28, 28), np.uint8)
    for name, classes in (("grey", ["anna", "ben"]), ("other", ["0", "1"])):
        labels = np.array(classes).repeat(14)
        images = images if name == "grey" else images[..., None].repeat(3, -1)
        np.savez(tmp_path / f"{name}.npz", x_train=images, y_train=labels, x_test=images[12:16], y_test=labels[12:16])
    assert_refuses(evaluate.main, f"{run} --dataset {tmp_path}/grey.npz", "grey.npz", capsys)
    assert_refuses(evaluate.main, f"{run} --dataset {tmp_path}/other.npz", "anna, ben", capsys)


def test_images_that_have_changed(run, faces, tmp_path, undrawn, capsys):
    """A resume is refused with both fingerprints; an evaluation logs them."""
    before = load_checkpoint(run / "checkpoints" / "last.safetensors").run.fingerprint
    picture = (faces / "ben" / "0.png").read_bytes()
    try:
        Image.new("RGB", (26, 30), "green").save(faces / "ben" / "0.png")
        line = assert_refuses(train.main, f"--resume {run} --epochs 1 1 2", "", capsys)
        assert start_evaluation(f"{run} {MACHINE}", tmp_path) == 0
    finally:
        (faces / "ben" / "0.png").write_bytes(picture)
    old, new = re.findall("[0-9a-f]{16}", line)
    assert old == before != new
    assert re.search(f"{before}.*{new}", capsys.readouterr().out)
