"""Image data sets in memory: ``load`` reads and checks them; the other functions split them, stratified by class.

``published.py`` reads the published data sets, ``own.py`` users' own images, and ``events.py`` recordings of events.
``data/README.md`` describes them.
"""

import hashlib
import math
import string
from dataclasses import dataclass, replace
from functools import cached_property
from numbers import Integral
from pathlib import Path

import numpy as np

from datasets.events import Recordings, is_events, read_recordings
from datasets.own import is_own, read_own
from datasets.pictures import MAX_SIDE, check_memory, resize_images
from datasets.published import PUBLISHED, read_published
from errors import InputError

DATA_DIR = Path(__file__).resolve().parent.parent / "data"
DATASETS = (*PUBLISHED, "digits")  # names on the command line; "digits" is part of scikit-learn
HELD_OUT = 6  # without a test part, one training image of six becomes a test image
HELD_OUT_SEED = 0  # not the run's seed, so that no network is tested on images that another run trained it on
Images = np.ndarray | Recordings


@dataclass(frozen=True, eq=False)
class DataSet:
    """Images uint8 (N, H, W), in colour (N, H, W, 3), or recordings, with labels int64 (N,) from 0 to num_classes - 1.

    ``notes`` are lines about the data for the run log. Raises InputError if the arrays do not fit this description or
    each other.
    """

    name: str
    train_images: Images
    train_labels: np.ndarray
    test_images: Images
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
        """1 for grey images, 3 for colour images: the parameter ``colours`` of S1C1; 0 for recordings of events."""
        return 0 if isinstance(self.train_images, Recordings) else 1 if self.train_images.ndim == 3 else 3

    @cached_property
    def fingerprint(self) -> str:
        """16 hexadecimal digits, the head of a SHA-256 over all images and labels, their order and the class names."""
        digest = hashlib.sha256(repr(self.class_names).encode())
        for images, labels in ((self.train_images, self.train_labels), (self.test_images, self.test_labels)):
            digest.update(repr(images.shape).encode())
            digest.update(np.ascontiguousarray(_get_content(images)))
            digest.update(labels.astype("<i8"))
        return digest.hexdigest()[:16]

    def __post_init__(self):
        for part in ("train", "test"):
            images, labels = getattr(self, f"{part}_images"), getattr(self, f"{part}_labels")
            what, shape = f"{self.name}'s {part} set", self.train_images.shape[1:]
            if images.dtype != np.uint8 or images.size == 0 or len(shape) < 2 or shape[2:] not in ((), (3,)):
                raise InputError(
                    f"{what} is {images.dtype} {images.shape}, not uint8 images (N, H, W) or (N, H, W, 3), black 0 and "
                    "white 255; images from 0 to 1 become so with (255 * images).round().astype('uint8')",
                    field=f"{part}_images",
                )
            if images.shape[1:] != shape:
                raise InputError(
                    f"the training images of {self.name} have {shape} pixels, but its test images {images.shape[1:]}",
                    field="test_images",
                )
            if labels.shape != images.shape[:1] or not 0 <= labels.min() <= labels.max() < self.num_classes:
                raise InputError(
                    f"{what} needs a label from 0 to {self.num_classes - 1} for each of its {len(images)} images, not "
                    f"{labels.size} labels up to {labels.max(initial=0)}",
                    field=f"{part}_labels",
                )


def load(name: str, data_dir: str | Path = DATA_DIR, image_size: tuple[int, int] | None = None) -> DataSet:
    """Load one of ``DATASETS``, your own images, ``folder:PATH`` or ``FILE.npz``, or recordings, ``events:PATH``.

    The published data sets are grey and have 28×28 pixels. If an archive is missing in ``data_dir``, it is downloaded.
    If your own images have no test part, a sixth of them is held out: stratified, and always the same images.

    Args:
        data_dir: folder of the published data sets.
        image_size: height and width to which all images are stretched; required for pictures of different sizes. Of
            recordings: the size of the sensor.

    Raises InputError for an unknown name, and for files that are missing, damaged or unusable.
    """
    if image_size is not None and not all(1 <= side <= MAX_SIDE for side in image_size):
        raise InputError(
            f"--image-size must be a height and a width from 1 to {MAX_SIDE} pixels, not {tuple(image_size)}",
            flag="--image-size",
        )
    if is_events(name) or is_own(name):
        found = (read_recordings if is_events(name) else read_own)(name, image_size)
        data = DataSet(**found) if "test_images" in found else _hold_out(**found)
        if data.colours and data.train_images.min() == data.train_images.max():
            raise InputError(
                f"all pixels of the training images of {name} are {data.train_images.flat[0]}", flag="--dataset"
            )
    elif name == "digits":
        data = _load_digits()
    elif name in PUBLISHED:
        data = DataSet(name, *read_published(name, data_dir), PUBLISHED[name].class_names)
    else:
        raise InputError(
            f"unknown data set {name!r}; choose from {', '.join(DATASETS)}, or your own images or recordings: "
            "folder:PATH, FILE.npz, events:PATH",
            flag="--dataset",
        )
    if image_size is not None and data.colours:
        check_memory(len(data.train_images) + len(data.test_images), image_size)
        train, test = (resize_images(images, *image_size) for images in (data.train_images, data.test_images))
        data = replace(data, train_images=train, test_images=test)
    return replace(data, notes=(*data.notes, *_remarks(data)))


def _hold_out(
    name: str, train_images: Images, train_labels: np.ndarray, class_names: tuple[str, ...], notes: tuple[str, ...]
) -> DataSet:
    """Return the data set with a sixth of its training images as the test part."""
    total, sizes = len(train_labels), np.bincount(train_labels)
    if sizes.min() < HELD_OUT:
        raise InputError(
            f"{name} has no test part, and its class {class_names[sizes.argmin()]!r} has only {sizes.min()} images; "
            f"add a test part, or at least {HELD_OUT} images of each class",
            flag="--dataset",
        )
    train, test = stratified_split(train_labels, math.ceil(total / HELD_OUT), HELD_OUT_SEED)
    notes += (f"no test part: {len(test):,} of {total:,} images are held out for the test, always the same images",)
    parts = [array[part] for part in (train, test) for array in (train_images, train_labels)]
    return DataSet(name, *parts, class_names, notes)


def _remarks(data: DataSet) -> list[str]:
    """Return notes on possible errors: a single class, or test images among the training images."""
    remarks = []
    for what, labels in (("training", data.train_labels), ("test", data.test_labels)):
        if (labels == labels[0]).all():
            remarks.append(f"all {len(labels):,} {what} images are of one class, {data.class_names[labels[0]]!r}")
    train_images, test_images = map(_get_content, (data.train_images, data.test_images))
    test = {image.tobytes() for image in test_images}
    seen = {pixels for image in train_images if (pixels := image.tobytes()) in test}
    if seen:
        count = sum(image.tobytes() in seen for image in test_images)
        remarks.append(f"{count:,} of {len(data.test_images):,} test images are also training images")
    return remarks


def _get_content(images: Images) -> np.ndarray:
    """Return an array (N, …) in which equal rows are equal images: the images, or the checksums of recordings."""
    return getattr(images, "checksums", images)


def _load_digits() -> DataSet:
    """Load scikit-learn's 1797 digits (UCI, Alpaydin and Kaynak 1998) in the form of MNIST; 1437 train, 360 test.

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


def stratified_split(labels: np.ndarray, held_out: int | float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Split the images into training and validation: two sorted int64 index arrays without a common element.

    ``held_out`` is the size of the validation set: a count (int), or a fraction of all images (float, rounded to whole
    images). Each class has its share of the validation set to within one image; the largest remainders are rounded up.
    Raises InputError unless both sets contain an image of each class.
    """
    labels, total = np.asarray(labels), len(labels)
    is_count = isinstance(held_out, Integral)
    if 0 < held_out < (total if is_count else 1):
        validation = _draw(labels, int(held_out) if is_count else round(held_out * total), seed)
        train = np.setdiff1d(np.arange(total), validation)
        if len(np.unique(labels[validation])) == len(np.unique(labels[train])) == len(np.unique(labels)):
            return train, validation
    raise InputError(
        f"cannot hold out {held_out} of {total} images for validation; --val-split must be a count, or a fraction "
        "between 0 and 1, so that both sets contain an image of each class",
        flag="--val-split",
    )


def stratified_part(labels: np.ndarray, ratio: float, seed: int) -> np.ndarray:
    """Choose ``ratio`` of the images (0 < ratio ≤ 1), with every class in proportion; return sorted int64 indices.

    Raises InputError for another ratio, and if a class would lose its last image.
    """
    labels = np.asarray(labels)
    if 0 < ratio <= 1:
        part = _draw(labels, round(ratio * len(labels)), seed)
        if len(np.unique(labels[part])) == len(np.unique(labels)):
            return part
    raise InputError(
        f"cannot use {ratio} of {len(labels)} images: --ratio is above 0 and at most 1, and leaves an image of each "
        "class",
        flag="--ratio",
    )


def _draw(labels: np.ndarray, count: int, seed: int) -> np.ndarray:
    """Draw ``count`` indices, sorted, with each class in proportion by largest remainders (ties: the lower class).

    scikit-learn's ``train_test_split`` raises an error if the rest has less than an image per class, as with a ratio of
    1.
    """
    classes, sizes = np.unique(labels, return_counts=True)
    shares, remainders = np.divmod(sizes * count, len(labels))
    shares[np.argsort(-remainders, kind="stable")[: count - shares.sum()]] += 1
    rng = np.random.default_rng(seed)
    drawn = [rng.permutation(np.flatnonzero(labels == c))[:share] for c, share in zip(classes, shares, strict=True)]
    return np.sort(np.concatenate(drawn))
