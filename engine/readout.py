"""Readout: which linear classifier of its features a network trains at the end (``training/readout.py``)."""

from dataclasses import dataclass

from engine.declaration import MAX_VALUE, Declared, ranged
from errors import InputError

KINDS = "svm", "logistic"


@dataclass(frozen=True)
class Readout(Declared):
    """A linear classifier of a network's features, one class against the rest.

    Args:
        kind: "svm", a linear support vector machine (squared hinge loss), or "logistic", logistic regression.
        C: inverse strength of the regularisation; None: chosen by validation.

    Raises InputError for another kind or C.
    """

    kind: str
    C: float | None = ranged(0, MAX_VALUE, None, above=True)

    def __post_init__(self):
        super().__post_init__()
        if self.kind not in KINDS:
            raise InputError(f"kind must be {' or '.join(KINDS)}, not {self.kind!r}")
