"""The operations of a network for an image, in the terms of NeuroBench (Yik et al. 2025), and an energy estimate.

Each spike adds every weight that it reaches to a potential: one *accumulate* for each weight. A conventional network of
the same shapes computes one *multiply-accumulate* (MAC) for each weight at each output position, whatever its input.
"""

from math import prod

import numpy as np
import torch

from engine.graph import LatencyMap
from engine.layers import Layer
from engine.stages import INPUT
from network_trainer import NetworkTrainer
from s1c1 import Encoder

COUNTED_TOGETHER = 200  # images: the counts of a neuron fit a byte, and the maps, before any pooling, the memory
SMALL_WEIGHT = 0.01
# Picojoules of an addition and a multiplication of 32-bit floating-point numbers in 45 nm (Horowitz, ISSCC 2014)
ADDITION = 0.9
MULTIPLICATION = 3.7
ASSUMPTIONS = (
    "an estimate for 32-bit floating point in 45 nm (Horowitz, ISSCC 2014) of the arithmetic only: it leaves out "
    "memory, which costs many times more, comparisons and leakage"
)


@torch.no_grad()
def measure_energy(model: NetworkTrainer, encoder: Encoder, latencies: LatencyMap) -> dict:
    """Count the operations of a network, means over the encoded images uint8 (N, C, H, W), and estimate their energy.

    Returns a dict of plain numbers:

    * ``stages``: {"input", stage, or branch of several: its counts for an image}, bottom up. ``spikes``: a neuron
      spikes at most once; the neurons of a decision stage have no threshold and are not counted. Of convolutions also
      ``neurons``, ``synaptic_additions`` (accumulates, also of weights that are 0), ``effective_accumulates`` (without
      these) and ``dense_macs`` (without padding). Poolings add no weights.
    * ``encoder_macs``: of the encoder's filters.
    * ``silent_neurons``: the fraction of the neurons with a threshold that do not spike, and ``activation_sparsity``:
      the fraction of (neuron, time step) without a spike; None if no neuron has a threshold.
    * ``parameters``, ``bytes``, and the fractions ``zero_weights`` and ``small_weights`` (below 0.01).
    * ``estimated_uj``: microjoules of the ``network``, of the ``encoder`` and of the ``dense`` network; see
      ``ASSUMPTIONS``.
    """
    stages = count_stages(model, latencies)
    firing = [stages[label] for label, layer in model.named_layers() if not layer.stage.decides]
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
    encoder_macs = encoder.count_macs(*latencies.shape[2:])
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


def count_stages(model: NetworkTrainer, latencies: LatencyMap) -> dict[str, dict[str, float]]:
    """Count the operations of each stage or branch, means over the images: ``stages`` of ``measure_energy``."""
    stages = {}

    def add(label: str, counts: dict[str, float]) -> None:
        sums = stages.setdefault(label, dict.fromkeys(counts, 0.0))
        for name, count in counts.items():
            sums[name] += float(count) / len(latencies)

    maps = [name for name in model.nodes if name != model.decision]
    for start in range(0, len(latencies), COUNTED_TOGETHER):
        images = latencies[start : start + COUNTED_TOGETHER]
        spikes = {INPUT: count_spikes(images, model.time_steps)}
        for name, latency in model.walk({INPUT: images}, maps):
            spikes[name] = count_spikes(latency, model.time_steps)
        add(INPUT, {"spikes": spikes[INPUT].sum()})
        for name in model.declaration:
            for label, counts in _count_stage(model, name, spikes):
                add(label, counts)
    shapes = model.shapes(*latencies.shape[2:])
    for name in model.declaration:
        for label, layer in model.named_layers([name]):
            stages[label] |= count_dense(layer, shapes[model.input_name(name)])
    return stages


def _count_stage(model, name, spikes):
    """Yield (label, counts) of a stage or its branches. spikes: {map: counts of each neuron}."""
    if not model.declaration[name].convs:
        yield name, {"spikes": spikes[name].sum()}
        return
    first = 0
    for label, layer in model.named_layers([name]):
        counts = count_operations(layer, spikes[model.input_name(name)])
        end = first + layer.stage.out_channels
        if name in spikes:
            counts = {"spikes": spikes[name][first:end].sum(), **counts}
        first = end
        yield label, counts


def count_spikes(latency: torch.Tensor, steps: int) -> np.ndarray:
    """Count the spikes of each neuron in at most 255 images: latencies (N, C, H, W) -> int64 (C, H, W)."""
    spiked = (latency < steps).numpy(force=True)
    counts = spiked.view(np.uint8).sum(0, dtype=np.uint8)
    return counts.astype(np.int64)


def count_operations(layer: Layer, spikes: np.ndarray) -> dict[str, int]:
    """Count the additions of a convolution for spikes below it, int64 (C, H, W): all, and those of nonzero weights."""
    reached = sum_taps(layer, spikes)
    nonzero = (layer.weight != 0).sum(0).numpy(force=True)
    additions = int(reached.sum()) * layer.stage.out_channels
    effective = int((reached * nonzero).sum())
    return {"synaptic_additions": additions, "effective_accumulates": effective}


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
    """Return the counts of ``measure_energy`` as a table, and the estimate as a line below it."""
    names = "spikes", "synaptic_additions", "effective_accumulates", "dense_macs"
    rows = [("per image", "spikes", "additions", "effective", "dense MACs")]
    totals = {name: total(energy["stages"], name) for name in names}
    stages = energy["stages"] | {"total": totals}
    for label, counts in stages.items():
        rows.append((label, *(_format_count(counts.get(name)) for name in names)))
    rows.append(("encoder", "", "", "", f"{energy['encoder_macs']:,.0f}"))
    first, *widths = (max(map(len, column)) for column in zip(*rows, strict=True))
    lines = []
    for label, *texts in rows:
        cells = [text.rjust(width) for text, width in zip(texts, widths, strict=True)]
        line = "  ".join([label.ljust(first), *cells])
        lines.append(line.rstrip())
    uj = {name: f"{value:.2f} µJ" for name, value in energy["estimated_uj"].items()}
    lines.append(f"{uj['network']}, encoder {uj['encoder']}, dense network {uj['dense']}: {ASSUMPTIONS}")
    return "\n".join(lines)


def _format_count(count):
    return f"{count:,.0f}" if count else ""
