"""The classifiers on the pixels with which a run compares its network."""

import shlex
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from support.command import COMPARED, MACHINE, SMALL, results, run_evaluate, run_train

from report.evaluation import Evaluation
from report.results import format_table, tabulate
from training import references
from training.advice import advise_rule
from training.data import load_data
from training.plan import Plan
from training.settings import TrainSettings


def make_plan(words):
    settings = TrainSettings.parse(shlex.split(f"{SMALL} {words}"))
    return Plan.new(settings, load_data(settings))


def measure(plan):
    return references.measure_references(plan.splits, plan.encoder, plan.model, plan.settings.seed)


def compare(plan, measured, network=None):
    """The table of results on the validation images. network: how many of 400 images it classifies correctly."""
    networks = {}
    if network is not None:
        labels = np.arange(400) % 10
        decisions = torch.tensor(np.where(np.arange(400) < network, labels, (labels + 1) % 10))
        networks = {plan.model.name: Evaluation(decisions, torch.zeros(400, 10), labels)}
    return tabulate("validation", networks, [*"0123456789"], measured)


@pytest.mark.parametrize(
    ("model", "network", "better", "advice"),
    [
        # By hand, in %: 300 of 400 are 75 with the error 2.16, 275 are 68.75 with 2.31; 2 · sqrt(2.16² + 2.31²) = 6.3
        ("mozafari2018", 275, [], {"set.s3.rule": "margin"}),
        ("mozafari2018", 274, ["other"], {"set.s3.rule": "margin"}),
        ("mozafari2018", 300, [], {}),
        ("mozafari2018", 325, [], {}),
        ("mozafari2018", 60, ["other", "one"], {}),  # near chance: it needs other features
        ("mozafari2018_margin", 200, ["other", "one"], {}),
    ],
)
def test_a_network_is_compared_with_the_better_classifier(model, network, better, advice):
    """Nothing is claimed within two standard errors. By hand: 282 of 404 are 69.80 %, and 1.96 of their errors 4.48."""
    scores = {"validation": {"one": 0.7, "other": 0.75}}
    measured = {"references": scores, "reference_images": {"labelled": 9, "validation": 400}}
    plan = make_plan(f"--model {model}")
    table = compare(plan, measured, network)
    rows = table["rows"]
    assert [row["name"] for row in rows if row.get("better")] == better
    accuracies = [row["accuracy"] for row in rows[:-1]]
    assert accuracies == sorted(accuracies, reverse=True)
    (one,) = (row for row in rows if row["name"] == "one")
    assert one["interval"] == pytest.approx((0.653, 0.743), abs=5e-4)
    assert rows[-1]["kind"] == "chance"
    assert advise_rule(plan, table) == advice
    is_alike = bool(table["notes"]) and "cannot tell" in table["notes"][0]
    assert is_alike == (network in (274, 275, 300))


def test_the_images_that_could_tell_are_counted():
    """By hand: 322 of 404 images are 79.7 %, 302 are 74.8 %; 4 (0.162 + 0.189) / 0.05² = 561."""
    measured = {"references": {"validation": {"one": 0.75}}, "reference_images": {"labelled": 9, "validation": 400}}
    note, *_ = compare(make_plan("--model multiscale2026"), measured, 320)["notes"]
    assert "about 570 could" in note


@pytest.mark.parametrize("limit", [("MAX_IMAGES", 10), ("MAX_VALUES", 10 * 64 + 63)])  # the images have 64 pixels
def test_a_sample_of_images_whose_classes_take_turns_has_both(limit, monkeypatch):
    monkeypatch.setattr(references, *limit)
    classes = np.arange(100) % 2
    images = SimpleNamespace(train_images=np.zeros((100, 8, 8)))
    indices = {"train": classes, "validation": classes}  # of a run with --no-test
    splits = SimpleNamespace(indices=indices, get_split=lambda name: classes, data=images)
    parts = references.choose_images(splits, 0)
    assert [*parts] == ["labelled", "validation"]
    assert [(len(part), {*part}) for part in parts.values()] == [(10, {0, 1})] * 2


def test_the_images_are_counted_if_a_sample_was_compared():
    measured = {"references": {"validation": {"one": 0.8}}, "reference_images": {"labelled": 20, "validation": 100}}
    lines = [*format_table(compare(make_plan("--model multiscale2026"), measured, 320))]
    assert any("400 validation" in line for line in lines)
    assert any("one (100)" in line for line in lines)
    assert max(map(len, lines)) < 80


def test_a_readout_that_a_resumed_run_trains_has_labels_and_images():
    plan = make_plan("--model kheradpisheh2018 --labels 20 --no-test")
    assert len(plan.splits.labelled) == 20


def test_a_network_without_decisions_is_not_compared():
    plan = make_plan("--model kheradpisheh2018")
    assert {row["kind"] for row in compare(plan, measure(plan))["rows"]} == {"reference", "chance"}


def test_all_references_learn_from_the_same_images_and_are_scored_on_each_split():
    plan = make_plan("--model mozafari2018")
    measured = measure(plan)
    assert measured["reference_images"] == {"labelled": 138, "validation": 12, "test": 40}
    names = ["largest class", "nearest neighbour", "linear classifier", "control2026"]
    for split in ("validation", "test"):
        assert [*measured["references"][split]] == names
    assert measured["references"]["validation"]["control2026"] > 0.5  # chance: 0.1
    assert measure(plan) == measured
    untested = measure(
        make_plan("--model mozafari2018 --no-test --set encoder.time_steps=10")
    )  # a level of control2026
    assert {split: [*scores] for split, scores in untested["references"].items()} == {"validation": names}
    with_itself = measure(make_plan("--model control2026"))["references"]["test"]
    assert [*with_itself] == names[:-1]


def test_a_later_test_scores_the_references_on_the_test_images(tmp_path, undrawn):
    run = run_train(f"{COMPARED} --epochs 0 0 1 --no-test", tmp_path)
    trained = results(run)["references"]
    assert [*trained] == ["validation"]
    tested = results(run_evaluate(f"{run} {MACHINE} --no-figures", tmp_path))["references"]
    assert [*tested] == ["validation", "test"]
    assert tested["validation"] == trained["validation"]


def test_the_best_epoch_of_the_control_is_scored(monkeypatch):
    """As that of the network. Its third epoch is worse than its second: 10 and 11 of 12 images."""
    plan = make_plan("--model mozafari2018")
    reached = []
    for epochs in (2, 3):
        monkeypatch.setattr(references, "CONTROL_EPOCHS", epochs)
        reached.append(measure(plan)["references"]["validation"]["control2026"])
    assert reached == [11 / 12, 11 / 12]


def test_a_control_of_too_many_weights_is_left_out(monkeypatch):
    """It reads whole maps, so it can be larger than a network that fits. The run does not fail at its end."""
    plan = make_plan("--model mozafari2018")
    monkeypatch.setattr("engine.stages.convolution.MAX_WEIGHTS", 10_000)
    assert "control2026" not in measure(plan)["references"]["validation"]


def test_the_classifiers_are_measured_by_the_threads_of_the_run(fit_threads):
    torch.set_num_threads(1)
    plan = make_plan("")
    measured = references.measure_pixels(references.choose_images(plan.splits, plan.settings.seed))["validation"]
    train, validation = (plan.splits.indices[name] for name in ("train", "validation"))
    images = plan.splits.data.train_images.reshape(150, -1).astype(np.int64)
    distances = ((images[validation, None] - images[train]) ** 2).sum(2)
    labels = plan.splits.data.train_labels
    nearest = labels[train][distances.argmin(1)]
    assert measured["largest class"] == (labels[validation] == np.bincount(labels[train]).argmax()).mean()
    assert measured["nearest neighbour"] == (nearest == labels[validation]).mean()
    assert set(fit_threads) == {1}
