"""The data sets: what is loaded, what damaged or missing files say, and that stratification is exact."""

import gzip
import hashlib
import os
import shutil
import socket
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torchvision
from hypothesis import given, settings
from hypothesis import strategies as st

import datasets
from datasets import DATA_DIR, DataSet, load, stratified_part, stratified_split
from datasets.published import EMNIST, PUBLISHED
from errors import InputError

FILES = [
    "train-images-idx3-ubyte.gz",
    "train-labels-idx1-ubyte.gz",
    "t10k-images-idx3-ubyte.gz",
    "t10k-labels-idx1-ubyte.gz",
]


@pytest.fixture(autouse=True)
def no_network(monkeypatch):
    def refuse(*args, **kwargs):
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setattr(socket.socket, "connect", refuse)


@pytest.fixture
def mnist_copy(tmp_path):
    shutil.copytree(DATA_DIR / "MNIST" / "raw", tmp_path / "MNIST" / "raw", ignore=shutil.ignore_patterns("*ubyte"))
    return tmp_path


def idx(array):
    """The IDX file of a uint8 array: 0, 0, 8 for bytes, the dimensions, their sizes, the values."""
    return bytes([0, 0, 8, array.ndim]) + np.array(array.shape, ">u4").tobytes() + array.tobytes()


def small_files(labels=(0, 1, 9)):
    """Contents in FILES' order: three training images and two test images whose only white pixel is row 2, column 5."""
    images = np.zeros((3, 28, 28), np.uint8)
    images[:, 2, 5] = 255
    labels = np.array(labels, np.uint8)
    return [idx(images), idx(labels), idx(images[:2]), idx(labels[:2])]


def write_unpacked(folder, names, contents):
    folder.mkdir(parents=True)
    for name, content in zip(names, contents, strict=True):
        (folder / name).write_bytes(content)


def one_line(error):
    assert "\n" not in str(error.value)
    assert "://" not in str(error.value)
    return str(error.value)


def test_mnist_is_what_torchvision_reads_from_any_directory(mnist_copy, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    mnist = load("mnist")
    assert mnist.num_classes == 10
    assert mnist.class_names == ("0", "1", "2", "3", "4", "5", "6", "7", "8", "9")
    assert mnist.train_images.dtype == np.uint8
    assert mnist.train_labels.dtype == np.int64
    assert mnist.train_labels[:5].tolist() == [5, 0, 4, 1, 9]
    for train, images, labels in (
        (True, mnist.train_images, mnist.train_labels),
        (False, mnist.test_images, mnist.test_labels),
    ):
        theirs = torchvision.datasets.MNIST(mnist_copy, train=train, download=True)
        np.testing.assert_array_equal(images, theirs.data.numpy())
        np.testing.assert_array_equal(labels, theirs.targets.numpy())


def test_a_given_folder_counts_from_the_current_directory_and_nothing_is_written(mnist_copy, monkeypatch):
    monkeypatch.chdir(mnist_copy.parent)
    assert len(load("mnist", mnist_copy.name).test_images) == 10000
    assert sorted(os.listdir(mnist_copy / "MNIST" / "raw")) == sorted(FILES)


def test_an_unpacked_file_does_for_its_archive(mnist_copy):
    archive = mnist_copy / "MNIST" / "raw" / FILES[3]
    archive.with_suffix("").write_bytes(gzip.decompress(archive.read_bytes()))
    archive.unlink()
    np.testing.assert_array_equal(load("mnist", mnist_copy).test_labels, load("mnist").test_labels)


@pytest.mark.parametrize("damage", ["truncated", "foreign", "empty"])
def test_a_damaged_archive_is_named_and_left_alone(mnist_copy, damage):
    archive = mnist_copy / "MNIST" / "raw" / FILES[1]
    content = archive.read_bytes()
    content = {"truncated": content[:-100], "foreign": gzip.compress(b"something else"), "empty": b""}[damage]
    archive.write_bytes(content)
    with pytest.raises(InputError, match=f"{FILES[1]} in .*MNIST/raw is damaged or another file") as error:
        load("mnist", mnist_copy)
    assert "d53e105ee54ea40749a09fcbcd1e9432" in one_line(error)
    assert archive.read_bytes() == content


def test_missing_files_are_all_named_when_there_is_no_network(mnist_copy):
    (mnist_copy / "MNIST" / "raw" / FILES[0]).unlink()
    (mnist_copy / "MNIST" / "raw" / FILES[3]).unlink()
    timeout = socket.getdefaulttimeout()
    with pytest.raises(InputError, match=f"MNIST/raw lacks {FILES[0]}, {FILES[3]}, and the download failed") as error:
        load("mnist", mnist_copy)
    one_line(error)
    assert socket.getdefaulttimeout() == timeout


@pytest.mark.parametrize(
    ("name", "file"),
    [
        ("fashion-mnist", f"FashionMNIST/raw lacks {FILES[0]}"),
        ("kmnist", f"KMNIST/raw lacks {FILES[0]}"),
        ("emnist-letters", r"EMNIST/raw lacks gzip\.zip"),
    ],
)
def test_data_sets_that_cannot_be_downloaded(tmp_path, name, file):
    with pytest.raises(InputError, match=file) as error:
        load(name, tmp_path)
    one_line(error)


def test_a_download_goes_on_to_the_next_mirror(mnist_copy, monkeypatch):
    asked = []

    def download_url(url, root, filename, md5):
        asked.append(url)
        if len(asked) == 1:
            Path(root, filename).write_bytes(b"half of it")
            raise RuntimeError("File not found or corrupted.")
        assert not (raw / filename).exists()
        shutil.copy(DATA_DIR / "MNIST" / "raw" / filename, root)

    raw = mnist_copy / "MNIST" / "raw"
    monkeypatch.setattr(torchvision.datasets.utils, "download_url", download_url)
    (raw / FILES[1]).unlink()
    assert len(load("mnist", mnist_copy).train_labels) == 60000
    assert sorted(path.name for path in raw.iterdir()) == sorted(FILES)
    assert asked == [mirror + FILES[1] for mirror in torchvision.datasets.MNIST.mirrors]


def test_a_file_where_the_folder_should_be(tmp_path):
    (tmp_path / "MNIST").write_text("not a folder")
    with pytest.raises(InputError, match="MNIST/raw lacks") as error:
        load("mnist", tmp_path)
    one_line(error)


@pytest.mark.parametrize("name", ["fashion-mnist", "kmnist"])
def test_fashion_and_kuzushiji(tmp_path, name):
    raw = tmp_path / PUBLISHED[name].folder / "raw"
    write_unpacked(raw, [file.removesuffix(".gz") for file in FILES], small_files())
    data = load(name, tmp_path)
    assert data.train_images.shape == (3, 28, 28)
    assert data.train_images[0, 2, 5] == 255
    assert data.test_labels.tolist() == [0, 1]
    assert data.class_names[:2] == {"fashion-mnist": ("T-shirt/top", "Trouser"), "kmnist": ("o", "ki")}[name]


@pytest.mark.parametrize(
    ("position", "damage", "message"),
    [
        (0, lambda content: content[:-1], "train-images-idx3-ubyte in .*raw is damaged .*bytes are not"),
        (2, lambda content: content + b"x", "t10k-images-idx3-ubyte in .*raw is damaged .*bytes are not"),
        (1, lambda content: b"\x1f\x8b" + content, "train-labels-idx1-ubyte in .*raw is damaged .*header is wrong"),
        (3, lambda content: b"", "t10k-labels-idx1-ubyte in .*raw is damaged .*header is wrong"),
        (1, lambda content: idx(np.zeros(4, np.uint8)), "train set has 3 images, so int64 .* not int64"),
        (1, lambda content: idx(np.full(3, 10, np.uint8)), "train set has labels from 10 to 10; its 10 classes"),
        (2, lambda content: idx(np.zeros((2, 14, 14), np.uint8)), "training images are .28, 28. pixels large"),
        (0, lambda content: idx(np.zeros((0, 28, 28), np.uint8)), "train set holds uint8 .0, 28, 28. where"),
    ],
)
def test_damaged_unpacked_files(tmp_path, position, damage, message):
    contents = small_files()
    contents[position] = damage(contents[position])
    write_unpacked(tmp_path / "KMNIST" / "raw", [file.removesuffix(".gz") for file in FILES], contents)
    with pytest.raises(InputError, match=message) as error:
        load("kmnist", tmp_path)
    one_line(error)


def test_a_sound_archive_goes_before_a_damaged_unpacked_file(mnist_copy):
    (mnist_copy / "MNIST" / "raw" / FILES[1]).with_suffix("").write_bytes(b"")
    assert len(load("mnist", mnist_copy).train_labels) == 60000


@pytest.mark.parametrize("packed", [True, False])
def test_emnist_is_turned_upright_and_letters_count_from_zero(tmp_path, monkeypatch, packed):
    raw = tmp_path / "EMNIST" / "raw"
    kinds = ["train-images-idx3", "train-labels-idx1", "test-images-idx3", "test-labels-idx1"]
    letters = dict(zip((f"emnist-letters-{k}-ubyte" for k in kinds), small_files(labels=(1, 26, 3)), strict=True))
    digits = dict(zip((f"emnist-digits-{k}-ubyte" for k in kinds), small_files(), strict=True))
    if packed:
        raw.mkdir(parents=True)
        with zipfile.ZipFile(raw / "gzip.zip", "w") as archive:
            for name, content in {**letters, **digits}.items():
                archive.writestr(f"gzip/{name}.gz", gzip.compress(content))
        md5 = hashlib.md5((raw / "gzip.zip").read_bytes()).hexdigest()
        monkeypatch.setitem(EMNIST, "gzip.zip", md5)
    else:
        write_unpacked(raw, [*letters, *digits], [*letters.values(), *digits.values()])

    data = load("emnist-letters", tmp_path)
    assert np.argwhere(data.train_images[0]).tolist() == [[5, 2]]  # stored at row 2, column 5
    assert data.train_labels.tolist() == [0, 25, 2]
    assert data.test_labels.tolist() == [0, 25]
    assert data.class_names == tuple("abcdefghijklmnopqrstuvwxyz")
    data = load("emnist-digits", tmp_path)
    assert np.argwhere(data.test_images[1]).tolist() == [[5, 2]]
    assert data.train_labels.tolist() == [0, 1, 9]
    assert data.num_classes == 10


def test_a_damaged_emnist_archive(tmp_path):
    raw = tmp_path / "EMNIST" / "raw"
    write_unpacked(raw, ["gzip.zip"], [b"PK"])
    with pytest.raises(InputError, match=r"gzip\.zip in .*EMNIST/raw is damaged or another file"):
        load("emnist-digits", tmp_path)


def test_digits_are_centred_stratified_and_always_the_same():
    digits, again = load("digits"), load("digits")
    assert digits.train_images.shape == (1437, 28, 28)
    assert digits.test_images.shape == (360, 28, 28)
    assert digits.train_images.max() == 255
    border = np.ones((28, 28), bool)
    border[4:24, 4:24] = False
    assert not digits.train_images[:, border].any()
    # 360 of the classes' 178, 182, 177, 183, 181, 182, 181, 179, 174, 180 images
    assert np.bincount(digits.test_labels).tolist() == [36, 37, 35, 37, 36, 36, 36, 36, 35, 36]
    np.testing.assert_array_equal(digits.train_images, again.train_images)
    mean_digits = np.stack([digits.train_images[digits.train_labels == c].mean(0) for c in range(10)])
    distance = ((digits.test_images[:, None] - mean_digits) ** 2).sum((2, 3))
    assert (distance.argmin(1) == digits.test_labels).mean() > 0.85  # images and labels still belong together


def test_an_unknown_name_lists_the_known_ones():
    with pytest.raises(InputError, match="'cifar10'; there are: mnist, fashion-mnist, kmnist, emnist-digits, emnist-l"):
        load("cifar10")


def test_arrays_that_are_no_data_set():
    images, labels = np.zeros((2, 4, 4), np.uint8), np.array([0, 1])
    assert DataSet("x", images, labels, images, labels, ("a", "b")).num_classes == 2
    with pytest.raises(InputError, match="x's test set holds float64"):
        DataSet("x", images, labels, images / 255, labels, ("a", "b"))
    with pytest.raises(InputError, match="x's train set has labels from -1 to 1"):
        DataSet("x", images, np.array([-1, 1]), images, labels, ("a", "b"))


def test_colour_images_are_a_data_set_too():
    images, labels = np.zeros((2, 4, 5, 3), np.uint8), np.array([0, 1])
    data = DataSet("x", images, labels, images, labels, ("a", "b"))
    assert (data.colours, data.image_size) == (3, (4, 5))
    with pytest.raises(InputError, match=r"uint8 .2, 4, 5, 2. where uint8 images \(N, H, W\) or \(N, H, W, 3\)"):
        DataSet("x", images[..., :2], labels, images[..., :2], labels, ("a", "b"))
    with pytest.raises(InputError, match=r"training images are \(4, 5, 3\) pixels large, its test images \(4, 5\)"):
        DataSet("x", images, labels, images[..., 0], labels, ("a", "b"))


def test_the_fingerprint_changes_with_all_that_is_learned_or_tested():
    images, labels = np.arange(32, dtype=np.uint8).reshape(2, 4, 4), np.array([0, 1])
    usual = {
        "name": "x",
        "train_images": images,
        "train_labels": labels,
        "test_images": images,
        "test_labels": labels,
        "class_names": ("a", "b"),
    }
    other = images.copy()
    other[1, 3, 3] += 1
    flat = images.reshape(2, 2, 8)
    changes = [
        {},
        {"train_images": other},
        {"test_images": other},
        {"train_images": images[::-1]},
        {"train_images": flat, "test_images": flat},
        {"train_labels": labels[::-1]},
        {"test_labels": labels[::-1]},
        {"class_names": ("a", "c")},
        {"class_names": ("a", "b", "c")},
    ]
    prints = [DataSet(**{**usual, **change}).fingerprint for change in changes]
    assert len(set(prints)) == len(changes)
    moved = {**usual, "name": "y", "notes": ("odd",), "train_images": np.asfortranarray(images)}
    assert DataSet(**moved).fingerprint == prints[0]
    assert load("mnist").fingerprint == "e7a00b837d2e0ee7"


def test_checksums_and_classes_are_those_of_torchvision():
    for name, ours in PUBLISHED.items():
        theirs = getattr(torchvision.datasets, ours.folder)
        if ours.folder == "EMNIST":
            assert ours.archives == {"gzip.zip": theirs.md5}
            assert theirs.url.endswith("/gzip.zip")
            continue
        assert ours.archives == dict(theirs.resources)
        assert ours.class_names == tuple("0123456789" if name == "mnist" else theirs.classes)


def test_importing_datasets_and_reading_mnist_is_light():
    code = (
        "import sys, datasets; assert 'torch' not in sys.modules and 'sklearn' not in sys.modules\n"
        "datasets.load('mnist'); assert 'torchvision' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], cwd=Path(datasets.__file__).parent.parent, check=True)


def test_split_by_hand():
    labels = np.array([2] * 6 + [0] * 3 + [1] * 3)  # a third of 12: 2, 1 and 1
    train, validation = stratified_split(labels, 4, seed=1)
    assert np.bincount(labels[validation]).tolist() == [1, 1, 2]
    assert np.bincount(labels[train]).tolist() == [2, 2, 4]
    # 5 of 12: 1.25, 1.25 and 2.5, so the largest remainder is class 2's
    assert np.bincount(labels[stratified_split(labels, 5, seed=1)[1]]).tolist() == [1, 1, 3]
    np.testing.assert_array_equal(stratified_split(labels, 1 / 3, seed=1)[1], validation)
    assert any((stratified_split(labels, 4, seed=s)[1] != validation).any() for s in range(2, 6))


many_labels = st.lists(st.integers(0, 4), min_size=2, max_size=80).map(lambda labels: np.array(labels))


@settings(deadline=None, max_examples=150)
@given(labels=many_labels, share=st.floats(0.05, 0.95), seed=st.integers(0, 2**40))
def test_splits_are_exact_disjoint_and_proportional(labels, share, seed):
    count = max(1, int(share * len(labels)))
    classes, sizes = np.unique(labels, return_counts=True)
    try:
        train, validation = stratified_split(labels, count, seed)
    except InputError:  # only where a class's exact share is too small for an image on each side
        shares = sizes * count / len(labels)
        assert shares.min() < 1 or (sizes - shares).min() < 1
        return
    assert train.dtype == validation.dtype == np.int64
    assert len(validation) == count
    assert np.sort(np.concatenate([train, validation])).tolist() == list(range(len(labels)))
    assert (np.diff(train) > 0).all()
    assert (np.diff(validation) > 0).all()
    taken = np.array([(labels[validation] == c).sum() for c in classes])
    assert (np.abs(taken - sizes * count / len(labels)) < 1).all()
    np.testing.assert_array_equal(stratified_split(labels, count, seed)[1], validation)


@settings(deadline=None, max_examples=100)
@given(labels=many_labels, ratio=st.floats(0.01, 1), seed=st.integers(0, 2**40))
def test_parts_are_proportional(labels, ratio, seed):
    classes, sizes = np.unique(labels, return_counts=True)
    count = round(ratio * len(labels))
    try:
        part = stratified_part(labels, ratio, seed)
    except InputError:
        assert (sizes * count / len(labels)).min() < 1
        return
    assert part.dtype == np.int64
    assert len(part) == count
    assert (np.diff(part) > 0).all()
    taken = np.array([(labels[part] == c).sum() for c in classes])
    assert (np.abs(taken - sizes * count / len(labels)) < 1).all()


def test_the_whole_is_a_part():
    assert stratified_part(np.array([1, 0, 1]), 1.0, seed=0).tolist() == [0, 1, 2]


@pytest.mark.parametrize("held_out", [0, -1, 6, 7, 0.0, 1.0, -0.5, float("nan"), True])
def test_impossible_splits(held_out):
    with pytest.raises(InputError, match=r"cannot hold out .* of 6 images"):
        stratified_split(np.array([0, 0, 0, 1, 1, 1]), held_out, seed=0)


@pytest.mark.parametrize("held_out", [1, 5, 0.01])
def test_splits_that_lose_a_class(held_out):
    with pytest.raises(InputError, match="leaves a class without"):
        stratified_split(np.array([0, 0, 0, 1, 1, 1]), held_out, seed=0)


@pytest.mark.parametrize("ratio", [0, -0.1, 1.01, float("nan"), 0.1])
def test_impossible_parts(ratio):
    with pytest.raises(InputError, match="ratio"):
        stratified_part(np.array([0, 0, 0, 1, 1, 1]), ratio, seed=0)
