"""Write the tables of the results into the README, the pages of ``results/`` and CSV files, and draw their pictures.

They come from the logs and scores of ``results/runs/`` and ``results/times/``.

    python results/scripts/collect.py

Each table replaces the text between ``<!-- NAME -->`` and ``<!-- /NAME -->``.
"""

import csv
import io
import re
import statistics
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

HERE = Path(__file__).resolve().parent.parent
if __name__ == "__main__":  # as a script, it finds its own folder only
    sys.path.insert(0, str(HERE.parent))

from results.scripts import features, hyperparameters  # noqa: E402
from results.scripts.runs import (  # noqa: E402
    OFFICIAL,
    TITLES,
    Group,
    format_mean,
    get_accuracies,
    read_groups,
    read_pixel_classifiers,
    read_scores,
)

GROUPS = read_groups()
OTHER_DATA = "faces", "kmnist", "usps"  # columns of a table; the digits are only in means.csv
RUN_COLUMNS = (
    *("data", "network", "log", "epochs", "seed", "validation, %", "test, best epoch, %", "test, last epoch, %"),
    *("best epoch", "silent, %", "memory, MB"),
)
MEAN_COLUMNS = (
    *("data", "network", "epochs", "logs", "validation, %", "test, best epoch, %", "test, last epoch, %"),
    *("lowest to highest, %", "linear readout, %", "settings from test images"),
)
TIME_COLUMNS = (
    *("log", "test accuracy, %", "wall time, s", "processor time, s", "threads", "processor", "load average", "commit"),
)
# whether test images of MNIST had a part in the design and the settings of our own networks
USED_FOR_SETTINGS = {
    "mozafari2018_margin": "yes",
    "quick2026": "partly",
    "multiscale2026": "partly",
    "control2026": "partly",
    "deepr2024_greedy": "as published but for the warm-up, from validation images",
}
# rows that are not the networks with their default settings: "constant", and other warm-ups of deepr2024
CHANGED = "constant", "deepr2024|2 4 4 12|", "deepr2024_greedy|2 4 1 12|"
# the panels of labels.png: title, and number of images with all labels
LABELLED = {
    "mnist": ("MNIST", 55_000),
    "fashion-mnist": ("Fashion-MNIST", 55_000),
    "kannada": ("Kannada-MNIST", 6400),
    "cifar": ("CIFAR-10", 45_000),
}
SCRIPT = "SpykeTorch's script of `mozafari2018`"  # in quoted.csv
PAPER = "Mozafari et al. 2018"
TIMES = HERE / "times"
# in two forms: of the program and of the system, or together
PROCESSOR_TIME = re.compile(r"([\d.]+) s of (?:the program|the system|processor time)")
EXAMPLE = TIMES / "quick2026-seed0.log"  # the output of the README's first command
WHOLE = HERE / "runs" / "mozafari2018-680-epochs-60000-images.json"  # learned from as many images as the script
REPRODUCED = "mozafari2018"  # what the README compares with its paper and with SpykeTorch's script
ATTAR = "[aidinattar/snn][snn]"
OURS = "this repository"
# The README's table: data, the name of a group, its epochs, what it is, and its source
SHOWN = (
    ("mnist", REPRODUCED, "2 4 680", "two STDP layers; R-STDP decides", "[paper](https://arxiv.org/abs/1804.00227)"),
    ("mnist", "mozafari2018_margin", "2 4 25", "the same features; the margin rule decides", OURS),
    ("mnist", "quick2026", "2 4 20", "like features; five margin neurons of each class read whole maps", OURS),
    (
        *("mnist", "kheradpisheh2018", "2 20", "two STDP layers; a linear SVM decides"),
        "[paper](https://doi.org/10.1016/j.neunet.2017.12.005)",
    ),
    ("mnist", "deep2024", "2 4 4 100", "three STDP layers; R-STDP decides", ATTAR),
    ("mnist", "deepr2024", "2 4 1 12", "rewards also teach the third layer", ATTAR),
    ("mnist", "deepr2024_greedy", "2 4 4 12", "the two rewarded layers take turns", ATTAR),
    ("mnist", "inception2024", "2 4 4 100", "kernels of three sizes in parallel", ATTAR),
    ("mnist", "majority2024", "2 4 100", "three R-STDP layers vote", ATTAR),
    (
        *("mnist", "multiscale2026 with augmentation", "2 4 4 2 55"),
        *("four STDP layers, three sizes of kernels; the margin rule decides", OURS),
    ),
    ("mnist", "control2026 with augmentation", "55", "no features, only the margin rule", OURS),
    (
        "cifar",
        "colour2026_counts with augmentation",
        "1 1 24",
        "colour: two STDP scales; the margin rule decides",
        OURS,
    ),
)
# The README's first table, best network first: a group of SHOWN, its features, what decides, a paper with a number
FIRST = (
    ("multiscale2026 with augmentation", "STDP, four layers", "margin rule", ""),
    ("quick2026", "STDP", "margin rule", ""),
    ("kheradpisheh2018", "STDP", "linear SVM", "Kheradpisheh et al. 2018"),
    ("mozafari2018_margin", "STDP", "margin rule", ""),
    ("mozafari2018", "STDP", "R-STDP", PAPER),
    ("control2026 with augmentation", "none", "margin rule", ""),
)
SPREAD_LOG = HERE / "logs" / "spread.log"  # ten seeds of the command with 100 labels
SHALLOW = (
    *("`mozafari2018_shallow`", "one R-STDP layer; its first spike decides"),
    *("[paper](https://arxiv.org/abs/1705.09132)", "[photographs](results/README.md#few-epochs) only", ""),
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
        scores = read_scores(TIMES / f"{name}.json")
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


def to_csv(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([columns, *rows])
    return text.getvalue()


def make_run_table() -> str:
    """Return the table of all runs as CSV."""
    rows = []
    for group in GROUPS:
        for log, scores in zip(group.logs, group.runs.values(), strict=True):
            found = get_accuracies(scores)
            accuracies = [f"{found[split]:.2f}" if split in found else "" for split in ("validation", "best", "last")]
            epoch = (scores.get("best_epoch") or {}).get("epoch", "")
            tested = scores.get("test", {})
            scored = tested.get("best", tested.get("last"))
            silent = f"{100 * scored['silent']:.2f}" if scored else ""
            memory = f"{scores['peak_memory_mb']:.0f}"
            seed = scores["flags"]["seed"]
            rows.append((group.data, group.name, log, group.epochs, seed, *accuracies, epoch, silent, memory))
    return to_csv(RUN_COLUMNS, rows)


def make_mean_table() -> str:
    """Return the table of the means over seeds or folds as CSV, with the classifiers of pixels."""
    rows = []
    for group in GROUPS:
        means = [format_mean(group.collect(split)) for split in ("validation", "best", "last")]
        readouts = [scores["readout"]["test"] for scores in group.runs.values() if "readout" in scores]
        readout = format_mean([100 * each["accuracy"] for each in readouts])
        used = ""
        if group.data in OFFICIAL:
            name = group.name if group.name in USED_FOR_SETTINGS else group.name.split()[0]
            used = USED_FOR_SETTINGS.get(name, "as published")
            if group.data != "mnist" and used != "as published":
                used = "no"
        rows.append((*group[:3], " ".join(group.logs), *means, format_range(group.tested), readout, used))
    for data in TITLES:
        for name, found in read_pixel_classifiers(data).items():
            last = format_mean(found), format_range(found)
            rows.append((data, name, "", "../logs/baselines.log", "", "", *last, "", ""))
    return to_csv(MEAN_COLUMNS, rows)


def format_range(values: Sequence[float]) -> str:
    return f"{min(values):.2f} to {max(values):.2f}"


def make_seed_table() -> str:
    """Return the table of the means over the seeds on Fashion-MNIST, and of the classifiers of its pixels."""
    rows = []
    for group in GROUPS:
        if group.data == "fashion" and len(group.runs) > 1:
            means = [format_mean(group.collect(split)) for split in ("best", "last")]
            network = f"[{group.name}](runs/{group.logs[0]})"
            rows.append((network, f"{group.epochs} ({len(group.runs)})", *means))
    for classifier, accuracies in read_pixel_classifiers("fashion").items():
        rows.append((classifier, "", "", format_mean(accuracies)))
    return to_markdown(("network", "epochs (seeds)", "test, best epoch, %", "test, last epoch, %"), rows)


def is_any_in(parts: Sequence[str], group: Group) -> bool:
    """Return whether any of the parts is in NAME|EPOCHS| of a group."""
    return any(part in f"{group.name}|{group.epochs}|" for part in parts)


def make_data_table(datasets: Sequence[str]) -> str:
    """Return the table of the accuracies on other data, a column for each data set."""
    rows = {}
    for group in sorted(GROUPS, key=lambda group: group.name):
        if group.data in datasets and "longer" not in group.name:
            rows.setdefault(group.name, {})[group.data] = format_mean(group.tested)
    for data in datasets:
        for name, accuracies in read_pixel_classifiers(data).items():
            rows.setdefault(name, {})[data] = format_mean(accuracies)
    cells = [(name, *(means.get(data, "") for data in datasets)) for name, means in rows.items()]
    return to_markdown(("test accuracy, %", *(TITLES[data] for data in datasets)), cells)


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
    rows = [row for row in read_quoted(features.FEW) if row["data"] in names]
    return {(names[row["data"]], row["training images"].replace(",", "")): row["value"] for row in rows}


def make_network_table() -> str:
    """Return the README's table of all networks, with classifiers of pixels, and quoted numbers of one network."""
    (nearest, linear) = (format_mean(found) for found in read_pixel_classifiers("mnist").values())
    rows = []
    for data, name, epochs, text, source in SHOWN:
        (group,) = (each for each in GROUPS if each[:3] == (data, name, epochs))
        network = name.removesuffix(" with augmentation")
        accuracy = f"{format_mean(group.tested)} ({len(group.runs)})"
        if data != "mnist":
            accuracy = f"{TITLES[data].partition(',')[0]}: {accuracy}"
        rows.append((f"[`{network}`](results/runs/{group.logs[0]})", text, source, accuracy, format_training(group)))
        if name == REPRODUCED:
            rows += make_paper_rows()
        if name == "mozafari2018_margin":
            rows.append(SHALLOW)
    rows.append(("no network", "nearest neighbour; logistic regression", "", f"{nearest}; {linear}", ""))
    return to_markdown(("network", "what it is", "source", "MNIST test accuracy, % (seeds)", "training"), rows)


def format_training(group: Group) -> str:
    """Return the measured time of a group; of others, the least processor time of its runs."""
    measured = read_all_times()
    names = [path.stem for path in group.runs]
    for name in names:
        if name in measured:
            return format_time(measured[name].wall)
    logs = [(TIMES.parent / "runs" / log).read_text(encoding="utf-8") for log in group.logs]
    times = [sum(map(float, PROCESSOR_TIME.findall(log))) for log in logs]
    return f"{format_time(min(times))} cpu"


def make_paper_rows() -> list[tuple[str, ...]]:
    """Return the README's rows that compare mozafari2018 with its paper and with SpykeTorch's script.

    The first row is its own accuracy after the last epoch, from as many images as in the logs of the script.
    """
    log = WHOLE.with_suffix(".log")
    whole = get_accuracies(read_scores(WHOLE))["last"]
    measured = read_times(log)
    script = [float(row["value"]) for row in read_quoted("accuracy, %") if row["network"] == SCRIPT]
    hours = [float(row["value"]) for row in read_quoted("680 epochs, h")]
    return [
        (
            f"[`mozafari2018`](results/{log.relative_to(HERE)})",
            *("the same from all 60,000 images (`--val-split 0`), last epoch", ""),
            f"{whole:.2f} (1)",
            f"{format_time(measured.wall)}, {shorten(measured.model)}",
        ),
        ("quoted", "from the paper, another program", "", read_paper(PAPER), ""),
        (
            *("quoted", "SpykeTorch's script of `mozafari2018`, 60,000 images", "[a][a], [b][b]"),
            *(f"{min(script)} to {max(script)}", f"{min(hours):g} to {max(hours):g} h"),
        ),
    ]


def to_markdown(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = ["|".join(cells) for cells in (columns, ["---"] * len(columns), *rows)]
    return "\n".join(f"|{line}|" for line in lines)


def read_paper(name: str) -> str:
    """Return the accuracy that a paper states for MNIST, in %."""
    (value,) = (row["value"] for row in read_quoted("accuracy, %") if row["network"].startswith(name))
    return value


def make_first_table() -> str:
    """Return the README's first table: the networks of FIRST, and labels that spread."""
    rows = []
    groups = {group.name: group for group in GROUPS if group[:3] in [shown[:3] for shown in SHOWN]}
    sources = {name: source for _, name, _, _, source in SHOWN}
    for name, learned, decides, paper in FIRST:
        accuracy = f"{statistics.mean(groups[name].tested):.1f}"
        network = f"`{name.split()[0]}`"
        if paper:
            network += f" ({sources[name]})"
            accuracy += f" (paper {read_paper(paper)})"
        rows.append((network, learned, decides, accuracy, format_training(groups[name])))
    rows[0] = tuple(f"**{cell}**" if cell == rows[0][3] else cell for cell in rows[0])
    log = SPREAD_LOG.read_text(encoding="utf-8")
    tested = re.findall(r"^test +last +accuracy ([\d.]+) %", log, re.MULTILINE)
    seconds = re.findall(r"^([\d,]+) s, [\d,]+ MB at most", log, re.MULTILINE)
    shortest = min(float(number.replace(",", "")) for number in seconds)
    spread = f"{statistics.mean(map(float, tested)):.1f}"
    link = "[`multiscale2026 --spread`](docs/learning.md#labels-that-spread)"
    time = f"{format_time(shortest)}, two threads"
    rows.append((f"100 labels, ten of each class: {link}", *rows[0][1:3], spread, time))
    alone = statistics.mean(features.read_labels()["mnist", "100"]["none"].values())
    rows.append(("100 labels: `control2026`", *rows[-2][1:3], f"{alone:.1f}", ""))
    columns = "MNIST, 55,000 images", "features", "decision", "test accuracy, %", "training, one thread"
    return to_markdown(columns, rows)


def make_first_commands() -> str:
    """Return the README's first command, with the accuracy and the time of its log."""
    accuracy = re.search(r"^test +best +accuracy ([\d.]+) %", EXAMPLE.read_text(encoding="utf-8"), re.MULTILINE)[1]
    times = read_times(EXAMPLE)
    where = f"{times.wall:.0f} s on one thread of an {shorten(times.model)}"
    lines = (
        "```bash",
        f"# in a clone, install and train: test accuracy {accuracy} % (seed 0); {where}",
        "python3 -m venv .venv && .venv/bin/pip install -r requirements.txt \\",
        "    && .venv/bin/python train.py --model quick2026 --save-maps",
        "```",
    )
    return "\n".join(lines)


def read_speed() -> str:
    """Return the table of ``logs/peers.md`` of one thread without ranges, decisions and programs that were not run."""
    text = (HERE / "logs" / "peers.md").read_text(encoding="utf-8")
    text = re.sub(r" \([\d.]+ to [\d.]+\)", "", text[text.index("### 1 thread") : text.index("### 2 threads")])
    lines = [line for line in text.splitlines() if line.startswith("|") and "| not run |" not in line]
    return "\n".join(re.sub(r" ?\| ?", "|", re.sub(r"\|[^|]*\|$", "|", line)) for line in lines)


def count_additions(scores: dict) -> float | None:
    """Return the synaptic additions for a test image, in millions; None for a run that did not count them."""
    counts = scores.get("operations") or scores.get("energy", {}).get("stages") or scores.get("activity")
    if not counts:
        return None
    return sum(stage.get("synaptic_additions", 0) for stage in counts.values()) / 1e6


def find_operations() -> list[tuple[str, list[float], list[float]]]:
    """Return (network and epochs of its last phase, additions, test accuracies) of each network on MNIST."""
    points = []
    for group in GROUPS:
        counted = [count_additions(scores) for scores in group.runs.values()]
        additions = [value for value in counted if value is not None]
        is_usual = len(group.runs) > 1 and not is_any_in(CHANGED, group)
        if additions and group.data == "mnist" and is_usual:
            points.append((f"{group.name}, {group.epochs.split()[-1]}", additions, group.tested))
    return points


def find_times() -> list[tuple[str, list[float], list[float]]]:
    """Return (network and epochs of its last phase, [minutes], [test accuracy]) of the runs of MNIST on one thread."""
    points = []
    for name, times in read_all_times().items():
        scores = read_scores(TIMES / f"{name}.json")
        flags = scores["flags"]
        if flags["dataset"] == "mnist" and scores["machine"]["threads"] == 1:
            label = f"{flags['model']}, {flags['epochs'][-1]}"
            accuracies = get_accuracies(scores)
            points.append((label, [times.wall / 60], [accuracies.get("best", accuracies["last"])]))
    return points


def find_references(names: Sequence[str]) -> dict[str, float]:
    """Return the lines of the pictures on MNIST: {text: accuracy}, those of the classifiers of pixels and of groups."""
    found = {
        f"{name.partition(',')[0]} on the pixels": mean for name, (mean,) in read_pixel_classifiers("mnist").items()
    }
    for group in GROUPS:
        if group.data == "mnist" and group.name in names:
            found[f"{group.name}, without augmentation"] = statistics.mean(group.tested)
    return found


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
    readme = {
        "first": make_first_table(),
        "start": make_first_commands(),
        "networks": make_network_table(),
        "features": to_markdown(features.WORTH_COLUMNS, features.make_worth_table()),
    }
    return {
        HERE.parent / "README.md": readme,
        HERE / "README.md": {
            "seeds": make_seed_table(),
            "speed": read_speed(),
            "data": make_data_table(OTHER_DATA),
            "colour": make_data_table(["cifar"]),
        },
        HERE.parent / "docs" / "hyperparameters.md": {
            "networks": to_markdown(hyperparameters.COLUMNS, hyperparameters.make_rows()),
            "rules": to_markdown(("rule", "default values"), hyperparameters.make_defaults()),
            "encoders": to_markdown(("encoder", "default values"), hyperparameters.make_encoders()),
        },
        HERE.parent / "docs" / "learning.md": {
            "noise": to_markdown(features.NOISE_COLUMNS, features.make_noise_table()),
            "controls": to_markdown(features.CONTROL_COLUMNS, features.make_control_table()),
            "labels": to_markdown(features.LABEL_COLUMNS, features.make_label_table(read_few())),
            "spread": to_markdown(features.SPREAD_COLUMNS, features.make_spread_table()),
        },
    }


def make_files() -> dict[Path, str]:
    """Return {file: its whole text}."""
    return {
        HERE / "runs" / "runs.csv": make_run_table(),
        HERE / "runs" / "means.csv": make_mean_table(),
        TIMES / "times.csv": make_time_table(),
    }


if __name__ == "__main__":
    from results.scripts import pictures

    for page, tables in make_tables().items():
        fill(page, tables)
    for path, text in make_files().items():
        path.write_text(text, encoding="utf-8")
    pictures.draw_operations(HERE / "operations.png", find_operations(), find_references([]))
    quoted = [[float(row["value"]) for row in read_quoted("680 epochs, h")]]
    quoted.append([float(row["value"]) for row in read_quoted("accuracy, %") if row["network"] == SCRIPT])
    pictures.draw_times(HERE / "times.png", find_times(), find_references(["control2026"]), quoted)
    pictures.draw_data(HERE / "data.png", GROUPS)
    pictures.draw_features(HERE / "features.png", GROUPS)
    pictures.draw_learning(HERE / "learning.png")
    pictures.draw_labels(HERE / "labels.png", LABELLED)
