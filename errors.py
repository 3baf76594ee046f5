"""The exceptions that report mistakes of the user, and the functions that print them."""

import importlib.util
import os
import re
import sys
from contextlib import suppress
from pathlib import Path
from typing import TextIO

PACKAGES = (  # of requirements.txt, by the names under which they are imported
    *("torch", "torchvision", "numpy", "numba", "sklearn", "scipy", "safetensors", "tensorboard", "matplotlib", "tqdm"),
    *("jinja2", "PIL", "joblib"),
)


class InputError(ValueError):
    """A flag, file or array of the user cannot be used. The message states what is expected.

    Commands print it as one line on stderr and exit with code 2. Any other exception is a bug and keeps its traceback.

    Args:
        message: one line.
        flag, field, path: what the error is about, if it is known: a flag ("--epochs"), a field of a declaration, a
            configuration or a checkpoint ("s1.rule.winners"), the path of a file or folder.
    """

    def __init__(self, message: str, *, flag: str | None = None, field: str | None = None, path: object = None):
        super().__init__(message)
        self.flag, self.field, self.path = flag, field, None if path is None else str(path)


class FaultyModuleError(InputError):
    """A Python file of the user cannot be imported. The message ends with the traceback."""


def check_environment() -> None:
    """Exit with code 2 and one line if a package is missing, or if numba cannot use ``NUMBA_NUM_THREADS``."""
    os.environ.pop("MPLBACKEND", None)  # matplotlib fails if it names no backend; here, figures go into files only
    program = Path(sys.argv[0]).name
    for name in PACKAGES:
        if importlib.util.find_spec(name) is None:
            requirements = Path(__file__).with_name("requirements.txt")
            print(
                f"{program}: the package {name} is not installed; activate the environment that contains it, or "
                f"install it: {sys.executable} -m pip install -r {requirements}",
                file=sys.stderr,
            )
            sys.exit(2)
    # numba reads the variable when it is imported: 0 causes a traceback, many thousands a crash.
    if not re.fullmatch("[1-9][0-9]{0,2}", os.environ.get("NUMBA_NUM_THREADS", "1")):
        print(f"{program}: NUMBA_NUM_THREADS must be 1 to 999; unset it to use all cores", file=sys.stderr)
        sys.exit(2)


def report_error(program: str, error: InputError | OSError) -> int:
    """Print an InputError or an OSError on stderr and return the exit code 2.

    The output is one line, except for the traceback of a faulty module. Control characters are escaped.
    """
    try:
        print_output("", end="")  # what was printed so far
    except InputError as closed:
        error = closed
    text = str(error)
    if isinstance(error, OSError):
        place = f"{error.filename}: " if error.filename else ""
        text = f"cannot read or write {place}{error.strerror or error}"
    lines = text.split("\n") if isinstance(error, FaultyModuleError) else [text]
    warn(f"{program}: " + "\n".join(map(make_printable, lines)))
    return 2


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


def print_output(text: str, end: str = "\n") -> None:
    """Print a text on stdout. Raises InputError if it is closed or full."""
    try:
        print(text, end=end, flush=True)
    except OSError as error:
        discard_output(sys.stdout)
        raise InputError(f"the output cannot be written: {error.strerror}") from error


def discard_output(stream: TextIO) -> None:
    """Discard the output that a stream cannot write, so that Python does not fail when it exits."""
    with suppress(OSError, ValueError):  # it has no descriptor
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
