"""The stages that a network is declared with: SpikingConv, SpikingDense, Inhibit, Pool, Branches and Vote.

They are records without weights; ``layers.py`` computes with them. Latency maps flow through the stages: uint8
(N, C, H, W), the time step of each neuron's only spike, ``time_steps`` for a silent neuron. A stage reads the stage
declared before it, or those that ``inputs`` names; "input" is the map of the encoder. Learning rules are in
``rules.py``.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, ClassVar, NamedTuple

from engine.declaration import MAX_VALUE, Changes, Declared, from_plain, ranged, set_value
from engine.rules import RULES, Rule, check_rule
from errors import InputError

INPUT = "input"  # the map of the encoder, below the first stage
MAX_FEATURES = 2**15 - 1
MAX_WEIGHTS = 2**31 - 1  # of a convolution, because the kernels keep positions in the weights as int32

Shape = tuple[int, int, int]  # (channels, rows, columns) of a latency map


class Region(NamedTuple):
    """Neurons of one convolution in the latency map (F, H, W) of a stage: slices of its features, rows and columns."""

    features: slice
    rows: slice
    columns: slice


@dataclass(frozen=True, kw_only=True)
class Stage(Declared):
    """The base class of all stages.

    Args:
        inputs: names of the stages that the stage reads, or one name; none: the stage before it.

    Each subclass implements:

    * ``shape(maps)``: the shape of its map, from the shapes of the maps that it reads; raises InputError if it does not
      fit them;
    * ``receptive_field(side, stride)``: receptive field and stride of its neurons, in pixels of the encoded image, from
      those of the stage that it reads;
    * ``regions(below, shape_below, shape)``: where its map has neurons, a ``Region`` for each convolution. ``below``
      contains the regions of the map that it reads, and ``shape_below`` is the shape of that map. ``shape`` is the
      shape of its own map;
    * ``explain()``: in a few words, what its map shows.
    """

    inputs: tuple[str, ...] = ()

    title: ClassVar[str] = ""  # of a stage that is not a single convolution, in the summary
    fixed: ClassVar[Sequence[str]] = ("inputs",)
    convs: ClassVar[Sequence["SpikingConv"]] = ()  # its convolutions
    rules: ClassVar[Sequence[Rule]] = ()  # the rules that it learns by
    fires: ClassVar[bool] = True  # whether its neurons spike at any time: all stages but those without a threshold
    sees_whole_maps: ClassVar[bool] = False  # whether its neurons depend on the size of the image
    levels: ClassVar[Sequence[int]] = ()  # time steps, see ``SpikingDense``
    votes: ClassVar[bool] = False  # whether its branches decide by majority
    is_plain_pool: ClassVar[bool] = False  # whether the convolution below can pool together with its own spikes
    reads_times: ClassVar[bool] = False  # whether which of its neurons spike depends on when those below have spiked

    def __post_init__(self):
        if isinstance(self.inputs, Iterable):
            inputs = (self.inputs,) if isinstance(self.inputs, str) else tuple(self.inputs)
            object.__setattr__(self, "inputs", inputs)
        super().__post_init__()
        if len(set(self.inputs)) < len(self.inputs):
            raise InputError(f"inputs are the names of stages, each once; not {self.inputs}")


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
    def rules(self) -> list[Rule]:
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
            padded = f"{height + 2 * self.padding}×{width + 2 * self.padding}"
            raise InputError(f"kernel {self.kernel} does not fit a {padded} input (padding included)")
        return self.out_channels, rows, columns

    def receptive_field(self, side: int, stride: int) -> tuple[int, int]:
        return side + (self.kernel - 1) * stride, stride

    def regions(self, below: list[Region], shape_below: Shape, shape: Shape) -> list[Region]:
        return [Region(*(slice(0, size) for size in shape))]

    def explain(self) -> str:
        return f"threshold {self.threshold:.4g}" if self.fires else "potentials at the last time step"


@dataclass(frozen=True)
class SpikingDense(SpikingConv):
    """Decision neurons that read whole maps: one map, or several of any sizes.

    The network gathers these maps in one map (``Gather``), of which the stage is a convolution with kernel 1.

    Args:
        out_channels: number of neurons.
        rule, first_weights, inputs: as in ``SpikingConv``.
        levels: ascending time steps, at least 1. Each level adds one input for each neuron below, a synapse that takes
            a spike only before this step. So the stage reads *when* a neuron has spiked (thermometer code).
    """

    kernel: int = field(default=1, init=False)
    padding: int = field(default=0, init=False)
    threshold: float = ranged(0, math.inf, math.inf, init=False)
    first_weights: tuple[float, float] = ranged(0, MAX_VALUE, (0.5, 0.05), kw_only=True)
    levels: tuple[int, ...] = ranged(1, 254, (), kw_only=True)

    sees_whole_maps: ClassVar[bool] = True

    def __post_init__(self):
        super().__post_init__()
        if any(a >= b for a, b in pairwise(self.levels)):
            raise InputError(f"levels must be ascending time steps, not {self.levels}")


@dataclass(frozen=True)
class Gather(Stage):
    """All neurons of one or several maps as the channels of a 1×1 map, the input of a ``SpikingDense``.

    The network puts it before this stage. The channels are map after map, each in the order (channel, row, column).
    With levels, the channels of the first level come first, then those of the next ones, and at last those without a
    level. In the channels of a level, only the spikes before this time step are left.
    """

    levels: tuple[int, ...] = field(default=(), kw_only=True)

    @property
    def reads_times(self) -> bool:
        return bool(self.levels)

    def shape(self, maps: Sequence[Shape]) -> Shape:
        return (1 + len(self.levels)) * sum(math.prod(shape) for shape in maps), 1, 1


@dataclass(frozen=True)
class Pool(Stage):
    """The earliest spike of each size×size window; rows and columns that do not fill a window are dropped.

    Args:
        size: side of a window and distance between windows, in neurons.
        padding: rows and columns of silent neurons on each side of the input, at most half of ``size``.
        rank: which spike of the window, in the order of time: 1, the earliest, to size². A neuron of rank r spikes if
            the window has at least r spikes. So several poolings of one map, with different ranks, count its spikes
            (thermometer code), and each neuron still spikes at most once. A rank above 1 takes no padding.
        inputs: see ``Stage``.
    """

    size: int = ranged(1, MAX_FEATURES)
    padding: int = ranged(0, MAX_FEATURES, 0, kw_only=True)
    rank: int = ranged(1, MAX_FEATURES, 1, kw_only=True)

    title: ClassVar[str] = "pooling"

    def __post_init__(self):
        super().__post_init__()
        if 2 * self.padding > self.size:
            raise InputError(f"padding must be at most {self.size // 2}, half of the size, not {self.padding}")
        if self.rank > 1 and (self.padding or self.rank > self.size**2):
            raise InputError(f"rank must be 1 with padding, and at most {self.size**2}, size², not {self.rank}")

    @property
    def is_plain_pool(self) -> bool:
        return self.rank == 1 and not self.padding

    def shape(self, maps: Sequence[Shape]) -> Shape:
        channels, height, width = read_single(maps)
        return channels, *pooled_size(height, width, self.size, self.padding)

    def receptive_field(self, side: int, stride: int) -> tuple[int, int]:
        return side + (self.size - 1) * stride, stride * self.size

    def regions(self, below: list[Region], shape_below: Shape, shape: Shape) -> list[Region]:
        def pooled(side: slice, length: int) -> slice:
            start = (side.start + self.padding) // self.size
            stop = -(-(side.stop + self.padding) // self.size)
            return slice(start, min(length, stop))

        _, height, width = shape
        return [Region(region.features, pooled(region.rows, height), pooled(region.columns, width)) for region in below]

    def explain(self) -> str:
        which = "earliest spike" if self.rank == 1 else f"spike of rank {self.rank}"
        return f"the {which} of each {self.size}×{self.size} window"


@dataclass(frozen=True)
class Inhibit(Stage):
    """Inhibition between the features at each position: the first spikes pass, later ones are silent.

    A spike passes if fewer than k = ⌈share · F⌉ of the F features spike earlier at its position. Spikes at the same
    time pass together, so that no potential is needed.

    Args:
        share: the share of the features that pass, if all spike at different times; above 0, at most 1.
        inputs: see ``Stage``.
    """

    share: float = ranged(0, 1, above=True)

    title: ClassVar[str] = "inhibition"
    reads_times: ClassVar[bool] = True

    def count(self, features: int) -> int:
        """Return k of F features. Without the rounding, 0.07 · 100 would be 7.000000000000001, and k would be 8."""
        return max(1, math.ceil(round(self.share * features, 9)))

    def shape(self, maps: Sequence[Shape]) -> Shape:
        return read_single(maps)

    def receptive_field(self, side: int, stride: int) -> tuple[int, int]:
        return side, stride

    def regions(self, below: list[Region], shape_below: Shape, shape: Shape) -> list[Region]:
        return below

    def explain(self) -> str:
        return f"the spikes of the first {100 * self.share:.4g} % of the features at each position"


@dataclass(frozen=True, init=False)
class Branches(Stage):
    """Parallel convolutions of one input; smaller outputs are padded to the largest, and all are concatenated.

    Each branch has a threshold, and all learn by the same kind of unsupervised rule, or none learns.
    """

    branches: tuple[SpikingConv, ...]

    title: ClassVar[str] = "joined"

    def __init__(self, *branches: SpikingConv, inputs: str | Sequence[str] = ()):
        object.__setattr__(self, "branches", branches)
        object.__setattr__(self, "inputs", inputs)
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
    def rules(self) -> list[Rule]:
        return self.branches[0].rules

    @property
    def fires(self) -> bool:
        return self.branches[0].fires

    @property
    def out_channels(self) -> int:
        return sum(branch.out_channels for branch in self.branches)

    def set_fields(self, changes: Changes) -> "Branches":
        """Return the stage with other values in fields of one branch, ("1", "threshold"), or of all branches."""
        of_branch = [{} for _ in self.branches]
        for (name, *deeper), value in changes.items():
            if not name.isdigit():
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
    silent, the vote of the branch with the highest potential. Each branch learns from its own vote.
    """

    title: ClassVar[str] = "vote"
    votes: ClassVar[bool] = True

    def check_branches(self) -> None:
        if any(branch.fires for branch in self.branches):
            raise InputError("the branches of a Vote decide: leave out their thresholds, or declare Branches(…)")


def read_single(maps: Sequence[Shape]) -> Shape:
    """Return the shape of the only map that a stage reads. Raises InputError if there are several maps."""
    if len(maps) != 1:
        raise InputError(f"inputs: the stage reads one map, not {len(maps)}; a SpikingDense reads several")
    return maps[0]


def pooled_size(height: int, width: int, size: int, padding: int = 0) -> tuple[int, int]:
    """Return (Ho, Wo) of a pooling, which drops what does not fit. Raises InputError if no window fits."""
    height += 2 * padding
    width += 2 * padding
    if not 1 <= size <= min(height, width):
        raise InputError(f"pooling {size} does not fit a {height}×{width} input (padding included)")
    return height // size, width // size


def set_fields(stages: Mapping[str, Stage], values: Mapping[str, Any]) -> dict[str, Stage]:
    """Return the stages of a declaration with other values in some fields.

    Args:
        stages: {name: stage}, bottom up.
        values: {field: value}. A field is a field of the stage (``s2.threshold``) or of its rule
            (``s1.rule.winners``, ``s3.rule.warm_up.radius``). ``s3.1.threshold`` is a field of the second branch,
            ``s3.threshold`` of every branch. ``s1.rule`` is the name of another rule, which replaces the declared rule
            before its fields are set. A field of the new rule has its default or, if there is none, the value of the
            declared rule. ``s1`` is another stage.

    Raises InputError for an unknown field and for a value that the field cannot have.
    """
    changes = {}
    for path, value in values.items():
        name, *deeper = str(path).split(".")
        if name not in stages:
            raise InputError(f"{path}: no stage is called {name!r}; there are {', '.join(stages)}")
        changes.setdefault(name, {})[tuple(deeper)] = value
    changed = dict(stages)
    for name, of_stage in changes.items():
        try:
            changed[name] = set_value(stages[name], of_stage)
        except InputError as error:
            given = ", ".join(f"{'.'.join((name, *path))}={value}" for path, value in of_stage.items())
            raise InputError(f"{given}: {error}") from error
    return changed


def read_stages(record: Mapping[str, Any]) -> dict[str, Stage]:
    """Return the stages that ``declaration.to_plain`` has saved, {name: stage}. Raises InputError as ``from_plain``."""
    return {name: from_plain(stage, STAGES | RULES) for name, stage in record.items()}


STAGES = {cls.__name__: cls for cls in (SpikingConv, SpikingDense, Inhibit, Pool, Branches, Vote)}
