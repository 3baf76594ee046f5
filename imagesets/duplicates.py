"""Equal images of a data set: in several parts, or with different labels."""

from collections import defaultdict
from collections.abc import Iterable, Iterator

import numpy as np

from imagesets.data_set import DataSet, list_first

Groups = list[list[int]]  # the indices of equal images, for each image that there is more than once


def find_equal(images: Iterable[np.ndarray]) -> Groups:
    """Return the groups of equal images, in the order of their first images."""
    found = defaultdict(list)
    for index, image in enumerate(images):
        found[hash(image.tobytes())].append(index)
    return [group for group in found.values() if len(group) > 1]


def note_copies(
    part: str, images: set[int], others: set[int], names: str, groups: Groups, data: DataSet
) -> Iterator[str]:
    """Yield a note if images of a part are also among other images.

    Args:
        images, others: the indices of both, as in ``DataSet.files``.
        names: what the others are, such as "training".
        groups: those of ``find_equal`` for the training and then the test images of ``data``.
    """
    shared = [group for group in groups if images.intersection(group) and others.intersection(group)]
    if shared:
        copies = sum(len(images.intersection(group)) for group in shared)
        yield f"{copies:,} of {len(images):,} {part} images are also {names} images{_name_files(shared, data)}"


def note_labels(labels: np.ndarray, groups: Groups, data: DataSet) -> Iterator[str]:
    """Yield a note if equal images have different labels.

    labels: of all images, -1 for images without a label. groups, data: as in ``note_copies``.
    """
    several = [group for group in groups if len({*labels[group]} - {-1}) > 1]
    if several:
        found = dict.fromkeys(labels[several[0]])
        names = [repr(data.class_names[label]) for label in found if label >= 0]
        texts = f"{len(several):,}, the first as {' and '.join(names)}{_name_files(several, data)}"
        yield f"equal images with different labels: {texts}"


def _name_files(groups: Groups, data: DataSet) -> str:
    """Return the files of equal images, "" if the images are not files."""
    if not data.files or not isinstance(data.files[0], str):
        return ""
    texts = [list_first([str(data.files[index]) for index in group], " = ") for group in groups]
    return f": {list_first(texts)}"
