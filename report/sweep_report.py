"""What several runs have come to: tables and learning curves, mean and standard deviation over the seeds."""

import csv
import io
import json
import re
import statistics
import textwrap
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.ticker import MaxNLocator

from report.figures import DASHES, PALETTE, new_figure, save, styled
from report.page import read_rows
from utils import write_text

# Flags by which runs of one kind may differ: the seed, and what changes no number of the result.
NO_SETTING = {
    "seed", "name", "output", "device", "threads", "backend", "data_dir", "figures", "tensorboard", "save_maps",
    "map_index", "map_every", "save_every",
}  # fmt: skip
SCORES = "accuracy", "loss", "silent", "f1_macro"
COLUMNS = {
    "accuracy": "right %", "loss": "wrong %", "silent": "silent %", "f1_macro": "F1", "validation": "validation %",
    "readout": "readout %", "best_epoch": "best epoch", "hours": "hours",
}  # fmt: skip
LEGEND = 40  # letters in a line of it: longer ones would leave the curves no room
IN_PERCENT = {"accuracy", "loss", "silent", "validation", "readout"}


@dataclass(frozen=True)
class Record:
    """What a run has left so far: its flags, its rows of metrics.csv, its scores (empty before its end).

    ``after``: the run and the phases behind which it began (see ``training/shared.py``), or nothing.
    """

    folder: Path
    command_line: str
    flags: dict
    history: list
    scores: dict
    finished: bool
    after: dict

    @property
    def setting(self):
        """The flags that its seeds share, as sorted pairs of name and text."""
        flags = {key: value for key, value in self.flags.items() if key not in NO_SETTING}
        return tuple(sorted((key, _text(value)) for key, value in flags.items()))

    def describe(self):
        """One line: name and final scores."""
        parts = [f"{_number(key, self.scores[key])} {COLUMNS[key]}" for key in SCORES[:3] if key in self.scores]
        if "accuracy" not in self.scores and "validation" in self.scores:  # of a run with --no-test
            parts.append(f"{_number('validation', self.scores['validation'])} {COLUMNS['validation']}")
        parts += [f"readout {_number('readout', self.scores['readout'])} %"] if "readout" in self.scores else []
        begun = f"; {' '.join(self.after['phases'])} from {Path(self.after['run']).name}" if self.after else ""
        return f"{self.folder.name}: {', '.join(parts) or 'finished'}{begun}"


def read_run(folder):
    """The ``Record`` of a run's folder; None if it holds no run of train.py."""
    folder = Path(folder)
    try:
        args = json.loads((folder / "args.json").read_text(encoding="utf-8"))
        flags, command_line = args["flags"], args["command_line"]
    except (OSError, ValueError, KeyError):
        return None
    history, results = read_rows(folder / "metrics.csv"), {}
    if (folder / "results.json").is_file():
        results = json.loads((folder / "results.json").read_text(encoding="utf-8"))
    return Record(folder, command_line, flags, history, _scores(results), bool(results), args.get("after") or {})


def _scores(results):
    """The numbers of a results.json that are compared: of the weights with the best validation accuracy."""
    best = results.get("test", {}).get("best", {})
    scores = {key: best[key] for key in SCORES if key in best}
    if results.get("best_epoch"):
        scores |= {"validation": results["best_epoch"]["accuracy"], "best_epoch": results["best_epoch"]["epoch"]}
    if results.get("readout"):
        scores["readout"] = results["readout"]["test"]["accuracy"]
    if "seconds" in results:
        phases = [value for key, value in results["seconds"].items() if key.startswith("phase ")]
        scores["hours"] = sum(phases) / 3600
    return scores


def write_sweep_report(output, runs):
    """sweep.md, sweep.csv (a row for each setting), runs.csv (a row for each run) and curves.png, in ``output``.

    Returns the table of sweep.md.
    """
    groups = _grouped(runs)
    header = ["network", "data set", "setting", "seeds"]
    keys = [key for key in COLUMNS if any(key in run.scores for run in runs)]
    rows, plain = [], []
    for about, members in groups:
        finished = [run for run in members if run.finished]
        count = f"{len(finished)}" if len(finished) == len(members) else f"{len(finished)} of {len(members)}"
        columns = {key: [run.scores[key] for run in finished if key in run.scores] for key in keys}
        rows.append([*about, count, *(_mean_and_deviation(key, values) for key, values in columns.items())])
        plain.append([*about, len(finished), *(part for values in columns.values() for part in _statistics(values))])
    table = _markdown([*header, *(COLUMNS[key] for key in keys)], rows)
    unfinished = [run.folder.name for run in runs if not run.finished]
    text = f"# {len(runs)} runs\n\n{table}\nMean ± standard deviation (n − 1) over the seeds.\n"
    if unfinished:
        text += f"\nNot finished: {', '.join(unfinished)}.\n"
    drawn = _curves(groups)
    if drawn:
        save(drawn, output / "curves.png")
        text += "\n![learning curves](curves.png)\n"
    write_text(output / "sweep.md", text)
    statistic_names = [f"{key}_{part}" for key in keys for part in ("mean", "deviation")]
    _write_csv(output / "sweep.csv", [*header, *statistic_names], plain)
    each = [
        [*about, run.flags["seed"], run.folder.name, run.finished, *(run.scores.get(key) for key in keys)]
        for about, members in groups
        for run in members
    ]
    _write_csv(output / "runs.csv", [*header[:3], "seed", "run", "finished", *keys], each)
    return table


def _grouped(runs):
    """((network, data set, what else differs between the settings), runs) for each setting, in the runs' order."""
    groups = {}
    for run in runs:
        groups.setdefault(run.setting, []).append(run)
    of_network = {}  # what only other networks or data sets have is no setting of this one
    for setting in groups:
        of_network.setdefault(_about(setting), []).append(_parts(setting))
    out = []
    for setting, members in groups.items():
        about = _about(setting)
        common = set.intersection(*map(set, of_network[about]))
        out.append(((*about, ", ".join(part for part in _parts(setting) if part not in common)), members))
    return out


def _about(setting):
    flags = dict(setting)
    return flags["model"], flags["dataset"]


def _parts(setting):
    """Each flag but network and data set as a text of its own, and each KEY=VALUE of ``--set``."""
    flags = {key: value for key, value in setting if key not in ("model", "dataset")}
    fields = re.split(r" (?=[\w.]+=)", flags.pop("set", ""))
    return [*(f"{key} {value}" for key, value in flags.items()), *filter(None, fields)]


def _text(value):
    """A flag's value as one text: lists with spaces, dicts as KEY=VALUE."""
    if isinstance(value, dict):
        return " ".join(f"{key}={_text(each)}" for key, each in value.items())
    return " ".join(map(_text, value)) if isinstance(value, list | tuple) else str(value)


def _statistics(values):
    """Mean and standard deviation; None for what there is not."""
    return (
        statistics.fmean(values) if values else None,
        statistics.stdev(values) if len(values) > 1 else None,
    )


def _mean_and_deviation(key, values):
    mean, deviation = _statistics(values)
    if mean is None:
        return "–"
    return _number(key, mean) if deviation is None else f"{_number(key, mean)} ± {_number(key, deviation)}"


def _number(key, value):
    if key in IN_PERCENT:
        return f"{100 * value:.2f}"
    return f"{value:.1f}" if key == "best_epoch" else f"{value:.4f}"


def _markdown(header, rows):
    lines = [header, [":--" if place < 3 else "--:" for place in range(len(header))], *rows]
    return "".join(f"| {' | '.join(str(cell).replace('|', '/') for cell in line)} |\n" for line in lines)


def _write_csv(path, header, rows):
    text = io.StringIO(newline="")
    csv.writer(text, lineterminator="\n").writerows([header, *rows])
    write_text(path, text.getvalue())


# ---------------------------------------------------------------------------------------------------------------------


@styled
def _curves(groups):
    """The learning curves of every setting, one panel for each data set; None if no epoch with labels is over."""
    curves = {}
    for (model, dataset, setting), members in groups:
        found = [curve for curve in map(_accuracies, members) if len(curve)]
        if found:
            label = f"{', '.join(filter(None, (model, setting)))} ({len(found)})"
            curves.setdefault(dataset, []).append((textwrap.fill(label, LEGEND), found))
    if not curves:
        return None
    kinds = {_split(run) for _, members in groups for run in members} - {None}
    what = " and ".join(sorted({"val": "validation", "train": "training"}[kind] for kind in kinds))
    # inches: as high as its legend
    heights = [max(3.6, 1 + 0.19 * sum(label.count("\n") + 1 for label, _ in found)) for found in curves.values()]
    title = f"Learning curves\nmean and standard deviation over the seeds, {what}"
    figure = new_figure(9, sum(heights), title)
    panels = figure.subplots(len(curves), 1, squeeze=False, height_ratios=heights)[:, 0]
    for panel, (dataset, found) in zip(panels, curves.items(), strict=True):
        for place, (label, members) in enumerate(found):
            epochs, mean, deviation = mean_curve(members)
            color, dashes = PALETTE[place % len(PALETTE)], DASHES[place // len(PALETTE) % len(DASHES)]
            looks = {"marker": "o" if len(epochs) <= 30 else None, "markersize": 3.5, "color": color, "ls": dashes}
            panel.plot(epochs, 100 * mean, label=label, **looks)
            if len(epochs) == 1:  # a band has no width
                panel.errorbar(epochs, 100 * mean, 100 * deviation, color=color, capsize=4)
            panel.fill_between(epochs, 100 * (mean - deviation), 100 * (mean + deviation), color=color, alpha=0.2, lw=0)
        panel.set_xlim(0.5, max(len(curve) for _, members in found for curve in members) + 0.5)
        panel.set_title(dataset)
        panel.set_ylabel("accuracy, % of the images")
        panel.set_xlabel("epoch of the phase with labels")
        panel.xaxis.set_major_locator(MaxNLocator(integer=True))
        panel.grid(axis="y")
        panel.set_axisbelow(True)
        panel.legend(loc="center left", bbox_to_anchor=(1.01, 0.5), title="(seeds)")
    return figure


def mean_curve(curves):
    """Epochs, mean and standard deviation (0 of one curve) over curves, as far as any of them has come.

    Shorter ones count where they have values.
    """
    longest = max(map(len, curves))
    values = np.full((len(curves), longest), np.nan)
    for row, curve in zip(values, curves, strict=True):
        row[: len(curve)] = curve
    count = np.isfinite(values).sum(0)
    mean = np.nansum(values, 0) / count
    deviation = np.sqrt(np.nansum((values - mean) ** 2, 0) / np.maximum(count - 1, 1))
    return np.arange(1, longest + 1), mean, deviation


def _split(run):
    """Whose accuracy a run's curve is: "val", "train" where nothing is held out, None where nothing is decided."""
    for split in ("val", "train"):
        if any(row[f"{split}_accuracy"] for row in run.history):
            return split
    return None


def _accuracies(run):
    split = _split(run)
    values = [row[f"{split}_accuracy"] for row in run.history] if split else []
    return [float(value) for value in values if value]
