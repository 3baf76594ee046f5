"""``compiled``: numba's compiler, with the machine code kept on the disk between starts.

numba keeps machine code too (``njit(cache=True)``), but there an edit in a callee of another file returns the old
answer, a damaged file is executed or stops every start, and two first starts can mix up their files. Here a file is
named after all that its machine code follows from (``KernelKey``) and begins with a checksum, so that it is right or
not there. There is no index that could get out of step, and nothing is updated in place. Whatever is wrong with the
cache costs a compilation and one line on stderr, never the run.

The files lie in a folder of ``NUMBA_CACHE_DIR`` if that is set, else beside the source, else in the home folder; if
none can be written to, nothing is kept. A file that no start has used for 30 days is removed.
"""

import functools
import hashlib
import io
import itertools
import os
import pickle
import re
import secrets
import sys
import tempfile
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path

from numba import config, njit, typeof
from numba.core.bytecode import FunctionIdentity
from numba.core.caching import NullCache
from numba.core.compiler import CompileResult
from numba.core.dispatcher import Dispatcher
from numba.core.serialize import NumbaPickler

from engine.kernel_key import KernelKey, UnknownError
from errors import InputError
from utils import write_atomically

HERE = Path(__file__).resolve().parent
DAY = 24 * 60 * 60
KEPT = 30 * DAY
FOLDER = f"kernels-{sys.implementation.cache_tag}"
# The first part: half-written, see utils.find_temporaries.
ENTRY = re.compile(r"(\.\d+\.)?[A-Za-z0-9_]+-[0-9a-f]{64}\.kernel")
# Backups leave out a folder that has this file, and we remove nothing from a folder that lacks it.
TAG = "CACHEDIR.TAG"
TAG_TEXT = b"Signature: 8a477f597d28d172789f06886806bc55\n# Machine code of first-spike networks; it may be removed.\n"

counts = Counter()  # "loaded" and "compiled": signatures of functions, in this process
_told = []

# The linker takes two functions of one name for the same one. numba tells closures of one name apart by a number, which
# starts at 1 in every process: of two kernels kept by two processes, the second would call the first one's closure.
FunctionIdentity._unique_ids = itertools.count(secrets.randbits(60))


def compiled(function=None, **options):
    """``numba.njit(nogil=True)`` with this cache, also with more options: ``@compiled(parallel=True)``."""
    if function is None:
        return lambda function: compiled(function, **options)
    dispatcher = njit(nogil=True, **options)(function)
    if isinstance(dispatcher, Dispatcher):  # with NUMBA_DISABLE_JIT it is the function itself
        dispatcher._cache = _Cache(dispatcher)
    return dispatcher


class _Cache(NullCache):
    """What numba's dispatcher asks before it compiles a signature, and tells afterwards."""

    def __init__(self, dispatcher):
        self._dispatcher = dispatcher

    @property
    def cache_path(self):
        return str(_folder())

    def load_overload(self, sig, target_context):
        """The CompileResult as it was kept; None: compile it."""
        target_context.refresh()
        key = payload = None
        with suppress(UnknownError):
            key = KernelKey(self._dispatcher, sig, target_context.codegen())
            payload = self._read(key)
        counts["loaded" if payload else "compiled"] += 1
        if not payload:
            return None
        result = CompileResult._rebuild(target_context, *_Unpickler(io.BytesIO(payload), key.classes).load())
        # What calls it takes from here what a start has to do first: to start the threads. numba forgets it, and a
        # caller that is the first to be loaded later would jump to address 0.
        result.library._reload_init.update(result.reload_init)
        return result

    def save_overload(self, sig, cres):
        """Keep the CompileResult, unless it holds addresses of this process or a copy of a class of ``__main__``."""
        if _folder() is None or cres.library.has_dynamic_globals:
            return
        try:
            key = KernelKey(self._dispatcher, sig, cres.codegen)
        except UnknownError as error:
            _tell(f"{self._dispatcher.__qualname__} is not kept: {error}")
            return
        returned = str(cres.signature.return_type)  # whose class numba writes into the machine code, by its own pickler
        if any(cls.__module__ == "__main__" and f"{cls.__name__}(" in returned for cls in key.classes):
            return
        file = io.BytesIO()
        _Pickler(file, key.classes).dump(cres._reduce())
        content = _checksum(file.getvalue(), key.digest) + file.getvalue()
        try:
            write_atomically(self._path(key), lambda temporary: temporary.write_bytes(content))
        except InputError as error:
            _tell(error)

    def _path(self, key):
        function = self._dispatcher.py_func
        name = re.sub(r"\W+", "_", f"{function.__module__}.{function.__qualname__}", flags=re.ASCII)[-100:]
        return _folder() / f"{name}-{key.digest}.kernel"

    def _read(self, key):
        """What was pickled; None if there is no file, or none that can be used."""
        if _folder() is None:
            return None
        path = self._path(key)
        try:
            content = path.read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            _tell(f"cannot read {path}: {error.strerror}")
            return None
        payload = payload_of(content, key.digest)
        if payload is None:
            _tell(f"{path} is damaged and is compiled anew")
        else:
            _touched(path)
        return payload


class _Pickler(NumbaPickler):
    """Writes the NamedTuples of a signature as numbers.

    By itself it writes a copy of a class of ``__main__``, and a copy is another type to numba.
    """

    def __init__(self, file, classes):
        super().__init__(file, protocol=4)
        self._classes = classes

    def persistent_id(self, thing):
        return self._classes.index(thing) if isinstance(thing, type) and thing in self._classes else None


class _Unpickler(pickle.Unpickler):
    def __init__(self, file, classes):
        super().__init__(file)
        self._classes = classes

    def persistent_load(self, number):
        return self._classes[number]


def keeps_kernels():
    """Whether machine code is kept at all: what one process compiles another finds."""
    return _folder() is not None


def is_kept(function, *args):
    """Whether the machine code of a compiled function for such arguments is on the disk."""
    if not isinstance(function, Dispatcher) or not keeps_kernels():
        return False
    function.targetctx.refresh()
    with suppress(UnknownError):
        key = KernelKey(function, tuple(map(typeof, args)), function.targetctx.codegen())
        return function._cache._path(key).is_file()
    return False


def payload_of(content, digest):
    """What follows the checksum in the content of a file; None if the file is damaged, or that of another key."""
    return content[32:] if content[:32] == _checksum(content[32:], digest) else None


def _checksum(payload, digest):
    """32 bytes. The key's digest is in it, so that a file under another's name does not pass."""
    return hashlib.sha256(digest.encode() + payload).digest()


@functools.cache
def _folder():
    """Where this process keeps machine code, cleared of what nobody uses; None: nowhere."""
    for place in _places():
        folder = Path(place) / FOLDER
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=folder):
                pass
            is_new = not (folder / TAG).exists()
            if is_new:
                write_atomically(folder / TAG, lambda temporary: temporary.write_bytes(TAG_TEXT))
            if is_new or (_is_ours(folder) and _touched(folder / TAG)):  # once a day
                _remove_unused(folder.parent)
            return folder
        except (OSError, InputError):
            continue
    _tell("no folder for it can be written to; set NUMBA_CACHE_DIR to one, or every start compiles")
    return None


def _places():
    """NUMBA_CACHE_DIR if it is set; beside the source; in the home folder, if there is one."""
    if config.CACHE_DIR:
        yield config.CACHE_DIR
    yield HERE / "__pycache__"
    with suppress(RuntimeError):
        yield Path.home() / ".cache" / "first-spike-networks"


def _is_ours(folder):
    with suppress(OSError):
        return not folder.is_symlink() and (folder / TAG).read_bytes() == TAG_TEXT
    return False


def _remove_unused(place):
    """Remove the files of ours that no start has used for long, and the folders of ours that have no other."""
    before = time.time() - KEPT
    for folder in filter(_is_ours, place.glob("kernels-*")):
        with suppress(OSError):
            for path in folder.iterdir():
                with suppress(OSError):
                    if ENTRY.fullmatch(path.name) and path.stat().st_mtime < before:
                        path.unlink()
            if (folder / TAG).stat().st_mtime < before and [path.name for path in folder.iterdir()] == [TAG]:
                (folder / TAG).unlink()
                folder.rmdir()


def _touched(path):
    """Set the file's time to now unless it is less than a day old; returns whether it was set."""
    with suppress(OSError):
        if path.stat().st_mtime < time.time() - DAY:
            os.utime(path)
            return True
    return False


def _tell(fact):
    """Write one line on stderr, only the first in this process; a stderr that is closed or full is no error here."""
    if not _told:
        _told.append(fact)
        with suppress(OSError, ValueError, AttributeError):
            sys.stderr.write(f"compiled kernels: {fact}\n")
