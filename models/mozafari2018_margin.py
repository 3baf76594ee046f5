from engine.rules import STDP, MarginRule
from engine.stages import Pool, SpikingConv
from network_trainer import NetworkTrainer


class Mozafari2018Margin(NetworkTrainer, name="mozafari2018_margin"):
    """mozafari2018, but the decision layer learns by the margin rule: supervised, local, without gradients."""

    epochs = (2, 4, 25)  # s1, s2, s3

    def build(self, in_channels, num_classes):
        return {
            "s1": SpikingConv(in_channels, 30, 5, padding=2, threshold=15, rule=STDP(winners=5, radius=3)),
            "c1": Pool(2),
            "s2": SpikingConv(30, 250, 3, padding=1, threshold=10, rule=STDP(winners=8, radius=1)),
            "c2": Pool(3),
            "s3": SpikingConv(250, 20 * num_classes, 5, padding=2, rule=MarginRule(), first_weights=(0.5, 0.05)),
        }
