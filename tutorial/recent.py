"""A learning rule of your own: STDP that strengthens only inputs that spiked shortly before the neuron.

    python train.py --model mozafari2018 --epochs 2 4 10 --plugin tutorial/recent.py --set s1.rule=recent

The tutorial compares it with STDP.
"""

from dataclasses import dataclass
from typing import NamedTuple

from engine.rules import STDP, Additive


class Recent(NamedTuple):
    """What happens at a synapse: Δw = rate · (w - lower)(upper - w), with the rate that ``window`` returns."""

    lower: float
    upper: float
    steps: float

    def window(self, t_in, t_out, ltp, ltd):
        """Return ltp if the input spiked at most ``steps`` time steps before the neuron, otherwise ltd."""
        is_recent = (t_in <= t_out) * (t_in >= t_out - self.steps)
        is_late = t_in > t_out
        is_early = t_in < t_out - self.steps
        return is_recent * ltp + is_late * ltd + is_early * ltd

    def change(self, w, rate):
        return rate * (w - self.lower) * (self.upper - w)


class RecentAdditive(Recent):
    """The same without the stabilizer: Δw = rate."""

    change = Additive.change


@dataclass(frozen=True)
class RecentSTDP(STDP):
    """The rule: the fields of STDP (winners, radius, rates, …), and one more."""

    name = "recent"  # in --set
    title = "recent STDP"  # in figures

    steps: float = 1.0

    def plasticity(self, number=float):
        lower, upper = self.bounds
        kind = Recent if self.stabilize else RecentAdditive
        return kind(number(lower), number(upper), number(self.steps))
