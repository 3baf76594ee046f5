"""Files that are whole or not there at all."""

import os
import re
from contextlib import suppress
from pathlib import Path

from errors import InputError


def write_atomically(path, write):
    """Call ``write(temporary path)``, then move the file into place: a reader sees the old file or the new one.

    The temporary name ends like the path, because writers go by the ending. Errors: InputError if the place cannot be
    written to, or is full.
    """
    path = Path(path)
    temporary = path.with_name(f".{os.getpid()}.{path.name}")  # see temporaries
    try:
        write(temporary)
        os.replace(temporary, path)
    except OSError as error:
        raise InputError(f"cannot write {path}: {error.strerror or error}") from error
    finally:
        with suppress(OSError):
            temporary.unlink()


def temporaries(folder):
    """Yield the files in the folder and below that are being written, or that writes that were killed left."""
    for path in Path(folder).rglob(".*"):
        if re.match(r"\.\d+\.", path.name) and path.is_file():
            yield path
