"""The report of a run: its data, the figures that are drawn of them, and its files.

A figure is a function with the decorator ``@figure``. It appears in the folder, on the page and in TensorBoard.
``FIGURES`` contains all figures in the order of the signal: from the filters to the decisions. A figure can draw what a
function with the decorator ``@after_epoch`` has computed after each epoch.
"""

import math
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from engine.encoder import Encoder
from engine.graph import LatencyMap
from engine.progress import Row
from engine.registry import register
from engine.stages import INPUT
from errors import drawing
from imagesets.augmentation import MovedCopy
from imagesets.splits import choose_evenly
from network_trainer import NetworkTrainer
from report import figures, sheets
from report.activation_maps import find_neurons
from report.channels import describe_features
from report.emergence import Emergence, Moments, compute_emergence
from report.evaluation import TIMED, Evaluation, Evaluations, compute_roc_curves, decide_early
from report.preferred import compute_preferred_features

SHOWN_ERRORS = 40
MOVED_IMAGES = 8  # at most, in the figure of moved images
MOVED_COPIES = 11  # at most, of each of them
TIMED_IMAGES = 1000  # for the times of the first spikes
RASTER_IMAGES = 4  # at most, in the raster

FIGURES: dict[str, Any] = {}  # {name of the file: function}, which has a ``caption``
VALUES: dict[str, Callable] = {}  # {name: function} of the values after each epoch


@dataclass(frozen=True)
class Report:
    """The data of the figures and the page of a run.

    Args:
        model: the network, with the tested weights.
        encoder: the encoder, see ``encoders/``.
        images: the tested images, uint8 (N, H, W) or (N, H, W, 3).
        labels: their classes, int (N,).
        latencies: the encoded images, uint8 (N, C, H, W): a tensor, or ``PackedLatencies``.
        title: network, data set, seed and epoch of the weights.
        split: the split of the images: "test" or "validation".
        evaluations: see ``Evaluations``; {} if the network has no decision stage.
        facts: what results.json contains beside the scores.
        shown: indices in ``images`` of the images whose activation maps are saved.
        maps: the folder of the activation maps, in the folder of the run.
        history: rows of the run. ``row.values`` contains the values of functions with ``@after_epoch``, by their names;
            it is {} if there are none.
        copies: the moved copies of the training images, from which the network learned.
        moments, convergences: of the first epochs, see ``training/recorders/moments.py``.
        names: of the images, see ``DataSet.name_images``.
    """

    model: NetworkTrainer
    encoder: Encoder
    images: np.ndarray
    labels: np.ndarray
    latencies: LatencyMap
    class_names: Sequence[str]
    title: str
    split: str = "test"
    evaluations: Evaluations = field(default_factory=dict)
    facts: Mapping[str, Any] = field(default_factory=dict)
    shown: np.ndarray | Sequence[int] = ()
    maps: str = "maps"
    history: Sequence[Row] = ()
    copies: Sequence[MovedCopy] = ()
    moments: Moments = field(default_factory=dict)
    convergences: Mapping[str, Sequence] = field(default_factory=dict)
    names: Sequence[str | int] = ()

    @property
    def evaluation(self) -> Evaluation | None:
        """The evaluation of ``images``; None if the network has no decision stage."""
        return self.evaluations.get((self.split, "best"), self.evaluations.get((self.split, "")))

    @cached_property
    def emergence(self) -> Emergence:
        """The features of the layers while they learned, see ``compute_emergence``."""
        return compute_emergence(self.model, self.moments, self.encoder)

    def format_title(self, caption: str, count: int | None = None) -> str:
        """Return the title of a figure of ``count`` images (None: all)."""
        if count is None:
            count = len(self.images)
        return f"{caption}\n{self.title}, {count:,} {self.split} images"


def figure(caption: str) -> Callable:
    """Register the figure that a function draws. The name of the function is the name of its file.

    The function takes a ``Report`` and the caption. It yields (name, figure of matplotlib or image of Pillow): one
    with the name "", one for each stage with the name of the stage, or nothing if the report has no data for it.

    Raises InputError if another function draws a figure of this name.
    """

    def add(draw):
        draw.caption = caption
        register(FIGURES, [draw.__name__], draw)
        return draw

    return add


def after_epoch(compute: Callable) -> Callable:
    """Register a function that computes values after each epoch. The name of the function is the name of the values.

    The function takes the network, which it must not change, and the epoch's row of the history. It returns plain JSON:
    dicts with str as keys, lists, str, int, finite float, bool or None, at most 100 of them in each other. The history
    keeps it in ``row.values``, also in ``last.safetensors``.

    Raises InputError if another function computes values of this name.
    """
    register(VALUES, [compute.__name__], compute)
    return compute


@figure("Training history")
def history(report, caption):
    if report.history:
        learned = "training,\nspread labels" if report.facts.get("spread") else "training"
        yield "", figures.draw_history(report.history, f"{caption}\n{report.title}", report.convergences, learned)


@figure("Moved images")
def moved_images(report, caption):
    copies = report.copies
    if copies:
        images = copies[0].images
        rows = []
        for place in range(0, len(images), math.ceil(len(images) / MOVED_IMAGES)):
            part = slice(place, place + 1)  # a movement is drawn from the position of the image
            rows.append([images[place], *(copy.move(part)[0] for copy in copies[:MOVED_COPIES])])
        moves = copies[0].augmentation
        mirror = " (mirrored with probability 0.5)" if moves.flip else ""
        yield "", sheets.draw_copies(np.array(rows), f"{caption}\n{report.title}, {moves}{mirror}")


@figure("Filters of")
def filters(report, caption):
    layer_name, layer = next(report.model.named_layers())
    if layer.stage.sees_whole_maps:  # a weight for each neuron, not for each channel
        return
    weight = layer.weight.numpy(force=True)
    title = f"{caption} {layer_name}\n{report.title}"
    yield layer_name, sheets.draw_filters(weight, title, report.encoder)


@figure("The spike wave of an image")
def spike_wave(report, caption):
    latency = report.latencies[:1][0].cpu().numpy()
    title = f"{caption}\n{report.title}, {report.split} image 0"
    yield "", sheets.draw_wave(latency, title, report.encoder)


@figure("Preferred features of")
def features(report, caption):
    layers = dict(report.model.named_layers())
    for layer_name, pictures in compute_preferred_features(report.model, report.encoder).items():
        weight = layers[layer_name].weight
        strong = (weight > weight.max() / 2).sum() / len(weight)
        legend = f"{strong:.0f} strong weights in each; {describe_features(report.encoder)}"
        yield layer_name, sheets.draw_features(pictures, f"{caption} {layer_name}\n{report.title}", legend)


@figure("Emerging features of")
def emergence(report, caption):
    for layer_name, (moments, pictures) in report.emergence.items():
        title = f"{caption} {layer_name}\n{report.title}"
        yield layer_name, sheets.draw_emergence(pictures, moments, title, describe_features(report.encoder))


@figure("First spikes")
def spike_times(report, caption):
    times = count_spike_times(report.model, report.latencies)
    yield "", figures.draw_spike_times(times, report.format_title(caption, min(TIMED_IMAGES, len(report.images))))


@figure("Raster")
def raster(report, caption):
    present, first = np.unique(report.labels, return_index=True)
    shown = first[:RASTER_IMAGES]
    model = report.model
    layers = [name for name, stage in model.declaration.items() if stage.convs and stage.fires]
    maps = {name: times.cpu().numpy() for name, times in model.walk(report.latencies[shown], [INPUT, *layers])}
    decisions = [decided.tolist() for decided in decide_early(model, report.latencies[shown])]
    names = report.class_names, present[:RASTER_IMAGES].tolist()
    title = report.format_title(f"{caption} of the first images of {len(shown)} of {len(names[0])} classes", len(shown))
    yield "", figures.draw_raster(maps, names, decisions, report.encoder, title)


@figure("Decision time")
def decision_time(report, caption):
    if measured := report.facts.get("decision_time"):
        yield "", figures.draw_decision_time(measured, report.format_title(caption, min(TIMED, len(report.images))))


@figure("Confusion matrix")
def confusion_matrix(report, caption):
    if report.evaluation:
        matrix = report.evaluation.metrics["confusion_matrix"]
        yield "", figures.draw_confusion(matrix, report.class_names, report.format_title(caption))


@figure("Errors")
def errors(report, caption):
    if report.evaluation:
        labels = report.evaluation.labels
        predictions = report.evaluation.predictions
        missed = np.flatnonzero(predictions != labels)
        by_class = missed[np.argsort(labels[missed], kind="stable")]
        chosen = by_class[choose_evenly(len(missed), SHOWN_ERRORS)]
        files = [report.names[index] for index in chosen] if report.names else ()
        shown = report.images[chosen], chosen, labels[chosen], predictions[chosen]
        yield "", figures.draw_errors(*shown, report.class_names, report.format_title(caption), len(missed), files)


@figure("ROC curves")
def roc_curves(report, caption):
    if report.evaluation:
        curves = compute_roc_curves(report.evaluation.labels, report.evaluation.relative_scores)
        yield (
            "",
            figures.draw_roc(
                curves,
                report.class_names,
                report.format_title(f"{caption} by the scores, divided by the highest of each image"),
            ),
        )


def count_spike_times(model: NetworkTrainer, latencies: LatencyMap) -> dict[str, np.ndarray]:
    """Count when neurons fire for at most ``TIMED_IMAGES`` images.

    Returns {stage: (T + 1,)}: how many neurons of an image fire at each time step and, as the last, never. The first
    stage is the encoder ("input"). A stage without a threshold is left out, since its neurons do not fire.
    """
    regions = find_neurons(model, *latencies.shape[2:])
    names = [name for name in regions if name == INPUT or model.declaration[name].fires]
    counts: dict = defaultdict(int)
    timed = latencies[choose_evenly(len(latencies), TIMED_IMAGES)]
    for batch in timed.split(50):  # numpy.bincount converts them to eight bytes per neuron
        for name, maps in model.walk(batch, names):
            for features, rows, columns in regions[name]:
                times = maps[:, features, rows, columns].cpu().numpy().ravel()
                counts[name] += np.bincount(times, minlength=model.time_steps + 1)
    return {name: of_stage / len(timed) for name, of_stage in counts.items()}


def draw_figures(folder: Path, report: Report, formats: Sequence[str] = ()) -> list[str]:
    """Draw all figures as PNG files in ``folder``. Returns a line for each figure that could not be drawn.

    formats: "pdf" or "svg", in which figures of matplotlib are also saved. Pictures that are made of pixels are not.
    """
    folder.mkdir(exist_ok=True)
    lost: list[str] = []
    for name, draw_figure in FIGURES.items():
        with drawing(f"the figure {name}", lost.append):
            for part, drawn in draw_figure(report, draw_figure.caption):
                more = formats if isinstance(drawn, Figure) else ()
                place = f"{part and '_'}{part}".replace("/", "-")
                for suffix in ("png", *more):
                    figures.save(drawn, folder / f"{name}{place}.{suffix}")
    return lost


def collect_results(evaluations: Evaluations, facts: Mapping[str, Any]) -> dict[str, Any]:
    """Return the content of results.json: the scores {"test": {"best": …}, …} or {"test": …}, and ``facts``."""
    content: dict = {}
    for (split, weights), evaluation in evaluations.items():
        if weights:
            content.setdefault(split, {})[weights] = evaluation.metrics
        else:
            content[split] = evaluation.metrics
    return {**content, **facts}
