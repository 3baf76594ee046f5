"""Print the table of ``results/README.md`` from the logs and scores beside this file."""

import json
import re
from pathlib import Path

HERE = Path(__file__).resolve().parent
COLUMNS = "network", "epochs", "seed", "validation", "test, best epoch", "test, last epoch", "silent", "time", "memory"


def row(path):
    """The cells of one run, whose scores are in ``path`` and whose log lies beside it."""
    scores, log = json.loads(path.read_text()), path.with_suffix(".log")
    seconds = float(re.search(r"whole command: ([\d.]+) s", log.read_text()).group(1))
    flags, test = scores["flags"], scores["test"]
    return (
        f"[{flags['model']}]({log.name})",
        " ".join(map(str, flags["epochs"])),
        str(flags["seed"]),
        f"{100 * scores['validation']['best']['accuracy']:.2f} % (epoch {scores['best_epoch']['epoch']})",
        f"{100 * test['best']['accuracy']:.2f} %",
        f"{100 * test['last']['accuracy']:.2f} %",
        f"{100 * test['best']['silent']:.2f} %",
        f"{seconds / 60:.1f} min",
        f"{scores['peak_memory_mb']:,.0f} MB",
    )


if __name__ == "__main__":
    for cells in (COLUMNS, ("---",) * len(COLUMNS), *map(row, sorted(HERE.glob("*.json")))):
        print("|", " | ".join(cells), "|")
