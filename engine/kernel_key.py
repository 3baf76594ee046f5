"""What a kernel's machine code follows from: all that names it in the cache of ``compiled``."""

import functools
import hashlib
import inspect
import operator
import os
import re
import sys
import time
from pathlib import Path
from types import CodeType, FunctionType, ModuleType
from typing import NamedTuple

import llvmlite
import numba
import numpy as np
from numba import config, types
from numba.core import sigutils
from numba.core.dispatcher import Dispatcher
from numba.core.extending import _Intrinsic

HERE = Path(__file__).resolve().parent

_ENGINE = sorted(HERE.rglob("*.py"))
# About when the process began, and no earlier: this thread has worked no longer than time has passed.
_BEGAN = time.time() - time.thread_time()
# Settings of numba's that leave the machine code as it is; with any other of them it may be another.
_WITHOUT_EFFECT = re.compile(r"CACHE_|CUDA_|.*NUM_THREADS|THREADING_LAYER|COLOR_SCHEME|.*WARN|SHOW_HELP")
# Types whose name says all of them.
_PLAIN_TYPES = (types.Number, types.Boolean, types.NoneType, types.UnicodeType, types.Literal, types.Record)
_PLAIN_TYPES += (types.RangeType,)
_PLAIN_VALUES = (bool, int, float, complex, str, bytes, type(None), np.generic)


class _Bare(NamedTuple):
    field: int


_OF_EVERY_NAMEDTUPLE = set(vars(_Bare)) - set(_Bare._fields)


class UnknownError(Exception):
    """What the machine code follows from cannot be known, so it is not kept; the message says why."""


class KernelKey:
    """All that the machine code of a function for a signature follows from.

    ``digest`` is the SHA-256 of: numba's settings, version and target; every file of the engine; and, of the function,
    of the functions it calls and of the NamedTuples it takes or makes (a learning rule is one, and its methods become
    machine code): their file, their byte code, and the values of globals and closures, which numba freezes. What is
    reached otherwise, such as a plain function that a rule takes from yet another file, is not seen: a rule belongs
    in one file. ``classes`` are the NamedTuples.

    Errors: UnknownError. A class that its module does not have under its name (made in a function), or whose module has
    no file (interpreter, notebook, exec), may be another next time under the same name; so may a function handed over
    as a value. And a file that was changed since the process began may not be the one that was imported.
    """

    def __init__(self, dispatcher, sig, codegen):
        self.classes = []
        self._functions = set()
        settings = sorted((name, repr(value)) for name, value in vars(config).items() if name.isupper())
        self._facts = [item for item in settings if not _WITHOUT_EFFECT.match(item[0])]
        self._facts += [numba.__version__, llvmlite.__version__, np.__version__, sys.version, codegen.magic_tuple()]
        self._facts += [(path.relative_to(HERE).as_posix(), _content(path)) for path in _ENGINE]
        self._add_value("", dispatcher)
        args, return_type = sigutils.normalize_signature(sig)
        self._add_type((*args, return_type))
        self.digest = hashlib.sha256(repr(self._facts).encode()).hexdigest()

    def _add_type(self, part):
        """A type's name says all of it but which class a NamedTuple is; that is in its key, by which numba compares."""
        if isinstance(part, _PLAIN_TYPES):
            self._facts.append(str(part))
        elif isinstance(part, types.Omitted):
            self._add_value("default", part.value, closed_over=True)
        elif isinstance(part, types.Type) and not isinstance(part.key, str):
            self._facts.append(str(part))
            self._add_type(part.key)
        elif isinstance(part, tuple):
            for inner in part:
                self._add_type(inner)
        elif isinstance(part, type) and issubclass(part, tuple):
            self._add_class(part)
        elif not isinstance(part, _PLAIN_VALUES):
            raise UnknownError(f"an argument of type {part} may mean something else at every start")

    def _add_class(self, cls):
        if cls in self.classes:
            return
        self.classes.append(cls)
        for base in cls.__mro__:
            if base.__module__ in ("builtins", "typing"):
                continue
            module = sys.modules.get(base.__module__)
            try:
                found = operator.attrgetter(base.__qualname__)(module)
                file = module.__file__
            except AttributeError:
                found = file = None
            if found is not base or file is None:
                raise UnknownError(f"{base.__qualname__} is not a class at the top level of a file")
            self._facts.append((base.__module__, base.__qualname__, getattr(base, "_fields", ()), _content(file)))
            for name, value in vars(base).items():
                value = getattr(value, "__func__", value)  # of a static method
                if isinstance(value, FunctionType) and name not in _OF_EVERY_NAMEDTUPLE:
                    self._add_function(value)
                elif name not in _OF_EVERY_NAMEDTUPLE:
                    self._add_value(name, value)

    def _add_function(self, function):
        if function in self._functions:
            return
        self._functions.add(function)
        self._facts.append((function.__module__, function.__qualname__))
        self._add_value("defaults", function.__defaults__)
        for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
            self._add_value(name, cell.cell_contents, closed_over=True)
        self._add_code(function.__code__, function.__globals__)

    def _add_code(self, code, scope):
        self._facts.append((code.co_code, code.co_names))
        for constant in code.co_consts:
            if isinstance(constant, CodeType):
                self._add_code(constant, scope)
            else:
                self._facts.append(repr(constant))
        modules = [scope[name] for name in code.co_names if isinstance(scope.get(name), ModuleType)]
        for names in (scope, *map(vars, modules)):  # ``name`` and ``module.name``
            for name in code.co_names:
                self._add_value(name, names.get(name))

    def _add_value(self, name, value, closed_over=False):
        if isinstance(value, (Dispatcher, _Intrinsic)):
            function = inspect.unwrap(value)
            self._facts.append((repr(getattr(value, "targetoptions", None)), _content(function.__code__.co_filename)))
            self._add_function(function)
        elif isinstance(value, type) and issubclass(value, tuple) and hasattr(value, "_fields"):
            self._add_class(value)
        elif isinstance(value, _PLAIN_VALUES):
            self._facts.append((name, repr(value)))
        elif isinstance(value, np.ndarray):
            self._facts.append((name, value.dtype.str, value.shape, value.tobytes()))
        elif isinstance(value, tuple):
            for inner in value:
                self._add_value(name, inner, closed_over)
        elif closed_over and not isinstance(value, (ModuleType, type)):
            raise UnknownError(f"{name} is a {type(value).__name__} of the function around the kernel")


def _content(path):
    """The digest of the file's bytes, as they were when the process began."""
    try:
        stat = os.stat(path)
        if max(stat.st_mtime, stat.st_ctime) > _BEGAN:
            raise UnknownError(f"{path} was changed since the program started")
        return _digest(path, stat.st_mtime_ns, stat.st_size)
    except OSError as error:
        raise UnknownError(f"cannot read {path}: {error.strerror}") from error


@functools.cache
def _digest(path, mtime, size):
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()
