"""The data set ``folder:PATH``: pictures in class folders, a folder for each class, which has its name."""

import os
from operator import attrgetter
from pathlib import Path

import numpy as np

from errors import InputError, make_printable
from imagesets.data_set import UNLABELLED, DataSet, Size, dataset, list_first, number_classes
from imagesets.pictures import ENDINGS, GROUNDS, TransparentError, note_stretch, read_picture, resize_image
from utils import check_memory

FOLDERS = "train", "val", UNLABELLED, "test"  # in the order of their images
MEANT = {"training": "train", "valid": "val", "validation": "val", "testing": "test", "unlabeled": UNLABELLED}
BY_PARTS = attrgetter("parts")  # the order of paths on Linux; Windows ignores the case


@dataset("folder:")
def read_folder(path: str, data_dir: Path, image_size: Size | None, ground: str | None = None) -> DataSet:
    """Read the pictures of class folders, which are in ``path`` or in its parts, see ``find_parts``.

    Args:
        image_size: height and width to which pictures are stretched, because they may differ in size.
        ground: the colour behind transparent parts, one of ``GROUNDS``. None: transparent pictures are refused.

    Raises InputError if the folders or the pictures cannot be used.
    """
    path = os.path.expanduser(path)
    folders, notes = find_parts(path)
    files = []
    classes = {}
    for part, folder in folders.items():
        inside = [] if part == UNLABELLED else _list_folders(folder)
        of_part = []
        for class_folder in inside or [folder]:  # a folder without folders is one class
            of_class = _list_files(class_folder)
            files += of_class
            of_part += [class_folder.name] * len(of_class)
        classes[part] = np.array(of_part)
    unlabelled = len(classes.pop(UNLABELLED, ()))
    numbered = number_classes(path, classes)
    names = [Path(file).relative_to(path).as_posix() for file in files]
    images, of_images = _read_pictures(files, names, image_size, ground)
    count = len(numbered["train_labels"]) + unlabelled
    test_images = images[count:] if "test" in classes else None
    numbered |= {"unlabelled": unlabelled, "files": names}
    name = make_printable(Path(path).resolve().name)
    return DataSet(name, images[:count], test_images=test_images, notes=(*notes, *of_images), **numbered)


def find_parts(path: str) -> tuple[dict[str, Path], tuple[str, ...]]:
    """Return {part: folder} of ``FOLDERS``, and lines about the folders.

    The parts are folders in ``path`` if its folder ``train`` contains folders; otherwise, ``path`` is the part "train".
    The files in and below ``unlabelled`` have no class.

    Raises InputError if there is no such folder, and for a folder whose name means a part that would not be read.
    """
    if not os.path.isdir(path):  # also False for impossible and empty names
        raise InputError(f"there is no folder {path!r}")
    root = Path(path)
    within = {folder.name: folder for folder in _list_folders(root)}
    has_parts = "train" in within and bool(_list_folders(within["train"]))
    for name, folder in within.items():
        part = MEANT.get(name.lower(), name.lower())
        is_like_part = part in FOLDERS and (has_parts or part == UNLABELLED or _list_folders(folder))
        if is_like_part and name != part:
            raise InputError(f"{folder} is not read as a part of a data set; rename it to {part}")
        if is_like_part and not has_parts:
            raise InputError(f"{folder} is a part of a data set only beside class folders in {root / 'train'}")
    if not has_parts:
        return {"train": root}, ()
    others = [name for name in within if name not in FOLDERS]
    notes = [f"not read, because it is beside the folder train: {make_printable(name)}" for name in others]
    return {part: within[part] for part in FOLDERS if part in within}, tuple(notes)


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
    return sorted((path for path in folder.iterdir() if path.is_dir() and not _is_hidden(path.name)), key=BY_PARTS)


def _is_hidden(name: str) -> bool:
    return name.startswith(".") or name == "__MACOSX"


def _read_pictures(
    paths: list[str], names: list[str], image_size: Size | None, ground: str | None
) -> tuple[np.ndarray, list[str]]:
    """Return uint8 (N, H, W) if every pixel of every picture is grey, else (N, H, W, 3); and notes on the pictures.

    names: of the pictures in the notes.

    Raises InputError for pictures that cannot be read, and for those that need --image-size or --ground, with both
    flags if the first pictures show it.
    """
    pictures: list[np.ndarray] = []
    sizes = set()
    largest = 0
    damaged = []
    transparent = []
    other_size = ""
    for path in paths:
        try:
            pixels = read_picture(path, ground)
        except TransparentError:  # all of them are counted
            transparent.append(path)
            pixels = read_picture(path, GROUNDS[0])  # for its size
        except InputError as error:  # these, too
            damaged.append(str(error))
            continue
        if not pictures:
            first = path
        sizes.add(pixels.shape[:2])
        if image_size is not None:
            pixels = resize_image(pixels, *image_size)
        pictures.append(pixels)
        height, width = pictures[0].shape[:2]
        rows, columns = pixels.shape[:2]
        if (rows, columns) != (height, width) and not other_size:
            other_size = (
                f"the pictures differ in size: {first} is {height}×{width} (height×width), {path} is "
                f"{rows}×{columns}; add --image-size H W, the size to which all are stretched"
            )
        if other_size and not transparent and not damaged:  # the others are not read, which may take minutes
            raise InputError(other_size)
        if pixels.size > largest:  # the first picture, or the first in colour; at the end, all are copied to one array
            largest = pixels.size
            what = f"{len(paths):,} images of {height}×{width} pixels"
            check_memory(what if image_size is None else f"--image-size: {what}", 2 * len(paths) * largest)
    reasons = []
    if damaged:
        reasons.append(f"{len(damaged):,} of {len(paths):,} pictures cannot be used: {list_first(damaged, '; ')}")
    if transparent:
        reasons.append(
            f"{len(transparent):,} of {len(paths):,} pictures are transparent in places, the first {transparent[0]}; "
            f"add --ground {' or --ground '.join(GROUNDS)}, the colour behind them"
        )
    if reasons:
        raise InputError("; ".join(filter(None, [*reasons, other_size])))
    notes = [note_stretch(sizes)] if image_size and sizes != {image_size} else []
    in_colour = [name for name, pixels in zip(names, pictures, strict=True) if pixels.ndim == 3]
    if in_colour:
        pictures = [np.broadcast_to(np.atleast_3d(pixels), (height, width, 3)) for pixels in pictures]
        if 2 * len(in_colour) < len(paths):
            notes.append(
                f"{len(in_colour):,} of {len(paths):,} pictures are in colour, so all are read in colour; to read all "
                f"as grey images, make these grey: {list_first(in_colour)}"
            )
    return np.stack(pictures), notes
