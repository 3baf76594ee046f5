"""How tests state that something is refused: by what the error is about, never by its sentence."""

import shlex
from contextlib import contextmanager

import pytest

from errors import InputError


@contextmanager
def refuses(about=None):
    """The block raises an InputError about the flag, field or path ``about`` (None: about anything), in one line."""
    with pytest.raises(InputError) as caught:
        yield caught
    error = caught.value
    assert "\n" not in str(error)
    if about is not None:
        assert str(about) in (error.flag, error.field, error.path)


def assert_refused(program, code, out, err, about):
    """A command ended with exit code 2 and one line on stderr, without a traceback, which names ``about``."""
    assert code == 2
    assert out == ""
    assert err.count("\n") == 1
    assert err.startswith(f"{program}: ")
    assert str(about) in err


def assert_refuses(main, words, about, capsys):
    """``main`` (the function of a command) refuses the words of a command line, and its one line names ``about``."""
    program = f"{main.__module__}.py"
    code = main(shlex.split(words) if isinstance(words, str) else list(words))
    assert_refused(program, code, *capsys.readouterr(), about)
