"""Other values for the fields of a network's declaration: {"s2.threshold": 12, "s3.1.rule.winners": 8, …}."""

from collections.abc import Iterator, Mapping
from dataclasses import MISSING, fields, is_dataclass
from inspect import signature
from types import NoneType, UnionType
from typing import Any, NamedTuple, Union, get_args, get_origin, get_type_hints

from engine.rules import RULES, Rule
from engine.stages import Stage
from errors import InputError

FIXED = {"rule", "inputs", "in_channels"}  # arguments of a stage that cannot be replaced


class Change(NamedTuple):
    """A new value of a field of a stage or rule.

    Attributes:
        path: the names that lead from the stage or rule to the field: ["rule", "winners"].
        value: the new value.
        field: the field as the user gave it, for messages: "s1.rule.winners".
    """

    path: list[str]
    value: Any
    field: str


def override(stages: dict[str, Stage], overrides: dict[str, Any]) -> dict[str, Stage]:
    """Return the stages of a declaration with other values in some fields; stages that change are made again.

    Args:
        stages: {name: stage}, bottom up.
        overrides: {field: value}, applied in order. A field is an argument of the stage (``s2.threshold``) or a field
            of its rule (``s1.rule.winners``, ``s3.rule.warm_up.radius``). ``s3.1.threshold`` is a field of the second
            branch, ``s3.threshold`` of every branch. ``s1.rule`` is the name of another rule, which replaces the
            declared rule before its fields are set. A field of the new rule has its default or, if there is none, the
            value of the declared rule.

    Raises InputError for an unknown field and for a value that the field cannot have.
    """
    changes = {name: [] for name in stages}
    for field, value in overrides.items():
        name, *path = str(field).split(".")
        if name not in stages:
            raise InputError(f"{field}: no stage is called {name!r}; there are {', '.join(stages)}")
        changes[name].append(Change(path, value, field))
    rebuilt = dict(stages)
    for name, of_stage in changes.items():
        if of_stage:
            rebuilt[name] = _rebuild_stage(stages[name], of_stage)
    return rebuilt


def read_fields(stages: Mapping[str, Stage]) -> dict[str, Any]:
    """Return {field: value} of all fields that ``override`` can change, if their values are plain."""
    return {field: value for field, value, _ in _list_fields(stages)}


def find_new_fields(stages: Mapping[str, Stage], saved: Mapping[str, Any]) -> dict[str, Any]:
    """Return {field: default} of the fields that an older version did not have, if their values are other ones.

    saved: what ``read_fields`` returned then. If whole stages are missing, a still older version has saved only the
    fields that a user had set: then nothing is returned.
    """
    saved_stages = {field.split(".")[0] for field in saved}
    new = {}
    for field, value, default in _list_fields(stages):
        if field.split(".")[0] not in saved_stages:
            return {}
        if field not in saved and value != default:
            new[field] = default
    return new


def _list_fields(stages: Mapping[str, Stage]) -> Iterator[tuple[str, Any, Any]]:
    """Yield field, value and default of all fields that ``override`` can change, if their values are plain."""
    for name, stage in stages.items():
        parts = {name: stage}
        if hasattr(stage, "branches"):
            parts = {f"{name}.{number}": branch for number, branch in enumerate(stage.branches)}
        for prefix, part in parts.items():
            for field, value, default in _list_fields_of(part):
                if _is_plain(value):
                    yield f"{prefix}.{field}", value, default


def _list_fields_of(part: Stage | Rule) -> Iterator[tuple[str, Any, Any]]:
    """Yield each field that can be set, "threshold", "rule", "rule.winners", …, with its value and its default.

    The value of a rule is its name.
    """
    for name, parameter in signature(type(part)).parameters.items():
        value = getattr(part, name)
        if isinstance(value, Rule):
            yield name, value.name, parameter.default
        elif isinstance(part, Rule) or name not in FIXED:
            yield name, value, parameter.default
        if is_dataclass(value):
            for inner, *value_and_default in _list_fields_of(value):
                yield f"{name}.{inner}", *value_and_default


def _is_plain(value: Any) -> bool:
    """Return whether a value can be saved as JSON."""
    if isinstance(value, tuple):
        return all(map(_is_plain, value))
    return isinstance(value, int | float | str | NoneType)


def _rebuild_stage(stage: Stage, changes: list[Change]) -> Stage:
    if not hasattr(stage, "branches"):
        return _rebuild(stage, changes)
    numbers = [str(number) for number in range(len(stage.branches))]
    of_branch = {number: [] for number in numbers}
    for change in changes:
        number, *path = change.path or [""]
        if not number.isdigit():
            for others in of_branch.values():
                others.append(change)
        elif number in numbers:
            of_branch[number].append(change._replace(path=path))
        else:
            message = f"{change.field}: there are the branches {', '.join(numbers)}"
            raise InputError(message)
    made = [_rebuild(branch, of_branch[number]) for number, branch in zip(numbers, stage.branches, strict=True)]
    return type(stage)(*made, inputs=stage.inputs)


def _rebuild(part: Stage | Rule, changes: list[Change]) -> Stage | Rule:
    """Return a stage without branches, or a rule, with other arguments."""
    arguments = {name: getattr(part, name) for name in signature(type(part)).parameters}
    names = [name for name, *_ in _list_fields_of(part)]
    declaration = type(part).__init__ if isinstance(part, Stage) else type(part)
    types = get_type_hints(declaration)
    for change in sorted(changes, key=lambda change: len(change.path)):  # a rule before its fields
        path, value, field = change
        name, *deeper = path or [""]
        argument = arguments.get(name)
        names_rule = isinstance(argument, Rule) and (isinstance(value, str) or name in FIXED)
        if names_rule and not deeper:
            of_rule = [other for other in changes if other.path[0] == name]
            arguments[name] = _replace_rule(argument, change, of_rule)
        elif deeper and is_dataclass(argument):
            arguments[name] = _rebuild(argument, [Change(deeper, value, field)])
        elif ".".join(path) not in names:
            raise InputError(f"{field}: there is no such field; there are {', '.join(names)}")
        elif not fits(value, types[name]):
            raise InputError(f"{field} cannot be {value!r}; it is {describe(types[name])}")
        else:
            arguments[name] = value
    return _make(type(part), arguments, changes)


def _make(cls: type, arguments: dict[str, Any], changes: list[Change]) -> Stage | Rule:
    try:
        return cls(**arguments)
    except (InputError, TypeError, ValueError) as error:
        given = ", ".join(f"{change.field}={change.value}" for change in changes)
        raise InputError(f"{given}: {error}") from error


def _replace_rule(old: Rule, change: Change, changes: list[Change]) -> Rule:
    """Return the rule that a change names. changes: of the rule and its fields; fields without default are read."""
    _, name, field = change
    if name == old.name:
        return old
    if not isinstance(name, str) or name not in RULES:
        raise InputError(f"{field}: no rule is called {name!r}; there are {', '.join(RULES)}")
    cls = RULES[name]
    if cls.needs_labels != old.needs_labels:
        needs = "labels" if cls.needs_labels else "no labels"
        raise InputError(f"{field}: {name} needs {needs}, unlike {old.name}, which it would replace")
    given = {other.path[1]: other.value for other in changes if len(other.path) == 2}
    arguments = {}
    missing = []
    for parameter in fields(cls):
        has_default = parameter.default is not MISSING or parameter.default_factory is not MISSING
        if has_default:
            continue
        if parameter.name in given:
            arguments[parameter.name] = given[parameter.name]
        elif hasattr(old, parameter.name):
            arguments[parameter.name] = getattr(old, parameter.name)
        else:
            missing.append(f"{field}.{parameter.name}=…")
    if missing:
        raise InputError(f"{field}: {name} also needs {' '.join(missing)}")
    return _make(cls, arguments, changes)


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
    return isinstance(value, hint)


def describe(hint: Any) -> str:
    """Return the type of a field in words."""
    if get_origin(hint) in (Union, UnionType):
        return " or ".join(map(describe, get_args(hint)))
    if get_origin(hint) is tuple:
        hints = [item for item in get_args(hint) if item is not ...]
        words = " and ".join(dict.fromkeys(map(describe, hints)))
        if ... in get_args(hint):
            return f"values, {words} each"
        return f"{len(hints)} values, {words} each"
    words = {int: "a whole number", float: "a number", bool: "true or false", str: "a text", NoneType: "none"}
    return words.get(hint, getattr(hint, "__name__", str(hint)))
