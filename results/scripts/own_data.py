"""Compare a network before and after a change on data for which it was not made, on held-out training images.

    python -m results.scripts.own_data FOLDER --before CHECKOUT [--rows eth80-colour …] [--seeds 0 1 2]
    python -m results.scripts.own_data FOLDER --test --rows eth80-colour …

FOLDER contains ``eth80/train``, ``nmnist``, ``faces``, ``cifar`` (see advice.py), ``kannada.npz``, ``usps.npz`` and
``kmnist-8000.npz``. A part of the training images is held out: of ETH-80 objects 6 and 7 of each class, of the other
sets a quarter, stratified. No test image is read. CHECKOUT is an earlier version of this repository, in which the same
command runs without the new flags. A line for each row contains the accuracy of the last epoch on the held-out images,
mean and standard error over the seeds, and the mean paired difference with its standard error. Finished runs are in
FOLDER/runs and are not repeated.

With ``--test``, when everything is chosen: the present version, with the new flags, learns from all training images and
classifies the test images of ETH-80, USPS or Kannada-MNIST.
"""

import argparse
import json
import re
import shutil
from pathlib import Path
from typing import NamedTuple

import numpy as np

import imagesets
from imagesets.class_folders import find_classes, read_folder
from imagesets.pictures import ENDINGS
from imagesets.splits import stratified_split
from results.scripts.advice import ADAPTIVE, ROOT, describe, run_training
from results.scripts.baselines import score_classifiers
from results.scripts.folds import divide

COMMON = "--no-figures --readout none --threads 1 --device cpu"
OBJECTS = 5  # of each class of ETH-80 train, the others are held out
HELD_OUT = 4  # one image of four
CONVERGE = "--converge 0.01"
EDGE = f"{CONVERGE} --set encoder.border=edge"
MULTISCALE = "multiscale2026 --augment none --epochs 2 4 4 2 10"
MARGIN = "mozafari2018_margin --epochs 2 4 10"
CONTROL = "control2026 --epochs 25"
ALONE = "--augment none --set s1.rule.decay=0.85"
LONG = "--epochs 20 20 10"  # the last --epochs of a command counts


class Row(NamedTuple):
    """A comparison: the data, the network with the flags of both versions, and the new flags."""

    data: str
    flags: str
    change: str


ROWS = {
    "eth80-colour": Row("eth80-colour", "colour2026 --epochs 1 1 12", CONVERGE),
    "eth80-colour-counts": Row("eth80-colour", "colour2026_counts --epochs 1 1 12", CONVERGE),
    "eth80-grey": Row("eth80-grey", MULTISCALE, CONVERGE),
    "eth80-grey-edge": Row("eth80-grey", MULTISCALE, EDGE),
    "nmnist": Row("nmnist", MULTISCALE, CONVERGE),
    "kannada": Row("kannada", MULTISCALE, CONVERGE),
    "cifar-grey-margin": Row("cifar-grey", MARGIN, CONVERGE),
    "cifar-grey-margin-edge": Row("cifar-grey", MARGIN, EDGE),
    "eth80-grey-margin": Row("eth80-grey", MARGIN, CONVERGE),
    "eth80-grey-margin-edge": Row("eth80-grey", MARGIN, EDGE),
    "nmnist-margin": Row("nmnist", MARGIN, CONVERGE),
    "faces": Row("faces", MULTISCALE, CONVERGE),
    "faces-edge": Row("faces", MULTISCALE, EDGE),
    "faces-margin": Row("faces", MARGIN, CONVERGE),
    "usps": Row("usps", MULTISCALE, CONVERGE),
    "kmnist": Row("kmnist-8000", MULTISCALE, CONVERGE),
    "kannada-margin": Row("kannada", MARGIN, CONVERGE),
    "usps-margin": Row("usps", MARGIN, CONVERGE),
    "kmnist-margin": Row("kmnist-8000", MARGIN, CONVERGE),
    "eth80-colour-margin": Row("eth80-colour", MARGIN, CONVERGE),
    "nmnist-adaptive": Row("nmnist", f"{MARGIN} {ADAPTIVE}", CONVERGE),
    "nmnist-adaptive-long": Row("nmnist", f"{MARGIN} {ADAPTIVE}", LONG),
    "faces-adaptive": Row("faces", f"{MARGIN} {ADAPTIVE}", CONVERGE),
    "faces-adaptive-long": Row("faces", f"{MARGIN} {ADAPTIVE}", LONG),
    "kannada-adaptive": Row("kannada", f"{MARGIN} {ADAPTIVE}", CONVERGE),
    "kannada-adaptive-long": Row("kannada", f"{MARGIN} {ADAPTIVE}", LONG),
    "eth80-colour-control": Row("eth80-colour", CONTROL, f"{ALONE} --encoder whitening"),
    "eth80-grey-control": Row("eth80-grey", CONTROL, ALONE),
    "kannada-control": Row("kannada", CONTROL, ALONE),
}


def load(folder: Path, name: str) -> imagesets.DataSet:
    """Load the data of a row, before they become grey."""
    path = folder / name.removesuffix("-grey").removesuffix("-colour")
    source = f"folder:{path}" if path.is_dir() else f"{path}.npz"
    side = 32 if path.name in ("eth80", "cifar") else 28
    return imagesets.load(source, image_size=(side, side))


def save(target: Path, arrays: dict[str, np.ndarray]) -> str:
    """Write a file of arrays, in grey if the file's name says so. Returns the name of the data set for train.py."""
    if target.stem.endswith("-grey"):
        for part in ("x_train", "x_test"):  # luma, ITU-R BT.601
            arrays[part] = np.rint(arrays[part] @ [0.299, 0.587, 0.114]).astype(np.uint8)
    target.parent.mkdir(exist_ok=True)
    np.savez(target, **arrays)
    return str(target)


def prepare_test(folder: Path, name: str) -> str:
    """Write a data set with its own test part. Returns the name of the data set for train.py."""
    target = folder / "test" / f"{name}.npz"
    if target.exists():
        return str(target)
    data = load(folder, name)
    train = {"x_train": data.train_images, "y_train": data.train_labels}
    return save(target, train | {"x_test": data.test_images, "y_test": data.test_labels})


def prepare(folder: Path, name: str) -> str:
    """Write the training images of a data set with a held-out part. Returns the name of the data set for train.py."""
    target = folder / "held-out" / f"{name}.npz"
    if name == "nmnist":
        divide(folder / "nmnist", target.with_suffix(""), HELD_OUT)
        return f"events:{target.with_suffix('') / '0'}"
    if target.exists():
        return str(target)
    if name.startswith("eth80"):
        path = str(folder / "eth80" / "train")
        data = read_folder(path, folder, (32, 32))
        names = [Path(file).stem for file in find_classes(path, ENDINGS).files]  # such as cup7-022-000
        is_held_out = np.array([int(re.search(r"\d+", name)[0]) > OBJECTS for name in names])
    else:
        data = load(folder, name)
        count = len(data.train_labels)
        _, chosen = stratified_split(data.train_labels, count // HELD_OUT, 0)
        is_held_out = np.isin(np.arange(count), chosen)
    images = data.train_images
    labels = data.train_labels
    train = {"x_train": images[~is_held_out], "y_train": labels[~is_held_out]}
    return save(target, train | {"x_test": images[is_held_out], "y_test": labels[is_held_out]})


def train(checkout: Path, words: list[str], output: Path) -> float:
    """Return the accuracy of the last epoch on the held-out images."""
    path = output / "results.json"
    if path.exists():
        results = json.loads(path.read_text(encoding="utf-8"))
    else:
        shutil.rmtree(output, ignore_errors=True)  # an interrupted run
        results = run_training([*words, *COMMON.split()], output, checkout)
    return results["test"]["last"]["accuracy"]


def print_pixel_classifiers(name: str, source: str) -> None:
    """Print the accuracy of the nearest neighbour and of logistic regression on the pixels."""
    data = imagesets.load(source)
    for classifier, accuracy in score_classifiers(data, slice(None), 300):
        print(f"{name}: {classifier} {accuracy:.2f} % of {len(data.test_labels):,} images", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--before", type=Path, metavar="CHECKOUT")
    parser.add_argument("--test", action="store_true")
    parser.add_argument("--rows", nargs="+", default=list(ROWS), choices=ROWS)
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    args = parser.parse_args()
    if args.test == bool(args.before):
        parser.error("one of --before CHECKOUT and --test is required")
    folder = args.folder.resolve()
    print(f"part: {'test' if args.test else 'held out'}", flush=True)
    seen = set()
    for name in args.rows:
        row = ROWS[name]
        source = prepare_test(folder, row.data) if args.test else prepare(folder, row.data)
        if row.data not in seen:
            print_pixel_classifiers(row.data, source)
            seen.add(row.data)
        versions = {"test": (ROOT, row.change)}
        if args.before:
            versions = {"before": (args.before, ""), "after": (ROOT, row.change)}
        found = {}
        for version, (checkout, more) in versions.items():
            runs = []
            for seed in args.seeds:
                words = ["--model", *row.flags.split(), "--dataset", source, *more.split(), "--seed", str(seed)]
                runs.append(train(checkout, words, folder / "runs" / f"{name}-{version}-{seed}"))
            found[version] = np.array(runs)
        scores = ", ".join(f"{describe(accuracies)} %" for accuracies in found.values())
        if args.before:
            scores += f", difference {describe(found['after'] - found['before'])}"
        print(f"{name}: {row.flags}; {row.change}: {scores}", flush=True)


if __name__ == "__main__":
    main()
