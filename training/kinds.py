"""Kinds of values that come from a file, and what a value of another kind is told: its name, and what would be right.

A kind is a function ``check(value, where)``, which raises InputError with ``where``, the value's name, unless the value
is of that kind.
"""

import math
import re
from collections import OrderedDict

import torch

from errors import InputError

MOST = 2**53  # of whatever is counted: up to here a float64 counts too
MOST_VALUES, DEPTH = 5_000_000, 12  # of all values, and how deep they lie in each other: far more than any run has
FLOATS, COUNTS = (torch.float32, torch.float64), (torch.int64,)


def refuse(where, value, needed):
    raise InputError(f"its {where} is {short(value)}, not {needed}")


def short(value):
    """A few words that tell which value it is."""
    if isinstance(value, torch.Tensor):
        return f"{str(value.dtype).removeprefix('torch.')} {tuple(value.shape)}"
    if isinstance(value, dict | list | tuple | set) and (len(value) > 8 or not all(map(_is_plain, value))):
        return f"a {type(value).__name__} of {len(value)}"
    if isinstance(value, int) and abs(value) >= 2**63:  # Python does not print all of them
        return "a number of more than 63 bits"
    text = repr(value)
    return text if len(text) < 80 else f"{text[:77]}…"


def whole(least=0, most=MOST):
    def check(value, where):
        if type(value) is not int or not least <= value <= most:
            refuse(where, value, f"a whole number from {least} to {most}")

    return check


def number(least=-math.inf, most=math.inf):
    def check(value, where):
        if type(value) not in (int, float) or not (math.isfinite(value) and least <= value <= most):
            refuse(where, value, "a finite number" + (f" from {least} to {most}" if least > -math.inf else ""))

    return check


def text(pattern=r"(?s).+"):
    def check(value, where):
        if type(value) is not str or not re.fullmatch(pattern, value):
            refuse(where, value, "a text" if pattern == r"(?s).+" else f"a text like {pattern}")

    return check


def one_of(*values):
    def check(value, where):
        if not any(type(value) is type(one) and value == one for one in values):
            refuse(where, value, " or ".join(map(repr, values)))

    return check


def optional(kind):
    """The kind, or None."""

    def check(value, where):
        if value is not None:
            kind(value, where)

    return check


def each(kind, count=None):
    """A list of the kind, of so many (None: any number)."""

    def check(value, where):
        if not isinstance(value, list | tuple) or count not in (None, len(value)):
            refuse(where, value, "a list" + (f" of {count}" if count else ""))
        for place, item in enumerate(value):
            kind(item, f"{where}[{place}]")

    return check


def table(kind):
    """A dict of texts to the kind."""

    def check(value, where):
        if not isinstance(value, dict):
            refuse(where, value, "a dict")
        for key, item in value.items():
            text()(key, f"a key of {where}")
            kind(item, f"{where}[{key!r}]")

    return check


def record(fields, needed=(), others=None):
    """A dict of these fields, each of its kind; ``others``: the kind of all others (None: there are none)."""

    def check(value, where):
        if not isinstance(value, dict):
            refuse(where, value, "a dict")
        prefix = f"{where}." if where else ""
        if lacking := [name for name in needed if name not in value]:
            raise InputError(f"it has no {prefix}{lacking[0]}")
        for key, item in value.items():
            kind = fields.get(key, others) if isinstance(key, str) else None
            if kind is None:
                raise InputError(f"{prefix}{short(key)} is no field of it that is known here")
            kind(item, prefix + key)

    return check


def tensor(dtypes, dimensions=None, least=None):
    """A tensor of one of the types, with numbers that are finite and not under ``least``."""

    def check(value, where):
        if not isinstance(value, torch.Tensor) or value.dtype not in dtypes or dimensions not in (None, value.dim()):
            refuse(where, value, f"a tensor of {' or '.join(str(dtype).removeprefix('torch.') for dtype in dtypes)}")
        if not value.isfinite().all():
            raise InputError(f"its {where} has numbers that are not finite")
        if least is not None and int(value.min()) < least:
            raise InputError(f"its {where} reaches {int(value.min())}, under {least}")

    return check


def plain(value, where):
    """Anything without tensors."""
    for _, item in walk(value, where):
        if isinstance(item, torch.Tensor):
            refuse(where, item, "a plain value")


def walk(content, where=""):
    """Yield (name, value) of all that is in nested dicts and lists, whose ends are plain values and tensors.

    Errors: InputError for values of other types, and for more of them, or deeper ones, than there can be.
    """
    waiting, count = [(where, content, 0)], 0
    while waiting:
        name, value, depth = waiting.pop()
        count += len(value) if type(value) in (dict, OrderedDict, list, tuple) else 0
        if count > MOST_VALUES or depth > DEPTH:
            raise InputError(f"its {name or 'content'} lies too deep, or is one of too many values")
        if type(value) in (dict, OrderedDict):
            waiting += [(f"a key of {name or 'it'}", key, depth + 1) for key in value]
            waiting += [(_below(name, key), item, depth + 1) for key, item in value.items()]
        elif type(value) in (list, tuple):
            waiting += [(f"{name}[{place}]", item, depth + 1) for place, item in enumerate(value)]
        elif not (_is_plain(value) or _is_whole_tensor(value)):
            refuse(name or "content", value, "a number, a text, or a tensor of float32, float64 or int64")
        yield name, value


def _below(where, key):
    """The name of a dict's entry."""
    if not where:
        return key if isinstance(key, str) else short(key)
    return f"{where}.{key}" if isinstance(key, str) and key.isidentifier() else f"{where}[{short(key)}]"


def _is_plain(value):
    if type(value) is int:
        return abs(value) < 2**63
    return value is None or type(value) in (bool, float, str)


def _is_whole_tensor(value):
    return (
        isinstance(value, torch.Tensor)
        and value.dtype in (*FLOATS, *COUNTS)
        and (value.layout, value.device.type) == (torch.strided, "cpu")
        and value.numel() > 0
        and value.is_contiguous()
    )
