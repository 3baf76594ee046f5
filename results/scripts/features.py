"""What docs/learning.md shows of results/learning.tsv, controls.tsv and labels.tsv."""

import csv
import math
import re
import statistics
from collections.abc import Sequence
from itertools import product

from scipy.stats import t

from results.scripts.runs import RESULTS

REPLACED = "imprinted", "random", "patch", "ones", "none"  # what a network has in place of its learned features
CONTROL = "control2026"
PARTS = {"best": "validation", "test": "test"}  # columns of controls.tsv: the best epoch, and the last one
ALL = "all"
PIXELS = "logistic regression", "nearest neighbour", "SVM", "label spreading"
SHOWN = "100", "1000", "10000"  # of labels.tsv
FEW = "accuracy from few images, %"  # in quoted.csv
CONTROL_COLUMNS = "data", "network", "copies", "images", "STDP, % (seeds)", *(f"− {kind}" for kind in REPLACED)
LABEL_COLUMNS = (
    *("data", "labels", "STDP, % (seeds)", "− imprinted", "− random", "− none", "− pixels"),
    "alone",
)
COLUMNS = "data", "features", "STDP, % (seeds)", "− imprinted", "− random", "− none"
ALL_LABELS = "1000"

Kinds = dict[str, dict[str, float]]  # {kind of features: {seed: accuracy in %}}


def read(name: str, columns: Sequence[str], accuracy: str = "test") -> dict[tuple[str, ...], Kinds]:
    """Return {values of the columns: accuracies} of the rows of a file that have this accuracy."""
    found = {}
    with open(RESULTS / name, newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file, delimiter="\t"):
            if row[accuracy]:
                kinds = found.setdefault(tuple(row[column] for column in columns), {})
                kinds.setdefault(row["features"], {})[row["seed"]] = float(row[accuracy])
    return found


def read_labels(name: str = "labels.tsv") -> dict[tuple[str, ...], Kinds]:
    """Return {(data, labels): test accuracies}."""
    return read(name, ("data", "labels"))


def read_learning() -> dict[tuple[str, ...], Kinds]:
    """Return {(data, network, labels, noise): accuracies} of ``learning.tsv``.

    The kind "none" is that of the network "none" with the same data, labels and noise.
    """
    found = read("learning.tsv", ("data", "network", "labels", "noise"), "accuracy")
    for (data, _, *rest), kinds in found.items():
        without = found.get((data, "none", *rest), {"none": {}})
        kinds["none"] = without["none"]
    return found


def compute_interval(values: Sequence[float]) -> tuple[float, float]:
    """Return the mean, and the half width of its 95 % interval by Student's t; infinite for one value."""
    mean = statistics.mean(values)
    if len(values) == 1:
        return mean, math.inf
    quantile = float(t.ppf(0.975, len(values) - 1))
    return mean, quantile * statistics.stdev(values) / len(values) ** 0.5


def subtract(a: dict[str, float], b: dict[str, float]) -> list[float]:
    """Return the differences of the seeds that both have."""
    return [a[seed] - b[seed] for seed in a if seed in b]


def format_difference(differences: Sequence[float]) -> str:
    """Return the mean and the half width of its 95 % interval; bold if the interval does not contain 0; "" of none."""
    if not differences:
        return ""
    mean, half = compute_interval(differences)
    if math.isinf(half):
        return f"{mean:+.2f}"
    text = f"{mean:+.2f} ± {half:.2f}"
    return f"**{text}**" if abs(mean) > half else text


def format_leads(kinds: Kinds, others: Sequence[dict[str, float]], digits: int = 2) -> list[str]:
    """Return the accuracy of learned features with the number of seeds, and their leads over others."""
    learned = kinds["STDP"]
    mean = f"{statistics.mean(learned.values()):.{digits}f} ({len(learned)})"
    return [mean, *(format_difference(subtract(learned, other)) for other in others)]


def make_table() -> list[tuple[str, ...]]:
    """Return the rows of the table: what STDP reaches, and its lead over other features and over none."""
    rows = []
    for (data, network, labels, noise), kinds in read_learning().items():
        if network == "none":
            continue
        others = [kinds["imprinted"], kinds["random"], kinds["none"]]
        if network == "kheradpisheh2018":  # whose support vector machine decides: not compared with decision neurons
            others[-1] = {}
        changed = f", {labels} labels" * (labels != ALL_LABELS) + f", noise {noise}" * (noise != "0")
        features = network.replace("-", " → ") + changed
        rows.append((data, features, *format_leads(kinds, others)))
    return rows


def make_control_table() -> list[tuple[str, ...]]:
    """Return the rows of the table of the networks that learned from all training images, with numbers of seeds.

    The kind "none" is that of control2026 with the same copies.
    """
    columns = "data", "network", "copies"
    found = {column: read("controls.tsv", columns, column) for column in PARTS}
    rows = []
    for data, network, copies in found["best"] | found["test"]:
        for column, images in PARTS.items():
            kinds = found[column].get((data, network, copies))
            if network == CONTROL or not kinds:
                continue
            kinds = kinds | found[column].get((data, CONTROL, copies), {})
            others = [kinds.get(kind, {}) for kind in REPLACED]
            learned, *leads = format_leads(kinds, others)
            cells = []
            for lead, other in zip(leads, others, strict=True):
                count = len(subtract(kinds["STDP"], other))
                cells.append(f"{lead} ({count})" if count else "")
            number = re.sub(r"copies=(\d+).*", r"\1", copies)
            rows.append((data, network, number, images, learned, *cells))
    return sorted(rows, key=lambda row: row[1])


def make_label_table(quoted: dict[tuple[str, str], str]) -> list[tuple[str, ...]]:
    """Return the rows of the table of few labels.

    quoted: {(data, number of images): accuracy in %} of others whose features learn from the same few images.
    """
    rows = []
    found = read_labels()
    for data, count in product(dict.fromkeys(data for data, _ in found), SHOWN):
        kinds = found.get((data, count), {})
        if "STDP" not in kinds:
            continue
        pixels = [kinds[name] for name in PIXELS if name in kinds]
        best = max(pixels, key=lambda each: statistics.mean(each.values()), default={})
        others = *(kinds.get(kind, {}) for kind in ("imprinted", "random", "none")), best
        alone = [f"{statistics.mean(kinds['labelled'].values()):.1f}"] if "labelled" in kinds else []
        alone += [f"({quoted[data, count]})"] if (data, count) in quoted else []
        rows.append((data, f"{int(count):,}", *format_leads(kinds, others, digits=1), " ".join(alone)))
    return rows
