"""Checkpoints: exact round trips, and one line about each file that cannot be used."""

import contextlib
import json
import math
import shutil
from dataclasses import fields, replace

import pytest
import safetensors.torch
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from support.golden_checkpoints import GOLDEN, declared
from support.refusals import assert_each_refused, refuses
from support.tiers import slow_except

from engine.declaration import to_plain
from engine.progress import Progress, Row
from engine.stages import set_fields
from errors import InputError
from models import build_model
from run_folder import find_checkpoint
from s1c1 import S1C1
from training.checkpoint import (
    Checkpoint,
    RunRecord,
    collect_checkpoint,
    compute_checksum,
    decode_checkpoint,
    encode_checkpoint,
    load_checkpoint,
    rebuild_network,
    save_checkpoint,
)

FILE = GOLDEN / "rewarded-last-rstdp.safetensors"  # of a run that was stopped within an epoch, with a best state
DATA, LAST = FILE.read_bytes(), load_checkpoint(FILE)
HEADER = 8 + int.from_bytes(DATA[:8], "little")
WEIGHT = "stages.s2.weight"


@pytest.fixture(autouse=True)
def networks():
    with declared():
        yield


def plain(value):
    """Return a value that differs if a type, the sign of a zero or a bit of a tensor differs."""
    if isinstance(value, Checkpoint | Progress | RunRecord):
        return plain(vars(value))
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, torch.Tensor):
        return f"{value.dtype} {tuple(value.shape)} {value.numpy().tobytes().hex()}"
    return repr(value)


# Round trips


PLAIN = st.none() | st.booleans() | st.integers() | st.floats() | st.text()
LISTS = st.recursive(PLAIN, lambda item: st.lists(item, max_size=3) | st.dictionaries(st.text(), item), max_leaves=9)
FLOATS = st.lists(st.floats(), max_size=3).map(lambda row: torch.tensor([row], dtype=torch.float64))
COUNTS = st.lists(st.integers(0, 2**53)).map(lambda row: torch.tensor(row, dtype=torch.int64))
STATE = st.dictionaries(st.text(), FLOATS, max_size=3)
PROGRESS = st.builds(
    Progress, phase=st.integers(0), wins=st.dictionaries(st.text(), COUNTS), seconds=st.floats(),
    history=st.lists(st.builds(Row, step=st.integers(), phase=st.text(), rule=st.text(), epoch=st.integers(),
                               images=st.integers(), values=st.dictionaries(st.text(), LISTS)), max_size=3),
    best=st.none() | st.fixed_dictionaries({"phase": st.text(), "accuracy": st.floats(), "state": STATE}),
)  # fmt: skip


RUN = st.builds(
    RunRecord, flags=st.dictionaries(st.text(), LISTS), border=st.none() | st.floats(), class_names=st.lists(st.text()),
    origin=st.dictionaries(st.text(), st.just({"stages": []})),
)  # fmt: skip


@settings(max_examples=50)
@given(
    declaration=st.dictionaries(st.text(), LISTS), record=RUN, progress=st.none() | PROGRESS,
    state=STATE, encoding=st.dictionaries(st.text(), LISTS), image_size=st.tuples(st.integers(1), st.integers(1)),
)  # fmt: skip
def test_everything_survives_a_round_trip(**values):
    saved = replace(LAST, **values)
    assert plain(decode_checkpoint(encode_checkpoint(saved), saved.path)) == plain(saved)


def test_what_a_recorder_keeps_survives_in_its_order():
    rows = torch.arange(6.0).reshape(3, 2)
    kept = {"Mine": {"b": [1, None], "a/b": rows[1:], "": {"c": [0.5]}, "all": rows.T, "none": torch.zeros(0, 2)}}
    found = decode_checkpoint(encode_checkpoint(replace(LAST, kept={"Idle": {}, **kept})), LAST.path).kept
    assert plain(found) == plain(kept)
    assert [*found["Mine"]] == [*kept["Mine"]]


NOT_KEPT = """
Mine keeps | keep(None, 1) | keep(torch.zeros(2), 1) | keep((1, 2)) | keep([{1: 2}]) | keep(nan) | keep(itself)
Mine keeps | keep(torch.zeros(2).numpy()) | keep([torch.zeros(2)]) | keep(torch.zeros(2, dtype=torch.complex128))
Mine keeps | keep(torch.zeros(2).bfloat16()) | keep(torch.zeros(2).to_sparse()) | keep(nested)
"""


def test_what_a_recorder_cannot_keep():
    def keep(value, key="a"):
        encode_checkpoint(replace(LAST, kept={"Mine": {key: value}}))

    itself = {}
    itself["itself"] = itself
    names = {"keep": keep, "torch": torch, "nan": math.nan, "itself": itself}
    assert_each_refused(NOT_KEPT, names | {"nested": json.loads(101 * "[" + 101 * "]")})


def test_a_network_and_its_run_survive_a_file(tmp_path):
    path, best, network = tmp_path / "last.safetensors", LAST.progress.best["state"], rebuild_network(LAST)
    names = ["zero", "\udcff", "ä\n"]  # of files
    run = RunRecord(flags={"epochs": [1], "save_every": math.inf}, class_names=names)
    save_checkpoint(collect_checkpoint(path, network, LAST.build_encoder(), run, LAST.progress))
    declaration = {name: to_plain(stage) for name, stage in network.declaration.items()}
    saved = replace(LAST, path=path, declaration=declaration, encoding=to_plain(LAST.build_encoder()))
    assert plain(load_checkpoint(path)) == plain(replace(saved, record=run))
    save_checkpoint(collect_checkpoint(path, rebuild_network(LAST), LAST.build_encoder(), state=best))
    alone = load_checkpoint(path)
    assert plain(alone) == plain(replace(saved, record=RunRecord(), progress=None, state=best))
    assert plain(rebuild_network(alone).state_dict()) == plain(best)
    assert len(path.read_bytes()) < sum(tensor.nbytes for tensor in best.values()) + 4000


@pytest.mark.parametrize(
    ("name", "changes"), [
        ("inception2024", {"s1.threshold": 99, "s3.1.rule.winners": 1, "s3.2.out_channels": 3}),
        ("multiscale2026", {"s1.padding": 0, "s5.levels": (6,), "s5.rule.decay": 0.5}),
        ("deepr2024", {"s2.first_weights": (0.1, 0.0), "s3.rule.warm_up.winners": 2, "s4.rule.bounds": (0.0, 9.0)}),
    ],
)  # fmt: skip
def test_other_values_in_the_file_of_a_network_do_not_change_a_saved_network(name, changes, tmp_path, monkeypatch):
    model = build_model(name)
    save_checkpoint(collect_checkpoint(tmp_path / "saved", model, S1C1()))
    build = type(model).build
    monkeypatch.setattr(type(model), "build", lambda self, num_classes: set_fields(build(self, num_classes), changes))
    assert build_model(name).declaration != model.declaration
    rebuilt = rebuild_network(load_checkpoint(tmp_path / "saved"))
    assert rebuilt.declaration == model.declaration
    assert plain(rebuilt.state_dict()) == plain(model.state_dict())


# Damage


DAMAGES = "flip", "overwrite", "cut", "append", "leave out"


@settings(max_examples=100)
@given(place=st.integers(0, HEADER) | st.integers(0, len(DATA) - 64), new=st.binary(min_size=1, max_size=64))
@pytest.mark.parametrize("damage", slow_except(DAMAGES[:2], DAMAGES))
def test_damaged_bytes_are_refused(damage, place, new):
    """Or nothing of the content changes: a space of the header may become another white space."""
    damaged = {
        "flip": DATA[:place] + bytes([DATA[place] ^ 1 << new[0] % 8]) + DATA[place + 1 :],
        "overwrite": DATA[:place] + new + DATA[place + len(new) :],
        "cut": DATA[:place],
        "append": DATA + new,
        "leave out": DATA[:place] + DATA[place + len(new) :],
    }[damage]
    found = None
    with contextlib.suppress(InputError):
        found = plain(decode_checkpoint(damaged, FILE))
    if found != plain(LAST):
        with refuses(FILE):
            decode_checkpoint(damaged, FILE)


# Refusals


@pytest.mark.parametrize(
    "data",
    [
        b"", b"text", (2**63).to_bytes(8, "little") + b"{}",
        safetensors.torch.save({"weight": torch.zeros(2)}),
        safetensors.torch.save({"weight": torch.zeros(2)}, {"format": "pt"}),
    ],
    ids=["empty", "text", "long header", "foreign", "foreign metadata"],
)  # fmt: skip
def test_another_file_is_refused(data, tmp_path):
    (tmp_path / "other").write_bytes(data)
    for path in (tmp_path / "other", tmp_path / "missing", tmp_path):
        with refuses(path):
            load_checkpoint(path)


def decode_changed(change, *argument):
    """Return the checkpoint of a file whose JSON text was changed, and signed again."""
    metadata = json.loads(DATA[8:HEADER])["__metadata__"]
    values, tensors = json.loads(metadata["checkpoint"]), safetensors.torch.load(DATA)
    change(values, *argument)
    text = json.dumps(values)
    checksum = compute_checksum(text, tensors)
    return decode_checkpoint(safetensors.torch.save(tensors, {"checkpoint": text, "sha256": checksum}), FILE)


@pytest.mark.parametrize("field", [field.name for field in fields(Progress) if field.name != "wins"])
def test_a_field_that_an_older_version_did_not_have_has_its_default(field):
    found = decode_changed(lambda values: values["progress"].pop(field, None))
    assert plain(found) == plain(replace(LAST, progress=replace(LAST.progress, **{field: getattr(Progress(), field)})))


def test_a_checkpoint_without_a_run_and_its_progress():
    found = decode_changed(lambda values: [values.pop(field) for field in ("run", "progress")])
    assert plain(found) == plain(replace(LAST, record=RunRecord(), progress=None))


OTHER_VERSIONS = """
unknown    | change(lambda values: values.update(unknown=0))
unknown    | change(lambda values: values["progress"].update(unknown=0))
unknown    | change(lambda values: values["run"].update(unknown=0))
unknown    | change(lambda values: values["progress"]["history"][0].update(unknown=0))
renamed    | change(lambda values: values["progress"].update(renamed=values["progress"].pop("epoch")))
99         | change(lambda values: values.update(format=99))
dtype      | change(lambda values: values.pop("dtype"))
image_size | change(lambda values: values.pop("image_size"))
overrides  | change(lambda values: values.update(overrides=values.pop("declaration")))
gone       | rebuild(model="gone")
stages.s1.weight | rebuild(in_channels=3)
s9         | rebuild(declaration={**LAST.declaration, "s9": LAST.declaration["s3"]})
Gone       | rebuild(declaration={**LAST.declaration, "s3": {"Gone": {}}})
s3         | rebuild(num_classes=3)
stages.s2.weight | rebuild(state={key: value for key, value in LAST.state.items() if key != WEIGHT})
stages.s9.weight | rebuild(state={**LAST.state, "stages.s9.weight": LAST.state[WEIGHT]})
stages.s2.weight | rebuild(state={**LAST.state, WEIGHT: LAST.state[WEIGHT][:, :4]})
"""


def test_what_does_not_fit_this_version_is_refused():
    """The line names the file, and the entry that does not fit."""

    def refuse(function, argument):
        with refuses(FILE) as refusal:
            function(argument)
        raise refusal.value

    def change(function):
        refuse(decode_changed, function)

    def rebuild(**changes):
        refuse(rebuild_network, replace(LAST, **changes))

    assert_each_refused(OTHER_VERSIONS, {**globals(), "change": change, "rebuild": rebuild})


def test_a_field_of_a_stage_that_is_newer_than_the_checkpoint_has_its_default():
    """Not the value that the network declares today."""
    model = build_model("kheradpisheh2018", in_channels=LAST.in_channels)
    record = {name: to_plain(stage) for name, stage in model.declaration.items()}
    del record["c1"]["Pool"]["padding"]
    checkpoint = replace(LAST, model=model.name, num_classes=10, dtype="float32", declaration=record)
    rebuilt = rebuild_network(replace(checkpoint, state=model.state_dict()))
    assert (rebuilt.declaration["c1"].padding, rebuilt.declaration["c2"].padding) == (0, 1)
    with refuses("gone"):
        rebuild_network(replace(checkpoint, declaration={"c1": {"Pool": {"size": 2, "gone": 1}}}))


def test_a_run_stands_for_its_best_checkpoint(tmp_path, monkeypatch):
    folder = tmp_path / "run" / "checkpoints"
    folder.mkdir(parents=True)
    for name in ("last.safetensors", "best.safetensors"):
        shutil.copy(FILE, folder / name)
        assert find_checkpoint(tmp_path / "run", tmp_path) == find_checkpoint("latest", tmp_path) == folder / name
        (tmp_path / "other" / "run").mkdir(parents=True, exist_ok=True)
        monkeypatch.chdir(tmp_path / "other")
        assert find_checkpoint("run", tmp_path) == folder / name  # not the folder here
        assert find_checkpoint(folder / name, tmp_path) == folder / name
