"""Divisions of the images of a data set, with every class in proportion."""

from numbers import Integral

import numpy as np

from errors import InputError


def stratified_split(labels: np.ndarray, held_out: int | float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Split the images into training and validation: two sorted int64 index arrays without a common element.

    ``held_out`` is the size of the validation set: a count (int), or a fraction of all images (float, rounded to whole
    images). Each class has its share of the validation set to within one image; the largest remainders are rounded up.
    But each class of two or more images has at least one image in both sets, at the expense of the classes with the
    most images there. A single image is a training image. Raises InputError if the sets are too small for that.
    """
    total = len(labels)
    is_count = isinstance(held_out, Integral)
    limit = total if is_count else 1
    if 0 < held_out < limit:
        count = round(held_out if is_count else held_out * total)
        _, sizes = np.unique(labels, return_counts=True)
        shares = _share(sizes, count)
        shares = shares.clip(sizes >= 2, sizes - 1)
        while shares.sum() > count and shares.max() > 1:
            shares[shares.argmax()] -= 1
        while shares.sum() < count and (sizes - shares).max() > 1:
            shares[(sizes - shares).argmax()] += 1
        if shares.sum() == count:
            validation = _draw(labels, shares, seed)
            return np.setdiff1d(np.arange(total), validation), validation
    raise InputError(
        f"cannot hold out {held_out} of {total} images for validation: each class of two or more images must be in "
        "both sets; --val-split is a count, a fraction between 0 and 1, or 0 to train without validation"
    )


def stratified_part(labels: np.ndarray, ratio: float, seed: int) -> np.ndarray:
    """Choose ``ratio`` of the images (0 < ratio ≤ 1), with every class in proportion; return sorted int64 indices.

    Raises InputError for another ratio, and if a class would lose its last image.
    """
    if 0 < ratio <= 1:
        _, sizes = np.unique(labels, return_counts=True)
        shares = _share(sizes, round(ratio * len(labels)))
        if shares.all():
            return _draw(labels, shares, seed)
    raise InputError(
        f"cannot use {ratio} of {len(labels)} images: --ratio is above 0 and at most 1, and leaves an image of each "
        "class",
    )


def choose_labelled(labels: np.ndarray, count: int | float, seed: int) -> np.ndarray:
    """Choose the images whose labels a network learns from; return sorted int64 indices.

    ``count`` is their number (int): the same number of each class, to within one; a class with fewer images gives all
    of them, and the other classes give the rest. The images of a smaller number are among those of a larger number
    with the same seed. Or it is the fraction of each class (float), by largest remainders: of a larger fraction, a
    class may have one image less, so only numbers are sure to be nested.

    Raises InputError if there are fewer images, and if a class would have none.
    """
    classes, sizes = np.unique(labels, return_counts=True)
    is_count = isinstance(count, Integral)
    if not 0 < count <= (len(labels) if is_count else 1):
        raise InputError(
            f"--labels must be {len(classes)} to {len(labels):,}, the number of training images, or a fraction up to "
            f"1, not {count}; without labels, --epochs 0 skips the phase that needs them"
        )
    if is_count:
        shares = np.zeros_like(sizes)
        rest = count
        for done, place in enumerate(np.argsort(sizes, kind="stable")):
            shares[place] = min(sizes[place], rest // (len(sizes) - done))
            rest -= shares[place]
    else:
        shares = _share(sizes, round(count * len(labels)))
    if not shares.all():
        raise InputError(f"--labels {count} of {len(labels):,} images leaves a class of {len(classes)} without a label")
    return _draw(labels, shares, seed)


def choose_evenly(count: int, most: int) -> np.ndarray:
    """Return at most ``most`` of the indices 0 to count - 1, evenly spaced, int64.

    The first images are often of the first classes only.
    """
    return np.linspace(0, count - 1, min(most, count)).astype(np.int64)


def _share(sizes: np.ndarray, count: int) -> np.ndarray:
    """Return how many of ``count`` images are of each class, by largest remainders (ties: the lower class).

    scikit-learn's ``train_test_split`` raises an error if the rest has less than an image per class, as with a ratio of
    1.
    """
    shares, remainders = np.divmod(sizes * count, sizes.sum())
    shares[np.argsort(-remainders, kind="stable")[: count - shares.sum()]] += 1
    return shares


def _draw(labels: np.ndarray, shares: np.ndarray, seed: int) -> np.ndarray:
    """Draw indices, sorted: of each class its share."""
    rng = np.random.default_rng(seed)
    drawn = []
    for label, share in zip(np.unique(labels), shares, strict=True):
        drawn.append(rng.permutation(np.flatnonzero(labels == label))[:share])
    return np.sort(np.concatenate(drawn))
