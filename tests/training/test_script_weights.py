"""The weights of a script on SpykeTorch in a network."""

import numpy as np
import pytest
import torch
from support.command import TRAINED

from imagesets import load
from models import build_model
from s1c1 import S1C1
from SpykeTorch import functional as sf
from training.trained import load_network

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


@pytest.mark.parametrize("images", [12, pytest.param(200, marks=pytest.mark.slow)])
def test_the_decisions_are_those_of_the_script(state, images):
    """The weights are loaded as docs/spyketorch.md shows."""
    model = build_model("mozafari2018", dtype=torch.float64)
    weights = {f"stages.{stage}.weight": state[f"{conv}.weight"] for conv, stage in NAMES.items()}
    assert model.load_state_dict(weights, strict=False).unexpected_keys == []
    latencies = S1C1().encode(load("mnist").test_images[:images])
    expected = [decide(state, latency) for latency in latencies]
    assert len(set(expected)) > 5
    np.testing.assert_array_equal(model.predict(latencies), expected)
