from encoders.gabor import Gabor
from engine.rules import RSTDP
from engine.stages import SpikingConv
from network_trainer import NetworkTrainer


class Mozafari2018Shallow(NetworkTrainer, name="mozafari2018_shallow"):
    """One R-STDP layer on Gabor edges, whose first spike decides (Mozafari et al. 2018, IEEE TNNLS).

    The parameters are those of SpykeTorch's script for Caltech's faces and motorbikes of 160×160 pixels. In the script,
    features are dropped and rates adapt once in an epoch, so ``--batch-size`` must be at least the number of images.
    """

    source = "Mozafari et al. 2018, IEEE TNNLS 29, arXiv 1705.09132"
    epochs = (400,)  # s2
    encoder = Gabor()

    def build(self, num_classes):
        rule = RSTDP(
            reward=(0.005, -0.0025),
            punishment=(-0.005, 0.0005),
            bounds=(0.0, 1.0),
            stabilize=True,
            dropout=0.5,
            adaptation=(0.8, 0.2),
        )
        return {"s2": SpikingConv(10 * num_classes, 17, threshold=42, rule=rule)}
