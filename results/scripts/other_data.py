"""The tables of the runs of ``data.sh``, from the scores in ``results/runs/data/``."""

import json
import re
import statistics
from itertools import groupby
from pathlib import Path

HERE = Path(__file__).resolve().parent.parent / "runs" / "data"
COLUMNS = "data", "network", "epochs", "logs", "test, last epoch, %", "lowest to highest, %", "linear readout, %"
TITLES = {
    "nmnist": "N-MNIST, 1,000 recordings",
    "faces": "faces and motorbikes, 474 photographs",
    "cifar": "CIFAR-10, JPEG copies",
    "kmnist": "KMNIST, 8,000 images",
    "usps": "USPS",
    "digits": "scikit-learn's digits",
}
COLOUR = "cifar"


def read_groups() -> list[tuple[str, str, list[tuple[Path, dict]]]]:
    """Return (data, network and variant, runs) of each row: one run for each fold or seed."""

    def key(path):
        return path.stem.rpartition("-")[0]

    groups = []
    for name, paths in groupby(sorted(HERE.glob("*.json"), key=lambda path: (key(path), path.stem)), key):
        data, _, network = name.partition("-")
        runs = [(path, json.loads(path.read_text(encoding="utf-8"))) for path in paths]
        name = network.replace("-", " ").removesuffix(" plain")
        flags = runs[0][1]["flags"]
        name = name.removesuffix(" s1c1") + ", intensity" * (flags.get("encoder") == "intensity")
        name += " with copies" * (flags.get("augment", "none") not in ("none", ["none"]))
        groups.append((data, name, runs))
    return groups


def format_mean(values: list[float]) -> str:
    """Return the mean and, of several values, the standard deviation, in per cent but without its sign."""
    if len(values) == 1:
        return f"{values[0]:.2f}"
    return f"{statistics.mean(values):.2f} ± {statistics.stdev(values):.2f}"


def get_test_accuracies(runs: list[tuple[Path, dict]]) -> list[float]:
    return [100 * scores["test"]["last"]["accuracy"] for _, scores in runs]


def read_pixel_classifiers(data: str) -> dict[str, list[float]]:
    """Return {name of a classifier of pixels: its accuracies}, of the log of baselines.py.

    data: a word of the name or of the path of the data set.
    """
    names = {"KNeighborsClassifier": "nearest neighbour", "LogisticRegression": "logistic regression"}
    inputs = {"copies": "pixels with copies", "bins": "bins of events"}
    found = {}
    for line in (HERE.parent.parent / "logs" / "baselines.log").read_text(encoding="utf-8").splitlines():
        source, *words = line.split()
        if data in re.split("[:/.]", source) and words and words[0] in names:
            classifier, accuracy, *_, last = words
            found.setdefault(f"{names[classifier]}, {inputs.get(last, 'pixels')}", []).append(float(accuracy))
    return found


def make_table() -> list[tuple[str, ...]]:
    """Return the rows of ``runs/data.csv``, in the order of ``COLUMNS``: the networks, then classifiers of pixels."""
    rows = []
    for data, network, runs in read_groups():
        found = get_test_accuracies(runs)
        readouts = [100 * scores["readout"]["test"]["accuracy"] for _, scores in runs if "readout" in scores]
        readout = format_mean(readouts) if readouts else ""
        epochs = " ".join(map(str, runs[0][1]["flags"]["epochs"]))
        logs = " ".join(f"data/{path.stem}.log" for path, _ in runs)
        rows.append((TITLES[data], network, epochs, logs, *describe_accuracies(found), readout))
    for data, title in TITLES.items():
        for name, found in read_pixel_classifiers(data).items():
            rows.append((title, name, "", "../logs/baselines.log", *describe_accuracies(found), ""))
    return rows


def describe_accuracies(found: list[float]) -> tuple[str, str]:
    """Return the mean, and the lowest and the highest accuracy."""
    return format_mean(found), f"{min(found):.2f} to {max(found):.2f}"


def read_accuracies() -> dict[str, dict[str, str]]:
    """Return {network or classifier of pixels: {data: mean accuracy}}, the networks by name."""
    found = {}
    for data, network, runs in sorted(read_groups(), key=lambda group: group[1]):
        found.setdefault(network, {})[data] = format_mean(get_test_accuracies(runs))
    for data in TITLES:
        for name, accuracies in read_pixel_classifiers(data).items():
            found.setdefault(name, {})[data] = format_mean(accuracies)
    return found


def make_grey_table() -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """Return the columns and the rows of the accuracies on grey images and events, a column for each data set.

    The digits, and networks with further epochs, are in ``runs/data.csv`` only.
    """
    data = [name for name in TITLES if name not in (COLOUR, "digits")]
    rows = [
        (network, *(means.get(name, "") for name in data))
        for network, means in read_accuracies().items()
        if {*means} & {*data} and "longer" not in network
    ]
    return ("test accuracy, %", *(TITLES[name] for name in data)), rows


def make_colour_table() -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """Return the columns and the rows of the accuracies on colour images."""
    rows = [(network, means[COLOUR]) for network, means in read_accuracies().items() if COLOUR in means]
    return ("network", "test accuracy after the last epoch, %"), rows
