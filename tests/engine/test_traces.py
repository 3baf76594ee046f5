"""Whole networks learning, in float64, against the traces of the original: every winner, in order."""

import json

import numpy as np
import pytest
import torch
from support.digests import NAMES, PATH, compute_digests
from support.golden_traces import GOLDEN, golden_network
from support.tiers import FAST_NETWORKS, slow_except

from engine import event

NETWORKS = ["mozafari2018", "deep2024", "deepr2024", "deepr2024_greedy", "inception2024", "majority2024"]
BATCH = {"deepr2024_greedy": 75}
LAYERS = {"mozafari2018": 2, "deep2024": 3, "deepr2024": 3, "inception2024": 2}  # whose latency maps were recorded


def learn_features(model, name):
    """The STDP phases, asserting every winner."""
    latencies = torch.from_numpy(GOLDEN["encoding"])
    for stage_name in model.declaration:
        stage = model.stages[stage_name]
        for i, layer in enumerate(stage.layers, start=1):
            rule = layer.stage.rule
            if rule.needs_labels:
                continue
            key = f"{name}/{stage_name}/winners" if len(stage.layers) == 1 else f"{name}/{stage_name}_{i}/winners"
            expected = GOLDEN[key]
            inputs = model.map_of(latencies[: len(expected)], model.input_name(stage_name))
            np.testing.assert_array_equal(layer.learn_features(inputs, rule)[..., :3], expected, err_msg=key)


@pytest.fixture
def deciding_winners(monkeypatch):
    """The winners (N, 3) of each call by which a decision layer learns, or decides what the layer below learns."""
    found = []
    apart, together = event.learn_decisions, event.learn_together

    def note(learn, *args):
        learned = learn(*args)
        found.append(learned.decisions)
        return learned

    monkeypatch.setattr(event, "learn_decisions", lambda *args: note(apart, *args))
    monkeypatch.setattr(event, "learn_together", lambda *args: note(together, *args))
    return found


def learn_decisions(model, name):
    """The R-STDP phase, asserting every decision."""
    expected = GOLDEN[f"{name}/rl/decisions"]
    latencies = torch.from_numpy(GOLDEN["encoding"][: len(expected)])
    labels = torch.from_numpy(GOLDEN["label"][: len(expected)])
    phase = model.phases[-1]
    inputs = model.map_of(latencies, model.input_name(phase.stages[0]))
    batch = BATCH.get(name, 150)
    parts = zip(inputs.split(batch), labels.split(batch), strict=True)
    found = [phase.learn(model, a, b).decisions for a, b in parts]
    columns = 1 if expected.shape[1] == 1 else 4
    np.testing.assert_array_equal(torch.cat(found)[:, :columns], expected)


FIRST = pytest.param("mozafari2018", marks=pytest.mark.other_numba)


@pytest.mark.parametrize("name", [FIRST, *slow_except(FAST_NETWORKS, NETWORKS[1:])])
def test_event_backend_reproduces_the_original(name, deciding_winners):
    model = golden_network(name)
    learn_features(model, name)
    latencies = torch.from_numpy(GOLDEN["encoding"])
    maps = dict(model.walk(latencies[:20]))
    for layer in range(1, LAYERS.get(name, 0) + 1):
        key = f"{name}/eval/layer{layer}"
        np.testing.assert_array_equal(maps[f"s{layer}"], GOLDEN[key], err_msg=key)
    learn_decisions(model, name)
    branches = len(model.stages[model.decision].layers)
    winners = np.stack([np.concatenate(deciding_winners[branch::branches]) for branch in range(branches)], 1)
    np.testing.assert_array_equal(winners, GOLDEN[f"{name}/rl/winners"])
    expected = GOLDEN[f"{name}/eval/decisions"]
    for needs_scores in (True, False):
        decisions, _ = model.decide(latencies[: len(expected)], needs_scores)
        np.testing.assert_array_equal(decisions, expected[:, 0])
    for block, (_, layer) in zip(GOLDEN[f"{name}/blocks"], model.named_layers(), strict=True):
        weight = layer.weight.flatten(1).numpy()
        np.testing.assert_allclose(weight.sum(1), GOLDEN[f"{name}/{block}/wsum"], rtol=1e-10)
        np.testing.assert_allclose((weight**2).sum(1), GOLDEN[f"{name}/{block}/wsq"], rtol=1e-10)


DIGESTS = json.loads(PATH.read_text())


@pytest.mark.parametrize("name", slow_except(["mozafari2018_margin"], NAMES))  # of which there is no trace
def test_winners_and_decisions_are_those_of_the_last_version(name):
    """If a change is meant, ``python tests/support/digests.py`` writes the file."""
    assert compute_digests(name) == DIGESTS[name]
