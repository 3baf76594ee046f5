"""Digits as an event camera records them that moves in front of a screen: *simulated events* in N-MNIST's files.

N-MNIST was recorded so (Orchard et al. 2015, doi 10.3389/fnins.2015.00437): three saccades of 100 ms along the sides
of a triangle, a sensor of 34×34 pixels for each digit of 28×28. Here, the digit moves, by bilinear interpolation. A
pixel sends an event each time when the logarithm of its intensity has changed by its threshold since its last event.
Each pixel has its own thresholds for brighter and darker, and stray events come at random times.
"""

from itertools import pairwise
from pathlib import Path

import numpy as np
from scipy.ndimage import shift
from tqdm import tqdm

from imagesets.events import N_MNIST_SIZE

CORNERS = np.array([(0.0, 0.0), (7.0, 3.5), (0.0, 7.0), (0.0, 0.0)]) - 3.5  # y, x of the saccades in pixels
SACCADE = 100_000  # µs
STEP = 2_000  # µs
BLACK = 0.15  # intensity of a black pixel of the screen, white is 1
THRESHOLD = 0.4  # of the log intensity: the mean over the pixels
THRESHOLD_NOISE = 0.06  # its standard deviation
STRAY = 0.5  # stray events of a pixel per second


def move_digits(images: np.ndarray, corner: np.ndarray) -> np.ndarray:
    """Return the log intensities (N, 34, 34) of digits uint8 (N, 28, 28), moved by (y, x) pixels from the middle."""
    margins = [(total - side) // 2 for total, side in zip(N_MNIST_SIZE, images.shape[1:], strict=True)]
    padded = np.pad(images / 255, [(0, 0), *((margin, margin) for margin in margins)])
    return np.log(BLACK + (1 - BLACK) * shift(padded, (0, *corner), order=1))


def simulate(images: np.ndarray, rng: np.random.Generator) -> list[np.ndarray]:
    """Return the events of each digit: x, y, t (µs), p in rows, int64 (n, 4), sorted by time."""
    count = len(images)
    found = []
    drawn = rng.normal(THRESHOLD, THRESHOLD_NOISE, (2, count, *N_MNIST_SIZE))
    thresholds = np.maximum(drawn, THRESHOLD / 2)
    before = move_digits(images, CORNERS[0])
    level = before + rng.uniform(-0.5, 0.5, before.shape) * THRESHOLD  # at a pixel's last event, before the recording
    for saccade, (start, end) in enumerate(pairwise(CORNERS)):
        for step in range(SACCADE // STEP):
            now = move_digits(images, start + (end - start) * (step + 1) * STEP / SACCADE)
            for p, sign in ((1, 1), (0, -1)):
                own = thresholds[p]
                change = now - before
                change[change == 0] = 1
                while True:  # a pixel that has changed by several thresholds sends several events
                    place = np.nonzero(sign * (now - level) >= own)
                    if not len(place[0]):
                        break
                    level[place] += sign * own[place]
                    part = np.clip((level[place] - before[place]) / change[place], 0, 1)
                    t = saccade * SACCADE + (step + part) * STEP
                    found.append(np.stack([*place, t.astype(int), np.full(len(t), p)], 1))
            before = now
    stray = rng.poisson(STRAY * 3 * SACCADE / 1e6 * np.prod(N_MNIST_SIZE), count)
    places = [rng.integers(0, most, stray.sum()) for most in (*N_MNIST_SIZE, 3 * SACCADE, 2)]
    found.append(np.stack([np.repeat(np.arange(count), stray), *places], 1))
    events = np.concatenate(found)
    events = events[np.lexsort((events[:, 3], events[:, 0]))]
    parts = np.split(events, np.cumsum(np.bincount(events[:, 0], minlength=count))[:-1])
    return [part[:, [2, 1, 3, 4]] for part in parts]


def write_bin(path: Path, events: np.ndarray) -> None:
    """Write rows x, y, t (µs, below 2^23), p, sorted by time, in N-MNIST's format."""
    x, y, t, p = events.T
    path.write_bytes(np.stack([x, y, p << 7 | t >> 16, t >> 8, t], 1).astype(np.uint8).tobytes())


def write_part(folder: Path, images: np.ndarray, labels: np.ndarray, seed: int) -> int:
    """Write the recordings of digits into class folders. Returns the number of events."""
    total = 0
    rng = np.random.default_rng(seed)
    for label in np.unique(labels):
        (folder / str(label)).mkdir(parents=True, exist_ok=True)
    for start in tqdm(range(0, len(images), 100), desc=folder.name, leave=False):
        for place, events in enumerate(simulate(images[start : start + 100], rng), start):
            write_bin(folder / str(labels[place]) / f"{place:05}.bin", events)
            total += len(events)
    return total
