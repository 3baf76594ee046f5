"""NetworkTrainer: the parent class of all networks. A network is an ordered list of stages (see ``engine/stages.py``);
everything here walks that list."""

import engine  # noqa: F401  before torch: threads that wait are to sleep

# isort: split
import time
from dataclasses import dataclass, field, fields

import numpy as np
import torch
from torch import nn

from engine.decision import Outcome, class_of_features, deciding_features, majority
from engine.graph import CHUNK, StageGraph
from engine.overrides import overridden
from engine.packed import PackedSpikes
from engine.stages import BACKENDS, INPUT, Pool, SpikingConv, SpikingDense
from errors import InputError

# The networks by name, and by their other names. Every class that names itself is here from its declaration on.
MODELS = {}


@dataclass(frozen=True)
class Phase:
    """A part of the training: the stages that learn in it, by the rule of that name ("stdp", "rstdp", …).

    ``alternate``: one stage at a time, the first in even batches, the second in odd ones, counted over the phase; each
    stage's rates adapt after its own batches.
    """

    stages: tuple[str, ...]
    rule: str
    title: str  # of the rule, as it is printed
    needs_labels: bool = False
    alternate: bool = False

    @property
    def name(self):
        return "+".join(self.stages)

    def rule_of(self, conv):
        """By which a convolution of these stages learns in this phase."""
        return next(rule for rule in conv.rules if rule.needs_labels == self.needs_labels)


class Activity:
    """The latency maps of a data set on their way up the network, with the labels.

    ``latencies`` are the input of the stage ``at`` (None: the network's own). They are replaced as they move up, so
    that of a whole data set there is no more in memory than what stages to come will read: ``kept``, {stage or "input":
    its map}. On a CPU that is ``PackedLatencies``. The input of a ``SpikingDense`` is ``PackedSpikes``; so are those
    of moved ``copies`` of the images.
    """

    def __init__(self, latencies, labels, at=None):
        self.latencies, self.labels, self.at = latencies, torch.as_tensor(labels), at
        self.kept, self.copies = {INPUT: latencies} if at is None else {}, []

    def __len__(self):
        return len(self.latencies)


@dataclass
class Progress:
    """Where a run stands. Everything else about it (order of the images, rates) follows from the seed and the weights.

    ``phase``, ``epoch``, ``batch``: the next to do, from 0. ``tally``: [correct, wrong, silent] of this epoch so far;
    ``told``: the tally when an observer that draws curves last drew a point.
    ``wins``: for each learning convolution how often each feature won in this epoch. ``history``: one row for each
    finished epoch. ``best``: phase, epoch, accuracy and weights of the best epoch on the validation set. ``waited``:
    epochs since then. ``seconds``: spent in this epoch before an interruption; ``phase_seconds``: in each phase.
    ``test_reads``: how often the test images were decided.
    """

    phase: int = 0
    epoch: int = 0
    batch: int = 0
    tally: list = field(default_factory=lambda: [0, 0, 0])
    told: list = field(default_factory=lambda: [0, 0, 0])
    wins: dict = field(default_factory=dict)
    history: list = field(default_factory=list)
    best: dict | None = None
    waited: int = 0
    seconds: float = 0.0
    phase_seconds: dict = field(default_factory=dict)
    test_reads: int = 0

    def to_dict(self):
        return {f.name: getattr(self, f.name) for f in fields(self)}


class Interrupted(Exception):
    """The training stopped between two batches, because it was asked to; its progress has been saved."""


class Observer:
    """What ``fit`` tells while it trains. This one keeps it to itself; a subclass overrides what it wants to hear."""

    def began(self, title, images, done=0):
        """Work on so many images begins, ``done`` of which an interrupted run has behind it."""

    def advanced(self, images, outcome=None):
        """So many more images are done; ``outcome``: of the epoch so far, if it decides."""

    def passed(self, images):
        """So many more images have passed stages that do not learn. May raise ``Interrupted``."""
        self.advanced(images)

    def ended(self):
        """The work that began is done."""

    def batch(self, progress):
        """A batch has been learned. May raise ``Interrupted``."""

    def validated(self, labels, decisions):
        """After an epoch of a phase with labels: the network's decisions on the validation images, int64 (N,) each."""

    def epoch(self, progress, wins):
        """An epoch is the last row of the history; ``wins``: of each feature in it, {convolution's label: (F,)}."""


class NetworkTrainer(StageGraph):
    """A first-spike network and its training.

    A subclass names itself (``class Net(NetworkTrainer, name="net")``), declares ``build`` and the default ``epochs``,
    one for each phase, and may override ``phases``. The last stage decides, if it has no threshold; it learns by a rule
    that needs labels, and with it at most the firing stage next below it. A network without such a stage learns
    features only. Latencies are S1C1's: uint8 (N, in_channels, H, W), the time step of each spike, ``time_steps`` for
    silence.

    Args:
        in_channels: of the input maps.
        num_classes: of the data set.
        seed: of the initial weights, N(0.8, 0.05) (Mozafari et al. 2018) unless a stage says otherwise, the same for
            every type and device.
        device, dtype: of the weights; float64 makes the winners independent of the order of additions.
        backend: "event" (compiled, CPU), "torch" (tensor operations, any device), or "auto": event on a CPU.
        time_steps: of the input.
        image_size: (height, width) of the input; only networks with a ``SpikingDense`` stage are bound to it.
        overrides: other values for fields of the declaration, {"s2.threshold": 12}; see ``engine/overrides.py``.

    Errors: InputError where the stages do not fit each other, or could not be trained.
    """

    name = None
    epochs = ()
    # What makes spikes of the images: its name in training/encoders.py, and its parameters where they differ.
    encoder = {"name": "s1c1"}  # noqa: RUF012
    # Of which moved copies of the images the decision stage learns: see datasets/augmentation.py.
    augmentation = "none"
    # What reads the features of a network that does not decide: see training/readout.py.
    readout = None

    def __init_subclass__(cls, name=None, aliases=(), **kwargs):
        super().__init_subclass__(**kwargs)
        if name:
            cls.name, cls.aliases = name, aliases
            for known in (name, *aliases):
                if MODELS.setdefault(known, cls).__qualname__ != cls.__qualname__:
                    raise ValueError(f"two networks are called {known!r}")
                MODELS[known] = cls

    def __init__(
        self, in_channels=6, num_classes=10, seed=0, device="cpu", dtype=torch.float32, backend="auto", time_steps=15,
        overrides=None, image_size=(28, 28),
    ):  # fmt: skip
        super().__init__()
        if in_channels < 1 or num_classes < 1:
            raise InputError(f"a network needs channels and classes, not {in_channels} and {num_classes}")
        if not 1 <= time_steps <= 254:
            raise InputError(f"time steps must be 1 to 254, not {time_steps}")
        self.in_channels, self.num_classes, self.time_steps = in_channels, num_classes, time_steps
        self.overrides, self.image_size = dict(overrides or {}), tuple(image_size)
        self.stages = nn.ModuleDict(overridden(self.build(in_channels, num_classes), self.overrides, in_channels))
        self.register_buffer("rl_batches", torch.zeros(1, dtype=torch.int64))  # seen in the supervised phase
        device = torch.device(device)
        backend = ("event" if device.type == "cpu" else "torch") if backend == "auto" else backend
        if backend not in BACKENDS:
            raise InputError(f"unknown backend {backend!r}; there are {', '.join(BACKENDS)} and auto")
        if backend == "event" and device.type != "cpu":
            raise InputError(f"the event backend runs on a CPU, not on {device}; use the torch backend there")
        self.backend = backend
        self.connect()
        self._check_stages()
        rng = np.random.default_rng(seed)
        for conv in self.convs():
            conv.time_steps, conv.backend = time_steps, backend
            conv.weight.data = torch.from_numpy(rng.normal(*conv.first_weights, conv.weight.shape)).to(dtype)
        self.to(device)
        self.requires_grad_(False)

    def build(self, in_channels, num_classes):
        """The stages, bottom up: a dict of name → stage."""
        raise TypeError(f"{type(self).__name__} declares no stages")

    @property
    def phases(self):
        """One phase for each stage with an unsupervised rule, bottom up, then one for all whose rules need labels."""
        phases = [
            Phase((name,), rule.name, rule.title)
            for name, stage in self.stages.items()
            for rule in stage.rules
            if not rule.needs_labels
        ]
        supervised = tuple(name for name in self.stages if self._supervised(name))
        if supervised:
            rule = self._supervised(supervised[-1])
            phases.append(Phase(supervised, rule.name, rule.title, needs_labels=True))
        return phases

    # -----------------------------------------------------------------------------------------------------------------
    # The stages as a list

    def _supervised(self, name):
        """The rule of a stage that needs labels, or None."""
        return next((rule for rule in self.stages[name].rules if rule.needs_labels), None)

    def _check_stages(self):
        """Errors: InputError where the stages could not be trained."""
        names = list(self.stages)
        for name, stage in self.stages.items():
            supervised = self._supervised(name)
            if stage.decides and name != names[-1]:
                raise InputError(f"{name} has no threshold, so it must be the last stage, which decides")
            if stage.decides and (not supervised or len(stage.rules) > 1):
                raise InputError(f"{name} decides, so it learns by one rule, which needs labels, such as RSTDP()")
            if supervised and not stage.decides:
                self._check_rewarded(name, supervised)
        unread = [name for name in names[:-1] if not any(name in self.inputs_of(other) for other in names)]
        if self.decision and unread:
            raise InputError(f"no stage reads {', '.join(unread)}")
        for label, conv in self.named_convs([self.decision] if self.decision else []):
            if conv.out_channels % self.num_classes:
                raise InputError(
                    f"{label} has {conv.out_channels} features, which {self.num_classes} classes cannot share"
                )

    def _check_rewarded(self, name, rule):
        """Errors: InputError unless the firing stage can learn from the decisions above it."""
        above = self.between(name, None)[1:]
        kinds = [type(self.stages[other]) for other in above]
        if not rule.rewards_firing:
            raise InputError(f"{name} has a threshold: {rule.title} is a rule for the last stage, without a threshold")
        chained = all(self.inputs_of(other) == (below,) for below, other in zip([name, *above], above, strict=False))
        if not chained or kinds not in ([SpikingConv], [Pool, SpikingConv]) or not self.stages[above[-1]].decides:
            raise InputError(
                f"{name} is rewarded, so one decision stage must follow it, a SpikingConv without a threshold, with at "
                f"most one Pool between; here follow {', '.join(above) or 'none'}"
            )

    def class_of_feature(self):
        """The class that each feature of the decision stage's convolutions stands for, int64 (F,).

        Errors: InputError if the network has no decision stage.
        """
        return class_of_features(self._deciding().convs[0].out_channels, self.num_classes)

    @property
    def device(self):
        return self.rl_batches.device

    def _deciding(self):
        if self.decision is None:
            raise InputError(f"{self.name} learns features only: no last stage without a threshold decides")
        return self.stages[self.decision]

    def check_labels(self, labels, count):
        """Labels as int64 (count,). Errors: InputError if there are not as many, or one is no class."""
        labels = torch.as_tensor(labels).cpu()
        if labels.shape != (count,) or labels.is_floating_point():
            raise InputError(f"{count} images need integer labels ({count},), not {labels.dtype} {tuple(labels.shape)}")
        if count and not 0 <= int(labels.min()) <= int(labels.max()) < self.num_classes:
            raise InputError(f"labels must be 0 to {self.num_classes - 1}, not {labels.min()} to {labels.max()}")
        return labels.long()

    # -----------------------------------------------------------------------------------------------------------------
    # Deciding

    @torch.no_grad()
    def decide(self, latencies, first=None):
        """Decisions int64 (N,), -1 for silence, and scores (N, classes), for inputs of stage ``first`` (None: S1C1's).

        The score of a class is the highest potential among its neurons at the last time step; with several branches,
        the sum over them of that potential relative to the branch's highest.
        """
        self._deciding()
        self.between(first, self.decision)  # refuses what does not follow
        below = INPUT if first is None else self.inputs_of(first)[0]
        parts = [
            self._decide_chunk(
                part.to(self.device) if first == self.decision else self._part_of_input(self.decision, {below: part})
            )
            for part in latencies.split(CHUNK)
        ]
        decisions, scores = zip(*parts, strict=True) if parts else ((), ())
        return torch.cat(decisions), torch.cat(scores)

    def _decide_chunk(self, latency):
        stage = self.stages[self.decision]
        classes = torch.from_numpy(self.class_of_feature()).to(latency.device)
        votes, strength, scores = [], [], 0
        for conv in stage.convs:
            peaks = conv.peaks(latency).to(latency.device)
            feature = deciding_features(peaks)
            votes.append(torch.where(feature < 0, -1, classes[feature.clamp(min=0)]))
            strength.append(peaks.amax(1))
            of_class = peaks.unflatten(1, (self.num_classes, -1)).amax(2)
            scores = scores + (of_class / strength[-1][:, None].clamp(min=1e-12) if len(stage.convs) > 1 else of_class)
        return majority(torch.stack(votes, 1), torch.stack(strength, 1), self.num_classes), scores

    def forward(self, latencies):
        """``predict``."""
        return self.predict(latencies)

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
        named = [stage for phase in self.phases if not phase.needs_labels for stage in phase.stages]
        if name not in named:
            raise InputError(
                f"{self.name} has no stage {name!r} that learns without labels; there are {', '.join(named)}"
            )
        self.learn_stdp(self.input_of(name, self.check(latencies)), name)

    @torch.no_grad()
    def train_rl(self, latencies, labels):
        """One batch of R-STDP, one image after another; the rates adapt at its end. Returns the batch's ``Outcome``."""
        self._deciding()
        first = self.phases[-1].stages[0]
        latencies = self.check(latencies)
        labels = self.check_labels(labels, len(latencies))
        if not len(labels):
            return Outcome(0, 0, 0)
        return self.learn_rstdp(self.input_of(first, latencies), labels)[0]

    def learn_stdp(self, inputs, name, epoch=None):
        """Unsupervised learning of a stage over its inputs; returns the features that won.

        epoch: images of an epoch; None: as many as there are. Returns {convolution's label: int64 (wins,)}.
        """
        won = {}
        for label, conv in self.named_convs([name]):
            rule = next(rule for rule in conv.rules if not rule.needs_labels)
            feature = conv.learn(inputs, rule, epoch)[..., 0].long()
            won[label] = feature[feature >= 0]
        return won

    def learn_rstdp(self, inputs, labels, epoch=None, rng=None):
        """One batch of supervised learning over inputs of the lowest stage that learns so.

        epoch: as of ``learn_stdp``. rng: of the neurons that a rule leaves out; None: seeded by the batches seen.

        Returns the outcome, the decisions (N, 1 + branches): the network's, then each branch's vote; and the features
        that won as ``learn_stdp`` does.
        """
        phase = self.phases[-1]
        active = phase.stages
        if phase.alternate:
            active = (phase.stages[int(self.rl_batches) % len(phase.stages)],)
        if active == (self.decision,):
            inputs = self.input_of(self.decision, inputs, phase.stages[0])
            inputs = inputs[:] if isinstance(inputs, PackedSpikes) else inputs
            rng = rng or np.random.default_rng(int(self.rl_batches))
            decisions, won = self._learn_decisions(inputs, labels, epoch, rng)
        else:
            decisions, won = self._learn_together(inputs, labels, active, epoch)
        outcome = Outcome.of(decisions[:, 0], labels.cpu())
        for _, conv in self.named_convs(active):
            conv.adapt(outcome)
        self.rl_batches += 1
        return outcome, decisions, won

    def _learn_decisions(self, inputs, labels, epoch, rng):
        """Every branch of the decision stage learns from its own decision."""
        classes = self.class_of_feature()
        votes, strength, won = [], [], {}
        for label, conv in self.named_convs([self.decision]):
            found = conv.learn_decisions(inputs, labels, classes, rng, epoch)
            feature = found.decisions[:, 0].long()
            votes.append(_classes_of(feature, classes))
            strength.append(found.highest.double())
            won[label] = feature[feature >= 0]
        votes = torch.stack(votes, 1)
        decisions = majority(votes, torch.stack(strength, 1), self.num_classes)
        return torch.cat([decisions[:, None], votes], 1), won

    def _learn_together(self, inputs, labels, active, epoch):
        """A firing stage learns by the network's decision, and with it the decision stage if that is active too."""
        first, classes = self.phases[-1].stages[0], self.class_of_feature()
        top = self.stages[self.decision]
        lower, *pools = [self.stages[name] for name in self.between(first, self.decision)]
        pool = pools[0].size if pools else 1
        rates = (
            lower.advance(lower.rule, len(inputs), epoch),
            top.advance(top.rule, len(inputs), epoch) if self.decision in active else None,
        )
        found = BACKENDS[self.backend].learn_together(
            lower.layer(), top.layer(), inputs, labels, pool, classes, (lower.rule, top.rule), rates
        )
        feature, won = found.decisions[:, 0].long(), found.winners[..., 0].long()
        wins = {first: won[won >= 0], self.decision: feature[feature >= 0]}
        return _classes_of(feature, classes)[:, None].repeat(1, 2), {name: wins[name] for name in active}

    # -----------------------------------------------------------------------------------------------------------------
    # Training

    @torch.no_grad()
    def fit(
        self, train, validation, epochs, observer=None, batch_size=1000, seed=0, patience=0, progress=None, copies=None
    ):
        """Train phase by phase. What is below the stages that learn does not change: it is computed once per phase.

        Args:
            train, validation: ``Activity`` at the lowest stage; training replaces their maps; validation may be None.
            epochs: for each phase; 0 skips it.
            observer: an ``Observer``; what it raises ends the training.
            batch_size: images between two adaptations of the R-STDP rates.
            seed: of the order of the images, which differs in every epoch.
            patience: end the supervised phase after so many epochs without a better validation accuracy; 0: never.
            progress: where to go on (None: at the beginning); kept up to date, with the history and the best weights.
            copies: moved copies of the training images, from which the decision stage learns too: each of its batches
                reads the plain images or one of the copies. A sequence as ``training.copies.MovedCopies``; None: none.

        Returns the progress. Afterwards the network has the last epoch's weights.
        """
        progress, observer = progress or Progress(), observer or Observer()
        if copies:
            self.check_copies()
        try:
            while progress.phase < len(self.phases):
                phase, count = self.phases[progress.phase], epochs[progress.phase]
                stopped = patience and phase.needs_labels and progress.waited >= patience
                if progress.epoch >= count or stopped:
                    progress.phase, progress.epoch = progress.phase + 1, 0
                    continue
                if copies and phase.needs_labels and not train.copies:
                    self._pack_copies(train, copies, observer)
                for activity in filter(None, (train, validation)):
                    self._move_up(activity, progress.phase, observer)
                self._epoch(phase, train, progress, count, observer, batch_size, seed)
                observer.epoch(progress, self._finish_epoch(phase, train, validation, progress, observer))
        finally:
            for packed in train.copies:
                packed.close()
        return progress

    def _move_up(self, activity, number, observer):
        """Replace latency maps by the input of a higher phase's first stage, image by image in parallel."""
        stage, *later = [phase.stages[0] for phase in self.phases[number:]]
        if activity.at == stage:
            return
        maps = activity.kept or {self.inputs_of(activity.at)[0]: activity.latencies}
        names, _ = self._way(maps, stage)
        dense = isinstance(self.stages[stage], SpikingDense)
        if names or dense:
            title = f"{' '.join(names)} of all images" if names else f"the input of {stage}, as bits"
            observer.began(title, len(activity))
        if dense:
            activity.latencies, activity.kept = self._packed_input(stage, maps, observer.passed), {}
        else:
            reads = self.inputs_of(stage)[0]
            keep = set().union(*(self._way([*maps, *names], other)[1] for other in [stage, *later]))
            if names:
                maps = self._through(maps, names, keep, observer.passed, packed=self.device.type == "cpu")
            activity.latencies, activity.kept = maps[reads], {name: maps[name] for name in keep}
        if names or dense:
            observer.ended()
        activity.at = stage

    def check_copies(self):
        """Errors: InputError unless only a decision stage learns with labels: what it reads of an image are bits."""
        phase = self.phases[-1]
        if self.decision is None or phase.stages != (self.decision,):
            raise InputError(
                f"moved copies of the images are for a phase in which only a decision stage learns; in {self.name} "
                f"that is {'none' if self.decision is None else phase.name}"
            )

    def _pack_copies(self, train, copies, observer):
        """Have ``train.copies`` hold what the decision stage reads of each of the copies."""
        names = " ".join(self.between(None, self.decision))
        for number, copy in enumerate(copies, start=1):
            observer.began(f"{names} of copy {number} of {len(copies)}", len(copy))
            file = copies.file(number)
            train.copies.append(self._packed_input(self.decision, {INPUT: copy}, observer.passed, file))
            observer.ended()

    def _epoch(self, phase, train, progress, epochs, observer, batch_size, seed):
        order = torch.from_numpy(np.random.default_rng([seed, progress.phase, progress.epoch]).permutation(len(train)))
        batches = order.split(batch_size)
        observer.began(
            f"{phase.name} {phase.title} {progress.epoch + 1}/{epochs}", len(train), progress.batch * batch_size
        )
        while progress.batch < len(batches):
            start = time.perf_counter()
            chosen = batches[progress.batch]
            tally = None
            if not phase.needs_labels:
                (name,) = phase.stages
                inputs = train.latencies[chosen.to(train.latencies.device)]
                won = self.learn_stdp(inputs, name, len(train))
            else:
                rng = np.random.default_rng([seed, progress.phase, progress.epoch, progress.batch])
                copy = rng.integers(len(train.copies) + 1) if train.copies else 0
                read = train.copies[copy - 1] if copy else train.latencies
                inputs = read[chosen.to(read.device)].to(self.device)
                outcome, _, won = self.learn_rstdp(inputs, train.labels[chosen], len(train), rng)
                tally = Outcome(*progress.tally) + outcome
                progress.tally = list(tally)
            for label, conv in self.named_convs(phase.stages):
                wins = progress.wins.setdefault(label, torch.zeros(conv.out_channels, dtype=torch.int64))
                if label in won:  # not if it waits for its turn
                    wins += torch.bincount(won[label], minlength=conv.out_channels)
            progress.batch += 1
            progress.seconds += time.perf_counter() - start
            observer.advanced(len(chosen), tally)
            observer.batch(progress)
        observer.ended()

    def _finish_epoch(self, phase, train, validation, progress, observer):
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
        rates = [conv.rates(phase.rule_of(conv)).reshape(-1, 2)[0] for conv in convs.values()]
        row["ltp_rate"], row["ltd_rate"] = torch.stack(rates).mean(0).tolist()
        learned = Outcome(*progress.tally) if phase.needs_labels else None
        held_out = None
        if phase.needs_labels and validation is not None:
            decisions, _ = self.decide(validation.latencies, validation.at)
            held_out = Outcome.of(decisions.cpu(), validation.labels)
            observer.validated(validation.labels, decisions.cpu())
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
        progress.epoch, progress.batch, progress.seconds = progress.epoch + 1, 0, 0.0
        progress.tally, progress.told = [0, 0, 0], [0, 0, 0]
        return wins


def convergence(weight):
    """Mean of w (1 - w): 0 when every weight has become 0 or 1 (Kheradpisheh et al. 2018)."""
    # numpy, because the order in which torch adds depends on the number of threads
    return float((weight * (1 - weight)).numpy(force=True).mean(dtype=np.float64))


def _classes_of(feature, classes):
    """The classes of deciding features int64 (N,), -1 for silence."""
    return torch.where(feature < 0, -1, torch.from_numpy(classes)[feature.clamp(min=0)])
