"""Is it the learning? A network with the features that STDP has learned, and with features that it has not learned.

    python -m results.scripts.controls NETWORK DATASET --epochs N N … [--seeds S …] [--set NAME=VALUE …]
        [--images N] [--augment copies=N …] [--kinds KIND …] [--table FILE]

NETWORK, DATASET and --augment are those of train.py; --epochs has one number for each phase. NETWORK learns from at
most 10,000 of the training images (--images; 0: from all) and classifies at most 5,000 others (a fifth, if there are
fewer than 25,000). No test image is read. Then the features are replaced, bottom up, and the decision stage learns
anew:

* STDP: the features as they have learned.
* imprinted: each feature has the same weights in another order. A random position of a random image is drawn at which
  at least as many inputs spike as the feature has weights above 0.5. The inputs receive the weights in the order of
  their spikes, the earliest input the greatest weight. Inputs that spike together are in random order.
* random: each feature has the same weights in random order.

So all three have the same number of strong synapses. The thresholds of a stage are multiplied by a factor, so that the
same fraction of its neurons spikes as with STDP, on 500 training images. (Most weights are near 0 or 1, and so are
potentials near whole numbers. Therefore the fractions can differ a little.)

These two take the number of strong synapses and the activity from the learned features. Two others take nothing:

* patch: as imprinted, but 10 % of the weights of each feature are 1 and the others 0.
* ones: 10 % of the weights, chosen at random, are 1 and the others 0.

Their thresholds let 5 % of the neurons of each stage spike. Both numbers were fixed before anything was measured.

* none: the decision neurons of control2026 read the encoder's map.

With --table, a row for each kind of features is added to the file, and kinds whose rows are there are left out, so an
interrupted command continues.
"""

import argparse
import copy
import csv
import time
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch.nn import functional as F

import imagesets
from encoders import choose_encoder, encode_chunks
from engine.layers import Layer
from engine.stages import INPUT
from imagesets.augmentation import MovedCopies
from imagesets.splits import stratified_split
from models import model_class
from network_trainer import LatencyDataset, NetworkTrainer, Progress
from training.plan import count_neurons, read_augmentation
from training.settings import read_pairs

CONTROL = "control2026"
COLUMNS = "network", "data", "images", "copies", "epochs", "seed", "features", "last", "best", "activity", "seconds"
IMAGES = 10_000
HELD_OUT = 5000
MEASURED = 500  # images on which the activity of a stage is measured
DRAWS = 100  # positions that are drawn for a feature, before the one with the most spikes is used
STRONG = 0.5
ONES = 0.1  # of the weights of a feature that takes nothing from learning
RATE = 0.05  # of the neurons of its stage spike


def shuffle(layer: Layer, latency: torch.Tensor, rng: np.random.Generator) -> None:
    """Give each feature its weights in random order."""
    flat = layer.weight.flatten(1)
    for feature in flat:
        feature.copy_(feature[torch.from_numpy(rng.permutation(len(feature)))])


def imprint(layer: Layer, latency: torch.Tensor, rng: np.random.Generator) -> None:
    """Give each feature its weights in the order of the spikes at a position of an image."""
    stage = layer.stage
    padded = F.pad(latency, [stage.padding] * 4, value=layer.time_steps).numpy()
    lines, columns = (side - stage.kernel + 1 for side in padded.shape[2:])
    for feature in layer.weight.flatten(1):
        wanted = int((feature > STRONG).sum())
        most = -1
        for _ in range(DRAWS):
            image, line, column = rng.integers((len(padded), lines, columns))
            seen = padded[image, :, line : line + stage.kernel, column : column + stage.kernel].ravel()
            spikes = np.count_nonzero(seen < layer.time_steps)
            if spikes > most:
                most = spikes
                pattern = seen
            if most >= wanted:
                break
        order = np.lexsort((rng.random(len(pattern)), pattern))
        feature[torch.from_numpy(order)] = feature.sort(descending=True).values


def measure_activity(layer: Layer, latency: torch.Tensor) -> float:
    """Return the fraction of the neurons that spike."""
    return float((layer.fire(latency) < layer.time_steps).double().mean())


def scale_thresholds(layer: Layer, factor: float) -> None:
    """Multiply the thresholds of all features."""
    layer.threshold *= factor
    layer.raised *= factor


def match_activity(layer: Layer, latency: torch.Tensor, wanted: float) -> None:
    """Scale the thresholds until the fraction ``wanted`` of the neurons spikes, by bisection."""
    original = copy.deepcopy(layer)
    lowest = 0.01
    highest = 10.0
    for _ in range(20):
        factor = (lowest * highest) ** 0.5
        layer.threshold = original.threshold
        layer.raised.copy_(original.raised)
        scale_thresholds(layer, factor)
        if measure_activity(layer, latency) > wanted:
            lowest = factor
        else:
            highest = factor


def set_ones(layer: Layer) -> None:
    """Set ``ONES`` of the weights of each feature to 1 and the others to 0, and all its thresholds to one number."""
    layer.raised.zero_()
    for feature in layer.weight.flatten(1):
        feature.zero_()
        feature[: round(ONES * len(feature))] = 1


class Kind(NamedTuple):
    """How features are replaced: a function that reorders their weights, and whether it takes nothing from learning."""

    reorder: object
    is_fixed: bool = False


KINDS = {
    "STDP": Kind(None),
    "imprinted": Kind(imprint),
    "random": Kind(shuffle),
    "patch": Kind(imprint, True),
    "ones": Kind(shuffle, True),
}
NONE = "none"


def replace_features(model: NetworkTrainer, kind: Kind, latency: torch.Tensor, rng: np.random.Generator) -> list[str]:
    """Replace the features of all stages that learn without labels. Returns a text for each stage."""
    learned = copy.deepcopy(model)
    texts = []
    for phase in model.phases:
        if phase.needs_labels:
            continue
        for name in phase.stages:
            below = model.input_name(name)
            wanted = measure_activity(learned.stages[name], learned.map_of({INPUT: latency}, below))
            inputs = model.map_of({INPUT: latency}, below)
            layer = model.stages[name]
            if kind.is_fixed:
                set_ones(layer)
                wanted = RATE
            if kind.reorder is not None:
                kind.reorder(layer, inputs, rng)
                match_activity(layer, inputs, wanted)
            found = measure_activity(layer, inputs)
            texts.append(f"{name} {100 * found:.1f} % spike, threshold {float(layer.thresholds.mean()):.3g}")
    return texts


def choose_images(labels: np.ndarray, seed: int, images: int = IMAGES) -> tuple[np.ndarray, np.ndarray]:
    """Return the positions of the training images to learn from, and of those held out, stratified and sorted.

    images: number of images to learn from at most; 0: all.
    """
    rest, held_out = stratified_split(labels, min(HELD_OUT, len(labels) // 5), seed)
    if images and len(rest) > images:
        _, chosen = stratified_split(labels[rest], images, seed)
        rest = rest[chosen]
    return rest, held_out


def encode_splits(
    data: imagesets.DataSet, encoder, seed: int, images: int = IMAGES
) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """Return (latencies, labels) of the images to learn from, and of those held out. Fits the encoder."""
    train, held_out = choose_images(data.train_labels, seed, images)
    encoder = encoder.with_state(encoder.fit(data.train_images[train]))
    splits = []
    for chosen in (train, held_out):
        parts = [latencies for _, latencies in encode_chunks(encoder, data.train_images[chosen])]
        splits.append((torch.cat(parts), torch.from_numpy(data.train_labels[chosen])))
    return splits


def make_parser(description: str) -> argparse.ArgumentParser:
    """Return a parser of what ``Experiment`` reads."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("network")
    parser.add_argument("dataset")
    parser.add_argument("--epochs", type=int, nargs="+", required=True)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0], metavar="S")
    parser.add_argument("--set", nargs="+", default=[], metavar="NAME=VALUE")
    parser.add_argument("--data-dir", default=imagesets.DATA_DIR, metavar="DIR")
    parser.add_argument(
        "--images", type=int, default=IMAGES, metavar="N", help="to learn from; 0: all (default: 10,000)"
    )
    parser.add_argument("--augment", nargs="+", default=["none"], metavar="A=X", help="moved copies, as of train.py")
    return parser


class Experiment:
    """The images of a seed, and networks that learn from them.

    args: of ``make_parser``.
    """

    def __init__(self, args: argparse.Namespace, seed: int):
        self.args = args
        self.seed = seed
        self.data = imagesets.load(args.dataset, args.data_dir)
        values = read_pairs(args.set)
        self.overrides = {name: value for name, value in values.items() if not name.startswith("encoder")}
        of_encoder = {name: value for name, value in values.items() if name.startswith("encoder.")}
        encoder = choose_encoder(model_class(args.network).encoder, None, of_encoder, self.data.colours)
        self.splits = encode_splits(self.data, encoder, seed, args.images)
        self.chosen, _ = choose_images(self.data.train_labels, seed, args.images)
        self.encoder = encoder.with_state(encoder.fit(self.data.train_images[self.chosen]))

    def build(self, network: str, overrides: dict) -> NetworkTrainer:
        """Return a new network for these images."""
        return model_class(network)(
            self.splits[0][0].shape[1],
            self.data.num_classes,
            self.seed,
            time_steps=self.encoder.time_steps,
            overrides=overrides,
            image_size=self.data.image_size,
        )

    def make_copies(self, model: NetworkTrainer) -> MovedCopies | None:
        """Return the moved copies of the training images, from which the decision stage learns, too."""
        augmentation = read_augmentation(" ".join(self.args.augment))
        if not augmentation:
            return None
        images = self.data.train_images[self.chosen]
        neurons = count_neurons(model, model.input_name(model.decision), self.data.image_size)
        return MovedCopies(images, augmentation, self.seed, self.encoder.encode, neurons, None)

    def decide(self, model: NetworkTrainer) -> tuple[float, float]:
        """Train the decision stage. Returns the accuracies on the held-out images, in %: last and best epoch."""
        count = len(model.phases) - 1
        train, validation = (LatencyDataset(*split) for split in self.splits)
        epochs = (*(0,) * count, self.args.epochs[-1])
        copies = self.make_copies(model)
        progress = model.fit(train, validation, epochs, seed=self.seed, progress=Progress(phase=count), copies=copies)
        return 100 * progress.history[-1]["val_accuracy"], 100 * progress.best["accuracy"]

    def learn_features(self) -> NetworkTrainer:
        """Return the network after all its phases but the last."""
        model = self.build(self.args.network, self.overrides)
        count = len(model.phases) - 1
        model.fit(LatencyDataset(*self.splits[0]), None, (*self.args.epochs[:count], 0), seed=self.seed)
        return model


def read_done(table: Path | None) -> set[tuple[str, ...]]:
    """Return the first columns, up to "features", of the rows of the table, which is begun if it is missing."""
    if table is None:
        return set()
    if not table.exists():
        table.write_text("\t".join(COLUMNS) + "\n", encoding="utf-8")
    with open(table, encoding="utf-8", newline="") as file:
        return {tuple(row[name] for name in COLUMNS[:7]) for row in csv.DictReader(file, delimiter="\t")}


def main() -> None:
    parser = make_parser(__doc__)
    names = [*KINDS, NONE]
    parser.add_argument("--kinds", nargs="+", choices=names, default=names[:3], help="(default: STDP imprinted random)")
    parser.add_argument("--table", type=Path, metavar="FILE")
    args = parser.parse_args()
    torch.set_num_threads(1)
    data = Path(args.dataset).stem
    for seed in args.seeds:
        start = time.process_time()
        experiment = None
        learned = None
        for name in args.kinds:
            epochs = " ".join(map(str, args.epochs))
            key = args.network, data, str(args.images), " ".join(args.augment), epochs, str(seed), name
            if key in read_done(args.table):
                continue
            experiment = experiment or Experiment(args, seed)
            texts = []
            if name == NONE:
                model = experiment.build(CONTROL, {})
            else:
                if KINDS[name].is_fixed:
                    model = experiment.build(args.network, experiment.overrides)
                else:
                    learned = learned or experiment.learn_features()
                    model = copy.deepcopy(learned)
                latency = experiment.splits[0][0][:MEASURED]
                texts = replace_features(model, KINDS[name], latency, np.random.default_rng(seed))
            last, best = experiment.decide(model)
            sizes = " + ".join(f"{len(labels):,}" for _, labels in experiment.splits)
            row = f"{args.network:19} {data:14} seed {seed} {sizes} images  {name:9}"
            print(f"{row} last {last:5.2f} %, best {best:5.2f} %  {'; '.join(texts)}", flush=True)
            if args.table is not None:
                seconds = time.process_time() - start
                with open(args.table, "a", encoding="utf-8", newline="") as file:
                    writer = csv.writer(file, delimiter="\t", lineterminator="\n")
                    writer.writerow((*key, f"{last:.2f}", f"{best:.2f}", "; ".join(texts), f"{seconds:.0f}"))
            start = time.process_time()


if __name__ == "__main__":
    main()
