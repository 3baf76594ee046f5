"""Write the tables of the results into ``README.md``, ``results/README.md`` and ``results/search.md``.

They come from the logs and scores in this folder.

    python results/collect.py

Each table replaces the text between ``<!-- NAME -->`` and ``<!-- /NAME -->``. ``operations.png`` is drawn again.
"""

import csv
import json
import re
import statistics
from itertools import groupby
from pathlib import Path

HERE = Path(__file__).resolve().parent
RUN_COLUMNS = "network", "epochs", "seed", "validation", "test, best epoch", "test, last epoch", "silent", "memory"
SEED_COLUMNS = "network", "epochs", "seeds", "validation", "test, best epoch", "lowest to highest", "time", "tuned"
SHORT_COLUMNS = "network", "epochs", "seeds", "test accuracy", "time", "tuned"
# The column "tuned" of networks on MNIST: whether test images had a part in their design and settings
TUNED = {"mozafari2018_margin": "yes", "multiscale2026": "partly"}
NOT_SHORT = (("mozafari2018", "2 4 10"),)
EXAMPLE = HERE / "deep2024-10-epochs.log"  # the output of the README's first command
SEARCH_COLUMNS = "data set", "setting", "copies", "epochs", "seeds", "settled, %", "best epoch, %", "difference"
BASELINE = "encoder.threshold=20", "s5.rule.decay=0.82", "s5.out_channels=50"  # of search/candidates.csv
LAST_LINES = 4  # the number of its last lines in the README


def read_runs() -> list[tuple[Path, dict]]:
    """Return (path of the scores, scores) of all runs, by network, then by number of epochs and seed."""
    runs = [(path, json.loads(path.read_text())) for path in HERE.glob("*.json")]
    return sorted(runs, key=lambda run: [run[1]["flags"][key] for key in ("model", "epochs", "seed")])


def describe(flags: dict) -> str:
    """Return the name of a run's network and data, without epochs and seed."""
    words = [flags["model"]]
    if flags["dataset"] != "mnist":
        words.append(f"on {flags['dataset']}")
    if flags.get("augment", "none") in ("none", ["none"]) and flags["model"] == "multiscale2026":
        words.append("without moved copies")
    return " ".join(words)


def read_processor_time(path: Path, scores: dict) -> float | None:
    """Return the processor time of a whole command in minutes; None unless the run has a time and used one thread."""
    timed = re.search(r"whole command: [\d.]+ s \(([\d.]+) s", path.with_suffix(".log").read_text())
    return float(timed[1]) / 60 if timed and scores["flags"]["threads"] == 1 else None


def format_run(path: Path, scores: dict) -> tuple[str, ...]:
    """Return the cells of one run."""
    flags, test = scores["flags"], scores["test"]
    return (
        f"[{describe(flags)}]({path.with_suffix('.log').name})",
        " ".join(map(str, flags["epochs"])),
        str(flags["seed"]),
        f"{100 * scores['validation']['best']['accuracy']:.2f} % (epoch {scores['best_epoch']['epoch']})",
        f"{100 * test['best']['accuracy']:.2f} %",
        f"{100 * test['last']['accuracy']:.2f} %",
        f"{100 * test['best']['silent']:.2f} %",
        f"{scores['peak_memory_mb']:,.0f} MB",
    )


def make_run_table() -> str:
    """Return the table of all runs."""
    return to_markdown(RUN_COLUMNS, [format_run(*run) for run in read_runs()])


def compute_means() -> list[dict[str, str]]:
    """Return means and standard deviations over the seeds for all networks with several seeds: {column: text}."""

    def key(run):
        return describe(run[1]["flags"]), run[1]["flags"]["epochs"]

    rows = []
    for (name, epochs), group in groupby(sorted(read_runs(), key=key), key=key):
        runs = list(group)
        if len(runs) < 2:
            continue
        validation, test = (
            [100 * scores[split]["best"]["accuracy"] for _, scores in runs] for split in ("validation", "test")
        )
        times = [minutes for minutes in (read_processor_time(*run) for run in runs) if minutes]
        accuracy = f"**{statistics.mean(test):.2f} ± {statistics.stdev(test):.2f} %**"
        flags = runs[0][1]["flags"]
        rows.append(
            {
                "network": name,
                "epochs": " ".join(map(str, epochs)),
                "seeds": " ".join(str(scores["flags"]["seed"]) for _, scores in runs),
                "validation": f"{statistics.mean(validation):.2f} ± {statistics.stdev(validation):.2f} %",
                "test, best epoch": accuracy,
                "test accuracy": accuracy,
                "lowest to highest": f"{min(test):.2f} to {max(test):.2f} %",
                "time": f"{statistics.mean(times):.1f} min" if times else "–",
                "tuned": TUNED.get(flags["model"], "no") if flags["dataset"] == "mnist" else "no",
            }
        )
    return rows


def make_seed_table() -> str:
    """Return the table of means over the seeds."""
    return to_markdown(SEED_COLUMNS, [[row[column] for column in SEED_COLUMNS] for row in compute_means()])


def make_short_table() -> str:
    """Return the README's table."""
    rows = [row for row in compute_means() if (row["network"], row["epochs"]) not in NOT_SHORT]
    rows = [row for row in rows if not row["network"].endswith("without moved copies")]
    return to_markdown(SHORT_COLUMNS, [[row[column] for column in SHORT_COLUMNS] for row in rows])


def to_markdown(columns, rows) -> str:
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (columns, ["---"] * len(columns), *rows))


def read_example() -> str:
    """Return the first and the last lines of the example's log."""
    log = EXAMPLE.read_text().splitlines()
    lines = [line for line in log[1:-1] if not line.startswith("#")]  # about the commit and the machine
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


def draw_operations(path: Path) -> None:
    """Draw the test accuracy against the synaptic additions for an image, a point for each run on MNIST with counts."""
    from matplotlib.figure import Figure

    points = {}
    for _, scores in read_runs():
        counts = scores.get("energy", {}).get("stages") or scores.get("activity")
        if counts and scores["flags"]["dataset"] == "mnist":
            additions = sum(stage.get("synaptic_additions", 0) for stage in counts.values())
            accuracy = 100 * scores["test"]["best"]["accuracy"]
            points.setdefault(describe(scores["flags"]), []).append((additions / 1e6, accuracy))
    figure = Figure(figsize=(9, 4.5), layout="constrained")
    axes = figure.add_subplot()
    for (name, found), marker in zip(sorted(points.items()), "os^vDP*X<>", strict=False):
        axes.plot(*zip(*found, strict=True), marker, label=name, ms=8, alpha=0.8)
    axes.set(xlabel="synaptic additions for a test image, millions", ylabel="test accuracy on MNIST, %", xlim=0)
    axes.grid(alpha=0.3)
    axes.legend(loc="center left", bbox_to_anchor=(1.01, 0.5), frameon=False)
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
    fill(HERE / "README.md", {"seeds": make_seed_table(), "runs": make_run_table(), "speed": read_speed()})
    fill(HERE / "search.md", {"candidates": make_search_table()})
    fill(HERE.parent / "README.md", {"example": read_example(), "results": make_short_table()})
