"""The operations of a network for an image, in the terms of NeuroBench (Yik et al. 2025), and an energy estimate.

Each spike adds every weight that it reaches to a potential: one *accumulate* for each weight. A conventional network of
the same shapes computes one *multiply-accumulate* (MAC) for each weight at each output position, whatever its input.
"""

from math import prod

import numpy as np
import torch

from engine.graph import LatencyMap, MapKey
from engine.packed import Packed
from engine.stages import INPUT, SpikingConv
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
def measure_energy(
    model: NetworkTrainer, encoder: Encoder, latencies: LatencyMap, kept: dict[MapKey, LatencyMap | None] | None = None
) -> dict:
    """Count the operations of a network, means over the encoded images uint8 (N, C, H, W), and estimate their energy.

    kept: {``model.input_name(stage)``: None} gets this map of the images, so that nobody computes it again.

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
    stages = count_stages(model, latencies, kept or {})
    firing = [stages[label] for label, conv in model.named_convs() if not conv.decides]
    neurons = sum(counts["neurons"] for counts in firing)
    spikes = sum(counts["spikes"] for counts in firing)
    silent = sparsity = None
    if neurons:
        silent = 1 - spikes / neurons
        sparsity = 1 - spikes / (neurons * model.time_steps)
    weights = [conv.weight for conv in model.convs()]
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


def count_stages(
    model: NetworkTrainer, latencies: LatencyMap, kept: dict[MapKey, LatencyMap | None]
) -> dict[str, dict[str, float]]:
    """Count the operations of each stage or branch, means over the images: ``stages`` of ``measure_energy``."""
    stages = {}

    def add(label: str, counts: dict[str, float]) -> None:
        sums = stages.setdefault(label, dict.fromkeys(counts, 0.0))
        for name, count in counts.items():
            sums[name] += float(count) / len(latencies)

    pack = isinstance(latencies, Packed)
    for start in range(0, len(latencies), COUNTED_TOGETHER):
        images = latencies[start : start + COUNTED_TOGETHER]
        maps = {INPUT: images}
        add(INPUT, {"spikes": count_spikes(images, model.time_steps).sum()})
        for name, stage in model.stages.items():
            below = stage.gather([maps[other] for other in model.inputs_of(name)])
            key = model.input_name(name)
            if key in kept:
                if kept[key] is None:
                    kept[key] = model.allocate(key, len(latencies), below, pack)
                kept[key][start : start + len(images)] = below
            if not stage.decides:
                maps[name] = stage.fire(below)
            for label, counts in _count_stage(model, name, below, maps.get(name)):
                add(label, counts)
            for label, conv in model.named_convs([name]):
                if "neurons" not in stages[label]:
                    stages[label] |= count_dense(conv, below.shape[1:])
            model.drop_read(maps, name)
    return stages


def _count_stage(model, name, below, latency):
    """Yield (label, counts) of a stage or its branches. latency: its own map; None of a decision stage."""
    spikes = None if latency is None else count_spikes(latency, model.time_steps)
    if not model.stages[name].convs:
        yield name, {"spikes": spikes.sum()}
        return
    read = count_spikes(below, model.time_steps)
    first = 0
    for label, conv in model.named_convs([name]):
        end = first + conv.out_channels
        counts = count_operations(conv, read)
        if spikes is not None:
            counts = {"spikes": spikes[first:end].sum(), **counts}
        first = end
        yield label, counts


def count_spikes(latency: torch.Tensor, steps: int) -> np.ndarray:
    """Count the spikes of each neuron in at most 255 images: latencies (N, C, H, W) -> int64 (C, H, W)."""
    spiked = (latency < steps).numpy(force=True)
    counts = spiked.view(np.uint8).sum(0, dtype=np.uint8)
    return counts.astype(np.int64)


def count_operations(conv: SpikingConv, spikes: np.ndarray) -> dict[str, int]:
    """Count the additions of a convolution for spikes below it, int64 (C, H, W): all, and those of nonzero weights."""
    reached = sum_taps(conv, spikes)
    nonzero = (conv.weight != 0).sum(0).numpy(force=True)
    additions = int(reached.sum()) * conv.out_channels
    effective = int((reached * nonzero).sum())
    return {"synaptic_additions": additions, "effective_accumulates": effective}


def count_dense(conv: SpikingConv, shape: tuple[int, int, int]) -> dict[str, int]:
    """Count the neurons of a convolution, and the MACs of a conventional one of the same shapes: (C, H, W) below it."""
    taps = sum_taps(conv, np.ones(shape, np.int64))
    macs = int(taps.sum()) * conv.out_channels
    return {"neurons": prod(conv.output_shape(*shape)), "dense_macs": macs}


def sum_taps(conv: SpikingConv, values: np.ndarray) -> np.ndarray:
    """Sum what each tap of a kernel meets over all output positions: values (C, H, W) -> (C, k, k)."""
    pad = conv.padding
    kernel = conv.kernel
    _, rows, columns = conv.output_shape(*values.shape)
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
