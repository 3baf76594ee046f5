"""Other values for the fields of a network's declaration: {"s2.threshold": 12, "s3.1.rule.winners": 8, …}."""

from collections.abc import Iterator, Mapping
from dataclasses import MISSING, fields, is_dataclass
from inspect import signature
from types import NoneType, UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints

from engine.rules import RULES, Rule
from engine.stages import Stage
from errors import InputError

Change = tuple[list[str], Any, str]  # names of the path to a field, its value, and the field as it was given

FIXED = {"rule", "inputs", "in_channels"}  # arguments of a stage that cannot be replaced


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
            raise InputError(f"{field}: no stage is called {name!r}; there are {', '.join(stages)}", field=field)
        changes[name].append((path, value, field))
    return {name: _rebuild_stage(stage, changes[name]) if changes[name] else stage for name, stage in stages.items()}


def read_fields(stages: Mapping[str, Stage]) -> dict[str, Any]:
    """Return {field: value} of all fields that ``override`` can change, if their values are plain."""
    return {field: value for field, value, _ in _fields_of_stages(stages)}


def find_new_fields(stages: Mapping[str, Stage], saved: Mapping[str, Any]) -> dict[str, Any]:
    """Return {field: default} of the fields that an older version did not have, if their values are other ones.

    saved: what ``read_fields`` returned then. If whole stages are missing, a still older version has saved only the
    fields that a user had set: then nothing is returned.
    """
    rows = list(_fields_of_stages(stages))
    if {field.split(".")[0] for field, *_ in rows} > {field.split(".")[0] for field in saved}:
        return {}
    return {field: default for field, value, default in rows if field not in saved and value != default}


def _fields_of_stages(stages: Mapping[str, Stage]) -> Iterator[tuple[str, Any, Any]]:
    """Yield field, value and default of all fields that ``override`` can change, if their values are plain."""
    for name, stage in stages.items():
        for number, part in enumerate(getattr(stage, "branches", [stage])):
            prefix = name if part is stage else f"{name}.{number}"
            for field, value, default in _fields(part):
                if _is_plain(value):
                    yield f"{prefix}.{field}", value, default


def _is_plain(value: Any) -> bool:
    """Return whether a value can be saved as JSON."""
    return all(map(_is_plain, value)) if isinstance(value, tuple) else isinstance(value, int | float | str | NoneType)


def _rebuild_stage(stage: Stage, changes: list[Change]) -> Stage:
    branches = {str(number): branch for number, branch in enumerate(getattr(stage, "branches", ()))}
    if not branches:
        return _rebuild(stage, changes)
    for path, _, field in changes:
        if path[:1] and path[0].isdigit() and path[0] not in branches:
            raise InputError(f"{field}: there are the branches {', '.join(branches)}", field=field)
    made = [
        _rebuild(branch, [(path[path[:1] == [number] :], *rest) for path, *rest in changes if _concerns(path, number)])
        for number, branch in branches.items()
    ]
    return type(stage)(*made, inputs=stage.inputs)


def _concerns(path: list[str], number: str) -> bool:
    """Return whether a change of a stage concerns its branch of this number."""
    return not path or not path[0].isdigit() or path[0] == number


def _rebuild(part: Stage | Rule, changes: list[Change]) -> Stage | Rule:
    """Return a stage without branches, or a rule, with other arguments."""
    arguments = {name: getattr(part, name) for name in signature(type(part)).parameters}
    types = get_type_hints(type(part).__init__ if isinstance(part, Stage) else type(part))
    for path, value, field in sorted(changes, key=lambda change: len(change[0])):  # a rule before its fields
        name, *deeper = path or [""]
        if not deeper and isinstance(arguments.get(name), Rule) and (isinstance(value, str) or name in FIXED):
            arguments[name] = _replace_rule(arguments[name], value, [each for each in changes if each[0][0] == name])
        elif deeper and is_dataclass(arguments.get(name)):
            arguments[name] = _rebuild(arguments[name], [(deeper, value, field)])
        elif ".".join(path) not in (names := [name for name, *_ in _fields(part)]):
            raise InputError(f"{field}: there is no such field; there are {', '.join(names)}", field=field)
        elif not fits(value, types[name]):
            raise InputError(f"{field} cannot be {value!r}; it is {describe(types[name])}", field=field)
        else:
            arguments[name] = value
    return _make(type(part), arguments, changes)


def _make(kind: type, arguments: dict[str, Any], changes: list[Change]) -> Stage | Rule:
    try:
        return kind(**arguments)
    except (InputError, TypeError, ValueError) as error:
        given = ", ".join(f"{field}={value}" for _, value, field in changes)
        raise InputError(f"{given}: {error}", field=changes[-1][2]) from error


def _replace_rule(old: Rule, name: Any, changes: list[Change]) -> Rule:
    """Return the rule of this name. changes: of the rule and its fields; those of fields without default are read."""
    if name == old.name:
        return old
    field = next(field for path, _, field in changes if len(path) == 1)
    if name not in RULES:
        raise InputError(f"{field}: no rule is called {name!r}; there are {', '.join(RULES)}", field=field)
    kind, values = RULES[name], {path[1]: value for path, value, _ in changes if len(path) == 2}
    if kind.needs_labels != old.needs_labels:
        needs = "labels" if kind.needs_labels else "no labels"
        raise InputError(f"{field}: {name} needs {needs}, unlike {old.name}, which it would replace", field=field)
    needed = [each.name for each in fields(kind) if each.default is each.default_factory is MISSING]
    if missing := [each for each in needed if each not in values and not hasattr(old, each)]:
        raise InputError(f"{field}: {name} also needs {' '.join(f'{field}.{each}=…' for each in missing)}", field=field)
    return _make(kind, {each: values.get(each, getattr(old, each, None)) for each in needed}, changes)


def _fields(part: Stage | Rule) -> Iterator[tuple[str, Any, Any]]:
    """Yield each field that can be set, "threshold", "rule", "rule.winners", …, with its value and its default.

    The value of a rule is its name.
    """
    for name, parameter in signature(type(part)).parameters.items():
        value = getattr(part, name)
        if isinstance(value, Rule):
            yield name, value.name, parameter.default
        elif not (isinstance(part, Stage) and name in FIXED):
            yield name, value, parameter.default
        if is_dataclass(value):
            for inner, *rest in _fields(value):
                yield f"{name}.{inner}", *rest


def fits(value: Any, kind: Any) -> bool:
    """Return whether a value has the type of a field. A whole number is also a float; True is not a number."""
    if get_origin(kind) in (Union, UnionType):
        return any(fits(value, option) for option in get_args(kind))
    if get_origin(kind) is tuple:
        kinds = get_args(kind)
        kinds = kinds[:1] * len(value) if kinds[1:] == (...,) and isinstance(value, tuple) else kinds
        return isinstance(value, tuple) and len(value) == len(kinds) and all(map(fits, value, kinds))
    if isinstance(value, bool):
        return kind is bool
    return isinstance(value, int | float if kind is float else kind)


def describe(kind: Any) -> str:
    """Return the type of a field in words."""
    words = {int: "a whole number", float: "a number", bool: "true or false", str: "a text", NoneType: "none"}
    if get_origin(kind) in (Union, UnionType):
        return " or ".join(map(describe, get_args(kind)))
    if get_origin(kind) is tuple:
        kinds = get_args(kind)
        words = " and ".join(dict.fromkeys(describe(each) for each in kinds if each is not ...))
        return f"values, {words} each" if ... in kinds else f"{len(kinds)} values, {words} each"
    return words.get(kind, getattr(kind, "__name__", str(kind)))
