"""Features that count fire as those whose weights are added: equal to the bit, also at the border of what is proven."""

from unittest import mock

import numpy as np
import pytest
import torch
from support.layers import make_layer

from engine.event import backend
from engine.event.counting import find_counts

FLOAT = {"eps": 2.0**-23, "dtype": np.float32}
DOUBLE = {"eps": 2.0**-52, "dtype": np.float64}
both_kinds = pytest.mark.parametrize("kind", [FLOAT, DOUBLE], ids=["float32", "float64"])


def fire(weight, latency, threshold, pool, padding=1):
    layer = make_layer("event", torch.from_numpy(weight), 15, padding, threshold)
    return layer.fire(torch.from_numpy(latency), pool).numpy()


def draw_weight(rng, features, dtype, eps):
    """Ones and zeros (F, 4, 3, 3); each feature is exact, a little off, at a border of the proof, or not converged."""
    weight = (rng.random((features, 4, 3, 3)) < 0.5).astype(np.float64)
    kinds = rng.integers(0, 6, (features, 1, 1, 1))
    one = weight == 1
    size = rng.choice([0.25, 0.5, 1, 2, 1000]) * eps / 36
    weight = np.where((kinds == 1) & ~one, 2 * size * rng.random(weight.shape), weight)
    weight = np.where((kinds == 2) & one, 1 - rng.choice([1e-6, 0.04, 0.1]) * rng.random(weight.shape), weight)
    weight = np.where((kinds == 3) & one, 1 - rng.integers(0, 3, weight.shape) * eps, weight)
    weight = np.where((kinds == 3) & ~one, rng.integers(0, 2, weight.shape) * size, weight)
    weight = np.where(kinds == 4, rng.random(weight.shape), weight)
    return weight.astype(dtype)


def add_all(weight, *_):
    """Replace ``find_counts``: no feature counts."""
    return np.zeros(len(weight), np.int64)


@both_kinds
def test_counts_fire_as_sums(kind):
    """Maps of random density; whole thresholds, which counts reach exactly, and others."""
    rng = np.random.default_rng(0)
    for trial in range(120):
        features = int(rng.choice([1, 30, 65, 130]))
        weight = draw_weight(rng, features, **kind)
        latency = rng.integers(0, rng.choice([16, 30, 90]), (2, 4, 9, 8), np.uint8).clip(0, 15)
        threshold = float(rng.choice([0.0, 0.5, 1, 2, 5, 10, 15, 7.25, 10 - 1e-5, 10 + 1e-5]))
        pool = int(rng.choice([1, 2, 3]))
        found = fire(weight, latency, threshold, pool)
        with mock.patch.object(backend, "find_counts", add_all):
            expected = fire(weight, latency, threshold, pool)
        np.testing.assert_array_equal(found, expected, str(trial))


@pytest.mark.parametrize("threshold", [254, 254.5, 255, 260])
def test_counts_end_at_255(threshold):
    """At 255 strong inputs, all that a byte can count, a feature fires with a threshold of 254, but not of 255."""
    weight = np.ones((70, 300, 1, 1), np.float32)
    weight[1:, 255:] = 0
    latency = np.zeros((1, 300, 1, 1), np.uint8)
    found = fire(weight, latency, threshold, 1, padding=0)
    assert found[0, 0] == 0
    assert (found[0, 1:] == (0 if threshold < 255 else 15)).all()
    assert find_counts(weight, threshold).tolist() == [255 if threshold < 255 else 0] * 70


@both_kinds
def test_which_features_count(kind):
    """Four synapses and a threshold of 2, which three ones exceed and two do not, unless something adds to them."""
    half_distance = kind["eps"] / 2
    rows = {
        (1, 1, 1, 0): 3,
        (1, 1, 1, half_distance / 2): 3,
        (1, 1, 1, half_distance * 1.01): 0,  # 1 + this is more than 1
        (0.7, 0.7, 0.7, 0): 3,
        (0.66, 0.66, 0.66, 0): 0,  # three of them are below 2
        (1, 1, 1, -(2.0**-80)): 0,
        (1 + kind["eps"], 1, 1, 0): 0,  # two of them are above 2
        (1, 1, 0.5, 0): 0,
        (np.nan, 1, 1, 0): 0,
        (0, 0, 0, 0): 3,
    }
    weight = np.array(list(rows), kind["dtype"]).reshape(len(rows), 4, 1, 1)
    assert find_counts(weight, 2.0).tolist() == list(rows.values())
    for threshold, count in ((2.5, 3), (0.5, 1), (0.0, 0), (-1.0, 0), (np.inf, 0)):
        assert find_counts(weight[:1], threshold).tolist() == [count]
