"""A stage of your own: pooling by the mean time of the spikes of a window.

    python train.py --model mean_pooled --plugin tutorial/mean_pool.py

``tests/engine/test_stages.py`` compares it with fractions.
"""

from dataclasses import dataclass

import torch

from engine.stages import Windowed
from models import model_class


@dataclass(frozen=True)
class MeanPool(Windowed):
    """The mean time of the spikes of each size×size window, rounded, halves up; silent if no neuron has spiked."""

    title = "mean pooling"  # in the summary
    reads_times = False  # which of its neurons spike does not depend on times

    def explain(self):
        return f"the mean time of the spikes of each {self.size}×{self.size} window"

    def fire(self, latency, time_steps):  # uint8 (N, C, H, W) to uint8 (N, C, Ho, Wo)
        windows = self.split(latency, time_steps)  # (N, C, Ho, Wo, size²)
        is_spike = windows < time_steps
        count = is_spike.sum(4)
        total = (windows * is_spike).sum(4)
        mean = (2 * total + count) // (2 * count.clamp(min=1))
        return torch.where(count > 0, mean, time_steps).to(torch.uint8)


class MeanPooled(model_class("mozafari2018"), name="mean_pooled"):
    """Mozafari et al. (2018), of which the first pooling averages."""

    def build(self, num_classes):
        return {**super().build(num_classes), "c1": MeanPool(2)}
