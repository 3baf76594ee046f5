"""The layers of a network: the weights and rates of declared stages, and what a backend computes with them.

A layer checks its input and asks the rule for the rates of each image. Then it calls the function of its backend that
has the same name, ``learn_features`` for instance, which learns from one image after another: the neurons compete, and
the weights of the winners change. ``engine/torch_backend.py`` is the backend to read; on a CPU, the compiled kernels of
``engine/event/`` compute the same. ``tutorial/one_file.py`` is a whole network and its training without the engine,
equal to both in float64, to the last bit: read it first.
"""

import math
from collections.abc import Callable, Sequence
from types import ModuleType
from typing import Any

import numpy as np
import torch
from torch import nn

from engine import event, torch_backend
from engine.backends import BACKENDS, choose_backend
from engine.checks import (
    WEIGHT_TYPES,
    check_labels,
    check_latencies,
    check_map,
    check_time_steps,
    is_finite,
    shares_memory,
    to_array,
)
from engine.decision import Outcome, Result, allow_rounding
from engine.declaration import MAX_VALUE
from engine.rules import Rule, check_competing, find_first_rates
from engine.stages import Branches, SpikingConv, SpikingDense, Stage, Vote, pool_latency, pooled_size, read_shape
from errors import InputError
from utils import check_memory


class StageModule(nn.Module):
    """The base class of the layers: what computes the map of a stage.

    Args:
        stage: the declaration.
        channels: number of channels C of the input; of a ``Gather``, of the first map that it reads.
        time_steps: T, from 1 to 254; a latency of T means silence.
        backend: "event" or "torch".
        dtype: of the weights.
        rng: draws the first weights; None: a generator with the seed 0.

    These do not change: the kernels check no bounds, and trust them.
    """

    FIXED = "stage", "channels", "time_steps", "backend_name"

    fire: Callable[..., torch.Tensor]  # computes the map of the stage

    def __init__(
        self,
        stage: Stage,
        channels: int,
        time_steps: int = 15,
        backend: str = "event",
        dtype: torch.dtype = torch.float32,
        rng: np.random.Generator | None = None,
    ):
        super().__init__()
        if backend not in BACKENDS:
            raise InputError(f"backend must be {' or '.join(BACKENDS)}, not {backend!r}")
        if dtype not in WEIGHT_TYPES:
            raise InputError(f"dtype must be torch.float32 or torch.float64, not {dtype}")
        self.stage = stage
        self.channels = channels
        self.time_steps = check_time_steps(time_steps)
        self.backend_name = backend

    def __setattr__(self, name, value):
        """Raise InputError if a user replaces what does not change."""
        if name in self.FIXED and name in vars(self):
            raise InputError(f"{name} of a layer cannot be replaced: make another layer")
        super().__setattr__(name, value)

    @property
    def layers(self) -> Sequence["Layer"]:
        """The layers with weights: of a stage with branches, those of its branches."""
        return ()

    def _apply(self, fn, recurse=True):
        """Refuse a device on which the backend cannot compute; ``nn.Module`` moves and converts by this method."""
        choose_backend(self.backend_name, fn(torch.empty(0)).device)
        return super()._apply(fn, recurse)

    @property
    def backend(self) -> ModuleType:
        """The module whose functions compute with the layer: ``engine.event`` or ``engine.torch_backend``."""
        return event if self.backend_name == "event" else torch_backend

    def _check(self, latency, pool=1):
        """Return a map as a tensor in one piece, and the shape of the stage's map.

        Raises InputError if the map does not fit the stage, or if the stage's map does not fit a pooling of this size.
        """
        latency = check_latencies(latency, self.time_steps, self.channels).contiguous()
        shape = self.stage.shape([read_shape(latency)])
        pooled_size(*shape[1:], pool)
        return latency, shape


class Layer(StageModule):
    """A convolution that fires, decides and learns.

    The state of each rule is kept in buffers: its current rates (``stdp_rates``, ``rstdp_rates``, …, after the rule's
    name), each row (LTP, LTD), and ``images_seen`` if a rule counts images.

    ``weight`` is (F, C, kernel, kernel). Users can write to it at any time, and replace ``threshold``.
    """

    stage: SpikingConv
    weight: torch.Tensor
    images_seen: torch.Tensor

    def __init__(
        self,
        stage: SpikingConv,
        channels: int,
        time_steps: int = 15,
        backend: str = "event",
        dtype: torch.dtype = torch.float32,
        rng: np.random.Generator | None = None,
    ):
        super().__init__(stage, channels, time_steps, backend, dtype)
        if LAYERS.get(type(stage)) is not Layer:  # the shape that another class states may be false
            raise InputError(f"a layer computes a SpikingConv or a SpikingDense itself, not a {type(stage).__name__}")
        self.threshold = stage.threshold
        rng = rng or np.random.default_rng(0)
        shape = stage.weight_shape(channels)
        check_memory("the weights", math.prod(shape) * dtype.itemsize)
        weight = torch.empty(shape, dtype=dtype)
        mean, deviation = stage.first_weights
        for feature in weight:
            feature.copy_(torch.from_numpy(rng.normal(mean, deviation, shape[1:])))
        self.weight = nn.Parameter(weight, requires_grad=False)
        for rule in stage.rules:
            self.register_buffer(f"{rule.name}_rates", torch.from_numpy(find_first_rates(rule)))
        if any(rule.counts_images for rule in stage.rules):
            self.register_buffer("images_seen", torch.zeros(1, dtype=torch.int64))

    def extra_repr(self) -> str:
        return f"{self.stage}, {tuple(self.weight.shape)}"

    @property
    def layers(self) -> Sequence["Layer"]:
        return [self]

    def rates(self, rule: Rule) -> torch.Tensor:
        """Return the buffer with the current rates of a rule: float64 (2,) or (rows, 2)."""
        return self.get_buffer(f"{rule.name}_rates")

    @torch.no_grad()
    def fire(self, latency: torch.Tensor, pool: int = 1) -> torch.Tensor:
        """Return the first spikes, pooled: uint8 (N, F, Ho / pool, Wo / pool), of latency uint8 (N, C, H, W)."""
        latency, _ = self._check(latency, pool)
        if self.stage.fires:
            return self.backend.fire(self, latency, self.threshold, pool)
        # Only whether an input has spiked counts. So all spikes come at step 0, where a potential above 0 fires; this
        # stands for a spike at the last step.
        fired = self.backend.fire(self, drop_times(latency, self.time_steps), 0.0, pool)
        return torch.where(fired == 0, self.time_steps - 1, self.time_steps).to(torch.uint8)

    @torch.no_grad()
    def peaks(self, latency: torch.Tensor, only_highest: bool = False) -> torch.Tensor:
        """Return the highest potential of each feature at the last time step, (N, F), of latency uint8 (N, C, H, W).

        only_highest: whether all but the highest of an image may be -1, which can be faster.
        """
        latency, _ = self._check(latency)
        return self.backend.peaks(self, latency, only_highest)

    @torch.no_grad()
    def first_spikes(self, latency: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return when each feature first spikes, uint8 (N, F), and its highest potential at this time step, (N, F).

        A silent feature has the time step T and the potential 0. latency: uint8 (N, C, H, W).
        """
        latency, _ = self._check(latency)
        silent = self.time_steps
        limit = allow_rounding(self.threshold, self.weight.dtype)
        times = latency.new_full((len(latency), self.stage.out_channels), silent)
        potentials = self.weight.new_zeros(times.shape)
        for t in range(self.time_steps):
            peaks = self.backend.peaks(self, torch.where(latency <= t, latency, silent))
            is_first = (times == silent) & (peaks > limit)
            times[is_first] = t
            potentials[is_first] = peaks[is_first]
        return times, potentials

    @torch.no_grad()
    def learn_features(self, latency: torch.Tensor, rule: Rule, epoch: int = 0) -> torch.Tensor:
        """Learn by a rule without labels, one image after another.

        Args:
            latency: uint8 (N, C, H, W).
            rule: a rule of the stage.
            epoch: the number of epochs that this phase has finished.

        Returns:
            The winners, int32 (N, K, 4): feature, line, column, time step; -1: fewer winners.
        """
        latency, _ = self._check(latency)
        if rule not in self.stage.rules or rule.needs_labels:
            raise InputError(f"the layer does not learn by {rule}; the rules of its stage are {self.stage.rules}")
        return self.backend.learn_features(self, latency, rule, self.next_rates(rule, len(latency), epoch))

    @torch.no_grad()
    def learn_decisions(
        self,
        latency: torch.Tensor,
        labels: torch.Tensor,
        classes: np.ndarray,
        rng: np.random.Generator,
        epoch: int = 0,
    ) -> Result:
        """Learn by the rule of a decision stage, one image after another.

        Args:
            latency: uint8 (N, C, H, W).
            labels: int64 (N,).
            classes: int64 (F,), the class of each feature.
            rng: draws the neurons that the rule leaves out.
            epoch: as in ``learn_features``.
        """
        latency, _ = self._check(latency)
        labels, classes = self._check_targets(labels, classes, len(latency))
        rule = self.stage.rules[-1]
        rates = self.next_rates(rule, len(latency), epoch)
        shape = len(latency), self.stage.out_channels
        left_out = rule.draw_left_out(rng, *shape)
        if left_out is not None:
            left_out = to_array(left_out, bool, shape, rule.draw_left_out)
        return self.backend.learn_decisions(self, latency, labels, classes, rates, left_out)

    @torch.no_grad()
    def learn_together(
        self,
        upper: "Layer",
        latency: torch.Tensor,
        labels: torch.Tensor,
        pool: int,
        classes: np.ndarray,
        upper_learns: bool = True,
        epoch: int = 0,
    ) -> Result:
        """Learn from the decisions of the decision layer above, which may learn too, one image after another.

        Args:
            upper: the decision layer.
            latency: uint8 (N, C, H, W), the input of this layer.
            labels: int64 (N,).
            pool: size of the pooling between the layers.
            classes: int64 (F,), the class of each feature of the decision layer.
            upper_learns: whether the decision layer learns.
            epoch: as in ``learn_features``.
        """
        latency, (features, height, width) = self._check(latency, pool)
        upper._check(latency.new_empty((0, features, *pooled_size(height, width, pool))))
        labels, classes = upper._check_targets(labels, classes, len(latency))
        rule = self.stage.rule
        if not self.stage.fires or rule is None or not rule.rewards_firing:
            raise InputError(f"the lower layer needs a threshold and a rule such as RSTDP(), not {self.stage}")
        if upper.stage.fires:
            raise InputError(f"the upper layer needs no threshold, unlike {upper.stage}")
        if upper.time_steps != self.time_steps:
            raise InputError(f"time_steps of both layers must be equal, not {self.time_steps} and {upper.time_steps}")
        rates = self.next_rates(rule, len(latency), epoch)
        upper_rates = None
        if upper_learns:
            upper_rates = upper.next_rates(upper.stage.rules[-1], len(latency), epoch)
        return self.backend.learn_together(self, upper, latency, labels, pool, classes, (rates, upper_rates))

    def next_rates(self, rule: Rule, images: int, epoch: int = 0) -> np.ndarray:
        """Count the next images as seen; return their rates, float64 (N, rows, 2).

        Raises InputError if a user has set rates of another shape, which the kernels would read beyond their end.
        """
        current = self.rates(rule)
        shape = find_first_rates(rule).shape
        if current.shape != shape:
            raise InputError(f"{rule.name}_rates must be {shape}, not {tuple(current.shape)}")
        before = np.atleast_2d(current.numpy(force=True))
        numbers = np.arange(1, images + 1)
        if rule.counts_images:
            numbers += int(self.images_seen)
            self.images_seen += images
        scheduled = rule.schedule(before, numbers, epoch)
        rates = to_array(scheduled, np.float64, (images, *before.shape), rule.schedule)
        if images:
            current.copy_(torch.tensor(rates[-1]).view_as(current))
        return rates

    def adapt(self, rule: Rule, outcome: Outcome) -> None:
        """Set the rates of a rule for the next batch by the outcome of the last batch, if the rule adapts them."""
        rates = rule.adapt(outcome)
        if rates is not None:
            before = self.rates(rule)
            adapted = to_array(rates, np.float64, tuple(before.shape), rule.adapt)
            before.copy_(torch.from_numpy(adapted))

    def _check(self, latency, pool=1):
        """As in ``StageModule``. Raises InputError also if a user has set a wrong threshold or weights."""
        weight = self.weight
        shape = self.stage.weight_shape(self.channels)
        if weight.shape != shape or weight.dtype not in WEIGHT_TYPES:
            raise InputError(f"weight must be float32 or float64 {shape}, not {weight.dtype} {tuple(weight.shape)}")
        if isinstance(latency, torch.Tensor) and latency.device != weight.device:
            raise InputError(f"latencies must be on {weight.device}, the device of the weights, not {latency.device}")
        if shares_memory(weight):
            raise InputError("weight has numbers that share memory, as those of expand do: set weight.contiguous()")
        if not is_finite(weight):
            raise InputError("weight must be finite, but contains inf or nan")
        if not (0 <= self.threshold <= MAX_VALUE or self.threshold == math.inf):
            raise InputError(f"threshold must be 0 to {MAX_VALUE:g}, or inf; not {self.threshold!r}")
        return super()._check(latency, pool)

    def _check_targets(self, labels, classes, images):
        """Return the labels int64 (N,) and the classes of the features int64 (F,) for a decision layer.

        Raises InputError for other types or shapes, or if the layer cannot decide and learn.
        """
        rule = self.stage.rule
        if rule is None or not (rule.rewards_firing if self.stage.fires else rule.needs_labels):
            raise InputError(f"a layer that decides has a rule such as RSTDP(), unlike {self.stage}")
        check_competing(rule, self.stage.fires)
        return check_labels(labels, images), check_labels(classes, self.stage.out_channels, what="classes").numpy()


class Operation(StageModule):
    """A stage without weights, which computes its map itself."""

    @torch.no_grad()
    def fire(self, *maps: torch.Tensor) -> torch.Tensor:
        """Return the map of the stage: uint8 (N, C', H', W'), of the maps that it reads, each uint8 (N, C, H, W)."""
        latency, *others = maps
        checked = [check_latencies(latency, self.time_steps, self.channels)]
        checked += [check_latencies(other, self.time_steps) for other in others]
        choose_backend(self.backend_name, checked[0].device)
        shape = self.stage.shape([read_shape(each) for each in checked])
        compute = self.stage.fire_compiled if self.backend is event else self.stage.fire
        fired = compute(*(each.contiguous() for each in checked), time_steps=self.time_steps)
        return check_map(compute, fired, (len(latency), *shape), self.time_steps)


class Parallel(StageModule):
    """A stage with branches. ``branches``: their layers."""

    branches: Sequence[Layer]

    def __init__(self, stage: Branches, *arguments: Any):
        super().__init__(stage, *arguments)
        layers = [Layer(branch, *arguments) for branch in stage.branches]
        self.branches = nn.ModuleList(layers)  # type: ignore[assignment]  # torch's lists have no type of their items

    @property
    def layers(self) -> Sequence[Layer]:
        return list(self.branches)

    def fire(self, latency: torch.Tensor, pool: int = 1) -> torch.Tensor:
        """Return the first spikes of all branches, pooled: uint8 (N, F, Ho / pool, Wo / pool)."""
        latency, shape = self._check(latency, pool)
        below = latency.shape[1:]
        joined = latency.new_full((len(latency), *shape), self.time_steps)
        for branch, region in zip(self.branches, self.stage.regions([], below, shape), strict=True):
            joined[:, region.features, region.rows, region.columns] = branch.fire(latency)
        return pool_latency(joined, pool)


def drop_times(latency: torch.Tensor, time_steps: int) -> torch.Tensor:
    """Return a latency map in which all spikes come at once, at step 0."""
    return (latency >= time_steps).to(torch.uint8) * time_steps


LAYERS = {SpikingConv: Layer, SpikingDense: Layer, Branches: Parallel, Vote: Parallel}  # of all kinds with weights
