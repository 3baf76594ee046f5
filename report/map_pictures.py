"""Pictures of activation maps. They are drawn with numpy and Pillow, because matplotlib takes ten times as long."""

import math
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import numpy as np
from matplotlib import colormaps, get_data_path
from PIL import Image, ImageDraw, ImageFont

WIDTH = 960  # approximate width of a row of tiles, in pixels
MARGIN, TOP, GAP = 14, 60, 3  # pixels: around the picture, above the first row, between tiles
WHITE, INK, SILENCE = (255, 255, 255), (34, 34, 34), (228, 231, 234)
LEVELS, SHADES = 100, 32  # colours of a colour map, and shades of the texts
CONTRAST = 3  # power of the potentials' colours: the highest few percent decide


def draw_maps(maps: np.ndarray, steps: int, title: str, parts: Sequence = (...,)) -> Image.Image:
    """Draw first-spike maps: early spikes dark, late spikes yellow, silence grey.

    Args:
        maps: uint8 (F, H, W), time steps; ``steps`` for silence.
        parts: the parts of the maps that contain neurons, (features, rows, columns), from
            ``activation_maps.find_neurons``. Each part is drawn separately.
    """
    blocks, times = [maps[part] for part in parts], np.arange(steps)
    level_of_time = np.append(times * (LEVELS - 1) // max(1, steps - 1), LEVELS).astype(np.uint8)
    colors = np.vstack([make_color_table("plasma", LEVELS, 0.95), SILENCE])
    scale = level_of_time[None, :-1].repeat(12, 0).repeat(max(1, 240 // steps), 1)
    scale = np.pad(scale, [(5, 5), (0, 0)], constant_values=len(colors))
    rows, first = [("step 0", scale, f"{steps - 1}")], 0
    for block in blocks:
        count, height, width = block.shape
        columns = math.ceil(math.sqrt(1.4 * count * height / width))
        zoom = max(1, min((WIDTH // columns - GAP) // width, 300 // max(height, width)))
        for start in range(0, count, columns):
            tiles = level_of_time[block[start : start + columns]]
            size = f"{height}×{width}" if len(blocks) > 1 and start == 0 else ""
            name = f"feature {first + start}"
            rows.append((name, make_mosaic(enlarge(tiles, zoom), columns, GAP, len(colors)), size))
        first += count
    silent = np.mean(np.concatenate([block.ravel() for block in blocks]) >= steps)
    sizes = ", ".join(dict.fromkeys(f"{block.shape[1]}×{block.shape[2]}" for block in blocks))
    about = f"{len(maps)} maps of {sizes} neurons; grey: silent, {100 * silent:.1f} %"
    return draw_rows(rows, colors, title, about)


def draw_decision(potentials: dict, classes: np.ndarray, class_names, title: str) -> Image.Image:
    """Draw the potentials of a decision stage at the last time step, a row of neurons for each class.

    The neuron with the highest potential of a branch is orange.

    Args:
        potentials: {key: float32 (F, H, W)}, one for each branch. The end of the key is its name: "potentials_3x3".
        classes: the class of each feature of a branch, int (F,).
    """
    colors = np.vstack([make_color_table(name, LEVELS) for name in ("Blues", "Oranges")])
    rows, columns = [], np.bincount(classes).max()
    for key, values in potentials.items():
        low, peaks = values.min(), values.max((1, 2))
        strength = (values - low) / max(peaks.max() - low, 1e-12)
        levels = (strength**CONTRAST * (LEVELS - 1)).astype(np.uint8)
        if peaks.max() > 0:
            levels[peaks.argmax()] += LEVELS  # the second colour map
        zoom = max(1, min(40 // max(values.shape[1:]), (WIDTH // columns - GAP) // values.shape[2]))
        if len(potentials) > 1:
            branch = key.removeprefix("potentials_").replace("x", "×")
            rows.append((branch, np.full((20, 1), len(colors), np.uint8), ""))
        for number, name in enumerate(class_names):
            own = classes == number
            highest = f"{peaks[own].max():.1f}" if own.any() else ""
            rows.append((str(name), make_mosaic(enlarge(levels[own], zoom), columns, GAP, len(colors)), highest))
    about = "potentials at the last time step, a row of neurons for each class, and its highest potential"
    return draw_rows(rows, colors, title, f"{about}; orange: the highest of all")


def draw_rows(rows: list[tuple[str, np.ndarray, str]], colors: np.ndarray, title: str, about: str) -> Image.Image:
    """Draw rows below each other, with a text before and after each.

    Args:
        rows: (text before, uint8 (H, W), text after). A pixel is the index of a colour; the number of colours is white.
        colors: (N, 3) from 0 to 255.
        title, about: the texts above the rows.
    """
    title_font, font = load_font(15, "-Bold"), load_font(12)
    before, after = (max(int(font.getlength(row[side])) for row in rows) for side in (0, 2))
    left = MARGIN + before + 8
    width = left + max(pixels.shape[1] for _, pixels, _ in rows) + 8 + after
    width = MARGIN + max(width, *(MARGIN + int(f.getlength(text)) for f, text in ((title_font, title), (font, about))))
    height = TOP + sum(len(pixels) + GAP for _, pixels, _ in rows) + MARGIN
    sheet, ink = np.full((height, width), len(colors), np.uint8), Image.new("L", (width, height))
    brush, top = ImageDraw.Draw(ink), TOP
    brush.text((MARGIN, 10), title, 255, title_font)
    brush.text((MARGIN, 33), about, 255, font)
    for text_before, pixels, text_after in rows:
        right, middle = left + pixels.shape[1], top + len(pixels) // 2
        sheet[top : top + len(pixels), left:right] = pixels
        brush.text((left - 8, middle), text_before, 255, font, "rm")
        brush.text((right + 8, middle), text_after, 255, font, "lm")
        top += len(pixels) + GAP
    shades = np.linspace(WHITE, INK, SHADES)
    sheet += np.asarray(ink) // (256 // SHADES)  # texts are on white ground
    picture = Image.fromarray(sheet)
    picture.putpalette(np.vstack([colors, shades]).round().astype(np.uint8).tobytes())
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
    return mosaic.reshape(rows * height, columns * width, *rest)[: rows * height - gap, : columns * width - gap]


@cache
def make_color_table(name: str, count: int, last: float = 1.0) -> np.ndarray:
    """Return ``count`` colours of a matplotlib colour map, from 0 to ``last`` (at most 1), uint8 (count, 3)."""
    return colormaps[name](np.linspace(0, last, count), bytes=True)[:, :3]


@cache
def load_font(size: int, style: str = "") -> ImageFont.FreeTypeFont:
    """Load matplotlib's font, which contains the characters of many languages."""
    return ImageFont.truetype(str(Path(get_data_path(), f"fonts/ttf/DejaVuSans{style}.ttf")), size)
