"""The operations of a network for an image, in the terms of NeuroBench (Yik et al. 2025), and an energy estimate.

Each spike adds every weight that it reaches to a potential: one *accumulate* for each weight. A conventional network of
the same shapes computes one *multiply-accumulate* (MAC) for each weight at each output position, whatever its input.
"""

from math import prod

import numpy as np
import torch

from engine.stages import INPUT, SpikingConv
from network_trainer import NetworkTrainer
from s1c1 import Encoder

COUNTED_TOGETHER = 200  # images: the counts of a neuron fit a byte, and the maps, before any pooling, the memory
SMALL_WEIGHT = 0.01
# Picojoules of an addition and a multiplication of 32-bit floating-point numbers in 45 nm (Horowitz, ISSCC 2014)
ADDITION, MULTIPLICATION = 0.9, 3.7
ASSUMPTIONS = (
    "an estimate for 32-bit floating point in 45 nm (Horowitz, ISSCC 2014) of the arithmetic only: it leaves out "
    "memory, which costs many times more, comparisons and leakage"
)


@torch.no_grad()
def measure_energy(model: NetworkTrainer, encoder: Encoder, latencies: torch.Tensor) -> dict:
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
    stages, steps = {}, model.time_steps

    def add(label: str, **found: float) -> None:
        own = stages.setdefault(label, dict.fromkeys(found, 0.0))
        for name, value in found.items():
            own[name] += float(value) / len(latencies)

    for part in latencies.split(COUNTED_TOGETHER):
        maps = {INPUT: part}
        add(INPUT, spikes=count_spikes(part, steps).sum())
        for name, latency in model.walk(part):
            convs, spikes, first = dict(model.named_convs([name])), count_spikes(latency, steps), 0
            if not convs:
                add(name, spikes=spikes.sum())
            else:
                below = count_spikes(model.stages[name].gather([maps[other] for other in model.inputs_of(name)]), steps)
            for label, conv in convs.items():
                fired = {} if conv.decides else {"spikes": spikes[first : first + conv.out_channels].sum()}
                add(label, **fired, **count_operations(conv, below))
                if "neurons" not in stages[label]:
                    stages[label] |= count_dense(conv, below.shape)
                first += conv.out_channels
            maps[name] = latency
            model.drop_read(maps, name)
    firing = [stages[label] for label, conv in model.named_convs() if not conv.decides]
    neurons, spikes = (sum(counts[name] for counts in firing) for name in ("neurons", "spikes"))
    weights = [conv.weight for conv in model.convs()]
    parameters = sum(weight.numel() for weight in weights)
    effective, dense = (total(stages, name) for name in ("effective_accumulates", "dense_macs"))
    encoder_macs = encoder.count_macs(*latencies.shape[2:])
    return {
        "stages": stages,
        "encoder_macs": encoder_macs,
        "silent_neurons": 1 - spikes / neurons if neurons else None,
        "activation_sparsity": 1 - spikes / (neurons * steps) if neurons else None,
        "parameters": parameters,
        "bytes": sum(weight.numel() * weight.element_size() for weight in weights),
        "zero_weights": sum(int((weight == 0).sum()) for weight in weights) / parameters,
        "small_weights": sum(int((weight < SMALL_WEIGHT).sum()) for weight in weights) / parameters,
        "estimated_uj": {
            "network": effective * ADDITION * 1e-6,
            "encoder": encoder_macs * (ADDITION + MULTIPLICATION) * 1e-6,
            "dense": dense * (ADDITION + MULTIPLICATION) * 1e-6,
        },
    }


def count_spikes(latency: torch.Tensor, steps: int) -> np.ndarray:
    """Count the spikes of each neuron in at most 255 images: latencies (N, C, H, W) -> int64 (C, H, W)."""
    return (latency < steps).numpy(force=True).view(np.uint8).sum(0, dtype=np.uint8).astype(np.int64)


def count_operations(conv: SpikingConv, spikes: np.ndarray) -> dict[str, int]:
    """Count the additions of a convolution for spikes below it, int64 (C, H, W): all, and those of nonzero weights."""
    reached, nonzero = sum_taps(conv, spikes), (conv.weight != 0).sum(0).numpy(force=True)
    additions = int(reached.sum()) * conv.out_channels
    return {"synaptic_additions": additions, "effective_accumulates": int((reached * nonzero).sum())}


def count_dense(conv: SpikingConv, shape: tuple[int, int, int]) -> dict[str, int]:
    """Count the neurons of a convolution, and the MACs of a conventional one of the same shapes: (C, H, W) below it."""
    macs = int(sum_taps(conv, np.ones(shape, np.int64)).sum()) * conv.out_channels
    return {"neurons": prod(conv.output_shape(*shape)), "dense_macs": macs}


def sum_taps(conv: SpikingConv, values: np.ndarray) -> np.ndarray:
    """Sum what each tap of a kernel meets over all output positions: values (C, H, W) -> (C, k, k)."""
    pad, kernel = conv.padding, conv.kernel
    _, rows, columns = conv.output_shape(*values.shape)
    padded = np.pad(values, ((0, 0), (pad, pad), (pad, pad)))
    taps = [padded[:, y : y + rows, x : x + columns].sum((1, 2)) for y in range(kernel) for x in range(kernel)]
    return np.stack(taps, 1).reshape(len(values), kernel, kernel)


def total(stages: dict[str, dict[str, float]], name: str) -> float:
    """Return the sum of a count over the stages that have it."""
    return sum(counts.get(name, 0) for counts in stages.values())


def describe_energy(energy: dict) -> str:
    """Return the counts of ``measure_energy`` as a table, and the estimate as a line below it."""
    names = "spikes", "synaptic_additions", "effective_accumulates", "dense_macs"
    rows = [("per image", "spikes", "additions", "effective", "dense MACs")]
    for label, counts in (energy["stages"] | {"total": {n: total(energy["stages"], n) for n in names}}).items():
        rows.append((label, *(f"{counts[name]:,.0f}" if counts.get(name) else "" for name in names)))
    rows.append(("encoder", "", "", "", f"{energy['encoder_macs']:,.0f}"))
    first, *widths = (max(map(len, column)) for column in zip(*rows, strict=True))
    lines = []
    for label, *texts in rows:
        cells = (f"{text:>{width}}" for text, width in zip(texts, widths, strict=True))
        lines.append("  ".join([f"{label:<{first}}", *cells]).rstrip())
    uj = {name: f"{value:.2f} µJ" for name, value in energy["estimated_uj"].items()}
    lines.append(f"{uj['network']}, encoder {uj['encoder']}, dense network {uj['dense']}: {ASSUMPTIONS}")
    return "\n".join(lines)
