"""Simulate the recording of N-MNIST: write MNIST's digits as files of *simulated events*.

    python -m results.scripts.saccades FOLDER [--train N] [--test N] [--pictures FILE.npz] [--shuffled FOLDER]

N-MNIST was recorded by an event camera that moved in front of a screen (Orchard et al. 2015, doi
10.3389/fnins.2015.00437): three saccades of 100 ms along the sides of a triangle, a sensor of 34×34 pixels for each
digit of 28×28. Here, the digit moves, by bilinear interpolation. A pixel sends an event each time when the logarithm of
its intensity has changed by its threshold since its last event. Each pixel has its own thresholds for brighter and
darker, and stray events come at random times. The files have N-MNIST's format and folders (``Train/7/00015.bin``).

``--pictures`` also saves the same digits as images. ``--shuffled`` also links the recordings in class folders of
shuffled training labels.
"""

import argparse
from itertools import pairwise
from pathlib import Path

import numpy as np
from scipy.ndimage import shift
from tqdm import tqdm

import imagesets
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


def link_shuffled(folder: Path, shuffled: Path) -> None:
    """Link the recordings of ``folder`` in the folder ``shuffled``, with the training labels in random order."""
    for part in ("Train", "Test"):
        paths = sorted((folder / part).glob("*/*.bin"))
        labels = np.array([path.parent.name for path in paths])
        if part == "Train":
            labels = np.random.default_rng(0).permutation(labels)
        for path, label in zip(paths, labels, strict=True):
            (shuffled / part / label).mkdir(parents=True, exist_ok=True)
            (shuffled / part / label / path.name).symlink_to(path.resolve())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, metavar="FOLDER")
    parser.add_argument("--train", type=int, default=10_000, metavar="N", help="the first training images")
    parser.add_argument("--test", type=int, default=2_000, metavar="N", help="the first test images")
    parser.add_argument("--pictures", type=Path, metavar="FILE.npz")
    parser.add_argument("--shuffled", type=Path, metavar="FOLDER")
    chosen = parser.parse_args()
    data = imagesets.load("mnist")
    arrays = {
        "x_train": data.train_images[: chosen.train],
        "y_train": data.train_labels[: chosen.train],
        "x_test": data.test_images[: chosen.test],
        "y_test": data.test_labels[: chosen.test],
    }
    for seed, name in enumerate(("train", "test")):
        folder = chosen.folder / name.capitalize()
        images = arrays[f"x_{name}"]
        total = write_part(folder, images, arrays[f"y_{name}"], seed)
        print(f"{folder}: {len(images):,} recordings, {total / len(images):,.0f} events in each")
    if chosen.pictures:
        np.savez(chosen.pictures, **arrays)
    if chosen.shuffled:
        link_shuffled(chosen.folder, chosen.shuffled)


if __name__ == "__main__":
    main()
