"""Users' own images: class folders and .npz files, and the refusal of unusable ones."""

import io
import os
import zipfile

import numpy as np
import pytest
from PIL import Image
from support.refusals import refuses

from datasets import load
from datasets.pictures import resize_images
from errors import InputError


def pixels(*shape, seed=0):
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def save_pictures(folder, images, name="{}.png"):
    folder.mkdir(parents=True, exist_ok=True)
    for number, image in enumerate(images):
        Image.fromarray(image).save(folder / name.format(number))


def arrays(**changed):
    """Return what Keras would save: 12 training and 3 test images of two classes."""
    usual = {"x_train": pixels(12, 8, 9), "y_train": np.arange(12) % 2, "x_test": pixels(3, 8, 9, seed=1)}
    usual["y_test"] = np.array([0, 1, 1])
    return {name: value for name, value in {**usual, **changed}.items() if value is not None}


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


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
@pytest.mark.parametrize(("axes", "colours"), [((), 1), ((1,), 1), ((3,), 3)])
def test_npz_as_keras_writes_it(loaded, save, axes, colours):
    given = arrays(x_train=pixels(12, 8, 9, *axes), x_test=pixels(3, 8, 9, *axes, seed=1))
    data = loaded(save, **given)
    assert (data.name, data.class_names, data.notes) == ("my.npz", ("0", "1"), ())
    assert (data.image_size, data.colours, data.num_classes) == ((8, 9), colours, 2)
    np.testing.assert_array_equal(data.train_images, given["x_train"].squeeze())
    np.testing.assert_array_equal(data.test_images, given["x_test"].squeeze())
    assert data.train_labels.tolist() == given["y_train"].tolist()
    assert data.test_labels.tolist() == [0, 1, 1]


@pytest.mark.parametrize(
    ("y_train", "y_test", "names", "numbers"),
    [
        ([3, 7, -1] * 4, [7, 7, 3], ("-1", "3", "7"), ([1, 2, 0] * 4, [2, 2, 1])),
        ([[0], [1], [0]] * 4, [[1], [1], [0]], ("0", "1"), ([0, 1, 0] * 4, [1, 1, 0])),
        (["dog", "cat", "ü"] * 4, ["cat", "cat", "ü"], ("cat", "dog", "ü"), ([1, 0, 2] * 4, [0, 0, 2])),
        ([b"b", b"a"] * 6, [b"a", b"b", b"b"], ("a", "b"), ([1, 0] * 6, [0, 1, 1])),
        ([b"\xff", b"a"] * 6, [b"a", b"\xff", b"a"], ("\\xff", "a"), ([0, 1] * 6, [1, 0, 1])),  # no UTF-8
        (["\udcff", "a\nb"] * 6, ["a\nb", "\udcff", "a\nb"], ("a\\nb", "\\udcff"), ([1, 0] * 6, [0, 1, 0])),
        (np.array([2, 9] * 6, np.uint8), np.array([9, 9, 2]), ("2", "9"), ([0, 1] * 6, [1, 1, 0])),
    ],
)
def test_labels_are_mapped_to_the_classes(loaded, y_train, y_test, names, numbers):
    data = loaded(y_train=np.array(y_train), y_test=np.array(y_test))
    assert data.class_names == names
    assert (data.train_labels.tolist(), data.test_labels.tolist()) == numbers
    assert data.train_labels.dtype == np.int64
    assert all(f"{number} is {name!r}" in note for note in data.notes for number, name in enumerate(names))
    assert len(data.notes) == (names != ("0", "1"))


@pytest.mark.parametrize(
    ("changed", "named"),
    [
        ({"x_train": None}, "x_train"),
        ({"y_test": None}, "y_test"),
        ({"x_train": pixels(12, 8, 9) / 255}, "train set is float64"),
        ({"x_test": np.full((3, 8, 9), np.nan)}, "test set is float64"),
        ({"x_train": np.ones((12, 8, 9), bool)}, "bool"),
        ({"x_train": np.ones((12, 8, 9), complex)}, "complex128"),
        ({"x_train": pixels(12, 72)}, "(12, 72)"),
        ({"x_train": pixels(12, 3, 8, 9)}, "(12, 3, 8, 9)"),
        ({"x_train": pixels(0, 8, 9), "y_train": np.arange(0), "x_test": None, "y_test": None}, "(0, 8, 9)"),
        ({"x_train": np.array(5)}, "()"),
        ({"x_train": np.array(["a"] * 12)}, "<U1"),
        ({"x_train": np.zeros((12, 8, 9), np.uint8)}, "all pixels"),
        ({"x_test": pixels(3, 9, 9)}, "(9, 9)"),
        ({"y_train": np.arange(11)}, "y_train"),
        ({"y_train": np.eye(2)[np.arange(12) % 2]}, "argmax(1)"),
        ({"y_train": np.array([0.5, np.nan] * 6)}, "y_train"),
        ({"y_train": np.array(["a", 1] * 6, object)}, "astype(str)"),
        ({"y_test": np.array(["0", "1", "1"])}, "'0', '1'"),
        ({"y_test": np.array([0, 1, 5])}, "5"),
    ],
)
def test_unusable_arrays(loaded, changed, named):
    with refuses() as caught:
        loaded(**changed)
    assert named in str(caught.value)
    assert "my.npz" in str(caught.value)


def test_foreign_files_are_no_npz(place):
    def zipped(content):
        file = io.BytesIO()
        with zipfile.ZipFile(file, "w") as archive:
            archive.writestr("x_train.npy", content)
        return file.getvalue()

    npy = io.BytesIO()
    np.save(npy, pixels(3, 4, 5))
    for content in (b"", b"text", npy.getvalue(), zipped(b""), zipped(b"text"), zipped(npy.getvalue()[:-1])):
        place.write_bytes(content)
        with refuses(place):
            load(str(place))


def outcome(place):
    try:
        return load(str(place)).fingerprint
    except InputError as error:
        return "refused" if "my.npz" in str(error) and "\n" not in str(error) else str(error)


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
    images, labels = pixels(31, 8, 9), np.array(["a"] * 18 + ["b"] * 13)
    data = loaded(x_train=images, y_train=labels, x_test=None, y_test=None)
    assert np.bincount(data.test_labels).tolist() == [3, 3]  # 6 of 31: 3 15/31 and 2 16/31
    assert np.bincount(data.train_labels).tolist() == [15, 10]
    assert "6 of 31 images are held out" in data.notes[1]
    both = np.concatenate([data.train_images, data.test_images])
    assert sorted(image.tobytes() for image in both) == sorted(image.tobytes() for image in images)
    again = loaded(x_train=images, y_train=labels, x_test=None, y_test=None)
    assert again.fingerprint == data.fingerprint
    with refuses("--dataset"):  # only five images of the second class
        loaded(x_train=images[:23], y_train=labels[:23], x_test=None, y_test=None)


def test_what_is_odd_is_noted(loaded):
    notes = loaded(y_train=np.zeros(12, int), y_test=np.zeros(3, int)).notes
    assert [note.split(" images")[0] for note in notes] == ["all 12 training", "all 3 test"]
    images = arrays()["x_train"]
    (note,) = loaded(x_test=np.stack([images[4], pixels(8, 9, seed=5), images[4]])).notes
    assert note.startswith("2 of 3 test images")


@pytest.mark.parametrize("name", ["digits", "my.npz", "folder:pictures"])
def test_all_can_be_scaled(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    np.savez("my.npz", **arrays())
    save_pictures(tmp_path / "pictures" / "a", pixels(6, 8, 9))
    data = load(name, image_size=(5, 14))
    assert data.train_images.shape[1:] == data.test_images.shape[1:] == data.image_size == (5, 14)


def test_scaling_averages_what_it_makes_smaller():
    """Half the size by a triangle four pixels wide: 1/8, 3/8, 3/8, 1/8 inside, 3/7, 3/7, 1/7 at the ends."""
    images = np.tile(np.array([0, 70, 140, 80, 0, 240], np.uint8), (2, 8, 1))
    expected = [50, 91, 114]  # (210 + 140) / 7, (70 + 420 + 240) / 8, 800 / 7
    assert resize_images(images, 8, 3).tolist() == np.tile(expected, (2, 8, 1)).tolist()


@pytest.mark.parametrize("size", [(0, 5), (5, 10**23), (-1, 5)])
def test_impossible_sizes(size):
    with refuses("--image-size"):
        load("digits", image_size=size)


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
    assert "3 of 13 images are held out" in data.notes[1]
    found = np.concatenate([data.train_images[data.train_labels == 1], data.test_images[data.test_labels == 1]])
    assert sorted(image.tobytes() for image in found) == sorted(dog.tobytes() for dog in dogs)
    assert load("folder:.").fingerprint == data.fingerprint


def test_class_folders_for_training_and_testing(tmp_path):
    """The test part may lack classes; its images have the training classes' numbers."""
    for part in ("train", "test"):
        save_pictures(tmp_path / part / "b", pixels(2, 8, 9, seed=len(part)))
    save_pictures(tmp_path / "train" / "a", pixels(1, 8, 9, seed=9))
    save_pictures(tmp_path / "val" / "a", pixels(1, 8, 9))
    data = load(f"folder:{tmp_path}")
    assert (data.train_labels.tolist(), data.test_labels.tolist()) == ([0, 1, 1], [1, 1])
    assert "val" in data.notes[0]
    np.testing.assert_array_equal(data.test_images, pixels(2, 8, 9, seed=4))


def test_one_picture_in_colour_makes_all_of_them_colour_images(tmp_path):
    grey, colours = pixels(8, 9), pixels(8, 9, 3)
    save_pictures(tmp_path / "a", [grey] * 5 + [np.dstack([grey] * 3)])
    data = load(f"folder:{tmp_path}")
    assert data.colours == 1
    assert (np.concatenate([data.train_images, data.test_images]) == grey).all()
    save_pictures(tmp_path / "a", [colours], "z.png")
    data = load(f"folder:{tmp_path}")
    both = np.concatenate([data.train_images, data.test_images])
    is_colour = (both == colours).all((1, 2, 3))
    assert (data.colours, is_colour.sum()) == (3, 1)
    assert (both[~is_colour] == grey[..., None]).all()


def test_pictures_of_different_sizes(tmp_path):
    save_pictures(tmp_path / "a", [pixels(8, 9)] * 6)
    save_pictures(tmp_path / "a", pixels(2, 20, 30), "large-{}.jpg")
    with refuses("--image-size") as caught:
        load(f"folder:{tmp_path}")
    assert all(text in str(caught.value) for text in ("8×9", "20×30", "large-0.jpg"))
    assert load(f"folder:{tmp_path}", image_size=(8, 9)).train_images.shape == (6, 8, 9)


SPOILED = {
    "truncated": lambda file: file.write_bytes(file.read_bytes()[:-30]),
    "broken link": lambda file: file.unlink() or file.symlink_to("nowhere.png"),
    "transparent": lambda file: Image.new("RGBA", (9, 8), (200, 0, 0, 128)).save(file),
    "transparent colour": lambda file: Image.new("L", (9, 8), 5).save(file, transparency=5),
    "16 bits": lambda file: Image.fromarray(pixels(8, 9).astype(np.uint16) * 257).save(file),
}


@pytest.mark.parametrize("kind", SPOILED)
def test_unusable_pictures(tmp_path, kind):
    save_pictures(tmp_path / "a", pixels(6, 8, 9))
    SPOILED[kind](tmp_path / "a" / "0.png")
    with refuses(tmp_path / "a" / "0.png"):
        load(f"folder:{tmp_path}")


@pytest.mark.parametrize(
    ("full", "empty", "about"),
    [
        (["a"], ["b"], "b"),
        (["a"], ["test"], ""),
        (["train/a", "test/b"], [], ""),
        (["train"], [], "train"),  # without class folders
    ],
)
def test_unusable_folders(tmp_path, full, empty, about):
    for name in full:
        save_pictures(tmp_path / name, pixels(6, 8, 9))
    for name in empty:
        (tmp_path / name).mkdir()
    with refuses(tmp_path / about):
        load(f"folder:{tmp_path}")


@pytest.mark.parametrize("kind", ["pipe", "loop", "folder", "circle"])
def test_odd_files_are_refused(tmp_path, kind):
    save_pictures(tmp_path / "a", pixels(6, 8, 8))
    odd = tmp_path / "a" / "odd.png"
    if kind == "pipe":
        os.mkfifo(odd)
    else:
        odd.symlink_to({"loop": odd, "folder": tmp_path / "b", "circle": tmp_path}[kind])
        save_pictures(tmp_path / "b", pixels(6, 8, 8))
    with refuses(odd):
        load(f"folder:{tmp_path}")


def test_images_that_do_not_fit_in_the_memory(tmp_path, monkeypatch):
    monkeypatch.setattr("utils.get_available_memory", lambda: 20_000_000_000)
    save_pictures(tmp_path / "a", pixels(1200, 1, 1))
    for name in ("digits", f"folder:{tmp_path}"):
        with refuses("--image-size") as caught:
            load(name, image_size=(4096, 4096))
        assert "MB" in str(caught.value)


def test_blank_pictures(tmp_path):
    save_pictures(tmp_path / "a", np.zeros((6, 8, 9), np.uint8))
    with refuses("--dataset"):
        load(f"folder:{tmp_path}")


@pytest.mark.parametrize("place", ["", "/nowhere", "~nobody-of-this-name/x", 5000 * "x"])
@pytest.mark.parametrize("form", ["folder:{}", "{}.npz"])
def test_nothing_there(form, place):
    name = form.format(place)
    with refuses(name.removeprefix("folder:")):
        load(name)
