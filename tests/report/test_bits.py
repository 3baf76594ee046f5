"""Weights of few bits, and the file for designers of hardware, whose test vectors NumPy alone reproduces."""

import subprocess
import sys

import numpy as np
import pytest
import torch
from support.command import TRAINED, dont_draw, results, start_evaluation
from support.layers import make_layer
from support.own_rules import Own
from support.refusals import assert_refuses
from support.tiers import slow_except
from torch.nn import functional as F

import evaluate
from engine.rules import MarginRule
from models import build_model, network_names
from report.exports.bits import quantize, to_whole_weights
from report.exports.export import collect_arrays, write_arrays
from s1c1 import S1C1
from utils import ROOT


def layer_of(weights, **more):
    return make_layer("event", torch.tensor(weights).view(1, -1, 1, 1), **more)


@pytest.mark.parametrize(
    ("bounds", "bits", "weights", "whole", "unit"),
    [
        ((0.0, 1.0), 1, [0.0, 0.4, 0.6, 1.0], [0, 0, 1, 1], 1.0),
        ((0.2, 0.8), 1, [0.2, 0.4, 0.6, 0.8], [1, 1, 4, 4], 0.2),  # 0.2 and 0.8
        ((0.2, 0.8), 2, [0.2, 0.39, 0.61, 0.8], [1, 2, 3, 4], 0.2),
        ((0.2, 0.8), 3, [0.2, 0.3, 0.55, 0.8], [7, 10, 19, 28], 0.2 / 7),  # steps of 0.6 / 7
        ((-1.0, 1.0), 2, [-1.0, -0.2, 0.5, 1.0], [-3, -1, 1, 3], 1 / 3),
    ],
)
def test_whole_weights_by_hand(bounds, bits, weights, whole, unit):
    found = to_whole_weights(layer_of(weights, rule=MarginRule(bounds=bounds)), bits)
    assert found.weight.flatten().tolist() == whole
    assert found.unit == pytest.approx(unit)
    assert found.clipped == 0


def test_thresholds_clipped_weights_and_stages_without_a_rule_by_hand():
    layer = layer_of([0.0, 0.5, 1.0], threshold=15)
    assert to_whole_weights(layer, 8).threshold == 3825  # 15 · 255; 15 / (1 / 255) may be less in floats
    assert to_whole_weights(layer, 8).weight.flatten().tolist() == [0, 128, 255]
    assert to_whole_weights(layer_of([0.0, 1.0], threshold=0.5), 1).threshold == 0
    outside = to_whole_weights(layer_of([-0.5, 0.3, 2.0], rule=MarginRule()), 1)
    assert outside.weight.flatten().tolist() == [0, 0, 1]
    assert outside.clipped == 2
    assert to_whole_weights(layer_of([0.5, 0.5]), 4).weight.unique().numel() == 1


@pytest.mark.parametrize("bits", [1, 3, 8, 16])
def test_the_sums_are_those_of_int64(bits, latencies):
    model = build_model("mozafari2018")
    network, whole = quantize(model, bits)
    latencies = latencies[:3]
    stage = network.declaration["s1"]
    first = torch.full((len(latencies), *stage.shape([latencies.shape[1:]])), 15)
    for step in reversed(range(15)):
        spiked = (latencies <= step).long()
        above = F.conv2d(spiked, whole["s1"].weight, padding=stage.padding) > whole["s1"].threshold
        first[above] = step
    assert torch.equal(network.map_of(latencies, "s1").long(), first)
    below = network.map_of(latencies, "c2")
    potentials = F.conv2d((below < 15).long(), whole["s3"].weight, padding=2).amax((2, 3))
    assert torch.equal(network.stages["s3"].peaks(below).long(), potentials)


@pytest.mark.parametrize("bits", [None, 2])
@pytest.mark.parametrize("name", slow_except(["majority2024"], sorted({*network_names()} - {"mozafari2018_shallow"})))
def test_numpy_alone_reproduces_the_test_vectors(name, bits, latencies, tmp_path):
    model = build_model(name, in_channels=6)
    assert_reproduced(model, latencies, bits, tmp_path / "network.npz")


def assert_reproduced(model, latencies, bits, path):
    write_arrays(path, collect_arrays(model, S1C1(), tuple("0123456789"), latencies[:2], bits))
    words = [sys.executable, ROOT / "tutorial" / "read_export.py", path]
    done = subprocess.run(words, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "all 2 test vectors" in done.stdout


def test_numpy_alone_reproduces_a_users_network(latencies, tmp_path):
    for bits, dtype in ((None, torch.float32), (3, torch.float32), (None, torch.float64)):
        assert_reproduced(Own(dtype=dtype), latencies, bits, tmp_path / "own.npz")


def test_whole_thresholds_above_those_that_can_be_declared(latencies):
    model = build_model("mozafari2018", overrides={"s1.threshold": 16})
    model.stages["s1"].weight.round_()
    network, _ = quantize(model, 16)
    assert network.stages["s1"].threshold == 16 * (2**16 - 1) > 1e6
    assert torch.equal(network.map_of(latencies, "s1"), model.map_of(latencies, "s1"))


def test_the_commands(tmp_path, monkeypatch, capsys):
    dont_draw(monkeypatch)
    assert start_evaluation(f"{TRAINED} --dry-run --bits 4 1 --name scored", tmp_path) == 0
    assert "R-STDP" in capsys.readouterr().out.partition("bits  accuracy")[0].splitlines()[-1]
    rows = results(tmp_path / "scored")["bits"]
    assert [row["bits"] for row in rows] == [4, 1]
    assert rows[0]["accuracy"] > 0.9
    assert rows[0]["bytes"] == 4 * rows[1]["bytes"]
    assert start_evaluation(f"{TRAINED} --export {tmp_path / 'a.npz'} --bits 1", tmp_path) == 0
    with np.load(tmp_path / "a.npz", allow_pickle=False) as arrays:
        assert np.unique(arrays["s3.weight"]).tolist() == [1, 4]
        assert arrays["s3.weight"].dtype == np.int8
        assert len(arrays["decisions"]) == 20
    capsys.readouterr()
    for more, about in (
        ("--bits 8 4", "--bits"),
        ("--noise gaussian=0.1 --scores", "--scores"),
        ("--bits 0", "--bits"),
    ):
        assert_refuses(evaluate.main, f"{TRAINED} --export {tmp_path / 'b.npz'} {more}", about, capsys)
    assert not (tmp_path / "b.npz").exists()
