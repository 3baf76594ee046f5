"""The figures of weights and spikes, which are made of small pictures."""

import math
from collections.abc import Sequence

import numpy as np
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from report.figures import BLUE, GREY, ORANGE, PALE, create_figure, create_panels, use_style
from report.map_pictures import enlarge, make_mosaic

POLARITY_COLORS = {1: ORANGE, -1: BLUE, 0: "#505050"}  # on-centre, off-centre, and inputs that are neither
TILE = 48  # pixels of a small picture in a grid, at least
LEGEND = "light: responds to light, dark: to dark, grey: to neither"
NUMBERED = 60  # tiles of a grid, at most, that all have a number


@use_style()
def draw_filters(weight: np.ndarray, title: str, polarity: Sequence[int], scales: Sequence[str]) -> Figure:
    """Draw the filters of the first convolution: for each feature a strip of pictures, one for each scale of the input.

    Args:
        weight: (F, C, k, k), from 0 to 1.
        polarity: of the C input channels: 1 on-centre, -1 off-centre, 0 neither. An on-centre channel and the
            off-centre channel after it form a scale; any other channel is a separate scale.
        scales: names of the scales. If their number does not fit, the scales are numbered.
    """
    features, _, k, _ = weight.shape
    gap = 16
    groups = group_scales(polarity)
    pictures = []
    for channels in groups:
        tiles = _mix({polarity[channel]: weight[:, channel] for channel in channels})
        tiles = enlarge(tiles, math.ceil(TILE / k))
        pictures.append(np.pad(tiles, [(0, 0), (1, 1), (1, 1), (0, 0)], constant_values=0.5))  # a frame
    strips = np.concatenate(pictures, 2)
    columns = round(math.sqrt(2 * features / len(groups)))
    columns = min(features, max(1, columns))
    if len(scales) != len(groups):
        scales = [str(number) for number in range(1, len(groups) + 1)]
    caption = f"{features} features; in each, from the left, the scales {', '.join(scales)}"
    figure = _draw_tiles(strips, columns, gap, 0.5 * len(groups) + 0.15, title, caption)
    words = {1: "on synapse strong", -1: "off synapse strong", 0: "synapse strong"}
    _add_legend(figure, polarity, words, "both strong")
    return figure


def group_scales(polarity: Sequence[int]) -> list[list[int]]:
    """Return the channels of each scale: [on, off] if they follow each other, otherwise a single channel."""
    groups = []
    for channel, sign in enumerate(polarity):
        if sign == -1 and groups and len(groups[-1]) == 1 and polarity[channel - 1] == 1:
            groups[-1].append(channel)
        else:
            groups.append([channel])
    return groups


@use_style()
def draw_features(features: np.ndarray, title: str, legend: str = LEGEND) -> Figure:
    """Draw preferred features in image space: light where a neuron prefers light, dark where it prefers dark.

    features: (F, h, w) or (F, h, w, 3) from ``preferred.compute_preferred_features``. Empty margins are cut off.
    """
    count, height, width = features.shape[:3]
    strength = np.abs(features).reshape(count, height, width, -1).max((0, 3), initial=0)
    vertical, horizontal = _find_content(strength)
    shown = features[:, vertical, horizontal]
    columns = max(1, math.ceil(math.sqrt(1.5 * count)))
    cell = max(0.32, min(0.9, 14 / columns))
    # a quarter of the neurons reach black or white: scaled to the few strongest, all others would be grey
    peaks = np.abs(shown).reshape(count, -1).max(1)
    limit = np.quantile(peaks, 0.75) or 1
    levels = ((shown / limit + 1) * 127.5).clip(0, 255)
    tiles = enlarge(levels.astype(np.uint8), math.ceil(TILE / max(shown.shape[1:3])))
    frame = [(0, 0), (1, 1), (1, 1), (0, 0)][: tiles.ndim]
    tiles = np.pad(tiles, frame, constant_values=128)  # white must not touch white
    gap = math.ceil(0.13 / cell * tiles.shape[2])  # as high as the numbers
    caption = f"{count} features of {height}×{width} pixels; {legend}"
    return _draw_tiles(tiles / 255, columns, gap, cell, title, caption)


def _find_content(strength):
    """Return slices of the rows and columns of a map (h, w) with values above 4 % of its maximum, plus one pixel."""
    slices = []
    for axis in (1, 0):
        filled = np.flatnonzero(strength.max(axis) > 0.04 * strength.max())
        if len(filled):
            slices.append(slice(max(0, filled[0] - 1), filled[-1] + 2))
        else:
            slices.append(slice(None))
    return slices


@use_style()
def draw_wave(latency: np.ndarray, steps: int, title: str, polarity: Sequence[int]) -> Figure:
    """Draw the spike wave of an image: at each time step all spikes so far, on-centre orange, off-centre blue.

    Args:
        latency: uint8 (C, H, W); ``steps`` for silence.
        steps: number of time steps. At most 15 of them are drawn, at equal distances.
        polarity: of the channels, as in ``draw_filters``.
    """
    polarity = np.asarray(polarity)
    shown = np.linspace(0, steps - 1, min(steps, 15)).round()
    shown = np.unique(shown.astype(int))
    spiked = latency[None] <= shown[:, None, None, None]  # (T, C, H, W)
    signs = np.unique(polarity).tolist()
    pictures = _mix({sign: spiked[:, polarity == sign].mean(1) for sign in signs})
    figure, grid = create_panels(len(shown), min(len(shown), 5), 1.5, 1.7, title)
    for axes, step, picture in zip(grid, shown, pictures, strict=True):
        axes.imshow(picture, interpolation="nearest")
        axes.set_title(f"time step {step}", fontsize=9)
        _hide_axes(axes)
        axes.spines[:].set(visible=True, color=PALE)
    words = {1: "on cell has spiked", -1: "off cell has spiked", 0: "input has spiked"}
    _add_legend(figure, polarity, words, "both", "none; paler: at some of the scales")
    return figure


@use_style()
def draw_copies(images: np.ndarray, title: str) -> Figure:
    """Draw training images and their moved copies, a row for each image.

    images: uint8 (N, 1 + copies, H, W) or (N, 1 + copies, H, W, 3), the plain image first.
    """
    tiles = images.reshape(-1, *images.shape[2:]) / 255
    columns = images.shape[1]
    return _draw_tiles(tiles, columns, 2, 0.75, title, "each training image and its first copies", is_numbered=False)


def _draw_tiles(tiles, columns, gap, width, title, caption, is_numbered=True):
    """Draw tiles (N, H, W) or (N, H, W, 3) from 0 to 1 in a grid, each ``width`` inches wide, with their numbers.

    In a large grid, only the first tile of each row has a number, beside it.
    """
    mosaic = make_mosaic(tiles, columns, gap, 1.0)
    room = gap if is_numbered else 0  # above the first row
    total = max(7, columns * width + 0.3)  # inches
    figure = create_figure(total, total * (len(mosaic) + room) / mosaic.shape[1] + 0.7, title)
    axes = figure.add_subplot()
    axes.imshow(mosaic, cmap="gray", vmin=0, vmax=1, interpolation="nearest")
    axes.set_ylim(len(mosaic), -room)
    _hide_axes(axes)
    axes.set_title(caption, fontsize=9)
    height, width = (size + gap for size in tiles.shape[1:3])
    style = {"color": GREY, "clip_on": False}
    for number in range(len(tiles) if is_numbered else 0):
        row, column = divmod(number, columns)
        if len(tiles) <= NUMBERED:
            axes.text(column * width, row * height - 2, str(number), fontsize=6, va="bottom", **style)
        elif column == 0:
            middle = (row + 0.4) * height
            axes.text(-0.1 * width, middle, str(number), fontsize=10, ha="right", va="center", **style)
    return figure


def _mix(amounts):
    """Mix the colours of amounts from 0 to 1, by polarity, to RGB (…, 3): white for none, dark for both."""
    ink = 0
    for sign, amount in amounts.items():
        color = np.array(to_rgb(POLARITY_COLORS[sign]))
        ink = ink + amount[..., None] * (1 - color)
    return np.clip(1 - ink, 0, 1)


def _add_legend(figure, polarity, words, both, none="none"):
    """Draw a legend of the colours of the polarities that occur, and of their mixtures."""
    names = {(sign,): words[sign] for sign in (1, -1, 0) if sign in list(polarity)}
    if {(1,), (-1,)} <= names.keys():
        names[1, -1] = both
    handles = []
    for signs, name in {**names, (): none}.items():
        amounts = {sign: np.array(sign in signs) for sign in words}
        handles.append(Patch(facecolor=_mix(amounts), edgecolor=GREY, label=name))
    figure.legend(handles=handles, loc="outside lower center", ncols=len(handles), fontsize=8, columnspacing=1.4)


def _hide_axes(axes):
    axes.set_anchor("W")  # aligned with its title
    axes.set(xticks=[], yticks=[])
    axes.spines[:].set_visible(False)
