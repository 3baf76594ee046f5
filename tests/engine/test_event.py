"""Both backends against a slow, obvious reference, on digits and random maps, and numbers by hand."""

from dataclasses import replace
from types import SimpleNamespace
from unittest import mock

import numpy as np
import pytest
import support.layers
import torch
from hypothesis import assume, example, given
from hypothesis import strategies as st
from support import reference
from support.draws import draw_maps
from support.golden_traces import GOLDEN
from support.layers import learn_features, make_layer, set_rule
from support.reference import layers, random_maps, thresholds
from support.tiers import slow_except

from engine.decision import deciding_features
from engine.declaration import MAX_VALUE
from engine.event.deciding import LARGE_CHUNK
from engine.event.potentials import DENSE_ROWS
from engine.event.screening import can_screen
from engine.rules import RSTDP, STDP, MarginRule

DIGITS = GOLDEN["encoding"][:100]
TYPES = [np.float32, np.float64]
both_types = pytest.mark.parametrize("dtype", TYPES)
float64_first = pytest.mark.parametrize("dtype", slow_except([np.float64], TYPES))
STABILIZED, REWARDED = STDP(winners=1, radius=0), RSTDP()


# The layers on NumPy arrays: weights are shared, so what is learned is seen in them


def firing_layer(backend, weight, steps, pad, threshold):
    return make_layer(backend, torch.from_numpy(weight), steps, pad, threshold)


def decision_layer(backend, weight, steps, pad):
    return make_layer(backend, torch.from_numpy(weight), steps, pad, rule=REWARDED)


def fire(layer, latency, pool=1):
    return layer.fire(torch.from_numpy(latency), pool).numpy()


def peaks(layer, latency):
    return layer.peaks(torch.from_numpy(latency)).numpy()


def constant(rates, images):
    """The same rates (2,) or (rows, 2) for all images, in one piece: kernels are compiled for each layout."""
    return np.tile(np.atleast_2d(rates), (images, 1, 1))


def learn_decisions(layer, latency, labels, classes, rates, rule=REWARDED, left_out=None):
    set_rule(layer, rule)
    rates = constant(rates, len(latency))
    latency, classes = torch.from_numpy(latency), np.asarray(classes)
    result = support.layers.learn_decisions(layer, latency, labels, classes, rates, left_out)
    return result.decisions.numpy(), result.highest.numpy()


def learn_together(backend, firing, deciding, latency, labels, pool, classes, rules, rates):
    rates = [None if pair is None else constant(pair, len(latency)) for pair in rates]
    latency, labels = torch.from_numpy(latency), torch.as_tensor(labels)
    for layer, rule in zip((firing, deciding), rules, strict=True):
        set_rule(layer, rule)
    result = firing.backend.learn_together(firing, deciding, latency, labels, pool, classes, rates)
    return result.decisions.numpy(), result.winners.numpy()


# Inputs


def random_weight(*shape, seed=0, dtype=np.float64):
    return np.random.default_rng(seed).uniform(0.05, 0.95, shape).astype(dtype)


def learn(backend, weight, steps, pad, threshold, latency, winners, radius, rates=(0.0, 0.0), rule=STABILIZED):
    """The rule with constant rates over latency (N, C, H, W): the winners of each image; ``weight`` learns."""
    layer, rule = firing_layer(backend, weight, steps, pad, threshold), replace(rule, winners=winners, radius=radius)
    return listed(learn_features(layer, torch.from_numpy(latency), rule, constant(rates, len(latency))).numpy())


def listed(winners):
    """Winners (N, K, …) as lists of tuples, without the places that nobody took, which stand last."""
    won = [[tuple(w) for w in image if w[0] >= 0] for image in winners.tolist()]
    assert all((image[len(w) :] == -1).all() for image, w in zip(winners, won, strict=True))
    return won


# Firing


@both_types
@random_maps
@given(layers(), thresholds, st.integers(1, 3))
def test_fire_on_random_maps(backend, dtype, layer, threshold, pool):
    """First spikes are those of the reference, in both types; a potential equal to the threshold does not fire."""
    latency, weight, steps, pad = layer
    assume(min(weight.shape[2:]) and min(reference.potentials(latency, weight, steps, pad).shape[2:]) >= pool)
    found = fire(firing_layer(backend, weight.astype(dtype), steps, pad, threshold), latency[None], pool)
    np.testing.assert_array_equal(found[0], reference.fire(latency, weight, steps, pad, threshold, pool))


@both_types
@pytest.mark.parametrize(
    ("features", "channels", "size", "kernel", "pad", "pool"),
    [
        (201, 3, (10, 10), 3, 1, 1),
        (201, 1, (3, 50), 1, 0, 1),
        (256, 2, (37, 11), 5, 2, 2),
        (257, 2, (12, 13), 6, 1, 3),
        (300, 1, (70, 40), 7, 3, 40),  # one window, which leaves lines out
    ],
)
def test_many_features_fire_as_each_alone(dtype, features, channels, size, kernel, pad, pool):
    """Features fire alike in any company: equal to the bit."""
    rng = np.random.default_rng(features)
    weight = torch.from_numpy(rng.uniform(0, 1, (features, channels, kernel, kernel)).astype(dtype))
    latency = draw_maps(3, channels, *size, below=40)
    latency[2] = latency[2].clamp(max=1) * 15  # all spikes at once
    threshold = weight[0].numel() / 8
    together = make_layer("event", weight, 15, pad, threshold).fire(latency, pool)
    assert 0.05 < (together < 15).float().mean() < 0.999
    for f in range(0, features, 50):
        alone = make_layer("event", weight[f : f + 50], 15, pad, threshold).fire(latency, pool)
        torch.testing.assert_close(together[:, f : f + 50], alone, rtol=0, atol=0)


# Competition and STDP


@float64_first
@random_maps
@given(layers(), thresholds, st.integers(1, 9), st.integers(0, 3))
def test_winners_on_random_maps(backend, dtype, layer, threshold, limit, radius):
    """The winners are those of the reference in its order, many ties included; an image again gives the same ones."""
    latency, weight, steps, pad = layer
    expected = reference.choose_winners(latency, weight, steps, pad, threshold, limit, radius)
    images = np.stack([latency, latency])
    rule = replace(STABILIZED, bounds=(-1.0, 1.0))  # clips no weight
    found = learn(backend, weight.astype(dtype), steps, pad, threshold, images, limit, radius, rule=rule)
    assert found == [expected, expected]


@float64_first
@random_maps
@given(layers(), st.sampled_from([STABILIZED, replace(STABILIZED, stabilize=False, bounds=(0.2, 0.8))]), st.booleans())
def test_update_on_random_maps(backend, dtype, layer, rule, anti):
    """One update is those of the reference: rates by the order of spikes, stabilizer, bounds, all weights clipped."""
    latency, weight, steps, pad = layer
    rates = (-0.04, 0.005) if anti else (0.04, -0.03)
    winners = reference.choose_winners(latency, weight, steps, pad, 0.5, 4, 1)
    expected = reference.update(latency, weight, winners, steps, pad, rates, rule)
    found = weight.astype(dtype)
    learn(backend, found, steps, pad, 0.5, latency[None], 4, 1, rates, rule)
    np.testing.assert_allclose(found, expected, rtol=0, atol=4 * np.finfo(dtype).eps)


def test_rounding_does_not_decide_between_equal_sums(backend):
    """0.1 + 0.2 is above 0.3 in float64, but the neuron with 0.3 has the lower index."""
    weight = np.array([[[[0.3, 0.1], [0.2, 0.0]]]])
    latency = np.full((1, 1, 2, 6), 15, np.uint8)
    latency[0, 0, 0, 0] = latency[0, 0, 0, 4] = latency[0, 0, 1, 3] = 0  # 0.3 at column 0, 0.1 + 0.2 at column 3
    assert 0.1 + 0.2 > 0.3
    assert learn(backend, weight, 15, 0, 0.25, latency, 1, 0) == [[(0, 0, 0, 0)]]


@pytest.mark.parametrize("features", [1, 201])
def test_rounding_does_not_decide_whether_a_neuron_fires(backend, features):
    """The potential 0.1 + 0.2 is above 0.3 in float64, but equal to the threshold: no neuron fires, and none wins."""
    weight = np.array([0.1, 0.2]).reshape(1, 2, 1, 1).repeat(features, 0)
    latency = np.zeros((1, 2, 10, 10), np.uint8)
    assert (fire(firing_layer(backend, weight, 15, 0, 0.3), latency) == 15).all()
    assert learn(backend, weight, 15, 0, 0.3, latency, 1, 0) == [[]]
    assert learn(backend, weight, 15, 0, 0.3 - 1e-12, latency, 1, 0) == [[(0, 0, 0, 0)]]


def test_equal_weights_go_to_the_lowest_index(backend):
    """Features with equal weights tie everywhere: the first one wins, at the first of the equal positions."""
    weight = np.full((40, 1, 3, 3), 0.7)
    latency = np.full((1, 1, 12, 12), 3, np.uint8)
    # every position is feature 0's, which wins only once; with padding the border is weaker
    assert learn(backend, weight, 15, 1, 2, latency, 5, 1) == [[(0, 1, 1, 3)]]
    assert learn(backend, weight, 15, 0, 2, latency, 5, 1) == [[(0, 0, 0, 3)]]


def test_equal_potentials_tie_whatever_the_rounding(backend):
    """The same spikes in another order of time: sums that differ by rounding alone tie, the leftmost position wins."""
    for seed in range(20):
        rng = np.random.default_rng(seed)
        latency = np.full((8, 3, 15), 2, np.uint8)
        for x in (0, 6, 12):
            latency[..., x : x + 3] = rng.integers(0, 2, (8, 3, 3))
        weight = random_weight(20, 8, 3, 3, seed=seed, dtype=np.float64)
        expected = reference.choose_winners(latency, weight, 2, 0, 33, 5, 0)
        assert expected[0][:3] == (weight.astype(np.float64).sum((1, 2, 3)).argmax(), 0, 0)
        assert learn(backend, weight, 2, 0, 33, latency[None], 1, 0) == [expected[:1]]


def test_learning_by_hand(backend):
    """One channel, two features, worked out by hand.

    Time 0: both features cross at (0, 0), with 1.0 and 1.25: it is feature 1's. Time 1: both cross at (0, 1) with 1.0:
    it is feature 0's. Time 2: feature 0 crosses at (1, 0). Time 3: both at (1, 1), with 1.0 and 1.25.
    """
    latency = np.array([[[0, 1, 4], [2, 0, 4], [4, 4, 3]]], np.uint8)  # 4: silent
    weight = np.array([[[[0.5, 0.5], [0.5, 0.5]]], [[[0.25, 0.5], [0.75, 1.0]]]])
    layer = firing_layer(backend, weight, 4, 0, 0.9)
    assert fire(layer, latency[None])[0].tolist() == [[[0, 1], [2, 3]], [[0, 1], [4, 3]]]
    assert fire(layer, latency[None], 2)[0].tolist() == [[[0]], [[0]]]
    assert learn(backend, weight.copy(), 4, 0, 0.9, latency[None], 2, 1) == [[(1, 0, 0, 0)]]  # the radius covers all
    assert learn(backend, weight, 4, 0, 0.9, latency[None], 2, 0, (0.5, -0.25)) == [[(1, 0, 0, 0), (0, 0, 1, 1)]]
    # s(w) = w (1 - w): 0.1875, 0.25, 0.1875, 0 for feature 1, of which the first and last input came in time
    assert weight[1, 0].tolist() == [[0.25 + 0.5 * 0.1875, 0.5 - 0.25 * 0.25], [0.75 - 0.25 * 0.1875, 1.0]]
    # 0.25 for feature 0, whose left inputs came at times 1 and 0; the right ones are silent
    assert weight[0, 0].tolist() == [[0.5 + 0.125, 0.5 - 0.0625], [0.5 + 0.125, 0.5 - 0.0625]]


@pytest.mark.parametrize("others", [(1.25, -0.5), (0.75, -0.5), (1.25, 0.25)], ids=str)
@both_types
def test_the_first_update_clips_everything(backend, dtype, others):
    """Weights outside the bounds stay while nothing wins; the first winner clips also the features that did not win."""
    weight = np.array([0.5, *others], dtype).reshape(3, 1, 1, 1) * np.ones((3, 1, 3, 3), dtype)
    before = weight.copy()
    silent, rates = np.full((1, 1, 5, 5), 15, np.uint8), (0.004, -0.003)
    assert learn(backend, weight, 15, 1, 2, silent, 1, 0, rates) == [[]]
    np.testing.assert_array_equal(weight, before)
    spikes = silent.copy()
    spikes[0, 0, 1:4, 1:4] = 0
    images = np.concatenate([silent, spikes])
    # the middle sees all nine spikes
    assert learn(backend, weight, 15, 1, 2, images, 1, 0, rates) == [[], [(1, 2, 2, 0)]]
    before[1] += 0.004 * before[1] * (1 - before[1])
    np.testing.assert_allclose(weight, before.clip(0, 1), rtol=1e-6)


@both_types
def test_denormal_weights_become_zero(backend, dtype):
    """What falls below the smallest normal number is 0; the smallest normal number itself stays."""
    tiny = np.finfo(dtype).tiny
    weight = np.array([0.5, 4 * tiny, tiny, tiny], dtype).reshape(1, 4, 1, 1)
    latency = np.array([0, 15, 15, 0], np.uint8).reshape(1, 4, 1, 1)
    assert learn(backend, weight, 15, 0, 0.1, latency, 1, 0, (0.0, -0.5)) == [[(0, 0, 0, 0)]]
    np.testing.assert_array_equal(weight.ravel(), np.array([0.5, 2 * tiny, 0, tiny], dtype))


# Decisions


@float64_first
@random_maps
@example((np.zeros((2, 1, 1), np.uint8), np.array([0.375, -0.625]).reshape(1, 2, 1, 1), 15, 0))  # the sum is negative
@given(layers())
def test_decisions_on_random_maps(backend, dtype, layer):
    """Peaks and the winner are those of the reference. Sums of eighths are exact, so many potentials are equal.

    The potential of a decision is 0 for silence.
    """
    latency, weight, steps, pad = layer
    last = reference.last_potentials(latency, weight, steps, pad)
    deciding = decision_layer(backend, weight.astype(dtype), steps, pad)
    np.testing.assert_array_equal(peaks(deciding, latency[None])[0], last.max((1, 2)))
    classes = np.zeros(len(weight), np.int64)
    winners, highest = learn_decisions(deciding, latency[None], [0], classes, np.zeros((2, 2)))
    expected = reference.decide(latency, weight, steps, pad)
    assert winners[0].tolist() == ([-1] * 3 if expected is None else list(expected))
    assert highest[0] == max(last.max(), 0)


def decision_task(images, features, dtype, side=6, channels=10, kernel=5, seed=1):
    """Inputs of a decision layer with silent ones among them, labels, classes, and weights half outside the bounds."""
    rng = np.random.default_rng(seed)
    latency = rng.integers(0, 15, (images, channels, side, side), dtype=np.uint8)
    latency[rng.random(latency.shape) < 0.8] = 15
    latency[rng.random(images) < 0.1] = 15
    latency[0] = 15  # nothing is clipped before the first decision
    weight = rng.normal(0.8, 0.05, (features, channels, kernel, kernel)).astype(dtype)
    return latency, rng.integers(0, 5, images), np.arange(features) * 5 // features, weight


RATES = np.array([[0.04, -0.03], [-0.04, 0.005]])
MAP = {"side": 6, "channels": 10, "kernel": 5}
PIXEL = {"side": 1, "channels": 300, "kernel": 1}
WIDE = {"side": 1, "channels": 2 * DENSE_ROWS + 100, "kernel": 1}


@pytest.mark.parametrize("rule", [REWARDED, MarginRule(margin=0.2, rate=0.05)])
@pytest.mark.parametrize(
    ("images", "features", "sizes"), [
        (1, 5, MAP), (75, 10, MAP), (LARGE_CHUNK, 33, MAP), (2 * LARGE_CHUNK + 1, 200, MAP), (75, 10, PIXEL),
        (2 * LARGE_CHUNK + 1, 70, WIDE),
    ], ids=str,
)  # fmt: skip
def test_chunks_of_images_change_no_bit(images, features, sizes, rule):
    """Many images together are learned as one after another, in float32, by the same layer or by a new one each time.

    Chunks end early: after the first update, which clips all weights, and where two neurons learn from each image.
    """
    latency, labels, classes, start = decision_task(images, features, np.float32, **sizes)
    together, alone, pad = start.copy(), start.copy(), sizes["kernel"] // 2
    layer = decision_layer("event", together, 15, pad)
    parts = [learn_decisions(layer, latency[part], labels[part], classes, RATES, rule)
             for part in (slice(0, images // 3), slice(images // 3, None))]  # fmt: skip
    winners, highest = (np.concatenate(columns) for columns in zip(*parts, strict=True))
    for n in range(images):
        one = slice(n, n + 1)
        layer_again = decision_layer("event", alone, 15, pad)
        decided = learn_decisions(layer_again, latency[one], labels[one], classes, RATES, rule)
        assert (winners[n].tolist(), highest[n]) == (decided[0][0].tolist(), decided[1][0])
    np.testing.assert_array_equal(together, alone)
    np.testing.assert_array_equal(peaks(layer, latency), peaks(decision_layer("event", alone, 15, pad), latency))
    if images > LARGE_CHUNK:
        assert (winners[:, 0] < 0).sum() > 1  # silent images
        assert len(set(winners[:LARGE_CHUNK, 0])) < LARGE_CHUNK - 1  # features that win again within a chunk


@pytest.mark.parametrize(
    ("kernel", "pad", "features", "side"), [(5, 2, 20, 6), (3, 2, 33, 6), (7, 2, 10, 6), (1, 0, 5, 6), (1, 0, 20, 1)]
)
def test_decision_learning_equals_the_reference(backend, kernel, pad, features, side):
    """Seventy images in float64: every winner and every weight."""
    channels = WIDE["channels"] if side == 1 else 10
    latency, labels, classes, weight = decision_task(70, features, np.float64, side, channels, kernel)
    found = weight.copy()
    winners, highest = learn_decisions(decision_layer(backend, found, 15, pad), latency, labels, classes, RATES)
    for n, image in enumerate(latency):
        expected = reference.decide(image, weight, 15, pad)
        if expected is None:
            assert winners[n].tolist() == [-1, -1, -1]
            continue
        assert tuple(winners[n]) == expected, n
        np.testing.assert_allclose(highest[n], reference.last_potentials(image, weight, 15, pad).max(), atol=1e-8)
        rates = RATES[0 if classes[expected[0]] == labels[n] else 1]
        weight = reference.update(image, weight, [(*expected, 14)], 15, pad, rates, REWARDED)
    np.testing.assert_allclose(found, weight, rtol=0, atol=1e-12)


def test_weights_whose_codes_do_not_fit_are_not_screened():
    """Sums of 32 bits, of nine million codes; and weights above the largest value."""
    verdict = SimpleNamespace(reads_strongest=True)
    for weights in (np.broadcast_to(np.float32(0.5), (1, 9, 2**20)), np.full((1, 9, 2), 2 * MAX_VALUE)):
        assert not can_screen(None, weights, verdict)


@pytest.mark.parametrize("dtype", slow_except([np.float32], TYPES))
@random_maps
@given(st.data())
def test_screening_changes_no_bit(dtype, data):
    """Few different weights make ties and near ties; the bounds hold all, some or none of the weights.

    A verdict that does not declare what it reads gets all peaks, which are computed without codes.
    """
    side, kernel, features, scale, bounds, weights = (
        data.draw(st.sampled_from(values))
        for values in (
            [2, 4, 6],
            [3, 5],
            [1, 7, 40],
            [0, 1e-7, 1e-3, 1],
            [(0.2, 0.8), (-0.5, 0.5), (-1e6, 1e6), (0.79, 0.9)],
            [[0.8], [0.75, 0.8], [0.2, 0.8], [-0.5, 0.5, 0.3], [-0.2, -0.1], [0.0]],
        )
    )
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32 - 1)))
    start = rng.choice(weights, (features, 5, kernel, kernel))
    start = (start + scale * rng.normal(0, 0.1, start.shape)).astype(dtype)
    latency = np.full((70, 5, side, side), 15, np.uint8)
    latency[rng.random(latency.shape) < rng.choice([0.02, 0.5, 0.95], (70, 1, side, side))] = 3
    latency[::9] = rng.choice([3, 15], (8, 1, 1, 1))  # all neurons spike, or none
    labels = rng.integers(0, 2, 70)
    left_out = data.draw(st.sampled_from([None, rng.random((70, features)) < 0.5]))
    found = []
    rule = data.draw(st.sampled_from([RSTDP(bounds=bounds), MarginRule(bounds=bounds)]))
    declared = vars(type(rule.plasticity()).verdict)
    for clear in (False, True):
        with mock.patch.dict(declared, clear=clear):
            weight = start.copy()
            layer = decision_layer("event", weight, 15, kernel // 2)
            winners, highest = learn_decisions(layer, latency, labels, np.arange(features) % 2, RATES, rule, left_out)
            found.append((winners.tolist(), highest.tolist(), weight.tobytes()))
            all_peaks = layer.peaks(torch.from_numpy(latency))
            only_highest = layer.peaks(torch.from_numpy(latency), only_highest=True)
            assert torch.equal(deciding_features(only_highest), deciding_features(all_peaks))
            torch.testing.assert_close(only_highest.amax(1).clamp(0), all_peaks.amax(1).clamp(0), rtol=1e-12, atol=0)
    assert found[0] == found[1]


@pytest.mark.parametrize("rule", [REWARDED, MarginRule(margin=0.2, rate=0.05)])
def test_weights_that_change_between_two_calls_count(rule):
    """What a layer keeps of its weights is not used for others: written through NumPy, or of another type."""
    latency, labels, classes, start = decision_task(70, 20, np.float32)
    weight = start.copy()
    layer = decision_layer("event", weight, 15, 2)
    for change in (lambda: weight.__imul__(1), lambda: weight.__imul__(0.9), layer.double):
        change()
        values = layer.weight.numpy().copy()
        alone = decision_layer("event", values, 15, 2)
        found = learn_decisions(layer, latency, labels, classes, RATES, rule)
        expected = learn_decisions(alone, latency, labels, classes, RATES, rule)
        for a, b in zip((*found, layer.weight.numpy()), (*expected, values), strict=True):
            np.testing.assert_array_equal(a, b)


def test_equal_features_tie_whatever_the_rounding(backend):
    """Features whose weights are the same in another order tie when every input spikes: the first one decides."""
    rng = np.random.default_rng(0)
    latency, one = np.zeros((1, 50, 5, 5), np.uint8), np.zeros(1, np.int64)
    for _ in range(20):
        values = rng.uniform(0.2, 0.8, 50 * 25)
        weight = np.array([rng.permutation(values) for _ in range(30)]).reshape(30, 50, 5, 5)
        layer = decision_layer(backend, weight, 15, 0)
        winners, _ = learn_decisions(layer, latency, one, np.zeros(30, np.int64), RATES)
        assert winners.tolist() == [[0, 0, 0]]


@pytest.mark.parametrize(
    ("label", "winner_channels"),
    [
        # reward: an input that spiked +0.125, else -0.0625, within 0.25 to 0.75
        (0, [[[0.625, 0.625], [0.4375, 0.4375]], [[0.25, 0.25], [0.375, 0.25]]]),
        # punishment: an input that spiked -0.125, else +0.0625
        (1, [[[0.375, 0.375], [0.5625, 0.5625]], [[0.3125, 0.3125], [0.25, 0.3125]]]),
    ],
)
def test_decision_by_hand(backend, label, winner_channels):
    """Two channels, two features, one position, worked out by hand.

    Three inputs spike. Feature 0 has 0.5 + 0.5 + 0.25, feature 1 has 0.25 + 0.25 + 0.75: equal, so feature 0 decides.
    Feature 1 keeps its weights, but for the one out of the bounds.
    """
    latency = np.array([[[0, 2], [3, 3]], [[3, 3], [1, 3]]], np.uint8)  # 3: silent
    weight = np.empty((2, 2, 2, 2))
    weight[0, 0], weight[0, 1], weight[1, 0], weight[1, 1] = 0.5, 0.25, 0.25, 0.75
    weight[1, 1, 1, 1] = 1.0
    layer = decision_layer(backend, weight, 3, 0)
    assert peaks(layer, latency[None]).tolist() == [[1.25, 1.25]]
    rates = np.array([[0.125, -0.0625], [-0.125, 0.0625]])
    rule = RSTDP(bounds=(0.25, 0.75))
    winners, highest = learn_decisions(layer, latency[None], [label], [0, 1], rates, rule)
    assert (winners.tolist(), highest.tolist()) == ([[0, 0, 0]], [1.25])
    assert weight[0].tolist() == winner_channels
    assert weight[1].tolist() == [[[0.25, 0.25], [0.25, 0.25]], [[0.75, 0.75], [0.75, 0.75]]]


# A firing layer that learns from the decisions of the layer above


@pytest.mark.parametrize("learning", slow_except([True], [True, False]))
def test_joint_learning_on_digits(backend, learning):
    """Twelve digits, blank ones among them: every winner and weight of both layers equals the reference."""
    rng = np.random.default_rng(1)
    images, labels, classes = DIGITS[:12].copy(), rng.integers(0, 2, 12), np.arange(8) // 4
    images[[0, 9]] = 15
    lower, upper = random_weight(20, 6, 5, 5, seed=2) * 1.2 - 0.1, random_weight(8, 20, 5, 5, seed=3)
    rule = RSTDP(winners=6, radius=0, bounds=(0.0, 1.0))
    lower_rates = np.array([[0.02, -0.015], [-0.02, 0.0025]])
    found = lower.copy(), upper.copy()
    layers = firing_layer(backend, found[0], 15, 2, 15), decision_layer(backend, found[1], 15, 2)
    rates = lower_rates, RATES if learning else None
    decided, winners = learn_together(backend, *layers, images, labels, 3, classes, (rule, REWARDED), rates)
    winners, outcomes = listed(winners), []
    for n, image in enumerate(images):
        between = reference.fire(image, lower, 15, 2, 15, 3)
        expected = reference.choose_winners(image, lower, 15, 2, 15, 6, 0)
        decision = reference.decide(between, upper, 15, 2)
        assert winners[n] == expected, n
        assert tuple(decided[n]) == (decision or (-1, -1, -1)), n
        if decision:
            outcomes.append(0 if classes[decision[0]] == labels[n] else 1)
            lower = reference.update(image, lower, expected, 15, 2, lower_rates[outcomes[-1]], rule)
            if learning:
                upper = reference.update(between, upper, [(*decision, 14)], 15, 2, RATES[outcomes[-1]], REWARDED)
    assert len(outcomes) == 10
    assert set(outcomes) == {0, 1}
    np.testing.assert_allclose(found[0], lower, rtol=0, atol=1e-12)
    np.testing.assert_allclose(found[1], upper, rtol=0, atol=1e-12)
