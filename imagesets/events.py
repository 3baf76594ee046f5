"""The data set ``events:PATH``: recordings of event cameras in class folders."""

import hashlib
import os
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from errors import InputError
from imagesets.class_folders import find_classes
from imagesets.data_set import DataSet, dataset
from imagesets.pictures import MAX_SIDE
from imagesets.recordings import Recordings, read_events

ENDINGS = {".bin", ".npy", ".npz"}
N_MNIST_SIZE = 34, 34


def open_recordings(paths: Iterable[str | Path], image_size: tuple[int, int]) -> Recordings:
    """Return recordings in single files. Raises InputError if a file is missing or has another ending.

    image_size: height and width of the sensor.
    """
    names = list(map(str, paths))
    for name in names:
        if not os.path.isfile(name) or Path(name).suffix.lower() not in ENDINGS:
            raise InputError(f"no recording of events ({', '.join(sorted(ENDINGS))}) at {name}")
    return Recordings(names, None, image_size)


@dataset("events:")
def read_recordings(path: str, data_dir: Path, image_size: tuple[int, int] | None) -> DataSet:
    """Check the files of recordings in class folders.

    image_size: height and width of the sensor. None: 34×34 if all files are in N-MNIST's format, else the largest
        coordinates + 1 in both parts.

    Raises InputError for files that cannot be used.
    """
    path = os.path.expanduser(path)
    is_capital = os.path.isdir(path) and "Train" in os.listdir(path)  # as in N-MNIST
    parts = ("Train", "Val", "Test") if is_capital else ("train", "val", "test")
    classes = find_classes(path, ENDINGS, parts)
    paths = classes.files
    if image_size is None and all(file.lower().endswith(".bin") for file in paths):
        image_size = N_MNIST_SIZE
    checksums = np.empty((len(paths), 32), np.uint8)
    largest = (0, 0)
    for checksum, file in zip(checksums, paths, strict=True):
        checksum[:] = list(hashlib.sha256(Path(file).read_bytes()).digest())
        events = read_events(file, image_size or (MAX_SIDE, MAX_SIDE))
        largest = np.maximum(largest, (events.y.max(), events.x.max()))
    height, width = image_size = tuple(image_size or (largest + 1).tolist())
    note = f"recordings of events; the sensor has {height}×{width} pixels (height×width)"
    return classes.to_data_set(Recordings(paths, checksums, image_size), note)
