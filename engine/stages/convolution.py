"""The stages with weights: convolutions, decision neurons that read whole maps, and several convolutions of one map."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import ClassVar

import torch
from torch import Tensor

from engine.declaration import MAX_VALUE, Changes, ranged, set_value
from engine.rules import Rule, check_rule
from engine.stages.stage import MAX_FEATURES, Region, Shape, Stage, read_single
from errors import InputError

MAX_WEIGHTS = 2**31 - 1  # of a convolution, because the kernels keep positions in the weights as int32


@dataclass(frozen=True)
class SpikingConv(Stage):
    """A convolution of stride 1 whose neurons fire once, when their potential exceeds the threshold (strictly).

    If weights are negative, a potential can fall again. A neuron fires at the first step at which its potential exceeds
    the threshold, and competes with its potential at this step, whatever follows.

    Without a threshold the neurons fire only at the last time step, if their potential is positive. The last stage of a
    network decides if its rule needs labels: without a threshold by its highest potential, with a threshold by its
    first spike.

    Args:
        out_channels: number of features F.
        kernel: side of the square kernel, in neurons.
        padding: zeros around the input, in neurons.
        threshold: of the potential; inf: no threshold.
        rule: the rule that the stage learns by; None: it does not learn.
        first_weights: mean and standard deviation of the first weights (Mozafari et al. 2018).
        inputs: see ``Stage``.

    Raises InputError for values out of range.
    """

    out_channels: int = ranged(1, MAX_FEATURES)
    kernel: int = ranged(1, MAX_FEATURES)
    padding: int = ranged(0, MAX_FEATURES, 0, kw_only=True)
    threshold: float = ranged(0, math.inf, math.inf, kw_only=True)
    rule: Rule | None = field(default=None, kw_only=True, metadata={"form": "a rule such as STDP() or MarginRule()"})
    first_weights: tuple[float, float] = ranged(0, MAX_VALUE, (0.8, 0.05), kw_only=True)

    reads_times: ClassVar[bool] = False  # unless weights are negative, see ``StageGraph._times_matter``

    def __post_init__(self):
        super().__post_init__()
        if self.padding >= self.kernel:
            raise InputError(f"padding {self.padding} around a kernel of {self.kernel} makes neurons without input")
        if MAX_VALUE < self.threshold < math.inf:
            raise InputError(f"threshold must be 0 to 1e6, or inf for none; not {self.threshold!r}")
        for rule in self.rules:
            check_rule(rule, self.fires)

    @property
    def convs(self) -> tuple["SpikingConv", ...]:
        return (self,)

    @property
    def rules(self) -> Sequence[Rule]:
        """The rules in the order of the training: a warm-up, then the rule itself."""
        if self.rule is None:
            return []
        warm_up = getattr(self.rule, "warm_up", None)
        return [rule for rule in (warm_up, self.rule) if rule is not None]

    @property
    def fires(self) -> bool:
        return not math.isinf(self.threshold)

    def weight_shape(self, channels: int) -> tuple[int, int, int, int]:
        """Return the shape of the weights for an input of C channels: (F, C, kernel, kernel).

        Raises InputError if there are too many weights.
        """
        shape = self.out_channels, channels, self.kernel, self.kernel
        padded = (self.out_channels + 32) * channels * self.kernel**2  # the kernels pad the features
        if padded > MAX_WEIGHTS:
            raise InputError(f"out_channels: a layer has at most {MAX_WEIGHTS:,} weights, not {math.prod(shape):,}")
        return shape

    def shape(self, maps: Sequence[Shape]) -> Shape:
        _, height, width = read_single(maps)
        rows = height + 2 * self.padding - self.kernel + 1
        columns = width + 2 * self.padding - self.kernel + 1
        if min(rows, columns) < 1:
            raise InputError(
                f"kernel {self.kernel} does not fit a {height + 2 * self.padding}×{width + 2 * self.padding} input "
                "(padding included)"
            )
        return self.out_channels, rows, columns

    def receptive_field(self, side: int, stride: int) -> tuple[int, int]:
        return side + (self.kernel - 1) * stride, stride

    def regions(self, below: list[Region], shape_below: Shape, shape: Shape) -> list[Region]:
        return [Region(*(slice(0, size) for size in shape))]

    def explain(self) -> str:
        return f"threshold {self.threshold:.4g}" if self.fires else "potentials at the last time step"


@dataclass(frozen=True)
class SpikingDense(SpikingConv):
    """Neurons that read whole maps: one map, or several of any sizes.

    The network gathers these maps in one map (``Gather``), of which the stage is a convolution with kernel 1.

    Args:
        out_channels: number of neurons.
        threshold, rule, first_weights, inputs: as in ``SpikingConv``.
        levels: ascending time steps, at least 1. Each level adds one input for each neuron below, a synapse that takes
            a spike only before this step. So the stage reads *when* a neuron has spiked (thermometer code).
    """

    kernel: int = field(default=1, init=False)
    padding: int = field(default=0, init=False)
    first_weights: tuple[float, float] = ranged(0, MAX_VALUE, (0.5, 0.05), kw_only=True)
    levels: tuple[int, ...] = ranged(1, 254, (), kw_only=True)

    sees_whole_maps: ClassVar[bool] = True

    def __post_init__(self):
        super().__post_init__()
        if any(a >= b for a, b in pairwise(self.levels)):
            raise InputError(f"levels must be ascending time steps, not {self.levels}")


@dataclass(frozen=True)
class Gather(Stage, is_kind=False):
    """All neurons of one or several maps as the channels of a 1×1 map, the input of a ``SpikingDense``.

    The network puts it before this stage. The channels are map after map, each in the order (channel, row, column).
    With levels, the channels of the first level come first, then those of the next ones, and at last those without a
    level. In the channels of a level, only the spikes before this time step are left.

    only_bits: whether the stage reads only which neurons spike: it has no threshold.
    """

    levels: tuple[int, ...] = field(default=(), kw_only=True)
    only_bits: bool = field(default=True, kw_only=True)

    @property
    def reads_times(self) -> bool:
        return bool(self.levels)

    def shape(self, maps: Sequence[Shape]) -> Shape:
        return (1 + len(self.levels)) * sum(math.prod(shape) for shape in maps), 1, 1

    def fire(self, *maps: Tensor, time_steps: int) -> Tensor:
        """Return latency maps, each uint8 (N, C, H, W), as the channels of a 1×1 map."""
        latency = torch.cat([latency.flatten(1) for latency in maps], 1)
        early = [torch.where(latency < level, latency, time_steps) for level in self.levels]
        return torch.cat([*early, latency], 1)[:, :, None, None]


@dataclass(frozen=True, init=False)
class Branches(Stage):
    """Parallel convolutions of one input; smaller outputs are padded to the largest, and all are concatenated.

    Each branch has a threshold, and all learn by the same kind of unsupervised rule, or none learns.
    """

    branches: tuple[SpikingConv, ...]

    title: ClassVar[str] = "joined"
    reads_times: ClassVar[bool] = False

    def __init__(self, *branches: SpikingConv, inputs: str | Sequence[str] = ()):
        vars(self).update(branches=branches, inputs=inputs)  # the record is frozen
        self.__post_init__()

    def __post_init__(self):
        super().__post_init__()
        name = type(self).__name__
        if not self.branches or not all(type(branch) is SpikingConv for branch in self.branches):
            raise InputError(f"{name} takes at least one SpikingConv")
        if any(branch.inputs for branch in self.branches):
            raise InputError(f"branches read one input: name it once, {name}(…, inputs=…)")
        kinds = dict.fromkeys(type(branch.rule).__name__ for branch in self.branches)
        if len(kinds) > 1:
            names = " and ".join(kinds)
            raise InputError(f"branches learn by one kind of rule, not by {names}: use separate stages")
        self.check_branches()

    def check_branches(self) -> None:
        """Raise InputError unless the stage can have such branches."""
        if not all(branch.fires for branch in self.branches):
            raise InputError("branches without a threshold decide: declare them as Vote(…), the last stage")
        if any(rule.needs_labels for rule in self.rules):
            raise InputError("Branches cannot learn from rewards; a SpikingConv below the decision stage or a Vote can")

    @property
    def convs(self) -> tuple[SpikingConv, ...]:
        return self.branches

    @property
    def rules(self) -> Sequence[Rule]:
        return self.branches[0].rules

    @property
    def fires(self) -> bool:
        return self.branches[0].fires

    @property
    def out_channels(self) -> int:
        return sum(branch.out_channels for branch in self.branches)

    def set_fields(self, changes: Changes) -> "Branches":
        """Return the stage with other values in fields of one branch, ("1", "threshold"), or of all branches."""
        of_branch: list[dict] = [{} for _ in self.branches]
        for (name, *deeper), value in changes.items():
            if not name.isdecimal():
                for others in of_branch:
                    others[(name, *deeper)] = value
            elif int(name) < len(of_branch):
                of_branch[int(name)][tuple(deeper)] = value
            else:
                raise InputError(f"there is no branch {name}; there are 0 to {len(of_branch) - 1}")
        pairs = zip(self.branches, of_branch, strict=True)
        return type(self)(*(set_value(branch, own) for branch, own in pairs), inputs=self.inputs)

    def shape(self, maps: Sequence[Shape]) -> Shape:
        _, heights, widths = zip(*(branch.shape(maps) for branch in self.branches), strict=True)
        return self.out_channels, max(heights), max(widths)

    def receptive_field(self, side: int, stride: int) -> tuple[int, int]:
        sides = [branch.receptive_field(side, stride)[0] for branch in self.branches]
        return max(sides), stride

    def regions(self, below: list[Region], shape_below: Shape, shape: Shape) -> list[Region]:
        _, full_height, full_width = shape
        regions = []
        first = 0
        for branch in self.branches:
            features, height, width = branch.shape([shape_below])
            top, left = (full_height - height) // 2, (full_width - width) // 2
            rows = slice(top, top + height)
            columns = slice(left, left + width)
            regions.append(Region(slice(first, first + features), rows, columns))
            first += features
        return regions

    def explain(self) -> str:
        return ", ".join(dict.fromkeys(branch.explain() for branch in self.branches))


class Vote(Branches):
    """Parallel decision branches of one input, which decide by majority; the last stage of a network.

    Each branch votes for the class of its winner, or abstains when it is silent. A class with at least two votes and
    more votes than any other class is chosen; otherwise the vote of the middle branch decides, and if that branch is
    silent, the vote of the branch with the highest potential. Each branch learns from its own vote. All branches have
    the same number of features.
    """

    title: ClassVar[str] = "vote"

    def check_branches(self) -> None:
        if any(branch.fires for branch in self.branches):
            raise InputError("the branches of a Vote decide: leave out their thresholds, or declare Branches(…)")
        counts = [branch.out_channels for branch in self.branches]
        if len({*counts}) > 1:  # a feature has the same class in each branch
            raise InputError(f"out_channels of the branches of a Vote must be equal, not {counts}")
