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
OVER_SEEDS = "network", "epochs", "seeds", "validation", "test, best epoch", "lowest to highest", "published"
PUBLISHED = {"mozafari2018": "97.2 % (680 epochs)"}  # of MNIST's test images, by the network's authors
IN_SHORT = "network", "epochs", "test, best epoch", "silent", "time"
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
    if flags.get("augment", ["none"]) == ["none"] and flags["model"] == "multiscale2026":
        words.append("without moved copies")
    return " ".join([*words, *flags.get("set", [])])


def row(path, scores, prefix):
    """The cells of one run, whose log lies beside its scores."""
    log = path.with_suffix(".log")
    text = log.read_text()
    timed = re.search(r"whole command: ([\d.]+) s", text) or re.search(r"^(\d+) s, [\d,]+ MB", text, re.MULTILINE)
    seconds = float(timed.group(1))
    flags, test = scores["flags"], scores["test"]
    return (
        f"[{described(flags)}]({prefix}{log.name})",
        " ".join(map(str, flags["epochs"])),
        str(flags["seed"]),
        f"{100 * scores['validation']['best']['accuracy']:.2f} % (epoch {scores['best_epoch']['epoch']})",
        f"{100 * test['best']['accuracy']:.2f} %",
        f"{100 * test['last']['accuracy']:.2f} %",
        f"{100 * test['best']['silent']:.2f} %",
        f"{seconds / 60:.1f} min",
        f"{scores['peak_memory_mb']:,.0f} MB",
    )


def table():
    """All runs."""
    return markdown(COLUMNS, [row(*run, prefix="") for run in runs()])


def means():
    """Mean and standard deviation over the seeds, of all that was trained with several."""

    def alike(run):
        return described(run[1]["flags"]), run[1]["flags"]["epochs"]

    rows = []
    for (name, epochs), some in groupby(sorted(runs(), key=alike), key=alike):
        some = [scores for _, scores in some]
        if len(some) < 2:
            continue
        validation, test = (
            [100 * scores[split]["best"]["accuracy"] for scores in some] for split in ("validation", "test")
        )
        rows.append((
            name, " ".join(map(str, epochs)), " ".join(str(scores["flags"]["seed"]) for scores in some),
            f"{statistics.mean(validation):.2f} ± {statistics.stdev(validation):.2f} %",
            f"{statistics.mean(test):.2f} ± {statistics.stdev(test):.2f} %", f"{min(test):.2f} to {max(test):.2f} %",
            PUBLISHED.get(name, ""),
        ))  # fmt: skip
    return markdown(OVER_SEEDS, rows)


def best_of_each_network():
    """Of each network the run that the validation images speak for, in a few columns; of MNIST only."""
    chosen = {}
    for path, scores in runs():
        if scores["flags"]["dataset"] != "mnist":
            continue
        best = chosen.setdefault(scores["flags"]["model"], (path, scores))
        if scores["validation"]["best"]["accuracy"] > best[1]["validation"]["best"]["accuracy"]:
            chosen[scores["flags"]["model"]] = path, scores
    places = [COLUMNS.index(column) for column in IN_SHORT]
    rows = [row(*run, prefix="results/") for run in chosen.values()]
    return markdown(IN_SHORT, [[cells[place] for place in places] for cells in rows])


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
    fill(HERE / "README.md", {"results": table(), "means": means()})
    parts = {"results": best_of_each_network(), "means": means(), "example": printed(), "speed": speed()}
    fill(HERE.parent / "README.md", parts)
