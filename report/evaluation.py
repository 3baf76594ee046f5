"""The decisions of a network on a set of images, and their scores."""

import csv
from functools import cached_property

import numpy as np
import torch

from engine.packed import Packed
from report.metrics import SILENT, evaluate_predictions, roc_curves
from utils import write_atomically


class Evaluation:
    """The decisions of a network on a set of images.

    labels, predictions int64 (N,), -1 for silence; scores (N, classes): see ``NetworkTrainer.decide``; first_spikes
    uint8 (N,): the time step of the earliest spike in the decision stage's input, ``steps`` if there is none.
    """

    def __init__(self, model, maps, labels):
        name = model.input_name(model.decision)
        inputs = model.map_of(maps, name)
        decisions, scores = model.decide({name: inputs})
        self.labels = torch.as_tensor(labels).numpy()
        self.predictions, self.scores = decisions.cpu().numpy(), scores.double().cpu().numpy()
        packed = isinstance(inputs, Packed)
        self.first_spikes = inputs.earliest if packed else inputs.flatten(1).amin(1).cpu().numpy()
        self.num_classes = model.num_classes

    @property
    def relative_scores(self):
        """Scores as fractions of each image's highest: its level, which follows the number of spikes, is gone."""
        return self.scores / np.maximum(self.scores.max(1, keepdims=True), 1e-12)

    @cached_property
    def metrics(self):
        """All of ``metrics.evaluate_predictions``, and the ROC AUC of the relative scores too."""
        scores = evaluate_predictions(self.labels, self.predictions, self.scores, self.num_classes)
        areas = [c[2] for c in roc_curves(self.labels, self.relative_scores, self.num_classes) if c is not None]
        return {**scores, "roc_auc_macro_relative": float(np.mean(areas)) if areas else None}

    def describe(self):
        """One line: the scores that matter."""
        m = self.metrics
        return (
            f"{100 * m['accuracy']:.2f} % right, loss {m['loss']:.4f}, {100 * m['silent']:.2f} % silent "
            f"(F1 {m['f1_macro']:.4f}, {m['count']:,} images)"
        )

    def write_predictions(self, path, class_names):
        """One row per image: index, label, prediction (or "silent"), score of the prediction, first input spike."""
        names = [*class_names, "silent"]  # a prediction of -1 is the last

        def write(temporary):
            with open(temporary, "w", newline="", encoding="utf-8") as file:
                writer = csv.writer(file)
                writer.writerow(("index", "label", "prediction", "score", "first_spike"))
                rows = zip(self.labels, self.predictions, self.scores, self.first_spikes, strict=True)
                for index, (label, prediction, scores, first) in enumerate(rows):
                    score = 0.0 if prediction == SILENT else scores[prediction]
                    writer.writerow((index, names[label], names[prediction], f"{score:.6g}", first))

        write_atomically(path, write)
