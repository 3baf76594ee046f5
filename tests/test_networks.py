"""The same checks over every registered network, and what is particular to some."""

import io
from pathlib import Path
from unittest import mock

import numpy as np
import pytest
import torch
from support.refusals import refuses
from torch.nn import functional as F

from engine.decision import Outcome, majority
from engine.rules import RSTDP, STDP
from engine.stages import Branches, Pool, SpikingConv, Vote
from errors import InputError
from models import MODELS, build_model, network_names
from network_trainer import LatencyDataset, NetworkTrainer
from report.activation_maps import find_neurons
from report.summary import summarize

GOLDEN = np.load(Path(__file__).parent / "golden" / "reference_traces.npz")
DIGITS = torch.from_numpy(GOLDEN["encoding"][:60])
LABELS = torch.from_numpy(GOLDEN["label"][:60])
SILENCE = torch.full((3, 6, 28, 28), 15, dtype=torch.uint8)
NETWORKS = network_names()
SHAPES = {  # of the latency maps for 28×28 inputs, of the networks that are described somewhere
    "mozafari2018": [(30, 28), (30, 14), (250, 14), (250, 4), (200, 4)],
    "deep2024": [(30, 28), (30, 14), (150, 14), (150, 7), (250, 7), (250, 2), (200, 2)],
    "deepr2024": [(30, 28), (30, 14), (150, 14), (150, 7), (250, 7), (250, 2), (200, 2)],
    "deepr2024_greedy": [(30, 28), (30, 14), (150, 14), (150, 7), (250, 7), (250, 2), (200, 2)],
    "inception2024": [(30, 28), (30, 14), (75, 14), (75, 7), (300, 7), (300, 2), (200, 2)],
    "majority2024": [(30, 28), (30, 14), (250, 14), (250, 4), (600, 6)],
    "kheradpisheh2018": [(32, 28), (32, 15), (150, 16), (150, 9)],
}
every_network = pytest.mark.parametrize("name", NETWORKS)
DECIDING = [name for name in NETWORKS if build_model(name).decision]
every_deciding_network = pytest.mark.parametrize("name", DECIDING)


def state(model):
    return {key: value.clone() for key, value in model.state_dict().items()}


def changed(model, before):
    """The entries of the state that are no longer, bit for bit, what they were."""
    return {key for key, value in model.state_dict().items() if not torch.equal(value, before[key])}


def weights(model, *names):
    """The state's entries that are weights of the named stages (none: of all)."""
    return {key for key in model.state_dict() if key.endswith("weight") and (not names or key.split(".")[1] in names)}


def train_a_little(model, images=slice(0, 20)):
    for phase in model.phases:
        if not phase.needs_labels:
            model.train_unsupervised(DIGITS[images], phase.stages[0])
        else:
            model.train_rl(DIGITS[images], LABELS[images])


# ---------------------------------------------------------------------------------------------------------------------
# Every network


@every_network
def test_walk_gives_every_stage_its_shape(name):
    """Latency maps, uint8 and at most 15, bottom up; a map of a decision stage is 14 or silent."""
    model = build_model(name)
    maps = list(model.walk(DIGITS[:2]))
    assert [stage for stage, _ in maps] == list(model.stages)
    assert [(stage, tuple(latency.shape[1:])) for stage, latency in maps] == list(model.shapes(28, 28).items())[1:]
    if name in SHAPES:
        assert [tuple(latency.shape) for _, latency in maps] == [(2, c, side, side) for c, side in SHAPES[name]]
    assert all(latency.dtype == torch.uint8 and latency.max() <= 15 for _, latency in maps)
    if model.decision:
        assert set(maps[-1][1].unique().tolist()) <= {14, 15}


@every_network
def test_silence_is_not_decided_and_teaches_nothing(name):
    """A blank image is -1, and no weight moves in any phase."""
    model = build_model(name)
    before = state(model)
    if model.decision:
        assert model.predict(SILENCE).tolist() == [-1, -1, -1]
        assert model.evaluate(SILENCE, [1, 2, 3]) == Outcome(correct=0, wrong=0, silent=3)
    for phase in model.phases:
        if not phase.needs_labels:
            model.train_unsupervised(SILENCE, phase.stages[0])
        else:
            assert model.train_rl(SILENCE, torch.tensor([1, 2, 3])) == Outcome(0, 0, 3)
    assert not changed(model, before) & weights(model)


@every_network
def test_only_the_weights_of_the_phase_move(name):
    """Each phase changes all weights of its stages, and nothing in other stages, also not their rates."""
    model = build_model(name)
    for phase in model.phases:
        before = state(model)
        if not phase.needs_labels:
            model.train_unsupervised(DIGITS[:20], phase.stages[0])
            active = phase.stages
        else:
            model.train_rl(DIGITS[:20], LABELS[:20])
            active = phase.stages[:1] if phase.alternate else phase.stages
        moved = changed(model, before)
        assert moved & weights(model) == weights(model, *active)
        counters = {key for key in moved if key.split(".")[1] not in active}
        assert counters == {f"phases.{[*model.phases].index(phase)}.batches"}


@every_deciding_network
def test_saved_and_loaded_it_predicts_and_learns_on_the_same(name):
    """A state loaded into a network of another seed gives the same decisions, and the same further training."""
    model, other = build_model(name), build_model(name, seed=1)
    train_a_little(model)
    file = io.BytesIO()
    torch.save(model.state_dict(), file)
    file.seek(0)
    other.load_state_dict(torch.load(file, weights_only=True))
    assert torch.equal(model.predict(DIGITS), other.predict(DIGITS))
    for network in (model, other):
        train_a_little(network, slice(20, 40))
    assert not changed(model, state(other))


@every_deciding_network
def test_evaluation_changes_nothing(name):
    """Neither predictions, evaluation nor a walk changes the state; the outcome counts every image."""
    model = build_model(name)
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
    for conv, other in zip(model.convs(), double.convs(), strict=True):
        assert (conv.weight.dtype, other.weight.dtype) == (torch.float32, torch.float64)
        assert torch.equal(conv.weight, other.weight.float())
        mean, deviation = conv.first_weights
        assert float(other.weight.mean()) == pytest.approx(mean, abs=0.1 * deviation)
        assert float(other.weight.std()) == pytest.approx(0.05, abs=0.005)


@every_deciding_network
@pytest.mark.parametrize(("channels", "classes"), [(2, 3), (1, 26)])
def test_any_number_of_channels_and_classes(name, channels, classes):
    """Two channels and three classes, one and 26: as many neurons for each class, and all phases run."""
    model = build_model(name, in_channels=channels, num_classes=classes)
    neurons = {conv.out_channels for conv in model.stages[model.decision].convs}
    assert neurons == {20 * classes} if name in SHAPES else {count % classes for count in neurons} == {0}
    latencies, labels = DIGITS[:6, :channels].contiguous(), torch.arange(6) % classes
    model.convs()[0].threshold = 2  # less input, lower threshold
    for phase in model.phases[:-1]:
        model.train_unsupervised(latencies, phase.stages[0])
    assert sum(model.train_rl(latencies, labels)) == 6
    decisions = model.predict(latencies)
    assert decisions.max() < classes
    assert (decisions >= 0).any()


@every_deciding_network
def test_larger_images(name):
    """56×56 and not square: all phases run, and the decision is one of the classes."""
    model = build_model(name, image_size=(56, 40))
    latencies = torch.full((2, 6, 56, 40), 15, dtype=torch.uint8)
    latencies[:, :, 14:42, 6:34] = DIGITS[:2]
    for phase in model.phases[:-1]:
        model.train_unsupervised(latencies, phase.stages[0])
    assert sum(model.train_rl(latencies, LABELS[:2])) == 2
    assert ((model.predict(latencies) >= 0) & (model.predict(latencies) < 10)).all()
    square, model = torch.nn.functional.pad(latencies, (8, 8), value=15), build_model(name, image_size=(56, 56))
    shapes = {stage: tuple(maps.shape[1:]) for stage, maps in model.walk(square)}
    assert {"input": (6, 56, 56), **shapes} == model.shapes(56, 56)


@every_deciding_network
@pytest.mark.parametrize("side", [1, 3, 5])
def test_too_small_images_are_refused(name, side):
    """No weight has changed, whatever was called."""
    model = build_model(name)
    before = state(model)
    latencies, labels = torch.zeros(2, 6, side, side, dtype=torch.uint8), torch.zeros(2, dtype=torch.int64)
    for call in (
        lambda: model.shapes(side, side),
        lambda: model.predict(latencies),
        lambda: model.evaluate(latencies, labels),
        lambda: list(model.walk(latencies)),
        lambda: model.train_rl(latencies, labels),
    ):
        with pytest.raises(InputError):
            call()
    assert not changed(model, before)


@every_deciding_network
def test_what_is_no_latency_map_is_refused(name):
    """Another type, another number of axes or channels, or times beyond the last step."""
    model = build_model(name)
    for wrong in (
        DIGITS.float(),
        DIGITS.long(),
        DIGITS[0],
        DIGITS[:, :5],
        DIGITS[None],
        torch.full((1, 6, 28, 28), 16, dtype=torch.uint8),
    ):
        for call in (
            lambda wrong=wrong: model.predict(wrong),
            lambda wrong=wrong: list(model.walk(wrong)),
            lambda wrong=wrong: model.train_unsupervised(wrong, model.phases[0].stages[0]),
            lambda wrong=wrong: model.train_rl(wrong, LABELS[: len(wrong)]),
        ):
            with pytest.raises(InputError):
                call()


@every_network
def test_each_weight_is_saved_once(name):
    """The state is a weight and at most three buffers for each convolution, and a counter for each phase."""
    model = build_model(name)
    entries = model.state_dict()
    assert len(weights(model)) == len(model.convs())
    assert len(entries) <= 4 * len(model.convs()) + len(model.phases)
    assert len({value.data_ptr() for value in entries.values()}) == len(entries)
    count = sum(conv.weight.numel() for conv in model.convs())
    assert sum(value.numel() for value in entries.values()) <= count + 7 * len(model.convs()) + len(model.phases)
    assert sum(p.numel() for p in model.parameters()) == count
    assert not any(p.requires_grad for p in model.parameters())


@every_network
def test_phases_and_epochs_belong_together(name):
    """One number of epochs for each phase; an R-STDP phase is the last and holds the deciding stage."""
    model = build_model(name)
    assert len(model.epochs) == len(model.phases)
    decides = model.decision is not None
    assert [phase.needs_labels for phase in model.phases] == [False] * (len(model.phases) - decides) + [True] * decides
    if decides:
        assert model.decision in model.phases[-1].stages


def test_unknown_names_are_refused():
    """An unknown model, backend, or a stage that does not learn without a teacher."""
    with refuses("--model"):
        build_model("mozafari")
    with refuses("backend"):
        build_model("mozafari2018", backend="cuda")
    for stage in ("c1", "s3"):
        with pytest.raises(InputError, match=stage):
            build_model("mozafari2018").train_unsupervised(DIGITS[:1], stage)


# ---------------------------------------------------------------------------------------------------------------------
# Declarations


@pytest.fixture
def declare():
    """A function that makes the class of a network with the given stages; it is known to nobody else."""

    def declare(**stages):
        class Declared(NetworkTrainer, name="declared"):
            def build(self, num_classes):
                return {name: make() for name, make in stages.items()}

        return Declared

    with mock.patch.dict(MODELS):
        yield declare


def test_features_that_classes_cannot_share_are_refused(declare):
    network = declare(s1=lambda: SpikingConv(200, 5, rule=RSTDP()))
    assert network(num_classes=10).class_of_feature().tolist() == sorted(list(range(10)) * 20)
    with refuses("s1"):
        network(num_classes=26)


FIRST = {"s1": lambda: SpikingConv(8, 5, threshold=5, rule=STDP(winners=2, radius=1))}
REWARDED = RSTDP(winners=2, bounds=(0.0, 1.0))


def firing(rule=REWARDED):
    return SpikingConv(8, 3, threshold=5, rule=rule)


def deciding(kernel=3, **more):
    return SpikingConv(10, kernel, rule=RSTDP(), **more)


@pytest.mark.parametrize(
    ("stages", "field"),
    [
        ({"s2": lambda: SpikingConv(8, 3, rule=STDP(2, 1))}, "s2"),  # it decides, so its rule needs labels
        ({"s2": lambda: SpikingConv(10, 3)}, "s2"),
        ({"s2": lambda: deciding(in_channels=9)}, "s2.in_channels"),
        ({"s2": deciding, "c2": lambda: Pool(2)}, "s2"),  # only the last stage decides
        ({"s2": firing, "s3": lambda: firing(None), "s4": deciding}, "s2"),  # no decision stage next above it
        ({"s2": firing, "c2": lambda: Pool(2), "d2": lambda: Pool(2), "s3": deciding}, "s2"),
        ({"s2": firing, "c2": lambda: Pool(2, padding=1), "s3": deciding}, "s2"),
        ({"s2": firing, "s3": lambda: Vote(deciding(), deciding(5))}, "s2"),
        ({"s2": firing}, "s2"),
        ({"s2": lambda: Branches(firing())}, "rule"),
        ({"s2": lambda: Branches(firing(STDP(2, 1)), firing(None))}, "rule"),
        ({"s2": lambda: Branches(deciding())}, "threshold"),
        ({"s2": lambda: Vote(firing(RSTDP()))}, "threshold"),
        ({"s2": torch.nn.ReLU}, "s2"),
    ],
)
def test_what_could_not_be_trained_is_refused_at_once(stages, field, declare):
    with refuses(field):
        declare(**FIRST, **stages)(num_classes=10)


@pytest.mark.parametrize(
    ("make", "field"),
    [
        (lambda: SpikingConv(0, 3), "out_channels"),
        (lambda: SpikingConv(8, 2.5), "kernel"),
        (lambda: SpikingConv(8, 3, padding=3), "padding"),
        (lambda: SpikingConv(8, 3, threshold=-1), "threshold"),
        (lambda: SpikingConv(8, 3, threshold=float("nan")), "threshold"),
        (lambda: SpikingConv(8, 3, threshold=1e7), "threshold"),
        (lambda: SpikingConv(8, 3, first_weights=(1e300, 0)), "first_weights"),
        (lambda: SpikingConv(8, 3, in_channels=0), "in_channels"),
        (lambda: Pool(0), "size"),
        (lambda: Pool(2, padding=2), "padding"),
        (lambda: Pool(2, padding=-1), "padding"),
        (lambda: Pool(2, padding=0.5), "padding"),
        (lambda: Branches(), "branches"),
    ],
)
def test_impossible_stages_are_refused(make, field):
    with refuses(field):
        make()


LATENCY = torch.zeros(2, 3, 4, 4, dtype=torch.uint8)
FIRING = SpikingConv(4, 3, in_channels=3, threshold=1, rule=STDP(winners=1, radius=0))


def learn_decisions(latency=LATENCY, labels=(0, 1), classes=(0, 0, 1, 1), weight=None, **declared):
    stage = SpikingConv(**{"out_channels": 4, "kernel": 3, "rule": RSTDP(), "in_channels": 3, **declared})
    if weight is not None:
        stage.weight.data = weight
    stage.learn_decisions(latency, torch.as_tensor(labels), np.array(classes), np.random.default_rng(0))


@pytest.mark.parametrize(
    ("call", "field"),
    [
        *((lambda latency=latency: Pool(2).fire(latency), "latency")
          for latency in (LATENCY.float(), LATENCY.float() * np.nan, LATENCY[0], LATENCY[None], "a")),
        (lambda: Pool(5).fire(LATENCY), "size"),
        (lambda: learn_decisions(LATENCY[:, :2]), "latency"),
        *((lambda labels=labels: learn_decisions(labels=labels), "labels")
          for labels in ((-1, 0), (0, 2), (0, 2**62), (0.0, 1.0), (0.0, np.nan), (0j, 1j), (0,), (True, False),
                         torch.empty(2, dtype=torch.int64, device="meta"), torch.tensor([0, 1]).to(torch.uint64))),
        (lambda: learn_decisions(LATENCY.to("meta")), "latency"),
        *((lambda classes=classes: learn_decisions(classes=classes), "classes")
          for classes in ((-1, 0, 0, 1), (0, 0, 1, 99), (0.0, 0.0, 1.0, np.nan), (0, 1))),
        *((lambda weight=weight: learn_decisions(weight=weight), "weight")
          for weight in (torch.zeros(4, 3, 3, 2), torch.zeros(4, 2, 3, 3), torch.zeros(4, 3, 3, 3).half(),
                         torch.zeros(3, 3, 4, 3).transpose(0, 2), torch._neg_view(torch.zeros(4, 3, 3, 3)))),
        *((lambda rule=rule: FIRING.learn_features(LATENCY, rule), "rule") for rule in (None, "stdp", STDP, RSTDP())),
        (lambda: FIRING.learn_features(LATENCY, FIRING.rule, epoch=1.5), "epoch"),
        (lambda: FIRING.learn_features([1], FIRING.rule), "latency"),
        (lambda: FIRING.peaks(LATENCY), "threshold"), (lambda: FIRING.fire(LATENCY, 0), "size"),
        *((lambda pool=pool: Branches(FIRING, FIRING).fire(LATENCY, pool), "size") for pool in (0, 9)),
        (lambda: learn_decisions(threshold=1, rule=STDP(winners=1, radius=0)), "threshold"),
        (lambda: SpikingConv(4, 3, rule=STDP(winners=1, radius=0)).learn_features(LATENCY, None), "threshold"),
    ],
)  # fmt: skip
def test_stages_refuse_what_they_cannot_take(call, field):
    with refuses(field):
        call()


def test_maps_are_checked_where_they_enter_a_network():
    """``decide`` and ``map_of`` take tensors and arrays, as ``predict`` does, and refuse times beyond the last step."""
    model = build_model("mozafari2018")
    array = DIGITS[:3].numpy()
    assert torch.equal(model.decide(array)[0], model.predict(DIGITS[:3]))
    assert torch.equal(model.map_of(array, "c1"), model.map_of(DIGITS[:3], "c1"))
    c1 = model.map_of(array, "c1")
    assert torch.equal(model.decide({"c1": c1.numpy()})[0], model.predict(DIGITS[:3]))
    for wrong in (array + 100, {"c1": c1 + 100}, {"c1": c1[0]}, array.astype(float), {}):
        for call in (model.decide, lambda maps: model.map_of(maps, "c2")):
            with pytest.raises(InputError):
                call(wrong)


def test_two_modules_cannot_declare_one_name():
    """A copied network file that keeps its name is refused; the same class declared again replaces the first one."""

    def declare(module):
        return type("Copied", (NetworkTrainer,), {"__module__": module}, name="copied")

    with mock.patch.dict(MODELS):
        declare("models.copied")
        again = declare("models.copied")
        assert MODELS["copied"] is again
        with pytest.raises(InputError, match=r"models\.copied.*models\.copy_of_it"):
            declare("models.copy_of_it")


def test_a_declaration_returns_stages(declare):
    one = SpikingConv(10, 1, threshold=1)
    for stages in (
        {}, {"input": lambda: SpikingConv(10, 5, rule=RSTDP())}, {"c1": lambda: Pool(2)}, {"training": firing},
        {"s 1": firing}, {"s1": lambda: one, "s2": lambda: one}, {"s1": lambda: Branches(one, one)},
    ):  # fmt: skip
        with pytest.raises(InputError):
            declare(**stages)()
    for wrong in (None, [one], 3):
        with refuses("build"):
            type("Wrong", (NetworkTrainer,), {"build": lambda self, classes, wrong=wrong: wrong})()
    with refuses("build_phases"):
        type("Wrong", (MODELS["mozafari2018"],), {"build_phases": lambda self: [None]})()


@pytest.mark.parametrize(
    ("argument", "value"),
    [
        ("in_channels", 0), ("num_classes", 1.5), ("seed", None), ("seed", -1), ("time_steps", 255), ("device", "gpu"),
        ("dtype", torch.int32), ("image_size", (28,)), ("image_size", (28, -1)),
    ],
)  # fmt: skip
def test_impossible_arguments_are_refused(argument, value):
    with refuses(argument):
        build_model("mozafari2018", **{argument: value})


def test_two_branches_of_one_kernel_have_labels_of_their_own(declare):
    """They are told apart by their place, and each counts its own winners."""

    def branch(threshold):
        return SpikingConv(8, 5, threshold=threshold, rule=STDP(winners=2, radius=1))

    model = declare(s1=lambda: Branches(branch(5), branch(9)))()
    assert [label for label, _ in model.named_convs()] == ["s1_1", "s1_2"]
    won = model.phases[0].learn(model, DIGITS[:20]).wins
    assert [len(won[label]) for label in ("s1_1", "s1_2")] == [40, 40]


def test_a_network_may_learn_features_only(declare):
    """A network without a decision stage learns and fires; methods that need decisions raise an error."""
    model = declare(**FIRST, c1=lambda: Pool(2))()
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


@pytest.mark.parametrize("size", [1, 2, 3])
def test_pooling_takes_the_earliest_spike_of_each_window(size):
    """Lines and columns that do not fill a window are dropped."""
    latency = torch.from_numpy(np.random.default_rng(0).integers(0, 16, (2, 3, 7, 8), np.uint8))
    found = Pool(size).fire(latency)
    assert found.shape == (2, 3, 7 // size, 8 // size)
    for y in range(7 // size):
        for x in range(8 // size):
            window = latency[..., y * size : (y + 1) * size, x * size : (x + 1) * size]
            assert torch.equal(found[..., y, x], window.flatten(2).min(2).values)


def test_pooling_with_padding_by_hand():
    """Windows of 2×2 around a 3×3 map: the corner alone, the edges in pairs, and the last 2×2 neurons together."""
    latency = torch.tensor([[[[3, 9, 4], [15, 15, 7], [8, 2, 15]]]], dtype=torch.uint8)
    assert Pool(2, padding=1).fire(latency).tolist() == [[[[3, 4], [8, 2]]]]
    assert Pool(2, padding=1).output_shape(1, 3, 3) == (1, 2, 2)
    assert Pool(2, padding=1).fire(torch.full((1, 1, 4, 4), 15, dtype=torch.uint8)).tolist() == [[[[15] * 3] * 3]]


def test_a_padded_pooling_above_a_convolution(declare):
    """It is not computed together with the convolution below it, and has the same result as after it."""
    model = declare(**FIRST, c1=lambda: Pool(2, padding=1))()
    maps = dict(model.walk(DIGITS[:5]))
    assert maps["c1"].shape == (5, 8, 13, 13)
    assert torch.equal(model.map_of(DIGITS[:5], "c1"), maps["c1"])
    spikes = F.pad(maps["s1"], (1, 1, 1, 1), value=15)
    assert torch.equal(maps["c1"], 15 - F.max_pool2d(15.0 - spikes, 2).byte())
    (part,) = find_neurons(model, 28, 28)["c1"]
    assert part == (slice(0, 8), slice(0, 13), slice(0, 13))


def test_the_rates_of_s2_of_kheradpisheh2018_are_constant():
    """The authors' script doubles only those of s1: after 3,000 images, 0.004 · 2⁶ is above 0.15, and LTD -0.1125."""
    stages = build_model("kheradpisheh2018").stages
    rates = {name: stages[name].next_rates(stages[name].rule, 3000)[-1, 0].tolist() for name in ("s1", "s2")}
    assert rates == {"s1": [0.15, -0.75 * 0.15], "s2": [0.004, -0.003]}


def test_pooling_may_come_first(declare):
    model = declare(c0=lambda: Pool(2), s1=lambda: SpikingConv(20, 5, rule=RSTDP()))()
    assert [maps.shape for _, maps in model.walk(DIGITS[:2])] == [(2, 6, 14, 14), (2, 20, 10, 10)]
    assert "6×14×14" in summarize(model, 28, 28)


def test_calling_a_network_predicts():
    model = build_model("mozafari2018")
    assert torch.equal(model(DIGITS[:5]), model.predict(DIGITS[:5]))


def test_printing_a_network_shows_what_its_stages_are_set_to():
    text = repr(build_model("deepr2024"))
    assert "(s1): SpikingConv(6→30, 5×5, padding=2, threshold=15, rule=STDP(winners=5, radius=3, rates=(0.004" in text
    assert "(c1): Pool(2×2)" in text
    assert "warm_up=STDP(winners=15, radius=0, " in text


def test_the_summary_shows_the_receptive_field_of_each_stage():
    """s1 5; c1 5 + 1 = 6; s2 6 + 2·2 = 10; c2 10 + 2·2 = 14; s3 14 + 4·6 = 38 pixels."""
    lines = [line.split() for line in summarize(build_model("mozafari2018"), 28, 28).splitlines()]
    fields = {words[0]: words[-2] for words in lines if words and words[0] in ("s1", "s2", "s3")}
    assert fields == {"s1": "5×5", "s2": "10×10", "s3": "38×38"}


def test_the_summary_shows_thresholds_that_adapt():
    model = build_model("mozafari2018", overrides={"s1.rule.target": 0.8, "s1.rule.positions": 0.05})
    model.stages["s1"].raised[0] = 2.5
    text = " ".join(summarize(model, 28, 28).split())
    assert "15 to 17.5" in text
    assert "positions=0.05, target=0.8" in text


def test_the_summary_shows_all_of_a_rule_and_the_phases():
    text = " ".join(summarize(build_model("deepr2024_greedy"), 28, 28).split())
    for part in (
        "s1: STDP(winners=5, radius=3, rates=(0.004, -0.003)",
        "s3: STDP(winners=15, radius=0, rates=(0.004, -0.003)",
        "s3: RSTDP(winners=15, radius=0, reward=(0.001, -0.00075)",
        "1 s1: STDP; 2 epochs by default",
        "4 s3+s4: R-STDP, with labels, by turns from batch to batch; 12 epochs by default",
    ):
        assert part in text
    branches = summarize(build_model("inception2024"), 28, 28)
    assert "\n  s3_3x3, s3_5x5, s3_7x7: STDP(winners=15" in branches
    assert max(map(len, branches.splitlines())) <= 100


# ---------------------------------------------------------------------------------------------------------------------
# Some networks


def test_mozafari2018_has_1322000_weights():
    """30·6·25 + 250·30·9 + 200·250·25."""
    assert sum(conv.weight.numel() for conv in build_model("mozafari2018").convs()) == 1_322_000


@pytest.mark.parametrize("name", ["mozafari2018", "deepr2024"])
def test_threads_do_not_change_a_bit(name):
    """A short training of every phase on one thread and on two gives the same state."""
    states = []
    for threads in (1, 2):
        torch.set_num_threads(threads)
        model = build_model(name)
        train_a_little(model, slice(0, 50))
        states.append(state(model))
        assert not changed(model, states[0])


def test_a_map_that_is_wanted_is_computed_beside_its_pooling():
    model = build_model("mozafari2018")
    expected = dict(model.walk(DIGITS))
    found = model.fire({"input": DIGITS}, ["s1", "c1"])
    assert all(torch.equal(found[name], expected[name]) for name in ("s1", "c1"))


def test_maps_that_are_kept_are_those_that_are_computed_again():
    """Training phase by phase, twice, and image by image from the input up gives the same state."""
    states = []
    for _ in range(2):
        model = build_model("mozafari2018")
        model.fit(LatencyDataset(DIGITS, LABELS), None, (1, 1, 1), batch_size=30, seed=3)
        states.append(state(model))
    model = build_model("mozafari2018")
    for number, phase in enumerate(model.phases):
        for part in np.split(np.random.default_rng([3, number, 0]).permutation(60), 2):
            if phase.needs_labels:
                model.train_rl(DIGITS[part], LABELS[part])
            else:
                model.train_unsupervised(DIGITS[part], phase.name)
    assert not changed(model, states[0])
    assert not changed(model, states[1])


def test_the_rates_follow_the_outcome_of_the_batch():
    """After a batch: reward · fraction wrong, punishment · fraction right."""
    model = build_model("mozafari2018")
    base = torch.tensor([[0.004, -0.003], [-0.004, 0.0005]], dtype=torch.float64)
    assert torch.equal(model.stages["s3"].rstdp_rates, base)
    outcome = model.train_rl(DIGITS, LABELS)
    expected = base * torch.tensor([[outcome.wrong], [outcome.correct]]) / 60
    torch.testing.assert_close(model.stages["s3"].rstdp_rates, expected)


def test_deepr2024_learns_both_layers_from_each_batch():
    """s3 and s4 move in every batch, and adapt their own base rates."""
    model = build_model("deepr2024")
    for batch in DIGITS.split(20):
        before = state(model)
        outcome = model.train_rl(batch, LABELS[:20])
        assert changed(model, before) & weights(model) == weights(model, "s3", "s4")
        base = torch.tensor([[0.001, -0.00075], [-0.001, 0.000125]], dtype=torch.float64)
        expected = base * torch.tensor([[outcome.wrong], [outcome.correct]]) / 20
        torch.testing.assert_close(model.stages["s3"].rstdp_rates, expected)


def test_deepr2024_greedy_takes_turns():
    """s3 alone moves in even batches and s4 alone in odd ones, counted over all calls and across a saved state."""
    model = build_model("deepr2024_2")  # the original's name
    assert model.name == "deepr2024_greedy"
    for n in range(5):
        if n == 3:
            saved, model = model.state_dict(), build_model("deepr2024_greedy", seed=5)
            model.load_state_dict(saved)
        before = state(model)
        part = slice(12 * n, 12 * n + 12)
        model.train_rl(DIGITS[part], LABELS[part])
        moved = changed(model, before)
        assert moved & weights(model) == weights(model, ("s3", "s4")[n % 2]), n
        assert f"stages.{('s4', 's3')[n % 2]}.rstdp_rates" not in moved


def test_deepr2024_greedy_returns_the_wins_of_the_stage_whose_turn_it_is():
    model = build_model("deepr2024_greedy")
    inputs, phase = model.map_of(DIGITS[:4], "c2"), model.phases[-1]
    assert [list(phase.learn(model, inputs, LABELS[:4]).wins) for _ in range(3)] == [["s3"], ["s4"], ["s3"]]


@pytest.mark.parametrize(
    ("votes", "strength", "decision"),
    [
        ((4, 4, 4), (1, 2, 3), 4),
        ((4, 4, 2), (1, 1, 9), 4),  # two equal votes decide
        ((4, 2, 4), (1, 9, 1), 4),
        ((2, 4, 4), (9, 1, 1), 4),
        ((1, 2, 3), (9, 1, 8), 2),  # all different: the 5×5 branch
        ((-1, 4, 4), (0, 1, 1), 4),
        ((4, -1, 4), (1, 0, 1), 4),
        ((1, 2, -1), (9, 1, 0), 2),
        ((-1, 2, 3), (0, 1, 9), 2),
        ((1, -1, 3), (2, 0, 1), 1),  # the 5×5 branch is silent: the strongest
        ((1, -1, 3), (1, 0, 2), 3),
        ((0, -1, 3), (2, 0, 1), 0),
        ((-1, -1, 3), (0, 0, 1), 3),
        ((1, -1, -1), (1, 0, 0), 1),
        ((-1, 2, -1), (0, 1, 0), 2),
        ((0, 0, -1), (1, 1, 0), 0),
        ((-1, -1, -1), (0, 0, 0), -1),  # two silent branches are no majority
        ((-1, -1, 0), (0, 0, 1), 0),
    ],
)
def test_majority_by_hand(votes, strength, decision):
    """Two or three equal votes, else the middle branch's, else the strongest branch's, else silence."""
    assert majority(torch.tensor([votes]), torch.tensor([strength]).double(), 10).tolist() == [decision]


@pytest.mark.parametrize(
    ("silent", "decision"),
    [
        ((), 6),  # all different: the 5×5 branch
        ((0,), 6),
        ((1,), 5),  # 5×5 silent: the 7×7 branch has the higher potential
        ((0, 1), 5),
        ((1, 2), 7),
        ((0, 1, 2), -1),
    ],
)
def test_majority2024_with_silent_branches(silent, decision):
    """Silent branches abstain, learn nothing, and all silent are silence; the others learn from their own vote."""
    model = build_model("majority2024")
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


def test_the_branches_of_inception2024_count_for_themselves():
    """Each branch has its own rates and its own count of images."""
    model = build_model("inception2024")
    model.train_unsupervised(DIGITS[:5], "s3")
    assert [int(branch.images_seen) for branch in model.stages["s3"].branches] == [5, 5, 5]
    assert [branch.kernel for branch in model.stages["s3"].branches] == [3, 5, 7]
