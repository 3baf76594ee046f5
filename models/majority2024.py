from engine.rules import RSTDP, STDP
from engine.stages import Pool, SpikingConv, Vote
from network_trainer import NetworkTrainer


class Majority2024(NetworkTrainer, name="majority2024"):
    """Two STDP feature layers and three parallel R-STDP decision layers, which decide by majority."""

    source = "Attar 2024, https://github.com/aidinattar/snn"
    epochs = (2, 4, 100)  # s1, s2, s3 (all branches)

    def build(self, num_classes):
        voters = [SpikingConv(20 * num_classes, kernel, padding=2, rule=RSTDP()) for kernel in (3, 5, 7)]
        return {
            "s1": SpikingConv(30, 5, padding=2, threshold=15, rule=STDP(winners=5, radius=3)),
            "c1": Pool(2),
            "s2": SpikingConv(250, 3, padding=1, threshold=10, rule=STDP(winners=8, radius=1)),
            "c2": Pool(3),
            "s3": Vote(*voters),
        }
