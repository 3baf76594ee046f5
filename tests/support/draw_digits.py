"""Draw digits as people have them, nine ways, and read them as ``train.py --predict`` does.

    python tests/support/draw_digits.py FOLDER [--seed 0] [--read CHECKPOINT]

Each style has five digits, drawn from strokes of varied slant, width, size and shape; the nine styles together show
every digit four or five times. Files are named ``STYLE-DIGIT-NUMBER.png``. With ``--read`` a checkpoint of a network
trained on digits reads them: the number right of each style, every mistake, and what was done to the picture.
"""

import argparse
import sys
from collections import defaultdict
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

ROOT = Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(ROOT))

# Strokes through points (x, y) of a box of width 0.6 and height 1, y downwards; an "o" stroke is closed.
STROKES = {
    0: [("o", [(0.3, 0), (0.08, 0.2), (0.02, 0.55), (0.15, 0.93), (0.32, 1), (0.52, 0.82), (0.58, 0.45), (0.5, 0.12)])],
    1: [("-", [(0.12, 0.2), (0.32, 0)]), ("-", [(0.32, 0), (0.31, 0.5), (0.3, 1)])],
    2: [("-", [(0.04, 0.22), (0.14, 0.04), (0.34, 0), (0.54, 0.12), (0.54, 0.34), (0.36, 0.62), (0.04, 1)]),
        ("-", [(0.04, 1), (0.3, 0.97), (0.6, 1)])],
    3: [("-", [(0.06, 0.1), (0.28, 0), (0.5, 0.1), (0.5, 0.32), (0.24, 0.46)]),
        ("-", [(0.24, 0.46), (0.5, 0.54), (0.58, 0.76), (0.42, 0.96), (0.18, 1), (0.02, 0.88)])],
    4: [("-", [(0.2, 0), (0.12, 0.3), (0.02, 0.58)]), ("-", [(0.02, 0.58), (0.3, 0.6), (0.6, 0.56)]),
        ("-", [(0.46, 0.12), (0.44, 0.5), (0.4, 1)])],
    5: [("-", [(0.54, 0.01), (0.32, 0.02), (0.12, 0.04)]), ("-", [(0.12, 0.04), (0.09, 0.22), (0.07, 0.42)]),
        ("-", [(0.07, 0.42), (0.3, 0.36), (0.52, 0.48), (0.56, 0.74), (0.38, 0.96), (0.16, 1), (0.02, 0.92)])],
    6: [("-", [(0.44, 0), (0.2, 0.2), (0.05, 0.5), (0.06, 0.8), (0.2, 0.98), (0.42, 0.98), (0.55, 0.8), (0.5, 0.6),
               (0.32, 0.52), (0.14, 0.6), (0.06, 0.74)])],
    7: [("-", [(0.02, 0.04), (0.3, 0.03), (0.58, 0.02)]), ("-", [(0.58, 0.02), (0.4, 0.42), (0.24, 1)])],
    8: [("-", [(0.46, 0.1), (0.28, 0), (0.12, 0.1), (0.14, 0.28), (0.32, 0.44), (0.5, 0.64), (0.5, 0.88), (0.3, 1),
               (0.1, 0.9), (0.08, 0.68), (0.28, 0.46), (0.46, 0.28), (0.47, 0.12)])],
    9: [("-", [(0.52, 0.2), (0.38, 0.02), (0.16, 0.06), (0.06, 0.26), (0.14, 0.46), (0.34, 0.48), (0.5, 0.34),
               (0.53, 0.16)]), ("-", [(0.53, 0.16), (0.5, 0.5), (0.4, 1)])],
}  # fmt: skip
PER_STYLE = 5


def curve(points, closed):
    """A smooth line through the points (Catmull-Rom), as (n, 2)."""
    points = np.array(points, float)
    before, after = (points[-1], points[:2]) if closed else (2 * points[0] - points[1], [2 * points[-1] - points[-2]])
    p = np.vstack([before, points, after])
    t = np.linspace(0, 1, 24)[:, None]
    pieces = [
        b + 0.5 * ((c - a) * t + (2 * a - 5 * b + 4 * c - d) * t**2 + (3 * b - a - 3 * c + d) * t**3)
        for a, b, c, d in zip(p, p[1:], p[2:], p[3:], strict=False)
    ]
    return np.vstack(pieces)


def ink(digit, rng, columns, rows, height, width, middle=(0.5, 0.5)):
    """The digit's ink, float (rows, columns) from 0 to 1: about ``height`` pixels tall, strokes ``width`` pixels wide.

    ``middle``: of the digit, as fractions of columns and rows.
    """
    slant, aspect, turn = rng.uniform(-0.1, 0.3), rng.uniform(0.85, 1.2), np.radians(rng.uniform(-6, 6))
    rotation = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    amplitude, phase = rng.uniform(0, 0.03, 2), rng.uniform(0, 2 * np.pi, 2)
    fine = max(1, 800 // max(columns, rows))  # drawn larger, for grey edges
    canvas = Image.new("L", (columns * fine, rows * fine))
    draw = ImageDraw.Draw(canvas)
    radius = width * fine / 2
    for kind, points in STROKES[digit]:
        line = curve(points, kind == "o")
        line = line + amplitude * np.sin(4 * line[:, ::-1] + phase)  # strokes that meet still do
        line = (line - [0.3, 0.5]) * [aspect, 1]
        line = np.column_stack([line[:, 0] - slant * line[:, 1], line[:, 1]]) @ rotation.T
        pixels = [tuple(p) for p in (line * height + np.array(middle) * [columns, rows]) * fine]
        draw.line(pixels, fill=255, width=max(1, round(2 * radius)))
        for x, y in pixels:
            draw.ellipse([x - radius, y - radius, x + radius, y + radius], fill=255)
    return np.asarray(canvas.resize((columns, rows), Image.Resampling.BOX)) / 255


def grey(values):
    return Image.fromarray(values.clip(0, 255).round().astype(np.uint8))


def painted(strength, ground, pen):
    """Ink of the colour ``pen`` on the colour ``ground``."""
    strength, ground, pen = strength[..., None], np.array(ground, float), np.array(pen, float)
    return grey(ground + strength * (pen - ground))


def white_on_black(digit, rng):
    return grey(255 * ink(digit, rng, 200, 200, rng.uniform(110, 160), rng.uniform(10, 22)))


def black_on_white(digit, rng):
    return grey(255 - 255 * ink(digit, rng, 160, 160, rng.uniform(80, 130), rng.uniform(8, 16)))


def pen(digit, rng):
    return painted(ink(digit, rng, 400, 300, rng.uniform(150, 230), rng.uniform(5, 9)), (244, 240, 228), (28, 40, 120))


def rgba(digit, rng):
    opacity = ink(digit, rng, 128, 128, rng.uniform(70, 110), rng.uniform(7, 13))
    colour = np.full((128, 128, 3), rng.choice([20, 235]))
    return grey(np.dstack([colour, 255 * opacity]))


def huge(digit, rng):
    strength = ink(digit, rng, 3000, 2250, rng.uniform(1100, 1800), rng.uniform(90, 200))
    return painted(strength, (250, 250, 250), (30, 30, 30))


def tight_crop(digit, rng):
    strength = ink(digit, rng, 200, 200, rng.uniform(110, 140), rng.uniform(11, 18))
    rows, columns = np.flatnonzero(strength.any(1)), np.flatnonzero(strength.any(0))
    return grey(255 - 235 * strength[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1])


def grey_photograph(digit, rng):
    """A gradient of light over the paper, and noise."""
    strength = ink(digit, rng, 300, 300, rng.uniform(130, 200), rng.uniform(13, 22))
    y, x = np.mgrid[0:1:300j, 0:1:300j]
    angle = rng.uniform(0, 2 * np.pi)
    light = 150 + 60 * ((x - 0.5) * np.cos(angle) + (y - 0.5) * np.sin(angle))
    return grey(light - 60 * strength + rng.normal(0, 8, light.shape))


def small_off_centre(digit, rng):
    middle = rng.uniform(0.12, 0.88, 2)
    return grey(250 - 220 * ink(digit, rng, 640, 480, rng.uniform(45, 75), rng.uniform(4, 8), middle))


def eight_by_eight(digit, rng):
    return grey(255 * ink(digit, rng, 8, 8, rng.uniform(6.2, 7), rng.uniform(1, 1.4)))


STYLES = (
    white_on_black, black_on_white, pen, rgba, huge, tight_crop, grey_photograph, small_off_centre, eight_by_eight
)  # fmt: skip


def draw(folder, seed):
    """Yields the style, the digit and the file of each picture."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    for number in range(len(STYLES) * PER_STYLE):
        row, column = divmod(number, PER_STYLE)
        style, digit = STYLES[row], (2 * column + row) % 10
        path = folder / f"{style.__name__}-{digit}-{number}.png"
        style(digit, rng).save(path)
        yield style.__name__, str(digit), path


def read(pictures, checkpoint_path):
    """Prints how many of each style the network of the checkpoint reads right, and every mistake."""
    from training.checkpoint import load_checkpoint, rebuild_network
    from training.encoders import build_encoder
    from training.image_files import read_image

    content = load_checkpoint(checkpoint_path)
    model, encoder = rebuild_network(content), build_encoder(content.encoding)
    names = [*content.run["class_names"], "silent"]
    right = defaultdict(int)
    for style, digit, path in pictures:
        image, note = read_image(path, *content.run["image_size"], centred=True)
        decision = names[model.predict(encoder.encode(image[None])).item()]
        right[style] += decision == digit
        if decision != digit:
            print(f"{path}: {decision}  ({note})")
    for style in STYLES:
        print(f"{right[style.__name__]} of {PER_STYLE}  {style.__name__}")
    print(f"{sum(right.values())} of {len(pictures)} right")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="where to write the pictures")
    parser.add_argument("--seed", type=int, default=0, help="(default: 0)")
    parser.add_argument("--read", metavar="CHECKPOINT", help="read them with this network")
    args = parser.parse_args()
    pictures = list(draw(args.folder, args.seed))
    if args.read:
        read(pictures, args.read)


if __name__ == "__main__":
    main()
