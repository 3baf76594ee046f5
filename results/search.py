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
from pathlib import Path

import numpy as np
import torch

import datasets
from datasets.augmentation import Augmentation, move_images
from engine.packed import PackedSpikes
from engine.stages import drop_times
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
    for number in range(1, moves.copies + 1):
        bits = []
        for start in range(0, len(images["train"]), CHUNK):
            moved = move_images(images["train"][start : start + CHUNK], moves, number, seed, start)
            bits.append(np.packbits(fire(drop_times(encoder.encode(moved), TIME_STEPS)) < TIME_STEPS, axis=1))
        found[str(number)] = np.concatenate(bits)
    return found


def train_candidate(settings: dict, seed: int, features: dict, labels: dict, epochs: int) -> np.ndarray:
    """Train s5; return which validation images are classified correctly after each epoch, bool (epochs, N)."""
    settings = {**settings}
    copies = settings.pop("augment.copies", sum(name.isdigit() for name in features))
    _, model = make_model(settings, seed)
    neurons, sets = features["val"].shape[1], []

    def pack(split, read):
        images = len(features[split])
        spikes = PackedSpikes(images, (model.stages["s5"].in_channels, 1, 1), TIME_STEPS)
        for start in range(0, images, CHUNK):
            latencies = torch.from_numpy(read(features[split][start : start + CHUNK]))
            spikes[start : start + CHUNK] = model.stages["s5"].gather([latencies[:, :, None, None]])
        return spikes

    for split in ("train", "val"):
        sets.append(LatencyDataset(torch.zeros(len(labels[split]), 6, 28, 28, dtype=torch.uint8), labels[split]))
        sets[-1].maps = {model.input_name("s5"): pack(split, np.asarray)}

    def read_bits(bits):
        return np.where(np.unpackbits(bits, axis=1, count=neurons), 0, TIME_STEPS).astype(np.uint8)

    for number in range(1, copies + 1):
        sets[0].copies.append(pack(str(number), read_bits))
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
        right = train_candidate(shared | read_set(tried), args.seed, features, labels, args.epochs)
        settled = right[-SETTLED:].mean(0)  # of each image
        if not baseline.is_file():
            np.save(baseline, settled)
        difference = 100 * (settled - np.load(baseline))
        row = [args.dataset, args.seed, str(moves), " ".join(args.set), " ".join(tried), args.epochs]
        row += [f"{100 * settled.mean():.3f}", f"{100 * right.mean(1).max():.2f}", f"{difference.mean():+.3f}"]
        row += [f"{difference.std() / len(val) ** 0.5:.3f}", f"{(time.process_time() - start) / 60:.1f}"]
        print(*(f"{name} {value}" for name, value in zip(COLUMNS, row, strict=True)), sep=", ", flush=True)
        table = HERE / "search" / "candidates.csv"
        with table.open("a", newline="") as file:
            csv.writer(file).writerows([row] if table.stat().st_size else [COLUMNS, row])


if __name__ == "__main__":
    main()
