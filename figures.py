"""Which figures a run leaves, drawn by ``plots.py`` from the network and its evaluation."""

import numpy as np

import plots
from features import features_of_winners
from metrics import SILENT, roc_curves

SHOWN_ERRORS = 40


def draw_network(model, features, class_names, title):
    """Yield (name, Figure) of what the network has learned: the filters of the first stage, preferred features of all.

    ``features``: what ``preferred_features`` returns.
    """
    first, conv = next(model.named_convs())
    yield f"filters_{first}", plots.draw_filters(conv.weight.cpu(), f"{title}: filters of {first}")
    deciding = dict(model.named_convs([model.decision]))
    for label, pictures in features.items():
        marks = [class_names[c] for c in model.class_of_feature()] if label in deciding else None
        yield f"features_{label}", plots.draw_features(pictures, f"{title}: preferred features of {label}", marks)


def draw_evaluation(model, features, evaluation, images, latencies, class_names, title):
    """Yield (name, Figure) of how the network decides the images of an ``Evaluation``, whose input is ``latencies``."""
    matrix = evaluation.metrics["confusion_matrix"]
    yield "confusion_matrix", plots.draw_confusion(matrix, class_names, f"{title}: confusion matrix")
    curves = roc_curves(evaluation.labels, evaluation.relative_scores, evaluation.num_classes)
    yield "roc_curves", plots.draw_roc(curves, class_names, f"{title}: ROC curves of the relative scores")
    yield "spike_times", plots.draw_spike_times(spike_times(model, latencies), f"{title}: first spikes")
    missed = np.flatnonzero(evaluation.predictions != evaluation.labels)
    # silent images first: they are few, and say most about thresholds
    missed = missed[np.argsort(evaluation.predictions[missed] != SILENT, kind="stable")][:SHOWN_ERRORS]
    winners = features_of_winners(model, latencies[missed], features) if len(missed) else []
    labels, predictions = evaluation.labels[missed], evaluation.predictions[missed]
    yield "errors", plots.draw_gallery(images[missed], labels, predictions, winners, class_names, f"{title}: errors")
    yield "spike_wave", plots.draw_wave(latencies[0].cpu().numpy(), model.steps, f"{title}: an encoded image")


def spike_times(model, latencies, images=1000):
    """Per stage how many neurons fired at each time step, and how many never did: {stage: int (T+1,)}."""
    return {
        name: np.bincount(maps.cpu().numpy().ravel(), minlength=model.steps + 1)
        for name, maps in model.walk(latencies[:images])
    }
