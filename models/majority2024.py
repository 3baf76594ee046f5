from engine.rules import RSTDP
from engine.stages import SpikingConv, Vote
from models.mozafari2018 import Mozafari2018


class Majority2024(Mozafari2018, name="majority2024"):
    """mozafari2018, but three parallel R-STDP decision layers decide by majority."""

    source = "Attar 2024, https://github.com/aidinattar/snn"
    epochs = (2, 4, 100)  # s1, s2, s3 (all branches)

    def build(self, num_classes):
        voters = [SpikingConv(20 * num_classes, kernel, padding=2, rule=RSTDP()) for kernel in (3, 5, 7)]
        return super().build(num_classes) | {"s3": Vote(*voters)}
