"""The data set as a record, and the registry of the functions that read data sets."""

import hashlib
import os
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from engine.registry import register
from errors import InputError, abbreviate, make_printable

UNLABELLED = "unlabelled"  # the part of images without labels in users' own data
MAX_LISTED = 12  # the largest number of classes or files in a message

Size = tuple[int, int]  # height and width in pixels


@dataclass(frozen=True, eq=False)
class DataSet:
    """Images uint8 (N, H, W), in colour (N, H, W, 3), with labels int64 (N,) from 0 to num_classes - 1.

    Without a test part, ``imagesets.load`` holds out a sixth of the training images as one. The last ``val_count``
    training images that have labels are the validation images; 0: each run draws its own. ``unlabelled`` training
    images have no labels, and follow those that have. ``notes`` are lines about the data for the run log;
    ``source`` is what a paper cites. ``files`` names the training and then the test images; (): by their indices.
    ``sheet`` contains {image: class} if labels are those of a sheet, see ``training/sheet.py``.
    Raises InputError if the arrays do not fit this description or each other.
    """

    name: str
    train_images: np.ndarray
    train_labels: np.ndarray
    class_names: tuple[str, ...]
    test_images: np.ndarray | None = None
    test_labels: np.ndarray | None = None
    notes: tuple[str, ...] = ()
    val_count: int = 0
    unlabelled: int = 0
    source: str = ""
    files: Sequence[str | int] = ()
    sheet: Mapping[str, str] = field(default_factory=dict)

    @property
    def num_classes(self) -> int:
        return len(self.class_names)

    @property
    def image_size(self) -> Size:
        """Height and width in pixels."""
        return self.train_images.shape[1:3]

    @property
    def test_part(self) -> tuple[np.ndarray, np.ndarray]:
        """The test images and their labels, none without a test part. Raises InputError if one of them is missing."""
        if self.test_images is None and self.test_labels is None:
            return self.train_images[:0], self.train_labels[:0]
        if self.test_images is None or self.test_labels is None:
            raise InputError(f"the test part of {self.name} needs test_images and test_labels")
        return self.test_images, self.test_labels

    def name_images(self, split: str, indices: np.ndarray) -> Sequence[str | int]:
        """Return the files, or else the indices, of images of a split, which count in its part."""
        first = len(self.train_images) * (split == "test")
        return [self.files[first + index] for index in indices] if self.files else indices.tolist()

    @property
    def colours(self) -> int:
        """1 for grey images, 3 for colour images: the parameter ``colours`` of S1C1."""
        return 1 if self.train_images.ndim == 3 else 3

    @cached_property
    def fingerprint(self) -> str:
        """16 hexadecimal digits, the head of a SHA-256 over all images and labels, their order and the class names."""
        digest = hashlib.sha256(repr(self.class_names).encode())
        for images, labels in ((self.train_images, self.train_labels), self.test_part):
            digest.update(repr(images.shape).encode())
            digest.update(np.ascontiguousarray(images).data)
            digest.update(labels.astype("<i8").data)
        if self.val_count:
            digest.update(repr(self.val_count).encode())
        return digest.hexdigest()[:16]

    def __post_init__(self):
        from engine.checks import check_labels  # it imports torch, which takes a second

        fields = vars(self)  # the record is frozen
        fields["class_names"] = names = tuple(map(str, self.class_names))
        total = 0
        for part in ["train"] if self.test_images is None else ["train", "test"]:
            what = f"{self.name}'s {part} set"
            images = fields[f"{part}_images"]
            check_images(what, images)
            total += len(images)
            count = len(images) - self.unlabelled * (part == "train")
            labels = check_labels(fields[f"{part}_labels"], count, len(names), f"labels of {what}")
            fields[f"{part}_labels"] = labels.numpy()
            shape = self.train_images.shape[1:]
            if images.shape[1:] != shape:
                raise InputError(f"{what} has images of {images.shape[1:]}, but the training images are {shape}")
        if not isinstance(self.name, str) or len({*names}) < len(names) or self.val_count >= len(self.train_labels):
            raise InputError(
                f"the data set {self.name!r} needs a name, different names of classes, and training images beside "
                "val_count"
            )
        if not isinstance(self.files, list | tuple | np.ndarray) or len(self.files) not in (0, total):
            raise InputError(
                f"files of the data set {self.name!r} must be {total} names, one of each image, or (), not "
                f"{abbreviate(self.files)}"
            )
        fields["files"] = list(self.files)
        validated = np.unique(self.train_labels[len(self.train_labels) - self.val_count :])
        if self.num_classes > 1 and len(validated) == 1:
            only = self.class_names[validated[0]]
            raise InputError(f"the validation part of {self.name} needs images of more classes than {only!r} alone")


def list_first(names: Sequence[str], separator: str = ", ") -> str:
    """Return the first names of classes or files in a text."""
    return separator.join(names[:MAX_LISTED]) + f"{separator}…" * (len(names) > MAX_LISTED)


def check_images(what: str, images: np.ndarray) -> None:
    """Raise InputError unless images are uint8 (N, H, W) or (N, H, W, 3). what: how the message names them."""
    if not isinstance(images, np.ndarray):
        raise InputError(f"{what} must be a NumPy array of images, not {abbreviate(images)}")
    shape = images.shape[1:]
    if images.dtype == np.uint8 and images.size and len(shape) >= 2 and shape[2:] in ((), (3,)):
        return
    hint = ""
    if images.dtype.kind == "f":
        hint = "; images from 0 to 1 become so with (255 * images).round().astype('uint8')"
    elif shape[:1] == (3,):
        hint = "; images (N, 3, H, W) become so with images.transpose(0, 2, 3, 1)"
    raise InputError(
        f"{what} is {images.dtype} {images.shape}, not uint8 images (N, H, W) or (N, H, W, 3), black 0 and white "
        f"255{hint}"
    )


def _normalize(names: np.ndarray) -> np.ndarray:
    """Return texts in Unicode's form NFC: some file systems of macOS return é as two characters, e and an accent."""
    if names.dtype.kind != "U":
        return names
    return np.array([unicodedata.normalize("NFC", name) for name in names.tolist()])


def number_classes(path: str | Path, labels: dict[str, np.ndarray]) -> dict[str, Any]:
    """Number the classes of users' own data in sorted order. Equal texts of Unicode are one class, see ``_normalize``.

    labels: {"train" and, if they exist, "val" and "test": integers or strings (N,)}. Returns arguments of ``DataSet``:
    the printable names of the classes and the labels, for the images of "val" after those of "train". Raises InputError
    if another part has a class without a training image.
    """
    labels = {part: _normalize(names) for part, names in labels.items()}
    classes = np.unique(labels["train"])
    for part, names in labels.items():
        unseen = {*names.tolist()} - {*classes.tolist()}
        if unseen:
            listed = list_first(sorted(map(repr, unseen)))
            raise InputError(f"the {part} part of {path} has classes without a training image: {listed}")
    numbers = {part: np.searchsorted(classes, names.astype(classes.dtype)) for part, names in labels.items()}
    validation = numbers.get("val", np.empty(0, np.int64))
    return {
        "class_names": tuple(map(make_printable, map(str, classes))),
        "train_labels": np.concatenate([numbers["train"], validation]),
        "test_labels": numbers.get("test"),
        "val_count": len(validation),
    }


# ---------------------------------------------------------------------------------------------------------------------
# The registry

Reader = Callable[[str, Path, Size | None], DataSet]
DATASETS: dict[str, Reader] = {}  # by name ("digits"), prefix ("folder:") or ending (".npz")
CHARACTERS: set[str] = set()  # those that are registered for characters


def dataset(*names: str, characters: bool = False) -> Callable[[Reader], Reader]:
    """Register the function that reads the data sets of these names.

    A name is a word ("digits"), a prefix with a colon ("folder:"), which stands for all names that begin with it, or an
    ending with a dot (".npz"), which stands for all files with this ending. The function takes

    * the name of the data set, without the prefix;
    * the folder of downloaded data sets;
    * the height and width of ``--image-size``, or None. Images of one size need not be resized by the function.

    It returns a ``DataSet``. Raises InputError if another function has one of the names.

    characters: whether the images are characters in the form of MNIST. ``evaluate.py --predict`` converts pictures to
    this form.
    """

    def register_reader(read: Reader) -> Reader:
        register(DATASETS, names, read)
        if characters:
            CHARACTERS.update(names)
        return read

    return register_reader


def find_reader(name: str) -> str | None:
    """Return the registered name, prefix or ending of a data set, or None if there is none."""
    prefix, colon, _ = name.partition(":")
    ending = Path(name).suffix.lower()
    for registered in (name, prefix + colon, ending):
        if registered in DATASETS:
            return registered
    return None


def is_path(name: str) -> bool:
    """Return whether the name of a data set contains the path of its files, so that its classes are the user's own."""
    return find_reader(name) not in (None, name)


def make_absolute(name: str) -> str:
    """Return the name of a data set with the absolute path of its files. A name without a path stays as it is."""
    prefix, path = split_name(name)
    return f"{prefix}{os.path.abspath(path)}" if is_path(name) and os.path.exists(path) else name


def split_name(name: str) -> tuple[str, str]:
    """Return the registered prefix of the name of a data set, or "", and the rest, a path if ``is_path``."""
    registered = find_reader(name) or ""
    prefix = registered if registered.endswith(":") else ""
    return prefix, os.path.expanduser(name.removeprefix(prefix))


def list_datasets() -> str:
    """Return all names, with what a user adds to a prefix or an ending: ``digits, …, FILE.npz, folder:PATH, …``."""
    words = []
    paths = []
    for name in sorted(DATASETS):
        if name.endswith(":"):
            paths.append(f"{name}PATH")
        elif name.startswith("."):
            paths.append(f"FILE{name}")
        else:
            words.append(name)
    return ", ".join(words + paths)
