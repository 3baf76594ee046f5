from engine.rules import STDP
from engine.stages import Branches, SpikingConv
from models.deep2024 import Deep2024


class Inception2024(Deep2024, name="inception2024"):
    """deep2024, but s3 is an inception-like block of three scales (STDP), above half as many features in s2."""

    epochs = (2, 4, 4, 100)  # s1, s2, s3 (all branches), s4

    def build(self, num_classes):
        rule = STDP(winners=15, radius=1)
        scales = [SpikingConv(100, kernel, padding=1, threshold=50, rule=rule) for kernel in (3, 5, 7)]
        return super().build(num_classes) | {
            "s2": SpikingConv(75, 3, padding=1, threshold=10, rule=STDP(winners=8, radius=1)),
            "s3": Branches(*scales),
        }
