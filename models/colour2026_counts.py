from engine.stages import Inhibit, Pool, SpikingDense
from models.colour2026 import Colour2026


class Colour2026Counts(Colour2026, name="colour2026_counts"):
    """For colour images, instead of colour2026: features also inhibit each other, and poolings count spikes.

    At each position, the first twentieth of the features pass. Each window passes on its first, fourth and sixteenth
    spike. These numbers were chosen on validation images (results/experiments.tsv). results/experiments.md, "Colour
    images", compares both networks.
    """

    def build(self, num_classes):
        stages = super().build(num_classes)
        return {
            "s1": stages["s1"],
            "i1": Inhibit(0.05),
            "c1": Pool(8),
            "c1_4": Pool(8, rank=4, inputs="i1"),
            "c1_16": Pool(8, rank=16, inputs="i1"),
            "s2": stages["s2"],
            "i2": Inhibit(0.05),
            "c2": Pool(8),
            "c2_4": Pool(8, rank=4, inputs="i2"),
            "c2_16": Pool(8, rank=16, inputs="i2"),
            "s3": SpikingDense(
                5 * num_classes,
                levels=stages["s3"].levels,
                rule=stages["s3"].rule,
                inputs=("c1", "c1_4", "c1_16", "c2", "c2_4", "c2_16"),
            ),
        }
