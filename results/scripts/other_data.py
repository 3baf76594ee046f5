"""The table of the runs of ``data.sh``, from the scores in ``results/runs/data/``."""

import json
import re
import statistics
from itertools import groupby
from pathlib import Path

HERE = Path(__file__).resolve().parent.parent / "runs" / "data"
PIXELS = "pixels: nearest neighbour / logistic regression"
COLUMNS = (
    *("data", "network", "epochs", "folds or seeds", "test, last epoch", "linear readout", "lowest to highest"),
    PIXELS,
)
TITLES = {
    "nmnist": "N-MNIST, 1,000 recordings",
    "faces": "faces and motorbikes, 474 photographs",
    "cifar": "CIFAR-10, JPEG copies",
    "kmnist": "KMNIST, 8,000 images",
    "usps": "USPS",
    "digits": "scikit-learn's digits, `intensity`",
}


def read_groups() -> list[tuple[str, str, list[tuple[Path, dict]]]]:
    """Return (data, network and variant, runs) of each row: one run for each fold or seed."""

    def key(path):
        return path.stem.rpartition("-")[0]

    groups = []
    for name, paths in groupby(sorted(HERE.glob("*.json"), key=lambda path: (key(path), path.stem)), key):
        data, _, network = name.partition("-")
        runs = [(path, json.loads(path.read_text())) for path in paths]
        groups.append((data, network.replace("-", " "), runs))
    return groups


def format_mean(values: list[float]) -> str:
    if len(values) == 1:
        return f"{values[0]:.2f} %"
    return f"{statistics.mean(values):.2f} ± {statistics.stdev(values):.2f} %"


def get_test_accuracies(runs: list[tuple[Path, dict]]) -> list[float]:
    return [100 * scores["test"]["last"]["accuracy"] for _, scores in runs]


def read_pixel_classifiers(data: str) -> dict[str, list[float]]:
    """Return {name of a classifier of pixels: its accuracies}, of the log of baselines.py.

    data: a word of the name or of the path of the data set.
    """
    names = {"KNeighborsClassifier": "nearest neighbour, pixels", "LogisticRegression": "logistic regression, pixels"}
    found = {}
    for line in (HERE.parent.parent / "logs" / "baselines.log").read_text().splitlines():
        source, *words = line.split()
        if data in re.split("[:/.]", source):
            classifier, accuracy, *_ = words
            found.setdefault(names[classifier], []).append(float(accuracy))
    return found


def describe_pixels(data: str) -> str:
    """Return the cell of the column ``PIXELS``."""
    return " / ".join(format_mean(accuracies) for accuracies in read_pixel_classifiers(data).values())


def make_table() -> list[tuple[str, ...]]:
    """Return the rows of the table: means and standard deviations over folds or seeds."""
    rows = []
    for data, network, runs in read_groups():
        found = get_test_accuracies(runs)
        readouts = [100 * scores["readout"]["test"]["accuracy"] for _, scores in runs if "readout" in scores]
        logs = [path.with_suffix(".log").name for path, _ in runs]
        links = [f"[{number}](runs/data/{log})" for number, log in enumerate(logs)]
        rows.append(
            (
                TITLES[data],
                network,
                " ".join(map(str, runs[0][1]["flags"]["epochs"])),
                " ".join(links),
                f"**{format_mean(found)}**",
                format_mean(readouts) if readouts else "",
                f"{min(found):.2f} to {max(found):.2f} %",
                describe_pixels(data),
            )
        )
    return rows
