"""What a network is declared with: the stages SpikingConv, Pool, Branches and Vote, and the rules STDP and RSTDP.

A latency map flows through the stages: uint8 (N, C, H, W), the time step of each neuron's only spike, ``steps`` for a
silent neuron.
"""

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from engine import frames
from engine.event import kernels as event
from errors import InputError

BACKENDS = {"event": event, "torch": frames}


class Outcome(NamedTuple):
    """How many images of a set were decided right, decided wrong, or not at all."""

    correct: int
    wrong: int
    silent: int

    @classmethod
    def of(cls, predictions, labels):
        correct = int((predictions == labels).sum())
        silent = int((predictions == -1).sum())
        return cls(correct, len(labels) - correct - silent, silent)

    def __add__(self, other):
        return Outcome(*(a + b for a, b in zip(self, other, strict=True)))

    def fraction(self, part):
        """``part`` ("correct", "wrong" or "silent") as a fraction of all images."""
        return getattr(self, part) / max(1, sum(self))


@dataclass(frozen=True)
class STDP:
    """Unsupervised STDP of a firing stage (Mozafari et al. 2018; Kheradpisheh et al. 2018, section 2.3).

    Of each image learn ``winners`` neurons at most, of different features and more than ``radius`` apart, chosen
    after point-wise inhibition. A synapse w of a winner changes by rate · s(w), where rate is the first of ``rates``
    (LTP) if its input spiked no later than the winner, else the second (LTD), and s(w) = (w - lower)(upper - w) with
    the stabilizer, else 1. Every ``double_every`` images seen the LTP rate doubles, up to ``highest``, and LTD becomes
    ``depression`` · LTP; 0: never.
    """

    winners: int
    radius: int
    rates: tuple[float, float] = (0.004, -0.003)
    bounds: tuple[float, float] = (0.0, 1.0)
    stabilize: bool = True
    double_every: int = 500
    highest: float = 0.15
    depression: float = -0.75

    @property
    def schedule(self):
        return self.double_every, 2.0, self.highest, self.depression


@dataclass(frozen=True)
class RSTDP:
    """Reward-modulated STDP (Mozafari et al. 2018, section 2.5).

    After a right decision the winners learn with the rates ``reward`` (STDP), after a wrong one with ``punishment``
    (anti-STDP; the rate for inputs that came before the winner stands first), after silence not at all. After each
    batch the rates become ``reward`` · fraction wrong and ``punishment`` · fraction right of that batch.

    In a decision stage the one winner is the neuron with the highest potential. In a firing stage ``winners`` and
    ``radius`` choose the winners as in STDP; there a ``warm_up`` phase of unsupervised STDP may come first.
    """

    winners: int = 1
    radius: int = 0
    reward: tuple[float, float] = (0.004, -0.003)
    punishment: tuple[float, float] = (-0.004, 0.0005)
    bounds: tuple[float, float] = (0.2, 0.8)
    stabilize: bool = False
    warm_up: STDP | None = None


class SpikingConv(nn.Module):
    """A convolution of stride 1 whose neurons fire once, when their potential is over the threshold (strictly).

    ``weight`` is (features, channels, kernel, kernel). Without a threshold the neurons fire only at the last time
    step, if their potential is positive, and the strongest potential decides. The rule's running state is in
    buffers: ``stdp_rates`` (LTP, LTD) and ``images_seen``; ``rstdp_rates``, reward and punishment of (LTP, LTD).
    """

    def __init__(self, in_channels, out_channels, kernel, padding=0, threshold=math.inf, rule=None):
        super().__init__()
        self.in_channels, self.out_channels, self.kernel = in_channels, out_channels, kernel
        self.padding, self.threshold, self.rule = padding, threshold, rule
        self.weight = nn.Parameter(torch.empty(out_channels, in_channels, kernel, kernel), requires_grad=False)
        self.stdp = rule if isinstance(rule, STDP) else rule.warm_up if isinstance(rule, RSTDP) else None
        if self.stdp:
            self.register_buffer("stdp_rates", torch.tensor(self.stdp.rates, dtype=torch.float64))
            self.register_buffer("images_seen", torch.zeros(1, dtype=torch.int64))
        if isinstance(rule, RSTDP):
            self.register_buffer("rstdp_rates", torch.tensor([rule.reward, rule.punishment], dtype=torch.float64))
        self.steps, self.backend = 15, "event"  # set by the network

    @property
    def convs(self):
        """The convolutions of the stage, here this one."""
        return [self]

    @property
    def decides(self):
        return math.isinf(self.threshold)

    def output_size(self, height, width):
        """Errors: InputError if the kernel does not fit the padded input."""
        size = height + 2 * self.padding - self.kernel + 1, width + 2 * self.padding - self.kernel + 1
        if min(size) < 1:
            padded = f"{height + 2 * self.padding}×{width + 2 * self.padding}"
            raise InputError(f"kernel {self.kernel} does not fit a {padded} input (padding included)")
        return size

    def layer(self):
        """The stage for a backend that fires and learns; made anew for each call, because ``weight`` is writable."""
        backend = BACKENDS[self.backend]
        if self.decides:
            return backend.DecisionLayer(self.weight.detach(), self.steps, self.padding)
        return backend.FiringLayer(self.weight.detach(), self.steps, self.padding, self.threshold)

    def fire(self, latency, pool=1):
        """First spikes (N, features, Ho / pool, Wo / pool)."""
        self.output_size(*latency.shape[2:])
        if not self.decides:
            return torch.as_tensor(self.layer().fire(latency, pool))
        # Only whether an input spiked counts: as if all had spiked at once, over a threshold of 0, at the last step.
        spiked = torch.where(latency < self.steps, 0, self.steps).to(torch.uint8)
        layer = BACKENDS[self.backend].FiringLayer(self.weight.detach(), self.steps, self.padding, 0.0)
        fired = torch.as_tensor(layer.fire(spiked, pool)) == 0
        return torch.where(fired, self.steps - 1, self.steps).to(torch.uint8)

    def peaks(self, latency):
        """Of a decision stage: the highest potential of each feature, (N, features)."""
        self.output_size(*latency.shape[2:])
        return torch.as_tensor(self.layer().peaks(latency))

    def learn_stdp(self, latency):
        """Unsupervised STDP, one image after another; returns the winners as ``event.FiringLayer.learn``."""
        self.output_size(*latency.shape[2:])
        rates, seen = self.stdp_rates.cpu().numpy().copy(), self.images_seen.cpu().numpy().copy()
        layer, rule = self.layer(), self.stdp
        winners = layer.learn(latency, rule.winners, rule.radius, rates, seen, rule.schedule, rule)
        self.stdp_rates.copy_(torch.from_numpy(rates))
        self.images_seen.copy_(torch.from_numpy(seen))
        return torch.as_tensor(winners)

    def adapt(self, outcome):
        """Set the R-STDP rates for the next batch by the outcome of the last."""
        factors = torch.tensor([[outcome.fraction("wrong")], [outcome.fraction("correct")]], dtype=torch.float64)
        base = torch.tensor([self.rule.reward, self.rule.punishment], dtype=torch.float64)
        self.rstdp_rates.copy_(base * factors)


class Pool(nn.Module):
    """The earliest spike of each size×size window; what does not fit is dropped."""

    convs = ()

    def __init__(self, size):
        super().__init__()
        self.size = size

    def output_size(self, height, width):
        if min(height, width) < self.size:
            raise InputError(f"pooling {self.size} does not fit a {height}×{width} input")
        return height // self.size, width // self.size

    def fire(self, latency):
        return frames.pool_latency(latency, self.size)


class Branches(nn.Module):
    """Parallel convolutions of one input; smaller outputs are padded to the largest, and all are concatenated."""

    def __init__(self, *branches):
        super().__init__()
        self.branches = nn.ModuleList(branches)

    @property
    def convs(self):
        return list(self.branches)

    @property
    def decides(self):
        return self.branches[0].decides

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
            maps.append(F.pad(first, sides, value=branch.steps))
        return frames.pool_latency(torch.cat(maps, 1), pool)


class Vote(Branches):
    """Parallel decision branches of one input, which decide by majority.

    Each branch votes for its winner's class, or abstains when it is silent. Two or more equal votes decide; otherwise
    the middle branch's vote does, and if that branch is silent, the vote of the branch with the highest potential.
    """


def strongest(peaks):
    """The deciding feature of each image: peaks (N, F) -> int64 (N,), -1 where no potential is positive.

    In float64 the first feature within rounding of the highest, as while learning: see ``event._tolerance``.
    """
    highest = peaks.amax(1, keepdim=True)
    tolerance = 64 * torch.finfo(torch.float64).eps if peaks.dtype == torch.float64 else 0.0
    close = peaks >= highest * (1 - tolerance)
    return torch.where(highest[:, 0] > 0, close.to(torch.uint8).argmax(1), -1)


def majority(votes, strength, num_classes):
    """The decision by ``Vote``'s rule: votes (N, B) int64, strength (N, B) potentials -> (N,) int64."""
    middle = votes[:, votes.shape[1] // 2]
    loudest = votes.gather(1, strength.masked_fill(votes < 0, -math.inf).argmax(1, keepdim=True))[:, 0]
    alone = torch.where(middle >= 0, middle, loudest)
    counts = F.one_hot(votes + 1, num_classes + 1).sum(1)[:, 1:]
    most, leader = counts.max(1)
    decided = (most >= 2) & ((counts == most[:, None]).sum(1) == 1)
    return torch.where(decided, leader, alone)


def class_of_features(stage, num_classes):
    """The class that each feature of a decision stage's branches stands for: equal parts in the order of features."""
    return np.arange(stage.convs[0].out_channels) * num_classes // stage.convs[0].out_channels
