"""Images changed on purpose: moved copies of training images, and noise on test images, all drawn from a seed.

What becomes of an image depends on the seed and on its position among all images: not on the number of threads, and not
on how many images are given at a time, as ``first`` is the position of the first of them.
"""

import math
from dataclasses import dataclass
from numbers import Integral, Real

import numpy as np
from numba import prange

from engine.compiled import compiled
from errors import InputError

WHITE = 255
MOST_COPIES = 10_000
LARGEST = {"turn": 180.0, "shift": 4096.0, "scale": 0.9, "shear": 1.0}
NOISES = {"gaussian": "σ as a fraction of white", "salt-pepper": "the fraction of the pixels"}


@dataclass(frozen=True)
class Augmentation:
    """How many moved copies of the training images are learned from beside the plain ones, and how they are moved.

    Each image of each copy is moved on its own, uniformly up to: ``turn`` degrees either way; ``shift`` pixels up or
    down, and as many left or right; ``scale`` larger or smaller, and ``shear`` aslant, both as fractions; with ``flip``
    half of them, at random, are mirrored left to right. Without copies there is no augmentation, and it is false.

    Raises InputError for values out of range, for moves without copies, and for copies that are not moved.
    """

    copies: int = 0
    turn: float = 0.0
    shift: float = 0.0
    scale: float = 0.0
    shear: float = 0.0
    flip: bool = False

    def __post_init__(self):
        if not _within(self.copies, Integral, MOST_COPIES):
            raise InputError(f"the copies of an augmentation must be a count up to {MOST_COPIES}, not {self.copies!r}")
        for name, largest in LARGEST.items():
            value = getattr(self, name)
            if not _within(value, Real, largest):
                raise InputError(f"the {name} of an augmentation must be 0 to {largest:g}, not {value!r}")
            object.__setattr__(self, name, float(value))
        if not isinstance(self.flip, bool):
            raise InputError(f"the flip of an augmentation must be true or false, not {self.flip!r}")
        is_moving = self.flip or any(getattr(self, name) for name in LARGEST)
        if is_moving != bool(self.copies):
            lack = "its number of copies (copies=8)" if is_moving else "how the copies are moved (turn=8 shift=1)"
            raise InputError(f"an augmentation needs {lack}")

    @classmethod
    def parse(cls, text: str) -> "Augmentation":
        """``"copies=17 turn=8 shift=1.2 scale=0.08 shear=0.08 flip"``, in any order and in part, or ``"none"``."""
        words = text.split()
        values = {}
        for word in words if words != ["none"] else ():
            name, _, value = word.partition("=")
            if name in values:
                raise InputError(f"--augment says {name} twice")
            try:
                if word == "flip":
                    values["flip"] = True
                elif name == "copies":
                    values["copies"] = int(value)
                elif name in LARGEST:
                    values[name] = float(value)
                else:
                    raise InputError(
                        f"--augment does not know {word!r}; it takes copies=N {' '.join(f'{n}=X' for n in LARGEST)} "
                        "flip, or none"
                    )
            except InputError:
                raise
            except ValueError as error:
                raise InputError(f"--augment needs a number after {name}=, not {value!r}") from error
        if not words:
            raise InputError("--augment takes copies=N and how they are moved, or none")
        return cls(**values)

    def __bool__(self):
        return self.copies > 0

    def __str__(self):
        """What ``parse`` reads."""
        words = [f"copies={self.copies}"]
        words += [f"{name}={str(getattr(self, name)).removesuffix('.0')}" for name in LARGEST if getattr(self, name)]
        return " ".join([*words, "flip"] if self.flip else words) if self else "none"


def _within(value, kind, largest):
    return isinstance(value, kind) and not isinstance(value, bool) and 0 <= value <= largest


def moved(images: np.ndarray, augmentation: Augmentation, copy: int, seed: int, first: int = 0) -> np.ndarray:
    """The images as they are in one of the copies, which count from 1; copy 0 is the plain images.

    ``images``: uint8 (N, H, W) or (N, H, W, 3), the ones from position ``first`` on. Returns the same shape.
    """
    if not 0 <= copy <= augmentation.copies:
        raise InputError(f"there are copies 0 to {augmentation.copies}, not {copy}")
    if copy == 0:
        return images
    # row by row, so that an image's draws do not depend on how many there are
    draws = np.random.default_rng([seed, copy]).random((first + len(images), 6))[first:]
    turn, down, right, scale, shear = (2 * draws[:, :5] - 1).T
    return warp(
        images,
        movements(
            augmentation.turn * turn,
            augmentation.shift * down,
            augmentation.shift * right,
            1 + augmentation.scale * scale,
            augmentation.shear * shear,
            augmentation.flip & (draws[:, 5] < 0.5),
        ),
    )


def movements(turn, down, right, size, shear, mirrored) -> np.ndarray:
    """float64 (N, 2, 3): where each pixel of a moved image comes from, for ``warp``.

    About its centre the image is mirrored left to right, then slanted (a point y pixels below the centre goes
    ``shear`` · y pixels to the right), made ``size`` times as large, turned counterclockwise by ``turn`` degrees, and
    moved by ``down`` and ``right`` pixels. Each is an array (N,).
    """
    radians = np.radians(turn)
    cos, sin = np.cos(radians) / size, np.sin(radians) / size
    side = np.where(mirrored, -1.0, 1.0)
    result = np.empty((len(radians), 2, 3))
    result[:, 0, :2] = np.stack([cos, sin], -1)
    result[:, 1, :2] = np.stack([side * (-sin - shear * cos), side * (cos - shear * sin)], -1)
    result[:, :, 2] = -result[:, :, 0] * down[:, None] - result[:, :, 1] * right[:, None]
    return result


def warp(images: np.ndarray, movements: np.ndarray) -> np.ndarray:
    """uint8 images (N, H, W) or (N, H, W, 3), each moved on its own; bilinear, black where nothing was.

    A pixel (y, x), counted from the centre of the image, gets what is at ``movement @ (y, x, 1)`` in the original.
    """
    if images.dtype != np.uint8 or not (images.ndim == 3 or (images.ndim == 4 and images.shape[-1] == 3)):
        raise InputError(f"images to move are uint8 (N, H, W) or (N, H, W, 3), not {images.dtype} {images.shape}")
    if movements.shape != (len(images), 2, 3):
        raise InputError(f"{len(images)} images need movements ({len(images)}, 2, 3), not {movements.shape}")
    channels = images if images.ndim == 4 else images[..., None]
    return _warp(np.require(channels, requirements=["C", "W"]), np.require(movements, np.float64, ["C", "W"])).reshape(
        images.shape
    )


@compiled(parallel=True)
def _warp(images, movements):
    """uint8 (N, H, W, C) → the same; an image is moved by one thread, so their number changes nothing."""
    n, height, width, channels = images.shape
    result = np.zeros(images.shape, np.uint8)
    middle_y, middle_x = (height - 1) / 2, (width - 1) / 2
    for i in prange(n):
        image, move = images[i], movements[i]
        for row in range(height):
            for column in range(width):
                y = middle_y + move[0, 0] * (row - middle_y) + move[0, 1] * (column - middle_x) + move[0, 2]
                x = middle_x + move[1, 0] * (row - middle_y) + move[1, 1] * (column - middle_x) + move[1, 2]
                if not (-1 < y < height and -1 < x < width):
                    continue
                top, left = math.floor(y), math.floor(x)
                below, beside = y - top, x - left
                for c in range(channels):
                    upper = _at(image, top, left, c) * (1 - beside) + _at(image, top, left + 1, c) * beside
                    lower = _at(image, top + 1, left, c) * (1 - beside) + _at(image, top + 1, left + 1, c) * beside
                    result[i, row, column, c] = np.uint8(upper * (1 - below) + lower * below + 0.5)
    return result


@compiled
def _at(image, y, x, c):
    inside = 0 <= y < image.shape[0] and 0 <= x < image.shape[1]
    return float(image[y, x, c]) if inside else 0.0


def parse_noise(text: str) -> tuple[str, float]:
    """``"gaussian=0.1"`` or ``"salt-pepper=0.05"`` → kind and strength. Errors: InputError."""
    kind, _, value = text.partition("=")
    if kind not in NOISES:
        raise InputError(f"no noise is called {kind!r}; there are: {', '.join(f'{name}=X' for name in NOISES)}")
    try:
        strength = float(value)
    except ValueError:
        strength = math.nan
    if not 0 <= strength <= 1:
        raise InputError(f"{kind} noise needs {NOISES[kind]}, 0 to 1, not {value!r}")
    return kind, strength


def add_noise(images: np.ndarray, noise: str, seed: int = 0, first: int = 0) -> np.ndarray:
    """The images with noise: uint8 (N, H, W) or (N, H, W, 3), the ones from position ``first`` on; the same shape.

    ``gaussian=σ``: each value plus a normal deviate of σ · 255, rounded and cut off at 0 and 255. ``salt-pepper=p``:
    each pixel becomes, with probability p, black or white, with equal chances.
    """
    kind, strength = parse_noise(noise)
    result = images.copy()
    for position, image in enumerate(result, start=first):
        rng = np.random.default_rng([seed, position])
        if kind == "gaussian":
            noisy = image + strength * WHITE * rng.standard_normal(image.shape)
            image[:] = np.rint(noisy).clip(0, WHITE)
        else:
            draws = rng.random(image.shape[:2])
            image[draws < strength] = WHITE
            image[draws < strength / 2] = 0
    return result
