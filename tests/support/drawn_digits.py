"""Digits drawn from strokes of varied slant, width, size and shape, in nine styles: pen, photograph, huge, …"""

import numpy as np
from PIL import Image, ImageDraw

# Strokes of each digit through points (x, y) of a box of width 60 and height 100, y downwards; "o": a closed stroke.
STROKES = [
    "o 30,0 8,20 2,55 15,93 32,100 52,82 58,45 50,12",
    "12,20 32,0 / 32,0 31,50 30,100",
    "4,22 14,4 34,0 54,12 54,34 36,62 4,100 / 4,100 30,97 60,100",
    "6,10 28,0 50,10 50,32 24,46 / 24,46 50,54 58,76 42,96 18,100 2,88",
    "20,0 12,30 2,58 / 2,58 30,60 60,56 / 46,12 44,50 40,100",
    "54,1 32,2 12,4 / 12,4 9,22 7,42 / 7,42 30,36 52,48 56,74 38,96 16,100 2,92",
    "44,0 20,20 5,50 6,80 20,98 42,98 55,80 50,60 32,52 14,60 6,74",
    "2,4 30,3 58,2 / 58,2 40,42 24,100",
    "46,10 28,0 12,10 14,28 32,44 50,64 50,88 30,100 10,90 8,68 28,46 46,28 47,12",
    "52,20 38,2 16,6 6,26 14,46 34,48 50,34 53,16 / 53,16 50,50 40,100",
]
LINE_POINTS = 24  # points of a line between two points of a stroke
Color = tuple[int, int, int]


def interpolate(points: np.ndarray, is_closed: bool) -> np.ndarray:
    """Return a smooth line, float (n, 2), through the points of a stroke: a Catmull-Rom spline."""
    if is_closed:
        line = np.vstack([points[-1], points, points[:2]])
    else:
        line = np.vstack([2 * points[0] - points[1], points, 2 * points[-1] - points[-2]])
    t = np.linspace(0, 1, LINE_POINTS)[:, None]
    pieces = []
    for a, b, c, d in zip(line, line[1:], line[2:], line[3:], strict=False):
        linear = (c - a) * t
        square = (2 * a - 5 * b + 4 * c - d) * t**2
        cubic = (3 * b - a - 3 * c + d) * t**3
        pieces.append(b + 0.5 * (linear + square + cubic))
    return np.vstack(pieces)


def read_strokes(digit: int) -> list[np.ndarray]:
    """Return the lines of a digit, each float (n, 2), in a box of width 0.6 and height 1."""
    lines = []
    for stroke in STROKES[digit].split(" / "):
        pairs = [point.split(",") for point in stroke.removeprefix("o ").split()]
        lines.append(interpolate(np.array(pairs, float) / 100, stroke.startswith("o")))
    return lines


def ink(
    digit: int,
    rng: np.random.Generator,
    columns: int,
    rows: int,
    height: float,
    width: float,
    middle: tuple[float, float] = (0.5, 0.5),
) -> np.ndarray:
    """Draw a digit's ink, float (rows, columns) from 0 to 1: ``height`` pixels tall, strokes ``width`` pixels wide.

    ``middle``: the digit's centre, as fractions of columns and rows.
    """
    slant = rng.uniform(-0.1, 0.3)
    aspect = rng.uniform(0.85, 1.2)
    turn = np.radians(rng.uniform(-6, 6))
    rotation = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    amplitude = rng.uniform(0, 0.03, 2)
    phase = rng.uniform(0, 2 * np.pi, 2)
    fine = max(1, 800 // max(columns, rows))  # drawn larger, for grey edges
    canvas = Image.new("L", (columns * fine, rows * fine))
    draw = ImageDraw.Draw(canvas)
    radius = width * fine / 2
    for line in read_strokes(digit):
        bent = line + amplitude * np.sin(4 * line[:, ::-1] + phase)  # strokes that touch each other still do
        x, y = ((bent - [0.3, 0.5]) * [aspect, 1]).T
        turned = np.column_stack([x - slant * y, y]) @ rotation.T
        pixels = [tuple(pixel) for pixel in (turned * height + np.array(middle) * [columns, rows]) * fine]
        draw.line(pixels, fill=255, width=max(1, round(2 * radius)))
        for x, y in pixels:
            draw.ellipse([x - radius, y - radius, x + radius, y + radius], fill=255)
    return np.asarray(canvas.resize((columns, rows), Image.Resampling.BOX)) / 255


def make_picture(values: np.ndarray) -> Image.Image:
    """Return the picture of the values from 0 to 255, (H, W), (H, W, 3) or (H, W, 4)."""
    return Image.fromarray(values.clip(0, 255).round().astype(np.uint8))


def paint(strength: np.ndarray, ground: Color, pen: Color) -> Image.Image:
    """Return ink of the colour ``pen`` on the colour ``ground``."""
    change = np.subtract(pen, ground, dtype=float)
    return make_picture(ground + strength[..., None] * change)


def white_on_black(digit: int, rng: np.random.Generator) -> Image.Image:
    return make_picture(255 * ink(digit, rng, 200, 200, rng.uniform(110, 160), rng.uniform(10, 22)))


def black_on_white(digit: int, rng: np.random.Generator) -> Image.Image:
    return make_picture(255 - 255 * ink(digit, rng, 160, 160, rng.uniform(80, 130), rng.uniform(8, 16)))


def pen(digit: int, rng: np.random.Generator) -> Image.Image:
    return paint(ink(digit, rng, 400, 300, rng.uniform(150, 230), rng.uniform(5, 9)), (244, 240, 228), (28, 40, 120))


def rgba(digit: int, rng: np.random.Generator) -> Image.Image:
    opacity = ink(digit, rng, 128, 128, rng.uniform(70, 110), rng.uniform(7, 13))
    colour = np.full((128, 128, 3), rng.choice([20, 235]))
    return make_picture(np.dstack([colour, 255 * opacity]))


def huge(digit: int, rng: np.random.Generator) -> Image.Image:
    strength = ink(digit, rng, 3000, 2250, rng.uniform(1100, 1800), rng.uniform(90, 200))
    return paint(strength, (250, 250, 250), (30, 30, 30))


def tight_crop(digit: int, rng: np.random.Generator) -> Image.Image:
    strength = ink(digit, rng, 200, 200, rng.uniform(110, 140), rng.uniform(11, 18))
    rows = np.flatnonzero(strength.any(1))
    columns = np.flatnonzero(strength.any(0))
    return make_picture(255 - 235 * strength[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1])


def grey_photograph(digit: int, rng: np.random.Generator) -> Image.Image:
    strength = ink(digit, rng, 300, 300, rng.uniform(130, 200), rng.uniform(13, 22))
    y, x = np.mgrid[0:1:300j, 0:1:300j]
    angle = rng.uniform(0, 2 * np.pi)
    light = 150 + 60 * ((x - 0.5) * np.cos(angle) + (y - 0.5) * np.sin(angle))
    return make_picture(light - 60 * strength + rng.normal(0, 8, light.shape))


def small_off_centre(digit: int, rng: np.random.Generator) -> Image.Image:
    middle = rng.uniform(0.12, 0.88, 2)
    return make_picture(250 - 220 * ink(digit, rng, 640, 480, rng.uniform(45, 75), rng.uniform(4, 8), middle))


def eight_by_eight(digit: int, rng: np.random.Generator) -> Image.Image:
    return make_picture(255 * ink(digit, rng, 8, 8, rng.uniform(6.2, 7), rng.uniform(1, 1.4)))


STYLES = (
    white_on_black, black_on_white, pen, rgba, huge, tight_crop, grey_photograph, small_off_centre, eight_by_eight
)  # fmt: skip
