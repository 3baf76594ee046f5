"""What helps if the classes have unequal numbers of training images? Trains and tests, and prints tables.

    python -m results.scripts.unequal --table FILE [--kannada FILE.npz] [--kmnist FILE.npz] [--seeds S …]

``mozafari2018_margin --epochs 10 20 20``, batches of 1,000. Three data sets; the seed also draws the training images,
a twelfth of which, of each class in proportion, are validation images as in train.py:

* mnist: 1,500 images of the digit 3, 300 of 5, 80 of 8 and 40 of 9; their test images test.
* kannada: ten classes, 500, 340, 230, 160, 110, 75, 50, 35, 24 and 16 images; the 2,000 test images test.
* kmnist: 600 images of class 0 and 60 of each of the classes 1 to 5; 200 other images of each class test.

The variants, of which "base" is the program as it is:

* base: the epoch with the best accuracy of the validation images counts.
* a: the epoch with their best balanced accuracy counts, the mean over the classes.
* b: in the phase with labels, each class is presented equally often; an epoch has as many presentations as before, so
  images of a large class have not all their turn in an epoch, and those of a small one have several.
* c: the same in all phases.
* d: the rates of the margin rule are multiplied by images / (classes · images of the class).
* b+a, c+a, d+a: both.
* e: scikit-learn's logistic regression on c2 of base (1 - t / 15) with ``class_weight="balanced"``, at most 200
  iterations; e0: without ``class_weight``.

What is compared is the balanced accuracy on the test images, and the accuracy; an undecided image is an error. A
variant gains if its mean difference from base, paired by seed, is above 0 by the 95 % interval. What is built is what
gains in balanced accuracy on all three data sets.

Predicted before anything was measured: a gains 0 to 1.5 points, on no set significantly, because there are 1 to 5
validation images of a small class. b gains 0 to 3 points and d about the same, because the margin rule learns from
errors and narrow leads only, so a presented image that is correct changes nothing; significant at most on mnist, whose
classes differ most (37 to 1). c gains 1 to 4 points over base, and more than b on mnist, where most features belong to
the digit 3. e gains over e0 on all sets, 1 to 10 points, and is better than each of a to d on two sets or more.
"""

import argparse
import csv
import time
import warnings
from collections import defaultdict
from copy import copy, deepcopy
from pathlib import Path

import numpy as np
import torch
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from threadpoolctl import threadpool_limits

import imagesets
from engine.stages import INPUT
from imagesets.splits import stratified_split
from models import build_model
from network_trainer import LatencyDataset, Progress
from results.scripts.features import format_difference
from s1c1 import S1C1
from utils import set_threads

EPOCHS = 10, 20, 20
BEFORE = (*EPOCHS[:2], 0)
AFTER = 0, 0, EPOCHS[2]
SIZES = {
    "mnist": {3: 1500, 5: 300, 8: 80, 9: 40},
    "kannada": dict(enumerate((500, 340, 230, 160, 110, 75, 50, 35, 24, 16))),
    "kmnist": dict.fromkeys(range(6), 60) | {0: 600},
}
KMNIST_TEST = 200  # of each class
VARIANTS = "base", "a", "b", "b+a", "c", "c+a", "d", "d+a", "e0", "e"
COLUMNS = "data", "seed", "variant", "accuracy", "balanced", "silent", "seconds"


def load(name, args):
    """Return train and test images and labels."""
    if name == "mnist":
        data = imagesets.load("mnist", args.data_dir)
        return data.train_images, data.train_labels, data.test_images, data.test_labels
    arrays = np.load(getattr(args, name))
    images, labels = arrays["x_train"], arrays["y_train"].astype(np.int64)
    if name == "kannada":
        return images, labels, arrays["x_test"], arrays["y_test"].astype(np.int64)
    is_test = np.zeros(len(labels), bool)
    for label in np.unique(labels):
        is_test[np.flatnonzero(labels == label)[-KMNIST_TEST:]] = True
    return images[~is_test], labels[~is_test], images[is_test], labels[is_test]


def draw(name, seed, args):
    """Return {split: (latencies, labels)}, of the classes of the set, numbered from 0."""
    images, labels, test_images, test_labels = load(name, args)
    rng = np.random.default_rng(seed)
    sizes = SIZES[name]
    chosen = np.concatenate([rng.permutation(np.flatnonzero(labels == label))[:n] for label, n in sizes.items()])
    chosen.sort()
    tested = np.flatnonzero(np.isin(test_labels, list(sizes)))
    number = np.full(10, -1)
    number[list(sizes)] = np.arange(len(sizes))
    train, validation = stratified_split(labels[chosen], len(chosen) // 12, seed)
    parts = {"train": (images, labels, chosen[train]), "validation": (images, labels, chosen[validation])}
    parts["test"] = test_images, test_labels, tested
    encoder = S1C1()
    return {split: (encoder.encode(i[w]), torch.from_numpy(number[t[w]])) for split, (i, t, w) in parts.items()}


class Balanced(LatencyDataset):
    """Training images of which phases read each class equally often."""

    def __init__(self, latencies, labels, seed, only_labels):
        super().__init__(latencies, labels)
        self.seed = seed
        self.only_labels = only_labels
        self.epochs = defaultdict(int)
        self.order = torch.empty(0, dtype=torch.int64)

    def read(self, phase, name, chosen, rng):
        if phase.needs_labels or not self.only_labels:
            if not len(self.order):
                self.order = self.draw_order(phase)
            chosen = self.order[: len(chosen)]
            self.order = self.order[len(chosen) :]
        return super().read(phase, name, chosen, rng)

    def draw_order(self, phase):
        rng = np.random.default_rng((self.seed, len(phase.name), phase.needs_labels, self.epochs[phase.name]))
        self.epochs[phase.name] += 1
        classes = np.unique(self.labels)
        shares = np.full(len(classes), len(self) // len(classes))
        shares[: len(self) % len(classes)] += 1
        drawn = []
        for label, share in zip(classes, shares, strict=True):
            of_class = np.flatnonzero(self.labels == label)
            turns = [rng.permutation(of_class) for _ in range(-(-share // len(of_class)))]
            drawn.append(np.concatenate(turns)[:share])
        return torch.from_numpy(rng.permutation(np.concatenate(drawn)))


class Weighted(LatencyDataset):
    """Training images whose rates of the margin rule are multiplied by the weight of their class."""

    def attach(self, layer):
        counts = torch.bincount(self.labels)
        weights = (len(self) / (len(counts) * counts)).numpy()
        next_rates = layer.next_rates
        self.latest = []
        latest = self.latest

        def weigh(rule, images, epoch):
            return next_rates(rule, images, epoch) * weights[latest[-1]][:, None, None]

        layer.next_rates = weigh

    def read(self, phase, name, chosen, rng):
        inputs, labels = super().read(phase, name, chosen, rng)
        self.latest.append(labels.numpy())
        return inputs, labels


def score(model, maps, labels):
    """Return accuracy, balanced accuracy and the fraction of undecided images."""
    return measure(model.decide(maps)[0].numpy(), labels.numpy())


def measure(predictions, labels):
    correct = predictions == labels
    recalls = [correct[labels == label].mean() for label in np.unique(labels)]
    return correct.mean(), np.mean(recalls), (predictions < 0).mean()


def learn(model, train, validation, epochs, seed):
    """Train, and return the states of the epochs with the best accuracy and the best balanced accuracy."""
    validation = copy(validation)
    best = [(-1.0, None), (-1.0, None)]
    for step in model.steps(copy(train), validation, epochs, seed=seed, progress=Progress()):
        if step.kind == "epoch" and step.phase.needs_labels:
            scores = score(model, validation.maps, validation.labels)
            for place, (highest, _) in enumerate(best):
                if scores[place] > highest:
                    best[place] = scores[place], deepcopy(model.state_dict())
    return [state for _, state in best]


def compare(name, seed, args):
    """Yield (variant, scores) of the test images."""
    parts = draw(name, seed, args)
    train, validation = (LatencyDataset(*parts[split]) for split in ("train", "validation"))
    inputs, labels = parts["test"]

    def new():
        return build_model("mozafari2018_margin", num_classes=len(SIZES[name]), seed=seed)

    def test(model, variants, data, epochs):
        for variant, state in zip(variants, learn(model, data, validation, epochs, seed), strict=True):
            model.load_state_dict(state)
            yield variant, score(model, {INPUT: inputs}, labels)

    features = new()
    learn(features, train, validation, BEFORE, seed)
    yield from test(deepcopy(features), ("base", "a"), train, AFTER)
    yield from test(deepcopy(features), ("b", "b+a"), Balanced(*parts["train"], seed, True), AFTER)
    yield from test(new(), ("c", "c+a"), Balanced(*parts["train"], seed, False), EPOCHS)
    weighted = Weighted(*parts["train"])
    model = deepcopy(features)
    weighted.attach(model.stages["s3"])
    yield from test(model, ("d", "d+a"), weighted, AFTER)
    x, x_test = (1 - features.map_of(part, "c2").flatten(1).numpy() / 15 for part in (parts["train"][0], inputs))
    for variant, weight in (("e0", None), ("e", "balanced")):
        with threadpool_limits(1), warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            classifier = LogisticRegression(max_iter=200, class_weight=weight).fit(x, train.labels.numpy())
        yield variant, measure(classifier.predict(x_test), labels.numpy())


def print_tables(path):
    """Print means, and differences from base with their 95 % intervals, paired by seed."""
    with open(path, newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file, delimiter="\t"))
    for name in SIZES:
        found = defaultdict(dict)
        for row in rows:
            if row["data"] == name:
                found[row["variant"]][row["seed"]] = [100 * float(row[score]) for score in ("accuracy", "balanced")]
        for variant, scores in found.items():
            cells = [name, variant, f"seeds {len(scores)}"]
            for place in (0, 1):
                differences = [values[place] - found["base"][seed][place] for seed, values in scores.items()]
                mean = np.mean([values[place] for values in scores.values()])
                cells.append(f"{mean:.2f}" if variant == "base" else f"{mean:.2f} ({format_difference(differences)})")
            print(*cells, sep="\t")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--table", type=Path, required=True, metavar="FILE")
    parser.add_argument("--data", nargs="+", choices=SIZES, default=list(SIZES))
    parser.add_argument("--seeds", type=int, nargs="+", default=range(5), metavar="S", help="(default: 0 to 4)")
    parser.add_argument("--data-dir", default=imagesets.DATA_DIR, metavar="DIR")
    for name in ("kannada", "kmnist"):
        parser.add_argument(f"--{name}", type=Path, default=Path(f"runs/data/{name}.npz"), metavar="FILE.npz")
    args = parser.parse_args()
    set_threads(1)
    if not args.table.exists():
        args.table.write_text("\t".join(COLUMNS) + "\n", encoding="utf-8")
    for seed in args.seeds:
        for name in args.data:
            start = time.process_time()
            for variant, scores in compare(name, seed, args):
                seconds = time.process_time() - start
                row = name, seed, variant, *(f"{value:.4f}" for value in scores), f"{seconds:.0f}"
                with open(args.table, "a", newline="", encoding="utf-8") as file:
                    csv.writer(file, delimiter="\t", lineterminator="\n").writerow(row)
                start = time.process_time()
    print_tables(args.table)


if __name__ == "__main__":
    main()
