"""Changed images: moved copies of training images, and noise on test images, all drawn from a seed.

The result for an image depends on the seed and on the image's position in the data set. It does not depend on the
number of threads or on how many images are passed at a time: ``first`` is the position of the first of them.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch

from engine.augmentation import Augmentation
from engine.declaration import fits
from errors import InputError

WHITE = 255
NOISES = {"gaussian": "σ as a fraction of white", "salt-pepper": "the fraction of the pixels"}


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
    largest = [getattr(augmentation, name) for name in ("turn", "shift", "shift", "scale", "shear")]
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


def add_noise(images: np.ndarray, name: str, strength: float) -> np.ndarray:
    """Return images uint8 (N, H, W) or (N, H, W, 3) with noise.

    * ``gaussian``: a normal deviate with standard deviation strength · 255 is added to each value. The result is
      rounded and clipped to 0 … 255.
    * ``salt-pepper``: each pixel becomes black with probability strength / 2, and white with probability strength / 2.

    Raises InputError for another name, or for a strength that is not from 0 to 1.
    """
    if name not in NOISES:
        known = ", ".join(f"{noise}=X" for noise in NOISES)
        raise InputError(f"--noise: unknown noise {name!r}; choose from {known}")
    if not fits(strength, float) or not 0 <= strength <= 1:
        raise InputError(f"--noise: {name} must be {NOISES[name]}, from 0 to 1, not {strength!r}")
    result = images.copy()
    for position, image in enumerate(result):
        rng = np.random.default_rng([0, position])
        if name == "gaussian":
            noisy = image + strength * WHITE * rng.standard_normal(image.shape)
            image[:] = np.rint(noisy).clip(0, WHITE)
        else:
            draws = rng.random(image.shape[:2])
            image[draws < strength] = WHITE
            image[draws < strength / 2] = 0
    return result
