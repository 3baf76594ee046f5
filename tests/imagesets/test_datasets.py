"""The published data sets: their contents, damaged and missing files, and exact stratified splits."""

import gzip
import os
import shutil
import socket
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.refusals import refuses
from support.registries import forgetting

import imagesets
from errors import InputError
from imagesets import DATA_DIR, DataSet, dataset, load
from imagesets.data_set import DATASETS, is_path
from imagesets.published import IDX_FILES, PUBLISHED
from imagesets.splits import choose_labelled, stratified_part, stratified_split
from models import import_plugin
from utils import ROOT

UNPACKED = [f"{part}-ubyte" for part in IDX_FILES]
FILES = [f"{name}.gz" for name in UNPACKED]


@pytest.fixture(autouse=True)
def no_network(monkeypatch):
    def refuse(*args, **kwargs):
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setattr(socket.socket, "connect", refuse)


@pytest.fixture
def torchvision():
    """The library, whose import takes seconds: the process that does not run these tests does without it."""
    return pytest.importorskip("torchvision")


@pytest.fixture
def raw(tmp_path):
    """A copy of MNIST's archives, in the data folder tmp_path."""
    shutil.copytree(DATA_DIR / "MNIST" / "raw", tmp_path / "MNIST" / "raw", ignore=shutil.ignore_patterns("*ubyte"))
    return tmp_path / "MNIST" / "raw"


def idx(array):
    """Return the IDX file of a uint8 array: 0, 0, 8 for bytes, the dimensions, their sizes, the values."""
    return bytes([0, 0, 8, array.ndim]) + np.array(array.shape, ">u4").tobytes() + array.tobytes()


def small_files(labels=(0, 1, 9)):
    """Return the contents of UNPACKED: three training and two test images, white only in row 2, column 5."""
    images = np.zeros((3, 28, 28), np.uint8)
    images[:, 2, 5] = 255
    labels = np.array(labels, np.uint8)
    return [idx(images), idx(labels), idx(images[:2]), idx(labels[:2])]


def write_files(folder, names, contents):
    folder.mkdir(parents=True)
    for name, content in zip(names, contents, strict=True):
        (folder / name).write_bytes(content)


def test_mnist_is_what_torchvision_reads_from_any_directory(torchvision, raw, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    mnist = load("mnist")
    assert mnist.class_names == tuple("0123456789")
    assert mnist.train_images.dtype == np.uint8
    assert mnist.train_labels.dtype == np.int64
    for part in ("train", "test"):
        theirs = torchvision.datasets.MNIST(tmp_path, train=part == "train", download=True)
        np.testing.assert_array_equal(getattr(mnist, f"{part}_images"), theirs.data.numpy())
        np.testing.assert_array_equal(getattr(mnist, f"{part}_labels"), theirs.targets.numpy())


def test_a_relative_folder_starts_at_the_current_directory_and_nothing_is_written(raw, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path.parent)
    assert len(load("mnist", tmp_path.name).test_images) == 10000
    assert sorted(os.listdir(raw)) == sorted(FILES)


def test_an_unpacked_file_replaces_its_archive_and_a_sound_archive_takes_precedence(raw, tmp_path):
    expected = load("mnist")
    for file, content in ((UNPACKED[3], gzip.decompress((raw / FILES[3]).read_bytes())), (UNPACKED[1], b"damaged")):
        (raw / file).write_bytes(content)
    (raw / FILES[3]).unlink()
    assert load("mnist", tmp_path).fingerprint == expected.fingerprint == "e7a00b837d2e0ee7"


def test_a_damaged_archive_is_named_and_not_touched(raw, tmp_path):
    archive = raw / FILES[1]
    for content in (archive.read_bytes()[:-100], gzip.compress(b"something else"), b""):
        archive.write_bytes(content)
        with refuses(archive):
            load("mnist", tmp_path)
        assert archive.read_bytes() == content


def test_missing_files_are_all_named_if_there_is_no_network(raw, tmp_path):
    for file in (FILES[0], FILES[3]):
        (raw / file).unlink()
    timeout = socket.getdefaulttimeout()
    with refuses(raw, FILES[0], FILES[3]):
        load("mnist", tmp_path)
    assert socket.getdefaulttimeout() == timeout


def test_a_download_goes_on_to_the_next_mirror(torchvision, raw, tmp_path, monkeypatch):
    asked = []

    def download_url(url, root, filename, md5):
        asked.append(url)
        if len(asked) == 1:
            Path(root, filename).write_bytes(b"half of it")
            raise RuntimeError("File not found or corrupted.")
        assert not (raw / filename).exists()
        shutil.copy(DATA_DIR / "MNIST" / "raw" / filename, root)

    monkeypatch.setattr(torchvision.datasets.utils, "download_url", download_url)
    (raw / FILES[1]).unlink()
    assert len(load("mnist", tmp_path).train_labels) == 60000
    assert sorted(path.name for path in raw.iterdir()) == sorted(FILES)
    assert asked == [mirror + FILES[1] for mirror in torchvision.datasets.MNIST.mirrors]


DAMAGED = [  # (file, its content, what the message names)
    (0, small_files()[0][:-1], UNPACKED[0]), (2, small_files()[2] + b"x", UNPACKED[2]), (3, b"", UNPACKED[3]),
    (1, b"\x1f\x8b" + small_files()[1], UNPACKED[1]), (1, idx(np.zeros(4, np.uint8)), "train"),
    (3, idx(np.zeros(0, np.uint8)), "test"), (1, idx(np.full(3, 10, np.uint8)), "train"),
    (2, idx(np.zeros((2, 14, 14), np.uint8)), "test"), (0, idx(np.zeros((0, 28, 28), np.uint8)), "train"),
]  # fmt: skip


def test_damaged_unpacked_files(tmp_path):
    for number, (position, content, about) in enumerate(DAMAGED):
        contents, folder = small_files(), tmp_path / str(number) / "KMNIST" / "raw"
        contents[position] = content
        write_files(folder, UNPACKED, contents)
        with refuses(folder / about if about in UNPACKED else about):
            load("kmnist", tmp_path / str(number))


@pytest.mark.parametrize("packed", [True, False])
def test_emnist_is_turned_upright_and_letters_count_from_zero(tmp_path, packed):
    raw = tmp_path / "EMNIST" / "raw"
    parts = [name.replace("t10k", "test") for name in UNPACKED]
    names = [f"emnist-{split}-{part}" for split in ("letters", "digits") for part in parts]
    contents = [*small_files(labels=(1, 26, 3)), *small_files()]
    if packed:
        raw.mkdir(parents=True)
        with zipfile.ZipFile(raw / "gzip.zip", "w") as archive:
            for name, content in zip(names, contents, strict=True):
                archive.writestr(f"gzip/{name}.gz", gzip.compress(content))
    else:
        write_files(raw, names, contents)
    letters, digits = load("emnist-letters", tmp_path), load("emnist-digits", tmp_path)
    for data in letters, digits:
        assert np.argwhere(data.train_images[0]).tolist() == [[5, 2]]  # stored at row 2, column 5
        assert np.argwhere(data.test_images[1]).tolist() == [[5, 2]]
    assert (letters.train_labels.tolist(), letters.test_labels.tolist()) == ([0, 25, 2], [0, 25])
    assert digits.train_labels.tolist() == [0, 1, 9]
    assert (letters.num_classes, digits.num_classes) == (26, 10)


def test_digits_are_centred_stratified_and_always_the_same():
    digits = load("digits")
    assert digits.train_images.shape == (1437, 28, 28)
    assert digits.train_images.max() == 255
    border = np.ones((28, 28), bool)
    border[4:24, 4:24] = False
    assert not digits.train_images[:, border].any()
    # 360 of the classes' 178, 182, 177, 183, 181, 182, 181, 179, 174, 180 images
    assert np.bincount(digits.test_labels).tolist() == [36, 37, 35, 37, 36, 36, 36, 36, 35, 36]
    assert digits.fingerprint == load("digits").fingerprint
    mean_digits = np.stack([digits.train_images[digits.train_labels == c].mean(0) for c in range(10)])
    distance = ((digits.test_images[:, None] - mean_digits) ** 2).sum((2, 3))
    assert (distance.argmin(1) == digits.test_labels).mean() > 0.85  # images and labels still belong together


@pytest.mark.parametrize(
    ("registered", "name", "argument"), [
        ("shapes", "shapes", "shapes"), ("shapes:", "shapes:~/a.npz", "~/a.npz"),
        (".shapes", "folder/my.SHAPES", "folder/my.SHAPES"),
    ],
)  # fmt: skip
def test_a_registered_function_gets_its_arguments_and_its_result_is_completed(registered, name, argument, tmp_path):
    calls = []

    def read(*arguments):
        calls.append(arguments)
        images = np.arange(24 * 12, dtype=np.uint16).astype(np.uint8).reshape(24, 3, 4)
        return DataSet("shapes", images, np.arange(24) % 2, ("a", "b"), notes=("a note",))

    dataset(registered)(read)
    data = load(name, tmp_path, (6, 4))
    assert is_path(name) == (registered != name)
    with refuses(registered):
        dataset("new", registered)(lambda *_: None)
    assert "new" not in DATASETS
    assert calls == [(argument, tmp_path, (6, 4))]
    assert data.notes[0] == "a note"
    assert np.bincount(data.train_labels).tolist() == [10, 10]
    assert (data.train_images.shape, data.test_images.shape) == ((20, 6, 4), (4, 6, 4))


IMAGES = np.arange(32, dtype=np.uint8).reshape(2, 4, 4)
USUAL = {
    "name": "x", "train_images": IMAGES, "train_labels": np.array([0, 1]), "test_images": IMAGES,
    "test_labels": np.array([0, 1]), "class_names": ("a", "b"),
}  # fmt: skip


def test_the_fingerprint_changes_with_all_that_is_learned_or_tested():
    other = IMAGES.copy()
    other[1, 3, 3] += 1
    flat = IMAGES.reshape(2, 2, 8)
    changes = [{}, {"train_images": flat, "test_images": flat}]
    changes += [{name: value} for name in ("train_images", "test_images") for value in (other, IMAGES[::-1])]
    changes += [{name: np.array([1, 0])} for name in ("train_labels", "test_labels")]
    changes += [{"class_names": names} for names in (("a", "c"), ("a", "b", "c"))]
    prints = [DataSet(**{**USUAL, **change}).fingerprint for change in changes]
    assert len(set(prints)) == len(changes)
    unchanged = {**USUAL, "name": "y", "notes": ("odd",), "train_images": np.asfortranarray(IMAGES)}
    assert DataSet(**unchanged).fingerprint == prints[0]


def test_archives_and_classes_are_those_of_torchvision(torchvision):
    for name, (folder, class_names, _) in PUBLISHED.items():
        theirs = getattr(torchvision.datasets, folder)
        if folder == "EMNIST":
            assert theirs.url.endswith("/gzip.zip")
            continue
        assert {*FILES} == dict(theirs.resources).keys()
        assert list(class_names) == list("0123456789" if name == "mnist" else theirs.classes)


@pytest.mark.slow
def test_importing_datasets_and_reading_mnist_is_light():
    code = (
        "import sys, imagesets; assert 'torch' not in sys.modules and 'sklearn' not in sys.modules\n"
        "imagesets.load('mnist'); assert 'torchvision' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], cwd=Path(imagesets.__file__).parent.parent, check=True)


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


def draw_by_remainders(labels, count, seed):
    """The split in proportion, which older runs have drawn and draw again when they are resumed."""
    classes, sizes = np.unique(labels, return_counts=True)
    shares, remainders = np.divmod(sizes * count, len(labels))
    shares[np.argsort(-remainders, kind="stable")[: count - shares.sum()]] += 1
    rng = np.random.default_rng(seed)
    drawn = [rng.permutation(np.flatnonzero(labels == c))[:share] for c, share in zip(classes, shares, strict=True)]
    return np.sort(np.concatenate(drawn)), (shares > 0).all() and (shares < sizes).all()


def check_positions(chosen, count):
    assert chosen.dtype == np.int64
    assert len(chosen) == count
    assert (np.diff(chosen) > 0).all()


@settings(max_examples=150)
@given(labels=many_labels, share=st.floats(0.05, 0.95), seed=st.integers(0, 2**40))
def test_splits_are_exact_disjoint_and_proportional(labels, share, seed):
    count = max(1, int(share * len(labels)))
    classes, sizes = np.unique(labels, return_counts=True)
    try:
        train, validation = stratified_split(labels, count, seed)
    except InputError:  # only if there are too few images for one of each class on each side
        assert count < (sizes > 1).sum() or len(labels) - count < len(classes)
        return
    check_positions(validation, count)
    check_positions(train, len(labels) - count)
    assert not {*train} & {*validation}
    taken = np.array([(labels[validation] == c).sum() for c in classes])
    assert ((taken >= 1) == (sizes > 1)).all()
    assert (sizes - taken >= 1).all()
    expected, is_complete = draw_by_remainders(labels, count, seed)
    if is_complete:
        assert (np.abs(taken - sizes * count / len(labels)) < 1).all()
        np.testing.assert_array_equal(validation, expected)
    np.testing.assert_array_equal(stratified_split(labels, count, seed)[1], validation)


def test_rare_classes_are_held_out():
    """The shares of 87 images are 82.46, 4.12 and 0.41: 83, 4 and 0 by remainders. The largest class gives one away."""
    labels = np.repeat([0, 1, 2], [1000, 50, 5])
    train, validation = stratified_split(labels, 87, seed=0)
    assert np.bincount(labels[validation]).tolist() == [82, 4, 1]
    assert np.bincount(labels[train]).tolist() == [918, 46, 4]
    with_single = np.repeat([0, 1, 2], [20, 2, 1])
    train, validation = stratified_split(with_single, 20, seed=0)
    assert np.bincount(with_single[train]).tolist() == [1, 1, 1]
    with refuses("21 of 22"):
        stratified_split(with_single[:-1], 21, seed=0)


@settings(max_examples=100)
@given(labels=many_labels, ratio=st.floats(0.01, 1), seed=st.integers(0, 2**40))
def test_parts_are_proportional(labels, ratio, seed):
    classes, sizes = np.unique(labels, return_counts=True)
    count = round(ratio * len(labels))
    try:
        part = stratified_part(labels, ratio, seed)
    except InputError:
        assert (sizes * count / len(labels)).min() < 1
        return
    check_positions(part, count)
    taken = np.array([(labels[part] == c).sum() for c in classes])
    assert (np.abs(taken - sizes * count / len(labels)) < 1).all()


def test_labelled_images_by_hand():
    labels = np.array([0] * 2 + [1] * 5 + [2] * 9)
    count = {n: np.bincount(labels[choose_labelled(labels, n, seed=3)]).tolist() for n in (3, 6, 7, 11, 16)}
    assert count == {3: [1, 1, 1], 6: [2, 2, 2], 7: [2, 2, 3], 11: [2, 4, 5], 16: [2, 5, 9]}
    assert np.bincount(labels[choose_labelled(labels, 0.5, seed=3)]).tolist() == [1, 3, 4]  # shares 1, 2.5 and 4.5
    assert choose_labelled(labels, 1.0, seed=3).tolist() == list(range(16))
    for refused in (0, 2, 17, 0.0, 0.1, 1.5, -1):
        with pytest.raises(InputError, match="--labels"):
            choose_labelled(labels, refused, seed=3)


@settings(max_examples=100)
@given(labels=many_labels, counts=st.tuples(st.integers(1, 80), st.integers(1, 80)), seed=st.integers(0, 2**40))
def test_labelled_images_are_of_all_classes_equally_and_nested(labels, counts, seed):
    _, sizes = np.unique(labels, return_counts=True)
    few, many = (min(max(n, len(sizes)), len(labels)) for n in sorted(counts))
    chosen = choose_labelled(labels, few, seed)
    check_positions(chosen, few)
    _, taken = np.unique(labels[chosen], return_counts=True)
    assert len(taken) == len(sizes)
    assert (taken[taken < sizes] >= taken.max() - 1).all()  # only a class that gives all images has fewer
    assert set(chosen) <= set(choose_labelled(labels, many, seed))


@pytest.mark.slow
def test_the_tutorials_noisy_images_and_wrong_labels():
    """Noise changes images alone. The fraction of the labels to learn from is wrong; all others are right."""
    mnist = load("mnist")
    with forgetting():
        import_plugin(ROOT / "tutorial" / "what_if.py")
        noisy, wrong = load("noisy:0.3"), load("wrong:0.4")
        assert len({load("noisy:0.3").fingerprint, noisy.fingerprint, mnist.fingerprint, wrong.fingerprint}) == 3
        for name in ("noisy:2", "wrong:x"):
            with refuses("from 0 to 1"):
                load(name)
    for part in ("train", "test"):
        np.testing.assert_array_equal(getattr(noisy, f"{part}_labels"), getattr(mnist, f"{part}_labels"))
        images = getattr(noisy, f"{part}_images").astype(float)
        grey = getattr(mnist, f"{part}_images")
        changed = images[(grey > 100) & (grey < 155)] - grey[(grey > 100) & (grey < 155)]
        assert changed.mean() == pytest.approx(0, abs=2)
        assert changed.std() == pytest.approx(0.3 * 255, rel=0.1)  # a little is cut off at black and white
        np.testing.assert_array_equal(getattr(wrong, f"{part}_images"), grey)
    np.testing.assert_array_equal(wrong.test_labels, mnist.test_labels)
    is_wrong = wrong.train_labels != mnist.train_labels
    train, validation = np.split(is_wrong, [-wrong.val_count])
    assert (len(validation), validation.sum()) == (5000, 0)
    assert train.sum() == round(0.4 * len(train))
    assert set(wrong.train_labels) == set(range(10))
