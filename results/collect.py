"""Write the tables of the results into ``README.md``, ``results/README.md`` and ``results/search.md``.

They come from the logs and scores in this folder.

    python results/collect.py

Each table replaces the text between ``<!-- NAME -->`` and ``<!-- /NAME -->``. ``operations.png`` is drawn again.
"""

import csv
import json
import re
import statistics
import sys
from collections.abc import Sequence
from itertools import groupby
from pathlib import Path

import numpy as np

HERE = Path(__file__).resolve().parent
if __name__ == "__main__":  # as a script, it finds its own folder only
    sys.path.insert(0, str(HERE.parent))

from results import other_data  # noqa: E402

RUN_COLUMNS = "network", "epochs", "seed", "validation", "test, best epoch", "test, last epoch", "silent", "memory"
SEED_COLUMNS = (
    *("network", "epochs", "seeds", "validation", "test, best epoch", "test, last epoch", "lowest to highest", "time"),
    "test images used for settings",
)
SHORT_COLUMNS = (
    *("network", "epochs", "test, best validation epoch", "test, last epoch", "time"),
    "test images used for settings",
)
# Whether test images had a part in the design and the settings of networks on MNIST: "no" for the others
USED_FOR_SETTINGS = {"mozafari2018_margin": "yes", "multiscale2026": "partly"}
# What is different in runs whose logs have these parts in their names
VARIANTS = {
    "-constant": "with constant rates in the warm-up of s3",
    "-balanced": "with balanced rates in s3",
    "-adaptive": "with adaptive thresholds",
    "-grey": "with grey levels",
}
# parts of the rows, names and epochs, that are not the network with its default settings
CHANGED = " with ", "deepr2024|2 4 4 12|", "deepr2024_greedy|2 4 1 12|"
NOT_SHORT = *CHANGED, " without ", " 100|"  # parts of the rows that the README leaves out
EXAMPLE = HERE / "deep2024-10-epochs.log"  # the output of the README's first command
SEARCH_COLUMNS = "data set", "setting", "copies", "epochs", "seeds", "settled, %", "best epoch, %", "difference"
BASELINE = "encoder.threshold=20", "s5.rule.decay=0.82", "s5.out_channels=50"  # of search/candidates.csv
LOAD = 1.5  # the largest load average of a machine that does nothing but a run on one thread
LAST_LINES = 4  # the number of its last lines in the README


def read_runs() -> list[tuple[Path, dict]]:
    """Return (path of the scores, scores) of all runs, by network, then by number of epochs and seed."""
    runs = [(path, json.loads(path.read_text())) for path in HERE.glob("*.json")]
    return sorted(runs, key=lambda run: [run[1]["flags"][key] for key in ("model", "epochs", "seed")])


def describe(path: Path, scores: dict) -> str:
    """Return the name of a run's network, data and variant, without epochs and seed."""
    flags = scores["flags"]
    words = [flags["model"]]
    if flags["dataset"] != "mnist":
        words.append(f"on {flags['dataset']}")
    if flags.get("augment", "none") in ("none", ["none"]) and flags["model"] == "multiscale2026":
        words.append("without moved copies")
    words += [variant for part, variant in VARIANTS.items() if part in path.stem]
    return " ".join(words)


def read_processor_time(path: Path, scores: dict) -> float | None:
    """Return the processor time of a whole command in minutes; None for a run without a time or with several threads.

    A processor that is shared with other processes takes more time for the same work, so these runs have no time
    either: the log of a run on one thread shows a load of about 1 at its end.
    """
    log = path.with_suffix(".log").read_text()
    timed = re.search(r"whole command: [\d.]+ s \(([\d.]+) s", log)
    load = re.search(r"load average at the end ([\d.]+)", log)
    is_shared = load is not None and float(load[1]) > LOAD
    if timed is None or is_shared or scores["flags"]["threads"] != 1:
        return None
    return float(timed[1]) / 60


def get_accuracies(scores: dict) -> dict[str, float]:
    """Return the accuracies of a run in per cent: "validation", "best" and "last" (test images; best and last epoch).

    A network without a decision stage has only those of its readout, after the last epoch.
    """
    if "readout" in scores:
        readout = scores["readout"]
        values = {"validation": readout["validation"], "last": readout["test"]}
    else:
        values = {"validation": scores["validation"]["best"], **scores["test"]}
    return {name: 100 * value["accuracy"] for name, value in values.items()}


def format_run(path: Path, scores: dict) -> tuple[str, ...]:
    """Return the cells of one run."""
    flags = scores["flags"]
    accuracies = {name: f"{value:.2f} %" for name, value in get_accuracies(scores).items()}
    silent = "–"
    if "readout" in scores:
        accuracies["validation"] += f" ({scores['readout']['name']})"
    else:
        accuracies["validation"] += f" (epoch {scores['best_epoch']['epoch']})"
        silent = f"{100 * scores['test']['best']['silent']:.2f} %"
    return (
        f"[{describe(path, scores)}]({path.with_suffix('.log').name})",
        " ".join(map(str, flags["epochs"])),
        str(flags["seed"]),
        accuracies["validation"],
        accuracies.get("best", "–"),
        accuracies["last"],
        silent,
        f"{scores['peak_memory_mb']:,.0f} MB",
    )


def make_run_table() -> str:
    """Return the table of all runs."""
    return to_markdown(RUN_COLUMNS, [format_run(*run) for run in read_runs()])


def group_runs() -> list[tuple[str, list[tuple[Path, dict]]]]:
    """Return (name, runs) of all networks with several seeds, by name and number of epochs."""

    def key(run):
        return describe(*run), run[1]["flags"]["epochs"]

    runs = [run for run in read_runs() if run[0].stem != EXAMPLE.stem]  # the same run as with one thread
    groups = [(name, list(group)) for (name, _), group in groupby(sorted(runs, key=key), key=key)]
    return [(name, group) for name, group in groups if len(group) > 1]


def summarize_runs(name: str, runs: list[tuple[Path, dict]]) -> dict[str, str]:
    """Return the means and standard deviations over the seeds of one network: {column: text}."""
    flags = runs[0][1]["flags"]
    accuracies = [get_accuracies(scores) for _, scores in runs]
    texts = dict.fromkeys(("validation", "best", "last"), "–")
    for split in accuracies[0]:
        values = [each[split] for each in accuracies]
        texts[split] = f"{statistics.mean(values):.2f} ± {statistics.stdev(values):.2f} %"
    reported = "best" if "best" in accuracies[0] else "last"
    tested = [each[reported] for each in accuracies]
    texts[reported] = f"**{texts[reported]}**"
    minutes = [read_processor_time(*run) for run in runs]
    timed = [value for value in minutes if value is not None]
    used = USED_FOR_SETTINGS.get(flags["model"], "no") if flags["dataset"] == "mnist" else "no"
    return {
        "network": name,
        "epochs": " ".join(map(str, flags["epochs"])),
        "seeds": " ".join(str(scores["flags"]["seed"]) for _, scores in runs),
        "validation": texts["validation"],
        "test, best epoch": texts["best"],
        "test, best validation epoch": texts["best"],
        "test, last epoch": texts["last"],
        "lowest to highest": f"{min(tested):.2f} to {max(tested):.2f} %",
        "time": f"{statistics.mean(timed):.1f} min" if timed else "–",
        "test images used for settings": used,
    }


def make_seed_table() -> str:
    """Return the table of means over the seeds."""
    rows = [summarize_runs(*group) for group in group_runs()]
    return to_markdown(SEED_COLUMNS, [[row[column] for column in SEED_COLUMNS] for row in rows])


def is_any_in_row(parts: Sequence[str], name: str, runs: list[tuple[Path, dict]]) -> bool:
    """Return whether any of the parts is in NAME|EPOCHS| of a row."""
    epochs = " ".join(map(str, runs[0][1]["flags"]["epochs"]))
    return any(part in f"{name}|{epochs}|" for part in parts)


def make_short_table() -> str:
    """Return the README's table, without runs of 100 epochs."""
    rows = []
    for name, runs in group_runs():
        row = summarize_runs(name, runs)
        if not is_any_in_row(NOT_SHORT, name, runs):
            rows.append(row)
    return to_markdown(SHORT_COLUMNS, [[row[column] for column in SHORT_COLUMNS] for row in rows])


def to_markdown(columns, rows) -> str:
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (columns, ["---"] * len(columns), *rows))


def read_example() -> str:
    """Return the first and the last lines of the example's log."""
    log = EXAMPLE.read_text().splitlines()
    lines = [line for line in log if not line.startswith(("$", "#", "whole command"))]  # what the program printed
    first = next(i for i, line in enumerate(lines) if line.startswith("s1")) + 1
    return "\n".join(["```text", *lines[:first], "…", *lines[-LAST_LINES:], "```"])


def read_speed() -> str:
    """Return the table of ``speed.md`` for all threads."""
    return re.findall(r"^### \d+ threads?\n\n((?:\|.*\n)+)", (HERE / "speed.md").read_text(), re.MULTILINE)[-1].rstrip()


def make_search_table() -> str:
    """Return the table of ``search/candidates.csv``: one line for each candidate, over its seeds."""
    with open(HERE / "search" / "candidates.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    found = {}
    for row in rows:
        changes = sorted({*f"{row['set']} {row['try']}".split()} - {*BASELINE})
        words = " ".join(f"`{word}`" for word in changes)
        found.setdefault((row["dataset"], words or "baseline", row["copies"], row["epochs"]), []).append(row)
    cells = []
    for (dataset, words, copies, epochs), runs in sorted(found.items(), key=lambda item: item[0][0]):
        settled, best, difference = (
            statistics.mean(float(run[column]) for run in runs) for column in ("settled", "best", "difference")
        )
        error = sum(float(run["standard_error"]) ** 2 for run in runs) ** 0.5 / len(runs)
        seeds = " ".join(sorted((run["seed"] for run in runs), key=int))
        gain = f"{difference:+.2f} ± {error:.2f}" if words != "baseline" else ""
        cells.append((dataset, words, copies, epochs, seeds, f"{settled:.2f}", f"{best:.2f}", gain))
    return to_markdown(SEARCH_COLUMNS, cells)


def count_additions(scores: dict) -> float | None:
    """Return the synaptic additions for a test image, in millions; None for a run that did not count them."""
    counts = scores.get("energy", {}).get("stages") or scores.get("activity")
    if not counts:
        return None
    return sum(stage.get("synaptic_additions", 0) for stage in counts.values()) / 1e6


def draw_operations(path: Path) -> None:
    """Draw the test accuracy on MNIST against the additions for an image: a point for each row but ``CHANGED``.

    Both axes are logarithmic, the vertical axis in the fraction of wrong decisions. The bars are standard deviations
    over the seeds. A label names the network and the epochs of its last phase.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 6.5), layout="constrained")
    axes = figure.add_subplot()
    drawn = []  # (log10 of the additions, log10 of the errors) of the points
    for name, runs in group_runs():
        flags = runs[0][1]["flags"]
        counted = [count_additions(scores) for _, scores in runs]
        additions = [value for value in counted if value is not None]
        if not additions or flags["dataset"] != "mnist" or is_any_in_row(CHANGED, name, runs):
            continue
        accuracies = [get_accuracies(scores) for _, scores in runs]
        errors = [100 - each.get("best", each["last"]) for each in accuracies]
        deviation = statistics.stdev(additions) if len(additions) > 1 else 0
        x = statistics.mean(additions)
        y = statistics.mean(errors)
        (point,) = axes.plot(x, y, "o", ms=6)
        axes.errorbar(x, y, statistics.stdev(errors), deviation, ecolor=point.get_color(), capsize=3, fmt="none")
        place = np.log10([x, y])
        has_no_room = x > 12 or any(
            abs(place[1] - other[1]) < 0.04 and abs(place[0] - other[0]) < 0.3 for other in drawn
        )
        shift, side = ((-8, 4), "right") if has_no_room else ((8, 4), "left")
        label = f"{name}, {flags['epochs'][-1]}"
        axes.annotate(label, (x, y), shift, textcoords="offset points", ha=side, fontsize=9, color=point.get_color())
        drawn.append(place)
    axes.set(xscale="log", yscale="log", xlim=(1, 60), ylim=(35, 0.5))
    axes.set(xlabel="synaptic additions for a test image, millions", ylabel="test accuracy on MNIST, %")
    additions = (1, 2, 3, 5, 10, 20, 50)
    accuracies = (50, 70, 80, 90, 95, 98, 99, 99.5)
    axes.set_xticks(additions, map(str, additions))
    axes.set_yticks([100 - accuracy for accuracy in accuracies], map(str, accuracies))
    axes.minorticks_off()
    axes.grid(alpha=0.3)
    figure.savefig(path, dpi=120)


def fill(path: Path, parts: dict[str, str]) -> None:
    """Replace the parts {name: text} of a file."""
    text = path.read_text()
    for name, part in parts.items():
        before, mark, rest = text.partition(f"<!-- {name} -->")
        _, end, after = rest.partition(f"<!-- /{name} -->")
        if not end:
            raise SystemExit(f"{path} has no place for {name}")
        text = f"{before}{mark}\n\n{part}\n\n{end}{after}"
    path.write_text(text)


if __name__ == "__main__":
    draw_operations(HERE / "operations.png")
    other_data.draw(HERE / "data.png")
    tables = {"seeds": make_seed_table(), "runs": make_run_table(), "speed": read_speed()}
    tables["data"] = to_markdown(other_data.COLUMNS, other_data.make_table())
    fill(HERE / "README.md", tables)
    fill(HERE / "search.md", {"candidates": make_search_table()})
    fill(HERE.parent / "README.md", {"example": read_example(), "results": make_short_table()})
