"""The whitening encoder: its filters, its exact responses, and runs that contain what it has fitted."""

import numpy as np
import pytest
import torch
from support.command import NO_REFERENCES, run_train
from support.refusals import refuses
from support.run_folders import assert_read_alike

from encoders.whitening import Whitening
from training.checkpoint import load_checkpoint
from training.trained import load_network

PIXELS = 8
PATCH = 3


def draw_images(count=300, colours=3, seed=0):
    """Draw smooth images whose colours are alike: uint8 (N, 8, 8, 3), or (N, 8, 8) without colours."""
    rng = np.random.default_rng(seed)
    grey = rng.normal(0, 30, (count, PIXELS + 2, PIXELS + 2, 1))
    smooth = sum(grey[:, i : i + PIXELS, j : j + PIXELS] for i in range(3) for j in range(3)) / 2
    colourful = smooth + rng.normal(0, 8, (count, PIXELS, PIXELS, colours)) + 128
    images = colourful.clip(0, 255).astype(np.uint8)
    return images if colours == 3 else images[..., 0]


def fit(images, **parameters):
    colours = 3 if images.ndim == 4 else 1
    encoder = Whitening(**{"patch": PATCH, "colours": colours, **parameters})
    return encoder.with_state(encoder.fit(images))


def respond(encoder, image):
    """Compute the responses (colours, H, W) to an image, one by one, in integers."""
    pixels = image.reshape(PIXELS, PIXELS, -1).astype(int) - encoder.state["mean"].numpy().astype(int)
    padded = np.pad(pixels, ((1, 1), (1, 1), (0, 0)), mode="edge")
    filters = encoder.state["filters"].numpy().astype(int)
    result = np.zeros((encoder.colours, PIXELS, PIXELS), int)
    for colour, y, x in np.ndindex(result.shape):
        window = padded[y : y + PATCH, x : x + PATCH].transpose(2, 0, 1)
        result[colour, y, x] = (filters[colour] * window).sum()
    return result


@pytest.mark.parametrize("colours", [1, 3])
def test_latencies_are_ranks_of_exact_responses(colours):
    images = draw_images(colours=colours)
    encoder = fit(images, time_steps=5)
    borders = encoder.state["borders"].numpy()[::-1]
    latencies = encoder.encode(images[:6])
    for image, latency in zip(images[:6], latencies.numpy(), strict=True):
        responses = respond(encoder, image)
        assert abs(responses).max() < 2**24
        for colour, response in enumerate(responses):
            for sign, channel in ((1, 2 * colour), (-1, 2 * colour + 1)):
                expected = (sign * response[None] < borders[:, None, None]).sum(0)
                np.testing.assert_array_equal(latency[channel], expected)


def test_responses_are_uncorrelated_and_pixels_are_not():
    images = draw_images(3000)
    encoder = fit(images, epsilon=1e-4)
    whitened = np.array([respond(encoder, image)[:, 1:-1, 1:-1] for image in images[:400]])
    pairs = {
        "colours": (whitened[:, 0], whitened[:, 1]),
        "neighbours": (whitened[:, 0, :, :-1], whitened[:, 0, :, 1:]),
        "lines": (whitened[:, 2, :-1], whitened[:, 2, 1:]),
    }
    for name, (a, b) in pairs.items():
        assert abs(np.corrcoef(a.ravel(), b.ravel())[0, 1]) < 0.1, name
    assert np.corrcoef(images[..., 0].ravel(), images[..., 1].ravel())[0, 1] > 0.8
    alone = fit(images, epsilon=1e4).state["filters"][0]  # far above all variances: nothing is whitened
    assert alone.abs().sum() < 1.001 * alone.max()


def test_the_requested_fraction_spikes_in_equal_parts():
    images = draw_images(2000)
    encoder = fit(images, spiking=0.4, time_steps=8)
    latencies = encoder.encode(images)
    counts = np.bincount(latencies.numpy().ravel(), minlength=9)
    positive = latencies.numel() / 2
    np.testing.assert_allclose(counts[:8] / positive, 0.4 / 8, rtol=0.02)


def test_the_number_of_threads_changes_nothing():
    images = draw_images()
    states = []
    for threads in (1, 2):
        torch.set_num_threads(threads)
        states.append(fit(images).state)
    for name, tensor in states[0].items():
        assert torch.equal(tensor, states[1][name])


def test_a_state_that_does_not_fit_is_refused():
    state = dict(fit(draw_images(colours=1)).state)
    declared = Whitening(patch=PATCH)
    declared.with_state(state)
    state.pop("mean")
    for wrong in (state, None):
        with refuses("mean"):
            declared.with_state(wrong)
    with refuses("fit"):
        declared.encode(draw_images(colours=1))  # only its copies have been fitted


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """A file of 8×8 images of two classes, dark and light at the top."""
    images = draw_images(400)
    labels = np.arange(400) % 2
    images[labels == 1, :4] //= 2
    path = tmp_path_factory.mktemp("data") / "two.npz"
    np.savez(path, x_train=images[:300], y_train=labels[:300], x_test=images[300:], y_test=labels[300:])
    return path


FLAGS = (
    f"--model mozafari2018 --encoder whitening --epochs 1 1 1 --no-figures {NO_REFERENCES} --name run "
    "--set encoder.patch=3 s1.kernel=3 s1.padding=1 s1.threshold=4 c2.size=2 c2.padding=0 "
    "s2.kernel=1 s2.padding=0 s2.threshold=2 s3.kernel=1 s3.padding=0"
)


@pytest.fixture(scope="module")
def run(data, tmp_path_factory):
    return run_train(f"{FLAGS} --dataset {data}", tmp_path_factory.mktemp("runs"))


def test_the_state_dict_of_a_module_contains_the_fitted_encoder(data, run):
    images = np.load(data)["x_test"]
    module = load_network(run).module("c2")
    network = load_network(run)
    for tensor in network.encoder.state.values():
        tensor.zero_()
    other = network.module("c2")
    assert not torch.equal(other(images), module(images))
    other.load_state_dict(module.state_dict())
    assert torch.equal(other(images), module(images))


def test_a_run_contains_the_fitted_encoder(data, run, tmp_path):
    network = load_network(run)
    content = np.load(data)
    assert network.encoder.state.keys() == {"filters", "mean", "borders"}
    assert_read_alike(run, tmp_path, content["x_test"], content["y_test"])


def test_weights_are_taken_with_the_encoder_that_they_learned_from(data, run, tmp_path):
    taken = run_train(f"{FLAGS} --dataset {data} --seed 1 --init-from {run}", tmp_path)
    before = load_checkpoint(run / "checkpoints" / "last.safetensors").encoder_state
    for name, tensor in load_checkpoint(taken / "checkpoints" / "last.safetensors").encoder_state.items():
        assert torch.equal(tensor, before[name])
