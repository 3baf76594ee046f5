"""The data set ``folder:PATH``: your own pictures in class folders."""

import os
from itertools import chain
from pathlib import Path

import numpy as np

from datasets.class_folders import find_classes
from datasets.data_set import DataSet, dataset
from datasets.pictures import ENDINGS, read_picture, resize_image
from errors import InputError
from utils import check_memory


@dataset("folder:")
def read_folder(path: str, data_dir: Path, image_size: tuple[int, int] | None) -> DataSet:
    """Read the pictures of class folders.

    image_size: height and width to which pictures are stretched, because they may differ in size.

    Raises InputError if the pictures cannot be used.
    """
    classes = find_classes(os.path.expanduser(path), ENDINGS)
    images = _read_pictures([*chain(*classes.files.values())], image_size)
    return classes.to_data_set(images)


def _read_pictures(paths: list[str], image_size: tuple[int, int] | None) -> np.ndarray:
    """Return uint8 (N, H, W) if every pixel of every picture is grey, else (N, H, W, 3)."""
    pictures = []
    for path in paths:
        pixels, _ = read_picture(path, exact=True)
        if image_size is not None:
            pixels = resize_image(pixels, *image_size)
        pictures.append(pixels)
        height, width = pictures[0].shape[:2]
        if len(pictures) == 1:  # at the end, all of them are copied to one array
            check_memory({f"{len(paths):,} images": 2 * len(paths) * height * width}, "--image-size")
        rows, columns = pixels.shape[:2]
        if (rows, columns) != (height, width):
            raise InputError(
                f"the pictures differ in size: {paths[0]} is {height}×{width} (height×width), {path} is "
                f"{rows}×{columns}; add --image-size H W, the size to which all are stretched",
            )
    if any(pixels.ndim == 3 for pixels in pictures):
        shape = (height, width, 3)
        pictures = [np.broadcast_to(np.atleast_3d(pixels), shape) for pixels in pictures]
    return np.stack(pictures)
