"""The operations of a network for an image: its spikes, and its accumulates (NeuroBench, Yik et al. 2025).

Each spike adds every weight that it reaches to a potential: one *accumulate* for each weight.
"""

from collections import Counter, defaultdict

import numpy as np
import torch
from torch.nn import functional as F

from engine.graph import LatencyMap
from engine.layers import Layer
from engine.stages import INPUT
from imagesets.splits import choose_evenly
from network_trainer import NetworkTrainer

COUNTED_TOGETHER = 200  # images, whose maps fit in memory, also before a pooling
COUNTED_IMAGES = 1000  # whose spikes are counted


@torch.no_grad()
def count_operations(model: NetworkTrainer, latencies: LatencyMap) -> dict[str, dict[str, float]]:
    """Count the operations of each stage or branch for encoded images uint8 (N, C, H, W).

    Returns {"input", stage, or branch of several: its counts for an image}, bottom up, means over at most
    ``COUNTED_IMAGES`` of the images, evenly spaced. ``spikes``: at most one of each neuron; the neurons of a stage
    without a threshold are not counted. ``synaptic_additions``, of convolutions: the accumulates, also of weights that
    are 0.
    """
    latencies = latencies[choose_evenly(len(latencies), COUNTED_IMAGES)]
    images = len(latencies)
    spikes = count_spikes(model, latencies)
    counts = {INPUT: {"spikes": spikes[INPUT].sum() / images}}
    for name, stage in model.declaration.items():
        if not stage.convs:
            counts[name] = {"spikes": spikes[name].sum() / images}
        below = model.input_name(name)
        first = 0
        for layer_name, layer in model.named_layers([name]):
            end = first + layer.stage.out_channels
            fired = {"spikes": spikes[name][first:end].sum() / images} if name in spikes else {}
            additions = count_reached(layer, spikes[below]) * layer.stage.out_channels
            counts[layer_name] = fired | {"synaptic_additions": additions / images}
            first = end
    return counts


def count_spikes(model: NetworkTrainer, latencies: torch.Tensor) -> dict[str, np.ndarray]:
    """Count the spikes of each neuron over all images: {map: int64 (C, H, W)}, of the input and of what fires."""
    names = [INPUT, *(name for name, node in model.nodes.items() if node.stage.fires)]
    spikes: dict = defaultdict(int)
    for images in latencies.split(COUNTED_TOGETHER):
        for name, latency in model.walk(images, names):
            fired = latency < model.time_steps
            spikes[name] += fired.sum(0).numpy(force=True)
    return spikes


def count_reached(layer: Layer, spikes: np.ndarray) -> int:
    """Count the output positions that spikes below a convolution reach, int64 (C, H, W)."""
    kernel = layer.stage.kernel
    padded = F.pad(torch.from_numpy(spikes), 4 * (layer.stage.padding,))
    return int(padded.unfold(1, kernel, 1).unfold(2, kernel, 1).sum())


def describe_operations(stages: dict[str, dict[str, float]]) -> str:
    """Return a line with the counts of all stages for an image."""
    total: Counter = Counter()
    for counts in stages.values():
        total.update(counts)
    return f"per image: {total['spikes']:,.0f} spikes, {total['synaptic_additions']:,.0f} additions of weights"
