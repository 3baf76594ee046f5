"""Compare settings of multiscale2026 on validation images. The test images are never read.

    python -m results.scripts.search fashion-mnist --set encoder.threshold=20 s5.rule.decay=0.82 \\
        --try s5.out_channels=50 --try s5.out_channels=100 s5.levels=6,10

The settings of ``--set`` change the network ``START``. Each ``--try`` is a candidate, which adds settings of the
decision stage s5 to them. All candidates of a command read the same features: s1 to s4 are trained once, on plain
images, and the latencies that s5 reads are kept in the folder ``--cache``. With ``--augment``, s5 also learns from
moved copies of the images. A candidate may take the first of them only (``--try augment.copies=4``), and has no levels.

10,000 training images are the validation images. A candidate is *settled* at the mean accuracy of its last five epochs.
Its difference from the first candidate of the same data set and seed is paired by image. The results of all commands
are collected in ``results/logs/search-candidates.csv``.
"""

import argparse
import csv
import hashlib
import json
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

import datasets
from datasets.augmentation import Augmentation, MovedCopies
from datasets.splits import stratified_split
from encoders import choose_encoder
from engine.latency import drop_times
from engine.packed import PackedSpikes
from models import MODELS
from network_trainer import LatencyDataset, NetworkTrainer
from training.plan import read_augmentation
from training.settings import read_pairs
from utils import set_threads

HERE = Path(__file__).resolve().parent
NETWORK = MODELS["multiscale2026"]
START = {  # multiscale2026 before the search; the settings in candidates.csv are changes of this network
    "s4.out_channels": 100,
    "s4.threshold": 20,
    "s5.out_channels": 100,
    "s5.rule.margin": 0.03,
    "s5.rule.left_out": 0.3,
    "s5.rule.decay": 0.965,
}
VALIDATION, SETTLED, CHUNK, TIME_STEPS = 10_000, 5, 1000, 15
COLUMNS = ["dataset", "seed", "copies", "set", "try", "epochs", "settled", "best"]
COLUMNS += ["difference", "standard_error", "minutes"]


def make_model(settings: dict, seed: int):
    """Return the encoder and the network with these settings."""
    encoder = {name.removeprefix("encoder."): value for name, value in settings.items() if name.startswith("encoder.")}
    stages = {name: value for name, value in settings.items() if not name.startswith("encoder.")}
    return choose_encoder(NETWORK.encoder, None, encoder), NETWORK(seed=seed, overrides=stages)


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
        maps = dict(model.walk({"input": part}, below))
        return np.concatenate([maps[name].flatten(1) for name in below], 1)

    found = {split: np.concatenate([fire(part) for part in latencies[split].split(CHUNK)]) for split in images}
    copies = MovedCopies(images["train"], moves, seed, encoder.encode, found["val"].shape[1], None)
    for number, copy in enumerate(copies, start=1):
        parts = (copy[start : start + CHUNK] for start in range(0, len(copy), CHUNK))
        spikes = (fire(drop_times(part, TIME_STEPS)) < TIME_STEPS for part in parts)
        found[str(number)] = np.concatenate([np.packbits(part, axis=1) for part in spikes])
    return found


def pack(model: NetworkTrainer, features: np.ndarray, are_bits: bool = False) -> PackedSpikes:
    """Return the input of s5, from latencies uint8 (N, neurons) or, of a copy, from bits uint8 (N, neurons / 8)."""
    inputs = model.stages["s5"].weight.shape[1]
    gathering = model.layers[model.input_name("s5")]
    spikes = PackedSpikes(len(features), (inputs, 1, 1), TIME_STEPS)
    for start in range(0, len(features), CHUNK):
        part = features[start : start + CHUNK]
        if are_bits:
            part = TIME_STEPS * (1 - np.unpackbits(part, axis=1, count=inputs))
        spikes[start : start + CHUNK] = gathering.fire(torch.from_numpy(part)[:, :, None, None])
    return spikes


def train_candidate(settings: dict, seed: int, features: dict, labels: dict, copies: int, epochs: int) -> np.ndarray:
    """Train s5; return which validation images are classified correctly after each epoch, bool (epochs, N)."""
    _, model = make_model(settings, seed)
    sets = []
    for split in ("train", "val"):
        sets.append(LatencyDataset(torch.zeros(len(labels[split]), 6, 28, 28, dtype=torch.uint8), labels[split]))
        sets[-1].maps = {model.input_name("s5"): pack(model, features[split])}
    sets[0].copies += [pack(model, features[str(number)], are_bits=True) for number in range(1, copies + 1)]
    steps = model.steps(*sets, (0, 0, 0, 0, epochs), seed=seed)
    return np.array([(step.decisions == sets[1].labels).numpy() for step in steps if step.kind == "validation"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("dataset")
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

    data, shared = datasets.load(args.dataset), START | read_pairs(args.set)
    train, val = stratified_split(data.train_labels, VALIDATION, args.seed)
    labels = {split: torch.from_numpy(data.train_labels[part]) for split, part in (("train", train), ("val", val))}
    below = {name: value for name, value in shared.items() if not name.startswith("s5.")}
    moves = read_augmentation(" ".join(args.augment))
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
        settings = shared | read_pairs(tried)
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
        table = HERE.parent / "logs" / "search-candidates.csv"
        with table.open("a", newline="") as file:
            csv.writer(file).writerows([row] if table.stat().st_size else [COLUMNS, row])


if __name__ == "__main__":
    main()
