"""Features for other classifiers: what is saved, the accuracy of a linear readout, and what does not fit."""

from unittest import mock

import numpy as np
import pytest
import torch
from support import command
from support.command import DIGITS, results, run_train
from support.refusals import assert_refuses
from support.run_folders import read_features

import train
from models import build_model
from models.mozafari2018 import Mozafari2018
from run_folder import RunFolder
from training import readout
from training.log import RunLog

SMALL = f"--model mozafari2018 {DIGITS} --ratio 0.1 --batch-size 100 --no-figures"


@pytest.mark.slow
def test_a_networks_own_readout(tmp_path, capsys):
    """kheradpisheh2018 does not decide; its own readout does."""
    words = f"--model kheradpisheh2018 {DIGITS} --dry-run --no-figures"
    own = run_train(words, tmp_path)
    assert "svm on c2, C 2.4" in capsys.readouterr().out
    found = results(own)
    assert found["readout"]["C"] == 2.4
    assert found["readout"]["test"]["accuracy"] > 0.5
    assert not (own / "features").exists()
    other = run_train(f"{words} --save-features c1", tmp_path)  # the readout reads c2 nevertheless
    assert results(other)["readout"] == found["readout"]
    assert str(read_features(other)["train"]["stage"]) == "c1"


def test_what_can_be_separated_is_read_without_an_error():
    """Three classes, each with a neuron that spikes for it alone."""
    labels = np.arange(60) % 3
    latencies = torch.full((60, 4, 1, 1), 15, dtype=torch.uint8)
    latencies[torch.arange(60), torch.from_numpy(labels)] = 14
    inputs = readout.find_spikes(latencies, 15)
    assert (inputs.shape, inputs.nnz) == ((60, 4), 60)
    splits = {"train": (inputs, labels), "test": (inputs, labels)}
    found = readout.train_readout(1.0, splits, 3, RunLog())
    assert (found["C"], found["converged"], found["test"]["accuracy"]) == (1, True, 1)


@pytest.mark.parametrize("images", [0, 1, 2001])
def test_the_inputs_are_the_neurons_that_have_spiked(images):
    """Also of more images than are converted together."""
    latencies = torch.arange(images * 6).remainder(16).byte().reshape(images, 3, 2, 1)
    inputs = readout.find_spikes(latencies, 15)
    assert (inputs.format, inputs.dtype) == ("csr", np.float64)
    np.testing.assert_array_equal(inputs.toarray(), latencies.flatten(1).numpy() < 15)


def test_it_is_trained_by_the_threads_of_the_run(fit_threads):
    torch.set_num_threads(1)
    inputs = readout.find_spikes(torch.eye(2, dtype=torch.uint8)[:, :, None, None], 1)
    readout.train_readout(1.0, {"train": (inputs, np.arange(2))}, 2, RunLog())
    assert set(fit_threads) == {1}


def test_two_classes_in_training_and_a_third_in_the_test():
    labels = np.arange(40) % 2
    latencies = torch.where(torch.from_numpy(labels)[:, None, None, None] == torch.arange(2)[:, None, None], 3, 15)
    inputs = readout.find_spikes(latencies.to(torch.uint8), 15)
    shown = np.where(np.arange(40) == 0, 2, labels)
    splits = {"train": (inputs, labels), "test": (inputs, shown)}
    found = readout.train_readout(1.0, splits, 3, RunLog())
    assert found["test"]["accuracy"] == 39 / 40


def test_results_do_not_wait_for_a_readout(tmp_path, undrawn, monkeypatch, capsys):
    """They exist when it begins. The run is finished when it ends."""
    monkeypatch.setattr(Mozafari2018, "readout", 0.1)
    with mock.patch("training.testing.read_features", side_effect=KeyboardInterrupt):
        run = RunFolder(run_train(f"{command.SMALL} --epochs 0 0 1", tmp_path, 130))
    found = results(run.path)
    assert found["test"]["best"]
    assert "test, best epoch" in (run.path / "index.html").read_text()
    assert "test       best" in capsys.readouterr().out
    assert not run.is_finished
    run_train("--resume latest", tmp_path)
    assert results(run.path)["test"] == found["test"]
    assert results(run.path)["readout"]["test"]
    assert run.is_finished


def test_features_that_do_not_fit_are_refused_with_the_figure(monkeypatch, tmp_path):
    monkeypatch.setattr("utils.get_available_memory", lambda: 6 * 10**6)
    about = f"{360 * 30 * 28 * 28 / 1e6:,.0f} MB, and 6 MB are free"
    assert_refuses(train.main, f"{SMALL} --save-features s1 --output {tmp_path}", about)


def test_a_readout_that_does_not_fit_leaves_the_run_and_its_features(monkeypatch, undrawn, tmp_path):
    monkeypatch.setattr(readout, "COPIES", 10**12)
    monkeypatch.setattr(Mozafari2018, "readout", 0.1)
    run = run_train(f"{SMALL} --dry-run --epochs 1 1 1 --save-features c2", tmp_path)
    found = results(run)
    assert (found["readout"]["name"], found["readout"]["stage"]) == ("svm", "c2")
    assert found["readout"]["refused"]
    assert found["test"]
    assert len(list((run / "features").iterdir())) == 3


def test_only_the_first_spike_at_each_position_teaches_s2():
    """Of kheradpisheh2018, by hand: the earliest, or the lowest of equal features; silence stays silence."""
    seen = []
    model = build_model("kheradpisheh2018", in_channels=2)
    latency = torch.tensor([[3, 15], [2, 15], [2, 15]], dtype=torch.uint8).reshape(1, 3, 1, 2)
    model.stages["s2"].learn_features = lambda inputs, *_: seen.append(inputs) or torch.zeros(1, 1, 4).int()
    model.phases[1].learn(model, latency)
    assert seen[0].reshape(3, 2).tolist() == [[15, 15], [2, 15], [15, 15]]
