"""The trained networks of the repository can be tested, asked, and used as initial weights."""

import copy
import re
from dataclasses import replace

import pytest
import torch
from PIL import Image
from support.command import results, run_evaluate, run_train
from support.refusals import refuses
from support.tiers import slow_except
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from imagesets import load
from training.checkpoint import load_checkpoint
from training.trained import load_network
from utils import ROOT

FOLDER = ROOT / "results" / "checkpoints"
STAGES = {  # of the networks, those with weights
    "deep2024": "s1 s2 s3 s4",
    "majority2024": "s1 s2 s3",
    "mozafari2018": "s1 s2 s3",
    "multiscale2026": "s1 s2 s3 s4 s5",
}
# accuracy on 100 test images, taken evenly: 0.89, 0.94, 0.95, 0.98
LEAST = {"deep2024": 0.85, "majority2024": 0.93, "mozafari2018": 0.94, "multiscale2026": 0.97}
FILES = {name: FOLDER / f"{name}.safetensors" for name in STAGES}
FASHION = FOLDER / "multiscale2026-fashion.safetensors"


def test_they_are_small():
    assert set(FOLDER.iterdir()) == {*FILES.values(), FASHION, FOLDER / "README.md"}
    assert sum(path.stat().st_size for path in FOLDER.iterdir()) < 48 * 2**20


@pytest.mark.parametrize("name", FILES)
def test_it_names_what_trained_it(name):
    checkpoint = load_checkpoint(FILES[name])
    assert checkpoint.record.flags["model"] == checkpoint.model == name
    assert checkpoint.record.flags["data_dir"] is None


@pytest.mark.parametrize("name", slow_except(["mozafari2018"], FILES))
def test_it_reads_test_images_and_a_picture(name, tmp_path, undrawn, capsys):
    run = run_evaluate(f"{FILES[name]} --dry-run --no-figures", tmp_path)
    assert results(run)["test"]["accuracy"] >= LEAST[name]
    run_evaluate(f"{FILES[name]} --predict {ROOT / 'images' / 'example-digit.png'}", tmp_path)
    assert re.search(r"example-digit\.png: 7 ", capsys.readouterr().out)


@pytest.mark.parametrize("are_characters", [True, False])
def test_pictures_are_centred_for_networks_of_characters(are_characters, tmp_path):
    with Image.open(ROOT / "images" / "example-digit.png") as picture:
        picture.resize((90, 60)).save(tmp_path / "picture.png")
    network = load_network(FILES["mozafari2018"])
    assert len(repr(network)) < 200
    assert network.checkpoint.record.characters
    record = replace(network.checkpoint.record, characters=are_characters)
    checkpoint = replace(network.checkpoint, record=record)
    _, note = replace(network, checkpoint=checkpoint).read_image(tmp_path / "picture.png")
    assert ("centred" in note) == are_characters


@pytest.mark.parametrize("name", slow_except(["mozafari2018"], FILES))
def test_a_network_starts_from_it(name, tmp_path, undrawn, capsys):
    epochs = " ".join([*("0" for _ in STAGES[name].split()[1:]), "1"])
    words = f"--model {name} --init-from {FILES[name]} --epochs {epochs} --augment none --dry-run --no-figures"
    run = run_train(words, tmp_path)
    assert f"{STAGES[name]} from {FILES[name]}" in capsys.readouterr().out
    assert results(run)["test"]["best"]["accuracy"] >= LEAST[name]


def test_features_are_latencies_from_the_last_step(tmp_path):
    network = load_network(FILES["mozafari2018"])
    images = load("mnist").test_images[:3]
    maps = dict(network.model.walk(network.encoder.encode(images)))
    assert torch.equal(network.features(images, "c2"), 15.0 - maps["c2"])
    assert network.features(images[0], "s1").shape == (1, 30, 28, 28)
    for stage in ("s3", "c9"):  # the decision, and no stage
        with refuses():
            network.features(images, stage)


@pytest.mark.parametrize("encode", [True, False])
def test_stages_as_a_module_below_a_layer_that_learns(encode, tmp_path):
    """It computes the features, whatever is done to the whole; only the layer learns; state dicts restore it."""
    network = load_network(FILES["mozafari2018"])
    images = torch.from_numpy(load("mnist").test_images[:8])
    features = network.features(images, "c2")
    inputs = images if encode else network.encoder.encode(images)
    stages = network.module("c2", encode)
    whole = nn.Sequential(stages, nn.Flatten(), nn.Linear(4000, 10))
    whole.double().half().eval().requires_grad_(True)
    assert torch.equal(stages(inputs), features)
    assert (stages(inputs).dtype, whole[2].weight.dtype) == (torch.float32, torch.float16)

    whole.float().train()
    before = copy.deepcopy(whole.state_dict())
    optimizer = torch.optim.Adam(whole.parameters(), 0.01, weight_decay=0.1)
    for part, labels in DataLoader(TensorDataset(inputs, torch.arange(8)), batch_size=4):
        optimizer.zero_grad()
        nn.functional.cross_entropy(whole(part), labels).backward()
        optimizer.step()
    changed = [name for name, tensor in whole.state_dict().items() if not torch.equal(tensor, before[name])]
    assert changed == ["2.weight", "2.bias"]
    outputs = whole(inputs)

    torch.save(whole.state_dict(), tmp_path / "whole.pt")
    other = load_network(FILES["mozafari2018"])
    for _, layer in other.model.named_layers():
        layer.weight.zero_()
    loaded = nn.Sequential(other.module("c2", encode), nn.Flatten(), nn.Linear(4000, 10))
    loaded.load_state_dict(torch.load(tmp_path / "whole.pt", weights_only=True))
    assert torch.equal(loaded(inputs), outputs)
    assert {name.split(".")[2] for name in before if name.startswith("0.stages.")} == {"s1", "s2"}  # not s3
