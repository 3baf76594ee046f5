"""Read 300 random recordings in N-MNIST's format, with overflow events, by tonic and by this repository.

    python tests/manual/events_in_tonic.py write FOLDER  # in the environment of this repository
    python tests/manual/events_in_tonic.py read FOLDER   # in an environment with tonic (pip install tonic)

Tonic keeps the order of the file; here, events are sorted by time. Therefore tonic's events are sorted, stably, before
the comparison.
"""

import sys
from pathlib import Path

import numpy as np

RECORDINGS, MAX_EVENTS = 300, 20_000


def write(folder: Path) -> None:
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent.parent))
    from datasets.recordings import read_events

    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(0)
    for number in range(RECORDINGS):
        rows = rng.integers(0, 256, (rng.integers(1, MAX_EVENTS), 5))  # any polarity, times in any order
        rows[:, :2] %= 34
        rows[1:][rng.random(len(rows) - 1) < rng.choice([0, 0.001, 0.1]), 1] = 240  # overflow events
        path = folder / f"{number:03}.bin"
        path.write_bytes(rows.astype(np.uint8).tobytes())
        np.save(path.with_suffix(".npy"), np.stack(read_events(str(path), (34, 34))))


def read(folder: Path) -> None:
    import tonic
    from tonic.io import read_mnist_file

    total, overflows, different = 0, 0, 0
    for path in sorted(folder.glob("*.bin")):
        events = read_mnist_file(str(path), np.dtype([(name, int) for name in "xytp"]))
        events = events[np.argsort(events["t"], kind="stable")]
        different += not np.array_equal(np.stack([events[name] for name in "xytp"]), np.load(path.with_suffix(".npy")))
        total, overflows = total + len(events), overflows + path.stat().st_size // 5 - len(events)
    counts = f"{len(list(folder.glob('*.bin')))} recordings, {total:,} events, {overflows:,} overflow events"
    print(f"tonic {tonic.__version__}: {counts}; {different} recordings differ")
    sys.exit(bool(different))


if __name__ == "__main__":
    {"write": write, "read": read}[sys.argv[1]](Path(sys.argv[2]))
