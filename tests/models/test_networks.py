"""The same checks over every registered network, and what is particular to some."""

import io
from functools import partial

import pytest
import torch
from support.draws import draw_pixels
from support.golden_traces import GOLDEN
from support.tiers import FAST_NETWORKS, slow_except
from torch.nn import functional as F

from engine.decision import Outcome, majority
from engine.rules import STDP
from engine.stages import Pool, SpikingConv
from errors import InputError
from models import MODELS, build_model, network_names
from network_trainer import NetworkTrainer
from report.summary import summarize
from s1c1 import S1C1

DIGITS = torch.from_numpy(GOLDEN["encoding"][:60])
LABELS = torch.from_numpy(GOLDEN["label"][:60])
SILENCE = torch.full((3, 6, 28, 28), 15, dtype=torch.uint8)
NETWORKS = network_names()
SHAPES = """
mozafari2018      30 28, 30 14, 250 14, 250 4, 200 4
deep2024          30 28, 30 14, 150 14, 150 7, 250 7, 250 2, 200 2
deepr2024         30 28, 30 14, 150 14, 150 7, 250 7, 250 2, 200 2
deepr2024_greedy  30 28, 30 14, 150 14, 150 7, 250 7, 250 2, 200 2
inception2024     30 28, 30 14, 75 14, 75 7, 300 7, 300 2, 200 2
majority2024      30 28, 30 14, 250 14, 250 4, 600 6
kheradpisheh2018  32 28, 32 15, 150 16, 150 9
"""  # features and side of the latency maps for 28×28 inputs, of the networks that are described somewhere
SHAPES = dict(line.split(maxsplit=1) for line in SHAPES.strip().splitlines())
build = partial(build_model, in_channels=6, dtype=torch.float64)  # kernels are compiled for each type
every_network = pytest.mark.parametrize("name", slow_except(FAST_NETWORKS, NETWORKS))
DECIDING = [name for name in NETWORKS if name != "kheradpisheh2018"]  # they are not built while tests are collected
every_deciding_network = pytest.mark.parametrize("name", slow_except(FAST_NETWORKS, DECIDING))


def state(model):
    return {key: value.clone() for key, value in model.state_dict().items()}


def changed(model, before):
    """The entries of the state that are no longer, bit for bit, what they were."""
    return {key for key, value in model.state_dict().items() if not torch.equal(value, before[key])}


def weights(model, *names):
    """The state's entries that are weights of the named stages (none: of all)."""
    return {key for key in model.state_dict() if key.endswith("weight") and (not names or key.split(".")[1] in names)}


def train_phase(model, phase, latencies, labels):
    if phase.needs_labels:
        return model.train_rl(latencies, labels)
    return model.train_unsupervised(latencies, phase.stages[0])


def train_a_little(model, images=slice(0, 8)):
    for phase in model.phases:
        train_phase(model, phase, DIGITS[images], LABELS[images])


# Every network


@every_network
def test_walk_gives_every_stage_its_shape(name):
    """Latency maps, uint8 and at most 15, bottom up; a map of a stage without a threshold is 14 or silent."""
    model = build(name)
    maps = list(model.walk(DIGITS[:2]))
    assert [stage for stage, _ in maps] == list(model.declaration)
    shapes = model.shapes(28, 28)
    assert all(tuple(latency.shape[1:]) == shapes[stage] for stage, latency in maps)
    found = ", ".join(f"{latency.shape[1]} {latency.shape[2]}" for _, latency in maps)
    assert found == SHAPES.get(name, found)
    assert all(latency.dtype == torch.uint8 and latency.max() <= 15 for _, latency in maps)
    if not model.declaration[maps[-1][0]].fires:
        assert set(maps[-1][1].unique().tolist()) <= {14, 15}


@every_network
def test_silence_is_not_decided_and_teaches_nothing(name):
    """A blank image is -1, and no weight moves in any phase."""
    model = build(name)
    before = state(model)
    if model.decision:
        assert model.predict(SILENCE).tolist() == [-1, -1, -1]
        assert model.evaluate(SILENCE, [1, 2, 3]) == Outcome(correct=0, wrong=0, silent=3)
    for phase in model.phases:
        outcome = train_phase(model, phase, SILENCE, torch.tensor([1, 2, 3]))
        assert outcome == (Outcome(0, 0, 3) if phase.needs_labels else None)
    assert not changed(model, before) & weights(model)


@every_network
def test_only_the_weights_of_the_phase_move(name):
    """Each phase changes all weights of its stages, and nothing in other stages, also not their rates."""
    model = build(name)
    for phase in model.phases:
        before = state(model)
        train_phase(model, phase, DIGITS[:20], LABELS[:20])
        active = phase.stages[:1] if phase.alternate else phase.stages
        moved = changed(model, before)
        assert moved & weights(model) == weights(model, *active)
        counters = {key for key in moved if key.split(".")[1] not in active}
        assert counters == {f"phases.{[*model.phases].index(phase)}.batches"}


@every_deciding_network
def test_saved_and_loaded_it_predicts_and_learns_on_the_same(name):
    """A state loaded into a network of another seed gives the same decisions, and the same further training."""
    model, other = build(name), build(name, seed=1)
    train_a_little(model)
    file = io.BytesIO()
    torch.save(model.state_dict(), file)
    file.seek(0)
    other.load_state_dict(torch.load(file, weights_only=True))
    assert torch.equal(model.predict(DIGITS), other.predict(DIGITS))
    for network in (model, other):
        train_a_little(network, slice(8, 16))
    assert not changed(model, state(other))


@pytest.mark.parametrize("name", slow_except(["mozafari2018"], DECIDING))
def test_evaluation_changes_nothing(name):
    """Neither predictions, evaluation nor a walk changes the state; the outcome counts every image."""
    model = build(name)
    train_a_little(model)
    before = state(model)
    decisions = model.predict(DIGITS)
    outcome = model.evaluate(DIGITS, LABELS)
    list(model.walk(DIGITS[:2]))
    assert not changed(model, before)
    assert (decisions.dtype, decisions.shape) == (torch.int64, (60,))
    assert outcome == Outcome(
        int((decisions == LABELS).sum()),
        int(((decisions != LABELS) & (decisions >= 0)).sum()),
        int((decisions < 0).sum()),
    )
    assert model.predict(DIGITS[:0]).shape == (0,)


@every_network
def test_the_seed_makes_the_weights(name):
    """N(0.8, 0.05): the same for the same seed, of any type; others for another seed."""
    model = build_model(name, seed=3)
    assert not changed(build_model(name, seed=3), state(model))
    assert weights(model) <= changed(build_model(name, seed=4), state(model))
    double = build_model(name, seed=3, dtype=torch.float64)
    for (_, layer), (_, other) in zip(model.named_layers(), double.named_layers(), strict=True):
        assert (layer.weight.dtype, other.weight.dtype) == (torch.float32, torch.float64)
        assert torch.equal(layer.weight, other.weight.float())
        mean, deviation = layer.stage.first_weights
        assert float(other.weight.mean()) == pytest.approx(mean, abs=0.1 * deviation)
        assert float(other.weight.std()) == pytest.approx(0.05, abs=0.005)


SIZES = (2, 3, (28, 28)), (1, 26, (28, 28)), (6, 10, (56, 40)), (6, 10, (56, 56))


@every_deciding_network
@pytest.mark.parametrize(
    ("channels", "classes", "size"),
    slow_except([SIZES[0]], SIZES),
)
def test_any_number_of_channels_and_classes_and_any_size(name, channels, classes, size):
    """As many neurons for each class, all phases run, and the decision is one of the classes."""
    model = build(name, in_channels=channels, num_classes=classes, image_size=size)
    neurons = {conv.out_channels for conv in model.declaration[model.decision].convs}
    assert neurons == {20 * classes} if name in SHAPES else {count % classes for count in neurons} == {0}
    border = [side for length in reversed(size) for side in 2 * [(length - 28) // 2]]
    latencies, labels = F.pad(DIGITS[:6, :channels], border, value=15), torch.arange(6) % classes
    next(model.named_layers())[1].threshold = 2  # less input, lower threshold
    for phase in model.phases[:-1]:
        model.train_unsupervised(latencies, phase.stages[0])
    assert sum(model.train_rl(latencies, labels)) == 6
    decisions = model.predict(latencies)
    assert decisions.max() < classes
    assert (decisions >= 0).any()
    shapes = model.shapes(*size)
    assert all(tuple(maps.shape[1:]) == shapes[stage] for stage, maps in model.walk(latencies))


def test_the_names_in_a_state_dict():
    """Files of trained networks contain these names."""
    of_stdp = ("weight", "stdp_rates", "images_seen")
    names = {f"stages.{stage}.{name}" for stage in ("s1", "s2") for name in of_stdp}
    names |= {"stages.s3.weight", "stages.s3.rstdp_rates", *(f"phases.{number}.batches" for number in range(3))}
    assert set(build("mozafari2018").state_dict()) == names
    branches = {name for name in build("inception2024").state_dict() if name.startswith("stages.s3.")}
    assert branches == {f"stages.s3.branches.{number}.{name}" for number in range(3) for name in of_stdp}


@every_network
def test_each_weight_is_saved_once_and_each_phase_has_its_epochs(name):
    """A phase with labels is the last, and trains the deciding stage."""
    model = build(name)
    entries = model.state_dict()
    assert len(weights(model)) == len([*model.named_layers()]) == len([*model.parameters()])
    assert len({value.data_ptr() for value in entries.values()}) == len(entries)
    assert not any(p.requires_grad for p in model.parameters())
    assert len(model.epochs) == len(model.phases)
    *others, last = model.phases
    assert not any(phase.needs_labels for phase in others)
    assert last.needs_labels == (model.decision is not None) == (model.decision in last.stages)


# Declarations


def test_two_modules_cannot_declare_one_name():
    """A copied network file that keeps its name is refused; the same class declared again replaces the first one."""

    def declare(module):
        return type("Copied", (NetworkTrainer,), {"__module__": module}, name="copied")

    declare("models.copied")
    again = declare("models.copied")
    assert MODELS["copied"] is again
    with pytest.raises(InputError, match=r"models\.copied.*models\.copy_of_it"):
        declare("models.copy_of_it")


def test_a_network_may_learn_features_only():
    """A network without a decision stage learns and fires; methods that need decisions raise an error."""

    class Declared(NetworkTrainer):
        def build(self, num_classes):
            return {"s1": SpikingConv(8, 5, threshold=5, rule=STDP(winners=2, radius=1)), "c1": Pool(2)}

    model = Declared()
    assert (model.decision, [phase.name for phase in model.phases]) == (None, ["s1"])
    before = state(model)
    model.train_unsupervised(DIGITS[:20], "s1")
    assert changed(model, before) & weights(model)
    assert [tuple(maps.shape) for _, maps in model.walk(DIGITS[:2])] == [(2, 8, 24, 24), (2, 8, 12, 12)]
    for needs_decisions in (
        lambda: model.predict(DIGITS[:2]),
        lambda: model.evaluate(DIGITS[:2], LABELS[:2]),
        lambda: model.train_rl(DIGITS[:2], LABELS[:2]),
        model.class_of_feature,
    ):
        with pytest.raises(InputError):
            needs_decisions()


ENCODED = "kheradpisheh2018", "mozafari2018_shallow"  # with an encoder of their own


@pytest.mark.parametrize("name", slow_except(ENCODED, NETWORKS))
def test_a_network_without_numbers_reads_the_maps_of_its_encoder(name):
    declared = MODELS[name].encoder
    side = 130 if name == "mozafari2018_shallow" else 28  # for a kernel of 17×17 on a map of 21×21
    shape = (3, side, side, 3) if declared.colours == 3 else (3, side, side)
    images = draw_pixels(*shape)
    encoder = declared.with_state(declared.fit(images))
    model = build_model(name)
    assert [*dict(model.walk(encoder.encode(images)))] == [*model.declaration]
    assert (model.in_channels, model.time_steps) == (encoder.channels, encoder.time_steps)


def test_numbers_of_a_script_and_of_its_encoder():
    class Own(MODELS["mozafari2018"]):
        encoder = S1C1(filters=((3, 1, 2),), time_steps=30)

    assert (Own().in_channels, Own().time_steps) == (2, 30)
    given = Own(in_channels=4, time_steps=9)
    assert (given.in_channels, given.time_steps) == (4, 9)


def test_the_rates_of_s2_of_kheradpisheh2018_are_constant():
    """The authors' script doubles only those of s1: after 3,000 images, 0.004 · 2⁶ is above 0.15, and LTD -0.1125."""
    layers = dict(build_model("kheradpisheh2018").named_layers())
    rates = {name: layer.next_rates(layer.stage.rule, 3000)[-1, 0].tolist() for name, layer in layers.items()}
    assert rates == {"s1": [0.15, -0.75 * 0.15], "s2": [0.004, -0.003]}


def test_the_summary_shows_rules_phases_thresholds_and_receptive_fields():
    """s1 5; c1 5 + 1 = 6; s2 6 + 2·2 = 10; c2 10 + 2·2 = 14; s3 14 + 4·6 = 38 pixels."""
    model = build_model("mozafari2018")
    table = summarize(model)
    lines = [line.split() for line in table.splitlines()]
    fields = {words[0]: words[-2] for words in lines if words and words[0] in ("s2", "s3")}
    assert fields == {"s2": "10×10", "s3": "38×38"}
    text = " ".join(summarize(build_model("deepr2024_greedy")).split())
    assert "s3: RSTDP(winners=15, radius=0, reward=(0.001, -0.00075)" in text
    assert "4 s3+s4: R-STDP, with labels, by turns from batch to batch; 12 epochs by default" in text
    branches = summarize(build_model("inception2024"))
    assert "\n  s3_3x3, s3_5x5, s3_7x7: STDP(winners=15" in branches
    assert max(map(len, branches.splitlines())) <= 100
    assert "(s1): Layer(SpikingConv(inputs=(), out_channels=30, kernel=5, padding=2" in repr(model)


# Some networks


def test_deepr2024_greedy_takes_turns():
    """s3 alone moves in even batches and s4 alone in odd ones, counted over all calls and across a saved state."""
    model = build("deepr2024_2")  # the original's name
    assert model.name == "deepr2024_greedy"
    for n in range(5):
        if n == 3:
            saved, model = model.state_dict(), build("deepr2024_greedy", seed=5)
            model.load_state_dict(saved)
        before = state(model)
        part = slice(12 * n, 12 * n + 12)
        model.train_rl(DIGITS[part], LABELS[part])
        moved = changed(model, before)
        assert moved & weights(model) == weights(model, ("s3", "s4")[n % 2]), n
        assert f"stages.{('s4', 's3')[n % 2]}.rstdp_rates" not in moved


MAJORITY = """
444 123 4, 442 119 4, 424 191 4, 244 911 4, 123 918 2, -44 011 4, 4-4 101 4, 12- 910 2, -23 019 2
1-3 201 1, 1-3 102 3, 0-3 201 0, --3 001 3, 1-- 100 1, -2- 010 2, 00- 110 0, --- 000 -, --0 001 0
"""


def test_majority_by_hand():
    """Two or three equal votes, else the middle branch's (5×5), else the strongest branch's, else silence (-).

    The table contains the votes, their potentials and the decision.
    """
    for row in MAJORITY.replace("\n", ", ").strip(", ").split(", "):
        votes, strengths, decision = ([-1 if sign == "-" else int(sign) for sign in word] for word in row.split())
        assert majority(torch.tensor([votes]), torch.tensor([strengths]).double(), 10).tolist() == decision, row


SILENT = [
    ((1,), 5),  # 5×5 silent: the 7×7 branch has the higher potential
    ((0, 1, 2), -1),
    ((), 6),  # all different: the 5×5 branch
    ((0,), 6),
    ((0, 1), 5),
    ((1, 2), 7),
]


@pytest.mark.parametrize(("silent", "decision"), slow_except(SILENT[:2], SILENT))
def test_majority2024_with_silent_branches(silent, decision):
    """Silent branches abstain, learn nothing, and all silent are silence; the others learn from their own vote."""
    model = build("majority2024")
    for b, branch in enumerate(model.stages["s3"].branches):
        branch.weight.fill_(0 if b in silent else 0.3)
        branch.weight[20 * (7 - b)] += 0 if b in silent else 0.2  # votes 7, 6 and 5
    image, label, before = DIGITS[:1], torch.tensor([6]), state(model)
    assert model.predict(image).tolist() == [decision]
    assert model.train_rl(image, label) == Outcome.of(torch.tensor([decision]), label)
    for b, branch in enumerate(model.stages["s3"].branches):
        change = branch.weight - before[f"stages.s3.branches.{b}.weight"]
        if b in silent:
            assert not change.any()
        else:
            right = b == 1
            expected = torch.tensor([0.004, -0.003] if right else [-0.004, 0.0005])
            winner = change[20 * (7 - b)]
            assert ((winner[..., None] - expected).abs() < 1e-6).any(-1).all()
            assert change.count_nonzero() == winner.numel()
