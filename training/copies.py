"""Moved copies of the training images, from which a decision stage learns beside the plain ones."""

import tempfile

from datasets.augmentation import moved

MOST_IN_MEMORY = 256 * 2**20  # bytes that the spikes of all copies may take; more lie in a file


class MovedCopies:
    """The copies of an ``Augmentation``, each as latencies that are made where they are asked for, a slice at a time.

    Args:
        images: the plain ones, uint8 (N, H, W) or (N, H, W, 3).
        augmentation, seed: see ``datasets.augmentation.moved``.
        encode: makes latencies uint8 (n, C, H, W) of images.
        neurons: that the decision stage reads of each image.
        folder: where the spikes lie if they are too many for the memory; gone when the program ends, in any way.
    """

    def __init__(self, images, augmentation, seed, encode, neurons, folder):
        self._images, self._augmentation, self._seed, self._encode = images, augmentation, seed, encode
        self._folder = folder if augmentation.copies * len(images) * -(-neurons // 8) > MOST_IN_MEMORY else None

    def __len__(self):
        return self._augmentation.copies

    def __iter__(self):
        return (MovedCopy(self, number) for number in range(1, len(self) + 1))

    def file(self, number):
        """A file for the spikes of one copy, which has no name; None for the memory."""
        return self._folder and tempfile.TemporaryFile(dir=self._folder, buffering=0)


class MovedCopy:
    """The latencies of one copy, by slices."""

    def __init__(self, copies, number):
        self._copies, self._number = copies, number

    def __len__(self):
        return len(self._copies._images)

    def __getitem__(self, part):
        first, last, _ = part.indices(len(self))
        copies = self._copies
        images = moved(copies._images[first:last], copies._augmentation, self._number, copies._seed, first)
        return copies._encode(images)
