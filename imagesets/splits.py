"""Divisions of the images of a data set, with every class in proportion."""

from numbers import Integral

import numpy as np

from errors import InputError


def stratified_split(labels: np.ndarray, held_out: int | float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Split the images into training and validation: two sorted int64 index arrays without a common element.

    ``held_out`` is the size of the validation set: a count (int), or a fraction of all images (float, rounded to whole
    images). Each class has its share of the validation set to within one image; the largest remainders are rounded up.
    Raises InputError unless both sets contain an image of each class.
    """
    labels = np.asarray(labels)
    total = len(labels)
    is_count = isinstance(held_out, Integral)
    limit = total if is_count else 1
    if 0 < held_out < limit:
        count = held_out if is_count else round(held_out * total)
        validation = _draw(labels, count, seed)
        train = np.setdiff1d(np.arange(total), validation)
        if len(np.unique(labels[validation])) == len(np.unique(labels[train])) == len(np.unique(labels)):
            return train, validation
    raise InputError(
        f"cannot hold out {held_out} of {total} images for validation: both sets must contain an image of each class; "
        "--val-split is a count, a fraction between 0 and 1, or 0 to train without validation"
    )


def stratified_part(labels: np.ndarray, ratio: float, seed: int) -> np.ndarray:
    """Choose ``ratio`` of the images (0 < ratio ≤ 1), with every class in proportion; return sorted int64 indices.

    Raises InputError for another ratio, and if a class would lose its last image.
    """
    labels = np.asarray(labels)
    if 0 < ratio <= 1:
        part = _draw(labels, round(ratio * len(labels)), seed)
        if len(np.unique(labels[part])) == len(np.unique(labels)):
            return part
    raise InputError(
        f"cannot use {ratio} of {len(labels)} images: --ratio is above 0 and at most 1, and leaves an image of each "
        "class",
    )


def _draw(labels: np.ndarray, count: int, seed: int) -> np.ndarray:
    """Draw ``count`` indices, sorted, with each class in proportion by largest remainders (ties: the lower class).

    scikit-learn's ``train_test_split`` raises an error if the rest has less than an image per class, as with a ratio of
    1.
    """
    classes, sizes = np.unique(labels, return_counts=True)
    shares, remainders = np.divmod(sizes * count, len(labels))
    shares[np.argsort(-remainders, kind="stable")[: count - shares.sum()]] += 1
    rng = np.random.default_rng(seed)
    drawn = []
    for label, share in zip(classes, shares, strict=True):
        images = rng.permutation(np.flatnonzero(labels == label))
        drawn.append(images[:share])
    return np.sort(np.concatenate(drawn))
