"""Controls of a run, and the statistics of the tables of features."""

import math

import numpy as np
import pytest
import torch
from support.command import FEW_DIGITS, MACHINE, SMALL, contents, read_csv, results, start
from support.draws import draw_maps
from support.tiers import slow_except

from engine.layers import Layer
from engine.rules import STDP
from engine.stages import SpikingConv
from results.scripts import controls, features, noise
from training.trained import load_network


def test_intervals_are_those_of_student():
    """By hand: the standard deviation of 1, 2, 3 is 1, and t(0.975; 2 degrees of freedom) is 4.3027."""
    mean, half = features.compute_interval([1.0, 2.0, 3.0])
    assert mean == 2
    assert half == pytest.approx(4.3027 / math.sqrt(3), rel=1e-4)
    assert features.format_difference([1.0, 2.0, 3.0]) == "+2.00 ± 2.48"
    assert features.format_difference([-3.1, -3.0, -2.9], True) == "**-3.00 ± 0.25**"
    assert features.format_difference([0.5]) == "+0.50"


def test_a_column_of_differences_is_tested_by_holm():
    """By hand: t is 3.46, -52, 10.4 and 5.20 (2 degrees of freedom), so p is 0.074, 0.0004, 0.009 and 0.035.

    0.0004 < 0.05 / 4 and 0.009 < 0.05 / 3, but 0.035 > 0.05 / 2. Alone, 0.035 is significant.
    """
    column = [[1.0, 2.0, 3.0], [-3.1, -3.0, -2.9], [1.0, 1.2, 1.4], [1.0, 1.5, 2.0], [5.0, 5.001], [7.0], []]
    assert features.find_significant(column) == [False, True, True, False, False, False, False]
    assert features.find_significant([[1.0, 1.5, 2.0]]) == [True]
    assert features.find_significant([[0.1, -0.1, 0.2], [0.0] * 3, [3.0, 3.1, 3.2]]) == [False, False, True]


def test_differences_are_paired_by_seed():
    differences = features.subtract({"0": 3.0, "1": 5.0, "2": 1.0}, {"1": 4.0, "0": 1.0})
    assert differences == [2.0, 1.0]


def make_layer(features, threshold):
    return Layer(SpikingConv(features, 5, padding=2, threshold=threshold, rule=STDP(winners=1, radius=0)), 2)


def make_ones(features, threshold):
    """A layer of which a tenth of the weights are 1."""
    layer = make_layer(features, threshold)
    controls.set_ones(layer)
    controls.shuffle(layer, torch.empty(0), np.random.default_rng(0))
    return layer


def test_features_that_take_nothing_from_learning_have_a_fixed_number_of_ones():
    weights = make_ones(4, 3).weight.flatten(1)
    assert weights.sum(1).tolist() == [5] * 4  # a tenth of 50
    assert set(weights.unique().tolist()) == {0, 1}
    assert len({tuple(feature.tolist()) for feature in weights}) > 1


FLAGS = (
    f"--model mozafari2018_margin --dataset {FEW_DIGITS} --epochs 1 1 4 --augment none --labels 30 --val-split 30 "
    "--set s1.threshold=45 s2.threshold=10 encoder.threshold=50 --seed 1 --no-figures --no-references --no-test "
    f"{MACHINE} --name run"
)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A finished run. Its threshold of the encoder is not the default, and so is part of what a control repeats."""
    output = tmp_path_factory.mktemp("runs")
    assert start(FLAGS, output) == 0
    return output / "run"


@pytest.mark.parametrize("kind", slow_except(["imprinted"], ["imprinted", "ones"]))
def test_a_run_learns_again_on_other_features(kind, run, capsys):
    """Its decision stage learns from the same images; the features are others, but as many of their weights are 1."""
    assert controls.main([str(run), "--kinds", kind]) == 0
    folder = run.with_name(f"run-{kind}")
    learned, other = (load_network(path).model for path in (run, folder))
    for name in ("s1", "s2"):
        weights = learned.stages[name].weight, other.stages[name].weight
        assert not torch.equal(*weights)
        if kind == "imprinted":  # as if some thresholds were higher, all weights of a feature are multiplied
            ordered, expected = (weight.flatten(1).sort(1).values for weight in weights)
            factors = ordered[:, -1:] / expected[:, -1:]
            torch.testing.assert_close(ordered, expected * factors)
    assert "test" not in results(folder)
    before, lines = contents(folder), capsys.readouterr().out.splitlines()
    assert controls.main([str(run), "--kinds", kind]) == 0  # it is not trained again
    assert contents(folder) == before
    assert capsys.readouterr().out.splitlines()[-1] == lines[-1]
    for path in (run, folder):
        accuracy = float(read_csv(path / "metrics.csv")[-1]["val_accuracy"])
        assert f"{path.name}: {100 * accuracy:.2f} % of the validation images, last epoch" in lines


@pytest.mark.parametrize(
    ("model", "error"),
    [
        pytest.param("inception2024", "s3 is not a single convolution", marks=pytest.mark.slow),
        ("deepr2024", "deepr2024, whose last phase does not train the decision stage alone"),
    ],
)
def test_a_run_whose_features_cannot_be_replaced_is_refused(model, error, tmp_path, capsys):
    """By the torch backend, because no other test of the first tier compiles these kernels."""
    words = f"{SMALL} --epochs 0 0 0 1 --ratio 0.1 --backend torch --set s2.out_channels=8 --no-figures --no-test"
    assert start(f"{words} --model {model} --name run", tmp_path) == 0
    capsys.readouterr()
    assert controls.main([str(tmp_path / "run")]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("controls.py: ")
    assert error in line
    assert [path.name for path in tmp_path.iterdir() if path.suffix != ".lock"] == ["run"]


@pytest.mark.parametrize("features", [4, 30])
def test_thresholds_let_a_fraction_of_the_neurons_spike(features):
    layer = make_layer(features, 20)
    latency = draw_maps(20, 2, 9, 9)
    controls.match_activity(layer, latency, 0.2)
    assert controls.measure_activity(layer, latency) == pytest.approx(0.2, abs=0.001)


@pytest.mark.parametrize("wanted", [0.1, 0.2, 0.3, 0.5])
def test_the_fraction_is_matched_if_potentials_are_whole_numbers(wanted):
    """A common threshold lets 0, 7, 37, 75 or 98 % of the neurons spike; each of the 50 features is 2 % of them."""
    layer = make_ones(50, 8)
    latency = draw_maps(40, 2, 9, 9, below=32)
    before = layer.weight.clone()
    controls.match_activity(layer, latency, wanted)
    assert controls.measure_activity(layer, latency) == pytest.approx(wanted, rel=0.02)
    torch.testing.assert_close(layer.weight, before, rtol=0.001, atol=0)


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


def test_noisy_images_of_two_experiments_are_corrected_apart(tmp_path, monkeypatch):
    """A lead of t = 10.4 (p = 0.009) is significant among 4 comparisons (0.0125), but not among 12 (0.004)."""
    lines = ["noise\tnetwork\tstrength\tfeatures\tseed\taccuracy"]
    for network in ("8", "32", "mozafari2018_margin"):
        for strength in features.NOISES:
            leads = (1.0, 1.2, 1.4) if (network, strength) == ("mozafari2018_margin", "0.3") else (1.0, -1.0, 0.5)
            for seed, lead in enumerate(leads):
                lines.append(f"gaussian\t{network}\t{strength}\timprinted\t{seed}\t50")
                lines.append(f"gaussian\t{network}\t{strength}\tSTDP\t{seed}\t{50 + lead}")
    monkeypatch.setattr(features, "RESULTS", tmp_path)
    (tmp_path / "noise.tsv").write_text("\n".join(lines) + "\n")
    table = features.make_noise_table()
    assert [len(row) for row in table] == [5, 5, 5]
    assert table[2][4] == "**+1.20 ± 0.50**"
    assert not any("**" in cell for row in table for cell in row[:4])


def test_noise_is_added_to_images_by_their_positions():
    """Its standard deviation is the given one if nothing is clipped. Training and test images have different noise."""
    images = np.full((20, 28, 28), 128, np.uint8)
    noisy = noise.add_noise(images, 0.1, 0)
    deviates = noisy - 128.0
    assert deviates.std() == pytest.approx(25.5, rel=0.02)
    assert abs(deviates.mean()) < 1
    assert (noise.add_noise(images[:3], 0.1, 0) == noisy[:3]).all()
    assert (noise.add_noise(images, 0.1, 1) != noisy).mean() > 0.9
    assert (noise.add_noise(images, 0.0, 0) == images).all()
    assert {0, 255} <= set(noise.add_noise(images, 0.9, 0).ravel().tolist())
