"""Which figures a run leaves, drawn by ``figures.py`` from the network and its evaluation."""

from itertools import chain

import numpy as np

from report import figures
from report.features import features_of_winners, preferred_features
from report.metrics import SILENT, roc_curves
from utils import write_json

SHOWN_ERRORS = 40


def draw_network(model, features, latencies, class_names, title, scales=None):
    """Yield (name, Figure) of what the network has learned, and of the spikes it makes of ``latencies``.

    These are the filters of the first stage, the preferred features of all, an encoded image and the times of the first
    spikes. ``features``: what ``preferred_features`` returns.
    """
    first, conv = next(model.named_convs())
    named = {} if scales is None else {"scales": scales}
    yield f"filters_{first}", figures.draw_filters(conv.weight.cpu(), f"{title}: filters of {first}", **named)
    deciding = {} if model.decision is None else dict(model.named_convs([model.decision]))
    for label, pictures in features.items():
        marks = [class_names[c] for c in model.class_of_feature()] if label in deciding else None
        yield f"features_{label}", figures.draw_features(pictures, f"{title}: preferred features of {label}", marks)
    yield "spike_times", figures.draw_spike_times(spike_times(model, latencies), f"{title}: first spikes")
    yield "spike_wave", figures.draw_wave(latencies[0].cpu().numpy(), model.time_steps, f"{title}: an encoded image")


def draw_evaluation(model, features, evaluation, images, latencies, class_names, title):
    """Yield (name, Figure) of how the network decides the images of an ``Evaluation``, whose input is ``latencies``."""
    matrix = evaluation.metrics["confusion_matrix"]
    yield "confusion_matrix", figures.draw_confusion(matrix, class_names, f"{title}: confusion matrix")
    curves = roc_curves(evaluation.labels, evaluation.relative_scores, evaluation.num_classes)
    yield "roc_curves", figures.draw_roc(curves, class_names, f"{title}: ROC curves of the relative scores")
    missed = np.flatnonzero(evaluation.predictions != evaluation.labels)
    # silent images first: they are few, and say most about thresholds
    missed = missed[np.argsort(evaluation.predictions[missed] != SILENT, kind="stable")][:SHOWN_ERRORS]
    winners = features_of_winners(model, latencies[missed], features) if len(missed) else []
    labels, predictions = evaluation.labels[missed], evaluation.predictions[missed]
    yield "errors", figures.draw_gallery(images[missed], labels, predictions, winners, class_names, f"{title}: errors")


def spike_times(model, latencies, images=1000):
    """Per stage how many neurons fired at each time step, and how many never did: {stage: int (T+1,)}."""
    return {
        name: np.bincount(maps.cpu().numpy().ravel(), minlength=model.time_steps + 1)
        for name, maps in model.walk(latencies[:images])
    }


def write_report(
    folder, model, evaluation, images, latencies, class_names, title, history=None, draw=True, polarity=None,
    scales=None,
):  # fmt: skip
    """predictions.csv, and the figures as PNGs in ``figures/``. Returns the paths of the figures.

    Args:
        evaluation: of the test images; None for a network that does not decide: then no predictions and no scores.
        images, latencies: the test images, and what the encoder makes of them.
        history: rows of the run log, for the figure of the training.
        draw: False leaves the pictures out.
        polarity, scales: of the encoder's channels, see ``training/encoders.py``.
    """
    if evaluation is not None:
        evaluation.write_predictions(folder / "predictions.csv", class_names)
    if not draw:
        return []
    (folder / "figures").mkdir(exist_ok=True)
    features = preferred_features(model, polarity)
    drawn = chain(
        draw_network(model, features, latencies, class_names, title, scales),
        draw_evaluation(model, features, evaluation, images, latencies, class_names, title) if evaluation else [],
        [("history", figures.draw_history(history, f"{title}: training history"))] if history else [],
    )
    paths = []
    for name, figure in drawn:
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
