from engine.rules import RSTDP, STDP
from engine.stages import Pool, SpikingConv
from network_trainer import NetworkTrainer


class Mozafari2018(NetworkTrainer, name="mozafari2018"):
    """Two STDP feature layers and one R-STDP decision layer (Mozafari et al. 2018, arXiv 1804.00227)."""

    source = "Mozafari et al. 2019, Pattern Recognition 94, arXiv 1804.00227"
    epochs = (2, 4, 680)  # s1, s2, s3

    def build(self, num_classes):
        return {
            "s1": SpikingConv(30, 5, padding=2, threshold=15, rule=STDP(winners=5, radius=3)),
            "c1": Pool(2),
            "s2": SpikingConv(250, 3, padding=1, threshold=10, rule=STDP(winners=8, radius=1)),
            "c2": Pool(3),
            "s3": SpikingConv(20 * num_classes, 5, padding=2, rule=RSTDP()),
        }
