"""Pictures of activation maps. They are drawn with numpy and Pillow, because matplotlib takes ten times as long."""

import math
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import numpy as np
from matplotlib import colormaps, get_data_path
from PIL import Image, ImageDraw, ImageFont

WIDTH = 960  # approximate width of a row of tiles, in pixels
MARGIN = 14  # pixels around the picture
TOP = 60  # pixels above the first row
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
            ``activation_maps.find_neurons``. Each part is drawn separately.
    """
    blocks = [maps[part] for part in parts]
    levels = np.arange(steps) * (LEVELS - 1) // max(1, steps - 1)
    level_of_time = np.append(levels, LEVELS).astype(np.uint8)
    colors = np.vstack([make_color_table("plasma", LEVELS, 0.95), SILENCE])
    scale = level_of_time[None, :-1].repeat(12, 0)
    scale = scale.repeat(max(1, 240 // steps), 1)
    scale = np.pad(scale, [(5, 5), (0, 0)], constant_values=len(colors))
    rows = [("step 0", scale, f"{steps - 1}")]
    first = 0
    for block in blocks:
        count, height, width = block.shape
        size = f"{height}×{width}" if len(blocks) > 1 else ""
        columns = math.ceil(math.sqrt(1.4 * count * height / width))
        zoom = min((WIDTH // columns - GAP) // width, 300 // max(height, width))
        for start in range(0, count, columns):
            tiles = enlarge(level_of_time[block[start : start + columns]], max(1, zoom))
            mosaic = make_mosaic(tiles, columns, GAP, len(colors))
            rows.append((f"feature {first + start}", mosaic, size))
            size = ""  # only in the first row of a block
        first += count
    times = np.concatenate([block.ravel() for block in blocks])
    silent = np.mean(times >= steps)
    sizes = ", ".join(dict.fromkeys(f"{block.shape[1]}×{block.shape[2]}" for block in blocks))
    description = f"{len(maps)} maps of {sizes} neurons; grey: silent, {100 * silent:.1f} %"
    return draw_rows(rows, colors, title, description)


def draw_decision(potentials: dict, classes: np.ndarray, class_names, title: str) -> Image.Image:
    """Draw the potentials of a decision stage at the last time step, a row of neurons for each class.

    The neuron with the highest potential of a branch is orange.

    Args:
        potentials: {key: float32 (F, H, W)}, one for each branch. The end of the key is its name: "potentials_3x3".
        classes: the class of each feature of a branch, int (F,).
    """
    colors = np.vstack([make_color_table(name, LEVELS) for name in ("Blues", "Oranges")])
    rows = []
    columns = np.bincount(classes).max()
    for key, values in potentials.items():
        low = values.min()
        peaks = values.max((1, 2))
        strength = (values - low) / max(peaks.max() - low, 1e-12)
        levels = (strength**CONTRAST * (LEVELS - 1)).astype(np.uint8)
        if peaks.max() > 0:
            levels[peaks.argmax()] += LEVELS  # the second colour map
        zoom = min(40 // max(values.shape[1:]), (WIDTH // columns - GAP) // values.shape[2])
        tiles = enlarge(levels, max(1, zoom))
        if len(potentials) > 1:
            branch = key.removeprefix("potentials_").replace("x", "×")
            blank = np.full((20, 1), len(colors), np.uint8)
            rows.append((branch, blank, ""))
        for number, name in enumerate(class_names):
            of_class = classes == number
            highest = f"{peaks[of_class].max():.1f}" if of_class.any() else ""
            mosaic = make_mosaic(tiles[of_class], columns, GAP, len(colors))
            rows.append((str(name), mosaic, highest))
    description = "potentials at the last time step, a row of neurons for each class, and its highest potential"
    return draw_rows(rows, colors, title, f"{description}; orange: the highest of all")


def draw_rows(rows: list[tuple[str, np.ndarray, str]], colors: np.ndarray, title: str, description: str) -> Image.Image:
    """Draw rows below each other, with a text before and after each.

    Args:
        rows: (text before, uint8 (H, W), text after). A pixel is the index of a colour; the number of colours is white.
        colors: (N, 3) from 0 to 255.
        title, description: the texts above the rows.
    """
    title_font = load_font(15, "-Bold")
    font = load_font(12)
    texts_before, pictures, texts_after = zip(*rows, strict=True)
    left = MARGIN + _measure_texts(font, texts_before) + 8
    width_of_pictures = max(pixels.shape[1] for pixels in pictures)
    width_of_rows = left + width_of_pictures + 8 + _measure_texts(font, texts_after)
    width_of_texts = max(_measure_texts(title_font, [title]), _measure_texts(font, [description]))
    width = MARGIN + max(width_of_rows, MARGIN + width_of_texts)
    height = TOP + sum(len(pixels) + GAP for pixels in pictures) + MARGIN
    sheet = np.full((height, width), len(colors), np.uint8)
    ink = Image.new("L", (width, height))
    brush = ImageDraw.Draw(ink)
    brush.text((MARGIN, 10), title, 255, title_font)
    brush.text((MARGIN, 33), description, 255, font)
    top = TOP
    for text_before, pixels, text_after in rows:
        right = left + pixels.shape[1]
        bottom = top + len(pixels)
        middle = top + len(pixels) // 2
        sheet[top:bottom, left:right] = pixels
        brush.text((left - 8, middle), text_before, 255, font, "rm")
        brush.text((right + 8, middle), text_after, 255, font, "lm")
        top = bottom + GAP
    shades = np.linspace(WHITE, INK, SHADES)
    sheet += np.asarray(ink) // (256 // SHADES)  # texts are on white ground
    picture = Image.fromarray(sheet)
    palette = np.vstack([colors, shades]).round().astype(np.uint8)
    picture.putpalette(palette.tobytes())
    return picture


def _measure_texts(font, texts):
    """Return the width of the longest text in pixels."""
    return max(int(font.getlength(text)) for text in texts)


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
