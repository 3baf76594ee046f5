"""What stages and rules have in common: fields with types and ranges, other values for them, and plain values."""

import functools
from collections.abc import Collection, Mapping
from dataclasses import MISSING, Field, dataclass, field, fields, replace
from inspect import formatannotation
from numbers import Real
from types import NoneType, UnionType
from typing import Any, ClassVar, Union, get_args, get_origin, get_type_hints

from errors import InputError

MAX_VALUE = 1e6  # of weights, bounds, rates and thresholds: no computation with them overflows float32

Changes = Mapping[tuple[str, ...], Any]  # {path of a field, such as ("rule", "winners"): its new value}


@dataclass(frozen=True)
class Range:
    """The numbers from ``low`` to ``high``; with ``above`` without ``low``, with ``below`` without ``high``."""

    low: float
    high: float
    above: bool = False
    below: bool = False

    def __contains__(self, number: float) -> bool:
        is_above = number > self.low if self.above else number >= self.low
        is_below = number < self.high if self.below else number <= self.high
        return is_above and is_below

    def __str__(self) -> str:
        low = "above" if self.above else "at least"
        high = "below" if self.below else "at most"
        return f"{low} {self.low:g} and {high} {self.high:g}"


ANY_NUMBER = Range(-MAX_VALUE, MAX_VALUE)


def ranged(
    low: float, high: float, default: Any = MISSING, *, above: bool = False, below: bool = False, **options: Any
) -> Any:
    """Declare a field with a ``Range``, which holds for each number of a tuple. options: those of a dataclass field."""
    return field(default=default, metadata={"range": Range(low, high, above, below)}, **options)


class Declared:
    """The base class of stages and rules, which are frozen dataclasses.

    A field is a number, a text, true or false, none, another declaration, or a tuple of these. Numbers are from -1e6 to
    1e6 unless the field has another range. Raises InputError if a value does not have the type of its field, or is not
    in its range.
    """

    fixed: ClassVar[Collection[str]] = ()  # fields that ``set_fields`` does not change

    def __post_init__(self):
        for item, hint in typed_fields(type(self)):
            value = getattr(self, item.name)
            if not fits(value, hint):
                form = item.metadata.get("form") or formatannotation(hint)
                raise InputError(f"{item.name} must be {form}, not {value!r}")
            allowed = item.metadata.get("range", ANY_NUMBER)
            numbers = value if isinstance(value, tuple) else (value,)
            if not all(number in allowed for number in numbers if isinstance(number, Real)):
                raise InputError(f"{item.name} must be {allowed}, not {value!r}")

    def set_fields(self, changes: Changes) -> "Declared":
        """Return the declaration with other values in some fields. Raises InputError if they cannot have them."""
        known = [item.name for item in fields(self) if item.init and item.name not in self.fixed]
        values = {}
        for (name, *deeper), value in changes.items():
            if name not in known:
                raise InputError(f"there is no field {name!r}; there are {', '.join(known)}")
            values.setdefault(name, {})[tuple(deeper)] = value
        return replace(self, **{name: set_value(getattr(self, name), of_field) for name, of_field in values.items()})

    def find_replacement(self, name: str, changes: Changes) -> "Declared":
        """Return the declaration that replaces this one in a field. changes: of the fields of the new one."""
        raise InputError(f"{name!r} is not a {type(self).__name__}")


def set_value(value: Any, changes: Changes) -> Any:
    """Return what becomes of the value of a field: () is the path of the value itself."""
    deeper = {path: new for path, new in changes.items() if path}
    if () in changes:
        new = changes[()]
        is_name = isinstance(value, Declared) and isinstance(new, str)
        value = value.find_replacement(new, deeper) if is_name else new
    if not deeper:
        return value
    if not isinstance(value, Declared):
        raise InputError(f"{value!r} has no fields")
    return value.set_fields(deeper)


def to_plain(value: Any) -> Any:
    """Return the value of a field as plain values for JSON; a declaration becomes {name of its kind: its fields}."""
    if isinstance(value, Declared):
        values = {item.name: to_plain(getattr(value, item.name)) for item in fields(value) if item.init}
        return {getattr(value, "name", type(value).__name__): values}
    if isinstance(value, tuple):
        return list(map(to_plain, value))
    return value


def from_plain(plain: Any, kinds: Mapping[str, type[Declared]]) -> Any:
    """Return the value that ``to_plain`` has saved. A field that is newer has its default.

    kinds: {name: class}. Raises InputError for an unknown name, and if the fields of a class do not fit.
    """
    if isinstance(plain, list):
        return tuple(from_plain(item, kinds) for item in plain)
    if not isinstance(plain, dict):
        return plain
    ((kind, plain_values),) = plain.items()
    values = {name: from_plain(value, kinds) for name, value in plain_values.items()}
    branches = values.pop("branches", ())
    try:
        return kinds[kind](*branches, **values)
    except (KeyError, TypeError) as error:
        raise InputError(f"{kind} is not a stage or rule of this version: {error}") from error


@functools.cache
def typed_fields(cls: type) -> list[tuple[Field, Any]]:
    """Return each field of a dataclass with its type."""
    hints = get_type_hints(cls)
    return [(item, hints[item.name]) for item in fields(cls)]


def fits(value: Any, hint: Any) -> bool:
    """Return whether a value has the type of a field. A whole number is also a float; True is not a number."""
    if get_origin(hint) in (Union, UnionType):
        return any(fits(value, option) for option in get_args(hint))
    if get_origin(hint) is tuple:
        hints = get_args(hint)
        if not isinstance(value, tuple):
            return False
        if hints[1:] == (...,):
            hints = hints[:1] * len(value)
        return len(value) == len(hints) and all(map(fits, value, hints))
    if isinstance(value, bool):
        return hint is bool
    if hint is float:
        return isinstance(value, int | float)
    return issubclass(hint, int | str | NoneType | Declared) and isinstance(value, hint)
