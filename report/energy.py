"""The operations of a network for an image, in the terms of NeuroBench (Yik et al. 2025), and an energy estimate.

Each spike adds every weight that it reaches to a potential: one *accumulate* for each weight. A conventional network of
the same shapes computes one *multiply-accumulate* (MAC) for each weight at each output position, whatever its input.
"""

from collections import Counter
from math import prod

import numpy as np
import torch

from engine.encoder import Encoder
from engine.graph import LatencyMap
from engine.layers import Layer
from engine.stages import INPUT
from network_trainer import NetworkTrainer

COUNTED_TOGETHER = 200  # images, whose maps fit in memory, also before a pooling
MAX_IMAGES = 1000  # whose spikes are counted
SMALL_WEIGHT = 0.01
COUNTS = "spikes", "synaptic_additions", "effective_accumulates", "dense_macs"
# Picojoules of an addition and a multiplication of 32-bit floating-point numbers in 45 nm (Horowitz, ISSCC 2014)
ADDITION = 0.9
MULTIPLICATION = 3.7
ASSUMPTIONS = (
    "an estimate for 32-bit floating point in 45 nm (Horowitz, ISSCC 2014) of the arithmetic only: it leaves out "
    "memory, which costs many times more, comparisons and leakage"
)


@torch.no_grad()
def measure_energy(
    model: NetworkTrainer, encoder: Encoder, latencies: LatencyMap, image_size: tuple[int, int] | None = None
) -> dict:
    """Count the operations of a network for encoded images uint8 (N, C, H, W), and estimate their energy.

    The counts are means over at most ``MAX_IMAGES`` of the images, evenly spaced.

    image_size: height and width of the images; None: those of the latencies.

    Returns a dict of plain numbers:

    * ``stages``: {"input", stage, or branch of several: its counts for an image}, bottom up. ``spikes``: a neuron
      spikes at most once; the neurons of a stage without a threshold are not counted. Of convolutions also
      ``neurons``, ``synaptic_additions`` (accumulates, also of weights that are 0), ``effective_accumulates`` (without
      these) and ``dense_macs`` (without padding). Poolings add no weights.
    * ``encoder_macs``: of the encoder's filters.
    * ``silent_neurons``: the fraction of the neurons with a threshold that do not spike, and ``activation_sparsity``:
      the fraction of (neuron, time step) without a spike; None if no neuron has a threshold.
    * ``parameters``, ``bytes``, and the fractions ``zero_weights`` and ``small_weights`` (below 0.01).
    * ``estimated_uj``: microjoules of the ``network``, of the ``encoder`` and of the ``dense`` network; see
      ``ASSUMPTIONS``.
    """
    chosen = torch.linspace(0, len(latencies) - 1, min(MAX_IMAGES, len(latencies))).long()
    latencies = latencies[chosen.to(latencies.device)]
    stages = count_stages(model, latencies)
    firing = [stages[layer_name] for layer_name, layer in model.named_layers() if layer.stage.fires]
    neurons = sum(counts["neurons"] for counts in firing)
    spikes = sum(counts["spikes"] for counts in firing)
    silent = sparsity = None
    if neurons:
        silent = 1 - spikes / neurons
        sparsity = 1 - spikes / (neurons * model.time_steps)
    weights = [layer.weight for _, layer in model.named_layers()]
    parameters = sum(weight.numel() for weight in weights)
    zero = sum(int((weight == 0).sum()) for weight in weights)
    small = sum(int((weight < SMALL_WEIGHT).sum()) for weight in weights)
    encoder_macs = encoder.count_macs(*(image_size or latencies.shape[2:]))
    mac = ADDITION + MULTIPLICATION
    return {
        "stages": stages,
        "encoder_macs": encoder_macs,
        "silent_neurons": silent,
        "activation_sparsity": sparsity,
        "parameters": parameters,
        "bytes": sum(weight.numel() * weight.element_size() for weight in weights),
        "zero_weights": zero / parameters,
        "small_weights": small / parameters,
        "estimated_uj": {
            "network": total(stages, "effective_accumulates") * ADDITION * 1e-6,
            "encoder": encoder_macs * mac * 1e-6,
            "dense": total(stages, "dense_macs") * mac * 1e-6,
        },
    }


def count_stages(model: NetworkTrainer, latencies: torch.Tensor) -> dict[str, dict[str, float]]:
    """Count the operations of each stage or branch, means over the images: ``stages`` of ``measure_energy``."""
    spikes = count_spikes(model, latencies)
    shapes = model.shapes(*latencies.shape[2:])
    sums = {INPUT: {"spikes": spikes[INPUT].sum()}}
    dense = {}
    for name, stage in model.declaration.items():
        if not stage.convs:
            sums[name] = {"spikes": spikes[name].sum()}
        below = model.input_name(name)
        first = 0
        for layer_name, layer in model.named_layers([name]):
            end = first + layer.stage.out_channels
            fired = {"spikes": spikes[name][first:end].sum()} if name in spikes else {}
            sums[layer_name] = fired | count_operations(layer, spikes[below])
            dense[layer_name] = count_dense(layer, shapes[below])
            first = end
    counts = {}
    for layer_name, of_label in sums.items():
        means = {name: float(count) / len(latencies) for name, count in of_label.items()}
        counts[layer_name] = means | dense.get(layer_name, {})
    return counts


def count_spikes(model: NetworkTrainer, latencies: torch.Tensor) -> dict[str, np.ndarray]:
    """Count the spikes of each neuron over all images: {map: int64 (C, H, W)}, of the input and of what fires."""
    names = [INPUT, *(name for name, node in model.nodes.items() if node.stage.fires)]
    spikes = Counter()
    for images in latencies.split(COUNTED_TOGETHER):
        for name, latency in model.walk({INPUT: images}, names):
            fired = latency < model.time_steps
            spikes[name] = spikes[name] + fired.sum(0).numpy(force=True)
    return spikes


def count_operations(layer: Layer, spikes: np.ndarray) -> dict[str, int]:
    """Count the additions of a convolution for spikes below it, int64 (C, H, W): all, and those of nonzero weights."""
    reached = sum_taps(layer, spikes)
    nonzero = (layer.weight != 0).sum(0).numpy(force=True)
    additions = reached.sum() * layer.stage.out_channels
    return {"synaptic_additions": additions, "effective_accumulates": (reached * nonzero).sum()}


def count_dense(layer: Layer, shape: tuple[int, int, int]) -> dict[str, int]:
    """Count the neurons of a convolution, and the MACs of a conventional one of the same shapes: (C, H, W) below it."""
    taps = sum_taps(layer, np.ones(shape, np.int64))
    macs = int(taps.sum()) * layer.stage.out_channels
    return {"neurons": prod(layer.stage.shape([shape])), "dense_macs": macs}


def sum_taps(layer: Layer, values: np.ndarray) -> np.ndarray:
    """Sum what each tap of a kernel meets over all output positions: values (C, H, W) -> (C, k, k)."""
    pad = layer.stage.padding
    kernel = layer.stage.kernel
    _, rows, columns = layer.stage.shape([values.shape])
    padded = np.pad(values, ((0, 0), (pad, pad), (pad, pad)))
    taps = []
    for y, x in np.ndindex(kernel, kernel):
        met = padded[:, y : y + rows, x : x + columns]
        taps.append(met.sum((1, 2)))
    return np.stack(taps, 1).reshape(len(values), kernel, kernel)


def total(stages: dict[str, dict[str, float]], name: str) -> float:
    """Return the sum of a count over the stages that have it."""
    return sum(counts.get(name, 0) for counts in stages.values())


def describe_energy(energy: dict) -> str:
    """Return a line with the counts of ``measure_energy`` for an image and the estimate."""
    spikes, additions, effective, macs = (total(energy["stages"], name) for name in COUNTS)
    counts = f"{spikes:,.0f} spikes, {additions:,.0f} additions, {effective:,.0f} of them of weights above 0"
    uj = {name: f"{value:.2f} µJ" for name, value in energy["estimated_uj"].items()}
    estimate = f"{uj['network']}, encoder {uj['encoder']}, dense network of {macs:,.0f} MACs {uj['dense']}"
    return f"per image: {counts}; {estimate}: {ASSUMPTIONS}"
