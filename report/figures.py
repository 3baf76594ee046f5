"""The figures of a run. Each ``draw_…`` returns a matplotlib ``Figure``; ``save`` writes it. No window, no pyplot.

A ``title`` names the network and the data set; each figure adds a line that says how to read it.
"""

import math
from functools import wraps

import numpy as np
from matplotlib import rc_context
from matplotlib.cm import ScalarMappable
from matplotlib.collections import PatchCollection
from matplotlib.colors import BoundaryNorm, ListedColormap, PowerNorm, to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import Patch, Rectangle
from matplotlib.ticker import FuncFormatter, MaxNLocator

from report.metrics import SILENT
from utils import write_atomically

DPI = 150
# From the colour-blind-safe palette of Okabe and Ito.
BLUE, ORANGE, GREEN, INK, GREY, PALE = "#0072B2", "#D55E00", "#009E73", "#222222", "#767676", "#E4E7EA"
PALETTE = BLUE, ORANGE, GREEN, "#CC79A7", "#E69F00", "#56B4E9", INK
ON, OFF = ORANGE, BLUE  # on-centre and off-centre cells
STYLE = {
    "font.size": 10,
    "axes.titlesize": 10,
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "axes.grid": False,
    "grid.color": PALE,
    "text.color": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "legend.frameon": False,
    "figure.titlesize": 13,
    "figure.titleweight": "bold",
}
TILE = 48  # pixels of a small picture in a grid, at least


def save(figure, path):
    """Write the figure as PNG, whole or not at all. Errors: InputError if that place cannot be written to."""

    def write(temporary):
        with rc_context(STYLE):
            figure.savefig(temporary, dpi=DPI, format="png")

    write_atomically(path, write)


def styled(draw):
    @wraps(draw)
    def inner(*args, **kwargs):
        with rc_context(STYLE):
            return draw(*args, **kwargs)

    return inner


def new_figure(width, height, title):
    """An empty figure of that many inches, or larger if the title needs it or nothing else would fit."""
    figure = Figure(figsize=(max(width, 0.12 * len(title) + 0.4, 4.5), max(height, 2.5)), layout="constrained")
    figure.suptitle(title)
    return figure


# ---------------------------------------------------------------------------------------------------------------------
# Curves


@styled
def draw_history(rows, title):
    """How a network learned: convergence in the STDP phases; accuracy, loss and silent in the R-STDP phases.

    Args:
        rows: one dict for each epoch, in order: phase, rule ("stdp" or "rstdp"), epoch, convergence (mean w (1 - w)),
            and train_accuracy, train_loss, train_silent, val_accuracy, val_loss, val_silent: fractions or None.
    """
    unsupervised = [row for row in rows if row["train_accuracy"] is None]
    rewarded = [row for row in rows if row["train_accuracy"] is not None]
    figure = new_figure(10 if rewarded else 6, 5.5 if rewarded else 4, title)
    ratios = [ratio for ratio, part in ((1, unsupervised), (2.2, rewarded)) if part or not rows]
    grid = figure.add_gridspec(2, len(ratios), width_ratios=ratios)
    if unsupervised:
        _draw_convergence(figure.add_subplot(grid[:, 0]), unsupervised)
    if rewarded:
        accuracy = figure.add_subplot(grid[0, -1])
        _draw_outcomes(accuracy, figure.add_subplot(grid[1, -1], sharex=accuracy), rewarded)
    return figure


def _draw_convergence(axes, rows):
    axes.set_title("STDP phases")
    for position, (phase, epochs, values) in enumerate(_by_phase(rows, "convergence")):
        color = PALETTE[position % len(PALETTE)]
        axes.plot(epochs, np.maximum(values, 1e-6), "o-", color=color, markersize=5, label=phase)
    _mark_phases(axes, rows)
    axes.set_yscale("log")
    low, high = axes.get_ylim()
    axes.set_ylim(min(low, 1e-3), max(3 * high, 0.5))  # room for the names of the phases
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.grid(axis="y")
    axes.set_axisbelow(True)
    axes.set_xlim(0.5, len(rows) + 0.5)
    axes.set_xlabel("STDP epoch, over all phases")
    axes.set_ylabel("convergence: mean w (1 − w), logarithmic")
    _count_on_x(axes)


def _draw_outcomes(accuracy, errors, rows):
    names = " and ".join(dict.fromkeys(row["phase"] for row in rows))
    accuracy.set_title(f"R-STDP phase: {names}")
    epochs = np.arange(1, len(rows) + 1)
    marker = "o" if len(rows) <= 30 else None
    validated = any(row["val_accuracy"] is not None for row in rows)
    for axes, part, color in ((accuracy, "accuracy", BLUE), (errors, "loss", ORANGE), (errors, "silent", INK)):
        name = "right" if part == "accuracy" else part
        pale = 0.5 + 0.5 * np.array(to_rgb(color))
        looks = {"marker": marker, "markersize": 6, "markerfacecolor": "white"}
        axes.plot(epochs, _percent(rows, f"train_{part}"), color=pale, lw=1.5, label=f"{name}, training", **looks)
        if validated:
            looks = {"marker": marker, "markersize": 3.5}
            axes.plot(epochs, _percent(rows, f"val_{part}"), color=color, lw=1.5, label=f"{name}, validation", **looks)
    if validated:
        _mark_best((accuracy, errors), _percent(rows, "val_accuracy"))
    low, high = accuracy.get_ylim()
    if high - low < 2:  # a few epochs alike: no mountains out of tenths of a percent
        accuracy.set_ylim(low - 1, high + 1)
    errors.set_yscale("symlog", linthresh=0.1, linscale=0.5)
    errors.set_yticks([0, 0.1, 1, 10, 100])
    errors.set_ylim(-0.02, 150)
    errors.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    accuracy.set_ylabel("% of the images")
    errors.set_ylabel("% (logarithmic)")
    errors.set_xlabel("R-STDP epoch")
    accuracy.tick_params(labelbottom=False)
    accuracy.set_xlim(min(0.5, 1 - 0.01 * len(rows)), len(rows) + max(0.5, 0.01 * len(rows)))
    for axes in (accuracy, errors):
        axes.grid(axis="y")
        axes.set_axisbelow(True)
        axes.legend(loc="center left", bbox_to_anchor=(1.01, 0.5))
        _mark_phases(axes, rows)
        _count_on_x(axes)


def _mark_best(panels, accuracies):
    """The first epoch with the highest validation accuracy."""
    best = int(np.nanargmax(accuracies))
    for axes in panels:
        axes.axvline(best + 1, color=GREEN, lw=1, zorder=0)
    panels[0].plot(
        best + 1, accuracies[best], "*", color=GREEN, markersize=13, ls="none",
        label=f"best epoch: {best + 1},\n{accuracies[best]:.2f} % right",
    )  # fmt: skip


def _by_phase(rows, key):
    """(phase, numbers of its epochs over all rows, values) for each phase, in order."""
    for phase in dict.fromkeys(row["phase"] for row in rows):
        epochs = [number for number, row in enumerate(rows, start=1) if row["phase"] == phase]
        yield phase, epochs, [rows[number - 1][key] for number in epochs]


def _mark_phases(axes, rows):
    """Lines between the phases, and their names at the top if there are several."""
    phases = list(_by_phase(rows, "phase"))
    for phase, epochs, _ in phases if len(phases) > 1 else ():
        middle = (epochs[0] + epochs[-1]) / 2
        axes.text(middle, 0.99, phase, transform=axes.get_xaxis_transform(), ha="center", va="top", weight="bold")
        if epochs[0] > 1:
            axes.axvline(epochs[0] - 0.5, color=GREY, lw=0.8, ls=":")


def _percent(rows, key):
    return np.array([math.nan if row[key] is None else 100 * row[key] for row in rows])


def _count_on_x(axes):
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))


@styled
def draw_roc(curves, class_names, title):
    """One-vs-rest ROC curves of the classes. ``curves``: what ``metrics.roc_curves`` returns.

    Good classifiers are told apart at few false alarms only: where the median area is over 0.95 that axis is
    logarithmic.
    """
    areas = [curve[2] for curve in curves if curve is not None]
    rates = np.concatenate([np.ones(1), *(curve[0] for curve in curves if curve is not None)])
    low = rates[rates > 0].min()
    logarithmic = low < 1 and float(np.median(areas)) > 0.95
    columns = math.ceil(len(curves) / 15)
    longest = max(map(len, class_names))
    figure = new_figure(6.5 + columns * (0.9 + 0.09 * longest), 5, title)
    axes = figure.add_subplot()
    for position, (curve, name) in enumerate(zip(curves, class_names, strict=True)):
        if curve is None:
            axes.plot([], [], color=PALE, label=f"{name}: no images")
            continue
        style = "-", (0, (4, 1.5)), (0, (1, 1)), (0, (5, 1, 1, 1))
        looks = {"color": PALETTE[position % len(PALETTE)], "ls": style[position // len(PALETTE) % len(style)]}
        axes.plot(curve[0], curve[1], **looks, lw=1.6, drawstyle="steps-post", label=f"{name}: {curve[2]:.4f}")
    if logarithmic:
        axes.set_xscale("log")
        axes.set_xlim(low, 1)
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{100 * value:g}"))
        lowest = min(np.interp(low, curve[0], curve[1]) for curve in curves if curve is not None)
        axes.set_ylim(math.floor(lowest * 10) / 10, 1.01)
    else:
        axes.plot([0, 1], [0, 1], color=GREY, lw=1, ls=":", label="chance: 0.5")
        axes.set_xlim(0, 1)
        axes.set_ylim(0, 1.01)
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{100 * value:g}"))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{100 * value:g}"))
    axes.grid()
    axes.set_title("ROC curves, each class against the rest")
    axes.set_xlabel("false positives, % of the other classes' images" + (" (logarithmic)" if logarithmic else ""))
    axes.set_ylabel("true positives, % of the class's images")
    axes.legend(title="class: area under curve", loc="center left", bbox_to_anchor=(1.01, 0.5), ncols=columns)
    return figure


@styled
def draw_spike_times(histograms, title):
    """When the neurons of each stage fire.

    Args:
        histograms: stage → number of neurons that fired at each time step, and as the last how many never did, (T+1,).
    """
    columns = min(len(histograms), 4)
    rows = math.ceil(len(histograms) / columns)
    figure = new_figure(2.9 * columns + 0.3, 2.5 * rows + 0.5, title)
    grid = figure.subplots(rows, columns, squeeze=False, sharex=True).ravel()
    for axes, (stage, counts) in zip(grid, histograms.items(), strict=False):
        counts = np.asarray(counts, float)
        shares = 100 * counts / max(1.0, counts.sum())
        axes.bar(np.arange(len(counts) - 1), shares[:-1], width=0.85, color=BLUE)
        axes.set_title(f"{stage}: {shares[-1]:.1f} % silent", weight="bold")
        axes.yaxis.set_major_locator(MaxNLocator(4))
        axes.set_ylim(0, 1.1 * max(shares[:-1].max(), 1e-3))
    for axes in grid[len(histograms) :]:
        axes.set_axis_off()
    for axes in grid[max(0, len(histograms) - columns) : len(histograms)]:
        axes.tick_params(labelbottom=True)
        _count_on_x(axes)
    figure.supxlabel("time step of the spike", fontsize=10)
    figure.supylabel("% of the neurons", fontsize=10)
    return figure


# ---------------------------------------------------------------------------------------------------------------------
# Confusion


@styled
def draw_confusion(matrix, class_names, title):
    """Confusion matrix (classes, classes + 1): rows true, columns predicted, the last column silent.

    The numbers are images, the colours shares of the row on a square-root scale, on which single errors can be seen.
    """
    matrix = np.asarray(matrix)
    classes = len(class_names)
    if matrix.shape != (classes, classes + 1):
        raise ValueError(f"a confusion matrix of {classes} classes is {(classes, classes + 1)}, not {matrix.shape}")
    shares = 100 * matrix / np.maximum(1, matrix.sum(1, keepdims=True))
    cell = 0.58 if classes <= 12 else 0.42
    longest = max(map(len, class_names))
    figure = new_figure(cell * (classes + 1.5) + 2.2 + 0.05 * longest, cell * classes + 1.6 + 0.05 * longest, title)
    axes = figure.add_subplot()
    norm = PowerNorm(0.5, 0, 100)
    edges = np.arange(classes + 1) - 0.5
    silent = classes + 0.4  # set apart from the classes
    axes.pcolormesh(edges, edges, shares[:, :-1], norm=norm, cmap="Blues", edgecolors=PALE, lw=0.8)
    axes.pcolormesh(
        [silent - 0.5, silent + 0.5], edges, shares[:, -1:], norm=norm, cmap="Blues", edgecolors=PALE, lw=0.8
    )
    columns = [*range(classes), silent]
    for (row, column), count in np.ndenumerate(matrix):
        if count:
            color = "white" if norm(shares[row, column]) > 0.6 else INK
            axes.text(
                columns[column], row, f"{count}", ha="center", va="center", color=color, fontsize=9 if cell > 0.5 else 7
            )
    turned = 45 if longest > 3 else 0
    axes.set_xticks(columns, [*class_names, "silent"])
    for label in axes.get_xticklabels()[: None if turned else 0]:
        label.set(rotation=turned, ha="right", rotation_mode="anchor")
    axes.set_yticks(range(classes), class_names)
    axes.set_xlim(-0.5, silent + 0.5)
    axes.set_ylim(classes - 0.5, -0.5)
    axes.set_aspect("equal")
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    axes.set_xlabel("decision")
    axes.set_ylabel("true class")
    right = int(np.trace(matrix))
    axes.set_title(f"{right:,} of {int(matrix.sum()):,} images right, {int(matrix[:, -1].sum()):,} silent")
    bar = figure.colorbar(ScalarMappable(norm, "Blues"), ax=axes, shrink=0.75, pad=0.02)
    bar.set_label("% of the true class (square-root scale)")
    bar.set_ticks([0, 1, 5, 10, 25, 50, 100])
    bar.outline.set_visible(False)
    return figure


# ---------------------------------------------------------------------------------------------------------------------
# Grids of small pictures


@styled
def draw_filters(weight, title, scales=("3×3", "7×7", "13×13")):
    """The filters of the first convolution: for each feature a strip of pictures, one for each scale of its input.

    Args:
        weight: (F, C, k, k) of values from 0 to 1, tensor or array; channels 2i and 2i + 1 are the on-centre and
            off-centre cells of scale i.
        scales: names of the C / 2 scales, numbered if they are not as many.
    """
    weight = _array(weight)
    features, channels, k, _ = weight.shape
    pairs = math.ceil(channels / 2)
    on, off = weight[:, 0::2], weight[:, 1::2]
    if channels % 2:
        off = np.concatenate([off, np.zeros_like(on[:, :1])], 1)
    zoom = math.ceil(TILE / k)
    strips = np.full((features, k * zoom, pairs * (k * zoom + 2) - 2, 3), 0.6)
    for scale in range(pairs):
        left = scale * (k * zoom + 2)
        strips[:, :, left : left + k * zoom] = _enlarged(_two_colours(on[:, scale], off[:, scale]), zoom)
    columns = min(features, max(1, round(math.sqrt(2 * features / pairs))))
    gap = 16
    mosaic = _mosaic(strips, columns, gap, 1.0)
    width = max(7, columns * (0.5 * pairs + 0.15))
    figure = new_figure(width, width * (mosaic.shape[0] + gap) / mosaic.shape[1] + 1.1, title)
    axes = figure.add_subplot()
    axes.imshow(mosaic, interpolation="nearest")
    height, width = strips.shape[1] + gap, strips.shape[2] + gap
    _frame_tiles(axes, strips.shape[1:3], range(features), columns, gap)
    for feature in range(features):
        row, column = divmod(feature, columns)
        axes.text(column * width, row * height - 2, str(feature), fontsize=6, va="bottom", color=GREY)
    axes.set_ylim(mosaic.shape[0], -gap)
    _hide(axes)
    names = list(scales) if len(scales) == pairs else [str(scale + 1) for scale in range(pairs)]
    axes.set_title(f"{features} features; in each, from the left, the DoG scales {', '.join(names)}")
    corners = {
        "on-centre synapse strong": (1, 0), "off-centre synapse strong": (0, 1), "both strong": (1, 1),
        "neither": (0, 0),
    }  # fmt: skip
    handles = [
        Patch(facecolor=_two_colours(*map(np.float64, state)), edgecolor=GREY, label=name)
        for name, state in corners.items()
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=4, fontsize=8, columnspacing=1.4)
    return figure


@styled
def draw_features(features, title, marks=None):
    """Preferred features in image space, on one grey scale: light where a neuron wants light, dark where dark.

    Args:
        features: (F, h, w), of ``features.preferred_features``; margins in which no feature has anything are cut off.
        marks: what each feature stands for, F strings; equal neighbours share a row, which bears their mark.
    """
    features = np.asarray(features, np.float32)
    count, height, width = features.shape
    shown = features[(slice(None), *_content(np.abs(features).max(0, initial=0)))]
    rows = _rows(count, marks)
    columns = max(len(row) for row in rows)
    cell = max(0.32, min(0.9, 14 / columns))
    high = cell * shown.shape[1] / shown.shape[2]
    figure = new_figure(max(7, columns * cell + 0.9), len(rows) * high + 1.2, title)
    axes = figure.add_subplot()
    zoom = math.ceil(TILE / max(shown.shape[1:]))
    order = [feature for row in rows for feature in [*row, *[-1] * (columns - len(row))]]
    blank = np.full((1, *shown.shape[1:]), np.nan, np.float32)
    tiles = _enlarged(np.concatenate([shown, blank])[order], zoom)
    gap = max(2, shown.shape[2] * zoom // 20)
    # the few strongest neurons would leave all others grey on grey: a quarter of them reach black or white
    limit = np.quantile(np.abs(shown).max((1, 2)), 0.75) or 1
    axes.imshow(_mosaic(tiles, columns, gap), cmap="gray", vmin=-limit, vmax=limit, interpolation="nearest")
    _frame_tiles(axes, tiles.shape[1:], [p for p, feature in enumerate(order) if feature >= 0], columns, gap)
    _hide(axes)
    if marks is not None:
        middle = tiles.shape[1] / 2 + np.arange(len(rows)) * (tiles.shape[1] + gap)
        axes.set_yticks(middle, [marks[row[0]] for row in rows], fontsize=9, weight="bold")
    axes.set_title(
        f"{count} preferred features of {height}×{width} pixels; light: wants light, dark: wants dark, grey: no matter",
        fontsize=9,
    )
    return figure


def _rows(count, marks):
    """The features of each row: a grid half as wide again as high, or one row for each mark."""
    if marks is None:
        columns = max(1, math.ceil(math.sqrt(1.5 * count)))
        return [range(start, min(start + columns, count)) for start in range(0, count, columns)]
    if len(marks) != count:
        raise ValueError(f"{len(marks)} marks do not fit {count} features")
    starts = [i for i in range(count) if i == 0 or marks[i] != marks[i - 1]]
    return [range(start, end) for start, end in zip(starts, [*starts[1:], count], strict=True)]


def _content(strength):
    """Slices of the rows and columns of a map (h, w) that hold more than 4 % of its maximum, with a pixel around."""
    slices = []
    for axis in (1, 0):
        filled = np.flatnonzero(strength.max(axis) > 0.04 * strength.max())
        start, stop = (filled[0], filled[-1] + 1) if len(filled) else (0, strength.shape[1 - axis])
        slices.append(slice(max(0, start - 1), stop + 1))
    return slices


@styled
def draw_activation_maps(maps, steps, title):
    """First-spike maps (F, H, W), uint8 time steps, ``steps`` for silence; early spikes dark, silence light grey."""
    maps = _array(maps)
    count, height, width = maps.shape
    columns = max(1, math.ceil(math.sqrt(1.4 * count)))
    rows = math.ceil(count / columns)
    cell = max(0.3, min(1.1, 12 / columns))
    figure = new_figure(columns * cell + 1.6, rows * cell * height / width + 1.1, title)
    axes = figure.add_subplot()
    zoom = math.ceil(TILE / max(height, width))
    gap = max(2, width * zoom // 16)
    colours, norm = _time_colours(steps)
    axes.imshow(
        _mosaic(_enlarged(maps.astype(np.float32), zoom), columns, gap),
        cmap=colours,
        norm=norm,
        interpolation="nearest",
    )
    _hide(axes)
    silent = 100 * float((maps >= steps).mean()) if maps.size else 100
    axes.set_title(f"{count} maps of {height}×{width} neurons, {silent:.1f} % of them silent", fontsize=9)
    bar = figure.colorbar(ScalarMappable(norm, colours), ax=axes, pad=0.02, aspect=25)
    every = max(1, math.ceil(steps / 8))
    ticks = [step for step in range(0, steps, every) if 2 * (steps - step) >= every]
    bar.set_ticks([*ticks, steps], labels=[*map(str, ticks), "silent"])
    bar.ax.minorticks_off()
    bar.set_label("time step of the spike")
    bar.outline.set_visible(False)
    return figure


def _time_colours(steps):
    """A colour for each time step, dark to light, and light grey for silence; and which value gets which."""
    from matplotlib import colormaps

    times = colormaps["plasma"](np.linspace(0, 0.95, steps))
    return ListedColormap([*times, to_rgb(PALE)]), BoundaryNorm(np.arange(steps + 2) - 0.5, steps + 1)


@styled
def draw_wave(latency, steps, title):
    """The spike wave of one image: for each time step all spikes so far, on-centre orange, off-centre blue.

    Args:
        latency: (C, H, W) uint8, ``steps`` for silence; even channels are on-centre cells, odd ones off-centre.
        steps: of them at most 16 are shown, evenly chosen.
    """
    latency = _array(latency)
    shown = np.unique(np.linspace(0, steps - 1, min(steps, 16)).round().astype(int))
    spiked = latency[None] <= shown[:, None, None, None]  # (T, C, H, W)
    on = spiked[:, 0::2].mean(1)
    off = spiked[:, 1::2].mean(1) if latency.shape[0] > 1 else np.zeros_like(on)
    columns = 4 if len(shown) in (4, 7, 8, 11, 12, 16) else min(len(shown), 5)
    rows = math.ceil(len(shown) / columns)
    figure = new_figure(1.5 * columns + 0.3, 1.7 * rows + 1.2, title)
    grid = figure.subplots(rows, columns, squeeze=False).ravel()
    for axes, step, picture in zip(grid, shown, _two_colours(on, off), strict=False):
        axes.imshow(picture, interpolation="nearest")
        axes.set_title(f"time step {step}", fontsize=9)
        _hide(axes)
        axes.spines[:].set(visible=True, color=PALE)
    for axes in grid[len(shown) :]:
        axes.set_axis_off()
    handles = [
        Patch(facecolor=ON, label="on-centre cells that have spiked"),
        Patch(facecolor=OFF, label="off-centre cells"),
        Patch(facecolor="black", label="both"),
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=3, fontsize=9)
    return figure


@styled
def draw_gallery(images, labels, predictions, features_of_winner, class_names, title, most=40):
    """Images that were not decided right, each with the preferred feature of the neuron that decided.

    Args:
        images: (N, H, W) uint8; labels and predictions: N classes, -1 for silence.
        features_of_winner: N arrays (h, w) or None, as of ``features.features_of_winners``; or None for images alone.
        most: so many are shown, the first ones.
    """
    shown = min(len(images), most)
    columns = max(1, min(5, shown))
    rows = max(1, math.ceil(shown / columns))
    paired = features_of_winner is not None
    across = 2 if paired else 1
    figure = new_figure(max(5, columns * (across + 0.25) * 0.95 + 0.3), rows * 1.22 + 1.1, title)
    axes = figure.add_subplot()
    for position in range(shown):
        row, column = divmod(position, columns)
        x, y = column * (across + 0.25), row * 1.28
        axes.imshow(images[position], cmap="gray", vmin=0, vmax=255, extent=(x, x + 1, y + 1, y))
        if paired:
            _draw_winner(axes, features_of_winner[position], np.shape(images)[1], x + 1.04, y)
        decided = int(predictions[position])
        said = "silent" if decided == SILENT else class_names[decided]
        axes.text(
            x + across / 2, y - 0.05, f"{class_names[int(labels[position])]} → {said}", ha="center", va="bottom",
            fontsize=9, color=GREY if decided == SILENT else INK,
        )  # fmt: skip
    if not shown:
        axes.text(0.5, 0.5, "none", transform=axes.transAxes, ha="center", va="center", fontsize=14, color=GREY)
    axes.set_xlim(-0.02, max(1, columns * (across + 0.25) - 0.2))
    axes.set_ylim(max(1, rows * 1.28 - 0.24), -0.3)
    axes.set_aspect("equal")
    _hide(axes)
    if not shown:
        return figure
    some = f"{shown} images" if shown == len(images) else f"{shown} of {len(images):,} images"
    beside = "; beside each what the deciding neuron prefers,\nflat grey if that has learned little" if paired else ""
    axes.set_title(f"{some}: true class → decision{beside}", pad=8)
    return figure


def _draw_winner(axes, feature, least, x, y):
    """The feature, or a pale field for none, in the unit square at (x, y); cut to its content, but not under least."""
    extent = (x, x + 1, y + 1, y)
    if feature is None:
        axes.imshow([[1.0]], cmap=ListedColormap([PALE]), extent=extent)
        return
    (top, bottom), (left, right) = ((s.start, s.stop) for s in _content(np.abs(feature)))
    side = max(least, bottom - top, right - left)
    padded = np.pad(feature, side)  # the cut may reach over the edge
    top, left = (top + bottom - side) // 2 + side, (left + right - side) // 2 + side
    cut = padded[top : top + side, left : left + side]
    limit = max(np.abs(cut).max(), 0.3)  # of 1, the strongest of the stage: a neuron that learned little stays grey
    axes.imshow(cut, cmap="gray", vmin=-limit, vmax=limit, extent=extent)


# ---------------------------------------------------------------------------------------------------------------------


def _array(values):
    return values.numpy(force=True) if hasattr(values, "numpy") else np.asarray(values)


def _mosaic(tiles, columns, gap, ground=np.nan):
    """Tiles (N, h, w) or (N, h, w, 3) side by side, ``gap`` pixels of ``ground`` between them."""
    count, height, width, *colours = tiles.shape
    rows = max(1, math.ceil(count / columns))
    shape = rows * (height + gap) - gap, columns * (width + gap) - gap
    mosaic = np.full((*shape, *colours), ground, np.float32)
    for position, tile in enumerate(tiles):
        row, column = divmod(position, columns)
        top, left = row * (height + gap), column * (width + gap)
        mosaic[top : top + height, left : left + width] = tile
    return mosaic


def _enlarged(tiles, zoom):
    """Tiles (N, h, w, …) with every pixel as a square of zoom × zoom."""
    return tiles.repeat(zoom, 1).repeat(zoom, 2)


def _two_colours(on, off):
    """RGB (…, 3) of on and off from 0 to 1: white where neither, ON and OFF alone, black where both."""
    absorbed = on[..., None] * (1 - np.array(to_rgb(ON))) + off[..., None] * (1 - np.array(to_rgb(OFF)))
    return np.clip(1 - absorbed, 0, 1)


def _frame_tiles(axes, size, positions, columns, gap):
    """A thin line around the tiles of a mosaic at these positions, counted by rows."""
    height, width = size
    corners = [(p % columns * (width + gap) - 0.5, p // columns * (height + gap) - 0.5) for p in positions]
    frames = [Rectangle(corner, width, height) for corner in corners]
    axes.add_collection(PatchCollection(frames, facecolor="none", edgecolor=GREY, lw=0.5, clip_on=False))


def _hide(axes):
    axes.set_anchor("W")  # under the beginning of its title
    axes.set_xticks([])
    axes.set_yticks([])
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
