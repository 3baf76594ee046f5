"""Compare settings of multiscale2026 on validation images. The test images are never read.

    python -m results.search fashion-mnist --set encoder.threshold=20 --try s5.out_channels=50 \\
        --try s5.out_channels=100 s5.levels=6,10

Each ``--try`` is a candidate, which adds its settings of the decision stage s5 to those of ``--set``. All candidates of
a command read the same features: s1 to s4 are trained once, on plain images, and the latencies that s5 reads are kept
in the folder ``--cache``. With ``--augment``, s5 also learns from moved copies of the images. A candidate may take the
first of them only (``--try augment.copies=4``), and has no levels. 10,000 training images are the validation images.
A candidate is *settled* at the mean accuracy of its last five epochs. Its difference from the first candidate of the
same data set and seed is paired by image. The results of all commands are collected in
``results/search/candidates.csv``.
"""

import argparse
import csv
import hashlib
import json
import time
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

import datasets
from datasets.augmentation import Augmentation, MovedCopies
from engine.packed import PackedSpikes
from engine.stages import SpikingDense, drop_times
from models import MODELS
from network_trainer import LatencyDataset
from training.encoders import choose_encoder
from training.settings import read_set
from utils import set_threads

HERE = Path(__file__).resolve().parent
NETWORK = MODELS["multiscale2026"]
VALIDATION, SETTLED, CHUNK, TIME_STEPS = 10_000, 5, 1000, 15
COLUMNS = ["dataset", "seed", "copies", "set", "try", "epochs", "settled", "best"]
COLUMNS += ["difference", "standard_error", "minutes"]


def make_model(settings: dict, seed: int):
    """Return the encoder and the network with these settings."""
    encoder = {name.removeprefix("encoder."): value for name, value in settings.items() if name.startswith("encoder.")}
    stages = {name: value for name, value in settings.items() if not name.startswith("encoder.")}
    return choose_encoder(NETWORK, None, encoder), NETWORK(seed=seed, overrides=stages)


def compute_features(
    settings: dict, seed: int, images: dict[str, np.ndarray], labels: dict, moves: Augmentation
) -> dict[str, np.ndarray]:
    """Train s1 to s4, and return the latencies that s5 reads, uint8 (N, neurons), of each split.

    "1", "2", … are the copies of the training images; of each input, they hold only one bit: whether it has spiked.
    """
    encoder, model = make_model(settings, seed)
    latencies = {split: encoder.encode(images[split]) for split in images}
    model.fit(LatencyDataset(latencies["train"], labels["train"]), None, (2, 4, 4, 2, 0), seed=seed)
    below = model.inputs_of("s5")

    def fire(part):
        maps = model.fire({"input": part}, below)
        return np.concatenate([maps[name].flatten(1) for name in below], 1)

    found = {split: np.concatenate([fire(part) for part in latencies[split].split(CHUNK)]) for split in images}
    copies = MovedCopies(images["train"], moves, seed, encoder.encode, found["val"].shape[1], None)
    for number, copy in enumerate(copies, start=1):
        parts = (drop_times(copy[start : start + CHUNK], TIME_STEPS) for start in range(0, len(copy), CHUNK))
        found[str(number)] = np.concatenate([np.packbits(fire(part) < TIME_STEPS, axis=1) for part in parts])
    return found


def pack(stage: SpikingDense, images: int, parts: Iterable[np.ndarray]) -> PackedSpikes:
    """Return the input of s5, from latencies uint8 (n, neurons) of ``CHUNK`` images at a time."""
    spikes, start = PackedSpikes(images, (stage.in_channels, 1, 1), TIME_STEPS), 0
    for part in parts:
        spikes[start : start + len(part)] = stage.gather([torch.from_numpy(part)[:, :, None, None]])
        start += len(part)
    return spikes


def train_candidate(settings: dict, seed: int, features: dict, labels: dict, copies: int, epochs: int) -> np.ndarray:
    """Train s5; return which validation images are classified correctly after each epoch, bool (epochs, N)."""
    _, model = make_model(settings, seed)
    stage, sets = model.stages["s5"], []
    for split in ("train", "val"):
        count = len(labels[split])
        sets.append(LatencyDataset(torch.zeros(count, 6, 28, 28, dtype=torch.uint8), labels[split]))
        parts = (features[split][start : start + CHUNK] for start in range(0, count, CHUNK))
        sets[-1].maps = {model.input_name("s5"): pack(stage, count, parts)}
    neurons = features["val"].shape[1]
    for number in map(str, range(1, copies + 1)):
        chunks = (features[number][start : start + CHUNK] for start in range(0, len(features[number]), CHUNK))
        silent = (1 - np.unpackbits(bits, axis=1, count=neurons) for bits in chunks)
        sets[0].copies.append(pack(stage, len(features[number]), (part * np.uint8(TIME_STEPS) for part in silent)))
    steps = model.steps(*sets, (0, 0, 0, 0, epochs), seed=seed)
    return np.array([(step.decisions == sets[1].labels).numpy() for step in steps if step.kind == "validation"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("dataset", choices=datasets.DATASETS)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--set", nargs="*", default=[], metavar="FIELD=VALUE")
    parser.add_argument("--try", nargs="*", action="append", default=[], metavar="FIELD=VALUE", dest="tried")
    parser.add_argument("--augment", nargs="+", default=["none"], metavar="MOVE", help="as that of train.py")
    parser.add_argument("--epochs", type=int, default=12, help="of s5 (default: %(default)s)")
    parser.add_argument("--threads", type=int, default=1, help="(default: %(default)s)")
    parser.add_argument("--cache", type=Path, default=Path("runs/search"), help="(default: %(default)s)")
    args = parser.parse_args()
    set_threads(args.threads)
    torch.set_flush_denormal(True)

    data, shared = datasets.load(args.dataset), read_set(args.set)
    train, val = datasets.stratified_split(data.train_labels, VALIDATION, args.seed)
    labels = {split: torch.from_numpy(data.train_labels[part]) for split, part in (("train", train), ("val", val))}
    below = {name: value for name, value in shared.items() if not name.startswith("s5.")}
    moves = Augmentation.parse(" ".join(args.augment))
    about = [args.dataset, args.seed, below, *([str(moves)] if moves else [])]
    key = hashlib.sha256(json.dumps(about, sort_keys=True).encode()).hexdigest()[:12]
    args.cache.mkdir(parents=True, exist_ok=True)
    kept, features = args.cache / f"{key}.npz", None
    if kept.is_file():
        with np.load(kept) as saved:
            features = dict(saved)
    else:
        images = {"train": data.train_images[train], "val": data.train_images[val]}
        features = compute_features(below, args.seed, images, labels, moves)
        np.savez(kept, **features)
    baseline = args.cache / f"{args.dataset}-{args.seed}-baseline.npy"
    for tried in args.tried:
        start = time.process_time()
        settings = shared | read_set(tried)
        copies = settings.pop("augment.copies", moves.copies)
        if copies and settings.get("s5.levels"):
            parser.error("moved copies have no times of spikes, so s5 cannot have levels")
        right = train_candidate(settings, args.seed, features, labels, copies, args.epochs)
        settled = right[-SETTLED:].mean(0)  # of each image
        if not baseline.is_file():
            np.save(baseline, settled)
        difference = 100 * (settled - np.load(baseline))
        moved = str(replace(moves, copies=copies)) if copies else "none"
        others = " ".join(word for word in tried if not word.startswith("augment."))
        row = [args.dataset, args.seed, moved, " ".join(args.set), others, args.epochs]
        row += [f"{100 * settled.mean():.3f}", f"{100 * right.mean(1).max():.2f}", f"{difference.mean():+.3f}"]
        row += [f"{difference.std() / len(val) ** 0.5:.3f}", f"{(time.process_time() - start) / 60:.1f}"]
        print(*(f"{name} {value}" for name, value in zip(COLUMNS, row, strict=True)), sep=", ", flush=True)
        table = HERE / "search" / "candidates.csv"
        with table.open("a", newline="") as file:
            csv.writer(file).writerows([row] if table.stat().st_size else [COLUMNS, row])


if __name__ == "__main__":
    main()
