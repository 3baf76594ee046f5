from engine.rules import MarginRule
from engine.stages import Pool, SpikingDense
from models.mozafari2018 import Mozafari2018


class Quick2026(Mozafari2018, name="quick2026"):
    """The features of mozafari2018; five decision neurons of each class read whole c1 and c2, and learn quickly."""

    source = "this repository; s1 and s2 of Mozafari et al. 2019, Pattern Recognition 94, arXiv 1804.00227"
    epochs = (2, 4, 20)  # s1, s2, s3
    converge = 0.01  # Kheradpisheh et al. 2018, section 2.3

    def build(self, num_classes):
        rule = MarginRule(decay=0.85, margin=0.02, left_out=0.2)
        return super().build(num_classes) | {
            "c2": Pool(2),
            "s3": SpikingDense(5 * num_classes, rule=rule, inputs=("c1", "c2")),
        }
