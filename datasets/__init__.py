"""The image data sets, loaded into memory and checked, and the stratified ways to divide them.

``load`` takes the name of a published data set, or images of your own (``own.py``). The published files are read
as they are, from their archives: nothing is unpacked, so a read-only folder and several runs at once are no trouble.
``published.py`` has their names and checksums; ``data/README.md`` lists them.
"""

import gzip
import hashlib
import io
import math
import shutil
import socket
import string
import tempfile
import zipfile
from dataclasses import dataclass, replace
from functools import cached_property, partial
from http.client import HTTPException
from numbers import Integral
from pathlib import Path
from typing import NamedTuple

import numpy as np

from datasets.own import OwnData, checked_size, is_own, scaled
from datasets.own import read as read_own
from datasets.published import PUBLISHED, Published
from errors import InputError
from utils import write_atomically

DATA_DIR = Path(__file__).resolve().parent.parent / "data"  # the repository's, whatever the current directory

DATASETS = (*PUBLISHED, "digits")  # names on the command line; the last comes with scikit-learn
DOWNLOAD_TIMEOUT = 10  # seconds without an answer
HELD_OUT = 6  # every sixth training image tests where there is no test part
HELD_OUT_SEED = 0  # whatever the run's: a network must never be tested on images that it was trained on


@dataclass(frozen=True, eq=False)
class DataSet:
    """Images with their classes: uint8 (N, H, W), in colour (N, H, W, 3); labels int64 (N,) from 0 to num_classes - 1.

    ``notes`` are sentences about the data that whoever uses it should read. Raises InputError when the arrays do not
    fit that description or each other.
    """

    name: str
    train_images: np.ndarray
    train_labels: np.ndarray
    test_images: np.ndarray
    test_labels: np.ndarray
    class_names: tuple[str, ...]
    notes: tuple[str, ...] = ()

    @property
    def num_classes(self) -> int:
        return len(self.class_names)

    @property
    def image_size(self) -> tuple[int, int]:
        """Height and width in pixels."""
        return self.train_images.shape[1:3]

    @property
    def colours(self) -> int:
        """1 (grey) or 3: S1C1's parameter."""
        return 1 if self.train_images.ndim == 3 else 3

    @cached_property
    def fingerprint(self) -> str:
        """16 hexadecimal digits that change with any image, label, order or class name: the head of a SHA-256."""
        digest = hashlib.sha256(repr(self.class_names).encode())
        for images, labels in ((self.train_images, self.train_labels), (self.test_images, self.test_labels)):
            digest.update(repr(images.shape).encode())
            digest.update(np.ascontiguousarray(images))
            digest.update(labels.astype("<i8"))
        return digest.hexdigest()[:16]

    def __post_init__(self):
        for part in ("train", "test"):
            images, labels = getattr(self, f"{part}_images"), getattr(self, f"{part}_labels")
            what = f"{self.name}'s {part} set"
            is_stack = images.ndim == 3 or (images.ndim == 4 and images.shape[-1] == 3)
            if not is_stack or images.size == 0 or images.dtype != np.uint8:
                raise InputError(
                    f"{what} holds {images.dtype} {images.shape} where uint8 images (N, H, W) or (N, H, W, 3) belong"
                )
            if labels.shape != (len(images),) or labels.dtype != np.int64:
                raise InputError(
                    f"{what} has {len(images)} images, so int64 ({len(images)},) labels belong to it, "
                    f"not {labels.dtype} {labels.shape}"
                )
            if labels.min() < 0 or labels.max() >= self.num_classes:
                raise InputError(
                    f"{what} has labels from {labels.min()} to {labels.max()}; "
                    f"its {self.num_classes} classes need 0 to {self.num_classes - 1}"
                )
        if self.train_images.shape[1:] != self.test_images.shape[1:]:
            raise InputError(
                f"{self.name}'s training images are {self.train_images.shape[1:]} pixels large, "
                f"its test images {self.test_images.shape[1:]}"
            )


def load(name: str, data_dir: str | Path = DATA_DIR, image_size: tuple[int, int] | None = None) -> DataSet:
    """Load one of DATASETS, or images of your own: ``folder:PATH`` or ``FILE.npz``.

    The published ones are grey and 28×28. Files of theirs that are not in ``data_dir`` are downloaded into it; a
    relative ``data_dir`` counts from the current directory. One's own are described in ``data/README.md``; without a
    test part a sixth of the images is held out, stratified and always the same.

    ``image_size``: height and width that every image is stretched to; needed for a folder whose images differ in size.

    Raises InputError for an unknown name, for missing files that cannot be downloaded, and for damaged or unusable
    ones.
    """
    if image_size is not None:
        image_size = checked_size(image_size)
    if is_own(name):
        data = _tested(read_own(name, image_size))
    elif name in DATASETS:
        data = _load_digits() if name == "digits" else _load_published(name, data_dir)
        if image_size is not None:
            train, test = (scaled(images, image_size) for images in (data.train_images, data.test_images))
            data = replace(data, train_images=train, test_images=test)
    else:
        raise InputError(
            f"no data set is called {name!r}; there are: {', '.join(DATASETS)}, and your own: folder:PATH or FILE.npz"
        )
    return replace(data, notes=(*data.notes, *_remarks(data)))


def _tested(own: OwnData) -> DataSet:
    """The data set, with a sixth of its training images as test part if it has none."""
    if own.test_images is not None:
        return DataSet(*own)
    total = len(own.train_labels)
    sizes = np.bincount(own.train_labels)
    if sizes.min() < HELD_OUT:
        raise InputError(
            f"{own.name} has no test part, and of its class {own.class_names[sizes.argmin()]!r} only {sizes.min()} "
            f"images to hold a sixth out: give {HELD_OUT} images or more of each class, or a test part"
        )
    train, test = stratified_split(own.train_labels, math.ceil(total / HELD_OUT), HELD_OUT_SEED)
    note = f"no test part: {len(test):,} of {total:,} images are held out to test on, always the same"
    return DataSet(
        own.name,
        own.train_images[train],
        own.train_labels[train],
        own.train_images[test],
        own.train_labels[test],
        own.class_names,
        (*own.notes, note),
    )


def _remarks(data: DataSet) -> list[str]:
    """What is odd about the data, but may be meant."""
    remarks = []
    for what, labels in (("training", data.train_labels), ("test", data.test_labels)):
        if (labels == labels[0]).all():
            remarks.append(f"all {len(labels):,} {what} images are of one class, {data.class_names[labels[0]]!r}")
    test = {image.tobytes() for image in data.test_images}
    seen = {pixels for image in data.train_images if (pixels := image.tobytes()) in test}
    if seen:
        count = sum(image.tobytes() in seen for image in data.test_images)
        remarks.append(f"{count:,} of {len(data.test_images):,} test images are also training images")
    return remarks


def _load_published(name: str, data_dir: str | Path) -> DataSet:
    source = PUBLISHED[name]
    raw = Path(data_dir).expanduser() / source.folder / "raw"
    if name.startswith("emnist-"):
        return _load_emnist(name, source, raw)
    files = [_File(raw / archive.removesuffix(".gz"), raw / archive) for archive in source.archives]
    return DataSet(name, *_read_all(files, source), class_names=source.class_names)


def _load_emnist(name: str, source: Published, raw: Path) -> DataSet:
    """EMNIST's digits or letters (Cohen et al. 2017), turned upright: its files hold every image transposed."""
    split = name.removeprefix("emnist-")
    kinds = "train-images-idx3", "train-labels-idx1", "test-images-idx3", "test-labels-idx1"
    files = [_File(raw / f"emnist-{split}-{kind}-ubyte", raw / "gzip.zip") for kind in kinds]
    train_images, train_labels, test_images, test_labels = _read_all(files, source)
    train_images, test_images = (np.ascontiguousarray(x.transpose(0, 2, 1)) for x in (train_images, test_images))
    first = 0 if split == "digits" else 1  # the letters are numbered from 1
    labels = train_labels - first, test_labels - first
    return DataSet(name, train_images, labels[0], test_images, labels[1], source.class_names)


def _load_digits() -> DataSet:
    """scikit-learn's 1797 digits (UCI, Alpaydin and Kaynak 1998), made to look like MNIST's; 1437 train, 360 test.

    The 8×8 images of 0 … 16 become 20×20 images of 0 … 255 (bicubic) in the middle of 28×28, as in MNIST, whose digits
    fill a box of 20×20. The split is stratified and always the same.
    """
    from PIL import Image
    from sklearn.datasets import load_digits

    small = load_digits()
    images = np.zeros((len(small.images), 28, 28), np.uint8)
    for image, digit in zip(images, np.rint(small.images * (255 / 16)).astype(np.uint8), strict=True):
        image[4:24, 4:24] = Image.fromarray(digit).resize((20, 20), Image.Resampling.BICUBIC)
    labels = small.target.astype(np.int64)
    train, test = stratified_split(labels, held_out=360, seed=0)
    return DataSet("digits", images[train], labels[train], images[test], labels[test], tuple(string.digits))


class _File(NamedTuple):
    """An IDX file: where it would lie unpacked, and the published archive that holds it."""

    unpacked: Path
    archive: Path


def _read_all(files: list[_File], source: Published) -> list[np.ndarray]:
    """Images and labels of the training set, then of the test set; an archive goes before what was unpacked from it.

    The checksum vouches for an archive; an unpacked file could hold anything, and is read only where it stands alone.
    """
    try:
        for archive in dict.fromkeys(file.archive for file in files):
            md5 = source.archives[archive.name]
            if archive.is_file() and _md5(archive) != md5:
                raise InputError(
                    f"{archive.name} in {archive.parent} is damaged or another file: the original's MD5 is {md5}; "
                    "put the original there, or delete this one to have it downloaded"
                )
        lacking = [file.archive for file in files if not file.archive.is_file() and not file.unpacked.is_file()]
        if missing := {archive: source.archives[archive.name] for archive in lacking}:
            _download(missing, source)
        return [_read_idx(file) for file in files]
    except OSError as error:
        raise InputError(f"cannot read the data set in {files[0].unpacked.parent}: {error}") from error


def _md5(path: Path) -> str:
    """Read piece by piece: EMNIST's archive has half a gigabyte."""
    digest = hashlib.md5(usedforsecurity=False)
    with path.open("rb") as file:
        while piece := file.read(1 << 20):
            digest.update(piece)
    return digest.hexdigest()


def _download(missing: dict[Path, str], source: Published) -> None:
    """Fetch the archives (path → MD5) into their folder, from the first of torchvision's mirrors that has them."""
    import torchvision
    from torchvision.datasets.utils import download_url

    theirs = getattr(torchvision.datasets, source.folder)
    mirrors = [theirs.url.removesuffix("gzip.zip")] if source.folder == "EMNIST" else theirs.mirrors
    timeout = socket.getdefaulttimeout()
    socket.setdefaulttimeout(DOWNLOAD_TIMEOUT)
    try:
        for archive, md5 in missing.items():
            for mirror in mirrors:
                try:
                    # elsewhere until it is complete: another run may look for it meanwhile
                    with tempfile.TemporaryDirectory() as folder:
                        download_url(mirror + archive.name, folder, archive.name, md5)
                        archive.parent.mkdir(parents=True, exist_ok=True)
                        write_atomically(archive, partial(shutil.copyfile, Path(folder, archive.name)))
                    break
                except (OSError, HTTPException, RuntimeError) as error:  # RuntimeError: wrong checksum
                    reason = error
            else:
                names = ", ".join(path.name for path in missing)
                raise InputError(
                    f"{archive.parent} lacks {names}, and the download failed ({' '.join(str(reason).split())}); "
                    "put what is lacking into that folder"
                ) from reason
    finally:
        socket.setdefaulttimeout(timeout)


def _read_idx(file: _File) -> np.ndarray:
    """Images uint8 (N, H, W) or labels int64 (N,) of an IDX file: bytes 0, 0, type, dimensions; sizes; values."""
    with _open(file) as stream:
        content = bytearray(stream.read())  # not bytes: torch wants arrays that can be written
    ndim = 3 if "idx3" in file.unpacked.name else 1
    start = 4 + 4 * ndim
    header_fits = len(content) >= start and content[:4] == bytes([0, 0, 8, ndim])  # 8: unsigned bytes
    shape = np.frombuffer(content, ">u4", ndim, offset=4).tolist() if header_fits else []
    if not header_fits or len(content) != start + math.prod(shape):
        wrong = f"its {len(content)} bytes are not what its header announces" if header_fits else "its header is wrong"
        raise InputError(
            f"{file.unpacked.name} in {file.unpacked.parent} is damaged ({wrong}): delete it, and put the original "
            f"{file.archive.name} there or have it downloaded"
        )
    values = np.frombuffer(content, np.uint8, offset=start).reshape(shape)
    return values if ndim == 3 else values.astype(np.int64)


def _open(file: _File) -> io.BufferedIOBase:
    if not file.archive.is_file():
        return file.unpacked.open("rb")
    if file.archive.suffix == ".zip":  # EMNIST's: a zip of .gz files
        with zipfile.ZipFile(file.archive) as archive:
            return gzip.open(archive.open(f"gzip/{file.unpacked.name}.gz"))
    return gzip.open(file.archive)


def stratified_split(labels: np.ndarray, held_out: int | float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Divide the images into training and validation: two sorted int64 index arrays that share nothing.

    ``held_out`` is the size of the validation set, as a count (int) or as a fraction of all (float, rounded to whole
    images). Each class gives its share to within one image, the largest remainders rounded up. Raises InputError unless
    every class keeps at least one image on both sides.
    """
    labels, total = np.asarray(labels), len(labels)
    is_count = isinstance(held_out, Integral) and not isinstance(held_out, bool)
    is_fraction = isinstance(held_out, float | np.floating)
    if not ((is_count and 0 < held_out < total) or (is_fraction and 0 < held_out < 1)):
        raise InputError(
            f"cannot hold out {held_out} of {total} images to validate on: give a count from 1 to {total - 1}, "
            "or a fraction between 0 and 1"
        )
    count = int(held_out) if is_count else round(float(held_out) * total)
    validation = _draw(labels, count, seed)
    train = np.setdiff1d(np.arange(total), validation)
    classes = len(np.unique(labels))
    if len(np.unique(labels[validation])) < classes or len(np.unique(labels[train])) < classes:
        raise InputError(
            f"holding out {held_out} of {total} images leaves a class without an image to train or to validate on; "
            "give another number"
        )
    return train, validation


def stratified_part(labels: np.ndarray, ratio: float, seed: int) -> np.ndarray:
    """A part of the images with every class in proportion: sorted int64 indices, ``ratio`` of all (0 < ratio ≤ 1).

    Raises InputError for another ratio, and when a class would lose its last image.
    """
    if not 0 < ratio <= 1:
        raise InputError(f"the ratio of images to use must be above 0 and at most 1, not {ratio}")
    labels = np.asarray(labels)
    part = _draw(labels, round(ratio * len(labels)), seed)
    if len(np.unique(labels[part])) < len(np.unique(labels)):
        raise InputError(f"a ratio of {ratio} leaves a class without any of the {len(labels)} images")
    return part


def _draw(labels: np.ndarray, count: int, seed: int) -> np.ndarray:
    """``count`` sorted indices at random, each class in proportion by largest remainders (ties: the lower class).

    Not scikit-learn's train_test_split: it refuses a rest smaller than one image per class, as with a ratio of 1.
    """
    classes, sizes = np.unique(labels, return_counts=True)
    shares, remainders = np.divmod(sizes * count, len(labels))
    shares[np.argsort(-remainders, kind="stable")[: count - shares.sum()]] += 1
    rng = np.random.default_rng(seed)
    drawn = [rng.permutation(np.flatnonzero(labels == c))[:share] for c, share in zip(classes, shares, strict=True)]
    return np.sort(np.concatenate(drawn))
