from engine.rules import RSTDP, STDP
from engine.stages import Pool, SpikingConv
from network_trainer import NetworkTrainer


class Deep2024(NetworkTrainer, name="deep2024"):
    """Three STDP feature layers and one R-STDP decision layer."""

    source = "Attar 2024, https://github.com/aidinattar/snn"
    epochs = (2, 4, 4, 100)  # s1, s2, s3, s4

    def build(self, num_classes):
        return {
            "s1": SpikingConv(30, 5, padding=2, threshold=15, rule=STDP(winners=5, radius=3)),
            "c1": Pool(2),
            "s2": SpikingConv(150, 3, padding=1, threshold=10, rule=STDP(winners=8, radius=1)),
            "c2": Pool(2),
            "s3": SpikingConv(250, 3, padding=1, threshold=50, rule=STDP(winners=15, radius=1)),
            "c3": Pool(3),
            "s4": SpikingConv(20 * num_classes, 5, padding=2, rule=RSTDP()),
        }
