"""The run log: the console, log.txt, metrics.csv and, if the settings request it, TensorBoard."""

import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from tqdm import tqdm

from engine.compiled import announcements, counts
from engine.decision import Outcome
from engine.lengths import Lengths
from engine.progress import COLUMNS, Progress, Row
from errors import InputError, discard_output, drawing, warn
from utils import write_csv

if TYPE_CHECKING:
    from training.tensorboard import Board

EVERY = 60.0  # seconds between two lines about the progress, if there is no terminal
BAR = "{desc} {percentage:3.0f}% |{bar}| {n_fmt}/{total_fmt} [{remaining} left, {rate_noinv_fmt}]{postfix}"


class RunLog:
    """The log of a run. ``board`` logs to TensorBoard (``training/tensorboard.py``), or does nothing.

    Args:
        folder: the folder of the run. If it is None, no file is written.
        tensorboard: also log to TensorBoard, in the same folder.
    """

    def __init__(self, folder: Path | None = None, tensorboard: bool = False):
        self.folder = folder
        self.quiet = sys.stdout is None
        self.is_live = not self.quiet and sys.stdout.isatty()
        self.board: Board | NoBoard = NoBoard()
        self.printed_at = time.monotonic()
        if tensorboard and folder is not None:
            from training import tensorboard as events  # the import takes a second

            self.board = events.Board(folder)
        self._bar: tqdm | None = None
        self._unwritten: dict[str, Callable[[], object]] = {}

    def info(self, text: str, in_terminal: bool = True) -> None:
        """Print a text and append it to log.txt. in_terminal: whether it is also printed in a terminal."""
        self.printed_at = time.monotonic()
        if self.folder is not None:
            path = self.folder / "log.txt"
            if path.is_symlink() or path.is_fifo():
                path.unlink()  # a link is not followed, and a pipe would wait for a reader
            with open(path, "a", encoding="utf-8", errors="replace") as file:
                file.write(text + "\n")
        with self._printing():
            if self.is_live and in_terminal:
                tqdm.write(text)
            elif not (self.is_live or self.quiet):
                print(text, flush=True)

    def info_all(self, texts: Iterable[str]) -> None:
        for text in texts:
            self.info(text)

    def announce(self, what: str) -> None:
        """Log, before the next compilation, what it is for."""
        announcements[:] = [lambda: self.info(f"compiling the kernels of {what}, at the first start only")]

    def show(
        self,
        title: str,
        done: int,
        total: int,
        outcome: Outcome | None = None,
        left: str = "",
    ) -> None:
        """Show the progress: ``done`` of ``total`` images, in a terminal by a bar, which a new title begins.

        Without a terminal, a line is printed if there was none for ``EVERY`` seconds.

        outcome: the outcome of the epoch so far, if the network decides. left: the text of ``estimate_left``.
        """
        accuracy = "" if outcome is None else f"accuracy {100 * outcome.fraction('correct'):.1f} %"
        text = ", ".join(filter(None, (accuracy, left)))
        if not self.is_live:
            if time.monotonic() - self.printed_at > EVERY:
                self.info(f"{title}: {100 * done / total:.0f} %  {text}")
            return
        with self._printing():
            if self._bar is None or self._bar.desc != title:
                self.close_bar()
                self._bar = tqdm(
                    total=total, initial=done, desc=title, postfix=text, unit=" images", leave=False,
                    dynamic_ncols=True, bar_format=BAR, file=sys.stdout,
                )  # fmt: skip
            self._bar.set_postfix_str(text, refresh=False)
            self._bar.update(done - self._bar.n)
            if done == total:
                self._bar.refresh()  # also soon after the last update

    def close_bar(self) -> None:
        bar = self._bar
        self._bar = None
        with self._printing():
            if bar is not None:
                bar.close()

    @contextmanager
    def _printing(self) -> Iterator[None]:
        """If the output is closed or full, print nothing from now on; the training and log.txt continue."""
        try:
            yield
        except OSError as error:
            self.quiet = True
            self.is_live = False
            self._bar = None
            discard_output(sys.stdout)
            rest = "is not printed" if self.folder is None else "is in log.txt only"
            warn(f"the output is closed or full ({error.strerror}); the rest {rest}")

    def log_epoch(self, history: list[Row], title: str, learned: str = "train") -> None:
        """Log a finished epoch, the last row of ``history``. title: its phase, rule and number.

        learned: the name of the images whose labels were learned.
        """
        self.close_bar()
        self.info(f"{title}  {describe_epoch(history[-1], learned)}")
        if self.folder is not None:
            rows = [[row[name] for name in COLUMNS] for row in history]
            self.write("metrics.csv", partial(write_csv, self.folder / "metrics.csv", [[*COLUMNS], *rows]))

    def write(self, name: str, write: Callable[[], object]) -> None:
        """Call a function that writes the file ``name``. If it cannot be drawn, or is open elsewhere, log it and go on.

        ``close`` calls the function again, unless a later one has written the file.
        """
        self._unwritten.pop(name, None)
        try:
            with drawing(name, self.info):
                write()
        except InputError as error:
            if not isinstance(error.__cause__, PermissionError):
                raise
            self._unwritten[name] = write
            self.info(f"{error}; another program may have opened it. The run goes on")

    def close(self) -> None:
        self.close_bar()
        for name, write in list(self._unwritten.items()):
            self.write(name, write)
        self.board.close()
        announcements.clear()  # what another command compiles does not belong into this log


class NoBoard:
    """A ``Board`` whose methods do nothing."""

    def __getattr__(self, name: str) -> Callable[..., None]:
        return lambda *arguments: None


class Pace:
    """How many seconds an epoch of a phase takes, by what was timed while nothing was compiled or loaded.

    The first batch is not timed. ``seconds`` is None before anything else was.
    """

    seconds: float | None = None
    _is_whole = False  # whether a whole epoch was timed, with its validation
    _compiled: int | None = None  # what was compiled and loaded up to now
    _since = 0.0, 0.0  # from where on the epoch was timed: part that was done, seconds

    def time_batch(self, progress: Progress, fraction: float) -> None:
        """Time the epoch up to a batch. fraction: the part of the epoch that is done, above 0."""
        before = self._compiled
        self._compiled = counts.total()
        if self._compiled != before:
            self._since = fraction, progress.seconds
        elif not self._is_whole:
            done, seconds = self._since
            self.seconds = (progress.seconds - seconds) / (fraction - done)

    def time_epoch(self, seconds: float) -> None:
        """Time a finished epoch, which took these seconds."""
        before = self._compiled
        self._compiled = counts.total()
        if self._compiled == before and self._since == (0.0, 0.0):
            self.seconds = seconds
            self._is_whole = True
        self._since = 0.0, 0.0


def estimate_left(progress: Progress, lengths: Lengths, seconds: float | None, count: float) -> str:
    """Return the time left of the phase and of the run; "" if nothing was timed.

    A later phase is assumed to take as long per epoch as the current phase. A phase that goes on until it has converged
    takes at least this time.

    lengths: how many epochs the phases have. seconds: ``Pace.seconds``. count: the epochs of the phase that are left.
    """
    if seconds is None:
        return ""
    numbers = range(progress.phase, len(lengths.planned))
    later = sum(lengths.least[number] for number in numbers[1:])
    phase, run = (tqdm.format_interval(seconds * number) for number in (count, count + later))
    text = f"phase {phase}, run {run} left"
    return f"at least {text}" if any(lengths.converges[number] for number in numbers) else text


def describe_epoch(row: Row, learned: str) -> str:
    """Return one line about a row of the history. learned: as of ``RunLog.log_epoch``."""
    if row.train_accuracy is not None and row.train_silent is not None:
        text = f"accuracy: {learned} {100 * row.train_accuracy:6.2f} %"
        silent = row.train_silent
        if row.val_accuracy is not None:
            text += f", val {100 * row.val_accuracy:6.2f} %"
            if row.val_balanced is not None:
                text += f" (balanced {100 * row.val_balanced:.2f} %)"
            silent = row.val_silent or 0.0
        text += f"; silent {100 * silent:.2f} %"
    else:
        text = ""
        if row.convergence is not None:  # a feature has won
            text = f"convergence {row.convergence:.1e}, "
        if row.dead_features:
            plural = "s" * (row.dead_features > 1)
            text += f"{row.dead_features} feature{plural} never won"
        else:
            text += f"{row.winners_per_image:.1f} winners per image"
    return f"{text} ({row.seconds:.1f} s)"
