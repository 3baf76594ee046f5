"""What docs/learning.md shows of results/learning.tsv, which learning.py writes, of controls.tsv and of labels.tsv.

    python -m results.scripts.learning_page

prints how many weights of each STDP layer of the networks in ``results/checkpoints`` are near a bound.
"""

import csv
import math
import re
import statistics
from collections.abc import Sequence
from pathlib import Path

from scipy.stats import t

TABLE = Path(__file__).resolve().parent.parent / "learning.tsv"
CONTROLS = TABLE.parent / "controls.tsv"
CONTROLLED = "imprinted", "random", "patch", "ones", "none"  # what a network has in place of its learned features
CONTROL_COLUMNS = "data", "network", "copies", "images", "STDP, % (seeds)", *(f"− {kind}" for kind in CONTROLLED)
CONTROL = "control2026"
PARTS = {"best": "validation", "test": "test"}  # columns of controls.tsv: the best epoch, and the last one
KINDS = "STDP", "imprinted", "random"
LABELS = TABLE.parent / "labels.tsv"
ALL = "all"
PIXELS = "logistic regression", "nearest neighbour", "SVM", "label spreading"
SHOWN = "100", "1000", "10000"  # of labels.tsv
FEW = "accuracy from few images, %"  # in quoted.csv
LABEL_COLUMNS = (
    *("data", "labels", "STDP, % (seeds)", "− imprinted", "− random", "− none", "− pixels"),
    "alone",
)
COLUMNS = "data", "features", "STDP, % (seeds)", "− imprinted", "− random", "− none"
ALL_LABELS = "1000"
PUBLISHED = "kheradpisheh2018"  # whose support vector machine decides: not compared with decision neurons
NEAR = 0.05
WIDTHS = "8", "32", "128", "512"
NUMBER = "number of features of one layer"
DEPTHS = {"128": 1, "32-128": 2, "32-128-128": 3}


def read_table() -> dict[tuple[str, ...], dict[str, dict[str, float]]]:
    """Return {(data, network, labels, noise): {kind of features: {seed: accuracy in per cent}}}."""
    found = {}
    with open(TABLE, encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file, delimiter="\t"):
            key = tuple(row[name] for name in ("data", "network", "labels", "noise"))
            found.setdefault(key, {}).setdefault(row["features"], {})[row["seed"]] = float(row["accuracy"])
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


def make_table() -> list[tuple[str, ...]]:
    """Return the rows of the table: what STDP reaches, and its lead over other features and over none."""
    rows = []
    found = read_table()
    for (data, network, labels, noise), kinds in found.items():
        if "none" in kinds:
            continue
        learned = kinds["STDP"]
        others = [kinds["imprinted"], kinds["random"], found.get((data, "none", labels, noise), {}).get("none", {})]
        leads = [format_difference(subtract(learned, other)) for other in others]
        if network == PUBLISHED:
            leads[-1] = ""
        changed = [f", {labels} labels"] * (labels != ALL_LABELS) + [f", noise {noise}"] * (noise != "0")
        features = network.replace("-", " → ") + "".join(changed)
        rows.append((data, features, f"{statistics.mean(learned.values()):.2f} ({len(learned)})", *leads))
    return rows


def read_controls() -> dict[tuple[str, ...], dict[str, dict[str, float]]]:
    """Return {(data, network, copies, images): {kind of features: {seed: accuracy}}} of ``controls.tsv``.

    The kind "none" is that of control2026 with the same copies.
    """
    found = {}
    with open(CONTROLS, newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file, delimiter="\t"):
            for column, images in PARTS.items():
                if row[column]:
                    kinds = found.setdefault((row["data"], row["network"], row["copies"], images), {})
                    kinds.setdefault(row["features"], {})[row["seed"]] = float(row[column])
    none = {key: found.pop(key) for key in list(found) if key[1] == CONTROL}
    for (data, _, *rest), kinds in found.items():
        kinds.update(none.get((data, CONTROL, *rest), {}))
    return found


def make_control_table() -> list[tuple[str, ...]]:
    """Return the rows of the table of the networks that learned from all training images, with numbers of seeds."""
    rows = []
    for (data, network, copies, images), kinds in read_controls().items():
        learned = kinds["STDP"]
        cells = [f"{statistics.mean(learned.values()):.2f} ({len(learned)})"]
        for kind in CONTROLLED:
            differences = subtract(learned, kinds.get(kind, {}))
            count = f" ({len(differences)})" if differences else ""
            cells.append(format_difference(differences) + count)
        number = "none" if copies == "none" else re.match(r"copies=(\d+)", copies)[1]
        rows.append((data, network, number, images, *cells))
    return sorted(rows, key=lambda row: row[1])


def read_labels() -> dict[str, dict[str, dict[str, dict[str, float]]]]:
    """Return {data: {labels: {kind of features: {seed: test accuracy}}}} of ``labels.tsv``."""
    found = {}
    with open(LABELS, newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file, delimiter="\t"):
            of_count = found.setdefault(row["data"], {}).setdefault(row["labels"], {})
            of_count.setdefault(row["features"], {})[row["seed"]] = float(row["test"])
    return found


def make_label_table(quoted: dict[tuple[str, str], str]) -> list[tuple[str, ...]]:
    """Return the rows of the table of few labels.

    quoted: {(data, number of images): accuracy in %} of others whose features learn from the same few images.
    """
    rows = []
    for data, counts in read_labels().items():
        for count in SHOWN:
            kinds = counts.get(count, {})
            learned = kinds.get("STDP")
            if not learned:
                continue
            pixels = [kinds[name] for name in PIXELS if name in kinds]
            best = max(pixels, key=lambda each: statistics.mean(each.values()), default={})
            others = *(kinds.get(kind, {}) for kind in ("imprinted", "random", "none")), best
            alone = kinds.get("labelled", {}).values()
            cells = [f"{statistics.mean(learned.values()):.1f} ({len(learned)})"]
            cells += [format_difference(subtract(learned, other)) for other in others]
            alone = [f"{statistics.mean(alone):.1f}"] if alone else []
            others = [f"({quoted[data, count]})"] if (data, count) in quoted else []
            rows.append((data, f"{int(count):,}", *cells, " ".join(alone + others)))
    return rows


def list_panels() -> list[tuple[str, str, dict[float, tuple[str, ...]]]]:
    """Return (title, label of the axis, {x: key of the table}) of each panel with at least two points."""
    found = read_table()
    fashion = "fashion-mnist", "128"
    panels = (
        ("Fashion-MNIST", NUMBER, {int(width): ("fashion-mnist", width, ALL_LABELS, "0") for width in WIDTHS}),
        ("MNIST", NUMBER, {int(width): ("mnist", width, ALL_LABELS, "0") for width in WIDTHS}),
        (
            "Fashion-MNIST: depth",
            "layers, the highest with 128 features",
            {layers: ("fashion-mnist", network, ALL_LABELS, "0") for network, layers in DEPTHS.items()},
        ),
        (
            "Fashion-MNIST: labels",
            "labelled images of each class",
            {labels: (*fashion, str(labels), "0") for labels in (10, 100, 1000)},
        ),
        (
            "Fashion-MNIST: noise",
            "standard deviation of the noise",
            {float(noise): (*fashion, ALL_LABELS, noise) for noise in ("0", "0.05", "0.1", "0.2")},
        ),
    )
    filled = []
    for title, label, keys in panels:
        present = {x: key for x, key in keys.items() if key in found}
        if len(present) > 1:
            filled.append((title, label, present))
    return filled


def main() -> None:
    from engine.rules import STDP
    from training.trained import load_network

    for path in sorted((TABLE.parent / "checkpoints").glob("*.safetensors")):
        for layer_name, layer in load_network(path).model.named_layers():
            rule = layer.stage.rule
            if not isinstance(rule, STDP):
                continue
            low, high = rule.bounds
            near = (layer.weight < low + NEAR) | (layer.weight > high - NEAR)
            strong = layer.weight > (low + high) / 2
            shares = [f"{100 * float(chosen.double().mean()):.2f} %" for chosen in (near, strong)]
            print(f"{path.stem} {layer_name}: {shares[0]} within {NEAR} of a bound, {shares[1]} in the upper half")


if __name__ == "__main__":
    main()
