"""Compare what a page adds up for single neurons with what the kernels add up."""

import numpy as np
import torch

from engine.torch_backend import sum_weights

POTENTIALS = """
return given.map(([image, stage, part, f, y, x]) => {
  const chosen = run.stages[stage], { kernel, label } = chosen.parts[part], packed = run.weights[label];
  const size = packed.shape[1] * kernel * kernel, weights = bytes(packed).subarray(f * size, (f + 1) * size);
  const times = findInputs(run.images[image].maps, chosen, chosen.parts[part], y, x);
  return [...addUp(times, weights, kernel)];
});
"""


def choose_neurons(layer, below, count, rng):
    """Return (feature, line, column) of random neurons, and of those whose potential is nearest to the threshold.

    below: the latency map (C, H, W) that the layer reads. count: of each kind.
    """
    steps = torch.arange(layer.time_steps).view(-1, 1, 1, 1)
    potentials = sum_weights(layer, torch.where(below <= steps, below, layer.time_steps))
    distances = (potentials - layer.threshold).abs().amin(0)
    nearest = distances.flatten().argsort()[:count]
    chosen = [*rng.choice(distances.numel(), count, replace=False), *nearest.tolist()]
    return [tuple(map(int, np.unravel_index(neuron, distances.shape))) for neuron in chosen]


def is_potential(layer, below, neuron, potentials):
    """Return whether these are the potentials (T,) of a neuron, to the bit, by where the kernels fire.

    Until its step, a potential does not exceed a threshold that equals it, and exceeds the next lower float32. The
    weights are not negative.
    """
    for step, potential in enumerate(potentials):
        expected = {potential: False}
        if potential:
            expected[float(np.nextafter(np.float32(potential), np.float32(0)))] = True
        for threshold, exceeds in expected.items():
            first = layer.backend.fire(layer, below[None], threshold, 1)[0]
            if (int(first[neuron]) <= step) != exceeds:
                return False
    return True
