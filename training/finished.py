"""Runs that have come to their end: which they are, and how one is given more epochs."""

import json

from utils import write_json


def is_finished(folder, figures):
    """Whether a run has written the last of its files. ``figures``: whether it draws."""
    return all((folder / name).is_file() for name in ("results.json", *(["index.html"] if figures else [])))


def lengthens(epochs, before):
    """Whether these are the same numbers of epochs but for a larger last one."""
    return len(epochs) == len(before) and epochs[:-1] == before[:-1] and epochs[-1:] > before[-1:]


def lengthen(folder, settings):
    """Have the folder say that the run has more epochs before it, and that it is not finished."""
    for name in ("results.json", "index.html"):
        (folder / name).unlink(missing_ok=True)
    record = json.loads((folder / "args.json").read_text(encoding="utf-8"))
    record["flags"]["epochs"] = list(settings.epochs)
    write_json(folder / "args.json", record)
