"""SpykeTorch's interface against numbers worked out by hand and properties that hold for any activity."""

import copy

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from torch.backends import cudnn
from torch.utils.data import DataLoader, Dataset

import SpykeTorch
from SpykeTorch import functional as sf
from SpykeTorch import snn, utils
from SpykeTorch import visualization as vis

T = 6
LATENCIES = arrays.arrays(
    np.uint8, st.tuples(st.integers(1, 3), st.integers(2, 6), st.integers(2, 6)), elements=st.integers(0, T)
).map(torch.from_numpy)


def wave_of(latency, dtype=torch.float32):
    return sf.latency_to_wave(torch.as_tensor(latency, dtype=torch.uint8), T, dtype)


def as_potentials(steps):
    """Potentials of a 1 × W layer from one list per time step of one list per feature."""
    return torch.tensor(steps).unsqueeze(2)


def test_import_paths():
    assert SpykeTorch.functional is sf
    assert SpykeTorch.snn is snn


# waves and latency maps


def test_latency_to_wave_by_hand():
    wave = sf.latency_to_wave(torch.tensor([[[0, 2, 3]]], dtype=torch.uint8), 3, torch.uint8)
    assert wave.shape == (3, 1, 1, 3)
    assert wave.dtype == torch.uint8
    assert wave[:, 0, 0].tolist() == [[1, 0, 0], [1, 0, 0], [1, 1, 0]]


@settings(deadline=None, max_examples=50)
@given(latency=LATENCIES)
def test_wave_and_latency_are_the_same_thing(latency):
    wave = sf.latency_to_wave(latency, T)
    assert wave.shape == (T, *latency.shape)
    assert torch.equal(sf.wave_to_latency(wave), latency)
    batch = torch.stack([latency, (T - latency.int()).to(torch.uint8)])
    waves = sf.latency_to_wave(batch, T, torch.bool)
    assert torch.equal(waves[0], wave.bool())
    assert torch.equal(sf.wave_to_latency(waves), batch)


@settings(deadline=None, max_examples=50)
@given(latency=LATENCIES)
def test_pooling_a_wave_is_a_minimum_of_latencies(latency):
    pooled = sf.wave_to_latency(sf.pooling(sf.latency_to_wave(latency, T), 2))
    _, height, width = latency.shape
    windows = latency[:, : height // 2 * 2, : width // 2 * 2].unfold(1, 2, 2).unfold(2, 2, 2)
    assert torch.equal(pooled, windows.amin((-2, -1)))


def test_latency_errors():
    with pytest.raises(ValueError, match="cannot hold latencies of 256 time steps"):
        sf.latency_to_wave(torch.zeros(1, 1, 1, dtype=torch.uint8), 256)
    with pytest.raises(TypeError, match="integers"):
        sf.latency_to_wave(torch.zeros(1, 1, 1), 3)
    with pytest.raises(ValueError, match="latency map is"):
        sf.latency_to_wave(torch.zeros(1, 1, dtype=torch.uint8), 3)
    with pytest.raises(ValueError, match="spike wave is"):
        sf.wave_to_latency(torch.zeros(3, 1, 1))
    with pytest.raises(ValueError, match="256 time steps"):
        sf.wave_to_latency(torch.zeros(256, 1, 1, 1))


@pytest.mark.parametrize("dtype", [torch.uint8, torch.bool, torch.float64])
def test_pooling_and_padding_keep_the_type(dtype):
    wave = wave_of([[[0, 3], [6, 6]]], dtype)
    pooled = snn.Pooling(2)(sf.pad(wave, (1, 1, 0, 0)))
    assert pooled.dtype == dtype
    assert sf.wave_to_latency(pooled).tolist() == [[[0, 3]]]


# firing


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_fire_is_strict(dtype):
    potentials = torch.tensor([1.0, 2.0, 3.0], dtype=dtype).view(3, 1, 1, 1)
    spikes, thresholded = sf.fire(potentials, 2, return_thresholded_potentials=True)
    assert spikes.dtype == thresholded.dtype == dtype
    assert spikes.flatten().tolist() == [0, 0, 1]
    assert thresholded.flatten().tolist() == [0, 0, 3]


def test_fire_without_threshold_in_the_last_step_only():
    potentials = as_potentials([[[1.0, 2.0, 0.0]], [[3.0, 4.0, -1.0]]])
    before = potentials.clone()
    spikes, thresholded = sf.fire(potentials, None, True)
    assert spikes[:, 0, 0].tolist() == [[0, 0, 0], [1, 1, 0]]
    assert thresholded[:, 0, 0].tolist() == [[0, 0, 0], [3, 4, 0]]
    assert torch.equal(potentials, before)


def test_in_place_forms_change_their_argument():
    for function, in_place, argument in [
        (sf.fire, sf.fire_, 1.5),
        (sf.threshold, sf.threshold_, 1.5),
        (sf.threshold, sf.threshold_, None),
        (sf.feature_inhibition, sf.feature_inhibition_, [1]),
    ]:
        potentials = as_potentials([[[1.0, 2.0], [3.0, 0.0]], [[1.0, 2.0], [3.0, 1.0]]])
        expected = function(potentials, argument)
        assert not torch.equal(potentials, expected)
        assert in_place(potentials, argument) is potentials
        assert torch.equal(potentials, expected)


@pytest.mark.parametrize("features", [1, [1], torch.tensor([1]), torch.tensor([False, True, False])])
def test_feature_inhibition(features):
    assert sf.feature_inhibition(torch.ones(2, 3, 1, 1), features).flatten().tolist() == [1, 0, 1, 1, 0, 1]


def test_feature_inhibition_of_nothing():
    assert sf.feature_inhibition(torch.ones(1, 2, 1, 1), []).sum() == 2


# inhibition and winners


def test_pointwise_inhibition_breaks_ties_in_order():
    # columns: earlier beats higher; higher beats lower; equal: the lowest index; nothing crosses
    potentials = as_potentials(
        [
            [[0.0, 5.0, 0.0, 0.0], [4.0, 6.0, 0.0, 0.0], [0.0, 0.0, 0.0, 0.0]],
            [[9.0, 9.0, 0.0, 0.0], [5.0, 6.0, 7.0, 0.0], [8.0, 9.0, 7.0, 0.0]],
        ]
    )
    result = sf.pointwise_inhibition(potentials)
    assert result[:, :, 0].tolist() == [
        [[0, 0, 0, 0], [4, 6, 0, 0], [0, 0, 0, 0]],
        [[0, 0, 0, 0], [5, 6, 7, 0], [0, 0, 0, 0]],
    ]


def test_winners_by_hand():
    # columns of three features: spike times 1 0 -, 0 0 -, - 1 1
    potentials = as_potentials(
        [
            [[0.0, 5.0, 0.0], [6.0, 5.0, 0.0], [0.0, 0.0, 0.0]],
            [[9.0, 9.0, 0.0], [6.0, 8.0, 0.0], [0.0, 7.0, 7.0]],
        ]
    )
    # (1, 0) has the highest potential at time 0, then map 1 is out; (2, 1) and (2, 2) are equal, the first is chosen.
    assert sf.get_k_winners(potentials, 5) == [(1, 0, 0), (0, 0, 1), (2, 0, 1)]
    # A radius of 1 around (1, 0) also takes column 1 out of all maps.
    assert sf.get_k_winners(potentials, 5, 1) == [(1, 0, 0), (2, 0, 2)]
    assert sf.get_k_winners(potentials, 1) == [(1, 0, 0)]
    assert sf.get_k_winners(potentials, 0) == []
    assert sf.get_k_winners(torch.zeros_like(potentials), 3) == []


def test_winners_follow_the_spikes_given():
    potentials = as_potentials([[[5.0, 4.0]], [[5.0, 6.0]]])
    spikes = as_potentials([[[0, 0]], [[1, 1]]])
    assert sf.get_k_winners(potentials, spikes=spikes) == [(0, 0, 1)]
    assert sf.get_k_winners(potentials, spikes=spikes.to(torch.uint8)) == [(0, 0, 1)]


def test_winners_need_no_precision_beyond_the_potentials():
    # the earlier spike wins however high the later potential, and the last bit of a potential counts
    high = 3.0e38
    assert sf.get_k_winners(as_potentials([[[0.0, 1e-30]], [[high, 1.0]]])) == [(0, 0, 1)]
    next_to_one = 1 + torch.finfo(torch.float64).eps
    assert sf.get_k_winners(torch.tensor([1.0, next_to_one], dtype=torch.float64).view(1, 1, 1, 2)) == [(0, 0, 1)]


@settings(deadline=None, max_examples=40)
@given(latency=LATENCIES, kwta=st.integers(0, 4), radius=st.integers(0, 2), seed=st.integers(0, 99))
def test_winners_against_the_definition(latency, kwta, radius, seed):
    heights = torch.randint(1, 4, latency.shape, generator=torch.Generator().manual_seed(seed))
    left = sorted((latency[n].item(), -heights[n].item(), n) for n in map(tuple, (latency < T).nonzero().tolist()))
    expected = []
    while left and len(expected) < kwta:
        _, _, (f, r, c) = left[0]
        expected.append((f, r, c))
        left = [
            entry
            for entry in left
            if entry[2][0] != f and (radius == 0 or max(abs(entry[2][1] - r), abs(entry[2][2] - c)) > radius)
        ]
    wave = sf.latency_to_wave(latency, T)
    assert sf.get_k_winners(wave * heights, kwta, radius, wave) == expected


def test_winner_errors():
    with pytest.raises(ValueError, match="differ in shape"):
        sf.get_k_winners(torch.ones(2, 1, 1, 1), spikes=torch.ones(3, 1, 1, 1))
    with pytest.raises(ValueError, match="not be negative"):
        sf.get_k_winners(torch.ones(2, 1, 1, 1), -1)


# convolution


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32, torch.float64])
def test_convolution_takes_waves_of_any_type(dtype):
    layer = snn.Convolution(1, 1, 2).double()
    layer.load_weight(torch.tensor([[[[0.1, 0.2], [0.3, 0.4]]]], dtype=torch.float64))
    potentials = layer(wave_of([[[0, 1], [2, 6]]], dtype))
    assert potentials.dtype == torch.float64
    torch.testing.assert_close(potentials.flatten().tolist(), [0.1, 0.3, 0.6, 0.6, 0.6, 0.6])
    assert not potentials.requires_grad


def test_convolution_errors():
    layer = snn.Convolution(2, 3, 5)
    with pytest.raises(ValueError, match="kernel 5x5 does not fit a 3x3 input"):
        layer(torch.ones(4, 2, 3, 3))
    with pytest.raises(ValueError, match="1 channels for a layer of 2"):
        layer(torch.ones(4, 1, 8, 8))
    with pytest.raises(ValueError, match=r"shape \(3, 2, 3, 3\) for a layer of \(3, 2, 5, 5\)"):
        layer.load_weight(torch.ones(3, 2, 3, 3))


def test_reset_weight():
    layer = snn.Convolution(4, 8, (3, 5))
    assert (layer.in_channels, layer.out_channels, layer.kernel_size) == (4, 8, (3, 5))
    layer.reset_weight(0.25, 0)
    assert torch.equal(layer.weight, torch.full((8, 4, 3, 5), 0.25))
    layer.requires_grad_(True)  # with the rest of a larger network
    layer.reset_weight(0.5, 0)
    assert layer.weight.mean() == 0.5
    assert not layer(torch.ones(1, 4, 3, 5)).requires_grad


def test_full_precision_changes_no_other_setting():
    def settings():
        return [getattr(cudnn, name) for name in ("enabled", "benchmark", "benchmark_limit", "deterministic")]

    before = settings(), cudnn.allow_tf32
    with sf._full_precision():
        assert (settings(), cudnn.allow_tf32) == (before[0], False)
    assert (settings(), cudnn.allow_tf32) == before


# STDP


def one_neuron(dtype=torch.float64, learning_rate=(0.1, -0.05), **options):
    """A 2 × 2 kernel on 2 × 2 inputs that spike at 0, 2, 3 and never, under a neuron that fires at 2."""
    layer = snn.Convolution(1, 2, 2).to(dtype)
    layer.load_weight(torch.tensor([[[[0.5, 0.6], [0.7, 0.8]]], [[[0.9, 0.95], [1.5, -0.5]]]], dtype=dtype))
    stdp = snn.STDP(layer, learning_rate, **options)
    input_spikes = wave_of([[[0, 2], [3, 6]]], dtype)
    output_spikes = wave_of([[[2]], [[6]]], dtype)
    return layer, stdp, (input_spikes, output_spikes * 3, output_spikes)


def test_pre_post_ordering():
    _, stdp, (input_spikes, _, output_spikes) = one_neuron()
    ordering = stdp.get_pre_post_ordering(input_spikes, output_spikes, [(0, 0, 0), (1, 0, 0)])
    assert [causal.tolist() for causal in ordering] == [
        [[[True, True], [False, False]]],
        [[[True, True], [True, False]]],
    ]
    assert stdp.get_pre_post_ordering(input_spikes, output_spikes, []) == []


def test_pre_post_ordering_looks_at_the_winners_field():
    input_spikes = wave_of(torch.arange(12).view(1, 3, 4).remainder(T + 1))  # 0 1 2 3 / 4 5 6 0 / 1 2 3 4
    output_spikes = wave_of([[[6, 6, 6], [6, 6, 2]]])
    stdp = snn.STDP(snn.Convolution(1, 1, 2), (0.1, -0.1))
    (causal,) = stdp.get_pre_post_ordering(input_spikes, output_spikes, [(0, 1, 2)])
    assert causal.tolist() == [[[False, True], [False, False]]]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_stdp_with_stabilizer(dtype):
    layer, stdp, call = one_neuron(dtype)
    assert stdp(*call) is None
    w = torch.tensor([0.5, 0.6, 0.7, 0.8], dtype=dtype)
    expected = w + torch.tensor([0.1 * 0.25, 0.1 * 0.24, -0.05 * 0.21, -0.05 * 0.16], dtype=dtype)
    torch.testing.assert_close(layer.weight[0].flatten(), expected)
    # feature 1 did not win, but the first update clamps all weights
    torch.testing.assert_close(layer.weight[1].flatten(), torch.tensor([0.9, 0.95, 1.0, 0.0], dtype=dtype))
    assert layer.weight.dtype == dtype
    assert not layer.weight.requires_grad


def test_stdp_without_stabilizer_and_with_bounds():
    layer, stdp, call = one_neuron(use_stabilizer=False, lower_bound=0.2, upper_bound=0.65, learning_rate=(0.1, -0.3))
    stdp(*call)
    expected = torch.tensor([0.6, 0.65, 0.4, 0.5], dtype=torch.float64)
    torch.testing.assert_close(layer.weight[0].flatten(), expected)


def test_changes_come_from_the_weights_before_the_call():
    layer, stdp, (input_spikes, potentials, _) = one_neuron()
    # w = 1.5 lies outside the bounds: s(w) = 1.5 · (1 - 1.5) = -0.75, so that LTD raises it before it is clamped
    stdp(input_spikes, potentials, wave_of([[[6]], [[0]]], torch.float64), winners=[(1, 0, 0)])
    expected = [0.9 + 0.1 * 0.09, 0.95 - 0.05 * 0.0475, 1.0, 0.0]
    torch.testing.assert_close(layer.weight[1].flatten().tolist(), expected)


def test_several_winners_at_once_equal_one_after_another():
    generator = torch.Generator().manual_seed(0)
    wave = wave_of(torch.randint(0, T + 1, (3, 8, 8), generator=generator), torch.float64)
    layers = [snn.Convolution(3, 5, 3, 0.5, 0.1).double() for _ in range(2)]
    layers[1].load_weight(layers[0].weight)
    potentials = layers[0](wave)
    spikes = sf.fire(potentials, 6)
    winners = sf.get_k_winners(potentials, 4, 1, spikes)
    assert len(winners) == 4
    snn.STDP(layers[0], (0.01, -0.02))(wave, potentials, spikes, torch.tensor(winners))
    stdp = snn.STDP(layers[1], (0.01, -0.02))
    for winner in winners:
        stdp(wave, potentials, spikes, [winner])
    assert torch.equal(layers[0].weight, layers[1].weight)


def test_no_winners_change_nothing():
    layer, stdp, (input_spikes, potentials, output_spikes) = one_neuron()
    before = layer.weight.clone()
    stdp(input_spikes, potentials, output_spikes, winners=[])
    stdp(input_spikes, potentials, output_spikes * 0)
    stdp(input_spikes, potentials, output_spikes, kwta=0)
    assert torch.equal(layer.weight, before)


@pytest.mark.parametrize("how", ["load_weight", "load_state_dict", "in place", "another tensor"])
def test_replaced_weights_are_clamped_again(how):
    layer, stdp, call = one_neuron()
    stdp(*call)
    weight = torch.full_like(layer.weight, 2)
    if how == "load_weight":
        layer.load_weight(weight)
    elif how == "load_state_dict":
        layer.load_state_dict({"weight": weight})
    elif how == "in place":
        layer.weight[1] = 2
    else:
        layer.weight.data = weight
    stdp(*call)
    assert torch.equal(layer.weight[1], torch.ones_like(weight[1]))


def test_between_updates_only_the_winners_are_touched():
    layer, stdp, call = one_neuron(use_stabilizer=False)
    anti = snn.STDP(layer, (-0.1, 0.05), use_stabilizer=False)
    stdp(*call)
    layer.weight.data[1, 0, 0, 0] = 2  # torch does not count this as a change
    anti(*call)
    assert layer.weight[1, 0, 0, 0] == 2
    other_bounds = snn.STDP(layer, (0.1, -0.05), upper_bound=0.9)
    other_bounds(*call)
    assert layer.weight[1, 0, 0, 0] == 0.9


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_denormal_weights_become_zero(dtype):
    layer, stdp, call = one_neuron(dtype, learning_rate=(0, -0.5))
    tiny = torch.finfo(dtype).tiny
    layer.weight[0] = torch.tensor([[tiny / 2, tiny], [tiny, 4 * tiny]], dtype=dtype)
    stdp(*call)
    assert layer.weight[0].flatten().tolist() == [0, tiny, 0, 2 * tiny]


def test_rates_are_copied():
    rates = [(0.1, -0.05), (0.2, -0.1)]
    given = copy.deepcopy(rates)
    _, stdp, _ = one_neuron(learning_rate=given)
    stdp.update_all_learning_rate(1, -1)
    assert given == rates


def test_rates_of_another_rule_can_be_given():
    layer, stdp, _ = one_neuron(learning_rate=[(0.1, -0.05), (0.2, -0.1)])
    assert torch.equal(snn.STDP(layer, stdp.learning_rate).ltp, stdp.ltp)
    assert snn.STDP(layer, stdp.learning_rate[1]).ltd.tolist() == [-0.1, -0.1]


def test_rates_read_and_set():
    _, stdp, _ = one_neuron(torch.float32, learning_rate=[(0.1, -0.05), (0.2, -0.1)])
    assert [(ap.item(), an.item()) for ap, an in stdp.learning_rate] == [(0.1, -0.05), (0.2, -0.1)]
    stdp.update_learning_rate(1, 0.3, -0.15)
    stdp.learning_rate[0][1].fill_(-0.025)
    assert stdp.ltp.tolist() == [0.1, 0.3]
    assert stdp.ltd.tolist() == [-0.025, -0.15]
    assert stdp.learning_rate[1][0].shape == (1,)
    stdp.update_all_learning_rate(stdp.learning_rate[1][0] * 2, torch.tensor(-0.5))
    assert stdp.ltp.tolist() == [0.6, 0.6]
    assert stdp.ltd.tolist() == [-0.5, -0.5]


def test_each_feature_learns_at_its_own_rate():
    layer, stdp, (input_spikes, potentials, _) = one_neuron(learning_rate=[(0.1, 0), (0.2, 0)], use_stabilizer=False)
    layer.load_weight(torch.full_like(layer.weight, 0.5))
    spikes = wave_of([[[2]], [[2]]], torch.float64)
    stdp(input_spikes, potentials, spikes, winners=[(1, 0, 0), (0, 0, 0)])
    torch.testing.assert_close(layer.weight[:, 0, 0, 0].tolist(), [0.6, 0.7])
    torch.testing.assert_close(layer.weight[:, 0, 1, 1].tolist(), [0.5, 0.5])


def test_the_state_holds_everything_once():
    network = torch.nn.Module()
    network.conv = snn.Convolution(1, 200, 2)
    network.stdp = snn.STDP(network.conv, (0.004, -0.003))
    network.anti_stdp = snn.STDP(network.conv, (-0.004, 0.0005))
    assert set(network.state_dict()) == {
        "conv.weight", "stdp.ltp", "stdp.ltd", "anti_stdp.ltp", "anti_stdp.ltd"
    }  # fmt: skip
    twin = copy.deepcopy(network)
    assert twin.stdp.conv_layer is twin.conv
    assert twin.conv is not network.conv


def test_stdp_errors():
    layer, stdp, (input_spikes, potentials, output_spikes) = one_neuron()
    with pytest.raises(ValueError, match=r"2x2 kernel needs a \(padded\) input of 2x2"):
        stdp(sf.pad(input_spikes, (1, 1, 1, 1)), potentials, output_spikes)
    with pytest.raises(ValueError, match="not cumulative"):
        stdp(input_spikes, potentials, output_spikes.flip(0), winners=[(0, 0, 0)])
    with pytest.raises(IndexError):
        stdp(input_spikes, potentials, output_spikes, winners=[(2, 0, 0)])
    with pytest.raises(ValueError, match="learning_rate of 2 features"):
        snn.STDP(layer, [(0.1, -0.1)] * 3)
    with pytest.raises(ValueError, match="not below"):
        snn.STDP(layer, (0.1, -0.1), lower_bound=1)


def test_the_rule_with_plain_numbers_is_exact_in_float64():
    weight = torch.tensor([0.25, 0.5], dtype=torch.float64)
    change = sf.stdp_change(weight, torch.tensor([True, False]), 0.1, -0.2, use_stabilizer=False)
    assert change.tolist() == [0.1, -0.2]


# encoding


def test_to_pair():
    assert utils.to_pair(3) == (3, 3)
    assert utils.to_pair([1, 2]) == (1, 2)
    with pytest.raises(ValueError, match="3 values"):
        utils.to_pair((1, 2, 3))


def test_inhibition_kernel():
    assert utils.generate_inhibition_kernel([-2, 3]).tolist() == [
        [3, 3, 3, 3, 3],
        [3, -2, -2, -2, 3],
        [3, -2, 0, -2, 3],
        [3, -2, -2, -2, 3],
        [3, 3, 3, 3, 3],
    ]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_lateral_inhibition_counts_weaker_neighbours(dtype):
    image = torch.tensor([[1.0, 1.0], [4.0, 2.0]], dtype=dtype).view(1, 1, 2, 2)
    result = utils.LateralIntencityInhibition([0.5])(image)
    # 5 zeros around each corner; then 0, 0, 3 and 2 weaker neighbours inside
    torch.testing.assert_close(result.flatten(), torch.tensor([3.5, 3.5, 20.0, 9.0], dtype=dtype))
    with pytest.raises(ValueError, match="odd side"):
        sf.intensity_lateral_inhibition(image, torch.ones(2, 2))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_local_normalization_by_hand(dtype):
    image = torch.tensor([[9.0, 0.0], [0.0, 18.0]], dtype=dtype).view(1, 1, 2, 2)
    result = sf.local_normalization(image, 1)
    torch.testing.assert_close(result.flatten(), torch.tensor([3.0, 0.0, 0.0, 6.0], dtype=dtype))
    assert sf.local_normalization(torch.zeros(1, 2, 5, 5, dtype=dtype), 2).abs().sum() == 0
    torch.testing.assert_close(sf.local_normalization(image.long(), 1).to(dtype), result)


def test_kernels_are_balanced():
    for kernel in (utils.DoGKernel(7, 1, 2), utils.DoGKernel(7, 2, 1), utils.GaborKernel(7, 30)):
        assert kernel().shape == (7, 7)
        assert kernel().sum().item() == pytest.approx(0, abs=1e-5)
        assert kernel().max() == 1
    with pytest.raises(NotImplementedError, match="FilterKernel defines no kernel"):
        utils.FilterKernel(3)()


def test_filter_thresholds_each_kernel_and_pads_the_small_ones():
    one, cross = torch.ones(1, 1), torch.tensor([[0.0, 1, 0], [1, 0, 1], [0, 1, 0]])
    image = torch.arange(9).view(1, 1, 3, 3)
    response = utils.Filter([one, -cross], padding=1)(image)
    assert response[0, 0].tolist() == [[0, 1, 2], [3, 4, 5], [6, 7, 8]]
    assert response[0, 1].tolist() == [[-4, -6, -6], [-10, -16, -14], [-10, -18, -12]]
    response = utils.Filter([one, -cross], padding=1, thresholds=[5, 14], use_abs=True)(image.double())
    assert response.dtype == torch.float64
    assert response[0, 0].tolist() == [[0, 0, 0], [0, 0, 5], [6, 7, 8]]
    assert response[0, 1].tolist() == [[0, 0, 0], [0, 16, 14], [0, 18, 0]]
    response = utils.Filter([torch.tensor([[1]])], thresholds=2.5)(image / 2)  # integers, and a threshold between them
    assert response[0, 0].tolist() == [[0, 0, 0], [0, 0, 2.5], [3, 3.5, 4]]


def test_filter_errors():
    with pytest.raises(ValueError, match="3 thresholds for 1 kernels"):
        utils.Filter([torch.ones(3, 3)], thresholds=[1, 2, 3])
    with pytest.raises(ValueError, match="at least one kernel"):
        utils.Filter([])


def latencies_of(values, bins):
    wave = utils.Intensity2Latency(bins, to_spike=True)(torch.tensor(values).view(1, 1, 1, -1))
    return sf.wave_to_latency(wave).flatten().tolist()


def test_intensity_to_latency_by_hand():
    # 7 values in 3 bins of 2: the weakest never spikes, nor does the zero
    assert latencies_of([7.0, 0.0, 1.0, 6.0, 2.0, 5.0, 3.0, 4.0], 3) == [0, 3, 3, 0, 2, 1, 2, 1]
    image = torch.tensor([[[[3.0, 0.0], [1.0, 2.0]]]], dtype=torch.float64)
    wave = utils.Intensity2Latency(3)(image)
    assert wave.dtype == torch.float64
    assert wave.flatten(1).tolist() == [[3, 0, 0, 0], [3, 0, 0, 2], [3, 0, 1, 2]]


def test_intensity_to_latency_with_fewer_values_than_bins():
    assert latencies_of([1.0, 0.0, 3.0, 2.0], 5) == [2, 5, 0, 1]


def test_a_blank_image_is_silent():
    assert latencies_of([0.0, 0.0], 4) == [4, 4]


def test_equal_intensities_rank_by_index():
    assert latencies_of([1.0, 1.0, 1.0, 1.0], 2) == [0, 0, 1, 1]


def test_intensity_to_latency_errors():
    with pytest.raises(ValueError, match=r"an image is \(1, C, H, W\)"):
        utils.Intensity2Latency(3)(torch.ones(2, 1, 4, 4))
    with pytest.raises(ValueError, match="at least one"):
        utils.Intensity2Latency(0)


# files and caches


@pytest.mark.parametrize("shape", [(2, 3), (4,), (), (0, 2)])
def test_tensors_survive_as_text(tmp_path, shape):
    path = tmp_path / "tensor.txt"
    numbers = torch.rand(shape) / 3
    utils.tensor_to_text(numbers, path)
    assert torch.equal(utils.text_to_tensor(str(path)), numbers)
    integers = torch.randint(-5, 5, shape)
    for written in (integers, integers > 0):
        utils.tensor_to_text(written, path)
        assert torch.equal(utils.text_to_tensor(path, type="int"), written.long())


def test_text_layout(tmp_path):
    path = tmp_path / "tensor.txt"
    utils.tensor_to_text(torch.tensor([[1, 2], [3, 4]]), path)
    assert path.read_text().split() == ["2,2", "1,2,3,4"]
    with pytest.raises(ValueError, match="'float' or 'int'"):
        utils.text_to_tensor(path, "bool")


class Counting(Dataset):
    def __init__(self):
        self.calls = []

    def __getitem__(self, index):
        self.calls.append(index)
        return torch.full((2,), float(index)), index

    def __len__(self):
        return 4


@pytest.mark.parametrize("on_disk", [False, True])
def test_cache_computes_once(tmp_path, on_disk):
    dataset = Counting()
    cache = utils.CacheDataset(dataset, str(tmp_path / "new" / "folder") if on_disk else None)
    cache.reset_cache()  # nothing cached yet
    assert len(cache) == 4
    for _ in range(2):
        sample, target = cache[torch.tensor(3)]
        assert sample.tolist() == [3, 3]
        assert target == 3
    assert dataset.calls == [3]
    cache.reset_cache()
    assert cache[3][1] == 3
    assert dataset.calls == [3, 3]


def test_cache_on_disk_leaves_no_halves(tmp_path):
    utils.CacheDataset(Counting(), tmp_path)[1]
    assert [path.name for path in tmp_path.iterdir()] == ["1.cached"]
    unsaveable = [(torch.ones(1), lambda: 0)]
    with pytest.raises(Exception, match=r"pickle|lambda"):
        utils.CacheDataset(unsaveable, tmp_path)[0]
    with pytest.raises(TypeError, match="tensors and plain Python values"):
        utils.CacheDataset([(torch.ones(1), np.int64(3))], tmp_path)[0]
    assert list(tmp_path.iterdir()) == []  # the new caches started empty, and their only entry failed


def test_cache_on_disk_is_shared_by_workers(tmp_path):
    dataset = Counting()
    cache = utils.CacheDataset(dataset, tmp_path)
    for _ in range(2):
        samples = torch.cat([sample for sample, _ in DataLoader(cache, num_workers=1)])
        assert samples[:, 0].tolist() == [0, 1, 2, 3]
    cache[2]
    assert dataset.calls == []  # the worker computed and wrote every entry


# pictures and deep features


def test_pictures(tmp_path, monkeypatch):
    import matplotlib
    import matplotlib.pyplot as plt

    matplotlib.use("agg")
    path = tmp_path / "maps.png"
    vis.plot_tensor_in_image(path, torch.rand(5, 4, 4))
    assert path.read_bytes().startswith(b"\x89PNG")
    figure = vis.show_tensor(torch.rand(3, 3), 0, 2)
    (axes,) = figure.axes
    assert axes.images[0].get_clim() == (0, 2)
    plt.close(figure)
    with pytest.raises(ValueError, match="a picture needs"):
        vis.plot_tensor_in_image(path, torch.rand(3))


def test_deep_feature_by_hand():
    pre_feature = torch.tensor([[[1.0, 2.0]], [[4.0, 0.0]]])  # two features of 1 × 2 pixels
    weights = torch.tensor([[[[1.0, 0.5]], [[0.5, 1.0]]]])  # (1, 2, 1, 2)
    feature, stride = vis.get_deep_feature(pre_feature, 1, (1, 2), 1, weights)
    # offset 0: max(1·1, .5·4), max(1·2, 0); offset 1: max(.5·1, 1·4), max(.5·2, 0)
    assert feature.tolist() == [[[2, 2 + 4, 1]]]
    assert stride == (1, 1)
    feature, stride = vis.get_deep_feature(pre_feature, (2, 1), (2, 3), (2, 3))
    assert feature.tolist() == [[[0, 0, 0, 0], [0, 1, 2, 0], [0, 0, 0, 0]], [[0, 0, 0, 0], [0, 4, 0, 0], [0, 0, 0, 0]]]
    assert stride == (4, 3)
    with pytest.raises(ValueError, match="do not fit"):
        vis.get_deep_feature(pre_feature, 1, 2, 1, weights)
