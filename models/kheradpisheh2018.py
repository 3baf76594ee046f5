import torch

from engine.phases import Phase
from engine.rules import STDP
from engine.stages import Pool, SpikingConv
from network_trainer import NetworkTrainer
from s1c1 import S1C1


class InhibitedPhase(Phase):
    """A phase whose stage reads, at each position, only the first spike of all features."""

    def learn(self, network, inputs, *args, **kwargs):
        first, feature = inputs.min(1, keepdim=True)  # min returns the lowest of equal features
        inhibited = torch.full_like(inputs, network.time_steps).scatter_(1, feature, first)
        return super().learn(network, inhibited, *args, **kwargs)


class Kheradpisheh2018(NetworkTrainer, name="kheradpisheh2018"):
    """Two STDP feature layers, read by a linear SVM (Kheradpisheh et al., Neural Networks 99, 2018).

    The parameters are those of the authors' SpykeTorch script for MNIST: the rates of s1 double, those of s2 are
    constant, and both poolings pad their input. No stage decides; the readout classifies.
    While s2 learns, the script inhibits the map of c1: at each position, s2 reads only the first feature that spikes,
    or the lowest of several that spike at the same time. When s2 fires, its input is not inhibited. The paper reports
    an accuracy of 98.4 %.
    """

    source = "Kheradpisheh et al. 2018, Neural Networks 99, doi 10.1016/j.neunet.2017.12.005"
    epochs = (2, 20)  # s1, s2
    encoder = S1C1(filters=((7, 1, 2),))
    readout = 2.4

    def build(self, num_classes):
        return {
            "s1": SpikingConv(32, 5, padding=2, threshold=10, rule=STDP(winners=5, radius=2)),
            "c1": Pool(2, padding=1),
            "s2": SpikingConv(150, 2, padding=1, threshold=1, rule=STDP(winners=8, radius=1, double_every=0)),
            "c2": Pool(2, padding=1),
        }

    def build_phases(self):
        first, second = super().build_phases()
        return [first, InhibitedPhase(second.stages, second.rules)]
