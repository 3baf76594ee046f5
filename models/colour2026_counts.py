from encoders.whitening import Whitening
from engine.augmentation import Augmentation
from engine.rules import STDP, MarginRule
from engine.stages import Inhibit, Pool, SpikingConv, SpikingDense
from network_trainer import NetworkTrainer


class Colour2026Counts(NetworkTrainer, name="colour2026_counts"):
    """For colour images: STDP features of two scales, which inhibit each other, and poolings that count spikes.

    s1 and s2 read the encoder's map with kernels of 5×5 and 7×7, and learn by STDP. At each position, the first
    twentieth of the features pass. Each window passes on its first, fourth and sixteenth spike. Each class has five
    decision neurons, which read all pooled maps as a whole, with the times of the spikes in three levels. They also
    learn from mirrored copies of the images. Settings were compared on validation images (results/experiments.md,
    "Colour images").
    """

    epochs = (1, 1, 24)  # s1, s2, s3
    converge = 0.01  # Kheradpisheh et al. 2018, section 2.3
    encoder = Whitening(colours=3)
    augmentation = Augmentation(copies=1, flip=True)

    def build(self, num_classes):
        return {
            "s1": SpikingConv(256, 5, padding=2, threshold=12, rule=STDP(winners=8, radius=2)),
            "i1": Inhibit(0.05),
            "c1": Pool(8),
            "c1_4": Pool(8, rank=4, inputs=("i1",)),
            "c1_16": Pool(8, rank=16, inputs=("i1",)),
            "s2": SpikingConv(256, 7, padding=3, threshold=20, rule=STDP(winners=8, radius=3), inputs=("input",)),
            "i2": Inhibit(0.05),
            "c2": Pool(8),
            "c2_4": Pool(8, rank=4, inputs=("i2",)),
            "c2_16": Pool(8, rank=16, inputs=("i2",)),
            "s3": SpikingDense(
                5 * num_classes,
                levels=(5, 10),
                rule=MarginRule(decay=0.9, margin=0.02, left_out=0.3),
                inputs=("c1", "c1_4", "c1_16", "c2", "c2_4", "c2_16"),
            ),
        }
