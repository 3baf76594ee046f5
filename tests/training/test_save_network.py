"""Networks that were trained from Python: they are saved, tested, asked and exported, and other runs begin in them."""

import json
import re
from dataclasses import replace

import numpy as np
import pytest
import torch
from support.command import FEW_DIGITS, SMALL, results, run_evaluate, run_train
from support.refusals import assert_each_refused, assert_refuses, refuses
from support.run_folders import read_log, same
from torch import nn

import evaluate
import imagesets
from encoders.whitening import Whitening
from models import build_model
from models.mozafari2018 import Mozafari2018
from s1c1 import S1C1
from training.trained import load_network, save_network
from utils import ROOT

PICTURE = ROOT / "images" / "example-digit.png"
NAMES = tuple("abcdefghij")


@pytest.fixture(scope="module")
def data():
    return imagesets.load(str(FEW_DIGITS))


@pytest.fixture(scope="module")
def network(data):
    """A network that has learned from 50 images."""
    network = build_model("mozafari2018", overrides={"s3.rule": "margin"})
    latencies = S1C1().encode(data.train_images[:50])
    network.train_unsupervised(latencies, "s1")
    network.train_rl(latencies, data.train_labels[:50])
    return network


@pytest.fixture(scope="module")
def file(network, tmp_path_factory):
    path = tmp_path_factory.mktemp("saved") / "own.safetensors"
    save_network(path, network, class_names=[str(digit) for digit in range(10)])
    return path


def test_it_is_loaded_as_it_was(network, file, data, tmp_path):
    loaded = load_network(file)
    classes, scores = loaded.classify(data.test_images)
    decisions, expected = network.decide(S1C1().encode(data.test_images))
    assert np.array_equal(classes, decisions)
    assert np.array_equal(scores, expected)
    save_network(tmp_path / "named", network, class_names=NAMES)
    assert load_network(tmp_path / "named").class_names == NAMES
    save_network(tmp_path / "unnamed", network)
    assert load_network(tmp_path / "unnamed").class_names == tuple("0123456789")


def test_it_is_tested_on_a_data_set(file, data, tmp_path, undrawn):
    """On its own files only if its classes have the names of theirs; without a data set, it cannot be tested."""
    folder = run_evaluate(f"{file} --dataset {FEW_DIGITS}", tmp_path)
    classes, _ = load_network(file).classify(data.test_images)
    assert results(folder)["test"]["accuracy"] == (classes == data.test_labels).mean()
    assert "seed" not in (folder / "index.html").read_text().partition("</title>")[0]
    assert_refuses(evaluate.main, f"{file} --output {tmp_path / 'x'}", "--dataset")
    named = tmp_path / "named"
    save_network(named, load_network(file).model, class_names=NAMES)
    words = f"{named} --dataset {FEW_DIGITS} --output {tmp_path / 'x'}"
    assert_refuses(evaluate.main, words, "a, b")
    assert_refuses(evaluate.main, words.replace(str(FEW_DIGITS), "digits"), "a, b")


def test_it_is_asked_and_exported(file, tmp_path, capsys):
    run_evaluate(f"{file} --predict {PICTURE} --json", tmp_path)
    (entry,) = json.loads(capsys.readouterr().out)
    assert entry["class"] in entry["scores"]
    pytest.importorskip("nir")
    run_evaluate(f"{file} --nir {tmp_path / 'x.nir'}", tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {"x.nir"}


def test_a_run_begins_in_it(network, file, tmp_path, undrawn):
    run = run_train(f"{SMALL} --set s3.rule=margin --init-from {file} --epochs 0 0 1", tmp_path)
    assert re.search("weights: s1 s2 s3 from .*\n.* does not name its training data", read_log(run))
    state = load_network(run).model.state_dict()
    assert torch.equal(state["stages.s1.weight"], network.state_dict()["stages.s1.weight"])


def test_a_fitted_encoder_is_saved(data, tmp_path):
    images = data.train_images[:100]
    encoder = Whitening()
    network = build_model("mozafari2018", in_channels=encoder.channels, time_steps=encoder.time_steps)
    with refuses("with_state"):
        save_network(tmp_path / "saved", network, encoder=encoder)
    encoder = encoder.with_state(encoder.fit(images))
    save_network(tmp_path / "saved", network, encoder=encoder)
    loaded = load_network(tmp_path / "saved")
    assert torch.equal(loaded.encoder.encode(images[:5]), encoder.encode(images[:5]))


def test_what_could_not_be_loaded_as_it_is_is_refused(network, tmp_path):
    path = tmp_path / "saved"
    for names in (NAMES[:9], (*NAMES[:9], "a")):
        with refuses("class_names"):
            save_network(path, network, class_names=names)
    for encoder, about in ((S1C1(time_steps=9), "time steps"), (S1C1(filters=((3, 1, 2),)), "channels")):
        with refuses(about):
            save_network(path, network, encoder=encoder)
    with refuses("image_size"):
        save_network(path, network, image_size=(32, 32))

    class Nameless(Mozafari2018):
        pass

    with refuses("name="):
        save_network(path, Nameless())
    assert not path.exists()
    save_network(path, build_model("mozafari2018", overrides={"s2.threshold": 12.5}))
    assert load_network(path).model.stages["s2"].threshold == 12.5


def replace_weight(network, weight):
    network.stages["s1"].weight = nn.Parameter(weight, requires_grad=False)


def redeclare(network):
    network.declaration["s1"] = replace(network.declaration["s1"], threshold=5.0)


CHANGED = """
float16          | change(lambda network: network.half())
stages.s2.weight | change(lambda network: network.stages["s2"].double())
s1.weight        | change(lambda network: replace_weight(network, torch.rand(30, 6, 3, 3)))
stages.s1.weight | change(lambda network: network.stages["s1"].weight.fill_(torch.nan))
phases.2         | change(lambda network: network.phases.__delitem__(2))
c1               | change(lambda network: network.stages.update({"c1": network.stages["c2"]}))
s1 would         | change(redeclare)
s2.threshold": 12.5} | change(lambda network: setattr(network.stages["s2"], "threshold", 12.5))
"""


def test_a_network_that_would_be_loaded_as_another_one_is_refused(tmp_path):
    def change(function):
        network = build_model("mozafari2018")
        function(network)
        save_network(tmp_path / "saved", network)

    assert_each_refused(CHANGED, {**globals(), "change": change})
    assert not any(tmp_path.iterdir())


def test_sizes_of_numpy_and_names_with_control_characters(network, tmp_path, capsys):
    names = ("a\nb", "\x1b[31m", *NAMES[2:])
    save_network(tmp_path / "saved", network, class_names=names, image_size=np.array([28, 28]))
    shown = ("a\\nb", "\\x1b[31m", *NAMES[2:])
    assert load_network(tmp_path / "saved").class_names == shown
    run_evaluate(f"{tmp_path / 'saved'} --predict {PICTURE} --scores", tmp_path)
    out = capsys.readouterr().out
    assert "\x1b" not in out
    assert out.count("\n") == 2


def test_it_learns_images_as_they_come(file, data):
    """As by ``train_rl``."""
    taught, plain = load_network(file), load_network(file)
    images, labels = data.train_images[50:80], data.train_labels[50:80]
    outcome = taught.learn(images, labels)
    assert outcome == plain.model.train_rl(S1C1().encode(images), labels)
    assert sum(outcome) == 30
    assert sum(taught.learn(images[:0], [])) == 0
    assert same(taught.model.state_dict(), plain.model.state_dict())


@pytest.mark.parametrize("source", [None, "majority2024", "multiscale2026"])  # of an R-STDP vote, of a SpikingDense
def test_a_new_class_is_learned_and_saved(source, file, data, tmp_path):
    network = load_network(ROOT / "results" / "checkpoints" / f"{source}.safetensors" if source else file)
    grown = network.add_classes(["hole"])
    for name, tensor in network.model.state_dict().items():
        of_old = grown.model.state_dict()[name][tuple(map(slice, tensor.shape))]
        assert torch.equal(of_old, tensor)
    images = 255 - data.test_images[:3]
    for _ in range(10):
        grown.learn(images, ["hole"] * 3)
    assert grown.classify(images)[0].tolist() == [10] * 3
    grown.save(tmp_path / "grown.safetensors")
    again = load_network(tmp_path / "grown.safetensors")
    assert again.class_names == (*network.class_names, "hole")
    torch.testing.assert_close(again.decide(data.test_images), grown.decide(data.test_images), rtol=0, atol=0)


@pytest.mark.parametrize("labels", [["hole"] * 2, ["1"], "12", [1, 10], [1.0, 2.0]])
def test_labels_that_it_cannot_learn_are_refused(labels, file, data):
    with refuses():
        load_network(file).learn(data.test_images[:2], labels)


def test_a_class_has_a_name_of_its_own(file):
    with refuses("different names"):
        load_network(file).add_classes(["3"])
