"""What a network does for an image: its spikes and its synaptic additions, what an estimate of energy starts from."""

import numpy as np
import torch

from engine.stages import INPUT


@torch.no_grad()
def activity(model, latencies):
    """Spikes and synaptic additions per image, means over ``latencies`` uint8 (N, C, H, W).

    A spike is a neuron's, at most one for each image; neurons of a stage without a threshold spike at the last time
    step, if their potential is positive. A synaptic addition is one weight, added for one spike at one output position:
    a spike costs the positions that it reaches times the features. The encoder's filters are not counted.

    Returns {stage, or branch of several: {"spikes": float, "synaptic_additions": float}} from the encoder's map
    ("input") up; poolings add no weights.
    """
    counts, steps = {}, model.time_steps
    for part in latencies.split(200):  # not CHUNK: here the maps are whole, before any pooling
        maps = {INPUT: part}
        _count(counts, INPUT, spikes_of(part, steps), 0)
        for name, latency in model.walk(part):
            convs = dict(model.named_convs([name]))
            if not convs:
                _count(counts, name, spikes_of(latency, steps), 0)
            below = model.stages[name].gather([maps[other] for other in model.inputs_of(name)])
            pixels, first = spikes_of_pixels(below, steps) if convs else None, 0
            for label, conv in convs.items():
                last = first + conv.out_channels
                additions = (pixels * reached(conv, *pixels.shape)).sum() * conv.out_channels
                _count(counts, label, spikes_of(latency[:, first:last], steps), additions)
                first = last
            maps[name] = latency
            model.drop_read(maps, name)
    images = max(1, len(latencies))
    return {
        name: {"spikes": spikes / images, "synaptic_additions": additions / images}
        for name, (spikes, additions) in counts.items()
    }


def _count(counts, name, spikes, additions):
    before = counts.get(name, (0, 0))
    counts[name] = before[0] + int(spikes), before[1] + int(additions)


def spikes_of(latency, steps):
    """How many neurons of latency maps spike."""
    return np.count_nonzero((latency < steps).numpy(force=True))


def spikes_of_pixels(latency, steps):
    """How often the images and channels of latency maps (N, C, H, W) spike at each position, int64 (H, W)."""
    spiked = (latency < steps).flatten(0, 1).numpy(force=True).view(np.uint8)
    sums = np.add.reduceat(spiked, np.arange(0, len(spiked), 255), axis=0, dtype=np.uint8)  # which fit a byte
    return sums.sum(0, dtype=np.int64)


def reached(conv, height, width):
    """How many output positions of a convolution a spike at each input position reaches, int64 (height, width)."""
    rows, columns = (
        _reached(conv, side, out)
        for side, out in zip((height, width), conv.output_shape(1, height, width)[1:], strict=True)
    )
    return np.outer(rows, columns)


def _reached(conv, side, out):
    """The same along one side."""
    # through the kernel's k-th tap input i reaches output i + padding - k, if there is one
    outputs = np.arange(side)[:, None] + conv.padding - np.arange(conv.kernel)
    return ((outputs >= 0) & (outputs < out)).sum(1)


def describe(counts):
    """A table of the counts of ``activity``, as text."""
    header = "stage", "spikes per image", "synaptic additions per image"
    rows = [
        (name, f"{count['spikes']:,.1f}", f"{count['synaptic_additions']:,.0f}" if count["synaptic_additions"] else "")
        for name, count in counts.items()
    ]
    total = sum(count["synaptic_additions"] for count in counts.values())
    rows.append(("total", f"{sum(count['spikes'] for count in counts.values()):,.1f}", f"{total:,.0f}"))
    widths = [max(len(row[column]) for row in (header, *rows)) for column in range(len(header))]
    return "\n".join(
        f"{name:<{widths[0]}}  {spikes:>{widths[1]}}  {additions:>{widths[2]}}".rstrip()
        for name, spikes, additions in (header, *rows)
    )
