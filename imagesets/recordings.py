"""Recordings of event cameras in files, which are read when they are encoded or drawn.

Each pixel of such a camera sends an event when it has become brighter or darker by a certain amount.
"""

import io
from collections.abc import Sequence
from math import prod
from numbers import Integral
from pathlib import Path
from typing import NamedTuple

import numpy as np

from errors import InputError

OVERFLOW_Y = 240  # N-MNIST: an entry with this y is not an event …
OVERFLOW = 2**13  # … and adds these µs to the times after it
MAX_TIME = 2**53  # µs; larger times would be rounded


class Events(NamedTuple):
    """The events of a recording, sorted by time: x, y, t in µs and p, 1 for brighter and 0 for darker, int64 (n,)."""

    x: np.ndarray
    y: np.ndarray
    t: np.ndarray
    p: np.ndarray


class Recordings:
    """Recordings in files, which are read when their events or pictures are needed.

    A picture, uint8 (H, W), shows the number of events of each pixel; the largest number is white, 255. An index
    returns a picture, a slice or an array of indices other ``Recordings``, ``np.asarray`` all pictures (N, H, W).

    Args:
        paths: the files.
        checksums: uint8 (N, 32), the SHA-256 of each file; None: they are not needed.
        image_size: height and width of the sensor.
    """

    dtype = np.dtype(np.uint8)
    ndim = 3

    def __init__(self, paths: Sequence[str], checksums: np.ndarray | None, image_size: tuple[int, int]):
        self.paths = np.array(paths)
        self.checksums = checksums
        self.image_size = image_size
        self.shape = len(paths), *image_size
        self.size = prod(self.shape)

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, chosen):
        if not isinstance(chosen, Integral):
            checksums = None if self.checksums is None else self.checksums[chosen]
            return Recordings(self.paths[chosen], checksums, self.image_size)
        events = read_events(self.paths[chosen], self.image_size)
        counts = np.zeros(self.image_size)
        np.add.at(counts, (events.y, events.x), 255)
        return np.rint(counts / (counts.max() / 255)).astype(np.uint8)

    def __array__(self, dtype=None, copy=None) -> np.ndarray:
        return np.stack(list(self)).astype(dtype or np.uint8)


def read_events(path: str, image_size: tuple[int, int]) -> Events:
    """Read a ``.bin`` file of N-MNIST, or a ``.npz`` or ``.npy`` file with x, y, t (µs) and p.

    Returns the events, sorted by time; events of the same time stay in their order. Raises InputError for a file that
    is damaged, cut or empty, and for an event outside the sensor (image_size: its height and width).
    """
    content = Path(path).read_bytes()
    decode = _decode_bin if path.lower().endswith(".bin") else _decode_arrays
    try:
        events = decode(content)
    except Exception as error:  # the type depends on what is damaged
        reason = " ".join(str(error).split())
        raise InputError(f"{path} cannot be read as a recording of events: {reason}") from error
    if not len(events.t):
        raise InputError(f"{path} contains no events")
    height, width = image_size
    is_outside = (events.x < 0) | (events.x >= width) | (events.y < 0) | (events.y >= height)
    if is_outside.any():
        x, y = (values[is_outside][0] for values in events[:2])
        message = f"has an event at x {x}, y {y}, outside the sensor of {height}×{width} pixels (height×width)"
        raise InputError(f"{path} {message}; --image-size H W is the size of the sensor")
    order = np.argsort(events.t, kind="stable")
    return Events(*(values[order] for values in events))


def _decode_bin(content: bytes) -> Events:
    """Decode N-MNIST's format (Orchard et al. 2015): 5 bytes per event, x, y, and a bit of p before 23 bits of t."""
    if len(content) % 5:
        raise ValueError(f"its {len(content):,} bytes are not a whole number of events of 5 bytes")
    x, y, high, middle, low = np.frombuffer(content, np.uint8).reshape(-1, 5).T.astype(np.int64)
    is_event = y != OVERFLOW_Y
    t = ((high & 127) << 16 | middle << 8 | low) + OVERFLOW * np.cumsum(~is_event)
    return Events(*(values[is_event] for values in (x, y, t, high >> 7)))


def _decode_arrays(content: bytes) -> Events:
    """Decode the arrays of a ``.npz`` file, or the fields of an array in a ``.npy`` file. Pickles are not read."""
    arrays = np.load(io.BytesIO(content), allow_pickle=False)
    x, y, t, p = (np.asarray(arrays[name]) for name in "xytp")
    are_lists = x.ndim == 1 and x.shape == y.shape == t.shape == p.shape
    are_integers = x.dtype.kind in "iu" and y.dtype.kind in "iu"
    are_numbers = are_integers and t.dtype.kind in "iuf" and p.dtype.kind in "biuf"
    if not (are_lists and are_numbers and ((t >= -MAX_TIME) & (t <= MAX_TIME)).all()):
        message = "x, y, t (µs) and p must be numbers and of the same length, x and y integers and t from -2^53 to 2^53"
        raise ValueError(message)
    return Events(x.astype(np.int64), y.astype(np.int64), np.rint(t).astype(np.int64), (p > 0).astype(np.int64))
