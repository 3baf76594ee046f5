"""What a signal does to a command."""

import io
import signal

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
