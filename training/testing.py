"""What a test leaves behind: scores, predictions, figures and activation maps, of a run or of evaluate.py."""

from pathlib import Path

from report.activation_maps import save_activation_maps
from report.report import Report, collect_results, draw_figures
from training.log import RunLog
from utils import write_json


def report_test(report: Report, folder: Path, log: RunLog, draw: bool = True, step: int = 0) -> None:
    """Write the files about a test into a folder, and log the scores to TensorBoard.

    They are results.json, predictions.csv if the network decides, figures and activation maps.

    draw: whether to draw figures and pictures of the maps. step: the step in TensorBoard.
    """
    # first: no figure can cost the scores
    write_json(folder / "results.json", collect_results(report.evaluations, report.facts))
    names = report.class_names
    if report.evaluation:
        report.evaluation.write_predictions(folder / "predictions.csv", names)
    if draw:
        log.info_all(draw_figures(folder / "figures", report))
    maps = folder / report.maps
    shown = report.shown
    if len(shown):
        save_activation_maps(report.model, report.latencies[shown], report.labels, shown, maps, names, draw=draw)
    for key, evaluation in report.evaluations.items():
        split, _, weights = key.partition(".")
        if weights != "last":
            log.board.log_scores(split, evaluation.metrics, step)
    log.board.log_pictures("maps", maps, step)
    log.board.log_pictures("report", folder / "figures", step)
