"""``--until`` and ``--continue-from``: phases that are trained once for several runs."""

import json

import numpy as np
import pytest
from support.command import SMALL, dont_draw, read_csv, start
from support.refusals import assert_refuses
from support.run_folders import outcome, same

import train
from engine.phases import Phase
from training.checkpoint import load_checkpoint, rebuild_network

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
def trained(monkeypatch):
    """The names of the phases of all batches that are trained."""
    batches, learn = [], Phase.learn

    def count(phase, *args, **options):
        batches.append(phase.name)
        return learn(phase, *args, **options)

    monkeypatch.setattr(Phase, "learn", count)
    return batches


def test_until_ends_without_a_test_and_resume_trains_the_rest(whole, trained, tmp_path, undrawn, capsys):
    assert start(f"{WORDS} --name run --until s2 --save-features --readout svm", tmp_path) == 0
    run = tmp_path / "run"
    assert capsys.readouterr().out.endswith(f"\n    python train.py --resume {run}\n")
    assert trained == ["s1"] * 3 + ["s2"] * 6
    assert not (run / "results.json").exists()
    checkpoint = load_checkpoint(run / "checkpoints" / "last.safetensors")
    assert (checkpoint.progress.phase, checkpoint.progress.epoch, checkpoint.progress.test_reads) == (2, 0, 0)
    with np.load(run / "features" / "test.npz") as features:
        assert (str(features["stage"]), len(features["latencies"])) == ("c2", 40)
    assert start(f"--resume {run} --until s1", tmp_path) == 0  # has nothing to do
    assert len(trained) == 9
    assert start(f"--resume {run}", tmp_path) == 0
    assert trained[9:] == ["s3"] * 6
    assert same(outcome(run), outcome(whole))


@pytest.mark.parametrize("until", ["", "--until s1", "--until s2"])
def test_a_run_that_continues_from_another_is_that_without_interruption(whole, until, trained, tmp_path, undrawn):
    """Also if it changes what comes later, and itself ends and is resumed in between."""
    source = whole
    if until:
        source = tmp_path / "source"
        assert start(f"{WORDS} --name source {until} --set s3.kernel=3 --patience 1", tmp_path) == 0
    taken = ["s1"] if until == "--until s1" else ["s1", "s2"]
    del trained[:]
    assert start(f"{WORDS} --name run --continue-from {source} --until s2", tmp_path) == 0
    assert start(f"--resume {tmp_path / 'run'}", tmp_path) == 0
    assert trained == ["s2"] * (0 if "s2" in taken else 6) + ["s3"] * 6
    run = tmp_path / "run"
    assert same(outcome(run), outcome(whole))
    record = json.loads((run / "args.json").read_text())["continue_from"]
    assert record == {"checkpoint": str(source / "checkpoints" / "last.safetensors"), "phases": taken}
    seconds = [[row["seconds"] for row in read_csv(folder / "metrics.csv")] for folder in (run, source)]
    count = 1 if taken == ["s1"] else 3
    assert seconds[0][:count] == seconds[1][:count]
    counts = [load_checkpoint(folder / "checkpoints" / "last.safetensors").progress for folder in (run, source)]
    assert all(counts[0].phase_seconds[name] == counts[1].phase_seconds[name] for name in taken)


def test_only_what_no_later_phase_has_trained_again_is_taken_over(tmp_path, trained, undrawn):
    """In deepr2024, s3 learns without labels, and then with labels."""
    words = f"{SMALL} --model deepr2024 --epochs 1 1 1 1"
    assert start(f"{words} --name ended --until s3", tmp_path) == 0
    assert start(f"{words} --name whole --continue-from {tmp_path / 'ended'}", tmp_path) == 0
    assert trained == ["s1"] * 3 + ["s2"] * 3 + ["s3"] * 3 + ["s3+s4"] * 3
    del trained[:]
    assert start(f"{words} --name again --continue-from {tmp_path / 'whole'}", tmp_path) == 0
    assert trained == ["s3"] * 3 + ["s3+s4"] * 3
    assert same(outcome(tmp_path / "again"), outcome(tmp_path / "whole"))


def test_features_before_a_stage_that_is_not_trained(tmp_path, undrawn, capsys):
    words = f"{SMALL} --model deep2024 --dry-run --until s2"
    assert_refuses(train.main, f"{words} --save-features c3 --output {tmp_path}", "c3", capsys)
    assert start(f"{words} --save-features --name run", tmp_path) == 0
    model = rebuild_network(load_checkpoint(tmp_path / "run" / "checkpoints" / "last.safetensors"))
    assert int(model.phases[2].batches) == 0
    with np.load(tmp_path / "run" / "features" / "train.npz") as features:
        assert str(features["stage"]) == "c2"


REFUSED = {
    "s9": ["--until s9"],
    "--backend": ["--backend torch --continue-from {run}"],
    "--seed": ["--seed 4 --continue-from {run}"],
    "--epochs": ["--epochs 2 2 2 --continue-from {run}"],
    "s1.threshold": ["--set s1.threshold=9 --continue-from {run}"],
    "fingerprint": ["--image-size 20 20 --continue-from {run}"],
    "no checkpoint": ["--continue-from nowhere", "--continue-from {run}/checkpoints/last.safetensors"],
    "no finished phase": ["--continue-from {new}"],
    "--continue-from": ["--resume {run} --continue-from {run}"],
}  # fmt: skip


@pytest.mark.parametrize(("words", "about"), [(words, about) for about in REFUSED for words in REFUSED[about]])
def test_refused_in_one_line(whole, words, about, tmp_path, monkeypatch, capsys):
    with monkeypatch.context() as patched:
        patched.setattr(train.Run, "train", lambda run: None)
        assert start(f"{WORDS} --name new", tmp_path) == 0
    words = words.format(run=whole, new=tmp_path / "new")
    words = words if "--resume" in words else f"{WORDS} {words}"
    before = sorted(tmp_path.rglob("*"))
    capsys.readouterr()
    assert_refuses(train.main, f"{words} --output {tmp_path}", about, capsys)
    assert sorted(tmp_path.rglob("*")) == before
