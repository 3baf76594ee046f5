"""Files in class folders, a folder for each class, which has its name; and the data set ``folder:PATH`` of pictures."""

import os
from itertools import chain
from operator import attrgetter
from pathlib import Path
from typing import NamedTuple

import numpy as np

from errors import InputError, make_printable
from imagesets.data_set import UNLABELLED, DataSet, dataset, number_classes
from imagesets.pictures import ENDINGS, GROUNDS, TransparentError, read_picture, resize_image
from utils import check_memory

PARTS = "train", "val", "test"
BY_PARTS = attrgetter("parts")  # the order of paths on Linux; Windows ignores the case


class ClassFolders(NamedTuple):
    """The files of class folders, part after part: "train" and, if they exist, "val", files without a class, "test".

    ``classes``: {part: for each of its files, the name of the class folder}. ``unlabelled``: number of files without a
    class.
    """

    path: str
    files: list[str]
    classes: dict[str, list[str]]
    unlabelled: int

    def to_data_set(self, images: np.ndarray) -> DataSet:
        """Return the data set of the images of all files."""
        labels = {part: np.array(names) for part, names in self.classes.items()}
        numbered = number_classes(self.path, labels)
        count = len(numbered["train_labels"]) + self.unlabelled
        numbered |= {"unlabelled": self.unlabelled}
        name = make_printable(Path(self.path).resolve().name)
        test_images = images[count:] if "test" in labels else None
        return DataSet(name, images[:count], test_images=test_images, **numbered)


def find_classes(path: str) -> ClassFolders:
    """Find the files of class folders in ``path``, or in its folder ``train`` and, if they exist, ``val`` and ``test``.

    A folder ``train`` is a part if it contains folders. The files in a folder ``unlabelled`` beside it have no class.

    Raises InputError for a folder that does not exist, cannot be read or has no pictures.
    """
    if not os.path.isdir(path):  # also False for impossible and empty names
        raise InputError(f"there is no folder {path!r}")
    root = Path(path)
    folders = {"train": root}
    without_class = []
    if (root / "train").is_dir() and _list_folders(root / "train"):
        folders = {part: root / part for part in PARTS if (root / part).is_dir()}
        if (root / UNLABELLED).is_dir():
            without_class = _list_files(root / UNLABELLED)
    files = {}
    classes = {}
    for part, folder in folders.items():
        files[part], classes[part] = _list_classes(folder)
    tested = files.pop("test", [])
    in_order = [*chain.from_iterable(files.values()), *without_class, *tested]
    return ClassFolders(path, in_order, classes, len(without_class))


def _list_classes(folder: Path) -> tuple[list[str], list[str]]:
    """Return the files of ``_list_files`` in all class folders, and the class of each."""
    files = []
    classes = []
    for class_folder in _list_folders(folder):
        of_class = _list_files(class_folder)
        files += of_class
        classes += [class_folder.name] * len(of_class)
    if not files:
        raise InputError(f"{folder} does not contain class folders of pictures ({', '.join(sorted(ENDINGS))})")
    return files, classes


def _list_files(folder: Path) -> list[str]:
    """Return the files with these endings in a folder and in its subfolders, but for hidden ones.

    Raises InputError if there are none, for a link to a folder below the folder, and for pipes and broken links.
    """
    files = []
    for path in sorted(folder.rglob("*"), key=BY_PARTS):
        if any(map(_is_hidden, path.relative_to(folder).parts)):
            continue
        if path.is_symlink() and path.is_dir():
            raise InputError(f"{path} is a link to a folder; only a class folder itself may be a link")
        if path.suffix.lower() not in ENDINGS:
            continue
        if not path.is_file():
            raise InputError(f"{path} is not a file")
        files.append(str(path))
    if not files:
        raise InputError(f"the folder {folder} contains no file with the ending {' or '.join(sorted(ENDINGS))}")
    return files


def _list_folders(folder: Path) -> list[Path]:
    folders = (path for path in folder.iterdir() if path.is_dir() and not _is_hidden(path.name))
    return sorted(folders, key=BY_PARTS)


def _is_hidden(name: str) -> bool:
    return name.startswith(".") or name == "__MACOSX"


@dataset("folder:")
def read_folder(path: str, data_dir: Path, image_size: tuple[int, int] | None, ground: str | None = None) -> DataSet:
    """Read the pictures of class folders.

    Args:
        image_size: height and width to which pictures are stretched, because they may differ in size.
        ground: the colour behind transparent parts, one of ``GROUNDS``. None: transparent pictures are refused.

    Raises InputError if the pictures cannot be used.
    """
    classes = find_classes(os.path.expanduser(path))
    return classes.to_data_set(_read_pictures(classes.files, image_size, ground))


def _read_pictures(paths: list[str], image_size: tuple[int, int] | None, ground: str | None) -> np.ndarray:
    """Return uint8 (N, H, W) if every pixel of every picture is grey, else (N, H, W, 3)."""
    pictures = []
    largest = 0
    transparent = []
    for path in paths:
        try:
            pixels = read_picture(path, ground)
        except TransparentError:  # all of them are counted
            transparent.append(path)
            continue
        if image_size is not None:
            pixels = resize_image(pixels, *image_size)
        pictures.append(pixels)
        height, width = pictures[0].shape[:2]
        rows, columns = pixels.shape[:2]
        if (rows, columns) != (height, width):
            raise InputError(
                f"the pictures differ in size: {paths[0]} is {height}×{width} (height×width), {path} is "
                f"{rows}×{columns}; add --image-size H W, the size to which all are stretched"
            )
        if pixels.size > largest:  # the first picture, or the first in colour; at the end, all are copied to one array
            largest = pixels.size
            what = f"{len(paths):,} images of {height}×{width} pixels"
            check_memory(what if image_size is None else f"--image-size: {what}", 2 * len(paths) * largest)
    if transparent:
        count = f"{len(transparent):,} of {len(paths):,} pictures are transparent in places, the first {transparent[0]}"
        raise InputError(f"{count}; add --ground {' or --ground '.join(GROUNDS)}, the colour behind them")
    if any(pixels.ndim == 3 for pixels in pictures):
        shape = (height, width, 3)
        pictures = [np.broadcast_to(np.atleast_3d(pixels), shape) for pixels in pictures]
    return np.stack(pictures)
