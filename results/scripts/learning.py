"""What does STDP learn? The accuracy with learned, imprinted and random features, as a table.

    python -m results.scripts.learning [--data-dir DIR] [--seeds S …]  # adds the missing rows to results/learning.tsv

Each network of ``list_networks`` learns features by STDP from 10,000 training images, without labels. Its features are
replaced as in controls.py. Then decision neurons learn from its highest map by the margin rule, and classify 5,000
other training images after the last epoch. No test image is read. The kinds of features of one seed share the images,
their order, and the first weights of the decision neurons, so differences are paired. A network takes up to seven
minutes of processor time.

* labels: so many images of each class have a label. They are repeated, so that an epoch has 10,000 images.
* noise: the held-out images get Gaussian noise of this standard deviation; 1 is the range of the pixels. The images
  that the network learns from have none.
* "none": the decision neurons read the map of the encoder. kheradpisheh2018: its own support vector machine reads c2.
"""

import argparse
import copy
import csv
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

import imagesets
from encoders import choose_encoder
from engine.rules import STDP, MarginRule
from engine.stages import Pool, SpikingConv, SpikingDense
from models import model_class
from network_trainer import LatencyDataset, NetworkTrainer
from results.scripts.controls import KINDS, MEASURED, replace_features
from results.scripts.experiment import encode_splits
from training.log import RunLog
from training.readout import find_spikes, train_readout

TABLE = Path(__file__).resolve().parent.parent / "learning.tsv"
COLUMNS = "data", "network", "seed", "features", "labels", "noise", "accuracy", "spikes", "seconds"
FASHION, MNIST, PUBLISHED, NONE = "fashion-mnist", "mnist", "kheradpisheh2018", "none"
SEEDS = 0, 1, 2  # of the table; --seeds adds others
WIDTHS = "8", "32", "128", "512"
DEPTHS = "32-128", "32-128-128"
REPLACED = {"STDP": None, "imprinted": KINDS["imprinted"], "random": KINDS["random"]}
ALL_LABELS = 1000  # of each class
FEW_LABELS = 10, 100
NOISE = 0.05, 0.1, 0.2
EPOCHS = 10  # of the decision neurons
FEATURE_EPOCHS = 4


class Features(NetworkTrainer):
    """Layers of STDP features with adaptive thresholds. Their highest map has 7×7 positions of images of 28×28.

    sizes: number of features of each layer, bottom up, 1 to 3.
    """

    def __init__(self, sizes: list[int], *arguments, **options):
        self.sizes = sizes
        super().__init__(*arguments, **options)

    def build(self, num_classes):
        first, *others = self.sizes
        rule = STDP(winners=5, radius=3, target=0.75, positions=0.05)
        stages = {"s1": SpikingConv(first, 5, padding=2, threshold=15, rule=rule), "c1": Pool(2 if others else 4)}
        for number, size in enumerate(others, start=2):
            rule = STDP(winners=8, radius=1, target=0.5, positions=0.05)
            stages[f"s{number}"] = SpikingConv(size, 3, padding=1, threshold=2, rule=rule)
            if number == 2:
                stages["c2"] = Pool(2)
        return stages


class Decision(NetworkTrainer):
    """Five decision neurons for each class, which read a map as a whole."""

    def build(self, num_classes):
        rule = MarginRule(decay=0.9, margin=0.02, left_out=0.2)
        return {"d": SpikingDense(5 * num_classes, rule=rule)}


def list_networks(seeds: Sequence[int]) -> list[tuple[str, str, int]]:
    """Return (data, network, seed) of each network, in the order in which they are trained."""
    return [
        *((FASHION, width, seed) for seed in seeds for width in WIDTHS),
        *((FASHION, depth, seed) for seed in seeds for depth in DEPTHS),
        *((MNIST, width, seed) for seed in seeds for width in WIDTHS),
        *((MNIST, PUBLISHED, seed) for seed in seeds),
        *((data, NONE, seed) for data in (FASHION, MNIST) for seed in seeds),
    ]


def decide(maps: list[torch.Tensor], labels: list[torch.Tensor], about: dict, seed: int) -> list[float]:
    """Train decision neurons on the first map; return the accuracies on the others, held-out images, in per cent."""
    _, channels, *size = maps[0].shape
    decision = Decision(channels, seed=seed, image_size=size, **about)
    decision.fit(LatencyDataset(maps[0], labels[0]), None, (EPOCHS,), seed=seed)
    return [100 * decision.evaluate(held_out, labels[1]).fraction("correct") for held_out in maps[1:]]


def read_by_svm(maps: list[torch.Tensor], labels: list[torch.Tensor], about: dict) -> list[float]:
    """As ``decide``, with the support vector machine of kheradpisheh2018."""
    spikes = [find_spikes(each, about["time_steps"]) for each in maps[:2]]
    splits = dict(zip(("train", "validation"), zip(spikes, map(torch.Tensor.numpy, labels), strict=True), strict=True))
    found = train_readout(model_class(PUBLISHED).readout, splits, about["num_classes"], RunLog())
    return [100 * found["validation"]["accuracy"]]


def choose_labelled(labels: torch.Tensor, of_class: int) -> torch.Tensor:
    """Return the indices of the first labelled images of each class, repeated to the number of all images."""
    first = torch.cat([torch.nonzero(labels == label)[:of_class, 0] for label in labels.unique()])
    return first.repeat(-(-len(labels) // len(first)))[: len(labels)]


def add_noise(data: imagesets.DataSet, deviation: float, seed: int) -> imagesets.DataSet:
    """Return the data with noise in the training images, of which some are held out."""
    rng = np.random.default_rng(seed)
    noisy = np.empty_like(data.train_images)
    for image, source in zip(noisy, data.train_images, strict=True):
        image[:] = (source + 255 * deviation * rng.standard_normal(source.shape)).clip(0, 255)
    return replace(data, train_images=noisy)


def measure(data: imagesets.DataSet, name: str, seed: int) -> Iterator[tuple]:
    """Yield (features, labels, noise, accuracy, spikes in %) of a network of ``list_networks``."""
    declared = model_class(PUBLISHED) if name == PUBLISHED else NetworkTrainer
    encoder = choose_encoder(declared.encoder, colours=data.colours)
    (latency, of_train), (held_out, of_held_out) = encode_splits(data, encoder, seed)
    labels = [of_train, of_held_out]
    inputs = [latency, held_out]
    noise = NOISE if (data.name, name) == (FASHION, "128") else ()
    for deviation in noise:
        _, (noisy, _) = encode_splits(add_noise(data, deviation, seed), encoder, seed)
        inputs.append(noisy)
    about = {"num_classes": data.num_classes, "time_steps": encoder.time_steps}
    if name == NONE:
        spikes = 100 * float((latency < encoder.time_steps).double().mean())
        yield NONE, ALL_LABELS, 0, *decide(inputs, labels, about, seed), spikes
        return
    options = {"seed": seed, "image_size": data.image_size, **about}
    if name == PUBLISHED:
        learned = declared(latency.shape[1], **options)
        epochs = declared.epochs
    else:
        learned = Features([*map(int, name.split("-"))], latency.shape[1], **options)
        epochs = [FEATURE_EPOCHS] * len(learned.phases)
    learned.fit(LatencyDataset(latency, of_train), None, epochs, seed=seed)
    for kind, change in REPLACED.items():
        model = copy.deepcopy(learned)
        if change is not None:
            replace_features(model, change, latency[:MEASURED], np.random.default_rng(seed))
        maps = [model.map_of(each, [*model.declaration][-1]) for each in inputs]
        spikes = 100 * float((maps[0] < encoder.time_steps).double().mean())
        if name == PUBLISHED:
            yield kind, ALL_LABELS, 0, *read_by_svm(maps, labels, about), spikes
            continue
        for deviation, accuracy in zip((0, *noise), decide(maps, labels, about, seed), strict=True):
            yield kind, ALL_LABELS, deviation, accuracy, spikes
        for of_class in FEW_LABELS if noise else ():
            chosen = choose_labelled(of_train, of_class)
            few = [maps[0][chosen], maps[1]], [of_train[chosen], of_held_out]
            yield kind, of_class, 0, *decide(*few, about, seed), spikes


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-dir", default=imagesets.DATA_DIR, metavar="DIR")
    parser.add_argument("--table", type=Path, default=TABLE, metavar="FILE", help="(default: results/learning.tsv)")
    parser.add_argument("--seeds", type=int, nargs="+", default=SEEDS, metavar="S", help="(default: 0 1 2)")
    args = parser.parse_args()
    torch.set_num_threads(1)
    done = set()
    if args.table.exists():
        with open(args.table, encoding="utf-8", newline="") as file:
            done = {(row["data"], row["network"], int(row["seed"])) for row in csv.DictReader(file, delimiter="\t")}
    else:
        args.table.write_text("\t".join(COLUMNS) + "\n", encoding="utf-8")
    for data, name, seed in list_networks(args.seeds):
        if (data, name, seed) in done:
            continue
        rows = []
        start = time.process_time()
        loaded = imagesets.load(data, args.data_dir)
        for kind, labels, noise, accuracy, spikes in measure(loaded, name, seed):
            seconds = time.process_time() - start
            rows.append((data, name, seed, kind, labels, noise, f"{accuracy:.2f}", f"{spikes:.2f}", f"{seconds:.0f}"))
            print(*rows[-1], flush=True)
            start = time.process_time()
        # a network's rows together, so that an interrupted one is trained again
        with open(args.table, "a", encoding="utf-8") as file:
            csv.writer(file, delimiter="\t", lineterminator="\n").writerows(rows)


if __name__ == "__main__":
    main()
