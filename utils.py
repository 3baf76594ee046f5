"""The machine and the disk: threads, device, versions, memory, run folders, and files that are written atomically."""

import json
import os
import platform
import re
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from importlib.metadata import PackageNotFoundError, version
from itertools import count
from pathlib import Path

from errors import InputError

try:
    import fcntl
    import resource
except ImportError:  # Windows
    fcntl = resource = None

ROOT = Path(__file__).resolve().parent
PACKAGES = "torch", "torchvision", "numpy", "numba", "scikit-learn", "tensorboard", "matplotlib"


def set_threads(threads: int | str) -> int:
    """Set the number of threads of the kernels and of torch (0 or "auto": one per core). Returns the number."""
    import numba
    import torch

    cores = numba.config.NUMBA_NUM_THREADS
    threads = 0 if threads == "auto" else threads
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
        raise InputError(f"--device {name} does not exist; this machine has {gpus} CUDA devices")
    return device


def create_run_folder(output: str | Path, title: str, name: str | None = None) -> Path:
    """Create ``output/name``, by default ``output/title-time``. Raises InputError if it exists or cannot be created."""
    output, stamped = Path(output), f"{title}-{datetime.now():%Y%m%d-%H%M%S}"
    try:
        output.mkdir(parents=True, exist_ok=True)
        for number in count(1):
            folder = output / (name or (f"{stamped}-{number}" if number > 1 else stamped))
            with suppress(FileExistsError):
                folder.mkdir()
                return folder
            if name:
                raise InputError(f"{folder} already exists; choose another --name")
    except OSError as error:
        raise InputError(f"cannot write to --output {output}: {error.strerror}") from error


def to_folder_name(name: str) -> str:
    """Return a name as part of a folder's name: "my digits.npz" → "my-digits.npz"."""
    return "".join(c if c.isalnum() or c in "-_." else "-" for c in name).strip("-.") or "data"


@contextmanager
def lock_folder(folder: Path) -> Iterator[None]:
    """Lock a run's folder. Raises InputError if another process has locked it, or if it cannot be written to."""
    if not os.access(folder, os.W_OK):
        raise InputError(f"cannot write to {folder}")
    if fcntl is None:
        yield
        return
    descriptor = os.open(folder, os.O_RDONLY)  # the lock is on the folder itself, so that no file stays behind
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        os.close(descriptor)
        raise InputError(f"another process is training in {folder}; wait for it or stop it") from error
    except OSError:
        pass  # a file system without locks
    try:
        yield
    finally:
        os.close(descriptor)


def find_run(name: str | Path, output: str | Path = "runs") -> Path:
    """Return the path of a run or checkpoint.

    name: "latest" (the latest run in ``output``), a path, or the name of a folder in ``output``.

    Raises InputError if there is no latest run.
    """
    if name == "latest":
        return find_latest_run(output)
    inside = Path(output) / name
    return inside if inside.exists() and not Path(name).exists() else Path(name)


def find_latest_run(output: str | Path) -> Path:
    """Return the run in ``output`` with the newest checkpoint. A dry run is returned only if there is no other run."""
    runs = {path.parent.parent: path.stat().st_mtime for path in Path(output).glob("*/checkpoints/last.safetensors")}
    if not runs:
        raise InputError(f"there is no run in {output} yet")
    return max(runs, key=lambda folder: (not _is_dry(folder), runs[folder]))


def _is_dry(folder: Path) -> bool:
    try:
        return bool(json.loads((folder / "args.json").read_text(encoding="utf-8"))["flags"]["dry_run"])
    except (OSError, ValueError, KeyError, TypeError):
        return False  # the file is missing or damaged


def write_atomically(path: str | Path, write: Callable[[Path], object]) -> None:
    """Call ``write(temporary path)``, then move the file into place, so that readers see the old or the new file.

    Raises an InputError if the place cannot be written to or is full, or if there is something else than a regular
    file: a link, a pipe, a device or a folder.
    """
    path = Path(path)
    if os.path.lexists(path) and not stat.S_ISREG(path.lstat().st_mode):
        raise InputError(f"cannot write {path}: there is a link, a folder or a special file")
    temporary = path.with_name(f".{os.getpid()}.tmp.{path.name}")  # the suffix determines the format of a picture
    try:
        write(temporary)
        os.replace(temporary, path)
    except OSError as error:
        raise InputError(f"cannot write {path}: {error.strerror or error}") from error
    finally:
        with suppress(OSError):
            temporary.unlink()


def find_temporaries(folder: str | Path, pattern: str = "**/.*") -> Iterator[Path]:
    """Yield the temporary files in a folder that a call of ``write_atomically`` has left, because it was killed.

    pattern: of ``Path.glob``. By default, the subfolders are searched too.
    """
    for path in Path(folder).glob(pattern):
        match = re.match(r"\.(\d{1,7})\.tmp\.", path.name)
        if match and path.is_file() and not path.is_symlink() and not _is_other_process(int(match[1])):
            yield path


def _is_other_process(number: int) -> bool:
    """Return whether another process with this number exists. In a container, each start can have the same number."""
    if number == os.getpid() or fcntl is None:  # on Windows, a signal of 0 ends a process
        return False
    try:
        os.kill(number, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True


def write_text(path: str | Path, text: str) -> None:
    """Write a text file atomically."""
    write_atomically(path, lambda temporary: temporary.write_text(text, encoding="utf-8"))


def write_json(path: str | Path, content: object) -> None:
    """Write a JSON file atomically."""
    write_text(path, json.dumps(content, indent=1) + "\n")


def get_peak_memory() -> float | None:
    """Return the peak resident memory of this process in MB (10⁶ bytes), or None on Windows."""
    if resource is None:
        return None
    unit = 1 if sys.platform == "darwin" else 1024  # ru_maxrss is in bytes on macOS, in KiB on Linux
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6


def check_memory(parts: dict[str, int], flag: str | None = None) -> None:
    """Raise InputError, which names the largest part, if {part: bytes} do not fit in memory together.

    The sizes are those that are certainly needed, so that nothing is refused that fits.
    """
    needed = sum(parts.values())
    free = get_available_memory()
    if free is not None and needed > free:
        largest = max(parts, key=parts.get)
        sizes = f"{needed / 1e6:,.0f} MB are needed, {parts[largest] / 1e6:,.0f} MB of them for {largest}"
        where = f" ({flag})" if flag else ""
        raise InputError(f"not enough memory{where}: {sizes}, and {free / 1e6:,.0f} MB are free")


def get_available_memory() -> int | None:
    """Return the memory in bytes that is left to this process, with swap, or None if the system is not Linux.

    The control groups of a container (cgroup v1 and v2) and the limit of the address space (RLIMIT_AS) can reduce it.
    """
    if _read_proc("meminfo", "MemAvailable") is None:
        return None
    free = min([_read_size("meminfo", "MemAvailable"), *read_control_groups()]) + _read_size("meminfo", "SwapFree")
    most, _ = resource.getrlimit(resource.RLIMIT_AS)
    if most != resource.RLIM_INFINITY:
        free = min(free, most - _read_size("self/status", "VmSize"))
    return free


def read_control_groups(root: str | Path = "/") -> list[int]:
    """Return the memory in bytes that each control group leaves to this process. The cache of files is not counted."""
    free = []
    for line in _read_lines(Path(root, "proc/self/cgroup")):  # "0::/group" or, of version 1, "4:memory:/group"
        _, controllers, name = line.split(":", 2)
        if controllers not in ("", "memory"):
            continue
        folder = Path(root, "sys/fs/cgroup", controllers, name.strip("/"))
        for group in (folder, *folder.parents):  # a container may see its own group as the root
            for limit, used in (("memory.max", "anon"), ("memory.limit_in_bytes", "total_rss")):
                with suppress(OSError, ValueError, KeyError):  # there is no limit
                    most = int((group / limit).read_text())
                    statistics = dict(line.split() for line in _read_lines(group / "memory.stat"))
                    free.append(most - int(statistics[used]))
    return free


def describe_environment() -> dict:
    """Return the versions, the machine and the number of threads, for the record of a run."""
    import torch

    versions = {"python": platform.python_version(), **dict.fromkeys(PACKAGES)}
    for package in PACKAGES:
        with suppress(PackageNotFoundError):
            versions[package] = version(package)
    return {
        "versions": versions,
        "git_commit": find_commit(),
        "platform": platform.platform(),
        "processor": find_processor(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
    }


def find_commit() -> str | None:
    """Return the commit of the code, with "-changed" if files differ from it; None outside a git checkout."""
    command = ["git", "-C", ROOT, "describe", "--always", "--abbrev=40", "--exclude=*", "--dirty=-changed"]
    try:
        found = subprocess.run(command, capture_output=True, text=True, timeout=10)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return found.stdout.strip() or None


def find_processor() -> str:
    """Return the name of the processor's model, or its architecture if the system does not name the model."""
    return _read_proc("cpuinfo", "model name") or platform.processor() or platform.machine()


def _read_size(name: str, key: str) -> int:
    """Return a size in a file of /proc, in bytes."""
    return int((_read_proc(name, key) or "0").split()[0]) * 1024  # "1234 kB"


def _read_proc(name: str, key: str) -> str | None:
    """Return the value of the first line "key: value" in a file of /proc, or None if there is none."""
    lines = _read_lines(Path("/proc", name))
    return next((line.partition(":")[2].strip() for line in lines if line.startswith(key)), None)


def _read_lines(path: Path) -> list[str]:
    """Return the lines of a file of the system; none if the system has no such file."""
    try:
        return path.read_text().splitlines()
    except OSError:
        return []
