"""What a network is declared with: the stages SpikingConv, SpikingDense, Pool, Branches and Vote; rules: ``rules.py``.

Latency maps flow through the stages: uint8 (N, C, H, W), the time step of each neuron's only spike, ``time_steps`` for
a silent neuron. A stage reads the one declared before it, or those that ``inputs`` names; "input" is the encoder's map.
"""

import math
from numbers import Integral, Real

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from engine import event, frames
from engine.backend import MAX_FEATURES, MAX_WEIGHTS
from engine.geometry import output_size, pooled_size
from errors import InputError

BACKENDS = {"event": event, "torch": frames}
INPUT = "input"  # the encoder's own map, below the first stage


class Stage(nn.Module):
    """What every stage has. ``inputs``: names of the stages that it reads; none: the one before it."""

    convs = ()  # the convolutions of the stage
    rules = ()  # by which it learns
    decides = False  # whether it is without a threshold

    def __init__(self, inputs=()):
        super().__init__()
        inputs = (inputs,) if isinstance(inputs, str) else tuple(inputs)
        if not all(isinstance(name, str) for name in inputs) or len(set(inputs)) < len(inputs):
            raise InputError(f"inputs are the names of stages, each once; not {inputs}")
        self.inputs = inputs

    def connect(self, maps):
        """Take note of the maps that the stage will read, [(channels, height, width)]. Errors: InputError."""
        if len(maps) != 1:
            raise InputError(f"reads one map, not {len(maps)}; a SpikingDense reads several")

    def gather(self, maps):
        """The stage's input of the latency maps that it reads."""
        return maps[0]


class SpikingConv(Stage):
    """A convolution of stride 1 whose neurons fire once, when their potential is over the threshold (strictly).

    ``weight`` is (features, channels, kernel, kernel). Without a threshold the neurons fire only at the last time
    step, if their potential is positive, and the strongest potential decides. Each rule's running state is in
    buffers: its current rates (``stdp_rates``, ``rstdp_rates``, …: the rule's name), each row (LTP, LTD), and
    ``images_seen`` if the rule counts them. ``first_weights``: mean and standard deviation (Mozafari et al. 2018).
    """

    def __init__(
        self, in_channels, out_channels, kernel, padding=0, threshold=math.inf, rule=None, first_weights=(0.8, 0.05),
        inputs=(),
    ):  # fmt: skip
        super().__init__(inputs)
        for what, value, least in (
            ("in_channels", in_channels, 1), ("out_channels", out_channels, 1), ("kernel", kernel, 1),
            ("padding", padding, 0),
        ):  # fmt: skip
            if not isinstance(value, Integral) or value < least:
                raise InputError(f"{what} of a convolution must be a whole number from {least} on, not {value!r}")
        if not isinstance(threshold, Real) or not threshold >= 0:
            raise InputError(f"a threshold must be a number from 0 on, or inf for none; not {threshold!r}")
        pair = first_weights if isinstance(first_weights, tuple | list) else ()
        if len(pair) != 2 or not all(isinstance(number, Real) and 0 <= number < math.inf for number in pair):
            raise InputError(
                f"first weights are drawn from (mean, deviation), two numbers from 0 on; not {first_weights}"
            )
        self.in_channels, self.out_channels, self.kernel = in_channels, out_channels, kernel
        self.padding, self.threshold, self.rule, self.first_weights = padding, threshold, rule, first_weights
        check_weights(out_channels, in_channels, kernel)
        self.weight = nn.Parameter(torch.empty(out_channels, in_channels, kernel, kernel), requires_grad=False)
        for learns in self.rules:
            self.register_buffer(f"{learns.name}_rates", torch.from_numpy(learns.first_rates()))
        if any(learns.counts_images for learns in self.rules):
            self.register_buffer("images_seen", torch.zeros(1, dtype=torch.int64))
        self.time_steps, self.backend = 15, "event"  # set by the network

    def connect(self, maps):
        super().connect(maps)
        if maps[0][0] != self.in_channels:
            raise InputError(f"reads {self.in_channels} channels, but gets {maps[0][0]}")

    def extra_repr(self):
        size = f"{self.in_channels}→{self.out_channels}, {self.kernel}×{self.kernel}"
        return f"{size}, padding={self.padding}, threshold={self.threshold}, rule={self.rule}"

    @property
    def convs(self):
        return [self]

    @property
    def rules(self):
        """In the order of the training: a warm-up, then the rule proper."""
        return [rule for rule in (getattr(self.rule, "warm_up", None), self.rule) if rule is not None]

    @property
    def decides(self):
        return math.isinf(self.threshold)

    def rates(self, rule):
        """The rule's current rates, a buffer: float64 (2,) or (rows, 2)."""
        return getattr(self, f"{rule.name}_rates")

    def output_size(self, height, width):
        """Errors: InputError if the kernel does not fit the padded input."""
        return output_size(height, width, self.kernel, self.padding)

    def layer(self):
        """The stage for a backend that fires and learns; made anew for each call, because ``weight`` is writable."""
        backend = BACKENDS[self.backend]
        if self.decides:
            return backend.DecisionLayer(self.weight, self.time_steps, self.padding)
        return backend.FiringLayer(self.weight, self.time_steps, self.padding, self.threshold)

    def fire(self, latency, pool=1):
        """First spikes (N, features, Ho / pool, Wo / pool)."""
        if not self.decides:
            return self.layer().fire(latency, pool)
        # Only whether an input spiked counts: as if all had spiked at once, over a threshold of 0, at the last step.
        spiked = torch.where(latency < self.time_steps, 0, self.time_steps).to(torch.uint8)
        layer = BACKENDS[self.backend].FiringLayer(self.weight, self.time_steps, self.padding, 0.0)
        return torch.where(layer.fire(spiked, pool) == 0, self.time_steps - 1, self.time_steps).to(torch.uint8)

    def peaks(self, latency):
        """Of a decision stage: the highest potential of each feature, (N, features)."""
        return self.layer().peaks(latency)

    def learn(self, latency, rule, epoch=None):
        """Learn by an unsupervised rule, one image after another; returns the winners as ``backend.FiringLayer.learn``.

        epoch: images of an epoch; None: as many as there are.
        """
        return self.layer().learn(latency, rule, self.advance(rule, len(latency), epoch))

    def learn_decisions(self, latency, labels, classes, rng, epoch=None):
        """Of a decision stage: learn by its rule; arguments and result as of ``backend.DecisionLayer.learn``.

        rng: from which the rule draws the neurons that it leaves out, if it leaves any out.
        """
        rates = self.advance(self.rule, len(latency), epoch)
        left_out = self.rule.draw_left_out(rng, len(latency), self.out_channels)
        return self.layer().learn(latency, labels, classes, self.rule, rates, left_out)

    def advance(self, rule, images, epoch=None):
        """The rule's rates for the next images, float64 (N, rows, 2), which are counted as seen from here on."""
        current = self.rates(rule)
        rates = np.atleast_2d(current.numpy(force=True))
        if not rule.counts_images:
            return rule.schedule(rates, np.arange(images), epoch or images)
        numbers = int(self.images_seen) + np.arange(1, images + 1)
        scheduled = rule.schedule(rates, numbers, epoch or images)
        if images:
            self.images_seen += images
            current.copy_(torch.from_numpy(scheduled[-1].reshape(current.shape)))
        return scheduled

    def adapt(self, outcome):
        """Set the rates for the next batch by the outcome of the last, if the rule does."""
        adapted = self.rule.adapted(outcome)
        if adapted is not None:
            self.rates(self.rule).copy_(torch.as_tensor(adapted))


class SpikingDense(SpikingConv):
    """Decision neurons, each of which sees the whole of one map or of several, whatever their sizes.

    To the backends it is a convolution of a map of 1×1: its channels are all neurons of the maps that it reads, map
    after map, each in the order (channel, line, column). So ``weight`` is (neurons, inputs, 1, 1), and there is a
    number of ``in_channels`` only when a network has told the stage what it reads.
    """

    def __init__(self, out_channels, rule=None, first_weights=(0.5, 0.05), inputs=()):
        super().__init__(1, out_channels, 1, rule=rule, first_weights=first_weights, inputs=inputs)

    def connect(self, maps):
        self.in_channels = sum(math.prod(shape) for shape in maps)
        check_weights(self.out_channels, self.in_channels, self.kernel)
        self.weight = nn.Parameter(torch.empty(self.out_channels, self.in_channels, 1, 1), requires_grad=False)

    def extra_repr(self):
        return f"{self.in_channels}→{self.out_channels}, rule={self.rule}"

    def gather(self, maps):
        return torch.cat([latency.flatten(1) for latency in maps], 1)[:, :, None, None]

    def output_size(self, height, width):
        return 1, 1


class Pool(Stage):
    """The earliest spike of each size×size window; what does not fit is dropped."""

    def __init__(self, size, inputs=()):
        super().__init__(inputs)
        if not isinstance(size, Integral) or size < 1:
            raise InputError(f"the size of a pooling must be a whole number from 1 on, not {size!r}")
        self.size = size

    def extra_repr(self):
        return f"{self.size}×{self.size}"

    def output_size(self, height, width):
        return pooled_size(height, width, self.size)

    def fire(self, latency):
        return frames.pool_latency(latency, self.size)


class Branches(Stage):
    """Parallel convolutions of one input; smaller outputs are padded to the largest, and all are concatenated.

    Each has a threshold, and all learn by the same kind of unsupervised rule, or none does.
    """

    def __init__(self, *branches, inputs=()):
        super().__init__(inputs)
        if not branches or not all(type(branch) is SpikingConv for branch in branches):
            raise InputError(f"{type(self).__name__} takes one SpikingConv or more")
        if any(branch.inputs for branch in branches):
            raise InputError(f"branches read one input: name it once, {type(self).__name__}(…, inputs=…)")
        if len({branch.in_channels for branch in branches}) > 1:
            channels = " and ".join(str(branch.in_channels) for branch in branches)
            raise InputError(f"branches read one input, so they cannot have {channels} in_channels")
        if len({type(branch.rule) for branch in branches}) > 1:
            kinds = " and ".join(dict.fromkeys(type(branch.rule).__name__ for branch in branches))
            raise InputError(f"branches learn by one kind of rule, not by {kinds}; put them into stages of their own")
        self.branches = nn.ModuleList(branches)
        self._check()

    def connect(self, maps):
        super().connect(maps)
        self.branches[0].connect(maps)

    def _check(self):
        if any(branch.decides for branch in self.branches):
            raise InputError("branches without a threshold decide; declare them as Vote(…), the last stage")
        if any(rule.needs_labels for rule in self.rules):
            raise InputError(
                "Branches cannot be rewarded: reward the decision stage, a SpikingConv right below it, or each branch "
                "of a Vote"
            )

    @property
    def convs(self):
        return list(self.branches)

    @property
    def rules(self):
        return self.branches[0].rules

    @property
    def decides(self):
        return self.branches[0].decides

    @property
    def in_channels(self):
        return self.branches[0].in_channels

    @property
    def out_channels(self):
        return sum(branch.out_channels for branch in self.branches)

    def output_size(self, height, width):
        sizes = [branch.output_size(height, width) for branch in self.branches]
        return max(sizes)

    def fire(self, latency, pool=1):
        height, width = self.output_size(*latency.shape[2:])
        maps = []
        for branch in self.branches:
            first = branch.fire(latency)
            top, left = (height - first.shape[2]) // 2, (width - first.shape[3]) // 2
            sides = (left, width - first.shape[3] - left, top, height - first.shape[2] - top)
            maps.append(F.pad(first, sides, value=branch.time_steps))
        return frames.pool_latency(torch.cat(maps, 1), pool)


class Vote(Branches):
    """Parallel decision branches of one input, which decide by majority; the last stage of a network.

    Each branch votes for its winner's class, or abstains when it is silent. Two or more equal votes decide; otherwise
    the middle branch's vote does, and if that branch is silent, the vote of the branch with the highest potential.
    Each learns from its own vote.
    """

    def _check(self):
        if not all(branch.decides for branch in self.branches):
            raise InputError("the branches of a Vote decide: leave out their thresholds, or declare Branches(…)")


def check_weights(out_channels, in_channels, kernel):
    """Errors: InputError for more features or weights than the kernels take, before their memory is asked for."""
    if out_channels >= MAX_FEATURES:
        raise InputError(f"a layer has fewer than {MAX_FEATURES:,} features, not {out_channels:,}")
    count = out_channels * in_channels * kernel * kernel
    if count > MAX_WEIGHTS:
        raise InputError(f"a layer of {count:,} weights is too large; {MAX_WEIGHTS:,} is the limit")
