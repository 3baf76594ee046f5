"""The run log: what a run tells, on the console, in metrics.csv and to TensorBoard. All of it may be silent."""

import csv
import sys

from tqdm import tqdm

from utils import write_atomically

# One row of metrics.csv: an epoch of a phase. Fractions are of the images of the epoch or of the validation set.
COLUMNS = (
    "step", "phase", "rule", "epoch", "images",
    "train_accuracy", "train_loss", "train_silent", "val_accuracy", "val_loss", "val_silent",
    "convergence", "winners_per_image", "dead_features", "ltp_rate", "ltd_rate", "seconds",
)  # fmt: skip


class RunLog:
    """``folder``: of the run, None writes no files. ``step``: epochs that an earlier part of the run has logged."""

    def __init__(self, folder=None, tensorboard=False, step=0, quiet=False):
        self.folder, self.quiet = folder, quiet
        self.live = sys.stdout.isatty() and not quiet
        self.writer = None
        if tensorboard and folder is not None:
            from torch.utils.tensorboard import SummaryWriter

            # What an interrupted run wrote after its last checkpoint is dropped: no curve doubles back.
            self.writer = SummaryWriter(str(folder), purge_step=step + 1)
        self._bar = None

    def say(self, text):
        if not self.quiet:
            tqdm.write(text) if self.live else print(text, flush=True)

    def bar(self, title, total, done=0):
        """Start a progress bar over images; it replaces the last one. Only in a terminal."""
        self.end_bar()
        self._bar = tqdm(
            total=total, initial=done, desc=title, unit=" images", disable=not self.live, leave=False, file=sys.stdout,
            dynamic_ncols=True, bar_format="{desc} {percentage:3.0f}% |{bar}| {n_fmt}/{total_fmt} "
            "[{remaining} left, {rate_fmt}]{postfix}",
        )  # fmt: skip

    def advance(self, images, outcome=None):
        if outcome is not None and self.live:
            parts = (f"{part} {100 * outcome.fraction(part):.1f} %" for part in outcome._fields)
            self._bar.set_postfix_str("  ".join(parts), refresh=False)
        self._bar.update(images)

    def end_bar(self):
        if self._bar is not None:
            self._bar.close()
            self._bar = None

    def epoch(self, history, epochs):
        """A finished epoch: the last row of ``history``."""
        self.end_bar()
        row = history[-1]
        self.say(describe(row, epochs))
        if self.folder is not None:
            write_rows(self.folder / "metrics.csv", history)
        for part in ("accuracy", "loss", "silent"):
            for split in ("train", "val"):
                self.scalar(f"{split}/{part}", row[f"{split}_{part}"], row["step"])

    def scalar(self, tag, value, step):
        if self.writer and value is not None:
            self.writer.add_scalar(tag, value, step)

    def close(self):
        self.end_bar()
        if self.writer:
            self.writer.close()


def describe(row, epochs):
    """One line for an epoch."""
    title = f"{row['phase']:<6} {'STDP' if row['rule'] == 'stdp' else 'R-STDP':<6} epoch {row['epoch']:>3}/{epochs}"
    if row["rule"] == "stdp":
        text = f"convergence {row['convergence']:.1e}, {row['winners_per_image']:.1f} winners per image"
        if row["dead_features"]:
            text += f", {row['dead_features']} features never won"
    else:
        text = f"train {100 * row['train_accuracy']:6.2f} % right, {100 * row['train_silent']:.2f} % silent"
        if row["val_accuracy"] is not None:
            text += f"; validation {100 * row['val_accuracy']:6.2f} % right, {100 * row['val_silent']:.2f} % silent"
    return f"{title}  {text}  ({row['images'] / max(row['seconds'], 1e-9):,.0f} images/s, {row['seconds']:.1f} s)"


def write_rows(path, rows):
    def write(temporary):
        with open(temporary, "w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, COLUMNS)
            writer.writeheader()
            writer.writerows(rows)

    write_atomically(path, write)
