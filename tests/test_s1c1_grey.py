"""The encoder of S1C1 and grey levels."""

import numpy as np
import pytest
import torch
from support.refusals import refuses

from encoders import build_encoder
from s1c1 import S1C1

T = 4
# eight pixels that are not black: the lighter four spike as light, the darker four as dark
IMAGE = np.array([[0, 10, 20, 30], [0, 40, 200, 210], [0, 0, 220, 250]], np.uint8)
LIGHT = [[4, 4, 4, 4], [4, 4, 3, 2], [4, 4, 1, 0]]
DARK = [[4, 1, 2, 3], [4, 4, 4, 4], [4, 4, 4, 4]]


@pytest.fixture
def encoder():
    encoder = build_encoder({"name": "s1c1_grey", "threshold": 20, "time_steps": T})
    encoder.fit(IMAGE[None])
    return encoder


def test_grey_levels_are_ranks_among_the_training_images(encoder):
    latencies = encoder.encode(np.stack([IMAGE, IMAGE.T[:3].repeat(2, 1)[:, :4]]))
    assert latencies.shape == (2, encoder.channels, *IMAGE.shape)
    assert latencies[0, -2].tolist() == LIGHT
    assert latencies[0, -1].tolist() == DARK


def test_the_other_channels_are_those_of_s1c1(encoder):
    images = np.random.default_rng(0).integers(0, 256, (3, 12, 10), np.uint8)
    expected = S1C1(threshold=20, time_steps=T)
    assert torch.equal(encoder.encode(images)[:, :-2], expected.encode(images))
    assert encoder.polarity[:-2] == expected.polarity


def test_each_bin_has_as_many_pixels():
    images = np.arange(256, dtype=np.uint8).reshape(1, 16, 16)
    encoder = build_encoder({"name": "s1c1_grey", "time_steps": 15})
    encoder.fit(images)
    light, dark = (np.bincount(part.ravel(), minlength=16)[:15] for part in encoder.encode(images)[0, -2:].numpy())
    assert light.sum() + dark.sum() == pytest.approx(255, abs=1)
    assert set(light) | set(dark) <= {8, 9}


def test_what_is_refused(encoder):
    with refuses("--encoder"):
        encoder.fit(np.zeros((2, 5, 5), np.uint8))
    with refuses():
        encoder.load_state({"latencies": torch.zeros(2, 100, dtype=torch.uint8)[:, :0]})
    with refuses():
        encoder.load_state({"latencies": torch.full((2, 256), T + 1, dtype=torch.uint8)})
    with refuses():
        encoder.encode(np.zeros((1, 5, 5, 3), np.uint8))
