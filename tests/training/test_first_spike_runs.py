"""A run whose network decides by its first spike, and everything that reads it."""

import numpy as np
import pytest
from support.command import results, run_train
from support.refusals import assert_refuses, refuses
from support.run_folders import assert_read_alike

import train
from models import build_model
from report.exports.nir import write_nir

SMALL = "s2.kernel=3 s2.threshold=3 encoder.pool=3 encoder.stride=3"


@pytest.fixture(scope="module")
def stripes(tmp_path_factory):
    """A file of horizontal and vertical stripes of 40×40 pixels."""
    rng = np.random.default_rng(0)
    images = np.zeros((48, 40, 40), np.uint8)
    for number, image in enumerate(images):
        lines = image.T if number % 2 else image
        lines[rng.integers(7) :: 7] = rng.integers(100, 256)
    path = tmp_path_factory.mktemp("data") / "stripes.npz"
    np.savez(path, x_train=images[:32], y_train=np.arange(32) % 2, x_test=images[32:], y_test=np.arange(16) % 2)
    return path


def test_a_run(stripes, tmp_path, undrawn):
    words = f"--model mozafari2018_shallow --dataset {stripes} --device cpu --threads 1 --epochs 8 --save-maps 1"
    run = run_train(f"{words} --set {SMALL}", tmp_path / "runs")
    found = results(run)
    assert found["operations"]["s2"]["spikes"] > 0
    with np.load(next(run.glob("maps/end/*.npz"))) as maps:
        assert sorted(maps.files) == ["decision", "index", "input", "label", "s2", "steps"]
        first = maps["s2"].reshape(2, -1).min(1)
        assert maps["decision"] in np.flatnonzero(first == first.min())
    assert len(list(run.glob("maps/end/s2/*.png"))) == 2
    assert '"decides": true' not in (run / "index.html").read_text()

    with np.load(stripes) as data:
        classes, scores = assert_read_alike(run, tmp_path, data["x_test"], data["y_test"])
    assert (scores.argmax(1) == classes).all()
    assert scores.min() >= 0
    assert scores.max() < 16


def test_what_cannot_be_represented(stripes, tmp_path):
    network = build_model("mozafari2018_shallow")
    pytest.importorskip("nir")
    with refuses("s2 of mozafari2018_shallow"):
        write_nir(tmp_path / "network.nir", network, tuple("0123456789"))
    words = f"--model mozafari2018_shallow --dataset {stripes} --set {SMALL} --output {tmp_path}"
    assert_refuses(train.main, f"{words} --augment copies=2 shift=1", "--augment")
    assert_refuses(train.main, f"{words} s2.rule=margin", "s2")
    assert_refuses(train.main, words.replace("s2.kernel=3", "s2.kernel=30"), "kernel")
