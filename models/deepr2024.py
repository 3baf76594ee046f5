from engine.rules import RSTDP, STDP
from engine.stages import Pool, SpikingConv
from network_trainer import NetworkTrainer

# Before the rewards, s3 may learn without labels, without a stabilizer. Its rates double as those of s1 and s2.
WARM_UP = STDP(winners=15, radius=0, stabilize=False)


class DeepR2024(NetworkTrainer, name="deepr2024"):
    """Two STDP feature layers, one R-STDP feature layer and one R-STDP decision layer, rewarded together."""

    source = "Attar 2024, https://github.com/aidinattar/snn"
    epochs = (2, 4, 1, 12)  # s1, s2, s3 without labels, s3 and s4
    alternate = False

    def build(self, num_classes):
        feature_rule = RSTDP(
            winners=15,
            reward=(0.001, -0.00075),
            punishment=(-0.001, 0.000125),
            bounds=(0.0, 1.0),
            warm_up=WARM_UP,
        )
        return {
            "s1": SpikingConv(30, 5, padding=2, threshold=15, rule=STDP(winners=5, radius=3)),
            "c1": Pool(2),
            "s2": SpikingConv(150, 3, padding=1, threshold=10, rule=STDP(winners=8, radius=1)),
            "c2": Pool(2),
            "s3": SpikingConv(250, 3, padding=1, threshold=50, rule=feature_rule),
            "c3": Pool(3),
            "s4": SpikingConv(20 * num_classes, 5, padding=2, rule=RSTDP()),
        }

    def build_phases(self):
        phases = super().build_phases()
        phases[-1].alternate = self.alternate
        return phases


class DeepR2024Greedy(DeepR2024, name="deepr2024_greedy", aliases=("deepr2024_2",)):
    """deepr2024, but one of the two R-STDP layers learns at a time: s3 in even batches, s4 in odd batches.

    s3 learns without labels for four epochs, which is better than one on validation images (results/README.md).
    """

    epochs = (2, 4, 4, 12)
    alternate = True
