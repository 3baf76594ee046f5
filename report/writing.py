"""Which figures a run leaves, drawn by ``figures.py`` from the network and its evaluation."""

from collections import Counter
from itertools import chain

import numpy as np

from report import figures
from report.activation_maps import neurons
from report.features import preferred_features
from report.metrics import SILENT, roc_curves
from utils import write_json

SHOWN_ERRORS = 40
TIMED_IMAGES = 1000  # for the times of the first spikes


def draw_network(model, latencies, title, polarity=None, scales=None, split="test"):
    """Yield (name, Figure) of what the network has learned, and of the spikes it makes of ``latencies``.

    These are the filters of the first stage, the preferred features of all that fire, an encoded image and the times of
    the first spikes. ``polarity`` of the input channels and names of their ``scales``: see ``figures.draw_filters``.
    ``split``: which images these are.
    """
    first, conv = next(model.named_convs())
    named = {} if scales is None else {"scales": scales}
    filters = figures.draw_filters(conv.weight.cpu(), f"Filters of {first}\n{title}", polarity, **named)
    yield f"filters_{first}", filters
    for label, pictures in preferred_features(model, polarity).items():
        yield f"features_{label}", figures.draw_features(pictures, f"Preferred features of {label}\n{title}")
    times, count = spike_times(model, latencies), min(TIMED_IMAGES, len(latencies))
    yield "spike_times", figures.draw_spike_times(times, f"First spikes\n{title}, {count:,} {split} images")
    wave = latencies[:1][0].cpu().numpy(), model.time_steps
    yield "spike_wave", figures.draw_wave(*wave, f"The spike wave of an image\n{title}, {split} image 0", polarity)


def draw_evaluation(evaluation, images, class_names, title, split="test"):
    """Yield (name, Figure) of how the network decides the images of an ``Evaluation``, those of ``split``."""
    title = f"{title}, {len(images):,} {split} images"
    matrix = evaluation.metrics["confusion_matrix"]
    yield "confusion_matrix", figures.draw_confusion(matrix, class_names, f"Confusion matrix\n{title}")
    curves = roc_curves(evaluation.labels, evaluation.relative_scores, evaluation.num_classes)
    yield "roc_curves", figures.draw_roc(curves, class_names, f"ROC curves of the relative scores\n{title}")
    missed = np.flatnonzero(evaluation.predictions != evaluation.labels)
    # silent images first: they are few, and say most about thresholds
    chosen = missed[np.argsort(evaluation.predictions[missed] != SILENT, kind="stable")][:SHOWN_ERRORS]
    labels, predictions = evaluation.labels[chosen], evaluation.predictions[chosen]
    errors = images[chosen], chosen, labels, predictions
    yield "errors", figures.draw_errors(*errors, class_names, f"Errors\n{title}", len(missed))


def spike_times(model, latencies):
    """When neurons fire for the first images, {stage: int (T+1,)}: how many at each time step, and how many never did.

    The encoder ("input") is the first; the decision stage is left out, which looks only at the last time step.
    """
    parts, counts = neurons(model, *latencies.shape[2:]), Counter()
    for some in latencies[:TIMED_IMAGES].split(50):  # numpy counts a copy of eight bytes a neuron
        for name, maps in chain([("input", some)], model.walk(some)):
            for features, rows, columns in parts[name] if name != model.decision else ():
                times = maps[:, features, rows, columns].cpu().numpy().ravel()
                counts[name] = counts[name] + np.bincount(times, minlength=model.time_steps + 1)
    return dict(counts)


def write_report(
    folder, model, evaluation, images, latencies, class_names, title, history=None, draw=True, polarity=None,
    scales=None, split="test",
):  # fmt: skip
    """predictions.csv, and the figures as PNGs in ``figures/``. Returns the paths of the figures.

    Args:
        evaluation: of the images; None for a network that does not decide: then no predictions and no scores.
        images, latencies: those of ``split``, and what the encoder makes of them: a tensor, or ``PackedLatencies``.
        title: which weights these are: network, data set, seed, epoch. Each figure adds what it shows of them.
        history: rows of the run log, for the figure of the training.
        draw: False leaves the pictures out.
        polarity, scales: of the encoder's channels, see ``figures.draw_filters``.
    """
    if evaluation is not None:
        evaluation.write_predictions(folder / "predictions.csv", class_names)
    if not draw:
        return []
    (folder / "figures").mkdir(exist_ok=True)
    drawn = [draw_network(model, latencies, title, polarity, scales, split)]
    if evaluation is not None:
        drawn.append(draw_evaluation(evaluation, images, class_names, title, split))
    if history:
        drawn.append([("history", figures.draw_history(history, f"Training history\n{title}"))])
    paths = []
    for name, figure in chain.from_iterable(drawn):
        paths.append(folder / "figures" / f"{name}.png")
        figures.save(figure, paths[-1])
    return paths


def write_results(path, evaluations, **more):
    """results.json. ``evaluations``: {"test.best": Evaluation, …}, which become nested objects."""
    content = {}
    for key, evaluation in evaluations.items():
        place = content
        *outer, last = key.split(".")
        for name in outer:
            place = place.setdefault(name, {})
        place[last] = evaluation.metrics
    write_json(path, {**content, **more})
