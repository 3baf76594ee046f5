"""The TensorBoard logs of a run: several of TensorBoard's runs, so that training and validation share a chart.

* ``train`` and ``validation``: the scores after each epoch with labels; a step is an epoch with labels.
* ``train_within_epochs``: the outcomes of batches; a step is an image of an epoch with labels.
* ``emergence/LAYER``: the filters of a layer that reads the encoder, at moments of its first epoch; a step is an image.
* The folder itself: everything else; a step is an epoch of any phase. The end of the run is one step after the last
  epoch.

TensorBoard sorts charts and images by their tags, which are chosen so that accuracy and loss come first, and figures
and filters before activation maps.
"""

import time
from collections.abc import Mapping
from pathlib import Path
from textwrap import indent

import numpy as np
from PIL import Image
from torch.utils.tensorboard import SummaryWriter

from engine.decision import Outcome
from engine.encoder import Encoder
from engine.layers import Layer
from engine.phases import Phase
from engine.progress import COLUMNS, Row
from network_trainer import NetworkTrainer, compute_convergence
from report.sheets import draw_filters
from run_folder import read_text

EVENT_FILES = "events.out.tfevents.*"
POINTS = 10  # the largest number of points of a curve within an epoch


class Board:
    """The TensorBoard logs in the folder of a run.

    The first event of each TensorBoard run purges all events of an interrupted run at this step and later, so that no
    curve goes back after a resume.
    """

    def __init__(self, folder: Path):
        self.folder = folder
        self._writers: dict[str, SummaryWriter] = {}

    def get_writer(self, run: str, step: int) -> SummaryWriter:
        """Return the writer of a TensorBoard run, "" for the folder itself. ``step``: the step of the first event."""
        if run not in self._writers:
            wait_for_later_name(self.folder / run)
            self._writers[run] = SummaryWriter(self.folder / run, purge_step=step)
        return self._writers[run]

    def log_scalars(self, run: str, scalars: Mapping[str, float | None], step: int) -> None:
        """Log {tag: value}, except for values that are None."""
        for tag, value in scalars.items():
            if value is not None:
                self.get_writer(run, step).add_scalar(tag, value, step)

    def log_network(self) -> None:
        """Log the table of the stages in summary.txt, unless it was logged before."""
        if not any(self.folder.glob(EVENT_FILES)):
            table = indent(read_text(self.folder / "summary.txt"), "    ")
            self.get_writer("", 1).add_text("network", table, 0)

    def log_batch(self, outcome: Outcome, done: int, total: int, history: list[Row]) -> None:
        """Log the outcome of a batch, at most ``POINTS`` times in an epoch.

        done, total: number of images of the epoch that were learned, including this batch, and of all its images.
        """
        before = done - sum(outcome)
        if done * POINTS // total > before * POINTS // total:
            step = count_epochs(history) * total + done
            scalars = {"accuracy/by_images": outcome.fraction("correct"), "loss/by_images": outcome.fraction("wrong")}
            self.log_scalars("train_within_epochs", scalars, step)

    def log_epoch(self, history: list[Row]) -> None:
        """Log the columns of the last epoch of the history that have a tag."""
        for name, column in COLUMNS.items():
            if column.tag:
                run, tag = column.tag
                self.log_scalars(run, {tag: history[-1][name]}, count_epochs(history) if run else len(history))

    def log_stages(self, model: NetworkTrainer, phase: Phase, wins: dict, history: list[Row], encoder) -> None:
        """Log convergence, rates, winners and weights of each convolution that learned in the last epoch.

        wins: {name of a layer: how often each feature won in this epoch, int64 (F,)}.
        """
        run = ""
        step = len(history)
        if phase.needs_labels:
            run = "train"
            step = count_epochs(history)
        writer = self.get_writer(run, step)
        for layer_name, layer in model.named_layers(phase.stages):
            tag = f"stages/{layer_name}"
            rule = phase.rules[layer_name]
            won = wins[layer_name]
            scalars = {f"{tag}/convergence": compute_convergence(layer.weight, rule, won)}
            rates = layer.rates(rule).reshape(-1, 2).tolist()
            for row, (ltp, ltd) in zip(rule.rows, rates, strict=True):
                name = f"{tag}/{row}".rstrip("/")
                scalars[f"{name}/ltp_rate"] = ltp
                scalars[f"{name}/ltd_rate"] = ltd
            if won.any():
                scalars[f"{tag}/dead_features"] = int((won == 0).sum())
                writer.add_histogram(f"{tag}/wins_per_feature", won, step)
            self.log_scalars(run, scalars, step)
            writer.add_histogram(f"{tag}/weights", layer.weight.flatten(), step)
            if layer_name == next(model.named_layers())[0] and not layer.stage.sees_whole_maps:
                self.log_filters(run, layer_name, layer, step, encoder)

    def log_filters(self, run: str, layer_name: str, layer: Layer, step: int, encoder: Encoder) -> None:
        """Log the filters of a layer that reads the encoder."""
        weight = layer.weight.numpy(force=True)
        figure = draw_filters(weight, f"Filters of {layer_name}", encoder)
        self.get_writer(run, step).add_image(f"filters/{layer_name}", np.asarray(figure), step, dataformats="HWC")

    def log_pictures(self, name: str, folder: Path, step: int) -> None:
        """Log the PNG files in a folder and its subfolders, with tags that begin with ``name``."""
        for path in sorted(folder.rglob("*.png")):
            with Image.open(path) as picture:
                pixels = np.asarray(picture.convert("RGB"))
            tag = f"{name}/{path.relative_to(folder).with_suffix('').as_posix()}"
            self.get_writer("", step).add_image(tag, pixels, step, dataformats="HWC")

    def log_scores(self, split: str, metrics: dict, step: int) -> None:
        """Log the scores of an evaluation of a split ("test", …)."""
        names = "accuracy", "loss", "silent", "f1_macro", "roc_auc_macro"
        self.log_scalars("", {f"{split}/{name}": metrics[name] for name in names}, step)

    def flush(self) -> None:
        for writer in self._writers.values():
            writer.flush()

    def close(self) -> None:
        for writer in self._writers.values():
            writer.close()


def wait_for_later_name(folder: Path) -> None:
    """Wait until the name of a new event file sorts after those in the folder.

    TensorBoard reads event files in the order of their names, which begin with the second in which they were opened.
    """
    opened = [path.name.split(".")[3] for path in folder.glob(EVENT_FILES)]
    while f"{int(time.time()):010}" in opened:
        time.sleep(0.05)


def count_epochs(history: list[Row]) -> int:
    """Return the number of epochs with labels, the steps of ``train`` and ``validation``."""
    return sum(row.has_labels for row in history)
