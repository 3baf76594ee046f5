"""The report on several runs: tables and learning curves with mean and standard deviation over the seeds."""

import csv
import io
import json
import re
import statistics
import textwrap
from collections import defaultdict
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from itertools import chain, product, zip_longest
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, MaxNLocator

from report.figures import DASHES, PALETTE, create_figure, save, use_style
from utils import write_text

# What a report compares, and the titles of its columns. Fractions are printed in percent.
COLUMNS = {
    "accuracy": "accuracy %",
    "loss": "wrong %",
    "silent": "silent %",
    "f1_macro": "F1",
    "roc_auc_macro": "ROC AUC",
    "validation": "validation %",
    "readout": "readout %",
    "best_epoch": "best epoch",
    "hours": "time",
}
ABOUT = "network", "data set", "setting"
SPLITS = {"val": "validation", "train": "training"}
LEGEND_WIDTH = 40  # characters; a longer line would leave the curves no room


@dataclass
class RunRecord:
    """The content of a run's folder.

    ``flags``: the flags of train.py. ``shared``: the phases that another run has trained. ``scores``: {key of
    COLUMNS: number}, empty before the run's end. ``curves``: {key of SPLITS: accuracy after each epoch with labels}.
    ``damage``: why the folder cannot be read, or None.
    """

    folder: Path
    flags: dict = field(default_factory=dict)
    shared: list[str] = field(default_factory=list)
    scores: dict[str, float] = field(default_factory=dict)
    is_finished: bool = False
    curves: dict[str, list[float]] = field(default_factory=dict)
    damage: str | None = None

    @property
    def settings(self) -> dict[str, str]:
        """The flags except for network, data set and seed, and the fields of --set: {name: value as text}."""
        flags = {key: value for key, value in self.flags.items() if key not in ("model", "dataset", "seed", "set")}
        return {key: _to_text(value) for key, value in (flags | self.flags.get("set", {})).items()}

    def describe(self) -> str:
        """Return a line with the run's name and its final scores."""
        if self.damage:
            return f"{self.folder.name}: damaged, {self.damage}"
        keys = ["accuracy", "loss", "silent", "readout"] if "accuracy" in self.scores else ["validation", "readout"]
        scores = [f"{COLUMNS[key][:-2]} {_format(key, self.scores[key])} %" for key in keys if key in self.scores]
        shared = f"; {' '.join(self.shared)} shared" if self.shared else ""
        return f"{self.folder.name}: {', '.join(scores) or 'finished'}{shared}"


def is_run(folder: Path) -> bool:
    """Return whether train.py created the folder, even if the run is damaged. An evaluation is not a run."""
    return (folder / "checkpoints").is_dir() or (folder / "metrics.csv").exists()


def read_run(folder: str | Path) -> RunRecord:
    """Read a run's folder. The record has a ``damage`` if a file is missing, incomplete or not written by train.py."""
    record = RunRecord(Path(folder))
    try:
        path = record.folder / "args.json"
        args = json.loads(path.read_text(encoding="utf-8"))
        record.flags = dict(args["flags"])
        record.shared = args.get("continue_from", {}).get("phases", [])
        _ = record.settings, record.flags["model"], record.flags["dataset"], record.flags["seed"]
        path = record.folder / "results.json"
        if path.exists():
            results = json.loads(path.read_text(encoding="utf-8"))
            scores = _read_scores(results)
            record.is_finished = results.get("flags", {}).get("epochs") == record.flags.get("epochs")
            record.scores = scores if record.is_finished else {}
        path = record.folder / "metrics.csv"
        if path.exists() or (record.is_finished and any(record.flags.get("epochs", ()))):
            record.curves = _read_curves(path)
    except (OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError, csv.Error) as error:
        record.flags = {} if path.name == "args.json" else record.flags
        record.damage = f"{path.name} {'is missing' if isinstance(error, FileNotFoundError) else 'cannot be read'}"
    return record


def _read_curves(path: Path) -> dict[str, list[float]]:
    with open(path, newline="", encoding="utf-8") as file:
        header, *rows = csv.reader(file)
    columns = dict(zip(header, zip(*rows, strict=True), strict=True))
    return {split: [float(text) for text in columns[f"{split}_accuracy"] if text] for split in SPLITS}


def _read_scores(results: dict) -> dict[str, float]:
    """Return the compared numbers of results.json. A readout that did not fit in memory has no accuracy."""
    epoch, readout = results.get("best_epoch") or {}, (results.get("readout") or {}).get("test", {})
    phases = [seconds for key, seconds in results.get("seconds", {}).items() if key.startswith("phase ")]
    found = {"validation": epoch.get("accuracy"), "best_epoch": epoch.get("epoch"), "hours": sum(phases) / 3600}
    found |= {"readout": readout.get("accuracy"), **results.get("test", {}).get("best", {})}
    return {key: float(found[key]) for key in COLUMNS if found.get(key) is not None}


def write_sweep_report(output: Path, runs: Sequence[RunRecord], ignored: Collection[str] = ()) -> str:
    """Write sweep.md, sweep.csv (a row per setting), runs.csv (a row per run) and pictures into ``output``.

    curves.png shows the learning curves, grid.png the accuracy against each number in which settings differ.

    Args:
        runs: the runs. sweep.md names those that are damaged; the tables and curves leave them out.
        ignored: the flags in which runs of the same setting may differ, beside the seed.

    Returns the text of sweep.md without the pictures.
    """
    readable = [run for run in runs if not run.damage]
    groups = _group_runs(readable, ignored)
    keys = [key for key in COLUMNS if any(key in run.scores for run in readable)]
    of_settings, of_runs, lines = [], [], []
    for about, members in groups.items():
        finished = [run for run in members if run.is_finished]
        values = [[run.scores[key] for run in finished if key in run.scores] for key in keys]
        of_settings.append([*about, len(finished), *chain.from_iterable(map(_statistics, values))])
        count = f"{len(finished)} of {len(members)}" if len(finished) < len(members) else str(len(finished))
        lines.append([*about, count, *map(_format_mean, keys, values)])
        for run in members:
            scores = map(run.scores.get, keys)
            of_runs.append([*about, run.flags["seed"], run.folder.name, run.is_finished, *scores])
    header = [*ABOUT, "seeds", *map(COLUMNS.get, keys)]
    lines = [header, [":--"] * 3 + ["--:"] * (len(header) - 3), *lines]
    table = "".join(f"| {' | '.join(cell.replace('|', '/') for cell in line)} |\n" for line in lines)
    text = f"# {len(runs)} runs\n\n{table}\nMean ± standard deviation (n − 1) over the seeds.\n"
    if unfinished := [run.folder.name for run in readable if not run.is_finished]:
        text += f"\nNot finished: {', '.join(unfinished)}.\n"
    text += "".join(f"\n{run.describe()}.\n" for run in runs if run.damage)
    drawn = {"curves": _draw_curves(groups), "grid": _draw_grid(groups)}
    for name in (name for name, figure in drawn.items() if figure):
        save(drawn[name], output / f"{name}.png")
    pictures = "".join(f"\n![{name}]({name}.png)\n" for name, figure in drawn.items() if figure)
    write_text(output / "sweep.md", text + pictures)
    names = [f"{key}_{part}" for key in keys for part in ("mean", "deviation")]
    _write_csv(output / "sweep.csv", [*ABOUT, "seeds", *names], of_settings)
    _write_csv(output / "runs.csv", [*ABOUT, "seed", "run", "finished", *keys], of_runs)
    return text


def _group_runs(runs: Sequence[RunRecord], ignored: Collection[str]) -> dict[tuple, list[RunRecord]]:
    """Group runs by network, data set and setting: the flags that differ among the runs of a network and data set."""
    kinds = [(str(run.flags["model"]), str(run.flags["dataset"])) for run in runs]
    settings = [{f"{key}={text}" for key, text in run.settings.items() if key not in ignored} for run in runs]
    common, groups = {}, {}
    for kind, texts in zip(kinds, settings, strict=True):
        common[kind] = common.get(kind, texts) & texts
    for run, kind, texts in zip(runs, kinds, settings, strict=True):
        groups.setdefault((*kind, ", ".join(sorted(texts - common[kind]))), []).append(run)
    return groups


def _to_text(value: object) -> str:
    """Return a flag's value as a text: lists with spaces, dicts as KEY=VALUE."""
    if isinstance(value, dict):
        return " ".join(f"{key}={_to_text(each)}" for key, each in value.items())
    return " ".join(map(_to_text, value)) if isinstance(value, list) else str(value)


def _statistics(values: Sequence[float]) -> tuple[float | None, float | None]:
    """Return mean and standard deviation, None if there are not enough values."""
    return statistics.fmean(values) if values else None, statistics.stdev(values) if len(values) > 1 else None


def _format_mean(key: str, values: Sequence[float]) -> str:
    return " ± ".join(_format(key, value) for value in _statistics(values) if value is not None) or "–"


def _format(key: str, value: float) -> str:
    if COLUMNS[key].endswith("%"):
        return f"{100 * value:.2f}"
    if key == "hours":
        return f"{value:.2f} h" if value >= 1 else f"{3600 * value:.0f} s"
    return f"{value:.1f}" if key == "best_epoch" else f"{value:.4f}"


def _write_csv(path: Path, header: list, rows: list[list]) -> None:
    text = io.StringIO(newline="")
    csv.writer(text, lineterminator="\n").writerows([header, *rows])
    write_text(path, text.getvalue())


def _draw_curves(groups: dict[tuple, list[RunRecord]]) -> Figure | None:
    """Draw the learning curves of all settings, a panel for each data set and split. None if there are no curves."""
    panels = {}
    for split, ((model, dataset, setting), members) in product(SPLITS, groups.items()):
        if curves := [run.curves[split] for run in members if run.curves.get(split)]:
            line = _label(model, setting), range(1, 1 + max(map(len, curves))), curves
            panels.setdefault(f"{dataset}, {SPLITS[split]} images", []).append(line)
    return _draw_panels(panels, "Learning curves", ["epoch of the phase with labels"] * len(panels))


def _draw_grid(groups: dict[tuple, list[RunRecord]]) -> Figure | None:
    """Draw the accuracy against each number in which settings differ, a panel for each. None if there is no number."""
    found = defaultdict(lambda: defaultdict(dict))  # {panel: {label: {number: accuracies of the seeds}}}
    for (model, dataset, setting), members in groups.items():
        scores = [run.scores.get("accuracy", run.scores.get("validation")) for run in members]
        scores = [score for score in scores if score is not None]
        fields = setting.split(", ")
        for name, text in (part.split("=", 1) for part in fields if re.fullmatch(r"[^=]+=-?[\d.]+(e-?\d+)?", part)):
            others = ", ".join(part for part in fields if part != f"{name}={text}")
            found[f"{dataset}, {name}"][_label(model, others)][float(text)] = scores
    panels = defaultdict(list)
    for panel, label, line in ((panel, *item) for panel, lines in found.items() for item in lines.items()):
        x = sorted(number for number, scores in line.items() if scores)
        if len(x) > 1:
            panels[panel].append((label, x, [*zip_longest(*map(line.get, x))]))
    return _draw_panels(panels, "Accuracy against the settings", [panel.rsplit(", ", 1)[1] for panel in panels])


def _label(model: str, setting: str) -> str:
    return ", ".join(filter(None, (model, setting)))


@use_style()
def _draw_panels(panels: dict[str, list[tuple]], title: str, xlabels: Sequence[str]) -> Figure | None:
    """Draw panels {title: [(label, x, curves)]}, each curve of a seed. None if there is no panel.

    xlabels: the label of the x axis of each panel.
    """
    if not panels:
        return None
    labels = {
        panel: [textwrap.fill(f"{label} ({len(curves)})", LEGEND_WIDTH) for label, _, curves in lines]
        for panel, lines in panels.items()
    }
    # in inches: a panel is as high as its legend
    heights = [max(3.6, 1.2 + 0.19 * sum(text.count("\n") + 1 for text in texts)) for texts in labels.values()]
    figure = create_figure(9, sum(heights), f"{title}\nmean (line), standard deviation (band) and single seeds (thin)")
    axes = figure.subplots(len(panels), 1, squeeze=False, height_ratios=heights)[:, 0]
    for axis, xlabel, (panel, lines) in zip(axes, xlabels, panels.items(), strict=True):
        for place, (label, (_, x, curves)) in enumerate(zip(labels[panel], lines, strict=True)):
            mean, deviation = average_curves(curves)
            color, dashes = PALETTE[place % len(PALETTE)], DASHES[place // len(PALETTE) % len(DASHES)]
            marker, bar = "o" if len(x) <= 30 else None, deviation if len(x) == 1 else None
            axis.errorbar(x, mean, bar, label=label, color=color, ls=dashes, marker=marker, ms=3.5, capsize=4)
            for curve in curves if len(curves) > 1 else ():
                axis.plot(x[: len(curve)], 100 * np.array(curve, float), color=color, lw=0.6, alpha=0.6)
            axis.fill_between(x, mean - deviation, mean + deviation, color=color, alpha=0.12, lw=0)
        axis.set(title=panel, ylabel="accuracy, %", xlabel=xlabel)
        ticks = sorted({value for _, x, _ in lines for value in x})
        axis.xaxis.set_major_locator(FixedLocator(ticks) if len(ticks) <= 12 else MaxNLocator(integer=True))
        axis.grid(axis="y")
        if axis is axes[0] or labels[panel] != next(iter(labels.values())):
            axis.legend(loc="center left", bbox_to_anchor=(1.01, 0.5), title="network, setting (number of seeds)")
    return figure


def average_curves(curves: Sequence[Sequence[float]]) -> np.ndarray:
    """Return mean and standard deviation (0 for a single value) in percent, (2, epochs), of curves of any lengths."""
    columns = ([value for value in column if value is not None] for column in zip_longest(*curves))
    return 100 * np.array([(mean, deviation or 0) for mean, deviation in map(_statistics, columns)]).T
