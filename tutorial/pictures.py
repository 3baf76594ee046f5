"""The pictures of the tutorial. Each function returns a figure of matplotlib, which a notebook displays."""

from collections.abc import Sequence

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from PIL import Image

from report.colors import BLUE, GREY, INK, ORANGE, TRAINING, VALIDATION
from report.sheets import make_mosaic

plt.rcParams.update({"figure.dpi": 120, "axes.spines.top": False, "axes.spines.right": False})


def show(images, titles: Sequence[str] = (), columns: int = 10, size: float = 0.9, bar: str = "", **kwargs) -> Figure:
    """Draw images (N, H, W) in rows, each in a frame of ``size`` inches, and a colour bar with the text ``bar``."""
    rows = -(-len(images) // columns)
    height = rows * size * (1.25 if titles else 1.05)
    figure, axes = plt.subplots(rows, columns, figsize=(columns * size, height), squeeze=False, layout="constrained")
    for ax in axes.flat:
        ax.axis("off")
    for ax, image, title in zip(axes.flat, images, titles or [""] * len(images), strict=False):
        shown = ax.imshow(image, **kwargs)
        ax.set_title(title, fontsize=9)
        ax.axis("on")
        ax.set(xticks=[], yticks=[])
        for spine in ax.spines.values():
            spine.set(visible=True, color=GREY, linewidth=0.6)
    if bar:
        figure.colorbar(shown, ax=axes, shrink=0.8, aspect=12).set_label(bar, fontsize=9)
    plt.close(figure)
    return figure


def show_latency(maps, titles: Sequence[str] = (), **kwargs) -> Figure:
    """Draw latency maps (N, H, W) of 15 time steps. A silent neuron, 15, is white."""
    return show(np.ma.masked_equal(maps, 15), titles, bar="time step", vmin=0, vmax=14, cmap="plasma", **kwargs)


def show_features(weight, titles: Sequence[str] = (), **kwargs) -> Figure:
    """Draw kernels (F, 6, 5, 5) of s1: the strongest on-centre weight minus the strongest off-centre weight."""
    difference = weight[:, 0::2].max(1) - weight[:, 1::2].max(1)
    return show(difference, titles, bar="on − off", cmap="gray", vmin=-1, vmax=1, **kwargs)


def show_kernels(weight) -> Image.Image:
    """Draw kernels as ``show_features``, in one mosaic: that takes a hundredth of the time."""
    difference = weight[:, 0::2].max(1) - weight[:, 1::2].max(1)
    levels = ((difference + 1) * 127.5).clip(0, 255).astype(np.uint8).repeat(10, 1).repeat(10, 2)
    return make_mosaic(np.repeat(levels[..., None], 3, 3), columns=10)


def show_potential(potential, threshold: float, fired: int) -> Figure:
    """Draw the potential of a neuron by time step, and its spike."""
    figure, ax = plt.subplots(figsize=(6, 2.5), layout="constrained")
    ax.step(range(len(potential)), potential, where="post", color=BLUE, label="potential")
    ax.axhline(threshold, color=ORANGE, label="threshold")
    ax.plot(fired, potential[fired], "o", color=INK, label=f"fires at time step {fired}")
    ax.set(xlabel="time step", ylabel="potential", xlim=(0, len(potential) - 1), ylim=(0, None))
    ax.legend(loc="upper left")
    plt.close(figure)
    return figure


def show_winners(image, winners, radius: int) -> Figure:
    """Draw an image and the squares around its winners, (feature, row, column, time step), numbered in their order."""
    figure = show([image], columns=1, size=3, cmap="gray")
    (ax,) = figure.axes
    side = 2 * radius + 1
    for number, (_, row, column, _) in enumerate(winners, start=1):
        corner = column - radius - 0.5, row - radius - 0.5
        ax.add_patch(Rectangle(corner, side, side, fill=False, edgecolor=ORANGE))
        ax.text(*corner, number, color="white", backgroundcolor=ORANGE, fontsize=7)
    return figure


def show_weights(groups: dict) -> Figure:
    """Draw a histogram of each array of weights, {title: weights}."""
    size = 3 * len(groups), 2.2
    figure, axes = plt.subplots(1, len(groups), figsize=size, squeeze=False, sharey=True, layout="constrained")
    for ax, (title, weights) in zip(axes.flat, groups.items(), strict=True):
        ax.hist(np.ravel(weights), np.linspace(0, 1, 21), color=BLUE)
        ax.set_title(title, fontsize=10)
        ax.set(xlabel="weight")
    axes[0, 0].set(ylabel="synapses")
    plt.close(figure)
    return figure


def show_accuracy(history: Sequence[dict], epochs: int) -> Figure:
    """Draw the training and validation accuracies of the epochs so far."""
    figure, ax = plt.subplots(figsize=(6, 2.5), layout="constrained")
    for key, label, color in (("train_accuracy", "training", TRAINING), ("val_accuracy", "validation", VALIDATION)):
        accuracy = [100 * row[key] for row in history]
        ax.plot(range(1, len(accuracy) + 1), accuracy, ".-", label=label, color=color)
    ax.set(xlabel="epoch", ylabel="accuracy (%)", ylim=(0, 100), xlim=(0, epochs + 1))
    ax.legend(loc="lower right")
    plt.close(figure)
    return figure
