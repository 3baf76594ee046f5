"""The activity of a network: its spikes and synaptic additions per image, from which energy can be estimated."""

import numpy as np
import torch

from engine.stages import INPUT, SpikingConv
from network_trainer import NetworkTrainer

CHUNK = 200  # images that are counted together: the maps before pooling need much memory


@torch.no_grad()
def count_activity(model: NetworkTrainer, latencies: torch.Tensor) -> dict[str, dict[str, float]]:
    """Count spikes and synaptic additions: means over the encoded images uint8 (N, C, H, W).

    A neuron spikes at most once for each image. Neurons of a stage without a threshold spike at the last time step if
    their potential is positive. A synaptic addition is one weight, added for one spike at one output position: the
    number of additions for a spike is the number of positions that it reaches, times the number of features. The
    filters of the encoder are not counted. Poolings have no additions.

    Returns {"input", stage or branch: {"spikes": float, "synaptic_additions": float}}, bottom up.
    """
    counts, steps = {}, model.time_steps

    def count(label, latency, additions=0):
        spikes = np.count_nonzero((latency < steps).numpy(force=True))
        counts[label] = counts.get(label, 0) + np.array([spikes, additions], np.int64)

    for part in latencies.split(CHUNK):
        maps = {INPUT: part}
        count(INPUT, part)
        for name, latency in model.walk(part):
            convs, first = dict(model.named_convs([name])), 0
            if convs:
                below = model.stages[name].gather([maps[other] for other in model.inputs_of(name)])
                pixels = count_spikes_per_pixel(below, steps)
            else:
                count(name, latency)
            for label, conv in convs.items():
                own = latency[:, first : first + conv.out_channels]
                count(label, own, (pixels * count_outputs(conv, *pixels.shape)).sum() * conv.out_channels)
                first += conv.out_channels
            maps[name] = latency
            model.drop_read(maps, name)
    means = {label: (found / max(1, len(latencies))).tolist() for label, found in counts.items()}
    return {label: {"spikes": spikes, "synaptic_additions": additions} for label, (spikes, additions) in means.items()}


def count_spikes_per_pixel(latency: torch.Tensor, steps: int) -> np.ndarray:
    """Count the spikes of latency maps (N, C, H, W) at each position, int64 (H, W)."""
    spiked = (latency < steps).flatten(0, 1).numpy(force=True).view(np.uint8)
    sums = np.add.reduceat(spiked, np.arange(0, len(spiked), 255), axis=0, dtype=np.uint8)  # sums up to 255 fit a byte
    return sums.sum(0, dtype=np.int64)


def count_outputs(conv: SpikingConv, height: int, width: int) -> np.ndarray:
    """Count the output positions of a convolution that each input position reaches, int64 (height, width)."""
    sides = []
    for side, out in zip((height, width), conv.output_shape(1, height, width)[1:], strict=True):
        # with the kernel's k-th weight, input i reaches output i + padding - k, if there is one
        outputs = np.arange(side)[:, None] + conv.padding - np.arange(conv.kernel)
        sides.append(((outputs >= 0) & (outputs < out)).sum(1))
    return np.outer(*sides)


def describe_activity(counts: dict[str, dict[str, float]]) -> str:
    """Format the counts of ``count_activity`` as a table."""
    rows = [(name, *count.values()) for name, count in counts.items()]
    rows.append(("total", *(sum(values) for values in list(zip(*rows, strict=True))[1:])))
    texts = [("stage", "spikes per image", "synaptic additions per image")]
    texts += [(name, f"{spikes:,.1f}", f"{additions:,.0f}" if additions else "") for name, spikes, additions in rows]
    first, second, third = (max(map(len, column)) for column in zip(*texts, strict=True))
    return "\n".join(f"{name:<{first}}  {spikes:>{second}}  {more:>{third}}".rstrip() for name, spikes, more in texts)
