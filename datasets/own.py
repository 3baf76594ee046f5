"""Your own images as arrays: class folders of pictures, or a ``.npz`` file in the form of Keras's data sets."""

import io
import os
import warnings
import zipfile
from collections.abc import Iterable
from itertools import chain
from pathlib import Path

import numpy as np

from datasets.pictures import ENDINGS, check_memory, read_picture, resize_image
from errors import InputError, make_printable

MAX_LISTED = 12  # the largest number of classes in a message
MAX_NAME = 255  # characters of a class name, the limit for the name of a folder


def is_own(name: str) -> bool:
    return name.startswith("folder:") or name.lower().endswith(".npz")


def read_own(name: str, image_size: tuple[int, int] | None = None) -> dict:
    """Read ``folder:PATH`` or ``FILE.npz``. Returns the arguments of ``DataSet``, without a test part if there is none.

    image_size: height and width to which pictures are stretched, because they may differ in size.

    Raises InputError if the images or labels cannot be used.
    """
    if name.startswith("folder:"):
        return _read_folder(os.path.expanduser(name.removeprefix("folder:")), image_size)
    return _read_npz(Path(os.path.expanduser(name)))


def _read_folder(path: str, image_size: tuple[int, int] | None) -> dict:
    found, files = find_files(path, ENDINGS)
    images = _read_pictures([*chain(*files.values())], image_size)
    found["train_images"], test = np.split(images, [len(files["train"])])
    return found | ({"test_images": test} if "test" in files else {})


def find_files(
    path: str, endings: set[str], what: str = "picture", names: tuple[str, str] = ("train", "test")
) -> tuple[dict, dict[str, list[str]]]:
    """Find the files of class folders in ``path``, or in its folders ``train`` and, if it exists, ``test``.

    Args:
        endings: the endings of the files.
        what: what a file contains, for the messages.
        names: the names of the folders of the two parts.

    Returns the arguments of ``DataSet`` without the images, and {"train" or "test": files}. Raises InputError.
    """
    if not os.path.isdir(path):  # also False for impossible and empty names
        raise InputError(f"there is no folder {path!r}", path=path)
    root = Path(path)
    try:
        within = _subfolders(root)
        if names[1] in within and names[0] not in within:
            raise InputError(f"{root} has a folder {names[1]}, but no folder {names[0]}", path=root)
        named = zip(("train", "test"), names, strict=True)
        folders = {part: root / name for part, name in named if name in within} or {"train": root}
        skipped = []
        parts = {part: _list_classes(folder, skipped, endings, what) for part, folder in folders.items()}
    except OSError as error:
        raise InputError(f"cannot read {error.filename}: {error.strerror}", path=error.filename) from error
    class_names = tuple(parts["train"])
    if "test" in parts:
        _refuse_unseen(folders["test"], parts["test"].keys() - parts["train"].keys())
    notes = _describe_classes(class_names)
    if names[0] in within and (others := [name for name in within if name not in names]):
        notes += (f"only {names[0]} and {names[1]} of {root} are read, not {_shorten(others)}",)
    if skipped:
        notes += (f"skipped, because they are not files or were read before: {_shorten(skipped)}",)
    found = {"name": make_printable(root.resolve().name), "class_names": _check_names(class_names, path)}
    found["notes"] = notes
    for part, classes in parts.items():
        found[f"{part}_labels"] = np.array([class_names.index(name) for name in classes for _ in classes[name]])
    return found, {part: [*chain(*classes.values())] for part, classes in parts.items()}


def _list_classes(folder: Path, skipped: list[str], endings: set[str], what: str) -> dict[str, list[str]]:
    """Return the sorted files of each class folder and of the folders in it, except for hidden ones.

    Links are followed, and each file and folder is read once. Files that were read before, and pipes and loops of links
    with one of the endings, are added to ``skipped``.
    """

    def fail(error):
        raise error

    classes, seen = {name: [] for name in _subfolders(folder)}, set()
    for name, found in classes.items():
        for place, folders, files in os.walk(folder / name, onerror=fail, followlinks=True):
            if os.path.realpath(place) in seen:
                folders.clear()
                continue
            seen.add(os.path.realpath(place))
            folders[:] = sorted(inner for inner in folders if not _is_hidden(inner))
            files = [file for file in sorted(files) if Path(file).suffix.lower() in endings and not _is_hidden(file)]
            for path in [os.path.join(place, file) for file in files]:
                real = os.path.realpath(path)
                is_odd = os.path.lexists(real) and not os.path.isfile(real)
                (skipped if is_odd or real in seen else found).append(path)
                seen.add(real)
        if not found:
            raise InputError(f"the class folder {folder / name} contains no {what}", path=folder / name)
    if not classes:
        raise InputError(f"{folder} does not contain class folders of {what}s", path=folder)
    return classes


def _subfolders(folder: Path) -> list[str]:
    return sorted(entry.name for entry in os.scandir(folder) if entry.is_dir() and not _is_hidden(entry.name))


def _is_hidden(name: str) -> bool:
    return name.startswith(".") or name == "__MACOSX"


def _read_pictures(paths: list[str], image_size: tuple[int, int] | None) -> np.ndarray:
    """Return uint8 (N, H, W) if every pixel of every picture is grey, else (N, H, W, 3)."""
    pictures = []
    check_memory(len(paths), image_size)
    for path in paths:
        pixels, _ = read_picture(path, exact=True)
        pictures.append(pixels if image_size is None else resize_image(pixels, *image_size))
        if pictures[-1].shape[:2] != pictures[0].shape[:2]:
            (height, width), (rows, columns) = pictures[0].shape[:2], pictures[-1].shape[:2]
            raise InputError(
                f"the pictures differ in size: {paths[0]} is {height}×{width} (height×width), {path} is "
                f"{rows}×{columns}; add --image-size H W, the size to which all are stretched",
                flag="--image-size",
                path=path,
            )
    if any(pixels.ndim == 3 for pixels in pictures):
        shape = (*pictures[0].shape[:2], 3)
        pictures = [pixels if pixels.ndim == 3 else np.broadcast_to(pixels[..., None], shape) for pixels in pictures]
    return np.stack(pictures)


def _read_npz(path: Path) -> dict:
    """Read x_train, y_train and, if there is a test part, x_test, y_test. Labels are integers or strings."""
    if not os.path.isfile(path):
        raise InputError(f"there is no file {path}", path=path)
    arrays = _read_arrays(path)
    parts = ("train", "test") if {"x_test", "y_test"} & arrays.keys() else ("train",)
    lacking = [name for part in parts for name in (f"x_{part}", f"y_{part}") if name not in arrays]
    if lacking:
        raise InputError(
            f"{path} lacks {', '.join(lacking)}; save it with np.savez(FILE, x_train=…, y_train=…, …)", path=path
        )
    labels = {part: _check_labels(arrays[f"y_{part}"], f"y_{part} of {path}", path) for part in parts}
    classes = np.unique(labels["train"])
    _refuse_unseen(path, set(labels[parts[-1]].tolist()) - set(classes.tolist()))
    class_names = _check_names(map(str, classes), path)
    found = {"name": make_printable(path.name), "class_names": class_names, "notes": _describe_classes(class_names)}
    for part in parts:
        images = arrays[f"x_{part}"]
        if labels[part].shape != images.shape[:1] or not images.size:
            raise InputError(
                f"x_{part} of {path} has the shape {images.shape}, but y_{part} has {len(labels[part])} labels; each "
                "image needs a label",
                path=path,
            )
        found[f"{part}_images"] = images[..., 0] if images.ndim == 4 and images.shape[3] == 1 else images
        found[f"{part}_labels"] = np.searchsorted(classes, labels[part].astype(classes.dtype))
    return found


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
        raise InputError(f"{path} cannot be read as .npz: {' '.join(str(error).split())}", path=path) from error
    return arrays


def _check_count(path: Path, count: int) -> None:
    """Raise ValueError if damage to an entry of the zip's directory hides other entries, which zipfile ignores."""
    with path.open("rb") as file:
        file.seek(-22, io.SEEK_END)
        end = file.read()  # the end record of the directory, unless a comment follows it
    announced = int.from_bytes(end[10:12], "little")
    if end.startswith(b"PK\5\6") and announced not in (count, 0xFFFF):  # 0xFFFF: the number is stored elsewhere
        raise ValueError(f"its directory lists {count} of {announced} files")


def _check_labels(labels: np.ndarray, what: str, path: Path) -> np.ndarray:
    """Return the labels as integers or strings (N,). Raises InputError for other arrays."""
    labels = labels[:, 0] if labels.ndim == 2 and labels.shape[1] == 1 else labels
    if labels.dtype.kind == "S":
        labels = np.char.decode(labels, "utf-8", "backslashreplace")
    if labels.ndim != 1 or labels.dtype.kind not in "iuU":
        raise InputError(
            f"{what} is {labels.dtype} {labels.shape}, not integers or strings (N,) or (N, 1); for one-hot rows, save "
            "y.argmax(1)",
            path=path,
        )
    return labels


def _check_names(names: Iterable[str], path: str | Path) -> tuple[str, ...]:
    """Return printable class names. Raises InputError for a name that is too long."""
    names = tuple(map(make_printable, names))
    if longest := next((name for name in names if len(name) > MAX_NAME), None):
        message = f"has a class name of {len(longest)} characters, {longest[:20]}…; the maximum is {MAX_NAME}"
        raise InputError(f"{path} {message}", path=path)
    return names


def _describe_classes(class_names: tuple[str, ...]) -> tuple[str, ...]:
    """Return a note with the class of each number, unless all classes have the names of their numbers."""
    if list(class_names) == [str(number) for number in range(len(class_names))]:
        return ()
    return (f"classes: {_shorten([f'{number} is {name!r}' for number, name in enumerate(class_names)])}",)


def _refuse_unseen(path: Path, unseen: set) -> None:
    if unseen:
        names = _shorten(sorted(map(repr, unseen)))
        raise InputError(f"the test part of {path} has classes without a training image: {names}", path=path)


def _shorten(items: list[str]) -> str:
    more = f" and {len(items) - MAX_LISTED} more" if len(items) > MAX_LISTED else ""
    return ", ".join(items[:MAX_LISTED]) + more
