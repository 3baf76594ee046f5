"""NetworkTrainer: the parent class of all networks. A network is an ordered list of stages (see ``models/layers.py``);
everything here walks that list."""

import time
from dataclasses import dataclass, field, fields

import numpy as np
import torch
from torch import nn

from engine.stages import BACKENDS, RSTDP, Outcome, Pool, class_of_features, majority, strongest
from errors import InputError

# The networks by name, and by their other names. Every class that names itself is here from its declaration on.
MODELS = {}

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


class Activity:
    """The latency maps of a data set on their way up the network, with the labels.

    ``at``: the stage whose input they are, None for the lowest. They are replaced as they move up, so that no more
    than one layer's maps of a whole data set are held.
    """

    def __init__(self, latencies, labels, at=None):
        self.latencies, self.labels, self.at = latencies, torch.as_tensor(labels), at

    def __len__(self):
        return len(self.latencies)


@dataclass
class Progress:
    """Where a run stands. Everything else about it (order of the images, rates) follows from the seed and the weights.

    ``phase``, ``epoch``, ``batch``: the next to do, from 0. ``tally``: [correct, wrong, silent] of this epoch so far.
    ``wins``: for each learning convolution how often each feature won in this epoch. ``history``: one row for each
    finished epoch. ``best``: phase, epoch, accuracy and weights of the best epoch on the validation set. ``waited``:
    epochs since then. ``seconds``: spent in this epoch before an interruption; ``phase_seconds``: in each phase.
    """

    phase: int = 0
    epoch: int = 0
    batch: int = 0
    tally: list = field(default_factory=lambda: [0, 0, 0])
    wins: dict = field(default_factory=dict)
    history: list = field(default_factory=list)
    best: dict | None = None
    waited: int = 0
    seconds: float = 0.0
    phase_seconds: dict = field(default_factory=dict)

    def to_dict(self):
        return {f.name: getattr(self, f.name) for f in fields(self)}


class Interrupted(Exception):
    """The training stopped between two batches, because it was asked to; its progress has been saved."""


class NetworkTrainer(nn.Module):
    """A first-spike network and its training.

    A subclass names itself (``class Net(NetworkTrainer, name="net")``), declares ``build`` and the default ``epochs``,
    one for each phase, and may override ``phases``. By R-STDP learns the decision stage, the last, and with it at most
    the firing stage next below it. Latencies are S1C1's: uint8 (N, in_channels, H, W), the time step of each spike,
    ``steps`` for silence.

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

    def __init_subclass__(cls, name=None, aliases=(), **kwargs):
        super().__init_subclass__(**kwargs)
        if name:
            cls.name, cls.aliases = name, aliases
            for known in (name, *aliases):
                if MODELS.setdefault(known, cls).__qualname__ != cls.__qualname__:
                    raise ValueError(f"two networks are called {known!r}")
                MODELS[known] = cls

    def __init__(
        self, in_channels=6, num_classes=10, seed=0, device="cpu", dtype=torch.float32, backend="auto", steps=15
    ):
        super().__init__()
        if in_channels < 1 or num_classes < 1:
            raise InputError(f"a network needs channels and classes, not {in_channels} and {num_classes}")
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
        rewarded = [name for name, stage in self.stages.items() if _rule(stage, "rstdp")]
        if rewarded not in (self._firing_stages()[-1:], self._firing_stages()[-2:]):
            raise ValueError(f"{self.name} rewards {rewarded}: it must be the last stage, or the last two that fire")
        for label, conv in self.named_convs([self.decision]):
            if conv.out_channels % num_classes:
                raise InputError(f"{label} has {conv.out_channels} features, which {num_classes} classes cannot share")
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

    def _firing_stages(self):
        return [name for name, stage in self.stages.items() if stage.convs]

    def convs(self):
        return [conv for stage in self.stages.values() for conv in stage.convs]

    def named_convs(self, names=None):
        """(label, convolution) of the named stages (None: all); the label of a branch names its kernel: "s3_5x5"."""
        for name in names or self.stages:
            stage = self.stages[name]
            for conv in stage.convs:
                yield (name if len(stage.convs) == 1 else f"{name}_{conv.kernel}x{conv.kernel}"), conv

    def class_of_feature(self):
        """The class that each feature of the decision stage's convolutions stands for, int64 (F,)."""
        return class_of_features(self.stages[self.decision], self.num_classes)

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
        """``latencies`` as a tensor on the network's device. Errors: InputError if the network cannot take them."""
        latencies = torch.as_tensor(latencies)
        if latencies.dtype != torch.uint8 or latencies.dim() != 4 or latencies.shape[1] != self.in_channels:
            raise InputError(
                f"latencies must be uint8 (N, {self.in_channels}, H, W), not {latencies.dtype} {tuple(latencies.shape)}"
            )
        if latencies.numel() and int(latencies.max()) > self.steps:
            raise InputError(f"latencies reach {int(latencies.max())}; this network has {self.steps} time steps")
        self.sizes(*latencies.shape[2:])
        return latencies.to(self.device).contiguous()

    def check_labels(self, labels, count):
        """Labels as int64 (count,). Errors: InputError if there are not as many, or one is no class."""
        labels = torch.as_tensor(labels).cpu()
        if labels.shape != (count,) or labels.is_floating_point():
            raise InputError(f"{count} images need integer labels ({count},), not {labels.dtype} {tuple(labels.shape)}")
        if count and not 0 <= int(labels.min()) <= int(labels.max()) < self.num_classes:
            raise InputError(f"labels must be 0 to {self.num_classes - 1}, not {labels.min()} to {labels.max()}")
        return labels.long()

    def pass_through(self, latencies, names, advance=lambda images: None):
        """Latency maps after the named stages, which follow each other. Nothing is learned.

        ``advance`` is called with the number of images of each finished part.
        """
        if not names or not len(latencies):
            return latencies
        out = None
        for start in range(0, len(latencies), CHUNK):
            part = self._pass_chunk(latencies[start : start + CHUNK].to(self.device), names)
            if out is None:  # filled in place: joining parts at the end would take the memory twice
                out = part.new_empty((len(latencies), *part.shape[1:]))
            out[start : start + CHUNK] = part
            advance(len(part))
        return out

    def _pass_chunk(self, latency, names):
        for stage, pool in self._pooled(names):
            latency = stage.fire(latency, pool) if pool else stage.fire(latency)
        return latency

    def _pooled(self, names):
        """The named stages as (stage, size of the pooling that follows and is done in the same pass; None: a Pool)."""
        stages = [self.stages[name] for name in names]
        previous = None
        for stage, following in zip(stages, [*stages[1:], None], strict=False):
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
        classes = torch.from_numpy(self.class_of_feature()).to(latency.device)
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
        predictions = self.predict(latencies).cpu()
        return Outcome.of(predictions, self.check_labels(labels, len(predictions)))

    # -----------------------------------------------------------------------------------------------------------------
    # Learning

    @torch.no_grad()
    def train_unsupervised(self, latencies, name):
        """One pass of STDP in stage ``name`` over the images, one after another; the stages below do not change."""
        if name not in self.stages or not _rule(self.stages[name], "stdp"):
            named = [stage for stage, module in self.stages.items() if _rule(module, "stdp")]
            raise InputError(f"{self.name} has no stage {name!r} that learns by STDP; there are {', '.join(named)}")
        self.learn_stdp(self.pass_through(self.check(latencies), self.between(None, name)), name)

    @torch.no_grad()
    def train_rl(self, latencies, labels):
        """One batch of R-STDP, one image after another; the rates adapt at its end. Returns the batch's ``Outcome``."""
        first = self.phases[-1].stages[0]
        latencies = self.check(latencies)
        labels = self.check_labels(labels, len(latencies))
        if not len(labels):
            return Outcome(0, 0, 0)
        return self.learn_rstdp(self.pass_through(latencies, self.between(None, first)), labels)[0]

    def learn_stdp(self, inputs, name):
        """STDP of a stage over its inputs; returns the features that won, {convolution's label: int64 (wins,)}."""
        features = {label: conv.learn_stdp(inputs)[..., 0].long() for label, conv in self.named_convs([name])}
        return {label: won[won >= 0] for label, won in features.items()}

    def learn_rstdp(self, inputs, labels):
        """One batch of R-STDP over inputs of the lowest stage that learns so.

        Returns the outcome, the decisions (N, 1 + branches): the network's, then each branch's vote; and the features
        that won as ``learn_stdp`` does.
        """
        phase = self.phases[-1]
        active = phase.stages
        if phase.alternate:
            active = (phase.stages[int(self.rl_batches) % len(phase.stages)],)
        if active == (self.decision,):
            inputs = self.pass_through(inputs, self.between(phase.stages[0], self.decision))
            decisions, won = self._learn_decisions(inputs, labels)
        else:
            decisions, won = self._learn_together(inputs, labels, phase.stages[0], active)
        outcome = Outcome.of(decisions[:, 0], labels.cpu())
        for _, conv in self.named_convs(active):
            conv.adapt(outcome)
        self.rl_batches += 1
        return outcome, decisions, won

    def _learn_decisions(self, inputs, labels):
        """Every branch of the decision stage learns from its own decision."""
        classes = self.class_of_feature()
        votes, strength, won = [], [], {}
        for label, conv in self.named_convs([self.decision]):
            winners, peaks = conv.layer().learn(inputs, labels, classes, conv.rstdp_rates.numpy(force=True), conv.rule)
            feature = torch.as_tensor(winners)[:, 0].long()
            votes.append(torch.where(feature < 0, -1, torch.from_numpy(classes)[feature.clamp(min=0)]))
            strength.append(torch.as_tensor(peaks).double())
            won[label] = feature[feature >= 0]
        votes = torch.stack(votes, 1)
        decisions = majority(votes, torch.stack(strength, 1), self.num_classes)
        return torch.cat([decisions[:, None], votes], 1), won

    def _learn_together(self, inputs, labels, first, active):
        """R-STDP of the firing stage ``first`` by the network's decision, and of the decision stage if active."""
        top, classes = self.stages[self.decision], self.class_of_feature()
        ((lower, pool),) = self._pooled(self.between(first, self.decision))
        firing, deciding = lower.layer(), top.layer()
        rates = top.rstdp_rates.numpy(force=True) if self.decision in active else None
        decided, won = BACKENDS[self.backend].learn_together(
            firing, deciding, inputs, labels, pool, lower.rule, lower.rstdp_rates.numpy(force=True), classes, top.rule,
            rates,
        )  # fmt: skip
        feature = torch.as_tensor(decided)[:, 0].long()
        decisions = torch.where(feature < 0, -1, torch.from_numpy(classes)[feature.clamp(min=0)])
        won = torch.as_tensor(won)[..., 0].long()
        wins = {first: won[won >= 0], self.decision: feature[feature >= 0]}
        return decisions[:, None].repeat(1, 2), {name: wins[name] for name in active}

    # -----------------------------------------------------------------------------------------------------------------
    # Training

    @torch.no_grad()
    def fit(
        self, train, validation, epochs, log, batch_size=1000, seed=0, patience=0, progress=None, after_batch=None,
        after_epoch=None,
    ):  # fmt: skip
        """Train phase by phase. What is below the stages that learn does not change: it is computed once per phase.

        Args:
            train, validation: ``Activity`` at the lowest stage, used up on the way; validation may be None.
            epochs: for each phase; 0 skips it.
            log: a ``RunLog``.
            batch_size: images between two adaptations of the R-STDP rates.
            seed: of the order of the images, which differs in every epoch.
            patience: end the R-STDP phase after so many epochs without a better validation accuracy; 0: never.
            progress: where to go on (None: at the beginning); kept up to date, with the history and the best weights.
            after_batch: called after each batch; may raise ``Interrupted``.
            after_epoch: called with the progress and the wins of the epoch, {convolution's label: wins (F,)}.

        Returns the progress. Afterwards the network has the last epoch's weights.
        """
        progress = progress or Progress()
        while progress.phase < len(self.phases):
            phase, count = self.phases[progress.phase], epochs[progress.phase]
            stopped = patience and phase.rule == "rstdp" and progress.waited >= patience
            if progress.epoch >= count or stopped:
                progress.phase, progress.epoch = progress.phase + 1, 0
                continue
            for activity in filter(None, (train, validation)):
                self._move_up(activity, phase.stages[0], log)
            self._epoch(phase, train, progress, count, log, batch_size, seed, after_batch)
            wins = self._finish_epoch(phase, train, validation, progress)
            log.epoch(progress.history, count)
            if after_epoch:
                after_epoch(progress, wins)
        return progress

    def _move_up(self, activity, stage, log):
        """Replace latency maps by the input of a higher stage, image by image in parallel."""
        names = self.between(activity.at, stage)
        if names:
            log.bar(f"{' '.join(names)} of all images", len(activity))
            activity.latencies = self.pass_through(activity.latencies, names, log.advance)
            log.end_bar()
        activity.at = stage

    def _epoch(self, phase, train, progress, epochs, log, batch_size, seed, after_batch):
        order = torch.from_numpy(np.random.default_rng([seed, progress.phase, progress.epoch]).permutation(len(train)))
        batches = order.split(batch_size)
        title = f"{phase.name} {'STDP' if phase.rule == 'stdp' else 'R-STDP'} {progress.epoch + 1}/{epochs}"
        log.bar(title, len(train), progress.batch * batch_size)
        while progress.batch < len(batches):
            start = time.perf_counter()
            chosen = batches[progress.batch]
            inputs = train.latencies[chosen.to(train.latencies.device)]
            tally = None
            if phase.rule == "stdp":
                (name,) = phase.stages
                won = self.learn_stdp(inputs, name)
            else:
                outcome, _, won = self.learn_rstdp(inputs, train.labels[chosen])
                tally = Outcome(*progress.tally) + outcome
                progress.tally = list(tally)
            for label, conv in self.named_convs(phase.stages):
                wins = progress.wins.setdefault(label, torch.zeros(conv.out_channels, dtype=torch.int64))
                if label in won:  # not if it waits for its turn
                    wins += torch.bincount(won[label], minlength=conv.out_channels)
            progress.batch += 1
            progress.seconds += time.perf_counter() - start
            log.advance(len(chosen), tally)
            if after_batch:
                after_batch(progress)

    def _finish_epoch(self, phase, train, validation, progress):
        start = time.perf_counter()
        convs = dict(self.named_convs(phase.stages))
        counts = [progress.wins[label] for label in convs]
        row = {
            "step": len(progress.history) + 1,
            "phase": phase.name,
            "rule": phase.rule,
            "epoch": progress.epoch + 1,
            "images": len(train),
            "convergence": float(np.mean([convergence(conv.weight) for conv in convs.values()])),
            "winners_per_image": float(sum(int(c.sum()) for c in counts) / len(train)),
            "dead_features": int(sum(int((c == 0).sum()) for c in counts)),
        }
        rates = [conv.stdp_rates if phase.rule == "stdp" else conv.rstdp_rates[0] for conv in convs.values()]
        row["ltp_rate"], row["ltd_rate"] = torch.stack(rates).mean(0).tolist()
        learned = Outcome(*progress.tally) if phase.rule == "rstdp" else None
        held_out = None
        if phase.rule == "rstdp" and validation is not None:
            decisions, _ = self.decide(validation.latencies, validation.at)
            held_out = Outcome.of(decisions.cpu(), validation.labels)
        for split, outcome in (("train", learned), ("val", held_out)):
            for column, part in (("accuracy", "correct"), ("loss", "wrong"), ("silent", "silent")):
                row[f"{split}_{column}"] = outcome.fraction(part) if outcome else None
        if held_out:
            progress.waited += 1
            if progress.best is None or held_out.correct > progress.best["correct"]:
                state = {key: value.detach().cpu().clone() for key, value in self.state_dict().items()}
                progress.best = {
                    "phase": phase.name, "epoch": progress.epoch + 1, "step": row["step"],
                    "correct": held_out.correct, "accuracy": row["val_accuracy"], "state": state,
                }  # fmt: skip
                progress.waited = 0
        row["seconds"] = progress.seconds + time.perf_counter() - start
        progress.phase_seconds[phase.name] = progress.phase_seconds.get(phase.name, 0.0) + row["seconds"]
        progress.history.append(row)
        wins, progress.wins = progress.wins, {}
        progress.epoch, progress.batch, progress.tally, progress.seconds = progress.epoch + 1, 0, [0, 0, 0], 0.0
        return wins


def convergence(weight):
    """Mean of w (1 - w): 0 when every weight has become 0 or 1 (Kheradpisheh et al. 2018)."""
    # numpy, because the order in which torch adds depends on the number of threads
    return float((weight * (1 - weight)).numpy(force=True).mean(dtype=np.float64))


def _rule(stage, kind):
    """Whether the stage learns by "stdp" or "rstdp"."""
    if kind == "stdp":
        return bool(stage.convs) and stage.convs[0].stdp is not None
    return bool(stage.convs) and isinstance(stage.convs[0].rule, RSTDP)
