"""The phase that a rule names: in every network, on both backends, and refused wherever another one would train."""

import numpy as np
import pytest
import torch
from support.golden_traces import GOLDEN
from support.pages import find_example
from support.pretended_device import DEVICE, pretend
from support.refusals import refuses

from engine.layers import Layer
from engine.phases import Phase
from engine.rules import RSTDP, STDP, MarginRule
from engine.stages import Branches, Pool, SpikingConv, SpikingDense
from models import build_model
from network_trainer import NetworkTrainer

LATENCIES = torch.from_numpy(GOLDEN["encoding"])
LABELS = GOLDEN["label"]


@pytest.fixture
def documented():
    """Declare the rule with a state for each feature of docs/extending.md, whose name is homeostatic."""
    exec(find_example("add_state"), {"__name__": "documented"})


def learn(backend, rule="homeostatic", strength=None, device="cpu"):
    """Train s1 and s2 of a network by a rule; return its state and how often each feature has won."""
    overrides = {f"{stage}.rule": rule for stage in ("s1", "s2")}
    if strength is not None:
        overrides |= {f"{stage}.rule.strength": strength for stage in ("s1", "s2")}
    options = {"dtype": torch.float64, "backend": backend, "overrides": overrides, "device": device}
    network = build_model("mozafari2018", in_channels=6, **options)
    wins = []
    for phase in network.phases[:2]:
        for part in (LATENCIES[:4], LATENCIES[4:10]):
            inputs = network.map_of(part.to(device), network.input_name(phase.name))
            wins.append(phase.learn(network, inputs).winners[phase.name].tolist())
    return {name: tensor.cpu() for name, tensor in network.state_dict().items()}, wins


def assert_equal(one, other):
    assert [name for name in one if not torch.equal(one[name], other[name])] == []


def test_a_state_for_each_feature_is_equal_on_both_backends(documented):
    state, wins = learn("event")
    state_of_torch, wins_of_torch = learn("torch")
    assert wins == wins_of_torch
    assert state.keys() == state_of_torch.keys()
    assert_equal(state, state_of_torch)
    for number, stage in enumerate(("s1", "s2")):
        counted = torch.tensor(wins[2 * number] + wins[2 * number + 1])
        kept = state[f"phases.{number}.{stage}_wins"]
        assert torch.equal(torch.bincount(counted, minlength=len(kept)).double(), kept)
    plain, _ = learn("event", "stdp")
    assert not torch.equal(state["stages.s1.weight"], plain["stages.s1.weight"])
    neutral, _ = learn("event", strength=0)
    for stage in ("s1", "s2"):
        assert torch.equal(neutral[f"stages.{stage}.weight"], plain[f"stages.{stage}.weight"])


@pytest.mark.slow
def test_a_state_for_each_feature_on_a_pretended_device(documented):
    state, wins = learn("torch")
    with pretend():
        state_of_device, wins_of_device = learn("torch", device=DEVICE)
    assert wins_of_device == wins
    assert_equal(state, state_of_device)


class First(Phase):
    pass


class OfFirst(First):
    pass


class Second(Phase):
    pass


def with_phase(rule, phase, name):
    """Declare a kind of a rule that names its phase."""
    return type(name, (rule,), {"name": name, "phase": phase})


FirstSTDP = with_phase(STDP, First, "first")
FirstRSTDP = with_phase(RSTDP, First, "rewarded_first")
OfFirstRSTDP = with_phase(RSTDP, OfFirst, "rewarded_of_first")
SecondRSTDP = with_phase(RSTDP, Second, "rewarded_second")


class Net(NetworkTrainer):
    """Two branches that learn without labels, a stage that is rewarded, and a decision stage."""

    def __init__(self, *rules):
        self.rules = rules
        super().__init__(in_channels=6, num_classes=2)

    def build(self, num_classes):
        features, lower, upper = self.rules
        return {
            "s1": Branches(
                SpikingConv(4, 3, padding=1, threshold=5, rule=features),
                SpikingConv(4, 5, padding=2, threshold=5, rule=features),
            ),
            "c1": Pool(4),
            "s2": SpikingConv(4, 3, threshold=1, rule=lower),
            "s3": SpikingConv(num_classes, 3, rule=upper),
        }


PLAIN = STDP(winners=1, radius=0), RSTDP(), RSTDP()


@pytest.mark.parametrize(
    ("changed", "kinds"),
    [
        ({}, [Phase, Phase]),
        ({0: FirstSTDP(1, 0), 1: SecondRSTDP()}, [First, Second]),
        ({2: FirstRSTDP()}, [Phase, First]),
        ({1: FirstRSTDP(), 2: OfFirstRSTDP()}, [Phase, OfFirst]),
        ({1: OfFirstRSTDP(), 2: FirstRSTDP()}, [Phase, OfFirst]),
    ],
)
def test_the_rules_of_a_phase_choose_its_class(changed, kinds):
    rules = [changed.get(number, rule) for number, rule in enumerate(PLAIN)]
    assert [type(phase) for phase in Net(*rules).phases] == kinds


def test_rules_with_different_phases_cannot_share_one():
    with refuses("Second"):
        Net(PLAIN[0], FirstRSTDP(), SecondRSTDP())


def test_a_rule_that_names_no_phase_is_refused():
    with refuses("Phase"):
        Net(with_phase(STDP, STDP, "mine")(1, 0), *PLAIN[1:])


class Plain(Net):
    """Its phases are its own, whatever the rules name."""

    def build_phases(self):
        return [Phase(phase.stages, phase.rules) for phase in super().build_phases()]


def test_a_rule_is_not_trained_without_its_phase():
    """It would be trained by plain STDP, without a word."""
    assert [type(phase) for phase in Plain(*PLAIN).phases] == [Phase, Phase]
    with refuses("first"):
        Plain(FirstSTDP(1, 0), *PLAIN[1:])
    first = build_model("kheradpisheh2018", overrides={"s1.rule": "first"})  # only s2 has a phase of its own there
    assert type(first.phases[0]) is First
    with refuses("InhibitedPhase"):
        build_model("kheradpisheh2018", overrides={"s2.rule": "first"})


class Counted(Phase):
    """Counts the images of each class in a buffer."""

    def add_state(self, network):
        self.register_buffer("of_class", torch.zeros(network.num_classes, dtype=torch.int64))

    def learn_decisions(self, name, layer, inputs, labels, *more):
        self.of_class += torch.bincount(labels, minlength=len(self.of_class))
        return super().learn_decisions(name, layer, inputs, labels, *more)


def test_a_rule_with_labels_has_a_phase_too():
    """The decision stage learns as without it."""
    with_phase(MarginRule, Counted, "counted")
    networks = [build_model("mozafari2018_margin", overrides={"s3.rule": name}) for name in ("margin", "counted")]
    outcomes = [network.train_rl(LATENCIES[:12], LABELS[:12]) for network in networks]
    assert outcomes[0] == outcomes[1]
    weights = [network.stages["s3"].weight for network in networks]
    assert torch.equal(*weights)
    kept = networks[1].state_dict()[f"phases.{len(networks[1].phases) - 1}.of_class"]
    assert kept.tolist() == torch.bincount(torch.from_numpy(LABELS[:12]).long(), minlength=10).tolist()


def test_neurons_learn_towards_target_times():
    """The rule of docs/extending.md, worked out by hand for inputs at the time steps 0, 1 and 3, and a silent one.

    Neuron 0 spikes at 1, and neuron 1, of the true class, at 3. With the mean 2, a gap of 1 and half of the neurons in
    the true class, they should spike at 2.5 and 1.5. Without a spike, they should spike at 4 and 3.
    """
    declared = {}
    exec(find_example("TargetTimes"), declared)
    rule = declared["S2STDP"](rate=0.8, ltd=0.25, gap=1.0)
    layer = Layer(SpikingDense(2, threshold=0.8, rule=rule), 4, 4, dtype=torch.float64)
    layer.weight[..., 0, 0] = torch.tensor([[2, 2, 2, 0], [1, 1, 2, 2]]) / 4
    inputs = torch.tensor([[0, 1, 3, 4], [4, 4, 4, 4]], dtype=torch.uint8)[..., None, None]
    phase = declared["TargetTimes"](("s1",), {"s1": rule})
    decided, _ = phase.learn_decisions("s1", layer, inputs, torch.tensor([1, 1]), np.arange(2), 0, None)
    assert decided.tolist() == [0, -1]
    expected = torch.tensor([[8, 8, 23, 3], [20, 20, 30, 15]]) / 40
    torch.testing.assert_close(layer.weight[..., 0, 0], expected.double())
