"""Activation maps on disk are what the network computes."""

import numpy as np
import pytest
import torch
from PIL import Image

from errors import InputError
from models import build_model
from report.activation_maps import choose_images, save_activation_maps


@pytest.fixture(scope="module")
def latencies():
    rng = np.random.default_rng(0)
    return torch.from_numpy(rng.integers(0, 60, (12, 6, 28, 28)).clip(max=15).astype(np.uint8))


def test_files(tmp_path, latencies):
    model = build_model("mozafari2018")
    labels = np.arange(12) % 10
    names = ("T-shirt/top", "../b", *"cdefghij")
    save_activation_maps(model, latencies[[3, 10]], labels, [3, 10], tmp_path / "maps", names)
    files = {str(path.relative_to(tmp_path / "maps")) for path in tmp_path.rglob("*") if path.is_file()}
    images = ("00003_label-d", "00010_label-T-shirt-top")
    assert files == {f"{i}.npz" for i in images} | {f"{stage}/{i}.png" for stage in model.stages for i in images}
    for image, index in zip(images, (3, 10), strict=True):
        with np.load(tmp_path / "maps" / f"{image}.npz") as arrays:
            assert set(arrays) == {*model.stages, "label", "index", "steps"}
            assert (arrays["label"], arrays["index"], arrays["steps"]) == (labels[index], index, 15)
            for stage, maps in model.walk(latencies[index : index + 1]):
                assert arrays[stage].dtype == np.uint8
                assert np.array_equal(arrays[stage], maps[0].numpy())
    with Image.open(tmp_path / "maps" / "s1" / "00003_label-d.png") as picture:
        assert len(picture.convert("RGB").getcolors(1 << 20)) > 10


def test_no_images(tmp_path, latencies):
    save_activation_maps(build_model("mozafari2018"), latencies[:0], np.zeros(12, int), [], tmp_path, "0123456789")
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def test_a_folder_that_cannot_be_written(tmp_path, latencies):
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match=r"cannot write activation maps to .*file"):
        save_activation_maps(build_model("mozafari2018"), latencies[:1], np.zeros(12, int), [0], tmp_path / "file", "0")


def test_a_file_that_cannot_be_written(tmp_path, latencies):
    (tmp_path / "00000_label-0.npz").mkdir()
    with pytest.raises(InputError, match=r"cannot write .*00000_label-0\.npz"):
        save_activation_maps(build_model("mozafari2018"), latencies[:1], np.zeros(12, int), [0], tmp_path, "0")
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def test_choose_images():
    labels = np.array([2, 0, 2, 0, 2, 1])
    assert choose_images(labels, 2).tolist() == [1, 3, 5, 0, 2]
    assert choose_images(torch.from_numpy(labels), 1).tolist() == [1, 5, 0]
    assert choose_images(labels, 0).tolist() == []
    drawn = choose_images(labels, 1, seed=3)
    assert labels[drawn].tolist() == [0, 1, 2]
    assert drawn.tolist() == choose_images(labels, 1, seed=3).tolist()
