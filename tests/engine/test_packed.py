"""Latency maps and spikes, packed: as lists of spikes; as bits, in memory and in a file."""

import tempfile

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.packed import PackedLatencies, PackedSpikes
from errors import InputError


@settings(max_examples=25, deadline=None)
@given(st.tuples(st.integers(1, 4), st.integers(1, 5), st.integers(1, 5)), st.integers(0, 9), st.integers(0, 2**32 - 1))
def test_reads_what_spiked_in_memory_and_in_a_file(shape, images, seed):
    """0 where a neuron spiked, whenever; the number of time steps where it did not; and when the first did."""
    latencies = torch.from_numpy(np.random.default_rng(seed).integers(0, 16, (images, *shape)).astype(np.uint8))
    expected = torch.where(latencies < 15, 0, 15).to(torch.uint8)
    with tempfile.TemporaryFile(buffering=0) as file:
        for packed in (PackedSpikes(images, shape, 15), PackedSpikes(images, shape, 15, file)):
            for start in range(0, images, 4):
                packed[start : start + 4] = latencies[start : start + 4]
            assert packed.shape == latencies.shape
            assert torch.equal(packed[:], expected)
            order = torch.from_numpy(np.random.default_rng(seed).permutation(images))
            assert torch.equal(packed[order], expected[order])
            assert [len(part) for part in packed.split(4)] == [len(part) for part in expected.split(4) if len(part)]


@settings(max_examples=50, deadline=None)
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
    packed = PackedLatencies(images, shape, time_steps)
    for start in range(0, images, 4):
        packed[start : start + 4] = latencies[start : start + 4]
    order = torch.from_numpy(rng.permutation(images))
    assert packed.shape == latencies.shape
    assert torch.equal(packed[:], latencies)
    assert torch.equal(packed[order], latencies[order])


def test_latency_maps_are_written_in_their_order_and_read_when_all_are_there():
    packed = PackedLatencies(3, (1, 4, 4), 15)
    with pytest.raises(InputError):
        packed[1:2] = torch.zeros((1, 1, 4, 4), dtype=torch.uint8)
    packed[0:2] = torch.zeros((2, 1, 4, 4), dtype=torch.uint8)
    with pytest.raises(InputError):
        packed[:1]


@pytest.mark.parametrize("kind", [PackedLatencies, PackedSpikes])
def test_takes_only_what_fits(kind):
    packed = kind(3, (2, 4, 4), 15)
    for start, shape in ((0, (1, 2, 4, 5)), (3, (1, 2, 4, 4)), (-1, (1, 2, 4, 4))):
        with pytest.raises(InputError):
            packed[start:] = torch.zeros(shape, dtype=torch.uint8)
    packed[:] = torch.zeros((3, 2, 4, 4), dtype=torch.uint8)
    with pytest.raises(IndexError):
        packed[torch.tensor([3])]


def test_a_file_that_ends_early_is_an_error():
    with tempfile.TemporaryFile(buffering=0) as file:
        packed = PackedSpikes(2, (1, 4, 4), 15, file)
        packed[:] = torch.zeros((2, 1, 4, 4), dtype=torch.uint8)
        file.truncate(3)
        with pytest.raises(OSError, match="image 1"):
            packed[torch.tensor([0, 1])]
