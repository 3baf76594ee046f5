"""The run log: what a run reports on the console, in log.txt and metrics.csv, and to TensorBoard. All may be silent."""

import csv
import sys
from contextlib import suppress

from tqdm import tqdm

from utils import write_atomically

# One row of metrics.csv: an epoch of a phase. Fractions are of the images of the epoch or of the validation set; the
# loss is the fraction of wrong decisions.
COLUMNS = (
    "step", "phase", "rule", "epoch", "images",
    "train_accuracy", "train_loss", "train_silent", "val_accuracy", "val_loss", "val_silent",
    "convergence", "winners_per_image", "dead_features", "ltp_rate", "ltd_rate", "seconds",
)  # fmt: skip


class RunLog:
    """``folder``: of the run, None writes no files. ``board``: of TensorBoard, None unless it is asked for."""

    def __init__(self, folder=None, tensorboard=False, quiet=False):
        self.folder, self.quiet = folder, quiet
        self.live = sys.stdout.isatty() and not quiet
        self.board = None
        if tensorboard and folder is not None:
            from training.tensorboard import Board

            self.board = Board(folder)
        self._bar = None

    def say(self, text):
        if self.folder is not None:
            with open(self.folder / "log.txt", "a", encoding="utf-8", errors="replace") as file:
                file.write(text + "\n")
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
            right, loss, silent = (outcome.fraction(part) for part in ("correct", "wrong", "silent"))
            self._bar.set_postfix_str(
                f"{100 * right:.1f} % right  loss {loss:.4f}  {100 * silent:.1f} % silent", refresh=False
            )
        self._bar.update(images)

    def end_bar(self):
        if self._bar is not None:
            self._bar.close()
            self._bar = None

    def epoch(self, history, epochs, title):
        """A finished epoch: the last row of ``history``. ``title``: of the rule."""
        self.end_bar()
        row = history[-1]
        self.say(describe(row, epochs, title))
        if self.folder is not None:
            write_rows(self.folder / "metrics.csv", history)
        if self.board:
            self.board.epoch(history)

    def flush(self):
        """To be called before a checkpoint is written: what it counts as done is on the disk."""
        if self.board:
            self.board.flush()

    def close(self):
        self.end_bar()
        if self.board:
            self.board.close()


def print_what_can_be_printed():
    """Have a console that knows no × or ∞ show ? in their place, where it would raise an error."""
    for stream in (sys.stdout, sys.stderr):
        with suppress(AttributeError):  # none at all, or one that takes any text
            stream.reconfigure(errors="replace")


def describe(row, epochs, title):
    """One line for an epoch."""
    title = f"{row['phase']:<6} {title:<6} epoch {row['epoch']:>3}/{epochs}"
    if row["train_accuracy"] is None:
        text = f"convergence {row['convergence']:.1e}, {row['winners_per_image']:.1f} winners per image"
        if row["dead_features"]:
            text += f", {row['dead_features']} features never won"
    else:
        text = f"train {_outcome(row, 'train')}"
        if row["val_accuracy"] is not None:
            text += f"; validation {_outcome(row, 'val')}"
    return f"{title}  {text}  ({row['images'] / max(row['seconds'], 1e-9):,.0f} images/s, {row['seconds']:.1f} s)"


def _outcome(row, split):
    accuracy, loss, silent = (row[f"{split}_{part}"] for part in ("accuracy", "loss", "silent"))
    return f"{100 * accuracy:6.2f} % right, loss {loss:.4f}, {100 * silent:.2f} % silent"


def write_rows(path, rows):
    def write(temporary):
        with open(temporary, "w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, COLUMNS)
            writer.writeheader()
            writer.writerows(rows)

    write_atomically(path, write)
