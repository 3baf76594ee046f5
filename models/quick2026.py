from engine.rules import STDP, MarginRule
from engine.stages import Pool, SpikingConv, SpikingDense
from network_trainer import NetworkTrainer


class Quick2026(NetworkTrainer, name="quick2026"):
    """Two STDP layers; five decision neurons of each class read the maps of both as a whole, so they learn quickly."""

    source = "this repository; s1 and s2 as in Mozafari et al. 2019, Pattern Recognition 94, arXiv 1804.00227"
    epochs = (2, 4, 20)  # s1, s2, s3
    converge = 0.01  # Kheradpisheh et al. 2018, section 2.3

    def build(self, num_classes):
        return {
            "s1": SpikingConv(30, 5, padding=2, threshold=15, rule=STDP(winners=5, radius=3)),
            "c1": Pool(2),
            "s2": SpikingConv(250, 3, padding=1, threshold=10, rule=STDP(winners=8, radius=1)),
            "c2": Pool(2),
            "s3": SpikingDense(
                5 * num_classes,
                rule=MarginRule(decay=0.85, margin=0.02, left_out=0.2),
                inputs=("c1", "c2"),
            ),
        }
