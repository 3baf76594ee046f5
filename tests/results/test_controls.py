"""The scripts that measure what features are worth, and the statistics of their tables."""

import csv
import math

import numpy as np
import pytest
import torch
from support.command import FEW_DIGITS, results, start
from support.run_folders import only_run

from engine.layers import Layer
from engine.rules import STDP
from engine.stages import SpikingConv
from results.scripts import baselines, controls, features


def test_intervals_are_those_of_student():
    """By hand: the standard deviation of 1, 2, 3 is 1, and t(0.975; 2 degrees of freedom) is 4.3027."""
    mean, half = features.compute_interval([1.0, 2.0, 3.0])
    assert mean == 2
    assert half == pytest.approx(4.3027 / math.sqrt(3), rel=1e-4)
    assert features.format_difference([1.0, 2.0, 3.0]) == "+2.00 ± 2.48"
    assert features.format_difference([-3.1, -3.0, -2.9]) == "**-3.00 ± 0.25**"
    assert features.format_difference([0.5]) == "+0.50"


def test_differences_are_paired_by_seed():
    differences = features.subtract({"0": 3.0, "1": 5.0, "2": 1.0}, {"1": 4.0, "0": 1.0})
    assert differences == [2.0, 1.0]


def test_features_that_take_nothing_from_learning_have_a_fixed_number_of_ones():
    layer = Layer(SpikingConv(4, 5, threshold=3, rule=STDP(winners=1, radius=0)), 2)
    controls.set_ones(layer)
    controls.shuffle(layer, torch.empty(0), np.random.default_rng(0))
    weights = layer.weight.flatten(1)
    assert weights.sum(1).tolist() == [5] * 4  # a tenth of 50
    assert set(weights.unique().tolist()) == {0, 1}
    assert len({tuple(feature.tolist()) for feature in weights}) > 1


@pytest.mark.slow
def test_the_table_is_continued(tmp_path, monkeypatch, capsys):
    """A kind whose row is there is not measured again."""
    table = tmp_path / "controls.tsv"
    words = f"controls mozafari2018_margin digits --epochs 1 1 1 --images 200 --table {table} --kinds none ones"
    monkeypatch.setattr("sys.argv", words.split())
    controls.main()
    assert len(capsys.readouterr().out.splitlines()) == 2
    monkeypatch.setattr("sys.argv", [*words.split(), "patch", "STDP"])
    controls.main()
    assert len(capsys.readouterr().out.splitlines()) == 2
    with open(table, newline="") as file:
        rows = list(csv.DictReader(file, delimiter="\t"))
    assert [row["features"] for row in rows] == ["none", "ones", "patch", "STDP"]
    assert all(0 <= float(row["best"]) <= 100 for row in rows)


@pytest.mark.parametrize(
    ("network", "flags", "kind"),
    [
        (
            "mozafari2018_margin",
            "--epochs 2 2 20 --augment none --set s1.threshold=45 s2.threshold=10 encoder.threshold=50",
            "STDP",
        ),
        ("control2026", "--epochs 4 --augment none --set s1.rule.decay=0.5", "none"),
        ("control2026", "--epochs 4 --augment copies=2 turn=9 shift=2", "none"),
    ],
)
def test_few_labels_are_those_of_train_py(network, flags, kind, tmp_path, monkeypatch, capsys):
    """The same images teach the features and the decision stage, in the same order: equal accuracies, above chance."""
    table = tmp_path / "labels.tsv"
    words = f"controls {network} {FEW_DIGITS} {flags} --images 0 --labels 30 --test --table {table} --seeds 1"
    monkeypatch.setattr("sys.argv", [*words.split(), "--kinds", kind])
    controls.main()
    with open(table, newline="") as file:
        (row,) = csv.DictReader(file, delimiter="\t")
    words = f"--model {network} --dataset {FEW_DIGITS} {flags} --labels 30 --val-split 30 --seed 1"
    assert start(words, tmp_path / "runs") == 0
    found = results(only_run(tmp_path / "runs"))
    assert float(row["test"]) == pytest.approx(100 * found["test"]["last"]["accuracy"])
    assert 15 < float(row["test"]) < 90


def test_features_of_the_labelled_images_alone_are_others(tmp_path, monkeypatch, capsys):
    folder = tmp_path / "features"
    words = f"controls mozafari2018_margin {FEW_DIGITS} --epochs 1 1 1 --images 0 --labels 20 40 --features {folder}"
    monkeypatch.setattr("sys.argv", [*words.split(), "--kinds", "STDP", "labelled"])
    controls.main()
    assert [path.name for path in folder.iterdir()] == ["mozafari2018_margin-few_digits-seed0.safetensors"]
    activities = [line.rpartition("  ")[2] for line in capsys.readouterr().out.splitlines()]
    assert activities[0] == activities[1]  # learned from all images
    assert len({*activities}) == 3


def test_classifiers_of_pixels_learn_from_the_labelled_images():
    """Two groups of images, dark and bright. Three images of each have a label."""
    rng = np.random.default_rng(0)
    labels = np.arange(40) % 2
    images = (200 * labels[:, None, None] + rng.integers(0, 40, (40, 4, 4))).astype(np.uint8)
    chosen = np.arange(4, 10)
    scored = [(images[:30], labels[:30]), (images[30:], labels[30:])]
    few = baselines.FewLabels(images, labels, chosen, scored)
    for name in baselines.FEW_LABELS:
        accuracies, _ = few.score(name, chosen)
        assert accuracies == [100, 100], name


def test_thresholds_let_a_fraction_of_the_neurons_spike():
    layer = Layer(SpikingConv(4, 5, padding=2, threshold=20, rule=STDP(winners=1, radius=0)), 2)
    latency = torch.from_numpy(np.random.default_rng(0).integers(0, 16, (20, 2, 9, 9), np.uint8))
    controls.match_activity(layer, latency, 0.2)
    assert controls.measure_activity(layer, latency) == pytest.approx(0.2, abs=0.001)


def test_the_table_of_few_labels_compares_with_the_best_classifier_of_pixels(tmp_path, monkeypatch):
    """By hand: STDP leads by 2 and 4 points over copies; the best classifier is that with the mean 81."""
    accuracies = {"STDP": (85, 89), "imprinted": (83, 85), "SVM": (80, 82), "nearest neighbour": (90, 60)}
    lines = ["data\tlabels\tfeatures\tseed\ttest"]
    for kind, values in accuracies.items():
        lines += [f"mnist\t1000\t{kind}\t{seed}\t{value}" for seed, value in enumerate(values)]
    monkeypatch.setattr(features, "RESULTS", tmp_path)
    (tmp_path / "labels.tsv").write_text("\n".join(lines) + "\n")
    (row,) = features.make_label_table({("mnist", "1000"): "84.08"})
    cells = dict(zip(features.LABEL_COLUMNS, row, strict=True))
    assert cells["STDP, % (seeds)"] == "87.0 (2)"
    assert cells["− imprinted"].startswith("+3.00 ± ")
    assert cells["− pixels"].startswith("+6.00 ± ")
    assert (cells["− none"], cells["alone"]) == ("", "(84.08)")
