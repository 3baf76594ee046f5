"""A training run: it encodes the images, and logs, draws and saves after each step of the training.

The loop is ``learn`` in train.py. The test at its end is ``finish`` in ``training/testing.py``.
"""

import math
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import torch

from encoders import encode_chunks
from engine.compiled import announcements
from engine.decision import Outcome
from engine.phases import Phase
from engine.progress import BatchStep, ChunkStep, EndStep, EpochStep, PhaseStep, Row, Step
from engine.stages import INPUT
from imagesets.augmentation import MovedCopy, make_copies
from imagesets.data_set import list_classes
from network_trainer import LatencyDataset
from report.activation_maps import save_activation_maps
from report.channels import name_channels
from report.diagnosis import Diagnosis, Finding, join_advice
from report.emergence import copy_features, is_moment
from report.page import PAGE, write_training_page
from report.report import compute_values, list_values
from report.run_folder import RunFolder
from training.checkpoint import collect_checkpoint, save_checkpoint
from training.log import Pace, RunLog, estimate_left
from training.plan import Plan
from training.stopping import Stopped, StopRequest, handle_signals
from utils import write_json

PAGE_EVERY = 10.0  # seconds between two pages of a run that trains


class Run:
    """The record of a training run in its own folder: its log, checkpoints, scores, figures and activation maps.

    ``open`` it, then ``record`` each step of the training. It saves its progress in ``checkpoints/last.safetensors``,
    and the weights of the epoch with the best validation accuracy (without validation: of the last epoch) in
    ``checkpoints/best.safetensors``.

    Args:
        plan: what is trained and written, and where the training begins.
        folder: the folder of the run, which exists.
        is_resumed: whether the run was interrupted. If it was not, the progress is empty.

    Attributes:
        known: the record of the run, which its checkpoints contain.
        validation: the encoded validation images; None before ``open``, and if they are not used.
        diagnosis: of the stages; None before ``open``, and in a dry run.
        seconds: {part of the run: seconds}.
    """

    def __init__(self, plan: Plan, folder: Path, is_resumed: bool = False):
        self.plan = plan
        self.folder = folder
        self.progress = plan.progress
        self.known = plan.record
        self.log = RunLog(folder, plan.settings.tensorboard)
        self.is_resumed = is_resumed
        self.stop = StopRequest()
        self.pace = Pace()
        self.validation = None
        self.diagnosis = None
        self.seconds = {}
        self.began = time.perf_counter()
        self.saved_at = time.monotonic()
        self.shown_at = -math.inf

    # -----------------------------------------------------------------------------------------------------------------
    # Training

    @contextmanager
    def open(self) -> Iterator[tuple[LatencyDataset, LatencyDataset | None]]:
        """Encode the images. Yields the training images, and the validation images if they are used.

        During the context, Ctrl-C and SIGTERM stop the run after its batch: ``record`` raises Stopped.
        """
        plan = self.plan
        self.log.info(f"{'resuming' if self.is_resumed else 'run folder'}  {self.folder}")
        counts = [f"{count:,} {split}" for split, count in plan.splits.count_images().items()]
        self.log.info(f"{'  '.join(counts)} images")
        names = plan.splits.data.class_names
        self.log.info(f"{len(names):,} {'class' if len(names) == 1 else 'classes'}: {list_classes(names)}")
        self.log.info_all([*plan.splits.data.notes, *plan.splits.note_copies(), *plan.notes])
        self.log.board.log_network()
        self.announce("the input")
        start = time.perf_counter()
        train = self.encode_split("train")
        needs_labels = any(phase.needs_labels for phase in plan.model.phases)
        self.validation = self.encode_split("validation") if needs_labels else None
        if train.labelled is not None and self.validation and plan.settings.epochs[-1]:
            self.log.info(f"the labels of all {len(self.validation):,} validation images choose the best epoch")
        self.seconds["encoding"] = time.perf_counter() - start
        if not plan.settings.dry_run:
            self.diagnosis = Diagnosis(plan.model, plan.encoder, train, plan.lengths)
            if not self.known.diagnosis:  # also after a kill before the first checkpoint that would contain it
                self.log_diagnosis(self.diagnosis.diagnose_border(self.known.border or 0.0))
        with handle_signals(self.stop.note):
            yield train, self.validation

    def record(self, step: Step) -> None:
        """Log, draw and save after a step of the training. Raises Stopped if a signal has requested it."""
        board = self.log.board
        progress = self.progress
        settings = self.plan.settings
        match step:
            case PhaseStep():
                self.log.close_bar()
                self.announce(step.phase.name)
                self.pace = Pace()
                if progress.batch == 0:
                    self.keep_moments(step.phase, 0)
            case ChunkStep():
                self.log.show(step.title, step.done, step.total)
            case BatchStep():
                outcome = Outcome(*progress.outcome) if step.learned.outcome else None
                fraction = step.done / step.total
                self.pace.time_batch(progress, fraction)
                count = step.length - progress.epoch - fraction
                left = estimate_left(progress, self.plan.lengths, self.pace.seconds, count)
                self.log.show(step.title, step.done, step.total, outcome, left)
                if outcome:
                    board.log_batch(step.learned.outcome, step.done, step.total, progress.history)
                self.keep_moments(step.phase, step.done)
            case EpochStep():
                self.pace.time_epoch(progress.history[-1].seconds)
                self.finish_epoch(step)
            case EndStep():
                phase = step.phase
                row = progress.history[-1]
                if step.ended_by != "epochs":
                    reason = settings.describe(step.ended_by)
                    self.log.info(f"{phase.name} ends after epoch {row.epoch}, by {reason}")
                self.diagnose(phase, row)
        is_end = isinstance(step, EpochStep | EndStep)
        is_due = isinstance(step, BatchStep) and time.monotonic() - self.saved_at >= settings.save_every
        if self.stop.asked or is_due or is_end:
            self.log.flush()  # what a checkpoint counts as done is on the disk before the checkpoint
            self.save()
        if self.stop.asked:
            self.log.close_bar()
            self.log.info(f"stopped and saved; continue with\n    {RunFolder(self.folder).resume_command}")
            raise Stopped(self.stop.number, is_saved=True)

    def keep_moments(self, phase: Phase, images: int) -> None:
        """Keep the features of the layers that learn, if this is a moment of the phase's first epoch, for the figures.

        images: the number of images that the phase has seen.
        """
        progress = self.progress
        if progress.epoch or not self.plan.settings.figures:
            return
        model = self.plan.model
        for name in phase.stages:
            for layer_name, layer in model.named_layers([name]):
                kept = progress.moments.get(layer_name, {})
                if not layer.stage.fires or not is_moment(images, kept):
                    continue
                progress.moments[layer_name] = {**kept, images: copy_features(layer)}
                if INPUT in model.inputs_of(name):
                    self.log.board.log_filters(f"emergence/{layer_name}", layer_name, layer, images, self.plan.encoder)

    def finish_epoch(self, step: EpochStep) -> None:
        """Log an epoch, save activation maps if they are due, and save the weights if they are the best."""
        progress = self.progress
        phase = step.phase
        model = self.plan.model
        settings = self.plan.settings
        row = progress.history[-1]
        count = self.plan.lengths.count(progress.phase, progress.history[-row.epoch :])
        title = f"{phase.name} {phase.main_rule.title:<6} epoch {row.epoch:>3}/{count}"
        self.log.log_epoch(progress.history, title)
        values, lost = compute_values(model, row)
        progress.history[-1] = replace(row, values=values)
        self.log.info_all(lost)
        if values:
            content = list_values(progress.history)
            self.log.write("values.json", partial(write_json, self.folder / "values.json", content))
        self.log.board.log_stages(model, phase, step.wins, progress.history, self.plan.encoder)
        if settings.map_every and row.step % settings.map_every == 0:
            names = list(model.declaration)
            learned = names[: 1 + max(map(names.index, phase.stages))]
            self.save_maps(f"{row.step:04}-{phase.name}-epoch{row.epoch}", row.step, learned)
        if progress.best and progress.best["step"] == row.step:
            self.save("best.safetensors", progress.best["state"])
        if settings.figures and time.monotonic() - self.shown_at >= PAGE_EVERY:
            title = f"{self.plan.title}, epoch {row.epoch} of {phase.name}"
            self.log.write(PAGE, partial(write_training_page, self.folder, model, title))
            self.shown_at = time.monotonic()

    # -----------------------------------------------------------------------------------------------------------------
    # The log

    def announce(self, what: str) -> None:
        """Log, before the next compilation, what it is for."""
        announcements[:] = [lambda: self.log.info(f"compiling the kernels of {what}, at the first start only")]

    def diagnose(self, phase: Phase, row: Row) -> None:
        """Log what is wrong after a phase, and what can be tried. ``row``: of its last epoch in the history."""
        if self.diagnosis:
            before = self.known
            self.known = replace(before, earlier={"diagnosis": before.diagnosis, "advice": before.advice})
            self.log_diagnosis(self.diagnosis.diagnose(phase, row))
            if self.known.advice != before.advice:
                self.log.info_all(f"up to now: {advice.text}" for advice in self.list_advice())

    def log_diagnosis(self, findings: Iterable[Finding]) -> None:
        """Log the texts of the diagnosis, and keep them for results.json, and their advice for the end of the run."""
        texts = []
        advice = dict(self.known.advice)
        for finding in findings:
            texts.append(finding.text)
            advice |= finding.advice
        self.known = replace(self.known, diagnosis=[*self.known.diagnosis, *texts], advice=advice)
        self.log.info_all(texts)

    def list_advice(self) -> list[Finding]:
        """Return the one finding that contains all advice on --epochs, --converge and --set, or []."""
        flags = join_advice(self.known.advice, self.plan.lengths, self.plan.settings.set)
        return [Finding(f"try {flags}")] if flags else []

    # -----------------------------------------------------------------------------------------------------------------
    # Images, checkpoints and activation maps

    def encode_split(self, split: str) -> LatencyDataset | None:
        """Return the encoded images of a split, packed on a CPU, with their labels; None if there are no images."""
        chosen = self.plan.splits.get_split(split)
        count = len(chosen)
        if not count:
            return None
        encoder = self.plan.encoder
        title = f"encoding the {split} images"
        device = self.plan.model.device
        latencies = None
        for part, encoded in encode_chunks(encoder, chosen.images):
            if latencies is None:
                latencies = self.plan.model.allocate(INPUT, encoded.to(device), count, device.type == "cpu")
            latencies[part] = encoded.to(device)
            self.log.show(title, part.stop, count)
        self.log.close_bar()
        return LatencyDataset(latencies, chosen.labels, chosen.labelled)

    def make_copies(self) -> list[MovedCopy]:
        """Return the moved copies of the training images that have labels."""
        plan = self.plan
        if not plan.augmentation:
            return []  # the images with labels are not copied
        return make_copies(plan.splits.get_split("labelled").images, plan.augmentation, plan.settings.seed, self.encode)

    def encode(self, images: np.ndarray) -> torch.Tensor:
        return self.plan.encoder.encode(images).to(self.plan.model.device)

    def save(self, name: str = "last.safetensors", state: dict[str, torch.Tensor] | None = None) -> None:
        """Save a checkpoint of the network, with the weights ``state`` (None: the current weights)."""
        progress = self.progress if name == "last.safetensors" else None
        path = self.folder / "checkpoints" / name
        plan = self.plan
        save_checkpoint(collect_checkpoint(path, plan.model, plan.encoder, self.known, progress, state))
        self.saved_at = time.monotonic()

    def save_maps(self, name: str, step: int, stages: Sequence[str]) -> None:
        """Save the requested activation maps of these stages in ``maps/name``, and log them."""
        plan = self.plan
        scored = plan.splits.get_split(plan.settings.scored_split)
        indices = plan.map_images
        latencies = self.encode(scored[indices].images)
        folder = self.folder / "maps" / name
        names = plan.splits.data.class_names
        figures = plan.settings.figures
        save_activation_maps(
            plan.model, latencies, scored.labels, indices, folder, names, stages, figures, name_channels(plan.encoder)
        )
        self.log.board.log_pictures("maps", folder, step)
