"""Random images and latency maps, which follow from a seed."""

import numpy as np
import torch


def draw_pixels(*shape, seed=0, below=256):
    return np.random.default_rng(seed).integers(0, below, shape, np.uint8)


def draw_maps(*shape, seed=0, below=16):
    """Return latencies of 15 time steps. What is drawn from 15 to ``below - 1`` is silent."""
    return torch.from_numpy(draw_pixels(*shape, seed=seed, below=below)).clamp(max=15)
