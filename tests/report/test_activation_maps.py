"""Activation maps on disk are what the network computes; their pictures show neurons and nothing else."""

import math

import numpy as np
import pytest
import torch
from PIL import Image
from support.run_folders import files_in

from engine.rules import RSTDP
from engine.stages import Pool, SpikingConv
from models import build_model
from network_trainer import NetworkTrainer
from report.activation_maps import find_neurons, save_activation_maps
from report.sheets import POTENTIAL_COLORS, SILENCE, draw_decision, draw_maps, make_color_table

DIGITS = "0123456789"
DARKEST = make_color_table("plasma", 15)[0]
OF_KEY = 12 * 12  # pixels of a colour of the key


def test_files(tmp_path, latencies):
    model, labels = build_model("mozafari2018"), np.arange(12) % 10
    names = ("T-shirt/top", "../b", *"cdefghij")
    save_activation_maps(model, latencies[[3, 10]], labels, [3, 10], tmp_path / "maps", names)
    images, stages = {3: "00003_label-d", 10: "00010_label-T-shirt-top"}, ["input", *model.declaration]
    pictures = {f"{stage}/{image}.png" for stage in stages for image in images.values()}
    assert files_in(tmp_path / "maps") == {*(f"{image}.npz" for image in images.values()), *pictures}
    for index, image in images.items():
        latency = latencies[index : index + 1]
        with np.load(tmp_path / "maps" / f"{image}.npz") as arrays:
            assert set(arrays) == {*stages, "potentials", "race", "label", "decision", "index", "steps"}
            assert (arrays["label"], arrays["index"], arrays["steps"]) == (labels[index], index, 15)
            assert arrays["decision"] == model.predict(latency).item()
            for stage, maps in [("input", latency), *model.walk(latency)]:
                assert arrays[stage].dtype == np.uint8
                assert np.array_equal(arrays[stage], maps[0].numpy())
    with Image.open(tmp_path / "maps" / "s1" / "00003_label-d.png") as picture:
        assert len(picture.convert("RGB").getcolors(1 << 20)) > 10


class Named(NetworkTrainer):
    """Stages with the names of parameters of np.savez_compressed."""

    def build(self, num_classes):
        return {"file": Pool(2), "allow_pickle": SpikingConv(num_classes, 1, rule=RSTDP())}


@pytest.fixture
def save(tmp_path, latencies):
    """A function that saves the maps of the first image, a 7, and returns the arrays by their names."""

    def save_one(model, **options):
        save_activation_maps(model, latencies[:1], [7], [0], tmp_path, DIGITS, **options)
        with np.load(tmp_path / "00000_label-7.npz") as arrays:
            return dict(arrays)

    return save_one


def test_a_stage_can_have_any_name(save):
    arrays = save(Named(), draw=False)
    assert {"file", "allow_pickle", "label", "decision"} <= set(arrays)
    assert arrays["file"].shape == (6, 14, 14)


@pytest.mark.parametrize("name", ["deep2024", "majority2024", "multiscale2026"])
def test_potentials_are_those_that_decide(name, latencies, save, tmp_path):
    model = build_model(name)
    for _, layer in model.named_layers([model.decision]):
        layer.weight.copy_(torch.rand(layer.weight.shape, generator=torch.Generator().manual_seed(0)))
    arrays = save(model, draw=False)
    assert files_in(tmp_path) == {"00000_label-7.npz"}
    below = model.map_of(latencies[:1], model.input_name(model.decision))[:]
    for label, layer in model.named_layers([model.decision]):
        values = arrays[label.replace(model.decision, "potentials")]
        assert (values.dtype, values.shape) == (np.float32, layer.stage.shape([below.shape[1:]]))
        assert values.max((1, 2)) == pytest.approx(layer.peaks(below)[0].numpy(), rel=1e-5)


def test_only_the_stages_that_are_wanted(tmp_path, save, monkeypatch):
    model = build_model("deep2024")
    monkeypatch.setattr(model.stages["c2"], "fire", None)  # nothing above is computed
    arrays = save(model, stages=("s1", "c1"))
    pictures = {f"{stage}/00000_label-7.png" for stage in ("input", "s1", "c1")}
    assert files_in(tmp_path) == {"00000_label-7.npz", *pictures}
    assert set(arrays) == {"input", "s1", "c1", "label", "index", "steps"}


def test_padding_of_branches_is_not_neurons(latencies):
    model = build_model("majority2024")
    parts = find_neurons(model, 28, 28)
    assert parts["input"] == [(slice(0, 6), slice(0, 28), slice(0, 28))]
    assert parts["c2"] == [(slice(0, 250), slice(0, 4), slice(0, 4))]
    # 4×4 inputs, padding 2: kernels 3, 5, 7 leave 6×6, 4×4 and 2×2 neurons, in the middle of 6×6
    assert parts["s3"] == [
        (slice(0, 200), slice(0, 6), slice(0, 6)),
        (slice(200, 400), slice(1, 5), slice(1, 5)),
        (slice(400, 600), slice(2, 4), slice(2, 4)),
    ]
    padded = find_neurons(build_model("kheradpisheh2018"), 28, 28)["c1"]
    assert padded == [(slice(0, 32), slice(0, 15), slice(0, 15))]
    maps = dict(model.walk(latencies[:1]))["s3"][0]
    assert all((maps[part] < 15).all() for part in parts["s3"])  # every neuron fires, the padding does not
    assert (maps < 15).sum() == 200 * (36 + 16 + 4)


def count_pixels(picture, colour):
    return int((np.asarray(picture.convert("RGB")) == colour).all(2).sum())


@pytest.mark.parametrize(("shape", "steps"), [((1, 28, 28), 15), ((110, 4, 4), 254), ((800, 1, 1), 1)])
def test_a_picture_shows_every_neuron(shape, steps):
    maps = np.full(shape, steps, np.uint8)
    maps[0, 0, 0] = 0
    picture = draw_maps(maps, steps, "title", [...], [])
    assert picture.width < 1200
    silent = count_pixels(picture, SILENCE) - OF_KEY
    zoom = math.isqrt(silent // max(1, maps.size - 1)) or 1
    assert silent == zoom**2 * (maps.size - 1)
    assert count_pixels(picture, DARKEST) > zoom**2  # the neuron that spikes, and the first step of the scale


def test_a_picture_of_potentials():
    """The deciding neuron has its own colours."""
    potentials = np.zeros((6, 2, 2), np.float32)
    potentials[4, 1, 0], potentials[1] = 8, 4
    picture = draw_decision(potentials, "abc", "title")
    lightest, *_, darkest = make_color_table("Oranges", POTENTIAL_COLORS)
    zoom = math.isqrt(count_pixels(picture, darkest) - OF_KEY)
    assert count_pixels(picture, lightest) == 3 * zoom**2  # the rest of its map
    assert count_pixels(draw_decision(potentials * 0, "abc", "title"), lightest) == 0
