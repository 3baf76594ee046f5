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
from report.diagnosis import Finding, compare_splits, join_advice
from report.evaluation import (
    Evaluation,
    Evaluations,
    compute_balanced_accuracy,
    measure_balance,
    measure_decision_time,
)
from report.operations import count_operations
from report.page import PAGE, load_template, write_page
from report.report import Report, collect_results, draw_figures
from report.results import Table, format_findings, format_table, tabulate
from run_folder import list_plugins
from SpykeTorch import __version__
from training.advice import advise_rule, choose_next, replace_flags
from training.checkpoint import best_weights, collect_checkpoint
from training.log import RunLog
from training.plan import Plan
from training.readout import read_features
from training.recorders.moments import read_moments
from training.references import measure_references
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
    facts = dict(report.facts)
    log_scores(run, report.evaluations, facts["table"])
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
    run.log.info_all(format_findings(plan.record.findings))
    run.log.info("")
    if advised := facts["next"]:
        run.log.info_all([f"next: {advised['command']}", f"      {advised['reason']}"])
    if report.evaluations:
        words = ["python", "evaluate.py", str(run.folder), "--predict", "PICTURE.png", *list_plugins()]
        run.log.info(f"use:  {join_words(words)}")
    place = f"page: {run.folder / PAGE}" if draw else f"see {run.folder}"
    run.log.info_all([place, f"{run.seconds['since the last start']:.0f} s{memory}"])
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
    facts = measure(run, evaluations)
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


def measure(run: Run, evaluations: Evaluations) -> dict[str, Any]:
    """Return the references, the table of results, the findings and what to type next, for results.json."""
    plan = run.plan
    split = plan.splits.scored
    names = plan.splits.data.class_names
    record = plan.record
    references = {}
    if plan.settings.references and not plan.settings.dry_run and split != "labelled":
        references = measure_references(plan.splits, plan.encoder, plan.model, plan.settings.seed)
    table = tabulate(split, name_networks(run, evaluations), names, references)
    advised = None
    if not plan.settings.dry_run:
        keys = ("validation", "best"), ("test", "best")
        if evaluations.keys() >= {*keys}:
            run.log_findings(compare_splits(*(compute_balanced_accuracy(evaluations[key].metrics) for key in keys)))
        record.advice = {**record.advice, **advise_rule(plan, table)}
        advised = choose_next(plan, run.folder, record.advice, table)
    flags = join_advice(record.advice, plan.lengths, plan.settings.set)
    tried = [f"try {join_words(replace_flags([], flags))}"] if flags else []
    lines = [Finding(stage, measured, usual).text for stage, measured, usual in record.findings]
    return {
        **references,
        "table": table,
        "findings": record.findings,
        "next": advised and advised._asdict(),
        "diagnosis": [*record.diagnosis, *lines, *table["classes"], *tried],
    }


def name_networks(run: Run, evaluations: Evaluations) -> dict[str, Evaluation]:
    """Return {name: evaluation} of the scored split: the best epoch and, if it is another, the last."""
    name = run.plan.model.name
    history = run.progress.history
    found = [evaluation for (split, _), evaluation in evaluations.items() if split == run.plan.splits.scored]
    if not found or not history:
        return dict.fromkeys([name], found[0]) if found else {}
    last = f"{name}, epoch {history[-1].epoch} of {history[-1].phase}"
    best = run.progress.best
    if best is None:
        return {f"{last} (last)": found[0]}
    if best["step"] == history[-1].step:
        return {f"{last} (best and last)": found[0]}
    chosen = f"{name}, epoch {best['epoch']} of {best['phase']} (best)"
    by_weights = {weights: evaluations[run.plan.splits.scored, weights] for weights in ("best", "last")}
    return {chosen: by_weights["best"], f"{last} (last)": by_weights["last"]}


def log_scores(run: Run, evaluations: Evaluations, table: Table) -> None:
    """Log the table of results and, outside of a terminal, a line for each evaluation, which scripts read.

    Those of a dry run, which are of a few images, are not printed.
    """
    log = run.log
    if not evaluations:
        log.info(f"no scores: {explain_no_scores(run.plan)}")
    if run.plan.settings.dry_run:
        return
    for (split, weights), evaluation in evaluations.items():
        log.info(f"{split:<10} {weights}  {evaluation.describe()}", in_terminal=False)
    if any(measure_balance(evaluation.metrics) is not None for evaluation in evaluations.values()):
        command = join_words(["python", "-m", "results.scripts.balanced", str(run.folder), *list_plugins()])
        log.info(f"a logistic regression on the features, in which classes count equally: {command}", in_terminal=False)
    log.info_all(format_table(table))
    if best := run.progress.best:
        count = run.plan.splits.count_images()["validation"]
        text = f"epoch chosen by {count:,} validation images, {100 * best['accuracy']:.2f} %"
        equal = [row for row in run.progress.history if row.val_accuracy == best["accuracy"]]
        log.info(f"{text}, the first of {len(equal)} epochs" if len(equal) > 1 else text)


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
