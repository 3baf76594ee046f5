from engine.augmentation import Augmentation
from engine.rules import MarginRule
from engine.stages import SpikingDense
from network_trainer import NetworkTrainer

LEVELS = 3, 6, 10  # time steps


class Control2026(NetworkTrainer, name="control2026"):
    """A control without features: the decision neurons of multiscale2026 read the encoder's map itself.

    What multiscale2026, which has the same decision layer, reaches beyond it, the features are worth. The levels were
    chosen on validation images (results/README.md).
    """

    epochs = (55,)  # s1
    augmentation = Augmentation(copies=8, turn=8, shift=1.2, scale=0.08, shear=0.08)

    def build(self, num_classes):
        return {
            "s1": SpikingDense(5 * num_classes, levels=LEVELS, rule=MarginRule(decay=0.95, margin=0.02, left_out=0.2))
        }
