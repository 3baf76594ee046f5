"""The exceptions that report mistakes of the user, and how a program starts and ends."""

import functools
import gc
import logging
import os
import re
import signal
import sys
import traceback
from collections.abc import Callable
from contextlib import suppress
from importlib import metadata
from pathlib import Path
from typing import TextIO

# How torch's allocator, C++ and numba's compiler report that memory has run out, in a RuntimeError or a SystemError.
OUT_OF_MEMORY = ("DefaultCPUAllocator", "std::bad_alloc", "error return without exception set")
USER_FILES: set[str] = set()  # paths of files whose errors are the user's: plugins, and the modules of models/


class InputError(ValueError):
    """A flag, file or array of the user cannot be used. The message states what is expected.

    Commands print it as one line on stderr and exit with code 2, and also an exception of a user's own file. Any other
    exception is a bug and keeps its traceback.

    Args:
        message: one line, which names the flag, field or path that it is about; control characters, such as ends of
            lines in names, are escaped.
    """

    def __init__(self, message: str):
        super().__init__(make_printable(message))


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
    requirements = Path(__file__).with_name("requirements.txt")
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
    and returns 2. With --traceback, the traceback comes before the line.

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
            with suppress(AttributeError):  # there is no stream, or it takes any text
                stream.reconfigure(errors="replace")
        try:
            code = execute(words)
        except KeyboardInterrupt:
            warn("stopped immediately")
            return 130
        except BaseException as error:
            is_known = isinstance(error, InputError | OSError) or is_out_of_memory(error)
            if not is_known and find_place(error) is None:
                raise
            if "--traceback" in words:
                warn(traceback.format_exc())
            return report_error(program, error)
        return code or 0

    return run


def report_error(program: str, error: BaseException) -> int:
    """Print an exception as one line on stderr, with control characters escaped. Returns the exit code 2."""
    hint = "" if isinstance(error, InputError | OSError) else " (--traceback prints more)"
    warn(f"{program}: {make_printable(describe_error(error))}{hint}")
    return 2


def describe_error(error: BaseException) -> str:
    """Return an exception as one line, which begins with the place in a user's own file if the exception has one."""
    place = find_place(error)
    text = describe_reason(error)
    return f"{place}: {text}" if place else text


def describe_reason(error: BaseException) -> str:
    """Return an exception as one line, without a place in a user's own file."""
    if isinstance(error, OSError):
        place = f"{error.filename}: " if error.filename else ""
        return f"cannot read or write {place}{error.strerror or error}"
    if isinstance(error, InputError):
        return str(error)
    if is_out_of_memory(error):
        reason, _, _ = str(error).partition("\n")
        return f"not enough memory: {reason}".removesuffix(": ")
    return traceback.format_exception_only(error)[-1].splitlines()[0]


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether an exception reports that memory has run out."""
    if isinstance(error, RuntimeError | SystemError):
        return any(sign in str(error) for sign in OUT_OF_MEMORY)
    return isinstance(error, MemoryError)


def find_place(error: BaseException) -> str | None:
    """Return the last place in a user's own file that an exception or its cause has passed, "FILE, line N", or None.

    Its attribute ``places``, a list of (file, line), contains places that are not in its traceback.
    """
    places = list(getattr(error, "places", ()))
    places += [(frame.filename, frame.lineno) for frame in traceback.extract_tb(error.__traceback__)]
    if isinstance(error, SyntaxError):
        places.append((error.filename, error.lineno))
    own = [f"{file}, line {line}" for file, line in places if file in USER_FILES]
    if own:
        return own[-1]
    return error.__cause__ and find_place(error.__cause__)


def make_printable(text: str) -> str:
    r"""Return the text with escapes such as \n for line ends, control characters and bytes that are not UTF-8."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def warn(text: str) -> None:
    """Print a line on stderr, unless it is closed or full."""
    if sys.stderr is not None:
        try:
            print(text, file=sys.stderr, flush=True)
        except OSError:
            discard_output(sys.stderr)


def print_output(text: str) -> None:
    """Print a text on stdout. Raises InputError if it is closed or full."""
    try:
        print(text, flush=True)
    except OSError as error:
        discard_output(sys.stdout)
        raise InputError(f"the output cannot be written: {error.strerror}") from error


def discard_output(stream: TextIO) -> None:
    """Discard the output that a stream cannot write, so that Python does not fail when it exits."""
    with suppress(OSError, ValueError):  # it has no descriptor
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
