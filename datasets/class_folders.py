"""Files in class folders, a folder for each class, which has its name; and the data set ``folder:PATH`` of pictures."""

import os
from pathlib import Path
from typing import NamedTuple

import numpy as np

from datasets.data_set import DataSet, Images, dataset, number_classes
from datasets.pictures import ENDINGS, read_picture, resize_image
from errors import InputError, make_printable
from utils import check_memory


class ClassFolders(NamedTuple):
    """The files of class folders: those of the training set, then those of the test set.

    ``count``: number of the training files. ``classes``: for each file, the name of its class folder.
    """

    path: str
    files: list[str]
    classes: list[str]
    count: int

    def to_data_set(self, images: Images, *notes: str) -> DataSet:
        """Return the data set of the images of all files."""
        labels = {"train": np.array(self.classes[: self.count])}
        test_images = None
        if self.count < len(self.files):
            labels["test"] = np.array(self.classes[self.count :])
            test_images = images[self.count :]
        class_names, numbers = number_classes(self.path, labels)
        return DataSet(
            make_printable(Path(self.path).resolve().name),
            images[: self.count],
            numbers["train"],
            class_names,
            test_images,
            numbers.get("test"),
            notes,
        )


def find_classes(path: str, endings: set[str], parts: tuple[str, str] = ("train", "test")) -> ClassFolders:
    """Find the files of class folders in ``path``, or in its folders ``train`` and, if it exists, ``test``.

    Args:
        endings: the endings of the files.
        parts: the names of the folders of the two parts.

    Raises InputError for a folder that does not exist, cannot be read or has no such files.
    """
    if not os.path.isdir(path):  # also False for impossible and empty names
        raise InputError(f"there is no folder {path!r}")
    root = Path(path)
    train, test = parts
    within = [folder.name for folder in _list_folders(root)]
    if test in within and train not in within:
        raise InputError(f"{root} has a folder {test}, but no folder {train}")
    files, classes = _list_files(root / train if train in within else root, endings)
    count = len(files)
    if test in within:
        test_files, test_classes = _list_files(root / test, endings)
        files += test_files
        classes += test_classes
    return ClassFolders(path, files, classes, count)


def _list_files(folder: Path, endings: set[str]) -> tuple[list[str], list[str]]:
    """Return the files with these endings in all class folders and in their subfolders, and the class of each.

    Hidden files and folders are left out. Raises InputError for a class without files, for a link to a folder below a
    class folder, and for pipes and broken links.
    """
    files = []
    classes = []
    for class_folder in _list_folders(folder):
        count = len(files)
        for path in sorted(class_folder.rglob("*")):
            if any(map(_is_hidden, path.relative_to(class_folder).parts)):
                continue
            if path.is_symlink() and path.is_dir():
                raise InputError(f"{path} is a link to a folder; only a class folder itself may be a link")
            if path.suffix.lower() not in endings:
                continue
            if not path.is_file():
                raise InputError(f"{path} is not a file")
            files.append(str(path))
            classes.append(class_folder.name)
        if len(files) == count:
            raise InputError(f"the class folder {class_folder} contains no file with the ending {_list(endings)}")
    if not files:
        raise InputError(f"{folder} does not contain class folders of files with the ending {_list(endings)}")
    return files, classes


def _list_folders(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.is_dir() and not _is_hidden(path.name))


def _is_hidden(name: str) -> bool:
    return name.startswith(".") or name == "__MACOSX"


def _list(endings: set[str]) -> str:
    return " or ".join(sorted(endings))


@dataset("folder:")
def read_folder(path: str, data_dir: Path, image_size: tuple[int, int] | None) -> DataSet:
    """Read the pictures of class folders.

    image_size: height and width to which pictures are stretched, because they may differ in size.

    Raises InputError if the pictures cannot be used.
    """
    classes = find_classes(os.path.expanduser(path), ENDINGS)
    return classes.to_data_set(_read_pictures(classes.files, image_size))


def _read_pictures(paths: list[str], image_size: tuple[int, int] | None) -> np.ndarray:
    """Return uint8 (N, H, W) if every pixel of every picture is grey, else (N, H, W, 3)."""
    pictures = []
    largest = 0
    for path in paths:
        pixels = read_picture(path)
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
    if any(pixels.ndim == 3 for pixels in pictures):
        shape = (height, width, 3)
        pictures = [np.broadcast_to(np.atleast_3d(pixels), shape) for pixels in pictures]
    return np.stack(pictures)
