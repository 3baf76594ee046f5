"""The flags as one record: what is in it, what it refuses, what it keeps of old runs; and the help about it."""

import dataclasses
import io
import os
import re
import shlex
import subprocess
import sys

import pytest
from support.run_folders import ROOT

import train
from errors import InputError
from training.flags import make_parser, parse
from training.settings import COMMANDS, FLAGS, TAKES, Settings, flag


def test_what_was_given_and_what_was_not():
    words = "--model mozafari2018 --epochs 1 2 3 --seed 0 --batch_size 7 --no-figures --save-maps --dataset 'my data'"
    settings = parse(shlex.split(words))
    assert settings.given == {"model", "epochs", "seed", "batch_size", "figures", "save_maps", "dataset"}
    assert settings.command_line == f"train.py {words}"
    expected = {
        "model": "mozafari2018", "epochs": (1, 2, 3), "batch_size": 7, "figures": False, "save_maps": 1,
        "dataset": "my data",
    }  # fmt: skip
    assert settings == Settings(**expected)
    assert settings.command == "train"


def test_the_defaults_stand_once():
    """In the record: what the parser leaves out is what a bare record has."""
    parsed = parse(["--model", "x"])
    for each in dataclasses.fields(Settings):
        if each.name not in ("model", "given", "command_line"):
            assert getattr(parsed, each.name) == each.default


def test_a_record_cannot_be_changed_but_replaced_and_is_checked_again():
    settings = Settings(model="x")
    with pytest.raises(dataclasses.FrozenInstanceError):
        settings.seed = 1
    assert dataclasses.replace(settings, seed=1).seed == 1
    with pytest.raises(InputError, match="--seed must be 0 or more, not -1"):
        dataclasses.replace(settings, seed=-1)


@pytest.mark.parametrize("name", ["train", *COMMANDS])
def test_every_flag_goes_with_a_command_or_is_refused(name):
    """Each flag is taken by at least one command; a command takes its own and refuses the others by name."""
    about = {"predict": {"predict": ("a.png",)}, "train": {"model": "x"}, "summary": {"summary": True, "model": "x"}}
    command = about.get(name, {name: True if name == "list_models" else "latest"})
    assert Settings(**command).command == name
    for other in FLAGS:
        given = {"given": frozenset({name, other})}
        if other in TAKES[name]:
            assert Settings(**command, **given).command == name
        else:
            with pytest.raises(InputError, match=f"; leave out {flag(other)}$"):
                Settings(**command, **given)
    assert set(FLAGS) <= set.union(*TAKES.values()) <= {*FLAGS, *COMMANDS}


def test_saved_and_read_again():
    settings = Settings(
        model="x", epochs=(1, 2), val_split=0.1, figures=False, map_index=(3,), given=frozenset({"seed"})
    )
    saved = settings.to_dict()
    assert saved["epochs"] == [1, 2]
    assert not saved.keys() & {*COMMANDS, "given", "command_line"}
    assert Settings.from_dict(saved) == settings
    assert Settings.from_dict(saved).given == set()


def test_the_flags_of_an_older_run():
    """Before there were --name, --encoder and --no-figures; commands and None stood among them, and flags now gone."""
    old = {
        "list_models": False, "summary": False, "resume": None, "evaluate": None, "predict": None, "dry_run": False,
        "model": "mozafari2018", "epochs": [2, 4, 10], "batch_size": 500, "seed": 3, "patience": 0, "dataset": "digits",
        "data_dir": None, "ratio": 1.0, "val_split": None, "device": "cpu", "backend": "auto", "threads": 0,
        "output": "runs", "tensorboard": True, "save_maps": 0, "map_index": None, "map_every": 0, "save_every": 60.0,
        "gone": "long ago",
    }  # fmt: skip
    expected = {"epochs": (2, 4, 10), "batch_size": 500, "seed": 3, "device": "cpu", "tensorboard": True, "threads": 0}
    assert Settings.from_dict(old) == Settings(model="mozafari2018", dataset="digits", **expected)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"batch_size": "many"}, "--batch-size cannot be 'many'"),
        ({"batch_size": 0}, "--batch-size must be 1 or more, not 0"),
        ({"epochs": [1, 2.5]}, r"--epochs cannot be \(1, 2.5\)"),
        ({"epochs": 3}, "--epochs cannot be 3"),
        ({"dry_run": 1}, "--dry-run cannot be 1"),
        ({"seed": True}, "--seed cannot be True"),
        ({"device": " "}, "--device is empty"),
        ({"ratio": float("nan")}, "--ratio must be above 0"),
    ],
)
def test_a_run_whose_flags_are_damaged(changed, message):
    with pytest.raises(InputError, match=message):
        Settings.from_dict({"model": "x", **changed})
    with pytest.raises(InputError, match="the flags of a run are a dict, not None"):
        Settings.from_dict(None)


@pytest.mark.parametrize("columns", [100, 250])
def test_the_help_fits(columns, monkeypatch):
    """100 columns, each flag and each command in it."""
    monkeypatch.setenv("COLUMNS", str(columns))
    text = make_parser().format_help()
    assert max(map(len, text.splitlines())) <= 100
    for each in dataclasses.fields(Settings):
        if each.name not in ("given", "command_line"):
            assert re.search(rf"^  {flag(each.name)}\b", text, re.MULTILINE)
    assert "batch_size" not in text
    assert "  --summary, with --config --data-dir --dataset --encoder --image-size --model --set\n" in text


@pytest.mark.parametrize("encoding", ["ascii", "cp1252", "utf-8"])
def test_a_console_that_knows_few_characters(encoding, monkeypatch):
    shown = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(shown, encoding=encoding))
    assert train.main(["--summary", "--model", "mozafari2018", "--dataset", "digits"]) == 0
    sys.stdout.flush()
    cross, infinity = (sign.encode(encoding, "replace").decode(encoding) for sign in "×∞")
    text = shown.getvalue().decode(encoding)
    assert f"mozafari2018 for 6{cross}28{cross}28 inputs" in text
    assert re.search(rf"^s3 +R-STDP +5{re.escape(cross)}5 +{re.escape(infinity)} ", text, re.MULTILINE)


@pytest.mark.parametrize("number", ["0", "-1", "100000", "many", ""])
def test_a_number_of_threads_that_numba_cannot_take(number):
    words, setting = [sys.executable, "train.py", "--list-models"], {"NUMBA_NUM_THREADS": number}
    done = subprocess.run(words, cwd=ROOT, env=os.environ | setting, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "train.py: NUMBA_NUM_THREADS must be 1 to 999; unset it to use all cores\n"
