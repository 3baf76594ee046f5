"""Assertions that something is refused. They check what the message names, never its sentence."""

import shlex
from contextlib import contextmanager

import pytest

from errors import InputError


@contextmanager
def refuses(about=None):
    """Assert that the block raises an InputError of one line that names the flag, field or path ``about``."""
    with pytest.raises(InputError) as caught:
        yield caught
    error = caught.value
    assert "\n" not in str(error)
    if about is not None:
        assert str(about) in str(error)


def assert_refused(program, code, out, err, about):
    """Assert that a command ended with exit code 2 and one line on stderr that contains ``about``, no traceback."""
    assert code == 2
    assert out == ""
    assert err.count("\n") == 1
    assert err.startswith(f"{program}: ")
    assert str(about) in err


def assert_refuses(main, words, about, capsys):
    """Assert that ``main`` (the function of a command) refuses a command line with one line that contains ``about``."""
    program = f"{main.__module__}.py"
    code = main(shlex.split(words) if isinstance(words, str) else list(words))
    assert_refused(program, code, *capsys.readouterr(), about)
