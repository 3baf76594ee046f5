"""What a signal does to a command."""

import io
import signal
from contextlib import suppress
from unittest import mock

import pytest
from support.command import SMALL, run_train
from support.run_folders import load_last

from s1c1 import S1C1
from training.stopping import StopRequest


class Disturbed(io.RawIOBase):
    """A stream whose writes a signal interrupts."""

    def __init__(self, request):
        self.request = request

    def writable(self):
        return True

    def write(self, data):
        self.request.note(signal.SIGTERM, None)
        return len(data)


def test_a_signal_may_interrupt_a_line_on_stderr(monkeypatch):
    """Python's streams refuse a second write from within a write: RuntimeError, "reentrant call"."""
    request = StopRequest()
    stream = io.TextIOWrapper(io.BufferedWriter(Disturbed(request)))
    monkeypatch.setattr("sys.stderr", stream)
    print("a line", file=stream, flush=True)
    assert (request.asked, request.number) == (True, signal.SIGTERM)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_while_a_kernel_is_loaded_is_not_lost(number, tmp_path, undrawn, capsys):
    """An exception would be: llvmlite calls a function that ignores them, here during the encoding."""

    def encode(self, images, encode=S1C1.encode):
        with suppress(KeyboardInterrupt):
            signal.raise_signal(number)
        return encode(self, images)

    with mock.patch.object(S1C1, "encode", encode):
        run = run_train(SMALL, tmp_path, 128 + number)
    assert f"--resume {run}" in capsys.readouterr().out
    assert load_last(run).progress.history == []
