"""A last stage with a threshold: the neuron that spikes first decides, and learns from its decision."""

from pathlib import Path
from unittest import mock

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from support import reference
from support.draws import draw_maps
from support.layers import learn_decisions, make_layer
from support.reference import layers, random_maps, thresholds
from support.refusals import refuses
from support.tiers import slow_except

from engine.decision import Outcome
from engine.rules import RSTDP, STDP
from engine.stages import SpikingConv
from models import build_model
from network_trainer import NetworkTrainer

TRACE = np.load(Path(__file__).parent.parent / "golden" / "shallow_trace.npz")
RATES = np.array([[0.25, -0.125], [-0.5, 0.0625]])  # of a reward and of a punishment


# ---------------------------------------------------------------------------------------------------------------------
# The trace of the original


def golden_network(backend):
    """Return the network with the weights with which the trace begins."""
    options = {"image_size": (26, 26), "dtype": torch.float64, "backend": backend}
    network = build_model("mozafari2018_shallow", in_channels=4, num_classes=2, **options)
    weight = np.random.default_rng(int(TRACE["seed"])).normal(0.8, 0.05, (20, 4, 17, 17))
    network.stages["s2"].weight.copy_(torch.from_numpy(weight))
    return network


@pytest.mark.parametrize(
    ("backend", "epochs", "images"),
    [("event", 4, 120), ("torch", 1, 30), pytest.param("torch", 4, 120, marks=pytest.mark.slow)],
)
def test_a_layer_reproduces_the_original(backend, epochs, images):
    network = golden_network(backend)
    layer = network.stages["s2"]
    latencies = torch.from_numpy(TRACE["encoding"][:images])
    classes = network.class_of_feature()
    for epoch in range(epochs):
        rates = np.tile(TRACE["rates"][epoch].reshape(1, 2, 2), (len(latencies), 1, 1))
        dropped = np.tile(TRACE["dropped"][epoch], (len(latencies), 1))
        result = learn_decisions(layer, latencies, TRACE["label"][:images], classes, rates, dropped)
        np.testing.assert_array_equal(result.decisions, TRACE["winners"][epoch, :images])
        np.testing.assert_array_equal(classes[result.decisions[:, 0]], TRACE["decisions"][epoch, :images])
    if epochs == 4:
        assert_end_of_trace(network)


def assert_end_of_trace(network):
    weight = network.stages["s2"].weight
    np.testing.assert_array_equal(weight[:2], TRACE["weights"])
    np.testing.assert_allclose(weight.flatten(1).sum(1), TRACE["weights_sum"], rtol=1e-14)
    np.testing.assert_allclose((weight**2).flatten(1).sum(1), TRACE["weights_squares"], rtol=1e-14)
    decisions = network.predict(torch.from_numpy(TRACE["encoding"]))
    np.testing.assert_array_equal(decisions, TRACE["decisions_without_learning"])


def leave_out(dropped):
    """Let R-STDP drop these features, bool (F,), in place of those that it draws."""
    return mock.patch.object(RSTDP, "draw_left_out", lambda rule, rng, images, features: np.tile(dropped, (images, 1)))


def test_a_network_reproduces_the_original():
    """Its rates adapt as in the trace, and its rule draws the dropped features of the trace."""
    network = golden_network("event")
    for epoch in range(4):
        rates = network.stages["s2"].rstdp_rates.flatten()
        np.testing.assert_array_equal(rates, TRACE["rates"][epoch])
        dropped = TRACE["dropped"][epoch]
        with leave_out(dropped):
            outcome = network.train_rl(TRACE["encoding"], TRACE["label"], epoch)
        assert [outcome.fraction(part) for part in outcome._fields] == TRACE["outcomes"][epoch].tolist()
    assert_end_of_trace(network)


# ---------------------------------------------------------------------------------------------------------------------
# Small layers


@pytest.mark.parametrize("stabilize", slow_except([False], [False, True]))
@settings(random_maps, max_examples=25)
@given(layers(), thresholds, st.integers(1, 3), st.integers(0, 1), st.integers(0, 2**32 - 1))
def test_decisions_and_weights_are_those_of_the_reference(backend, stabilize, layer, threshold, winners, radius, seed):
    """Images one after another, with ties, silence, dropped features, and weights outside the bounds."""
    latency, weight, steps, pad = layer
    rng = np.random.default_rng(seed)
    images = np.stack([latency, np.full_like(latency, steps), rng.permuted(latency, axis=2), latency])
    labels, dropped = rng.integers(0, 2, 4), rng.random((4, len(weight))) < 0.3
    classes = np.arange(len(weight)) % 2
    rule = RSTDP(winners=winners, radius=radius, bounds=(-0.25, 0.75), stabilize=stabilize)
    found = torch.from_numpy(weight.copy())
    learning = make_layer(backend, found, steps, pad, threshold, rule)
    result = learn_decisions(learning, torch.from_numpy(images), labels, classes, np.tile(RATES, (4, 1, 1)), dropped)
    for n, image in enumerate(images):
        firing = weight * ~dropped[n][:, None, None, None]
        expected = reference.choose_winners(image, firing, steps, pad, threshold, winners, radius)
        assert [tuple(winner) for winner in result.winners[n].tolist() if winner[0] >= 0] == expected
        assert tuple(result.decisions[n].tolist()) == (expected[0][:3] if expected else (-1, -1, -1))
        if expected:
            rates = RATES[int(classes[expected[0][0]] != labels[n])]
            weight = reference.update(image, weight, expected, steps, pad, rates, rule)
    np.testing.assert_allclose(found, weight, rtol=0, atol=1e-12)


@pytest.mark.parametrize(("label", "expected"), [(0, [0.75, 0.375, 0.375]), (1, [0.0, 0.5625, 0.5625])])
def test_reward_and_punishment(backend, label, expected):
    """The input at step 1 makes the neuron spike; the input at step 3 and the silent one come too late."""
    weight = torch.full((1, 3, 1, 1), 0.5, dtype=torch.float64)
    layer = make_layer(backend, weight, 5, 0, 0.25, RSTDP(bounds=(0.0, 1.0)))
    latency = torch.tensor([1, 3, 5], dtype=torch.uint8).reshape(1, 3, 1, 1)
    result = learn_decisions(layer, latency, [label], np.array([0]), RATES[None])
    assert result.winners.tolist() == [[[0, 0, 0, 1]]]
    assert weight.flatten().tolist() == expected


# ---------------------------------------------------------------------------------------------------------------------
# Networks


class First(NetworkTrainer):
    """Decision neurons of 1×1 synapses, two of each class."""

    def build(self, num_classes):
        return {"s1": SpikingConv(2 * num_classes, 1, threshold=0.5, rule=RSTDP(dropout=0.5))}


def make_first(backend, **options):
    network = First(2, 2, backend=backend, dtype=torch.float64, time_steps=5, **options)
    weight = torch.tensor([[0.25, 0.5], [0.5, 1.0], [0.75, 0.25], [0.5, 0.5]], dtype=torch.float64)
    network.stages["s1"].weight.copy_(weight[..., None, None])
    return network


def images_of(*latencies):
    """Images of one position in two channels."""
    return torch.tensor(latencies, dtype=torch.uint8)[..., None, None]


def test_scores_are_a_spike_time_and_a_potential(backend):
    """A score is T - t + e / (1 + e), or 0 for silence. Of the first image, e is 1 at t = 3 and 0.25 at t = 1."""
    network = make_first(backend)
    latencies = images_of((1, 3), (4, 5), (2, 2), (5, 5))
    decisions, scores = network.decide(latencies)
    assert decisions.tolist() == [1, 1, 0, -1]
    expected = [[2 + 1 / 2, 4 + 0.25 / 1.25], [0, 1 + 0.25 / 1.25], [3 + 1 / 2, 3 + 1 / 3], [0, 0]]
    np.testing.assert_allclose(scores, expected)
    assert network.evaluate(latencies, [1, 0, 0, 0]) == (2, 1, 1)
    times, potentials = network.stages["s1"].first_spikes(latencies[:2])
    assert times.tolist() == [[3, 3, 1, 3], [5, 5, 4, 5]]
    assert potentials.tolist() == [[0.75, 1.5, 0.75, 1.0], [0, 0, 0.75, 0]]
    assert network.stages["s1"].peaks(latencies[:1]).tolist() == [[0.75, 1.5, 1.0, 1.0]]
    (_, spikes) = next(network.walk(latencies[:1]))
    assert spikes.flatten().tolist() == [3, 3, 1, 3]


def test_images_are_decided_in_learning_as_otherwise(backend):
    """While no weight changes."""

    class Constant(NetworkTrainer):
        def build(self, num_classes):
            rule = RSTDP(winners=3, reward=(0.0, 0.0), punishment=(0.0, 0.0), bounds=(0.0, 1.0))
            return {"s1": SpikingConv(2 * num_classes, 1, threshold=0.5, rule=rule)}

    network = Constant(2, 4, backend=backend, dtype=torch.float64, time_steps=5)
    latencies = draw_maps(40, 2, 3, 3, below=6)
    decided = network.predict(latencies)
    assert network.train_rl(latencies, decided) == (40, 0, 0)
    assert network.train_rl(latencies[:0], decided[:0]) == (0, 0, 0)


def test_a_decision_without_learning_drops_nothing(backend):
    network = make_first(backend)
    latencies = images_of(*[(1, 3)] * 20)
    assert network.predict(latencies).tolist() == [1] * 20
    with leave_out([False, False, True, False]):
        assert network.train_rl(latencies, [1] * 20) == (0, 20, 0)


def test_the_dropped_features_follow_from_the_batch(backend):
    """In each batch, about half of the features are dropped; the same batch drops the same ones."""
    latencies = images_of((1, 1))
    found = []
    for _ in range(2):
        network = make_first(backend)
        outcomes = []
        for _ in range(40):
            network.stages["s1"].weight.fill_(0.75)  # the first feature that is not dropped decides
            outcomes.append(tuple(network.train_rl(latencies, [0])))
        found.append(outcomes)
    assert found[0] == found[1]
    silent = sum(outcome[2] for outcome in found[0])
    correct = sum(outcome[0] for outcome in found[0])
    assert 0 < silent < 10
    assert 20 < correct < 38


@pytest.mark.parametrize("threshold", [float("inf"), 0.5])
def test_dropout_in_a_stage_with_and_without_a_threshold(backend, threshold):
    """Without a threshold, dropped features do not decide either, unlike those that the margin rule leaves out."""
    network = make_first(backend, overrides={"s1.threshold": threshold})
    latencies = images_of((1, 1))
    before = network.stages["s1"].weight.clone()
    assert network.predict(latencies).tolist() == [0]
    with leave_out([True, True, False, True]):
        assert network.train_rl(latencies, [1]) == (1, 0, 0)
    assert (network.stages["s1"].weight != before.clamp(0.2, 0.8)).flatten(1).any(1).tolist() == [
        False,
        False,
        True,
        False,
    ]


def test_rates_adapt_by_a_fraction_and_a_constant():
    rule = RSTDP(reward=(0.5, -0.25), punishment=(-0.5, 0.125), adaptation=(0.75, 0.25))
    assert rule.adapt(Outcome(3, 1, 4)).tolist() == [[0.171875, -0.0859375], [-0.265625, 0.06640625]]
    assert RSTDP(adaptation=(0, 1)).adapt(Outcome(3, 1, 4)).tolist() == RSTDP().first_rates().tolist()


def test_refused_arguments(backend):
    latencies = images_of((1, 1))
    firing = make_layer(backend, torch.ones(2, 2, 1, 1), 5, 0, 1.0, STDP(winners=1, radius=0))
    with refuses("RSTDP"):
        firing.learn_decisions(latencies, [0], np.array([0, 1]), np.random.default_rng(0))


@pytest.mark.parametrize("shape", [(1, 2), (3,), (0,), (3, 2)])
def test_rates_of_another_shape_are_refused(backend, shape):
    """The kernels would read the rates of a punishment beyond the end of the first row."""
    network = golden_network(backend)
    network.stages["s2"].rstdp_rates = torch.zeros(shape, dtype=torch.float64)
    before = network.stages["s2"].weight.clone()
    with refuses("rstdp_rates must be (2, 2)"):
        network.train_rl(torch.from_numpy(TRACE["encoding"][:3]), np.zeros(3, int))
    assert torch.equal(network.stages["s2"].weight, before)
