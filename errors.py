"""The exceptions that stand for a mistake of the user's, not of the program's, and how they are said."""

import sys


class InputError(ValueError):
    """Something given from outside (a flag, a file, an array) cannot be used; the message says what would be right.

    ``train.py`` prints it as one line on stderr and exits with code 2; anything else is a bug and keeps its traceback.
    """


class FaultyModuleError(InputError):
    """A file of the user's cannot be imported; the message ends with the traceback."""


def say_mistake(program, error):
    """Print an InputError or an OSError (a full disk, a folder that has become read-only, …) on stderr: one line,
    whatever was given, but for the traceback of a faulty module. Returns the exit code."""
    text = str(error)
    if isinstance(error, OSError):
        place = f"{error.filename}: " if error.filename else ""
        text = f"cannot read or write {place}{error.strerror or error}"
    if not isinstance(error, FaultyModuleError):
        text = text.replace("\r", "\\r").replace("\n", "\\n")
    print(f"{program}: {text}", file=sys.stderr)
    return 2
