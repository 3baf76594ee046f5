"""A training run: its folder, its log, and its images, which it encodes.

The loop is ``learn`` in train.py, which also lists what a run records after each step (``training/recorders/``). The
test at the end is ``finish`` in ``training/testing.py``.
"""

import time
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import torch

from encoders import IMAGES, encode_chunks
from engine.progress import Progress
from engine.stages import INPUT
from imagesets.augmentation import MovedCopy, make_copies
from imagesets.data_set import list_first
from network_trainer import LatencyDataset
from report.diagnosis import Finding
from training.checkpoint import StateDict, collect_checkpoint, save_checkpoint
from training.log import RunLog
from training.plan import Plan
from training.stopping import Stopped, StopRequest


class Run:
    """A training run in its own folder.

    Args:
        plan: what is trained and written, and where the training begins. A run changes its model, record and progress.
        folder: the folder of the run, which exists.

    Attributes:
        validation: the encoded validation images; None before ``open``, and if they are not used.
        stop: whether a signal has requested to stop the run.
        seconds: {part of the run: seconds}.
    """

    def __init__(self, plan: Plan, folder: Path):
        self.plan = plan
        self.folder = folder
        self.log = RunLog(folder, plan.settings.tensorboard)
        self.stop = StopRequest()
        self.validation: LatencyDataset | None = None
        self.seconds: dict[str, float] = {}
        self.began = time.perf_counter()

    @property
    def progress(self) -> Progress:
        return self.plan.progress

    def log_start(self, begins: str) -> None:
        """Log what is trained, and on which images. begins: how the run begins."""
        plan = self.plan
        self.log.info(f"{begins}  {self.folder}")
        counts = [f"{count:,} {split}" for split, count in plan.splits.count_images().items()]
        data = plan.splits.data
        self.log.info(f"{'  '.join(counts)} images")
        names = data.class_names
        classes = "class" if len(names) == 1 else "classes"
        self.log.info(f"{IMAGES[data.colours]} in {len(names):,} {classes}: {list_first(names)}")
        if plan.splits.scored == "labelled":
            self.log.info("no image is held out, so nothing is tested")
        self.log.info_all([*data.notes, *plan.splits.note_copies(), *plan.notes])
        self.log.board.log_network()

    def open(self) -> LatencyDataset:
        """Encode the images, also the validation images if they are used. Returns the training images."""
        plan = self.plan
        self.log.announce("the input")
        start = time.perf_counter()
        train = self.encode_split("train")
        needs_labels = any(phase.needs_labels for phase in plan.model.phases)
        if needs_labels and len(plan.splits.indices["validation"]):
            self.validation = self.encode_split("validation")
        if train.labelled is not None and self.validation and plan.settings.epochs[-1]:
            self.log.info(f"the labels of all {len(self.validation):,} validation images choose the best epoch")
        self.seconds["encoding"] = time.perf_counter() - start
        return train

    # -----------------------------------------------------------------------------------------------------------------
    # Images

    def encode_split(self, split: str) -> LatencyDataset:
        """Return the encoded images of a split, packed on a CPU, with their labels. Raises Stopped after a signal."""
        chosen = self.plan.splits.get_split(split)
        count = len(chosen)
        model = self.plan.model
        for part, encoded in encode_chunks(self.plan.encoder, chosen.images):
            encoded = encoded.to(model.device)
            if not part.start:
                latencies = model.allocate(INPUT, encoded, count, model.device.type == "cpu")
            latencies[part] = encoded
            self.show(f"encoding the {split} images", part.stop, count)
        self.log.close_bar()
        return LatencyDataset(latencies, chosen.labels, chosen.labelled)

    def show(self, title: str, done: int, total: int) -> None:
        """Show the progress of what belongs to no batch, as ``RunLog.show``. Raises Stopped after a signal."""
        self.log.show(title, done, total)
        if self.stop.asked:
            raise Stopped(self.stop.number)

    def make_copies(self) -> list[MovedCopy]:
        """Return the moved copies of the training images that have labels; of all, if labels are spread."""
        plan = self.plan
        if not plan.augmentation:
            return []  # the images with labels are not copied
        images = plan.splits.get_split("train" if plan.settings.spread else "labelled").images
        return make_copies(images, plan.augmentation, plan.settings.seed, self.encode)

    def encode(self, images: np.ndarray) -> torch.Tensor:
        return self.plan.encoder.encode(images).to(self.plan.model.device)

    # -----------------------------------------------------------------------------------------------------------------
    # What the training and the test at its end record

    def save(self, name: str = "last.safetensors", state: StateDict | None = None) -> None:
        """Save a checkpoint of the network, with the weights ``state`` (None: the current weights)."""
        plan = self.plan
        of_last = (plan.progress, state, plan.kept) if name == "last.safetensors" else (None, state)
        path = self.folder / "checkpoints" / name
        save_checkpoint(collect_checkpoint(path, plan.model, plan.encoder, plan.record, *of_last))

    def log_findings(self, findings: Iterable[Finding]) -> None:
        """Log findings, and keep them and their advice for the end of the run.

        A finding that the run has logged before it was resumed is not logged again.
        """
        record = self.plan.record
        for finding in findings:
            row = [finding.stage, finding.measured, finding.usual]
            if row not in record.findings:
                self.log.info(finding.text)
                record.findings = [*record.findings, row]
            record.advice = {**record.advice, **finding.advice}
