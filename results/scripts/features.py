"""What docs/learning.md shows of results/controls.tsv, noise.tsv and labels.tsv; learning.tsv."""

import csv
import math
import re
import statistics
from collections.abc import Sequence
from itertools import product

from scipy.stats import t, ttest_1samp

from results.scripts.runs import RESULTS

REPLACED = "imprinted", "random", "none"  # what a network has in place of its learned features
CONTROL = "control2026"
ALL = "all"
PIXELS = "logistic regression", "nearest neighbour", "SVM", "label spreading"
SHOWN = "100", "1000", "10000"  # of labels.tsv
FEW = "accuracy from few images, %"  # in quoted.csv
CONTROL_COLUMNS = "data", "network", "augmentation", "STDP, % (seeds)", *(f"− {kind}" for kind in REPLACED)
LABEL_COLUMNS = (
    *("data", "labels", "STDP, % (seeds)", "− imprinted", "− random", "− patch", "− none", "− pixels"),
    "alone",
)
WORTH = "random", "patch", "imprinted", "STDP"  # kinds of features
WORTH_COLUMNS = "data, labels", "no features, % (seeds)", *(f"{kind}, points" for kind in WORTH)
NAMES = {"mnist": "MNIST", "fashion-mnist": "Fashion-MNIST", "kannada": "Kannada-MNIST", "cifar": "CIFAR-10"}
NAMES |= {"fashion": "Fashion-MNIST", "kmnist": "KMNIST (8,000 images)", "usps": "USPS"}
# the rows of the table of what features are worth
WORTH_ROWS = (
    *(("mnist", count) for count in ("100", "1000", ALL)),
    *(("fashion-mnist", count) for count in ("100", ALL)),
    ("cifar", "10000"),
)
TABULATED = "mnist", "fashion-mnist", "kannada"  # the data of the table of few labels, with three seeds or more
SPREAD = "imprinted", "random", "patch", "pixels"  # what labels spread over in place of learned features
SPREAD_COLUMNS = "data, labels", "accuracy of", "STDP, % (draws)", *(f"− {kind}" for kind in SPREAD)
SPREAD_LINE = re.compile(r"(\S+)-(\d+) (\w+), (\d+) labels, draw (\d+): (graph|network) ([\d.]+)")
NOISES = "0.0", "0.1", "0.2", "0.3"  # the columns of the table of noisy images
NOISE_COLUMNS = "STDP − imprinted, noise:", *NOISES
# the rows of the table of noisy images, of each experiment: {network: title}
NOISY = (
    {"8": "8 features (1.3)", "32": "32 features (1.3)"},
    {"mozafari2018_margin": "mozafari2018_margin (2.0)"},
)
SIGNIFICANT = 0.05
VALIDATED = 100  # the first draw of labels that is classified on validation images

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


def find_significant(column: Sequence[Sequence[float]]) -> list[bool]:
    """Return which means of differences are not 0, by Student's t and by Holm's method over all of them.

    column: the differences of each comparison; those of fewer than three seeds are not compared.
    """
    compared = {}
    for row, values in enumerate(column):
        if len(values) > 2:
            compared[row] = ttest_1samp(values, 0).pvalue if any(values) else 1.0  # not NaN
    found = [False] * len(column)
    for tested, row in enumerate(sorted(compared, key=compared.get)):
        if compared[row] > SIGNIFICANT / (len(compared) - tested):
            break
        found[row] = True
    return found


def format_difference(differences: Sequence[float], is_significant: bool = False) -> str:
    """Return the mean and the half width of its 95 % interval, bold if it is significant; "" of none."""
    if not differences:
        return ""
    mean, half = compute_interval(differences)
    if math.isinf(half):
        return f"{mean:+.2f}"
    text = f"{mean:+.2f} ± {half:.2f}"
    return f"**{text}**" if is_significant else text


def format_columns(rows: Sequence[Sequence[Sequence[float]]], usual: Sequence[int]) -> list[list[str]]:
    """Return the cells of a table of differences.

    usual: for each row, a number of seeds. A cell of another number has it in brackets.
    """
    columns = []
    for column in zip(*rows, strict=True):
        cells = []
        for differences, is_significant, count in zip(column, find_significant(column), usual, strict=True):
            text = format_difference(differences, is_significant)
            cells.append(text + f" ({len(differences)})" * (0 < len(differences) != count))
        columns.append(cells)
    return [list(cells) for cells in zip(*columns, strict=True)]


def format_leads(rows: Sequence[tuple], digits: int = 2) -> list[list[str]]:
    """Return the cells of rows (first cells, accuracies of learned features, accuracies of each other kind).

    The learned features have their accuracy with the number of seeds, and their leads over the others.
    """
    leads = [[subtract(learned, other) for other in others] for _, learned, others in rows]
    cells = format_columns(leads, [len(learned) for _, learned, _ in rows])
    table = []
    for (first, learned, _), differences in zip(rows, cells, strict=True):
        mean = f"{statistics.mean(learned.values()):.{digits}f} ({len(learned)})"
        table.append([*first, mean, *differences])
    return table


def make_control_table() -> list[list[str]]:
    """Return the rows of the table of the networks that learned from all training images: test, last epoch.

    The kind "none" is that of control2026 with the same augmentation.
    """
    found = read("controls.tsv", ("data", "network", "copies"))
    rows = []
    for (data, network, copies), kinds in found.items():
        if network == CONTROL:
            continue
        kinds = kinds | found.get((data, CONTROL, copies), {})
        others = [kinds.get(kind, {}) for kind in REPLACED]
        augmentation = re.sub(r"copies=(\d+).*", r"\1 images", copies)
        rows.append(((data, network, augmentation), kinds["STDP"], others))
    rows.sort(key=lambda row: row[0][1])
    return format_leads(rows)


def make_noise_table() -> list[list[str]]:
    """Return the rows of the table of noisy images: for each network, the lead over imprinted features.

    Holm's correction is for the comparisons of an experiment.
    """
    found = read("noise.tsv", ("noise", "network", "strength"), "accuracy")
    table = []
    for networks in NOISY:
        rows = [found["gaussian", network, strength] for network in networks for strength in NOISES]
        leads = [[subtract(kinds["STDP"], kinds["imprinted"])] for kinds in rows]
        cells = [text for (text,) in format_columns(leads, [len(kinds["STDP"]) for kinds in rows])]
        for title in networks.values():
            table.append([title, *cells[: len(NOISES)]])
            del cells[: len(NOISES)]
    return table


def make_worth_table() -> list[list[str]]:
    """Return the rows of the table of what features are worth: test, last epoch."""
    found = read_labels()
    rows = [found[row] for row in WORTH_ROWS]
    leads = [[subtract(kinds.get(kind, {}), kinds["none"]) for kind in WORTH] for kinds in rows]
    cells = format_columns(leads, [len(kinds["none"]) for kinds in rows])
    table = []
    for (data, count), kinds, differences in zip(WORTH_ROWS, rows, cells, strict=True):
        labels = count if count == ALL else f"{int(count):,}"
        none = f"{statistics.mean(kinds['none'].values()):.1f} ({len(kinds['none'])})"
        table.append([f"{NAMES[data]}, {labels}", none, *differences])
    return table


def make_spread_table() -> list[list[str]]:
    """Return the rows of the table of labels that spread: test images, of each draw of labels and seed of features."""
    found: dict[tuple, Kinds] = {}
    for line in (RESULTS / "logs" / "few-labels.log").read_text(encoding="utf-8").splitlines():
        match = SPREAD_LINE.match(line)
        if match and int(match[5]) < VALIDATED:
            data, seed, kind, labels, draw, what, accuracy = match.groups()
            kinds = found.setdefault((data, int(labels), what), {})
            kinds.setdefault(kind, {})[f"{seed} {draw}"] = float(accuracy)
    rows = []
    for (data, labels, what), kinds in found.items():
        if "learned" in kinds:
            others = [kinds.get(kind, {}) for kind in SPREAD]
            rows.append(((f"{NAMES[data]}, {labels:,}", f"the {what}"), kinds["learned"], others))
    return format_leads(rows)


def make_label_table(quoted: dict[tuple[str, str], str]) -> list[list[str]]:
    """Return the rows of the table of few labels.

    quoted: {(data, number of images): accuracy in %} of others whose features learn from the same few images.
    """
    rows = []
    last = []
    found = read_labels()
    for data, count in product(dict.fromkeys(data for data, _ in found), SHOWN):
        kinds = found.get((data, count), {})
        if "STDP" not in kinds or data not in TABULATED:
            continue
        pixels = [kinds[name] for name in PIXELS if name in kinds]
        best = max(pixels, key=lambda each: statistics.mean(each.values()), default={})
        others = *(kinds.get(kind, {}) for kind in ("imprinted", "random", "patch", "none")), best
        rows.append(((data, f"{int(count):,}"), kinds["STDP"], others))
        alone = [f"{statistics.mean(kinds['labelled'].values()):.1f}"] if "labelled" in kinds else []
        alone += [f"({quoted[data, count]})"] if (data, count) in quoted else []
        last.append(" ".join(alone))
    return [[*cells, alone] for cells, alone in zip(format_leads(rows, digits=1), last, strict=True)]
