"""Scores of a classifier that may stay silent: a prediction is a class, or -1 when no neuron of the last layer spiked.

Silence is an error everywhere: it counts among all images for the accuracy, and as a missed image of its class for
recall and F1. Precision divides by the images that were given a class's name, so silence doesn't touch it.
"""

import numpy as np

SILENT = -1


def evaluate_predictions(labels, predictions, scores, num_classes: int) -> dict:
    """All scores of one evaluation, as plain numbers and lists that ``json`` can write.

    labels (N,) int: the true classes; predictions (N,) int: a class, or -1; scores (N, num_classes): a class's highest
    potential among its neurons at the last time step, which exists for silent images too.

    * ``count``; ``accuracy``, ``loss`` (decided wrong), ``silent``: fractions of all images, which sum to 1;
    * ``precision_macro``, ``recall_macro``, ``f1_macro``: means over all classes; 0 for a class where 0/0;
    * ``roc_auc_macro``: mean of the one-vs-rest areas under the ROC curve, over the classes where it is defined
      (see roc_curves), or None where it is for none;
    * ``per_class``: lists of ``precision``, ``recall``, ``f1`` and ``support`` (images);
    * ``confusion_matrix``: rows are true classes, columns predicted ones, and the last column is silence.

    Raises ValueError when the arrays do not fit together or are empty.
    """
    from sklearn.metrics import confusion_matrix, precision_recall_fscore_support

    labels, predictions = np.asarray(labels), np.asarray(predictions)
    if labels.size == 0 or labels.ndim != 1 or predictions.shape != labels.shape:
        raise ValueError(f"labels {labels.shape} and predictions {predictions.shape} must both be (N,), N > 0")
    for what, values, lowest in (("labels", labels, 0), ("predictions", predictions, SILENT)):
        if values.min() < lowest or values.max() >= num_classes:
            raise ValueError(f"{what} from {values.min()} to {values.max()} must lie in {lowest} … {num_classes - 1}")

    classes = list(range(num_classes))
    precision, recall, f1, support = precision_recall_fscore_support(
        labels, predictions, labels=classes, zero_division=0
    )
    areas = [curve[2] for curve in roc_curves(labels, scores, num_classes) if curve is not None]
    correct, silent = predictions == labels, predictions == SILENT
    return {
        "count": len(labels),
        "accuracy": float(correct.mean()),
        "loss": float((~correct & ~silent).mean()),
        "silent": float(silent.mean()),
        "precision_macro": float(precision.mean()),
        "recall_macro": float(recall.mean()),
        "f1_macro": float(f1.mean()),
        "roc_auc_macro": float(np.mean(areas)) if areas else None,
        "per_class": {
            "precision": precision.tolist(),
            "recall": recall.tolist(),
            "f1": f1.tolist(),
            "support": support.tolist(),
        },
        "confusion_matrix": confusion_matrix(labels, predictions, labels=[*classes, SILENT])[:-1].tolist(),
    }


def roc_curves(labels, scores, num_classes: int) -> list:
    """Per class, one-vs-rest: (false positive rates, true positive rates, area under the curve).

    labels (N,) int, scores (N, num_classes) as in evaluate_predictions. None stands for a class with no image, or with
    all of them: it has no rates.
    """
    from sklearn.metrics import auc, roc_curve

    labels, scores = np.asarray(labels), np.asarray(scores)
    if scores.shape != (len(labels), num_classes):
        raise ValueError(f"scores {scores.shape} must be (N, classes) = {(len(labels), num_classes)}")
    curves = []
    for c in range(num_classes):
        is_class = labels == c
        if is_class.all() or not is_class.any():
            curves.append(None)
            continue
        false_positives, true_positives, _ = roc_curve(is_class, scores[:, c])
        curves.append((false_positives, true_positives, float(auc(false_positives, true_positives))))
    return curves
