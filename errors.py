"""InputError, the exception that reports a mistake of the user; exceptions as one line, and lines on stderr."""

import inspect
import os
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any, NoReturn, TextIO

# How torch's allocator, C++ and numba's compiler report that memory has run out, in a RuntimeError or a SystemError.
OUT_OF_MEMORY = ("DefaultCPUAllocator", "std::bad_alloc", "error return without exception set")
USER_FILES: set[str] = set()  # paths of files whose errors are the user's: plugins, and the modules of models/


class InputError(ValueError):
    """A flag, file or array of the user cannot be used. The message states what is expected.

    Commands print it as one line on stderr and exit with code 2, and also an exception of a user's own file. Any other
    exception may be a bug and keeps its traceback.

    Args:
        message: one line, which names the flag, field or path that it is about; control characters, such as ends of
            lines in names, are escaped.
    """

    def __init__(self, message: str):
        super().__init__(make_printable(message))


def describe_error(error: BaseException) -> str:
    """Return an exception as one line, with the place in a user's own file if the exception has passed one."""
    place = find_place(error)
    text = describe_reason(error)
    if place is None:
        return text
    return f"{text}, raised by this program, which {place} has called" if is_bug(error) else f"{place}: {text}"


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
    lines = traceback.format_exception_only(error)
    first = -1 if isinstance(error, SyntaxError) else 0  # its file and line stand before it; after others, their notes
    return lines[first].splitlines()[0]


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether an exception reports that memory has run out."""
    if isinstance(error, RuntimeError | SystemError):
        return any(sign in str(error) for sign in OUT_OF_MEMORY)
    return isinstance(error, MemoryError)


@contextmanager
def drawing(what: str, log: Callable[[str], object]) -> Iterator[None]:
    """Log a line if what the context draws cannot be drawn, because no picture may cost a result.

    Raises InputError if a file cannot be written.
    """
    try:
        yield
    except Exception as error:  # of matplotlib, or of a user's own stage, encoder or figure
        if isinstance(error.__cause__ or error, OSError) and not find_place(error):
            raise
        log(f"{what} cannot be drawn: {describe_error(error)}")


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
    return find_place(error.__cause__) if error.__cause__ else None


def is_known(error: BaseException) -> bool:
    """Return whether an exception is of a kind that one line explains: a wrong input, a file, too little memory."""
    return isinstance(error, InputError | OSError) or is_out_of_memory(error)


def is_bug(error: BaseException) -> bool:
    """Return whether an exception may be a bug of this program, also if a user's own file has called it.

    Then the last file that it has passed, beside libraries, is of this program, and not the user's own.
    """
    if is_known(error):
        return False
    if error.__cause__:
        return is_bug(error.__cause__)
    if any(file in USER_FILES for file, _ in getattr(error, "places", ())):
        return False  # machine code of a user's rule leaves no frames
    root = Path(__file__).parent
    is_ours = False
    for frame in traceback.extract_tb(error.__traceback__):
        path = Path(frame.filename)
        if frame.filename in USER_FILES:
            is_ours = False
        elif path.is_relative_to(root) and "site-packages" not in path.parts:
            is_ours = True
    return is_ours


def make_printable(text: str) -> str:
    r"""Return the text with escapes such as \n for line ends, control characters and bytes that are not UTF-8."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def abbreviate(value: Any) -> str:
    """Return the representation of a value in one line of at most 80 characters; of arrays, also their type."""
    text = repr(value)
    if hasattr(value, "dtype"):
        text = f"{value.dtype} {tuple(value.shape)} {text}"
    return " ".join(text.split())[:80]


def refuse_result(function: Callable, wanted: str, result: Any) -> NoReturn:
    """Raise an InputError that names a user's function, its file, what it must return, and what it has returned."""
    while isinstance(function := inspect.unwrap(function), partial):
        function = function.func
    if not hasattr(function, "__code__"):  # an object that can be called
        function = type(function).__call__
    code = function.__code__
    place = f"{code.co_filename}, line {code.co_firstlineno}"
    raise InputError(f"{place}: {function.__qualname__} must return {wanted}, not {abbreviate(result)}")


def warn(text: str) -> None:
    """Print a line on stderr, unless it is closed or full."""
    if sys.stderr is not None:
        try:
            print(text, file=sys.stderr, flush=True)
        except OSError:
            discard_output(sys.stderr)


def discard_output(stream: TextIO) -> None:
    """Discard the output that a stream cannot write, so that Python does not fail when it exits."""
    with suppress(OSError, ValueError):  # it has no descriptor
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
