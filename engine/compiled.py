"""``compiled``: numba's compiler, with the machine code kept on the disk."""

import atexit
import hashlib
import shutil
import tempfile
from pathlib import Path

from numba import config, njit

HERE = Path(__file__).resolve().parent


def _cache_folder(places):
    """A new or old folder in the first of the places that can be written to; in none: one for this process alone.

    Its name changes with every file of the engine: numba notices when the file of a kernel has changed, but not what
    the kernel is compiled with.
    """
    version = hashlib.sha256(b"".join(path.read_bytes() for path in sorted(HERE.rglob("*.py")))).hexdigest()[:12]
    for place in places:
        folder = Path(place) / f"kernels-{version}"
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=folder):
                return folder
        except OSError:
            continue
    folder = tempfile.mkdtemp()
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return Path(folder)


def _places():
    """NUMBA_CACHE_DIR if it is set; beside the source; in the home folder, if there is one."""
    if config.CACHE_DIR:
        yield config.CACHE_DIR
    yield HERE / "__pycache__"
    try:
        yield Path.home() / ".cache" / "first-spike-networks"
    except RuntimeError:
        return


_FOLDER = _cache_folder(_places())


def compiled(function=None, **options):
    """``numba.njit(cache=True, nogil=True)``, also with more options: ``@compiled`` or ``@compiled(parallel=True)``."""
    if function is None:
        return lambda function: compiled(function, **options)
    before, config.CACHE_DIR = config.CACHE_DIR, str(_FOLDER)  # read by njit, now and not later
    try:
        return njit(cache=True, nogil=True, **options)(function)
    finally:
        config.CACHE_DIR = before
