"""The machine and the disk: threads, device, versions, memory; run folders; files written whole or not at all."""

import json
import os
import platform
import re
import subprocess
import sys
import tempfile
from contextlib import contextmanager, suppress
from datetime import datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from errors import InputError

ROOT = Path(__file__).resolve().parent

# Threads that wait for each other are to sleep. By default they spin, and on a machine that others use too they spin
# away the time of the very thread that they wait for. Read as OpenMP is loaded: with torch, and by numba's first loop.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")


def set_threads(count):
    """Threads of the kernels and of torch; 0 or "auto": as many as there are cores. Returns the number."""
    import numba
    import torch

    most = numba.config.NUMBA_NUM_THREADS
    count = 0 if count == "auto" else count
    if not 0 <= count <= most:
        raise InputError(f"--threads must be 1 to {most} on this machine (0: all), not {count}")
    count = count or most
    numba.set_num_threads(count)
    torch.set_num_threads(count)
    return count


def choose_device(name, backend="auto"):
    """The torch device of a flag: "cpu", "cuda", "cuda:N", or "auto".

    That is the CPU, for which the kernels are written; with the torch backend it is a GPU if there is one.
    """
    import torch

    if name == "auto":
        name = "cuda" if backend == "torch" and torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise InputError(f"no such device: {name!r}; use cpu, cuda, cuda:N or auto") from error
    if device.type == "cpu" and device.index is not None:
        raise InputError(f"no device {name!r} here: there is one CPU, all of it; use cpu, cuda, cuda:N or auto")
    if device.type not in ("cpu", "cuda"):
        raise InputError(f"device {name!r} is not supported; use cpu, cuda, cuda:N or auto")
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise InputError(f"no device {name!r} here: {torch.cuda.device_count()} CUDA devices found; use cpu or auto")
    return device


def new_run_folder(output, what, name=None):
    """Make ``output/name``, by default ``output/what-stamp``. Errors: InputError if it is taken, or cannot be."""
    stamp = datetime.now().strftime("%Y%m%d-%H%M%S")
    for folder_name in [name] if name else [f"{what}-{stamp}", *(f"{what}-{stamp}-{i}" for i in range(2, 100))]:
        folder = Path(output) / folder_name
        try:
            folder.mkdir(parents=True)
            break
        except FileExistsError:
            if Path(output).is_file():
                raise InputError(f"--output {output} is a file; name a folder") from None
            if name:
                raise InputError(f"{folder} is there already; give this run another --name") from None
        except OSError as error:
            raise InputError(f"cannot write to --output {output}: {error.strerror}; name another folder") from error
    return folder


def safe_name(name):
    """A name as part of a folder's name: "my digits.npz" → "my-digits.npz"."""
    return "".join(c if c.isalnum() or c in "-_." else "-" for c in name).strip("-.") or "data"


@contextmanager
def held(folder):
    """Meanwhile no other process may train in the run's folder. Errors: InputError if one does, or none could."""
    try:
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise InputError(f"cannot write to {folder}: {error.strerror}") from error
    try:
        import fcntl
    except ImportError:  # Windows
        yield
        return
    handle = os.open(folder, os.O_RDONLY)  # the folder itself: no file stays behind
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise InputError(f"another process is training in {folder}; wait for it, or stop it first") from error
        except OSError:
            pass  # a file system without locks
        yield
    finally:
        os.close(handle)


def latest_run(output):
    """The run folder under ``output`` whose last checkpoint is the newest; a dry run only if there is no other."""
    runs = {path.parent.parent: path.stat().st_mtime for path in Path(output).glob("*/checkpoints/last.pt")}
    if not runs:
        raise InputError(f"there is no run in {output} yet")
    return max(runs, key=lambda folder: (not _is_dry(folder), runs[folder]))


def _is_dry(folder):
    try:
        return bool(json.loads((folder / "args.json").read_text(encoding="utf-8"))["flags"]["dry_run"])
    except (OSError, ValueError, KeyError, TypeError):
        return False  # one of another version, or damaged


def write_atomically(path, write):
    """Call ``write(temporary path)``, then move the file into place: a reader sees the old file or the new one.

    The temporary name ends like the path, because writers go by the ending. Errors: InputError if the place cannot be
    written to, or is full.
    """
    path = Path(path)
    temporary = path.with_name(f".{os.getpid()}.{path.name}")  # see temporaries
    try:
        write(temporary)
        os.replace(temporary, path)
    except OSError as error:
        raise InputError(f"cannot write {path}: {error.strerror or error}") from error
    finally:
        with suppress(OSError):
            temporary.unlink()


def temporaries(folder):
    """Yield the files in the folder and below that are being written, or that writes that were killed left."""
    for path in Path(folder).rglob(".*"):
        if re.match(r"\.\d+\.", path.name) and path.is_file():
            yield path


def write_text(path, text):
    write_atomically(path, lambda temporary: temporary.write_text(text, encoding="utf-8"))


def write_json(path, content):
    write_text(path, json.dumps(content, indent=1) + "\n")


def peak_memory():
    """Most memory this process has held, in MB (10⁶ bytes); None on Windows, which does not tell it this way."""
    try:
        import resource
    except ImportError:
        return None
    unit = 1 if sys.platform == "darwin" else 1024  # ru_maxrss is in bytes there, in KiB on Linux
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6


def available_memory():
    """Memory that a process could still take without swapping, in bytes; None where the system does not tell."""
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable"))
    except (OSError, StopIteration):
        return None


def environment():
    """Versions and machine, for the record of a run."""
    packages = ("torch", "torchvision", "numpy", "numba", "scikit-learn", "tensorboard", "matplotlib")
    versions = {"python": platform.python_version()}
    for package in packages:
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            versions[package] = None
    return {
        "versions": versions,
        "git_commit": git_commit(),
        "platform": platform.platform(),
        "processor": processor(),
        "cores": os.cpu_count(),
    }


def git_commit():
    """The commit of the code, with "-changed" if files differ from it; None outside a git checkout."""

    def git(*words):
        return subprocess.run(["git", "-C", ROOT, *words], capture_output=True, text=True, timeout=10)

    try:
        commit, changes = git("rev-parse", "HEAD"), git("status", "--porcelain", "--untracked-files=no")
    except (OSError, subprocess.TimeoutExpired):
        return None
    if commit.returncode != 0:
        return None
    return commit.stdout.strip() + ("-changed" if changes.stdout.strip() else "")


def processor():
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()
