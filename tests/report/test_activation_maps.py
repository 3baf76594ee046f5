"""Activation maps on disk are what the network computes; their pictures show neurons and nothing else."""

import numpy as np
import pytest
import torch
from PIL import Image

from errors import InputError
from models import build_model
from report.activation_maps import choose_images, neurons, save_activation_maps
from report.map_pictures import SILENCE, draw_decision, draw_maps

DIGITS = "0123456789"


@pytest.fixture(scope="module")
def latencies():
    rng = np.random.default_rng(0)
    return torch.from_numpy(rng.integers(0, 60, (12, 6, 28, 28)).clip(max=15).astype(np.uint8))


def files_in(folder):
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def test_files(tmp_path, latencies):
    model = build_model("mozafari2018")
    labels = np.arange(12) % 10
    names = ("T-shirt/top", "../b", *"cdefghij")
    save_activation_maps(model, latencies[[3, 10]], labels, [3, 10], tmp_path / "maps", names)
    images = ("00003_label-d", "00010_label-T-shirt-top")
    stages = ["input", *model.stages]
    assert files_in(tmp_path / "maps") == {
        *(f"{i}.npz" for i in images), *(f"{stage}/{i}.png" for stage in stages for i in images)
    }  # fmt: skip
    for image, index in zip(images, (3, 10), strict=True):
        with np.load(tmp_path / "maps" / f"{image}.npz") as arrays:
            assert set(arrays) == {*stages, "potentials", "label", "decision", "index", "steps"}
            assert (arrays["label"], arrays["index"], arrays["steps"]) == (labels[index], index, 15)
            assert arrays["decision"] == model.predict(latencies[index : index + 1])[0]
            for stage, maps in [("input", latencies[index : index + 1]), *model.walk(latencies[index : index + 1])]:
                assert arrays[stage].dtype == np.uint8
                assert np.array_equal(arrays[stage], maps[0].numpy())
            potentials = arrays["potentials"]
            assert potentials.dtype == np.float32
            assert potentials.shape == arrays["s3"].shape
            assert np.array_equal(potentials > 0, arrays["s3"] < 15)
    with Image.open(tmp_path / "maps" / "s1" / "00003_label-d.png") as picture:
        assert len(picture.convert("RGB").getcolors(1 << 20)) > 10


@pytest.mark.parametrize("name", ["deep2024", "majority2024"])
def test_potentials_are_those_that_decide(name, latencies, tmp_path):
    model = build_model(name)
    generator = torch.Generator().manual_seed(0)
    for _, conv in model.named_convs([model.decision]):
        conv.weight.copy_(torch.rand(conv.weight.shape, generator=generator))
    save_activation_maps(model, latencies[:1], [7], [0], tmp_path, DIGITS, draw=False)
    assert files_in(tmp_path) == {"00000_label-7.npz"}
    below = model.pass_through(latencies[:1], model.between(None, model.decision))
    with np.load(tmp_path / "00000_label-7.npz") as arrays:
        for label, conv in model.named_convs([model.decision]):
            values = arrays[label.replace(model.decision, "potentials")]
            assert values.reshape(len(values), -1).max(1) == pytest.approx(conv.peaks(below)[0].numpy(), rel=1e-5)
            assert values.shape[1:] == conv.output_size(*below.shape[2:])


def test_only_the_stages_that_are_wanted(tmp_path, latencies, monkeypatch):
    model = build_model("deep2024")
    monkeypatch.setattr(model.stages["c2"], "fire", None)  # nothing above is computed
    save_activation_maps(model, latencies[:1], [7], [0], tmp_path, DIGITS, stages=("s1", "c1"))
    assert files_in(tmp_path) == {f"{place}00000_label-7.{end}" for place, end in
                                  (("", "npz"), ("input/", "png"), ("s1/", "png"), ("c1/", "png"))}  # fmt: skip
    with np.load(tmp_path / "00000_label-7.npz") as arrays:
        assert set(arrays) == {"input", "s1", "c1", "label", "index", "steps"}


def test_a_network_that_does_not_decide(tmp_path, latencies):
    model = build_model("mozafari2018")
    del model.stages[model.decision]
    model.__class__ = type("Features", (type(model),), {"decision": None})
    save_activation_maps(model, latencies[:1], [7], [0], tmp_path, DIGITS)
    with np.load(tmp_path / "00000_label-7.npz") as arrays:
        assert set(arrays) == {"input", "s1", "c1", "s2", "c2", "label", "index", "steps"}


def test_padding_of_branches_is_not_neurons(latencies):
    model = build_model("majority2024")
    parts = neurons(model, 28, 28)
    assert parts["input"] == [(slice(0, 6), slice(0, 28), slice(0, 28))]
    assert parts["c2"] == [(slice(0, 250), slice(0, 4), slice(0, 4))]
    # 4×4 inputs, padding 2: kernels 3, 5, 7 leave 6×6, 4×4 and 2×2 neurons, in the middle of 6×6
    assert parts["s3"] == [
        (slice(0, 200), slice(0, 6), slice(0, 6)),
        (slice(200, 400), slice(1, 5), slice(1, 5)),
        (slice(400, 600), slice(2, 4), slice(2, 4)),
    ]
    maps = dict(model.walk(latencies[:1]))["s3"][0]
    assert all((maps[part] < 15).all() for part in parts["s3"])  # every neuron fires, the padding does not
    assert (maps < 15).sum() == 200 * (36 + 16 + 4)


def test_pooling_over_padding():
    parts = neurons(build_model("inception2024"), 28, 28)
    # kernels 3, 5, 7 on 7×7, padding 1; windows of 3 then reach into all three
    assert [rows for _, rows, _ in parts["s3"]] == [slice(0, 7), slice(1, 6), slice(2, 5)]
    assert [rows for _, rows, _ in parts["c3"]] == [slice(0, 2), slice(0, 2), slice(0, 2)]


@pytest.mark.parametrize("steps", [1, 15, 254])
@pytest.mark.parametrize("shape", [(1, 28, 28), (110, 4, 4), (800, 1, 1)])
def test_a_picture_of_maps(shape, steps):
    maps = np.full(shape, steps, np.uint8)
    maps[0, 0, 0] = 0
    picture = np.asarray(draw_maps(maps, steps, "title").convert("RGB"))
    assert picture.shape[1] < 1200
    silent, first = ((picture == colour).all(2).sum() for colour in (SILENCE, (13, 8, 135)))
    zoom = round((silent / (maps.size - 1)) ** 0.5)
    assert silent == zoom**2 * (maps.size - 1) + 12 * 16  # and the colour bar's
    assert first >= zoom**2 + 16


def test_time_goes_from_dark_to_light():
    maps = np.arange(15, dtype=np.uint8).reshape(1, 1, 15)
    row = np.asarray(draw_maps(maps, 15, "").convert("L")).astype(int)[60]
    colours = [value for value, before in zip(row[1:], row, strict=False) if value != before]
    assert colours[:15] == sorted(colours[:15])


def test_padding_is_not_drawn():
    maps = np.full((2, 9, 9), 15, np.uint8)
    maps[1, 3:6, 3:6] = 0
    parts = [(slice(0, 1), slice(0, 9), slice(0, 9)), (slice(1, 2), slice(3, 6), slice(3, 6))]
    picture = np.asarray(draw_maps(maps, 15, "", parts).convert("RGB"))
    counts = [(picture == colour).all(2).sum() for colour in (SILENCE, (13, 8, 135))]
    bar = 12 * 16, 10 * 16
    zooms = [
        round(((count - of_bar) / neurons) ** 0.5) for count, of_bar, neurons in zip(counts, bar, (81, 9), strict=True)
    ]
    assert counts == [zoom**2 * neurons + of_bar for zoom, neurons, of_bar in zip(zooms, (81, 9), bar, strict=True)]


def test_a_picture_of_potentials():
    potentials = np.zeros((6, 2, 2), np.float32)
    potentials[4, 1, 0], potentials[1] = 8, 4
    picture = np.asarray(draw_decision({"potentials": potentials}, np.arange(6) // 2, "abc", "title").convert("RGB"))
    highest, half, lowest = (
        (picture == colour).all(2).sum() for colour in ((8, 48, 107), (223, 236, 247), (247, 251, 255))
    )
    assert highest == 20 * 20 + 16
    assert half >= 4 * 20 * 20  # (4 / 8)³ of the colours
    assert lowest >= (16 + 3) * 20 * 20
    blank = draw_decision(
        {"potentials_3x3": potentials * 0, "potentials_5x5": potentials}, np.zeros(6, int), ["<b>"], "title"
    )
    assert blank.height > 100


def test_no_images(tmp_path, latencies):
    save_activation_maps(build_model("mozafari2018"), latencies[:0], np.zeros(12, int), [], tmp_path, DIGITS)
    assert not files_in(tmp_path)


def test_a_folder_that_cannot_be_written(tmp_path, latencies):
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match=r"cannot write activation maps to .*file"):
        save_activation_maps(build_model("mozafari2018"), latencies[:1], np.zeros(12, int), [0], tmp_path / "file", "0")


def test_a_file_that_cannot_be_written(tmp_path, latencies):
    (tmp_path / "00000_label-0.npz").mkdir()
    with pytest.raises(InputError, match=r"cannot write .*00000_label-0\.npz"):
        save_activation_maps(build_model("mozafari2018"), latencies[:1], np.zeros(12, int), [0], tmp_path, DIGITS)
    assert not files_in(tmp_path)


def test_choose_images():
    labels = np.array([2, 0, 2, 0, 2, 1])
    assert choose_images(labels, 2).tolist() == [1, 3, 5, 0, 2]
    assert choose_images(torch.from_numpy(labels), 1).tolist() == [1, 5, 0]
    assert choose_images(labels, 0).tolist() == []
    drawn = choose_images(labels, 1, seed=3)
    assert labels[drawn].tolist() == [0, 1, 2]
    assert drawn.tolist() == choose_images(labels, 1, seed=3).tolist()
