"""Encoders by name: the registry, the encoders that networks declare, and a new encoder in a few lines."""

import json
import math
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
import pytest
import torch
from PIL import Image
from support.command import NO_REFERENCES, dont_draw, start, start_evaluation
from support.refusals import refuses
from support.run_folders import only_run

import evaluate
from encoders import choose_encoder, read_encoder
from encoders.intensity import Intensity
from engine.declaration import ranged, to_plain
from engine.encoder import Encoder
from network_trainer import NetworkTrainer
from s1c1 import S1C1
from training.checkpoint import load_checkpoint
from training.trained import load_network


@dataclass(frozen=True)
class Brightness(Encoder, name="brightness"):
    """A light pixel spikes early, a dark one late, a black one never, or from ``light`` on at once."""

    time_steps: int = 4
    light: int = ranged(1, 255, 255)

    channels: ClassVar[int] = 1
    fitted: ClassVar[tuple[str, ...]] = ("lightest",)

    def fit(self, images):
        return {"lightest": torch.tensor(min(self.light, images.max()))}

    def encode(self, images):
        darkness = self.state["lightest"].item() - images.astype(int)
        return (darkness.clip(0) * self.time_steps // self.state["lightest"].item()).astype(np.uint8)[:, None]


FITTED = Brightness().with_state({"lightest": torch.tensor(255)})


def test_a_declaration_has_no_state():
    """Networks share the encoder that they declare, so what is fitted belongs to a copy, and not to its fields."""
    declared = Brightness(light=200)
    fitted = declared.with_state(declared.fit(np.full((1, 2, 2), 180, np.uint8)))
    assert (fitted.state["lightest"], dict(declared.state), dict(Brightness.state)) == (180, {}, {})
    assert fitted == declared == read_encoder(to_plain(fitted))
    assert to_plain(fitted) == {"brightness": {"time_steps": 4, "light": 200}}
    assert fitted.encode(np.array([[[180, 90, 0]]], np.uint8)).tolist() == [[[[0, 2, 4]]]]
    assert not replace(fitted, light=7).state


UNSAVED = (
    np.ones(3), 0.5, [1.0], torch.tensor(math.nan), torch.tensor([1, math.inf]), torch.ones(2).to_sparse(),
    torch.ones(2, dtype=torch.bfloat16),
)  # fmt: skip


@pytest.mark.parametrize("value", UNSAVED, ids=str)
def test_what_a_checkpoint_cannot_contain_is_refused_as_fitted_state(value):
    with refuses("'lightest'"):
        Brightness().with_state({"lightest": value})


def test_a_network_names_its_encoder_and_sets_it():
    class Own(NetworkTrainer):
        encoder = Brightness(time_steps=9)

    assert choose_encoder(S1C1()) == S1C1()
    assert choose_encoder(Own.encoder) == choose_encoder(Own.encoder, "brightness") == Brightness(9)
    assert choose_encoder(Own.encoder, "brightness", {"encoder.light": 7}) == Brightness(9, 7)
    assert choose_encoder(Own.encoder, "s1c1", {"encoder.radius": 4}, 3) == S1C1(radius=4, colours=3)
    with refuses("--encoder"):
        choose_encoder(Own.encoder, colours=3)


@pytest.mark.parametrize(
    "latencies", [
        np.zeros((2, 1, 9, 9), np.int64), np.zeros((2, 9, 9), np.uint8), np.zeros((1, 1, 9, 9), np.uint8),
        torch.full((2, 1, 9, 9), 5, dtype=torch.uint8), [[0]], None,
    ],
)  # fmt: skip
def test_latencies_that_do_not_fit_are_refused(latencies):
    class Odd(Brightness):
        def encode(self, images):
            return latencies

    with refuses("Odd.encode must return uint8"):
        Odd().with_state(FITTED.state).encode(np.zeros((2, 9, 9), np.uint8))


def test_an_encoder_gets_an_array_and_returns_an_array_or_a_tensor():
    images = torch.tensor([[[255, 0, 128]]], dtype=torch.uint8)
    assert FITTED.encode(images).tolist() == FITTED.encode(images.numpy()).tolist() == [[[[0, 4, 1]]]]
    with refuses():
        FITTED.encode(images.float())
    with refuses():
        FITTED.encode(images[..., None].expand(1, 1, 3, 3))  # colour


def test_intensity():
    images = np.array([[[255, 254, 1, 0]]], np.uint8)
    assert Intensity(time_steps=10).encode(images).tolist() == [[[[0, 0, 9, 10]]]]
    colour = choose_encoder(S1C1(), "intensity", colours=3)
    assert colour.encode(np.stack([images, images // 2, images * 0], 3)).shape == (1, 3, 1, 4)


def test_a_run_with_latencies_of_another_size_than_its_images(tmp_path, monkeypatch, capsys):
    """Vertical and horizontal stripes of 40×50 pixels become maps of 12×16."""
    rng = np.random.default_rng(0)
    images = np.zeros((24, 40, 50), np.uint8)
    for number, image in enumerate(images):
        lines = image.T if number % 2 else image
        lines[rng.integers(7) :: 7] = 255
    data = tmp_path / "stripes.npz"
    np.savez(data, x_train=images[:16], y_train=np.arange(16) % 2, x_test=images[16:], y_test=np.arange(8) % 2)
    words = f"--dataset {data} --encoder gabor --set encoder.pool=3 encoder.stride=3 --device cpu --threads 1"
    dont_draw(monkeypatch)
    assert start(f"--model mozafari2018 {words} --epochs 1 1 1 --save-maps 1 {NO_REFERENCES}", tmp_path / "runs") == 0
    run = only_run(tmp_path / "runs")
    content = load_checkpoint(run / "checkpoints" / "best.safetensors")
    assert (content.image_size, content.picture_size) == ((12, 16), (40, 50))
    with np.load(next(run.glob("maps/end/*.npz"))) as maps:
        assert maps["input"].shape == (4, 12, 16)
    assert start_evaluation(f"{run}", tmp_path / "evaluations") == 0
    picture = tmp_path / "stripes.png"
    Image.fromarray(images[0]).save(picture)
    capsys.readouterr()
    assert evaluate.main([str(run), "--predict", str(picture), "--raw", "--json"]) == 0
    network = load_network(run)
    _, scores = network.classify(images)
    (predicted,) = json.loads(capsys.readouterr().out)
    np.testing.assert_allclose(list(predicted["scores"].values()), scores[0])
    with refuses("40, 50"):
        network.classify(images[:, :12, :16])
    assert network.features(images, "c1").shape[2:] == (6, 8)
