"""The stages that a network is declared with: SpikingConv, SpikingDense, Pool, Branches and Vote.

Latency maps flow through the stages: uint8 (N, C, H, W), the time step of each neuron's only spike, ``time_steps`` for
a silent neuron. A stage reads the stage declared before it, or those that ``inputs`` names; "input" is the map of the
encoder. Learning rules are in ``rules.py``.
"""

import inspect
import math
from collections.abc import Sequence
from itertools import pairwise
from numbers import Integral, Real
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from engine import event, frames
from engine.backend import require
from engine.decision import Outcome
from engine.geometry import output_size, pooled_size
from engine.latency import drop_times, to_classes, to_latency_map
from engine.rules import MAX_VALUE, Rule, check_competition
from errors import InputError

BACKENDS = {"event": event, "torch": frames}
INPUT = "input"  # the map of the encoder, below the first stage
MAX_FEATURES = 2**15 - 1
MAX_WEIGHTS = 2**31 - 1  # of a convolution, because the kernels keep positions in the weights as int32

Shape = tuple[int, int, int]  # (channels, rows, columns) of a latency map


class Region(NamedTuple):
    """Neurons of one convolution in the latency map (F, H, W) of a stage: slices of its features, rows and columns."""

    features: slice
    rows: slice
    columns: slice


class SummaryRow(NamedTuple):
    """One row of a network's summary; all are texts, ``weights`` is a number."""

    name: str
    rule: str
    kernel: str = ""
    threshold: str = ""
    winners: str = ""
    radius: str = ""
    output: str = ""
    field: str = ""
    weights: int = 0


class Stage(nn.Module):
    """The base class of all stages.

    Args:
        inputs: names of the stages that the stage reads, or one name; none: the stage before it.

    Each subclass implements:

    * ``output_shape(channels, height, width)``: the shape of its map for an input of this shape; raises InputError if
      it does not fit;
    * ``receptive_field(side, stride)``: receptive field and stride of its neurons, in pixels of the encoded image, from
      those of the stage that it reads;
    * ``regions(below, shape_below, shape)``: where its map has neurons, a ``Region`` for each convolution, from the
      regions of the map that it reads, whose shape is ``shape_below``; ``shape``: of its own map;
    * ``explain()``: in a few words, what its map shows;
    * ``summary(labels, shape_below, shape, field)``: its rows of the summary; ``labels``: of its convolutions, then
      its own name; ``field``: receptive field and stride of what it reads;
    * ``fire(latency[, pool])``: its map, pooled if it is a convolution.
    """

    convs: Sequence["SpikingConv"] = ()  # its convolutions
    rules: Sequence[Rule] = ()  # the rules that it learns by
    decides = False  # whether it has no threshold
    sees_whole_maps = False  # whether its neurons depend on the size of the image
    levels: tuple[int, ...] = ()  # see ``SpikingDense``
    size = 1  # of its pooling windows
    padding = 0  # of its input, in neurons

    def __init__(self, inputs: str | Sequence[str] = ()):
        super().__init__()
        inputs = (inputs,) if isinstance(inputs, str) else tuple(inputs)
        if not all(isinstance(name, str) for name in inputs) or len(set(inputs)) < len(inputs):
            raise InputError(f"inputs are the names of stages, each once; not {inputs}")
        self.inputs = inputs

    def get_arguments(self) -> dict[str, Any]:
        """Return the arguments that the stage was made with, by name."""
        return {name: getattr(self, name) for name in inspect.signature(type(self)).parameters}

    def connect(self, maps: list[Shape]) -> None:
        """Set what depends on the shapes of the maps that the stage reads. Raises InputError if they do not fit."""
        if len(maps) != 1:
            raise InputError(f"reads one map, not {len(maps)}; a SpikingDense reads several")

    def gather(self, maps: list[torch.Tensor]) -> torch.Tensor:
        """Return the input of the stage, made of the latency maps that it reads."""
        return maps[0]


class SpikingConv(Stage):
    """A convolution of stride 1 whose neurons fire once, when their potential exceeds the threshold (strictly).

    If weights are negative, a potential can fall again. A neuron fires at the first step at which its potential exceeds
    the threshold, and competes with its potential at this step, whatever follows.

    Without a threshold the neurons fire only at the last time step, if their potential is positive, and the highest
    potential decides. The state of each rule is kept in buffers: its current rates (``stdp_rates``, ``rstdp_rates``, …,
    after the rule's name), each row (LTP, LTD), and ``images_seen`` if the rule counts images. If a rule adapts the
    thresholds, the buffer ``raised``, float64 (F,), contains how much higher they are than ``threshold``.

    Args:
        out_channels: number of features F.
        kernel: side of the square kernel, in neurons.
        padding: zeros around the input, in neurons.
        threshold: of the potential; inf: no threshold.
        rule: the rule that the stage learns by; None: it does not learn.
        first_weights: mean and standard deviation of the first weights (Mozafari et al. 2018).
        inputs: see ``Stage``.
        in_channels: number of channels C of the input; None: those of the map that the stage reads.

    ``weight`` is (F, C, kernel, kernel). Raises InputError for values out of range.
    """

    def __init__(
        self,
        out_channels: int,
        kernel: int,
        *,
        padding: int = 0,
        threshold: float = math.inf,
        rule: Rule | None = None,
        first_weights: tuple[float, float] = (0.8, 0.05),
        inputs: str | Sequence[str] = (),
        in_channels: int | None = None,
    ):
        super().__init__(inputs)
        channels = 1 if in_channels is None else in_channels
        sizes = {"out_channels": (out_channels, 1), "kernel": (kernel, 1), "padding": (padding, 0)}
        for field, (value, least) in {**sizes, "in_channels": (channels, 1)}.items():
            if not isinstance(value, Integral) or value < least:
                raise InputError(f"{field} must be a whole number of at least {least}, not {value!r}")
        if padding >= kernel:
            message = f"padding {padding} around a kernel of {kernel} makes neurons without input"
            raise InputError(message)
        if not isinstance(threshold, Real) or not (0 <= threshold <= MAX_VALUE or threshold == math.inf):
            raise InputError(f"threshold must be 0 to 1e6, or inf for none; not {threshold!r}")
        is_pair = isinstance(first_weights, tuple | list) and len(first_weights) == 2
        if not is_pair or not all(isinstance(number, Real) and 0 <= number <= MAX_VALUE for number in first_weights):
            message = f"first_weights must be (mean, deviation), two numbers from 0 to 1e6; not {first_weights}"
            raise InputError(message)
        self.out_channels = out_channels
        self.kernel = kernel
        self.padding = padding
        self.threshold = threshold
        self.rule = rule
        self.first_weights = first_weights
        self.in_channels = in_channels
        self._make_weight(channels, "meta" if in_channels is None else "cpu")
        for learned in self.rules:
            require(isinstance(learned, Rule), f"a rule is an object such as STDP(…), not {learned!r}")
            rates = np.array(learned.first_rates()).astype(np.float64, casting="same_kind")
            fits = rates.ndim in (1, 2) and rates.shape[-1] == 2 and (abs(rates) <= MAX_VALUE).all()
            message = f"the first rates of {learned.name!r} must be pairs from -1e6 to 1e6, not {rates.tolist()}"
            require(fits, message)
            methods = ["window", "change"]
            if learned.needs_labels:
                methods.append("verdict")
            fits = set(methods) <= set(dir(learned.plasticity()))
            require(fits, f"the plasticity of {learned.name!r} needs the methods {', '.join(methods)}")
            competes = learned.rewards_firing or not learned.needs_labels
            if competes and not self.decides:
                check_competition(learned)
            self.register_buffer(f"{learned.name}_rates", torch.from_numpy(rates))
        if any(learned.counts_images for learned in self.rules):
            self.register_buffer("images_seen", torch.zeros(1, dtype=torch.int64))
        if not self.decides and any(learned.adapts_thresholds for learned in self.rules):
            self.register_buffer("raised", torch.zeros(out_channels, dtype=torch.float64))
        # the network sets both
        self.time_steps = 15
        self.backend = "event"

    def _make_weight(self, channels: int, device: str = "meta") -> None:
        fits = self.out_channels <= MAX_FEATURES
        require(fits, f"a layer has at most {MAX_FEATURES:,} features, not {self.out_channels:,}")
        shape = self.out_channels, channels, self.kernel, self.kernel
        padded = (self.out_channels + 32) * channels * self.kernel**2  # the kernels pad the features
        fits = padded <= MAX_WEIGHTS
        require(fits, f"a layer has at most {MAX_WEIGHTS:,} weights, not {math.prod(shape):,}")
        # in a network, the weights take no memory until they are drawn
        self.weight = nn.Parameter(torch.empty(shape, device=device), requires_grad=False)

    def _get_weight(self) -> torch.Tensor:
        """Return the weight. Raises InputError if a user has replaced it by one that the layer cannot take."""
        weight = self.weight
        shape = self.out_channels, self.in_channels or 1, self.kernel, self.kernel
        is_float = weight.dtype in (torch.float32, torch.float64)
        fits = weight.shape == shape and is_float and weight.is_contiguous() and not weight.is_neg()
        given = f"{weight.dtype} {tuple(weight.shape)}"
        require(fits, f"weight must be contiguous, float32 or float64 {shape}, not {given}")
        return weight

    def connect(self, maps: list[Shape]) -> None:
        super().connect(maps)
        channels = maps[0][0]
        if self.in_channels not in (None, channels):
            raise InputError(f"reads {self.in_channels} channels, but gets {channels}")
        self.in_channels = channels
        self._make_weight(channels)

    def extra_repr(self) -> str:
        size = f"{self.in_channels}→{self.out_channels}, {self.kernel}×{self.kernel}"
        return f"{size}, padding={self.padding}, threshold={self.threshold}, rule={self.rule}"

    @property
    def convs(self) -> list["SpikingConv"]:
        return [self]

    @property
    def rules(self) -> list[Rule]:
        """The rules in the order of the training: a warm-up, then the rule itself."""
        warm_up = getattr(self.rule, "warm_up", None)
        return [rule for rule in (warm_up, self.rule) if rule is not None]

    @property
    def decides(self) -> bool:
        return math.isinf(self.threshold)

    @property
    def thresholds(self) -> torch.Tensor:
        """The threshold of each feature, float64 (F,)."""
        raised = getattr(self, "raised", torch.zeros(self.out_channels, dtype=torch.float64))
        return raised + self.threshold

    def rates(self, rule: Rule) -> torch.Tensor:
        """Return the buffer with the current rates of a rule: float64 (2,) or (rows, 2).

        Raises InputError if the stage does not learn by such a rule.
        """
        names = [known.name for known in self.rules]
        fits = isinstance(rule, Rule) and rule.name in names
        require(fits, f"this stage learns by {' and '.join(names) or 'no rule'}, not by {rule!r}")
        return getattr(self, f"{rule.name}_rates")

    def output_shape(self, channels: int, height: int, width: int) -> Shape:
        return self.out_channels, *output_size(height, width, self.kernel, self.padding)

    def receptive_field(self, side: int, stride: int) -> tuple[int, int]:
        return side + (self.kernel - 1) * stride, stride

    def regions(self, below: list[Region], shape_below: Shape, shape: Shape) -> list[Region]:
        return [Region(*(slice(0, size) for size in shape))]

    def explain(self) -> str:
        return "potentials at the last time step" if self.decides else f"threshold {self._describe_thresholds()}"

    def _describe_thresholds(self) -> str:
        lowest, highest = (f"{float(end):.4g}" for end in self.thresholds.aminmax())
        return lowest if lowest == highest else f"{lowest} to {highest}"

    def summary(self, labels: list[str], shape_below: Shape, shape: Shape, field: tuple[int, int]) -> list[SummaryRow]:
        side, _ = self.receptive_field(*field)
        row = SummaryRow(
            name=labels[0],
            rule="none",
            kernel=f"{self.kernel}×{self.kernel}",
            threshold="∞" if self.decides else self._describe_thresholds(),
            winners=str(getattr(self.rule, "winners", "")),
            radius=str(getattr(self.rule, "radius", "")),
            output="×".join(map(str, self.output_shape(*shape_below))),
            field=f"{side}×{side}",
            weights=self.weight.numel(),
        )
        if self.rule:
            row = row._replace(rule=self.rule.title)
        return [row]

    # -----------------------------------------------------------------------------------------------------------------

    def layer(self) -> Any:
        """Return the stage as a layer of its backend. It is made for each call, because ``weight`` is writable."""
        backend = BACKENDS[self.backend]
        if self.decides:
            return backend.DecisionLayer(self._get_weight(), self.time_steps, self.padding)
        raised = getattr(self, "raised", None)
        return backend.FiringLayer(self._get_weight(), self.time_steps, self.padding, self.threshold, raised)

    def fire(self, latency: torch.Tensor, pool: int = 1) -> torch.Tensor:
        """Return the first spikes, pooled: uint8 (N, F, Ho / pool, Wo / pool)."""
        if not self.decides:
            return self.layer().fire(latency, pool)
        # Only whether an input spiked counts: as if all had spiked at once, with a threshold of 0, at the last step.
        layer = BACKENDS[self.backend].FiringLayer(self._get_weight(), self.time_steps, self.padding, 0.0)
        spiked = drop_times(to_latency_map(latency), self.time_steps)
        fired = layer.fire(spiked, pool)
        return torch.where(fired == 0, self.time_steps - 1, self.time_steps).to(torch.uint8)

    def peaks(self, latency: torch.Tensor) -> torch.Tensor:
        """Return the highest potential of each feature of a decision stage, (N, F)."""
        require(self.decides, f"only a stage without a threshold has peaks, not one of {self.threshold}")
        return self.layer().peaks(latency)

    def learn_features(
        self, latency: torch.Tensor, rule: Rule, epoch: int = 0, rng: np.random.Generator | None = None
    ) -> torch.Tensor:
        """Learn by an unsupervised rule, one image after another; return the winners (see ``backend.FiringLayer``).

        epoch: number of epochs of this phase before this one. rng: draws what the rule leaves to chance; None: a
        generator with the seed 0.
        """
        require(not self.decides, "a stage without a threshold learns from labels: learn_decisions")
        latency = to_latency_map(latency)
        numbers = self._number_next(rule, len(latency))
        rates = self.next_rates(rule, len(latency), epoch)
        size = self.output_shape(*latency.shape[1:])[1:]
        draws = rule.draw(rng or np.random.default_rng(0), numbers, size)
        return self.layer().compete_and_update(latency, rule, rates, draws)

    def learn_decisions(
        self, latency: torch.Tensor, labels: torch.Tensor, classes: np.ndarray, rng: np.random.Generator, epoch: int = 0
    ) -> Any:
        """Learn by the rule of a decision stage; the result is that of ``backend.DecisionLayer.decide_and_update``.

        Args:
            latency: uint8 (N, C, H, W).
            labels: integers (N,).
            classes: integers (F,), the class of each feature.
            rng: draws the neurons that the rule leaves out.
            epoch: as in ``learn_features``.
        """
        require(self.decides, f"a stage with the threshold {self.threshold} decides nothing")
        latency = to_latency_map(latency)
        classes = to_classes(classes, "classes", self.out_channels, self.out_channels)
        labels = to_classes(labels, "labels", len(latency), int(classes.max()) + 1)
        rates = self.next_rates(self.rule, len(latency), epoch)
        left_out = self.rule.draw_left_out(rng, len(latency), self.out_channels)
        return self.layer().decide_and_update(latency, labels, classes.numpy(), self.rule, rates, left_out)

    def next_rates(self, rule: Rule, images: int, epoch: int = 0) -> np.ndarray:
        """Count the next images as seen and return their rates, float64 (N, rows, 2)."""
        require(isinstance(epoch, Integral) and epoch >= 0, f"epoch must be 0 or more, not {epoch!r}")
        current = self.rates(rule)
        before = np.atleast_2d(current.numpy(force=True))
        numbers = self._number_next(rule, images)
        if rule.counts_images:
            self.images_seen += images
        rates = to_rates(rule.schedule(before, numbers, epoch), (images, *before.shape), f"schedule of {rule.name}")
        if images:
            current.copy_(torch.tensor(rates[-1]).view_as(current))
        return rates

    def _number_next(self, rule: Rule, images: int) -> np.ndarray:
        """Return the counts of the next images, int64 (N,), as ``Rule.schedule`` gets them."""
        self.rates(rule)  # raises an error for a rule of another stage
        seen = int(self.images_seen) if rule.counts_images else 0
        return seen + np.arange(1, images + 1)

    def adapt(self, rule: Rule, outcome: Outcome) -> None:
        """Set the rates of a rule for the next batch by the outcome of the last batch, if the rule adapts them."""
        rates = rule.adapt(outcome)
        if rates is not None:
            before = self.rates(rule)
            before.copy_(torch.from_numpy(to_rates(rates, tuple(before.shape), f"adapt of {rule.name}")))


def to_rates(values: Any, shape: tuple[int, ...], source: str) -> np.ndarray:
    """Return the rates that a user's rule has returned as float64. Raises InputError unless they are finite."""
    try:
        rates = np.array(values).astype(np.float64, casting="same_kind")  # complex numbers are refused
    except (TypeError, ValueError):
        rates = np.array(math.nan)
    fits = rates.shape == shape and np.isfinite(rates).all()
    given = " ".join(repr(values).split())
    require(fits, f"{source} must return finite numbers {shape}, not {given:.80}")
    return rates


class SpikingDense(SpikingConv):
    """Decision neurons that read whole maps: one map, or several of any sizes.

    For the backends this is a convolution of a 1×1 map. Its channels are all neurons of the maps that it reads, map
    after map, each in the order (channel, row, column). So ``weight`` is (neurons, inputs, 1, 1), and the number of
    inputs is known only in a network.

    Args:
        out_channels: number of neurons.
        rule, first_weights, inputs: as in ``SpikingConv``.
        levels: ascending time steps, at least 1. Each level adds one input for each neuron below, a synapse that takes
            a spike only before this step. The inputs of the levels come first, level after level; the last ones take a
            spike at any step. So the stage reads *when* a neuron has spiked (thermometer code).
    """

    sees_whole_maps = True

    def __init__(
        self,
        out_channels: int,
        *,
        rule: Rule | None = None,
        first_weights: tuple[float, float] = (0.5, 0.05),
        inputs: str | Sequence[str] = (),
        levels: tuple[int, ...] = (),
    ):
        super().__init__(out_channels, 1, rule=rule, first_weights=first_weights, inputs=inputs)
        self.levels = tuple(levels)
        steps = [0, *self.levels]
        is_whole = all(isinstance(level, Integral) for level in steps)
        if not is_whole or any(a >= b for a, b in pairwise(steps)):
            raise InputError(f"levels must be ascending time steps of at least 1, not {levels!r}")

    def connect(self, maps: list[Shape]) -> None:
        if self.levels and self.levels[-1] >= self.time_steps:
            raise InputError(f"levels must be below {self.time_steps} time steps, not {self.levels}")
        self.in_channels = (1 + len(self.levels)) * sum(math.prod(shape) for shape in maps)
        self._make_weight(self.in_channels)

    def extra_repr(self) -> str:
        return f"{self.in_channels}→{self.out_channels}, rule={self.rule}"

    def gather(self, maps: list[torch.Tensor]) -> torch.Tensor:
        latency = torch.cat([latency.flatten(1) for latency in maps], 1)
        early = [torch.where(latency < level, latency, self.time_steps) for level in self.levels]
        return torch.cat([*early, latency], 1)[:, :, None, None]

    def output_shape(self, channels: int, height: int, width: int) -> Shape:
        return self.out_channels, 1, 1

    def summary(self, labels: list[str], shape_below: Shape, shape: Shape, field: tuple[int, int]) -> list[SummaryRow]:
        (row,) = super().summary(labels, shape_below, shape, field)
        return [row._replace(kernel="all", winners="", radius="", output=f"{self.out_channels}", field="all")]


class Pool(Stage):
    """The earliest spike of each size×size window; rows and columns that do not fill a window are dropped.

    Args:
        size: side of a window and distance between windows, in neurons.
        padding: rows and columns of silent neurons on each side of the input, at most half of ``size``.
        inputs: see ``Stage``.
    """

    def __init__(self, size: int, *, padding: int = 0, inputs: str | Sequence[str] = ()):
        super().__init__(inputs)
        if not isinstance(size, Integral) or size < 1:
            raise InputError(f"size must be a whole number of at least 1, not {size!r}")
        if not isinstance(padding, Integral) or not 0 <= 2 * padding <= size:
            message = f"padding must be a whole number from 0 to {size // 2}, half of the size, not {padding!r}"
            raise InputError(message)
        self.size = size
        self.padding = padding

    def extra_repr(self) -> str:
        size = f"{self.size}×{self.size}"
        return f"{size}, padding={self.padding}" if self.padding else size

    def output_shape(self, channels: int, height: int, width: int) -> Shape:
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
        return f"the earliest spike of each {self.size}×{self.size} window"

    def summary(self, labels: list[str], shape_below: Shape, shape: Shape, field: tuple[int, int]) -> list[SummaryRow]:
        side, _ = self.receptive_field(*field)
        output = "×".join(map(str, shape))
        return [SummaryRow(labels[0], "pooling", f"{self.size}×{self.size}", output=output, field=f"{side}×{side}")]

    def fire(self, latency: torch.Tensor) -> torch.Tensor:
        latency = to_latency_map(latency)
        pooled_size(*latency.shape[2:], self.size, self.padding)
        return frames.pool_latency(latency, self.size, self.padding)


class Branches(Stage):
    """Parallel convolutions of one input; smaller outputs are padded to the largest, and all are concatenated.

    Each branch has a threshold, and all learn by the same kind of unsupervised rule, or none learns.
    """

    joined = "joined"  # what the summary calls the stage's own map

    def __init__(self, *branches: SpikingConv, inputs: str | Sequence[str] = ()):
        super().__init__(inputs)
        name = type(self).__name__
        if not branches or not all(type(branch) is SpikingConv for branch in branches):
            raise InputError(f"{name} takes at least one SpikingConv")
        if any(branch.inputs for branch in branches):
            raise InputError(f"branches read one input: name it once, {name}(…, inputs=…)")
        if len({type(branch.rule) for branch in branches}) > 1:
            names = " and ".join(dict.fromkeys(type(branch.rule).__name__ for branch in branches))
            raise InputError(f"branches learn by one kind of rule, not by {names}: use separate stages")
        self.branches = nn.ModuleList(branches)
        self._check_branches()

    def _check_branches(self) -> None:
        if any(branch.decides for branch in self.branches):
            message = "branches without a threshold decide: declare them as Vote(…), the last stage"
            raise InputError(message)
        if any(rule.needs_labels for rule in self.rules):
            message = "Branches cannot learn from rewards; a SpikingConv below the decision stage or a Vote can"
            raise InputError(message)

    def connect(self, maps: list[Shape]) -> None:
        for branch in self.branches:
            branch.connect(maps)

    @property
    def convs(self) -> list[SpikingConv]:
        return list(self.branches)

    @property
    def rules(self) -> list[Rule]:
        return self.branches[0].rules

    @property
    def decides(self) -> bool:
        return self.branches[0].decides

    @property
    def out_channels(self) -> int:
        return sum(branch.out_channels for branch in self.branches)

    def output_shape(self, channels: int, height: int, width: int) -> Shape:
        shapes = [branch.output_shape(channels, height, width) for branch in self.branches]
        _, heights, widths = zip(*shapes, strict=True)
        return self.out_channels, max(heights), max(widths)

    def receptive_field(self, side: int, stride: int) -> tuple[int, int]:
        sides = [branch.receptive_field(side, stride)[0] for branch in self.branches]
        return max(sides), stride

    def regions(self, below: list[Region], shape_below: Shape, shape: Shape) -> list[Region]:
        _, full_height, full_width = shape
        regions = []
        first = 0
        for branch in self.branches:
            features, height, width = branch.output_shape(*shape_below)
            top, left = (full_height - height) // 2, (full_width - width) // 2
            rows = slice(top, top + height)
            columns = slice(left, left + width)
            regions.append(Region(slice(first, first + features), rows, columns))
            first += features
        return regions

    def explain(self) -> str:
        return ", ".join(dict.fromkeys(branch.explain() for branch in self.branches))

    def summary(self, labels: list[str], shape_below: Shape, shape: Shape, field: tuple[int, int]) -> list[SummaryRow]:
        *labels, name = labels
        rows = []
        for label, branch in zip(labels, self.branches, strict=True):
            rows += branch.summary([label], shape_below, shape, field)
        side, _ = self.receptive_field(*field)
        output = "×".join(map(str, shape))
        return [*rows, SummaryRow(name, self.joined, output=output, field=f"{side}×{side}")]

    def fire(self, latency: torch.Tensor, pool: int = 1) -> torch.Tensor:
        latency = to_latency_map(latency)
        _, height, width = self.output_shape(*latency.shape[1:])
        pooled_size(height, width, pool)
        maps = []
        for branch in self.branches:
            first = branch.fire(latency)
            more_rows = height - first.shape[2]
            more_columns = width - first.shape[3]
            top, left = more_rows // 2, more_columns // 2
            sides = left, more_columns - left, top, more_rows - top
            maps.append(F.pad(first, sides, value=branch.time_steps))
        return frames.pool_latency(torch.cat(maps, 1), pool)


class Vote(Branches):
    """Parallel decision branches of one input, which decide by majority; the last stage of a network.

    Each branch votes for the class of its winner, or abstains when it is silent. A class with at least two votes and
    more votes than any other class is chosen; otherwise the vote of the middle branch decides, and if that branch is
    silent, the vote of the branch with the highest potential. Each branch learns from its own vote.
    """

    joined = "vote"

    def _check_branches(self) -> None:
        if not all(branch.decides for branch in self.branches):
            message = "the branches of a Vote decide: leave out their thresholds, or declare Branches(…)"
            raise InputError(message)
