"""What all declarations have in common: fields with types and ranges, other values for them, and plain values.

A network is declared with stages and rules, an encoder, an augmentation and a readout.
"""

import functools
from collections.abc import Collection, Mapping
from dataclasses import MISSING, Field, dataclass, field, fields, replace
from inspect import formatannotation, get_annotations
from numbers import Real
from types import UnionType
from typing import TYPE_CHECKING, Any, ClassVar, Union, get_args, get_origin, get_type_hints

import numpy as np

from errors import InputError, abbreviate

if TYPE_CHECKING:
    from typing_extensions import Self

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


@dataclass(frozen=True)
class Declared:
    """The base class of all declarations, which are frozen dataclasses.

    A field is a number, a text, true or false, none, another declaration, or a tuple of these; a list becomes a tuple.
    Numbers are from -1e6 to 1e6 unless the field has another range. Raises InputError if a value does not have the type
    of its field, or is not in its range, and if the class has annotations but is not a dataclass.
    """

    name: ClassVar[str]  # of a rule or an encoder, in flags and files
    fixed: ClassVar[Collection[str]] = ()  # fields that ``set_fields`` does not change
    family: ClassVar[Mapping[str, type["Declared"]]] = {}  # by name, what can replace it in a field

    def __new__(cls, *args: Any, **kwargs: Any):
        typed_fields(cls)  # type: ignore[arg-type]  # mypy: no class is Hashable. Without @dataclass, __init__ would know no fields
        return super().__new__(cls)

    def __post_init__(self):
        for item, hint in typed_fields(type(self)):  # type: ignore[arg-type]  # likewise
            value = to_field(getattr(self, item.name))
            vars(self)[item.name] = value  # the record is frozen
            if not fits(value, hint):
                form = item.metadata.get("form") or formatannotation(hint)
                raise InputError(f"{item.name} must be {form}, not {abbreviate(value)}")
            if item.init and not is_plain(value):  # no file could contain it
                raise InputError(
                    f"{item.name} must be a number, a text, true or false, none, a declaration or a tuple of these, "
                    f"not {abbreviate(value)}"
                )
            allowed = item.metadata.get("range", ANY_NUMBER)
            numbers = value if isinstance(value, tuple) else (value,)
            if not all(number in allowed for number in numbers if isinstance(number, Real)):
                raise InputError(f"{item.name} must be {allowed}, not {value!r}")

    def check_name(self) -> None:
        """Raise InputError unless its class is registered by its name, so that it can be read from a file."""
        if self.family.get(self.name) is not type(self):
            raise InputError(f"{type(self).__name__} needs a name of its own")

    def set_fields(self, changes: Changes) -> "Self":
        """Return the declaration with other values in some fields. Raises InputError if they cannot have them."""
        known = [item.name for item in fields(self) if item.init and item.name not in self.fixed]
        values: dict[str, dict] = {}
        for (name, *deeper), value in changes.items():
            if name not in known:
                raise InputError(f"there is no field {name!r}; there are {', '.join(known)}")
            values.setdefault(name, {})[tuple(deeper)] = value
        return replace(self, **{name: set_value(getattr(self, name), of_field) for name, of_field in values.items()})

    def find_replacement(self, name: str, changes: Changes) -> "Declared":
        """Return the declaration of ``family`` with this name that replaces this one in a field, with its defaults.

        A field without a default has its value in ``changes``, which are of the new fields, or else in this
        declaration. Raises InputError if there is no such declaration, or if such a field has no value.
        """
        if name not in self.family:
            known = ", ".join(self.family) or "no others"
            raise InputError(f"{name!r} cannot replace {type(self).__name__}; there are {known}")
        cls = self.family[name]
        if type(self) is cls:
            return self
        values = {}
        for item in fields(cls):
            if item.default is MISSING and item.default_factory is MISSING:
                values[item.name] = changes.get((item.name,), getattr(self, item.name, MISSING))
        missing = [f"{field}=…" for field, value in values.items() if value is MISSING]
        if missing:
            raise InputError(f"{name} also needs {' '.join(missing)}")
        return cls(**values)


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


def is_plain(value: Any) -> bool:
    """Return whether ``to_plain`` makes plain values of the value of a field."""
    if isinstance(value, tuple):
        return all(map(is_plain, value))
    return value is None or isinstance(value, str | int | float | Declared)


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
        raise InputError(f"this version has no {kind} with these fields: {error}") from error


@functools.cache
def typed_fields(cls: type) -> list[tuple[Field, Any]]:
    """Return each field of a dataclass with its type.

    Raises InputError if a field needs the missing @dataclass, and if a class gives a field of its base another value
    without a type, which dataclasses ignore.
    """
    hints = get_type_hints(cls)
    known = fields(cls)
    of_class = {name for name, hint in hints.items() if ClassVar in (hint, get_origin(hint))}
    lost = hints.keys() - of_class - {item.name for item in known}
    if lost:
        names = ", ".join(sorted(lost))
        raise InputError(f"{cls.__name__} has the fields {names}: write @dataclass(frozen=True) above its class")
    for item in known:
        last = next(base for base in cls.__mro__ if item.name in vars(base) or item.name in get_annotations(base))
        if item.name not in get_annotations(last):
            raise InputError(
                f"{last.__name__} sets the field {item.name} without its type, which has no effect: write {item.name}: "
                f"{formatannotation(hints[item.name])} = {vars(last)[item.name]!r}, and @dataclass(frozen=True) above "
                "its class"
            )
    return [(item, hints[item.name]) for item in known]


def to_field(value: Any) -> Any:
    """Return a value in the form of a field: lists become tuples, and NumPy's numbers become Python's."""
    if isinstance(value, list | tuple):
        return tuple(map(to_field, value))
    return value.item() if isinstance(value, np.generic) else value


def fits(value: Any, hint: Any) -> bool:
    """Return whether a value has the type of a field, and each item of a tuple the type of the items.

    A whole number is also a float; True is not a number.
    """
    if hint is Any:
        return True
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
    return isinstance(value, hint)
