from engine.rules import MarginRule
from engine.stages import SpikingConv
from models.mozafari2018 import Mozafari2018


class Mozafari2018Margin(Mozafari2018, name="mozafari2018_margin"):
    """mozafari2018, but the decision layer learns by the margin rule: supervised, local, without gradients."""

    source = "features of Mozafari et al. 2019, Pattern Recognition 94, arXiv 1804.00227"
    epochs = (2, 4, 25)  # s1, s2, s3

    def build(self, num_classes):
        return super().build(num_classes) | {
            "s3": SpikingConv(20 * num_classes, 5, padding=2, rule=MarginRule(), first_weights=(0.5, 0.05)),
        }
