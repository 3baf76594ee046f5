from encoders.whitening import Whitening
from engine.augmentation import Augmentation
from engine.rules import STDP, MarginRule
from engine.stages import Pool, SpikingConv, SpikingDense
from network_trainer import NetworkTrainer


class Colour2026(NetworkTrainer, name="colour2026"):
    """For colour images, in less time than colour2026_counts: STDP features of two scales.

    s1 and s2 read the encoder's map with kernels of 5×5 and 7×7, and learn by STDP. Each class has five decision
    neurons, which read both pooled maps as a whole, with the times of the spikes in three levels. They also learn from
    mirrored copies of the images. Settings were compared on validation images (results/experiments.md, "Colour
    images").
    """

    epochs = (1, 1, 24)  # s1, s2, s3
    converge = 0.01  # Kheradpisheh et al. 2018, section 2.3
    encoder = Whitening(colours=3)
    augmentation = Augmentation(copies=1, flip=True)

    def build(self, num_classes):
        return {
            "s1": SpikingConv(256, 5, padding=2, threshold=12, rule=STDP(winners=8, radius=2)),
            "c1": Pool(8),
            "s2": SpikingConv(256, 7, padding=3, threshold=20, rule=STDP(winners=8, radius=3), inputs="input"),
            "c2": Pool(8),
            "s3": SpikingDense(
                5 * num_classes,
                levels=(5, 10),
                rule=MarginRule(decay=0.9, margin=0.02, left_out=0.3),
                inputs=("c1", "c2"),
            ),
        }
