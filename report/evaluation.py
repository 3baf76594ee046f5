"""The decisions of a network on a set of images, and their scores."""

import csv
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path

import numpy as np
import torch

from engine.graph import LatencyMap
from engine.packed import Packed
from network_trainer import NetworkTrainer
from report.metrics import SILENT, compute_mean_roc_auc, evaluate_predictions
from utils import write_atomically


class Evaluation:
    """The decisions of a network on a set of images.

    Args:
        maps: the encoded images, or {stage: map} of maps from which the decision can be computed.
        labels: the classes of the images, int (N,).

    Attributes:
        labels, predictions: int64 (N,), -1 for silence.
        scores: float64 (N, classes), see ``NetworkTrainer.decide``.
        first_spikes: uint8 (N,), the time step of the first spike in the input of the decision stage, T for none.
    """

    def __init__(self, model: NetworkTrainer, maps: LatencyMap | Mapping[str, LatencyMap], labels: Sequence[int]):
        name = model.input_name(model.decision)
        inputs = model.map_of(maps, name)
        decisions, scores = model.decide({name: inputs})
        self.num_classes = model.num_classes
        self.labels = torch.as_tensor(labels).numpy()
        self.predictions = decisions.cpu().numpy()
        self.scores = scores.double().cpu().numpy()
        if isinstance(inputs, Packed):
            self.first_spikes = inputs.earliest
        else:
            self.first_spikes = inputs.flatten(1).amin(1).cpu().numpy()

    @property
    def relative_scores(self) -> np.ndarray:
        """The scores as fractions of the highest score of each image, so that images can be compared."""
        return self.scores / np.maximum(self.scores.max(1, keepdims=True), 1e-12)

    @cached_property
    def metrics(self) -> dict:
        """The metrics of ``metrics.evaluate_predictions``, with the ROC AUC of the relative scores.

        ``roc_auc_macro_raw`` is the ROC AUC of the potentials themselves. It is lower, because their level differs
        between images: it follows the number of spikes, while a decision compares the classes within one image.
        """
        metrics = evaluate_predictions(self.labels, self.predictions, self.relative_scores, self.num_classes)
        return {**metrics, "roc_auc_macro_raw": compute_mean_roc_auc(self.labels, self.scores, self.num_classes)}

    def describe(self, unit: str = "images") -> str:
        """Return one line with the most important metrics. unit: what was classified."""
        m = self.metrics
        area = "" if m["roc_auc_macro"] is None else f"ROC AUC {m['roc_auc_macro']:.4f}, "
        return (
            f"accuracy {100 * m['accuracy']:.2f} %, wrong {100 * m['loss']:.2f} %, silent {100 * m['silent']:.2f} % "
            f"(F1 {m['f1_macro']:.4f}, {area}{m['count']:,} {unit})"
        )

    def write_predictions(self, path: Path, class_names: Sequence[str]) -> None:
        """Write one row per image: index, label, prediction (or "silent"), score of the prediction, first spike."""
        # a spreadsheet takes a text that begins with one of these characters for a formula, unless a quote precedes it
        names = [f"'{name}" if name.startswith(("=", "+", "-", "@")) else name for name in class_names]
        names.append("silent")  # a prediction of -1 is the last

        def write(temporary):
            with open(temporary, "w", newline="", encoding="utf-8") as file:
                writer = csv.writer(file)
                writer.writerow(("index", "label", "prediction", "score", "first_spike"))
                rows = zip(self.labels, self.predictions, self.scores, self.first_spikes, strict=True)
                for index, (label, prediction, scores, first) in enumerate(rows):
                    score = 0.0 if prediction == SILENT else scores[prediction]
                    writer.writerow((index, names[label], names[prediction], f"{score:.6g}", first))

        write_atomically(path, write)
