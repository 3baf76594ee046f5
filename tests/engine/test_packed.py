"""Spikes kept as bits, in memory and in a file."""

import tempfile

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.packed import PackedSpikes
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
                packed.write(start, latencies[start : start + 4])
            assert packed.shape == latencies.shape
            assert torch.equal(packed[:], expected)
            order = torch.from_numpy(np.random.default_rng(seed).permutation(images))
            assert torch.equal(packed[order], expected[order])
            assert [len(part) for part in packed.split(4)] == [len(part) for part in expected.split(4) if len(part)]
            assert packed.earliest.tolist() == latencies.flatten(1).amin(1).tolist()


def test_takes_only_what_fits():
    packed = PackedSpikes(3, (2, 4, 4), 15)
    for start, shape in ((0, (1, 2, 4, 5)), (3, (1, 2, 4, 4)), (-1, (1, 2, 4, 4))):
        with pytest.raises(InputError, match="are not among"):
            packed.write(start, torch.zeros(shape, dtype=torch.uint8))
    with pytest.raises(IndexError):
        packed[torch.tensor([3])]


def test_a_file_that_ends_early_is_an_error():
    with tempfile.TemporaryFile(buffering=0) as file:
        packed = PackedSpikes(2, (1, 4, 4), 15, file)
        packed.write(0, torch.zeros((2, 1, 4, 4), dtype=torch.uint8))
        file.truncate(3)
        with pytest.raises(OSError, match="ends before image 1"):
            packed[torch.tensor([0, 1])]
