"""Assertions that something is refused. They check what the message names, never its sentence."""

import os
import shlex
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from io import StringIO
from pathlib import Path

import pytest
from support.command import contents

from errors import InputError


@contextmanager
def refuses(*about):
    """Assert that the block raises an InputError of one line that names the flags, fields or paths ``about``."""
    with pytest.raises(InputError) as caught:
        yield caught
    assert "\n" not in str(caught.value)
    for word in about:
        assert str(word) in str(caught.value)


def assert_refused(program, code, out, err, about):
    """Assert that a command ended with exit code 2 and one line on stderr that contains ``about``, no traceback."""
    assert code == 2
    assert out == ""
    assert err.count("\n") == 1
    assert err.startswith(f"{program}: ")
    assert str(about) in err


def assert_refuses(main, words, about):
    """Assert that ``main`` (the function of a command) refuses a command line with one line that contains ``about``.

    The folder after --output is left as it was. Returns the line.
    """
    words = shlex.split(words) if isinstance(words, str) else list(words)
    output = Path(words[words.index("--output") + 1] if "--output" in words[:-1] else os.devnull)
    before = output.exists(), contents(output)
    with redirect_stdout(StringIO()) as out, redirect_stderr(StringIO()) as err:
        code = main(words)
    assert_refused(f"{main.__module__}.py", code, out.getvalue(), err.getvalue(), about)
    assert (output.exists(), contents(output)) == before, f"{output} has changed"
    return err.getvalue()


def read_table(text):
    """Yield (word of the message, expression) of a table with lines "word | expression | expression …"."""
    for line in text.strip().splitlines():
        about, *expressions = line.split(" | ")
        for expression in expressions:
            yield about.strip(), expression.strip()


def assert_each_refused(table, names, errors=InputError):
    """Assert that each expression of a table raises an error of one line that contains the word beside it."""
    wrong = []
    for about, expression in read_table(table):
        try:
            eval(expression, dict(names))
            wrong.append(f"{expression}: not refused")
        except errors as error:
            if about not in str(error) or "\n" in str(error):
                wrong.append(f"{expression}: {about!r} is not in {error}")
        except Exception as error:
            wrong.append(f"{expression}: {error!r}")
    assert not wrong, "\n".join(wrong)
