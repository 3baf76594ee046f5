"""The test at the end of a run, and what a test leaves behind: scores, figures and activation maps.

``finish`` tests a run. evaluate.py also tests, and writes the same files by ``report_test``.
"""

import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from engine.graph import LatencyMap
from engine.stages import INPUT
from network_trainer import LatencyDataset
from report.activation_maps import save_activation_maps
from report.channels import name_channels
from report.diagnosis import Finding, compare_splits
from report.evaluation import Evaluation, Evaluations, compute_balanced_accuracy, measure_decision_time
from report.operations import count_operations
from report.page import PAGE, load_template, write_page
from report.report import Report, collect_results, draw_figures
from run_folder import list_plugins
from SpykeTorch import __version__
from training.checkpoint import best_weights, collect_checkpoint
from training.log import RunLog
from training.plan import Plan
from training.readout import read_features
from training.recorders.moments import read_moments
from training.references import compare_with_references, measure_references
from training.run import Run
from utils import describe_environment, get_peak_memory, join_words, write_json, write_text

MAPS = "maps/end"  # in the folder of a run, the activation maps at its end


def finish(run: Run) -> None:
    """Test the best and the last weights, and write scores, figures, maps and the page; then train the readout."""
    split = run.plan.splits.scored
    run.plan.record.test_reads += split == "test"
    run.save()
    tested = run.encode_split(split)
    evaluations = evaluate(run, tested)
    with best_weights(run.plan.model, run.progress.best):
        report = make_report(run, tested.maps[INPUT], evaluations)
        report_run(run, report)
    run.log.close()


def report_run(run: Run, report: Report) -> None:
    """Write what a finished run leaves behind. The network has the best weights."""
    plan = run.plan
    draw = plan.settings.figures
    if draw:
        run.log.info("drawing the figures")
    report_test(report, run.folder, run.log, draw, len(run.progress.history) + 1, plan.settings.figure_formats)
    log_scores(run, report.evaluations)
    facts = dict(report.facts)
    if plan.feature_stage or plan.readout_stage:
        if draw:
            run.log.write(PAGE, partial(write_page, run.folder, report))  # a readout may take hours
        facts |= read_features(plan, run.folder, run.log)
    run.seconds["since the last start"] = time.perf_counter() - run.began
    peak = get_peak_memory()
    flags = plan.record.flags
    facts |= {"peak_memory_mb": peak, "flags": flags, "finished": flags["epochs"]}
    results = collect_results(report.evaluations, facts)
    methods = load_template("methods.txt").render(results, run=run, evaluations=report.evaluations)
    write_text(run.folder / "methods.md", f"{methods}\n")
    if draw:
        run.log.write(PAGE, partial(write_page, run.folder, report, results))
    write_json(run.folder / "results.json", results)
    memory = f", {peak:,.0f} MB at most" if peak else ""
    place = run.folder / PAGE if draw else run.folder
    run.log.info(f"{run.seconds['since the last start']:.0f} s{memory}; see {place}")
    if plan.settings.dry_run:
        run.log.info("a dry run: accuracies of a few images are no results")


def make_report(run: Run, latencies: LatencyMap, evaluations: Evaluations) -> Report:
    """Return the report on a network that has the best weights, after its diagnosis. latencies: of the scored split."""
    plan = run.plan
    split = plan.splits.scored
    best = run.progress.best
    tested = plan.splits.get_split(split)
    moments, convergences = read_moments(plan.kept.get("Moments", {}))
    if best is None:
        run.save("best.safetensors")
    facts = {}
    if not plan.settings.dry_run:
        facts = diagnose_decisions(run, evaluations)
    run.log_findings(run.list_advice())
    weights = f"best epoch {best['epoch']} of {best['phase']}" if best else "last epoch"
    return Report(
        model=plan.model,
        encoder=plan.encoder,
        images=tested.images,
        labels=tested.labels,
        latencies=latencies,
        class_names=plan.splits.data.class_names,
        title=f"{plan.title}, {weights}",
        names=plan.splits.data.name_images(split, tested.indices),
        split=split,
        evaluations=evaluations,
        facts={
            "diagnosis": plan.record.diagnosis,
            "operations": count_operations(plan.model, latencies),
            "decision_time": measure_decision_time(plan.model, latencies, tested.labels) if evaluations else {},
            **facts,
            **collect_facts(run),
        },
        shown=plan.map_images,
        maps=MAPS,
        history=run.progress.history,
        copies=run.make_copies(),
        moments=moments,
        convergences=convergences,
    )


def explain_no_scores(plan: Plan) -> str:
    """Return why a run has no scores; "" if it has."""
    if plan.model.decision is None:
        return "no stage of this network decides; see its convergence"
    return "nothing is tested, because no image is held out" if plan.splits.scored == "labelled" else ""


def evaluate(run: Run, tested: LatencyDataset) -> Evaluations:
    """Evaluate the last weights, which the network has, and the best weights. tested: the split that is scored.

    Returns those of ("test", "last"), ("test", "best") and, if an epoch is the best, ("validation", "best"). If the
    test images are not read: of ("validation", "last") and ("validation", "best"). Without scores: {}.
    """
    model = run.plan.model
    if explain_no_scores(run.plan):
        return {}
    split = run.plan.splits.scored
    best = run.progress.best
    validation = run.validation
    last = Evaluation(*model.decide(tested.maps), tested.labels)
    evaluations = {(split, "best"): last, (split, "last"): last}
    if best is None or validation is None:  # no epoch is the best without validation images or epochs with labels
        return evaluations
    with best_weights(model, best):
        if best["phase"] != model.phases[-1].name:  # a later phase has trained stages below
            validation = run.encode_split("validation")
        evaluations[split, "best"] = Evaluation(*model.decide(tested.maps), tested.labels)
        if split == "test":
            evaluations["validation", "best"] = Evaluation(*model.decide(validation.maps), validation.labels)
    return evaluations


def diagnose_decisions(run: Run, evaluations: Evaluations) -> dict[str, dict]:
    """Log the comparison of the network with its references, and what its accuracies hide. Returns the references."""
    plan = run.plan
    references = {}
    if plan.splits.scored == "labelled":
        return {}
    if plan.settings.references:
        references = measure_references(plan.splits, plan.encoder, plan.model, plan.settings.seed)
        run.log_findings(compare_with_references(references, evaluations, plan.model, plan.splits.data.colours))
    else:
        run.log.info("the network is not compared with its references (--no-references)")
    texts: list[str] = []
    for (split, weights), evaluation in evaluations.items():
        if weights == "best":
            texts += evaluation.describe_balance(plan.splits.data.class_names, f"{split} images")
    run.log_findings(map(Finding, texts))
    if texts:
        command = join_words(["python", "-m", "results.scripts.balanced", str(run.folder), *list_plugins()])
        run.log.info(f"a logistic regression on the features, in which classes count equally: {command}")
    keys = ("validation", "best"), ("test", "best")
    if evaluations.keys() >= {*keys}:
        run.log_findings(compare_splits(*(compute_balanced_accuracy(evaluations[key].metrics) for key in keys)))
    return references


def collect_facts(run: Run) -> dict[str, Any]:
    """Return what results.json contains beside the scores."""
    plan = run.plan
    scored: dict[str, Any]
    if reason := explain_no_scores(plan):
        scored = {"scores": reason}
    else:
        best = dict(run.progress.best or {})
        best.pop("state", None)
        scored = {"best_epoch": best or None, "test_reads": plan.record.test_reads}
    if plan.record.spread:
        scored["spread"] = plan.record.spread
    run.seconds |= {f"phase {name}": value for name, value in run.progress.phase_seconds.items()}
    content = collect_checkpoint(run.folder, plan.model, plan.encoder)
    per_class = {}
    for split in plan.splits.indices:
        counts = np.bincount(plan.splits.get_split(split).labels + 1, minlength=plan.model.num_classes + 1)
        per_class[split] = counts[1:].tolist()  # without those of images that have no label, -1
    phases = {}
    for number, phase in enumerate(plan.model.phases):
        rows = [row for row in run.progress.history if row.phase == phase.name]
        phases[phase.name] = {"epochs": len(rows), "ended_by": plan.lengths.find_end(number, rows)}
    return {
        **scored,
        "fingerprint": plan.record.fingerprint,
        "class_names": plan.record.class_names,
        "images_per_class": per_class,
        "encoder": content.encoding,
        "stages": content.declaration,
        "phases": phases,
        "seconds": run.seconds,
        "images": plan.splits.count_images(),
        "machine": {"version": __version__, **describe_environment()},
    }


def log_scores(run: Run, evaluations: Evaluations) -> None:
    """Log the scores. Those of a dry run, which are of a few images, are not printed."""
    if best := run.progress.best:
        text = f"best on the validation set: epoch {best['epoch']} of {best['phase']}"
        equal = [row for row in run.progress.history if row.val_accuracy == best["accuracy"]]
        if len(equal) > 1:
            text += f", the first of {len(equal)} with this accuracy"
        run.log.info(text)
    if not evaluations:
        run.log.info(f"no scores: {explain_no_scores(run.plan)}")
    if run.plan.settings.dry_run:
        return
    for (split, weights), evaluation in evaluations.items():
        run.log.info(f"{split:<10} {weights}  {evaluation.describe()}")


def report_test(
    report: Report, folder: Path, log: RunLog, draw: bool = True, step: int = 0, formats: Sequence[str] = ()
) -> None:
    """Write the files about a test into a folder, and log the scores to TensorBoard.

    They are results.json, predictions.csv if the network decides, figures and activation maps.

    draw: whether to draw figures and pictures of the maps. step: the step in TensorBoard. formats: as
    ``draw_figures`` takes them.
    """
    # first: no figure can cost the scores
    write_json(folder / "results.json", collect_results(report.evaluations, report.facts))
    names = report.class_names
    if report.evaluation:
        report.evaluation.write_predictions(folder / "predictions.csv", names, report.names)
    if draw:
        log.info_all(draw_figures(folder / "figures", report, formats))
    maps = folder / report.maps
    shown = np.asarray(report.shown)
    if len(shown):
        saved = report.model, report.latencies[shown], report.labels, shown, maps, names
        log.info_all(save_activation_maps(*saved, draw=draw, channels=name_channels(report.encoder)))
    for (split, weights), evaluation in report.evaluations.items():
        if weights != "last":
            log.board.log_scores(split, evaluation.metrics, step)
    log.board.log_pictures("maps", maps, step)
    log.board.log_pictures("figures", folder / "figures", step)
