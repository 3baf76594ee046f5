"""Users' own images: class folders and .npz files, and the refusal of unusable ones."""

import os
import re
import tempfile
from dataclasses import replace
from functools import partial
from pathlib import Path
from unicodedata import normalize

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from support.draws import draw_pixels as pixels
from support.refusals import refuses

from errors import InputError
from imagesets import load
from imagesets.pictures import read_picture, resize_images
from training.data import Splits
from training.settings import TrainSettings


def save_pictures(folder, images, name="{}.png"):
    folder.mkdir(parents=True, exist_ok=True)
    for number, image in enumerate(images):
        Image.fromarray(image).save(folder / name.format(number))


def arrays(**changed):
    """Return what Keras would save: 12 training and 3 test images of two classes."""
    usual = {"x_train": pixels(12, 8, 9), "y_train": np.arange(12) % 2, "x_test": pixels(3, 8, 9, seed=1)}
    usual["y_test"] = np.array([0, 1, 1])
    return {name: value for name, value in {**usual, **changed}.items() if value is not None}


def join(data):
    """Return the training and the test images."""
    return np.concatenate([data.train_images, data.test_images])


@pytest.fixture
def place(tmp_path):
    return tmp_path / "my.npz"


@pytest.fixture
def loaded(place):
    """A function that returns the data set of an .npz file of these arrays."""

    def load_arrays(save=np.savez, **changed):
        save(place, **arrays(**changed))
        return load(str(place))

    return load_arrays


NUMBERS = st.integers(-99, 99).filter(lambda number: number != -1)  # which means "no label" in many programs
CLASSES = st.lists(NUMBERS, min_size=2, max_size=5, unique=True) | st.lists(
    st.text(st.characters(categories=("L", "N")), min_size=1, max_size=9).map(partial(normalize, "NFC")),
    min_size=2,
    max_size=5,
    unique=True,
)


@settings(max_examples=50)
@given(
    st.sampled_from([np.savez, np.savez_compressed]), st.integers(1, 9), st.integers(1, 9),
    st.sampled_from([(), (1,), (3,)]), CLASSES, st.booleans(), st.integers(0, 999),
)  # fmt: skip
def test_a_data_set_is_read_as_it_was_written(save, height, width, axes, classes, is_column, seed):
    """As Keras writes it: grey or in colour, with numbers or names as labels, which may be a column."""
    rng = np.random.default_rng(seed)
    given = {"y_train": rng.permutation(3 * classes), "y_test": rng.choice(classes, 4)}
    for part in ("train", "test"):
        given[f"x_{part}"] = pixels(len(given[f"y_{part}"]), height, width, *axes, seed=rng)
        given[f"x_{part}"].flat[:2] = 0, 255
    with tempfile.TemporaryDirectory() as folder:
        columns = {name: values[:, None] if is_column and name[0] == "y" else values for name, values in given.items()}
        save(Path(folder, "my.npz"), **columns)
        data = load(f"{folder}/my.npz")
    ordered = sorted(classes)
    assert (data.name, data.class_names, data.image_size) == ("my.npz", tuple(map(str, ordered)), (height, width))
    assert (data.num_classes, data.colours) == (len(classes), 3 if axes == (3,) else 1)
    for part in ("train", "test"):
        images, labels = getattr(data, f"{part}_images"), getattr(data, f"{part}_labels")
        expected = given[f"x_{part}"]
        assert np.array_equal(images, expected[..., 0] if axes == (1,) else expected)
        assert [ordered[label] for label in labels] == given[f"y_{part}"].tolist()
        assert (images.dtype, labels.dtype) == (np.uint8, np.int64)


def outcome(place):
    try:
        return load(str(place)).fingerprint
    except InputError as error:
        return "refused" if "my.npz" in str(error) and "\n" not in str(error) else str(error)


def test_names_that_cannot_be_printed(loaded):
    labels = np.array(["\udcff", "a\nb"])
    assert sorted(loaded(y_train=np.tile(labels, 6), y_test=labels[[0, 1, 1]]).class_names) == ["\\udcff", "a\\nb"]


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_no_damaged_npz_gives_other_arrays(place, save):
    """Truncated anywhere, or with a byte changed anywhere, it is refused in one line or read as it was."""
    save(place, **arrays())
    whole, sound = place.read_bytes(), load(str(place)).fingerprint
    rng = np.random.default_rng(0)
    for position in rng.integers(0, len(whole), 80).tolist():
        flipped = bytearray(whole)
        flipped[position] ^= 1 << int(rng.integers(8))
        for content in (flipped, whole[:position]):
            place.write_bytes(content)
            assert outcome(place) in (sound, "refused")


def test_without_a_test_part_the_same_sixth_is_held_out(loaded):
    images, labels, untested = pixels(31, 8, 9), np.array(["a"] * 18 + ["b"] * 13), {"x_test": None, "y_test": None}
    data = loaded(x_train=images, y_train=labels, **untested)
    assert np.bincount(data.test_labels).tolist() == [3, 3]  # 6 of 31: 3 15/31 and 2 16/31
    assert np.bincount(data.train_labels).tolist() == [15, 10]
    assert "6 of 31 images are held out" in data.notes[0]
    assert sorted(image.tobytes() for image in join(data)) == sorted(image.tobytes() for image in images)
    assert loaded(x_train=images, y_train=labels, **untested).fingerprint == data.fingerprint
    few = loaded(x_train=images[:20], y_train=labels[:20], **untested)
    assert np.bincount(few.test_labels).tolist() == [3, 1]  # 3.6 and 0.4 of 4
    with refuses("my.npz"):  # only one image of the second class
        loaded(x_train=images[:19], y_train=labels[:19], **untested)


def test_equal_pictures_are_named_by_their_files(tmp_path):
    """Test images among the training images, and a picture in two classes."""
    for number, part in enumerate(("train/a", "train/b", "test/a")):
        save_pictures(tmp_path / part, pixels(4, 8, 9, seed=number))
    save_pictures(tmp_path / "train" / "b", pixels(4, 8, 9)[:1], "copy.png")
    save_pictures(tmp_path / "test" / "a", pixels(4, 8, 9, seed=1)[2:], "leak-{}.png")
    leaks, labels = load(f"folder:{tmp_path}").notes
    assert leaks.startswith("2 of 6 test images")
    assert leaks.endswith(": train/b/2.png = test/a/leak-0.png, train/b/3.png = test/a/leak-1.png")
    assert ": 3, the first as 'a' and 'b': train/a/0.png = train/b/copy.png, train/b/2.png = test/a" in labels
    for name in "ab":
        save_pictures(tmp_path / "both" / name, pixels(8, 8, 9))
    splits = Splits(TrainSettings(model="mozafari2018"), load(f"folder:{tmp_path / 'both'}"))
    (note,) = splits.note_copies()
    assert re.search(r" of 2 validation .*: a/(\d).png = b/\1.png", note)


def test_what_is_odd_is_noted(loaded):
    images = arrays()["x_train"]
    tested = np.stack([images[4], pixels(8, 9, seed=5), images[4]])
    (note,) = loaded(x_test=tested, y_test=np.array([0, 1, 0])).notes
    assert note == "2 of 3 test images are also training images"
    assert not loaded(x_unlabelled=images[:3]).notes  # no label is another label
    own = {"x_val": np.concatenate([images[3:6], pixels(1, 8, 9, seed=7)]), "y_val": np.array([1, 0, 1, 0])}
    tested = np.concatenate([images[:2], own["x_val"][3:]])
    first, second = loaded(**own, x_test=tested, y_test=np.array([0, 1, 0])).notes
    assert first.startswith("3 of 4 validation images")
    assert second.startswith("3 of 3 test images")
    for part, count in (("test", 2), ("train", 6)):  # images 4 and 5, or images 0 to 5
        given = {"x_test": images[[4, 5, 5]], "y_test": np.array([1, 0, 0])}
        if part == "train":
            given = {"x_train": np.concatenate([images[:6]] * 2), "y_train": np.arange(12) // 6}
        *_, last = loaded(**given).notes
        assert f"labels: {count}, " in last
        assert "'0' and '1'" in last
    (note,) = loaded(weights=np.ones(3), names=np.array(["a", "b"])).notes
    assert "weights, names" in note


def test_scaling_averages_what_it_makes_smaller():
    """Half the size by a triangle four pixels wide: 1/8, 3/8, 3/8, 1/8 inside, 3/7, 3/7, 1/7 at the ends."""
    images = np.tile(np.array([0, 70, 140, 80, 0, 240], np.uint8), (2, 8, 1))
    expected = [50, 91, 114]  # (210 + 140) / 7, (70 + 420 + 240) / 8, 800 / 7
    assert resize_images(images, 8, 3).tolist() == np.tile(expected, (2, 8, 1)).tolist()


@pytest.mark.unix
def test_class_folders(tmp_path, monkeypatch):
    """Files in subfolders and behind links are read, and a class folder may be a link; hidden files are not read."""
    cats, dogs = pixels(6, 8, 9), pixels(7, 8, 9, seed=1)
    save_pictures(tmp_path / "pets" / "cat", cats)
    save_pictures(tmp_path / "elsewhere", dogs[:3])
    save_pictures(tmp_path / "elsewhere" / "more", dogs[3:6])
    save_pictures(tmp_path / "alone", dogs[6:])
    (tmp_path / "pets" / "dog").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "elsewhere" / "linked.png").symlink_to(tmp_path / "alone" / "0.png")
    (tmp_path / "pets" / "cat" / "notes.txt").write_text("no picture")
    (tmp_path / "pets" / "cat" / "._0.png").write_text("a resource fork of macOS")
    for hidden in (".ipynb_checkpoints", "cat/.ipynb_checkpoints"):
        save_pictures(tmp_path / "pets" / hidden, pixels(1, 8, 9))
    monkeypatch.chdir(tmp_path / "pets")
    data = load("folder:../pets")
    assert (data.name, data.class_names, data.colours, data.image_size) == ("pets", ("cat", "dog"), 1, (8, 9))
    assert "3 of 13 images are held out" in data.notes[0]
    found = np.concatenate([data.train_images[data.train_labels == 1], data.test_images[data.test_labels == 1]])
    assert sorted(image.tobytes() for image in found) == sorted(dog.tobytes() for dog in dogs)
    assert load("folder:.").fingerprint == data.fingerprint


def test_class_folders_for_training_validation_and_testing(tmp_path):
    """Other parts may lack classes; their images have the training classes' numbers."""
    for part in ("train", "test"):
        save_pictures(tmp_path / part / "b", pixels(2, 8, 9, seed=len(part)))
    save_pictures(tmp_path / "train" / "a", pixels(1, 8, 9, seed=9))
    save_pictures(tmp_path / "val" / "a", pixels(1, 8, 9))
    with refuses("'a'"):  # a constant answer would be right
        load(f"folder:{tmp_path}")
    save_pictures(tmp_path / "val" / "b", pixels(1, 8, 9, seed=3))
    data = load(f"folder:{tmp_path}")
    assert (data.train_labels.tolist(), data.test_labels.tolist(), data.val_count) == ([0, 1, 1, 0, 1], [1, 1], 2)
    np.testing.assert_array_equal(data.test_images, pixels(2, 8, 9, seed=4))
    np.testing.assert_array_equal(data.train_images[3:], np.stack([pixels(8, 9), pixels(8, 9, seed=3)]))


def check_names(data, read):
    """Assert that each image has the name of what ``read`` returns."""
    for split, images in (("train", data.train_images), ("test", data.test_images)):
        names = data.name_images(split, np.arange(len(images)))
        for name, image in zip(names, images, strict=True):
            np.testing.assert_array_equal(read(name), image)


@pytest.mark.parametrize("parts", [(), ("train", "val"), ("train", "val", "test", "unlabelled")])
def test_images_are_named_by_their_files_or_indices(parts, tmp_path, loaded):
    """Also those that are held out as the test part, and those of FILE.npz, whose indices are those of x_train."""
    for number, part in enumerate(parts or [""]):
        for name in "ab" if part != "unlabelled" else [""]:
            save_pictures(tmp_path / "own" / part / name, pixels(7, 8, 9, seed=10 * number + ord(name or "c")))
    data = load(f"folder:{tmp_path / 'own'}")
    check_names(data, lambda name: read_picture(tmp_path / "own" / name))
    assert data.name_images("test", np.array([2])) == [data.files[len(data.train_images) + 2]]
    images = pixels(30, 8, 9)
    held_out = loaded(x_train=images, y_train=np.arange(30) % 3, x_test=None, y_test=None)
    check_names(held_out, lambda index: images[index])


def test_a_class_is_the_same_in_each_form_of_unicode(tmp_path, loaded):
    """é is one character (NFC) or, as some file systems of macOS return it, e and an accent (NFD)."""
    composed, decomposed = "caf\u00e9", "cafe\u0301"
    for part, name in (("train", decomposed), ("test", composed)):
        save_pictures(tmp_path / "pictures" / part / name, pixels(2, 8, 9, seed=len(part)))
        save_pictures(tmp_path / "pictures" / part / "tea", pixels(2, 8, 9, seed=9 + len(part)))
    data = load(f"folder:{tmp_path / 'pictures'}")
    assert data.class_names == (composed, "tea")
    assert data.test_labels.tolist() == [0, 0, 1, 1]
    data = loaded(y_train=np.array([decomposed, "tea"] * 6), y_test=np.array([composed, "tea", "tea"]))
    assert data.class_names == (composed, "tea")


UNREAD = {  # folders of pictures: the folder that is refused, and what would be right
    "Train/a Train/b": ("Train", "train"),
    "training/a training/b": ("training", "train"),
    "train/a train/b Testing/a": ("Testing", "test"),
    "train/a train/b valid": ("valid", "val"),
    "train/a train/b unlabelled Unlabelled/part": ("Unlabelled", "unlabelled"),
    "a b validation/a": ("validation", "val"),
    "a b unlabelled": ("unlabelled", "train"),
    "val/a val/b": ("val", "train"),
}


@pytest.mark.parametrize("names", UNREAD)
def test_parts_with_names_that_are_not_read(names, tmp_path):
    """They would be classes, or never read."""
    for number, name in enumerate(names.split()):
        save_pictures(tmp_path / name, pixels(6, 8, 9, seed=number))
    refused, right = UNREAD[names]
    with refuses(tmp_path / refused) as caught:
        load(f"folder:{tmp_path}")
    *_, last = str(caught.value).split()
    assert Path(last).name == right


def test_a_class_may_have_the_name_of_a_part(tmp_path):
    """If it contains no folder."""
    for number, name in enumerate(("train", "Test", "valid")):
        save_pictures(tmp_path / name, pixels(6, 8, 9, seed=number))
    assert load(f"folder:{tmp_path}").class_names == ("Test", "train", "valid")


def test_each_folder_beside_the_parts_is_noted(tmp_path):
    for name in ("train/a", "train/b", "test/a", "raw", "masks/a"):
        save_pictures(tmp_path / name, pixels(6, 8, 9, seed=len(name)))
    masks, raw, *_ = load(f"folder:{tmp_path}").notes
    assert "not read" in masks
    assert masks.endswith("masks")
    assert raw.endswith("raw")


def test_minus_one_is_no_class_beside_several(loaded, place):
    """Many programs write it for "no label". Beside one other number it is the other class."""
    for changed in (
        {"y_train": np.array([0, 1, -1] * 4)},
        {"y_train": np.array([-2, -1, 3] * 4).astype(np.int8)[:, None]},
        {"y_val": np.array([0, 1, -1]), "x_val": pixels(3, 8, 9, seed=3)},
    ):
        with refuses("x_unlabelled", "astype(str)", place):
            loaded(**changed)
    assert loaded(y_train=np.array([-1, 1] * 6), y_test=np.array([1, -1, 1])).class_names == ("-1", "1")
    labels = np.array([0, 1, -1] * 4).astype(str)
    assert loaded(y_train=labels, y_test=labels[:3]).class_names == ("-1", "0", "1")


def test_each_part_of_arrays_is_checked_before_they_are_joined(loaded):
    """Counts that cancel, and types of which one would become the other."""
    images, labels = pixels(50, 8, 9), np.arange(50) % 2
    parts = {"x_train": images[:42], "y_train": labels[:42], "x_val": images[42:], "y_val": labels[42:]}
    assert loaded(**parts).val_count == 8
    wrong = {
        "x_train": {"y_train": labels[:40], "y_val": labels[40:]},
        "x_val": {"x_val": images[42:] > 99},
        "x_train ": {"x_train": images[:42] > 99},
        "x_val ": {"x_val": images[42:, :7]},
        "x_test": {"x_test": images[:3, :, :8]},
        "y_test": {"y_test": labels[:4]},
        "y_val": {"y_val": None},
        "the val part": {"y_val": labels[42:] + 3},
        "x_valid, y_valid": {"x_valid": images, "y_valid": labels},
        "X_Extra": {"X_Extra": images},
    }
    for about, changed in wrong.items():
        with refuses(about.strip()):
            loaded(**parts | changed)


def write_own(place, parts):
    """Write {part: (images, the class of each, or None)} as FILE.npz or in folders; return the name of the data set."""
    if place.suffix:
        images = {f"x_{part}": images for part, (images, _) in parts.items()}
        names = {f"y_{part}": names for part, (_, names) in parts.items() if names is not None}
        np.savez(place, **images, **names)
        return str(place)
    for part, (images, names) in parts.items():
        if names is None:
            names = np.array([""] * 2 + ["more"] * (len(images) - 2))
        for name in np.unique(names):
            save_pictures(place / part / name, images[names == name])
    return f"folder:{place}"


OTHERS = "", "test", "val", "val test", "unlabelled", "test unlabelled", "val test unlabelled"


@pytest.mark.parametrize("others", OTHERS)
@pytest.mark.parametrize("place", ["my.npz", "own"])
def test_the_parts_of_own_data(place, others, tmp_path):
    """Validation images and those without labels follow the training images, and are never held out."""
    given = {}
    for part, each in ({"train": 6} | dict.fromkeys(others.split(), 3)).items():
        names = None if part == "unlabelled" else np.repeat(["a", "b"], each)
        given[part] = pixels(2 * each, 8, 9, seed=len(part)), names
    name = write_own(tmp_path / place, given)
    data = load(name)
    counts = [6 * (part in given) for part in ("val", "unlabelled")]
    assert (data.class_names, data.val_count, data.unlabelled) == (("a", "b"), *counts)
    kept = 12 if "test" in given else 10
    end = kept + data.val_count
    assert len(data.train_labels) == end
    later = [given[part][0] for part in ("train", "val", "unlabelled") if part in given][1:]
    np.testing.assert_array_equal(data.train_images[kept:], np.concatenate([pixels(0, 8, 9), *later]))
    assert len(data.test_images) == (6 if "test" in given else 2)
    if "test" in given:
        np.testing.assert_array_equal(data.test_images, given["test"][0])
    assert load(name, image_size=(8, 8)).train_images.shape == (*data.train_images.shape[:2], 8)
    splits = Splits(TrainSettings(model="mozafari2018"), data)
    train, validation = (splits.indices[split].tolist() for split in ("train", "validation"))
    assert not {*train} & {*validation}
    assert train[len(train) - data.unlabelled :] == [*range(end, end + data.unlabelled)]
    if data.unlabelled:
        assert splits.labelled.tolist() == [*range(len(train) - data.unlabelled)]
    if data.val_count:
        assert validation == [*range(kept, end)]
        assert data.fingerprint != replace(data, val_count=0).fingerprint
        with refuses("--val-split"):
            Splits(TrainSettings(model="mozafari2018", val_split=2), data)


@pytest.mark.parametrize("labels", ["12", "0.5"])
def test_labelled_images_are_drawn_from_those_with_labels(labels, loaded):
    data = loaded(x_train=pixels(36, 8, 9), y_train=np.arange(36) % 2, x_unlabelled=pixels(5, 8, 9, seed=9))
    settings = TrainSettings.parse(["--model", "mozafari2018", "--labels", labels, "--val-split", "12"])
    splits = Splits(settings, data)
    assert len(splits.indices["train"]) == 24 + 5
    chosen = splits.indices["train"][splits.labelled]
    assert np.bincount(data.train_labels[chosen]).tolist() == [6, 6]
    assert splits.labelled.max() < 24


def test_all_flags_that_transparent_pictures_of_several_sizes_need_are_named_together(tmp_path):
    for number, side in enumerate((20, 24, 30)):
        for name in "ab":
            (tmp_path / name).mkdir(exist_ok=True)
            Image.new("RGBA", (side, side), (200, 10 * number, 0, 128)).save(tmp_path / name / f"{number}.png")
    with refuses("--ground", "6 of 6 pictures", "--image-size"):
        load(f"folder:{tmp_path}")
    with refuses("--image-size", "20×20", "24×24", "1.png") as caught:
        load(f"folder:{tmp_path}", ground="white")
    assert "--ground" not in str(caught.value)
    data = load(f"folder:{tmp_path}", image_size=(20, 20), ground="white")
    assert data.image_size == (20, 20)
    assert "20×20 to 30×30 pixels" in data.notes[0]


@pytest.mark.parametrize(("ground", "expected"), [("white", 227), ("black", 100)])
def test_transparent_pictures_are_put_on_a_ground(ground, expected, tmp_path):
    """Half of 200 on black, or with half of 255 on white."""
    save_pictures(tmp_path / "a", pixels(6, 8, 9))
    for name in ("6.png", "7.png"):
        Image.new("RGBA", (9, 8), (200, 200, 200, 128)).save(tmp_path / "a" / name)
    with refuses("--ground", "2 of 8 pictures", tmp_path / "a" / "6.png"):
        load(f"folder:{tmp_path}")
    data = load(f"folder:{tmp_path}", ground=ground)
    assert (abs(join(data).astype(int) - expected) <= 1).all((1, 2)).sum() == 2
    with refuses("--ground"):
        load("digits", ground=ground)


def test_one_picture_in_colour_makes_all_of_them_colour_images(tmp_path):
    grey, colours = pixels(8, 9), pixels(8, 9, 3)
    save_pictures(tmp_path / "a", [grey] * 5 + [np.dstack([grey] * 3)])
    data = load(f"folder:{tmp_path}")
    assert data.colours == 1
    assert (join(data) == grey).all()
    save_pictures(tmp_path / "a", [colours], "z.png")
    data = load(f"folder:{tmp_path}")
    assert data.notes[0].startswith("1 of 7 pictures")
    assert data.notes[0].endswith(": a/z.png")
    both = join(data)
    is_colour = (both == colours).all((1, 2, 3))
    assert (data.colours, is_colour.sum()) == (3, 1)
    assert (both[~is_colour] == grey[..., None]).all()
    save_pictures(tmp_path / "a", [colours] * 9, "more-{}.png")
    assert "colour" not in "".join(load(f"folder:{tmp_path}").notes)


LINKS = "0.png", "../b", ".."  # itself, another folder, the folder around
SPOILED = {
    "truncated": lambda file: file.write_bytes(file.read_bytes()[:-30]),
    "broken link": lambda file: file.unlink() or file.symlink_to("nowhere.png"),
    "transparent": lambda file: Image.new("RGBA", (9, 8), (200, 0, 0, 128)).save(file),
    "transparent colour": lambda file: Image.new("L", (9, 8), 5).save(file, transparency=5),
    "16 bits": lambda file: Image.fromarray(pixels(8, 9).astype(np.uint16) * 257).save(file),
    "pipe": lambda file: file.unlink() or os.mkfifo(file),
    **{f"a link to {place}": lambda file, place=place: file.unlink() or file.symlink_to(place) for place in LINKS},
}


@pytest.mark.unix
def test_unusable_pictures(tmp_path):
    save_pictures(tmp_path / "b", pixels(6, 8, 9))
    for spoil in SPOILED.values():
        save_pictures(tmp_path / "a", pixels(6, 8, 9))
        spoil(tmp_path / "a" / "0.png")
        with refuses(tmp_path / "a" / "0.png"):
            load(f"folder:{tmp_path}")
        (tmp_path / "a" / "0.png").unlink()
    save_pictures(tmp_path / "a", pixels(6, 8, 9))
    save_pictures(tmp_path / "a", pixels(1, 9, 9), "9.png")
    for name, damage in (("1", "truncated"), ("2", "16 bits"), ("3", "transparent")):  # named together
        SPOILED[damage](tmp_path / "a" / f"{name}.png")
    with refuses("2 of 13 pictures cannot be used", "1.png cannot", "2.png has more", "1 of 13", "--image-size"):
        load(f"folder:{tmp_path}")


def test_unusable_folders(tmp_path):
    """An empty class or part, a test part without classes, a class that only it has, and no class folders."""
    cases = (["a"], ["b"], "b"), (["a"], ["test"], ""), (["train/a", "test/b"], [], "")
    cases += (["test/a"], ["train", "train/a"], "train/a"), (["train/a"], ["test"], "test")
    cases += ((["train/a", "train/b"], ["unlabelled"], "unlabelled"),)
    for number, (full, empty, about) in enumerate(cases):
        folder = tmp_path / str(number)
        for name in full:
            save_pictures(folder / name, pixels(6, 8, 9))
        for name in empty:
            (folder / name).mkdir()
        with refuses(folder / about):
            load(f"folder:{folder}")


def test_images_that_do_not_fit_in_the_memory(tmp_path, monkeypatch):
    """Twice 12 images of 8 · 9 pixels are 1,728 bytes in grey, 5,184 in colour. Only a flag that was given is named."""
    save_pictures(tmp_path / "a", pixels(6, 8, 9))
    save_pictures(tmp_path / "b", pixels(6, 8, 9, 3))
    monkeypatch.setattr("utils.get_available_memory", lambda: 5_183)
    with refuses("12 images of 8×9") as caught:
        load(f"folder:{tmp_path}")
    assert "--" not in str(caught.value)
    for name in ("digits", f"folder:{tmp_path}"):
        with refuses("--image-size"):
            load(name, image_size=(4096, 4096))
    monkeypatch.setattr("utils.get_available_memory", lambda: 5_184)
    assert load(f"folder:{tmp_path}").colours == 3
