"""``NetworkTrainer.fit`` by hand: in which order images are learned, what is counted, and when it ends.

The networks here learn nothing: what they are given is written down, and what they answer is written before.
"""

from dataclasses import dataclass
from itertools import chain

import numpy as np
import pytest
import torch

from engine.decision import Outcome
from engine.rules import RSTDP, STDP, MarginRule
from engine.stages import Pool, SpikingConv
from errors import InputError
from models import build_model
from network_trainer import Activity, NetworkTrainer, Observer, Progress, convergence

IMAGES = 11
LATENCIES = torch.zeros(IMAGES, 1, 4, 4, dtype=torch.uint8)
LATENCIES[:, 0, 0, 0] = torch.arange(IMAGES)  # by which an image is known again
LABELS = np.arange(IMAGES)  # and in the last phase by its label


class Scripted(NetworkTrainer):
    """s1 learns without labels, then s2 with them. ``learned``: [phase, images, draws] of each batch."""

    def __init__(self, validation=(), outcomes=()):
        super().__init__(in_channels=1, num_classes=IMAGES)
        self.learned, self.validation, self.outcomes = [], list(validation), list(outcomes)
        self.epochs_told = []

    def build(self, in_channels, num_classes):
        return {
            "s1": SpikingConv(in_channels, 2, 1, threshold=1, rule=STDP(winners=1, radius=0)),
            "s2": SpikingConv(2, num_classes, 1, rule=RSTDP()),
        }

    def learn_stdp(self, inputs, name, epoch=None):
        self.learned.append((name, inputs[:, 0, 0, 0].tolist(), None))
        self.epochs_told.append(epoch)
        return {"s1": torch.tensor([1, 1, 1])}

    def learn_rstdp(self, inputs, labels, epoch=None, rng=None):
        self.learned.append(("s2", labels.tolist(), rng.random()))
        self.epochs_told.append(epoch)
        outcome = self.outcomes.pop(0) if self.outcomes else Outcome(len(labels), 0, 0)
        return outcome, None, {"s2": torch.tensor([0, 0, 2])}

    def decide(self, latencies, first=None):
        """Of the validation images so many are right as is written for this epoch."""
        right = self.validation.pop(0)
        return torch.where(torch.arange(len(latencies)) < right, torch.arange(len(latencies)), -1), None


def fit(model, epochs=(2, 3), validation=False, **more):
    held_out = Activity(LATENCIES, LABELS) if validation else None
    return model.fit(Activity(LATENCIES, LABELS), held_out, epochs, batch_size=4, **more)


def orders(model):
    """The order of the images in each epoch, of three batches each."""
    batches = [images for _, images, _ in model.learned]
    return [list(chain(*batches[start : start + 3])) for start in range(0, len(batches), 3)]


def test_each_epoch_has_an_order_of_its_own():
    """All images once in each; another order in every epoch, in every phase and for every seed; 4 + 4 + 3 images."""
    first, again, other = Scripted(), Scripted(), Scripted()
    for model, seed in ((first, 5), (again, 5), (other, 6)):
        fit(model, seed=seed)
    assert [len(images) for _, images, _ in first.learned] == [4, 4, 3] * 5
    assert [name for name, *_ in first.learned] == ["s1"] * 6 + ["s2"] * 9
    assert orders(first) == orders(again)
    found = orders(first) + orders(other)
    assert all(sorted(order) == list(range(IMAGES)) for order in found)
    assert len({tuple(order) for order in found}) == 10
    assert list(range(IMAGES)) not in found


def test_the_order_is_that_of_the_seed_the_phase_and_the_epoch():
    """As it has been from the beginning: a run that another version began goes on with the same images."""
    model = Scripted()
    fit(model, seed=7)
    expected = [
        np.random.default_rng([7, phase, epoch]).permutation(IMAGES).tolist()
        for phase, count in enumerate((2, 3))
        for epoch in range(count)
    ]
    assert orders(model) == expected


def test_labels_belong_to_the_images():
    """The inputs of a batch of the last phase are those of the images with its labels."""
    seen = []

    class Looking(Scripted):
        def build(self, in_channels, num_classes):
            return {"s2": SpikingConv(in_channels, num_classes, 1, rule=RSTDP())}

        def learn_rstdp(self, inputs, labels, epoch=None, rng=None):
            seen.extend(zip(inputs[:, 0, 0, 0].tolist(), labels.tolist(), strict=True))
            return super().learn_rstdp(inputs, labels, epoch, rng)

    fit(Looking(), epochs=(2,))
    assert len(seen) == 2 * IMAGES
    assert all(image == label for image, label in seen)


def test_each_batch_draws_anew_and_is_told_how_large_an_epoch_is():
    model = Scripted()
    fit(model)
    draws = [draw for *_, draw in model.learned if draw is not None]
    assert len(set(draws)) == len(draws) == 9
    expected = [np.random.default_rng([0, 1, epoch, batch]).random() for epoch in range(3) for batch in range(3)]
    assert draws == expected
    assert model.epochs_told == [IMAGES] * 15


def test_each_batch_reads_the_images_or_one_of_their_copies():
    """Copy number n is silent at column n of the first line, where the images are not."""
    seen = []

    class Copies(list):
        def file(self, number):
            """In memory."""

    class Reading(Scripted):
        def build(self, in_channels, num_classes):
            return {"s2": SpikingConv(in_channels, num_classes, 1, rule=RSTDP())}

        def learn_rstdp(self, inputs, labels, epoch=None, rng=None):
            (column,) = (inputs[:, 0, 0] == 15).int().argmax(1).unique().tolist()
            seen.append(column)
            return super().learn_rstdp(inputs, labels, epoch, rng)

    copies = Copies(LATENCIES.clone() for _ in range(2))
    for number, copy in enumerate(copies, start=1):
        copy[:, :, 0, number] = 15
    fit(Reading(), epochs=(4,), copies=copies)
    batches = [[0, 0, epoch, batch] for epoch in range(4) for batch in range(3)]
    assert seen == [np.random.default_rng(numbers).integers(3) for numbers in batches]
    assert set(seen) == {0, 1, 2}


def test_rows_of_the_history():
    """Fractions of all images of the epoch, winners per image, features that never won, and the steps."""
    outcomes = [Outcome(1, 2, 1), Outcome(0, 3, 1), Outcome(2, 0, 1)] * 2
    model = Scripted(validation=[5, 5], outcomes=outcomes)
    model.stages["s2"].rstdp_rates.copy_(torch.tensor([[0.5, -0.25], [-9.0, 9.0]]))
    progress = fit(model, epochs=(1, 2), validation=True)
    s1, *s2 = progress.history
    assert [(row["step"], row["phase"], row["epoch"], row["images"]) for row in progress.history] == [
        (1, "s1", 1, 11), (2, "s2", 1, 11), (3, "s2", 2, 11),
    ]  # fmt: skip
    assert (s1["train_accuracy"], s1["val_accuracy"], s1["dead_features"]) == (None, None, 1)
    assert s1["winners_per_image"] == 9 / 11
    for row in s2:
        assert (row["train_accuracy"], row["train_loss"], row["train_silent"]) == (3 / 11, 5 / 11, 3 / 11)
        assert (row["val_accuracy"], row["val_loss"], row["val_silent"]) == (5 / 11, 0, 6 / 11)
        assert (row["dead_features"], row["winners_per_image"]) == (IMAGES - 2, 9 / 11)
        assert (row["ltp_rate"], row["ltd_rate"]) == (0.5, -0.25)
    assert (progress.phase, progress.epoch, progress.batch) == (2, 0, 0)
    assert (progress.tally, progress.told, progress.wins) == ([0, 0, 0], [0, 0, 0], {})


def test_what_is_counted_within_an_epoch():
    seen = []

    class Watching(Observer):
        def batch(self, progress):
            seen.append(
                (progress.batch, list(progress.tally), {label: w.tolist() for label, w in progress.wins.items()})
            )

    fit(Scripted(outcomes=[Outcome(1, 2, 1), Outcome(0, 3, 1), Outcome(2, 0, 1)]), epochs=(1, 1), observer=Watching())
    assert seen[:3] == [(n, [0, 0, 0], {"s1": [0, 3 * n]}) for n in (1, 2, 3)]
    tallies = [1, 2, 1], [1, 5, 2], [3, 5, 3]
    rest = [0] * (IMAGES - 3)
    assert seen[3:] == [(n, tally, {"s2": [2 * n, 0, n, *rest]}) for n, tally in zip((1, 2, 3), tallies, strict=True)]


@pytest.mark.parametrize(
    ("validation", "patience", "epochs", "best", "waited"),
    [
        ([3, 4, 4, 2, 9, 9], 0, 6, 5, 1),  # never ends before; of equal ones the first is the best
        ([3, 4, 4, 2, 9, 9], 2, 4, 2, 2),  # two epochs without a better one
        ([3, 4, 4, 2, 9, 9], 3, 6, 5, 1),
        ([0, 0, 0, 0, 0, 0], 1, 2, 1, 1),  # the first is the best so far, whatever it is
    ],
)
def test_patience(validation, patience, epochs, best, waited):
    progress = fit(Scripted(validation), epochs=(0, 6), validation=True, patience=patience)
    assert len(progress.history) == epochs
    assert (progress.best["epoch"], progress.best["step"]) == (best, best)
    assert progress.best["correct"] == validation[best - 1]
    assert progress.best["accuracy"] == validation[best - 1] / IMAGES
    assert progress.waited == waited
    assert progress.phase == 2


def test_the_best_weights_are_those_of_their_epoch():
    class Marking(Observer):
        def epoch(self, progress, wins):
            model.rl_batches += 1

    model = Scripted([1, 5, 2])
    progress = fit(model, epochs=(0, 3), validation=True, observer=Marking())
    assert int(progress.best["state"]["rl_batches"]) == 1
    assert int(model.rl_batches) == 3


def test_phases_without_epochs_are_left_out():
    model = Scripted()
    progress = fit(model, epochs=(0, 1))
    assert [name for name, *_ in model.learned] == ["s2"] * 3
    assert [row["phase"] for row in progress.history] == ["s2"]


def test_patience_ends_no_phase_without_labels():
    model = Scripted()
    fit(model, epochs=(2, 3), patience=2, progress=Progress(waited=2))
    assert [name for name, *_ in model.learned] == ["s1"] * 6


def test_it_goes_on_where_the_progress_stands():
    """From the second batch of the second epoch of the last phase on."""
    whole, rest = Scripted(), Scripted()
    fit(whole)
    fit(rest, progress=Progress(phase=1, epoch=1, batch=1, wins={"s2": torch.zeros(IMAGES, dtype=torch.int64)}))
    assert rest.learned == whole.learned[-5:]


def test_two_poolings_follow_each_other():
    class Decides(NetworkTrainer):
        def build(self, in_channels, num_classes):
            pools = {"c0": Pool(2), "d0": Pool(2)}
            return {**pools, "s1": SpikingConv(in_channels, num_classes, 1, rule=RSTDP())}

    model = Decides(in_channels=1, num_classes=IMAGES)
    assert model.pass_through(LATENCIES, ["c0", "d0"]).shape == (IMAGES, 1, 1, 1)
    assert dict(model.walk(LATENCIES))["d0"].shape == (IMAGES, 1, 1, 1)


def test_labels_are_classes():
    model = Scripted()
    assert model.check_labels([0, IMAGES - 1], 2).tolist() == [0, IMAGES - 1]
    for wrong in ([-1, 0], [0, IMAGES], [0], [0.5, 1.0]):
        with pytest.raises(InputError, match="labels"):
            model.check_labels(wrong, 2)


def test_neurons_are_left_out_anew_in_each_batch_without_fit():
    draws = []

    @dataclass(frozen=True)
    class Drawing(MarginRule):
        def draw_left_out(self, rng, images, features):
            draws.append(rng.random())

    class Drawn(NetworkTrainer):
        def build(self, in_channels, num_classes):
            return {"s1": SpikingConv(in_channels, num_classes, 1, rule=Drawing())}

    model = Drawn(in_channels=1, num_classes=IMAGES)
    for _ in range(3):
        model.train_rl(LATENCIES[:2], LABELS[:2])
    assert draws == [np.random.default_rng(batch).random() for batch in range(3)]


def test_convergence_by_hand():
    """(0 + 0.25 + 0 + 0.1875) / 4."""
    assert convergence(torch.tensor([0.0, 0.5, 1.0, 0.25])) == 0.109375


def test_a_warm_up_keeps_its_rates():
    """deepr2024's s3 learns without labels by the first rates however many images it has seen."""
    conv = build_model("deepr2024").stages["s3"]
    warm_up, _ = conv.rules
    assert (conv.advance(warm_up, 1200) == (0.004, -0.003)).all()
    assert int(conv.images_seen) == 1200


@dataclass(frozen=True)
class HalvedRSTDP(RSTDP):
    """Half the rates of ``RSTDP``, in buffers of its own."""

    name = "halved"

    def schedule(self, rates, numbers, epoch):
        return super().schedule(rates, numbers, epoch) / 2


class Rewarded(NetworkTrainer):
    """A rewarded firing stage by a rule of its own, below a decision stage by ``RSTDP``."""

    def __init__(self, rule, backend):
        self.rule = rule
        super().__init__(in_channels=2, num_classes=3, dtype=torch.float64, backend=backend)

    def build(self, in_channels, num_classes):
        return {
            "s1": SpikingConv(in_channels, 6, 3, threshold=4, rule=self.rule),
            "s2": SpikingConv(6, 2 * num_classes, 3, rule=RSTDP()),
        }


@pytest.mark.parametrize("backend", ["event", "torch"])
def test_a_rewarded_stage_learns_at_the_rates_of_its_own_rule(backend):
    rng = np.random.default_rng(0)
    latencies = torch.from_numpy(rng.integers(0, 16, (20, 2, 7, 7)).astype(np.uint8))
    labels = rng.integers(0, 3, 20)
    same = RSTDP(winners=2, reward=(0.002, -0.0015), punishment=(-0.002, 0.00025))  # halves of the defaults
    found = []
    for rule in (HalvedRSTDP(winners=2), same):
        model = Rewarded(rule, backend)
        before = model.stages["s1"].weight.clone()
        progress = model.fit(Activity(latencies, labels), None, (2,), batch_size=10)
        assert not torch.equal(model.stages["s1"].weight, before)
        found.append([*(conv.weight for conv in model.convs()), progress.history[-1]["ltp_rate"]])
    assert torch.equal(found[0][1], found[1][1])
    assert torch.equal(found[0][0], found[1][0])
    assert found[0][2] != found[1][2]  # a rule tells the rates that it keeps, before its schedule
