"""A training run: it reads the data, trains, tests and draws, and writes all files into its own folder."""

import math
import os
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import torch

from datasets.augmentation import MovedCopies
from datasets.pictures import find_border
from encoders import encode_chunks, name_unit
from engine.compiled import announcements
from engine.decision import Outcome
from engine.graph import LatencyMap
from engine.stages import INPUT
from errors import InputError
from network_trainer import LatencyDataset, Progress, Step
from report.activation_maps import save_activation_maps
from report.diagnosis import Diagnosis, compare_splits
from report.energy import measure_energy
from report.evaluation import Evaluation
from report.page import write_page, write_training_page
from report.report import MOVED_IMAGES, Report, collect_results, write_report
from report.run_folder import RunFolder
from report.summary import summarize
from training.checkpoint import restore_state, save_checkpoint
from training.features import compare_with_pixels, read_features
from training.initial import describe_code, load_shared
from training.log import RunLog, estimate_left
from training.plan import Plan, count_neurons
from training.stopping import Stopped, StopRequest, handle_signals
from utils import describe_environment, get_peak_memory, try_lock, write_json

PAGE_EVERY = 10.0  # seconds between two pages of a run that trains
WAIT = 0.5  # seconds between two looks at a phase that another run trains
NO_SCORES = "no stage of this network decides; see its convergence, figures and activation maps"


class Run:
    """A training run: it trains, logs, saves, tests and draws.

    It saves its progress in ``checkpoints/last.safetensors``, and the weights of the epoch with the best validation
    accuracy (without validation: of the last epoch) in ``checkpoints/best.safetensors``.

    Args:
        plan: what is trained and written.
        folder: the folder of the run, which exists.
        progress: where the training begins.
        notes: lines that are logged first.
        shared: a folder for each of the first phases, which several runs share: the run takes over the phases that are
            in their folders. It trains the others, and saves them there.
        code: the versions of the code that have trained what the progress contains, see ``describe_code``.
    """

    def __init__(
        self,
        plan: Plan,
        folder: Path,
        progress: Progress,
        notes: Sequence[str] = (),
        shared: Sequence[Path] = (),
        code: Mapping[str, str | None] = MappingProxyType({}),
    ):
        self.plan = plan
        self.settings = plan.settings
        self.folder = folder
        self.model = plan.model
        self.encoder = plan.encoder
        self.data = plan.data
        self.progress = progress
        self.notes = (*self.data.set.notes, *notes)
        self.shared = shared
        self.stop = StopRequest()
        self.saved_at = time.monotonic()
        self.shown_at = -math.inf
        self.info = {
            "flags": plan.settings.to_dict(),
            "dataset": self.data.set.name,
            "class_names": list(self.data.set.class_names),
            "fingerprint": self.data.set.fingerprint,
            "code": {**code, **describe_code()},
        }
        if self.data.set.colours:
            self.info["border"] = find_border(self.data.set.train_images)

    def train(self, is_resumed: bool = False) -> None:
        """Train from the progress on, test, and write all files. Raises Stopped after Ctrl-C or SIGTERM.

        is_resumed: whether the run was interrupted. If it was not, the progress is that of another run or empty.
        """
        start = time.perf_counter()
        phases = list(self.model.phases)[: self.plan.last + 1]
        self.log = RunLog(self.folder, self.settings.tensorboard)
        self.log.info(f"{'resuming' if is_resumed else 'run folder'}  {self.folder}")
        counts = [f"{count:,} {split}" for split, count in self.data.count_images().items()]
        self.log.info(f"{'  '.join(counts)} {name_unit(self.encoder.colours)}")
        self.log_all(self.notes)
        if not is_resumed:
            self.log_history()
        self.save()  # with these settings
        self.log.board.log_network(summarize(self.model, *self.data.set.image_size[:2]))
        self.announce("the encoder")
        seconds = {"encoding": -time.perf_counter()}
        train = self.encode_split("train")
        needs_labels = any(phase.needs_labels for phase in phases)
        validation = self.encode_split("validation") if needs_labels else None
        seconds["encoding"] += time.perf_counter()
        self.diagnosis = None
        if not self.settings.dry_run:
            self.diagnosis = Diagnosis(self.model, self.encoder, train, self.settings.converge)
            if not is_resumed:
                self.log_diagnosis(self.diagnosis.diagnose_border(self.info.get("border", 0.0)))
        with handle_signals(self.stop.note):
            while self.progress.phase < len(phases):
                self.train_phase(train, validation)
        if self.settings.until:
            self.save()
            if self.plan.features:
                read_features(self.plan, self.folder, self.log)
            command = RunFolder(self.folder).resume_command
            self.log.info(f"ended after {phases[-1].name}; train the rest with\n    {command}")
        else:
            del train
            self.progress.test_reads += self.settings.scored_split == "test"
            self.save()
            self.report(validation, seconds, start)
        self.log.close()

    def train_phase(self, train: LatencyDataset, validation: LatencyDataset | None) -> None:
        """Train the current phase to its end, or take it over from a run that has trained it."""
        number = self.progress.phase
        with self.claim_phase(number) as file:
            if file and self.take_shared(file):
                return
            steps = self.model.steps(
                train,
                validation,
                self.settings.epochs,
                batch_size=self.settings.batch_size,
                seed=self.settings.seed,
                patience=self.settings.patience,
                converge=self.settings.converge,
                progress=self.progress,
                copies=self.make_copies(),
            )
            with closing(steps):
                for step in steps:
                    if self.progress.phase > number:
                        break
                    self.follow(step, validation)
            if file:
                save_checkpoint(file, self.model, self.encoder, self.info, self.progress)

    def take_shared(self, file: Path) -> bool:
        """Take over the current phase from a file. Returns whether the file is there, and contains this phase."""
        if not file.exists():
            return False
        number = self.progress.phase
        phase = self.model.phases[number]
        before = len(self.progress.history)
        try:
            taken = load_shared(file, self.plan, number)
        except InputError as error:
            self.log.info(f"{phase.name} is trained again: {error}")
            file.unlink()
            return False
        self.progress = replace(taken, diagnosis=self.progress.diagnosis)
        self.log.info(f"{phase.name}: from {file}, with the seconds of that training")
        self.log_history(before)
        if self.diagnosis and len(self.progress.history) > before:
            self.log_diagnosis(self.diagnosis.diagnose(phase, self.progress.history[-1]))
        return True

    @contextmanager
    def claim_phase(self, number: int) -> Iterator[Path | None]:
        """Lock a phase that several runs share, so that other runs wait until it is trained.

        Yields its checkpoint, which exists if the phase is trained; None if it is not shared.
        """
        if number >= len(self.shared):
            yield None
            return
        folder = self.shared[number]
        folder.mkdir(parents=True, exist_ok=True)
        while (descriptor := try_lock(folder)) is None:
            self.stop_if_asked()
            time.sleep(WAIT)
        try:
            yield folder / "phase.safetensors"
        finally:
            os.close(descriptor)

    def follow(self, step: Step, validation: LatencyDataset | None) -> None:
        """Log, draw and save after a step of the training. Raises Stopped if a signal has requested it."""
        board = self.log.board
        progress = self.progress
        outcome = Outcome(*progress.outcome) if step.kind == "batch" and step.learned.outcome else None
        if step.kind == "phase":
            self.log.close_bar()
            self.announce(step.phase.name)
        elif step.kind != "epoch":
            left = ""
            if step.kind == "batch":
                plan = self.settings.epochs, self.settings.converge
                left = estimate_left(progress, self.model.phases, *plan, step.done / step.total)
            self.log.show(step.title, step.done, step.total, outcome, left)
        if outcome:
            board.log_batch(step.learned.outcome, step.done, step.total, progress.history)
        elif step.kind == "validation":
            board.log_validation(validation.labels, step.decisions, progress.history, self.info["class_names"])
        elif step.kind == "epoch":
            self.finish_epoch(step)
        is_due = step.kind == "batch" and time.monotonic() - self.saved_at >= self.settings.save_every
        if self.stop.asked or is_due or step.kind == "epoch":
            self.log.flush()  # what a checkpoint counts as done is on the disk before the checkpoint
            self.save()
        self.stop_if_asked()

    def announce(self, what: str) -> None:
        """Log, before the next compilation, what it is for."""
        announcements[:] = [lambda: self.log.info(f"compiling the kernels of {what}, at the first start only")]

    def stop_if_asked(self) -> None:
        """Raise Stopped if a signal has requested it. The run is saved."""
        if self.stop.asked:
            self.log.close_bar()
            self.log.info(f"stopped and saved; continue with\n    {RunFolder(self.folder).resume_command}")
            raise Stopped(self.stop.number, is_saved=True)

    def finish_epoch(self, step: Step) -> None:
        """Log an epoch, save activation maps if they are due, and save the weights if they are the best."""
        progress = self.progress
        phase = step.phase
        row = progress.history[-1]
        self.log_history(len(progress.history) - 1)
        self.log.board.log_stages(self.model, phase, step.wins, progress.history, self.encoder)
        if self.settings.map_every and row["step"] % self.settings.map_every == 0:
            names = list(self.model.declaration)
            learned = names[: 1 + max(map(names.index, phase.stages))]
            self.save_maps(f"{row['step']:04}-{phase.name}-epoch{row['epoch']}", row["step"], learned)
        if progress.best and progress.best["step"] == row["step"]:
            self.save("best.safetensors", progress.best["state"])
        patience = self.settings.patience if phase.needs_labels else 0
        is_last = progress.epoch >= self.count_epochs(row)
        gave_up = patience and progress.epochs_since_best >= patience
        if gave_up and not is_last:
            self.log.info(f"{phase.name} ends after epoch {progress.epoch}, by --patience {patience}")
        if self.diagnosis and (is_last or gave_up):
            self.log_diagnosis(self.diagnosis.diagnose(phase, row))
        if self.settings.figures and time.monotonic() - self.shown_at >= PAGE_EVERY:
            title = f"{self.plan.title}, epoch {row['epoch']} of {phase.name}"
            write_training_page(self.folder, self.model, self.encoder, title)
            self.shown_at = time.monotonic()

    def log_diagnosis(self, texts: Iterable[str]) -> None:
        """Log the texts of the diagnosis, and keep them for results.json."""
        new = list(texts)
        self.progress.diagnosis += new
        self.log_all(new)

    def log_all(self, texts: Iterable[str]) -> None:
        for text in texts:
            self.log.info(text)

    def log_history(self, first: int = 0) -> None:
        """Log the epochs of the progress from the number ``first`` on."""
        history = self.progress.history
        for place in range(first, len(history)):
            row = history[place]
            number = self.model.find_phase(row["phase"])
            rule = self.model.phases[number].main_rule.title
            title = f"{row['phase']} {rule:<6} epoch {row['epoch']:>3}/{self.count_epochs(row)}"
            self.log.log_epoch(history[: place + 1], title)

    def count_epochs(self, row: dict) -> int:
        """Return the number of epochs of the phase of a row of the history, as far as this epoch decides it."""
        number = self.model.find_phase(row["phase"])
        return self.model.phases[number].count_epochs(self.settings.epochs[number], self.settings.converge, row)

    def encode_split(self, split: str) -> LatencyDataset | None:
        """Return the encoded images of a split, packed on a CPU, with their labels; None if there are no images."""
        images, labels, chosen = self.data.get_split(split)
        count = len(chosen)
        if not count:
            return None
        title = f"encoding the {split} {name_unit(self.encoder.colours)}"
        device = self.model.device
        latencies = None
        for part, encoded in encode_chunks(self.encoder, images[chosen]):
            if latencies is None:
                latencies = self.model.allocate(INPUT, encoded.to(device), count, device.type == "cpu")
            latencies[part] = encoded.to(device)
            self.log.show(title, part.stop, count)
        self.log.close_bar()
        return LatencyDataset(latencies, labels[chosen])

    def make_copies(self) -> MovedCopies | None:
        """Return the moved copies of the training images; None without an augmentation."""
        if not self.plan.augmentation:
            return None
        count = count_neurons(self.model, self.model.input_name(self.model.decision), self.data.set.image_size)
        images = self.data.set.train_images[self.data.splits["train"]]
        return MovedCopies(images, self.plan.augmentation, self.settings.seed, self.encode, count, self.folder)

    def encode(self, images: np.ndarray) -> torch.Tensor:
        return self.encoder.encode(images).to(self.model.device)

    def save(self, name: str = "last.safetensors", state: dict[str, torch.Tensor] | None = None) -> None:
        """Save a checkpoint of the network, with the weights ``state`` (None: the current weights)."""
        progress = self.progress if name == "last.safetensors" else None
        path = self.folder / "checkpoints" / name
        save_checkpoint(path, self.model, self.encoder, self.info, progress, state)
        self.saved_at = time.monotonic()

    def save_maps(self, name: str, step: int, stages: Sequence[str]) -> None:
        """Save the requested activation maps of these stages in ``maps/name``, and log them."""
        images, labels, chosen = self.data.get_split(self.settings.scored_split)
        indices = self.plan.map_images
        latencies = self.encode(images[chosen[indices]])
        folder = self.folder / "maps" / name
        names = self.data.set.class_names
        save_activation_maps(
            self.model, latencies, labels[chosen], indices, folder, names, stages, self.settings.figures
        )
        self.log.board.log_pictures("maps", folder, step)

    def report(self, validation: LatencyDataset | None, seconds: dict[str, float], start: float) -> None:
        """Test the best and the last weights, and write scores, figures, maps and the page; then train the readout.

        seconds: {part of the run: seconds}, for results.json. start: time at which the process began to train.
        """
        settings = self.settings
        split = settings.scored_split
        best = self.progress.best
        data = self.data
        images, labels, chosen = data.get_split(split)
        train = data.splits["train"]
        latencies = self.encode_split(split).maps[INPUT]
        evaluations, energy = self.evaluate(latencies, labels[chosen], validation)
        if best is None:
            self.save("best.safetensors")
        if settings.figures and self.diagnosis and data.set.name != "mnist":
            self.log_diagnosis(compare_with_pixels(self.plan, best))
        if self.diagnosis and "validation.best" in evaluations and split == "test":
            pair = evaluations["validation.best"], evaluations["test.best"]
            self.log_diagnosis(compare_splits(*(evaluation.metrics["accuracy"] for evaluation in pair)))
        weights = f"best epoch {best['epoch']} of {best['phase']}" if best else "last epoch"
        report = Report(
            model=self.model,
            encoder=self.encoder,
            images=images[chosen],
            labels=labels[chosen],
            latencies=latencies,
            class_names=data.set.class_names,
            title=f"{self.plan.title}, {weights}",
            split=split,
            evaluation=evaluations.get(f"{split}.best"),
            history=self.progress.history,
            training_images=data.set.train_images[train[:: math.ceil(len(train) / MOVED_IMAGES)]],
            augmentation=self.plan.augmentation,
            seed=settings.seed,
        )
        facts = {"diagnosis": self.progress.diagnosis, "energy": energy, **self._collect_facts(seconds)}
        maps = self.folder / "maps" / "end"
        if settings.figures:
            self.log.info("drawing the figures")
        lost = write_report(self.folder, report, evaluations, facts, maps, self.plan.map_images, settings.figures)
        self.log_all(lost)
        step = len(self.progress.history) + 1
        self._log_scores(evaluations, step)
        self.log.board.log_pictures("maps", maps, step)
        self.log.board.log_pictures("report", self.folder / "figures", step)
        if self.plan.features:
            if settings.figures:
                write_page(self.folder, report, maps)  # a readout may take long
            facts |= read_features(self.plan, self.folder, self.log)
        seconds["since the last start"] = time.perf_counter() - start
        peak = get_peak_memory()
        facts |= {"peak_memory_mb": peak, "flags": self.info["flags"]}
        results = collect_results(evaluations, facts)
        if settings.figures:
            write_page(self.folder, report, maps, results)
        write_json(self.folder / "results.json", results)  # with flags: from now on, the run is finished
        memory = f", {peak:,.0f} MB at most" if peak else ""
        self.log.info(f"{seconds['since the last start']:.0f} s{memory}; see {self.folder}")
        if settings.dry_run:
            self.log.info("a dry run: accuracies of a few images are no results")

    def _collect_facts(self, seconds: dict[str, float]) -> dict[str, Any]:
        """Return what results.json contains beside the scores. ``seconds`` gets those of the phases."""
        if self.model.decision is None:
            scored = {"scores": NO_SCORES}
        else:
            best = dict(self.progress.best or {})
            best.pop("state", None)
            scored = {"best_epoch": best or None, "test_reads": self.progress.test_reads}
        seconds |= {f"phase {name}": value for name, value in self.progress.phase_seconds.items()}
        environment = describe_environment()
        return {
            **scored,
            "seconds": seconds,
            "images": self.data.count_images(),
            "machine": {key: environment[key] for key in ("git_commit", "processor", "cores", "threads")},
        }

    def _log_scores(self, evaluations: dict[str, Evaluation], step: int) -> None:
        """Log the scores. Those of a dry run, which are of a few images, are not printed."""
        if best := self.progress.best:
            self.log.info(f"best on the validation set: epoch {best['epoch']} of {best['phase']}")
        for key, evaluation in evaluations.items():
            split, which = key.split(".")
            if not self.settings.dry_run:
                self.log.info(f"{split:<10} {which}  {evaluation.describe(name_unit(self.encoder.colours))}")
            if which == "best":
                self.log.board.log_scores(split, evaluation.metrics, step)
        if not evaluations:
            self.log.info(f"no scores: {NO_SCORES}")

    def evaluate(
        self, latencies: LatencyMap, labels: np.ndarray, validation: LatencyDataset | None
    ) -> tuple[dict[str, Evaluation], dict[str, Any]]:
        """Evaluate the best and the last weights. Afterwards the network has the best weights.

        Returns {"test.last", "test.best" and, if there are validation images, "validation.best"}, and what
        ``measure_energy`` returns. If the test images are not read: {"validation.last", "validation.best"}. Without a
        decision stage: {}.
        """
        model = self.model
        if model.decision is None:
            return {}, measure_energy(model, self.encoder, latencies)
        split = self.settings.scored_split
        best = self.progress.best
        phase = model.phases[-1]
        last_state = {name: tensor.clone() for name, tensor in model.state_dict().items()}
        if best is not None:
            restore_state(model, best["state"])
        maps = {model.input_name(phase.stages[0]): None}  # the same for the best and for the last weights
        energy = measure_energy(model, self.encoder, latencies, maps)
        evaluations = {f"{split}.best": Evaluation(model, maps, labels)}
        evaluations[f"{split}.last"] = evaluations[f"{split}.best"]
        if best is not None:
            if best["phase"] != phase.name:  # a later phase has trained stages below
                maps = latencies
                validation = self.encode_split("validation")
            if split == "test":
                evaluations["validation.best"] = Evaluation(model, validation.maps, validation.labels)
            restore_state(model, last_state)
            evaluations[f"{split}.last"] = Evaluation(model, maps, labels)
            restore_state(model, best["state"])
        return evaluations, energy
