"""Stages that name what they read, and decision neurons that see whole maps."""

import numpy as np
import pytest
import torch

from engine.packed import PackedLatencies
from engine.rules import RSTDP, STDP, MarginRule
from engine.stages import Inhibit, Pool, SpikingConv, SpikingDense
from errors import InputError
from network_trainer import LatencyDataset, NetworkTrainer
from report.operations import count_operations
from report.preferred import compute_preferred_features
from report.summary import summarize
from s1c1 import S1C1

RNG = np.random.default_rng(0)
LATENCIES = torch.from_numpy(np.where(RNG.random((40, 2, 12, 12)) < 0.4, RNG.integers(0, 8, (40, 2, 12, 12)), 8))
LATENCIES = LATENCIES.to(torch.uint8)
LABELS = torch.arange(40) % 3
RULE = STDP(winners=2, radius=1, rates=(0.05, -0.04))


class Fork(NetworkTrainer):
    """b and c read the pooled map of a; d reads the input; e sees four of the maps."""

    name = "fork"
    epochs = (1, 1, 1, 1, 2)

    def build(self, num_classes):
        return {
            "a": SpikingConv(4, 3, padding=1, threshold=3, rule=RULE),
            "p": Pool(2),
            "b": SpikingConv(5, 3, padding=1, threshold=2, rule=RULE),
            "c": SpikingConv(6, 5, padding=2, threshold=4, rule=RULE, inputs=("p",)),
            "d": SpikingConv(3, 5, threshold=6, rule=RULE, inputs="input"),
            "i": Inhibit(0.3),
            "q": Pool(3, rank=9),
            "e": SpikingDense(2 * num_classes, rule=MarginRule(left_out=0.2), inputs=("p", "b", "c", "q")),
        }


def fork(**kwargs):
    return Fork(**{"in_channels": 2, "num_classes": 3, "time_steps": 8, "image_size": (12, 12), **kwargs})


def by_hand(model, latencies):
    """Every map, and the input of e, stage by stage."""
    stages = model.stages
    a = stages["a"].fire(latencies)
    p = stages["p"].fire(a)
    b, c = stages["b"].fire(p), stages["c"].fire(p)
    d = stages["d"].fire(latencies)
    i = stages["i"].fire(d)
    q = stages["q"].fire(i)
    e = np.concatenate([m.numpy().reshape(len(latencies), -1) for m in (p, b, c, q)], 1)[:, :, None, None]
    return {"a": a, "p": p, "b": b, "c": c, "d": d, "i": i, "q": q}, e


class FirstSpike(Fork):
    """The first spike decides."""

    name = "first_spike"

    def build(self, num_classes):
        stages = super().build(num_classes)
        top = SpikingConv(6, 6, threshold=20, rule=RSTDP(dropout=0.3), first_weights=(0.5, 0.1))
        return {"a": stages["a"], "p": stages["p"], "s": top}


@pytest.mark.parametrize("backend", ["event", "torch"])
def test_a_dense_stage_with_a_threshold_is_a_convolution_of_the_size_of_its_map(backend):
    """Also if the maps are packed: it reads when a neuron below has spiked."""
    packed = PackedLatencies(40, (2, 12, 12), 8)
    packed[:] = LATENCIES
    dense = {"s": SpikingDense(6, threshold=20, rule=RSTDP(dropout=0.3), first_weights=(0.5, 0.1))}
    ends = []
    for overrides, latencies in (({}, LATENCIES), (dense, LATENCIES), (dense, packed)):
        model = FirstSpike(2, 3, 0, "cpu", torch.float64, backend, 8, overrides, (12, 12))
        model.fit(LatencyDataset(latencies, LABELS), None, (1, 3), batch_size=20)
        ends.append((model.stages["s"].weight.flatten(1), *model.decide(LATENCIES)))
    assert len(ends[0][1].unique()) == 3  # it decides for every class
    for end in ends[1:]:
        torch.testing.assert_close(end, ends[0], rtol=0, atol=1e-12)  # potentials are added in another order


def test_each_stage_reads_what_it_names():
    model = fork()
    maps, joined = by_hand(model, LATENCIES)
    walked = dict(model.walk(LATENCIES))
    assert list(walked) == list(model.declaration)
    for name, latency in maps.items():
        assert torch.equal(walked[name], latency), name
    shapes = {name: tuple(m.shape[1:]) for name, m in maps.items()}
    gathered = {"input of e": joined.shape[1:]}
    assert model.shapes(12, 12) == {"input": (2, 12, 12), **shapes, **gathered, "e": (6, 1, 1)}
    results = {}
    list(model.propagate({"input": LATENCIES}, [model.input_name("e")], results, bits=True))
    inputs = results["input of e"]
    assert inputs.shape == (40, 4 * 36 + 5 * 36 + 6 * 36 + 3 * 4, 1, 1) == joined.shape
    np.testing.assert_array_equal(inputs[:] < 8, joined < 8)
    assert [model.input_name(name) for name in ("a", "c", "q")] == ["input", "p", "i"]
    assert torch.equal(model.map_of(LATENCIES, "d"), maps["d"])
    assert torch.equal(model.map_of({"a": maps["a"]}, "p"), maps["p"])
    assert model.between(["input"], ["d"]) == ["d"]
    assert model.between(["input"], ["c"]) == ["a", "p", "c"]
    with pytest.raises(InputError):
        model.between(["p"], ["q"])


def test_a_stage_that_is_replaced_computes_the_maps():
    model, other = fork(), fork(seed=1)
    model.stages["a"] = other.stages["a"]
    assert torch.equal(model.map_of(LATENCIES, "a"), other.map_of(LATENCIES, "a"))
    assert torch.equal(model.map_of(LATENCIES, "p"), other.map_of(LATENCIES, "p"))  # fused with its pooling


def test_it_trains_phase_by_phase(backend):
    """``steps`` gives the weights of training each phase on its whole input, batch by batch, in both backends."""
    model, other = fork(dtype=torch.float64, backend=backend), fork(dtype=torch.float64)
    train = LatencyDataset(LATENCIES[:20], LABELS[:20])
    validation = LatencyDataset(LATENCIES[:9], LABELS[:9])
    for _ in model.steps(train, validation, (1, 1, 1, 1, 2), batch_size=8, seed=5):
        pass
    assert list(train.maps) == [model.input_name("e")]
    for number, phase in enumerate(other.phases):
        for epoch in range((1, 1, 1, 1, 2)[number]):
            order = np.random.default_rng([5, number, epoch]).permutation(20)
            for batch, chosen in enumerate(torch.from_numpy(order).split(8)):
                inputs = other.map_of(LATENCIES[chosen], other.input_name(phase.stages[0]))
                rng = np.random.default_rng([5, number, epoch, batch])
                phase.learn(other, inputs, LABELS[chosen], epoch, rng)
    for (name, one), two in zip(model.state_dict().items(), other.state_dict().values(), strict=True):
        torch.testing.assert_close(one, two, rtol=1e-9, atol=1e-12, msg=name)
    torch.testing.assert_close(other.predict(LATENCIES), model.predict(LATENCIES))


def test_no_more_maps_are_kept_than_stages_to_come_will_read():
    data, kept = LatencyDataset(LATENCIES, LABELS), []
    for step in fork().steps(data, None, (1, 0, 1, 1, 1)):
        if step.kind == "batch":
            kept.append((step.phase.name, sorted(data.maps)))
    assert kept == [("a", ["input"]), ("c", ["input", "p"]), ("d", ["input", "p"]), ("e", ["input of e"])]


def test_reports_know_what_a_stage_reads():
    model = fork()
    maps, joined = by_hand(model, LATENCIES)
    counts = count_operations(model, LATENCIES)
    assert counts["e"]["synaptic_additions"] == pytest.approx((joined < 8).sum() / 40 * 6)
    assert counts["q"]["spikes"] == pytest.approx((maps["q"] < 8).sum().item() / 40)
    features = compute_preferred_features(model, S1C1(filters=((3, 1.0, 2.0),)))
    assert {name: f.shape[1:] for name, f in features.items()} == {
        "a": (3, 3), "b": (8, 8), "c": (12, 12), "d": (5, 5)
    }  # fmt: skip
    table = summarize(model)
    assert "e of p, b, c, q" in table
    assert "c of p" in table
    with pytest.raises(InputError):
        model.shapes(28, 28)


# Levels: inputs that take early spikes only


class Levels(NetworkTrainer):
    """Two decision neurons that read two pixels of 1×2, each before steps 2 and 5 and at any step."""

    name = "levels"
    epochs = (1,)

    def build(self, num_classes):
        rule = MarginRule(margin=10, rate=0.1, ltd=0.5, decay=1.0)
        return {"e": SpikingDense(num_classes, rule=rule, inputs="input", levels=(2, 5))}


def test_levels_by_hand(backend):
    """The pixels spike at steps 1 and 4; at 0 and never; at 5 and 7, of 8."""
    latencies = torch.tensor([[1, 4], [0, 8], [5, 7]], dtype=torch.uint8).reshape(3, 1, 1, 2)
    model = Levels(1, 2, image_size=(1, 2), time_steps=8, backend=backend, dtype=torch.float64)
    before = torch.tensor([[0.1, 0.2, 0.3, 0.4, 0.5, 0.6], [0.2] * 6])  # (before 2, before 5, at any step) × 2 pixels
    model.stages["e"].weight.copy_(before[:, :, None, None])
    peaks = model.stages["e"].peaks(model.map_of(latencies, "input of e")[:])
    expected = torch.tensor([[0.1 + 0.3 + 0.4 + 0.5 + 0.6, 1.0], [0.1 + 0.3 + 0.5, 0.6], [0.5 + 0.6, 0.4]])
    torch.testing.assert_close(peaks, expected.double(), rtol=0, atol=1e-6)

    model.train_rl(latencies[:1], torch.tensor([0]))
    spiked = torch.tensor([True, False, True, True, True, True])
    right, rival = torch.where(spiked, 0.1, -0.05), torch.where(spiked, -0.1, 0.05)
    torch.testing.assert_close(
        model.stages["e"].weight[:, :, 0, 0], (before + torch.stack([right, rival])).double(), rtol=0, atol=1e-6
    )
    counted = count_operations(model, latencies)["e"]["synaptic_additions"]
    assert counted == pytest.approx(2 * (5 + 3 + 2) / 3)  # for each input that takes a spike, one for each neuron


def test_levels_can_be_set_and_are_kept_as_bits():
    model = fork(overrides={"e.levels": (3, 6)})
    maps, _ = by_hand(model, LATENCIES)
    flat = torch.cat([maps[name].flatten(1) for name in ("p", "b", "c", "q")], 1)
    expected = torch.cat([flat < 3, flat < 6, flat < 8], 1)
    assert torch.equal(model.map_of(LATENCIES, "input of e")[:].flatten(1) < 8, expected)


def test_a_margin_rule_above_a_stage_that_learns_from_rewards():
    class Rewarded(NetworkTrainer):
        def build(self, num_classes):
            firing = SpikingConv(4, 3, threshold=3, rule=RSTDP())
            return {"a": firing, "b": SpikingConv(2 * num_classes, 3, rule=MarginRule())}

    network = Rewarded(2, 3, time_steps=8, backend="torch")  # compiles no further kernel
    assert sum(network.train_rl(LATENCIES[:4], LABELS[:4])) == 4
