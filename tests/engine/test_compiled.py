"""Where the machine code is kept."""

from pathlib import Path

import numpy as np
from numba import config

from engine import compiled
from engine.event import kernels as event


def test_the_first_place_that_can_be_written_to(tmp_path):
    (tmp_path / "file").touch()
    folder = compiled._cache_folder([tmp_path / "file", tmp_path / "new" / "place", tmp_path])
    assert folder.parent == tmp_path / "new" / "place"
    assert folder.is_dir()
    assert compiled._cache_folder([tmp_path / "new" / "place"]) == folder


def test_no_place_at_all(tmp_path, monkeypatch):
    """A folder for this process; it is removed at its end."""
    (tmp_path / "file").touch()
    later = []
    monkeypatch.setattr(
        compiled.atexit, "register", lambda function, *args, **kwargs: later.append((function, args, kwargs))
    )
    folder = compiled._cache_folder([tmp_path / "file"])
    assert folder.is_dir()
    ((remove, args, kwargs),) = later
    remove(*args, **kwargs)
    assert not folder.exists()


def test_another_version_of_the_vector_loops_has_another_folder(tmp_path, monkeypatch):
    folder = compiled._cache_folder([tmp_path])
    (tmp_path / "simd.py").write_text("# changed")
    monkeypatch.setattr(compiled, "HERE", tmp_path)
    assert compiled._cache_folder([tmp_path]) != folder


def test_the_kernels_are_kept_there():
    event.FiringLayer(np.full((1, 1, 1, 1), 0.5, np.float32), 15, 0, 0.4)
    assert compiled._FOLDER in Path(event._to_rows.stats.cache_path).parents
    assert str(compiled._FOLDER) != config.CACHE_DIR  # other code of the process is not to end there
