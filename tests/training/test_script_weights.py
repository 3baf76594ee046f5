"""The weights of a script on SpykeTorch in a network."""

import numpy as np
import pytest
import torch
from support.command import TRAINED
from support.refusals import refuses

from imagesets import load
from models import build_model
from s1c1 import S1C1
from SpykeTorch import functional as sf
from training.trained import load_network, load_script_weights

NAMES = {"conv1": "s1", "conv2": "s2", "conv3": "s3"}


@pytest.fixture(scope="module")
def state():
    """What torch.load returns of a script's file: trained weights, and rates with the names of the original."""
    trained = load_network(TRAINED).model
    state = {f"{conv}.weight": trained.stages[stage].weight.clone() for conv, stage in NAMES.items()}
    return state | {"stdp1.ltp_0": torch.tensor([0.004]), "stdp1.conv_layer.weight": state["conv1.weight"]}


def decide(state, latency):
    """Return the class that the script decides for, by SpykeTorch's operations in float64; -1: silence."""
    wave = sf.latency_to_wave(latency, 15, torch.float64)
    for number, (pad, threshold, pool) in enumerate([(2, 15, 2), (1, 10, 3)], start=1):
        potentials = sf.conv2d(sf.pad(wave, [pad] * 4), state[f"conv{number}.weight"].double())
        wave = sf.pooling(sf.fire(potentials, threshold), pool, pool)
    potentials = sf.conv2d(sf.pad(wave, [2] * 4), state["conv3.weight"].double())
    spikes, potentials = sf.fire(potentials, None, True)
    winners = sf.get_k_winners(potentials, 1, 0, spikes)
    return winners[0][0] // 20 if winners else -1


@pytest.mark.parametrize("images", [20, pytest.param(200, marks=pytest.mark.slow)])
def test_the_decisions_are_those_of_the_script(state, images):
    model = load_script_weights(build_model("mozafari2018", dtype=torch.float64), state, NAMES)
    latencies = S1C1().encode(load("mnist").test_images[:images])
    expected = [decide(state, latency) for latency in latencies]
    assert len(set(expected)) > 5
    np.testing.assert_array_equal(model.predict(latencies), expected)


def test_a_branch_has_its_weights():
    model = build_model("inception2024")
    weight = torch.rand(model.stages["s3"].branches[1].weight.shape)
    load_script_weights(model, {"conv3_2.weight": weight}, {"conv3_2": "s3_5x5"})
    assert torch.equal(model.stages["s3"].branches[1].weight, weight)


@pytest.mark.parametrize(
    ("about", "names", "values"), [
        ("conv9.weight", {"conv1": "s1", "conv9": "s2"}, {}),
        ("s9", {"conv1": "s1", "conv2": "s9"}, {}),
        ("s2", {"conv1": "s1", "conv3": "s2"}, {}),
        ("s1", {"conv1": "s1"}, {"conv1.weight": torch.full((30, 6, 5, 5), torch.nan)}),
        ("conv1.weight", {"conv1": "s1"}, {"conv1.weight": "text"}),
        ("array", {"conv1": "s1"}, {"conv1.weight": np.zeros((30, 6, 5, 5))}),
        ("float32", {"conv1": "s1"}, {"conv1.weight": torch.full((30, 6, 5, 5), 1e300, dtype=torch.float64)}),
        ("real", {"conv1": "s1"}, {"conv1.weight": torch.zeros((30, 6, 5, 5), dtype=torch.complex64)}),
        ("real", {"conv1": "s1"}, {"conv1.weight": torch.zeros((30, 6, 5, 5)).to_sparse()}),
        ("real", {"conv1": "s1"}, {"conv1.weight": torch.zeros((30, 6, 5, 5), device="meta")}),
        ("s1 twice", {"conv1": "s1", "other": "s1"}, {"other.weight": torch.zeros((30, 6, 5, 5))}),
        ("names", {}, {}),
        ("names", None, {}),
        ("names", ["conv1"], {}),
    ],
)  # fmt: skip
def test_what_does_not_fit_changes_nothing(state, about, names, values):
    model = build_model("mozafari2018")
    before = model.stages["s1"].weight.clone()
    with refuses(about):
        load_script_weights(model, state | values, names)
    assert torch.equal(model.stages["s1"].weight, before)


def test_wrong_types_of_arguments_are_refused(state):
    model = build_model("mozafari2018")
    with refuses("state"):
        load_script_weights(model, None, NAMES)
    with refuses("network"):
        load_script_weights(state, model, NAMES)
