"""The Gabor encoder: its operations step by step, and maps of another size than the images."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from support.draws import draw_pixels
from support.refusals import refuses

from encoders.gabor import Gabor
from SpykeTorch.utils import LateralIntencityInhibition

TRACE = np.load(Path(__file__).parent.parent / "golden" / "shallow_trace.npz")


def encode_slowly(encoder, image):
    """Encode an image (H, W) pixel by pixel, in float64."""
    half = encoder.window // 2
    rows, columns = (side - 2 * half for side in image.shape)
    wavelength = encoder.window / 2
    maps = np.zeros((encoder.channels, rows, columns))
    grid = np.arange(-half, half + 1)
    for responses, angle in zip(maps, np.radians(encoder.orientations), strict=True):
        along = grid[None, :] * np.sin(angle) + grid[:, None] * np.cos(angle)
        across = grid[None, :] * np.cos(angle) - grid[:, None] * np.sin(angle)
        wave = np.exp(-(along**2 + 0.09 * across**2) / (2 * (0.8 * wavelength) ** 2))
        kernel = wave * np.cos(2 * math.pi * along / wavelength)
        kernel -= kernel.mean()
        for y, x in np.ndindex(rows, columns):
            part = image[y : y + encoder.window, x : x + encoder.window] / 255
            responses[y, x] = abs((part * kernel).sum() / kernel.max())
    height, width = encoder.shape(*image.shape)
    pooled = np.empty((encoder.channels, height, width))
    for y, x in np.ndindex(height, width):
        top, left = (side * encoder.stride - encoder.pool // 2 for side in (y, x))
        window = maps[:, max(top, 0) : top + encoder.pool, max(left, 0) : left + encoder.pool]
        pooled[:, y, x] = window.max((1, 2))
    inhibited = pooled.copy()
    reach = len(encoder.inhibition)
    padded = np.pad(pooled, ((0, 0), (reach, reach), (reach, reach)))
    for c, y, x in np.ndindex(pooled.shape):
        for dy, dx in np.ndindex(2 * reach + 1, 2 * reach + 1):
            distance = max(abs(dy - reach), abs(dx - reach))
            if distance and padded[c, y + dy, x + dx] < pooled[c, y, x]:
                inhibited[c, y, x] += pooled[c, y, x] * encoder.inhibition[distance - 1]
    order = np.argsort(-inhibited, axis=None, kind="stable")
    latency = np.full(inhibited.size, encoder.time_steps)
    spikes = order[inhibited.flat[order] > 0]
    latency[spikes] = np.minimum(np.arange(len(spikes)) // (len(spikes) // encoder.time_steps), encoder.time_steps)
    latency = latency.reshape(inhibited.shape)
    strongest = np.arange(encoder.channels)[:, None, None] == inhibited.argmax(0)
    return np.where(strongest, latency, encoder.time_steps)


@pytest.mark.parametrize(
    "encoder", [
        Gabor(), Gabor(window=3, orientations=(0, 60), pool=2, stride=3, inhibition=(0.3,), time_steps=4),
        Gabor(pool=1, stride=1, inhibition=()),
    ],
)  # fmt: skip
def test_an_image_is_encoded_as_pixel_by_pixel(encoder):
    images = draw_pixels(2, 31, 40, seed=1)
    expected = [encode_slowly(encoder, image) for image in images]
    np.testing.assert_array_equal(encoder.encode(images), expected)


def test_maps_of_the_original():
    """Its ranks of equal intensities differ in few values, by one step."""
    inhibit = LateralIntencityInhibition(Gabor().inhibition)
    for number in (0, 1):
        pooled = torch.from_numpy(TRACE[f"image{number}/pooled"])[None]
        np.testing.assert_allclose(inhibit(pooled)[0], TRACE[f"image{number}/inhibited"], atol=1e-5)
    assert Gabor().shape(160, 160) == TRACE["encoding"].shape[2:]


def test_sizes():
    assert [Gabor().shape(side, side + 6) for side in (5, 11, 160)] == [(1, 2), (2, 3), (26, 27)]
    assert Gabor(pool=5, stride=4).shape(128, 128) == (31, 31)
    assert (Gabor(pool=4, stride=1).encode(np.zeros((1, 5, 5), np.uint8)) == 15).all()
    with refuses("5×5"):
        Gabor().encode(np.zeros((1, 4, 90), np.uint8))
