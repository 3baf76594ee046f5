"""Equal images of a data set: in several parts, or with different labels."""

from collections.abc import Iterator, Sequence

import numpy as np


def hash_images(images: np.ndarray) -> np.ndarray:
    """Return 64 bits of each image, int64 (N,), which are the same for equal images in one process."""
    return np.array([hash(image.tobytes()) for image in images], np.int64)


def note_copies(part: str, images: np.ndarray, others: np.ndarray, names: str) -> Iterator[str]:
    """Yield a note if images of a part are also among other images.

    images, others: what ``hash_images`` returns. names: what the others are, such as "training".
    """
    copies = np.isin(images, others).sum()
    if copies:
        yield f"{copies:,} of {len(images):,} {part} images are also {names} images"


def note_labels(images: np.ndarray, labels: np.ndarray, class_names: Sequence[str]) -> Iterator[str]:
    """Yield a note if equal images have different labels.

    images: what ``hash_images`` returns. labels: int64 (N,).
    """
    order = np.argsort(images, kind="stable")
    images = images[order]
    labels = labels[order]
    is_other = (images[1:] == images[:-1]) & (labels[1:] != labels[:-1])
    pairs = np.flatnonzero(is_other)
    if len(pairs):
        count = len(np.unique(images[pairs]))
        first = pairs[order[pairs].argmin()]  # in the order of the data set: hashes differ in each process
        names = [repr(class_names[label]) for label in labels[first : first + 2]]
        yield f"equal images with different labels: {count:,}, the first as {' and '.join(names)}"
