"""Which machine code belongs to a rule: numba takes different rules for the same one in two cases.

* A kernel that is called from Python identifies a ``NamedTuple`` by the name of its class and by the names and types of
  its fields. It would run the methods of the first class of a name. Therefore, each further class gets a number.
* Machine code contains the values that globals had when it was compiled. If a method or a function that it calls reads
  a global that has changed, the rule is refused.
"""

import dis
from collections.abc import Iterator
from itertools import chain
from types import CodeType, FunctionType, ModuleType
from typing import Any

import numpy as np

from engine import rules
from engine.compiled import CONSTANTS, LIBRARIES
from errors import InputError

METHODS = "window", "change", "verdict"
# {name: class} of all plasticities that the kernels have got. Those of this repository keep their names.
CLASSES = {name: cls for name, cls in vars(rules).items() if isinstance(cls, type) and issubclass(cls, tuple)}
SHARED: dict[tuple, type] = {}  # {its names, bases, fields and code: the first class}
FROZEN: dict[Any, list[tuple[str, Any]]] = {}  # {class or function: what its code read when it was compiled}


def make_plasticity(rule: rules.Rule, dtype: np.dtype) -> Any:
    """Return the plasticity of a rule, with numbers of this type, for the kernels.

    Raises InputError if a global that its methods read has changed since the kernels got its class.
    """
    plasticity = rule.plasticity(dtype.type)
    cls = _find_first(type(plasticity))
    number = 1
    name = first = cls.__name__
    while CLASSES.setdefault(name, cls) is not cls:
        number += 1
        name = f"{first}_{number}"
    if name != first:
        cls.__name__ = name
    _check_globals(cls)
    return cls(*plasticity)


def _find_first(cls):
    """Return the first class of the same code, because a method ``plasticity`` may define its class at each call."""
    codes = []
    for method in filter(None, (getattr(cls, name, None) for name in METHODS)):
        if not isinstance(method, FunctionType) or method.__closure__ or method.__defaults__:
            return cls
        codes.append((id(method.__code__), id(method.__globals__)))
    return SHARED.setdefault((cls.__qualname__, cls.__bases__, cls._fields, *codes), cls)


def _check_globals(cls):
    methods = [(name, getattr(cls, name, None)) for name in METHODS]
    functions = [method for _, method in methods]
    read = list(chain(methods, *map(_list_read, functions)))
    owners = [(cls, read)]
    for owner, read in owners:  # it grows by the functions that are called
        frozen = [(name, _freeze(value)) for name, value in read]
        for (name, before), (_, now) in zip(FROZEN.setdefault(owner, frozen), frozen, strict=False):
            if before != now:
                what = owner.__qualname__
                message = f"{what} reads {name}, which has changed since {what} was compiled: define {what} again"
                raise InputError(message)
        for _, value in read:
            more = _list_read(value)
            if more and value not in functions:
                functions.append(value)
                owners.append((value, more))


def _list_read(function: Any) -> list[tuple[str, Any]]:
    """Return (name, value) of what a function or dispatcher reads outside of it; [] for anything else."""
    function = getattr(function, "py_func", function)
    if not isinstance(function, FunctionType) or str(function.__module__).partition(".")[0] in LIBRARIES:
        return []
    cells = zip(function.__code__.co_freevars, function.__closure__ or (), strict=True)
    enclosed = [(name, cell.cell_contents) for name, cell in cells]
    return enclosed + list(_list_globals(function.__code__, function.__globals__))


def _list_globals(code: CodeType, scope: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    """Yield (name, value) of each global that code reads, and of each attribute that it reads of a module."""
    value = None
    for instruction in dis.get_instructions(code):
        name = instruction.argval
        if instruction.opname == "LOAD_GLOBAL":
            value = scope.get(name)
            yield name, value
        elif isinstance(value, ModuleType) and instruction.opname in ("LOAD_ATTR", "LOAD_METHOD"):
            value = getattr(value, name, None)
            yield name, value
        else:
            value = None
            if isinstance(name, CodeType):  # a function within the function
                yield from _list_globals(name, scope)


def _freeze(value: Any) -> Any:
    """Return what is equal for equal constants and for the same object."""
    if isinstance(value, CONSTANTS):
        return type(value), repr(value)
    if isinstance(value, np.ndarray):
        return value.dtype, value.shape, value.tobytes()
    if isinstance(value, tuple):
        return [_freeze(item) for item in value]
    return id(value), value  # the object itself, so that no other object gets its id
