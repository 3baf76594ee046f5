from engine.rules import RSTDP, STDP
from engine.stages import Branches, Pool, SpikingConv
from network_trainer import NetworkTrainer


class Inception2024(NetworkTrainer, name="inception2024"):
    """Two STDP feature layers, an inception-like block of three scales (STDP), and one R-STDP decision layer."""

    source = "Attar 2024, https://github.com/aidinattar/snn"
    epochs = (2, 4, 4, 100)  # s1, s2, s3 (all branches), s4

    def build(self, num_classes):
        rule = STDP(winners=15, radius=1)
        scales = [SpikingConv(100, kernel, padding=1, threshold=50, rule=rule) for kernel in (3, 5, 7)]
        return {
            "s1": SpikingConv(30, 5, padding=2, threshold=15, rule=STDP(winners=5, radius=3)),
            "c1": Pool(2),
            "s2": SpikingConv(75, 3, padding=1, threshold=10, rule=STDP(winners=8, radius=1)),
            "c2": Pool(2),
            "s3": Branches(*scales),
            "c3": Pool(3),
            "s4": SpikingConv(20 * num_classes, 5, padding=2, rule=RSTDP()),
        }
