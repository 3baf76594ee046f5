"""What ends a run outside its training (a signal, a full disk), and the command that goes on with it."""

import errno
import signal
from contextlib import contextmanager

from errors import InputError
from training.run import Stopped, resume_command

FULL = errno.ENOSPC, errno.EDQUOT


@contextmanager
def resumable(folder):
    """Meanwhile Ctrl-C and SIGTERM end the run in the folder at once, and so does a full disk; all name the command
    that goes on with what has been saved. While it trains, ``run.StopRequest`` takes the signals, and saves first.

    Errors: Stopped after a signal; InputError if the disk is full.
    """

    def end(number, frame):
        raise _Terminated

    before = signal.signal(signal.SIGTERM, end)
    command = resume_command(folder)
    try:
        yield
    except Stopped:
        raise
    except (KeyboardInterrupt, _Terminated) as stopped:
        number = signal.SIGTERM if isinstance(stopped, _Terminated) else signal.SIGINT
        print(f"stopped at once; go on from the last checkpoint with\n    {command}", flush=True)
        raise Stopped("stopped at once", 128 + number) from stopped
    except (InputError, OSError) as error:
        cause = error if isinstance(error, OSError) else error.__cause__
        if getattr(cause, "errno", None) not in FULL:
            raise
        last = folder / "checkpoints" / "last.safetensors"
        size = f" (a checkpoint takes {last.stat().st_size / 1e6:.0f} MB)" if last.is_file() else ""
        raise InputError(
            f"the disk of {folder} is full: {error}; free some of it{size}, and go on with: {command}"
        ) from error
    finally:
        signal.signal(signal.SIGTERM, before)


class _Terminated(BaseException):
    """SIGTERM; no Exception, so that nothing on the way takes it for an error."""
