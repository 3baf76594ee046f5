"""Pictures of activation maps. Drawn with numpy and Pillow, pixel by pixel: a tenth of matplotlib's time.

A picture has a palette: the colours of the values first, then shades from white to the ink of its texts.
"""

import math
from functools import cache, lru_cache
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

WIDTH = 960  # pixels across for the maps, about
COLOURS, SHADES = 128, 32  # most of each in a palette
WHITE, INK, SILENCE = (255, 255, 255), (34, 34, 34), (228, 231, 234)
MARGIN, BAR = 14, 92  # pixels around; for the colour bar
CONTRAST = 3  # power of the potentials' colours: what decides is a few percent at the upper end


def draw_maps(maps, steps, title, parts=None):
    """First-spike maps (F, H, W), uint8 time steps, ``steps`` for silence; early spikes dark, silence light grey.

    ``parts``: where there are neurons, [(features, rows, columns)] as of ``activation_maps.neurons``; each is drawn by
    itself. None: everywhere. Returns a PIL image.
    """
    blocks = [maps[part] for part in parts] if parts else [maps]
    levels = min(steps, COLOURS - 1)
    of_time = np.append(np.arange(steps) * levels // steps, levels).astype(np.uint8)  # silence is the last
    mosaics = [_mosaic(of_time[block], f"{'×'.join(map(str, block.shape[1:]))} neurons", WIDTH) for block in blocks]
    silent, neurons = sum((block >= steps).sum() for block in blocks), sum(block.size for block in blocks)
    about = f"{len(maps)} maps of {', '.join(dict.fromkeys(name for _, name, _, _ in mosaics))}; "
    about += f"{100 * silent / max(1, neurons):.1f} % of them silent"

    heights = [pixels.shape[0] + (22 if len(blocks) > 1 else 0) for pixels, *_ in mosaics]
    left = MARGIN + 30
    wide = max(pixels.shape[1] for pixels, *_ in mosaics)
    sheet = Sheet(max(sum(heights) + 10 * len(blocks), 240) + 58, wide, [*colours("plasma", levels, 0.95), SILENCE])
    sheet = sheet.widened(left + BAR, title, about)
    top, first = 58, 0
    for (pixels, name, columns, pitch), block in zip(mosaics, blocks, strict=True):
        if len(blocks) > 1:
            sheet.text(left, top, f"features {first} to {first + len(block) - 1}: {name}", 12)
            top += 22
        sheet.paste(left, top, pixels)
        for row in range(math.ceil(len(block) / columns)):
            sheet.text(left - 5, top + row * pitch + 1, str(first + row * columns), 10, "right", 0.6)
        top, first = top + pixels.shape[0] + 10, first + len(block)
    _draw_time_bar(sheet, left + wide + 18, 58, steps, of_time)
    return sheet.image()


def draw_decision(potentials, classes, class_names, title):
    """The potentials of a decision stage at the last time step: a row of neurons for each class.

    Args:
        potentials: {key: (F, H, W)}, one for each branch; the key's end names it: "potentials_3x3".
        classes: of the F features of each branch.

    The neuron with the highest potential of a branch is framed; that potential of each class stands at the row's end.
    Returns a PIL image.
    """
    names = [str(name) for name in class_names]
    left = MARGIN + max(text_width(name, 12, True) for name in names) + 10
    rows = [np.flatnonzero(classes == c) for c in range(len(names))]
    most = max(len(row) for row in rows)
    tiles = []
    for values in potentials.values():
        height, width = values.shape[1:]
        zoom = max(1, min(40 // max(height, width), (WIDTH // most - 4) // width))
        tiles.append((zoom, height * zoom + 4, width * zoom + 4))
    head = 22 if len(potentials) > 1 else 6
    heights = [head + len(rows) * pitch + 12 for _, pitch, _ in tiles]
    wide = max(most * across for *_, across in tiles) + 70
    sheet = Sheet(58 + max(sum(heights), 180), wide, colours("Blues", COLOURS, 1.0))
    sheet = sheet.widened(
        left + BAR, title, "potentials at the last time step, a row for each class; its highest beside"
    )
    top = 58
    for (key, values), (zoom, pitch, across), height in zip(potentials.items(), tiles, heights, strict=True):
        low, high = float(values.min()), float(values.max())
        level = ((COLOURS - 1) * ((values - low) / max(high - low, 1e-12)) ** CONTRAST).astype(np.uint8)
        winner = int(values.reshape(len(values), -1).max(1).argmax()) if high > 0 else -1
        if len(potentials) > 1:
            branch = key.removeprefix("potentials_").replace("x", "×")
            vote = f"votes for {names[classes[winner]]}" if winner >= 0 else "is silent"
            sheet.text(MARGIN, top, f"branch {branch} {vote}; from {low:.1f} to {high:.1f}", 12)
        for number, row in enumerate(rows):
            y = top + head + number * pitch
            sheet.text(
                left - 8,
                y + (pitch - 18) // 2,
                names[number],
                12,
                "right",
                1,
                number == classes[winner] and winner >= 0,
            )
            for column, feature in enumerate(row):
                x = left + column * across
                if feature == winner:
                    sheet.frame(x - 2, y - 2, level.shape[1] * zoom + 4, level.shape[2] * zoom + 4)
                sheet.paste(x, y, level[feature].repeat(zoom, 0).repeat(zoom, 1))
            sheet.text(
                left + most * across + 6, y + (pitch - 18) // 2, f"{values[row].max():.1f}" if len(row) else "", 11
            )
        top += height
    places = [(0.0, "highest"), (1.0, "lowest")]
    if len(potentials) == 1:
        middle = low + (high - low) * 0.5 ** (1 / CONTRAST)
        places = [(0.0, f"{high:.1f}"), (0.5, f"{middle:.1f}"), (1.0, f"{low:.1f}")]
    ramp = np.arange(COLOURS, dtype=np.uint8)[::-1]
    sheet.paste(left + wide + 18, 64, ramp[:, None].repeat(16, 1))
    for place, words in places:
        sheet.text(left + wide + 40, 64 + int(place * COLOURS) - 8, words, 11)
    return sheet.image()


class Sheet:
    """A picture of height × width pixels, white, with its palette. Positions are pixels (x, y) from the upper left."""

    def __init__(self, height, width, colours):
        self.colours = [tuple(int(c) for c in colour) for colour in colours]
        self.pixels = np.full((height, width), len(self.colours), np.uint8)

    def widened(self, more, title, about):
        """The same, with room beside and for the title, and with that."""
        height, width = self.pixels.shape
        width = max(width + more, 2 * MARGIN + text_width(title, 15, True), 2 * MARGIN + text_width(about, 12))
        sheet = Sheet(height + MARGIN, width, self.colours)
        sheet.text(MARGIN, 9, title, 15, bold=True)
        sheet.text(MARGIN, 32, about, 12)
        return sheet

    def paste(self, x, y, pixels):
        """Pixels are numbers of colours; what is over them is ground."""
        height, width = pixels.shape
        self.pixels[y : y + height, x : x + width] = np.minimum(pixels, len(self.colours))

    def frame(self, x, y, height, width):
        """A rectangle of ink."""
        self.pixels[y : y + height, x : x + width] = len(self.colours) + SHADES - 1

    def text(self, x, y, words, size, side="left", strength=1.0, bold=False):
        """From x on to the right, or (side "right") up to x; ``strength`` of the ink."""
        mask = _mask(words, size, bold)
        x = x - mask.shape[1] if side == "right" else x
        place = self.pixels[y : y + mask.shape[0], max(0, x) : x + mask.shape[1]]
        mask = mask[: place.shape[0], : place.shape[1]]
        shade = (mask * (strength * (SHADES - 1) / 255)).astype(np.uint8)
        np.copyto(place, len(self.colours) + shade, where=shade > 0)

    def image(self):
        shades = np.linspace(WHITE, INK, SHADES).round().astype(int)
        picture = Image.fromarray(self.pixels, "P")
        picture.putpalette(np.concatenate([np.array(self.colours), shades]).astype(np.uint8).tobytes())
        return picture


def _mosaic(levels, name, wide):
    """Levels (F, H, W) side by side, 255 between them: pixels, ``name``, columns, pixels from one row to the next."""
    count, height, width = levels.shape
    columns = max(1, math.ceil(math.sqrt(1.4 * count * height / width)))
    gap = 3
    zoom = max(1, min((wide // columns - gap) // width, 300 // max(height, width)))
    rows = math.ceil(count / columns)
    tiles = np.full((rows * columns, height * zoom + gap, width * zoom + gap), 255, np.uint8)
    tiles[:count, : height * zoom, : width * zoom] = levels.repeat(zoom, 1).repeat(zoom, 2)
    pitch, across = tiles.shape[1:]
    mosaic = tiles.reshape(rows, columns, pitch, across).swapaxes(1, 2).reshape(rows * pitch, columns * across)
    return mosaic[:-gap, :-gap], name, columns, pitch


def _draw_time_bar(sheet, x, y, steps, of_time):
    """The colours of the time steps, from the top, and of silence."""
    each = max(1, min(16, 160 // steps)) if steps <= 160 else 0
    height = each * steps or 160
    numbers = np.arange(height) * steps // height
    sheet.paste(x, y, of_time[numbers][:, None].repeat(16, 1))
    every = max(1, math.ceil(steps / 8))
    for step in range(0, steps, every):
        sheet.text(
            x + 22, y + (2 * step + 1) * height // (2 * steps) - 7, f"step {step}" if step == 0 else f"{step}", 11
        )
    sheet.paste(x, y + height + 10, np.full((12, 16), of_time[steps], np.uint8))
    sheet.text(x + 22, y + height + 9, "silent", 11)


def colours(name, count, last):
    from matplotlib import colormaps

    return (255 * colormaps[name](np.linspace(0, last, count))[:, :3]).round().astype(int)


@cache
def _font(size, bold):
    from matplotlib import get_data_path  # its font has the signs of many languages

    path = Path(get_data_path(), f"fonts/ttf/DejaVuSans{'-Bold' if bold else ''}.ttf")
    return ImageFont.truetype(str(path), size)  # older Pillows take no Path


@lru_cache(1000)
def _mask(words, size, bold):
    """The ink of a text, uint8 (h, w), from 0 to 255; as high for every text of a size."""
    font = _font(size, bold)
    ink = Image.new("L", (math.ceil(font.getlength(words)) + 1, math.ceil(1.3 * size)))
    ImageDraw.Draw(ink).text((0, 0), words, fill=255, font=font)
    return np.asarray(ink)


def text_width(words, size, bold=False):
    return _mask(words, size, bold).shape[1]
