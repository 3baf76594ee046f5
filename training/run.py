"""A training run: it reads the data, trains, tests and draws, and writes all files into its own folder."""

import json
import time
from collections.abc import Iterable, Sequence
from contextlib import closing, suppress
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from datasets.augmentation import Augmentation, MovedCopies
from encoders import encode_chunks, name_unit
from engine.compiled import announcements
from engine.decision import Outcome
from engine.graph import LatencyMap
from engine.packed import PackedLatencies
from errors import InputError
from network_trainer import LatencyDataset, NetworkTrainer, Progress, Step
from report.activation_maps import save_activation_maps
from report.diagnosis import Diagnosis
from report.energy import measure_energy
from report.evaluation import Evaluation
from report.page import write_page, write_training_page
from report.report import MOVED_IMAGES, Report, write_report, write_results
from report.summary import summarize
from s1c1 import Encoder
from training.checkpoint import restore_state, save_checkpoint
from training.data import Data, choose_map_images
from training.features import count_inputs, describe_readout, find_stage, read_features
from training.log import RunLog, align_titles, estimate_left
from training.settings import TrainSettings
from training.stopping import Stopped, StopRequest, format_resume_command, handle_signals
from utils import describe_environment, get_peak_memory, write_json

PAGE_EVERY = 10.0  # seconds between two pages of a run that trains
NO_SCORES = "no stage of this network decides; see its convergence, figures and activation maps"


class Run:
    """A training run: it trains, logs, saves, tests and draws.

    It saves its progress in ``checkpoints/last.safetensors``, and the weights of the epoch with the best validation
    accuracy (without validation: of the last epoch) in ``checkpoints/best.safetensors``.

    Args:
        settings: the settings, with one number of epochs for each phase.
        folder: the folder of the run, which exists.
        progress: where the training begins.
        notes: lines that are logged first.
    """

    def __init__(
        self,
        settings: TrainSettings,
        folder: Path,
        model: NetworkTrainer,
        encoder: Encoder,
        data: Data,
        progress: Progress,
        notes: Sequence[str] = (),
    ):
        self.settings = settings
        self.folder = folder
        self.model = model
        self.encoder = encoder
        self.data = data
        self.progress = progress
        self.notes = (*data.set.notes, *notes)
        self.augmentation = settings.augment or Augmentation()
        self.stop = StopRequest()
        self.saved_at = time.monotonic()
        self.shown_at = 0.0
        self.left = ""
        self.info = {
            "flags": settings.to_dict(),
            "dataset": data.set.name,
            "class_names": list(data.set.class_names),
            "image_size": list(data.set.image_size),
            "fingerprint": data.set.fingerprint,
        }

    def train(self, is_resumed: bool = False) -> None:
        """Train from the progress on, test, and write all files. Raises Stopped after Ctrl-C or SIGTERM.

        is_resumed: whether the run was interrupted. If it was not, the progress is that of another run or empty.
        """
        start, until = time.perf_counter(), self.settings.until
        last = len(self.model.phases) - 1 if until is None else self.model.find_phase(until)
        self.log = RunLog(self.folder, self.settings.tensorboard)
        self.log.info(f"{'resuming' if is_resumed else 'run folder'}  {self.folder}")
        counts = [f"{count:,} {split}" for split, count in self.data.count_images().items()]
        self.log.info(f"{'  '.join(counts)} {name_unit(self.encoder.colours)}")
        for note in self.notes:
            self.log.info(note)
        if not is_resumed:
            self.log_history()
        self.save()  # with these settings
        size = self.data.set.train_images.shape[1:]
        self.log.board.log_network(summarize(self.model, *size[:2]))
        announcements[:] = [lambda: self.log.info("compiling the kernels of the encoder, at the first start only")]
        seconds = {"encoding": -time.perf_counter()}
        train = self.encode_split("train")
        needs_labels = any(phase.needs_labels for phase in list(self.model.phases)[: last + 1])
        validation = self.encode_split("validation") if needs_labels else None
        seconds["encoding"] += time.perf_counter()
        self.diagnosis = None
        if not self.settings.dry_run:
            self.diagnosis = Diagnosis(self.model, train)
            if self.data.set.colours and not is_resumed:
                self.log_diagnosis(self.diagnosis.diagnose_size())
        steps = self.model.steps(
            train,
            validation,
            self.settings.epochs,
            batch_size=self.settings.batch_size,
            seed=self.settings.seed,
            patience=self.settings.patience,
            progress=self.progress,
            copies=self.make_copies(),
        )
        with handle_signals(self.stop.note), closing(steps):
            for step in steps:
                if self.progress.phase > last:
                    break
                self.follow(step, validation)
        if until is not None:
            self.save()
            self._read_features(seconds)
            self.log.info(f"ended after {until}; train the rest with\n    {format_resume_command(self.folder)}")
            self.log.close()
            return
        del train, steps
        self.progress.test_reads += self.settings.test
        self.save()
        self.report(validation, seconds, start)
        self.log.close()

    def follow(self, step: Step, validation: LatencyDataset | None) -> None:
        """Log, draw and save after a step of the training. Raises Stopped if a signal has requested it."""
        board = self.log.board
        progress = self.progress
        outcome = Outcome(*progress.outcome) if step.kind == "batch" and step.learned.outcome else None
        if step.kind == "phase":
            self.log.close_bar()
            text = f"compiling the kernels of {step.phase.name}, at the first start only"
            announcements[:] = [lambda: self.log.info(text)]
        elif step.kind != "epoch":
            left = ""
            if step.kind == "batch":
                phases = [phase.name for phase in self.model.phases]
                left = self.left = estimate_left(progress, phases, self.settings.epochs, step.done / step.total)
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
        if self.stop.asked:
            self.log.close_bar()
            self.log.info(f"stopped and saved; continue with\n    {format_resume_command(self.folder)}")
            raise Stopped(self.stop.number, is_saved=True)

    def finish_epoch(self, step: Step) -> None:
        """Log an epoch, save activation maps if they are due, and save the weights if they are the best."""
        progress = self.progress
        phase = step.phase
        row = progress.history[-1]
        self.log.log_epoch(progress.history, self.titles()[progress.phase])
        self.log.board.log_stages(self.model, phase, step.wins, progress.history, self.encoder)
        if self.settings.map_every and row["step"] % self.settings.map_every == 0:
            names = list(self.model.stages)
            learned = names[: 1 + max(map(names.index, phase.stages))]
            self.save_maps(f"{row['step']:04}-{phase.name}-epoch{row['epoch']}", row["step"], learned)
        if progress.best and progress.best["step"] == row["step"]:
            self.save("best.safetensors", progress.best["state"])
        patience = self.settings.patience if phase.needs_labels else 0
        is_last = progress.epoch >= self.settings.epochs[progress.phase]
        if self.diagnosis and (is_last or (patience and progress.epochs_since_best >= patience)):
            self.log_diagnosis(self.diagnosis.diagnose(phase, row))
        if self.settings.figures and (not self.shown_at or time.monotonic() - self.shown_at >= PAGE_EVERY):
            title = f"{self.settings.title(dataset=self.data.set.name)}, epoch {row['epoch']} of {phase.name}"
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

    def log_history(self) -> None:
        """Log the epochs that the run takes over from another run."""
        counts = zip(self.titles(), self.settings.epochs, strict=True)
        titles = [title for title, count in counts for _ in range(count)]
        for place in range(len(self.progress.history)):
            self.log.log_epoch(self.progress.history[: place + 1], titles[place])

    def titles(self) -> list[str]:
        phases = [(phase.name, phase.main_rule.title) for phase in self.model.phases]
        return align_titles(phases, self.settings.epochs)

    def encode_split(self, split: str) -> LatencyDataset | None:
        """Return the encoded images of a split with their labels; None if there are no images."""
        images, labels, chosen = self.data.get_split(split)
        if not len(chosen):
            return None
        return LatencyDataset(self.encode_all(images, chosen, split), labels[chosen])

    def encode_all(self, images: np.ndarray, chosen: np.ndarray, split: str) -> LatencyMap:
        """Return the latencies of the images with the indices ``chosen``, packed if they are on a CPU."""
        shape = len(chosen), self.model.in_channels, *self.data.set.image_size
        if self.model.device.type == "cpu":
            latencies = PackedLatencies(shape[0], shape[1:], self.model.time_steps)
        else:
            latencies = torch.empty(shape, dtype=torch.uint8, device=self.model.device)
        title = f"encoding the {split} {name_unit(self.encoder.colours)}"
        for part, encoded in encode_chunks(self.encoder, images[chosen]):
            latencies[part] = encoded.to(self.model.device)
            self.log.show(title, part.stop, len(chosen))
        self.log.close_bar()
        return latencies

    def make_copies(self) -> MovedCopies | None:
        """Return the moved copies of the training images; None if the settings contain no augmentation."""
        if not self.augmentation:
            return None
        count = count_inputs(self.model, self.data)
        images = self.data.set.train_images[self.data.train]
        return MovedCopies(images, self.augmentation, self.settings.seed, self.encode, count, self.folder)

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
        labels = labels[chosen]
        indices = choose_map_images(self.settings, labels)
        latencies = self.encode(images[chosen[indices]])
        folder = self.folder / "maps" / name
        names = self.data.set.class_names
        show = partial(self.log.show, left=self.left)
        save_activation_maps(self.model, latencies, labels, indices, folder, names, stages, self.settings.figures, show)
        self.log.close_bar()
        self.log.board.log_pictures("maps", folder, step)

    def report(self, validation: LatencyDataset | None, seconds: dict[str, float], start: float) -> None:
        """Test the best and the last weights, and write scores, figures, maps and the page.

        seconds: {part of the run: seconds}, for results.json. start: time at which the process began to train.
        """
        (self.folder / "index.html").unlink(missing_ok=True)  # the run is finished when its page is there
        split = self.settings.scored_split
        images, labels, chosen = self.data.get_split(split)
        latencies = self.encode_all(images, chosen, split)
        images = images[chosen]
        labels = labels[chosen]
        indices = choose_map_images(self.settings, labels)
        evaluations, energy = self.evaluate(latencies, labels, validation)
        if self.progress.best is None:
            self.save("best.safetensors")
        self.left = ""
        if self.settings.figures:
            self.log.info("drawing the figures")
        report = self._make_report(images, labels, latencies, evaluations.get(f"{split}.best"))
        facts = {"diagnosis": self.progress.diagnosis, "energy": energy, **self._collect_facts(seconds)}
        maps = self.folder / "maps" / "end"
        draw = self.settings.figures
        lost = write_report(self.folder, report, evaluations, facts, maps, indices, draw, self.log.show)
        self.log.close_bar()
        self.log_all(lost)
        self._log_board(evaluations, maps)
        seconds["since the last start"] = time.perf_counter() - start
        memory = get_peak_memory()
        flags = self.info["flags"]  # without them, the run is not finished
        write_results(self.folder, evaluations, **facts, peak_memory_mb=memory, flags=flags)
        if draw:
            write_page(self.folder, report, maps)
        self._log_scores(evaluations, facts)

    def _make_report(
        self, images: np.ndarray, labels: np.ndarray, latencies: LatencyMap, evaluation: Evaluation | None
    ) -> Report:
        """Return the data of the figures and the page, from the images of the scored split."""
        best = self.progress.best
        weights = f"best epoch {best['epoch']} of {best['phase']}" if best else "last epoch"
        return Report(
            model=self.model,
            encoder=self.encoder,
            images=images,
            labels=labels,
            latencies=latencies,
            class_names=self.data.set.class_names,
            title=f"{self.settings.title(dataset=self.data.set.name)}, {weights}",
            split=self.settings.scored_split,
            evaluation=evaluation,
            history=self.progress.history,
            training_images=self.data.set.train_images[self.data.train[:MOVED_IMAGES]],
            augmentation=self.augmentation,
            seed=self.settings.seed,
        )

    def _collect_facts(self, seconds: dict[str, float]) -> dict[str, Any]:
        """Return what results.json contains beside the scores. ``seconds`` gets those of the phases and readouts."""
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
            **self._read_features(seconds),
            "seconds": seconds,
            "images": self.data.count_images(),
            "machine": {key: environment[key] for key in ("git_commit", "processor", "cores", "threads")},
        }

    def _read_features(self, seconds: dict[str, float]) -> dict[str, Any]:
        """Save the features and train the readout, if the settings request them. See ``read_features``."""
        stage = find_stage(self.settings, self.model)
        if stage is None:
            return {}
        self.log.info(f"features of {stage}")
        folder = self.folder / "features"
        show = self.log.show
        result = read_features(self.settings, self.model, self.encoder, self.data, stage, folder, seconds, show)
        self.log.close_bar()
        return result

    def _log_board(self, evaluations: dict[str, Evaluation], maps: Path) -> None:
        """Log scores, figures and the activation maps in ``maps`` to TensorBoard."""
        board = self.log.board
        step = len(self.progress.history) + 1
        board.log_pictures("maps", maps, step)
        for split in ("validation", "test"):
            if f"{split}.best" in evaluations:
                board.log_scores(split, evaluations[f"{split}.best"].metrics, step)
        board.log_pictures("report", self.folder / "figures", step)

    def _log_scores(self, evaluations: dict[str, Evaluation], facts: dict[str, Any]) -> None:
        """Log the scores, the time and the memory, and where everything is."""
        if best := facts.get("best_epoch"):
            self.log.info(f"best on the validation set: epoch {best['epoch']} of {best['phase']}")
        for key in ("validation.best", "validation.last", "test.best", "test.last"):
            if key in evaluations:
                split, which = key.split(".")
                text = evaluations[key].describe(name_unit(self.encoder.colours))
                self.log.info(f"{split:<10} {which}  {text}")
        if not evaluations:
            self.log.info(f"no scores: {NO_SCORES}")
        if "readout" in facts:
            self.log.info(f"readout    {describe_readout(facts['readout'])}")
        peak = get_peak_memory()
        memory = f", {peak:,.0f} MB at most" if peak else ""
        self.log.info(f"{facts['seconds']['since the last start']:.0f} s{memory}; see {self.folder}")

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
        best = self.progress.best
        last_state = {name: tensor.clone() for name, tensor in model.state_dict().items()}
        if best is not None:
            restore_state(model, best["state"])
        # the map below the stages that learned last is the same for the best and for the last weights
        maps = {model.input_name(model.phases[-1].stages[0]): None} if self.settings.test else {}
        energy = measure_energy(model, self.encoder, latencies, maps)
        held_out = validation and (validation.maps, validation.labels)
        scored = (maps, labels) if self.settings.test else held_out
        split = self.settings.scored_split
        evaluations = {f"{split}.best": Evaluation(model, *scored)}
        evaluations[f"{split}.last"] = evaluations[f"{split}.best"]
        if best is not None:
            if self.settings.test:
                evaluations["validation.best"] = Evaluation(model, *held_out)
            restore_state(model, last_state)
            evaluations[f"{split}.last"] = Evaluation(model, *scored)
            restore_state(model, best["state"])
        return evaluations, energy


def is_finished(folder: Path, figures: bool, epochs: tuple[int, ...] | None = None) -> bool:
    """Return whether the results of a run belong to its last epoch and, if it draws ``figures``, the page exists.

    Args:
        epochs: of the run; None: those in its args.json.
    """
    tested = read_epochs(folder / "results.json")
    is_drawn = not figures or (folder / "index.html").is_file()
    return is_drawn and tested is not None and tested == (epochs or read_epochs(folder / "args.json"))


def read_epochs(path: Path) -> tuple[int, ...] | None:
    """Read the epochs of a run from its args.json or results.json; None if the file is missing or damaged."""
    with suppress(OSError, ValueError, LookupError, TypeError, RecursionError):
        epochs = tuple(json.loads(path.read_text(encoding="utf-8"))["flags"]["epochs"])
        TrainSettings.flags()["epochs"].check(epochs)
        return epochs or None
    return None


def lengthen(folder: Path, epochs: tuple[int, ...]) -> None:
    """Save a larger number of epochs, so that the run is unfinished. Raises InputError for a damaged args.json."""
    path = folder / "args.json"
    if read_epochs(path) is None:
        raise InputError(f"{path} is missing or damaged; nothing was changed")
    record = json.loads(path.read_text(encoding="utf-8"))
    record["flags"]["epochs"] = epochs
    write_json(path, record)
