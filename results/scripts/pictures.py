"""The pictures of ``results/``: accuracies, most of them on axes that are logarithmic in the errors."""

import statistics
from collections.abc import Sequence
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from report.colors import BLUE, GREY, INK, ORANGE
from report.figures import create_figure, create_panels, save, use_style
from results.scripts import features
from results.scripts.runs import OFFICIAL, TITLES, Group, format_mean, read_pixel_classifiers

PURPLE = "#8A3A6B"
RULES = {"R-STDP": ORANGE, "margin rule": PURPLE, "other classifier": GREY}
ACCURACIES = 20, 30, 40, 50, 60, 70, 80, 85, 90, 93, 95, 97, 98, 99, 99.5  # the ticks
HIGHEST = 0.4  # error in % at the upper end of features.png
BELOW = "mozafari2018, 10", "mozafari2018, 680", "deepr2024, 12", "kheradpisheh2018, 20"  # their text is below
LEFT = "mozafari2018, 680", "inception2024, 10", "inception2024, 100"  # and here left, among the additions
LEFT += ("multiscale2026 with augmentation, 55",)
WIDTHS = "8", "32", "128", "512"
DEPTHS = {"128": 1, "32-128": 2, "32-128-128": 3}
# the panels of learning.png: title, label of the axis, and {x: data, network, labels and noise of its rows}
PANELS = (
    ("Fashion-MNIST", "features of one layer", {int(n): ("fashion-mnist", n, "1000", "0") for n in WIDTHS}),
    ("MNIST", "features of one layer", {int(n): ("mnist", n, "1000", "0") for n in WIDTHS}),
    (
        "Fashion-MNIST: depth",
        "layers, the highest with 128 features",
        {layers: ("fashion-mnist", network, "1000", "0") for network, layers in DEPTHS.items()},
    ),
    (
        "Fashion-MNIST: labels",
        "labelled images of each class",
        {int(count): ("fashion-mnist", "128", count, "0") for count in ("10", "100", "1000")},
    ),
    (
        "Fashion-MNIST: noise",
        "standard deviation of the noise",
        {float(noise): ("fashion-mnist", "128", "1000", noise) for noise in ("0", "0.05", "0.1", "0.2")},
    ),
)


def choose_colour(network: str) -> str:
    if network.startswith(("kheradpisheh2018", "nearest neighbour", "logistic regression")):
        return RULES["other classifier"]
    is_margin = network.startswith(("multiscale2026", "colour2026", "control2026")) or "margin" in network
    return RULES["margin rule" if is_margin else "R-STDP"]


def make_marks() -> list[Line2D]:
    """Return the entries of a legend of ``RULES``."""
    return [Line2D([], [], marker="o", ls="", color=colour, label=name) for name, colour in RULES.items()]


def plot(axes: Axes, x: float, accuracies: Sequence[float], **style) -> None:
    """Draw the mean of accuracies in %, and their standard deviation as a bar."""
    deviation = statistics.stdev(accuracies) if len(accuracies) > 1 else 0
    axes.errorbar(x, 100 - statistics.mean(accuracies), deviation, capsize=3, **style)


def finish(axes: Axes, **more) -> None:
    """Label a vertical axis of errors with accuracies."""
    axes.set(yscale="log", **more)
    axes.invert_yaxis()
    low, high = sorted(axes.get_ylim())
    shown = [accuracy for accuracy in ACCURACIES if low <= 100 - accuracy <= high]
    axes.set_yticks([100 - accuracy for accuracy in shown], [f"{accuracy:g}" for accuracy in shown])
    axes.minorticks_off()
    axes.grid()


@use_style()
def draw_points(
    title: str, points: Sequence[tuple], references: dict[str, float], ticks: Sequence[float], left: Sequence[str] = ()
) -> Figure:
    """Draw accuracies against another quantity, on a logarithmic axis.

    points: (network and epochs, values of the quantity, test accuracies in %). references: {text of a line: accuracy}.
    left: points with their text on the left.
    """
    figure = create_figure(10, 6, title)
    axes = figure.add_subplot()
    for label, values, accuracies in points:
        x = statistics.mean(values)
        plot(axes, x, accuracies, color=choose_colour(label), fmt="o")
        side, right = ("right", -7) if label in left else ("left", 7)
        up = -13 if label in BELOW else 4
        mean = 100 - statistics.mean(accuracies)
        axes.annotate(label, (x, mean), (right, up), textcoords="offset points", ha=side)
    for text, accuracy in references.items():
        axes.axhline(100 - accuracy, color=GREY, ls="--", lw=1)
        axes.text(ticks[-1], 100 - accuracy, text, color=GREY, va="bottom", ha="right")
    finish(axes, xscale="log", xlim=(ticks[0], ticks[-1]), ylabel="test accuracy, % (errors logarithmic)")
    axes.set_xticks(ticks, map(str, ticks))
    axes.legend(handles=make_marks(), loc="lower right", title="decision by")
    return figure


def draw_operations(path: Path, points: Sequence[tuple], references: dict[str, float]) -> None:
    title = "Accuracy and additions\nof each network on MNIST, with the epochs of its last phase; bars: seeds"
    figure = draw_points(title, points, references, (0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100), LEFT)
    figure.axes[0].set_xlabel("synaptic additions for a test image, millions; without encoder and linear readout")
    save(figure, path)


def draw_times(path: Path, points: Sequence[tuple], references: dict[str, float], quoted: Sequence[list]) -> None:
    """quoted: hours, and accuracies in %, of the public logs of SpykeTorch's script. They do not belong together."""
    title = "Accuracy and time\nof each timed network on MNIST, seed 0, with the epochs of its last phase"
    left = "deepr2024_greedy, 12", "control2026, 25", "mozafari2018, 10", "majority2024, 100"
    figure = draw_points(title, points, references, (0.3, 1, 2, 5, 10, 30, 60, 120, 600, 6000), left)
    (axes,) = figure.axes
    axes.set_xlabel("training, minutes on one thread of an Intel Xeon")
    hours, accuracies = quoted
    errors = [100 - accuracy for accuracy in accuracies]
    axes.fill_between([60 * min(hours), 60 * max(hours)], min(errors), max(errors), color=GREY, alpha=0.4, lw=0)
    axes.text(
        60 * max(hours), max(errors), "SpykeTorch's script, 680 epochs,\nother machines (quoted)", ha="right", va="top"
    )
    save(figure, path)


@use_style()
def draw_data(path: Path, groups: Sequence[Group]) -> None:
    """Draw the accuracy of each network on each data set but MNIST's: each run, mean and standard deviation."""
    figure = create_figure(10, 9.5, "Other data\neach fold or seed (pale), mean and standard deviation")
    axes = figure.add_subplot()
    names = []
    for data, title in TITLES.items():
        if data in OFFICIAL:
            continue
        names += [""] * bool(names)
        axes.text(0, len(names), title, ha="right", va="center", weight="bold", transform=axes.get_yaxis_transform())
        names.append("")
        rows = {group.name: group.tested for group in groups if group.data == data} | read_pixel_classifiers(data)
        for name, accuracies in sorted(rows.items(), key=lambda row: statistics.mean(row[1])):
            colour = choose_colour(name)
            line = len(names)
            axes.plot(accuracies, [line] * len(accuracies), "o", color=colour, alpha=0.25, mew=0)
            deviation = statistics.stdev(accuracies) if len(accuracies) > 1 else 0
            axes.errorbar(statistics.mean(accuracies), line, xerr=deviation, fmt="|", color=colour, ms=12, mew=3)
            axes.text(101, line, f"{format_mean(accuracies)} %", va="center")
            names.append(name)
    axes.set_yticks(range(len(names)), names)
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)
    axes.set(ylim=(len(names), -1), xlim=(30, 100), xlabel="test accuracy after the last epoch, %")
    axes.grid(axis="x")
    axes.legend(handles=make_marks(), loc="upper left", title="decision by")
    save(figure, path)


@use_style()
def draw_features(path: Path, groups: Sequence[Group]) -> None:
    """Draw what features and augmentation gain, for multiscale2026 and for control2026, which has no features."""
    kinds = {
        "control2026": {"color": GREY, "mfc": "white"},
        "control2026 with augmentation": {"color": GREY},
        "multiscale2026": {"color": PURPLE, "mfc": "white"},
        "multiscale2026 with augmentation": {"color": PURPLE},
    }
    compared = {group.data for group in groups if group.name.startswith("multiscale2026")}
    data = [name for name in TITLES if name in compared]
    figure = create_figure(
        10, 6, "Decision neurons\nwithout features (control2026) and with features; bars: seeds or folds"
    )
    axes = figure.add_subplot()
    for number, (name, style) in enumerate(kinds.items()):
        label = name
        for group in groups:
            if group.data in data and group.name == name:
                x = data.index(group.data) + 0.22 * (number - 1.5)
                plot(axes, x, group.tested, fmt="o", ms=9, mew=2, label=label, **style)
                mean = statistics.mean(group.tested)
                deviation = statistics.stdev(group.tested)
                end, up = (deviation, -14) if "control" in name else (-deviation, 7)
                if 100 - mean + end < HIGHEST:
                    end, up = deviation, -14
                text = f"{mean:.1f}"
                axes.annotate(text, (x, 100 - mean + end), (0, up), textcoords="offset points", ha="center")
                label = None
    finish(axes, ylim=(HIGHEST, 20), ylabel="test accuracy, % (errors logarithmic)")
    axes.set_xticks(range(len(data)), [TITLES[name].replace(", ", "\n") for name in data])
    figure.legend(loc="outside lower center", ncols=4)
    save(figure, path)


@use_style()
def draw_labels(path: Path, sizes: dict[str, tuple[str, int]]) -> None:
    """Draw the test accuracy against the number of labelled images, each kind of features and classifiers of pixels.

    sizes: {data: (title, number of images with all labels)}, a panel each. Bars are standard deviations over the seeds.
    """
    styles = {
        "STDP": {"color": BLUE, "lw": 2.5, "marker": "o"},
        "imprinted": {"color": PURPLE, "marker": "o"},
        "random": {"color": ORANGE, "marker": "o"},
        "none": {"color": INK, "ls": "--", "marker": "o"},
    }
    marks = zip(features.PIXELS, "vs^d", strict=True)
    styles |= {name: {"color": GREY, "lw": 0.8, "marker": mark} for name, mark in marks}
    found = features.read_labels()
    figure = create_figure(
        13, 9, "Few labels\nfeatures learn from all images without labels, decision neurons from those with labels"
    )
    for axes, (data, (title, total)) in zip(figure.subplots(2, 2).flat, sizes.items(), strict=True):
        of_data = {count: kinds for (name, count), kinds in found.items() if name == data}
        counts = {total if count == features.ALL else int(count): kinds for count, kinds in of_data.items()}
        for kind, style in styles.items():
            xs = [x for x in sorted(counts) if kind in counts[x]]
            values = [[*counts[x][kind].values()] for x in xs]
            axes.plot(xs, [100 - statistics.mean(each) for each in values], label=kind, ms=5, **style)
            for x, each in zip(xs, values, strict=True):
                plot(axes, x, each, color=style["color"], fmt="none")
        finish(axes, xscale="log", xlabel="labelled images", ylabel="test accuracy, %", title=title)
        axes.set_xticks([*counts], [f"{x:,}" for x in counts], rotation=45, ha="right")
    handles, names = figure.axes[0].get_legend_handles_labels()
    figure.legend(handles, names, loc="outside lower center", ncols=4)
    save(figure, path)


@use_style()
def draw_learning(path: Path) -> None:
    """Draw how much STDP leads over each other kind of features in each panel, paired by seed, with 95 % intervals."""
    found = features.read_learning()
    colours = {"imprinted": PURPLE, "random": GREY, "none": ORANGE}
    title = "Lead of learned features\nmean and 95 % interval by t, paired by seed; above 0, learning is better"
    figure, grid = create_panels(len(PANELS), 3, 4.2, 3.3, title)
    for axes, (title, label, rows) in zip(grid, PANELS, strict=True):
        axes.axhline(0, color=INK, lw=1)
        for kind, colour in colours.items():
            if kind == "none" and "features" not in label.split()[0]:
                continue
            leads = [features.subtract(found[row]["STDP"], found[row][kind]) for row in rows.values()]
            means, halves = zip(*map(features.compute_interval, leads), strict=True)
            axes.errorbar([*rows], means, halves, fmt="o-", color=colour, capsize=3, label=f"STDP − {kind}")
        axes.set(title=title, xlabel=label, ylabel="difference, points", xscale="log" if max(rows) > 3 else "linear")
        axes.minorticks_off()
        axes.set_xticks([*rows], [f"{x:,}" for x in rows])
        axes.grid()
        axes.legend()
    save(figure, path)
