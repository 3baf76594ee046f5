"""The decisions of a network on a set of images, and their scores.

A prediction is a class, or -1 if no neuron of the last layer spiked. Silence is an error: it counts among all images
for the accuracy, and as a missed image of its class for recall and F1. Precision divides by the number of images that
were assigned to a class, so silence does not change it.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch

from engine.decision import Outcome, are_unequal
from engine.graph import LatencyMap
from imagesets.splits import choose_evenly
from network_trainer import NetworkTrainer
from utils import write_csv

SILENT = -1
TIMED = 1000  # images that are classified after each time step, at most
QUANTILE = 1.96  # of a 95 % interval
Metrics = Mapping[str, Any]  # of ``evaluate_predictions``
Curve = tuple[np.ndarray, np.ndarray, float]  # false positive rates, true positive rates, area under the curve


@dataclass(frozen=True, order=True)
class Accuracy:
    """The fraction of ``count`` images that are correctly classified.

    ``classes``: of a balanced accuracy, the accuracies of the classes, of which ``fraction`` is the mean.

    As a text, it has its 95 % interval, p - 1.96 · error to p + 1.96 · error, within 0 and 1 (Agresti and Coull, The
    American Statistician 52:119, 1998; of a mean of classes, Price and Bonett, Computational Statistics and Data
    Analysis 45:449, 2004). Images are added for it, so that of a few images that are all correct it has a width.
    """

    fraction: float
    count: int
    classes: tuple["Accuracy", ...] = ()

    def estimate(self) -> tuple[float, float]:
        """Return p and the standard error sqrt(p (1 - p) / n); of the mean of K classes, sqrt(Σ p (1 - p) / n) / K.

        For p and n, two images are added to the correct and two to the other images, 2 / K in each class.
        """
        parts = self.classes or (self,)
        added = 2 / len(parts)
        mean = 0.0
        variance = 0.0
        for part in parts:
            count = part.count + 2 * added
            p = (part.fraction * part.count + added) / count
            mean += p / len(parts)
            variance += p * (1 - p) / count
        return mean, math.sqrt(variance) / len(parts)

    @property
    def interval(self) -> tuple[float, float]:
        p, error = self.estimate()
        return max(0.0, p - QUANTILE * error), min(1.0, p + QUANTILE * error)

    def __str__(self) -> str:
        low, high = self.interval
        return f"{100 * self.fraction:.2f} % (95 % interval {100 * low:.1f} to {100 * high:.1f})"

    def is_above(self, other: "Accuracy", margin: float = 0.0) -> bool:
        """Return whether it is higher than another accuracy, by more than two standard errors and by ``margin``.

        Two standard errors of the difference are 2 · sqrt(e1² + e2²), for independent accuracies: a smaller difference
        may be chance. Two classifiers of the same images usually differ by less.
        """
        _, error = self.estimate()
        _, of_other = other.estimate()
        return self.fraction - other.fraction > max(margin, 2 * math.hypot(error, of_other))


class Evaluation:
    """The decisions of a network, or of several together, on a set of images.

    Args:
        decisions, scores: as ``NetworkTrainer.decide`` returns them.
        labels: the classes of the images, int (N,).

    Attributes:
        labels, predictions: int64 (N,), -1 for silence.
        scores: float64 (N, classes).
    """

    def __init__(self, decisions: torch.Tensor, scores: torch.Tensor, labels: np.ndarray):
        self.labels = np.asarray(labels)
        self.predictions = decisions.cpu().numpy()
        self.scores = scores.double().cpu().numpy()

    @property
    def relative_scores(self) -> np.ndarray:
        """The scores as fractions of the highest score of each image, so that images can be compared."""
        return self.scores / np.maximum(self.scores.max(1, keepdims=True), 1e-12)

    @cached_property
    def metrics(self) -> dict:
        """The metrics of ``evaluate_predictions``, with the ROC AUC of the relative scores.

        ``roc_auc_macro_raw`` is the ROC AUC of the potentials themselves. It is lower, because their level differs
        between images: it follows the number of spikes, while a decision compares the classes within one image.
        """
        metrics = evaluate_predictions(self.labels, self.predictions, self.relative_scores)
        return {**metrics, "roc_auc_macro_raw": compute_mean_roc_auc(self.labels, self.scores)}

    @property
    def accuracy(self) -> Accuracy:
        return Accuracy(self.metrics["accuracy"], self.metrics["count"])

    def describe(self) -> str:
        """Return one line with the most important metrics."""
        m = self.metrics
        area = "" if m["roc_auc_macro"] is None else f"ROC AUC {m['roc_auc_macro']:.4f}, "
        return (
            f"accuracy {100 * m['accuracy']:.2f} %, wrong {100 * m['loss']:.2f} %, silent {100 * m['silent']:.2f} % "
            f"(F1 {m['f1_macro']:.4f}, {area}{m['count']:,} images)"
        )

    def compare(self, other: "Evaluation") -> dict[str, float]:
        """Return the difference of the accuracy to that of another evaluation of the same n images, paired by image.

        ``gained`` and ``lost``, b and c, are the numbers of images that only this and only the other one classifies
        correctly. ``difference`` is (b - c) / n, and ``interval`` the half width of its 95 % interval,
        1.96 √(b + c - (b - c)² / n) / n. ``p`` is the exact two-sided p of McNemar's test (Psychometrika 12:153, 1947):
        b of b + c follows a binomial distribution with the probability 1/2.
        """
        from scipy.stats import binomtest  # the import takes a second

        changes = (self.predictions == self.labels).astype(int) - (other.predictions == other.labels)
        gained = int((changes > 0).sum())
        lost = int((changes < 0).sum())
        return {
            "difference": float(changes.mean()),
            "interval": float(QUANTILE * changes.std() / math.sqrt(len(changes))),
            "p": float(binomtest(gained, max(1, gained + lost)).pvalue),  # without a change 1
            "gained": gained,
            "lost": lost,
        }

    def write_predictions(self, path: Path, class_names: Sequence[str], images: Sequence[str | int]) -> None:
        """Write one row per image: index, label, prediction (or "silent"), score of the prediction, and the image.

        images: their names, by ``DataSet.name_images``.
        """
        names = [*class_names, "silent"]  # a prediction of -1 is the last
        rows: list[Sequence[object]] = [("index", "label", "prediction", "score", "image")]
        tested = zip(self.labels, self.predictions, self.scores, images, strict=True)
        for index, (label, prediction, scores, image) in enumerate(tested):
            score = 0.0 if prediction == SILENT else scores[prediction]
            rows.append((index, quote(names[label]), quote(names[prediction]), f"{score:.6g}", quote(str(image))))
        write_csv(path, rows)


# {(split, weights): evaluation}. weights: "best", "last" or, if evaluate.py tests those of a checkpoint, "".
Evaluations = Mapping[tuple[str, str], Evaluation]


def evaluate_predictions(labels: np.ndarray, predictions: np.ndarray, scores: np.ndarray) -> dict:
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

    names = range(scores.shape[1])
    scores_of_classes = precision_recall_fscore_support(labels, predictions, labels=names, zero_division=0)
    per_class = dict(zip(("precision", "recall", "f1", "support"), scores_of_classes, strict=True))
    matrix = confusion_matrix(labels, predictions, labels=[*names, SILENT])
    return {
        "count": len(labels),
        **Outcome.of(predictions, labels).scores(),
        **{f"{name}_macro": float(per_class[name].mean()) for name in ("precision", "recall", "f1")},
        "roc_auc_macro": compute_mean_roc_auc(labels, scores),
        "per_class": {name: values.tolist() for name, values in per_class.items()},
        "confusion_matrix": matrix[:-1].tolist(),
    }


def quote(text: str) -> str:
    """Put a quote before a text that a spreadsheet would take for a formula, by its first character."""
    return f"'{text}" if text.startswith(("=", "+", "-", "@")) else text


def measure_balance(metrics: Metrics) -> float | None:
    """Return the balanced accuracy if the classes are unequal.

    metrics: what ``evaluate_predictions`` returns. Returns None if the classes have about the same number of images.
    """
    support = np.array(metrics["per_class"]["support"])
    return compute_balanced_accuracy(metrics).fraction if are_unequal(support) else None


def decide_early(model: NetworkTrainer, latencies: torch.Tensor) -> Iterator[torch.Tensor]:
    """Yield for each time step t the decisions, int64 (N,), by the spikes up to t.

    Later spikes of the maps that the decision stage reads are dropped, also of those of which a ``SpikingDense`` reads
    only whether a neuron has spiked. Earlier spikes do not depend on them, so this is as if the image ended there.

    latencies: of encoded images, uint8 (N, C, H, W). Nothing is yielded without a decision stage.
    """
    if model.decision is None:
        return
    maps = dict(model.walk(latencies, model.inputs_of(model.decision)))
    for t in range(model.time_steps):
        yield model.predict({name: times.where(times <= t, model.time_steps) for name, times in maps.items()}).cpu()


def measure_decision_time(model: NetworkTrainer, latencies: LatencyMap, labels: np.ndarray) -> dict[str, list[float]]:
    """Measure how many decisions are correct by the spikes up to each time step, see ``decide_early``.

    latencies, labels: of encoded images, uint8 (N, C, H, W) and int (N,), of which at most ``TIMED`` are classified.

    Returns ``accuracy`` and ``silent``, fractions of the images for each t.
    """
    chosen = choose_evenly(len(labels), TIMED)
    of_chosen = torch.as_tensor(labels[chosen])
    scores = [Outcome.of(decisions, of_chosen).scores() for decisions in decide_early(model, latencies[chosen])]
    return {name: [at_time[name] for at_time in scores] for name in ("accuracy", "silent")}


def describe_only_decision(metrics: Metrics, class_names: Sequence[str]) -> str:
    """Return a sentence if all decisions are for one class although the images are of several classes, else "".

    metrics: what ``evaluate_predictions`` returns.
    """
    matrix = np.array(metrics["confusion_matrix"])
    images = matrix.sum(1)
    (decided,) = np.nonzero(matrix[:, :-1].sum(0))
    if len(decided) != 1 or np.count_nonzero(images) < 2:
        return ""
    largest = ", the largest class" if images[decided[0]] == images.max() else ""
    return f"every decision is {class_names[decided[0]]}{largest}"


def compute_balanced_accuracy(metrics: Metrics) -> Accuracy:
    """Return the balanced accuracy: the mean recall of the classes that have images. It depends on no proportions.

    metrics: what ``evaluate_predictions`` returns.
    """
    per_class = metrics["per_class"]
    pairs = zip(per_class["recall"], per_class["support"], strict=True)
    classes = tuple(Accuracy(recall, count) for recall, count in pairs if count)
    mean = sum(each.fraction for each in classes) / len(classes)
    return Accuracy(mean, metrics["count"], classes)


def compute_roc_curves(labels: np.ndarray, scores: np.ndarray) -> list[Curve | None]:
    """Compute the one-vs-rest ROC curve of each class.

    labels (N,) and scores (N, classes): as in ``evaluate_predictions``. The curve is None if the class has no image, or
    all images, because it has no rates.
    """
    from sklearn.metrics import auc, roc_curve

    curves: list[Curve | None] = []
    for name, of_class in enumerate(scores.T):
        is_class = labels == name
        if is_class.all() or not is_class.any():
            curves.append(None)
        else:
            false_positives, true_positives, _ = roc_curve(is_class, of_class)
            area = float(auc(false_positives, true_positives))
            curves.append((false_positives, true_positives, area))
    return curves


def compute_mean_roc_auc(labels: np.ndarray, scores: np.ndarray) -> float | None:
    """Compute the mean area under the ROC curves that are defined; None if there is none."""
    areas = [curve[2] for curve in compute_roc_curves(labels, scores) if curve is not None]
    return float(np.mean(areas)) if areas else None
