"""Moved copies of training images, drawn from a seed.

The result for an image depends on the seed and on the image's position in the data set. It does not depend on the
number of threads or on how many images are passed at a time: ``first`` is the position of the first of them.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch

from engine.augmentation import Augmentation


@dataclass(frozen=True)
class MovedCopy:
    """Moved images as latencies uint8 (N, C, H, W), which are computed when a slice of them is read.

    Args:
        images: uint8 (N, H, W) or (N, H, W, 3).
        augmentation, number, seed: see ``move_images``.
        encode: computes latencies uint8 (n, C, H, W) from images.
    """

    images: np.ndarray
    augmentation: Augmentation
    number: int
    seed: int
    encode: Callable[[np.ndarray], torch.Tensor]

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, part: slice) -> torch.Tensor:
        return self.encode(self.move(part))

    def move(self, part: slice) -> np.ndarray:
        """Return a slice of the moved images."""
        first, _, _ = part.indices(len(self.images))
        return move_images(self.images[part], self.augmentation, self.number, self.seed, first)


def make_copies(
    images: np.ndarray, augmentation: Augmentation, seed: int, encode: Callable[[np.ndarray], torch.Tensor]
) -> list[MovedCopy]:
    """Return the moved copies of an augmentation. The arguments are those of ``MovedCopy``."""
    return [MovedCopy(images, augmentation, number, seed, encode) for number in range(1, augmentation.copies + 1)]


def move_images(images: np.ndarray, augmentation: Augmentation, copy: int, seed: int, first: int = 0) -> np.ndarray:
    """Return the images of copy number ``copy``, from 1 on. Copy 0 contains the images themselves.

    images: uint8 (N, H, W) or (N, H, W, 3). first: position of the first image in the data set. Returns the same shape.
    """
    if copy == 0:
        return images
    # row by row, so that the numbers for an image do not depend on the number of images
    draws = np.random.default_rng([seed, copy]).random((first + len(images), 6))[first:]
    largest = np.array([getattr(augmentation, name) for name in ("turn", "shift", "shift", "scale", "shear")])
    turn, down, right, scale, shear = (largest * (2 * draws[:, :5] - 1)).T
    is_mirrored = augmentation.flip & (draws[:, 5] < 0.5)
    return warp(images, compute_movements(turn, down, right, 1 + scale, shear, is_mirrored))


def compute_movements(turn, down, right, size, shear, mirrored) -> np.ndarray:
    """Compute the matrices float64 (N, 2, 3) for ``warp``, which map a position in a moved image to the original.

    The image is mirrored left to right about its centre, sheared (a point y pixels below the centre moves ``shear`` · y
    pixels to the right), scaled by ``size``, rotated counterclockwise by ``turn`` degrees, and shifted by ``down`` and
    ``right`` pixels, in this order. Each argument is an array (N,).
    """
    radians = np.radians(turn)
    cos = np.cos(radians) / size
    sin = np.sin(radians) / size
    side = np.where(mirrored, -1.0, 1.0)
    result = np.empty((len(radians), 2, 3))
    result[:, 0, :2] = np.stack([cos, sin], -1)
    result[:, 1, :2] = np.stack([side * (-sin - shear * cos), side * (cos - shear * sin)], -1)
    result[:, :, 2] = -result[:, :, 0] * down[:, None] - result[:, :, 1] * right[:, None]
    return result


def warp(images: np.ndarray, movements: np.ndarray) -> np.ndarray:
    """Move each of the uint8 images (N, H, W) or (N, H, W, 3) by its own matrix.

    The pixel at (y, x), counted from the centre of the image, is that at ``movement @ (y, x, 1)`` in the original, by
    bilinear interpolation. Pixels outside of the original are black.
    """
    from scipy import ndimage

    middle = (np.array(images.shape[1:3]) - 1) / 2
    matrix = np.eye(images.ndim - 1)
    offset = np.zeros(images.ndim - 1)
    result = np.empty_like(images)
    for moved, image, movement in zip(result, images, movements, strict=True):
        matrix[:2, :2] = movement[:, :2]
        offset[:2] = middle + movement[:, 2] - movement[:, :2] @ middle
        values = ndimage.affine_transform(image, matrix, offset, output=np.float64, order=1, mode="grid-constant")
        moved[:] = values + 0.5
    return result
