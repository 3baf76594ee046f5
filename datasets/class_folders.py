"""Files in class folders: a folder for each class, which has the name of the class."""

import os
from itertools import chain
from pathlib import Path
from typing import NamedTuple

import numpy as np

from datasets.class_names import check_names, describe_classes, refuse_unseen, shorten
from datasets.data_set import DataSet, Images
from errors import InputError, make_printable


class ClassFolders(NamedTuple):
    """The files of class folders.

    ``files`` and ``labels``: {"train" or "test": files, or their classes int64 (N,)}. ``notes``: lines for the run log.
    """

    name: str
    class_names: tuple[str, ...]
    files: dict[str, list[str]]
    labels: dict[str, np.ndarray]
    notes: tuple[str, ...]

    def to_data_set(self, images: Images, *notes: str) -> DataSet:
        """Return the data set of the images of all files, first those of the training files."""
        count = len(self.files["train"])
        test_images = images[count:] if "test" in self.files else None
        train = images[:count], self.labels["train"]
        return DataSet(self.name, *train, self.class_names, test_images, self.labels.get("test"), (*self.notes, *notes))


def find_classes(
    path: str, endings: set[str], content: str = "picture", names: tuple[str, str] = ("train", "test")
) -> ClassFolders:
    """Find the files of class folders in ``path``, or in its folders ``train`` and, if it exists, ``test``.

    Args:
        endings: the endings of the files.
        content: what a file contains, for the messages.
        names: the names of the folders of the two parts.

    Raises InputError for a folder that does not exist, cannot be read or has no such files.
    """
    if not os.path.isdir(path):  # also False for impossible and empty names
        raise InputError(f"there is no folder {path!r}")
    root = Path(path)
    skipped = []
    try:
        within = _subfolders(root)
        if names[1] in within and names[0] not in within:
            raise InputError(f"{root} has a folder {names[1]}, but no folder {names[0]}")
        folders = {"train": root / names[0]} if names[0] in within else {"train": root}
        if names[1] in within:
            folders["test"] = root / names[1]
        parts = {part: _list_classes(folder, skipped, endings, content) for part, folder in folders.items()}
    except OSError as error:
        raise InputError(f"cannot read {error.filename}: {error.strerror}") from error
    class_names = tuple(parts["train"])
    if "test" in parts:
        refuse_unseen(folders["test"], parts["test"].keys() - parts["train"].keys())
    notes = describe_classes(class_names)
    unread = [name for name in within if name not in names]
    if names[0] in within and unread:
        notes += (f"only {names[0]} and {names[1]} of {root} are read, not {shorten(unread)}",)
    if skipped:
        notes += (f"skipped, because they are not files or were read before: {shorten(skipped)}",)
    files = {part: [*chain(*classes.values())] for part, classes in parts.items()}
    labels = {}
    for part, classes in parts.items():
        counts = [len(paths) for paths in classes.values()]
        numbers = [class_names.index(name) for name in classes]
        labels[part] = np.repeat(numbers, counts)
    name = make_printable(root.resolve().name)
    return ClassFolders(name, check_names(class_names, path), files, labels, notes)


def _list_classes(folder: Path, skipped: list[str], endings: set[str], content: str) -> dict[str, list[str]]:
    """Return the sorted files of each class folder and of the folders in it, except for hidden ones.

    Links are followed, and each file and folder is read once. Files that were read before, and pipes and loops of links
    with one of the endings, are added to ``skipped``.
    """

    def fail(error):
        raise error

    classes = {name: [] for name in _subfolders(folder)}
    seen = set()
    for name, paths in classes.items():
        for walked, folders, files in os.walk(folder / name, onerror=fail, followlinks=True):
            if os.path.realpath(walked) in seen:
                folders.clear()
                continue
            seen.add(os.path.realpath(walked))
            folders[:] = sorted(inner for inner in folders if not _is_hidden(inner))
            for file in sorted(files):
                if Path(file).suffix.lower() not in endings or _is_hidden(file):
                    continue
                path = os.path.join(walked, file)
                real = os.path.realpath(path)
                is_odd = os.path.lexists(real) and not os.path.isfile(real)
                if is_odd or real in seen:
                    skipped.append(path)
                else:
                    paths.append(path)
                seen.add(real)
        if not paths:
            raise InputError(f"the class folder {folder / name} contains no {content}")
    if not classes:
        raise InputError(f"{folder} does not contain class folders of {content}s")
    return classes


def _subfolders(folder: Path) -> list[str]:
    return sorted(entry.name for entry in os.scandir(folder) if entry.is_dir() and not _is_hidden(entry.name))


def _is_hidden(name: str) -> bool:
    return name.startswith(".") or name == "__MACOSX"
