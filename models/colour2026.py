from engine.rules import STDP, MarginRule
from engine.stages import Pool, SpikingConv, SpikingDense
from network_trainer import NetworkTrainer


class Colour2026(NetworkTrainer, name="colour2026"):
    """STDP features of whitened colour images, and decision neurons that learn by the margin rule.

    s1 learns by STDP. Each class has five decision neurons, which read the pooled map of s1 as a whole, with the times
    of its spikes in three levels. They also learn from mirrored copies of the images. All settings were chosen on
    validation images (results/README.md, "Colour images").
    """

    epochs = (1, 20)  # s1, s2
    encoder = {"name": "whitening"}  # noqa: RUF012
    augmentation = "copies=1 flip"

    def build(self, num_classes):
        return {
            "s1": SpikingConv(512, 5, padding=2, threshold=10, rule=STDP(winners=8, radius=2)),
            "c1": Pool(8),
            "s2": SpikingDense(
                5 * num_classes, levels=(5, 10), rule=MarginRule(decay=0.9, margin=0.02, left_out=0.3)
            ),
        }
