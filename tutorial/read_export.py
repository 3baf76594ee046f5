"""Read a network that evaluate.py --export has written, and compute its test vectors with NumPy alone.

    python tutorial/read_export.py FILE.npz

A latency map contains the time step of each neuron's only spike, and T for silence.
"""

import json
import math
import sys

import numpy as np


def add_weights(latency, weight, padding, step):
    """Return the potentials (F, Ho, Wo): the sums of the weights of the inputs (C, H, W) that have spiked."""
    spiked = np.pad(latency <= step, ((0, 0), (padding, padding), (padding, padding))).astype(np.float64)
    windows = np.lib.stride_tricks.sliding_window_view(spiked, weight.shape[2:], (1, 2))
    return np.einsum("chwij,fcij->fhw", windows, weight.astype(np.float64), optimize=True)


def fire(latency, weight, padding, threshold, steps):
    threshold = np.reshape(threshold, (-1, 1, 1))  # one for all features, or one for each
    over = [add_weights(latency, weight, padding, step) > threshold for step in range(steps)]
    return np.where(np.any(over, 0), np.argmax(over, 0), steps)


def inhibit(latency, share, steps):
    """Return the spikes that fewer than this share of the features precede at their position."""
    rank = max(1, math.ceil(round(share * len(latency), 9)))
    return np.where(latency <= np.sort(latency, 0)[rank - 1], latency, steps)


def pool(latency, size, padding, rank, steps):
    """Return the spike of a rank of each window; rows and columns that do not fill a window are dropped."""
    latency = np.pad(latency, ((0, 0), (padding, padding), (padding, padding)), constant_values=steps)
    channels, height, width = latency.shape
    windows = latency[:, : height // size * size, : width // size * size]
    windows = windows.reshape(channels, height // size, size, width // size, size).swapaxes(2, 3)
    return np.sort(windows.reshape(*windows.shape[:3], -1))[..., rank - 1]


def join(maps, steps):
    """Join the maps of parallel branches; smaller maps are in the middle of the largest."""
    sides = [max(sizes) for sizes in zip(*(latency.shape[1:] for latency in maps), strict=True)]
    joined = []
    for latency in maps:
        lines, columns = (side - size for side, size in zip(sides, latency.shape[1:], strict=True))
        around = ((0, 0), (lines // 2, lines - lines // 2), (columns // 2, columns - columns // 2))
        joined.append(np.pad(latency, around, constant_values=steps))
    return np.concatenate(joined)


def vote(potentials, classes):
    """Return the class that the branches decide for; -1: none. Equal sums may differ by rounding: the first decides."""
    highest = np.array([branch.max() for branch in potentials])
    firsts = [np.argmax(branch >= branch.max() * (1 - 1e-13)) for branch in potentials]
    votes = np.where(highest > 0, classes[firsts], -1)
    counts = np.bincount(votes[votes >= 0], minlength=1)
    if counts.max() > 1 and np.sum(counts == counts.max()) == 1:
        return np.argmax(counts)
    middle = votes[len(votes) // 2]
    return middle if middle >= 0 else votes[np.argmax(highest)]


arrays = np.load(sys.argv[1], allow_pickle=False)
network = json.loads(str(arrays["description"]))
steps = network["time_steps"]
for number, latency in enumerate(arrays["input"]):
    maps = {"input": latency}
    for stage in network["stages"]:
        below = [maps[name] for name in stage["inputs"]]
        convs = stage.get("convolutions", [])
        if convs and stage["kind"] == "SpikingDense":  # a 1×1 map; levels see only spikes before a time step
            flat = np.concatenate([latency.reshape(-1) for latency in below])
            levels = [np.where(flat < level, flat, steps) for level in convs[0]["levels"]]
            below = [np.concatenate([*levels, flat])[:, None, None]]
        weights = [(arrays[f"{conv['label']}.weight"], conv["padding"]) for conv in convs]
        if stage["name"] == network.get("decision"):
            sums = [add_weights(below[0], *weight, steps - 1).max((1, 2)) for weight in weights]
            expected = [arrays[f"{conv['label']}.potentials"][number] for conv in convs]
            assert np.allclose(sums, expected, rtol=1e-12)
            assert vote(sums, arrays["class_of_feature"]) == arrays["decisions"][number]
            continue
        fired = [fire(below[0], *w, conv["threshold"], steps) for w, conv in zip(weights, convs, strict=True)]
        if convs:
            computed = join(fired, steps)
        elif "share" in stage:
            computed = inhibit(below[0], stage["share"], steps)
        else:
            computed = pool(below[0], stage["size"], stage["padding"], stage["rank"], steps)
        assert np.array_equal(computed, arrays[f"{stage['name']}.first_spikes"][number]), stage["name"]
        maps[stage["name"]] = computed
print(f"{network['network']}: all {len(arrays['input'])} test vectors are reproduced")
