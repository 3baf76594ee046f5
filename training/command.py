"""How a command starts and ends: its imports, its exit code, and what it prints.

This module imports the standard library alone, because a command imports it first.
"""

import functools
import gc
import logging
import os
import re
import signal
import sys
import traceback
from collections.abc import Callable
from importlib import metadata
from io import TextIOWrapper
from pathlib import Path

from errors import (
    InputError,
    describe_error,
    discard_output,
    find_place,
    is_bug,
    is_known,
    make_printable,
    warn,
)


def prepare_start() -> None:
    """Prepare the process of a command for its imports, before any package is imported.

    Until a function of ``command_line`` runs, Ctrl-C ends the process without a traceback (some modules would catch a
    KeyboardInterrupt), and no garbage is collected: no imported module is garbage, and a search takes a quarter of the
    start.

    Exits with code 2 and one line if a package is missing, or if numba cannot use ``NUMBA_NUM_THREADS``.
    """
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # not ignored
        signal.signal(signal.SIGINT, end_imports)
    gc.disable()
    os.environ.pop("MPLBACKEND", None)  # matplotlib fails if it names no backend; here, figures go into files only
    program = Path(sys.argv[0]).name
    logging.getLogger("matplotlib").setLevel(logging.ERROR)  # without a home folder, it would warn
    requirements = Path(__file__).parent.with_name("requirements.txt")
    for package in re.findall(r"^([\w-]+)[^;\n]*$", requirements.read_text(encoding="utf-8"), re.MULTILINE):
        try:
            metadata.distribution(package)
        except metadata.PackageNotFoundError:
            warn(
                f"{program}: the package {package} is not installed; activate the environment that contains it, or "
                f"install it: {sys.executable} -m pip install -r {requirements}"
            )
            sys.exit(2)
    # numba reads the variable when it is imported: 0 causes a traceback, many thousands a crash.
    if not re.fullmatch("[1-9][0-9]{0,2}", os.environ.get("NUMBA_NUM_THREADS", "1")):
        warn(f"{program}: NUMBA_NUM_THREADS must be 1 to 999; unset it to use all cores")
        sys.exit(2)


def end_imports(number: int, frame: object) -> None:
    """Handle Ctrl-C during the imports."""
    os._exit(130)


def command_line(execute: Callable[[list[str]], int | None]) -> Callable[..., int]:
    """Decorate the function of a command, which gets the words of a command line and returns an exit code, None for 0.

    The decorated function takes the words of ``sys.argv`` if it is called without words. It returns 130 after Ctrl-C.
    After an InputError, an OSError, a MemoryError or any exception of a user's own file, it prints one line on stderr,
    and returns 2. With --traceback, and if the exception may be a bug of this program, the traceback comes before the
    line.

    The console prints ? in place of characters that it does not have, such as × and ∞.
    """
    program = Path(execute.__code__.co_filename).name

    @functools.wraps(execute)
    def run(words: list[str] | None = None) -> int:
        words = sys.argv[1:] if words is None else words
        if not gc.isenabled():  # after ``prepare_start``
            gc.freeze()
            gc.enable()
        if signal.getsignal(signal.SIGINT) is end_imports:
            signal.signal(signal.SIGINT, signal.default_int_handler)
        for stream in (sys.stdout, sys.stderr):
            if isinstance(stream, TextIOWrapper):  # otherwise there is no stream, or it takes any text
                stream.reconfigure(errors="replace")
        try:
            code = execute(words)
        except KeyboardInterrupt:
            warn("stopped immediately")
            return 130
        except BaseException as error:
            if not is_known(error) and find_place(error) is None:
                raise
            is_traced = "--traceback" in words or is_bug(error)
            if is_traced:
                warn(traceback.format_exc())
            return report_error(program, error, is_traced)
        return code or 0

    return run


def report_error(program: str, error: BaseException, is_traced: bool = False) -> int:
    """Print an exception as one line on stderr, with control characters escaped. Returns the exit code 2.

    The line ends with how to print more, if there is more to read than a message and the traceback is not printed, and
    with the attribute ``hint`` of the exception: what to do.
    """
    text = describe_error(error)
    if not isinstance(error, InputError | OSError) and not is_traced:
        text += " (--traceback prints more)"
    if hint := getattr(error, "hint", ""):
        text += f"; {hint}"
    warn(f"{program}: {make_printable(text)}")
    return 2


def print_output(text: str) -> None:
    """Print a text on stdout. Raises InputError if it is closed or full."""
    try:
        print(text, flush=True)
    except OSError as error:
        discard_output(sys.stdout)
        raise InputError(f"the output cannot be written: {error.strerror}") from error
