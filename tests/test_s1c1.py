"""S1C1 against the original's golden encodings and a slow, simple implementation in torch."""

import json
import pickle

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from support.draws import draw_pixels
from support.golden_traces import GOLDEN
from support.refusals import refuses

from encoders import read_encoder
from engine.declaration import to_plain
from imagesets import load
from s1c1 import S1C1
from SpykeTorch.functional import wave_to_latency
from SpykeTorch.utils import DoGKernel, Filter, Intensity2Latency

TWO_FILTERS = {"filters": [(5, 2.0, 1.0), (3, 0.5, 1.0)], "time_steps": 7}


@pytest.fixture(scope="module")
def digits():
    return load("mnist").test_images[:15]


def bin_by_rank(intensities, time_steps):
    """Intensities (C, H, W) → latencies: all non-zero ones ranked together, equal ones by position."""
    order = torch.sort(intensities.flatten(), descending=True, stable=True).indices
    n = int((intensities > 0).sum())
    per_bin = max(1, n // time_steps)
    latency = torch.full((intensities.numel(),), time_steps, dtype=torch.uint8)
    for t in range(min(time_steps, n)):
        latency[order[t * per_bin : (t + 1) * per_bin]] = t
    return latency.view(intensities.shape)


def exact_reference(encoder, image):
    """The encoder's integer arithmetic by dense convolutions, which are exact too, so that every bit is the same."""
    maps = []
    mode = {"black": "constant", "edge": "replicate"}[encoder.border]
    for plane in torch.from_numpy(image).double().view(*image.shape[:2], -1).unbind(-1):
        for kernel, window, thresholds, factor in zip(*encoder.integer_filters, strict=True):
            weight = torch.from_numpy(kernel[:window, :window].copy())[None, None]
            for sign, threshold in zip((1, -1), thresholds, strict=True):
                padded = F.pad(plane[None, None], [int(window) // 2] * 4, mode=mode)
                response = F.conv2d(padded, sign * weight)
                scale = factor if sign < 0 else 1
                maps.append(torch.where(response < threshold, 0.0, response) * scale)
    maps = torch.cat(maps, 1).transpose(0, 1)
    if not encoder.radius:
        return bin_by_rank(maps[:, 0], encoder.time_steps)
    side = 2 * encoder.radius + 1
    square = torch.ones(1, 1, side, side, dtype=torch.float64)
    relative = maps / F.conv2d(maps, square, padding=encoder.radius)
    if encoder.border == "edge":
        relative *= F.conv2d(torch.ones_like(maps), square, padding=encoder.radius)
    return bin_by_rank(torch.where(maps > 0, relative, 0.0)[:, 0], encoder.time_steps)


@pytest.mark.other_numba
def test_reproduces_every_golden_encoding_of_the_original():
    latencies = S1C1().encode(load("mnist").train_images[GOLDEN["index"]])
    assert latencies.dtype == torch.uint8
    np.testing.assert_array_equal(latencies.numpy(), GOLDEN["encoding"])


@pytest.mark.parametrize(
    ("shape", "parameters"),
    [
        *(
            ((28, 28), parameters)
            for parameters in ({"time_steps": 1}, {"time_steps": 255}, {"radius": 40}, TWO_FILTERS)
        ),
        *(((28, 28), {"radius": 0, **more}) for more in ({"threshold": 0}, {"border": "edge"}, TWO_FILTERS)),
        *((shape, {}) for shape in ((28, 28), (56, 56), (8, 8), (9, 33), (1, 1))),
        *(((9, 33), {"colours": 3, **parameters}) for parameters in ({}, TWO_FILTERS)),
        *((shape, {"border": "edge"}) for shape in ((28, 28), (5, 9), (1, 1))),
        ((9, 33), {"colours": 3, "border": "edge", **TWO_FILTERS}),
    ],
)
def test_every_size_and_parameter_equals_the_exact_twin(shape, parameters, digits):
    """For dense noise, uniform patches and digits, or pieces of one."""
    encoder = S1C1(**parameters)
    colours = (3,) * (encoder.colours == 3)
    digit = np.resize(digits[0], (*shape, *colours))
    images = np.stack([*draw_pixels(2, *shape, *colours), np.full_like(digit, 200), digit])
    latencies = encoder.encode(images)
    assert latencies.shape == (4, encoder.channels, *shape)
    assert encoder.channels == 2 * len(encoder.filters) * encoder.colours
    assert torch.equal(latencies, torch.stack([exact_reference(encoder, image) for image in images]))


def test_without_a_normalisation_the_latencies_are_those_of_filter_and_intensity2latency(digits):
    """But for intensities that are equal up to rounding: in each time step, the intensities are the same."""
    encoder = S1C1(radius=0, time_steps=30)
    kernels = []
    for window, sigma1, sigma2 in encoder.filters:
        kernels += [DoGKernel(window, sigma1, sigma2)().double(), DoGKernel(window, sigma2, sigma1)().double()]
    apply_filters = Filter(kernels, padding=6, thresholds=encoder.threshold)
    for image, latency in zip(digits, encoder.encode(digits), strict=True):
        intensities = apply_filters(torch.from_numpy(image).double()[None, None])
        expected = wave_to_latency(Intensity2Latency(30, to_spike=True)(intensities))
        assert len(latency.unique()) == 31
        assert (latency == expected).double().mean() > 0.99
        for step in range(31):
            pair = [intensities[0][each == step].sort().values for each in (latency, expected)]
            torch.testing.assert_close(*pair, rtol=1e-6, atol=0)


def test_a_light_ground_is_an_edge_only_beside_black():
    """On grey with a dark square, all spikes are near the square if the outermost pixels continue outside."""
    image = np.full((1, 28, 28), 180, np.uint8)
    image[0, 11:17, 11:17] = 20
    spikes = {border: (S1C1(border=border).encode(image)[0] < 15).any(0) for border in ("black", "edge")}
    frame = torch.ones(28, 28, dtype=bool)
    frame[2:-2, 2:-2] = False
    assert spikes["black"][frame].all()
    assert not spikes["edge"][frame].any()
    assert spikes["edge"][10:18, 10:18].sum() > 20
    assert (S1C1(border="edge").encode(np.full((1, 9, 9), 180, np.uint8)) == 15).all()
    with refuses("border"):
        S1C1(border="white")


def test_blank_images_are_silent():
    assert (S1C1().encode(np.zeros((2, 28, 28), np.uint8)) == 15).all()
    assert S1C1()(np.zeros((28, 28), np.uint8)).sum() == 0
    assert S1C1().encode(np.zeros((0, 28, 28), np.uint8)).shape == (0, 6, 28, 28)


def test_a_single_bright_pixel_by_hand():
    """With one filter of window 3, only the pixel has an on-centre response. Off-centre, where the filter is 1.0 on its
    edges and 0.6 in its corners, the eight neighbours have one.

    The pixel is alone in its map, so its normalised intensity is 1 and it is first; the neighbours share a sum. There
    are nine intensities and 15 bins, so each has a separate bin, equal ones by position.
    """
    image = np.zeros((1, 9, 9), np.uint8)
    image[0, 4, 4] = 255
    latency = S1C1(filters=[(3, 3 / 9, 6 / 9)]).encode(image)[0]
    expected = torch.full((2, 9, 9), 15)
    expected[0, 4, 4] = 0
    edges, corners = [(3, 4), (4, 3), (4, 5), (5, 4)], [(3, 3), (3, 5), (5, 3), (5, 5)]
    for t, position in enumerate(edges + corners, start=1):
        expected[1][position] = t
    assert torch.equal(latency.int(), expected.int())


def test_a_response_on_the_threshold_counts():
    """A pixel of 200 has one on-centre response and, off-centre, those of its four edges; just above them is none."""
    image = np.zeros((1, 9, 9), np.uint8)
    image[0, 4, 4] = 200
    encoder = S1C1(filters=[(3, 3 / 9, 6 / 9)])
    kernels, _, thresholds, _ = encoder.integer_filters
    exact = 200 * np.array([kernels[0, 1, 1], -kernels[0, 0, 1]])
    for values, spikes in ((exact, [1, 4]), (np.nextafter(exact, np.inf), [0, 0])):
        thresholds[0] = values
        assert (encoder.encode(image)[0] < 15).sum((1, 2)).tolist() == spikes


@pytest.mark.parametrize("colours", [1, 3])
def test_a_call_returns_the_wave_of_encode_for_every_kind_of_input(colours):
    encoder, image = S1C1(colours=colours), draw_pixels(9, 12, *(3,) * (colours == 3))
    latency = encoder.encode(image[None])[0]
    expected = (latency[None] <= torch.arange(15).view(15, 1, 1, 1)).to(torch.uint8)
    tensor = torch.from_numpy(image)
    kinds = [image, tensor, tensor.transpose(0, 1).contiguous().transpose(0, 1), Image.fromarray(image)]
    for kind in [*kinds, image[None], tensor[None]] if colours == 1 else kinds:
        wave = encoder(kind)
        assert wave.dtype == torch.uint8
        assert torch.equal(wave, expected)


def test_it_leaves_its_input_alone_and_reads_any_layout_whatever_the_default_type(digits):
    images = torch.from_numpy(digits[:4].copy())
    before = images.clone()
    latencies = S1C1().encode(images)
    assert torch.equal(images, before)
    assert torch.equal(S1C1().encode(images.flip(0)), latencies.flip(0))
    assert torch.equal(S1C1().encode(images.permute(1, 2, 0).contiguous().permute(2, 0, 1)), latencies)
    torch.set_default_dtype(torch.float64)
    try:
        assert torch.equal(S1C1().encode(images), latencies)
    finally:
        torch.set_default_dtype(torch.float32)


@pytest.mark.parametrize("colours", [1, 3])
def test_a_record_survives_json_and_rebuilds_the_encoder(colours):
    declared = S1C1([[3, 1, 2], (7, 1.5, 3)], time_steps=np.int64(10), colours=colours)
    encoder = read_encoder(json.loads(json.dumps(to_plain(declared))))
    assert encoder == declared != S1C1(colours=colours)
    assert (encoder.time_steps, encoder.channels) == (10, 4 * colours)
    again = pickle.loads(pickle.dumps(encoder))  # as DataLoader workers may need it
    images = draw_pixels(2, 9, 9, *(3,) * (colours == 3))
    assert torch.equal(again.encode(images), encoder.encode(images))
