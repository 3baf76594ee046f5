"""The figures of a run. Each ``draw_…`` returns a matplotlib ``Figure``, without a window and without pyplot.

The first line of a ``title`` is the name of the figure. Further lines contain network, images, seed and epoch.
"""

import math
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import rc_context
from matplotlib.colors import PowerNorm
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.rcsetup import cycler
from matplotlib.ticker import LogFormatter, MaxNLocator
from PIL import Image

from engine.encoder import Encoder
from engine.progress import Row
from engine.rules import RULES
from engine.stages import INPUT
from report.channels import name_channels
from report.colors import BLUE, GREY, INK, ORANGE, PALE, PALETTE, POLARITY_COLORS, TRAINING, VALIDATION, YELLOW
from report.evaluation import SILENT
from utils import write_atomically

DPI = 110  # matplotlib holds about 60 bytes for each pixel of a figure of many pictures while it saves it
DASHES = "-", (0, (4, 1.5)), (0, (1, 1)), (0, (6, 1.5, 1, 1.5)), (0, (6, 1.5, 1, 1.5, 1, 1.5)), (0, (8, 4))
CURVES = cycler(ls=DASHES) * cycler(color=PALETTE)  # their styles, in this order
PHASES = cycler(ls=DASHES, marker=["o", "s", "^", "D", "v", "P"])
MAX_CURVES = len(CURVES)
STYLE: dict[Any, Any] = {
    "font.size": 10,
    "axes.titlesize": 10,
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "axes.axisbelow": True,
    "grid.color": PALE,
    "text.color": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "legend.frameon": False,
    "text.parse_math": False,  # names may contain $
    "text.usetex": False,
    "pdf.fonttype": 42,  # publishers refuse type 3
}
EARLY_SHARE = 0.05  # part of the spikes of a layer that are before its line in a raster
LETTER = 0.085  # inches of a letter in the titles of axes
NAME_LENGTH = 20  # characters of the name of a class in a figure


@contextmanager
def use_style() -> Iterator[None]:
    """Draw in the style of this module. A character that the font lacks is an empty box, without a warning.

    The fonts are those of the user's matplotlibrc: ``font.family: Noto Sans CJK JP`` shows Japanese names.
    """
    with rc_context(STYLE), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing from font")
        yield


def save(figure: Figure | Image.Image, path: Path) -> None:
    """Write a figure, or an image as PNG, in the format of the suffix, atomically.

    Raises InputError if it cannot be written.
    """
    if isinstance(figure, Image.Image):
        write = partial(figure.save, compress_level=1)  # a quarter larger than by default, in half the time
    else:
        write = partial(figure.savefig, dpi=DPI)
    with use_style():
        write_atomically(path, write)


def create_figure(width: float, height: float, title: str) -> Figure:
    """Create a figure with a title, and width × height inches below it. It is wider if the title needs more room."""
    name, *lines = title.split("\n")
    longest = max(map(len, lines), default=0)
    width = max(width, 0.13 * len(name) + 0.3, 0.085 * longest + 0.3, 4.5)
    band = 0.45 + 0.2 * len(lines)
    height = max(height, 2) + band
    layout = ConstrainedLayoutEngine(rect=(0, 0, 1, 1 - band / height))
    figure = Figure(figsize=(width, height), layout=layout)
    left = 0.12 / width
    figure.text(left, 1 - 0.12 / height, name, fontsize=13, weight="bold", va="top")
    about = "\n".join(lines)
    figure.text(left, 1 - 0.4 / height, about, fontsize=9.5, color=GREY, linespacing=1.4, va="top")
    return figure


def create_panels(count: int, columns: int, width: float, height: float, title: str) -> tuple[Figure, np.ndarray]:
    """Create a figure with a grid of ``count`` axes, each of width × height inches, which share y."""
    rows = math.ceil(count / columns)
    figure = create_figure(width * columns + 0.3, height * rows + 0.5, title)
    grid = figure.subplots(rows, columns, squeeze=False, sharey=True).ravel()
    for axes in grid[count:]:
        axes.set_axis_off()
    return figure, grid[:count]


def shorten(names: Sequence[str]) -> list[str]:
    """Shorten long class names, which would take the room of the figure."""
    short = []
    for name in names:
        if len(name) > NAME_LENGTH:
            name = f"{name[: NAME_LENGTH - 1]}…"
        short.append(name)
    return short


@use_style()
def draw_history(
    rows: Sequence[Row], title: str, convergences: Mapping[str, Sequence] = {}, learned: str = "training"
) -> Figure:
    """Draw how a network learned: convergence in the phases without labels, accuracy in those with labels.

    Loss and silence are drawn if images were silent. Without them, the loss is 100 % minus the accuracy.

    Args:
        rows: one for each epoch, in order.
        convergences: those in the first epochs, {layer: [(images, convergence)]}. A phase that trains several layers
            begins with its first epoch.
        learned: the name of the images whose labels were learned.
    """
    unsupervised = [row for row in rows if not row.has_labels]
    supervised = [row for row in rows if row.has_labels]
    is_silent = any(row.train_silent or row.val_silent for row in supervised)
    parts = []
    if supervised:
        parts = ["accuracy", "loss", "silent"] if is_silent else ["accuracy"]
    heights = [2, 1.6, 1.1][: len(parts)]
    figure = create_figure(10 if supervised else 6, max(3.6, 1.6 * sum(heights)), title)
    if not rows:
        return figure
    grid: list[Any] = [[part] for part in parts] or [[]]
    widths = [2.2] if supervised else []
    if unsupervised:
        grid = [["convergence", *line] for line in grid]
        widths = [1, *widths]
    panels = figure.subplot_mosaic(grid, width_ratios=widths, height_ratios=heights or [1])
    if unsupervised:
        _draw_convergence(panels.pop("convergence"), unsupervised, convergences)
    if supervised:
        _draw_outcomes(panels, supervised, learned)
    return figure


def _draw_convergence(axes, rows, convergences):
    points = {row.phase: [*convergences.get(row.phase, ())] for row in rows}
    for row in rows:
        points[row.phase].append((row.images * row.epoch, row.convergence))
    axes.set_prop_cycle(PHASES)
    for name, known in points.items():
        axes.plot(*np.array(known, np.float64).T, mfc="white", label=name, color=INK)
    axes.set_xscale("symlog", linthresh=5000, linscale=2)  # the features emerge before
    axes.xaxis.set_major_formatter(lambda images, _: f"{images / 1000:g}")
    axes.set(yscale="log", ylabel="convergence: mean w (1 − w), logarithmic", xlabel="1,000 images, log from 5")
    axes.set_title(f"{_rules(rows)} phases")
    axes.yaxis.set_major_formatter("{x:g}")
    axes.yaxis.set_minor_formatter(LogFormatter())  # that of the scale writes formulas
    axes.grid(axis="y")
    axes.legend(handlelength=4)  # as long as a dash and its gap


def _draw_outcomes(panels, rows, learned):
    """Draw the parts of the outcomes that have a panel, in each training and validation."""
    phases = " and ".join(dict.fromkeys(row.phase for row in rows))
    titles = {
        "accuracy": f"{_rules(rows)} phase, {phases}: accuracy",
        "loss": "wrong decisions (the loss)",
        "silent": "silent: no decision",
    }
    if "silent" not in panels:
        titles["accuracy"] += "; no image was silent"
    epochs = np.arange(1, len(rows) + 1)
    marker = "o" if len(rows) <= 30 else None
    margin = max(0.5, 0.01 * len(rows))
    accuracies = _percent(rows, "val_accuracy")
    best = None if np.isnan(accuracies).all() else np.nanargmax(accuracies)
    for part, axes in panels.items():
        values = _percent(rows, f"train_{part}")
        axes.plot(epochs, values, color=TRAINING, marker=marker, ms=6, mfc="white", label=learned)
        axes.set(title=titles[part], ylabel="% of the images", xlim=(1 - margin, len(rows) + margin))
        axes.tick_params(labelbottom=axes is list(panels.values())[-1])
        if best is not None:
            values = _percent(rows, f"val_{part}")
            axes.plot(epochs, values, color=VALIDATION, marker=marker, ms=3.5, label="validation")
            axes.axvline(best + 1, color=GREY, lw=1, ls="--", zorder=0)
            if part == "accuracy":
                label = f"best epoch: {best + 1},\n{values[best]:.2f} % correct"
                axes.plot(best + 1, values[best], "*", color=YELLOW, mec=INK, ms=13, ls="none", label=label)
        low, high = axes.dataLim.intervaly
        if high - low < 2:  # tenths of a percent must not look like large changes
            axes.set_ylim(max(0, low - 1), high + 1)
        _finish_epochs(axes, rows)
    panels["accuracy"].legend(loc="center left", bbox_to_anchor=(1.01, 0.5))
    axes.set_xlabel(f"{_rules(rows)} epoch")


def _finish_epochs(axes, rows):
    """Draw lines between the phases and, if there are several, their names at the top. Use whole numbers of epochs."""
    names = [row.phase for row in rows]
    phases = dict.fromkeys(names)
    for phase in phases if len(phases) > 1 else ():
        before = names.index(phase)
        middle = before + (names.count(phase) + 1) / 2
        transform = axes.get_xaxis_transform()
        axes.text(middle, 0.99, phase, transform=transform, ha="center", va="top", weight="bold")
        if before:
            axes.axvline(before + 0.5, color=GREY, lw=0.8, ls=":")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    axes.grid(axis="y")


def _rules(rows):
    names = dict.fromkeys(row.rule for row in rows)
    return " and ".join(RULES[name].title if name in RULES else name for name in names)


def _percent(rows, key):
    return 100 * np.array([row[key] for row in rows], np.float64)  # None becomes nan


@use_style()
def draw_roc(curves: Sequence[tuple | None], class_names: Sequence[str], title: str) -> Figure:
    """Draw the one-vs-rest ROC curves of the classes; of more classes than styles those with the smallest areas.

    The panel is the square in the upper left corner, which contains the point of every curve that is closest to the
    corner, so that the curves can be told apart. curves: the result of ``evaluation.compute_roc_curves``. The points of
    a curve are joined by straight lines.
    """
    named = [(name, *curve) for name, curve in zip(shorten(class_names), curves, strict=True) if curve is not None]
    part = ""
    if len(named) > MAX_CURVES:
        named = sorted(named, key=lambda curve: curve[-1])[:MAX_CURVES]
        part = f", the {MAX_CURVES} classes with the smallest areas"
    farthest = max((np.maximum(x, 1 - y).min() for _, x, y, _ in named), default=1)
    side = next(side for side in (1, 2, 5, 10, 20, 50, 100) if side >= min(100, 150 * farthest))
    columns = math.ceil(len(named) / 15)  # of the legend
    figure = create_figure(5 + columns * (0.9 + 0.09 * NAME_LENGTH), 4.8, title)
    axes = figure.add_subplot()
    axes.set_prop_cycle(CURVES)
    for name, false_positives, true_positives, area in named:
        axes.plot(100 * false_positives, 100 * true_positives, label=f"{name}: {area:.4f}", lw=1.6)
    if side > 50:  # otherwise it is outside
        axes.plot([0, 100], [0, 100], color=GREY, lw=1, ls=":", label="chance: 0.5")
    axes.grid()
    part += "" if side == 100 else f", the upper left {side} %"
    axes.set_title(f"each class against the rest{part}")
    axes.set(xlim=(0, side), ylim=(100 - side, 100 + side / 100))
    axes.set(xlabel="false positives, % of the other classes' images", ylabel="true positives, % of the class's images")
    axes.legend(title="class: area under curve", ncols=max(1, columns), loc="center left", bbox_to_anchor=(1.01, 0.5))
    return figure


@use_style()
def draw_decision_time(measured: Mapping[str, Sequence[float]], title: str) -> Figure:
    """Draw how early decisions are correct. measured: the result of ``evaluation.measure_decision_time``."""
    figure = create_figure(6, 3.4, title)
    axes = figure.add_subplot(
        xlabel="last time step of the input: if the network had to decide then", ylabel="% of the images"
    )
    for part, color in (("accuracy", BLUE), ("silent", GREY)):
        axes.plot(100 * np.array(measured[part]), ".-", label=part, color=color)
    axes.grid(axis="y")
    axes.legend()
    return figure


@use_style()
def draw_spike_times(histograms: Mapping[str, np.ndarray], title: str) -> Figure:
    """Draw the spike times of each stage as a histogram. All have one axis, so that a silent stage looks silent.

    histograms: {stage: (T + 1,)}, the number of neurons that fire in an image at each time step and, last, never.
    """
    figure, grid = create_panels(len(histograms), min(len(histograms), 3), 2.9, 2.3, title)
    for axes, (stage, counts) in zip(grid, histograms.items(), strict=True):
        *spikes, silent = counts
        axes.bar(range(len(spikes)), spikes, width=0.85, color=BLUE)
        axes.set_title(f"{stage}: {sum(spikes):,.0f} spikes, {100 * silent / sum(counts):.1f} % silent", weight="bold")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    figure.supxlabel("time step of the spike", fontsize=10)
    figure.supylabel("spikes per image", fontsize=10)
    return figure


@use_style()
def draw_raster(
    maps: Mapping[str, np.ndarray],
    classes: tuple[Sequence[str], Sequence[int]],
    decisions: Sequence[Sequence[int]],
    encoder: Encoder,
    title: str,
) -> Figure:
    """Draw the spikes of images as dots, neurons against time steps: a panel for each layer, the images side by side.

    The row of a feature contains its neurons, one below the other. The last panel contains the decision by the spikes
    so far.

    Args:
        maps: {layer: uint8 (N, F, H, W)}, the time step of each spike, T for silence.
        classes: the names of all classes, and the class of each image.
        decisions: the class of each image after each time step, (T, N), -1 for silence; empty without decisions.
        encoder: of the maps "input", which are drawn in the colours of its polarity.
    """
    steps = encoder.time_steps
    names = shorten(classes[0])
    labels = np.array(classes[1])
    lines = len(maps) + bool(decisions)
    figure = create_figure(max(4, 2.6 * len(labels)), 1.5 * lines + 0.5, title)
    panels = figure.subplots(lines, sharex=True, squeeze=False)[:, 0]
    starts = np.arange(len(labels)) * (steps + 1)  # of the images: an empty step is between them
    for axes, (layer_name, latencies) in zip(panels, maps.items(), strict=False):
        _, count, height, width = latencies.shape
        polarity = encoder.polarity if layer_name == INPUT else ()
        colors = np.array([POLARITY_COLORS[sign] for sign in polarity] or [INK] * count)
        images, features, rows, columns = np.nonzero(latencies < steps)
        times = starts[images] + latencies[images, features, rows, columns]
        y = features + (rows * width + columns + 0.5) / (height * width) - 0.5
        for color in np.unique(colors):
            part = colors[features] == color
            axes.plot(times[part], y[part], ".", ms=4, mew=0, alpha=0.5, color=color, rasterized=True)
        for image in np.unique(images):
            early = np.quantile(times[images == image], EARLY_SHARE, method="lower")
            axes.vlines(early + 0.5, -0.5, count - 0.5, color=YELLOW, lw=2, zorder=1)
        axes.set(ylabel=f"{layer_name}\nfeature", ylim=(count - 0.5, -0.5))
        axes.yaxis.set_major_locator(MaxNLocator(4, integer=True))
        if layer_name == INPUT:
            axes.set_ylabel(layer_name)
            _name_rows(axes, name_channels(encoder), 8)
    axes = panels[-1]
    if decisions:
        times = np.add.outer(np.arange(steps), starts)
        decided = np.array(decisions)
        for part, color in ((decided == labels, BLUE), ((decided != labels) & (decided >= 0), ORANGE)):
            axes.plot(times[part], decided[part], "o", ms=4, color=color)
        axes.set(ylabel="decision", ylim=(len(names) - 0.5, -0.5))
        _name_rows(axes, names, 10)
    for panel in panels:
        for start in starts:
            panel.axvspan(start - 1.5, start - 0.5, color=PALE, lw=0)
    ticks = list(range(0, steps, max(5, steps // 5)))
    axes.set_xlim(-0.5, starts[-1] + steps - 0.5)
    axes.set_xticks(np.add.outer(starts, ticks).ravel(), ticks * len(labels))
    top = panels[0].secondary_xaxis("top")
    top.set_xticks(starts + steps / 2, [names[label] for label in labels])
    top.set_xlabel("class")
    label = f"time step of the spike; until the yellow line, {100 * EARLY_SHARE:.0f} % of the layer's spikes have come"
    if decisions:
        label += "\ndecision by the spikes so far: blue: correct, orange: wrong"
    figure.supxlabel(label, fontsize=10)
    return figure


def _name_rows(axes, names, most):
    """Write names of rows beside them, at most this number, at equal distances."""
    every = math.ceil(len(names) / most)
    axes.set_yticks(range(0, len(names), every), names[::every])


@use_style()
def draw_confusion(matrix: Sequence, class_names: Sequence[str], title: str) -> Figure:
    """Draw a confusion matrix int (classes, classes + 1): rows true, columns predicted, the last column silent.

    The numbers are images. The colours are shares of the row on a square-root scale, which shows single errors too.
    """
    matrix = np.asarray(matrix)
    class_names = shorten(class_names)
    classes = len(class_names)
    shares = 100 * matrix / np.maximum(1, matrix.sum(1, keepdims=True))
    cell = 0.58 if classes <= 12 else 0.42  # inches
    longest = max(map(len, class_names))
    width = cell * (classes + 1) + 2.2 + 0.05 * longest
    figure = create_figure(width, cell * classes + 1.1 + 0.05 * longest, title)
    layout = figure.get_layout_engine()
    if isinstance(layout, ConstrainedLayoutEngine):  # at the left, if the title is wider
        *_, height = layout.get()["rect"]
        layout.set(rect=(0, 0, min(1, width / figure.get_figwidth()), height))
    axes = figure.add_subplot()
    picture = axes.imshow(shares, norm=PowerNorm(0.5, 0, 100), cmap="Blues")
    axes.axvline(classes - 0.5, color=INK, lw=0.8)  # silence is set apart
    for (row, column), count in np.ndenumerate(matrix):
        if count:
            color = "white" if shares[row, column] > 36 else INK
            text = axes.text(column, row, f"{count}", color=color, fontsize=16 * cell, ha="center", va="center")
            text.set_in_layout(False)  # it does not change the layout
    rotation: dict = {"rotation": 45, "ha": "right", "rotation_mode": "anchor"} if longest > 3 else {}
    axes.set_xticks(range(classes + 1), [*class_names, "silent"], **rotation)
    axes.set_yticks(range(classes), class_names)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    axes.set(xlabel="decision", ylabel="true class")
    correct = np.trace(matrix)
    silent = matrix[:, -1].sum()
    axes.set_title(f"{correct:,} of {matrix.sum():,} correct, {silent:,} silent")
    bar = figure.colorbar(picture, ax=axes, shrink=0.75, pad=0.02, ticks=[0, 1, 5, 10, 25, 50, 100])
    bar.set_label("% of the true class (square-root scale)")
    bar.outline.set_visible(False)
    return figure


@use_style()
def draw_errors(
    images, indices, labels, predictions, class_names: Sequence[str], title: str, total: int, files: Sequence = ()
) -> Figure:
    """Draw images that are not correctly classified: true class → decision, and the index and file of the image.

    Args:
        images: uint8 (N, H, W) or (N, H, W, 3).
        indices, labels, predictions: int (N,); -1 for silence.
        total: number of all errors.
        files: their names, by ``DataSet.name_images``; (): only the indices are drawn.
    """
    shown = len(images)
    names = [*shorten(class_names), "silent"]  # a prediction of -1 is the last
    longest = max(map(len, names[:-1]))
    arrow = " → " if longest <= 3 else " →\n"  # words have two lines
    width = max(1.05, LETTER * (longest + 3))
    columns = max(1, min(10, shown, int(14 / width)))
    below = 0.26 if files else 0.16  # inches, as width and height
    height = (1.19 if longest <= 3 else 1.39) + below
    lines = max(1, math.ceil(shown / columns))
    figure = create_figure(width * columns + 0.3, height * lines + 0.5, title)
    axes = figure.add_subplot(aspect="equal")  # one for all images: axes of their own take four times as long
    axes.set_axis_off()
    rows = zip(images, indices, files or indices, labels, predictions, strict=True)
    for number, (image, index, file, label, prediction) in enumerate(rows):
        tall = len(image) / image.shape[1]
        side = min(width - 0.08, 0.95 / tall) / 2
        x = (number % columns + 0.5) * width
        bottom = (number // columns + 1) * height - below
        top = bottom - 2 * side * tall
        axes.imshow(image, cmap="gray", vmin=0, vmax=255, extent=(x - side, x + side, bottom, top))
        color = GREY if prediction == SILENT else INK
        decided = f"{names[label]}{arrow}{names[prediction]}"
        axes.text(x, top - 0.03, decided, color=color, ha="center", va="bottom")
        about = f"image {index}"
        if isinstance(file, str):
            about += f"\n{'/'.join(Path(file).parts[-2:])[-NAME_LENGTH:]}"
        axes.text(x, bottom + 0.03, about, ha="center", va="top", fontsize=6.5, color=GREY)
    axes.set(xlim=(0, width * columns), ylim=(height * lines, 0))
    count = f"{total or 'no'} error{'s' * (total != 1)}"
    if shown < total:
        count = f"{shown} of {total:,} errors"
    figure.supxlabel(f"{count}: true class → decision", fontsize=9.5)
    return figure
