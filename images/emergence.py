"""Make the README's animated picture of the features of s1 while they emerge: ``python -m images.emergence``.

The network is mozafari2018, seed 0, on 4,000 training images of MNIST; a frame is drawn every 100 images.
"""

from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from imagesets import load
from models import build_model
from network_trainer import LatencyDataset
from report.colors import INK
from report.emergence import SHOWN_FEATURES, compute_emergence, copy_features
from report.sheets import MARGIN, load_font, make_mosaic, shade

PATH = Path(__file__).with_name("emergence.gif")
IMAGES = 4000
EVERY = 100  # images between two frames
COLUMNS = 10
ZOOM = 12  # pixels of a weight
LEVELS = 30  # grey levels but for black, which keep the file small
TOP = 38  # pixels above the features
MILLISECONDS, LAST = 120, 3000  # of a frame, and of the last


def main() -> None:
    model = build_model("mozafari2018")
    data = load("mnist")
    latencies = model.encoder.encode(data.train_images[:IMAGES])
    s1 = model.stages["s1"]
    moments = {0: copy_features(s1)}
    for step in model.steps(LatencyDataset(latencies, data.train_labels[:IMAGES]), None, (1, 0, 0), batch_size=EVERY):
        if step.kind == "batch":
            moments[step.done] = copy_features(s1)
    images, features = compute_emergence(model, {"s1": moments}, model.encoder)["s1"]
    tiles = shade(np.concatenate(features), SHOWN_FEATURES)
    tiles = ((tiles / 255 * LEVELS).round() / LEVELS * 255).astype(np.uint8).repeat(ZOOM, 1).repeat(ZOOM, 2)
    frames = []
    for count, shown in zip(images, np.split(tiles, len(features)), strict=False):  # the last moment is the end
        mosaic = make_mosaic(shown, COLUMNS)
        frame = Image.new("L", (mosaic.width + 2 * MARGIN, mosaic.height + TOP + MARGIN), "white")
        frame.paste(mosaic, (MARGIN, TOP))
        brush = ImageDraw.Draw(frame)
        brush.text((MARGIN, 10), "30 features of s1, by STDP", INK, load_font(15, "-Bold"))
        brush.text((frame.width - MARGIN, 10), f"{count:,} images", INK, load_font(15), "ra")
        frames.append(frame)
    durations = [MILLISECONDS] * (len(frames) - 1) + [LAST]
    frames[0].save(PATH, save_all=True, append_images=frames[1:], duration=durations, loop=0)


if __name__ == "__main__":
    main()
