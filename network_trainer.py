"""NetworkTrainer: the parent class of all networks, with the training loop.

``steps`` gives each batch to ``Phase.learn`` (``engine/phases.py``), which gives it to a layer (``engine/layers.py``).
To read how a layer learns from an image, begin at ``learn_features`` in ``engine/torch_backend.py``.
"""

import engine  # noqa: F401  before torch, see engine/__init__.py

# isort: split
import math
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from copy import copy
from dataclasses import dataclass, field
from functools import wraps
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import nn

from engine.augmentation import Augmentation
from engine.backends import choose_backend
from engine.checks import are_indices, check_indices, check_labels, check_number, check_time_steps, is_finite, takes
from engine.decision import Outcome, classes_of, deciding_features, majority, measure_balanced
from engine.declaration import MAX_VALUE, Declared, ranged
from engine.encoder import Encoder
from engine.graph import CHUNK, LatencyMap, StageGraph, check_effects, check_stages
from engine.latency_dataset import LatencyDataset
from engine.layers import Layer
from engine.lengths import Lengths
from engine.packed import open_storage
from engine.phases import Phase, make_phase
from engine.progress import BatchStep, ChunkStep, EndStep, EpochStep, PhaseStep, Progress, Row, Step
from engine.registry import register
from engine.rules import Rule
from engine.stages import INPUT, Stage, set_fields
from errors import InputError, refuse_result
from s1c1 import S1C1

# The networks by name and by alias, in lower case. Every class that has a name is registered when it is declared.
MODELS: dict[str, type["NetworkTrainer"]] = {}

MAX_UNLABELLED = 500  # images of a batch in a first epoch without labels: a run records how features emerge


@dataclass(frozen=True)
class Attributes(Declared):
    """What a network declares beside its stages, and the form of each."""

    epochs: tuple[int, ...] = field(metadata={"form": "a tuple of whole numbers"})
    converge: float
    encoder: Encoder = field(metadata={"form": "an encoder such as S1C1(time_steps=10)"})
    augmentation: Augmentation = field(metadata={"form": "an Augmentation(copies=8, turn=8)"})
    readout: float | None = ranged(0, MAX_VALUE, above=True)


class Training(NamedTuple):
    """What ``NetworkTrainer.steps``, whose arguments these are, trains on and how."""

    train: LatencyDataset
    validation: LatencyDataset | None
    batch_size: int
    seed: int
    progress: Progress
    copies: Sequence[Any]
    folder: Path | None
    teach: Callable[..., Iterable[Step]] | None

    @property
    def splits(self) -> list[tuple[LatencyDataset, str]]:
        """The data sets, and what messages call them."""
        found = [(self.train, "training")]
        return found if self.validation is None else [*found, (self.validation, "validation")]


class NetworkTrainer(StageGraph):
    """A first-spike network and its training.

    A subclass has a name (``class Net(NetworkTrainer, name="net")``), declares ``build`` and the default ``epochs``,
    one number for each phase, and may override ``build_phases``. If the rule of the last stage needs labels,
    this is the decision stage: without a threshold, the highest potential at the last time step decides; with a
    threshold, the first spike decides, or of several at one time step the one with the highest potential. The firing
    stage directly below a decision stage without a threshold may also use labels. A network without a decision stage
    only learns features.

    Args:
        in_channels: number of channels of the input maps; None: those of the network's ``encoder``.
        num_classes: number of classes.
        seed: the seed of the initial weights, which are the same for every type and device.
        device, dtype: device and type of the weights. In float64 the winners do not depend on the order of additions.
        backend: "event" (compiled kernels, CPU), "torch" (tensor operations, any device), or "auto": event on a CPU.
        time_steps: number of time steps T of the input, 1 to 254; None: those of the network's ``encoder``.
        overrides: new values of fields of the declaration, {"s2.threshold": 12}; see ``engine.stages.set_fields``.
        image_size: (height, width) of the input, which every kernel must fit; None: any, and (28, 28) for networks with
            a ``SpikingDense`` stage, which depend on it.
        saved: the stages of a checkpoint, which replace those of the declaration and may have fields without effect.
            Then there are no ``overrides``.

    Raises InputError if the stages do not fit each other or cannot be trained, or if the weights do not fit in memory.
    """

    aliases: tuple[str, ...] = ()
    source: str = ""  # what a paper cites for it
    epochs: tuple[int, ...] = ()
    converge: float = 0.0  # phases without labels train until their convergence is below this number; 0: their epochs
    encoder: Encoder = S1C1()
    augmentation: Augmentation = Augmentation()  # the moved copies that the decision stage learns from; by default none
    readout: float | None = None  # C of the linear support vector machine that reads the last stage at the end of a run
    phases: Sequence[Phase]

    def __init_subclass__(cls, name: str | None = None, aliases: Sequence[str] = (), **kwargs: Any):
        super().__init_subclass__(**kwargs)
        if cls.decide is not NetworkTrainer.decide:
            cls.decide = check_decide(cls.decide)  # type: ignore[method-assign]  # every caller gets tensors
        declared = Attributes(cls.epochs, cls.converge, cls.encoder, cls.augmentation, cls.readout)
        declared.encoder.check_name()
        cls.epochs = declared.epochs
        if not name:
            return
        cls.name = name
        cls.aliases = tuple(aliases)
        register(MODELS, [each.lower() for each in (name, *aliases)], cls)

    def __init__(
        self,
        in_channels: int | None = None,
        num_classes: int = 10,
        seed: int = 0,
        device: str | torch.device = "cpu",
        dtype: torch.dtype = torch.float32,
        backend: str = "auto",
        time_steps: int | None = None,
        overrides: dict[str, Any] | None = None,
        image_size: Sequence[int] | None = None,
        saved: dict[str, Stage] | None = None,
    ):
        super().__init__()
        self.in_channels = check_number("in_channels", self.encoder.channels if in_channels is None else in_channels, 1)
        self.num_classes = num_classes
        self.time_steps = check_time_steps(self.encoder.time_steps if time_steps is None else time_steps)
        height, width = (28, 28) if image_size is None else image_size
        self.image_size = height, width
        backend = choose_backend(backend, device)
        declaration = check_stages(self.build(num_classes))
        if saved and overrides:
            raise InputError("overrides change the declared stages of a network, not those of a checkpoint (saved)")
        if changes := saved or overrides:
            declaration = check_stages(set_fields(declaration, changes))
        if not saved:
            for name, stage in declaration.items():
                check_effects(name, stage)
        self.connect(declaration, image_size is not None, check_number("seed", seed, 0), backend, dtype)
        self.phases = nn.ModuleList(self.build_phases())  # type: ignore[assignment]  # as ``stages``
        for phase in self.phases:
            phase.add_state(self)
        self.to(device)

    def build(self, num_classes: int) -> dict[str, Stage]:
        """Return the stages, bottom up: {name: stage}."""
        raise InputError(f"{type(self).__name__} declares no stages")

    def build_phases(self) -> list[Phase]:
        """Return the phases: one for each stage with an unsupervised rule, bottom up, then one for all other rules.

        A phase has the class that its rules name, see ``Rule.phase``.
        """
        phases = []
        supervised_stages = []
        supervised_rules: dict[str, Rule] = {}
        for name, stage in self.declaration.items():
            for number, rule in enumerate(stage.rules):
                rules = {layer_name: layer.stage.rules[number] for layer_name, layer in self.named_layers([name])}
                if rule.needs_labels:
                    supervised_stages.append(name)
                    supervised_rules |= rules
                else:
                    phases.append(make_phase((name,), rules))
        if supervised_stages:
            phases.append(make_phase(tuple(supervised_stages), supervised_rules))
        return phases

    def check_epochs(self, epochs: Sequence[int]) -> None:
        """Raise InputError unless there is a whole number for each phase."""
        if len(epochs) != len(self.phases):
            names = " ".join(phase.name for phase in self.phases)
            given = f"{len(epochs)} of {len(self.phases)}"
            raise InputError(f"--epochs of {self.name} needs a number for each phase ({names}), not {given}")
        for count in epochs:
            check_number("epochs", count, 0)

    # -----------------------------------------------------------------------------------------------------------------
    # Classifying

    @torch.no_grad()
    def decide(
        self, maps: LatencyMap | Mapping[str, LatencyMap], needs_scores: bool = True
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return decisions int64 (N,), -1 for silence, and scores (N, classes).

        The score of a class is the highest potential among its neurons at the last time step; with several branches,
        the sum over the branches of that potential relative to the highest potential of the branch. If the first spike
        decides, the score is T - t + e / (1 + e): t is the time step of the first spike of its neurons, and e how far
        their highest potential is then above the threshold. It is 0 if none of them spikes.

        maps: the network's input, or {name: map} of maps from which the decision can be computed. needs_scores: whether
        the scores are used. If not, they may be wrong, and the decisions can take half the time.

        Several threads may decide at the same time. Raises InputError if the network learns in another thread
        meanwhile.
        """
        parts = []
        with self.turns.read():
            inputs = self.map_of(maps, self.input_name(self.find_decision()))
            for start in range(0, len(inputs) or 1, CHUNK):  # of no images, an empty part
                parts.append(self._decide_part(inputs[start : start + CHUNK].to(self.device), needs_scores))
        decisions, scores = zip(*parts, strict=True)
        return torch.cat(decisions), torch.cat(scores)

    def _decide_part(self, inputs: torch.Tensor, needs_scores: bool) -> tuple[torch.Tensor, torch.Tensor]:
        """Return decisions and scores, from the input of the decision stage."""
        layers = self.stages[self.find_decision()].layers
        if layers[0].stage.fires:
            return self._decide_first(layers[0], inputs)
        votes = []
        highest = []
        scores = inputs.new_zeros(())
        for layer in layers:
            peaks = layer.peaks(inputs, not needs_scores).to(self.device)
            votes.append(classes_of(deciding_features(peaks), self.class_of_feature()))
            highest.append(peaks.amax(1))
            of_class = peaks.unflatten(1, (self.num_classes, -1)).amax(2)
            if len(layers) > 1:
                of_class = of_class / highest[-1][:, None].clamp(min=1e-12)
            scores = scores + of_class
        decisions = majority(torch.stack(votes, 1), torch.stack(highest, 1), self.num_classes)
        return decisions, scores

    def _decide_first(self, layer: Layer, inputs: torch.Tensor):
        """Do the work of ``_decide_part`` for a stage whose first spike decides."""
        times, potentials = layer.first_spikes(inputs)
        is_earliest = times == times.amin(1, keepdim=True)
        decisions = classes_of(deciding_features(potentials * is_earliest), self.class_of_feature())
        excess = (potentials.double() - layer.threshold).clamp(min=0)
        scores = self.time_steps - times + excess / (1 + excess)
        return decisions, scores.unflatten(1, (self.num_classes, -1)).amax(2)

    def forward(self, latencies: LatencyMap) -> torch.Tensor:
        """Return the decided classes, as ``predict`` does."""
        return self.predict(latencies)

    def predict(self, latencies: LatencyMap | Mapping[str, LatencyMap]) -> torch.Tensor:
        """Return the decided classes, int64 (N,), -1 for silence."""
        return self.decide(latencies, needs_scores=False)[0]

    def evaluate(self, latencies: LatencyMap | Mapping[str, LatencyMap], labels: Any) -> Outcome:
        """Classify the images and compare the decisions with the labels. The network does not change."""
        predictions = self.predict(latencies).cpu()
        return Outcome.of(predictions, check_labels(labels, len(predictions), self.num_classes))

    # -----------------------------------------------------------------------------------------------------------------
    # Learning

    def train_unsupervised(self, latencies: torch.Tensor, name: str) -> None:
        """Train the stage ``name`` on each image once, one after another. The other stages do not change.

        This is for scripts; train.py uses ``steps``.
        """
        phases = {stage: phase for phase in self.phases if not phase.needs_labels for stage in phase.stages}
        if name not in phases:
            names = ", ".join(phases)
            raise InputError(f"{self.name} has no stage {name!r} that learns without labels; choose from {names}")
        phases[name].learn(self, self.map_of(latencies, self.input_name(name)))

    def train_rl(self, latencies: torch.Tensor, labels: Any, epoch: int = 0) -> Outcome:
        """Train the last phase on one batch with labels, one image after another. Then the rates are adapted.

        This is for scripts; train.py uses ``steps``.

        epoch: number of epochs of this phase before this one.
        """
        self.find_decision()
        phase = self.phases[-1]
        inputs = self.map_of(latencies, self.input_name(phase.stages[0]))
        labels = check_labels(labels, len(inputs), self.num_classes)
        if not len(labels):
            return Outcome(0, 0, 0)
        learned = phase.learn(self, inputs, labels, epoch)
        return learned.outcome  # type: ignore[return-value]  # the phase has labels

    def fit(
        self, train: LatencyDataset, validation: LatencyDataset | None, epochs: Sequence[int], **options: Any
    ) -> Progress:
        """Run ``steps``, which has the same arguments, to the end. The data sets keep their maps.

        Returns the progress.
        """
        progress = options.pop("progress", None) or Progress()
        for _ in self.steps(copy(train), copy(validation), epochs, progress=progress, **options):
            pass
        return progress

    @torch.no_grad()
    def steps(
        self,
        train: LatencyDataset,
        validation: LatencyDataset | None,
        epochs: Sequence[int],
        *,
        batch_size: int = 1000,
        seed: int = 0,
        progress: Progress | None = None,
        copies: Sequence[Any] = (),
        folder: Path | None = None,
        teach: Callable[..., Iterable[Step]] | None = None,
        **early: float,
    ) -> Iterator[Step]:
        """Train phase by phase, and yield a step after each piece of work.

        At each yield, the progress and the network are complete: if they are saved and loaded, the training continues
        with bit-identical results. Stages below those that learn do not change. Their maps are computed once for each
        phase, and replace the maps in ``train`` and ``validation``. After the last step the network has the weights of
        the last epoch.

        Args:
            train, validation: data sets; ``validation`` may be None. Phases with labels learn from ``train.labelled``.
            epochs: one number for each phase; 0 skips the phase.
            batch_size: number of images between two adaptations of the R-STDP rates. Weights change after each image.
                In the first epoch of a phase without labels, a batch has at most 500 images. That changes no weight,
                except in a phase of one's own that depends on the size of a batch.
            seed: the seed of the order of the images, which differs in every epoch.
            progress: where the training continues; it is updated in place. None: at the beginning.
            copies: moved copies of the training images that have labels, or of all of them, latencies uint8
                (N, C, H, W) that are read by slices. Each batch of the decision stage reads the original images or one
                of the copies.
            folder: where what is computed from copies is kept if it needs much memory; None: that of the system.
            teach: is called with a phase with labels and ``train`` when the maps that this phase reads are computed,
                and yields steps. It may change ``train.labels`` and ``train.labelled``, and must do the same after a
                resume. Copies are then of all training images.
            early: what ends phases before their last epoch, see ``engine/lengths.py``: ``converge``, a convergence of
                phases without labels; ``patience``, a number of epochs of phases with labels without a better
                validation accuracy. 0: never.
        """
        training = Training(
            train,
            validation,
            check_number("batch_size", batch_size, 1),
            check_number("seed", seed, 0),
            progress or Progress(),
            copies,
            folder,
            teach,
        )
        self.check_epochs(epochs)
        self._check_data(training)
        lengths = Lengths(self.phases, epochs, len(train), **early)
        progress = training.progress
        prepared = None
        try:
            while progress.phase < len(self.phases):
                phase = self.phases[progress.phase]
                rows = progress.rows
                ended_by = lengths.find_end(progress.phase, rows)
                if ended_by:
                    progress.finish_phase(ended_by)
                    if rows:  # it was not skipped
                        yield EndStep(phase, ended_by)
                    continue
                if phase is not prepared:
                    yield PhaseStep(phase)
                    yield from self._prepare(phase, training)
                    prepared = phase
                yield from self._learn_epoch(phase, training, lengths.count(progress.phase, rows))
        finally:
            train.close_copies()

    def _prepare(self, phase: Phase, training: Training) -> Iterator[Step]:
        """Compute the maps that a phase reads, and give it labels and copies."""
        training.train.close_copies()  # of a phase before
        yield from self._prepare_maps(phase, training)
        if training.teach and phase.needs_labels:
            yield from training.teach(phase, training.train)
        if training.copies and phase.needs_labels:
            yield from self._prepare_copies(phase, training)

    def _learn_epoch(self, phase: Phase, training: Training, count: int) -> Iterator[Step]:
        """Learn the rest of an epoch, batch by batch. count: how many epochs the phase has."""
        train = training.train
        progress = training.progress
        title = f"{phase.name} {phase.main_rule.title} {progress.epoch + 1}/{count}"
        seeds = training.seed, progress.phase, progress.epoch
        indices = train.select(phase)
        images = len(train if indices is None else indices)
        order = np.random.default_rng(seeds).permutation(images)
        size = training.batch_size
        if not phase.needs_labels and progress.epoch == 0:
            size = min(size, MAX_UNLABELLED)
        batches = torch.from_numpy(order).split(size)
        while progress.batch < len(batches):
            start = time.perf_counter()
            rng = np.random.default_rng((*seeds, progress.batch))
            below = self.input_name(phase.stages[0])
            inputs, labels = train.read(phase, below, batches[progress.batch], rng)
            learned = phase.learn(self, inputs.to(self.device), labels, progress.epoch, rng)
            progress.add(learned, dict(self.named_layers(phase.stages)))
            progress.batch += 1
            progress.seconds += time.perf_counter() - start
            done = min(progress.batch * size, images)
            yield BatchStep(phase, title, done, images, learned, count)
        yield self._finish_epoch(phase, progress, images, training.validation)

    @property
    def learns_from_copies(self) -> bool:
        """Whether the network can learn from moved copies: their maps have no spike times."""
        supervised = {phase.stages for phase in self.phases if phase.needs_labels}
        return supervised == {(self.decision,)} and not self.declaration[self.find_decision()].fires

    def _check_data(self, training: Training) -> None:
        """Raise InputError if data sets do not fit the network."""
        for data, split in training.splits:
            data.maps = self.check_maps(data.maps)
            count = len(next(iter(data.maps.values())))
            if not count:
                raise InputError(f"there are no {split} images")
            data.labels = check_labels(data.labels, count)
            used = data.labels
            if data.labelled is not None:
                data.labelled = check_indices(data.labelled, len(data))
                used = used[data.labelled]
            check_labels(used, len(used), self.num_classes)
        if training.copies:
            self._check_copies(training.train, training.copies)

    def _check_copies(self, train: LatencyDataset, copies: Sequence[Any]) -> None:
        """Raise InputError if moved copies do not fit the network or the labelled images. One image of each is read."""
        if not self.learns_from_copies:
            raise InputError(f"moved copies keep which neurons spike, not the spike times that {self.name} learns from")
        images = len(train if train.labelled is None else train.labelled)
        for number, moved in enumerate(copies, start=1):
            first = self.check_maps({INPUT: moved[:1]})[INPUT]
            shape = train.maps.get(INPUT, first).shape[1:]
            if len(moved) not in (images, len(train)) or first.shape[1:] != shape:
                given = len(moved), *first.shape[1:]
                wanted = f"{(images, *shape)}, as the images that have labels"
                raise InputError(f"copy {number} must be {wanted}, not {given}")

    def _prepare_copies(self, phase: Phase, training: Training) -> Iterator[Step]:
        """Compute the maps of moved copies that the phase reads."""
        copies = training.copies
        target = self.input_name(phase.stages[0])
        neurons = math.prod(self.shapes(*copies[0][:1].shape[2:])[target])
        size = len(copies) * len(copies[0]) * math.ceil(neurons / 8)
        for number, moved in enumerate(copies, start=1):
            computed: dict[str, Any] = {}  # packed as bits
            file = open_storage(size, training.folder)
            for done in self.propagate({INPUT: moved}, [target], computed, bits=True, file=file):
                yield ChunkStep(phase, f"copy {number} of {len(copies)}", done, len(moved))
            training.train.copies.append(computed[target])

    def _prepare_maps(self, phase: Phase, training: Training) -> Iterator[Step]:
        """Compute the maps that the phase reads. Keep only maps that this or a later phase reads."""
        phases = self.phases[training.progress.phase :]  # this and the later ones
        targets = [self.input_name(each.stages[0]) for each in phases]
        target = targets[0]
        for data, split in training.splits:
            computed = self.between(data.maps, [target])
            learning = set(phase.stages)  # they change the maps that are computed through them
            known = [name for name in (*data.maps, *computed) if learning.isdisjoint(self.between([INPUT], [name]))]
            kept = self.read_for(known, targets)
            maps: dict[str, LatencyMap] = {}
            for done in self.propagate(data.maps, kept, maps):
                yield ChunkStep(phase, f"{target} of the {split} images", done, len(data))
            data.maps = maps

    def _finish_epoch(self, phase: Phase, progress: Progress, images: int, validation: LatencyDataset | None) -> Step:
        """Validate, add the epoch to the history, keep the weights if they are the best, and begin the next epoch."""
        start = time.perf_counter()
        validated = None
        balanced = None
        if phase.needs_labels and validation is not None:
            decisions = self.predict(validation.maps).cpu()
            validated = Outcome.of(decisions, validation.labels)
            balanced = measure_balanced(decisions.numpy(), validation.labels.numpy())
        progress.seconds += time.perf_counter() - start
        rates = []
        convergences: list[Any] = []  # None of a layer without a win
        for layer_name, layer in self.named_layers(phase.stages):
            rule = phase.rules[layer_name]
            rates.append(layer.rates(rule).reshape(-1, 2)[0])
            convergences.append(compute_convergence(layer.weight, rule, progress.wins[layer_name]))
        ltp, ltd = torch.stack(rates).mean(0).tolist()
        wins = torch.cat(list(progress.wins.values()))
        fractions: dict = {}
        learned = Outcome(*progress.outcome) if phase.needs_labels else None
        for split, outcome in (("train", learned), ("val", validated)):
            if outcome:
                fractions |= {f"{split}_{name}": fraction for name, fraction in outcome.scores().items()}
        row = Row(
            step=len(progress.history) + 1,
            phase=phase.name,
            rule=phase.main_rule.name,
            epoch=progress.epoch + 1,
            images=images,
            convergence=None if None in convergences else max(convergences),
            winners_per_image=int(wins.sum()) / images,
            dead_features=int((wins == 0).sum()),
            ltp_rate=ltp,
            ltd_rate=ltd,
            seconds=progress.seconds,
            val_balanced=balanced,
            **fractions,
        )
        if validated and (progress.best is None or validated.correct > progress.best["correct"]):
            progress.best = {
                "phase": row.phase,
                "epoch": row.epoch,
                "step": row.step,
                "correct": validated.correct,
                "accuracy": row.val_accuracy,
                "balanced": balanced,
                "state": {key: value.cpu().clone() for key, value in self.state_dict().items()},
            }
        step = EpochStep(phase, progress.wins, row)
        progress.finish_epoch(row)
        return step


def check_decide(decide: Callable) -> Callable:
    """Return the method ``decide`` of a user's network with a check of what it returns, as ``NetworkTrainer.decide``.

    Raises InputError if it has other arguments.
    """
    if not takes(decide, "self", "maps", needs_scores=True):
        raise InputError("the method decide must have the arguments (self, maps, needs_scores=True)")

    @wraps(decide)
    def decide_and_check(self, maps, needs_scores=True):
        decided = decide(self, maps, needs_scores=needs_scores)
        count = len(next(iter(self.to_maps(maps).values())))
        wanted = [(count,), (count, self.num_classes)]
        used = decided[: 1 + needs_scores] if isinstance(decided, tuple) else ()
        shapes = [part.shape for part in used if isinstance(part, torch.Tensor)]
        fits = (
            shapes == wanted[: 1 + needs_scores]
            and are_indices(used[0], self.num_classes)
            and all(map(is_finite, used[1:]))
        )
        if not fits:
            refuse_result(decide, f"classes, -1 if silent, and finite scores, tensors {wanted}", decided)
        return decided

    return decide_and_check


def compute_convergence(weight: torch.Tensor, rule: Rule, wins: torch.Tensor) -> float | None:
    """Return the convergence of a convolution in an epoch (Kheradpisheh et al. 2018): 0 if all weights are at a bound.

    It is the mean of (w - lower)(upper - w) / (upper - lower)² over the features that have won; None if none has won.

    weight: (F, …). rule: by which it learns. wins: int64 (F,), how often each feature has won.
    """
    if not wins.any():
        return None
    plasticity = rule.plasticity()
    lower, upper = plasticity.lower, plasticity.upper
    learned = weight[(wins > 0).to(weight.device)]
    distances = (learned - lower) * (upper - learned) / (upper - lower) ** 2
    # numpy, because the order in which torch adds depends on the number of threads
    return float(distances.numpy(force=True).mean(dtype=np.float64))
