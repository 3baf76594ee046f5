"""Which poolings should a network for colour images read? Compares candidates on held-out training images.

    python -m results.scripts.colour DATASET CANDIDATE … --cache FOLDER [--seed S] [--epochs E] [--stdp E] [--flip]

s1 and s2 of colour2026 learn by STDP from at most 10,000 training images, and their spikes are pooled in all ways of
``POOLINGS``. A candidate is a decision stage with five neurons for each class that reads some of the poolings. It
classifies at most 5,000 other training images (a fifth, if there are fewer than 25,000). With ``--flip`` it also learns
from a mirrored copy. No test image is read. Differences from the first candidate are paired by image. FOLDER keeps the
pooled maps, and which images each candidate has classified correctly, for the next command.

A candidate is POOLINGS/LEVELS/LEFT_OUT: 8.1+8.4+8.16/5,10/0.3 is colour2026_counts, with poolings of size 8 and the
ranks 1, 4 and 16, the levels 5 and 10, and 0.3 of the neurons left out. Poolings whose names begin with "a" read the
spikes before the inhibition: a8.1/5,10/0.3 is colour2026.
"""

import argparse
import time
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch

import imagesets
from encoders import choose_encoder
from engine.rules import MarginRule
from engine.stages import Inhibit, Pool, SpikingDense
from imagesets.augmentation import Augmentation, move_images
from models import model_class
from network_trainer import LatencyDataset, NetworkTrainer, Progress
from results.scripts.controls import choose_images
from training.settings import read_pairs
from utils import set_threads

POOLINGS = "a8.1", "8.1", "8.4", "8.16", "5.2"
SCALES = "1", "2"
CHUNK = 500


class Candidate(NetworkTrainer):
    """s1 and s2 of colour2026, some of the poolings, and a decision stage that reads them."""

    poolings: tuple[str, ...] = POOLINGS
    levels: tuple[int, ...] = ()
    left_out = 0.3

    def build(self, num_classes):
        learned = model_class("colour2026").build(self, num_classes)
        stages = {}
        read = []
        for scale in SCALES:
            stages[f"s{scale}"] = learned[f"s{scale}"]
            stages[f"i{scale}"] = Inhibit(0.05)
            for pooling in self.poolings:
                size, rank = map(int, pooling.removeprefix("a").split("."))
                source = f"s{scale}" if pooling.startswith("a") else f"i{scale}"
                read.append(name_map(scale, pooling))
                stages[read[-1]] = Pool(size, rank=rank, inputs=source)
        rule = MarginRule(decay=0.9, margin=0.02, left_out=self.left_out)
        return stages | {"s3": SpikingDense(5 * num_classes, levels=self.levels, rule=rule, inputs=tuple(read))}


def name_map(scale: str, pooling: str) -> str:
    return f"c{scale}_{pooling.replace('.', '_')}"


def read_candidate(text: str) -> type[Candidate]:
    """Return the network that a text such as 8.1+8.4/5,10/0.3 describes."""
    poolings, levels, left_out = text.split("/")
    fields = {
        "poolings": tuple(poolings.split("+")),
        "levels": tuple(map(int, levels.split(","))) if levels else (),
        "left_out": float(left_out),
    }
    return type("Candidate", (Candidate,), fields)


def compute_maps(args: argparse.Namespace) -> dict[str, np.ndarray]:
    """Train s1 and s2, and return the pooled maps: {"train/NAME": uint8 (N, C, H, W)}, also of "val" and "copy"."""
    data = imagesets.load(args.dataset, image_size=args.image_size)
    parts = dict(zip(("train", "val"), choose_images(data.train_labels, args.seed), strict=True))
    images = {split: data.train_images[part] for split, part in parts.items()}
    encoder = choose_encoder(model_class("colour2026").encoder, colours=3)
    encoder = encoder.with_state(encoder.fit(images["train"]))
    model = Candidate(encoder.channels, data.num_classes, args.seed, image_size=data.image_size)
    latencies = torch.cat([encoder.encode(part) for part in np.array_split(images["train"], 20)])
    labels = data.train_labels[parts["train"]]
    progress = model.fit(LatencyDataset(latencies, labels), None, (args.stdp, args.stdp, 0), seed=args.seed)
    for row in progress.history:
        print(f"{row['phase']} epoch {row['epoch']} convergence {row['convergence']:.1e}", flush=True)
    if args.flip:
        images["copy"] = move_images(images["train"], Augmentation(1, flip=True), 1, args.seed)
    names = [name_map(scale, pooling) for scale in SCALES for pooling in POOLINGS]
    maps = {f"{split}/labels": data.train_labels[part] for split, part in parts.items()}
    shapes = model.shapes(*data.image_size)
    for split, pictures in images.items():
        maps |= {f"{split}/{name}": np.empty((len(pictures), *shapes[name]), np.uint8) for name in names}
        for start in range(0, len(pictures), CHUNK):
            part = slice(start, start + CHUNK)
            for name, pooled in model.walk(encoder.encode(pictures[part]), names):
                maps[f"{split}/{name}"][part] = pooled
    maps["image_size"] = np.array(data.image_size)
    return maps


def train_candidate(text: str, maps: Mapping[str, np.ndarray], args: argparse.Namespace) -> np.ndarray:
    """Train a candidate. Returns which held-out images it classifies correctly after the last epoch, bool (N,)."""
    start = time.process_time()
    declared = read_candidate(text)
    classes = int(maps["train/labels"].max()) + 1
    model = declared(6, classes, args.seed, image_size=maps["image_size"].tolist(), overrides=read_pairs(args.set))
    names = model.inputs_of("s3")
    target = model.input_name("s3")
    sets = []
    for split in ("train", "val"):
        sets.append(LatencyDataset(None, torch.from_numpy(maps[f"{split}/labels"])))
        sets[-1].maps = {name: torch.from_numpy(maps[f"{split}/{name}"]) for name in names}
    if args.flip:
        copied = {}
        known = {name: torch.from_numpy(maps[f"copy/{name}"]) for name in names}
        for _ in model.propagate(known, [target], copied, bits=True):
            pass
        sets[0].copies.append(copied[target])
    progress = Progress()
    for step in model.steps(*sets, (0, 0, args.epochs), seed=args.seed, progress=progress):
        if step.kind == "validation":
            is_correct = (step.decisions == sets[1].labels).numpy()
    last = progress.history[-1]
    minutes = (time.process_time() - start) / 60
    inputs = model.stages["s3"].weight.shape[1]
    learned = f"learned from {100 * last['train_accuracy']:.1f} %"
    print(f"{text}: {learned}, {inputs:,} inputs, {minutes:.1f} min of processor time", flush=True)
    return is_correct


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dataset")
    parser.add_argument("candidates", nargs="+", metavar="CANDIDATE")
    parser.add_argument("--cache", type=Path, required=True)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--epochs", type=int, default=12)
    parser.add_argument("--stdp", type=int, default=1, metavar="E")
    parser.add_argument("--image-size", type=int, nargs=2)
    parser.add_argument("--flip", action="store_true")
    parser.add_argument("--set", nargs="+", default=[], metavar="NAME=VALUE")
    args = parser.parse_args()
    set_threads(1)
    name = Path(args.dataset.partition(":")[2] or args.dataset)
    folder = args.cache / f"{name.parent.name}-{name.stem}-{args.seed}-{args.stdp}{'-flip' * args.flip}"
    folder.mkdir(parents=True, exist_ok=True)
    cache = folder / "maps.npz"
    if not cache.exists():
        np.savez(cache, **compute_maps(args))
    reference = None
    for text in args.candidates:
        kept = folder / f"{text.replace('/', '_')} {args.epochs} {' '.join(args.set)}.npy"
        if not kept.exists():
            with np.load(cache) as maps:  # reads a map when it is used
                np.save(kept, train_candidate(text, maps, args))
        is_correct = np.load(kept)
        if reference is None:
            reference = is_correct
        difference = 100.0 * (is_correct.astype(float) - reference)
        error = difference.std() / len(difference) ** 0.5
        mean = 100 * is_correct.mean()
        print(f"{text}: {mean:.2f} %, difference {difference.mean():+.2f} ± {error:.2f}", flush=True)


if __name__ == "__main__":
    main()
