"""The machine and the disk: threads, device, versions, memory, run folders, and files that are written atomically."""

import csv
import errno
import json
import os
import platform
import re
import secrets
import shlex
import shutil
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import datetime
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zipfile import ZIP_DEFLATED, ZipFile

from errors import InputError

if TYPE_CHECKING:
    from filelock import FileLock

try:
    import resource
except ImportError:  # Windows
    resource = None  # type: ignore[assignment]  # get_peak_memory returns None

ROOT = Path(__file__).resolve().parent
NO_LOCKS = errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP  # of file systems
WAITS = 0.1, 0.2, 0.4, 0.8  # seconds between the attempts to replace a file
MAX_DEPTH = 100  # of lists and dicts in each other in JSON; Python writes up to about 990, 3.14 more
PACKAGES = "torch", "torchvision", "numpy", "numba", "scikit-learn", "scipy", "pillow", "tensorboard", "matplotlib"


def set_threads(threads: int | str) -> int:
    """Set the number of threads of the kernels and of torch (0 or "auto": one per core). Returns the number."""
    import numba
    import torch

    cores = numba.config.NUMBA_NUM_THREADS
    threads = 0 if threads == "auto" else int(threads)
    if not 0 <= threads <= cores:
        message = f"--threads must be from 1 to {cores} on this machine, or 0 for all cores, not {threads}"
        raise InputError(message)
    threads = threads or cores
    torch.set_num_threads(threads)
    return threads


def choose_device(name: str, backend: str = "auto"):
    """Return the torch.device of --device. "auto" is the CPU or, with the torch backend, a GPU if there is one."""
    import torch

    if name == "auto":
        name = "cuda" if backend == "torch" and torch.cuda.is_available() else "cpu"
    if not re.fullmatch(r"cpu|cuda(:[0-9]{1,3})?", name):
        raise InputError(f"--device must be cpu, cuda, cuda:N or auto, not {name!r}")
    device, gpus = torch.device(name), torch.cuda.device_count()
    if device.type == "cuda" and (device.index or 0) >= gpus:
        raise InputError(f"--device {name} does not exist; CUDA devices of this machine: {gpus}")
    return device


@contextmanager
def claim_folder(output: str | Path, title: str, name: str | None = None, replaces: bool = False) -> Iterator[Path]:
    """Create and lock a new folder ``output/name``, by default ``output/title-time``, under a temporary name.

    Yields the temporary folder. ``put_in_place`` gives it its name; without it, the folder is removed at the end.

    replaces: whether an existing folder ``output/name`` is deleted, so that its name is free.

    Raises InputError if the folder exists, if another process creates it, or if it cannot be created.
    """
    output = Path(output)
    stamped = f"{title}-{datetime.now():%Y%m%d-%H%M%S}"
    names = [name] if name else [stamped, *(f"{stamped}-{number}" for number in range(2, 100))]
    try:
        output.mkdir(parents=True, exist_ok=True)
        for each in names:
            temporary = output / f".{each}.new"
            lock = _claim(output / each, temporary, replaces)
            if lock is not None:
                break
        else:
            raise InputError(f"{output / each} already exists, or is being created; choose another --name")
    except OSError as error:
        raise InputError(f"cannot write to --output {output}: {error.strerror or error}") from error
    try:
        yield temporary
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
        unlock(lock)


def _claim(folder: Path, temporary: Path, replaces: bool) -> "FileLock | None":
    """Lock a folder that does not exist or is replaced, and create it under a temporary name.

    What a killed process has left there is deleted.

    Returns the lock; None if the folder exists and is not replaced, or if it is locked. Without locks, it is also None
    if either folder exists, because another process may fill it.
    """
    if os.path.lexists(folder) and not replaces:
        return None
    lock = try_lock(folder)
    if lock is None:
        return None
    try:
        if lock.is_locked:
            if os.path.lexists(temporary):
                shutil.rmtree(temporary)
            if replaces and os.path.lexists(folder):
                folder.rename(temporary)  # no part of it keeps its name
                shutil.rmtree(temporary)
        if not os.path.lexists(temporary) and not os.path.lexists(folder):
            temporary.mkdir()
            return lock
    except OSError:
        unlock(lock)
        raise
    unlock(lock)
    return None


def put_in_place(temporary: Path) -> Path:
    """Give a folder of ``claim_folder`` its name. Returns its path. The folder stays locked."""
    folder = temporary.with_name(temporary.name[1:].removesuffix(".new"))
    _move(temporary, folder)
    return folder


def to_folder_name(name: str) -> str:
    """Return a name as part of a folder's name, at most 150 of its 255 bytes: "my digits.npz" → "my-digits.npz"."""
    dashed = "".join(c if c.isalnum() or c in "-_." else "-" for c in name)
    return dashed.encode()[:150].decode(errors="ignore").strip("-.") or "data"


def try_lock(folder: Path, inside: bool = False) -> "FileLock | None":
    """Lock a folder, which may be missing, by a file ``.NAME.lock`` beside it or, ``inside``, by ``.lock`` in it.

    The lock holds on each system and, on NFS, on all machines. ``unlock`` ends it. Returns None if another process has
    locked the folder. On file systems without locks nothing is locked: ``is_locked`` of what is returned is False.

    Raises OSError if the file cannot be created.
    """
    from filelock import FileLock, Timeout

    folder = folder.resolve()
    lock = FileLock(folder / ".lock" if inside else folder.with_name(f".{folder.name}.lock"))
    try:
        lock.acquire(timeout=0)
    except (Timeout, BlockingIOError):
        return None
    except OSError as error:
        if error.errno == errno.ESTALE:  # NFS: the file was deleted on another machine, whose lock has just ended
            return None
        if error.errno not in NO_LOCKS:
            raise
    return lock


def unlock(lock: "FileLock") -> None:
    """Unlock what ``try_lock`` has locked, and delete the file of the lock.

    The file is deleted before it is unlocked: who locks a deleted file tries again, which filelock sees to.
    """
    if lock.is_locked:
        with suppress(OSError):  # Windows deletes no open file; there, filelock deletes it
            os.unlink(lock.lock_file)
        lock.release()


@contextmanager
def lock_folder(folder: Path, inside: bool = False, advice: str = "wait for it or stop it") -> Iterator[None]:
    """Lock a folder, see ``try_lock``.

    Raises InputError, with an advice, if another process has locked it, and if it is not writable.
    """
    if not os.access(folder, os.W_OK):
        raise InputError(f"cannot write to {folder}")
    try:
        lock = try_lock(folder, inside)
    except OSError as error:
        raise InputError(f"cannot lock {folder}: {error.strerror or error}: {error.filename}") from error
    if lock is None:
        raise InputError(f"another process works in {folder}; {advice}")
    try:
        yield
    finally:
        unlock(lock)


def check_place(path: Path) -> None:
    """Raise an InputError if no file can be written at a path, or if there is something else than a regular file."""
    is_special = os.path.lexists(path) and not stat.S_ISREG(path.lstat().st_mode)
    if is_special or not os.access(path.parent, os.W_OK):
        reason = "there is a link, a folder or a special file, or its folder is missing or not writable"
        raise InputError(f"cannot write {path}: {reason}") from FileExistsError(reason)


def write_atomically(path: Path, write: Callable[[Path], object], is_durable: bool = False) -> None:
    """Call ``write(temporary path)``, then move the file into place, so that readers see the old or the new file.

    is_durable: wait until the content is on the disk before the file is moved, so that a power failure leaves the old
    or the new file, too. This takes about 10 ms.

    Raises an InputError if the place cannot be written to or is full, or if there is something else than a regular
    file: a link, a pipe, a device or a folder.
    """
    check_place(path)
    # unique on all machines that share a folder; the suffix determines the format of a picture
    temporary = path.with_name(f".{secrets.token_hex(8)}.tmp.{path.name}")
    try:
        write(temporary)
        if is_durable:
            with open(temporary, "rb+") as file:
                os.fsync(file.fileno())
        _move(temporary, path)
    except OSError as error:
        raise InputError(f"cannot write {path}: {error.strerror or error}") from error
    finally:
        with suppress(OSError):
            temporary.unlink()


def write_npz(path: Path, arrays: Mapping[str, Any]) -> None:
    """Write arrays by name, as ``np.savez_compressed``, whose parameters ``file`` and ``allow_pickle`` can be names."""
    import numpy as np  # not at the start of a command

    def write(temporary):
        with ZipFile(temporary, "w", ZIP_DEFLATED) as archive:
            for name, values in arrays.items():
                with archive.open(f"{name}.npy", "w", force_zip64=True) as file:
                    np.lib.format.write_array(file, np.asarray(values))

    write_atomically(path, write)


def _move(temporary: Path, path: Path) -> None:
    """Move a file or folder into place.

    On Windows this fails while another program, such as a virus scanner, has opened the place, or a file in the folder:
    try for 1.5 seconds.
    """
    for seconds in WAITS:
        try:
            os.replace(temporary, path)
            return
        except PermissionError:
            time.sleep(seconds)
    os.replace(temporary, path)


def find_temporaries(folder: Path) -> list[Path]:
    """Return the temporary files in a folder that calls of ``write_atomically`` have left, if no call is running."""
    return [path for path in folder.glob("**/.*") if re.match(r"\.[0-9a-f]+\.tmp\.", path.name) and path.is_file()]


def join_words(words: Sequence[str]) -> str:
    """Return words as a command line, quoted for the system's shell."""
    return subprocess.list2cmdline(words) if sys.platform == "win32" else shlex.join(words)


def write_text(path: Path, text: str) -> None:
    """Write a text file atomically, and bytes of a path that are not UTF-8 as \\udc80, for instance."""
    write_atomically(path, lambda temporary: temporary.write_text(text, encoding="utf-8", errors="backslashreplace"))


def write_csv(path: Path, rows: Iterable[Sequence[object]], line_end: str = "\r\n") -> None:
    """Write rows as a CSV file atomically."""

    def write(temporary):
        with open(temporary, "w", newline="", encoding="utf-8", errors="backslashreplace") as file:
            csv.writer(file, lineterminator=line_end).writerows(rows)

    write_atomically(path, write)


def write_json(path: Path, content: object) -> None:
    """Write a JSON file atomically."""
    write_text(path, json.dumps(content, indent=1) + "\n")


def copy_plain(values: Any) -> Any:
    """Return values as a JSON file would return them, tuples as lists for instance.

    Raises TypeError, ValueError or RecursionError if they are not plain JSON: dicts with str as keys, lists, str, int,
    finite float, bool or None, at most ``MAX_DEPTH`` of them in each other.
    """
    plain = json.loads(json.dumps(values, allow_nan=False))
    check_depth(plain)
    return plain


def check_depth(values: Any, depth: int = 0) -> None:
    """Raise InputError if more than ``MAX_DEPTH`` lists and dicts are in each other. depth: of those around."""
    if not isinstance(values, dict | list):
        return
    if depth == MAX_DEPTH:
        raise InputError(f"at most {MAX_DEPTH} lists and dicts may be in each other")
    for each in values.values() if isinstance(values, dict) else values:
        check_depth(each, depth + 1)


def get_peak_memory() -> float | None:
    """Return the peak resident memory of this process in MB (10⁶ bytes), or None on Windows."""
    if resource is None:
        return None
    unit = 1 if sys.platform == "darwin" else 1024  # ru_maxrss is in bytes on macOS, in KiB on Linux
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6


def check_memory(what: str, size: int) -> None:
    """Raise InputError if a number of bytes does not fit in memory. what: what needs them."""
    free = get_available_memory()
    if free is not None and size > free:
        raise InputError(f"not enough memory: {what} needs {size / 1e6:,.0f} MB, and {free / 1e6:,.0f} MB are free")


def get_available_memory() -> int | None:
    """Return the memory in bytes that is free on this machine, with swap, or None if the system is not Linux."""
    available, swap = (_read_proc("meminfo", key) for key in ("MemAvailable", "SwapFree"))
    if available is None or swap is None:
        return None
    return sum(1024 * int(size.split()[0]) for size in (available, swap))  # "1234 kB"


def describe_environment() -> dict:
    """Return the versions, the machine and the number of threads, for the record of a run."""
    import torch

    return {
        "versions": {"python": platform.python_version(), **{package: version(package) for package in PACKAGES}},
        "git_commit": find_commit(),
        "platform": platform.platform(),
        "processor": _read_proc("cpuinfo", "model name") or platform.processor() or platform.machine(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
    }


def find_commit() -> str | None:
    """Return the commit of the code, with "-changed" if files differ from it; None outside a git checkout."""
    command = ["git", "-C", str(ROOT), "describe", "--always", "--abbrev=40", "--exclude=*", "--dirty=-changed"]
    try:
        found = subprocess.run(command, capture_output=True, text=True, timeout=10)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return found.stdout.strip() or None


def _read_proc(name: str, key: str) -> str | None:
    """Return the value of the first line "key: value" in a file of /proc, or None if there is none."""
    with suppress(OSError):
        for line in Path("/proc", name).read_text(encoding="utf-8").splitlines():
            if line.startswith(key):
                return line.partition(":")[2].strip()
    return None
