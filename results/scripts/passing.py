"""Which spikes should pass a pooling? Inhibition between features, and pooled maps that count, tried on colour images.

    python -m results.scripts.passing DATASET [--images N] [--held-out N] [--epochs E] [--seed S]

Trains s1 of colour2026 (256 features of 5×5) by STDP on the whitened images, and makes its control with random features
(results/scripts/controls.py). For each row, the spikes of s1 pass an inhibition and a pooling of 8×8, and a dense stage
with five neurons per class learns by the margin rule from the pooled map. The test images are not read.

* share: at each position, a spike passes if fewer than ⌈share · F⌉ of the F features spike earlier there. "all": no
  inhibition.
* ranks: a pooled feature has a channel for each rank r, which spikes with the r-th spike of the window.
"""

import argparse
import copy

import numpy as np
import torch

import datasets
from encoders import choose_encoder
from engine.layers import Inhibition, Pooling
from engine.rules import MarginRule
from engine.stages import Inhibit, Pool, SpikingDense
from models import model_class
from network_trainer import LatencyDataset, NetworkTrainer
from results.scripts.controls import (
    MEASURED,
    encode_splits,
    match_activity,
    measure_activity,
    shuffle,
)

WINDOW = 8
CHUNK = 200
FIRST = (1,)
COUNTS = (1, 4, 16)
ROWS = [
    (features, share, ranks)
    for features in ("STDP", "random")
    for share, ranks in ((None, FIRST), (0.05, FIRST), (None, COUNTS), (0.05, COUNTS))
]


class Decision(NetworkTrainer):
    """The decision stage of colour2026, which reads one map."""

    epochs = (10,)

    def build(self, num_classes):
        rule = MarginRule(decay=0.9, margin=0.02, left_out=0.3)
        return {"d": SpikingDense(5 * num_classes, levels=(5, 10), rule=rule)}


def compute_map(layer, latencies, share, ranks) -> tuple[torch.Tensor, float]:
    """Return the pooled map, and the fraction of the neurons whose spikes pass."""
    pooled = []
    passed = 0.0
    for part in latencies.split(CHUNK):
        fired = layer.fire(part)
        if share is not None:
            fired = Inhibition(Inhibit(share), fired.shape[1], layer.time_steps).fire(fired)
        passed += float((fired < layer.time_steps).double().mean()) * len(part)
        poolings = [Pooling(Pool(WINDOW, rank=rank), fired.shape[1], layer.time_steps) for rank in ranks]
        pooled.append(torch.cat([pooling.fire(fired) for pooling in poolings], 1))
    return torch.cat(pooled), passed / len(latencies)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dataset")
    parser.add_argument("--images", type=int, default=6000)
    parser.add_argument("--held-out", type=int, default=3000)
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    torch.set_num_threads(1)
    data = datasets.load(args.dataset)
    declared = model_class("colour2026")
    encoder = choose_encoder(declared.encoder, colours=data.colours)
    maps, targets = zip(*encode_splits(data, encoder, args.seed, args.images, args.held_out), strict=True)
    size = data.image_size
    model = declared(maps[0].shape[1], data.num_classes, args.seed, time_steps=encoder.time_steps, image_size=size)
    model.fit(LatencyDataset(maps[0], targets[0]), None, (1, 0, 0), seed=args.seed)
    layers = {"STDP": model.stages["s1"], "random": copy.deepcopy(model.stages["s1"])}
    measured = maps[0][:MEASURED]
    shuffle(layers["random"], measured, np.random.default_rng(args.seed))
    match_activity(layers["random"], measured, measure_activity(layers["STDP"], measured))
    print(f"{args.images:,} + {args.held_out:,} images, {args.epochs} epochs, seed {args.seed}", flush=True)
    for features, share, ranks in ROWS:
        pooled = []
        for latencies in maps:
            computed, passed = compute_map(layers[features], latencies, share, ranks)
            pooled.append(computed)
        channels, *size = pooled[0].shape[1:]
        decision = Decision(channels, data.num_classes, args.seed, time_steps=encoder.time_steps, image_size=size)
        train, validation = (LatencyDataset(*pair) for pair in zip(pooled, targets, strict=True))
        progress = decision.fit(train, validation, (args.epochs,), seed=args.seed)
        accuracies = [100 * row["val_accuracy"] for row in progress.history]
        kind = "all " if share is None else f"{share:.2f}"
        print(
            f"{features:6}  share {kind}  ranks {' '.join(map(str, ranks)):7}  "
            f"{100 * passed:5.2f} % pass  last {accuracies[-1]:5.2f} %, best {max(accuracies):5.2f} %",
            flush=True,
        )


if __name__ == "__main__":
    main()
