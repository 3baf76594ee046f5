"""Whose errors exceptions are: of the program, which keep their traceback, or of the user's own file."""

import pytest

from errors import USER_FILES, is_bug
from training.command import command_line
from utils import join_words

OWN = """
import numpy as np


def divide(call):
    return 1 / 0


def use_library(call):
    return np.zeros(2).reshape(3)


def use_program(call):
    return call()
"""


@pytest.mark.parametrize(("name", "is_ours"), [("divide", False), ("use_library", False), ("use_program", True)])
def test_an_exception_of_the_program_keeps_its_traceback(name, is_ours, tmp_path, capsys):
    path = tmp_path / "own.py"
    path.write_text(OWN)
    USER_FILES.add(str(path))
    names = {}
    exec(compile(OWN, str(path), "exec"), names)

    @command_line
    def command(words):
        names[name](lambda: join_words(None))

    with pytest.raises(Exception, match=r".") as caught:
        names[name](lambda: join_words(None))
    assert is_bug(caught.value) == is_ours
    assert command([]) == 2
    *before, line = capsys.readouterr().err.splitlines()
    assert any("Traceback" in text for text in before) == is_ours
    assert str(path) in line
    assert ("--traceback" in line) == (not is_ours)
