"""The runs of ``run_all.sh`` and ``data.sh``, by their scores in ``results/runs/`` and ``results/runs/data/``."""

import json
import re
import statistics
from collections.abc import Sequence
from itertools import groupby
from pathlib import Path
from typing import NamedTuple

RESULTS = Path(__file__).resolve().parent.parent
RUNS = RESULTS / "runs"
LOGS = RESULTS / "logs"
TITLES = {
    "mnist": "MNIST",
    "fashion": "Fashion-MNIST",
    "faces": "faces and motorbikes, 474 photographs",
    "cifar": "CIFAR-10, a JPEG version",
    "kmnist": "KMNIST, 8,000 images",
    "usps": "USPS",
    "digits": "scikit-learn's digits",
}
OFFICIAL = "mnist", "fashion"  # which have validation images, so the best epoch counts; of other data the last one
# in the name of a log, but not in that of its row: what other columns contain, or what the flags tell
LEFT_OUT = re.compile(r"-(seed)?\d+$|-\d+-epochs|-(plain|s1c1)\b")


class Group(NamedTuple):
    """The runs of a network, which differ in the seed or in the fold of the data.

    data: one of ``TITLES``. name: of the network and of what differs from its defaults. runs: {path: scores}.
    """

    data: str
    name: str
    epochs: str
    runs: dict[Path, dict]

    @property
    def logs(self) -> list[str]:
        return [path.with_suffix(".log").relative_to(RUNS).as_posix() for path in self.runs]

    @property
    def tested(self) -> list[float]:
        """The test accuracies that are compared with those of other networks, in %."""
        return self.collect("best" if self.data in OFFICIAL else "last") or self.collect("last")

    def collect(self, split: str) -> list[float]:
        """Return the accuracies in % that the runs have of a split of ``get_accuracies``."""
        found = [get_accuracies(scores) for scores in self.runs.values()]
        return [accuracies[split] for accuracies in found if split in accuracies]


def read_scores(path: Path) -> dict:
    return json.loads(path.read_text(encoding="utf-8"))


def read_groups() -> list[Group]:
    """Return all groups, by data, name and epochs."""
    runs = []
    for path in [*RUNS.glob("*.json"), *RUNS.glob("data/*.json")]:
        scores = read_scores(path)
        flags = scores["flags"]
        words = LEFT_OUT.sub("", path.stem).split("-")
        data = next((word for word in words if word in TITLES), "mnist")
        name = " ".join(word for word in words if word != data)
        name = name.replace(flags["model"].replace("_", " "), flags["model"])  # the logs of colour2026-counts
        name += ", intensity" * (flags.get("encoder") == "intensity")
        name += " with augmentation" * (flags.get("augment", "none") not in ("none", ["none"]))
        key = list(TITLES).index(data), name, flags["epochs"]
        runs.append((key, path.stem, path, scores))
    groups = []
    for (data, name, epochs), members in groupby(sorted(runs, key=lambda run: run[:2]), lambda run: run[0]):
        of_group = {path: scores for *_, path, scores in members}
        groups.append(Group([*TITLES][data], name, " ".join(map(str, epochs)), of_group))
    return groups


def get_accuracies(scores: dict) -> dict[str, float]:
    """Return the accuracies of a run in %: "validation", "best" and "last" (test images; best and last epoch).

    A network without a decision stage has only those of its readout, after the last epoch. Without validation images,
    no epoch is the best.
    """
    if "test" not in scores:
        values = {"validation": scores["readout"]["validation"], "last": scores["readout"]["test"]}
    elif scores["best_epoch"]:
        values = {"validation": scores["validation"]["best"], **scores["test"]}
    else:
        values = {"last": scores["test"]["last"]}
    return {name: 100 * value["accuracy"] for name, value in values.items()}


def read_pixel_classifiers(data: str) -> dict[str, list[float]]:
    """Return {name of a classifier of pixels: its accuracies}, of the log of baselines.py."""
    names = {"KNeighborsClassifier": "nearest neighbour", "LogisticRegression": "logistic regression"}
    inputs = {"copies": "pixels with augmentation"}
    found = {}
    for line in (LOGS / "baselines.log").read_text(encoding="utf-8").splitlines():
        source, *words = line.replace("fashion-mnist", "fashion").split()
        if data in re.split("[:/.]", source) and words and words[0] in names:
            classifier, accuracy, *_, last = words
            found.setdefault(f"{names[classifier]}, {inputs.get(last, 'pixels')}", []).append(float(accuracy))
    return found


def format_mean(values: Sequence[float]) -> str:
    """Return the mean and, of several values, the standard deviation, without the sign %; "" of none."""
    if len(set(values)) < 2:
        return f"{values[0]:.2f}" if values else ""
    return f"{statistics.mean(values):.2f} ± {statistics.stdev(values):.2f}"
