"""Scores of a classifier that may stay silent: a prediction is a class, or -1 if no neuron of the last layer spiked.

Silence is an error: it counts among all images for the accuracy, and as a missed image of its class for recall and F1.
Precision divides by the number of images that were assigned to a class, so silence does not change it.
"""

from collections.abc import Sequence

import numpy as np

SILENT = -1
Curve = tuple[np.ndarray, np.ndarray, float]  # false positive rates, true positive rates, area under the curve


def evaluate_predictions(labels: Sequence[int], predictions: Sequence[int], scores: np.ndarray, classes: int) -> dict:
    """Compute all metrics of an evaluation, as numbers and lists that ``json`` can write.

    Args:
        labels: the true classes, int (N,).
        predictions: int (N,), -1 for silence.
        scores: (N, classes). A higher score means that the image more likely belongs to the class. Silent images also
            have scores.

    Returns a dict of

    * ``count``; ``accuracy``, ``loss`` (wrong decisions), ``silent``: fractions of all images, which sum to 1;
    * ``precision_macro``, ``recall_macro``, ``f1_macro``: means over all classes; 0 for a class with 0/0;
    * ``roc_auc_macro``: the mean area under the ROC curves of ``compute_roc_curves`` that are defined, or None;
    * ``per_class``: lists of ``precision``, ``recall``, ``f1`` and ``support`` (images);
    * ``confusion_matrix``: rows are true classes, columns predicted classes, and the last column is silence.
    """
    from sklearn.metrics import confusion_matrix, precision_recall_fscore_support

    labels = np.asarray(labels)
    predictions = np.asarray(predictions)
    names = list(range(classes))
    scores_of_classes = precision_recall_fscore_support(labels, predictions, labels=names, zero_division=0)
    per_class = dict(zip(("precision", "recall", "f1", "support"), scores_of_classes, strict=True))
    matrix = confusion_matrix(labels, predictions, labels=[*names, SILENT])
    correct = predictions == labels
    silent = predictions == SILENT
    wrong = ~correct & ~silent
    metrics = {"count": len(labels)}
    metrics["accuracy"] = float(correct.mean())
    metrics["loss"] = float(wrong.mean())
    metrics["silent"] = float(silent.mean())
    for name in ("precision", "recall", "f1"):
        metrics[f"{name}_macro"] = float(per_class[name].mean())
    metrics["roc_auc_macro"] = compute_mean_roc_auc(labels, scores, classes)
    metrics["per_class"] = {name: values.tolist() for name, values in per_class.items()}
    metrics["confusion_matrix"] = matrix[:-1].tolist()
    return metrics


def compute_roc_curves(labels: Sequence[int], scores: np.ndarray, classes: int) -> list[Curve | None]:
    """Compute the one-vs-rest ROC curve of each class.

    labels (N,) and scores (N, classes): as in ``evaluate_predictions``. The curve is None if the class has no image, or
    all images, because it has no rates.
    """
    from sklearn.metrics import auc, roc_curve

    labels = np.asarray(labels)
    curves = []
    for name in range(classes):
        is_class = labels == name
        if is_class.all() or not is_class.any():
            curves.append(None)
        else:
            false_positives, true_positives, _ = roc_curve(is_class, scores[:, name])
            area = float(auc(false_positives, true_positives))
            curves.append((false_positives, true_positives, area))
    return curves


def compute_mean_roc_auc(labels: Sequence[int], scores: np.ndarray, classes: int) -> float | None:
    """Compute the mean area under the ROC curves that are defined; None if there is none."""
    curves = compute_roc_curves(labels, scores, classes)
    areas = [curve[2] for curve in curves if curve is not None]
    return float(np.mean(areas)) if areas else None
