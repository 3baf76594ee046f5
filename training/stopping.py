"""What stops a run: signals and a full disk. The run is saved, and its user gets the command that continues it."""

import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from engine.plugins import PLUGINS
from errors import InputError, find_place
from run_folder import RunFolder

SIGNALS = {signal.SIGINT, signal.SIGTERM, getattr(signal, "SIGBREAK", signal.SIGTERM)}


class Stopped(KeyboardInterrupt):
    """A signal stopped the run.

    ``code`` is the exit code of the program, 128 + the number of the signal. ``is_saved``: whether the run was saved.
    """

    def __init__(self, number: int, is_saved: bool = False):
        super().__init__()
        self.code = 128 + number
        self.is_saved = is_saved


def stop_now(number: int, frame: object) -> None:
    """Handle a signal: raise Stopped."""
    raise Stopped(number)


@contextmanager
def handle_signals(handler: Callable[[int, object], None]) -> Iterator[None]:
    """Call ``handler`` for Ctrl-C and SIGTERM, on Windows also for Ctrl-Break, while the context is open."""
    before = {number: signal.signal(number, handler) for number in SIGNALS}
    try:
        yield
    finally:
        for number, previous in before.items():
            signal.signal(number, previous)


class StopRequest:
    """A request to stop the training after the current batch. A second Ctrl-C stops it immediately.

    ``asked``: whether a signal arrived; ``number``: the number of the signal.
    """

    def __init__(self):
        self.asked = False
        self.number: int = signal.SIGINT

    def note(self, number: int, frame: object) -> None:
        if self.asked and number == signal.SIGINT:
            stop_now(number, frame)
        self.asked = True
        self.number = number
        if sys.stderr is not None:  # whose ``write`` the signal may have interrupted, and which refuses a second one
            with suppress(OSError):
                os.write(2, b"\nstopping after this batch; press Ctrl-C again to stop immediately\n")


@contextmanager
def offer_resume(folder: Path) -> Iterator[None]:
    """Print the command that continues the run in the folder, if a signal or a full disk stops it.

    During the training, ``StopRequest`` handles the signals, and the run is saved first. A run does not continue with
    another version of its plugin, so an error ends with what to do when the plugin has changed.

    Raises Stopped after a signal. Other exceptions get the attribute ``hint``, if there is something to do.
    """
    run = RunFolder(folder)
    try:
        with handle_signals(stop_now):
            yield
    except Stopped as stopped:
        if not stopped.is_saved:
            print(f"stopped immediately; continue from the last checkpoint with\n    {run.resume_command}", flush=True)
        raise
    except BaseException as error:
        if isinstance(error, InputError | OSError) and isinstance(error.__cause__ or error, OSError):
            vars(error)["hint"] = f"continue with: {run.resume_command}"
        elif PLUGINS and (isinstance(error, InputError) or find_place(error)):  # otherwise it would happen again
            vars(error)["hint"] = f"when the plugin has changed, start again with another --name, or delete {folder}"
        raise
