"""The formats of checkpoints and of args.json, which every later version of the program reads.

1. There is no number. A checkpoint describes its encoder as {"name": name, field: value, …}.
2. There is a number, "format". A checkpoint describes its encoder as ``to_plain`` does: {name: {field: value, …}}.
3. The number of test reads and the diagnosis of a run are in the record of the run, no longer in its progress.

A new field whose default means "as before" needs no new format. Any other change increases ``FORMAT`` and adds a step
to ``lift``.
"""

from pathlib import Path
from typing import Any

from errors import InputError

FORMAT = 3  # of the files that this version writes


def lift(record: dict[str, Any], path: Path) -> dict[str, Any]:
    """Return the record of a file in the format of this version.

    path: the file, for the message. Raises InputError for the format of a newer version.
    """
    record = dict(record)
    number = record.get("format", 1)
    if number not in range(1, FORMAT + 1):
        raise InputError(f"{path} has the format {number}, but this version of the program reads 1 to {FORMAT}")
    if number == 1 and isinstance(record.get("encoding"), dict):
        values = dict(record["encoding"])
        record["encoding"] = {values.pop("name", "s1c1"): values}
    progress = record.get("progress")
    if number < 3 and isinstance(progress, dict):
        moved = {name: progress.pop(name) for name in ("test_reads", "diagnosis") if name in progress}
        run = record.get("run")
        if run and isinstance(run, dict):
            record["run"] = {**run, **moved}
    record["format"] = FORMAT
    return record


def lift_results(record: dict[str, Any]) -> dict[str, Any]:
    """Return the content of results.json with "finished": the epochs to which the results of a finished run belong.

    The results of a run of an older version have flags when all other files exist.
    """
    flags = record.get("flags")
    if "finished" in record or not isinstance(flags, dict):
        return record
    return {**record, "finished": flags.get("epochs")}
