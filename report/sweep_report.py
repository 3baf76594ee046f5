"""The report on several runs: tables and learning curves with mean and standard deviation over the seeds."""

import statistics
import textwrap
from collections import defaultdict
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from itertools import zip_longest
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from report.figures import DASHES, PALETTE, create_figure, save, use_style
from report.run_folder import RunFolder, read_record, read_rows
from utils import write_csv, write_text

# What a report compares, and the titles of its columns. Fractions are printed in percent.
COLUMNS = {
    "accuracy": "accuracy %",
    "loss": "wrong %",
    "silent": "silent %",
    "f1_macro": "F1",
    "roc_auc_macro": "ROC AUC",
    "validation": "validation %",
    "readout": "readout %",
    "hours": "time",
}
ABOUT = "network", "data set", "setting"
# Networks and data sets have their own values of these flags.
DECLARED = "dataset", "epochs", "converge", "encoder", "augment", "image_size"
SPLITS = {"val": "validation", "train": "training"}
LEGEND_WIDTH = 40  # characters; a longer line would leave the curves no room


@dataclass
class SweptRun:
    """The content of a run's folder.

    ``flags``: the flags of train.py. ``scores``: {key of COLUMNS: number}, empty before the run's end. ``curves``: {key
    of SPLITS: accuracy after each epoch with labels}. ``code``: as ``RunFolder.code``. ``damage``: why the folder
    cannot be read, or None.
    """

    folder: Path
    flags: dict = field(default_factory=dict)
    scores: dict[str, float] = field(default_factory=dict)
    is_finished: bool = False
    curves: dict[str, list[float]] = field(default_factory=dict)
    code: dict[str, str | None] = field(default_factory=dict)
    damage: str | None = None

    @property
    def settings(self) -> dict[str, str]:
        """The flags except for network and seed, and the fields of --set: {name: value as text}. None is left out."""
        values = dict(self.flags)
        values |= dict(word.partition("=")[::2] for word in values.pop("set", ()))
        for name in ("model", "seed"):
            values.pop(name, None)
        return {name: _to_text(value) for name, value in values.items() if value is not None}

    def describe(self) -> str:
        """Return a line with the run's name and its final scores."""
        if self.damage:
            return f"{self.folder.name}: damaged, {self.damage}"
        scores = []
        for key in ("accuracy", "loss", "silent", "validation", "readout"):
            if key in self.scores:
                scores.append(f"{COLUMNS[key][:-2]} {_format(key, self.scores[key])} %")
        return f"{self.folder.name}: {', '.join(scores) or 'finished'}"


Groups = dict[tuple[str, str, str], list[SweptRun]]  # {(network, data set, setting): runs}


def read_run(folder: Path) -> SweptRun:
    """Read a run's folder. The record has a ``damage`` if args.json or metrics.csv is not as train.py writes it."""
    run = RunFolder(folder)
    record = SweptRun(run.path, is_finished=run.is_finished, code=run.code)
    name = "args.json"
    try:
        record.flags = run.flags
        _ = record.settings, record.flags["model"], record.flags["dataset"], record.flags["seed"]
        if record.is_finished:
            record.scores = _read_scores(read_record(run.path / "results.json"))
        name = "metrics.csv"
        rows = read_rows(run.path / name)
        for split in SPLITS:
            accuracies = [row[f"{split}_accuracy"] for row in rows]
            record.curves[split] = [float(accuracy) for accuracy in accuracies if accuracy]
    except Exception:  # the type depends on what is damaged
        record.damage = f"{name} is missing or damaged"
    return record


def _read_scores(results: dict) -> dict[str, float]:
    """Return the compared numbers of results.json. A readout that did not fit in memory has no accuracy."""
    epoch = results.get("best_epoch") or {}
    readout = results.get("readout") or {}
    read = readout.get("test") or readout.get("validation") or {}
    seconds = results.get("seconds", {})
    scores = {
        "validation": epoch.get("accuracy"),
        "hours": sum(seconds[key] for key in seconds if key.startswith("phase ")) / 3600,
        "readout": read.get("accuracy"),
    }
    scores |= results.get("test", {}).get("best", {})
    return {key: float(scores[key]) for key in COLUMNS if scores.get(key) is not None}


def write_sweep_report(output: Path, runs: Sequence[SweptRun], ignored: Collection[str] = (), draw: bool = True) -> str:
    """Write sweep.md (a row per setting), runs.csv (a row per run) and curves.png into ``output``.

    Args:
        runs: the runs. sweep.md names those that are damaged; the tables and curves leave them out.
        ignored: the flags in which runs of the same setting may differ, beside the seed.
        draw: whether to draw curves.png.

    Returns the text of sweep.md without the picture.
    """
    readable = [run for run in runs if not run.damage]
    groups = _group_runs(readable, ignored)
    keys = [key for key in COLUMNS if any(key in run.scores for run in readable)]
    text = f"# {len(runs)} runs\n\n{_make_table(groups, keys)}\n"
    text += "Mean ± standard deviation (n − 1) over the seeds.\n"
    unfinished = [run.folder.name for run in readable if not run.is_finished]
    if unfinished:
        text += f"\nNot finished: {', '.join(unfinished)}.\n"
    text += _list_versions(readable)
    for run in runs:
        if run.damage:
            text += f"\n{run.describe()}.\n"
    picture = ""
    figure = _draw_curves(groups) if draw else None
    if figure is not None:
        save(figure, output / "curves.png")
        picture = "\n![curves](curves.png)\n"
    write_text(output / "sweep.md", text + picture)
    _write_runs(output / "runs.csv", groups, keys)
    return text


def _list_versions(runs: Sequence[SweptRun]) -> str:
    """Return which runs each version of the code has trained, "" if there is one version."""
    versions = defaultdict(list)
    for run in runs:
        names = [f"{digest[:8] or 'an unknown version'} (commit {commit})" for digest, commit in run.code.items()]
        versions[" and ".join(sorted(names))].append(run.folder.name)
    if len(versions) < 2:
        return ""
    lines = [f"* {version}: {', '.join(names)}\n" for version, names in versions.items()]
    return f"\nThe runs were trained by different code, which the means do not separate:\n\n{''.join(lines)}"


def _group_runs(runs: Sequence[SweptRun], ignored: Collection[str]) -> Groups:
    """Group runs by network, data set and setting.

    A setting consists of the flags in which the runs of the network and the data set differ and, except for those of
    ``DECLARED``, of the flags in which any runs differ.
    """
    of_network = defaultdict(list)
    for run in runs:
        of_network[str(run.flags["model"]), Path(str(run.flags["dataset"])).name].append(run)
    everywhere = _find_varying(runs) - {*DECLARED}
    groups = defaultdict(list)
    for (model, dataset), members in of_network.items():
        names = sorted((everywhere | _find_varying(members)) - {*ignored})
        for run in members:
            setting = ", ".join(f"{name}={run.settings[name]}" for name in names if name in run.settings)
            groups[model, dataset, setting].append(run)
    return groups


def _find_varying(runs: Sequence[SweptRun]) -> set[str]:
    """Return the names of the flags and fields in which runs differ."""
    names = {name for run in runs for name in run.settings}
    return {name for name in names if len({run.settings.get(name) for run in runs}) > 1}


def _collect_scores(members: Sequence[SweptRun], key: str) -> list[float]:
    """Return a score of all runs that have it."""
    return [run.scores[key] for run in members if key in run.scores]


def _make_table(groups: Groups, keys: Sequence[str]) -> str:
    """Return the table of sweep.md: a line for each setting."""
    header = [*ABOUT, "seeds", *map(COLUMNS.get, keys)]
    alignment = [":--"] * len(ABOUT) + ["--:"] * (1 + len(keys))
    lines = [header, alignment]
    for setting, members in groups.items():
        count = str(len(members))
        finished = sum(run.is_finished for run in members)
        if finished < len(members):
            count = f"{finished} of {count}"
        means = [_format_mean(key, _collect_scores(members, key)) for key in keys]
        lines.append([*setting, count, *means])
    table = ""
    for line in lines:
        cells = [cell.replace("|", "/") for cell in line]
        table += f"| {' | '.join(cells)} |\n"
    return table


def _write_runs(path: Path, groups: Groups, keys: Sequence[str]) -> None:
    """Write runs.csv."""
    rows = [[*ABOUT, "seed", "run", "finished", *keys]]
    for setting, members in groups.items():
        for run in members:
            scores = map(run.scores.get, keys)
            rows.append([*setting, run.flags["seed"], run.folder.name, run.is_finished, *scores])
    write_csv(path, rows, "\n")


def _to_text(value: object) -> str:
    """Return a flag's value as a text: lists with spaces."""
    return " ".join(map(_to_text, value)) if isinstance(value, list) else str(value)


def _statistics(values: Sequence[float]) -> tuple[float | None, float | None]:
    """Return mean and standard deviation, None if there are not enough values."""
    mean = statistics.fmean(values) if values else None
    deviation = statistics.stdev(values) if len(values) > 1 else None
    return mean, deviation


def _format_mean(key: str, values: Sequence[float]) -> str:
    mean, deviation = _statistics(values)
    if mean is None:
        return "–"
    text = _format(key, mean)
    return text if deviation is None else f"{text} ± {_format(key, deviation)}"


def _format(key: str, value: float) -> str:
    if COLUMNS[key].endswith("%"):
        return f"{100 * value:.2f}"
    if key == "hours":
        return f"{value:.2f} h" if value >= 1 else f"{3600 * value:.0f} s"
    return f"{value:.4f}"


@use_style()
def _draw_curves(groups: Groups) -> Figure | None:
    """Draw the learning curves of all settings, a panel for each data set and split. None if there are no curves."""
    panels = defaultdict(dict)  # {title: {label: the curves of the seeds}}
    for split, images in SPLITS.items():
        for (model, dataset, setting), members in groups.items():
            curves = [run.curves[split] for run in members if run.curves.get(split)]
            if curves:
                name = f"{model}, {setting}" if setting else model
                label = textwrap.fill(f"{name} ({len(curves)})", LEGEND_WIDTH)
                panels[f"{dataset}, {images} images"][label] = curves
    if not panels:
        return None
    rows = ["\n".join(panel).count("\n") + 1 for panel in panels.values()]  # of the legends
    heights = [max(3.6, 1.2 + 0.19 * count) for count in rows]  # in inches: a panel is as high as its legend
    title = "Learning curves\nmean (line), standard deviation (band) and single seeds (thin)"
    figure = create_figure(9, sum(heights), title)
    axes = figure.subplots(len(panels), 1, squeeze=False, height_ratios=heights)[:, 0]
    for axis, (name, panel) in zip(axes, panels.items(), strict=True):
        for number, (label, curves) in enumerate(panel.items()):
            _draw_line(axis, number, label, curves)
        axis.set(title=name, ylabel="accuracy, %", xlabel="epoch of the phase with labels")
        axis.xaxis.set_major_locator(MaxNLocator(integer=True))
        axis.grid(axis="y")
        axis.legend(loc="center left", bbox_to_anchor=(1.01, 0.5), title="network, setting (number of seeds)")
    return figure


def _draw_line(axis: Axes, number: int, label: str, curves: Sequence[Sequence[float]]) -> None:
    """Draw the mean of curves with their deviation and each single curve, in the colour of this number."""
    color = PALETTE[number % len(PALETTE)]
    dashes = DASHES[number // len(PALETTE) % len(DASHES)]
    mean, deviation = average_curves(curves)
    x = np.arange(1, 1 + len(mean))
    marker = "o" if len(x) <= 30 else None
    axis.plot(x, mean, label=label, color=color, ls=dashes, marker=marker, ms=3.5)
    if len(curves) > 1:
        for curve in curves:
            axis.plot(x[: len(curve)], 100 * np.array(curve, float), color=color, lw=0.6, alpha=0.6)
    axis.fill_between(x, mean - deviation, mean + deviation, color=color, alpha=0.12, lw=0)


def average_curves(curves: Sequence[Sequence[float]]) -> np.ndarray:
    """Return mean and standard deviation (0 for a single value) in percent, (2, epochs), of curves of any lengths."""
    averages = []
    for column in zip_longest(*curves):
        mean, deviation = _statistics([value for value in column if value is not None])
        averages.append((mean, deviation or 0))
    return 100 * np.array(averages).T
