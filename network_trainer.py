"""NetworkTrainer: the parent class of all networks. A network is an ordered list of stages (see ``models/layers.py``);
everything here walks that list."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from errors import InputError
from models import register
from models.layers import BACKENDS, RSTDP, Outcome, Pool, class_of_features, majority, strongest

CHUNK = 1000  # images that pass through the stages together where nothing is learned


@dataclass(frozen=True)
class Phase:
    """A part of the training: the stages that learn in it, and by which rule ("stdp" or "rstdp").

    ``alternate``: one stage at a time, the first in even batches, the second in odd ones, counted over the phase; each
    stage's rates adapt after its own batches.
    """

    stages: tuple[str, ...]
    rule: str
    alternate: bool = False

    @property
    def name(self):
        return "+".join(self.stages)


class NetworkTrainer(nn.Module):
    """A first-spike network and its training.

    A subclass names itself (``class Net(NetworkTrainer, name="net")``), declares ``build`` and the default ``epochs``,
    one for each phase, and may override ``phases``. Latencies are S1C1's: uint8 (N, in_channels, H, W), the time step
    of each spike, ``steps`` for silence.

    Args:
        in_channels: of the input maps.
        num_classes: of the data set.
        seed: of the initial weights, N(0.8, 0.05) (Mozafari et al. 2018), the same for every type and device.
        device, dtype: of the weights; float64 makes the winners independent of the order of additions.
        backend: "event" (compiled, CPU), "torch" (tensor operations, any device), or "auto": event on a CPU.
        steps: time steps of the input.
    """

    name = None
    epochs = ()
    in_kernel = None

    def __init_subclass__(cls, name=None, aliases=(), **kwargs):
        super().__init_subclass__(**kwargs)
        if name:
            cls.name, cls.aliases = name, aliases
            register(cls)

    def __init__(
        self, in_channels=6, num_classes=10, seed=0, device="cpu", dtype=torch.float32, backend="auto", steps=15
    ):
        super().__init__()
        if not 1 <= steps <= 254:
            raise InputError(f"time steps must be 1 to 254, not {steps}")
        self.in_channels, self.num_classes, self.steps = in_channels, num_classes, steps
        self.stages = nn.ModuleDict(self.build(in_channels, num_classes))
        self.register_buffer("rl_batches", torch.zeros(1, dtype=torch.int64))  # seen in the R-STDP phase
        device = torch.device(device)
        backend = ("event" if device.type == "cpu" else "torch") if backend == "auto" else backend
        if backend not in BACKENDS:
            raise InputError(f"unknown backend {backend!r}; there are {', '.join(BACKENDS)} and auto")
        if backend == "event" and device.type != "cpu":
            raise InputError(f"the event backend runs on a CPU, not on {device}; use the torch backend there")
        self.backend = backend
        rng = np.random.default_rng(seed)
        for conv in self.convs():
            conv.steps, conv.backend = steps, backend
            conv.weight.data = torch.from_numpy(rng.normal(0.8, 0.05, conv.weight.shape)).to(dtype)
        self.to(device)
        self.requires_grad_(False)

    def build(self, in_channels, num_classes):
        """The stages, bottom up: a dict of name → stage."""
        raise TypeError(f"{type(self).__name__} declares no stages")

    @property
    def phases(self):
        """One STDP phase for each stage with that rule, bottom up, then one R-STDP phase for all with that rule."""
        unsupervised = [Phase((name,), "stdp") for name, stage in self.stages.items() if _rule(stage, "stdp")]
        rewarded = tuple(name for name, stage in self.stages.items() if _rule(stage, "rstdp"))
        return [*unsupervised, Phase(rewarded, "rstdp")] if rewarded else unsupervised

    # -----------------------------------------------------------------------------------------------------------------
    # The stages as a list

    def convs(self):
        return [conv for stage in self.stages.values() for conv in stage.convs]

    @property
    def device(self):
        return self.rl_batches.device

    @property
    def decision(self):
        """Name of the last stage, which decides."""
        return list(self.stages)[-1]

    def between(self, first, last):
        """Names of the stages from ``first`` (None: the lowest) up to, but without, ``last`` (None: the end)."""
        names = list(self.stages)
        return names[names.index(first) if first else 0 : names.index(last) if last else len(names)]

    def sizes(self, height, width):
        """(stage name, output size) bottom up. Errors: InputError where a kernel does not fit."""
        out = []
        for name, stage in self.stages.items():
            height, width = stage.output_size(height, width)
            out.append((name, (height, width)))
        return out

    def check(self, latencies):
        """``latencies`` as a tensor on the network's device. Errors: InputError if they are not latency maps."""
        latencies = torch.as_tensor(latencies)
        if latencies.dtype != torch.uint8 or latencies.dim() != 4 or latencies.shape[1] != self.in_channels:
            raise InputError(
                f"latencies must be uint8 (N, {self.in_channels}, H, W), not {latencies.dtype} {tuple(latencies.shape)}"
            )
        if latencies.numel() and int(latencies.max()) > self.steps:
            raise InputError(f"latencies reach {int(latencies.max())}; this network has {self.steps} time steps")
        return latencies.to(self.device).contiguous()

    def pass_through(self, latencies, names):
        """Latency maps after the named stages, which follow each other. Nothing is learned."""
        if not names:
            return latencies
        parts = [self._pass_chunk(part, names) for part in latencies.split(CHUNK)]
        return torch.cat(parts) if len(parts) != 1 else parts[0]

    def _pass_chunk(self, latency, names):
        for stage, pool in self._pooled(names):
            latency = stage.fire(latency, pool) if pool else stage.fire(latency)
        return latency

    def _pooled(self, names):
        """The named stages as (stage, size of the pooling that follows and is done in the same pass; None: a Pool)."""
        stages = [self.stages[name] for name in names]
        previous = None
        for stage, following in zip(stages, [*stages[1:], None], strict=True):
            if not isinstance(stage, Pool):
                yield stage, following.size if isinstance(following, Pool) else 1
            elif previous is None or isinstance(previous, Pool):
                yield stage, None
            previous = stage

    @torch.no_grad()
    def walk(self, latencies):
        """Yield (stage name, latency map) bottom up. Without a threshold a neuron fires at the last step, if at all."""
        latencies = self.check(latencies)
        for name, stage in self.stages.items():
            latencies = stage.fire(latencies)
            yield name, latencies

    # -----------------------------------------------------------------------------------------------------------------
    # Deciding

    @torch.no_grad()
    def decide(self, latencies, first=None):
        """Decisions int64 (N,), -1 for silence, and scores (N, classes), for inputs of stage ``first`` (None: S1C1's).

        The score of a class is the highest potential among its neurons at the last time step; with several branches,
        the sum over them of that potential relative to the branch's highest.
        """
        names = self.between(first, self.decision)
        parts = [self._decide_chunk(self._pass_chunk(part, names)) for part in latencies.split(CHUNK)]
        decisions, scores = zip(*parts, strict=True) if parts else ((), ())
        return torch.cat(decisions), torch.cat(scores)

    def _decide_chunk(self, latency):
        stage = self.stages[self.decision]
        classes = torch.from_numpy(class_of_features(stage, self.num_classes)).to(latency.device)
        votes, strength, scores = [], [], 0
        for conv in stage.convs:
            peaks = conv.peaks(latency).to(latency.device)
            feature = strongest(peaks)
            votes.append(torch.where(feature < 0, -1, classes[feature.clamp(min=0)]))
            strength.append(peaks.amax(1))
            of_class = peaks.unflatten(1, (self.num_classes, -1)).amax(2)
            scores = scores + (of_class / strength[-1][:, None].clamp(min=1e-12) if len(stage.convs) > 1 else of_class)
        return majority(torch.stack(votes, 1), torch.stack(strength, 1), self.num_classes), scores

    def predict(self, latencies):
        """The decided classes, int64 (N,), -1 for silence."""
        latencies = self.check(latencies)
        return self.decide(latencies)[0] if len(latencies) else torch.empty(0, dtype=torch.int64)

    def evaluate(self, latencies, labels):
        """``Outcome`` over the images; nothing is learned and nothing changes."""
        return Outcome.of(self.predict(latencies), torch.as_tensor(labels).to(self.device))

    # -----------------------------------------------------------------------------------------------------------------
    # Learning

    @torch.no_grad()
    def train_unsupervised(self, latencies, name):
        """One pass of STDP in stage ``name`` over the images, one after another; the stages below do not change."""
        self.learn_stdp(self.pass_through(self.check(latencies), self.between(None, name)), name)

    @torch.no_grad()
    def train_rl(self, latencies, labels):
        """One batch of R-STDP, one image after another; the rates adapt at its end. Returns the batch's ``Outcome``."""
        first = self.phases[-1].stages[0]
        inputs = self.pass_through(self.check(latencies), self.between(None, first))
        return self.learn_rstdp(inputs, torch.as_tensor(labels))[0]

    def learn_stdp(self, inputs, name):
        """STDP of a stage over its inputs; returns for each of its convolutions the winners (N, K, 4)."""
        if not _rule(self.stages[name], "stdp"):
            raise InputError(f"{self.name} has no STDP in stage {name!r}")
        return [conv.learn_stdp(inputs) for conv in self.stages[name].convs]

    def learn_rstdp(self, inputs, labels):
        """One batch of R-STDP over inputs of the lowest stage that learns so.

        Returns the outcome and the decisions (N, 1 + branches): the network's, then each branch's vote.
        """
        phase = self.phases[-1]
        active = phase.stages
        if phase.alternate:
            active = (phase.stages[int(self.rl_batches) % len(phase.stages)],)
        if active == (self.decision,):
            inputs = self.pass_through(inputs, self.between(phase.stages[0], self.decision))
            decisions = self._learn_decisions(inputs, labels)
        else:
            decisions = self._learn_together(inputs, labels, phase.stages[0], active)
        outcome = Outcome.of(decisions[:, 0], labels.cpu())
        for name in active:
            for conv in self.stages[name].convs:
                conv.adapt(outcome)
        self.rl_batches += 1
        return outcome, decisions

    def _learn_decisions(self, inputs, labels):
        """Every branch of the decision stage learns from its own decision."""
        stage = self.stages[self.decision]
        classes = class_of_features(stage, self.num_classes)
        votes, strength = [], []
        for conv in stage.convs:
            winners, peaks = conv.layer().learn(inputs, labels, classes, conv.rstdp_rates, conv.rule)
            feature = torch.as_tensor(winners)[:, 0].long()
            votes.append(torch.where(feature < 0, -1, torch.from_numpy(classes)[feature.clamp(min=0)]))
            strength.append(torch.as_tensor(peaks).double())
        votes = torch.stack(votes, 1)
        decisions = majority(votes, torch.stack(strength, 1), self.num_classes)
        return torch.cat([decisions[:, None], votes], 1)

    def _learn_together(self, inputs, labels, first, active):
        """R-STDP of firing stages with the network's decision, and of the decision stage if it is active."""
        stage = self.stages[self.decision]
        names = self.between(first, self.decision)
        learning = [self.stages[name] for name in names if name in active]
        firing = [(lower, lower.layer(), pool) for lower, pool in self._pooled(names)]
        deciding = [conv.layer() for conv in stage.convs]
        classes = class_of_features(stage, self.num_classes)
        out = []
        for image, label in zip(inputs, labels.cpu(), strict=True):
            chosen = []
            for lower, layer, pool in firing:
                below = image
                if lower in learning:
                    winners, image = layer.compete(below, lower.rule.winners, lower.rule.radius, pool)
                    chosen.append((lower, layer, below, winners))
                else:
                    image = layer.fire(below[None], pool)[0]
            image = torch.as_tensor(image)[None]
            votes, strength = [], []
            for conv, layer in zip(stage.convs, deciding, strict=True):
                if self.decision in active:
                    winners, highest = layer.learn(image, label[None], classes, conv.rstdp_rates, conv.rule)
                    feature = int(winners[0, 0])
                else:
                    peaks = torch.as_tensor(layer.peaks(image))
                    feature, highest = int(strongest(peaks)), peaks.amax(1)
                votes.append(int(classes[feature]) if feature >= 0 else -1)
                strength.append(float(highest[0]))
            decision = int(majority(torch.tensor([votes]), torch.tensor([strength]), self.num_classes))
            if decision >= 0:
                for lower, layer, below, winners in chosen:
                    rates = lower.rstdp_rates[0 if decision == label else 1].tolist()
                    layer.update(below, winners, rates, lower.rule)
            out.append([decision, *votes])
        for _, layer, _ in firing:
            layer.write_back()
        return torch.tensor(out)


def _rule(stage, kind):
    """Whether the stage learns by "stdp" or "rstdp"."""
    if kind == "stdp":
        return bool(stage.convs) and stage.convs[0].stdp is not None
    return bool(stage.convs) and isinstance(stage.convs[0].rule, RSTDP)
