"""What is set beside the flags: the ``FIELD=VALUE`` of ``--set``, and the files of ``--config``."""

import ast
import json
import math
import re
import textwrap
from pathlib import Path

from errors import InputError

SWITCHED_OFF = {"figures", "test"}  # by --no-figures and --no-test

WORDS = {"none": None, "inf": math.inf, "true": True, "false": False}
NOT_REPEATED = {"device", "output", "name", "resume"}  # of a run's args.json: where it ran, not what


class _Words(ast.NodeTransformer):
    def visit_Name(self, node):
        word = node.id.lower()
        return ast.Constant(WORDS[word]) if word in WORDS else node


def read_value(text):
    """A value as Python writes it, and none, inf, true, …; anything else is a text. Lists are tuples."""
    try:
        return _tuples(ast.literal_eval(_Words().visit(ast.parse(text.strip(), mode="eval"))))
    except (SyntaxError, ValueError, TypeError, RecursionError, MemoryError):
        return text.strip()


def _tuples(value):
    return tuple(map(_tuples, value)) if isinstance(value, list | tuple) else value


def _all_in(value):
    return (one for item in value for one in _all_in(item)) if isinstance(value, tuple) else (value,)


def read_set(texts):
    """``("s2.threshold=12", …)`` → {"s2.threshold": 12, …}, in order; of two that name the same field the last counts.

    Errors: InputError for what is no FIELD=VALUE.
    """
    values = {}
    for text in texts:
        field, sign, value = text.partition("=")
        field = field.strip()
        if not sign or not value.strip() or not re.fullmatch(r"\w+(\.\w+)+", field):
            raise InputError(f"--set takes FIELD=VALUE, such as s2.threshold=12 or encoder.time_steps=20; not {text!r}")
        values.pop(field, None)
        values[field] = read_value(value)
        if any(isinstance(number, int) and abs(number) >= 2**63 for number in _all_in(values[field])):
            raise InputError(f"--set {field} cannot be {value.strip()[:40]}…: a number has at most 63 bits")
    return values


def last_of_each(texts):
    """The texts without those that a later one for the same field replaces."""
    return tuple({text.partition("=")[0].strip(): text for text in texts}.values())


def divided(texts):
    """What ``--set`` says to the stages, by field, and to the encoder, by parameter."""
    values = read_set(texts)
    encoder = {field.removeprefix("encoder."): v for field, v in values.items() if field.startswith("encoder.")}
    return {field: value for field, value in values.items() if not field.startswith("encoder.")}, encoder


def title(name, texts):
    """The beginning of a title: the network's name, and what is set otherwise than it declares, in lines of its own."""
    return textwrap.fill(f"{name} with {' '.join(texts)},", 90) + "\n" if texts else f"{name}, "


def read_config(path, known):
    """The flags in a file, by the names of ``Settings``: a TOML file, or the ``args.json`` of a run to repeat.

    In TOML a flag is ``batch-size = 100``; what ``--set`` takes is a table: ``[set]``, then ``s2.threshold = 12``. Of a
    run's flags those are left out that say where it ran; flags that are not ``known`` are of another version.

    Errors: InputError for a file that cannot be read, or is none of the two, and for a flag that is not ``known``.
    """
    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is no text"
        raise InputError(f"--config {path} cannot be read: {reason}") from error
    if path.suffix == ".json":
        flags = _of_run(path, text)
        return {name: value for name, value in flags.items() if name in known}
    flags = _of_toml(path, text)
    if unknown := sorted(flags.keys() - known):
        names = " ".join(sorted(name.replace("_", "-") for name in known))
        raise InputError(f"--config {path} has {', '.join(unknown)}; what there may be: {names}")
    return flags


def _of_run(path, text):
    try:
        flags = json.loads(text)["flags"]
        return {name: value for name, value in flags.items() if value is not None and name not in NOT_REPEATED}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(f"--config {path} is no args.json of a training run") from error


def _of_toml(path, text):
    try:
        import tomllib
    except ModuleNotFoundError:  # before Python 3.11
        import tomli as tomllib
    try:
        content = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise InputError(f"--config {path} is no TOML: {' '.join(str(error).split())}") from error
    flags = {name.replace("-", "_"): value for name, value in content.items()}
    for name in SWITCHED_OFF:
        if f"no_{name}" in flags:
            flags[name] = flags.pop(f"no_{name}") is False
    if isinstance(flags.get("set"), dict):
        flags["set"] = [
            f"{field}={value if isinstance(value, str) else repr(value)}" for field, value in _flat(flags["set"])
        ]
    return flags


def _flat(table, above=""):
    """(dotted name, value) of all that is in nested tables."""
    for name, value in table.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{above}{name}.")
        else:
            yield above + name, value
