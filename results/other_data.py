"""The table and the figure of the runs of ``data.sh``, from the logs and scores in ``data/``."""

import json
import re
import statistics
from itertools import groupby
from pathlib import Path

HERE = Path(__file__).resolve().parent / "data"
COLUMNS = "data", "network", "epochs", "test, last epoch", "linear readout", "lowest to highest", "processor time"
TITLES = {
    "nmnist": "N-MNIST, 1,000 recordings",
    "faces": "faces and motorbikes, 474 photographs",
    "cifar": "CIFAR-10, JPEG copies",
    "digits": "scikit-learn's digits, `intensity`",
}
MARKS = {"cifar": "v", "nmnist": "o", "faces": "s", "digits": "^"}


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


def read_minutes(path: Path) -> float:
    """Return the processor time of a run in minutes, with all of its resumed parts."""
    log = path.with_suffix(".log").read_text()
    return sum(map(float, re.findall(r"whole command: [\d.]+ s \(([\d.]+) s", log))) / 60


def describe(values: list[float]) -> str:
    if len(values) == 1:
        return f"{values[0]:.2f} % (one run)"
    return f"{statistics.mean(values):.2f} ± {statistics.stdev(values):.2f} %"


def get_test_accuracies(runs: list[tuple[Path, dict]]) -> list[float]:
    return [100 * scores["test"]["last"]["accuracy"] for _, scores in runs]


def make_table() -> list[tuple[str, ...]]:
    """Return the rows of the table: means and standard deviations over folds or seeds."""
    rows = []
    for data, network, runs in read_groups():
        found = get_test_accuracies(runs)
        readouts = [100 * scores["readout"]["test"]["accuracy"] for _, scores in runs if "readout" in scores]
        minutes = statistics.mean(read_minutes(path) for path, _ in runs)
        rows.append(
            (
                TITLES[data],
                f"[{network}]({HERE.name}/{runs[0][0].with_suffix('.log').name})",
                " ".join(map(str, runs[0][1]["flags"]["epochs"])),
                f"**{describe(found)}**",
                describe(readouts) if readouts else "",
                f"{min(found):.2f} to {max(found):.2f} %",
                f"{minutes:.1f} min",
            )
        )
    return rows


def draw(path: Path) -> None:
    """Draw the test accuracy of each row against the processor time of a run."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 5.5), layout="constrained")
    axes = figure.add_subplot()
    colours = {}
    for data, network, runs in read_groups():
        accuracies = get_test_accuracies(runs)
        minutes = statistics.mean(read_minutes(path) for path, _ in runs)
        colour = colours.setdefault(network, f"C{len(colours)}")
        deviation = statistics.stdev(accuracies) if len(accuracies) > 1 else 0
        mean = statistics.mean(accuracies)
        axes.errorbar(minutes, mean, deviation, fmt=MARKS[data], color=colour, capsize=3)
    for network, colour in colours.items():
        axes.plot([], [], "-", color=colour, label=network)
    for data, mark in MARKS.items():
        axes.plot([], [], mark, color="black", label=TITLES[data].replace("`", ""))
    axes.set(xlabel="processor time of a run, minutes", ylabel="test accuracy, %")
    axes.set_xscale("log")
    axes.xaxis.set_major_formatter("{x:g}")
    axes.grid(alpha=0.3)
    axes.legend(fontsize=9, loc="center left", bbox_to_anchor=(1, 0.5))
    figure.savefig(path, dpi=120)
