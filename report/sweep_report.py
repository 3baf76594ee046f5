"""The report on several runs: tables and learning curves with mean and standard deviation over the seeds."""

import math
import os
import re
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
from scipy.special import stdtrit

from errors import InputError, make_printable
from report.evaluation import Accuracy, describe_only_decision, measure_balance
from report.figures import CURVES, create_figure, save, use_style
from report.page import PAGE, load_template
from run_folder import RUNS, RunFolder, Tests, find_tests, read_header, read_json, read_rows
from utils import join_words, write_csv, write_text

# What a report compares, and the titles of its columns. Fractions are printed in percent.
SCORE_COLUMNS = {
    "epochs": "epochs",
    "validation": "validation %",
    "error": "standard error of one run %",
    "difference": "difference (95 % interval)",
    "last": "last epoch %",
    "last_difference": "last epoch difference (95 % interval)",
    "balanced": "balanced %",
    "balanced_difference": "balanced difference (95 % interval)",
    "accuracy": "test %",
    "test_difference": "test difference (95 % interval)",
    "loss": "wrong %",
    "silent": "silent %",
    "f1_macro": "F1",
    "roc_auc_macro": "ROC AUC",
    "readout": "readout %",
    "tests": "tests",
    "hours": "time",
}
ABOUT = "network", "data set", "setting"
# Networks and data sets have their own values of these settings.
DECLARED = "dataset", "epochs", "converge", "encoder", "augment", "image_size", "data"
# The columns of the table that compare settings: {key of SCORE_COLUMNS: key of the score that they compare}
DIFFERENCES = {
    "difference": "validation",
    "last_difference": "last",
    "balanced_difference": "balanced",
    "test_difference": "accuracy",
}
REFERENCE = "for reference, "  # texts of the diagnosis on references, and the keys of their scores, begin so
NONE = "–"
CONFIDENCE = 0.95
STATISTICS = "mean", "sd", "low", "high", "n"  # in sweep.csv
MAX_HOURS = 1e6  # of a run; a higher number is not one that train.py has written
# A number in a text of the diagnosis, but not in a name such as s2 or s3.1
NUMBER = re.compile(r"(?<![\w.])\d[\d,.]*(e[+-]?\d+)?")
SPLITS = {"val": "validation", "train": "training"}
LEGEND_WIDTH = 40  # characters; a longer line would leave the curves no room


@dataclass
class SweptRun:
    """The content of a run's folder.

    ``flags``: the flags of train.py. ``scores``: {key of SCORE_COLUMNS, or text that begins with REFERENCE or "class":
    number}, empty before the run's end. ``curves``: {key of SPLITS: accuracy after each epoch with labels}.
    ``diagnosis``: in results.json, what the log has warned of, without the lines on references. ``only``: of
    ``describe_only_decision``. ``code``: as that of ``RunFolder``. ``fingerprint``: of the data, "" if the last
    checkpoint is damaged. ``damage``: why the folder cannot be read, or None.
    """

    folder: Path
    flags: dict = field(default_factory=dict)
    scores: dict[str, float] = field(default_factory=dict)
    is_finished: bool = False
    curves: dict[str, list[float]] = field(default_factory=dict)
    diagnosis: list[str] = field(default_factory=list)
    only: str = ""
    code: str = ""
    fingerprint: str = ""
    damage: str | None = None

    @property
    def settings(self) -> dict[str, str]:
        """The flags except for network and seed, and the fields of --set: {name: value as text}. None is left out.

        Runs of different "code" or "data" are as different as runs of different settings.
        """
        values = {**self.flags, "code": self.code[:8] or "unknown", "data": self.fingerprint or "unknown"}
        values |= dict(word.partition("=")[::2] for word in values.pop("set", ()))
        for name in ("model", "seed"):
            values.pop(name, None)
        return {name: _to_text(value) for name, value in values.items() if value is not None}

    def describe(self) -> str:
        """Return a line with the run's name and its final scores."""
        if self.damage:
            return f"{self.folder.name} is not read: {self.damage}"
        keys = [key for key in ("validation", "accuracy", "loss", "silent", "readout") if key in self.scores]
        texts = [f"{SCORE_COLUMNS[key].removesuffix(' %')} {_format(key, self.scores[key])} %" for key in keys]
        return f"{self.folder.name}: {', '.join(filter(None, [*texts, self.only])) or 'finished'}"


Setting = tuple[str, str, str]  # network, data set, setting: a row of the table
Groups = dict[Setting, list[SweptRun]]
Summary = dict[str, float]  # see ``_summarize``
Table = dict[Setting, dict[str, Summary]]


def read_runs(folders: Collection[Path]) -> list[SweptRun]:
    """Read folders of runs, and their tests, see ``find_tests``."""
    tests = find_tests(folders)
    return [read_run(folder, tests) for folder in folders]


def read_run(folder: Path, tests: Tests) -> SweptRun:
    """Read a run's folder, with the scores of its tests.

    It has a ``damage`` if args.json, results.json or metrics.csv is not as this version of train.py writes it
    for this run.
    """
    run = RunFolder(folder)
    swept = SweptRun(folder)
    name = "args.json"
    try:
        swept.flags = run.flags
        swept.code = run.code
        swept.fingerprint = run.record.get("fingerprint") or ""
        swept.is_finished = run.is_finished
        _ = swept.settings, swept.flags["model"], swept.flags["dataset"], swept.flags["seed"]
        if swept.is_finished:
            name = "results.json"
            results = read_json(folder / name)
            if results.get("flags") != swept.flags:
                swept.damage = f"{folder / name} has other flags than the run, as if it were that of another run"
                return swept
            found = tests.get((read_header(run.best).get("sha256", ""), swept.fingerprint), [])
            own = "test" in results or "test" in results.get("readout", {})
            if found:
                results.setdefault("test", {"best": found[0]})
            swept.scores = _read_scores(results)
            swept.scores["tests"] = len(found) + own * results.get("test_reads", 1)
            names = run.record.get("class_names")
            for split in ("test", "validation"):
                best = results.get(split, {}).get("best", {})
                if names and "confusion_matrix" in best:
                    swept.only = describe_only_decision(best, names)
                    counted = best["per_class"]
                    for class_name, recall, count in zip(names, counted["recall"], counted["support"], strict=True):
                        if count:
                            swept.scores[f"class {class_name}, {split}"] = _check_number(recall)
            texts = map(str, results.get("diagnosis", ()))
            swept.diagnosis = [text for text in texts if not text.startswith(REFERENCE)]
        name = "metrics.csv"
        rows = read_rows(folder / name)
        for split in SPLITS:
            accuracies = [row[f"{split}_accuracy"] for row in rows]
            swept.curves[split] = [_check_number(float(accuracy)) for accuracy in accuracies if accuracy]
        if swept.is_finished:
            swept.scores["epochs"] = len(rows)
            if swept.curves["val"]:
                swept.scores["last"] = swept.curves["val"][-1]
    except InputError as error:  # of another version
        swept.damage = str(error)
    except Exception:  # the type depends on what is damaged
        swept.damage = f"{folder / name} is missing or damaged"
    return swept


def _read_scores(results: dict) -> dict[str, float]:
    """Return the numbers of results.json that are compared. A readout that did not fit in memory has no accuracy.

    A network without a decision stage is compared by its readout.
    """
    epoch = results.get("best_epoch") or {}
    readout = results.get("readout") or {}
    read = {part: readout.get(part, {}).get("accuracy") for part in ("validation", "test")}
    seconds = results.get("seconds", {})
    scores = {
        "validation": epoch.get("accuracy"),
        "hours": sum(seconds[key] for key in seconds if key.startswith("phase ")) / 3600,
        "readout": read["validation"] if read["test"] is None else read["test"],
    }
    if not epoch and "test" not in results:
        scores |= {"validation": read["validation"], "accuracy": read["test"]}
    validation = results.get("validation", {}).get("best")
    if validation:
        _, scores["error"] = Accuracy(validation["accuracy"], validation["count"]).estimate()
        scores["balanced"] = measure_balance(validation)
    scores |= results.get("test", {}).get("best", {})
    scores = {key: scores[key] for key in SCORE_COLUMNS if scores.get(key) is not None}
    for split, accuracies in results.get("references", {}).items():
        scores |= {f"{REFERENCE}{name}, {split} %": accuracy for name, accuracy in accuracies.items()}
    return {key: _check_number(score, MAX_HOURS if key == "hours" else 1) for key, score in scores.items()}


def _check_number(value: object, most: float = 1) -> float:
    """Return a number from 0 to ``most``. Raises ValueError for anything else, such as NaN or a text."""
    if not isinstance(value, int | float) or not 0 <= value <= most:
        raise ValueError(f"{value!r} is not a number from 0 to {most}")
    return float(value)


@dataclass(frozen=True)
class Choice:
    """What the validation images of a data set choose among its settings.

    ``best``: the setting with the highest validation accuracy. ``runs``: its finished runs. ``near``: the settings that
    are within ``error`` of it, itself among them, the fastest first: {setting: summary, see ``_summarize``}. ``error``:
    the standard error of the accuracy of one of the runs. ``simple``: accuracy and name of the best simple method.
    """

    best: Setting
    runs: list[SweptRun]
    near: Table
    error: float
    simple: tuple[float, str]


def choose_settings(runs: Sequence[SweptRun], ignored: Collection[str]) -> list[Choice]:
    """Return the choice of each data set whose runs have the same code and images.

    The arguments are those of ``write_sweep_report``.
    """
    groups = _group_runs([run for run in runs if not run.damage], ignored)
    groups = {setting: [run for run in group if "validation" in run.scores] for setting, group in groups.items()}
    references = {
        key: key.removeprefix(REFERENCE).partition(",")[0]
        for group in groups.values()
        for run in group
        for key in run.scores
        if key.startswith(REFERENCE) and "validation" in key
    }
    table = _summarize_groups(groups, ["validation", "error", "hours", *references])
    choices = []
    for dataset in dict.fromkeys(setting[1] for setting in groups):
        scores = {setting: table[setting] for setting in groups if setting[1] == dataset and groups[setting]}
        states = {(run.code, run.fingerprint) for setting in scores for run in groups[setting]}
        if len(states) != 1:  # runs of other code or other data cannot be compared
            continue
        best = max(scores, key=lambda setting: scores[setting]["validation"]["mean"])
        error = scores[best].get("error", {}).get("mean", 0.0)
        least = scores[best]["validation"]["mean"] - error
        near = [setting for setting in scores if scores[setting]["validation"]["mean"] >= least]
        near.sort(key=lambda setting: scores[setting]["hours"]["mean"])
        simple = [(row[key]["mean"], name) for row in scores.values() for key, name in references.items() if row[key]]
        of_near = {setting: scores[setting] for setting in near}
        choices.append(Choice(best, groups[best], of_near, error, max(simple, default=(0.0, ""))))
    return choices


def describe_choice(output: Path, choices: Sequence[Choice]) -> list[str]:
    """Return lines of Markdown on what to choose; the last one is the command that tests it, if it is untested."""
    lines = []
    for choice in choices:
        text = "Best by validation accuracy, with all within one standard error"
        lines += ["", f"{text} ({100 * choice.error:.1f} points), the fastest first:", ""]
        for setting, row in choice.near.items():
            texts = [f"{_format('validation', row['validation']['mean'])} %", _format("hours", row["hours"]["mean"])]
            texts += ["the best"] * (setting == choice.best)
            lines.append(f"* {', '.join(filter(None, setting))}: {', '.join(texts)}")
        accuracy, name = choice.simple
        if accuracy > choice.near[choice.best]["validation"]["mean"]:
            lines.append(f"* better than all networks: {name}, {_format('validation', accuracy)} %")
    if any(run.scores.get("tests") == 0 for choice in choices for run in choice.runs):
        command = join_words(["python", "sweep.py", "--test", str(output), "--best"])
        lines += ["", f"Test only the best: {command}"]
    return lines


def write_sweep_report(
    output: Path,
    runs: Sequence[SweptRun],
    ignored: Collection[str],
    formats: Sequence[str],
    draw: bool = True,
) -> tuple[str, list[str]]:
    """Write sweep.md and sweep.csv (a row per setting), index.html, runs.csv (a row per run) and curves.png.

    sweep.md and index.html also show the features of the first layer of each setting, as its first run has drawn them.

    Args:
        output: the folder of these files.
        runs: the runs. sweep.md names those that are not readable; the tables and curves leave them out.
        ignored: the flags in which runs of the same setting may differ, beside the seed.
        formats: other formats of the curves, "pdf" or "svg".
        draw: whether to draw curves.png.

    Returns the text of sweep.md without the picture, and its lines on what to choose if there is a choice.
    """
    readable = [run for run in runs if not run.damage]
    groups = _group_runs(readable, ignored)
    known = dict.fromkeys(key for run in readable for key in run.scores)
    table = _summarize_groups(groups, [*(SCORE_COLUMNS | known)])
    keys = [*next(iter(table.values()), {})]
    counted = [run for group in groups.values() for run in group]
    changes = {"The runs were started by different code": _find_states("code", readable)}
    for dataset in dict.fromkeys(run.flags["dataset"] for run in readable):
        members = [run for run in readable if run.flags["dataset"] == dataset]
        changes[f"{make_printable(dataset)} has changed between the runs"] = _find_states("data", members)
    choices = [
        choice
        for choice in choose_settings(runs, ignored)
        if [setting[1] for setting in groups].count(choice.best[1]) > 1
    ]
    chosen = describe_choice(output, choices)
    text = load_template("sweep.txt").render(
        runs=runs,
        is_dry=any(run.flags.get("dry_run") for run in readable),
        groups=groups,
        table=table,
        scores=[key for key in keys if key in SCORE_COLUMNS],
        differences=DIFFERENCES,
        references=[key for key in keys if key.startswith(REFERENCE)],
        titles=SCORE_COLUMNS,
        reference=REFERENCE,
        format=_format_summary,
        advice=_find_advice(readable),
        choice=chosen,
        lists={
            "Not counted, because another run has the same setting and seed": [
                run.folder for run in readable if run not in counted
            ],
            "Not finished": [run.folder for run in readable if not run.is_finished],
            "Failed, for the reasons in": sorted(output.glob("*.error.txt")),
        },
        changes=changes,
    )
    pictures = {}
    if draw and (figure := _draw_curves(groups)):
        for suffix in ("png", *formats):
            save(figure, output / f"curves.{suffix}")
        pictures["curves.png"] = "learning curves"
    for setting, (run, *_) in groups.items():
        for path in sorted(run.folder.glob("figures/features_*.png"))[:1]:  # of the first layer
            accuracy = _format_summary("validation", table[setting].get("validation", {}))
            caption = f"{', '.join(filter(None, setting))}: validation {accuracy} %"
            pictures[_find_address(path, output)] = caption
    links = [f"\n![{caption}]({path})\n" for path, caption in pictures.items()]
    write_text(output / "sweep.md", text + "".join(links))
    write_text(output / PAGE, load_template("sweep.html").render(text=text, pictures=pictures))
    _write_table(output / "sweep.csv", table, keys)
    _write_runs(output / RUNS, groups, [key for key in keys if key not in DIFFERENCES])
    return text, chosen


def _find_address(path: Path, output: Path) -> str:
    """Return the address of a file in a page or Markdown text in the folder ``output``."""
    try:
        return Path(os.path.relpath(path, output)).as_posix()
    except ValueError:  # Windows: on another drive
        return path.resolve().as_uri()


def _find_advice(runs: Sequence[SweptRun]) -> dict[str, str]:
    """Return {what the logs of runs have warned of: their names}.

    A text that differs between runs in its measured numbers only, not in its advice, appears once.
    """
    found: dict[tuple, dict[Path, str]] = defaultdict(dict)
    for run in runs:
        for text in run.diagnosis:
            measured, _, advice = text.partition("try --")
            # once, also if two phases of the run have this text
            found[NUMBER.sub("", measured), advice].setdefault(run.folder, text)
    advice_of = {}
    for texts in found.values():
        names = "all runs" if len(texts) == len(runs) else ", ".join(folder.name for folder in texts)
        advice_of[next(iter(texts.values()))] = names
    return advice_of


def _find_states(name: str, runs: Sequence[SweptRun]) -> dict[str, list[SweptRun]]:
    """Return the runs of each state of the "code" or of the "data"."""
    states = defaultdict(list)
    for run in runs:
        states[f"{name}={run.settings[name]}"].append(run)
    return states


def _group_runs(runs: Sequence[SweptRun], ignored: Collection[str]) -> Groups:
    """Group runs by network, data set and setting. Of runs with the same seed, only the first one counts.

    A setting consists of the flags in which the runs of the network and the data set differ and, except for those of
    ``DECLARED``, of the flags in which any runs differ.
    """
    of_network = defaultdict(list)
    for run in runs:
        dataset = make_printable(Path(str(run.flags["dataset"])).name)
        of_network[str(run.flags["model"]), dataset].append(run)
    everywhere = _find_varying(runs) - {*DECLARED}
    groups: Groups = defaultdict(list)
    for (model, dataset), members in of_network.items():
        names = sorted((everywhere | _find_varying(members)) - {*ignored})
        for run in members:
            setting = ", ".join(f"{name}={run.settings[name]}" for name in names if name in run.settings)
            group = groups[model, dataset, setting]
            if run.flags["seed"] not in {other.flags["seed"] for other in group}:
                group.append(run)
    return groups


def _find_varying(runs: Sequence[SweptRun]) -> set[str]:
    """Return the names of the flags and fields in which runs differ."""
    names = {name for run in runs for name in run.settings}
    return {name for name in names if len({run.settings.get(name) for run in runs}) > 1}


def _summarize_groups(groups: Groups, keys: Sequence[str]) -> Table:
    """Return {setting: {key: the summary of a score or of a difference}}, of the keys of which any setting has one.

    keys: those of SCORE_COLUMNS and of scores. A difference is that to the first setting on the same data that has the
    score, over their common seeds.
    """
    first: dict = {}
    table: Table = defaultdict(dict)
    for setting, members in groups.items():
        for key in keys:
            score = DIFFERENCES.get(key, key)
            values = {run.flags["seed"]: run.scores[score] for run in members if score in run.scores}
            if values and key in DIFFERENCES:
                reference = first.setdefault((key, setting[1], members[0].fingerprint), values)
                common = values.keys() & reference if values is not reference else ()
                values = {seed: values[seed] - reference[seed] for seed in common}
            table[setting][key] = _summarize([*values.values()])
    filled = [key for key in keys if any(row[key] for row in table.values())]
    return {setting: {key: row[key] for key in filled} for setting, row in table.items()}


def _summarize(values: Sequence[float]) -> Summary:
    """Return the mean, the standard deviation (n − 1), the ends of the 95 % interval of the mean by t, and n.

    A single value has no deviation and no interval; of no value, the summary is {}.
    """
    if not values:
        return {}
    summary = {"mean": statistics.fmean(values), "n": len(values)}
    if len(values) > 1:
        deviation = statistics.stdev(values)
        half = stdtrit(len(values) - 1, (1 + CONFIDENCE) / 2) * deviation / math.sqrt(len(values))
        summary |= {"sd": deviation, "low": summary["mean"] - half, "high": summary["mean"] + half}
    return summary


def _write_table(path: Path, table: Table, keys: Sequence[str]) -> None:
    """Write sweep.csv: the summaries of ``table``, unrounded. keys: those of each row."""
    rows: list[Sequence[object]] = [[*ABOUT, *(f"{key} {name}" for key in keys for name in STATISTICS)]]
    for setting, row in table.items():
        rows.append([*setting, *(summary.get(name) for summary in row.values() for name in STATISTICS)])
    write_csv(path, rows, "\n")


def _write_runs(path: Path, groups: Groups, keys: Sequence[str]) -> None:
    """Write runs.csv."""
    rows: list[Sequence[object]] = [[*ABOUT, "seed", "run", "finished", *keys]]
    for setting, members in groups.items():
        for run in members:
            scores = map(run.scores.get, keys)
            rows.append([*setting, run.flags["seed"], run.folder.name, run.is_finished, *scores])
    write_csv(path, rows, "\n")


def _to_text(value: object) -> str:
    """Return a flag's value as a text of one line: lists with spaces."""
    return " ".join(map(_to_text, value)) if isinstance(value, list) else make_printable(str(value))


def _format_summary(key: str, summary: Summary) -> str:
    """Return the cell of a summary: of a score mean ± deviation, of a difference mean, interval and number."""
    if not summary:
        return NONE
    if key in DIFFERENCES:
        interval = f", {100 * summary['low']:+.2f} to {100 * summary['high']:+.2f}" if "low" in summary else ""
        return f"{100 * summary['mean']:+.2f}{interval} ({summary['n']})"
    text = _format(key, summary["mean"])
    if "sd" not in summary or key == "error":
        return text
    return f"{text} ± {_format(key, summary['sd'])}"


def _format(key: str, value: float) -> str:
    if SCORE_COLUMNS.get(key, key).endswith("%"):
        return f"{100 * value:.2f}"
    if key == "hours":
        return f"{value:.2f} h" if value >= 1 else f"{3600 * value:.0f} s"
    return f"{value:.4g}"


@use_style()
def _draw_curves(groups: Groups) -> Figure | None:
    """Draw the learning curves of all settings, a panel for each data set and split. None if there are no curves."""
    panels: dict[str, dict] = defaultdict(dict)  # {title: {label: the curves of the seeds}}
    for split, images in SPLITS.items():
        for (model, dataset, setting), members in groups.items():
            curves = [run.curves[split] for run in members if run.curves.get(split)]
            if curves:
                name = f"{model}, {setting}" if setting else model
                label = textwrap.fill(f"{name} ({len(curves)})", LEGEND_WIDTH)
                panels[f"{dataset}, {images} images"][label] = curves
    if not panels:
        return None
    # in inches: a panel is as high as its legend
    heights = [max(3.6, 1.39 + 0.19 * "\n".join(panel).count("\n")) for panel in panels.values()]
    title = "Learning curves\nmean (line), standard deviation (band) and single seeds (thin)"
    figure = create_figure(9, sum(heights), title)
    axes = figure.subplots(len(panels), 1, squeeze=False, height_ratios=heights)[:, 0]
    for axis, (name, panel) in zip(axes, panels.items(), strict=True):
        axis.set_prop_cycle(CURVES)
        for label, curves in panel.items():
            _draw_line(axis, label, curves)
        axis.set(title=name, ylabel="accuracy, %", xlabel="epoch of the phase with labels")
        axis.xaxis.set_major_locator(MaxNLocator(integer=True))
        axis.grid(axis="y")
        axis.legend(loc="center left", bbox_to_anchor=(1.01, 0.5), title="network, setting (number of seeds)")
    return figure


def _draw_line(axis: Axes, label: str, curves: Sequence[Sequence[float]]) -> None:
    """Draw the mean of curves in the next style, with their deviation and each single curve in its colour."""
    averages = []
    for column in zip_longest(*curves):  # of any lengths
        summary = _summarize([value for value in column if value is not None])
        averages.append((summary["mean"], summary.get("sd", 0)))
    mean, deviation = 100 * np.array(averages).T
    x = np.arange(1, 1 + len(mean))
    marker = "o" if len(x) <= 30 else None
    (line,) = axis.plot(x, mean, label=label, marker=marker, ms=3.5)
    color = line.get_color()
    if len(curves) > 1:
        for curve in curves:
            axis.plot(x[: len(curve)], 100 * np.array(curve, float), color=color, ls="-", lw=0.6, alpha=0.6)
    axis.fill_between(x, mean - deviation, mean + deviation, color=color, alpha=0.12, lw=0)
