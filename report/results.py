"""The results of a tested network, in one folder: scores, predictions, figures and activation maps."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from report.activation_maps import save_activation_maps
from report.evaluation import Evaluation
from report.report import Report, draw_figures
from utils import write_json


def write_report(
    folder: Path,
    report: Report,
    evaluations: dict[str, Evaluation],
    facts: dict[str, Any],
    maps: Path,
    indices: np.ndarray,
    draw: bool = True,
    show: Callable[..., None] = lambda *_, **__: None,
) -> list[str]:
    """Write results.json, predictions.csv if the network decides, the figures, and activation maps.

    Args:
        folder: the folder of the run or evaluation, which exists.
        evaluations, facts: see ``collect_results``. ``report.evaluation`` is the evaluation of predictions.csv.
        maps: the folder of the activation maps.
        indices: of the images in ``report.images`` whose activation maps are saved.
        draw: whether to draw figures and pictures of the maps.
        show: shows the progress, as ``RunLog.show``.

    Returns a line for each figure that could not be drawn.
    """
    write_json(folder / "results.json", collect_results(evaluations, facts))  # first: no figure can cost the scores
    if report.evaluation:
        report.evaluation.write_predictions(folder / "predictions.csv", report.class_names)
    lost = draw_figures(folder / "figures", report, show) if draw else []
    if len(indices):
        latencies = report.latencies[indices]
        names = report.class_names
        save_activation_maps(report.model, latencies, report.labels, indices, maps, names, draw=draw, show=show)
    return lost


def collect_results(evaluations: dict[str, Evaluation], facts: dict[str, Any]) -> dict[str, Any]:
    """Return the content of results.json: the evaluations {"test.best": …} as nested dicts, and ``facts``."""
    content = {}
    for key, evaluation in evaluations.items():
        *outer, last = key.split(".")
        scores = content
        for name in outer:
            scores = scores.setdefault(name, {})
        scores[last] = evaluation.metrics
    return content | facts
