"""Encoders by name: the registry, the encoders that networks declare, and a new encoder in a few lines."""

import numpy as np
import pytest
import torch
from support.refusals import refuses

from encoders import ENCODERS, build_encoder, choose_encoder, get_encoder_config
from network_trainer import NetworkTrainer
from s1c1 import S1C1, Encoder


class Brightness(Encoder, name="brightness"):
    """A light pixel spikes early, a dark one late, a black one never. ``steps``: how many times there are."""

    channels = 1

    def __init__(self, steps=4):
        self.steps = self.time_steps = steps

    def encode(self, images):
        return ((255 - images.astype(int)) * self.time_steps // 255).astype(np.uint8)[:, None]


def test_there_and_back():
    for config in ({}, {"name": "s1c1"}, {"name": "s1c1", "threshold": 30.0, "time_steps": 7}):
        encoder = build_encoder(config)
        assert isinstance(encoder, S1C1)
        assert (encoder.threshold, encoder.time_steps) == (config.get("threshold", 50.0), config.get("time_steps", 15))
        assert get_encoder_config(encoder) == {"name": "s1c1", **encoder.config()}
        assert get_encoder_config(build_encoder(get_encoder_config(encoder))) == get_encoder_config(encoder)
    assert (encoder.polarity, encoder.scales) == ((1, -1, 1, -1, 1, -1), ("3×3", "7×7", "13×13"))
    assert get_encoder_config(build_encoder({"name": "brightness", "steps": 9})) == {"name": "brightness", "steps": 9}


def test_a_network_names_its_encoder_and_sets_it():
    class Own(NetworkTrainer):
        encoder = {"name": "brightness", "steps": 9}  # noqa: RUF012

    assert isinstance(choose_encoder({}), S1C1)
    assert choose_encoder(Own.encoder).time_steps == choose_encoder(Own.encoder, "brightness").time_steps == 9
    assert choose_encoder(Own.encoder, "brightness", {"steps": 7}).time_steps == 7
    assert get_encoder_config(choose_encoder(Own.encoder, "s1c1", {"radius": 4}, 3)) == get_encoder_config(
        S1C1(radius=4, colours=3)
    )
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

    with refuses("--encoder"):
        Odd().encode(np.zeros((2, 9, 9), np.uint8))


def test_an_encoder_gets_an_array_and_returns_an_array_or_a_tensor():
    images = torch.tensor([[[255, 0, 128]]], dtype=torch.uint8)
    assert Brightness().encode(images).tolist() == Brightness().encode(images.numpy()).tolist() == [[[[0, 4, 1]]]]
    with refuses():
        Brightness().encode(images.float())
    with refuses():
        Brightness().encode(images[..., None].expand(1, 1, 3, 3))  # colour


def test_intensity():
    images = np.array([[[255, 254, 1, 0]]], np.uint8)
    assert build_encoder({"name": "intensity", "time_steps": 10}).encode(images).tolist() == [[[[0, 0, 9, 10]]]]
    colour = choose_encoder({}, "intensity", colours=3)
    assert colour.encode(np.stack([images, images // 2, images * 0], 3)).shape == (1, 3, 1, 4)


def test_an_encoder_without_its_attributes_is_refused():
    class Bare(Encoder, name="bare"):
        def __init__(self, size=3):
            self.channels = self.time_steps = 1

    with refuses("--encoder"):
        build_encoder({"name": "bare"})
    assert ENCODERS.pop("bare") is Bare
