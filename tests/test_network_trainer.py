"""``NetworkTrainer.steps`` by hand: in which order images are learned, what is counted, and when the training ends.

The phases here learn nothing: they record what they get, and return what is written in the test.
"""

from dataclasses import dataclass
from functools import partial
from itertools import chain
from unittest import mock

import numpy as np
import pytest
import torch
from support.draws import draw_maps
from support.refusals import refuses
from support.run_folders import same

import network_trainer
from engine.decision import Outcome
from engine.lengths import Lengths, has_given_up
from engine.phases import Learned, Phase
from engine.progress import ChunkStep, Row
from engine.rules import RSTDP, STDP, MarginRule
from engine.stages import SpikingConv
from models import build_model
from network_trainer import LatencyDataset, NetworkTrainer, Progress, compute_convergence

IMAGES = 11
LATENCIES = torch.zeros(IMAGES, 1, 4, 4, dtype=torch.uint8)
LATENCIES[:, 0, 0, 0] = torch.arange(IMAGES)  # identifies an image
LABELS = np.arange(IMAGES)  # so does its label in the last phase


class ScriptedPhase(Phase):
    """Records (phase, images, epoch, a random number) of each batch, and returns the next scripted outcome."""

    def learn(self, network, inputs, labels=None, epoch=0, rng=None):
        self.batches += 1
        images = labels if self.needs_labels else inputs[:, 0, 0, 0]
        network.learned.append((self.name, images.tolist(), epoch, rng.random()))
        network.inputs.append(inputs)
        if not self.needs_labels:
            return Learned(None, None, {"s1": torch.tensor([1, 1, 1])})
        outcome = network.outcomes.pop(0) if network.outcomes else Outcome(len(labels), 0, 0)
        return Learned(outcome, None, {"s2": torch.tensor([0, 0, 2])})


class Scripted(NetworkTrainer):
    """s1 learns without labels, then s2 with labels. ``validation``: how many images are correct in each epoch."""

    def __init__(self, validation=(), outcomes=()):
        super().__init__(in_channels=1, num_classes=IMAGES)
        self.learned, self.inputs = [], []
        self.validation, self.outcomes = list(validation), list(outcomes)

    def build(self, num_classes):
        return {
            "s1": SpikingConv(2, 1, threshold=1, rule=STDP(winners=1, radius=0)),
            "s2": SpikingConv(num_classes, 1, rule=RSTDP()),
        }

    def build_phases(self):
        return [ScriptedPhase(phase.stages, phase.rules) for phase in super().build_phases()]

    def decide(self, maps, needs_scores=True):
        correct = self.validation.pop(0)
        return torch.where(torch.arange(IMAGES) < correct, torch.arange(IMAGES), -1), None


class OnlyLabelled(Scripted):
    """One phase, whose stage reads the images themselves."""

    def build(self, num_classes):
        return {"s2": SpikingConv(num_classes, 1, rule=RSTDP())}


def options(validation=False, **more):
    held_out = LatencyDataset(LATENCIES, LABELS) if validation else None
    return {"train": LatencyDataset(LATENCIES, LABELS), "validation": held_out, "batch_size": 4, **more}


def fit(model, epochs=(2, 3), **more):
    return model.fit(epochs=epochs, **options(**more))


def orders(model):
    """The order of the images in each epoch of three batches."""
    batches = [images for _, images, *_ in model.learned]
    return [list(chain(*batches[start : start + 3])) for start in range(0, len(batches), 3)]


def test_orders_and_random_numbers_follow_from_seed_phase_epoch_and_batch():
    """Each epoch has another order, and each batch its epoch and its own random numbers."""
    first, again, other = Scripted(), Scripted(), Scripted()
    for model, seed in ((first, 5), (again, 5), (other, 6)):
        fit(model, seed=seed)
    assert [len(images) for _, images, *_ in first.learned] == [4, 4, 3] * 5
    assert [name for name, *_ in first.learned] == ["s1"] * 6 + ["s2"] * 9
    assert orders(first) == orders(again)
    epochs = [(phase, epoch) for phase, count in enumerate((2, 3)) for epoch in range(count)]
    assert orders(first) == [np.random.default_rng([5, *each]).permutation(IMAGES).tolist() for each in epochs]
    numbers = [(each[1], np.random.default_rng([5, *each, batch]).random()) for each in epochs for batch in range(3)]
    assert [tuple(record[2:]) for record in first.learned] == numbers
    found = orders(first) + orders(other)
    assert all(sorted(order) == list(range(IMAGES)) for order in found)
    assert len({tuple(order) for order in found}) == 10


def test_labels_belong_to_the_images():
    model = OnlyLabelled()
    fit(model, epochs=(2,))
    assert sum(len(images) for _, images, *_ in model.learned) == 2 * IMAGES
    for inputs, (_, labels, *_) in zip(model.inputs, model.learned, strict=True):
        assert inputs[:, 0, 0, 0].tolist() == labels


def test_in_a_first_epoch_without_labels_a_batch_is_small_which_changes_no_weight(monkeypatch):
    latencies = draw_maps(20, 6, 28, 28, below=40)
    states = []
    for most, ends in ((1000, [20]), (7, [7, 14, 20])):
        monkeypatch.setattr(network_trainer, "MAX_UNLABELLED", most)
        model = build_model("mozafari2018", num_classes=10, seed=0)
        steps = model.steps(LatencyDataset(latencies, np.zeros(20, int)), None, (2, 1, 1))
        done = [(step.phase.name, step.done) for step in steps if step.kind == "batch"]
        assert done == [*(("s1", end) for end in ends), ("s1", 20), *(("s2", end) for end in ends), ("s3", 20)]
        states.append({name: value for name, value in model.state_dict().items() if not name.endswith("batches")})
    assert same(*states)


def test_each_batch_reads_the_images_or_one_of_their_copies():
    """Copy n is silent at column n of the first row, where the images are not."""

    copies = [LATENCIES.clone() for _ in range(2)]
    for number, copy in enumerate(copies, start=1):
        copy[:, :, 0, number] = 15
    model = OnlyLabelled()
    fit(model, epochs=(4,), copies=copies)
    seen = [(inputs[:, 0, 0] == 15).int().argmax(1).unique().item() for inputs in model.inputs]
    batches = [[0, 0, epoch, batch] for epoch in range(4) for batch in range(3)]
    assert seen == [np.random.default_rng(numbers).integers(3) for numbers in batches]
    assert set(seen) == {0, 1, 2}


def test_phases_with_labels_learn_from_the_labelled_images_and_their_copies():
    """In the maps here, image n spikes at place n of 16, and a copy at the last place, too."""

    labelled = [2, 3, 7, 8, 10]
    model = Scripted()
    given = options() | {"train": LatencyDataset(LATENCIES, LABELS, np.array(labelled))}
    progress = model.fit(epochs=(1, 6), **given)
    assert sorted(chain(*(images for name, images, *_ in model.learned if name == "s1"))) == list(range(IMAGES))
    batches = [images for name, images, *_ in model.learned if name == "s2"]
    assert [len(images) for images in batches] == [4, 1] * 6
    orders = [np.random.default_rng([0, 1, epoch]).permutation(5) for epoch in range(6)]
    assert list(chain(*batches)) == [labelled[place] for order in orders for place in order]
    assert [row["images"] for row in progress.history] == [IMAGES, *[5] * 6]
    places = torch.full((IMAGES, 16), 15, dtype=torch.uint8).fill_diagonal_(0)
    copy = places.clone()
    copy[:, -1] = 0
    copy = copy.reshape(-1, 1, 4, 4)

    def teach(phase, train):
        """Change which images have labels."""
        assert train.labelled.tolist() == labelled[:1]
        train.labelled = torch.tensor(labelled)
        yield ChunkStep(phase, "labels", 1, 1)

    for options_ in ({"copies": [copy[labelled]]}, {"copies": [copy], "teach": teach}):
        only = OnlyLabelled()
        given = torch.tensor(labelled[:1] if "teach" in options_ else labelled)
        train = LatencyDataset(places.reshape(-1, 1, 4, 4), LABELS, given)
        only.fit(train, None, (6,), batch_size=4, **options_)
        are_copies = set()
        for inputs, (_, labels, *_) in zip(only.inputs, only.learned, strict=True):
            spikes = inputs.flatten(1) == 0
            assert spikes.int().argmax(1).tolist() == labels
            are_copies |= {*spikes[:, -1].tolist()}
        assert are_copies == {True, False}
        assert sum(len(labels) for _, labels, *_ in only.learned) == 6 * len(labelled)


def test_rows_of_the_history():
    """Fractions of all images of the epoch, winners per image, features that never won, and the steps.

    All classes have as many validation images, so that there is no balanced accuracy.
    """
    outcomes = [Outcome(1, 2, 1), Outcome(0, 3, 1), Outcome(2, 0, 1)] * 2
    model = Scripted(validation=[5, 5], outcomes=outcomes)
    model.stages["s2"].rstdp_rates.copy_(torch.tensor([[0.5, -0.25], [-9.0, 9.0]]))
    progress = fit(model, epochs=(1, 2), validation=True)
    assert progress.best["balanced"] is None
    s1, *s2 = progress.history
    places = [(row["step"], row["phase"], row["epoch"], row["images"]) for row in progress.history]
    assert places == [(1, "s1", 1, 11), (2, "s2", 1, 11), (3, "s2", 2, 11)]
    assert (s1["train_accuracy"], s1["val_accuracy"], s1["dead_features"]) == (None, None, 1)
    assert s1["winners_per_image"] == 9 / 11
    for row in s2:
        assert (row["train_accuracy"], row["train_loss"], row["train_silent"]) == (3 / 11, 5 / 11, 3 / 11)
        assert (row["val_accuracy"], row["val_loss"], row["val_silent"]) == (5 / 11, 0, 6 / 11)
        assert row["val_balanced"] is None
        assert (row["dead_features"], row["winners_per_image"]) == (IMAGES - 2, 9 / 11)
        assert (row["ltp_rate"], row["ltd_rate"]) == (0.5, -0.25)
    assert (progress.phase, progress.epoch, progress.batch) == (2, 0, 0)
    assert (progress.outcome, progress.wins) == ([0, 0, 0], {})


@pytest.mark.parametrize(("correct", "balanced"), [(11, 1), (9, (1 + 1 / 2) / 3), (4, 4 / 8 / 3), (0, 0)])
def test_rows_have_the_balanced_accuracy_of_unequal_classes(correct, balanced):
    """By hand: eight images of class 0, two of class 1, one of class 4; the classes without images do not count."""
    labels = np.array([0] * 8 + [1] * 2 + [4])
    model = Scripted()
    decisions = torch.from_numpy(np.where(np.arange(IMAGES) < correct, labels, -1))
    model.decide = lambda maps, needs_scores: (decisions, None)
    progress = Progress()
    validation = LatencyDataset(LATENCIES, labels)
    model.fit(LatencyDataset(LATENCIES, LABELS), validation, (1, 1), progress=progress)
    s1, s2 = progress.history
    assert s1.val_balanced is None
    assert s2.val_balanced == progress.best["balanced"] == pytest.approx(balanced)


ZEROS = torch.zeros(IMAGES, dtype=torch.int64)
SCORES = torch.zeros(IMAGES, IMAGES)


@pytest.mark.parametrize(
    "decided",
    [
        *(
            (decisions, SCORES)
            for decisions in ([0] * IMAGES, ZEROS[1:], ZEROS + IMAGES, ZEROS - 2, ZEROS / 1, ZEROS > 0)
        ),
        (ZEROS, SCORES / 0),
    ],
)
def test_a_decide_that_returns_no_classes_or_no_numbers_is_refused(decided):
    """If no scores are needed, they may be missing, as those of ``Scripted``."""

    class Returning(Scripted):
        def decide(self, maps, needs_scores=True):
            return decided

    with refuses("decide"):
        Returning().decide(LATENCIES)
    with refuses("scores"):
        Scripted([1]).decide(LATENCIES)


class Decider:
    def __call__(self, network, maps, needs_scores=True):
        return network.decided


@pytest.mark.parametrize("decide", [Decider(), partial(Decider(), needs_scores=True), partial(Decider.__call__, None)])
def test_a_decide_without_a_name_decides_and_is_named_if_it_returns_no_classes(decide):
    network = type("Nameless", (Scripted,), {"decide": decide})()
    network.decided = ZEROS, SCORES
    assert network.predict(LATENCIES) is ZEROS
    network.decided = 5
    with refuses("Decider.__call__ must return"):
        network.predict(LATENCIES)


@pytest.mark.parametrize(
    "decide",
    [
        lambda self, maps: None,
        lambda self, maps, needs_scores, more: None,
        lambda self, needs_scores, maps: None,
        lambda self, maps, needs_scores, /: None,
        property(id),
    ],
)
def test_a_decide_that_cannot_be_called_as_the_engine_does_is_refused_when_it_is_declared(decide):
    with refuses("needs_scores"):
        type("Old", (Scripted,), {"decide": decide})


def test_the_same_data_are_trained_again():
    """The second training reads the network's input again, and ``steps`` itself replaces the maps."""
    train, validation = LatencyDataset(LATENCIES, LABELS), LatencyDataset(LATENCIES, LABELS)
    for _ in range(2):
        model = Scripted(validation=[3])
        model.fit(train, validation, (1, 1), batch_size=4)
        assert [name for name, *_ in model.learned] == ["s1"] * 3 + ["s2"] * 3
    for _ in Scripted().steps(train, None, (1, 1)):
        pass
    assert set(train.maps) == {"s1"}
    assert set(validation.maps) == {"input"}


def test_steps_come_in_order_with_complete_progress():
    model = Scripted(validation=[3], outcomes=[Outcome(1, 2, 1), Outcome(0, 3, 1), Outcome(2, 0, 1)])
    progress, seen = Progress(), []
    for step in model.steps(epochs=(1, 1), progress=progress, **options(validation=True)):
        wins = {label: count.tolist() for label, count in progress.wins.items()}
        seen.append((step.kind, step.phase.name, progress.batch, progress.outcome, wins))
    rest = [0] * (IMAGES - 3)
    outcomes = [1, 2, 1], [1, 5, 2], [3, 5, 3]
    assert seen == [
        ("phase", "s1", 0, [0, 0, 0], {}),
        *[("batch", "s1", n, [0, 0, 0], {"s1": [0, 3 * n]}) for n in (1, 2, 3)],
        ("epoch", "s1", 0, [0, 0, 0], {}),
        ("end", "s1", 0, [0, 0, 0], {}),
        ("phase", "s2", 0, [0, 0, 0], {}),
        *[("chunk", "s2", 0, [0, 0, 0], {})] * 2,
        *[("batch", "s2", n + 1, outcomes[n], {"s2": [2 * n + 2, 0, n + 1, *rest]}) for n in range(3)],
        ("epoch", "s2", 0, [0, 0, 0], {}),
        ("end", "s2", 0, [0, 0, 0], {}),
    ]


@pytest.mark.parametrize(
    ("patience", "epochs", "best", "since", "validation"),
    [
        (0, 6, 5, 1, [3, 4, 4, 2, 9, 9]),  # never ends early; of equal epochs the first is the best
        (2, 4, 2, 2, [3, 4, 4, 2, 9, 9]),  # two epochs without a better one
        (3, 6, 5, 1, [3, 4, 4, 2, 9, 9]),
        (1, 2, 1, 1, [0] * 6),  # the first is the best so far, whatever it is
    ],
)
def test_patience(patience, epochs, best, since, validation):
    """The end of the phase names the setting; the skipped phase has none."""
    correct, progress = validation[best - 1], Progress()
    model = Scripted(validation)
    steps = [*model.steps(epochs=(0, 6), patience=patience, progress=progress, **options(validation=True))]
    ended_by = "epochs" if epochs == 6 else "patience"
    assert [(step.phase.name, step.ended_by) for step in steps if step.kind == "end"] == [("s2", ended_by)]
    batch = next(step for step in steps if step.kind == "batch")
    assert (batch.length, batch.title[-4:]) == (6, " 1/6")
    assert len(progress.history) == epochs
    assert (progress.best["epoch"], progress.best["step"], progress.best["correct"]) == (best, best, correct)
    assert progress.best["accuracy"] == correct / IMAGES
    assert [has_given_up(progress.history, number) for number in (since, since + 1)] == [True, False]
    assert progress.phase == 2
    assert int(progress.best["state"]["phases.1.batches"]) == 3 * best  # the weights of that epoch


class TwiceLabelled(Scripted):
    """s2 learns with labels in two phases."""

    def build_phases(self):
        features, decisions = super().build_phases()
        return [features, decisions, ScriptedPhase(decisions.stages, decisions.rules)]


def test_patience_begins_anew_with_each_phase():
    """The second phase is always below the best epoch of the first, and goes on as long as it improves itself."""
    model = TwiceLabelled([9, 8, 1, 2, 2, 3, 3, 3])
    progress = fit(model, epochs=(0, 6, 9), validation=True, patience=1)
    assert [row["epoch"] for row in progress.history] == [1, 2, 1, 2, 3]
    model = TwiceLabelled([9, 8, 8, 1, 2, 2, 3, 3, 3])
    progress = fit(model, epochs=(0, 6, 9), validation=True, patience=2)
    assert [row["epoch"] for row in progress.history] == [1, 2, 3, 1, 2, 3, 4, 5, 6]
    assert progress.best["step"] == 1
    assert has_given_up(progress.history[3:], 2)


def test_phases_without_epochs_are_left_out_and_patience_ends_no_phase_without_labels():
    model = Scripted()
    progress = fit(model, epochs=(0, 1))
    assert [name for name, *_ in model.learned] == ["s2"] * 3
    assert [row["phase"] for row in progress.history] == ["s2"]
    model = Scripted()
    fit(model, epochs=(2, 3), patience=2, progress=Progress())
    assert [name for name, *_ in model.learned] == ["s1"] * 6 + ["s2"] * 9


def test_without_steps_each_batch_has_its_own_random_numbers():
    draws = []

    @dataclass(frozen=True)
    class Drawing(MarginRule):
        name = "drawing"

        def draw_left_out(self, rng, images, features):
            draws.append(rng.random())

    class Drawn(NetworkTrainer):
        def build(self, num_classes):
            return {"s1": SpikingConv(num_classes, 1, rule=Drawing())}

    model = Drawn(in_channels=1, num_classes=IMAGES)
    for _ in range(3):
        model.train_rl(LATENCIES[:2], LABELS[:2])
    assert draws == [np.random.default_rng(batch).random() for batch in range(3)]


def test_the_margin_decays_by_the_epochs_of_this_run():
    """The rate is 0.5 · 0.5^epoch, however many images another run has seen; the state holds the rate."""

    class Decaying(NetworkTrainer):
        def build(self, num_classes):
            return {"s1": SpikingConv(num_classes, 1, rule=MarginRule(rate=0.5, decay=0.5, ltd=0.5))}

    model = Decaying(in_channels=1, num_classes=IMAGES)
    progress = fit(model, epochs=(3,))
    assert [row["ltp_rate"] for row in progress.history] == [0.5, 0.25, 0.125]
    assert [row["ltd_rate"] for row in progress.history] == [-0.25, -0.125, -0.0625]
    after = Decaying(in_channels=1, num_classes=IMAGES)
    after.load_state_dict(model.state_dict())
    assert fit(after, epochs=(1,), batch_size=2).history[0]["ltp_rate"] == 0.5
    after.train_rl(LATENCIES, LABELS, epoch=2)
    assert after.stages["s1"].margin_rates[0, 0] == 0.125


@pytest.mark.parametrize(("rule", "scale"), [(STDP(1, 0), 1), (RSTDP(bounds=(-2, 2)), 4)])
def test_convergence_by_hand(rule, scale):
    """(0 + 0.25 + 0 + 0.1875) / 4 of the first feature, 0 of the second, 0.25 of the third; a scaled rule likewise."""
    weight = scale * torch.tensor([[0.0, 0.5, 1.0, 0.25], [0, 1, 1, 1], [0.5] * 4]) + rule.bounds[0]
    found = [compute_convergence(weight, rule, torch.tensor(wins)) for wins in ([2, 0, 0], [2, 1, 0], [0, 0, 1])]
    assert found == [0.109375, 0.109375 / 2, 0.25]
    assert compute_convergence(weight, rule, torch.zeros(3, dtype=torch.int64)) is None


def test_phases_without_labels_train_until_they_have_converged(monkeypatch):
    """Numbers up to 20 are the least, and the most is computed: 275 presentations of 11 images are 25 epochs. A larger
    number is the most. Without a win, a phase has not converged. No epochs, or no limit: as planned."""
    values = [0.5, 0.005, *[None] * 30]
    monkeypatch.setattr("engine.lengths.MAX_PRESENTATIONS", 25 * IMAGES, raising=False)
    monkeypatch.setattr(network_trainer, "compute_convergence", lambda *_: next(measured))
    for epochs, converge, trained in (
        ((1, 3), 0.01, 2),
        ((1, 3), 0.6, 1),
        ((3, 3), 0.6, 25),
        ((22, 3), 0.6, 1),
        ((22, 3), 0.01, 2),
        ((22, 3), 0.001, 22),
        ((27, 3), 0.001, 27),
        ((0, 3), 0.6, 0),
        ((2, 3), 0.0, 2),
        ((22, 3), 0.0, 22),
    ):
        measured = iter(values)
        rows = fit(Scripted(), epochs=epochs, converge=converge).history
        assert [row["phase"] for row in rows] == ["s1"] * trained + ["s2"] * 3


@pytest.mark.parametrize(("images", "most"), [(100, 200), (300, 67), (999, 21), (1000, 20), (55_000, 20)])
def test_few_images_are_presented_20_000_times_at_most(images, most):
    phases = build_model("mozafari2018").phases
    lengths = Lengths(phases, (2, 4, 680), images, converge=0.01)
    assert lengths.most[0] == most
    row = Row(step=1, phase="s2", rule="stdp", epoch=1, images=images, convergence=0.2)
    assert [lengths.count(1, [row] * epochs) for epochs in (3, 4, most)] == [4, 5, most]
    assert lengths.count(2, []) == 680  # with labels


@pytest.mark.parametrize("name", ["deepr2024", "deepr2024_greedy"])
def test_the_rates_of_a_warm_up_double(name):
    """s3 learns without labels by 0.004 · 2ⁿ after 500 n images, up to 0.15."""
    model = build_model(name)
    layer, phase = model.stages["s3"], model.phases[2]
    rates = layer.next_rates(phase.rules["s3"], 3000)[:, 0]
    assert phase.name == "s3"
    assert rates[[498, 499, 2998, 2999], 0].tolist() == [0.004, 0.008, 0.128, 0.15]
    assert rates[2999, 1] == -0.75 * 0.15
    assert int(layer.images_seen) == 3000


@dataclass(frozen=True)
class HalvedRSTDP(RSTDP):
    """Half the rates of ``RSTDP``, in its own buffers."""

    name = "halved"

    def schedule(self, rates, numbers, epoch):
        return np.broadcast_to(self.first_rates() / 2, (len(numbers), 2, 2))

    def adapt(self, outcome):
        return None


class Rewarded(NetworkTrainer):
    """A rewarded firing stage with its own rule, below a decision stage with ``RSTDP``."""

    def __init__(self, rule, backend="event", separate=False):
        self.rule, self.separate = rule, separate
        super().__init__(in_channels=2, num_classes=3, dtype=torch.float64, backend=backend)

    def build(self, num_classes):
        return {
            "s1": SpikingConv(6, 3, threshold=4, rule=self.rule),
            "s2": SpikingConv(2 * num_classes, 3, rule=RSTDP()),
        }

    def build_phases(self):
        (together,) = super().build_phases()
        if not self.separate:
            return [together]
        return [Phase((name,), {name: together.rules[name]}) for name in together.stages]


def rewarded_images():
    rng = np.random.default_rng(0)
    return torch.from_numpy(rng.integers(0, 16, (20, 2, 7, 7)).astype(np.uint8)), rng.integers(0, 3, 20)


def test_a_rewarded_stage_learns_at_the_rates_of_its_rule(backend):
    latencies, labels = rewarded_images()
    same = RSTDP(winners=2, reward=(0.002, -0.0015), punishment=(-0.002, 0.00025))  # halves of the defaults
    found = []
    for rule in (HalvedRSTDP(winners=2), same):
        model = Rewarded(rule, backend)
        before = model.stages["s1"].weight.clone()
        model.fit(LatencyDataset(latencies, labels), None, (1,), batch_size=20)
        assert not torch.equal(model.stages["s1"].weight, before)
        found.append([layer.weight for _, layer in model.named_layers()])
    assert all(map(torch.equal, *found))


@pytest.mark.parametrize("stage", ["s1", "s3"])
def test_weights_that_become_nan_end_the_training(stage):
    """In the torch backend, because the kernels have compiled the rule."""
    latencies = torch.zeros(2, 6, 28, 28, dtype=torch.uint8)
    model = build_model("mozafari2018", backend="torch")
    rule = model.declaration[stage].rule
    broken = mock.patch.object(type(rule.plasticity()), "change", lambda self, w, rate: rate * np.nan)
    with broken, refuses(stage) as caught:
        model.train_unsupervised(latencies, "s1") if stage == "s1" else model.train_rl(latencies, [0, 1])
    assert rule.name in str(caught.value)


def test_of_two_phases_with_labels_each_trains_its_own_stages():
    latencies, labels = rewarded_images()
    model = Rewarded(RSTDP(winners=2), separate=True)
    data = LatencyDataset(latencies, labels)
    for epochs, equal in (((1, 0), [False, True]), ((0, 1), [True, False])):
        before = [layer.weight.clone() for _, layer in model.named_layers()]
        model.fit(data, None, epochs, batch_size=10)
        after = [layer.weight for _, layer in model.named_layers()]
        assert [*map(torch.equal, before, after)] == equal


class Alternating(NetworkTrainer):
    """The decision stage learns on the features of s1, then s1 learns again, then the decision stage."""

    def build(self, num_classes):
        rule = STDP(winners=8, radius=0)
        return {"s1": SpikingConv(8, 3, threshold=4, rule=rule), "s2": SpikingConv(num_classes, 3, rule=RSTDP())}

    def build_phases(self):
        return [*super().build_phases(), *super().build_phases()]


def test_maps_of_images_and_copies_are_computed_again_when_stages_have_learned_again():
    latencies, labels = rewarded_images()
    model = Alternating(in_channels=2, num_classes=3, overrides={"s1.threshold": 11})
    data, copies, maps = LatencyDataset(latencies, labels), [latencies.flip(-1)], []
    for step in model.steps(data, None, (1, 1, 9, 1), copies=copies):
        if step.kind == "batch" and step.phase.needs_labels:
            found = data.maps["s1"], data.copies[0][:] < model.time_steps
            assert torch.equal(found[0], model.map_of(latencies, "s1"))
            assert torch.equal(found[1], model.map_of(copies[0], "s1") < model.time_steps)
            maps.append(found)
    for first, last in zip(maps[0], maps[-1], strict=True):
        assert not torch.equal(first, last)


@pytest.mark.parametrize(
    ("planned", "converge", "expected"),
    [
        ((2, 4, 680), 0.0, [True, False, False]),  # 2,000 and 4,000 presentations of 1,000 images; labels
        ((3, 0, 1), 0.0, [False, False, False]),  # 3,000, and a phase that is skipped
        ((2, 2, 1), 0.01, [False, False, False]),  # they go on until they have converged
    ],
)
def test_phases_that_end_before_features_can_learn(planned, converge, expected):
    phases = build_model("mozafari2018").phases
    assert Lengths(phases, planned, 1000, converge=converge).is_short == expected
