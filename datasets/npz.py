"""The data set ``FILE.npz``: your own images as arrays, in the form of Keras's data sets."""

import io
import itertools
import os
import warnings
import zipfile
from pathlib import Path

import numpy as np

from datasets.class_names import check_names, describe_classes, refuse_unseen
from datasets.data_set import DataSet, dataset
from errors import InputError, make_printable


@dataset(".npz")
def read_npz(name: str, data_dir: Path, image_size: tuple[int, int] | None) -> DataSet:
    """Read x_train, y_train and, if there is a test part, x_test, y_test. Labels are integers or strings.

    Raises InputError if the images or labels cannot be used.
    """
    path = Path(os.path.expanduser(name))
    if not os.path.isfile(path):
        raise InputError(f"there is no file {path}")
    arrays = _read_arrays(path)
    parts = ("train", "test") if {"x_test", "y_test"} & arrays.keys() else ("train",)
    needed = [f"{letter}_{part}" for letter, part in itertools.product("xy", parts)]
    lacking = [name for name in needed if name not in arrays]
    if lacking:
        raise InputError(f"{path} lacks {', '.join(lacking)}; save it with np.savez(FILE, x_train=…, y_train=…, …)")
    labels = {part: _check_labels(arrays[f"y_{part}"], f"y_{part}", path) for part in parts}
    classes = np.unique(labels["train"])
    refuse_unseen(path, set(labels[parts[-1]].tolist()) - set(classes.tolist()))
    class_names = check_names(map(str, classes), path)
    images = {}
    numbers = {}
    for part in parts:
        pixels = arrays[f"x_{part}"]
        if labels[part].shape != pixels.shape[:1] or not pixels.size:
            raise InputError(
                f"x_{part} of {path} has the shape {pixels.shape}, but y_{part} has {len(labels[part])} labels; each "
                "image needs a label",
            )
        has_one_channel = pixels.ndim == 4 and pixels.shape[3] == 1
        images[part] = pixels[..., 0] if has_one_channel else pixels
        numbers[part] = np.searchsorted(classes, labels[part].astype(classes.dtype))
    return DataSet(
        make_printable(path.name),
        images["train"],
        numbers["train"],
        class_names,
        images.get("test"),
        numbers.get("test"),
        describe_classes(class_names),
    )


def _read_arrays(path: Path) -> dict[str, np.ndarray]:
    """Read the images and labels of an archive, and compare their checksums. Pickles are not read."""
    arrays = {}
    try:
        with zipfile.ZipFile(path) as archive, warnings.catch_warnings():
            warnings.simplefilter("ignore")  # NumPy warns of headers that Python 2 wrote
            names = archive.namelist()
            _check_count(path, len(names))
            for name in {"x_train.npy", "y_train.npy", "x_test.npy", "y_test.npy"}.intersection(names):
                content = io.BytesIO(archive.read(name))  # read to its end, where the checksum is compared
                arrays[name.removesuffix(".npy")] = np.lib.format.read_array(content, allow_pickle=False)
    except Exception as error:  # the type depends on what is damaged
        if "allow_pickle" in str(error):
            error = ValueError("an array of Python objects; save labels that are strings with y.astype(str)")
        raise InputError(f"{path} cannot be read as .npz: {' '.join(str(error).split())}") from error
    return arrays


def _check_count(path: Path, count: int) -> None:
    """Raise ValueError if damage to an entry of the zip's directory hides other entries, which zipfile ignores."""
    with path.open("rb") as file:
        file.seek(-22, io.SEEK_END)
        end = file.read()  # the end record of the directory, unless a comment follows it
    announced = int.from_bytes(end[10:12], "little")
    if end.startswith(b"PK\5\6") and announced not in (count, 0xFFFF):  # 0xFFFF: the number is stored elsewhere
        raise ValueError(f"its directory lists {count} of {announced} files")


def _check_labels(labels: np.ndarray, name: str, path: Path) -> np.ndarray:
    """Return the labels as integers or strings (N,). Raises InputError for other arrays."""
    labels = labels[:, 0] if labels.ndim == 2 and labels.shape[1] == 1 else labels
    if labels.dtype.kind == "S":
        labels = np.char.decode(labels, "utf-8", "backslashreplace")
    if labels.ndim != 1 or labels.dtype.kind not in "iuU":
        raise InputError(
            f"{name} of {path} is {labels.dtype} {labels.shape}, not integers or strings (N,) or (N, 1); for one-hot "
            "rows, save y.argmax(1)",
        )
    return labels
