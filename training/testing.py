"""What a test leaves behind: scores, predictions, figures, activation maps and the page, of a run or of evaluate.py."""

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from report.activation_maps import save_activation_maps
from report.evaluation import Evaluation
from report.page import PAGE, write_page
from report.report import Report, collect_results, draw_figures
from training.log import RunLog
from utils import write_json


def report_test(
    log: RunLog,
    report: Report,
    evaluations: dict[str, Evaluation],
    facts: dict[str, Any],
    maps: Path,
    indices: np.ndarray,
    draw: bool = True,
    step: int = 0,
) -> None:
    """Write the files about a test, of a run or of evaluate.py, into its folder, that of the log, and log the scores.

    They are results.json, predictions.csv if the network decides, figures, activation maps and the page.

    Args:
        evaluations, facts: the arguments of ``collect_results``. predictions.csv contains ``report.evaluation``.
        maps: the folder of the activation maps.
        indices: the indices, in ``report.images``, of the images whose activation maps are saved.
        draw: whether to draw figures, pictures of the maps and the page.
        step: the step in TensorBoard.
    """
    folder = log.folder
    write_json(folder / "results.json", collect_results(evaluations, facts))  # first: no figure can cost the scores
    names = report.class_names
    if report.evaluation:
        report.evaluation.write_predictions(folder / "predictions.csv", names)
    if draw:
        log.info_all(draw_figures(folder / "figures", report))
    if len(indices):
        save_activation_maps(report.model, report.latencies[indices], report.labels, indices, maps, names, draw=draw)
    if draw:
        log.write(PAGE, partial(write_page, folder, report, maps))
    for key, evaluation in evaluations.items():
        split, _, weights = key.partition(".")
        if weights != "last":
            log.board.log_scores(split, evaluation.metrics, step)
    log.board.log_pictures("maps", maps, step)
    log.board.log_pictures("report", folder / "figures", step)
