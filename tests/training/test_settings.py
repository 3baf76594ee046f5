"""The settings of the commands: what they read, refuse and save, their help, and the lists of networks."""

import dataclasses
import hashlib
import inspect
import io
import json
import math
import os
import re
import shlex
import subprocess
import sys
from types import UnionType
from typing import get_args, get_origin

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from support.command import FEW_DIGITS, SMALL, read_csv, run_evaluate, run_train
from support.refusals import refuses
from support.run_folders import load_best, read_args

import train
from models import network_names
from network_trainer import NetworkTrainer
from run_folder import FORMAT
from training.checkpoint import rebuild_network
from training.data import load_data
from training.parsing import CODE, LEARNING, ROUNDING, make_parser, read_pairs, read_value, setting, to_words
from training.plan import choose_images, resolve
from training.settings import EvaluateSettings, SweepSettings, TrainSettings
from utils import ROOT

# {type of a setting: another value than the default of any setting, and its words on the command line}
EXAMPLES = {
    str: ("my_data", ["my_data"]), int: (2, ["2"]), float: (0.5, ["0.5"]), tuple[int, ...]: ((3, 4), ["3", "4"]),
}  # fmt: skip
FIELDS = ["s2.threshold=12", "s3.rule.reward=0.01,-0.5"]
OWN = ROOT / "errors.py"
SPECIAL = {  # the same of these settings
    "plugin": ((f"{OWN.name} {hashlib.sha256(OWN.read_bytes()).hexdigest()}",), [str(OWN)]),
    "set": (tuple(FIELDS), FIELDS),
    "augment": ("copies=2 turn=8", ["copies=2", "turn=8"]),
}
SAVED = TrainSettings(model="x").to_dict().keys()


def example(setting):
    """Another value than the default, and its words on the command line."""
    if setting.name in SPECIAL:
        return SPECIAL[setting.name]
    if setting.type is bool:
        return not setting.default, []
    if setting.choices:
        choice = next(text for text in (*setting.choices, "2") if text != setting.default)
        value = read_value(choice)
        return (value,) if get_origin(setting.type) is tuple else value, [choice]
    kinds = {setting.type, *(get_args(setting.type) if get_origin(setting.type) is UnionType else ())}
    return next(EXAMPLES[kind] for kind in EXAMPLES if kind in kinds)


@pytest.mark.parametrize("name", SAVED)
def test_a_setting_on_the_command_line_in_a_file_and_saved(name, tmp_path):
    """Its value is the same everywhere, and nothing else changes."""
    setting = TrainSettings.declared()[name]
    value, given = example(setting)
    needed = {"model": "x", "save_maps": 1} if name == "map_every" else {"model": "x"}
    needed.pop(name, None)
    values = needed | {name: value}
    expected = TrainSettings(**values)
    words = [setting.flag, *given]
    for other in needed:
        words += [TrainSettings.declared()[other].flag, str(needed[other])]
    parsed = TrainSettings.parse(words)
    assert parsed == expected
    assert (parsed.given, parsed.command_line) == (values.keys(), shlex.join(["train.py", *words]))
    assert getattr(expected, name) != getattr(TrainSettings(**needed | {"model": "y"}), name)
    saved = json.loads(json.dumps(expected.to_dict()))
    assert TrainSettings.from_dict(saved) == expected
    (tmp_path / "args.json").write_text(json.dumps({"format": FORMAT, "flags": saved}))
    repeated = TrainSettings.parse(["--config", str(tmp_path / "args.json")])
    kept = {} if name in ("output", "name", "plugin") else {name: value}
    assert dataclasses.replace(repeated, config=None) == TrainSettings(**needed | kept)


def test_every_setting_of_a_run_is_saved():
    commands = {"list_models", "summary", "resume", "config", "traceback"}
    assert set(SAVED) == TrainSettings.declared().keys() - commands


def test_what_is_not_declared_harmless_changes_what_is_learned():
    """A field without a declaration is among what two runs must have in common."""

    @dataclasses.dataclass(frozen=True)
    class More(TrainSettings):
        new: int = setting("training", 3, "N", "a new setting")

    learned = More(model="x").select(LEARNING, CODE, ROUNDING)
    assert learned["new"] == 3
    harmless = {"data_dir", "threads", "output", "name", "tensorboard", "figures", "figure_formats", "save_maps"}
    harmless |= {"map_index", "map_every", "save_every", "save_features", "characters", "references"}
    assert learned.keys() == {*SAVED, "new"} - harmless


LEARNED_BY_DEFAULT = {"ratio": 1.0, "test": True, "batch_size": 1000, "seed": 0, "patience": 0}
CHANGED = """
A command without the flag would learn, or test, something else than before. If that is intended:
* list it in CHANGELOG.md, under "Change your commands and scripts";
* add the flag with the value before to the commands in README.md, docs/ and results/, whose numbers were measured with
  it, or measure them again;
* then change the number here. Runs that are resumed keep their own value, because all are saved.
"""


def test_the_defaults_on_which_learning_depends():
    """From the command line and from Python."""
    defaults = {}
    for name, declared in TrainSettings.declared().items():
        is_given = declared.default is not None and declared.default != () and declared.default is not False
        if declared.affects in (LEARNING, CODE) and is_given:
            defaults[name] = declared.default
    assert defaults == LEARNED_BY_DEFAULT, CHANGED
    parameters = inspect.signature(NetworkTrainer.steps).parameters
    for name in ("batch_size", "seed"):
        assert parameters[name].default == LEARNED_BY_DEFAULT[name], CHANGED


def test_a_setting_is_checked_whenever_it_changes():
    settings = TrainSettings(model="x")
    with pytest.raises(dataclasses.FrozenInstanceError):
        settings.seed = 1
    assert dataclasses.replace(settings, seed=1).seed == 1
    with refuses("--seed"):
        dataclasses.replace(settings, seed=-1)


LINES = r"""
no-test = "false"|no-test = 0|no-figures = []|dry-run = 1|epochs = "1 2 3"|epochs = [1, [2]]|seed = [1]
seed = {a = 1}|set = 3|set = "s1.threshold=3"|set = [[1]]|augment = 3
image-size = [28]|dataset = "a\u0000b"|name = 2024-01-01|"a\nb" = 1|batch-size = "many"|batch-size = 0
epochs = 3|device = " "|ratio = nan|backend = "gpu"|threads = "two"|name = "../up"|name = "COM1.txt"|set = [3]
"""


def test_values_of_a_file_that_are_no_values_of_their_settings(tmp_path):
    for line in LINES.strip().replace("|", "\n").splitlines():
        (tmp_path / "my.toml").write_text(f"model = 'x'\n{line}")
        name = re.match(r"[\w-]+", line)
        with refuses(f"--{name[0]}" if name else "--config") as caught:
            TrainSettings.parse(["--config", str(tmp_path / "my.toml")])
        assert not re.search(r"tuple|str\b|None", str(caught.value))  # words of Python


@pytest.mark.parametrize(
    ("command", "first"), [(TrainSettings, "--model"), (EvaluateSettings, "RUN"), (SweepSettings, "")]
)
def test_the_help(command, first, monkeypatch):
    """It fits the console, and each setting has a line in it. The network comes first."""
    for columns in (80, 100, 250):
        monkeypatch.setenv("COLUMNS", str(columns))
        text = make_parser(command).format_help()
        assert max(map(len, text.splitlines())) <= columns
        for each in command.declared().values():
            assert re.search(rf"^  {each.flag}\b", text, re.MULTILINE)
        assert "=SUPPRESS=" not in text
        assert "deepr2024_2" not in text  # an alias is no network
        assert first in re.findall(r"^network:\n  (\S+)", text, re.MULTILINE) or not first


def test_a_sweep_passes_unknown_flags_to_its_runs():
    words = "--model a b --output x --grid s2.t 1 2 --grid s3.t 4 --seeds 0 1 --ratio 0.5"
    sweep = SweepSettings.parse(shlex.split(words))
    assert sweep.run_flags == ("--ratio", "0.5")
    assert (sweep.model, sweep.grid, sweep.seeds) == (("a", "b"), (("s2.t", "1", "2"), ("s3.t", "4")), (0, 1))


TEXTS = {"1e-3": 0.001, "None": None, "True": True, "[1, inf]": (1, math.inf), "((3, .3, .6),)": ((3, 0.3, 0.6),)}
TEXTS |= {text: text for text in ("fast", "1 +", "f(3)", "9" * 5000)}
PLAIN = st.none() | st.booleans() | st.integers(-(10**9), 10**9) | st.floats(allow_nan=False)
ROWS = st.lists(PLAIN, min_size=1, max_size=3).map(tuple)
VALUES = PLAIN | ROWS | st.lists(ROWS, min_size=1, max_size=2).map(tuple)
NAMES = st.from_regex(r"s[1-9](\.[0-9])?(\.rule)?\.[a-z_]+", fullmatch=True)


def test_a_value_as_python_writes_it():
    for text, value in {**TEXTS, "'12'": "12"}.items():
        found = read_value(text)
        assert (found, type(found)) == (value, type(value))
    words = read_pairs(["a.b=1", "flip", " c = x", "a.b=2,3"])
    assert list(words.items()) == [("flip", True), ("c", "x"), ("a.b", (2, 3))]


@settings(max_examples=40)
@given(
    fields=st.dictionaries(NAMES, VALUES, max_size=4), seed=st.integers(0, 2**40), ratio=st.floats(0.01, 1),
    epochs=st.lists(st.integers(0, 9), min_size=1).map(tuple), batch_size=st.integers(1, 9999),
    tensorboard=st.booleans(),
)  # fmt: skip
def test_settings_are_read_as_they_are_written(fields, tensorboard, epochs, **values):
    """On the command line, and in the JSON of a run."""
    given = to_words(fields)
    assert read_pairs(given) == fields
    expected = TrainSettings(model="x", set=tuple(given), tensorboard=tensorboard, epochs=epochs, **values)
    words = "--model x --seed {seed} --ratio {ratio!r} --batch-size {batch_size} --epochs".format(**values).split()
    words += [*map(str, epochs), *["--tensorboard"] * tensorboard]
    assert TrainSettings.parse(words + (["--set", *given] if fields else [])) == expected
    assert TrainSettings.from_dict(json.loads(json.dumps(expected.to_dict()))) == expected


def test_titles_are_wrapped_and_name_the_flags_that_are_not_the_defaults():
    data = load_data(TrainSettings(model="mozafari2018", dataset=str(FEW_DIGITS)))
    words = ["--model", "mozafari2018", "--dataset", str(FEW_DIGITS)]

    def title(*more):
        settings, _, _ = resolve(TrainSettings.parse([*words, *more]), data)
        assert TrainSettings.from_dict(settings.to_dict()).title("x") == settings.title("x")  # of a checkpoint
        return settings.title("x")

    assert title() == title("--no-test", "--threads", "1", "--epochs", "2", "4", "680") == "mozafari2018, x, seed 0"
    flags = ["--init-from runs/a", "--encoder intensity", "--ratio 0.1", "--labels 0.5", "--epochs 0 2 3", "--spread"]
    named = title("--augment", "none", *(word for flag in flags for word in flag.split()))
    assert sorted(" ".join(named.splitlines()).split(", ")) == sorted(["mozafari2018", "x", "seed 0", *flags])
    fields = [f"s1.threshold={i}" for i in range(20)]
    many = title("--seed", "7", "--set", *fields)
    assert max(map(len, many.splitlines())) <= 90
    assert many.split() == ["mozafari2018,", "x,", "seed", "7,", "--set", *fields]


CONFIG = """
model = "mozafari2018"
batch-size = 50
epochs = [1, 2, 3]
no-figures = true
no-test = true
output = "~/runs"
augment = ["copies=2", "flip"]
[set]
s2.threshold = 12
s3.1.rule.reward = [0.01, -0.0005]
s3.rule.warm_up = "none"
"""


def test_a_toml_file_and_the_command_line(tmp_path, monkeypatch):
    """The command line counts, and of --set it is applied last. The home folder is named as in a shell."""
    for name in ("HOME", "USERPROFILE"):
        monkeypatch.setenv(name, str(tmp_path))
    (tmp_path / "my.toml").write_text(CONFIG, encoding="utf-8-sig")
    given = f"--config {tmp_path / 'my.toml'} --epochs 4 5 6 --set s2.threshold=13 encoder.radius=4"
    settings = TrainSettings.parse(shlex.split(given))
    assert (settings.model, settings.batch_size, settings.epochs) == ("mozafari2018", 50, (4, 5, 6))
    assert (settings.figures, settings.test, settings.augment) == (False, False, "copies=2 flip")
    assert settings.output == str(tmp_path / "runs")
    set_last = {"s2.threshold": 13, "encoder.radius": 4}
    assert list(read_pairs(settings.set).items()) == [
        ("s3.1.rule.reward", (0.01, -0.0005)), ("s3.rule.warm_up", None), *set_last.items()
    ]  # fmt: skip
    assert {"model", "batch_size", "set", "config"} <= settings.given
    (tmp_path / "my.toml").write_text('set = "s2.threshold=12"')
    with refuses("--set"):
        TrainSettings.parse(shlex.split(given))


def test_what_is_set_is_kept_and_can_be_repeated(tmp_path, undrawn):
    """It is in args.json, the summary and the checkpoint, from which the same network is built again."""
    words = f"{SMALL} --dry-run --set s1.out_channels=20 s2.threshold=12 encoder.time_steps=10"
    one = run_train(words, tmp_path)
    saved = read_args(one)["flags"]
    spelled = "s1.out_channels=20 s2.threshold=12 encoder.time_steps=10"
    assert saved["set"] == spelled.split()
    assert (one / "summary.txt").read_text().endswith(f"\nset: {spelled}\n")
    content = load_best(one)
    assert content.encoding["s1c1"]["time_steps"] == content.time_steps == 10
    model = rebuild_network(content)
    assert (model.stages["s2"].weight.shape[1], model.stages["s2"].threshold) == (20, 12)
    two = run_train(f"--config {one / 'args.json'}", tmp_path)
    rows = [[row | {"seconds": 0} for row in read_csv(run / "metrics.csv")] for run in (one, two)]
    assert rows[0] == rows[1]
    three = run_evaluate(f"{one} --dry-run --device cpu --threads 1", tmp_path)
    assert f"set: {spelled}" in (three / "summary.txt").read_text()


@pytest.mark.parametrize("encoding", ["ascii", "cp1252", "utf-8"])
def test_a_console_with_few_characters(encoding, monkeypatch):
    shown = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(shown, encoding=encoding))
    assert train.main(["--summary", "--model", "mozafari2018", "--dataset", "digits"]) == 0
    sys.stdout.flush()
    cross, infinity = (sign.encode(encoding, "replace").decode(encoding) for sign in "×∞")
    text = shown.getvalue().decode(encoding)
    assert f"mozafari2018 for 6{cross}28{cross}28 inputs" in text
    assert re.search(rf"^s3 +R-STDP +5{re.escape(cross)}5 +{re.escape(infinity)} ", text, re.MULTILINE)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("words", "number"), [("train.py --list-models", "0"), ("evaluate.py latest", "many"), ("sweep.py --report x", "")]
)
def test_a_number_of_threads_that_numba_cannot_use(words, number):
    setting = {"NUMBA_NUM_THREADS": number}
    done = subprocess.run([sys.executable, *words.split()], cwd=ROOT, env=os.environ | setting, capture_output=True)
    assert (done.returncode, done.stdout, done.stderr.count(b"\n")) == (2, b"", 1)
    assert b"NUMBA_NUM_THREADS" in done.stderr


def test_lists_and_summaries(capsys):
    assert train.main(["--list-models"]) == 0
    assert re.findall(r"^([^\s:]+)", capsys.readouterr().out, re.MULTILINE) == network_names()
    for name in ("mozafari2018", "Deep2024"):
        assert train.main(["--summary", "--model", name, "--dataset", "digits"]) == 0
        assert f"{name.lower()} for 6×28×28 inputs" in capsys.readouterr().out


def test_choose_images():
    labels = np.array([2, 0, 2, 0, 2, 1])
    assert choose_images(labels, 2).tolist() == [1, 3, 5, 0, 2]
    assert choose_images(torch.from_numpy(labels), 1).tolist() == [1, 5, 0]
    assert choose_images(labels, 0).tolist() == []
