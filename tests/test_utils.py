"""The machine and the disk."""

import errno
import os

import pytest
import torch

from errors import InputError
from utils import choose_device, get_peak_memory, write_atomically


def test_a_gpu_is_used_when_it_is_asked_for(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    assert [choose_device("auto", backend).type for backend in ("auto", "event", "torch")] == ["cpu", "cpu", "cuda"]
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert choose_device("auto", "torch").type == "cpu"


def test_a_full_disk(tmp_path):
    def fail(temporary):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with pytest.raises(InputError, match=r"cannot write .*file\.txt: No space left on device"):
        write_atomically(tmp_path / "file.txt", fail)


def test_a_system_that_does_not_tell_the_memory(monkeypatch):
    assert get_peak_memory() > 10
    monkeypatch.setattr("utils.resource", None)  # as on Windows
    assert get_peak_memory() is None


@pytest.mark.parametrize("error", [OSError, KeyboardInterrupt])
def test_a_failed_write_leaves_the_old_file(error, tmp_path):
    path = tmp_path / "file.txt"
    write_atomically(path, lambda temporary: temporary.write_text("old"))

    def fail(temporary):
        temporary.write_text("half of the n")
        raise error

    with pytest.raises(InputError if error is OSError else error):
        write_atomically(path, fail)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]
    write_atomically(path, lambda temporary: temporary.write_text("new"))
    assert path.read_text() == "new"
