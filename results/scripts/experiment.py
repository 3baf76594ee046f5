"""What features are worth, with few labels and in tables: networks with learned features, and with others.

    python -m results.scripts.experiment NETWORK DATASET --epochs N N … [--seeds S …] [--set NAME=VALUE …]
        [--images N] [--augment copies=N …] [--kinds KIND …] [--table FILE]
        [--labels N …] [--test] [--features FOLDER]

Logs until commit 588d58d call this script results.scripts.controls; the words after it are the same.

NETWORK, DATASET and --augment are those of train.py; --epochs has one number for each phase. NETWORK learns from at
most 10,000 of the training images (--images; 0: from all) and classifies at most 5,000 others (a fifth, if there are
fewer than 25,000). No test image is read. Then the features are replaced, bottom up, and the decision stage learns
anew. The kinds imprinted, random, patch and ones are those of controls.py; further ones:

* STDP: the features as they have learned.
* none: the decision neurons of control2026 read the encoder's map. If NETWORK is control2026, with its --set.

With --labels, the decision stage learns from N of the images, those that train.py --labels N chooses, and the features
from all of them; N may be "all". Further kinds:

* labelled: as STDP, but the features learn from the labelled images alone, until they have converged as in train.py.
* logistic regression, nearest neighbour, SVM, label spreading: classifiers of the pixels (baselines.py). Label
  spreading also reads images without labels. The held-out images choose the setting of each row.
* SVM on features: this classifier reads the spike times of the learned features, as the decision stage does.

With --test, the test images are classified, too, after the last epoch.

With --table, a row for each kind of features and number of labels is added to the file, and what has a row is left
out, so an interrupted command continues. With --features, networks that have learned features are kept in FOLDER, by
network, data set and seed.
"""

import argparse
import copy
import csv
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

import imagesets
from encoders import choose_encoder, encode_chunks
from engine.decision import Outcome
from imagesets.augmentation import MovedCopy, make_copies
from imagesets.splits import choose_labelled, stratified_split
from models import model_class
from network_trainer import LatencyDataset, NetworkTrainer, Progress
from results.scripts.baselines import FEW_LABELS, FewLabels
from results.scripts.controls import KINDS, MEASURED, describe_features, replace_features
from training.plan import read_augmentation
from training.settings import read_pairs
from training.trained import load_network, save_network

CONTROL = "control2026"
KEY = "network", "data", "images", "copies", "epochs", "seed", "features", "labels"
COLUMNS = *KEY, "last", "best", "test", "activity", "seconds"
ALL = "all"
IMAGES = 10_000
HELD_OUT = 5000
STDP = "STDP"
NONE = "none"
LABELLED = "labelled"
SVM_ON_FEATURES = "SVM on features"


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
    parser.add_argument("--test", action="store_true", help="classify the test images, too, after the last epoch")
    parser.add_argument("--features", type=Path, metavar="FOLDER", help="of networks that have learned features")
    return parser


def read_count(text: str) -> str | int:
    """Parse a number of labelled images, or "all"."""
    return text if text == ALL else int(text)


class Scores(NamedTuple):
    """Accuracies in %: on the held-out images after the last and the best epoch, and on the test images."""

    last: float
    best: float | None
    test: float | None


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
        if args.test:
            parts = [latencies for _, latencies in encode_chunks(self.encoder, self.data.test_images)]
            self.splits.append((torch.cat(parts), torch.from_numpy(self.data.test_labels)))
        self.learned = None
        self.pixels = None

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

    def make_copies(self, labelled: np.ndarray) -> list[MovedCopy]:
        """Return the moved copies of the labelled images, from which the decision stage learns, too."""
        augmentation = read_augmentation(" ".join(self.args.augment))
        images = self.data.train_images[self.chosen[labelled]]
        return make_copies(images, augmentation, self.seed, self.encoder.encode)

    def choose_labelled(self, count: str | int) -> np.ndarray:
        """Return the positions of the labelled images among those to learn from, sorted."""
        labels = self.splits[0][1].numpy()
        return np.arange(len(labels)) if count == ALL else choose_labelled(labels, count, self.seed)

    def make_inputs(self, model: NetworkTrainer, labelled: np.ndarray) -> list[LatencyDataset]:
        """Return what the decision stage reads of the labelled, the held-out and the test images."""
        name = model.input_name(model.decision)
        (latencies, labels), *others = self.splits
        datasets = []
        for part, of_part in ((latencies[labelled], labels[labelled]), *others):
            dataset = LatencyDataset(part, of_part)
            dataset.maps = {name: model.map_of(part, name)}
            datasets.append(dataset)
        return datasets

    def decide(self, model: NetworkTrainer, datasets: list[LatencyDataset], copies: list[MovedCopy]) -> Scores:
        """Train the decision stage from the labelled images of the first data set.

        datasets: of ``make_inputs``. If all images of the first have labels, the best epoch is measured, too.
        """
        train, *scored = datasets
        count = len(model.phases) - 1
        validation = scored[0] if train.labelled is None else None
        numbers = (*(0,) * count, self.args.epochs[-1])
        progress = model.fit(train, validation, numbers, seed=self.seed, progress=Progress(phase=count), copies=copies)
        last, *test = (100 * Outcome.of(model.decide(each.maps)[0], each.labels).fraction("correct") for each in scored)
        best = None if progress.best is None else 100 * progress.best["accuracy"]
        return Scores(last, best, *test or [None])

    def learn_features(self, labelled: np.ndarray | None = None) -> NetworkTrainer:
        """Return the network after all its phases but the last.

        labelled: positions of the images to learn from until the features have converged; None: all, for their epochs.
        """
        model = self.build(self.args.network, self.overrides)
        folder = self.args.features
        path = None
        if folder is not None and labelled is None:
            path = folder / f"{self.args.network}-{Path(self.args.dataset).stem}-seed{self.seed}.safetensors"
            if path.exists():
                model.load_state_dict(load_network(path).model.state_dict())
                return model
        epochs = (*self.args.epochs[: len(model.phases) - 1], 0)
        converge = 0.0
        chosen = slice(None)
        if labelled is not None:
            converge = model.converge
            chosen = labelled
        train = LatencyDataset(*(each[chosen] for each in self.splits[0]))
        model.fit(train, None, epochs, seed=self.seed, converge=converge)
        if path is not None:
            folder.mkdir(parents=True, exist_ok=True)
            save_network(path, model, encoder=self.encoder, image_size=self.data.image_size)
        return model

    def make_model(self, name: str, labelled: np.ndarray | None) -> tuple[NetworkTrainer, str]:
        """Return a network with a kind of features, and a text about its stages.

        labelled: positions of the images from which features of the kind "labelled" learn.
        """
        network = self.args.network
        if name == NONE:
            return self.build(CONTROL, self.overrides if network == CONTROL else {}), ""
        kind = KINDS.get(name)
        latency = self.splits[0][0][:MEASURED]
        if kind is not None and kind.is_fixed:
            model = self.build(network, self.overrides)
        elif name == LABELLED:
            model = self.learn_features(labelled)
        else:
            self.learned = self.learned or self.learn_features()
            model = copy.deepcopy(self.learned)
        if kind is not None:
            replace_features(model, kind, latency, np.random.default_rng(self.seed))
        return model, describe_features(model, latency)

    def measure(self, name: str, counts: list[str | int]) -> Iterator[tuple[Scores, str]]:
        """Yield the scores of a kind of features, and a text about it, for each number of labelled images."""
        if name in FEW_LABELS:
            yield from self.classify_pixels(name, counts)
            return
        if name == SVM_ON_FEATURES:
            yield from self.classify_features(counts)
            return
        model = None
        for count in counts:
            labelled = self.choose_labelled(count)
            if model is None or name == LABELLED:
                model, text = self.make_model(name, labelled)
                candidates = max((self.choose_labelled(each) for each in counts), key=len)
                if name == LABELLED:
                    candidates = labelled
                inputs = self.make_inputs(model, candidates)
            inputs[0].labelled = None if count == ALL else np.searchsorted(candidates, labelled)
            copies = self.make_copies(labelled)
            yield self.decide(copy.deepcopy(model), inputs, copies), text

    def classify_pixels(self, name: str, counts: list[str | int]) -> Iterator[tuple[Scores, str]]:
        """Do the work of ``measure`` for a classifier of the pixels."""
        if self.pixels is None:
            data = self.data
            _, held_out = choose_images(data.train_labels, self.seed, self.args.images)
            scored = [(data.train_images[held_out], data.train_labels[held_out])]
            if self.args.test:
                scored.append((data.test_images, data.test_labels))
            self.pixels = FewLabels(data.train_images[self.chosen], data.train_labels[self.chosen], scored)
        for count in counts:
            accuracies, setting = self.pixels.score(name, self.choose_labelled(count))
            yield Scores(accuracies[0], None, *accuracies[1:] or [None]), setting

    def classify_features(self, counts: list[str | int]) -> Iterator[tuple[Scores, str]]:
        """Do the work of ``measure`` for a support vector machine that reads the learned features."""
        model, text = self.make_model(STDP, None)
        candidates = max((self.choose_labelled(each) for each in counts), key=len)
        train, *scored = self.make_inputs(model, candidates)
        ((name, latencies),) = train.maps.items()

        def earliness(latencies):
            return (model.time_steps - latencies).numpy()

        parts = [(earliness(each.maps[name]), each.labels.numpy()) for each in scored]
        few = FewLabels(earliness(latencies), train.labels.numpy(), parts)
        for count in counts:
            labelled = np.searchsorted(candidates, self.choose_labelled(count))
            accuracies, setting = few.score("SVM", labelled)
            yield Scores(accuracies[0], None, *accuracies[1:] or [None]), f"C {setting}; {text}"


def read_done(table: Path | None) -> set[tuple[str, ...]]:
    """Return the columns ``KEY`` of the rows of the table, which is begun if it is missing."""
    if table is None:
        return set()
    if not table.exists():
        table.write_text("\t".join(COLUMNS) + "\n", encoding="utf-8")
    with open(table, encoding="utf-8", newline="") as file:
        return {tuple(row[name] for name in KEY) for row in csv.DictReader(file, delimiter="\t")}


def format_score(score: float | None) -> str:
    return "" if score is None else f"{score:.2f}"


def main() -> None:
    parser = make_parser(__doc__)
    names = [STDP, *KINDS, NONE, LABELLED, *FEW_LABELS, SVM_ON_FEATURES]
    parser.add_argument("--kinds", nargs="+", choices=names, default=names[:3], help="(default: STDP imprinted random)")
    parser.add_argument("--table", type=Path, metavar="FILE")
    parser.add_argument("--labels", type=read_count, nargs="+", default=[ALL], metavar="N", help="(default: all)")
    args = parser.parse_args()
    torch.set_num_threads(1)
    data = Path(args.dataset).stem
    for seed in args.seeds:
        start = time.process_time()
        experiment = None
        for name in args.kinds:
            epochs = " ".join(map(str, args.epochs))
            key = args.network, data, str(args.images), " ".join(args.augment), epochs, str(seed), name
            done = read_done(args.table)
            counts = [count for count in args.labels if (*key, str(count)) not in done]
            if not counts:
                continue
            experiment = experiment or Experiment(args, seed)
            results = experiment.measure(name, counts)
            for count, (scores, text) in zip(counts, results, strict=True):
                sizes = " + ".join(f"{len(labels):,}" for _, labels in experiment.splits)
                row = f"{args.network:19} {data:14} seed {seed} {sizes} images, {count} labels  {name:9}"
                known = {part: value for part, value in scores._asdict().items() if value is not None}
                shown = ", ".join(f"{part} {value:.2f} %" for part, value in known.items())
                print(f"{row} {shown}  {text}", flush=True)
                if args.table is not None:
                    seconds = time.process_time() - start
                    values = *map(format_score, scores), text, f"{seconds:.0f}"
                    with open(args.table, "a", encoding="utf-8", newline="") as file:
                        csv.writer(file, delimiter="\t", lineterminator="\n").writerow((*key, str(count), *values))
                start = time.process_time()


if __name__ == "__main__":
    main()
