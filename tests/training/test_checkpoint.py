"""Checkpoints: what is damaged, changed or not of its network is refused in one line, with the field's name."""

import copy
import time
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from support.command import refuse

from errors import InputError
from models import build_model
from network_trainer import Progress
from s1c1 import S1C1
from training import checkpoint, checkpoint_fields, checkpoint_fit, kinds

GOLDEN = Path(__file__).parent.parent / "golden"


@pytest.fixture(scope="module")
def last(trained):
    """The content of a finished run's last checkpoint; not to be written to."""
    return checkpoint.load(trained / "checkpoints" / "last.pt")


@pytest.fixture
def reload(tmp_path):
    """A function that writes a content, with its right checksum or as it is, and reads it as a run does."""

    def reload(content, signed=True):
        path = tmp_path / "changed.pt"
        torch.save(checkpoint.signed(content) if signed else content, path)
        found = checkpoint.load(path)
        checkpoint.rebuild(found)
        return found

    return reload


def changed(content, place, value):
    """A copy of the content with another value at a place, ("progress", "history", 0, "step"); ...: without it."""
    content = inner = copy.deepcopy(content)
    *way, end = place
    for step in way:
        inner = inner[step]
    if value is ...:
        del inner[end]
    else:
        inner[end] = value(inner[end]) if callable(value) else value
    return content


def poke(value, index=0):
    """A function that gives a tensor with another number at one place."""

    def change(tensor):
        tensor = tensor.clone()
        tensor.view(-1)[index] = value
        return tensor

    return change


# ---------------------------------------------------------------------------------------------------------------------
# Bytes


def test_one_wrong_byte_is_found_wherever_it_is(trained, last, tmp_path):
    """Of 60 random flips and 20 blocks of zeros none gives another content, and nearly all are refused."""
    whole, rng, refused = (trained / "checkpoints" / "last.pt").read_bytes(), np.random.default_rng(0), 0
    path = tmp_path / "damaged.pt"
    for case in range(80):
        damaged = bytearray(whole)
        place = int(rng.integers(len(whole) - 64))
        if case < 60:
            damaged[place] ^= 1 << int(rng.integers(8))
        else:
            damaged[place : place + 64] = bytes(64)
        path.write_bytes(damaged)
        try:
            found = checkpoint.load(path)
        except InputError:
            refused += 1
        else:
            assert found["sha256"] == last["sha256"] == checkpoint.signed(found)["sha256"]
    assert refused > 70


@pytest.mark.parametrize("share", [0.0, 0.3, 0.999])
def test_a_truncated_file_is_refused(share, trained, tmp_path):
    whole = (trained / "checkpoints" / "last.pt").read_bytes()
    (tmp_path / "cut.pt").write_bytes(whole[: int(share * len(whole))])
    with pytest.raises(InputError, match=r"cut.pt is damaged or no checkpoint of this program"):
        checkpoint.load(tmp_path / "cut.pt")


@pytest.mark.parametrize(
    ("place", "value"),
    [
        (("run", "flags", "seed"), 1),
        (("run", "fingerprint"), "0" * 16),
        (("progress", "waited"), 3),
        (("progress", "history", 0, "convergence"), 0.25),
        (("state", "stages.s2.weight"), poke(0.5)),
        (("state", "stages.s1.stdp_rates"), poke(0.01)),
        (("sha256",), "0" * 64),
        (("sha256",), ...),
    ],
)
def test_what_could_be_but_is_not_what_was_saved_is_refused(place, value, last, reload):
    with pytest.raises(InputError, match=r"changed.pt is damaged or was changed: what it holds does not give its"):
        reload(changed(last, place, value), signed=False)


def test_the_checksum_tells_types_and_places_apart():
    contents = [
        {}, {"a": 1}, {"a": 1.0}, {"a": True}, {"a": "1"}, {"a": [1]}, {"a": (1,)}, {"a": None}, {"b": 1},
        {"a": [1, 2]}, {"a": [[1], 2]}, {"a": [1, [2]]}, {"a": 0.0}, {"a": -0.0}, {"a": "b", "c": "d"}, {"a": "bc"},
        {"a": torch.ones(2)}, {"a": torch.ones(1, 2)}, {"a": torch.ones(2).double()}, {"a": torch.tensor([1.0, -1.0])},
    ]  # fmt: skip
    assert len({checkpoint.checksum(content) for content in contents}) == len(contents)
    assert checkpoint.checksum({"a": torch.ones(2)}) == checkpoint.checksum({"a": torch.ones(2)})


def test_saving_and_loading_takes_milliseconds(last, tmp_path):
    """A network of 1.3 million weights with its best state, 11 MB: where one core is free, 20 to 30 ms each."""
    model, progress = checkpoint.rebuild(last), Progress(**last["progress"])
    start = time.perf_counter()
    for _ in range(3):
        checkpoint.save(tmp_path / "last.pt", model, last["encoding"], last["run"], progress)
        checkpoint.load(tmp_path / "last.pt")
    assert time.perf_counter() - start < 3


# ---------------------------------------------------------------------------------------------------------------------
# Fields


def test_every_field_of_the_progress_has_a_kind():
    assert checkpoint_fields.PROGRESS.keys() == {each.name for each in fields(Progress)}


def test_what_is_saved_has_only_fields_that_have_a_kind(last):
    assert last.keys() <= checkpoint_fields.FIELDS.keys()
    assert last["format"] == checkpoint.FORMAT


FIELDS = [
    (("format",), 3, r"no checkpoint of this program, or of another version"),
    (("format",), True, r"no checkpoint of this program"),
    (("model",), 7, r"its model is 7, not a text"),
    (("model",), "deep2024", r"its model is deep2024, but its run.flags.model is mozafari2018"),
    (("in_channels",), 0, r"its in_channels is 0, not a whole number from 1"),
    (("in_channels",), True, r"its in_channels is True, not a whole number"),
    (("in_channels",), 7, r"its in_channels is 7, not 6, as its lowest weights have"),
    (("in_channels",), 3, r"its in_channels is 3, not 6, which its encoding makes"),
    (("num_classes",), 10**15, r"its num_classes is 1000000000000000, not"),
    (("num_classes",), 20, r"its num_classes is 20, not 10, as many as its run.class_names"),
    (("steps",), 255, r"its steps is 255, not a whole number from 1 to 254"),
    (("steps",), 14, r"its steps is 14, not 15, which its encoding makes"),
    (("dtype",), "float16", r"its dtype is 'float16', not 'float32' or 'float64'"),
    (("dtype",), "float64", r"its dtype is float64, but its state\['stages.s1.weight'\] is float32"),
    (("class_of_feature",), lambda classes: classes[::-1], r"its class_of_feature is a list of 200, not that of its"),
    (("class_of_feature",), [0.5], r"its class_of_feature\[0\] is 0.5, not a whole number"),
    (("overrides",), {"s2.out_channels": 10**9}, r"'s2.out_channels'\] is 1000000000, not one of \[250\]"),
    (("overrides",), {"s2.kernel": 5}, r"its overrides\['s2.kernel'\] is 5, not one of \[3\], as its"),
    (("overrides",), {"s2.threshold": 12}, r"its overrides\['s2.threshold'\] is 12, but in its run.flags.set it is"),
    (("encoding",), [], r"its encoding is \[\], not a dict"),
    (("encoding", "name"), "s2c2", r"its encoding cannot be used: no encoder is called 's2c2'"),
    (("encoding", "radius"), 10**9, r"encoder.radius"),
    (("encoding", "filters", 0, 0), 10**9 + 1, r"encoder.filters"),
    (("encoding", "filters", 0, 1), float("nan"), r"its encoding cannot be used: the σ of a DoG"),
    (("encoding", "colours"), 3, r"its in_channels is 6, not 18, which its encoding makes"),
    (("run",), None, r"its run is None, not a dict"),
    (("run", "flags", "batch_size"), 0, r"its run.flags cannot be used: --batch-size must be 1 or more"),
    (("run", "flags", "set"), ["s2.threshold=12"], r"overrides\['s2.threshold'\] is not set, but in its run.flags.set"),
    (("run", "flags", "set"), ["encoder.radius=4"], r"its encoding is not what its run.flags.set says: radius 8, n"),
    (("run", "flags", "epochs"), [1, 2], r"its run.flags.epochs is \[1, 2\], not 3 numbers, one for each phase"),
    (("run", "class_names", 3), 3, r"its run.class_names\[3\] is 3, not a text"),
    (("image_size", 1), 27, r"its image_size is \[28, 27\], but its run.image_size is \[28, 28\]"),
    (("run", "image_size"), [28], r"its run.image_size is \[28\], not a list of 2"),
    (("run", "image_size", 0), 10**6, r"its run.image_size\[0\] is 1000000, not a whole number from 1 to 65535"),
    (("run", "fingerprint"), "x", r"its run.fingerprint is 'x', not a text like"),
    (("run", "nonsense"), torch.ones(1), r"its run.nonsense is float32 \(1,\), not a plain value"),
    (("progress",), [], r"its progress is \[\], not a dict"),
    (("progress", "phase"), 4, r"its progress.phase is 4, not at most 3"),
    (("progress", "phase"), ..., r"it has no progress.phase"),
    (("progress", "epoch"), 10**15, r"its progress.epoch is 1000000000000000, not at most 0"),
    (("progress", "batch"), -1, r"its progress.batch is -1, not a whole number from 0"),
    (("progress", "tally"), [0, 0], r"its progress.tally is \[0, 0\], not a list of 3"),
    (("progress", "tally"), [0, 0, -1], r"its progress.tally\[2\] is -1"),
    (("progress", "wins"), {"s1": torch.ones(3, dtype=torch.int64)}, r"wins\['s1'\] is int64 \(3,\), not one number"),
    (("progress", "wins"), {"s1": torch.ones(30)}, r"wins\['s1'\] is float32 \(30,\), not a tensor of"),
    (("progress", "history", 1, "step"), 7, r"its progress.history\[1\].step is 7, not 2"),
    (("progress", "history", 1, "phase"), "s9", r"history\[1\].phase is 's9', not one of s1, s2, s3"),
    (("progress", "history", 0, "seconds"), ..., r"it has no progress.history\[0\].seconds"),
    (("progress", "history", 0, "seconds"), float("inf"), r"history\[0\].seconds is inf, not a finite number"),
    (("progress", "history", 0), 3, r"its progress.history\[0\] is 3, not a dict"),
    (("progress", "best", "step"), 10**6, r"its progress.best.step is 1000000, not one of the 19 rows"),
    (("progress", "best", "accuracy"), 0.123, r"its progress.best.accuracy is 0.123, not 0\.\d+, as in that row"),
    (("progress", "best", "state", "stages.s1.weight"), poke(float("nan")), r"best.state\['stages.s1.weight'\] has"),
    (("progress", "best", "state", "rl_batches"), ..., r"its progress.best.state has no rl_batches"),
    (("progress", "seconds"), float("nan"), r"its progress.seconds is nan, not a finite number"),
    (("progress", "nonsense"), 1, r"progress\.'nonsense' is no field of it that is known here"),
    (("state",), {}, r"its state has no weights"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("place", "value", "message"), FIELDS, ids=[f"{p[-1]}-{n}" for n, (p, *_) in enumerate(FIELDS)]
)
def test_a_field_that_cannot_be_is_refused_by_its_name(place, value, message, last, reload):
    """Though its checksum is right."""
    with pytest.raises(InputError, match=message) as refusal:
        reload(changed(last, place, value))
    assert "\n" not in str(refusal.value)


WEIGHTS = [
    ("stages.s2.weight", poke(float("nan")), r"its state\['stages.s2.weight'\] has numbers that are not finite"),
    ("stages.s2.weight", poke(float("inf")), r"not finite"),
    ("stages.s2.weight", lambda w: w.int(), r"its state.*is int32 \(250, 30, 3, 3\), not a number, a text"),
    ("stages.s2.weight", lambda w: w > 0.5, r"is bool"),
    ("stages.s2.weight", lambda w: w.long(), r"is int64 \(250, 30, 3, 3\), not a tensor \(features, channels, kernel"),
    ("stages.s2.weight", lambda w: w.double(), r"its dtype is float32, but its state\['stages.s2.weight'\] is float64"),
    ("stages.s2.weight", lambda w: w.half(), r"is float16"),
    ("stages.s2.weight", lambda w: w[:249].clone(), r"do not fit this version of the network: .*249, 30, 3, 3"),
    ("stages.s2.weight", lambda w: w[..., 0].clone(), r"is float32 \(250, 30, 3\), not a tensor \(features"),
    ("stages.s2.weight", lambda w: w[:1].expand(250, 30, 3, 3), r"is float32 \(250, 30, 3, 3\), not a number"),
    ("stages.s2.weight", poke(1.001), r"has learned, so it lies within 0 and 1, but reaches from .* to 1.001"),
    ("stages.s2.weight", lambda w: w - 1, r"has learned, so it lies within 0 and 1, but reaches from -1 to"),
    ("stages.s3.weight", poke(0.1), r"its state\['stages.s3.weight'\] has learned, so it lies within 0.2 and 0.8"),
    ("stages.s2.weight", ..., r"do not fit .* its state has no stages.s2.weight"),
    ("stages.s4.weight", torch.ones(1, 1, 1, 1), r"do not fit .* its state has an unknown stages.s4.weight"),
    ("stages.s1.stdp_rates", poke(float("nan")), r"stdp_rates'\] has numbers that are not finite"),
    ("stages.s1.stdp_rates", lambda r: r.float(), r"stdp_rates'\] is float32 \(2,\), not float64 \(2,\)"),
    ("stages.s1.images_seen", poke(-1), r"images_seen'\] reaches -1, under 0"),
    ("stages.s1.images_seen", poke(2**62), r"images_seen'\] reaches 4611686018427387904, over"),
    ("rl_batches", lambda n: n.double(), r"rl_batches'\] is float64 \(1,\), not int64 \(1,\)"),
]  # fmt: skip


@pytest.mark.parametrize(("key", "value", "message"), WEIGHTS, ids=range(len(WEIGHTS)))
def test_weights_that_cannot_be_are_refused(key, value, message, last, reload):
    """Though their checksum is right."""
    with pytest.raises(InputError, match=message) as refusal:
        reload(changed(last, ("state", key), value))
    assert "\n" not in str(refusal.value)


def test_first_weights_may_lie_outside_the_bounds(tmp_path):
    """N(0.8, 0.05) beside bounds of 0.2 and 0.8: until a stage has learned nothing has clipped them."""
    model = build_model("mozafari2018", seed=3)
    assert model.stages["s3"].weight.max() > 0.9
    run = {"flags": {"seed": 3}}
    silence = torch.full((1, 6, 28, 28), 15, dtype=torch.uint8)
    for learned in (False, True):  # from a blank image nothing is learned, though it has been seen
        if learned:
            model.train_unsupervised(silence, "s1")
            model.train_rl(silence, [0])
        checkpoint.save(tmp_path / "first.pt", model, S1C1().config(), run)
        found = checkpoint.rebuild(checkpoint.load(tmp_path / "first.pt"))
        assert torch.equal(found.stages["s3"].weight, model.stages["s3"].weight)


def test_weights_from_elsewhere_keep_the_bounds_that_they_had_there(last, reload):
    content = changed(last, ("run", "flags", "init_from"), "elsewhere")
    reload(changed(content, ("state", "stages.s2.weight"), poke(1.2)))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"batch": 3, "tally": [50, 50, 1]}, "progress.tally is .50, 50, 1., not outcomes of 100 images at most"),
        ({"batch": 4}, "progress.batch is 4, not one of the batches of 100 images"),
        ({"batch": 3, "told": [0, 0, 0], "tally": [50, 50, 0]}, None),
        ({"batch": 2, "told": [0, 0, 81], "tally": [40, 40, 0]}, "progress.told is .0, 0, 81., not outcomes of 80"),
    ],
)
def test_a_progress_beyond_the_images_of_an_epoch(changes, message):
    progress = replace(Progress(), **changes)
    if message is None:
        checkpoint_fit.check_batches(progress, images=100, batch_size=40)
        return
    with pytest.raises(InputError, match=message):
        checkpoint_fit.check_batches(progress, images=100, batch_size=40)


def test_wins_of_an_epoch_that_has_begun_are_there(last, reload):
    content = changed(last, ("progress", "phase"), 2)
    content["progress"] |= {"batch": 2, "epoch": 1, "wins": {}}
    with pytest.raises(InputError, match=r"its progress.wins has no s3, which learns"):
        reload(content)


CYCLE = []
CYCLE.append(CYCLE)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (CYCLE, r"lies too deep"),
        ([[0] * 100] * 100, r"one of too many values"),
        (2**70, r"its run.flags.name is a number of more than 63 bits, not a number, a text"),
        ({1, 2}, r"its run.flags.name is \{1, 2\}, not a number, a text, or a tensor"),
        (torch.ones(3, 3).to_sparse(), r"is damaged or"),
    ],
    ids=["cycle", "many", "large", "set", "sparse"],
)
def test_what_no_checksum_could_be_made_of_is_refused(value, message, last, reload, monkeypatch):
    monkeypatch.setattr(kinds, "MOST_VALUES", 9000)
    with pytest.raises(InputError, match=message):
        reload(changed(last, ("run", "flags", "name"), value), signed=False)


def test_a_run_that_does_not_say_how_long_it_is_cannot_be_resumed(last, tmp_path, capsys):
    (tmp_path / "checkpoints").mkdir()
    content = checkpoint.signed(changed(last, ("run", "flags", "epochs"), None))
    torch.save(content, tmp_path / "checkpoints" / "last.pt")
    assert "does not say how many epochs its run has" in refuse(f"--resume {tmp_path}", capsys)


# ---------------------------------------------------------------------------------------------------------------------
# The older format


def older(content):
    content = {key: value for key, value in content.items() if key != "sha256"}
    return {**content, "format": 1}


def test_a_checkpoint_of_the_older_format_is_read_and_saved_with_a_checksum(last, reload, tmp_path):
    found = reload(older(last), signed=False)
    assert checkpoint.lack("last.pt", found) == (
        "last.pt has no checksum (written by an older version): small damage to its weights would not be seen"
    )
    assert checkpoint.lack("last.pt", last) is None
    checkpoint.save(tmp_path / "new.pt", checkpoint.rebuild(found), found["encoding"], found["run"])
    assert checkpoint.load(tmp_path / "new.pt")["format"] == 2


def test_what_cannot_be_is_refused_in_the_older_format_too(last, reload):
    with pytest.raises(InputError, match=r"its state\['stages.s2.weight'\] has numbers that are not finite"):
        reload(changed(older(last), ("state", "stages.s2.weight"), poke(float("nan"))), signed=False)
    with pytest.raises(InputError, match=r"its progress.history\[0\].step is 5, not 1"):
        reload(changed(older(last), ("progress", "history", 0, "step"), 5), signed=False)


def test_a_flip_is_found_by_the_archive_itself(tmp_path):
    """The golden checkpoints are of the older format: of 100 random flips none is read."""
    whole, rng, path = (GOLDEN / "branched-best.pt").read_bytes(), np.random.default_rng(0), tmp_path / "flipped.pt"
    expected = checkpoint.checksum(checkpoint.load(GOLDEN / "branched-best.pt"))
    for _ in range(100):
        damaged = bytearray(whole)
        damaged[int(rng.integers(len(whole)))] ^= 1 << int(rng.integers(8))
        path.write_bytes(damaged)
        try:
            assert checkpoint.checksum(checkpoint.load(path)) == expected  # a byte that means nothing
        except InputError:
            continue
