"""Latency maps and spikes, packed: as lists of spikes; as bits, in memory and in a file."""

import tempfile

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from support.draws import draw_maps
from support.golden_traces import GOLDEN

from engine.packed import PackedLatencies, PackedSpikes
from models import build_model


def test_networks_learn_from_packed_maps():
    """In each stage, from a packed input, as from the map itself."""
    for name, stage in (("mozafari2018", "s1"), ("mozafari2018", "s2"), ("multiscale2026", "s3")):
        ends = []
        for is_packed in (False, True):
            latencies = torch.from_numpy(GOLDEN["encoding"][:6])
            if is_packed:
                packed = PackedLatencies(6, latencies.shape[1:], 15)
                packed[:6] = latencies
                latencies = packed
            model = build_model(name, dtype=torch.float64)
            model.train_unsupervised(latencies, stage)
            outcome = model.train_rl(latencies, GOLDEN["label"][:6])
            ends.append([torch.tensor(outcome), *model.state_dict().values()])
        assert all(map(torch.equal, *ends))


def check(packed, latencies, expected, seed):
    """Write four images at a time, and read all of them, also in another order."""
    for start in range(0, len(latencies), 4):
        packed[start : start + 4] = latencies[start : start + 4]
    assert packed.shape == latencies.shape
    assert torch.equal(packed[:], expected)
    order = torch.from_numpy(np.random.default_rng(seed).permutation(len(latencies)))
    assert torch.equal(packed[order], expected[order])


@settings(max_examples=25)
@given(st.tuples(st.integers(1, 4), st.integers(1, 5), st.integers(1, 5)), st.integers(0, 9), st.integers(0, 2**32 - 1))
def test_reads_what_spiked_in_memory_and_in_a_file(shape, images, seed):
    """0 where a neuron spiked, whenever; the number of time steps where it did not; and when the first did."""
    latencies = draw_maps(images, *shape, seed=seed)
    expected = torch.where(latencies < 15, 0, 15).to(torch.uint8)
    with tempfile.TemporaryFile(buffering=0) as file:
        for packed in (PackedSpikes(images, shape, 15), PackedSpikes(images, shape, 15, file)):
            check(packed, latencies, expected, seed)


@settings(max_examples=50)
@given(
    st.tuples(st.integers(1, 3), st.integers(1, 40), st.integers(1, 40)), st.integers(0, 9), st.integers(1, 254),
    st.sampled_from([0.0, 0.002, 0.1, 1.0]), st.integers(0, 2**32 - 1),
)  # fmt: skip
def test_lists_of_spikes_are_the_latency_maps(shape, images, time_steps, density, seed):
    """Whatever the number of time steps, and however long the silence between two spikes, or after the last."""
    rng = np.random.default_rng(seed)
    latencies = rng.integers(0, time_steps, (images, *shape))
    latencies[rng.random(latencies.shape) >= density] = time_steps
    latencies = torch.from_numpy(latencies.astype(np.uint8))
    check(PackedLatencies(images, shape, time_steps), latencies, latencies, seed)
    with pytest.raises(IndexError):
        PackedLatencies(1, shape, time_steps)[:]  # not written
