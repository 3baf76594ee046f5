"""Make the README's animation of a decision: ``python -m images.race [IMAGE]``, the number of a test image of MNIST.

All stages are at the same time step. The potentials of all classes grow together, so what is drawn is the lead over
their median.
"""

import io
import sys
from pathlib import Path

from training.trained import load_network  # isort: skip  before torch

import numpy as np
from matplotlib import colormaps
from matplotlib.figure import Figure
from PIL import Image

from engine.stages import INPUT
from imagesets import load
from report.colors import GREY, INK, ORANGE
from report.figures import use_style
from utils import ROOT

PATH = Path(__file__).with_name("race.gif")
CHECKPOINT = ROOT / "results" / "checkpoints" / "mozafari2018.safetensors"
IMAGE = 322  # a 9, of which a 7 leads until time step 5
COLORS = 48  # of the palette, which keep the file small
MILLISECONDS, LAST = 700, 3000  # of a frame, and of the last


@use_style()
def main(number: int = IMAGE) -> None:
    network = load_network(CHECKPOINT)
    model, data = network.model, load("mnist")
    image, label = data.test_images[number], data.test_labels[number]
    latencies = network.encoder.encode(image[None])
    names = [INPUT, *(name for name, stage in model.declaration.items() if stage.convs and stage.fires)]
    maps = dict(model.walk(latencies, names))
    steps = model.time_steps
    leads = []  # of the classes, after each time step
    for step in range(steps):
        _, scores = model.decide(latencies.where(latencies <= step, steps))
        leads.append((scores[0] - scores[0].median()).numpy())
    limits = 1.1 * np.min(leads), 1.1 * np.max(leads)
    frames = []
    for step, lead in enumerate(leads):
        figure = Figure(figsize=(11, 3.4), dpi=80, layout="constrained")
        first, *middle, last = figure.subplots(1, len(names) + 2, width_ratios=[1] * (len(names) + 1) + [1.4])
        first.imshow(image, cmap="gray")
        first.set_title(f"a {network.class_names[label]}", fontsize=13)
        for axes, name in zip(middle, names, strict=True):
            earliest = maps[name][0].amin(0).numpy()  # of all features at a place
            shown = colormaps["plasma"](earliest / (steps - 1))
            shown[earliest > step] = 0.92, 0.93, 0.94, 1
            axes.imshow(shown)
            axes.set_title(f"{name}: {int((maps[name] <= step).sum()):,} spikes", fontsize=13)
        for axes in (first, *middle):
            axes.set_axis_off()
        leader = int(lead.argmax()) if lead.any() else -1
        colors = [ORANGE if name == leader else GREY for name in range(len(lead))]
        last.barh(network.class_names, lead, color=colors)
        last.axvline(0, color=INK, lw=1)
        last.set(ylim=(len(lead) - 0.4, -0.6), xlim=limits, xlabel="potential above the median")
        last.set_title(f"{model.decision}: {'silent' if leader < 0 else network.class_names[leader]}", fontsize=13)
        figure.suptitle(f"time step {step} of 0 to {steps - 1}; violet: early spikes, yellow: late", fontsize=13)
        buffer = io.BytesIO()
        figure.savefig(buffer, format="png")
        frames.append(Image.open(buffer).convert("RGB").quantize(COLORS))
    durations = [MILLISECONDS] * (steps - 1) + [LAST]
    frames[0].save(PATH, save_all=True, append_images=frames[1:], duration=durations, loop=0, optimize=True)


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
