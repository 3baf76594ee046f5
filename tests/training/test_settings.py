"""The settings of the commands: what they read, what they refuse, what they save, and their help."""

import dataclasses
import hashlib
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

import pytest
from support.command import DIGITS, read_csv, start, start_evaluation
from support.refusals import refuses
from support.run_folders import ROOT

import train
from datasets.augmentation import Augmentation
from training.checkpoint import load_checkpoint, rebuild_network
from training.settings import (
    LEARNED,
    ROUNDING,
    EvaluateSettings,
    SweepSettings,
    TrainSettings,
    make_parser,
    read_value,
    setting,
    to_text,
)

COMMANDS = TrainSettings, EvaluateSettings, SweepSettings
FIELDS = {"s2.threshold": 12, "s3.rule.reward": (0.01, -0.5), "s1.a": None, "s1.b": math.inf, "s1.c": ((3, 0.5),)}
# {type of a setting: another value than the default of any setting, and its words on the command line}
EXAMPLES = {
    str: ("my_data", ["my_data"]), int: (2, ["2"]), float: (0.5, ["0.5"]), tuple[int, ...]: ((3, 4), ["3", "4"]),
    dict: (FIELDS, to_text(FIELDS).split()),
    Augmentation: (Augmentation(copies=2, turn=8, shift=1.5), ["copies=2", "turn=8", "shift=1.5"]),
}  # fmt: skip
SAVED = TrainSettings(model="x").to_dict().keys()


def example(setting):
    """Another value than the default, and its words on the command line."""
    if setting.name == "plugin":
        digest = hashlib.sha256((ROOT / "errors.py").read_bytes()).hexdigest()
        return (f"errors.py {digest}",), [str(ROOT / "errors.py")]
    if setting.type is bool:
        return not setting.default, []
    if setting.choices:
        choice = next(text for text in (*setting.choices, "2") if text != setting.default)
        return setting.convert(choice), [choice]
    kinds = {setting.type, *(get_args(setting.type) if get_origin(setting.type) is UnionType else ())}
    return next(EXAMPLES[kind] for kind in EXAMPLES if kind in kinds)


@pytest.mark.parametrize("name", SAVED)
def test_a_setting_on_the_command_line_in_a_file_and_saved(name, tmp_path):
    """Its value is the same everywhere, and nothing else changes."""
    setting = TrainSettings.flags()[name]
    value, given = example(setting)
    needed = {"model": "x", "save_maps": 1} if name == "map_every" else {"model": "x"}
    needed.pop(name, None)
    values = needed | {name: value}
    expected = TrainSettings(**values)
    words = [setting.flag, *given]
    for other in needed:
        words += [TrainSettings.flags()[other].flag, str(needed[other])]
    parsed = TrainSettings.parse(words)
    assert parsed == expected
    assert (parsed.given, parsed.command_line) == (values.keys(), shlex.join(["train.py", *words]))
    assert getattr(expected, name) != getattr(TrainSettings(**needed | {"model": "y"}), name)
    saved = json.loads(json.dumps(expected.to_dict()))
    assert TrainSettings.from_dict(saved) == expected
    (tmp_path / "args.json").write_text(json.dumps({"flags": saved}))
    repeated = TrainSettings.parse(["--config", str(tmp_path / "args.json")])
    kept = {} if name in ("device", "output", "name", "plugin") else {name: value}
    assert dataclasses.replace(repeated, config=None) == TrainSettings(**needed | kept)


def test_every_setting_of_a_run_is_saved():
    commands = {"list_models", "summary", "resume", "config", "continue_from", "until", "traceback"}
    assert set(SAVED) == TrainSettings.flags().keys() - commands


def test_what_is_not_declared_harmless_changes_what_is_learned():
    """A field without a declaration is among what two runs must have in common."""

    @dataclasses.dataclass(frozen=True)
    class More(TrainSettings):
        new: int = setting("training", 3, "N", "a new setting")

    learned = More(model="x").select(*LEARNED, ROUNDING)
    assert learned["new"] == 3
    harmless = {"data_dir", "threads", "output", "name", "tensorboard", "figures", "save_maps", "map_index", "test"}
    harmless |= {"map_every", "save_every", "save_features", "readout"}
    assert learned.keys() == {*SAVED, "new"} - harmless


def test_a_setting_is_checked_whenever_it_changes():
    settings = TrainSettings(model="x")
    with pytest.raises(dataclasses.FrozenInstanceError):
        settings.seed = 1
    assert dataclasses.replace(settings, seed=1).seed == 1
    with refuses("--seed"):
        dataclasses.replace(settings, seed=-1)


@pytest.mark.parametrize(
    "changed",
    [
        {"batch_size": "many"}, {"batch_size": 0}, {"epochs": [1, 2.5]}, {"epochs": 3}, {"dry_run": 1}, {"seed": True},
        {"device": " "}, {"ratio": float("nan")}, {"ratio": 0}, {"set": ["s2"]}, {"augment": "copies=2"},
        {"backend": "gpu"}, {"threads": "two"}, {"name": "../up"},
    ],
)  # fmt: skip
def test_saved_settings_that_are_damaged(changed):
    with refuses(f"--{next(iter(changed)).replace('_', '-')}"):
        TrainSettings.from_dict({"model": "x", **changed})


HUGE = "0x" + "9" * 5000  # Python does not print such a long integer


@pytest.mark.parametrize(
    "line",
    [
        'no-test = "false"', "no-test = 0", "no-figures = []", 'readout = "x"', "dry-run = 1", 'epochs = "1 2 3"',
        "epochs = [1, [2]]", "seed = {a = 1}", "seed = [1]", f"seed = {HUGE}", f"epochs = [{HUGE}]", "set = 3",
        f'set = "s1.threshold={HUGE}"', "set = [[1]]", f"[set]\nx.y = {HUGE}", "augment = 3", "augment = [3]",
        "image-size = [28]", 'dataset = "a\\u0000b"', "name = 2024-01-01", '"a\\nb" = 1',
    ],
)  # fmt: skip
def test_values_of_a_toml_file_that_are_no_values_of_their_settings(line, tmp_path):
    (tmp_path / "my.toml").write_text(f"model = 'x'\n{line}")
    name = re.match(r"[\w-]+|\[set]", line)
    with refuses("--config" if (HUGE in line and "=0x" not in line) or not name else f"--{name[0]}"):
        TrainSettings.parse(["--config", str(tmp_path / "my.toml")])


@pytest.mark.parametrize("columns", ["80", "100", "250"])
@pytest.mark.parametrize("settings", COMMANDS)
def test_the_help(settings, columns, monkeypatch):
    """It fits the console, up to 100 columns, and each setting has a line in it."""
    monkeypatch.setenv("COLUMNS", columns)
    text = make_parser(settings).format_help()
    assert max(map(len, text.splitlines())) <= min(int(columns), 100)
    for each in settings.flags().values():
        assert re.search(rf"^  {each.flag}\b", text, re.MULTILINE)
    assert "=SUPPRESS=" not in text


@pytest.mark.parametrize(("settings", "first"), [(TrainSettings, "--model"), (EvaluateSettings, "RUN")])
def test_the_network_comes_first_and_an_alias_is_no_network(settings, first):
    text = make_parser(settings).format_help()
    (network,) = re.findall(r"^network:\n  (\S+)", text, re.MULTILINE)
    assert network == first
    assert "deepr2024_2" not in text


def test_unknown_flags_are_refused_except_by_a_sweep():
    with refuses("--evaluate"):
        TrainSettings.parse(["--evaluate", "latest"])
    words = "--model a b --output x --grid s2.t 1 2 --grid s3.t 4 --seeds 0 1 --ratio 0.5"
    sweep = SweepSettings.parse(shlex.split(words))
    assert sweep.run_flags == ("--ratio", "0.5")
    assert (sweep.model, sweep.grid, sweep.seeds) == (("a", "b"), (("s2.t", "1", "2"), ("s3.t", "4")), (0, 1))


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("12", 12), ("-0.5", -0.5), ("1e-3", 0.001), ("none", None), ("None", None), ("inf", math.inf),
        ("-inf", -math.inf), ("true", True), ("False", False), ("0.01,-0.0005", (0.01, -0.0005)),
        ("[1, inf]", (1, math.inf)),
        ("((3, .3, .6),)", ((3, 0.3, 0.6),)), ("fast", "fast"), ("'12'", "12"), ("1 +", "1 +"), ("f(3)", "f(3)"),
        ("9" * 5000, "9" * 5000),
    ],
)  # fmt: skip
def test_a_value_as_python_writes_it(text, value):
    found = read_value(text)
    assert (found, type(found)) == (value, type(value))
    if not isinstance(value, str):
        assert read_value(to_text({"x": value}).removeprefix("x=")) == value


def test_titles_are_wrapped():
    assert TrainSettings(model="net").title(dataset="my data") == "net, my data, seed 0"
    many = TrainSettings(model="net", set={f"s{i}.threshold": i for i in range(20)}, seed=7).title(dataset="x")
    assert max(map(len, many.splitlines())) <= 90
    spelled = " ".join(f"s{i}.threshold={i}" for i in range(20))
    assert many.split() == f"net with {spelled}, x, seed 7".split()


CONFIG = """
model = "mozafari2018"
batch-size = 50
epochs = [1, 2, 3]
no-figures = true
no-test = true
augment = ["copies=2", "flip"]
[set]
s2.threshold = 12
s3.1.rule.reward = [0.01, -0.0005]
s3.rule.warm_up = "none"
"""


def test_a_toml_file_and_the_command_line(tmp_path):
    """The command line counts, and of --set it is applied last."""
    (tmp_path / "my.toml").write_text(CONFIG, encoding="utf-8-sig")
    given = f"--config {tmp_path / 'my.toml'} --epochs 4 5 6 --set s2.threshold=13 encoder.radius=4"
    settings = TrainSettings.parse(shlex.split(given))
    assert (settings.model, settings.batch_size, settings.epochs) == ("mozafari2018", 50, (4, 5, 6))
    assert (settings.figures, settings.test, settings.augment) == (False, False, Augmentation(copies=2, flip=True))
    set_last = {"s2.threshold": 13, "encoder.radius": 4}
    assert list(settings.set.items()) == [
        ("s3.1.rule.reward", (0.01, -0.0005)), ("s3.rule.warm_up", None), *set_last.items()
    ]  # fmt: skip
    assert {"model", "batch_size", "set", "config"} <= settings.given


def test_what_is_set_is_kept_and_can_be_repeated(tmp_path, undrawn):
    """It is in args.json, the summary and the checkpoint, from which the same network is built again."""
    words = f"--model mozafari2018 {DIGITS} --dry-run --set s1.out_channels=20 s2.threshold=12 encoder.time_steps=10"
    assert start(f"{words} --name one", tmp_path) == 0
    one, two = tmp_path / "one", tmp_path / "two"
    saved = json.loads((one / "args.json").read_text())["flags"]
    assert saved["set"] == {"s1.out_channels": 20, "s2.threshold": 12, "encoder.time_steps": 10}
    spelled = "s1.out_channels=20 s2.threshold=12 encoder.time_steps=10"
    assert (one / "summary.txt").read_text().endswith(f"\nset: {spelled}\n")
    content = load_checkpoint(one / "checkpoints" / "best.safetensors")
    assert (content.overrides["s1.out_channels"], content.overrides["s2.threshold"]) == (20, 12)
    assert content.encoding["time_steps"] == content.time_steps == 10
    model = rebuild_network(content)
    assert (model.stages["s2"].in_channels, model.stages["s2"].threshold) == (20, 12)
    assert start(f"--config {one / 'args.json'} --name two", tmp_path) == 0
    rows = [[row | {"seconds": 0} for row in read_csv(run / "metrics.csv")] for run in (one, two)]
    assert rows[0] == rows[1]
    assert start_evaluation(f"{one} --dry-run --device cpu --threads 1 --name three", tmp_path) == 0
    assert f"set: {spelled}" in (tmp_path / "three" / "summary.txt").read_text()


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


@pytest.mark.parametrize("number", ["0", "-1", "100000", "many", ""])
@pytest.mark.parametrize("words", ["train.py --list-models", "evaluate.py latest", "sweep.py --report runs"])
def test_a_number_of_threads_that_numba_cannot_use(words, number):
    setting = {"NUMBA_NUM_THREADS": number}
    done = subprocess.run([sys.executable, *words.split()], cwd=ROOT, env=os.environ | setting, capture_output=True)
    assert (done.returncode, done.stdout, done.stderr.count(b"\n")) == (2, b"", 1)
    assert b"NUMBA_NUM_THREADS" in done.stderr
