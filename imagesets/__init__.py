"""Image data sets in memory: ``load`` reads a data set by its name and checks it.

To add a data set, write a function with the decorator ``@dataset`` in its own file, and import the file here.
``data/README.md`` describes the data sets.
"""

import math
import os
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from inspect import signature
from itertools import chain
from pathlib import Path

import numpy as np

from errors import InputError, refuse_result
from imagesets import class_folders, digits, npz, published  # noqa: F401  they register their data sets
from imagesets.data_set import DATASETS, DataSet, Size, find_reader, list_datasets
from imagesets.data_set import dataset as dataset  # for users' own files
from imagesets.duplicates import find_equal, note_copies, note_labels
from imagesets.pictures import MAX_SIDE, note_stretch, resize_images
from imagesets.splits import stratified_split
from utils import check_memory

DATA_DIR = Path(__file__).resolve().parent.parent / "data"
HELD_OUT = 6  # without a test part, one training image of six becomes a test image
HELD_OUT_SEED = 0  # not the run's seed, so that no network is tested on images that another run trained it on


def load(
    name: str,
    data_dir: str | Path = DATA_DIR,
    image_size: Size | None = None,
    ground: str | None = None,
    holds_out: bool = True,
) -> DataSet:
    """Load a data set by its name: one of ``DATASETS``, ``folder:PATH``, or ``FILE.npz``.

    The published data sets are grey and have 28×28 pixels. If an archive is missing in ``data_dir``, it is downloaded.
    If a data set has no test part, a sixth of its images is held out: stratified, and always the same images.

    Args:
        data_dir: folder of the published data sets.
        image_size: height and width to which all images are stretched; required for pictures of different sizes.
        ground: the colour behind transparent parts of pictures, "white" or "black". None: they are refused.
        holds_out: False: a data set without a test part keeps all its images, and has no test images.

    Raises InputError for an unknown name, and for files that are missing, damaged or unusable.
    """
    if image_size is not None and not all(1 <= side <= MAX_SIDE for side in image_size):
        raise InputError(
            f"--image-size must be a height and a width from 1 to {MAX_SIDE} pixels, not {tuple(image_size)}"
        )
    registered = find_reader(name)
    if registered is None:
        hint = f"; a folder is folder:{name}" if os.path.isdir(name) else ""
        raise InputError(f"unknown --dataset {name!r}; choose from {list_datasets()}{hint}")
    argument = name.removeprefix(registered) if registered.endswith(":") else name
    read: Callable[..., DataSet] = DATASETS[registered]
    if ground is not None:
        if "ground" not in signature(read).parameters:
            raise InputError(f"--ground is for pictures in class folders, folder:PATH, not for {name}")
        read = partial(read, ground=ground)
    data = read(argument, Path(os.path.expanduser(data_dir)), image_size)
    if not isinstance(data, DataSet):
        refuse_result(DATASETS[registered], "a DataSet", data)
    if data.test_images is None and holds_out:
        data = _hold_out(data)
    if data.train_images.min() == data.train_images.max():
        raise InputError(f"all pixels of the training images of {name} are {data.train_images.min()}")
    if image_size not in (None, data.image_size):
        data = _resize(data, image_size)
    return replace(data, notes=(*data.notes, *_note_duplicates(data)))


def _hold_out(data: DataSet) -> DataSet:
    """Return the data set with a sixth of its training images as the test part; the validation images stay, as do those
    without labels.

    Of few images, one of each class becomes a test image.
    """
    count = len(data.train_labels) - data.val_count
    labels = data.train_labels[:count]
    sizes = np.bincount(labels, minlength=data.num_classes)
    if sizes.min() < 2:
        raise InputError(
            f"{data.name} has no test part, and its class {data.class_names[sizes.argmin()]!r} has only one image; "
            "add a test part, or at least two images of each class"
        )
    tested = max(math.ceil(len(labels) / HELD_OUT), data.num_classes)
    train, test = stratified_split(labels, tested, HELD_OUT_SEED)
    note = f"no test part: {len(test):,} of {len(labels):,} images are held out for the test, always the same images"
    kept = np.concatenate([train, np.arange(count, len(data.train_images))])
    files = data.files or range(len(data.train_images))
    return replace(
        data,
        train_images=data.train_images[kept],
        train_labels=np.concatenate([labels[train], data.train_labels[count:]]),
        test_images=data.train_images[test],
        test_labels=labels[test],
        files=[files[index] for index in (*kept, *test)],
        notes=(*data.notes, note),
    )


def _resize(data: DataSet, image_size: Size) -> DataSet:
    """Return the data set with images that are stretched to a height and width."""
    images, _ = data.test_part
    count = len(data.train_images) + len(images)
    check_memory(f"--image-size for {count:,} images", count * math.prod(image_size) * data.colours)
    train = resize_images(data.train_images, *image_size)
    test = resize_images(images, *image_size)
    notes = *data.notes, note_stretch({data.image_size})
    return replace(data, train_images=train, test_images=test, notes=notes)


def _note_duplicates(data: DataSet) -> list[str]:
    """Return notes on copies of images in later parts, and on copies with other labels.

    Of a validation part that a run draws, ``training.data.Splits`` notes the copies.
    """
    images, of_images = data.test_part
    groups = find_equal(chain(data.train_images, images))
    labels = np.concatenate([data.train_labels, np.full(data.unlabelled, -1), of_images])
    end = len(data.train_labels)
    validation = {*range(end - data.val_count, end)}
    known = {*range(len(data.train_images))}
    both = "training or validation" if data.val_count else "training"
    return [
        *note_copies("validation", validation, known - validation, "training", groups, data),
        *note_copies("test", {*range(len(labels))} - known, known, both, groups, data),
        *note_labels(labels, groups, data),
    ]
