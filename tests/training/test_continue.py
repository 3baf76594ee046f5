"""--init-from: weights; --converge: the epochs of a phase."""

import hashlib
import re
from dataclasses import replace

import numpy as np
import pytest
import torch
from support.command import DIGITS, SMALL, read_few_digits, results, run_train
from support.refusals import assert_refuses
from support.run_folders import load_best, load_last, read_args, read_log, same
from support.tiers import slow_except

import train
from engine.stages import Pool, SpikingConv
from imagesets import load
from network_trainer import NetworkTrainer
from report.diagnosis import Diagnosis, Finding
from training.checkpoint import RunRecord, encode_checkpoint, load_checkpoint
from training.plan import resolve
from training.settings import TrainSettings


def begun(words, output):
    """The state, args.json and log of a run that begins so and learns nothing."""
    run = run_train(f"--model mozafari2018 {DIGITS} --epochs 0 0 0 {words}", output)
    args = read_args(run)
    return load_last(run).state, args, read_log(run)


@pytest.mark.parametrize("place", slow_except([""], ["", "checkpoints/last.safetensors"]))
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
    source = load_best(trained).state
    state, args, log = begun(f"--init-from {trained} --seed 1 --set s3.kernel=3 s2.threshold=12", tmp_path)
    assert torch.equal(state["stages.s2.weight"], source["stages.s2.weight"])
    assert state["stages.s3.weight"].shape == (200, 250, 3, 3)
    assert args["init_from"]["stages"] == ["s1", "s2"]
    assert "weights: s1 s2 from" in log
    # 1318 of 1437 images were trained on: of another 119 about 109
    assert "another split: on 11" in log or "another split: on 10" in log
    assert "of these 119 validation images" in log


def test_a_decision_stage_that_may_know_other_labels_is_new_if_labels_are_spread(trained, tmp_path, undrawn):
    words = f"--model mozafari2018 {DIGITS} --init-from {trained} --labels 20 --spread"
    assert_refuses(train.main, f"{words} --epochs 0 0 0 --output {tmp_path}", "s3")
    run = run_train(f"{words} --epochs 0 0 1 --dry-run", tmp_path)
    assert read_args(run)["init_from"]["stages"] == ["s1", "s2"]


def test_other_data_are_logged(trained, tmp_path, undrawn):
    _, _, log = begun(f"--init-from {trained} --image-size 24 24 --dry-run", tmp_path)
    assert "other data, digits" in log


def test_the_decision_stage_of_other_classes_is_new(trained, tmp_path, undrawn):
    """Names are compared with their order, because a neuron stands for a class by its position."""
    named = read_few_digits()
    for part in ("train", "test"):
        named[f"y_{part}"] = np.array([*"fghijabcde"])[named[f"y_{part}"]]
    np.savez(tmp_path / "letters.npz", **named)
    words = f"{SMALL} --dataset {tmp_path / 'letters.npz'} --init-from {trained} --set s3.first_weights=0.3,0.001"
    run = run_train(f"{words} --epochs 0 0 1", tmp_path)
    source, state = load_best(trained).state, load_last(run).state
    assert torch.equal(state["stages.s2.weight"], source["stages.s2.weight"])
    assert state["stages.s3.weight"].max() < 0.4 < source["stages.s3.weight"].mean()
    assert read_args(run)["init_from"]["stages"] == ["s1", "s2"]
    assert re.search(r"other classes, 0, 1, .* s3 ", read_log(run))
    assert_refuses(train.main, f"{words} --epochs 0 0 0 --output {tmp_path / 'refused'}", "s3")


def test_the_decision_stage_of_unnamed_classes_is_copied_with_a_note(trained, tmp_path, undrawn):
    content = load_best(trained)
    file = tmp_path / "unnamed.safetensors"
    file.write_bytes(encode_checkpoint(replace(content, record=RunRecord())))
    state, _, log = begun(f"--init-from {file}", tmp_path)
    assert torch.equal(state["stages.s3.weight"], content.state["stages.s3.weight"])
    assert "classes; s3 is copied" in log


def test_phases_that_train_until_they_have_converged(tmp_path, learned, undrawn, capsys):
    run_train(f"{SMALL} --epochs 1 1 1 --converge 0.155", tmp_path)
    assert 2 < len(learned["s1"]) // 3 < 20
    assert "s1 STDP   epoch   2/3  convergence" in capsys.readouterr().out


def test_a_last_phase_that_has_converged_is_not_lengthened(tmp_path, learned, undrawn):
    run = run_train(f"{SMALL} --model kheradpisheh2018 --epochs 0 1 --converge 0.2", tmp_path)
    assert learned == {"s2": [50, 50, 38]}
    assert_refuses(train.main, f"--resume {run} --epochs 0 2", "--converge 0.2")


def test_a_longer_run_has_only_the_diagnosis_of_its_end(tmp_path, undrawn, monkeypatch):
    monkeypatch.setattr(Diagnosis, "diagnose", lambda self, phase, row: [Finding(phase.name, f"{row.epoch}", "0")])
    run = run_train(f"{SMALL} --epochs 1 0 1", tmp_path)
    assert [row[:2] for row in results(run)["findings"]] == [["s1", "1"], ["s3", "1"]]
    run_train("--resume latest --epochs 1 0 2", tmp_path)
    assert [row[:2] for row in results(run)["findings"]] == [["s1", "1"], ["s3", "2"]]


def test_a_network_without_rules_is_finished_at_once(tmp_path, undrawn):
    """Its readout reads random features. There is no phase to train longer."""

    class RandomFeatures(NetworkTrainer, name="random_features"):
        readout = 1.0

        def build(self, num_classes):
            return {"s1": SpikingConv(8, 5, padding=2, threshold=15), "c1": Pool(7)}

    run = run_train(f"{SMALL} --model random_features", tmp_path)
    assert results(run)["readout"]["test"]["count"] == 40
    run_train("--resume latest", tmp_path)


def test_a_last_phase_that_has_not_converged_is_lengthened(tmp_path, learned, undrawn):
    words = f"{SMALL} --model kheradpisheh2018 --set s2.out_channels=8 --converge 1e-9"
    run = run_train(f"{words} --epochs 0 21", tmp_path)
    run_train(f"--resume {run} --epochs 0 22", tmp_path)
    assert learned == {"s2": [50, 50, 38] * 22}
    lengthened = load_last(run)
    assert same(lengthened.state, load_last(run_train(f"{words} --epochs 0 22", tmp_path)).state)
    assert len(lengthened.progress.history) == 22


@pytest.mark.parametrize(
    ("words", "converge"),
    [
        ("", 0.01),
        ("--epochs 1 1 1 1 1", 0.01),
        ("--epochs 1 1 1 1 1 --converge 0", 0),
        ("--epochs 1 1 1 1 1 --converge 1", 1),
        ("--dry-run", 0),
    ],
)
def test_given_epochs_keep_the_convergence_of_the_network(words, converge):
    settings = TrainSettings.parse(f"--model multiscale2026 --dataset digits {words}".split())
    assert resolve(settings, load("digits"))[0].converge == converge
