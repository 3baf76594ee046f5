"""The classifiers on the pixels with which a run compares its network."""

import re
import shlex
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from support.command import SMALL

from report.evaluation import Accuracy
from training import references
from training.data import load_data
from training.plan import Plan
from training.settings import TrainSettings


def make_plan(words):
    settings = TrainSettings.parse(shlex.split(f"{SMALL} {words}"))
    return Plan.new(settings, load_data(settings))


@pytest.mark.parametrize(
    ("model", "network", "expected", "advice"),
    [
        # By hand, in %: 300 of 400 are 75 with the error 2.16, 275 are 68.75 with 2.31; 2 · sqrt(2.16² + 2.31²) = 6.3
        ("mozafari2018", 275, "within two standard errors of the best of them", {"set.s3.rule": "margin"}),
        ("mozafari2018", 274, "less than the best of them", {"set.s3.rule": "margin"}),
        ("mozafari2018", 300, "within two standard errors of the best of them", {}),
        ("mozafari2018", 323, "within two standard errors of the best of them", {}),
        ("mozafari2018", 325, "more than all of them", {}),
        ("mozafari2018", 60, "less than the best of them", {}),  # near chance: it needs other features
        ("mozafari2018_margin", 200, "less than the best of them; try --model multiscale2026", {}),
        ("multiscale2026", 200, "less than the best of them", {}),
    ],
)
def test_a_network_is_compared_with_the_better_classifier(model, network, expected, advice, monkeypatch):
    """Nothing is claimed within two standard errors."""
    measured = {"accuracies": {"one": 0.7, "other": 0.75}, "split": "validation", "count": 400, "trained": 9}
    monkeypatch.setattr(references, "measure_pixels", lambda plan: measured)
    evaluation = SimpleNamespace(accuracy=Accuracy(network / 400, 400))
    plan = make_plan(f"--model {model}")
    (found,) = references.compare_with_pixels(plan, {"validation.best": evaluation})
    assert found.text.removesuffix(", with its own --epochs and --set").endswith(f", {expected}")
    assert found.advice == advice
    assert re.search(r"one 70\.00 ± 2\.28 %, other 75\.00 ± 2\.16 % of 400 validation", found.text)


def test_a_sample_of_images_whose_classes_take_turns_has_both(monkeypatch):
    monkeypatch.setattr(references, "MAX_IMAGES", 10)
    classes = np.arange(100) % 2
    images = SimpleNamespace(train_images=np.zeros((100, 8, 8)))
    splits = SimpleNamespace(indices={"validation": classes}, get_split=lambda name: classes, data=images)
    split, parts = references.choose_images(SimpleNamespace(splits=splits, settings=SimpleNamespace(seed=0)))
    assert split == "validation"
    assert [(len(part), {*part}) for part in parts] == [(10, {0, 1})] * 2


def test_the_images_are_counted_if_a_sample_was_compared(monkeypatch):
    measured = {"accuracies": {"one": 0.8}, "split": "validation", "count": 100, "trained": 20}
    monkeypatch.setattr(references, "measure_pixels", lambda plan: measured)
    evaluation = SimpleNamespace(accuracy=Accuracy(0.8, 2500))
    found, *_ = references.compare_with_pixels(make_plan("--model multiscale2026"), {"validation.best": evaluation})
    assert "of 100 validation images" in found.text
    assert "of all 2,500" in found.text


def test_a_readout_that_a_resumed_run_trains_has_labels_and_images():
    plan = make_plan("--model kheradpisheh2018 --labels 20 --no-test")
    assert len(plan.splits.labelled) == 20


def test_a_network_without_decisions_is_not_compared():
    (found,) = references.compare_with_pixels(make_plan("--model kheradpisheh2018"), {})
    assert found.text.endswith("of 12 validation images")


def test_a_network_is_compared_with_none():
    evaluations = {"validation.best": SimpleNamespace(accuracy=Accuracy(1 / 12, 12))}
    plan = make_plan("--model mozafari2018")
    (found,) = references.compare_with_control(plan, evaluations)
    reached = re.search(r"from 138 training images and reaches (\S+) ± \S+ % of 12 validation images", found.text)[1]
    assert float(reached) > 50  # chance: 10
    assert found.text.endswith("the network reaches 8.33 ± 9.76 %, less than it")
    assert [*references.compare_with_control(plan, evaluations)] == [found]


def test_a_control_of_too_many_weights_is_named(monkeypatch):
    """It reads whole maps, so it can be larger than a network that fits. The run does not fail at its end."""
    evaluations = {"validation.best": SimpleNamespace(accuracy=Accuracy(1 / 12, 12))}
    plan = make_plan("--model mozafari2018")
    monkeypatch.setattr("engine.stages.convolution.MAX_WEIGHTS", 10_000)
    (found,) = references.compare_with_control(plan, evaluations)
    assert "control2026" in found.text
    assert "10,000 weights" in found.text
    assert found.advice == {}


def test_the_control_is_not_compared_with_itself_nor_a_network_without_decisions():
    evaluations = {"validation.best": SimpleNamespace(accuracy=Accuracy(1 / 12, 12))}
    for model, scored in (("control2026", evaluations), ("kheradpisheh2018", {})):
        assert [*references.compare_with_control(make_plan(f"--model {model}"), scored)] == []


def test_the_classifiers_are_measured_by_the_threads_of_the_run(fit_threads):
    torch.set_num_threads(1)
    plan = make_plan("")
    measured = references.measure_pixels(plan)
    assert (measured["split"], measured["count"], measured["trained"]) == ("validation", 12, 138)
    train, validation = (plan.splits.indices[name] for name in ("train", "validation"))
    images = plan.splits.data.train_images.reshape(150, -1).astype(np.int64)
    distances = ((images[validation, None] - images[train]) ** 2).sum(2)
    labels = plan.splits.data.train_labels
    nearest = labels[train][distances.argmin(1)]
    assert measured["accuracies"]["largest class"] == (labels[validation] == np.bincount(labels[train]).argmax()).mean()
    assert measured["accuracies"]["nearest neighbour"] == (nearest == labels[validation]).mean()
    assert set(fit_threads) == {1}
