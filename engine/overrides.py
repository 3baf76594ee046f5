"""Other values for the fields of a network's declaration: "s2.threshold", "s3.1.rule.winners", … → value."""

from dataclasses import fields, is_dataclass, replace
from types import NoneType, UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints

from engine.stages import Stage
from errors import InputError


def override(stages: dict[str, Stage], overrides: dict[str, Any]) -> dict[str, Stage]:
    """Return the stages of a declaration with other values in some fields; stages that change are made again.

    Args:
        stages: {name: stage}, bottom up.
        overrides: {field: value}, applied in order. A field is an argument of the stage (``s2.threshold``) or a field
            of its rule (``s1.rule.winners``, ``s3.rule.warm_up.radius``). ``s3.1.threshold`` is a field of the second
            branch, ``s3.threshold`` of every branch.

    Raises InputError for an unknown field and for a value that the field cannot have.
    """
    changes = {name: {} for name in stages}
    for field, value in overrides.items():
        name = field.partition(".")[0]
        if name not in stages:
            raise InputError(f"{field}: no stage is called {name!r}; there are {', '.join(stages)}", field=field)
        changes[name][field] = value
    rebuilt = {}
    for name, stage in stages.items():
        branches = list(getattr(stage, "branches", ()))
        parts = branches or [stage]
        made = [_changed(part, _of_part(changes[name], name, place, len(parts))) for place, part in enumerate(parts)]
        if not changes[name]:
            rebuilt[name] = stage
        else:
            rebuilt[name] = type(stage)(*made, inputs=stage.inputs) if branches else made[0]
    return rebuilt


def _of_part(changes, name, place, count):
    """The changes of a stage that concern its branch at ``place``: (path, value, the field as it was given)."""
    found = []
    for field, value in changes.items():
        first, *rest = field.split(".")[1:] or [""]
        if first.isdigit():
            if int(first) >= count or not rest:
                there = f"branches {name}.0 to {name}.{count - 1}" if count > 1 else "no branches"
                raise InputError(f"{field}: {name} has {there}; a field is {name}.{'0.' * (count > 1)}threshold, …")
            if int(first) == place:
                found.append((rest, value, field))
        else:
            found.append(([first, *rest], value, field))
    return found


def _changed(stage, changes):
    """Return a stage without branches with other arguments."""
    if not changes:
        return stage
    own = stage.declared()
    settable = [name for name in own if name not in ("in_channels", "rule", "inputs")]
    for (name, *deeper), value, field in changes:
        if name == "rule" and deeper and "rule" in own:
            own["rule"] = _changed_rule(own["rule"], deeper, value, field)
        elif name in settable and not deeper:
            if isinstance(value, bool) and not isinstance(own[name], bool):
                raise InputError(f"{field} cannot be {value}: it is no yes or no")
            own[name] = value
        else:
            of_rule = [f"rule.{name}" for name in _names(own.get("rule"))]
            if name == "rule" and of_rule:
                raise InputError(
                    f"{field}: a rule is not replaced or left out; 0 in --epochs leaves out its phase, and what can be "
                    f"set of it is {', '.join(of_rule)}"
                )
            there = [*settable, *of_rule]
            raise InputError(f"{field}: there is no such field; there are {', '.join(there)}")
    try:
        return type(stage)(**own)
    except (InputError, TypeError) as error:
        given = ", ".join(f"{field}={value}" for _, value, field in changes)
        raise InputError(f"{given}: {error}", field=changes[-1][2]) from error


def _changed_rule(rule, path, value, field):
    """A rule with another value in the field at ``path``."""
    name, *deeper = path
    kinds = get_type_hints(type(rule)) if is_dataclass(rule) else {}
    if name not in _names(rule) and not (name in kinds and deeper and is_dataclass(getattr(rule, name))):
        there = ", ".join(_names(rule)) or f"none, as it is {rule}"
        raise InputError(f"{field}: there is no such field; of this rule there are {there}")
    if deeper:
        value = _changed_rule(getattr(rule, name), deeper, value, field)
    elif not fits(value, kinds[name]):
        raise InputError(f"{field} cannot be {value!r}; it is {described(kinds[name])}")
    try:
        return replace(rule, **{name: value})
    except (InputError, TypeError, ValueError) as error:
        raise InputError(f"{field}={value}: {error}") from error


def _names(rule):
    """The fields of a rule that can be set; of a nested one, "warm_up.winners", …, and itself."""
    names = []
    for each in fields(rule) if is_dataclass(rule) else ():
        names += [each.name, *(f"{each.name}.{name}" for name in _names(getattr(rule, each.name)))]
    return names


def fits(value, kind):
    """Whether a value is of a field's type. A whole number is a float too; True is no number."""
    if get_origin(kind) in (Union, UnionType):
        return any(fits(value, one) for one in get_args(kind))
    if get_origin(kind) is tuple:
        kinds = get_args(kind)
        kinds = kinds[:1] * len(value) if kinds[1:] == (...,) and isinstance(value, tuple) else kinds
        return isinstance(value, tuple) and len(value) == len(kinds) and all(map(fits, value, kinds))
    if isinstance(value, bool):
        return kind is bool
    return isinstance(value, int | float if kind is float else kind)


def described(kind):
    """A field's type in words."""
    words = {int: "a whole number", float: "a number", bool: "true or false", str: "a text", NoneType: "none"}
    if get_origin(kind) in (Union, UnionType):
        return " or ".join(map(described, get_args(kind)))
    if get_origin(kind) is tuple and ... not in get_args(kind):
        return f"{len(get_args(kind))} values, {' and '.join(dict.fromkeys(map(described, get_args(kind))))} each"
    return words.get(kind, kind.__name__ if isinstance(kind, type) and not get_args(kind) else str(kind))
