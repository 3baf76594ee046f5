"""Sheets: small pictures of features or maps in a grid, drawn by Pillow: matplotlib takes ten times as long."""

import math
from collections.abc import Sequence
from functools import cache

import numpy as np
from matplotlib import colormaps, get_data_path
from matplotlib.colors import to_rgb
from PIL import Image, ImageDraw, ImageFont, ImageOps

from engine.encoder import Encoder
from imagesets.splits import choose_evenly
from report.channels import group_scales, name_scales
from report.colors import INK, POLARITY_COLORS

SHEET_WIDTH = 960  # largest width of a row of tiles, in pixels
HEIGHT = 800  # largest height of all rows of tiles …
MIN_ROW_HEIGHT = 40  # … unless a row would be lower than this
MARGIN = 14  # pixels around the sheet
LINE = 20  # pixels from a line of text to the next
SMALLEST = 25  # smallest width of a tile in which a feature emerges
GAP = 3  # pixels between tiles …
GROUP_GAP = 14  # … and between groups of tiles
GROUND = 200, 205, 210  # between tiles, and where a map has no neurons
PAPER = 255, 255, 255
SILENCE = 234, 236, 239
POTENTIAL_COLORS = 100  # colours of potentials
CONTRAST = 3  # power of the potentials' colours: the highest few percent decide
NEAREST = Image.Resampling.NEAREST
FAINT = 0.5  # of the largest value that is possible: features that reach it nowhere are not drawn black and white
SHOWN_FILTERS = 100  # features of a sheet of filters: more would be too small to read

Key = Sequence[tuple[np.ndarray, str]]  # colours, uint8 (n, 3), and what they mean


def draw_sheet(
    tiles: np.ndarray,
    columns: int,
    title: str,
    caption: str,
    rows: Sequence[str] = (),
    key: Key = (),
    group: int = 1,
) -> Image.Image:
    """Draw tiles in a grid, below a title, a caption and a key of colours.

    Args:
        tiles: uint8 (N, H, W, 3) or, in grey, (N, H, W, 1).
        columns: number of tiles in a row, or of groups of tiles.
        title: the name of the sheet and, below it, lines about it.
        rows: names of the rows of tiles; none: the numbers of their first tiles.
        key: what colours mean.
        group: number of tiles side by side that belong together.
    """
    rows = rows or [f"feature {first}" for first in range(0, len(tiles) // group, columns)]
    mosaic = arrange(tiles, columns, group, len(rows))
    name, *lines = *title.split("\n"), caption
    font = load_font(12)
    name_font = load_font(15, "-Bold")
    strips = []
    right = MARGIN  # of the key
    for colors, text in key:
        pixels = max(2, min(8, 200 // len(colors)))  # of a colour: those of time steps can be told apart
        strip = Image.fromarray(colors[None]).resize((max(12, pixels * len(colors)), 12), NEAREST)
        strips.append((right, strip, text))
        right += strip.width + 22 + math.ceil(font.getlength(text))

    top = MARGIN + 8 + LINE * (1 + len(lines))  # of the key
    bottom = top + LINE * bool(key)
    left = MARGIN + 8 + math.ceil(max(map(font.getlength, rows)))  # of the tiles
    text_width = math.ceil(max(name_font.getlength(name), *map(font.getlength, lines)))
    width = MARGIN + max(left + mosaic.width, right, MARGIN + text_width)
    sheet = Image.new("RGB", (width, bottom + mosaic.height + MARGIN), PAPER)

    brush = ImageDraw.Draw(sheet)
    brush.text((MARGIN, MARGIN), name, INK, name_font)
    for number, line in enumerate(lines, start=1):
        brush.text((MARGIN, MARGIN + 4 + LINE * number), line, INK, font)
    for x, strip, text in strips:
        end = x + strip.width
        brush.rectangle((x - 1, top - 1, end, top + strip.height), outline=GROUND)
        sheet.paste(strip, (x, top))
        brush.text((end + 6, top + 6), text, INK, font, "lm")
    for number, row in enumerate(rows):
        middle = bottom + (number + 0.5) * mosaic.height / len(rows)
        brush.text((left - 8, middle), row, INK, font, "rm")
    sheet.paste(mosaic, (left, bottom))
    return sheet


def arrange(tiles: np.ndarray, columns: int, group: int, rows: int) -> Image.Image:
    """Enlarge tiles as far as the largest sheet allows, and arrange them.

    Arguments are those of ``draw_sheet``. rows: their number.
    """
    _, height, width, _ = tiles.shape
    gap = GROUP_GAP if group > 1 else 0
    room = (SHEET_WIDTH // columns - gap) // group - GAP
    row_height = max(MIN_ROW_HEIGHT, HEIGHT // rows)
    zoom = max(1, min(room // width, row_height // height))
    tiles = tiles.repeat(zoom, 1).repeat(zoom, 2)
    if group == 1:
        return make_mosaic(tiles, columns)
    groups = [np.asarray(make_mosaic(each, group)) for each in np.split(tiles, len(tiles) // group)]
    return make_mosaic(np.stack(groups), columns, gap, PAPER)


def make_mosaic(tiles: np.ndarray, columns: int, gap: int = GAP, ground: tuple[int, int, int] = GROUND) -> Image.Image:
    """Arrange tiles uint8 (N, H, W, 3 or 1) in a grid with this number of columns. Each has a frame of the ground."""
    count, height, width, _ = tiles.shape
    size = columns * (width + gap) + gap, math.ceil(count / columns) * (height + gap) + gap
    mosaic = Image.new("RGB", size, PAPER)
    for number, tile in enumerate(np.broadcast_to(tiles, (count, height, width, 3))):
        row, column = divmod(number, columns)
        framed = ImageOps.expand(Image.fromarray(tile), gap, ground)
        mosaic.paste(framed, (column * (width + gap), row * (height + gap)))
    return mosaic


@cache
def make_color_table(name: str, count: int, first: float = 0, last: float = 1) -> np.ndarray:
    """Return ``count`` colours of a matplotlib colour map, from ``first`` to ``last``, uint8 (count, 3)."""
    return colormaps[name](np.linspace(first, last, count), bytes=True)[:, :3]


@cache
def load_font(size: int, style: str = "") -> ImageFont.FreeTypeFont:
    """Load matplotlib's font, which contains the characters of many languages."""
    return ImageFont.truetype(f"{get_data_path()}/fonts/ttf/DejaVuSans{style}.ttf", size)


def draw_maps(maps: np.ndarray, steps: int, title: str, parts: Sequence, names: Sequence[str]) -> Image.Image:
    """Draw first-spike maps: early spikes dark, late spikes yellow, silence grey.

    Args:
        maps: uint8 (F, H, W), time steps; ``steps`` for silence.
        parts: the parts of the maps that contain neurons, (features, rows, columns), from
            ``activation_maps.find_neurons``.
        names: of the maps; none: they are numbered.
    """
    colors = np.vstack([make_color_table("plasma", steps, 0, 0.95), SILENCE, GROUND]).astype(np.uint8)
    shown = np.full_like(maps, steps + 1)
    for part in parts:
        shown[part] = maps[part]
    count, height, width = maps.shape
    silent = 100 * (shown == steps).sum() / (shown <= steps).sum()
    columns = math.ceil(math.sqrt(1.4 * count * height / width))
    if names:
        columns = min(count, 2)  # on and off side by side
    rows = [", ".join(names[first : first + columns]) for first in range(0, len(names), columns)]
    key = [(colors[:steps], f"time steps 0 to {steps - 1}"), (colors[[steps]], f"silent: {silent:.1f} %")]
    return draw_sheet(colors[shown], columns, title, f"{count} maps of {height}×{width} neurons", rows, key)


def draw_decision(potentials: np.ndarray, class_names: Sequence[str], title: str) -> Image.Image:
    """Draw the potentials of a decision stage at the last time step, a row of neurons for each class.

    The neuron with the highest potential is orange.

    potentials: float32 (F, H, W), of equally many features of each class, in the order of the classes.
    """
    low = potentials.min()
    peaks = potentials.max((1, 2))
    high = peaks.max()
    strength = (potentials - low) / max(high - low, 1e-12)
    levels = (strength**CONTRAST * (POTENTIAL_COLORS - 1)).astype(int)
    if high > 0:
        levels[peaks.argmax()] += POTENTIAL_COLORS  # the second colour map
    colors = np.vstack([make_color_table(name, POTENTIAL_COLORS) for name in ("Blues", "Oranges")])
    key = [
        (colors[:POTENTIAL_COLORS], f"{low:.1f} to {high:.1f}"),
        (colors[[-1]], "the feature with the highest of all"),
    ]
    caption = "potentials at the last time step; the colours show their third power, so that the highest stand out"
    return draw_sheet(colors[levels], len(potentials) // len(class_names), title, caption, class_names, key)


def draw_filters(weight: np.ndarray, title: str, encoder: Encoder) -> Image.Image:
    """Draw the filters of the first convolution: for each feature a strip of pictures, one for each scale of the input.

    At most the first ``SHOWN_FILTERS`` features are drawn.

    Args:
        weight: (F, C, k, k), from 0 to 1.
        encoder: of the C input channels. An on-centre channel and the off-centre channel after it form a scale; any
            other channel is a separate scale.
    """
    count = len(weight)
    weight = weight[:SHOWN_FILTERS]
    polarity = encoder.polarity
    groups = group_scales(polarity)
    amounts = ({polarity[channel]: weight[:, channel] for channel in channels} for channels in groups)
    pictures = np.stack([mix_colors(each) for each in amounts], 1)
    columns = math.ceil(math.sqrt(2 * len(weight) / len(groups)))
    key = make_key(polarity, {1: "on synapse strong", -1: "off synapse strong", 0: "synapse strong"}, "both strong")
    caption = f"in each, from the left, the weights of the inputs {', '.join(name_scales(encoder))}"
    if count > SHOWN_FILTERS:
        caption = f"the first {SHOWN_FILTERS} of {count} features; {caption}"
    tiles = pictures.reshape(-1, *weight.shape[2:], 3)
    return draw_sheet(tiles, columns, title, caption, key=key, group=len(groups))


def draw_features(features: np.ndarray, title: str, legend: str) -> Image.Image:
    """Draw preferred features in image space: light where a neuron prefers light, dark where it prefers dark.

    features: (F, h, w) or (F, h, w, 3) from ``preferred.compute_preferred_features``. Empty margins are cut off.
    legend: from ``channels.describe_features``.
    """
    count, height, width = features.shape[:3]
    columns = math.ceil(math.sqrt(1.5 * count))
    return draw_sheet(shade(features, count), columns, title, f"{count} features of {height}×{width} pixels; {legend}")


def draw_emergence(features: np.ndarray, moments: Sequence[int], title: str, legend: str) -> Image.Image:
    """Draw how preferred features emerge: a row for each moment, and below them the features at the end.

    features: (moments + 1, F, h, w) or (…, 3), from ``emergence.compute_emergence``. moments: images seen.
    """
    count, height, width = features.shape[1:4]
    zoom = math.ceil(SMALLEST / width)
    columns = min(count, SHEET_WIDTH // (zoom * width + GAP))
    shown = np.concatenate(features[:, :columns])
    rows = [*(f"{images:,} images" for images in moments), "at the end"]
    caption = f"a column for each of {columns} features of {height}×{width} pixels; {legend}"
    return draw_sheet(shade(shown, columns), columns, title, caption, rows)


def shade(features: np.ndarray, last: int) -> np.ndarray:
    """Return tiles uint8 (F, H, W, 1 or 3) of preferred features (F, h, w) or (F, h, w, 3), without empty margins.

    last: the number of features at the end that define the margins and what is black and white.
    """
    count, height, width = features.shape[:3]
    pictures = features.reshape(count, height, width, -1)
    strength = np.abs(pictures[-last:]).max((0, 3))
    shown = pictures[:, find_content(strength.max(1)), find_content(strength.max(0))]
    # a quarter of the neurons reach black or white: scaled to the few strongest, all others would be grey
    limit = max(FAINT, np.quantile(np.abs(shown[-last:]).max((1, 2, 3)), 0.75))
    return ((shown / limit + 1) * 127.5).clip(0, 255).astype(np.uint8)


def find_content(strength: np.ndarray) -> slice:
    """Return the part of a line with values of at least 4 % of its maximum, plus one pixel at both ends."""
    filled = np.flatnonzero(strength >= 0.04 * strength.max())
    return slice(max(0, filled[0] - 1), filled[-1] + 2)


def draw_wave(latency: np.ndarray, title: str, encoder: Encoder) -> Image.Image:
    """Draw the spike wave of an image: at each time step all spikes so far, on-centre blue, off-centre orange.

    At most 15 time steps are drawn, at equal distances.

    latency: uint8 (C, H, W), of the encoder.
    """
    signs = np.asarray(encoder.polarity)
    shown = choose_evenly(encoder.time_steps, 15)
    spiked = latency[None] <= shown[:, None, None, None]  # (T, C, H, W)
    pictures = mix_colors({sign: spiked[:, signs == sign].mean(1) for sign in np.unique(signs)})
    words = {1: "on cell has spiked", -1: "off cell has spiked", 0: "input has spiked"}
    rows = [f"from time step {step}" for step in shown[::5]]
    caption = "all spikes so far; paler: at some of the scales"
    return draw_sheet(pictures, min(5, len(shown)), title, caption, rows, make_key(encoder.polarity, words, "both"))


def draw_copies(images: np.ndarray, title: str) -> Image.Image:
    """Draw training images and their moved copies, a row for each image.

    images: uint8 (N, 1 + copies, H, W) or (N, 1 + copies, H, W, 3), the plain image first.
    """
    count, columns, height, width = images.shape[:4]
    tiles = images.reshape(count * columns, height, width, -1)
    rows = [f"image {number}" for number in range(1, 1 + count)]
    return draw_sheet(tiles, columns, title, "each training image and its first copies", rows)


def mix_colors(amounts: dict[int, np.ndarray]) -> np.ndarray:
    """Mix the colours of amounts from 0 to 1, by polarity, to uint8 (…, 3): white for none, dark for both."""
    ink = 0
    for sign, amount in amounts.items():
        color = np.array(to_rgb(POLARITY_COLORS[sign]))
        ink = ink + amount[..., None] * (1 - color)
    return (255 * np.clip(1 - ink, 0, 1)).round().astype(np.uint8)


def make_key(polarity: Sequence[int], words: dict[int, str], both: str) -> Key:
    """Return a key of the colours of the polarities that occur, of on and off together, and of none."""
    names: dict[tuple[int, ...], str] = {(sign,): word for sign, word in words.items() if sign in polarity}
    if {(1,), (-1,)} <= names.keys():
        names[1, -1] = both
    key = []
    for signs, name in {**names, (): "none"}.items():
        key.append((mix_colors({sign: np.array([sign in signs]) for sign in words}), name))
    return key
