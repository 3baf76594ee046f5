"""``compiled``: numba's compiler, with the machine code kept on the disk between starts.

numba has such a cache too (``njit(cache=True)``), with these faults (the numbers are those of numba's issues):

* 1833: if a function is edited, its callers in other files still run the old code;
* 4807, 10128: if two processes fill the cache at the same time, a process can crash;
* 10434: a file that was cut ends each start in a traceback.

Here, a file is named after the digest of everything that its machine code depends on, and it begins with a checksum. If
anything in the cache fails, the function is compiled, and one line on stderr states the reason. A file that no start
has used for 30 days is removed.

Since version 0.68, ``NUMBA_CACHE_LOCATOR_CLASSES`` can name a class that chooses numba's folder and computes the stamp
of a source file, which is a digest of its content by default. When older versions are no longer supported, such a class
can contain ``_folder`` and the digest of the function's files. The rest stays necessary: a stamp does not depend on the
types of the arguments, and so not on the file of a rule, and numba's files have no checksum.
"""

import functools
import hashlib
import inspect
import itertools
import os
import pickle
import re
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from importlib import metadata
from pathlib import Path
from types import FunctionType, ModuleType

import llvmlite
import numba
import numpy as np
from numba import config, njit, types

from utils import write_atomically

try:  # each version of numba can rename these modules and what they contain
    from numba.core import bytecode, caching, compiler, serialize

    NullCache = caching.NullCache
    # The linker takes functions with equal names for the same function. numba numbers the closures of one name, but it
    # counts from 1 in each process: a kernel from one process would call the closure of a kernel from another process.
    next(bytecode.FunctionIdentity._unique_ids)
    bytecode.FunctionIdentity._unique_ids = itertools.count(int.from_bytes(os.urandom(7), "little"))
except Exception:  # each use of these names fails, and the functions are compiled
    NullCache = object
    compiler = None
    serialize = None

ENGINE = Path(__file__).resolve().parent
# About the time at which the process began, and not earlier: a thread cannot work for longer than its process exists.
STARTED = time.time() - time.thread_time()
LIBRARIES = {"numba", "numpy", "llvmlite", *sys.stdlib_module_names}  # the digest contains their versions
INSTALLED = re.compile(r"[\\/](site|dist)-packages[\\/]")
HARMLESS_SETTINGS = re.compile(r"CACHE_|.*NUM_THREADS|THREADING_LAYER")  # of numba: they do not change machine code
CONSTANTS = bool, int, float, complex, str, bytes, type(None), np.generic, np.dtype, types.Type
PLAIN_TYPES = types.Number, types.Boolean, types.NoneType, types.UnicodeType, types.Literal, types.Omitted, types.Array

counts: Counter[str] = Counter()  # in this process; "loaded" and "compiled" are numbers of signatures
announcements: list[Callable[[], None]] = []  # functions to call before the next compilation; each is called once


def compiled(function):
    """Compile a function by ``numba.njit(nogil=True)``. For several threads, see ``engine/threads.py``.

    No kernel is called from C, so that wrapper is not compiled. In a kernel, write a loop in place of the assignment of
    an array to a slice: numba compiles the text of its error message for seconds.
    """
    dispatcher = njit(nogil=True, no_cfunc_wrapper=True)(function)
    if hasattr(dispatcher, "_cache"):
        dispatcher._cache = _Cache(dispatcher)
    elif not config.DISABLE_JIT:
        _warn(function, "this version of numba has another cache")
    return dispatcher


class _Cache(NullCache):  # type: ignore[misc, valid-type]  # of this version of numba, or object
    """numba calls ``load_overload`` before it compiles a function for a signature, and ``save_overload`` afterwards."""

    def __init__(self, dispatcher):
        self._dispatcher = dispatcher

    def load_overload(self, sig, target_context):
        """Return the CompileResult that was kept, or None."""
        try:
            target_context.refresh()
            digest = digest_of(self._dispatcher, tuple(sig), target_context.codegen().magic_tuple())
            path = _folder() / f"{digest}.kernel"
            if path.exists():
                content = path.read_bytes()
                payload = content[64:]
                if content[:64] != hashlib.blake2b(payload, key=digest.encode()).digest():  # or is of another digest
                    raise ValueError(f"{path} is damaged")
                with suppress(OSError):
                    os.utime(path)
                kept = serialize.loads(payload)  # type: ignore[union-attr]  # if it is None, the function is compiled
                result = compiler.CompileResult._rebuild(target_context, *kept)  # type: ignore[union-attr]  # likewise
                counts["loaded"] += 1
                return result
        except Exception as error:
            _warn(self._dispatcher, error)
        while announcements:
            announcements.pop()()

    def save_overload(self, sig, cres):
        """Keep the CompileResult, unless it contains addresses of this process."""
        counts["compiled"] += 1
        try:
            if not cres.library.has_dynamic_globals:
                digest = digest_of(self._dispatcher, tuple(sig), cres.codegen.magic_tuple())
                payload = serialize.dumps(cres._reduce())  # type: ignore[union-attr]  # likewise
                pickle.dumps(cres.signature)  # raises if a class has no place in a module; numba would copy the class
                content = hashlib.blake2b(payload, key=digest.encode()).digest() + payload
                write_atomically(_folder() / f"{digest}.kernel", lambda temporary: temporary.write_bytes(content))
        except Exception as error:
            _warn(self._dispatcher, error)


@functools.cache
def _folder():
    """Return the first folder that can be written to, without the files that are too old."""
    for parent in filter(None, (config.CACHE_DIR, ENGINE / "__pycache__", "~/.cache/first-spike-networks")):
        with suppress(OSError, RuntimeError):  # RuntimeError: there is no home folder
            folder = Path(parent).expanduser() / f"kernels-{sys.implementation.cache_tag}"
            folder.mkdir(parents=True, exist_ok=True)
            tempfile.TemporaryFile(dir=folder).close()
            for path in folder.glob("*.kernel"):
                with suppress(OSError):
                    if path.stat().st_mtime < time.time() - 30 * 24 * 60 * 60:
                        path.unlink()
            return folder
    raise OSError("no folder for machine code can be written to; set NUMBA_CACHE_DIR to a folder")


def _warn(function, reason):
    """Write one line on stderr, once in a process."""
    counts["warnings"] += 1
    if counts["warnings"] == 1:
        line = f"the machine code of {function.__qualname__} is not kept or not loaded: {reason}"
        with suppress(OSError, ValueError, AttributeError):  # stderr is full or closed
            sys.stderr.write(" ".join(line.split()) + "\n")


def digest_of(function, arguments: tuple, target: tuple) -> str:
    """Compute the SHA-256, in hexadecimal, of everything on which the machine code of a function depends.

    It covers versions, numba's settings, the processor (``target``), numba's types of the arguments, this file, the
    files of the function and of the NamedTuples in its arguments (a rule's methods become code), the files that these
    import, except for installed packages, and the constants in all of them, which numba freezes.

    Raises ValueError or OSError if another process could find something else under the same names: if the function is
    not in a file, if a file was changed after this process had started, or if a type is more than its name.
    """
    settings = [item for item in vars(config).items() if item[0].isupper() and not HARMLESS_SETTINGS.match(item[0])]
    facts = [numba.__version__, llvmlite.__version__, np.__version__, sys.version, target, settings]
    facts += [_digest_file(path) for path in (__file__, inspect.unwrap(function).__code__.co_filename)]
    dependencies = _Dependencies()
    dependencies.add("", function)
    dependencies.add_type(types.Tuple(arguments))
    return hashlib.sha256(repr(facts + dependencies.facts).encode()).hexdigest()


class _Dependencies:
    """The files and the constants that are reached from functions and types."""

    def __init__(self):
        self.facts = []
        self._seen = {__name__}  # modules and classes; the digest contains this file already

    def add_type(self, numba_type):
        self.facts.append(str(numba_type))
        if isinstance(numba_type, types.BaseTuple):
            named = getattr(numba_type, "instance_class", tuple)
            pickle.dumps(named)  # raises if the module has no class of this name, or another class
            self.add("", named)  # classes with equal names can differ
            for part in numba_type:
                self.add_type(part)
        elif not isinstance(numba_type, PLAIN_TYPES):
            raise ValueError(f"the type {numba_type} can be another type in the next process")

    def add(self, name, value, importer=None):
        """Add what a scope contains under this name. importer: the package to which the scope belongs."""
        if isinstance(value, ModuleType):
            self._add_module(value.__name__, importer)
        elif isinstance(value, CONSTANTS):
            self.facts.append((name, repr(value)))
        elif isinstance(value, np.ndarray) and value.nbytes <= 10**6:  # numba freezes no larger array
            self.facts.append((name, str(value.dtype), value.shape, value.tobytes()))
        elif isinstance(value, tuple):
            for part in (type(value), *value):
                self.add(name, part, importer)
        else:  # a function, a class or an object
            value = inspect.unwrap(getattr(value, "__func__", value))  # the function of a dispatcher or static method
            self._add_module(getattr(value, "__module__", None), importer)
            if isinstance(value, FunctionType):
                self._add_function(name, value, importer)
            elif isinstance(value, type):
                self._add_class(name, value)

    def _add_function(self, name, function, importer):
        code = function.__code__  # functions of one file can have equal names, but not equal places
        self.facts.append((name, function.__module__, function.__qualname__, code.co_firstlineno, code.co_linetable))
        for cell in function.__closure__ or ():
            self.add(name, cell.cell_contents, importer)

    def _add_class(self, name, cls):
        self.facts.append((name, cls.__module__, cls.__qualname__))
        if issubclass(cls, tuple):
            for base in cls.__mro__:
                self._add_scope(base, vars(base), base.__module__.partition(".")[0])

    def _add_module(self, name, importer):
        """Add the file of a module and everything that the module contains."""
        module = sys.modules.get(name)
        package = str(name).partition(".")[0]
        path = getattr(module, "__file__", None)
        if importer is None and package not in LIBRARIES and (path is None or name == "__main__"):
            raise ValueError(f"no other process can import {name}")
        is_foreign = importer not in (None, package) and path is not None and _is_installed(package, path)
        if module and package not in LIBRARIES and not is_foreign and name not in self._seen:
            self.facts.append((name, path and _digest_file(path)))
            self._add_scope(name, vars(module), package)

    def _add_scope(self, key, scope, package):
        if key not in self._seen:
            self._seen.add(key)
            for name, value in list(scope.items()):
                if not name.startswith("__"):
                    self.add(name, value, package)


def _is_installed(package, path):
    """Return whether a file is part of an installed package, also one beside torch (``pip install --target DIR``)."""
    if INSTALLED.search(path):
        return True
    torch = getattr(sys.modules.get("torch"), "__file__", None)
    return torch is not None and Path(torch).parent.parent in Path(path).parents and package in _list_packages()


_list_packages = functools.cache(metadata.packages_distributions)


def _digest_file(path):
    stat = os.stat(path)
    if max(stat.st_mtime, stat.st_ctime) > STARTED:
        raise ValueError(f"{path} was changed after the program had started")
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()
