"""colour2026_windows, a candidate that would replace both colour networks; no test image was read with it.

    python train.py --plugin results/scripts/windows.py --model colour2026_windows --dataset folder:runs/data/cifar \\
        --val-split 5000 --seed 0
"""

from engine.stages import Pool, SpikingDense
from models.colour2026_counts import Colour2026Counts


class Colour2026Windows(Colour2026Counts, name="colour2026_windows"):
    """colour2026_counts, but windows of 5×5 pass on their second spike, too, and times have two levels."""

    def build(self, num_classes):
        stages = super().build(num_classes)
        decision = stages.pop("s3")
        stages["c1_fine"] = Pool(5, rank=2, inputs="i1")
        stages["c2_fine"] = Pool(5, rank=2, inputs="i2")
        stages["s3"] = SpikingDense(
            decision.out_channels,
            levels=(8,),
            rule=decision.rule,
            inputs=(*decision.inputs, "c1_fine", "c2_fine"),
        )
        return stages
