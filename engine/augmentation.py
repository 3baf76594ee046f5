"""Augmentation: which moved copies of its training images a network learns from (``imagesets/augmentation.py``)."""

from dataclasses import dataclass

from engine.declaration import Declared, ranged
from errors import InputError


@dataclass(frozen=True)
class Augmentation(Declared):
    """The number of moved copies of the training images that a network also learns from, and their largest movements.

    The movements of each image in each copy are drawn independently and uniformly: rotation by up to ``turn`` degrees
    in either direction, shift by up to ``shift`` pixels in both axes, enlargement or reduction by up to the fraction
    ``scale``, and shear by up to the fraction ``shear``. With ``flip``, each image is mirrored left to right with
    probability 0.5. Without copies the augmentation is false.

    Raises InputError for values out of range, for moves without copies, and for copies that are not moved.
    """

    copies: int = ranged(0, 10_000, 0)
    turn: float = ranged(0, 180, 0.0)
    shift: float = ranged(0, 4096, 0.0)
    scale: float = ranged(0, 0.9, 0.0)
    shear: float = ranged(0, 1, 0.0)
    flip: bool = False

    def __post_init__(self):
        super().__post_init__()
        is_moving = any((self.turn, self.shift, self.scale, self.shear, self.flip))
        if is_moving != bool(self.copies):
            lack = "a number of copies (copies=8)" if is_moving else "movements of the copies (turn=8 shift=1)"
            raise InputError(f"it needs {lack}")

    def __bool__(self) -> bool:
        return self.copies > 0

    def __str__(self) -> str:
        """Return the text of the command line."""
        words = []
        for name, value in vars(self).items():
            if value:
                words.append(name if value is True else f"{name}={str(value).removesuffix('.0')}")
        return " ".join(words) or "none"
