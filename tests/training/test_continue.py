"""Phases that are trained once for several runs: --until and --continue-from; --init-from: weights."""

import hashlib
import json
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from support.command import DIGITS, FEW_DIGITS, SMALL, dont_draw, read_csv, start
from support.refusals import assert_refuses
from support.run_folders import only_run, outcome, same
from support.tiers import slow_except

import train
from engine.phases import Phase
from imagesets import load
from training.checkpoint import RunRecord, encode_checkpoint, load_checkpoint, rebuild_network
from training.plan import resolve
from training.settings import TrainSettings
from utils import ROOT

WORDS = f"{SMALL} --epochs 1 2 2 --seed 3"


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A run without interruption."""
    output = tmp_path_factory.mktemp("whole")
    with pytest.MonkeyPatch.context() as patched:
        dont_draw(patched)
        assert start(f"{WORDS} --name run", output) == 0
    return output / "run"


@pytest.fixture
def learned(monkeypatch):
    """The names of the phases of all batches that are trained."""
    batches, learn = [], Phase.learn

    def count(phase, *args, **options):
        batches.append(phase.name)
        return learn(phase, *args, **options)

    monkeypatch.setattr(Phase, "learn", count)
    return batches


def test_until_ends_without_a_test_and_resume_trains_the_rest(whole, learned, tmp_path, undrawn, capsys):
    assert start(f"{WORDS} --name run --until s2 --save-features --readout svm", tmp_path) == 0
    run = tmp_path / "run"
    assert capsys.readouterr().out.endswith(f"\n    python train.py --resume {run}\n")
    assert learned == ["s1"] * 3 + ["s2"] * 6
    assert not (run / "results.json").exists()
    checkpoint = load_checkpoint(run / "checkpoints" / "last.safetensors")
    assert (checkpoint.progress.phase, checkpoint.progress.epoch, checkpoint.record.test_reads) == (2, 0, 0)
    with np.load(run / "features" / "test.npz") as features:
        assert (str(features["stage"]), len(features["latencies"])) == ("c2", 40)
    assert start(f"--resume {run} --until s1", tmp_path) == 0  # has nothing to do
    assert len(learned) == 9
    assert start(f"--resume {run}", tmp_path) == 0
    assert learned[9:] == ["s3"] * 6
    assert same(outcome(run), outcome(whole))


@pytest.mark.parametrize("until", slow_except(["--until s1"], ["", "--until s1", "--until s2"]))
def test_a_run_that_continues_from_another_is_that_without_interruption(whole, until, learned, tmp_path, undrawn):
    """Also if it changes what comes later, and itself ends and is resumed in between."""
    source = whole
    if until:
        source = tmp_path / "source"
        assert start(f"{WORDS} --name source {until} --set s3.kernel=3 --patience 1", tmp_path) == 0
    taken = ["s1"] if until == "--until s1" else ["s1", "s2"]
    del learned[:]
    assert start(f"{WORDS} --name run --continue-from {source} --until s2", tmp_path) == 0
    assert start(f"--resume {tmp_path / 'run'}", tmp_path) == 0
    assert learned == ["s2"] * (0 if "s2" in taken else 6) + ["s3"] * 6
    run = tmp_path / "run"
    assert same(outcome(run), outcome(whole))
    record = json.loads((run / "args.json").read_text())["continue_from"]
    assert record == {"checkpoint": str(source / "checkpoints" / "last.safetensors"), "phases": taken}
    seconds = [[row["seconds"] for row in read_csv(folder / "metrics.csv")] for folder in (run, source)]
    count = 1 if taken == ["s1"] else 3
    assert seconds[0][:count] == seconds[1][:count]
    counts = [load_checkpoint(folder / "checkpoints" / "last.safetensors").progress for folder in (run, source)]
    assert all(counts[0].phase_seconds[name] == counts[1].phase_seconds[name] for name in taken)


@pytest.mark.slow
def test_only_what_no_later_phase_has_trained_again_is_taken_over(tmp_path, learned, undrawn):
    """In deepr2024, s3 learns without labels, and then with labels."""
    words = f"{SMALL} --model deepr2024 --epochs 1 1 1 1"
    assert start(f"{words} --name ended --until s3", tmp_path) == 0
    assert start(f"{words} --name whole --continue-from {tmp_path / 'ended'}", tmp_path) == 0
    assert learned == ["s1"] * 3 + ["s2"] * 3 + ["s3"] * 3 + ["s3+s4"] * 3
    del learned[:]
    assert start(f"{words} --name again --continue-from {tmp_path / 'whole'}", tmp_path) == 0
    assert learned == ["s3"] * 3 + ["s3+s4"] * 3
    assert same(outcome(tmp_path / "again"), outcome(tmp_path / "whole"))


def test_a_phase_before_a_skipped_phase_of_its_stage_is_taken_over(tmp_path, learned, undrawn):
    """In deepr2024, s3 learns without labels; the phase with labels has no epochs. Also from a folder of runs."""
    # stabilized, because these kernels are compiled for other tests, too
    words = f"{SMALL} --model deepr2024 --set s3.rule.warm_up.stabilize=true --epochs 1 1 1 0 --continue-from"
    assert start(f"{words} {tmp_path} --name first", tmp_path) == 0
    assert learned == ["s1"] * 3 + ["s2"] * 3 + ["s3"] * 3
    assert start(f"{words} {tmp_path} --name second", tmp_path) == 0
    assert start(f"{words} {tmp_path / 'first'} --name third", tmp_path) == 0
    assert len(learned) == 9
    names = "first", "second", "third"
    states = [load_checkpoint(tmp_path / name / "checkpoints" / "last.safetensors").state for name in names]
    assert same(states[0], states[1])
    assert same(states[0], states[2])


def test_the_weights_of_init_from_are_compared_by_content(trained, learned, tmp_path, undrawn, capsys):
    """Not by the path of the checkpoint; also if the run that is continued was resumed without it."""
    source = tmp_path / "source.safetensors"
    shutil.copy(trained / "checkpoints" / "best.safetensors", source)
    words = f"{SMALL} --epochs 1 1 1"
    assert start(f"{words} --init-from {source} --until s1 --name first", tmp_path) == 0
    source.rename(tmp_path / "moved.safetensors")
    assert start(f"--resume {tmp_path / 'first'} --until s2", tmp_path) == 0
    again = f"{words} --until s2 --continue-from {tmp_path / 'first'} --output {tmp_path}"
    assert start(f"{again} --init-from {tmp_path / 'moved.safetensors'} --name second", tmp_path) == 0
    assert learned == ["s1"] * 3 + ["s2"] * 3
    shutil.copy(trained / "checkpoints" / "last.safetensors", source)
    capsys.readouterr()
    assert_refuses(train.main, f"{again} --init-from {source} --name third", "--init-from", capsys)


def test_of_a_folder_of_runs_the_one_that_has_finished_most_is_taken(whole, learned, tmp_path, undrawn, capsys):
    """Not one of other settings or other code, one without keys, or one whose files are damaged."""
    words = f"{WORDS} --continue-from {tmp_path} --until s2 --name"
    assert start(f"{WORDS} --until s1 --name less", tmp_path) == 0
    assert start(f"{WORDS} --set s1.threshold=9 --until s2 --name other", tmp_path) == 0
    for number, change in enumerate(({"code": {}}, {"phases": []})):
        folder = Path(shutil.copytree(whole, tmp_path / f"changed{number}"))
        file = folder / "checkpoints" / "last.safetensors"
        content = load_checkpoint(file)
        file.write_bytes(encode_checkpoint(replace(content, record=replace(content.record, **change))))
    for number, text in enumerate((b"", b"12345678{}", b"\xff" * 100)):
        (tmp_path / f"damaged{number}" / "checkpoints").mkdir(parents=True)
        (tmp_path / f"damaged{number}" / "checkpoints" / "last.safetensors").write_bytes(text)
    (tmp_path / "no run").mkdir()
    del learned[:]
    assert start(f"{words} first", tmp_path) == 0
    assert learned == ["s2"] * 6
    assert start(f"{words} second", tmp_path) == 0
    assert len(learned) == 6
    record = json.loads((tmp_path / "second" / "args.json").read_text())["continue_from"]
    assert record == {
        "checkpoint": str(tmp_path / "first" / "checkpoints" / "last.safetensors"),
        "phases": ["s1", "s2"],
    }
    assert start(f"--resume {tmp_path / 'second'}", tmp_path) == 0
    assert same(outcome(tmp_path / "second"), outcome(whole))


@pytest.mark.slow
def test_phases_of_other_code(tmp_path):
    """They are not shared, and --continue-from warns of them, and of those of unknown code."""
    here = tmp_path / "here"
    ignored = shutil.ignore_patterns(".*", "__pycache__", "data", "images", "results", "runs", "tests")
    shutil.copytree(ROOT, here, ignore=ignored)

    def run(name, *more):
        """Train s1, and return the log."""
        words = [*WORDS.split(), "--until", "s1", "--no-figures", "--name", name, "--output", str(tmp_path), *more]
        subprocess.run([sys.executable, here / "train.py", *words], check=True)
        return (tmp_path / name / "log.txt").read_text()

    shared = "--continue-from", str(tmp_path)
    run("first", *shared)
    assert "s1: from" in run("second", *shared)
    trainer = here / "network_trainer.py"
    edited = trainer.read_text().replace(".permutation(images)", ".permutation(images)[::-1].copy()")
    assert edited != trainer.read_text()
    trainer.write_text(edited)
    assert "s1: from" not in run("third", *shared)
    log = run("fourth", "--continue-from", str(tmp_path / "first"))
    assert "s1: from" in log
    assert log.count("warning: ") == 1
    file = tmp_path / "third" / "checkpoints" / "last.safetensors"
    content = load_checkpoint(file)
    assert "warning: " not in run("fifth", "--continue-from", str(tmp_path / "third"))
    older = replace(content.record, code={}, phases=[])
    file.write_bytes(encode_checkpoint(replace(content, record=older)))
    record = json.loads((tmp_path / "third" / "args.json").read_text())
    (tmp_path / "third" / "args.json").write_text(json.dumps({**record, "git_commit": "1234"}))
    assert "commit 1234" in run("sixth", "--continue-from", str(tmp_path / "third"))


def test_features_before_a_stage_that_is_not_trained(tmp_path, undrawn, capsys):
    words = f"{SMALL} --model deep2024 --dry-run --until s2"
    assert_refuses(train.main, f"{words} --save-features c3 --output {tmp_path}", "c3", capsys)
    assert start(f"{words} --save-features --name run", tmp_path) == 0
    model = rebuild_network(load_checkpoint(tmp_path / "run" / "checkpoints" / "last.safetensors"))
    assert int(model.phases[2].batches) == 0
    with np.load(tmp_path / "run" / "features" / "train.npz") as features:
        assert str(features["stage"]) == "c2"


def begun(words, output):
    """The state, args.json and log of a run that begins so and learns nothing."""
    assert start(f"--model mozafari2018 {DIGITS} --epochs 0 0 0 {words}", output) == 0
    run = only_run(output)
    args = json.loads((run / "args.json").read_text())
    return load_checkpoint(run / "checkpoints" / "last.safetensors").state, args, (run / "log.txt").read_text()


@pytest.mark.parametrize("place", ["", "checkpoints/last.safetensors"])
def test_each_stage_that_fits_is_copied_with_its_rates(place, trained, tmp_path, undrawn):
    file = trained / (place or "checkpoints/best.safetensors")
    source = load_checkpoint(file).state
    state, args, log = begun(f"--init-from {trained / place}", tmp_path)
    stages = [key for key in state if key.startswith("stages.")]
    assert {key.rpartition(".")[2] for key in stages} == {"weight", "stdp_rates", "rstdp_rates", "images_seen"}
    assert all(torch.equal(state[key], source[key]) for key in stages)
    assert not any(state[key].any() for key in state.keys() - set(stages))  # the batches of the phases
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    assert args["init_from"] == {"checkpoint": str(file), "sha256": digest, "stages": ["s1", "s2", "s3"]}
    assert f"s1 s2 s3 from {file}\n" in log
    assert "another split" not in log


def test_what_does_not_fit_is_new_and_a_split_that_was_seen_is_logged(trained, tmp_path, undrawn):
    source = load_checkpoint(trained / "checkpoints" / "best.safetensors").state
    state, args, log = begun(f"--init-from {trained} --seed 1 --set s3.kernel=3 s2.threshold=12", tmp_path)
    assert torch.equal(state["stages.s2.weight"], source["stages.s2.weight"])
    assert state["stages.s3.weight"].shape == (200, 250, 3, 3)
    assert args["init_from"]["stages"] == ["s1", "s2"]
    assert "weights: s1 s2 from" in log
    # 1318 of 1437 images were trained on: of another 119 about 109
    assert "another split: on 11" in log or "another split: on 10" in log
    assert "of these 119 validation images" in log


def test_other_data_are_logged(trained, tmp_path, undrawn):
    _, _, log = begun(f"--init-from {trained} --image-size 24 24 --dry-run", tmp_path)
    assert "other data, digits" in log


def test_the_decision_stage_of_other_classes_is_new(trained, tmp_path, undrawn, capsys):
    """Names are compared with their order, because a neuron stands for a class by its position."""
    with np.load(FEW_DIGITS) as arrays:
        named = {name: arrays[name] for name in arrays}
    for part in ("train", "test"):
        named[f"y_{part}"] = np.array([*"fghijabcde"])[named[f"y_{part}"]]
    np.savez(tmp_path / "letters.npz", **named)
    words = f"{SMALL} --dataset {tmp_path / 'letters.npz'} --init-from {trained} --set s3.first_weights=0.3,0.001"
    assert start(f"{words} --epochs 0 0 1 --name run", tmp_path) == 0
    source = load_checkpoint(trained / "checkpoints" / "best.safetensors").state
    state = load_checkpoint(tmp_path / "run" / "checkpoints" / "last.safetensors").state
    assert torch.equal(state["stages.s2.weight"], source["stages.s2.weight"])
    assert state["stages.s3.weight"].max() < 0.4 < source["stages.s3.weight"].mean()
    assert json.loads((tmp_path / "run" / "args.json").read_text())["init_from"]["stages"] == ["s1", "s2"]
    log = (tmp_path / "run" / "log.txt").read_text()
    assert re.search(r"other classes, 0, 1, .* s3 ", log)
    capsys.readouterr()
    assert_refuses(train.main, f"{words} --epochs 0 0 0 --output {tmp_path / 'refused'}", "s3", capsys)
    assert not (tmp_path / "refused").exists()


def test_the_decision_stage_of_unnamed_classes_is_copied_with_a_note(trained, tmp_path, undrawn):
    content = load_checkpoint(trained / "checkpoints" / "best.safetensors")
    file = tmp_path / "unnamed.safetensors"
    file.write_bytes(encode_checkpoint(replace(content, record=RunRecord())))
    state, _, log = begun(f"--init-from {file}", tmp_path)
    assert torch.equal(state["stages.s3.weight"], content.state["stages.s3.weight"])
    assert "classes; s3 is copied" in log


def test_phases_that_train_until_they_have_converged(tmp_path, learned, undrawn, capsys):
    """Another run continues from it."""
    words = f"{SMALL} --epochs 1 1 1 --converge 0.155"
    assert start(f"{words} --name whole", tmp_path) == 0
    whole = tmp_path / "whole"
    epochs = learned.count("s1") // 3
    assert 2 < epochs < 20
    assert "s1 STDP   epoch   2/3  convergence" in capsys.readouterr().out
    del learned[:]
    assert start(f"{words} --name next --continue-from {whole}", tmp_path) == 0
    assert learned == ["s3"] * 3
    assert same(outcome(tmp_path / "next"), outcome(whole))
    capsys.readouterr()
    other = f"{SMALL} --epochs 1 1 1 --continue-from {whole} --output {tmp_path}"
    assert_refuses(train.main, other, "--converge", capsys)


def test_a_last_phase_that_has_converged_is_not_lengthened(tmp_path, learned, undrawn, capsys):
    words = f"{SMALL} --model kheradpisheh2018 --epochs 0 1 --converge 0.2 --readout none --name run"
    assert start(words, tmp_path) == 0
    assert learned == ["s2"] * 3
    capsys.readouterr()
    assert_refuses(train.main, f"--resume {tmp_path / 'run'} --epochs 0 2", "--converge 0.2", capsys)


def test_a_last_phase_that_has_not_converged_is_lengthened(tmp_path, learned, undrawn):
    words = f"{SMALL} --model kheradpisheh2018 --set s2.out_channels=8 --converge 1e-9 --readout none"
    assert start(f"{words} --epochs 0 21 --name run", tmp_path) == 0
    assert start(f"--resume {tmp_path / 'run'} --epochs 0 22", tmp_path) == 0
    assert learned == ["s2"] * 3 * 22
    assert start(f"{words} --epochs 0 22 --name whole", tmp_path) == 0
    lengthened, whole = (
        load_checkpoint(tmp_path / name / "checkpoints" / "last.safetensors") for name in ("run", "whole")
    )
    assert same(lengthened.state, whole.state)
    assert len(lengthened.progress.history) == 22


@pytest.mark.parametrize(
    ("words", "converge"),
    [
        ("", 0.01),
        ("--epochs 1 1 1 1 1", 0),
        ("--converge 0", 0),
        ("--epochs 1 1 1 1 1 --converge 1", 1),
        ("--dry-run", 0),
    ],
)
def test_epochs_that_are_given_are_exact(words, converge):
    settings = TrainSettings.parse(f"--model multiscale2026 --dataset digits {words}".split())
    assert resolve(settings, load("digits"))[0].converge == converge
