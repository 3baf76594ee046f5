"""Write the tables of the results into the README, the pages of ``results/`` and CSV files, and draw their pictures.

They come from the logs and scores of ``results/runs/`` and ``results/times/``.

    python results/scripts/collect.py

Each table replaces the text between ``<!-- NAME -->`` and ``<!-- /NAME -->``.
"""

import csv
import io
import json
import re
import statistics
import sys
from collections.abc import Sequence
from itertools import groupby
from pathlib import Path
from typing import NamedTuple

HERE = Path(__file__).resolve().parent.parent
if __name__ == "__main__":  # as a script, it finds its own folder only
    sys.path.insert(0, str(HERE.parent))

from results.scripts import hyperparameters, learning_page, other_data, shallow  # noqa: E402
from results.scripts.other_data import format_mean  # noqa: E402

RUN_COLUMNS = (
    *("network", "log", "epochs", "seed", "validation", "test, best epoch", "test, last epoch", "silent", "memory"),
)
SEED_COLUMNS = "network", "epochs (seeds)", "test, best epoch, %", "test, last epoch, %"
MEAN_COLUMNS = (
    *("network", "epochs", "logs", "validation, %", "test, best epoch, %", "test, last epoch, %"),
    *("lowest to highest, %", "settings from test images"),
)
TIME_COLUMNS = (
    *("log", "test accuracy, %", "wall time, s", "processor time, s", "threads", "processor", "load average", "commit"),
)
# Whether test images had a part in the design and the settings of our own networks on MNIST
USED_FOR_SETTINGS = {
    "mozafari2018_margin": "yes",
    "multiscale2026": "partly",
    "control2026": "partly",
    "deepr2024_greedy": "as published but for the warm-up, from validation images",
}
CONTROL = "control2026 without moved copies"
# What is different in runs whose logs have these parts in their names
VARIANTS = {
    "-constant": "with constant rates in the warm-up of s3",
    "-adaptive": "with adaptive thresholds",
    "-60000-images": "with all 60,000 images",
}
# parts of the rows, names and epochs, that are not the network with its default settings
CHANGED = " with ", "deepr2024|2 4 4 12|", "deepr2024_greedy|2 4 1 12|"
# not in the table of results/README.md: other warm-ups of deepr2024, and ten epochs of the networks of 2024
UNUSUAL = "in the warm-up", *CHANGED[1:], "deep2024|2 4 4 10|", "inception2024|2 4 4 10|", "majority2024|2 4 10|"
# the panels of labels.png: title, and number of images with all labels
LABELLED = {
    "mnist": ("MNIST", 55_000),
    "fashion-mnist": ("Fashion-MNIST", 55_000),
    "kannada": ("Kannada-MNIST", 6400),
    "cifar": ("CIFAR-10", 45_000),
}
QUOTED_DATA = "MNIST", "Fashion-MNIST", "CIFAR-10"
SCRIPT = "SpykeTorch's script of `mozafari2018`"  # in quoted.csv
ALONE = " without moved copies"
OWN = "control2026", "mozafari2018_margin", "multiscale2026"  # beside the quoted networks
PAPER = "Mozafari et al. 2018"
TIMES = HERE / "times"
EXAMPLE = TIMES / "mozafari2018_margin-seed0.log"  # the output of the README's first command
WHOLE = HERE / "runs" / "mozafari2018-680-epochs-60000-images.json"  # learned from as many images as the script
REPRODUCED = "mozafari2018"  # what the README compares with its paper and with SpykeTorch's script
# The README's table: a network, the epochs of its last phase, and what it is
SHOWN = (
    (CONTROL, 25, "no features"),
    (REPRODUCED, 680, "STDP and R-STDP, 680 epochs"),
    ("mozafari2018_margin", 25, "the same features, the margin rule"),
    ("kheradpisheh2018", 20, "STDP and a support vector machine"),
    ("multiscale2026 without moved copies", 30, "features of four scales, the margin rule"),
    ("multiscale2026", 55, "the same, and moved copies"),
)


class Times(NamedTuple):
    """What the log of a measured run has, over all of its resumed parts."""

    wall: float  # seconds
    processor: float  # seconds, of the program and of the system
    model: str
    commit: str
    load: str


def read_times(log: Path) -> Times | None:
    """Read a log of ``measure_times.sh``; None if it lacks anything for any of its parts, or mixes commits."""
    text = log.read_text(encoding="utf-8")

    def find(pattern):
        return re.findall(f"^{pattern}", text, re.MULTILINE)

    commands = find(r"\$ python train\.py ")
    commits = find(r"# commit (\S+)")
    processors = find(r"# processor (.+) with \d+ cores")
    starts = find(r"# load average at the start ([\d.]+)")
    ends = find(r"# load average at the end ([\d.]+)")
    times = find(r"whole command: ([\d.]+) s, processor: ([\d.]+) s of the program and ([\d.]+) s of the system")
    numbers = {len(found) for found in (commands, commits, processors, starts, ends, times)}
    if numbers != {len(commands)} or len({*commits}) != 1:
        return None
    wall, program, system = (sum(map(float, values)) for values in zip(*times, strict=True))
    return Times(wall, program + system, processors[0], commits[0], f"{starts[0]} to {ends[-1]}")


def read_all_times() -> dict[str, Times]:
    """Return {name of a run: its times}, of the runs that were measured."""
    found = {log.stem: read_times(log) for log in sorted(TIMES.glob("*.log"))}
    return {name: times for name, times in found.items() if times is not None}


def format_time(seconds: float) -> str:
    if seconds >= 3600:
        return f"{seconds / 3600:.1f} h"
    return f"{seconds / 60:.1f} min"


def make_time_table() -> str:
    """Return the table of all measured runs as CSV."""
    rows = []
    for name, times in read_all_times().items():
        scores = json.loads((TIMES / f"{name}.json").read_text(encoding="utf-8"))
        accuracies = get_accuracies(scores)
        rows.append(
            (
                f"{name}.log",
                f"{accuracies.get('best', accuracies['last']):.2f}",
                f"{times.wall:.0f}",
                f"{times.processor:.0f}",
                str(scores["machine"]["threads"]),
                times.model,
                times.load,
                times.commit[:7] + times.commit[40:],
            )
        )
    return to_csv(TIME_COLUMNS, rows)


def read_runs() -> list[tuple[Path, dict]]:
    """Return (path of the scores, scores) of all runs, by network, then by number of epochs and seed."""
    runs = [(path, json.loads(path.read_text(encoding="utf-8"))) for path in (HERE / "runs").glob("*.json")]
    return sorted(runs, key=lambda run: [run[1]["flags"][key] for key in ("model", "epochs", "seed")])


def describe(path: Path, scores: dict) -> str:
    """Return the name of a run's network, data and variant, without epochs and seed."""
    flags = scores["flags"]
    words = [flags["model"]]
    if flags["dataset"] != "mnist":
        words.append(f"on {flags['dataset']}")
    if flags.get("augment", "none") in ("none", ["none"]) and flags["model"] in ("multiscale2026", "control2026"):
        words.append("without moved copies")
    words += [variant for part, variant in VARIANTS.items() if part in path.stem]
    return " ".join(words)


def get_accuracies(scores: dict) -> dict[str, float]:
    """Return the accuracies of a run in per cent: "validation", "best" and "last" (test images; best and last epoch).

    A network without a decision stage has only those of its readout, after the last epoch. Without validation images,
    no epoch is the best.
    """
    if "readout" in scores:
        readout = scores["readout"]
        values = {"validation": readout["validation"], "last": readout["test"]}
    elif scores["best_epoch"]:
        values = {"validation": scores["validation"]["best"], **scores["test"]}
    else:
        values = {"last": scores["test"]["last"]}
    return {name: 100 * value["accuracy"] for name, value in values.items()}


def format_run(path: Path, scores: dict) -> tuple[str, ...]:
    """Return the cells of one run."""
    flags = scores["flags"]
    accuracies = {name: f"{value:.2f} %" for name, value in get_accuracies(scores).items()}
    silent = "–"
    if "readout" in scores:
        accuracies["validation"] += f" ({scores['readout']['name']})"
    else:
        silent = f"{100 * scores['test']['best']['silent']:.2f} %"
    if "best" in accuracies:
        accuracies["validation"] += f" (epoch {scores['best_epoch']['epoch']})"
    return (
        describe(path, scores),
        path.with_suffix(".log").name,
        " ".join(map(str, flags["epochs"])),
        str(flags["seed"]),
        accuracies.get("validation", "–"),
        accuracies.get("best", "–"),
        accuracies["last"],
        silent,
        f"{scores['peak_memory_mb']:,.0f} MB",
    )


def to_csv(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([columns, *rows])
    return text.getvalue()


def group_runs() -> list[tuple[str, list[tuple[Path, dict]]]]:
    """Return (name, runs) of all networks with several seeds, by name and number of epochs."""

    def key(run):
        return describe(*run), run[1]["flags"]["epochs"]

    groups = [(name, list(group)) for (name, _), group in groupby(sorted(read_runs(), key=key), key=key)]
    return [(name, group) for name, group in groups if len(group) > 1]


def summarize_runs(name: str, runs: list[tuple[Path, dict]]) -> dict[str, str]:
    """Return the means and standard deviations over the seeds of one network: {column: text}."""
    flags = runs[0][1]["flags"]
    accuracies = [get_accuracies(scores) for _, scores in runs]
    texts = dict.fromkeys(("validation", "best", "last"), "–")
    for split in accuracies[0]:
        texts[split] = format_mean([each[split] for each in accuracies])
    reported = "best" if "best" in accuracies[0] else "last"
    tested = [each[reported] for each in accuracies]
    logs = [path.with_suffix(".log") for path, _ in runs]
    measured = read_all_times()
    minutes = [format_time(measured[log.stem].wall) for log in logs if log.stem in measured]
    used = "as published"
    if flags["model"] in USED_FOR_SETTINGS:
        used = USED_FOR_SETTINGS[flags["model"]] if flags["dataset"] == "mnist" else "no"
    return {
        "network": name,
        "log": str(logs[0].relative_to(HERE)),
        "logs": " ".join(log.name for log in logs),
        "epochs": " ".join(map(str, flags["epochs"])),
        "seeds": str(len(runs)),
        "validation, %": texts["validation"],
        "test, best epoch, %": texts["best"],
        "test accuracy": f"**{texts[reported]} %**",
        "test, last epoch, %": texts["last"],
        "lowest to highest, %": f"{min(tested):.2f} to {max(tested):.2f}",
        "time": ", ".join(minutes) or "–",
        "settings from test images": used,
    }


def make_mean_table() -> str:
    """Return the table of the means over the seeds as CSV."""
    rows = [summarize_runs(*group) for group in group_runs()]
    return to_csv(MEAN_COLUMNS, [[row[column] for column in MEAN_COLUMNS] for row in rows])


def make_seed_table() -> str:
    """Return the table of the means over the seeds, without ``UNUSUAL`` rows, and classifiers of pixels."""
    rows = []
    for name, runs in group_runs():
        if is_any_in_row(UNUSUAL, name, runs):
            continue
        row = summarize_runs(name, runs)
        network = f"[{name}]({row['log']})"
        means = row["test, best epoch, %"], row["test, last epoch, %"]
        rows.append((network, f"{row['epochs']} ({row['seeds']})", *means))
    for data in ("mnist", "fashion-mnist"):
        for classifier, (accuracy,) in other_data.read_pixel_classifiers(data).items():
            rows.append((f"{classifier} of {data}", "–", "–", f"{accuracy:.2f}"))
    return to_markdown(SEED_COLUMNS, rows)


def is_any_in_row(parts: Sequence[str], name: str, runs: list[tuple[Path, dict]]) -> bool:
    """Return whether any of the parts is in NAME|EPOCHS| of a row."""
    epochs = " ".join(map(str, runs[0][1]["flags"]["epochs"]))
    return any(part in f"{name}|{epochs}|" for part in parts)


def shorten(processor: str) -> str:
    """Return a processor's name in few words, "Intel Xeon"."""
    return processor.replace("(R)", "").replace(" Processor", "")


def read_quoted(quantity: str) -> list[dict[str, str]]:
    """Return the rows of ``quoted.csv`` of one quantity: numbers of others that were not measured here."""
    with open(HERE / "quoted.csv", newline="", encoding="utf-8") as file:
        return [row for row in csv.DictReader(file) if row["quantity"] == quantity]


def read_few() -> dict[tuple[str, str], str]:
    """Return {(data, number of images): accuracy in %} of others whose features learn from few images."""
    names = {title: data for data, (title, _) in LABELLED.items()}
    rows = [row for row in read_quoted(learning_page.FEW) if row["data"] in names]
    return {(names[row["data"]], row["training images"].replace(",", "")): row["value"] for row in rows}


def make_quoted_table() -> str:
    """Return the table of own and quoted accuracies: a row for each method, a column for each data set."""
    rows = {}
    for name, runs in group_runs():
        network, _, data = name.removesuffix(ALONE).partition(" on ")
        if network in OWN:
            key = f"this repository: `{network}`{ALONE if name.endswith(ALONE) else ''}", "measured here"
            mean = summarize_runs(name, runs)["test, best epoch, %"].partition(" ")[0]
            column = "Fashion-MNIST" if data else "MNIST"
            rows.setdefault(key, {}).setdefault(column, []).append(mean)
    for row in read_quoted("accuracy, %"):
        if "Tsetlin" in row["network"] or row["network"] == SCRIPT:
            continue
        key = row["network"], row["source"]
        values = rows.setdefault(key, {})
        text = row["value"] + "*" * (row["confirmed"] == "second hand")
        column = row["data"] if row["data"] in QUOTED_DATA else "other data"
        if column == "other data":
            text += f" ({row['data']})"
        values.setdefault(column, []).append(text)
    columns = *QUOTED_DATA, "other data"
    cells = []
    for (name, source), values in rows.items():
        cells.append([name, *(", ".join(values.get(column, ())) for column in columns), source])
    return to_markdown(["method", *columns, "source"], cells)


def make_first_table() -> str:
    """Return the README's table: classifiers of pixels, networks on MNIST, and quoted numbers of one of them."""
    linear, nearest = read_references()
    rows = [("no spikes: logistic regression; nearest neighbour", "–", f"{linear:.2f}; {nearest:.2f} %", "–")]
    groups = {(name, runs[0][1]["flags"]["epochs"][-1]): runs for name, runs in group_runs()}
    for name, epochs, text in SHOWN:
        row = summarize_runs(name, groups[name, epochs])
        network = f"[`{name.removesuffix(ALONE)}`](results/{row['log']}): {text}"
        rows.append((network, row["seeds"], row["test accuracy"], row["time"]))
        if name == REPRODUCED:
            rows += make_paper_rows(row["test, last epoch, %"])
    return to_markdown(("on MNIST", "seeds", "test accuracy", "training"), rows)


def make_paper_rows(last: str) -> list[tuple[str, ...]]:
    """Return the README's rows that compare mozafari2018 with its paper and with SpykeTorch's script.

    last: its own accuracy after the last epoch, as in the logs of the script.
    """
    log = WHOLE.with_suffix(".log")
    whole = get_accuracies(json.loads(WHOLE.read_text(encoding="utf-8")))["last"]
    measured = read_times(log)
    (paper,) = (row["value"] for row in read_quoted("accuracy, %") if row["network"].startswith(PAPER))
    script = [row["value"] for row in read_quoted("accuracy, %") if row["network"] == SCRIPT]
    hours = [float(row["value"]) for row in read_quoted("680 epochs, h")]
    return [
        (
            f"… last epoch; [from all 60,000 images]({log.relative_to(HERE.parent)})",
            "3; 1",
            f"{last}; {whole:.2f} %",
            f"{format_time(measured.wall)}, {shorten(measured.model)}",
        ),
        ("… the paper ([quoted](https://arxiv.org/abs/1804.00227)), another program", "–", f"{paper} %", "–"),
        (
            "… SpykeTorch's script, 60,000 images, last epoch ([quoted][a], [quoted][b])",
            "–",
            f"{', '.join(script)} %",
            f"{min(hours):g} h to {max(hours):g} h, other machines",
        ),
    ]


def read_references() -> tuple[float, float]:
    """Return the test accuracies of logistic regression and of the nearest neighbour on the pixels of MNIST."""
    found = other_data.read_pixel_classifiers("mnist")
    return found["logistic regression, pixels"][0], found["nearest neighbour, pixels"][0]


def name_references() -> dict[str, float]:
    """Return the lines of the pictures on MNIST: {text: accuracy}."""
    linear, nearest = read_references()
    (control,) = (runs for name, runs in group_runs() if name == CONTROL)
    accuracies = [get_accuracies(scores)["best"] for _, scores in control]
    return {
        "logistic regression on the pixels": linear,
        "nearest neighbour on the pixels": nearest,
        "control2026: no features, no copies": statistics.mean(accuracies),
    }


def to_markdown(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (columns, ["---"] * len(columns), *rows))


def make_first_commands() -> str:
    """Return the README's two commands, with the accuracy and the time of the example."""
    accuracy = re.search(r"^test +best +accuracy ([\d.]+) %", EXAMPLE.read_text(encoding="utf-8"), re.MULTILINE)[1]
    times = read_times(EXAMPLE)
    minutes = f"{times.wall / 60:.0f} minutes"
    lines = (
        "```bash",
        f"# install and train: {accuracy} % of the test images; {minutes} on one thread of an {shorten(times.model)}",
        "python3 -m venv .venv && .venv/bin/pip install -r requirements.txt \\",
        "    && .venv/bin/python train.py --model mozafari2018_margin --save-maps",
        "# install and pass the tests (--slow: more)",
        "python3 -m venv .venv && .venv/bin/pip install -r requirements-dev.txt && .venv/bin/python -m pytest",
        "```",
    )
    return "\n".join(lines)


def read_example() -> str:
    """Return the test scores, the time and the memory that the example printed."""
    lines = re.findall(r"^test .*|^.* MB at most", EXAMPLE.read_text(encoding="utf-8"), re.MULTILINE)
    return "\n".join(["```text", *lines, "```"])


def read_speed() -> str:
    """Return the table of ``logs/peers.md`` of one thread without ranges, decisions and programs that were not run."""
    text = (HERE / "logs" / "peers.md").read_text(encoding="utf-8")
    text = re.sub(r" \([\d.]+ to [\d.]+\)", "", text[text.index("### 1 thread") : text.index("### 2 threads")])
    lines = [line for line in text.splitlines() if line.startswith("|") and "| not run |" not in line]
    return "\n".join(re.sub(r"\|[^|]*\|$", "|", line) for line in lines)


def count_additions(scores: dict) -> float | None:
    """Return the synaptic additions for a test image, in millions; None for a run that did not count them."""
    counts = scores.get("energy", {}).get("stages") or scores.get("activity")
    if not counts:
        return None
    return sum(stage.get("synaptic_additions", 0) for stage in counts.values()) / 1e6


def find_operations() -> list[tuple[str, str, list[float], list[float]]]:
    """Return (network, epochs of the last phase, additions, test accuracies) of each network on MNIST."""
    points = []
    for name, runs in group_runs():
        flags = runs[0][1]["flags"]
        counted = [count_additions(scores) for _, scores in runs]
        additions = [value for value in counted if value is not None]
        if not additions or flags["dataset"] != "mnist" or is_any_in_row(CHANGED, name, runs):
            continue
        accuracies = [get_accuracies(scores) for _, scores in runs]
        tested = [each.get("best", each["last"]) for each in accuracies]
        points.append((name, str(flags["epochs"][-1]), additions, tested))
    return points


def find_features() -> list[tuple[str, bool, bool, list[float]]]:
    """Return (data, has features, has moved copies, test accuracies) of the runs of multiscale2026 and control2026."""
    titles = {"mnist": "MNIST", "fashion-mnist": "Fashion-MNIST"}
    groups = [(titles.get(runs[0][1]["flags"]["dataset"]), runs, "best") for _, runs in group_runs()]
    for data, name, runs in other_data.read_groups():  # trained without validation images
        if "adaptive" not in name:
            groups.append((other_data.TITLES[data], runs, "last"))
    found = []
    for title, runs, epoch in groups:
        flags = runs[0][1]["flags"]
        if title and flags["model"] in ("control2026", "multiscale2026"):
            has_copies = flags["augment"] not in ("none", ["none"])
            accuracies = [100 * scores["test"][epoch]["accuracy"] for _, scores in runs]
            found.append((title, flags["model"] == "multiscale2026", has_copies, accuracies))
    with_features = {title for title, has_features, *_ in found if has_features}
    order = [*titles.values(), *other_data.TITLES.values()]
    return sorted((row for row in found if row[0] in with_features), key=lambda row: (order.index(row[0]), row[1:3]))


def find_times() -> list[tuple[str, str, float, float]]:
    """Return (network, epochs of the last phase, minutes, test accuracy) of the runs of MNIST on one thread."""
    points = []
    for name, times in read_all_times().items():
        scores = json.loads((TIMES / f"{name}.json").read_text(encoding="utf-8"))
        flags = scores["flags"]
        if flags["dataset"] == "mnist" and scores["machine"]["threads"] == 1:
            accuracies = get_accuracies(scores)
            points.append((flags["model"], str(flags["epochs"][-1]), times.wall / 60, accuracies["best"]))
    return points


def find_quoted_runs() -> tuple[list[float], list[float]]:
    """Return the minutes of all public logs of SpykeTorch's script, and the accuracies of all."""
    minutes = [60 * float(row["value"]) for row in read_quoted("680 epochs, h")]
    return minutes, [float(row["value"]) for row in read_quoted("accuracy, %") if row["network"] == SCRIPT]


def fill(path: Path, parts: dict[str, str]) -> None:
    """Replace the parts {name: text} of a file."""
    text = path.read_text(encoding="utf-8")
    for name, part in parts.items():
        before, mark, rest = text.partition(f"<!-- {name} -->")
        _, end, after = rest.partition(f"<!-- /{name} -->")
        if not end:
            raise SystemExit(f"{path} has no place for {name}")
        text = f"{before}{mark}\n\n{part}\n\n{end}{after}"
    path.write_text(text, encoding="utf-8")


def make_tables() -> dict[Path, dict[str, str]]:
    """Return {page: {name of a part: its text}}."""
    readme = {"start": make_first_commands(), "results": make_first_table(), "example": read_example()}
    return {
        HERE.parent / "README.md": readme,
        HERE / "README.md": {
            "seeds": make_seed_table(),
            "quoted": make_quoted_table(),
            "speed": read_speed(),
            "data": to_markdown(*other_data.make_grey_table()),
        },
        HERE / "experiments.md": {"colour": to_markdown(*other_data.make_colour_table())},
        HERE / "shallow.md": {"shallow": to_markdown(*shallow.make_table())},
        HERE.parent / "docs" / "hyperparameters.md": {
            "networks": to_markdown(hyperparameters.COLUMNS, hyperparameters.make_rows()),
            "rules": to_markdown(("rule", "default values"), hyperparameters.make_defaults()),
            "encoders": to_markdown(("encoder", "default values"), hyperparameters.make_encoders()),
        },
        HERE.parent / "docs" / "learning.md": {
            "learning": to_markdown(learning_page.COLUMNS, learning_page.make_table()),
            "controls": to_markdown(learning_page.CONTROL_COLUMNS, learning_page.make_control_table()),
            "labels": to_markdown(learning_page.LABEL_COLUMNS, learning_page.make_label_table(read_few())),
        },
    }


def make_files() -> dict[Path, str]:
    """Return {file: its whole text}."""
    runs = [format_run(*run) for run in read_runs()]
    return {
        HERE / "runs" / "runs.csv": to_csv(RUN_COLUMNS, runs),
        HERE / "runs" / "means.csv": make_mean_table(),
        HERE / "runs" / "data.csv": to_csv(other_data.COLUMNS, other_data.make_table()),
        TIMES / "times.csv": make_time_table(),
    }


if __name__ == "__main__":
    from results.scripts import pictures

    for page, tables in make_tables().items():
        fill(page, tables)
    for path, text in make_files().items():
        path.write_text(text, encoding="utf-8")
    pixels = {text: accuracy for text, accuracy in name_references().items() if "pixels" in text}
    pictures.draw_operations(HERE / "operations.png", find_operations(), pixels)
    pictures.draw_times(HERE / "times.png", find_times(), name_references(), find_quoted_runs())
    pictures.draw_data(HERE / "data.png", other_data.read_groups())
    pictures.draw_features(HERE / "features.png", find_features())
    pictures.draw_learning(HERE / "learning.png")
    pictures.draw_labels(HERE / "labels.png", LABELLED)
