from engine.rules import RSTDP, STDP
from engine.stages import SpikingConv
from models.deep2024 import Deep2024

# Before the rewards, s3 may learn without labels, without a stabilizer. Its rates double as those of s1 and s2.
WARM_UP = STDP(winners=15, radius=0, stabilize=False)


class DeepR2024(Deep2024, name="deepr2024"):
    """deep2024, but s3 learns by R-STDP: the feature layer and the decision layer are rewarded together."""

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
        return super().build(num_classes) | {
            "s3": SpikingConv(250, 3, padding=1, threshold=50, rule=feature_rule),
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
