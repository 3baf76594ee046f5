"""Stages without weights: each kind on both backends, a kind of one's own, and what it must not do."""

import math
from dataclasses import dataclass
from fractions import Fraction
from unittest import mock

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from support.command import MACHINE, SMALL, dont_draw, start, start_evaluation
from support.draws import draw_maps
from support.golden_traces import GOLDEN
from support.refusals import assert_refuses, refuses
from torch.nn import functional as F

import evaluate
from engine.backends import BACKENDS
from engine.compiled import compiled
from engine.layers import Layer, Operation
from engine.plugins import PLUGINS, import_plugin
from engine.stages import STAGES, Branches, Inhibit, Pool, SpikingConv, Stage
from models import build_model
from report.exports.draw import write_drawing_page
from report.exports.nir import write_nir
from report.summary import summarize
from s1c1 import S1C1
from training.trained import load_network
from utils import ROOT

PLUGIN = ROOT / "tutorial" / "mean_pool.py"
DIGITS = torch.from_numpy(GOLDEN["encoding"][:3])


@pytest.fixture
def mean_pool():
    """The stage of the tutorial."""
    import_plugin(PLUGIN)
    return STAGES["MeanPool"]


@settings(max_examples=30)
@given(st.integers(1, 9), st.integers(1, 9), st.integers(1, 4), st.integers(0, 999))
def test_a_stage_of_ones_own(height, width, size, seed):
    """The mean time of the spikes of each window, worked out by fractions."""
    assume(size <= min(height, width))
    import_plugin(PLUGIN)
    stage = STAGES["MeanPool"](size)
    latency = draw_maps(2, 3, height, width, seed=seed)
    expected = torch.full((2, 3, height // size, width // size), 15, dtype=torch.uint8)
    for n, c, y, x in np.ndindex(*expected.shape):
        window = latency[n, c, y * size : (y + 1) * size, x * size : (x + 1) * size].flatten().tolist()
        times = [time for time in window if time < 15]
        if times:
            expected[n, c, y, x] = math.floor(Fraction(sum(times), len(times)) + Fraction(1, 2))
    for backend in BACKENDS:
        assert torch.equal(Operation(stage, 3, 15, backend).fire(latency), expected)


def test_a_network_with_it(mean_pool):
    """The convolution below does not take it for a pooling that it can compute with its own spikes."""
    model = build_model("mozafari2018", overrides={"c1": mean_pool(2)}, dtype=torch.float64)
    maps = dict(model.walk(DIGITS))
    assert torch.equal(dict(model.walk(DIGITS, ["c1"]))["c1"], maps["c1"])
    assert torch.equal(maps["c1"], mean_pool(2).fire(maps["s1"], 15))
    assert not torch.equal(maps["c1"], Pool(2).fire(maps["s1"], 15))
    (line,) = (line for line in summarize(model).splitlines() if line.startswith("c1"))
    assert line.split() == ["c1", "mean", "pooling", "2×2", "30×14×14", "6×6"]


def test_a_pooling_that_overrides_the_published_one():
    """Neither the compiled code of its base nor the pooling by the convolution below takes its place."""

    class Latest(Pool):
        def fire(self, latency, time_steps):
            return self.split(latency, time_steps).amax(4)

    model = build_model("mozafari2018", overrides={"c1": Latest(2)}, dtype=torch.float64)
    s1, c1 = (model.map_of(DIGITS, name) for name in ("s1", "c1"))
    assert torch.equal(c1, F.max_pool2d(s1.float(), 2).byte())


def test_a_run_with_it(tmp_path, monkeypatch):
    """Trained, tested, and read from its checkpoint, which names it; without the plugin, it cannot be read."""
    dont_draw(monkeypatch)
    assert start(f"{SMALL} --model mean_pooled --plugin {PLUGIN} --dry-run --name run", tmp_path) == 0
    network = load_network(tmp_path / "run")
    assert str(network.model.declaration["c1"]) == "MeanPool(inputs=(), size=2, padding=0)"
    assert network.classify(np.zeros((2, 28, 28), np.uint8))[0].shape == (2,)
    assert start_evaluation(f"{tmp_path / 'run'} --plugin {PLUGIN} {MACHINE}", tmp_path) == 0
    with mock.patch.dict(PLUGINS, clear=True):
        assert_refuses(evaluate.main, f"{tmp_path / 'run'} {MACHINE}", f"--plugin {PLUGIN}")
    page = (tmp_path / "run" / "index.html").read_text(encoding="utf-8")
    assert "the mean time of the spikes of each 2×2 window" in page


def test_exports_refuse_it(mean_pool, tmp_path):
    model = build_model("mozafari2018", overrides={"c1": mean_pool(2)})
    network = type("Network", (), {"model": model, "encoder": S1C1()})
    with refuses("MeanPool"):
        write_drawing_page(tmp_path / "page.html", network, DIGITS, np.zeros(len(DIGITS), int), np.arange(2), {})
    pytest.importorskip("nir")
    with refuses("MeanPool"):
        write_nir(tmp_path / "network.nir", model, tuple("0123456789"))


@compiled
def delay(latency, silent, out):
    for n in range(len(latency)):
        out[n] = min(latency[n] + 1, silent)


def test_compiled_code_of_ones_own():
    """A stage that reads one position needs its formula only; its compiled code runs on the event backend."""
    calls = []

    class Delay(Stage):
        title = "delay"

        def fire(self, latency, time_steps):
            return (latency + 1).clamp(max=time_steps)

        def fire_compiled(self, latency, time_steps):
            calls.append(time_steps)
            out = torch.empty_like(latency)
            delay(latency.numpy().ravel(), time_steps, out.numpy().ravel())
            return out

    latency = draw_maps(2, 3, 4, 4)
    maps = [Operation(Delay(), 3, 15, backend).fire(latency) for backend in BACKENDS]
    assert torch.equal(*maps)
    assert calls == [15]

    class Twice(Delay):
        def fire(self, latency, time_steps):
            return (latency + 2).clamp(max=time_steps)

    assert torch.equal(Operation(Twice(), 3, 15).fire(latency), (latency + 2).clamp(max=15))
    assert calls == [15]


@pytest.mark.parametrize(
    "wrong", [lambda latency: latency.float(), lambda latency: latency[..., 1:], lambda latency: latency + 16, list]
)
def test_a_wrong_map_is_refused(wrong, backend):
    class Wrong(Stage):
        def fire(self, latency, time_steps):
            return wrong(latency)

    with refuses("Wrong.fire must return uint8"):
        Operation(Wrong(), 3, 15, backend).fire(draw_maps(2, 3, 4, 4))


def declare_larger():
    """A convolution whose shape is false: the kernels would write beyond the end of the map."""

    @dataclass(frozen=True)
    class Larger(SpikingConv):
        def shape(self, maps):
            return 30, 100, 100

    return Larger


def test_a_layer_by_hand_refuses_a_stage_that_does_not_describe_it(backend):
    """The kernels take the size of the map from the stage."""
    latency = draw_maps(2, 6, 9, 9)
    with refuses("Larger"):
        Layer(declare_larger()(30, 5, threshold=15), 6, 15, backend).fire(latency)
    layer = Layer(SpikingConv(30, 5, threshold=15), 6, 15, backend)
    with refuses("stage of a layer"):
        layer.stage = SpikingConv(300, 3, threshold=15)


def test_a_stage_without_a_computation_and_a_convolution_of_ones_own_are_refused():
    class Nothing(Stage):
        pass

    with refuses("fire"):
        build_model("mozafari2018", overrides={"c1": Nothing()})
    with refuses("weights"):
        build_model("mozafari2018", overrides={"s1": declare_larger()(30, 5, padding=2, threshold=15)})


@settings(max_examples=30)
@given(st.integers(1, 9), st.integers(1, 9), st.integers(1, 4), st.integers(0, 3), st.integers(0, 999))
def test_pooling_and_inhibition_take_the_spikes_of_a_rank(height, width, size, padding, seed):
    """Lines and columns that do not fill a window are dropped; what is padded is silent."""
    assume(2 * padding <= size <= min(height, width) + 2 * padding)
    rng = np.random.default_rng(seed)
    rank = 1 if padding else int(rng.integers(size**2)) + 1
    latency = torch.from_numpy(rng.integers(0, 16, (2, 3, height, width), np.uint8))
    spikes = F.pad(latency, (padding,) * 4, value=15)
    expected = spikes.unfold(2, size, size).unfold(3, size, size).flatten(4).sort(4).values[..., rank - 1]
    stage = Pool(size, padding=padding, rank=rank)
    for backend in BACKENDS:
        assert torch.equal(Operation(stage, 3, 15, backend).fire(latency), expected)
        assert Operation(stage, 3, 15, backend).fire(latency[:0]).shape == (0, *stage.shape([latency.shape[1:]]))
    latency, share = latency % 6, 1 - rng.random()  # six different times: many are equal
    earlier = (latency[:, None] < latency[:, :, None]).sum(2)  # how many features spike before each spike
    expected = torch.where(earlier < share * 3, latency, 5)
    for backend in BACKENDS:
        assert torch.equal(Operation(Inhibit(share), 3, 5, backend).fire(latency), expected)


def test_a_share_of_features_passes_whatever_the_rounding(backend):
    """⌈share · F⌉ of 100 times, so one at least: 0.07 · 100 is 7.000000000000001 in floats."""
    latency = torch.arange(100, dtype=torch.uint8).reshape(1, 100, 1, 1)
    for share, count in ((1e-12, 1), *((percent / 100, percent) for percent in range(1, 101))):
        passed = Operation(Inhibit(share), 100, 100, backend).fire(latency)
        assert int((passed < 100).sum()) == count


def test_neurons_above_branches_see_what_the_widest_branch_sees():
    branches = Branches(*(SpikingConv(4, kernel, threshold=1) for kernel in (3, 5)))
    assert branches.receptive_field(3, 2) == (11, 2)


def test_more_weights_than_the_kernels_can_count_are_refused(monkeypatch):
    """The features are padded by 32 at most."""
    monkeypatch.setattr("engine.stages.convolution.MAX_WEIGHTS", (7 + 32) * 3 * 9)
    assert SpikingConv(7, 3, threshold=1).weight_shape(3) == (7, 3, 3, 3)
    with refuses("out_channels"):
        SpikingConv(8, 3, threshold=1).weight_shape(3)
