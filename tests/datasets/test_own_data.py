"""Images of one's own: class folders and .npz files, and what unusable ones say."""

import io
import zipfile

import numpy as np
import pytest
from PIL import Image

from datasets import load
from datasets.own import scaled
from errors import InputError


def pixels(*shape, seed=0):
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def save_pictures(folder, images, name="{}.png"):
    folder.mkdir(parents=True, exist_ok=True)
    for number, image in enumerate(images):
        Image.fromarray(image).save(folder / name.format(number))


def arrays(**changed):
    """What Keras would write: 12 training and 3 test images of two classes."""
    usual = {
        "x_train": pixels(12, 8, 9),
        "y_train": np.arange(12) % 2,
        "x_test": pixels(3, 8, 9, seed=1),
        "y_test": np.array([0, 1, 1]),
    }
    return {name: value for name, value in {**usual, **changed}.items() if value is not None}


@pytest.fixture
def loaded(tmp_path):
    """The data set of an .npz file of these arrays."""

    def load_arrays(save=np.savez, **changed):
        save(tmp_path / "my.npz", **arrays(**changed))
        return load(str(tmp_path / "my.npz"))

    return load_arrays


def one_line(error):
    assert "\n" not in str(error.value)
    return str(error.value)


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_npz_as_keras_writes_it(loaded, save):
    data, given = loaded(save), arrays()
    assert (data.name, data.class_names, data.notes) == ("my.npz", ("0", "1"), ())
    assert (data.image_size, data.colours, data.num_classes) == ((8, 9), 1, 2)
    np.testing.assert_array_equal(data.train_images, given["x_train"])
    np.testing.assert_array_equal(data.test_images, given["x_test"])
    assert data.train_labels.tolist() == given["y_train"].tolist()
    assert data.test_labels.tolist() == [0, 1, 1]


def test_npz_in_colour_and_with_a_grey_axis(loaded):
    colours = pixels(12, 8, 9, 3)
    data = loaded(x_train=colours, x_test=pixels(3, 8, 9, 3, seed=1))
    assert data.colours == 3
    assert data.image_size == (8, 9)
    np.testing.assert_array_equal(data.train_images, colours)
    grey = loaded(x_train=pixels(12, 8, 9, 1), x_test=pixels(3, 8, 9, 1, seed=1))
    assert grey.train_images.shape == (12, 8, 9)
    assert grey.colours == 1


@pytest.mark.parametrize(
    ("y_train", "y_test", "names", "numbers"),
    [
        ([3, 7, -1] * 4, [7, 7, 3], ("-1", "3", "7"), ([1, 2, 0] * 4, [2, 2, 1])),
        ([[0], [1], [0]] * 4, [[1], [1], [0]], ("0", "1"), ([0, 1, 0] * 4, [1, 1, 0])),
        (["dog", "cat", "ü"] * 4, ["cat", "cat", "ü"], ("cat", "dog", "ü"), ([1, 0, 2] * 4, [0, 0, 2])),
        ([b"b", b"a"] * 6, [b"a", b"b", b"b"], ("a", "b"), ([1, 0] * 6, [0, 1, 1])),
        (np.array([2, 9] * 6, np.uint8), np.array([9, 9, 2]), ("2", "9"), ([0, 1] * 6, [1, 1, 0])),
    ],
)
def test_labels_are_mapped_to_the_classes(loaded, y_train, y_test, names, numbers):
    data = loaded(y_train=np.array(y_train), y_test=np.array(y_test))
    assert data.class_names == names
    assert (data.train_labels.tolist(), data.test_labels.tolist()) == numbers
    assert data.train_labels.dtype == np.int64
    mapping = "classes: " + ", ".join(f"{number} is {name!r}" for number, name in enumerate(names))
    assert data.notes == (() if names == ("0", "1") else (mapping,))


def test_a_long_mapping_is_cut_short(loaded):
    data = loaded(x_train=pixels(84, 8, 9), y_train=np.arange(84) % 14 + 1, x_test=None, y_test=None)
    assert data.notes[0].startswith("classes: 0 is '1', 1 is '2', ")
    assert data.notes[0].endswith(", 11 is '12' and 2 more")


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"x_train": None}, "lacks x_train"),
        ({"y_test": None}, "lacks y_test"),
        (
            {"x_train": pixels(12, 8, 9) / 255},
            r"x_train .*float64 from 0 to 1: .* \(255 \* x_train\)\.round\(\)\.astype",
        ),
        ({"x_train": pixels(12, 8, 9) * 1.0}, r"x_train .*float64 from \d+ to 255: .* with x_train\.round\(\)\.astype"),
        ({"x_train": pixels(12, 8, 9) - 300.0}, "save uint8 from 0 to 255, black 0 and white 255"),
        ({"x_test": np.full((3, 8, 9), np.nan)}, r"x_test of .*float64 with values that are no numbers \(NaN\)"),
        ({"x_train": np.ones((12, 8, 9), bool)}, "holds bool"),
        ({"x_train": np.ones((12, 8, 9), complex)}, "holds complex128"),
        ({"x_train": pixels(12, 72)}, r"has shape \(12, 72\)"),
        ({"x_train": pixels(12, 3, 8, 9)}, r"has shape \(12, 3, 8, 9\)"),
        ({"x_train": pixels(0, 8, 9), "y_train": np.arange(0)}, r"has shape \(0, 8, 9\)"),
        ({"x_train": np.zeros((12, 8, 9), np.uint8)}, "every pixel of x_train of .* is 0"),
        ({"x_test": pixels(3, 9, 9)}, r"training images are \(8, 9\) pixels large, its test images \(9, 9\)"),
        ({"y_train": np.arange(11)}, "12 images in x_train, but 11 labels in y_train"),
        ({"y_train": np.eye(2)[np.arange(12) % 2]}, r"y_train of .* shape \(12, 2\).*y_train\.argmax\(1\)"),
        ({"y_train": np.array([0.5, np.nan] * 6)}, r"y_train .*float64 with values that are no numbers \(NaN\)"),
        ({"y_train": np.array([0.0, 1.0] * 6)}, "y_train .* holds float64 from 0 to 1, where integers or strings"),
        ({"y_train": np.array([b"\xff", b"a"] * 6)}, "bytes that are not UTF-8"),
        ({"y_train": np.array(["a", 1] * 6, object)}, "array of Python objects; save labels that are strings"),
        ({"y_test": np.array(["0", "1", "1"])}, "y_train of .* holds int64, y_test <U1"),
        ({"y_test": np.array([0, 1, 5])}, "y_test of .* classes without a training image: 5"),
    ],
)
def test_unusable_arrays(loaded, changed, message):
    with pytest.raises(InputError, match=message) as error:
        loaded(**changed)
    one_line(error)


def test_foreign_files_are_no_npz(tmp_path):
    place = tmp_path / "my.npz"
    with pytest.raises(InputError, match="there is no file") as error:
        load(str(place))
    one_line(error)
    npy, inner = io.BytesIO(), io.BytesIO()
    np.save(npy, pixels(3, 4, 5))
    np.savez(inner, pixels(3, 4, 5))
    contents = [b"", b"something else", npy.getvalue(), zipped(b""), zipped(b"text"), zipped(inner.getvalue())]
    for content in [*contents, zipped(npy.getvalue() + b"x"), zipped(npy.getvalue()[:-1])]:
        place.write_bytes(content)
        with pytest.raises(InputError, match=r"my\.npz cannot be read as \.npz: .") as error:
            load(str(place))
        one_line(error)


def zipped(content):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("x_train.npy", content)
    return file.getvalue()


def test_an_npz_whose_test_part_is_hidden_by_damage(tmp_path):
    """The length of y_train's comment, in the zip's directory, covers what is listed after it."""
    place = tmp_path / "my.npz"
    np.savez(place, **arrays())
    content = bytearray(place.read_bytes())
    entry = content.rindex(b"y_train.npy") - 46
    content[entry + 32] = 200
    place.write_bytes(content)
    with pytest.raises(InputError, match=r"my\.npz cannot be read as \.npz: its directory lists 2 of 4 files") as error:
        load(str(place))
    one_line(error)


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_no_damaged_npz_gives_other_arrays(tmp_path, save):
    """Truncated anywhere, or with a byte changed anywhere: refused in one line, or read as it was."""
    place = tmp_path / "my.npz"
    save(place, **arrays())
    whole, sound = place.read_bytes(), load(str(place)).fingerprint

    def result():
        try:
            return load(str(place)).fingerprint
        except InputError as error:
            return str(error)

    rng = np.random.default_rng(0)
    for position in rng.integers(0, len(whole), 80).tolist():
        flipped = bytearray(whole)
        flipped[position] ^= 1 << int(rng.integers(8))
        for content in (flipped, whole[:position]):
            place.write_bytes(content)
            said = result()
            assert said == sound or ("my.npz" in said and "\n" not in said)


def test_without_a_test_part_the_same_sixth_is_held_out(loaded):
    images, labels = pixels(31, 8, 9), np.array(["a"] * 18 + ["b"] * 13)
    data = loaded(x_train=images, y_train=labels, x_test=None, y_test=None)
    assert np.bincount(data.test_labels).tolist() == [3, 3]  # 6 of 31: 3 15/31 and 2 16/31
    assert np.bincount(data.train_labels).tolist() == [15, 10]
    assert data.notes[1] == "no test part: 6 of 31 images are held out to test on, always the same"
    both = np.concatenate([data.train_images, data.test_images])
    assert sorted(image.tobytes() for image in both) == sorted(image.tobytes() for image in images)
    again = loaded(x_train=images, y_train=labels, x_test=None, y_test=None)
    assert again.fingerprint == data.fingerprint
    with pytest.raises(InputError, match=r"no test part, and of its class 'b' only 5 images to hold a sixth out"):
        loaded(x_train=images[:23], y_train=labels[:23], x_test=None, y_test=None)


def test_what_is_odd_is_noted(loaded):
    data = loaded(y_train=np.zeros(12, int), y_test=np.zeros(3, int))
    assert data.notes == (
        "all 12 training images are of one class, '0'",
        "all 3 test images are of one class, '0'",
    )
    images = arrays()["x_train"]
    data = loaded(x_test=np.stack([images[4], pixels(8, 9, seed=5), images[4]]))
    assert data.notes == ("2 of 3 test images are also training images",)


@pytest.mark.parametrize("name", ["digits", "my.npz", "folder:pictures"])
def test_all_can_be_scaled(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    np.savez("my.npz", **arrays())
    save_pictures(tmp_path / "pictures" / "a", pixels(6, 8, 9))
    data = load(name, image_size=(5, 14))
    assert data.train_images.shape[1:] == data.test_images.shape[1:] == data.image_size == (5, 14)


def test_scaling_averages_what_it_makes_smaller(loaded):
    """Half the size by a triangle four pixels wide: 1/8, 3/8, 3/8, 1/8 inside, 3/7, 3/7, 1/7 at the ends."""
    row = np.array([0, 70, 140, 80, 0, 240], np.uint8)
    images = np.tile(row, (12, 8, 1))
    data = loaded(x_train=images, x_test=images[:3])
    np.testing.assert_array_equal(data.train_images[0], images[0])
    assert scaled(images, (8, 3))[0, 0].tolist() == [50, 91, 114]  # (210 + 140) / 7, (70 + 420 + 240) / 8, 800 / 7


@pytest.mark.parametrize("size", [(0, 5), (5,), (5, 5, 5), (5, 10**23), (5.0, 5), "28"])
def test_impossible_sizes(size):
    with pytest.raises(InputError, match="an image size is a height and a width from 1 to 4096 pixels, not"):
        load("digits", image_size=size)


def test_class_folders(tmp_path, monkeypatch):
    cats, dogs = pixels(6, 8, 9), pixels(7, 8, 9, seed=1)
    save_pictures(tmp_path / "pets" / "cat", cats)
    save_pictures(tmp_path / "pets" / "dog", dogs)
    (tmp_path / "pets" / ".ipynb_checkpoints").mkdir()
    (tmp_path / "pets" / "cat" / "notes.txt").write_text("no picture")
    monkeypatch.chdir(tmp_path / "pets")
    data = load("folder:../pets")
    assert (data.name, data.class_names, data.colours, data.image_size) == ("pets", ("cat", "dog"), 1, (8, 9))
    assert data.notes == (
        "classes: 0 is 'cat', 1 is 'dog'",
        "no test part: 3 of 13 images are held out to test on, always the same",
    )
    found = np.concatenate([data.train_images[data.train_labels == 1], data.test_images[data.test_labels == 1]])
    assert sorted(image.tobytes() for image in found) == sorted(dog.tobytes() for dog in dogs)
    assert load("folder:.").fingerprint == data.fingerprint


def test_class_folders_for_training_and_testing(tmp_path):
    """The test part may lack classes; theirs have the training classes' numbers."""
    for part in ("train", "test"):
        save_pictures(tmp_path / part / "b", pixels(2, 8, 9, seed=len(part)))
    save_pictures(tmp_path / "train" / "a", pixels(1, 8, 9, seed=9))
    save_pictures(tmp_path / "val" / "a", pixels(1, 8, 9))
    data = load(f"folder:{tmp_path}")
    assert data.train_labels.tolist() == [0, 1, 1]
    assert data.test_labels.tolist() == [1, 1]
    assert data.notes[1].endswith("only train and test are read, not val")
    np.testing.assert_array_equal(data.test_images, pixels(2, 8, 9, seed=4))


def test_kinds_of_pictures(tmp_path):
    """Grey stays grey however it is stored; one colour picture makes all of them colour ones."""
    grey = pixels(8, 9)
    place = tmp_path / "a"
    save_pictures(place, [grey] * 6, "grey-{}.png")
    Image.fromarray(grey).convert("RGB").save(place / "rgb.png")
    Image.fromarray(grey).convert("RGBA").save(place / "opaque.png")
    Image.fromarray(grey).convert("P").save(place / "palette.png")
    turned = Image.Exif()
    turned[0x0112] = 6  # to be turned clockwise to stand upright
    Image.fromarray(np.rot90(grey)).save(place / "turned.png", exif=turned)
    data = load(f"folder:{tmp_path}")
    assert data.colours == 1
    assert (np.concatenate([data.train_images, data.test_images]) == grey).all()

    colours = pixels(8, 9, 3)
    Image.fromarray(colours).save(place / "z.png")
    data = load(f"folder:{tmp_path}")
    both = np.concatenate([data.train_images, data.test_images])
    assert both.shape == (11, 8, 9, 3)
    is_colour = (both == colours).all((1, 2, 3))
    assert is_colour.sum() == 1
    assert (both[~is_colour] == grey[..., None]).all()


def test_pictures_of_different_sizes(tmp_path):
    save_pictures(tmp_path / "a", [pixels(8, 9)] * 5, "{}.png")
    save_pictures(tmp_path / "a", pixels(2, 20, 30), "large-{}.jpg")
    turned = Image.Exif()
    turned[0x0112] = 6
    Image.fromarray(pixels(9, 8)).save(tmp_path / "a" / "turned.png", exif=turned)
    with pytest.raises(
        InputError, match=r"differ in size \(6 of 8×9, 2 of 20×30, height×width\): .*--image-size"
    ) as error:
        load(f"folder:{tmp_path}")
    one_line(error)
    assert load(f"folder:{tmp_path}", image_size=(8, 9)).train_images.shape == (6, 8, 9)


def spoil(place, kind):
    """A folder with six sound pictures of class a, and something that is wrong."""
    save_pictures(place / "a", pixels(6, 8, 9))
    file = place / "a" / "0.png"
    sound = file.read_bytes()
    if kind == "truncated":
        file.write_bytes(sound[:-30])
    elif kind == "empty file":
        file.write_bytes(b"")
    elif kind == "foreign":
        file.write_bytes(b"something else")
    elif kind == "damaged":
        file.write_bytes(sound[:50] + bytes([sound[50] ^ 255]) + sound[51:])
    elif kind == "transparent":
        Image.new("RGBA", (9, 8), (200, 0, 0, 128)).save(file)
    elif kind == "transparent colour":
        Image.fromarray(pixels(8, 9)).save(file, transparency=int(pixels(8, 9)[0, 0]))
    elif kind == "16 bits":
        Image.fromarray(pixels(8, 9).astype(np.uint16) * 257).save(file)
    elif kind == "blank":
        save_pictures(place / "a", np.zeros((6, 8, 9), np.uint8))
    elif kind == "empty class":
        (place / "b").mkdir()
    elif kind == "test only":
        (place / "test").mkdir()
    elif kind == "unseen class":
        (place / "a").rename(place / "c")
        save_pictures(place / "train" / "a", pixels(1, 8, 9))
        save_pictures(place / "test" / "b", pixels(1, 8, 9))
    elif kind == "no classes":
        save_pictures(place / "train", pixels(1, 8, 9))


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("truncated", r"0\.png cannot be read as an image"),
        ("empty file", r"0\.png cannot be read as an image"),
        ("foreign", r"0\.png cannot be read as an image"),
        ("damaged", r"0\.png cannot be read as an image"),
        ("transparent", r"0\.png is transparent in places"),
        ("transparent colour", r"0\.png is transparent in places"),
        ("16 bits", r"0\.png has more than 8 bits per pixel"),
        ("blank", "every pixel of every image in .* is 0"),
        ("empty class", "does not hold class folders of images: .*classes b"),
        ("test only", "has a folder test but none called train"),
        ("unseen class", "test has images of classes without a training image: 'b'"),
        ("no classes", "train does not hold class folders of images: Couldn't find any class folder"),
    ],
)
def test_unusable_folders(tmp_path, kind, message):
    spoil(tmp_path, kind)
    with pytest.raises(InputError, match=message) as error:
        load(f"folder:{tmp_path}")
    one_line(error)


def test_a_picture_too_large_to_be_true(tmp_path, monkeypatch):
    save_pictures(tmp_path / "a", pixels(6, 8, 9))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 71)
    with pytest.raises(InputError, match=r"0\.png cannot be read as an image: .*72 pixels") as error:
        load(f"folder:{tmp_path}")
    one_line(error)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("folder:", "name the folder: folder:PATH"),
        ("folder:/nowhere", "there is no folder /nowhere"),
        ("folder:~nobody-of-this-name/x", "there is no folder ~nobody"),
        ("folder:" + 5000 * "x", "there is no folder xxx"),
        ("nowhere.npz", r"there is no file nowhere\.npz"),
        (5000 * "x" + ".npz", "there is no file xxx"),
        ("", "no data set is called ''; there are: mnist, .*, and your own: folder:PATH or FILE.npz"),
    ],
)
def test_nothing_there(name, message):
    with pytest.raises(InputError, match=message) as error:
        load(name)
    one_line(error)
