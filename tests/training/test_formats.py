"""Files of other versions are refused in one line that names the version that reads them."""

import json
import shutil
from dataclasses import replace
from unittest import mock

import pytest
from support.command import FEW_DIGITS, TRAINED, contents, run_train
from support.golden_checkpoints import GOLDEN, declared
from support.refusals import assert_refuses, read_table, refuses

import evaluate
import sweep
import train
from report import emergence
from run_folder import FORMAT, LAST
from training.checkpoint import load_checkpoint, save_checkpoint
from training.recorders.moments import read_moments
from training.trained import load_network


def write_run(folder, number):
    """Write a run in the format of this number; 1 has no number in args.json."""
    checkpoint = load_checkpoint(TRAINED)
    flags = {"model": "mozafari2018", "dataset": "digits", "seed": 0}
    with mock.patch("training.checkpoint.FORMAT", number):
        for name in ("last", "best"):
            path = folder / "checkpoints" / f"{name}.safetensors"
            path.parent.mkdir(parents=True, exist_ok=True)
            save_checkpoint(replace(checkpoint, path=path, record=replace(checkpoint.record, flags=flags)))
    numbered = {} if number == 1 else {"format": number}
    (folder / "args.json").write_text(json.dumps({**numbered, "flags": flags}))
    (folder / "metrics.csv").write_text("phase,train_accuracy,val_accuracy\n")
    return folder


COMMANDS = """
train    | --resume {old}
train    | --model mozafari2018 --dataset {few} --epochs 0 0 1 --init-from {old} --output {out}
train    | --config {old}/args.json --output {out}
evaluate | {old} --output {out} | {old}/checkpoints/best.safetensors --output {out}
evaluate | {trained} {old} --output {out}
evaluate | {old} --predict digit.png
evaluate | {old} --save-features --output {out}
evaluate | {old} --nir {out} | {old} --draw {out}
sweep    | --model mozafari2018 --dataset {few} --seeds 0 --output {runs}
sweep    | --model mozafari2018 --dataset {few} --seeds 0 --init-from {old} --output {out}
sweep    | --model mozafari2018 --dataset {few} --seeds 0 --config {old}/args.json --output {out}
sweep    | --report {runs} | --report {old} --output {out}
"""
MAIN = {"train": train.main, "evaluate": evaluate.main, "sweep": sweep.main}


@pytest.mark.parametrize(("program", "words"), [*read_table(COMMANDS)])
def test_each_command_refuses_a_run_of_an_older_version(program, words, tmp_path):
    run = write_run(tmp_path / "runs" / f"mozafari2018-{FEW_DIGITS.name}-seed0", 3)
    before = contents(run)
    places = {"old": run, "runs": run.parent, "out": tmp_path / "out", "few": FEW_DIGITS, "trained": TRAINED}
    assert str(run) in assert_refuses(MAIN[program], words.format(**places), LAST)
    assert contents(run) == before
    assert [*run.parent.iterdir()] == [run]
    assert [*tmp_path.iterdir()] == [run.parent]


@pytest.mark.parametrize(("number", "about"), [(1, LAST), (2, LAST), (FORMAT + 1, f"format {FORMAT + 1}")])
def test_each_other_format_is_refused(number, about, tmp_path):
    run = write_run(tmp_path / "run", number)
    assert_refuses(train.main, f"--config {run / 'args.json'}", about)
    with refuses(about):
        load_network(run)


def test_a_report_names_the_runs_of_older_versions(tmp_path):
    write_run(tmp_path / "old", FORMAT - 1)
    write_run(tmp_path / "new", FORMAT)
    assert sweep.main(["--report", str(tmp_path)]) == 0
    (line,) = [line for line in (tmp_path / "sweep.md").read_text().splitlines() if LAST in line]
    assert line.startswith("old ")
    assert len((tmp_path / "runs.csv").read_text().splitlines()) == 2


def test_a_run_of_2_1_is_resumed_with_its_moments(tmp_path, undrawn, monkeypatch):
    """It was stopped in the first epoch of s2. The first checkpoints of 2.0 had no convergences."""
    monkeypatch.setattr(emergence, "MOMENTS", (0, 40, 100, 120, 1000))
    last = tmp_path / "old" / "checkpoints" / "last.safetensors"
    last.parent.mkdir(parents=True)
    shutil.copy(GOLDEN / "moments-last-stdp.safetensors", last)
    with declared():
        before = load_checkpoint(last).kept["Moments"]
        run_train("--resume old", tmp_path)
    features, convergences = read_moments(load_checkpoint(last).kept["Moments"])
    names = "s1", "s2_3x3", "s2_5x5"
    expected = {name: [0, 50, 100, 132] for name in names}
    assert {name: sorted(of_layer) for name, of_layer in features.items()} == expected
    assert {name: [images for images, _ in of_layer] for name, of_layer in convergences.items()} == expected
    for name in names:
        assert convergences[name][:3] == before["convergences"][name][:3]
        assert all((features[name][images] == before[f"{name}/{images}"]).all() for images in (0, 50, 100))
