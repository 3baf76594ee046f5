"""Are learned features better than copies of patches if all images are noisy? The accuracy as a table.

    python -m results.scripts.noise --table FILE [--seeds S …] [--widths N …] [--noise NAME=X …] [--data-dir DIR]

The networks are those of learning.py with one layer, on MNIST. All images are noisy, those from which features and
decisions are learned and the 5,000 that are classified. The kinds of features:

* STDP, imprinted, random: as in controls.py.
* mean of 4, mean of 16: as imprinted, but the inputs receive the weights in the order of the mean spike times of the 4
  or 16 patches that are nearest to the drawn one, among 20,000 patches of other positions and images.
* none: the decision neurons read the map of the encoder.

Predicted before anything was measured: the lead of STDP over imprinted features grows with the noise, because a learned
weight is a vote over many patches and a copy is a sample; the means are between them; fewer features gain more.
"""

import argparse
import copy
import csv
import functools
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch.nn import functional as F

import imagesets
from encoders import choose_encoder
from engine.layers import Layer
from imagesets.augmentation import add_noise
from network_trainer import LatencyDataset, NetworkTrainer
from results.scripts.controls import DRAWS, KINDS, MEASURED, STRONG, Kind, describe_features, replace_features
from results.scripts.experiment import encode_splits
from results.scripts.learning import FEATURE_EPOCHS, Features, decide

COLUMNS = "data", "noise", "strength", "network", "seed", "features", "accuracy", "activity", "seconds"
LEVELS = "gaussian=0", "gaussian=0.1", "gaussian=0.2", "gaussian=0.3", "salt-pepper=0.2"
WIDTHS = 8, 32, 128
PATCHES = 20_000


def imprint_means(layer: Layer, latency: torch.Tensor, rng: np.random.Generator, nearest: int) -> None:
    """Give each feature its weights in the order of the mean times of the patches that are nearest to a drawn one."""
    stage = layer.stage
    silent = layer.time_steps
    padded = F.pad(latency, [stage.padding] * 4, value=silent).numpy()
    lines, columns = (side - stage.kernel + 1 for side in padded.shape[2:])

    def draw():
        image, line, column = rng.integers((len(padded), lines, columns))
        return padded[image, :, line : line + stage.kernel, column : column + stage.kernel].ravel()

    patches = np.stack([draw() for _ in range(PATCHES)]).astype(np.float32)
    for feature in layer.weight.flatten(1):
        wanted = int((feature > STRONG).sum())
        drawn = max((draw() for _ in range(DRAWS)), key=lambda seen: min(np.count_nonzero(seen < silent), wanted))
        distances = ((patches - drawn) ** 2).sum(1)
        chosen = patches[np.argpartition(distances, nearest - 1)[: nearest - 1]]
        mean = np.concatenate([chosen, drawn[None]]).mean(0)
        order = np.lexsort((rng.random(len(mean)), mean))
        feature[torch.from_numpy(order)] = feature.sort(descending=True).values


CHANGES = {
    "STDP": None,
    "imprinted": KINDS["imprinted"],
    "random": KINDS["random"],
    "mean of 4": Kind(functools.partial(imprint_means, nearest=4)),
    "mean of 16": Kind(functools.partial(imprint_means, nearest=16)),
}


def measure(noise, strength, seed, widths, data_dir):
    """Yield (network, features, accuracy, activity) of each network, on the same noisy images."""
    data = imagesets.load("mnist", data_dir)
    data = replace(data, train_images=add_noise(data.train_images, noise, strength))
    encoder = choose_encoder(NetworkTrainer.encoder, colours=data.colours)
    (latency, of_train), (held_out, of_held_out) = encode_splits(data, encoder, seed)
    labels = [of_train, of_held_out]
    about = {"num_classes": data.num_classes, "time_steps": encoder.time_steps}
    yield "none", "none", *decide([latency, held_out], labels, about, seed), ""
    for width in widths:
        learned = Features([width], latency.shape[1], seed=seed, image_size=data.image_size, **about)
        learned.fit(LatencyDataset(latency, of_train), None, [FEATURE_EPOCHS], seed=seed)
        for kind, change in CHANGES.items():
            model = copy.deepcopy(learned)
            if change is not None:
                replace_features(model, change, latency[:MEASURED], np.random.default_rng(seed))
            maps = [model.map_of(each, "c1") for each in (latency, held_out)]
            text = describe_features(model, latency[:MEASURED])
            yield width, kind, *decide(maps, labels, about, seed), text


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-dir", default=imagesets.DATA_DIR, metavar="DIR")
    parser.add_argument("--table", type=Path, required=True, metavar="FILE")
    parser.add_argument("--seeds", type=int, nargs="+", default=range(6), metavar="S", help="(default: 0 to 5)")
    parser.add_argument("--widths", type=int, nargs="+", default=WIDTHS, metavar="N", help="(default: 8 32 128)")
    parser.add_argument("--noise", nargs="+", default=LEVELS, metavar="NAME=X", help=f"(default: {' '.join(LEVELS)})")
    args = parser.parse_args()
    torch.set_num_threads(1)
    if not args.table.exists():
        args.table.write_text("\t".join(COLUMNS) + "\n", encoding="utf-8")
    for seed in args.seeds:
        for level in args.noise:
            noise, _, number = level.partition("=")
            strength = float(number)
            start = time.process_time()
            for network, kind, accuracy, text in measure(noise, strength, seed, args.widths, args.data_dir):
                seconds = time.process_time() - start
                row = "mnist", noise, strength, network, seed, kind, f"{accuracy:.2f}", text, f"{seconds:.0f}"
                print(*row, flush=True)
                with open(args.table, "a", encoding="utf-8", newline="") as file:
                    csv.writer(file, delimiter="\t", lineterminator="\n").writerow(row)
                start = time.process_time()


if __name__ == "__main__":
    main()
