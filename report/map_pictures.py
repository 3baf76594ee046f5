"""Pictures of activation maps. They are drawn with numpy and Pillow, because matplotlib takes ten times as long."""

import math
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import numpy as np
from matplotlib import colormaps, get_data_path
from PIL import Image, ImageDraw, ImageFont

WIDTH = 960  # largest width of a row of tiles, in pixels
HEIGHT = 800  # largest height of all rows of tiles …
LOWEST = 40  # … unless a row would be lower than this
MARGIN = 14  # pixels around the picture
TOP = 80  # pixels above the first row
GAP = 3  # pixels between tiles
WHITE = 255, 255, 255
INK = 34, 34, 34
SILENCE = 228, 231, 234
LEVELS = 100  # colours of a colour map
SHADES = 32  # of the texts
CONTRAST = 3  # power of the potentials' colours: the highest few percent decide


def draw_maps(maps: np.ndarray, steps: int, title: str, parts: Sequence = (...,)) -> Image.Image:
    """Draw first-spike maps: early spikes dark, late spikes yellow, silence grey.

    Args:
        maps: uint8 (F, H, W), time steps; ``steps`` for silence.
        parts: the parts of the maps that contain neurons, (features, rows, columns), from
            ``activation_maps.find_neurons``. The padding around them is white.
    """
    levels = np.arange(steps) * (LEVELS - 1) // max(1, steps - 1)
    level_of_time = np.append(levels, LEVELS)
    shown = np.full_like(maps, LEVELS + 1)
    for part in parts:
        shown[part] = level_of_time[maps[part]]
    count, height, width = maps.shape
    silent = 100 * (shown == LEVELS).sum() / (shown <= LEVELS).sum()
    legend = f"time steps 0 to {steps - 1}; grey: silent, {silent:.1f} % of {count} maps of {height}×{width} neurons"
    columns = math.ceil(math.sqrt(1.4 * count * height / width))
    rows = [f"feature {first}" for first in range(0, count, columns)]
    colors = np.vstack([make_color_table("plasma", LEVELS, 0.95), SILENCE])
    return _draw_sheet(shown, columns, colors, rows, title, legend, ("0", f"{steps - 1}"))


def draw_decision(potentials: np.ndarray, classes: np.ndarray, class_names: Sequence[str], title: str) -> Image.Image:
    """Draw the potentials of a decision stage at the last time step, a row of neurons for each class.

    The neuron with the highest potential is orange.

    Args:
        potentials: float32 (F, H, W).
        classes: the class of each feature, int (F,), in ascending order, and equally many of each.
    """
    low = potentials.min()
    peaks = potentials.max((1, 2))
    high = peaks.max()
    strength = (potentials - low) / max(high - low, 1e-12)
    levels = (strength**CONTRAST * (LEVELS - 1)).astype(np.uint8)
    if high > 0:
        levels[peaks.argmax()] += LEVELS  # the second colour map
    colors = np.vstack([make_color_table(name, LEVELS) for name in ("Blues", "Oranges")])
    columns = np.bincount(classes).max()
    legend = f"potentials at the last time step, {low:.1f} to {high:.1f}; orange: the highest of all"
    return _draw_sheet(levels, columns, colors, class_names, title, legend, (f"{low:.1f}", f"{high:.1f}"))


def _draw_sheet(
    tiles: np.ndarray,
    columns: int,
    colors: np.ndarray,
    rows: Sequence[str],
    title: str,
    legend: str,
    ends: tuple[str, str],
) -> Image.Image:
    """Draw tiles as a mosaic, below the title, the legend and a scale of the first ``LEVELS`` colours.

    Args:
        tiles: uint8 (N, H, W), the index of a colour; the number of colours is white.
        colors: (colours, 3) from 0 to 255.
        rows: names of the rows of tiles.
        ends: the numbers at the two ends of the scale.
    """
    _, height, width = tiles.shape
    zoom = min((WIDTH // columns - GAP) // width, max(LOWEST, HEIGHT // len(rows)) // height)
    tiles = enlarge(tiles, max(1, zoom))
    mosaic = make_mosaic(tiles, columns, GAP, len(colors))
    font = load_font(12)
    title_font = load_font(15, "-Bold")
    left = MARGIN + 8 + math.ceil(max(map(font.getlength, (*rows, ends[0]))))
    right = left + mosaic.shape[1]
    scale = np.arange(LEVELS).repeat(2)
    scale_end = left + len(scale)
    text_width = max(title_font.getlength(title), font.getlength(legend))
    end_width = 8 + math.ceil(font.getlength(ends[1]))
    width = MARGIN + max(right, scale_end + end_width, MARGIN + math.ceil(text_width))
    height = TOP + len(mosaic) + MARGIN
    sheet = np.full((height, width), len(colors), np.uint8)
    sheet[TOP:-MARGIN, left:right] = mosaic
    sheet[58:70, left:scale_end] = scale
    texts = Image.new("L", (width, height))
    brush = ImageDraw.Draw(texts)
    brush.text((MARGIN, 10), title, 255, title_font)
    brush.text((MARGIN, 33), legend, 255, font)
    brush.text((left - 8, 64), ends[0], 255, font, "rm")
    brush.text((scale_end + 8, 64), ends[1], 255, font, "lm")
    for number, name in enumerate(rows):
        middle = TOP + (number + 0.5) * (tiles.shape[1] + GAP)
        brush.text((left - 8, middle), name, 255, font, "rm")
    sheet += np.asarray(texts) // (256 // SHADES)  # texts are on white ground
    picture = Image.fromarray(sheet)
    shades = np.linspace(WHITE, INK, SHADES)
    palette = np.vstack([colors, shades]).round()
    picture.putpalette(palette.astype(np.uint8).tobytes())
    return picture


def enlarge(tiles: np.ndarray, zoom: int) -> np.ndarray:
    """Enlarge each pixel of tiles (N, H, W, …) to a square of zoom × zoom pixels."""
    return tiles.repeat(zoom, 1).repeat(zoom, 2)


def make_mosaic(tiles: np.ndarray, columns: int, gap: int, ground: float) -> np.ndarray:
    """Arrange tiles (N, H, W, …) in a grid with this number of columns and gaps of ``gap`` pixels of ``ground``."""
    rows = max(1, math.ceil(len(tiles) / columns))
    margins = [(0, rows * columns - len(tiles)), (0, gap), (0, gap), *[(0, 0)] * (tiles.ndim - 3)]
    tiles = np.pad(tiles, margins, constant_values=ground)
    _, height, width, *rest = tiles.shape
    mosaic = tiles.reshape(rows, columns, height, width, *rest).swapaxes(1, 2)
    mosaic = mosaic.reshape(rows * height, columns * width, *rest)
    return mosaic[: len(mosaic) - gap, : mosaic.shape[1] - gap]


@cache
def make_color_table(name: str, count: int, last: float = 1.0) -> np.ndarray:
    """Return ``count`` colours of a matplotlib colour map, from 0 to ``last`` (at most 1), uint8 (count, 3)."""
    return colormaps[name](np.linspace(0, last, count), bytes=True)[:, :3]


@cache
def load_font(size: int, style: str = "") -> ImageFont.FreeTypeFont:
    """Load matplotlib's font, which contains the characters of many languages."""
    path = Path(get_data_path(), f"fonts/ttf/DejaVuSans{style}.ttf")
    return ImageFont.truetype(str(path), size)
