"""The data set ``FILE.npz``: your own images as arrays, in the form of Keras's data sets."""

import os
import zipfile
from pathlib import Path

import numpy as np

from errors import InputError, make_printable
from imagesets.data_set import UNLABELLED, DataSet, Size, check_images, dataset, number_classes
from utils import check_memory

PARTS = "train", "val", "test"
TRAINING_PARTS = "train", "val", UNLABELLED  # the parts whose images become training images, in this order


Arrays = dict[str, np.ndarray]


@dataset(".npz")
def read_npz(name: str, data_dir: Path, image_size: Size | None) -> DataSet:
    """Read x_train, y_train and, if they exist, x_val, y_val, x_test, y_test and x_unlabelled.

    Labels are integers or strings.

    Raises InputError if the images or labels cannot be used.
    """
    path = Path(os.path.expanduser(name))
    arrays, others = _read_arrays(path)
    given = {name.partition("_")[2] for name in arrays}
    parts = [part for part in PARTS if part == "train" or part in given]
    needed = [f"{letter}_{part}" for letter in "xy" for part in parts]
    lacking = [name for name in needed if name not in arrays]
    if lacking:
        raise InputError(f"{path} lacks {', '.join(lacking)}; save it with np.savez(FILE, x_train=…, y_train=…, …)")
    images = {}
    labels = {}
    for part in (*parts, UNLABELLED):
        pixels = arrays.get(f"x_{part}")
        if pixels is None:
            continue
        has_one_channel = pixels.ndim == 4 and pixels.shape[3] == 1
        images[part] = pixels[..., 0] if has_one_channel else pixels
        if part != UNLABELLED:
            labels[part] = _check_labels(arrays[f"y_{part}"], f"y_{part}", path)
        _check_part(path, part, images, labels)
    numbered = number_classes(path, labels)
    joined = [images[part] for part in TRAINING_PARTS if part in images]
    train_images = joined[0] if len(joined) == 1 else np.concatenate(joined)
    numbered["unlabelled"] = len(images.get(UNLABELLED, ()))
    notes = [f"not read: {', '.join(others)} of {make_printable(path.name)}"] if others else []
    name = make_printable(path.name)
    return DataSet(name, train_images, test_images=images.get("test"), notes=tuple(notes), **numbered)


def _read_arrays(path: Path) -> tuple[Arrays, list[str]]:
    """Read the images and labels of a file, and compare their checksums. Pickles are not read.

    Returns them by name, and the names of the other arrays. Raises InputError if other arrays are called as a part.
    """
    if not os.path.isfile(path):
        raise InputError(f"there is no file {path}")
    if not zipfile.is_zipfile(path):
        raise InputError(f"{path} is not an archive of arrays; save it with np.savez(FILE, x_train=…, y_train=…, …)")
    names = [*(f"{letter}_{part}" for part in PARTS for letter in "xy"), f"x_{UNLABELLED}"]
    try:
        with path.open("rb") as opened, np.load(opened, allow_pickle=False) as file:
            check_memory(str(path), sum(member.file_size for member in file.zip.infolist()))
            if file.zip.testzip():  # np.load does not compare the checksum of an array that a damaged header shortens
                raise ValueError("a checksum is wrong")
            arrays = {name: file[name] for name in names if name in file}
            others = [name for name in file.files if name not in arrays]
    except Exception as error:  # the type depends on what is damaged
        if "allow_pickle" in str(error):
            error = ValueError("an array of Python objects; save labels that are strings with y.astype(str)")
        raise InputError(f"{path} cannot be read as .npz: {' '.join(str(error).split())}") from error
    unread = [name for name in others if name.lower().startswith(("x_", "y_"))]
    if unread:
        raise InputError(f"{path} has {', '.join(unread)}, but only {', '.join(names)} are read: rename or remove them")
    return arrays, others


def _check_part(path: Path, part: str, images: Arrays, labels: Arrays) -> None:
    """Raise InputError unless the images and labels of a part fit each other, and the training images."""
    pixels = images[part]
    check_images(f"x_{part} of {path}", pixels)
    if part in labels and len(pixels) != len(labels[part]):
        raise InputError(f"x_{part} of {path} has {len(pixels)} images, but y_{part} has {len(labels[part])} labels")
    size = images["train"].shape[1:]
    if pixels.shape[1:] != size:
        raise InputError(f"x_{part} of {path} has images of {pixels.shape[1:]} pixels, but x_train of {size}")


def _check_labels(labels: np.ndarray, name: str, path: Path) -> np.ndarray:
    """Return the labels as integers or strings (N,). Raises InputError for other arrays."""
    labels = labels[:, 0] if labels.ndim == 2 and labels.shape[1] == 1 else labels
    if labels.ndim != 1 or labels.dtype.kind not in "iuU":
        raise InputError(
            f"{name} of {path} is {labels.dtype} {labels.shape}, not integers or strings (N,) or (N, 1); for one-hot "
            "rows, save y.argmax(1)"
        )
    numbers = np.unique(labels)
    if labels.dtype.kind == "i" and -1 in numbers and len(numbers) > 2:
        raise InputError(
            f"{name} of {path} has -1 beside {len(numbers) - 1} other numbers: images without a label belong in "
            f"x_{UNLABELLED}; if -1 is a class, save labels that are strings with y.astype(str)"
        )
    return labels
