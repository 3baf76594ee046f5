"""Put the tables of the results into ``README.md`` and ``results/README.md``, from the logs and scores here.

    python results/collect.py

What is between ``<!-- NAME -->`` and ``<!-- /NAME -->`` there is replaced.
"""

import json
import re
import statistics
from itertools import groupby
from pathlib import Path

HERE = Path(__file__).resolve().parent
COLUMNS = "network", "epochs", "seed", "validation", "test, best epoch", "test, last epoch", "silent", "time", "memory"
OVER_SEEDS = "network", "epochs", "seeds", "validation", "test, best epoch", "lowest to highest", "processor time"
OURS = "mozafari2018_margin", "multiscale2026"  # the others are networks that were published
EXAMPLE = HERE / "deep2024-10-epochs.log"  # what the first command prints
FIRST, LAST = 3, 4  # lines of it that the README shows


def runs():
    """(path of the scores, scores), by network, then by number of epochs and seed."""
    found = [(path, json.loads(path.read_text())) for path in HERE.glob("*.json")]
    return sorted(found, key=lambda run: [run[1]["flags"][key] for key in ("model", "epochs", "seed")])


def described(flags):
    """What a run trained, but for epochs and seed."""
    words = [flags["model"]]
    if flags["dataset"] != "mnist":
        words.append(f"on {flags['dataset']}")
    if flags.get("augment", "none") in ("none", ["none"]) and flags["model"] == "multiscale2026":
        words.append("without moved copies")
    if flags["dataset"] == "fashion-mnist":  # with what fashion-mnist.toml sets
        return " ".join(words)
    changes = flags.get("set", [])
    changes = [f"{field}={value}" for field, value in changes.items()] if isinstance(changes, dict) else changes
    return " ".join([*words, *changes])


def seconds(path):
    """What the whole command of a run took, and how much of the processors (None: not taken), from its log."""
    text = path.with_suffix(".log").read_text()
    if timed := re.search(r"whole command: ([\d.]+) s \(([\d.]+) s", text):
        return tuple(map(float, timed.groups()))
    return float(re.search(r"^(\d+) s, [\d,]+ MB", text, re.MULTILINE).group(1)), None


def row(path, scores):
    """The cells of one run, whose log lies beside its scores."""
    flags, test = scores["flags"], scores["test"]
    return (
        f"[{described(flags)}]({path.with_suffix('.log').name})",
        " ".join(map(str, flags["epochs"])),
        str(flags["seed"]),
        f"{100 * scores['validation']['best']['accuracy']:.2f} % (epoch {scores['best_epoch']['epoch']})",
        f"{100 * test['best']['accuracy']:.2f} %",
        f"{100 * test['last']['accuracy']:.2f} %",
        f"{100 * test['best']['silent']:.2f} %",
        f"{seconds(path)[0] / 60:.1f} min",
        f"{scores['peak_memory_mb']:,.0f} MB",
    )


def table():
    """All runs."""
    return markdown(COLUMNS, [row(*run) for run in runs()])


def means(ours):
    """Mean and standard deviation over the seeds, of all that was trained with several; of our networks or of others.

    The time is the processors': some runs had to share their cores, and some had two threads.
    """

    def alike(run):
        return described(run[1]["flags"]), run[1]["flags"]["epochs"]

    rows = []
    for (name, epochs), group in groupby(sorted(runs(), key=alike), key=alike):
        paths, some = zip(*group, strict=True)
        if len(some) < 2 or (some[0]["flags"]["model"] in OURS) != ours:
            continue
        validation, test = (
            [100 * scores[split]["best"]["accuracy"] for scores in some] for split in ("validation", "test")
        )
        times = [taken[1] for taken in map(seconds, paths) if taken[1]]
        rows.append((
            name, " ".join(map(str, epochs)), " ".join(str(scores["flags"]["seed"]) for scores in some),
            f"{statistics.mean(validation):.2f} ± {statistics.stdev(validation):.2f} %",
            f"**{statistics.mean(test):.2f} ± {statistics.stdev(test):.2f} %**",
            f"{min(test):.2f} to {max(test):.2f} %", f"{statistics.mean(times) / 60:.1f} min",
        ))  # fmt: skip
    return markdown(OVER_SEEDS, rows)


def markdown(columns, rows):
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (columns, ["---"] * len(columns), *rows))


def printed():
    """The first and the last lines of the log, without the command and the time that the shell took."""
    lines = EXAMPLE.read_text().splitlines()[1:-1]
    return "\n".join(["```text", *lines[:FIRST], "…", *lines[-LAST:], "```"])


def speed():
    """The table of ``speed.md`` for all threads."""
    return re.findall(r"^### \d+ threads?\n\n((?:\|.*\n)+)", (HERE / "speed.md").read_text(), re.MULTILINE)[-1].rstrip()


def fill(path, parts):
    text = path.read_text()
    for name, part in parts.items():
        marks = f"<!-- {name} -->\n\n", f"\n\n<!-- /{name} -->"
        before, _, rest = text.partition(marks[0])
        old, _, after = rest.partition(marks[1])
        if not old or not after:
            raise SystemExit(f"{path} has no place for {name}")
        text = before + marks[0] + part + marks[1] + after
    path.write_text(text)


if __name__ == "__main__":
    over_seeds = {"published": means(ours=False), "ours": means(ours=True)}
    fill(HERE / "README.md", {"results": table(), **over_seeds})
    fill(HERE.parent / "README.md", {**over_seeds, "example": printed(), "speed": speed()})
