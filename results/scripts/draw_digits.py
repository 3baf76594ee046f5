"""Draw digits in nine styles, and classify them as ``evaluate.py --predict`` does.

    python results/scripts/draw_digits.py FOLDER [--seed 0] [--read CHECKPOINT]

Each style has five digits, drawn from strokes of varied slant, width, size and shape; the nine styles together show
every digit four or five times. Files are named ``STYLE-DIGIT-NUMBER.png``. With ``--read`` a checkpoint of a network
trained on digits classifies them; the program prints the number of correct classes of each style, and every mistake
with the note on the picture.
"""

import argparse
import sys
from collections import defaultdict
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

ROOT = Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(ROOT))

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
PER_STYLE = 5


def curve(points, closed):
    """Return a smooth line through the points (Catmull-Rom), as (n, 2)."""
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
    """Draw a digit's ink, float (rows, columns) from 0 to 1: ``height`` pixels tall, strokes ``width`` pixels wide.

    ``middle``: the digit's centre, as fractions of columns and rows.
    """
    slant, aspect, turn = rng.uniform(-0.1, 0.3), rng.uniform(0.85, 1.2), np.radians(rng.uniform(-6, 6))
    rotation = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    amplitude, phase = rng.uniform(0, 0.03, 2), rng.uniform(0, 2 * np.pi, 2)
    fine = max(1, 800 // max(columns, rows))  # drawn larger, for grey edges
    canvas = Image.new("L", (columns * fine, rows * fine))
    draw = ImageDraw.Draw(canvas)
    radius = width * fine / 2
    for stroke in STROKES[digit].split(" / "):
        points = [[int(number) / 100 for number in point.split(",")] for point in stroke.removeprefix("o ").split()]
        line = curve(points, stroke.startswith("o"))
        line = line + amplitude * np.sin(4 * line[:, ::-1] + phase)  # strokes that touch each other still do
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
    """Put ink of the colour ``pen`` on the colour ``ground``."""
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
    """Draw the pictures; yield the style, the digit and the file of each."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    for number in range(len(STYLES) * PER_STYLE):
        row, column = divmod(number, PER_STYLE)
        style, digit = STYLES[row], (2 * column + row) % 10
        path = folder / f"{style.__name__}-{digit}-{number}.png"
        style(digit, rng).save(path)
        yield style.__name__, str(digit), path


def classify(pictures, checkpoint_path):
    """Classify the pictures with the network of a checkpoint, and print the result."""
    from training.checkpoint import load_checkpoint, rebuild_network
    from training.image_files import read_image

    content = load_checkpoint(checkpoint_path)
    model, encoder = rebuild_network(content), content.build_encoder()
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
    print(f"{sum(right.values())} of {len(pictures)} correct")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="where to write the pictures")
    parser.add_argument("--seed", type=int, default=0, help="(default: 0)")
    parser.add_argument("--read", metavar="CHECKPOINT", help="classify them with this network")
    args = parser.parse_args()
    pictures = list(draw(args.folder, args.seed))
    if args.read:
        classify(pictures, args.read)


if __name__ == "__main__":
    main()
