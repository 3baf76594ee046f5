"""Users' own images in every command: a folder in colour, and a file of arrays."""

import json
import re
import shlex
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from support.command import MACHINE, dont_draw, read_csv, results, run_evaluate, run_train
from support.draws import draw_pixels
from support.refusals import assert_refuses
from support.run_folders import load_best, load_last, read_args, read_log

import evaluate
import train
from training.data import Splits, load_data
from training.settings import TrainSettings
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
        return run_train(f"{words} --tensorboard --map-index 0", output)


def test_a_folder_in_colour(run, faces):
    assert run.name.startswith("mozafari2018-my-faces-seed0-")
    log = read_log(run)
    assert "3 of 16 images are held out" in log
    assert "colour images in 2 classes" in log
    assert "scaled" not in (run / "methods.md").read_text()
    content = load_best(run)
    assert (content.in_channels, content.encoding["s1c1"]["colours"], content.num_classes) == (18, 3, 2)
    about = content.record
    assert (about.dataset, about.class_names, content.image_size) == ("my faces", ["anna", "ben"], (28, 28))
    assert re.fullmatch("[0-9a-f]{16}", about.fingerprint)
    assert results(run)["test"]["best"]["count"] == 3
    assert '"shape": [28, 28, 3]' in (run / "index.html").read_text()
    for row in read_csv(run / "predictions.csv"):
        assert (faces / row["image"]).parent.name == row["label"]
        assert (faces / row["image"]).is_file()


def test_evaluating(run, tmp_path, undrawn):
    assert results(run_evaluate(f"{run} {MACHINE}", tmp_path))["test"] == results(run)["test"]["best"]


def test_predicting_a_folder(run, faces, tmp_path, capsys):
    run_evaluate(f"{run} --predict '{faces}/anna' '{faces}/ben/[01].png' --json --scores {MACHINE}", tmp_path)
    found = json.loads(capsys.readouterr().out)
    expected = [*(f"anna/{index}.png" for index in range(8)), "ben/0.png", "ben/1.png"]
    assert [entry["image"] for entry in found] == [f"{faces}/{name}" for name in expected]
    for entry in found:
        assert entry["note"] == "stretched from 26×30"  # as in training
        assert entry["class"] == max(entry["scores"], key=entry["scores"].get)
        assert list(entry["scores"]) == ["anna", "ben"]
    run_evaluate(f"{run} --predict '{faces}/ben/0.png' --scores {MACHINE}", tmp_path)
    first, second = capsys.readouterr().out.splitlines()
    assert first.startswith(f"{faces}/ben/0.png: {found[8]['class']}")
    assert re.fullmatch(r"    anna \S+  ben \S+", second)


def test_predicting_on_the_ground_of_the_training(run, tmp_path):
    Image.new("RGBA", (26, 30), (90, 90, 90, 0)).save(tmp_path / "icon.png")
    network = load_network(run)
    assert (network.read_image(tmp_path / "icon.png")[0] == 0).all()  # white: nothing to see
    picture = Image.new("RGBA", (26, 30))
    picture.paste((250, 250, 250, 255), (8, 8, 18, 20))
    for ground, least in (("white", 250), ("black", 0)):
        network.checkpoint.record.flags["ground"] = ground
        image, note = network.read_image(picture)
        assert image.min() == least
        assert ("its border is 255, that of the training images 0 of 255" in note) == (ground == "white")


def test_what_does_not_fit_the_network(run, tmp_path):
    images = draw_pixels(28, 28, 28)
    for name, classes in (("grey", ["anna", "ben"]), ("other", ["0", "1"])):
        labels = np.array(classes).repeat(14)
        images = images if name == "grey" else images[..., None].repeat(3, -1)
        np.savez(tmp_path / f"{name}.npz", x_train=images, y_train=labels, x_test=images[12:16], y_test=labels[12:16])
    assert_refuses(evaluate.main, f"{run} --dataset {tmp_path}/grey.npz", "grey.npz")
    assert_refuses(evaluate.main, f"{run} --dataset {tmp_path}/other.npz", "anna, ben")


def test_images_that_have_changed(run, faces, tmp_path, undrawn, capsys):
    """A resume is refused with both fingerprints; an evaluation logs them."""
    before = load_last(run).record.fingerprint
    picture = (faces / "ben" / "0.png").read_bytes()
    try:
        Image.new("RGB", (26, 30), "green").save(faces / "ben" / "0.png")
        line = assert_refuses(train.main, f"--resume {run} --epochs 1 1 2", "")
        run_evaluate(f"{run} {MACHINE}", tmp_path)
    finally:
        (faces / "ben" / "0.png").write_bytes(picture)
    old, new = re.findall("[0-9a-f]{16}", line)
    assert old == before != new
    assert re.search(f"{before}.*{new}", capsys.readouterr().out)


# ---------------------------------------------------------------------------------------------------------------------
# What the images are: published or not, characters or not, which classes, which copies

CONTROL = f"--model control2026 --epochs 1 {MACHINE}"


def make_bars(ground, ink):
    """Return 40 images of 28×28 pixels and their classes: horizontal bars near the top (b) or near the bottom (a)."""
    images = np.full((40, 28, 28), ground, np.uint8)
    for index, image in enumerate(images):
        top = 4 if index % 2 else 20
        image[top : top + 4, 2 + index % 3 : 26 - index % 4] = ink
    return images, np.array(["a", "b"])[np.arange(40) % 2]


def save_folders(root, images, labels):
    for index, (image, label) in enumerate(zip(images, labels, strict=True)):
        path = root / ("train" if index < 28 else "test") / label / f"{index}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(path)


def is_page_centred(run, tmp_path):
    """Return whether the page to draw on centres the ink at first."""
    run_evaluate(f"{run} --draw {tmp_path / 'page.html'} {MACHINE}", tmp_path)
    (box,) = re.findall(r'<input type="checkbox" id="centred"([^>]*)>', (tmp_path / "page.html").read_text())
    return "checked" in box


@pytest.mark.parametrize("name", ["digits", "mnist"])
def test_a_folder_is_not_the_published_data_set_of_its_name(name, tmp_path, undrawn, capsys):
    """Its pictures are not centred, in any command, and the network is compared with the references."""
    images, labels = make_bars(230, 30)
    save_folders(tmp_path / name, images, labels)
    run = run_train(f"{CONTROL} --dataset folder:{tmp_path / name}", tmp_path / "runs")
    assert "nearest neighbour" in read_log(run)
    file = tmp_path / name / "test" / "a" / "28.png"
    network = load_network(run)
    assert (network.read_image(file)[0] == images[28]).all()
    assert network.classify([file])[1].tolist() == network.classify(images[28])[1].tolist()
    capsys.readouterr()
    run_evaluate(f"{run} --predict {file} {MACHINE}", tmp_path)
    assert "centred" not in capsys.readouterr().out
    assert not is_page_centred(run, tmp_path)


@pytest.mark.parametrize("source", ["folder", "npz"])
def test_characters_of_a_user_are_centred_on_request(source, tmp_path, undrawn):
    images, labels = make_bars(0, 250)
    if source == "folder":
        save_folders(tmp_path / "letters", images, labels)
    else:
        np.savez(tmp_path / "letters.npz", x_train=images, y_train=labels)
    dataset = f"folder:{tmp_path / 'letters'}" if source == "folder" else tmp_path / "letters.npz"
    large = Image.new("L", (90, 60), 255)
    large.paste(0, (5, 5, 45, 15))
    for flag in ("", "--characters"):
        run = run_train(f"{CONTROL} --dataset {dataset} {flag}", tmp_path / f"runs{flag}")
        image, note = load_network(run).read_image(large)
        assert ("centred" in note) == (image.mean() < 64) == bool(flag)  # light on black
        assert is_page_centred(run, tmp_path) == bool(flag)
        assert read_args(run)["flags"]["characters"] == bool(flag)
        assert load_best(run).record.characters == bool(flag)


def test_images_that_cannot_be_centred_are_no_characters(faces, tmp_path):
    """In colour, and dark on light: --predict would make them grey and light on black."""
    images, labels = make_bars(230, 30)
    np.savez(tmp_path / "dark.npz", x_train=images, y_train=labels)
    for dataset in (f"'folder:{faces}' --image-size 28 28", tmp_path / "dark.npz"):
        words = f"{CONTROL} --dataset {dataset} --characters --output {tmp_path / 'runs'}"
        assert_refuses(train.main, words, "--characters")


def test_copies_in_a_validation_part_that_is_drawn_are_logged(tmp_path, undrawn):
    """Each image occurs twice, so validation images have a copy among the training images, unless both are drawn."""
    images, labels = make_bars(0, 250)
    images[:, 0, 0] = range(40)
    np.savez(tmp_path / "twice.npz", x_train=np.tile(images, (2, 1, 1)), y_train=np.tile(labels, 2),
             x_test=images[:2] + 50, y_test=labels[:2])  # fmt: skip
    words = f"{CONTROL} --dataset {tmp_path / 'twice.npz'} --val-split 20"
    run = run_train(f"{words} --dry-run", tmp_path)
    settings = TrainSettings.parse(shlex.split(words))
    drawn = Splits(settings, load_data(settings)).indices["validation"] % 40
    copies = sum(np.bincount(drawn) == 1)
    assert copies > 5
    assert f"{copies} of 20 validation images are also training images" in read_log(run)


def test_the_log_begins_with_the_classes(tmp_path, undrawn):
    images, _ = make_bars(0, 250)
    for classes in (1, 2, 14):
        labels = np.array([f"c{number:02}" for number in range(classes)])[np.arange(42) % classes]
        np.savez(tmp_path / "my.npz", x_train=np.concatenate([images, images[:2]]), y_train=labels)
        run = run_train(f"{CONTROL} --dataset {tmp_path / 'my.npz'} --dry-run", tmp_path)
        first, *_ = read_log(run).split("compiling")[0].splitlines()[2:]
        assert first.startswith(f"grey images in {classes} class")
        assert re.findall(r"c\d\d", first) == [f"c{number:02}" for number in range(min(classes, 12))]


def test_a_relative_path_from_another_folder(tmp_path, undrawn, monkeypatch):
    """The refusal names the flag that finds the images, also to resume the run, but other images are refused."""
    images, labels = make_bars(0, 250)
    (tmp_path / "hers").mkdir()
    monkeypatch.chdir(tmp_path / "hers")
    path = Path("my.npz").resolve()
    np.savez(path, x_train=images, y_train=labels)
    run = run_train(f"{CONTROL} --dataset my.npz --dry-run --epochs 1", tmp_path)
    assert read_args(run)["paths"]["dataset"] == str(path)

    monkeypatch.chdir(tmp_path)
    resume = f"--resume {run} --epochs 2"
    assert_refuses(evaluate.main, f"{run}", f"--dataset {path}")
    assert_refuses(train.main, resume, f"--dataset {path}")
    np.savez("other.npz", x_train=images, y_train=labels[::-1])
    assert_refuses(train.main, f"{resume} --dataset other.npz", "other.npz")
    Path("other.npz").rename("my.npz")
    assert_refuses(train.main, resume, f"--dataset {path}")
    Path("my.npz").unlink()
    path.rename("moved.npz")
    assert_refuses(evaluate.main, f"{run}", "--dataset FILE.npz")
    assert_refuses(train.main, f"{resume} --dataset {path}", path)
    assert_refuses(train.main, f"{resume} --dataset digits", "--dataset")
    run_train(f"{resume} --dataset moved.npz", tmp_path)
    run_evaluate(f"{run} --dataset moved.npz --dry-run --no-figures {MACHINE}", tmp_path)
