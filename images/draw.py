"""Draw the README's figures: ``python images/draw.py [folder]``, by default into the folder of this script.

Nothing in them is drawn by hand that the code can compute: neurons integrate and fire, weights change, digits are
encoded and networks are built by the project's own functions and with its own numbers.
"""

import sys
from functools import cache, partial
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from matplotlib import style
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import ListedColormap, to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import Circle, FancyArrowPatch, FancyBboxPatch, Rectangle
from PIL import Image

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

from encoders import choose_encoder  # noqa: E402
from engine.rules import RSTDP, STDP  # noqa: E402
from engine.stages import Branches, Pool, Vote  # noqa: E402
from imagesets import load  # noqa: E402
from models import model_class  # noqa: E402
from s1c1 import S1C1  # noqa: E402
from SpykeTorch import functional as sf  # noqa: E402
from training.trained import load_network  # noqa: E402

# From the colour-blind-safe palette of Okabe and Ito. Blue: a weight grows, or STDP; orange: it falls, or R-STDP.
BLUE, ORANGE, INK, GREY, PALE = "#0072B2", "#D55E00", "#222222", "#767676", "#E9ECEF"
PURPLE = "#8A3A6B"  # the margin rule
ROW = 1.06  # inches of a row of a network that forks
BLOCK = 1.32  # inches of the highest blocks
DPI = 150
STYLE = {
    "font.size": 11,
    "axes.titlesize": 12,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.titlepad": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "text.color": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "figure.dpi": DPI,
}
STEPS = 15
DECIDED = 1  # the test image of the figure of a decision
NUMBER = {  # of a winner
    **{"color": "white", "fontsize": 9, "fontweight": "bold", "ha": "center", "va": "center"},
    "bbox": {"fc": ORANGE, "ec": "none", "pad": 1.2},
}
FEATURE_COLOURS = "#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#8A3A6B", "#D55E00", "#B8B000"
DECIDING = "mozafari2018"
PUBLISHED = {  # the networks of a figure, and texts about networks with the same stages
    "mozafari2018": "mozafari2018_margin: the same stages; s3 learns by the margin rule",
    "kheradpisheh2018": "",
    "deep2024": "",
    "deepr2024": "s3 first learns by STDP. deepr2024_greedy: the same stages; s3 and s4 learn in turn",
    "inception2024": "",
    "majority2024": "",
}
OWN = {
    "multiscale2026": "",
    "control2026": "",
    "colour2026": "here for 32×32 pixels",
    "colour2026_counts": "here for 32×32 pixels",
}
SIDE = {"colour2026": 32, "colour2026_counts": 32}  # pixels; of the others 28
COLOURS = {"colour2026": 3, "colour2026_counts": 3}


@cache
def load_digit(index=0):
    """Load an image of MNIST's test set. Returns uint8 (28, 28) and its label."""
    mnist = load("mnist")
    return mnist.test_images[index], int(mnist.test_labels[index])


def format_signed(number):
    return f"{number:+g}".replace("-", "−")


def tint(color, strength):
    """Mix ``color`` with white. Strength 1 is the colour, 0 is white."""
    return tuple(1 - strength * (1 - channel) for channel in to_rgb(color))


def create_canvas(figure):
    """Create axes over the whole figure, without a frame, in inches."""
    width, height = figure.get_size_inches()
    ax = figure.add_axes((0, 0, 1, 1))
    ax.set(xlim=(0, width), ylim=(0, height))
    ax.axis("off")
    return ax


def draw_box(ax, x, y, width, height, text, edge=GREY, fill=0.12, **font):
    """Draw a box with its lower left corner at (x, y)."""
    rounded = "round,pad=0,rounding_size=0.07"
    ax.add_patch(FancyBboxPatch((x, y), width, height, boxstyle=rounded, ec=edge, fc=tint(edge, fill), lw=1.5))
    ax.text(x + width / 2, y + height / 2, text, ha="center", va="center", **font)


def draw_arrow(ax, start, end, color=INK, **kwargs):
    kwargs = {"arrowstyle": "-|>", "mutation_scale": 14, "lw": 1.6, "shrinkA": 0, "shrinkB": 0} | kwargs
    ax.add_patch(FancyArrowPatch(start, end, color=color, **kwargs))


def draw_picture(figure, x, y, size, image, **kwargs):
    """Draw an image of ``size`` inches with a thin frame and its lower left corner at (x, y) inches."""
    width, height = figure.get_size_inches()
    ax = figure.add_axes((x / width, y / height, size / width, size / height))
    ax.imshow(image, interpolation="nearest", **kwargs)
    ax.set(xticks=[], yticks=[])
    for spine in ax.spines.values():
        spine.set(visible=True, color=GREY, linewidth=0.8)
    return ax


def draw_snn():
    """Draw how input spikes raise the potential of a non-leaky integrate-and-fire neuron, which fires once."""
    latency = torch.tensor([4, 1, 11, 6, 3, STEPS, 8], dtype=torch.uint8)  # STEPS: silent
    weight = torch.tensor([0.8, 0.9, 0.6, 0.3, 0.5, 0.7, 0.9])
    threshold = 2.8
    wave = sf.latency_to_wave(latency.view(-1, 1, 1), STEPS)
    potential = (wave * weight.view(1, -1, 1, 1)).sum(1, keepdim=True)
    fired = int(sf.wave_to_latency(sf.fire(potential, threshold)))
    potential = potential.flatten().numpy()

    figure = Figure(figsize=(10, 6.4))
    plane = create_canvas(figure)
    inputs = figure.add_axes((0.12, 0.585, 0.56, 0.335))
    body = figure.add_axes((0.12, 0.23, 0.56, 0.315), sharex=inputs)
    output = figure.add_axes((0.12, 0.1, 0.56, 0.085), sharex=inputs)

    for row, time in enumerate(latency.tolist()):
        inputs.axhline(row, color=PALE, lw=1.2, zorder=0)
        early = time <= fired
        if time < STEPS:
            inputs.vlines(time, row - 0.36, row + 0.36, color=BLUE if early else GREY, lw=4)
        if early:
            inputs.vlines(time, row + 0.36, len(latency), color=BLUE, lw=0.9, ls=":")
            body.vlines(time, potential[time], 5.18, color=BLUE, lw=0.9, ls=":", clip_on=False)
    silent = latency.tolist().index(STEPS)
    late = int((latency * (latency < STEPS)).argmax())
    inputs.text(latency[late] + 0.3, late, "too late", color=GREY, va="center")
    inputs.text(5, silent, "silent", color=GREY, va="center", ha="center", backgroundcolor="white", fontsize=10)
    inputs.set(ylim=(len(latency) - 0.4, -0.6), xlim=(-0.5, STEPS - 0.5), yticks=range(len(latency)))
    inputs.set_yticklabels([f"input {row + 1}" for row in range(len(latency))])
    inputs.set_title("Input spikes: at most one per synapse")

    times = np.arange(-1, fired + 1)
    body.step(times, np.r_[0, potential[: fired + 1]], where="post", color=BLUE, lw=2.6)
    after = np.arange(fired, STEPS + 1)
    body.step(after, np.r_[potential[fired:], potential[-1]], where="post", color=GREY, lw=1.6, ls="--")
    body.axhline(threshold, color=ORANGE, lw=1.8)
    body.text(STEPS - 0.6, threshold - 0.1, f"threshold θ = {threshold}", color=ORANGE, ha="right", va="top")
    body.plot(fired, potential[fired], "o", color=INK, ms=8, zorder=5)
    body.text(fired + 0.35, (threshold + potential[fired]) / 2, "above θ: it fires", va="center", fontsize=10)
    body.text(fired + 0.35, 1.1, "no leak: the potential stays;\nthe neuron fires only once", va="center", color=GREY)
    body.set(ylim=(0, 4.6), yticks=range(5), ylabel="potential")

    output.axhline(0, color=PALE, lw=1.2, zorder=0)
    output.vlines(fired, -0.4, 0.4, color=INK, lw=4)
    output.set(ylim=(-0.6, 0.6), yticks=[0], yticklabels=["output"], xticks=range(STEPS), xlabel="time step")
    output.text(fired + 0.35, 0, "its only spike", va="center", backgroundcolor="white")
    body.vlines(fired, 0, potential[fired], color=INK, lw=1, ls=":")
    for ax in (inputs, body, output):
        ax.spines["left"].set_visible(ax is body)
        ax.spines["bottom"].set_visible(ax is not inputs)
        ax.tick_params(length=0 if ax is not output else 3, labelbottom=ax is output)
        ax.tick_params(axis="y", length=3 if ax is body else 0)

    # Each row of inputs continues as a synapse, whose width is its weight.
    width, height = figure.get_size_inches()
    bottom, top = 0.585 * height, 0.92 * height
    left, soma = 0.69 * width, (8.75, (bottom + top) / 2)
    for row, w in enumerate(weight.tolist()):
        y = top - (row + 0.6) / (len(latency) + 0.2) * (top - bottom)
        plane.text(left, y, f"{w:g}", ha="left", va="center")
        plane.plot([left + 0.36, soma[0]], [y, soma[1]], color=tint(BLUE, 0.55), lw=6 * w, solid_capstyle="butt")
    plane.text(left - 0.02, top + 0.04, "weights", ha="left", va="bottom")
    plane.add_patch(Circle(soma, 0.5, fc="white", ec=INK, lw=2, zorder=3))
    plane.text(*soma, "Σw > θ", ha="center", va="center", zorder=4, fontsize=13)
    foot = (0.1 + 0.085 / 2) * height
    plane.plot([soma[0]] * 2, [soma[1] - 0.5, foot], color=INK, lw=2)
    draw_arrow(plane, (soma[0], foot), (left + 0.05, foot), lw=2)
    plane.text(soma[0], soma[1] + 0.6, "neuron", ha="center", va="bottom")
    return figure


def draw_ltp():
    """Draw LTP and LTD for each order of spikes, and the change as a function of the weight."""
    rule = STDP(winners=1, radius=0)
    post = 7

    def causal(latency):
        inputs = sf.latency_to_wave(torch.tensor(latency, dtype=torch.uint8).view(-1, 1, 1), STEPS)
        winner = sf.latency_to_wave(torch.full((1, 1, 1), post, dtype=torch.uint8), STEPS)
        return sf.pre_post_ordering(inputs, winner, [(0, 0, 0)], (1, 1)).flatten()

    def change(weight, ordering):
        weight = torch.as_tensor(weight, dtype=torch.float64)
        return sf.stdp_change(weight, ordering, *rule.rates, rule.stabilize, *rule.bounds).numpy()

    figure = Figure(figsize=(10, 7.2))
    order = figure.add_axes((0.2, 0.6, 0.43, 0.31))
    window = figure.add_axes((0.09, 0.1, 0.4, 0.34))
    curve = figure.add_axes((0.585, 0.1, 0.385, 0.34))

    cases = {"pre before post": 3, "same time step": post, "pre after post": 11, "pre silent": STEPS}
    for row, (time, grows) in enumerate(zip(cases.values(), causal(list(cases.values())).tolist(), strict=True)):
        color, rate = (BLUE, rule.rates[0]) if grows else (ORANGE, rule.rates[1])
        order.axhline(row, color=PALE, lw=1.2, zorder=0)
        order.vlines(post, row - 0.3, row + 0.3, color=INK, lw=4)
        if time < STEPS:
            # at the same time step: side by side, so that both are seen
            order.vlines(time - 0.28 * (time == post), row - 0.3, row + 0.3, color=color, lw=4)
        verdict = f"{'▲ LTP' if grows else '▼ LTD'}   Δw = {format_signed(rate)} · w(1 − w)"
        order.text(STEPS + 0.2, row, verdict, color=color, va="center", fontweight="bold")
    order.axvspan(-0.5, post + 0.32, color=tint(BLUE, 0.07), zorder=-1, lw=0)
    order.axvspan(post + 0.32, STEPS - 0.5, color=tint(ORANGE, 0.07), zorder=-1, lw=0)
    order.text(post, -0.52, "post", ha="center", va="bottom", fontweight="bold")
    order.text(cases["pre before post"], -0.52, "pre", ha="center", va="bottom", color=BLUE, fontweight="bold")
    order.set(xlim=(-0.5, STEPS - 0.5), ylim=(len(cases) - 0.5, -0.5), xticks=range(0, STEPS, 2), xlabel="time step")
    order.set_yticks(range(len(cases)), cases)
    order.tick_params(axis="y", length=0)
    order.spines["left"].set_visible(False)

    times = np.r_[0 : STEPS + 1]
    grows = causal(times.tolist())
    size = change(np.full(len(times), 0.5), grows) * 1e3
    place = np.where(times < STEPS, times - post, STEPS - post + 1.5)
    for side, color in ((grows.numpy(), BLUE), (~grows.numpy(), ORANGE)):
        window.vlines(place[side], 0, size[side], color=tint(color, 0.45), lw=3)
        window.plot(place[side], size[side], "o", color=color, ms=7)
    window.axhline(0, color=INK, lw=0.8)
    window.text(-3.5, 1.1, "LTP", color=BLUE, ha="center", va="bottom", fontweight="bold")
    window.text(4, -0.85, "LTD", color=ORANGE, ha="center", va="top", fontweight="bold")
    ticks = [-6, -4, -2, 0, 2, 4, 6]
    window.set_xticks([*ticks, place[-1]], [*(format_signed(t) if t else "0" for t in ticks), "silent"])
    window.set(ylim=(-1.2, 1.35), xlabel="time of pre − time of post (steps)", ylabel="Δw at w = 0.5  (10⁻³)")

    weights = torch.linspace(*rule.bounds, 201, dtype=torch.float64)
    for ordering, rate, name, color in ((True, 0, "LTP", BLUE), (False, 1, "LTD", ORANGE)):
        size = change(weights, torch.full(weights.shape, ordering)) * 1e3
        curve.plot(weights, size, color=color, lw=2.8)
        curve.fill_between(weights, 0, size, color=tint(color, 0.12), lw=0)
        label = f"{name}\n{format_signed(rule.rates[rate])} · w(1 − w)"
        curve.text(0.5, size[100] * 0.5, label, color=color, ha="center", va="center", fontweight="bold")
    curve.axhline(0, color=INK, lw=0.8)
    curve.set(xlim=(0, 1), ylim=(-1.2, 1.35), xlabel="weight w", ylabel="Δw  (10⁻³)")
    for x, y, title in (
        (0.02, 0.965, "a   The order of the two spikes determines the change"),
        (0.02, 0.48, "b   The time between the spikes has no effect"),
        (0.52, 0.48, "c   The stabilizer: less change near 0 and 1"),
    ):
        figure.text(x, y, title, fontweight="bold", fontsize=12, va="center")
    return figure


def draw_rstdp():
    """Draw how a network decides, and how reward and punishment change the weights of the neuron that decided."""
    rule = RSTDP()
    image, label = load_digit()
    figure = Figure(figsize=(10, 4.85))
    plane = create_canvas(figure)
    middle = 2.2

    draw_picture(figure, 0.2, middle - 0.6, 1.2, image, cmap="gray")
    plane.text(0.8, middle - 0.9, f"image of a {label}", ha="center", fontsize=11)
    draw_arrow(plane, (1.47, middle), (1.77, middle))
    # a small network: three layers with fewer and fewer neurons
    columns = ((1.98, 5), (2.48, 4), (2.98, 3))
    neurons = [[(x, middle + 0.36 * (i - (n - 1) / 2)) for i in range(n)] for x, n in columns]
    for lower, upper in pairwise(neurons):
        for a in lower:
            for b in upper:
                plane.plot(*zip(a, b, strict=True), color=tint(GREY, 0.45), lw=0.9, zorder=1)
    for depth, layer in enumerate(neurons):
        for i, (x, y) in enumerate(layer):
            deciding = depth == 2 and i == 1
            face = INK if deciding else "white"
            plane.add_patch(Circle((x, y), 0.125, fc=face, ec=INK, lw=1.4, zorder=2))
    plane.text(2.48, middle - 1.2, "spiking network", ha="center", fontsize=11)
    draw_arrow(plane, (3.17, middle), (3.47, middle))
    draw_box(plane, 3.53, middle - 0.5, 1.2, 1, "class of the\nstrongest\nneuron", INK, 0.04)
    plane.text(4.13, middle - 0.8, "decision", ha="center", fontsize=11)

    cases = (
        ("correct", "reward: STDP", rule.reward, BLUE),
        ("wrong", "punishment: anti-STDP", rule.punishment, ORANGE),
        ("silent", "no change", None, GREY),
    )
    width, height = figure.get_size_inches()
    for row, (answer, name, rates, color) in enumerate(cases):
        y = 3.7 - 1.5 * row
        draw_arrow(plane, (4.76, middle), (5.2, y), color, lw=2, shrinkA=2)
        draw_box(plane, 5.25, y - 0.26, 0.86, 0.52, answer, color, 0.16, fontweight="bold", color=color, fontsize=12)
        if rates is None:
            plane.text(6.3, y, name, color=color, fontweight="bold", fontsize=12, va="center")
            continue
        bars = figure.add_axes((7.42 / width, (y - 0.45) / height, 2.45 / width, 0.78 / height))
        weight = torch.full((2,), 0.5, dtype=torch.float64)
        causal = torch.tensor([True, False])
        change = sf.stdp_change(weight, causal, *rates, rule.stabilize, *rule.bounds).numpy()
        bars.barh([0, 1], change, height=0.62, color=[color, tint(color, 0.5)])
        for i, size in enumerate(change):
            edge = 0.00015 * (1 if size >= 0 else -1)
            side = "left" if size >= 0 else "right"
            bars.text(size + edge, i, format_signed(size), va="center", ha=side, fontsize=10)
        bars.axvline(0, color=INK, lw=1)
        bars.set(xlim=(-0.0078, 0.0078), ylim=(1.5, -0.5), xticks=[])
        bars.set_yticks([0, 1], ["input spiked", "input silent"], fontsize=10)
        bars.tick_params(length=0)
        for spine in bars.spines.values():
            spine.set_visible(False)
        plane.text(6.3, y + 0.5, name, color=color, fontweight="bold", fontsize=12, va="center")
    plane.text(0.25, height - 0.35, "The decision determines the change", fontweight="bold", fontsize=13, va="center")
    plane.text(8.645, height - 0.35, "change of the winner's weights", ha="center", va="center")
    words = "After each batch the rates adapt: reward × fraction wrong, punishment × fraction correct."
    plane.text(width / 2, 0.2, words, ha="center", va="center", color=GREY)
    return figure


def draw_latency_map():
    """Draw a digit, the spike times in its six DoG maps, and the wave of these spikes."""
    encoder = S1C1()
    image, _ = load_digit()
    latency = encoder.encode(image[None])[0]
    steps = encoder.time_steps
    figure = Figure(figsize=(10, 7.55))
    plane = create_canvas(figure)

    draw_picture(figure, 0.25, 4.2, 1.9, image, cmap="gray")
    plane.text(1.2, 6.22, "image, 28 × 28", ha="center")
    draw_arrow(plane, (2.3, 5.15), (2.95, 5.15), lw=2)
    plane.text(2.62, 5.4, "S1C1", ha="center", fontweight="bold")

    size = 1.5
    silent_after = np.ma.masked_equal(latency.numpy(), steps)
    for i, (window, _, _) in enumerate(encoder.filters):
        for off in (0, 1):
            x, y = 3.65 + 1.72 * i, 5.15 + 0.1 - off * (size + 0.2)
            shown = draw_picture(figure, x, y, size, silent_after[2 * i + off], cmap="plasma", vmin=0, vmax=steps - 1)
            if not off:
                plane.text(x + size / 2, y + size + 0.12, f"DoG {window} × {window}", ha="center")
            if i == 0:
                kind = ("on-centre:\nlight on dark", "off-centre:\ndark on light")[off]
                plane.text(x - 0.14, y + size / 2, kind, rotation=90, ha="right", va="center", multialignment="center")
    width, height = figure.get_size_inches()
    scale = figure.add_axes((8.95 / width, 3.75 / height, 0.16 / width, 2.8 / height))
    bar = figure.colorbar(shown.images[0], cax=scale, ticks=[0, 7, steps - 1])
    bar.ax.set_yticklabels(["0: early", "7", f"{steps - 1}: late"])
    bar.ax.invert_yaxis()
    bar.outline.set_linewidth(0.8)
    plane.text(8.95, 3.43, "white: silent", fontsize=11)
    plane.text(
        0.25, height - 0.28, "Latency maps: strong contrast spikes early", fontweight="bold", fontsize=13, va="center"
    )

    # On- and off-centre never answer at the same place, so one picture holds both maps of a filter.
    i = 1
    colors = ListedColormap(["white", tint(BLUE, 0.35), BLUE, tint(ORANGE, 0.35), ORANGE])
    window = encoder.filters[i][0]
    wave = sf.latency_to_wave(latency, steps, torch.uint8).numpy()
    shown_steps = (0, 1, 3, 6, 10, steps - 1)
    title = f"Spike wave of the {window} × {window} maps: a neuron stays 1 after its spike"
    plane.text(0.25, 2.75, title, fontweight="bold", fontsize=13, va="center")
    for column, time in enumerate(shown_steps):
        on, off = wave[time, 2 * i : 2 * i + 2]
        new_on, new_off = latency.numpy()[2 * i : 2 * i + 2] == time
        x = 0.25 + column * 1.62
        draw_picture(figure, x, 0.68, 1.45, on + new_on + (off * 3) + new_off, cmap=colors, vmin=-0.5, vmax=4.5)
        plane.text(x + 1.45 / 2, 2.22, f"t = {time}", ha="center")
    keys = ((BLUE, "on-centre"), (ORANGE, "off-centre"))
    for x, (color, name) in zip((0.3, 2.0), keys, strict=True):
        plane.plot(x, 0.34, "s", color=color, ms=9)
        plane.text(x + 0.16, 0.34, name, va="center")
    plane.text(3.75, 0.34, "full colour: spikes at this step; pale: spiked before", va="center", color=GREY)
    return figure


def draw_decision():
    """Draw a test digit on its way through a trained network: the spikes of three stages step by step, the decision."""
    network = load_network(HERE.parent / "results" / "checkpoints" / f"{DECIDING}.safetensors")
    image, label = load_digit(DECIDED)
    latencies = network.encoder.encode(image[None])
    maps = {"input": latencies, **dict(network.model.walk(latencies, ["s1", "s2"]))}
    decisions, scores = network.model.decide(latencies)
    repeated = f"({len(FEATURE_COLOURS)} colours for {{}})"
    shown_stages = {
        "input": ("encoder: contrast", "blue light, orange dark"),
        "s1": ("s1: edges", f"learned by STDP;\na colour is a feature\n{repeated.format(maps['s1'].shape[1])}"),
        "s2": (
            "s2: parts of digits",
            f"learned by STDP, from\nthe pooled maps of s1\n{repeated.format(maps['s2'].shape[1])}",
        ),
    }
    figure = Figure(figsize=(10, 4.7))
    plane = create_canvas(figure)
    size = 1.1
    bottoms = [3.1 - row * (size + 0.2) for row in range(len(shown_stages))]
    draw_picture(figure, 0.2, bottoms[0] - 0.1, 1.2, image, cmap="gray")
    plane.text(0.8, bottoms[0] + size + 0.12, "an image", ha="center", fontweight="bold")
    draw_arrow(plane, (1.45, bottoms[0] + size / 2), (1.8, bottoms[0] + size / 2), lw=2)
    for (name, (title, detail)), y in zip(shown_stages.items(), bottoms, strict=True):
        plane.text(3.6, y + size - 0.2, title, ha="right", va="center", fontweight="bold")
        plane.text(3.6, y + size - 0.36, detail, ha="right", va="top", color=GREY, fontsize=10)
        for column, step in enumerate((1, 3, 6, 10)):
            x = 3.72 + column * (size + 0.08)
            draw_picture(figure, x, y, size, color_spikes(maps[name][0].numpy(), step))
            if name == "input":
                plane.text(x + size / 2, y + size + 0.12, f"t = {step}", ha="center")
    for y in bottoms[:-1]:  # from a stage to the next one
        draw_arrow(plane, (3.35, y - 0.0), (3.35, y - 0.2), lw=2, mutation_scale=10)
    draw_arrow(plane, (8.43, bottoms[-1] + size / 2), (8.73, bottoms[-1] + size / 2), lw=2)
    lowest = draw_scores(figure, scores[0].numpy(), int(decisions[0]))
    verdict = "correct" if int(decisions[0]) == label else "wrong"
    plane.text(9.35, bottoms[0] + size + 0.12, f"decision: {int(decisions[0])}", ha="center", fontweight="bold")
    words = f"s3 (R-STDP): potentials; {verdict}\nthe axis begins at {lowest:g}"
    plane.text(9.93, 0.22, words, ha="right", va="center", color=GREY, fontsize=10)
    return figure


def color_spikes(latency, step):
    """Return (H, W, 3), the colour of the first feature of latency (C, H, W) that spikes at each position by a step.

    Of the six maps of the encoder, those of on-centre cells are blue, those of off-centre cells orange.
    """
    colors = np.array([to_rgb(color) for color in FEATURE_COLOURS])[np.arange(len(latency)) % len(FEATURE_COLOURS)]
    if len(latency) == 6:
        colors = np.array([to_rgb(BLUE), to_rgb(ORANGE)] * 3)
    first = latency.argmin(0)
    has_spiked = latency.min(0) <= step
    return np.where(has_spiked[..., None], colors[first], 1.0)


def draw_scores(figure, scores, decided):
    """Draw the highest potential of each class as bars. Returns where the axis begins, which is not 0."""
    width, height = figure.get_size_inches()
    ax = figure.add_axes((9.0 / width, 0.85 / height, 0.85 / width, 3.35 / height))
    classes = np.arange(len(scores))
    colors = [ORANGE if number == decided else tint(GREY, 0.5) for number in classes]
    ax.barh(classes, scores, color=colors)
    lowest = 100 * (scores.min() // 100)  # the potentials differ by little
    ax.set(yticks=classes, xticks=np.arange(lowest, scores.max(), 100), xlim=(lowest, scores.max()))
    ax.invert_yaxis()
    return lowest


def draw_winners():
    """Draw the maps of s1 for a digit: what remains at each position, and the K winners with their squares."""
    network = load_network(HERE.parent / "results" / "checkpoints" / f"{DECIDING}.safetensors")
    image, _ = load_digit()
    latencies = network.encoder.encode(image[None])
    layer = network.model.stages["s1"]
    rule = layer.stage.rule
    wave = sf.pad(sf.latency_to_wave(latencies[0], STEPS), (layer.stage.padding,) * 4)
    spikes, potentials = sf.fire(sf.conv2d(wave, layer.weight), layer.threshold, True)
    remaining = sf.pointwise_inhibition(potentials)
    winners = sf.get_k_winners(remaining, rule.winners, rule.radius)
    assert winners == [tuple(row[:3]) for row in layer.learn_features(latencies, rule)[0].tolist()]
    times = sf.wave_to_latency(spikes).numpy()
    is_first = (remaining > 0).any(0).numpy()

    figure = Figure(figsize=(10, 7.6))
    plane = create_canvas(figure)
    plane.text(0.2, 7.35, "Which neurons learn from an image?", fontweight="bold", fontsize=13, va="center")
    top, size, columns = 7.35, 1.12, 6
    colors = np.ones((*times.shape, 3))
    colors[times < STEPS] = tint(GREY, 0.35)
    colors[is_first] = to_rgb(BLUE)
    number_of = {feature: number for number, (feature, _, _) in enumerate(winners, start=1)}
    for feature, colored in enumerate(colors):
        x = 2.75 + feature % columns * (size + 0.07)
        y = top - 1.62 - feature // columns * (size + 0.24)
        ax = draw_picture(figure, x, y, size, colored)
        plane.text(x + size / 2, y + size + 0.1, f"feature {feature}", ha="center", va="center", fontsize=10)
        for winning, row, column in winners:
            draw_square(ax, row, column, rule.radius, ORANGE if winning == feature else tint(ORANGE, 0.3))
        if feature in number_of:
            for spine in ax.spines.values():
                spine.set(color=ORANGE, linewidth=2.5)
            ax.text(1, 2, number_of[feature], **NUMBER)
    ax = draw_picture(figure, 0.2, top - 2.75, 2.2, image, cmap="gray")
    for number, (_, row, column) in enumerate(winners, start=1):
        draw_square(ax, row, column, rule.radius, ORANGE)
        ax.text(column - rule.radius, row - rule.radius, number, **NUMBER)
    side = f"{2 * rule.radius + 1}×{2 * rule.radius + 1}"
    rules = (
        (BLUE, "At each position, only\nthe feature that spikes\nfirst remains (blue); of\nseveral, the strongest."),
        (
            ORANGE,
            f"The earliest of the\nremaining neurons win,\nup to K = {rule.winners}. A winner\nexcludes its own map.",
        ),
        (ORANGE, f"It also excludes, in all\nmaps, the {side} positions\naround it (r = {rule.radius})."),
    )
    y = top - 3.05
    for color, text in rules:
        plane.text(0.2, y, text, va="top", color=color, linespacing=1.3)
        y -= 0.205 * (text.count("\n") + 1) + 0.2
    plane.text(0.2, y, "Only the winners learn.", va="top", fontweight="bold")
    return figure


def draw_square(ax, row, column, radius, color):
    """Draw the positions around a winner that it excludes."""
    side = 2 * radius + 1
    ax.add_patch(Rectangle((column - radius - 0.5, row - radius - 0.5), side, side, fill=False, ec=color, lw=1.3))


def draw_weight(images=4000, feature=0):
    """Draw the weights of a feature of s1 while it learns, and the rates."""
    model = model_class(DECIDING)(seed=0)
    rule = model.stages["s1"].stage.rule
    latencies = S1C1().encode(load("mnist").train_images[:images])
    weights = [model.stages["s1"].weight[feature].flatten().numpy().copy()]
    for number in range(images):
        model.train_unsupervised(latencies[number : number + 1], "s1")
        weights.append(model.stages["s1"].weight[feature].flatten().numpy().copy())
    weights = np.array(weights)
    rates = rule.schedule(rule.first_rates()[None], np.arange(1, images + 1), 0)[:, 0]
    wins = int((np.diff(weights, axis=0) != 0).any(1).sum())

    figure = Figure(figsize=(10, 5.8))
    title = f"A feature of s1 learns: nearly all of its {weights.shape[1]} weights end near 0 or 1"
    create_canvas(figure).text(0.2, 5.5, title, fontweight="bold", fontsize=13, va="center")
    path = figure.add_axes((0.075, 0.36, 0.655, 0.5))
    rate = figure.add_axes((0.075, 0.1, 0.655, 0.2), sharex=path)
    path.plot(np.arange(images + 1), weights, color=tint(GREY, 0.35), lw=0.6)
    is_strong = weights[-1] > 0.9
    grown = int(np.where(is_strong, weights.min(0), 2).argmin())  # the strong weight that was the lowest
    fallen = int(np.where(is_strong, -1, weights[0]).argmax())  # the highest first weight of those that end near 0
    for synapse, color in ((grown, BLUE), (fallen, ORANGE)):
        path.plot(np.arange(images + 1), weights[:, synapse], color=color, lw=2.4)
    for synapse, height, color in ((grown, 0.88, BLUE), (fallen, 0.14, ORANGE)):
        changes = np.diff(weights[:, synapse])
        words = f"LTP in {(changes > 0).sum() / (changes != 0).sum():.0%} of its changes".replace("%", " %")
        path.text(
            images * 0.98, height, words, color=color, ha="right", va="center", bbox={"fc": "white", "ec": "none"}
        )
    path.set(ylabel="weight w", ylim=(-0.02, 1.02), xlim=(0, images))
    path.set_title("Δw = rate · w (1 − w), when the feature wins", fontweight="normal", fontsize=11)
    path.tick_params(labelbottom=False)
    for column, name, color in ((0, "LTP", BLUE), (1, "LTD", ORANGE)):
        rate.plot(np.arange(1, images + 1), rates[:, column], color=color, lw=2, drawstyle="steps-post")
        rate.text(images * 0.3, 0.1 - 0.17 * column, name, color=color, fontweight="bold", va="center")
    rate.axhline(0, color=INK, lw=0.8)
    rate.set(ylabel="rate", xlabel=f"images, of which the feature wins {wins:,}")
    rate.text(images * 0.02, 0.1, "doubles with each\n500th image", color=GREY, va="center", fontsize=10)
    for left, row, name in ((0.79, 0, "first"), (0.895, -1, "last")):
        ax = figure.add_axes((left, 0.36, 0.085, 0.5), sharey=path)
        ax.hist(weights[row], np.linspace(0, 1, 21), orientation="horizontal", color=INK)
        ax.set_title(f"{name}\nweights", loc="center", fontsize=11, fontweight="normal")
        ax.tick_params(labelleft=False)
        ax.set(xlabel="number")
    return figure


def draw_memory_layout():
    """Draw the rows with mirrored columns of a firing layer, where a spike is one addition, and a decision's banks."""
    kernel, out_width, spike = 3, 6, 3  # a spike in column 3; no padding
    figure = Figure(figsize=(10, 6.3))
    plane = create_canvas(figure)
    width, height = 0.98, 0.46

    def cells(y, texts, colors, left=2.15, size=width):
        for place, (text, color) in enumerate(zip(texts, colors, strict=True)):
            x = left + place * size
            draw_box(plane, x, y, size - 0.06, height, text, color, 0.14 if color is not GREY else 0.04, fontsize=9.5)

    def title(y, text):
        plane.text(0.25, y, text, fontweight="bold", fontsize=13, va="center")

    title(6.02, "Firing layer: one spike and one output row are one addition")
    columns = [out_width - 1 - place for place in range(out_width)]
    reached = [column for column in columns if 0 <= spike - column < kernel]
    first = columns.index(reached[0])
    plane.text(0.25, 5.1 + height / 2, "potentials of\noutput row y,\ncolumns mirrored", va="center", fontsize=10)
    cells(5.1, [f"column {x}\nF features" for x in columns], [BLUE if x in reached else GREY for x in columns])
    plane.text(0.25, 3.85 + height / 2, "weights of\nchannel c,\nkernel row i", va="center", fontsize=10)
    left = 2.15 + first * width
    cells(3.85, [f"w(c, i, {j})\nF features" for j in range(kernel)], [BLUE] * kernel, left)
    for place in range(kernel):
        x = left + (place + 0.47) * width
        draw_arrow(plane, (x, 3.85 + height + 0.06), (x, 5.04), BLUE)
        plane.text(x + 0.08, 4.68, "+", color=BLUE, fontsize=13, va="center")
    reach = f"columns {reached[-1]} to {reached[0]}, which are neighbours in both arrays"
    words = f"Without padding, a spike in column {spike} reaches {reach}."
    plane.text(2.15, 3.55, words, color=GREY, va="center", fontsize=10)

    title(2.98, "Decision layer: banks of 32 features")
    for bank in range(3):
        x = 0.25 + 3.25 * bank
        draw_box(plane, x, 0.62, 2.95, 1.95, "", PURPLE, 0.05)
        plane.text(x + 0.12, 2.36, f"bank {bank}: features {32 * bank} to {32 * bank + 31}", fontsize=10, va="center")
        for row, text in enumerate(("(i, j) = (0, 0): C rows of 32", "(0, 1): C rows of 32", "…")):
            fill = 0.4 if bank == row == 0 else 0.1
            draw_box(plane, x + 0.12, 1.72 - 0.48 * row, 2.7, 0.4, text, PURPLE, fill, fontsize=10)
    words = "One kernel offset of one bank (dark) stays in the innermost cache while many images are added."
    plane.text(0.25, 0.3, words, color=GREY, va="center", fontsize=10)
    return figure


def draw_screening(shown_bits=3, shown=24):
    """Draw how codes of the weights find the strongest neuron of s3: for a digit, at the position of this neuron."""
    network = load_network(HERE.parent / "results" / "checkpoints" / f"{DECIDING}.safetensors")
    image, _ = load_digit(DECIDED)
    (latencies,) = network.model.map_of(network.encoder.encode(image[None]), "c2")
    stage = network.model.declaration["s3"]
    spiked = np.pad((latencies.numpy() < STEPS), [(0, 0), (stage.padding,) * 2, (stage.padding,) * 2])
    windows = np.lib.stride_tricks.sliding_window_view(spiked, (stage.kernel,) * 2, axis=(1, 2))
    weights = network.model.stages["s3"].weight.numpy().astype(np.float64)
    exact = np.einsum("cyxij,fcij->yxf", windows, weights)
    y, x, _ = np.unravel_index(exact.argmax(), exact.shape)
    inputs = windows[:, y, x]
    exact = exact[y, x]

    def bound(bits):
        lowest = weights.min((1, 2, 3))
        step = (weights.max((1, 2, 3)) - lowest) / (2**bits - 1)
        codes = np.rint((weights - lowest[:, None, None, None]) / step[:, None, None, None])
        middle = inputs.sum() * lowest + step * (codes * inputs).sum((1, 2, 3))
        slack = inputs.sum() * step / 2
        return codes, middle - slack, middle + slack

    codes, low, high = bound(shown_bits)
    line = low.max()
    figure = Figure(figsize=(10, 4.1))
    plane = create_canvas(figure)
    plane.text(
        0.25, 3.83, "Codes of the weights find the strongest neuron", fontweight="bold", fontsize=13, va="center"
    )
    feature = int(exact.argmax())
    channel = int(inputs.sum((1, 2)).argmax())
    rows = (
        ("weights", [f"{weight:.3f}" for weight in weights[feature, channel, 0, :4]], BLUE),
        ("codes", [f"{code:.0f}" for code in codes[feature, channel, 0, :4]], ORANGE),
    )
    for row, (name, texts, color) in enumerate(rows):
        y = 2.75 - 0.75 * row
        plane.text(0.25, y + 0.23, name, va="center")
        for place, text in enumerate([*texts, "…"]):
            draw_box(plane, 1.15 + 0.68 * place, y, 0.62, 0.46, text, color, 0.14, fontsize=10)
    lines = (
        f"{inputs.sum():,} inputs have spiked. The sum of their codes",
        "bounds each potential. Only neurons that reach the",
        "dashed line, the highest lower bound, are summed",
        "exactly (orange).",
    )
    plane.text(0.25, 1.2, "\n".join(lines), va="center", fontsize=10.5)
    _, low_of_ten, high_of_ten = bound(10)
    drawn = int((high >= line).sum())
    used = int((high_of_ten >= low_of_ten.max()).sum())
    lines = (
        f"At this position, {drawn} of {len(exact)} neurons remain with",
        f"{shown_bits} bits (drawn), and {used} with 10 bits (used).",
    )
    plane.text(0.25, 0.45, "\n".join(lines), va="center", fontsize=10.5, color=GREY)

    width, height = figure.get_size_inches()
    ax = figure.add_axes((5.3 / width, 0.62 / height, 4.5 / width, 2.95 / height))
    order = high.argsort()[::-1][:shown]
    for place, number in enumerate(order):
        color = ORANGE if high[number] >= line else GREY
        ax.plot([low[number], high[number]], [place] * 2, color=color, lw=4, solid_capstyle="butt")
        ax.plot(exact[number], place, "o", color=INK, ms=3)
    ax.axvline(line, color=INK, ls="--", lw=1)
    ax.set(yticks=[], xlabel="potential (dot: exact; bar: bounds)", ylabel=f"the {shown} highest neurons")
    ax.invert_yaxis()
    return figure


def draw_networks(notes):
    """Draw networks as blocks, {name: text about it}. All numbers are read from their declarations."""
    models = [build(name) for name in notes]
    extents = [compute_height(model) for model in models]
    above = [0.76 if notes[model.name] else 0.57 for model in models]
    below, legend = 0.3, 0.75
    line = sum(extents) + sum(above) + len(models) * below + legend
    figure = Figure(figsize=(10, line))
    plane = create_canvas(figure)
    for model, extent, head in zip(models, extents, above, strict=True):
        description = type(model).__doc__.splitlines()[0].rstrip(".")
        weights = sum(layer.weight.numel() for _, layer in model.named_layers())
        plane.text(0.15, line - 0.18, model.name, fontweight="bold", fontsize=13, va="center")
        plane.text(9.85, line - 0.18, f"{weights / 1e6:.2f} M weights", va="center", ha="right")
        plane.text(0.15, line - 0.41, description, va="center", color=GREY)
        plane.text(0.15, line - 0.6, notes[model.name], va="center", color=GREY)
        draw = draw_graph if is_forked(model) else draw_network
        draw(plane, model, line - head - extent / 2)
        line -= head + extent + below
        plane.plot([0.15, 9.85], [line + 0.12] * 2, color=PALE, lw=1.2)
    entries = [
        *((INK, "encoder"), (BLUE, "learns by STDP"), (ORANGE, "learns by R-STDP")),
        *((PURPLE, "learns by the margin rule"), (GREY, "pooling, inhibition")),
    ]
    used = {INK, *(describe_rule(stage)[1] for model in models for stage in model.declaration.values())}
    x = 0.25
    for color, name in (entry for entry in entries if entry[0] in used):
        plane.plot(x, 0.58, "s", color=color, ms=10)
        plane.text(x + 0.17, 0.58, name, va="center")
        x += 0.55 + 0.09 * len(name)
    words = "θ threshold (∞: at the last time step the strongest decides), K winners per image, r inhibition radius"
    plane.text(0.17, 0.24, words, va="center")
    return figure


def build(name):
    """Build a network for ten classes."""
    network = model_class(name)
    encoder = choose_encoder(network.encoder, colours=COLOURS.get(name, 1))
    side = SIDE.get(name, 28)
    return network(in_channels=encoder.channels, num_classes=10, image_size=(side, side))


def is_forked(model):
    """Return whether a stage reads another stage than the one below it, or whole maps."""
    return any(stage.inputs or stage.sees_whole_maps for stage in model.declaration.values())


def compute_height(model):
    """Return the height of a network in inches."""
    if is_forked(model):
        return ROW * len(find_tips(model))
    return 2.0 if any(isinstance(stage, Branches) for stage in model.declaration.values()) else BLOCK


def find_tips(model):
    """Return the maps that only the decision stage reads, bottom up. Each has a row."""
    read_below = {other for name in model.declaration if name != model.decision for other in model.inputs_of(name)}
    return [name for name in model.inputs_of(model.decision) if name not in read_below]


def draw_graph(plane, model, middle, gap=0.17):
    """Draw a network whose decision stage reads several maps: a column for each depth, a row for each of these maps."""
    rows = {name: row for row, name in enumerate(find_tips(model))}
    depths, sizes = {"input": 0}, {name: shape[1:] for name, shape in model.shapes(*model.image_size).items()}
    for name in model.declaration:
        depths[name] = 1 + max(depths[other] for other in model.inputs_of(name))
    for name in [*model.declaration][
        ::-1
    ]:  # as near to what reads it as there is room, between the rows of its readers
        readers = [other for other in model.declaration if name in model.inputs_of(other)]
        if readers:
            depths[name] = min(depths[other] for other in readers) - 1
        below = [rows[other] for other in readers if other != model.decision]
        if name != model.decision:
            rows.setdefault(name, sum(below) / max(1, len(below)))
    rows["input"] = (len(find_tips(model)) - 1) / 2
    direct = [rows[name] for name in model.inputs_of(model.decision) if name not in find_tips(model)]
    rows[model.decision] = direct[0] if direct else rows["input"]  # its arrow passes between those of others
    width_of = {"input": 1.0} | {n: 1.7 if stage.convs else 0.8 for n, stage in model.declaration.items()}
    x, left = 0.15, {}
    for depth in range(max(depths.values()) + 1):
        left[depth] = x
        x += max(width_of[name] for name in depths if depths[name] == depth) + gap

    def place(name):
        return left[depths[name]], middle + ROW * ((len(find_tips(model)) - 1) / 2 - rows[name])

    for name, stage in model.declaration.items():
        for other in model.inputs_of(name):
            start, end = place(other), place(name)
            draw_arrow(
                plane, (start[0] + width_of[other] + 0.01, start[1]), (end[0] - 0.01, end[1]), mutation_scale=9, lw=1.2
            )
        learned, color = describe_rule(stage)
        if name == model.decision:
            lines = [f"{stage.out_channels} neurons", "see all maps", describe_threshold(stage)]
        elif stage.convs:
            lines = [
                f"{stage.out_channels} maps, {format_size(sizes[name])}",
                f"kernel {format_size([stage.kernel] * 2)}",
            ]
            lines.append(f"{describe_threshold(stage)}, {describe_winners(stage)}")
        else:
            lines = describe_pool(stage, sizes[name])
        head = name if learned is None else f"{name} {learned}"
        draw_block(plane, *place(name), width_of[name], 0.78 if len(lines) < 3 else 0.95, head, lines, color)
    maps = [f"{model.in_channels} maps", format_size(model.image_size)]
    draw_block(plane, *place("input"), width_of["input"], 0.95, describe_encoder(model), maps, INK)
    end = place(model.decision)
    draw_block(plane, x, end[1], 0.8, 0.85, None, [f"{model.num_classes}", "classes"], INK)
    draw_arrow(plane, (x - gap + 0.01, end[1]), (x - 0.01, end[1]), mutation_scale=9, lw=1.2)


def draw_network(plane, model, middle, gap=0.13):
    """Draw a network as blocks from left to right, around the height ``middle``."""
    x, size, maps = 0.15, model.image_size, model.in_channels
    narrow, wide, wider = 0.74, 1.12, 1.45
    draw_block(plane, x, middle, narrow, 0.85, describe_encoder(model), [f"{maps} maps", format_size(size)], INK)
    x += narrow
    ends = [middle]  # heights where the arrows to the next stage start
    shapes = model.shapes(*size)
    for name, stage in model.declaration.items():
        output = shapes[name][1:]
        learned, color = describe_rule(stage)
        if isinstance(stage, Pool):
            width, starts = narrow, [middle]
            draw_block(plane, x + gap, middle, width, 0.85, name, describe_pool(stage, output), color)
        elif isinstance(stage, Branches):
            width, starts = wider, [middle + 0.44, middle - 0.06, middle - 0.56]
            draw_block(plane, x + gap, middle + 0.81, width, 0.25, f"{name} {learned}", [], color)
            for branch, y in zip(stage.branches, starts, strict=True):
                output_size = format_size(branch.shape([(1, *size)])[1:])
                lines = [
                    f"{format_size([branch.kernel] * 2)}, {describe_threshold(branch)}",
                    f"{branch.out_channels} maps, {output_size}",
                ]
                draw_block(plane, x + gap, y, width, 0.44, None, lines, color)
            together = f"together {stage.out_channels} maps, {format_size(output)}; "
            note = ("" if isinstance(stage, Vote) else together) + describe_winners(stage.branches[0])
            plane.text(x + gap + width / 2, middle - 0.9, note, ha="center", va="center", fontsize=11)
        else:
            width, starts = wide, [middle]
            lines = [f"{stage.out_channels} maps", format_size(output), f"kernel {format_size([stage.kernel] * 2)}"]
            draw_block(
                plane,
                x + gap,
                middle,
                width,
                BLOCK,
                f"{name} {learned}",
                [*lines, describe_threshold(stage), describe_winners(stage)],
                color,
            )
        connect(plane, x, ends, x + gap, starts)
        x, size, ends = x + gap + width, output, starts
    reader = ["majority", "of votes:"] if isinstance(stage, Vote) else [] if model.decision else ["linear", "SVM:"]
    lines = [*reader, f"{model.num_classes}", "classes"]
    draw_block(plane, x + gap, middle, narrow + 0.1, 0.85, None, lines, INK)
    connect(plane, x, ends, x + gap, [middle])


def draw_block(plane, x, middle, width, height, head, lines, color):
    """Draw a box with lines of text and, unless it is None, a coloured head."""
    strip = 0.25 if head else 0
    top = middle + height / 2
    draw_box(plane, x, top - height, width, height, "", color, 0.1)
    if head:
        draw_box(plane, x, top - strip, width, strip, head, color, 1, color="white", fontweight="bold", fontsize=11)
    font = {"ha": "center", "va": "center", "fontsize": 11.5, "linespacing": 1.2}
    plane.text(x + width / 2, top - strip - (height - strip) / 2, "\n".join(lines), **font)


def connect(plane, x, ends, next_x, starts):
    """Draw arrows from each of the heights ``ends`` at x to each of ``starts`` at next_x."""
    for end in ends:
        for start in starts:
            entry = start + 0.35 * (end - start) if len(ends) > 1 else start
            draw_arrow(plane, (x + 0.02, end), (next_x - 0.01, entry), mutation_scale=10, lw=1.3)


def describe_rule(stage):
    """Return the name and the colour of a stage's rule."""
    if not stage.convs:
        return None, GREY
    rule = stage.convs[0].rule
    return rule.title, {"R-STDP": ORANGE, "margin": PURPLE}.get(rule.title, BLUE)


def describe_pool(stage, size):
    """Return the lines of a pooling or an inhibition with a map of ``size``."""
    if stage.inhibits:
        return ["inhibit", f"first {stage.share:.0%}", format_size(size)]
    more = [f"pad {stage.padding}"] if stage.padding else []
    if stage.rank > 1:
        more = [f"rank {stage.rank}"]
    return [f"pool {stage.size}", *more, format_size(size)]


def describe_encoder(model):
    return {"s1c1": "S1C1"}.get(model.encoder.name, model.encoder.name)


def describe_threshold(conv):
    return f"θ={conv.threshold:g}" if conv.fires else "θ=∞"


def describe_winners(conv):
    return f"K={conv.rule.winners}" + (f", r={conv.rule.radius}" if conv.fires else "")


def format_size(size):
    return f"{size[0]}×{size[1]}"


FIGURES = {
    "snn_illustration.png": draw_snn,
    "Long-Term-Potentiation.png": draw_ltp,
    "RSTDP.png": draw_rstdp,
    "latency_map.png": draw_latency_map,
    "decision.png": draw_decision,
    "winners.png": draw_winners,
    "weight.png": draw_weight,
    "memory_layout.png": draw_memory_layout,
    "screening.png": draw_screening,
    "networks.png": partial(draw_networks, PUBLISHED),
    "networks-2026.png": partial(draw_networks, OWN),
}


def draw_all(folder=HERE):
    """Write all figures into ``folder``, always with the same bytes for the same matplotlib and Pillow."""
    for name, draw in FIGURES.items():
        with style.context(["default", STYLE]):
            agg = FigureCanvasAgg(draw())
            agg.draw()
        # A palette makes the files three times smaller.
        colors = Image.fromarray(np.asarray(agg.buffer_rgba())).convert("RGB").quantize(256, dither=Image.Dither.NONE)
        colors.save(Path(folder) / name, optimize=True, dpi=(DPI, DPI))


if __name__ == "__main__":
    draw_all(*sys.argv[1:2])
