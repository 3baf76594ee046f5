"""The figures of a run. Each ``draw_…`` returns a matplotlib ``Figure``; ``save`` writes it. No window, no pyplot.

The first line of a ``title`` says what is shown, further lines of what: network, images, seed, epoch. Colours differ
also for colour-blind readers: the tests see them as in deuteranopia.
"""

import math
from functools import wraps

import numpy as np
from matplotlib import colormaps, rc_context
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.cm import ScalarMappable
from matplotlib.collections import PatchCollection
from matplotlib.colors import PowerNorm, to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import Patch, Rectangle
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter

from report.features import alternating
from report.metrics import SILENT
from utils import write_atomically

DPI = 150
BLUE, ORANGE, INK, YELLOW, SKY = "#0072B2", "#D55E00", "#222222", "#F0B000", "#6CC5F5"
PALETTE = BLUE, ORANGE, INK, YELLOW, SKY
GREY, PALE = "#6B6B6B", "#E4E7EA"
DASHES = "-", (0, (4, 1.5)), (0, (1, 1)), (0, (6, 1.5, 1, 1.5)), (0, (6, 1.5, 1, 1.5, 1, 1.5)), (0, (8, 4))
ON, OFF, NEITHER = ORANGE, BLUE, "#505050"  # on-centre cells, off-centre cells, inputs that are neither
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
}
TILE = 48  # pixels of a small picture in a grid, at least


def save(figure, path):
    """Write the figure as PNG, whole or not at all. Errors: InputError if that place cannot be written to."""

    def write(temporary):
        with rc_context(STYLE):
            figure.savefig(temporary, dpi=DPI, format="png")

    write_atomically(path, write)


def to_pixels(figure: Figure, dpi: int = 80) -> np.ndarray:
    """Draw the figure as uint8 (H, W, 3)."""
    canvas = FigureCanvasAgg(figure)
    figure.set_dpi(dpi)
    with rc_context(STYLE):
        canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3]


def styled(draw):
    @wraps(draw)
    def inner(*args, **kwargs):
        with rc_context(STYLE):
            return draw(*args, **kwargs)

    return inner


def new_figure(width, height, title):
    """A figure with its title, and width × height inches below for the rest; wider if the title needs it."""
    first, *about = title.split("\n")
    width = max(width, 0.13 * len(first) + 0.3, *(0.085 * len(line) + 0.3 for line in about), 4.5)
    band = 0.45 + 0.2 * len(about)
    height = max(height, 2) + band
    figure = Figure(figsize=(width, height), layout="constrained")
    figure.get_layout_engine().set(rect=(0, 0, 1, 1 - band / height))
    figure.text(0.12 / width, 1 - 0.12 / height, first, fontsize=13, weight="bold", va="top")
    for line, text in enumerate(about):
        figure.text(0.12 / width, 1 - (0.4 + 0.2 * line) / height, text, fontsize=9.5, color=GREY, va="top")
    return figure


# ---------------------------------------------------------------------------------------------------------------------
# Curves


@styled
def draw_history(rows, title):
    """How a network learned: convergence in the phases without labels; accuracy and loss in those with labels.

    Args:
        rows: one dict for each epoch, in order: phase, rule, epoch, convergence (mean w (1 - w)), and train_accuracy,
            train_loss, train_silent, val_accuracy, val_loss, val_silent: fractions or None. The loss is the fraction of
            wrong decisions.
    """
    unsupervised = [row for row in rows if row["train_accuracy"] is None]
    rewarded = [row for row in rows if row["train_accuracy"] is not None]
    silent = any(row[f"{split}_silent"] for row in rewarded for split in ("train", "val"))
    heights = [2, 1.6, 1.1] if silent else [2, 1.6]
    figure = new_figure(10 if rewarded else 6, 1.6 * sum(heights) if rewarded else 3.6, title)
    ratios = [ratio for ratio, part in ((1, unsupervised), (2.2, rewarded)) if part]
    if not rows:
        return figure
    grid = figure.add_gridspec(len(heights), len(ratios), width_ratios=ratios, height_ratios=heights)
    if unsupervised:
        _draw_convergence(figure.add_subplot(grid[:, 0]), unsupervised)
    if rewarded:
        accuracy = figure.add_subplot(grid[0, -1])
        others = [figure.add_subplot(grid[row, -1], sharex=accuracy) for row in range(1, len(heights))]
        _draw_outcomes([accuracy, *others], rewarded, "" if silent else "; no image was silent")
    return figure


def _draw_convergence(axes, rows):
    axes.set_title(f"{_rules(rows)} phases")
    lowest = min((row["convergence"] for row in rows if row["convergence"] > 0), default=1e-3)
    for position, (phase, epochs, values) in enumerate(_by_phase(rows, "convergence")):
        color = PALETTE[position % len(PALETTE)]
        drawn = [value or lowest / 10 for value in values]
        axes.plot(epochs, drawn, "o-", color=color, markersize=5, label=phase)
        for epoch, value, height in zip(epochs, values, drawn, strict=True):
            if value == 0:  # has no place on a logarithmic axis
                axes.annotate("0 ↓", (epoch, height), (0, -5), textcoords="offset points", ha="center", va="top")
    _mark_phases(axes, rows)
    axes.set_yscale("log")
    low, high = axes.get_ylim()
    axes.set_ylim(low / 3, 8 * high)  # room for the names of the phases
    axes.yaxis.set_minor_formatter(NullFormatter())
    axes.grid(axis="y")
    axes.set_axisbelow(True)
    axes.set_xlim(0.5, len(rows) + 0.5)
    axes.set_xlabel("epoch, over all phases")
    axes.set_ylabel("convergence: mean w (1 − w), logarithmic")
    _count_on_x(axes)


def _draw_outcomes(panels, rows, note):
    """Accuracy, loss, and, if there is a third panel, the silent images; training and validation in each."""
    names = " and ".join(dict.fromkeys(row["phase"] for row in rows))
    epochs = np.arange(1, len(rows) + 1)
    validated = any(row["val_accuracy"] is not None for row in rows)
    parts = ("accuracy", BLUE, ""), ("loss", ORANGE, f": wrong decisions{note}"), ("silent", INK, ": no decision")
    for axes, (part, color, meaning) in zip(panels, parts, strict=False):
        axes.set_title(f"{part}{meaning}")
        marker = "o" if len(rows) <= 30 else None
        pale = 0.5 + 0.5 * np.array(to_rgb(color))
        looks = {"marker": marker, "markersize": 6, "markerfacecolor": "white"}
        axes.plot(epochs, _percent(rows, f"train_{part}"), color=pale, lw=1.5, label="training", **looks)
        if validated:
            looks = {"marker": marker, "markersize": 3.5}
            axes.plot(epochs, _percent(rows, f"val_{part}"), color=color, lw=1.5, label="validation", **looks)
        axes.set_ylabel("% of the images")
        axes.tick_params(labelbottom=axes is panels[-1])
    accuracy, loss, *_ = panels
    accuracy.set_title(f"{_rules(rows)} phase, {names}: accuracy")
    if validated:
        _mark_best(panels, _percent(rows, "val_accuracy"))
    low, high = accuracy.get_ylim()
    if high - low < 2:  # a few epochs alike: no mountains out of tenths of a percent
        accuracy.set_ylim(low - 1, high + 1)
    _fit(loss, rows)
    panels[-1].set_xlabel(f"{_rules(rows)} epoch")
    accuracy.set_xlim(min(0.5, 1 - 0.01 * len(rows)), len(rows) + max(0.5, 0.01 * len(rows)))
    for axes in panels:
        axes.grid(axis="y")
        axes.set_axisbelow(True)
        axes.legend(loc="center left", bbox_to_anchor=(1.01, 0.5))
        _mark_phases(axes, rows)
        _count_on_x(axes)


def _fit(axes, rows):
    """A logarithmic axis where the loss falls to less than a third and never to 0, else a linear one."""
    values = np.concatenate([_percent(rows, "train_loss"), _percent(rows, "val_loss")])
    low, high = np.nanmin(values), np.nanmax(values)
    if 0 < 3 * low < high:
        axes.set_yscale("log")
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axes.yaxis.set_minor_formatter(NullFormatter())
        axes.set_ylim(0.85 * low, 1.18 * high)
        axes.set_ylabel("%, logarithmic")
    elif high - low < 2:
        axes.set_ylim(max(0, low - 1), high + 1)


def _mark_best(panels, accuracies):
    """The first epoch with the highest validation accuracy."""
    best = int(np.nanargmax(accuracies))
    for axes in panels:
        axes.axvline(best + 1, color=GREY, lw=1, ls="--", zorder=0)
    panels[0].plot(
        best + 1, accuracies[best], "*", color=YELLOW, markeredgecolor=INK, markersize=13, ls="none",
        label=f"best epoch: {best + 1},\n{accuracies[best]:.2f} % right",
    )  # fmt: skip


def _rules(rows):
    names = dict.fromkeys(row["rule"] for row in rows)
    return " and ".join({"stdp": "STDP", "rstdp": "R-STDP"}.get(name, name) for name in names)


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
    """One-vs-rest ROC curves of the classes, and their upper left corner larger, if it is less than the whole.

    ``curves``: what ``metrics.roc_curves`` returns; each is the polygon through its points.
    """
    columns = math.ceil(len(curves) / 15)
    longest = max(map(len, class_names))
    side = _corner([curve for curve in curves if curve is not None])
    panels = 1 if side == 100 else 2
    figure = new_figure(0.2 + 4.7 * panels + columns * (0.9 + 0.09 * longest), 4.8, title)
    whole, *corner = figure.subplots(1, panels, squeeze=False)[0]
    legend = corner[0] if corner else whole
    for position, (curve, name) in enumerate(zip(curves, class_names, strict=True)):
        if curve is None:
            legend.plot([], [], color=PALE, label=f"{name}: no images")
            continue
        color, dash = PALETTE[position % len(PALETTE)], DASHES[position // len(PALETTE) % len(DASHES)]
        for axes in (whole, *corner):
            axes.plot(100 * curve[0], 100 * curve[1], color=color, ls=dash, lw=1.6, label=f"{name}: {curve[2]:.4f}")
    for axes in (whole, *corner):
        axes.plot([0, 100], [0, 100], color=GREY, lw=1, ls=":", label="chance: 0.5")
        axes.grid()
        axes.set_xlabel("false positives, % of the other classes' images")
    whole.set_title("each class against the rest")
    whole.set_xlim(0, 100)
    whole.set_ylim(0, 101)
    whole.set_ylabel("true positives, % of the class's images")
    for axes in corner:
        axes.set_title(f"the upper left {side} %")
        axes.set_xlim(0, side)
        axes.set_ylim(100 - side, 100 + side / 100)
    legend.legend(title="class: area under curve", loc="center left", bbox_to_anchor=(1.01, 0.5), ncols=columns)
    return figure


def _corner(curves):
    """Side in percent of the square corner in which every curve comes closest to no errors."""
    farthest = max((np.maximum(x, 1 - y).min() for x, y, _ in curves), default=0.5)
    return next(side for side in (1, 2, 5, 10, 20, 50, 100) if side >= min(100, 150 * farthest))


@styled
def draw_spike_times(histograms, title):
    """When the neurons of each stage fire.

    Args:
        histograms: stage → number of neurons that fired at each time step, and as the last how many never did, (T+1,).
    """
    columns = min(len(histograms), 4)
    rows = math.ceil(len(histograms) / columns)
    figure = new_figure(2.9 * columns + 0.3, 2.4 * rows, title)
    grid = figure.subplots(rows, columns, squeeze=False).ravel()
    for axes, (stage, counts) in zip(grid, histograms.items(), strict=False):
        counts = np.asarray(counts, float)
        shares = 100 * counts / max(1.0, counts.sum())
        axes.bar(np.arange(len(counts) - 1), shares[:-1], width=0.85, color=BLUE)
        axes.set_title(f"{stage}: {shares[-1]:.1f} % silent", weight="bold")
        axes.yaxis.set_major_locator(MaxNLocator(4))
        axes.set_xlim(-0.6, len(counts) - 1.4)
        axes.set_ylim(0, 1.1 * max(shares[:-1].max(), 1e-3))
        _count_on_x(axes)
    for axes in grid[len(histograms) :]:
        axes.set_axis_off()
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
    figure = new_figure(cell * (classes + 1.5) + 2.2 + 0.05 * longest, cell * classes + 1.1 + 0.05 * longest, title)
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
def draw_filters(weight, title, polarity=None, scales=("3×3", "7×7", "13×13")):
    """The filters of the first convolution: for each feature a strip of pictures, one for each scale of its input.

    Args:
        weight: (F, C, k, k) of values from 0 to 1, tensor or array.
        polarity: of the C input channels: 1 on-centre, -1 off-centre, 0 neither (None: on and off in turn, as S1C1). An
            on-centre channel and the off-centre one after it are one scale, any other channel is one by itself.
        scales: names of the scales, numbered if they are not as many.
    """
    weight = _array(weight)
    features, channels, k, _ = weight.shape
    polarity = alternating(channels) if polarity is None else polarity
    groups = input_scales(polarity)
    zoom = math.ceil(TILE / k)
    strips = np.full((features, k * zoom, len(groups) * (k * zoom + 2) - 2, 3), 0.6)
    for scale, members in enumerate(groups):
        left = scale * (k * zoom + 2)
        amounts = {polarity[channel]: weight[:, channel] for channel in members}
        strips[:, :, left : left + k * zoom] = _enlarged(_mixed(amounts), zoom)
    columns = min(features, max(1, round(math.sqrt(2 * features / len(groups)))))
    gap = 16
    mosaic = _mosaic(strips, columns, gap, 1.0)
    width = max(7, columns * (0.5 * len(groups) + 0.15))
    figure = new_figure(width, width * (mosaic.shape[0] + gap) / mosaic.shape[1] + 0.7, title)
    axes = figure.add_subplot()
    axes.imshow(mosaic, interpolation="nearest")
    height, width = strips.shape[1] + gap, strips.shape[2] + gap
    _frame_tiles(axes, strips.shape[1:3], range(features), columns, gap)
    for feature in range(features):
        row, column = divmod(feature, columns)
        axes.text(column * width, row * height - 2, str(feature), fontsize=6, va="bottom", color=GREY)
    axes.set_ylim(mosaic.shape[0], -gap)
    _hide(axes)
    names = list(scales) if len(scales) == len(groups) else [str(scale + 1) for scale in range(len(groups))]
    axes.set_title(f"{features} features; in each, from the left, the scales {', '.join(names)}")
    _explain(figure, polarity, {1: "on-centre synapse strong", -1: "off-centre synapse strong", 0: "synapse strong"})
    return figure


def input_scales(polarity):
    """The channels of each scale: [on, off] where they follow each other, else one alone."""
    groups = []
    for channel, sign in enumerate(polarity):
        if sign == -1 and groups and len(groups[-1]) == 1 and polarity[channel - 1] == 1:
            groups[-1].append(channel)
        else:
            groups.append([channel])
    return groups


@styled
def draw_features(features, title):
    """Preferred features in image space, on one grey scale: light where a neuron wants light, dark where dark.

    ``features``: (F, h, w), of ``features.preferred_features``; margins in which no feature has anything are cut off.
    """
    features = np.asarray(features, np.float32)
    count, height, width = features.shape
    shown = features[(slice(None), *_content(np.abs(features).max(0, initial=0)))]
    columns = max(1, math.ceil(math.sqrt(1.5 * count)))
    cell = max(0.32, min(0.9, 14 / columns))
    high = cell * shown.shape[1] / shown.shape[2]
    figure = new_figure(max(7, columns * cell + 0.3), math.ceil(count / columns) * high + 0.5, title)
    axes = figure.add_subplot()
    tiles = _enlarged(shown, math.ceil(TILE / max(shown.shape[1:])))
    gap = max(2, tiles.shape[2] // 20)
    # the few strongest neurons would leave all others grey on grey: a quarter of them reach black or white
    limit = np.quantile(np.abs(shown).max((1, 2)), 0.75) or 1
    grey = np.clip((_mosaic(tiles, columns, gap) / limit + 1) / 2, 0, 1)
    axes.imshow(colormaps["gray"](grey, bytes=True), interpolation="nearest")  # numbers would take it twice the memory
    _frame_tiles(axes, tiles.shape[1:], range(count), columns, gap)
    _hide(axes)
    axes.set_title(
        f"{count} features of {height}×{width} pixels; light: wants light, dark: wants dark, grey: no matter",
        fontsize=9,
    )
    return figure


def _content(strength):
    """Slices of the rows and columns of a map (h, w) that hold more than 4 % of its maximum, with a pixel around."""
    slices = []
    for axis in (1, 0):
        filled = np.flatnonzero(strength.max(axis) > 0.04 * strength.max())
        start, stop = (filled[0], filled[-1] + 1) if len(filled) else (0, strength.shape[1 - axis])
        slices.append(slice(max(0, start - 1), stop + 1))
    return slices


@styled
def draw_wave(latency, steps, title, polarity=None):
    """The spike wave of one image: for each time step all spikes so far, on-centre orange, off-centre blue.

    Args:
        latency: (C, H, W) uint8, ``steps`` for silence.
        steps: of them at most 16 are shown, evenly chosen.
        polarity: of the channels, as in ``draw_filters``.
    """
    latency = _array(latency)
    polarity = np.asarray(alternating(len(latency)) if polarity is None else polarity)
    shown = np.unique(np.linspace(0, steps - 1, min(steps, 16)).round().astype(int))
    spiked = latency[None] <= shown[:, None, None, None]  # (T, C, H, W)
    pictures = _mixed({sign: spiked[:, polarity == sign].mean(1) for sign in np.unique(polarity).tolist()})
    columns = 4 if len(shown) in (4, 7, 8, 11, 12, 16) else min(len(shown), 5)
    rows = math.ceil(len(shown) / columns)
    figure = new_figure(1.5 * columns + 0.3, 1.7 * rows + 0.6, title)
    grid = figure.subplots(rows, columns, squeeze=False).ravel()
    for axes, step, picture in zip(grid, shown, pictures, strict=False):
        axes.imshow(picture, interpolation="nearest")
        axes.set_title(f"time step {step}", fontsize=9)
        _hide(axes)
        axes.spines[:].set(visible=True, color=PALE)
    for axes in grid[len(shown) :]:
        axes.set_axis_off()
    _explain(figure, polarity, {1: "on-centre cell has spiked", -1: "off-centre cell", 0: "input has spiked"})
    return figure


@styled
def draw_errors(images, indices, labels, predictions, class_names, title, total=None):
    """Images that were not decided right: true class → decision, and which image of the set it is.

    Args:
        images: uint8 (N, H, W) or (N, H, W, 3); indices: in their set; labels, predictions: N classes, -1: silent.
        total: errors there are, if these are not all.
    """
    shown, total = len(images), len(images) if total is None else total
    columns = max(1, min(10, shown))
    rows = max(1, math.ceil(shown / columns))
    longest = max(
        len(_decided(label, said, class_names)) for label, said in zip([0, *labels], [-1, *predictions], strict=True)
    )
    across = max(1.05, 0.075 * longest)
    figure = new_figure(max(5, columns * across), rows * 1.35 + 0.5, title)
    figure.get_layout_engine().set(h_pad=0.05)
    grid = figure.subplots(rows, columns, squeeze=False).ravel()
    for axes in grid:
        axes.set_axis_off()
    for axes, image, index, label, decided in zip(grid, images, indices, labels, predictions, strict=False):
        axes.imshow(image, cmap="gray_r", vmin=0, vmax=255)
        color = GREY if decided == SILENT else INK
        axes.set_title(_decided(label, decided, class_names), fontsize=10, color=color, loc="center", pad=3)
        axes.text(
            0.5, -0.03, f"image {index}", transform=axes.transAxes, ha="center", va="top", fontsize=6.5, color=GREY
        )
    some = f"{shown} of {total:,} errors" if shown < total else f"{total} error{'s' * (total != 1)}"
    figure.supxlabel(f"{some if total else 'no errors'}: true class → decision", fontsize=9.5)
    return figure


@styled
def draw_moved(images, title):
    """Training images and their moved copies, a row for each image.

    images: uint8 (N, 1 + copies, H, W) or (N, 1 + copies, H, W, 3), the plain image first.
    """
    images = np.asarray(images)
    pictures = images if images.ndim == 5 else np.repeat(images[..., None], 3, -1)
    figure = new_figure(0.75 * pictures.shape[1] + 0.2, 0.75 * len(pictures) + 0.3, title)
    axes = figure.add_subplot()
    mosaic = _mosaic(pictures.reshape(-1, *pictures.shape[2:]), pictures.shape[1], 2, 96).astype(np.uint8)
    axes.imshow(mosaic, interpolation="nearest")
    axes.set_axis_off()
    axes.set_title("each image as it is, and its first copies", fontsize=9)
    return figure


def _decided(label, decided, class_names):
    return f"{class_names[int(label)]} → {'silent' if decided == SILENT else class_names[int(decided)]}"


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


def _mixed(amounts):
    """RGB (…, 3) of amounts from 0 to 1 by polarity: white where none, its colour where one alone, dark where both."""
    colours = {1: ON, -1: OFF, 0: NEITHER}
    return np.clip(
        1 - sum(amount[..., None] * (1 - np.array(to_rgb(colours[s]))) for s, amount in amounts.items()), 0, 1
    )


def _explain(figure, polarity, words):
    """A legend of the colours that there can be."""
    here = [sign for sign in (1, -1, 0) if sign in list(polarity)]
    entries = [(words[sign], {sign: np.ones(())}) for sign in here]
    if {1, -1} <= set(here):
        entries.append(("both", {1: np.ones(()), -1: np.ones(())}))
    entries.append(("none", {here[0]: np.zeros(())}))
    handles = [Patch(facecolor=_mixed(amounts), edgecolor=GREY, label=name) for name, amounts in entries]
    figure.legend(handles=handles, loc="outside lower center", ncols=len(handles), fontsize=8, columnspacing=1.4)


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
