"""The format of checkpoints and of args.json.

A new field whose default means "as before" needs no new format. Any other change increases ``FORMAT``.
"""

from pathlib import Path
from typing import Any

from errors import InputError

FORMAT = 4  # of the files that this version reads and writes
LAST = "1.3.0 (git checkout c91b78f)"  # the last version that reads formats below it


def check_format(record: dict[str, Any], path: Path) -> dict[str, Any]:
    """Return the record of a file without its format. Raises InputError for another format."""
    record = dict(record)
    number = record.pop("format", 1)
    if number == FORMAT:
        return record
    if number in range(1, FORMAT):
        raise InputError(f"{path} is of an older version of this program; version {LAST} is the last that reads it")
    raise InputError(f"{path} has the format {number}, but this version of the program reads {FORMAT}")
