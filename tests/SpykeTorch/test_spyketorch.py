"""SpykeTorch's interface: numbers worked out by hand, and properties that hold for all spike waves."""

import copy

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from support.refusals import assert_each_refused
from torch.utils.data import DataLoader, Dataset

from SpykeTorch import functional as sf
from SpykeTorch import snn, utils
from SpykeTorch import visualization as vis

T = 6
both_types = pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
LATENCIES = arrays.arrays(
    np.uint8, st.tuples(st.integers(1, 3), st.integers(2, 6), st.integers(2, 6)), elements=st.integers(0, T)
).map(torch.from_numpy)


def wave_of(latency, dtype=torch.float32):
    return sf.latency_to_wave(torch.as_tensor(latency, dtype=torch.uint8), T, dtype)


def potentials_of(*steps):
    """Potentials of a layer of one row: per time step one list per feature."""
    return torch.tensor(steps, dtype=torch.float64).unsqueeze(2)


def one_neuron(dtype=torch.float64, learning_rate=(0.1, -0.05), **options):
    """A 2×2 kernel on inputs that spike at 0, 2, 3 and never, of a neuron that fires at 2; a second one is silent."""
    layer = snn.Convolution(1, 2, 2).to(dtype)
    layer.load_weight(torch.tensor([[[[0.5, 0.6], [0.7, 0.8]]], [[[0.9, 0.95], [1.5, -0.5]]]], dtype=dtype))
    output_spikes = wave_of([[[2]], [[6]]], dtype)
    call = wave_of([[[0, 2], [3, 6]]], dtype), output_spikes * 3, output_spikes
    return layer, snn.STDP(layer, learning_rate, **options), call


def learn(layer, spikes, **options):
    snn.STDP(layer, (0.1, -0.1), **options)(wave_of([[[0, 2], [3, 6]]], torch.float64), spikes, spikes, [(0, 0, 0)])


def bytes_of(*shape):
    return torch.zeros(shape, dtype=torch.uint8)


def learn_winner(winner):
    snn.STDP(snn.Convolution(1, 2, 2), (0.1, -0.1))(torch.ones(3, 1, 4, 4), None, torch.ones(3, 2, 3, 3), [winner])


MISTAKES = """
256          | sf.latency_to_wave(bytes_of(1, 1, 1), 256) | sf.wave_to_latency(torch.zeros(256, 1, 1, 1))
             | sf.latency_to_wave(torch.zeros(1, 1, 1), 3)
             | sf.latency_to_wave(torch.zeros(1, 1, 1, dtype=torch.bool), 3)
(1, 1, 5, 5) | snn.Convolution(2, 3, 5).load_weight(torch.ones(1, 1, 5, 5))
2, 2         | learn(snn.Convolution(1, 2, 2).double(), wave_of([[[2, 2]]], torch.float64))
cumulative   | learn(snn.Convolution(1, 2, 2).double(), wave_of([[[2]]]).flip(0))
             | learn_winner((-1, 0, 0)) | learn_winner((2, 0, 0)) | learn_winner((0, 3, 0)) | learn_winner((0, 0, -1))
             | learn_winner((0.5, 0, 0))
3            | utils.to_pair((1, 2, 3))
"""


def test_mistakes_are_named():
    assert_each_refused(MISTAKES, globals(), (ValueError, TypeError, IndexError, NotImplementedError))


# waves, latency maps and firing


@settings(max_examples=50)
@given(latency=LATENCIES)
def test_a_wave_and_a_latency_map_hold_the_same(latency):
    wave = sf.latency_to_wave(latency, T)
    assert all(torch.equal(wave[t] == 1, latency <= t) for t in range(T))
    assert torch.equal(sf.wave_to_latency(wave), latency)
    batch = torch.stack([latency, (T - latency.int()).to(torch.uint8)])
    waves = sf.latency_to_wave(batch, T, torch.bool)
    assert torch.equal(waves[0], wave.bool())
    assert torch.equal(sf.wave_to_latency(waves), batch)


@settings(max_examples=50)
@given(latency=LATENCIES, dtype=st.sampled_from([torch.uint8, torch.bool, torch.float32, torch.float64]))
def test_pooling_a_wave_is_a_minimum_of_latencies(latency, dtype):
    pooled = snn.Pooling(2)(wave_of(latency, dtype))
    assert pooled.dtype == dtype
    _, height, width = latency.shape
    windows = latency[:, : height // 2 * 2, : width // 2 * 2].unfold(1, 2, 2).unfold(2, 2, 2)
    assert torch.equal(sf.wave_to_latency(pooled), windows.amin((-2, -1)))
    padded = sf.pad(wave_of(latency, dtype), (1, 0, 2, 0))
    assert torch.equal(sf.wave_to_latency(padded), sf.pad(latency, (1, 0, 2, 0), T))


@both_types
def test_firing_is_strict(dtype):
    potentials = torch.tensor([1.0, 2.0, 3.0], dtype=dtype).view(3, 1, 1, 1)
    spikes, thresholded = sf.fire(potentials, 2, return_thresholded_potentials=True)
    assert spikes.dtype == thresholded.dtype == dtype
    assert (spikes.flatten().tolist(), thresholded.flatten().tolist()) == ([0, 0, 1], [0, 0, 3])


def test_without_a_threshold_positive_potentials_fire_in_the_last_step():
    spikes, thresholded = sf.fire(potentials_of([[1, 2, 0]], [[3, 0, -1]]), None, True)
    assert spikes[:, 0, 0].tolist() == [[0, 0, 0], [1, 0, 0]]
    assert thresholded[:, 0, 0].tolist() == [[0, 0, 0], [3, 0, 0]]


@pytest.mark.parametrize(
    ("name", "argument"),
    [("fire", 1.5), ("fire", None), ("threshold", 1.5), ("threshold", None), ("feature_inhibition", [1])],
)
def test_only_in_place_forms_change_their_argument(name, argument):
    potentials = potentials_of([[1, 2], [3, 0]], [[1, 2], [3, 1]])
    before = potentials.clone()
    expected = getattr(sf, name)(potentials, argument)
    assert torch.equal(potentials, before)
    assert getattr(sf, f"{name}_")(potentials, argument) is potentials
    assert torch.equal(potentials, expected)
    assert not torch.equal(potentials, before)


@pytest.mark.parametrize("features", [1, [1], torch.tensor([1]), torch.tensor([False, True, False])])
def test_feature_inhibition(features):
    assert sf.feature_inhibition(torch.ones(2, 3, 1, 1), features).flatten().tolist() == [1, 0, 1, 1, 0, 1]
    assert sf.feature_inhibition(torch.ones(1, 2, 1, 1), []).sum() == 2


# inhibition and winners


def test_pointwise_inhibition_breaks_ties_in_order():
    # columns: earlier beats higher; higher beats lower; equal: the lowest index; nothing crosses
    potentials = potentials_of([[0, 5, 0, 0], [4, 6, 0, 0], [0, 0, 0, 0]], [[9, 9, 0, 0], [5, 6, 7, 0], [8, 9, 7, 0]])
    expected = potentials_of([[0, 0, 0, 0], [4, 6, 0, 0], [0, 0, 0, 0]], [[0, 0, 0, 0], [5, 6, 7, 0], [0, 0, 0, 0]])
    assert torch.equal(sf.pointwise_inhibition(potentials), expected)


def test_winners_by_hand():
    # columns of three features: spike times 1 0 -, 0 0 -, - 1 1
    potentials = potentials_of([[0, 5, 0], [6, 5, 0], [0, 0, 0]], [[9, 9, 0], [6, 8, 0], [0, 7, 7]])
    # (1, 0) has the highest potential at time 0, then map 1 is out; (2, 1) and (2, 2) are equal, the first is chosen.
    assert sf.get_k_winners(potentials, 5) == [(1, 0, 0), (0, 0, 1), (2, 0, 1)]
    # A radius of 1 around (1, 0) also excludes column 1 of all maps.
    assert sf.get_k_winners(potentials, 5, 1) == [(1, 0, 0), (2, 0, 2)]
    assert sf.get_k_winners(potentials, 1) == [(1, 0, 0)]
    assert sf.get_k_winners(potentials, 0) == sf.get_k_winners(0 * potentials, 3) == []
    with pytest.raises(ValueError, match="spikes"):
        sf.get_k_winners(potentials, spikes=potentials[..., :1])


@settings(max_examples=40)
@given(latency=LATENCIES, kwta=st.integers(0, 4), radius=st.integers(0, 2), seed=st.integers(0, 99))
def test_winners_against_the_definition(latency, kwta, radius, seed):
    heights = torch.randint(1, 4, latency.shape, generator=torch.Generator().manual_seed(seed))
    left = sorted((latency[n].item(), -heights[n].item(), n) for n in map(tuple, (latency < T).nonzero().tolist()))
    expected = []
    while left and len(expected) < kwta:
        f, r, c = left[0][2]
        expected.append((f, r, c))
        left = [
            (time, height, at)
            for time, height, at in left
            if at[0] != f and (radius == 0 or max(abs(at[1] - r), abs(at[2] - c)) > radius)
        ]
    wave = sf.latency_to_wave(latency, T)
    assert sf.get_k_winners(wave * heights, kwta, radius, wave) == expected


# convolution


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32, torch.float64])
def test_convolution_takes_waves_of_any_type(dtype):
    layer = snn.Convolution(1, 1, 2).double()
    layer.load_weight(torch.tensor([[[[0.1, 0.2], [0.3, 0.4]]]], dtype=torch.float64))
    potentials = layer(wave_of([[[0, 1], [2, 6]]], dtype))
    assert potentials.dtype == torch.float64
    torch.testing.assert_close(potentials.flatten().tolist(), [0.1, 0.3, 0.6, 0.6, 0.6, 0.6])


def test_weights_are_drawn_and_have_no_gradient():
    layer = snn.Convolution(4, 8, (3, 5))
    assert (layer.in_channels, layer.out_channels, layer.kernel_size) == (4, 8, (3, 5))
    assert layer.weight.mean().item() == pytest.approx(0.8, abs=0.01)
    assert layer.weight.std().item() == pytest.approx(0.02, abs=0.01)
    layer.requires_grad_(True)  # with the rest of a larger network
    layer.reset_weight(0.25, 0)
    assert torch.equal(layer.weight, torch.full((8, 4, 3, 5), 0.25))
    assert not layer(torch.ones(1, 4, 3, 5)).requires_grad


@pytest.mark.parametrize(("shape", "padding"), [((4, 6, 9, 8), 0), ((1, 64, 7, 7), (2, 1))])
def test_both_ways_of_a_convolution_are_equal(shape, padding):
    """To the bit if the weights are 0 and 1, as after much STDP, otherwise up to rounding."""
    generator = torch.Generator().manual_seed(0)
    wave = (torch.rand(shape, generator=generator) < 0.3).float()
    weight = torch.rand((32, shape[1], 5, 3), generator=generator)
    matmul = torch.backends.cuda.matmul
    before = matmul.allow_tf32
    for weights, tolerance in ((weight.round(), 0), (weight, 1e-5)):
        torch.testing.assert_close(
            sf.multiply_windows(wave, weights, padding),
            F.conv2d(wave, weights, padding=padding),
            rtol=tolerance,
            atol=0,
        )
    assert matmul.allow_tf32 == before


gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")


@gpu
def test_a_gpu_computes_float32_in_full():
    generator = torch.Generator().manual_seed(0)
    wave, weight = (torch.rand(shape, generator=generator) for shape in ((1, 64, 9, 9), (32, 64, 5, 5)))
    exact = sf.conv2d(wave.double(), weight.double())
    torch.testing.assert_close(sf.conv2d(wave.cuda(), weight.cuda()).double().cpu(), exact, rtol=1e-5, atol=0)


@gpu
@pytest.mark.parametrize("kernel", [3, 5, 7])
def test_a_gpu_fires_at_whole_thresholds_as_the_cpu(kernel):
    """Weights of 0 and 1: V = θ does not fire. Winograd's sums of 3×3 kernels would, in half of the neurons."""
    generator = torch.Generator().manual_seed(0)
    wave = (torch.rand((15, 30, 20, 20), generator=generator) < 0.2).float().cummax(0).values
    weight = torch.rand((100, 30, kernel, kernel), generator=generator).round()
    potentials = sf.conv2d(wave, weight)
    assert (potentials == 10).any()
    on_gpu = sf.conv2d(wave.cuda(), weight.cuda())
    for threshold in range(5, 30):
        assert torch.equal(sf.fire(on_gpu, threshold).cpu(), sf.fire(potentials, threshold))


# STDP


def test_pre_post_ordering():
    _, stdp, (input_spikes, _, output_spikes) = one_neuron()
    ordering = stdp.get_pre_post_ordering(input_spikes, output_spikes, [(0, 0, 0), (1, 0, 0)])
    assert [causal.tolist() for causal in ordering] == [
        [[[True, True], [False, False]]],
        [[[True, True], [True, False]]],
    ]
    assert stdp.get_pre_post_ordering(input_spikes, output_spikes, []) == []
    input_spikes = wave_of(torch.arange(12).view(1, 3, 4).remainder(T + 1))  # 0 1 2 3 / 4 5 6 0 / 1 2 3 4
    (causal,) = stdp.get_pre_post_ordering(input_spikes, wave_of([[[6, 6, 6], [6, 6, 2]]]), [(0, 1, 2)])
    assert causal.tolist() == [[[False, True], [False, False]]]


@both_types
@pytest.mark.parametrize(
    ("lower", "upper", "stabilizers"),
    [
        (0, 1, [0.25, 0.24, 0.21, 0.16]),
        (-0.5, 2, [1.5, 1.54, 1.56, 1.56]),  # (w + 0.5) (2 - w)
    ],
)
def test_stdp_with_stabilizer(lower, upper, stabilizers, dtype):
    layer, stdp, call = one_neuron(dtype, lower_bound=lower, upper_bound=upper)
    assert stdp(*call) is None
    steps = [0.1, 0.1, -0.05, -0.05]
    expected = [w + step * s for w, step, s in zip([0.5, 0.6, 0.7, 0.8], steps, stabilizers, strict=True)]
    # feature 1 does not win, but the first update clamps all weights
    expected = torch.tensor([expected, [0.9, 0.95, 1.5, -0.5]], dtype=dtype).clamp(lower, upper)
    torch.testing.assert_close(layer.weight.detach().view(2, 4), expected)


def test_changes_come_from_the_weights_before_the_call():
    layer, stdp, (input_spikes, potentials, _) = one_neuron()
    # w = 1.5 lies outside the bounds: s(w) = 1.5 · (1 - 1.5) = -0.75, so that LTD raises it before it is clamped
    stdp(input_spikes, potentials, wave_of([[[6]], [[0]]], torch.float64), winners=[(1, 0, 0)])
    expected = [0.9 + 0.1 * 0.09, 0.95 - 0.05 * 0.0475, 1.0, 0.0]
    torch.testing.assert_close(layer.weight[1].flatten().tolist(), expected)


def test_no_winners_change_nothing():
    layer, stdp, (input_spikes, potentials, output_spikes) = one_neuron()
    before = layer.weight.clone()
    stdp(input_spikes, potentials, output_spikes, winners=[])
    stdp(input_spikes, potentials, output_spikes * 0)
    stdp(input_spikes, potentials, output_spikes, kwta=0)
    assert torch.equal(layer.weight, before)


@pytest.mark.parametrize(
    "replace", [
        lambda layer, weight: layer.load_weight(weight),
        lambda layer, weight: layer.load_state_dict({"weight": weight}),
        lambda layer, weight: layer.weight.copy_(weight), lambda layer, weight: setattr(layer.weight, "data", weight),
    ],
)  # fmt: skip
def test_replaced_weights_are_clamped_again(replace):
    layer, stdp, call = one_neuron()
    stdp(*call)
    replace(layer, torch.full_like(layer.weight, 2))
    stdp(*call)
    assert (layer.weight[1] == 1).all()


def test_between_updates_only_the_winners_are_touched():
    layer, stdp, call = one_neuron(use_stabilizer=False)
    stdp(*call)
    layer.weight.data[1, 0, 0, 0] = 2  # torch does not count this as a change
    snn.STDP(layer, (-0.1, 0.05), use_stabilizer=False)(*call)
    assert layer.weight[1, 0, 0, 0] == 2
    snn.STDP(layer, (0.1, -0.05), upper_bound=0.9)(*call)  # other bounds
    assert layer.weight[1, 0, 0, 0] == 0.9


@both_types
def test_denormal_weights_become_zero(dtype):
    layer, stdp, call = one_neuron(dtype, learning_rate=(0, -0.5))
    tiny = torch.finfo(dtype).tiny
    layer.weight[0] = torch.tensor([[tiny / 2, tiny], [tiny, 4 * tiny]], dtype=dtype)
    stdp(*call)
    assert layer.weight[0].flatten().tolist() == [0, tiny, 0, 2 * tiny]


def test_rates_are_copied_read_and_set():
    given = rates = [(0.1, -0.05), (0.2, -0.1)]
    layer, stdp, _ = one_neuron(torch.float32, learning_rate=given)
    assert [(ap.item(), an.item()) for ap, an in stdp.learning_rate] == rates
    assert torch.equal(snn.STDP(layer, stdp.learning_rate).ltp, stdp.ltp)
    assert snn.STDP(layer, stdp.learning_rate[1]).ltd.tolist() == [-0.1, -0.1]
    stdp.update_learning_rate(1, 0.3, -0.15)
    stdp.learning_rate[0][1].fill_(-0.025)
    assert (stdp.ltp.tolist(), stdp.ltd.tolist()) == ([0.1, 0.3], [-0.025, -0.15])
    assert stdp.learning_rate[1][0].shape == (1,)
    stdp.update_all_learning_rate(stdp.learning_rate[1][0] * 2, torch.tensor(-0.5))
    assert (stdp.ltp.tolist(), stdp.ltd.tolist()) == ([0.6, 0.6], [-0.5, -0.5])
    assert given == [(0.1, -0.05), (0.2, -0.1)]


def test_the_state_holds_everything_once():
    network = torch.nn.Module()
    network.conv = snn.Convolution(1, 200, 2)
    network.stdp = snn.STDP(network.conv, (0.004, -0.003))
    assert set(network.state_dict()) == {"conv.weight", "stdp.ltp", "stdp.ltd"}
    twin = copy.deepcopy(network)
    assert twin.stdp.conv_layer is twin.conv is not network.conv


# encoding


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


@pytest.mark.parametrize(
    ("values", "bins", "latencies"),
    [
        # 7 values in 3 bins of 2: the weakest never spikes, nor does the zero
        ([7.0, 0.0, 1.0, 6.0, 2.0, 5.0, 3.0, 4.0], 3, [0, 3, 3, 0, 2, 1, 2, 1]),
        ([1.0, 0.0, 3.0, 2.0], 5, [2, 5, 0, 1]),  # fewer values than bins
        ([0.0, 0.0], 4, [4, 4]),  # blank
        ([1.0, 1.0, 1.0, 1.0], 2, [0, 0, 1, 1]),  # equal values rank by index
    ],
)
def test_intensity_to_latency_by_hand(values, bins, latencies):
    image = torch.tensor(values, dtype=torch.float64).view(1, 1, 1, -1)
    spikes = utils.Intensity2Latency(bins, to_spike=True)(image)
    assert sf.wave_to_latency(spikes).flatten().tolist() == latencies
    wave = utils.Intensity2Latency(bins)(image)
    assert wave.dtype == torch.float64
    assert torch.equal(wave, spikes * image)


# files and caches


@pytest.mark.parametrize("shape", [(2, 3), (4,), (), (0, 2)])
def test_tensors_survive_as_text(tmp_path, shape):
    path = tmp_path / "tensor.txt"
    numbers, integers = torch.rand(shape) / 3, torch.randint(-5, 5, shape)
    utils.tensor_to_text(numbers, path)
    assert torch.equal(utils.text_to_tensor(str(path)), numbers)
    for written in (integers, integers > 0):
        utils.tensor_to_text(written, path)
        assert torch.equal(utils.text_to_tensor(path, type="int"), written.long())
    utils.tensor_to_text(torch.tensor([[1, 2], [3, 4]]), path)
    assert path.read_text().split() == ["2,2", "1,2,3,4"]


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
    cache.reset_cache()  # nothing is cached yet
    assert len(cache) == 4
    for index in (torch.tensor(3), 3, -1):
        sample, target = cache[index]
        assert (sample.tolist(), target) == ([3, 3], 3)
    assert dataset.calls == [3]
    assert [entry is None for entry in cache.cache] == [True, True, True, False]
    cache.reset_cache()
    assert cache.cache == [None] * 4
    assert cache[3][1] == 3
    assert dataset.calls == [3, 3]
    assert [path.name for path in tmp_path.glob("new/folder/*")] == ["3.cached"] * on_disk  # and no halves


def test_cache_on_disk_is_shared_by_workers(tmp_path):
    dataset = Counting()
    cache = utils.CacheDataset(dataset, tmp_path)
    for _ in range(2):
        samples = torch.cat([sample for sample, _ in DataLoader(cache, num_workers=1)])
        assert samples[:, 0].tolist() == [0, 1, 2, 3]
    assert cache[2][1] == 2
    assert dataset.calls == []  # the worker computed and wrote every entry


# pictures and deep features


def test_pictures(tmp_path):
    import matplotlib
    import matplotlib.pyplot as plt

    matplotlib.use("agg")
    path = tmp_path / "maps.png"
    vis.plot_tensor_in_image(path, torch.rand(5, 4, 4))
    assert plt.imread(path).std() > 0
    figure = vis.show_tensor(torch.rand(3, 3), 0, 2)
    (axes,) = figure.axes
    assert axes.images[0].get_clim() == (0, 2)
    plt.close(figure)
