"""Which machine code belongs to a rule.

A kernel that is called from Python identifies a ``NamedTuple`` by the name of its class and by the names and types of
its fields. It would run the methods of the first class of a name. Therefore, each further class gets a number. The
globals that the methods read are part of the machine code, with the values that they had when it was compiled.
"""

from types import FunctionType
from typing import Any

import numpy as np

from engine import rules

# {name: class} of all plasticities that the kernels have got. Those of this repository keep their names.
CLASSES = {name: cls for name, cls in vars(rules).items() if isinstance(cls, type) and issubclass(cls, tuple)}
SHARED: dict[tuple, type] = {}  # {its names, bases, fields and code: the first class}


def make_plasticity(rule: rules.Rule, dtype: np.dtype) -> Any:
    """Return the plasticity of a rule, with numbers of this type, for the kernels."""
    plasticity = rule.plasticity(dtype.type)
    cls = _find_first(type(plasticity))
    number = 1
    name = first = cls.__name__
    while CLASSES.setdefault(name, cls) is not cls:
        number += 1
        name = f"{first}_{number}"
    cls.__name__ = name
    return cls(*plasticity)


def _find_first(cls):
    """Return the first class of the same code, because a method ``plasticity`` may define its class at each call."""
    codes = []
    for method in filter(None, (getattr(cls, name, None) for name in rules.METHODS)):
        if not isinstance(method, FunctionType) or method.__closure__ or method.__defaults__:
            return cls
        codes.append((id(method.__code__), id(method.__globals__)))
    return SHARED.setdefault((cls.__qualname__, cls.__bases__, cls._fields, *codes), cls)
