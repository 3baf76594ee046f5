"""Where the machine code is kept, what it is named after, and what happens to files that are damaged."""

import errno
import importlib
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from numba import config

import utils
from engine import compiled, kernel_key

ROOT = Path(__file__).resolve().parent.parent.parent

RULE = """
from typing import NamedTuple

class Rule(NamedTuple):
    ltp: float
    ltd: float

    def window(self, t_in, t_out):
        return (t_in <= t_out) * self.ltp + (t_in > t_out) * self.ltd
"""
KERNELS = """
from numba import njit, types
from numba.extending import overload_method
from engine.compiled import compiled

@overload_method(types.NamedUniTuple, "window")
def window(self, t_in, t_out):
    return self.instance_class.window

@compiled
def change(rule, t_in, t_out):
    return rule.window(t_in, t_out)

def times(factor):
    @njit
    def multiply(x):
        total = 0
        for i in range(x):
            total += factor * (i % 7) * (total % 3 + 1)  # a loop, or it would not stay a function of its own
        return total

    @compiled
    def kernel(x):
        return multiply(x) + multiply(x + 1) + multiply(x + 2)

    return kernel
"""
RUN = """
from kernels import change, times
from rule import Rule
rule = Rule(0.5, -0.25)
"""
PRINT = """
from engine import compiled
values = [change(rule, 3, 4), change(rule, 4, 3), *[times(factor)(10) for factor in {0}]]
print(*values, compiled.counts["compiled"], compiled.counts["loaded"])
"""


class Programs:
    """Programs that import the files of one folder and keep their machine code in another."""

    def __init__(self, folder):
        self.folder, self.cache = folder, folder / "cache"

    def start(self, *words, **options):
        paths = os.pathsep.join(map(str, (self.folder, ROOT)))
        environment = {**os.environ, "NUMBA_CACHE_DIR": str(self.cache), "PYTHONPATH": paths}
        words = [sys.executable, "-B", "-W", "error", *words]
        pipe = subprocess.PIPE
        return subprocess.Popen(words, stdout=pipe, stderr=pipe, text=True, env=environment, **options)

    def run(self, factors=()):
        """What change and the closures with these factors give, and how many of them were compiled and loaded."""
        out, err = self.start("-c", RUN + PRINT.format(factors)).communicate()
        assert err == ""
        return [float(word) for word in out.split()]


def test_further_starts(tmp_path):
    """A second start compiles nothing; after an edit of the rule's file, it does that and the result is the rule's.

    So do two first starts at once. And of closures of one name that two processes have kept each is itself; with
    numba's own cache, and the same numbers for functions in every process, both would be the first.
    """
    programs = Programs(tmp_path)
    (tmp_path / "kernels.py").write_text(KERNELS)
    (tmp_path / "rule.py").write_text(RULE)
    both = [programs.start("-c", RUN + PRINT.format([factor])) for factor in (2, 3)]
    for process, number in zip(both, ("480", "246"), strict=True):
        out, err = process.communicate()
        # the later of the two may find what the other has kept, but not another's closure
        assert (out.split()[:3], err) == (["0.5", "-0.25", number], "")
        assert out.split()[3:] in (["2", "0"], ["1", "1"])
    assert programs.run([2, 3]) == [0.5, -0.25, 480, 246, 0, 3]
    (tmp_path / "rule.py").write_text(RULE.replace("t_in <", "t_in - 2 <").replace("t_in >", "t_in - 2 >"))
    assert programs.run([2]) == [0.5, 0.5, 480, 1, 1]
    (tmp_path / "script.py").write_text(RULE + RUN.replace("from rule import Rule", "") + PRINT.format([]))
    script = [programs.start(tmp_path / "script.py").communicate() for _ in range(2)]
    assert script == [
        ("0.5 -0.25 1 0\n", ""),
        ("0.5 -0.25 0 1\n", ""),
    ]  # a rule of __main__, which is pickled otherwise


PARALLEL = """
import numpy as np
from numba import prange
from engine.compiled import compiled, counts

@compiled(parallel=True)
def fill(x):
    for i in prange(len(x)):
        x[i] = i * i

@compiled
def fill_and_sum(x):
    fill(x)
    return x.sum()
"""


def test_a_caller_of_threads_starts_them_too(tmp_path):
    """Compiled where its parallel callee had come from the disk, it runs where it is the first to be loaded."""
    programs = Programs(tmp_path)
    (tmp_path / "fill.py").write_text(PARALLEL)
    starts = (
        ("fill(np.ones(9))", "1 0"),
        ("print(fill_and_sum(np.ones(9)))", "204.0 1 1"),
        ("print(fill_and_sum(np.ones(9)))", "204.0 0 1"),
    )
    for call, expected in starts:
        lines = "from fill import *", call, "print(counts['compiled'], counts['loaded'])"
        process = programs.start("-c", "\n".join(lines))
        out, err = process.communicate()
        assert (process.returncode, out.split(), err) == (0, expected.split(), "")


KERNEL = """
from collections import namedtuple
import numpy as np
from engine.compiled import compiled

Pair = namedtuple("Pair", "a b")

@compiled
def add(x, step=1):
    return x + step

@compiled
def first(things):
    for thing in things:
        return thing

@compiled(parallel=True)
def total(x):
    return x.sum()

@compiled
def of_range():
    return first(range(2, 4))

def local():
    return namedtuple("Local", "a b")(1, 2)
"""


class Starts:
    """Starts of a program, as far as one process can stand for many: each imports the kernel's file anew."""

    def __init__(self, folder, monkeypatch, capsys):
        self.folder, self.file, self._capsys = folder / "cache", folder / "kernel_of_the_test.py", capsys
        self._monkeypatch = monkeypatch
        self.folder.mkdir()
        monkeypatch.setattr(compiled, "_folder", lambda: self.folder)
        monkeypatch.setattr(kernel_key, "_BEGAN", float("inf"))
        monkeypatch.syspath_prepend(folder)

    def entry(self):
        (entry,) = self.folder.glob("*.kernel")
        return entry

    def run(self, call="add(2)"):
        """The kernel's result, and how many signatures were compiled."""
        self._monkeypatch.setattr(compiled, "_told", [])
        self._monkeypatch.delitem(sys.modules, self.file.stem, raising=False)
        importlib.invalidate_caches()
        before = compiled.counts["compiled"]
        result = eval(call, vars(importlib.import_module(self.file.stem)))
        return result, compiled.counts["compiled"] - before

    def line(self):
        """The line on stderr."""
        (line,) = self._capsys.readouterr().err.splitlines()
        return line


@pytest.fixture
def starts(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    starts = Starts(tmp_path, monkeypatch, capsys)
    starts.file.write_text(KERNEL)
    assert starts.run() == (3, 1)
    assert starts.run() == (3, 0)
    return starts


@pytest.mark.parametrize(
    "call", ["first((2, 3))", "first(Pair(2, 3))", "first((Pair(2, 3),))[0]", "of_range()", "total(np.ones(2))"]
)
def test_types_of_arguments(starts, capsys, call):
    result, compiled_before = starts.run(call)
    assert (result, compiled_before > 0) == (2, True)
    assert starts.run(call) == (2, 0)
    assert capsys.readouterr().err == ""


def test_damaged_files_are_compiled_anew(starts):
    whole = starts.entry().read_bytes()
    middle = len(whole) // 2
    flipped = whole[:middle] + bytes([whole[middle] ^ 1]) + whole[middle + 1 :]
    for damaged in (whole[:middle], b"", flipped, whole + b"\0"):
        starts.entry().write_bytes(damaged)
        assert starts.run() == (3, 1)
        assert "is damaged" in starts.line()
        assert starts.run() == (3, 0)


def test_another_kernels_file_is_not_taken(starts):
    entry = starts.entry()
    starts.run("add(2.0)")
    (other,) = set(starts.folder.glob("*.kernel")) - {entry}
    entry.write_bytes(other.read_bytes())
    assert starts.run() == (3, 1)
    assert "is damaged" in starts.line()


def test_a_file_that_cannot_be_read_or_replaced_is_left_aside(starts):
    entry = starts.entry()
    entry.unlink()
    (entry / "in the way").mkdir(parents=True)
    assert starts.run() == (3, 1)
    assert "cannot read" in starts.line()  # and no second line, of the writing


def test_a_full_disk(starts, monkeypatch):
    def replace(*paths):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(utils.os, "replace", replace)
    assert starts.run() == (3, 0)
    assert starts.run("add(2.0)") == (3.0, 1)
    assert "No space left on device" in starts.line()
    assert [path.suffix for path in starts.folder.iterdir()] == [".kernel"]


@pytest.mark.parametrize(
    ("name", "value"), [("BOUNDSCHECK", int(not config.BOUNDSCHECK)), ("OPT", 1), ("CPU_FEATURES", "-avx512f")]
)
def test_machine_code_of_other_settings_is_not_loaded(starts, monkeypatch, name, value):
    monkeypatch.setattr(config, name, value)
    assert starts.run() == (3, 1)


def test_without_compiler(monkeypatch):
    monkeypatch.setattr(config, "DISABLE_JIT", 1)

    def add(x):
        return x + 1

    assert compiled.compiled(add) is add


def test_a_callee_in_another_file_and_what_it_freezes(starts):
    """Neither stands in the engine or in the kernel's file."""
    callee = starts.file.with_name("callee_of_the_test.py")
    text = "from numba import njit\nSTEP = {}\n\n@njit\ndef step(x):\n    return x + STEP\n"
    starts.file.write_text(starts.file.read_text().replace("x + step", "callee_of_the_test.step(x)"))
    starts.file.write_text("import callee_of_the_test\n" + starts.file.read_text())
    for step in (1, 20):
        callee.write_text(text.format(step))
        sys.modules.pop(callee.stem, None)
        assert starts.run() == (2 + step, 1)
        assert starts.run() == (2 + step, 0)
    sys.modules[callee.stem].STEP = 300
    assert starts.run() == (22, 1)  # the callee itself had been compiled before


def test_any_edit_of_the_file_of_an_arguments_class(starts):
    """Also of a function that the class's methods call: the whole file counts, if only a comment changes."""
    rule = starts.file.with_name("rule_of_the_test.py")
    starts.file.write_text("from rule_of_the_test import Rule\n" + starts.file.read_text())
    for comment in ("", "# rates in units of the weights\n"):
        rule.write_text(RULE + comment)
        sys.modules.pop(rule.stem, None)
        assert starts.run("first(Rule(2.0, 3.0))") == (2, 1)
        assert starts.run("first(Rule(2.0, 3.0))") == (2, 0)


def test_a_change_anywhere_in_the_engine(starts, monkeypatch):
    assert set((ROOT / "engine").rglob("*.py")) == set(kernel_key._ENGINE)
    loops = starts.file.with_name("loops.py")
    monkeypatch.setattr(kernel_key, "HERE", loops.parent)
    monkeypatch.setattr(kernel_key, "_ENGINE", [loops])
    for text in ("", "# changed"):
        loops.write_text(text)
        assert starts.run() == (3, 1)
        assert starts.run() == (3, 0)


def test_what_cannot_be_known_is_not_kept(starts, monkeypatch):
    starts.entry().unlink()
    assert starts.run("first(local())") == (1, 1)
    assert "Local is not a class at the top level of a file" in starts.line()
    monkeypatch.setattr(kernel_key, "_BEGAN", starts.file.stat().st_mtime - 1)
    assert starts.run() == (3, 1)
    assert "was changed since the program started" in starts.line()
    assert list(starts.folder.iterdir()) == []


def test_the_first_place_that_can_be_written_to(tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setattr(compiled, "_places", lambda: [tmp_path / "file", tmp_path / "new" / "place", tmp_path])
    folder = compiled._folder.__wrapped__()
    assert folder.parent == tmp_path / "new" / "place"
    assert compiled._is_ours(folder)
    assert compiled._folder.__wrapped__() == folder


def test_no_place_at_all(tmp_path, monkeypatch, capsys):
    (tmp_path / "file").touch()
    monkeypatch.setattr(compiled, "_places", lambda: [tmp_path / "file"])
    monkeypatch.setattr(compiled, "_told", [])
    assert compiled._folder.__wrapped__() is None
    assert compiled._folder.__wrapped__() is None
    assert capsys.readouterr().err.count("\n") == 1


def test_what_is_unused_for_30_days_is_removed_and_nothing_else(tmp_path, monkeypatch):
    monkeypatch.setattr(compiled, "_places", lambda: [tmp_path])
    entry = f"kernel-{64 * '0'}.kernel"
    old, used, tagless, with_more = (tmp_path / f"kernels-{name}" for name in ("old", "used", "tagless", "with-more"))
    for folder in (old, used, tagless, with_more):
        folder.mkdir()
        (folder / entry).touch()
        if folder is not tagless:
            (folder / compiled.TAG).write_bytes(compiled.TAG_TEXT)
    (used / f".77.{entry}").touch()
    (with_more / "kernel.nbi").touch()
    long_ago = time.time() - compiled.KEPT - 60
    for path in tmp_path.rglob("*"):
        if path != used / entry:
            os.utime(path, (long_ago, long_ago))
    new = compiled._folder.__wrapped__()
    left = {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*") if path.is_file()}
    expected = {f"kernels-used/{entry}", f"kernels-used/{compiled.TAG}", f"kernels-tagless/{entry}"}
    expected |= {f"kernels-with-more/{compiled.TAG}", "kernels-with-more/kernel.nbi", f"{new.name}/{compiled.TAG}"}
    assert left == expected
    assert not old.exists()
