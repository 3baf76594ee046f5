"""The pictures of ``results/``, in the style of those of ``images/``: the colour shows how a network decides."""

import statistics
from collections.abc import Sequence
from pathlib import Path

from matplotlib import style
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from images.draw import BLUE, GREY, INK, ORANGE, PALE, PURPLE, STYLE
from results.scripts import learning_page
from results.scripts.other_data import TITLES, format_mean, get_test_accuracies, read_pixel_classifiers

RULES = {"R-STDP": ORANGE, "margin rule": PURPLE, "other classifier": GREY}
LEFT = (
    "multiscale2026 without copies, 30",
    "mozafari2018, 680",
    "deepr2024_greedy, 12",
    "inception2024, 10",
    "inception2024, 100",
)  # of their points
BELOW = "mozafari2018, 10", "deepr2024, 12", "mozafari2018, 680"
BELOW_TIMES = "deep2024, 10", "deepr2024_greedy, 12", "mozafari2018, 10", "mozafari2018, 680"


def choose_colour(network: str) -> str:
    if network.startswith(("kheradpisheh2018", "nearest neighbour", "logistic regression")):
        return RULES["other classifier"]
    if network.startswith(("multiscale2026", "colour2026", "control2026")) or "margin" in network:
        return RULES["margin rule"]
    return RULES["R-STDP"]


def add_legend(axes, names: Sequence[str], place: str) -> None:
    marks = [Line2D([], [], marker="o", ls="", color=RULES[name], label=name) for name in names]
    axes.legend(handles=marks, loc=place, frameon=False, title="decision by", alignment="left")


def draw_operations(
    path: Path, points: Sequence[tuple[str, str, list[float], list[float]]], references: dict[str, float]
) -> None:
    """Draw accuracies against additions: (network, epochs, additions in millions, test accuracies) of each point.

    references: accuracies in %, each a line, {its text: accuracy}. The vertical axis is logarithmic in the fraction of
    errors. Bars are standard deviations over the seeds.
    """
    with style.context(["default", STYLE]):
        figure = Figure(figsize=(10, 6.4), layout="constrained")
        axes = figure.add_subplot()
        for network, epochs, additions, accuracies in points:
            colour = choose_colour(network)
            x = statistics.mean(additions)
            y = 100 - statistics.mean(accuracies)
            deviation = statistics.stdev(additions) if len(additions) > 1 else 0
            axes.errorbar(x, y, statistics.stdev(accuracies), deviation, color=colour, fmt="o", capsize=3)
            label = f"{network.replace('moved ', '')}, {epochs}"
            right = -9 if label in LEFT else 9
            up = -13 if label in BELOW else 5
            side = "right" if label in LEFT else "left"
            axes.annotate(label, (x, y), (right, up), textcoords="offset points", ha=side, color=INK, fontsize=10)
        draw_references(axes, references, 0.105)
        axes.set(xscale="log", xlim=(0.1, 60))
        set_axes(axes, (0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50))
        axes.set(
            xlabel="synaptic additions for a test image, millions (logarithmic); without encoder and linear readout"
        )
        axes.set_title("MNIST: accuracy and additions of each network, with the epochs of its last phase")
        add_legend(axes, [*RULES], "lower right")
        figure.savefig(path, dpi=150)


def draw_references(axes, references: dict[str, float], x: float) -> None:
    """Draw a dashed line for each accuracy in %, with its text at x, on a vertical axis of errors."""
    for text, accuracy in references.items():
        axes.axhline(100 - accuracy, color=GREY, ls="--", lw=1)
        axes.text(x, 100 - accuracy, text, color=GREY, va="bottom", fontsize=10)


def set_axes(axes, ticks: Sequence[float]) -> None:
    """Set the ticks of a logarithmic horizontal axis, and a vertical axis of accuracies, logarithmic in the errors."""
    axes.set(yscale="log", ylim=(40, 0.5), ylabel="test accuracy, % (errors logarithmic)")
    axes.set_xticks(ticks, map(str, ticks))
    accuracies = (60, 70, 80, 90, 95, 98, 99, 99.5)
    axes.set_yticks([100 - accuracy for accuracy in accuracies], map(str, accuracies))
    axes.minorticks_off()
    axes.grid(color=PALE)
    axes.set_axisbelow(True)


def draw_times(
    path: Path, points: Sequence[tuple[str, str, float, float]], references: dict[str, float], quoted
) -> None:
    """Draw accuracies on MNIST against the minutes of training.

    Args:
        points: (network, epochs of the last phase, minutes, test accuracy in %) of each measured run.
        references: see ``draw_operations``.
        quoted: minutes, and accuracies in %, of the public logs of SpykeTorch's script. They do not belong together.
    """
    minutes, accuracies = quoted
    with style.context(["default", STYLE]):
        figure = Figure(figsize=(10, 5.6), layout="constrained")
        axes = figure.add_subplot()
        for network, epochs, time, accuracy in points:
            axes.plot(time, 100 - accuracy, "o", color=choose_colour(network))
            label = f"{network}, {epochs}"
            up = -14 if label in BELOW_TIMES else 5
            axes.annotate(label, (time, 100 - accuracy), (7, up), textcoords="offset points", fontsize=10)
        draw_references(axes, references, 8)
        errors = [100 - accuracy for accuracy in accuracies]
        axes.fill_between((min(minutes), max(minutes)), min(errors), max(errors), color=GREY, alpha=0.4, lw=0)
        words = "SpykeTorch's script, 680 epochs,\nother machines (quoted)"
        axes.text(max(minutes), max(errors) * 1.07, words, ha="right", va="top", fontsize=10, color=INK)
        axes.set(xscale="log", xlim=(1, 8000))
        set_axes(axes, (1, 2, 5, 10, 30, 60, 120, 600, 6000))
        axes.set(xlabel="training, minutes on one thread of an Intel Xeon (logarithmic)")
        axes.set_title("MNIST, seed 0: accuracy and time of each timed network, with the epochs of its last phase")
        add_legend(axes, ["R-STDP", "margin rule"], "lower right")
        figure.savefig(path, dpi=150)


def draw_data(path: Path, groups) -> None:
    """Draw the accuracy of each network on each data set: a pale point for each run, mean and standard deviation."""
    with style.context(["default", STYLE]):
        figure = Figure(figsize=(10, 10), layout="constrained")
        axes = figure.add_subplot()
        line = 0
        names = {}  # {line: text}
        for data, title in TITLES.items():
            names[line] = title
            rows = [(network, get_test_accuracies(runs)) for found, network, runs in groups if found == data]
            rows += read_pixel_classifiers(data).items()
            for network, accuracies in sorted(rows, key=lambda row: statistics.mean(row[1])):
                line += 1
                names[line] = network
                colour = choose_colour(network)
                axes.plot(accuracies, [line] * len(accuracies), "o", color=colour, alpha=0.25, ms=6, mew=0)
                deviation = statistics.stdev(accuracies) if len(accuracies) > 1 else 0
                axes.errorbar(statistics.mean(accuracies), line, xerr=deviation, fmt="|", color=colour, ms=15, mew=3)
                axes.text(101.5, line, f"{format_mean(accuracies)} %", va="center", fontsize=10)
            line += 1.6
        axes.set_yticks(list(names), names.values())
        for label in axes.get_yticklabels():
            if label.get_text() in TITLES.values():
                label.set(fontweight="bold", color=INK)
        axes.tick_params(axis="y", length=0)
        axes.spines["left"].set_visible(False)
        axes.set(ylim=(line - 1, -0.8), xlim=(30, 100), xlabel="test accuracy after the last epoch, %")
        axes.grid(axis="x", color=PALE)
        axes.set_axisbelow(True)
        axes.set_title("Each fold or seed (pale), mean and standard deviation")
        add_legend(axes, [*RULES], "upper left")
        figure.savefig(path, dpi=150)


HIGHEST_BAR = 0.5  # errors in %, beside which a text above the bar has no place


def draw_features(path: Path, groups: Sequence[tuple[str, bool, bool, list[float]]]) -> None:
    """Draw what features and moved copies gain, for multiscale2026 and for control2026, which has no features.

    groups: (data, whether the network has features, whether it learned from moved copies, accuracies in %). The
    vertical axis is logarithmic in the fraction of errors.
    """
    data = [*dict.fromkeys(name for name, *_ in groups)]
    colours = {False: GREY, True: PURPLE}
    with style.context(["default", STYLE]):
        figure = Figure(figsize=(10, 6), layout="constrained")
        axes = figure.add_subplot()
        for name, has_features, has_copies, accuracies in groups:
            x = data.index(name) + 0.22 * (2 * has_features + has_copies - 1.5)
            mean = statistics.mean(accuracies)
            fill = colours[has_features] if has_copies else "white"
            deviation = statistics.stdev(accuracies) if len(accuracies) > 1 else 0
            axes.errorbar(
                x, 100 - mean, deviation, color=colours[has_features], fmt="o", ms=9, mew=2, mfc=fill, capsize=3
            )
            end = 100 - mean - deviation if has_features else 100 - mean + deviation
            offset, side = (0, 9 if has_features else -9), "center"
            if end < HIGHEST_BAR:  # the bar leaves the picture
                end = 100 - mean
                offset, side = (9, 0), "left"
            axes.annotate(
                f"{mean:.1f}", (x, end), offset, textcoords="offset points", ha=side, va="center", fontsize=10
            )
        set_axes(axes, range(len(data)))
        axes.set_xticks(range(len(data)), [name.replace(", ", "\n") for name in data])
        axes.set(ylim=(20, 0.4), xlim=(-0.6, len(data) - 0.4))
        axes.grid(visible=False, axis="x")
        axes.set_title("The same decision neurons without and with features, without and with moved copies")
        marks = []
        for has_features, text in ((False, "control2026: no features"), (True, "multiscale2026: features")):
            for has_copies, more in ((False, ""), (True, ", moved copies")):
                colour = colours[has_features]
                fill = colour if has_copies else "white"
                marks.append(Line2D([], [], marker="o", ls="", ms=9, mew=2, color=colour, mfc=fill, label=text + more))
        title = "mean and standard deviation over seeds or folds"
        figure.legend(handles=marks, loc="outside lower center", ncols=2, frameon=False, title=title)
        figure.savefig(path, dpi=150)


def draw_labels(path: Path, sizes: dict[str, tuple[str, int]]) -> None:
    """Draw the test accuracy against the number of labelled images, each kind of features and classifiers of pixels.

    sizes: {data: (title, number of images with all labels)}, a panel each. Bars are standard deviations over the seeds;
    the vertical axes are logarithmic in the errors.
    """
    styles = {
        "STDP": {"color": BLUE, "lw": 2.5},
        "imprinted": {"color": PURPLE},
        "random": {"color": ORANGE},
        "none": {"color": INK, "ls": "--"},
        **{name: {"color": GREY, "lw": 0.8} for name in learning_page.PIXELS},
    }
    marks = dict(zip(learning_page.PIXELS, "vs^d", strict=True))
    found = learning_page.read_labels()
    with style.context(["default", STYLE]):
        figure = Figure(figsize=(13, 9.5), layout="constrained")
        for axes, (data, (title, total)) in zip(figure.subplots(2, 2).flat, sizes.items(), strict=True):
            counts = {
                total if count == learning_page.ALL else int(count): kinds for count, kinds in found[data].items()
            }
            for kind, form in styles.items():
                points = [(x, [*kinds[kind].values()]) for x, kinds in sorted(counts.items()) if kind in kinds]
                if not points:
                    continue
                errors = [100 - statistics.mean(values) for _, values in points]
                bars = [statistics.stdev(values) if len(values) > 1 else 0 for _, values in points]
                mark = marks.get(kind, "o")
                axes.errorbar([x for x, _ in points], errors, bars, marker=mark, ms=5, capsize=2, label=kind, **form)
            axes.set(xscale="log", yscale="log", xlabel="labelled images")
            axes.invert_yaxis()
            low, high = sorted(axes.get_ylim())
            ticks = [e for e in (0.5, 1, 2, 3, 5, 7, 10, 15, 20, 25, 30, 40, 50, 60, 70, 80) if low <= e <= high]
            axes.set_yticks(ticks, [f"{100 - e:g}" for e in ticks])
            axes.set_xticks([*counts], [f"{x:,}" for x in counts], rotation=45, ha="right", fontsize=10)
            axes.minorticks_off()
            axes.grid(color=PALE)
            axes.set_axisbelow(True)
            axes.set_title(title)
        figure.axes[0].set_ylabel("test accuracy, % (errors logarithmic)")
        handles, names = figure.axes[0].get_legend_handles_labels()
        figure.legend(handles, names, loc="outside lower center", ncols=4, frameon=False)
        figure.suptitle(
            "Few labels: features learn from all images without labels, decision neurons from those with labels"
        )
        figure.savefig(path, dpi=150)


def draw_learning(path: Path) -> None:
    """Draw how much STDP leads over each other kind of features in each panel, paired by seed, with 95 % intervals."""
    found = learning_page.read_table()
    panels = learning_page.list_panels()
    with style.context(["default", STYLE]):
        figure = Figure(figsize=(13, 7), layout="constrained")
        for axes in figure.subplots(2, 3).flat[len(panels) :]:
            axes.remove()
        for axes, (title, label, keys) in zip(figure.axes, panels, strict=True):
            axes.axhline(0, color=INK, lw=1)
            for kind, colour in zip(("imprinted", "random"), (PURPLE, GREY), strict=True):
                differences = [learning_page.subtract(found[key]["STDP"], found[key][kind]) for key in keys.values()]
                means, halves = zip(*map(learning_page.compute_interval, differences), strict=True)
                axes.errorbar(list(keys), means, halves, fmt="o-", color=colour, capsize=3, label=f"STDP − {kind}")
            if label == learning_page.NUMBER:
                (data, *_), *_ = keys.values()
                without = found[data, "none", learning_page.ALL_LABELS, "0"]["none"]
                differences = [learning_page.subtract(found[key]["STDP"], without) for key in keys.values()]
                means, halves = zip(*map(learning_page.compute_interval, differences), strict=True)
                axes.errorbar(list(keys), means, halves, fmt="o--", color=ORANGE, capsize=3, label="STDP − none")
            if max(keys) > 3:
                axes.set(xscale="log")
                axes.minorticks_off()
            axes.set_xticks(list(keys), [f"{x:,}" for x in keys])
            axes.set_title(title)
            axes.set(xlabel=label, ylabel="difference, points")
            axes.grid(color=PALE)
            axes.set_axisbelow(True)
            axes.legend(frameon=False, loc="best")
        figure.suptitle(
            "Lead of learned features, paired by seed: mean and 95 % interval by t; above 0, learning is better"
        )
        figure.savefig(path, dpi=150)
