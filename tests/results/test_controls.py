"""The scripts that measure what features are worth, and the statistics of their tables."""

import csv
import math

import numpy as np
import pytest
import torch

from engine.layers import Layer
from engine.rules import STDP
from engine.stages import SpikingConv
from results.scripts import controls, learning_page


def test_intervals_are_those_of_student():
    """By hand: the standard deviation of 1, 2, 3 is 1, and t(0.975; 2 degrees of freedom) is 4.3027."""
    mean, half = learning_page.compute_interval([1.0, 2.0, 3.0])
    assert mean == 2
    assert half == pytest.approx(4.3027 / math.sqrt(3), rel=1e-4)
    assert learning_page.format_difference([1.0, 2.0, 3.0]) == "+2.00 ± 2.48"
    assert learning_page.format_difference([-3.1, -3.0, -2.9]) == "**-3.00 ± 0.25**"
    assert learning_page.format_difference([0.5]) == "+0.50"


def test_differences_are_paired_by_seed():
    differences = learning_page.subtract({"0": 3.0, "1": 5.0, "2": 1.0}, {"1": 4.0, "0": 1.0})
    assert differences == [2.0, 1.0]


def test_features_that_take_nothing_from_learning_have_a_fixed_number_of_ones():
    layer = Layer(SpikingConv(4, 5, threshold=3, rule=STDP(winners=1, radius=0)), 2)
    controls.set_ones(layer)
    controls.shuffle(layer, torch.empty(0), np.random.default_rng(0))
    features = layer.weight.flatten(1)
    assert features.sum(1).tolist() == [5] * 4  # a tenth of 50
    assert set(features.unique().tolist()) == {0, 1}
    assert len({tuple(feature.tolist()) for feature in features}) > 1


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
