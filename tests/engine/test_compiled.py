"""What the cache of machine code keeps, when old machine code is not used, and what happens if the cache fails."""

import os
import shutil
import time

import pytest
from numba import config
from support.kernel_programs import KERNELS, PRINT, RULE, RUN, Programs, limit_files

from utils import ROOT

ADD = """
import os
from collections import namedtuple
import numpy as np
import helpers
from engine.compiled import compiled, counts

def make_method(value):
    return lambda self: value

class Pair(namedtuple("Pair", "a b")):
    method = make_method(os.environ.get("METHOD"))

LARGE = np.full(2**18, 2.0)

def make_local():
    return namedtuple("Local", "a b")(2, 3)

@compiled
def add(x, step=1):
    return x + helpers.scaled(step)

@compiled
def first(things):
    for thing in things:
        return thing

@compiled
def total(x):
    return x.sum()

@compiled
def use_large(i):
    return LARGE[i]
"""
HELPERS = """
import os
from numba import njit
import shared.constants

OFFSET = int(os.environ.get("OFFSET", 0))

@njit
def scaled(x):
    return shared.constants.FACTOR * x + OFFSET
"""
PRINT_ADD = """
from add import *
print(add(2), counts["compiled"], counts["loaded"])
"""


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    """A folder with the modules and with the machine code of ``add(2)``."""
    programs = Programs(tmp_path_factory.mktemp("kept"))
    (programs.folder / "shared").mkdir()
    for name, text in {"add": ADD, "helpers": HELPERS, "shared/constants": "FACTOR = 1"}.items():
        (programs.folder / f"{name}.py").write_text(text)
    assert programs.run(PRINT_ADD) == [3, 1, 0]
    return programs.folder


@pytest.fixture
def programs(kept, tmp_path):
    shutil.copytree(kept, tmp_path / "programs")
    return Programs(tmp_path / "programs")


def test_further_starts(tmp_path):
    """A second start compiles nothing. After an edit of the rule's file, it runs the new rule.

    Two first starts can run at the same time. If two processes keep closures of one name, each keeps its own closure;
    without numbers that differ between processes, both would be the first closure.
    """
    programs = Programs(tmp_path)
    (tmp_path / "kernels.py").write_text(KERNELS)
    (tmp_path / "rule.py").write_text(RULE)
    both = [programs.start("-c", RUN + PRINT.format([factor])) for factor in (2, 3)]
    for process, number in zip(both, ("480", "246"), strict=True):
        out, err = process.communicate()
        # the later process may load what the other process has kept, but not its closure
        assert (out.split()[:3], err) == (["0.5", "-0.25", number], "")
        assert out.split()[3:] in (["2", "0"], ["1", "1"])
    assert programs.run(RUN + PRINT.format([2, 3])) == [0.5, -0.25, 480, 246, 0, 3]
    (tmp_path / "rule.py").write_text(RULE.replace("t_in <", "t_in - 2 <").replace("t_in >", "t_in - 2 >"))
    assert programs.run(RUN + PRINT.format([2])) == [0.5, 0.5, 480, 1, 1]


@pytest.mark.slow
def test_all_types_of_arguments_are_kept_and_damaged_files_are_compiled_again(programs):
    calls = "first((2, 3)), first(Pair(2, 3)), first((Pair(2, 3),))[0], total(np.ones(2)), add(1, 1), add(1)"
    # a large array has another address in the next process, so that ``use_large`` is not kept
    code = f"from add import *\nprint({calls}, use_large(0), counts['compiled'])"
    (whole,) = programs.kept()
    assert programs.run(code) == [2] * 7 + [6]
    bit, cut, longer, exchanged, folder = set(programs.kept()) - {whole}
    content = bytearray(bit.read_bytes())
    content[len(content) // 2] ^= 1
    bit.write_bytes(content)
    cut.write_bytes(cut.read_bytes()[:-1])
    longer.write_bytes(longer.read_bytes() + b"\0")
    exchanged.write_bytes(whole.read_bytes())
    folder.unlink()
    (folder / "in the way").mkdir(parents=True)
    assert programs.run(code, warnings=1) == [2] * 7 + [6]
    assert programs.run(code, warnings=1) == [2] * 7 + [2]  # the folder is still there


@pytest.mark.unix
@pytest.mark.slow
def test_a_full_disk(programs):
    code = PRINT_ADD.replace("add(2)", "add(2), add(2.0)")
    assert programs.run(code, warnings=1, preexec_fn=limit_files) == [3, 3, 1, 1]
    assert [path.suffix for path in programs.cache.rglob("*") if path.is_file()] == [".kernel"]


@pytest.mark.slow
def test_an_edit_of_any_file_compiles_the_new_code(programs):
    """Also an edit of a file that only a callee in another file needs."""
    for module, before, after, value in (
        ("add", "x + ", "x - ", 1),
        ("helpers", "FACTOR * x", "FACTOR * x + 4", -3),
        ("shared/constants", "1", "20", -22),
    ):
        path = programs.folder / f"{module}.py"
        path.write_text(path.read_text().replace(before, after))
        assert programs.run(PRINT_ADD) == [value, 1, 0]


GONE = "from numba.core import {0}, ccallback, serialize\nbefore = {0}.{1}; del {0}.{1}\n"  # private names of numba
BOTH = PRINT_ADD.replace("add(2)", "add(2), add(2.0)")
STARTS = [  # (what a program does, variables of its environment, lines on stderr, what it prints)
    (PRINT_ADD, {}, 0, [3, 0, 1]),
    (PRINT_ADD, {"NUMBA_BOUNDSCHECK": "0" if config.BOUNDSCHECK else "1"}, 0, [3, 1, 0]),
    (PRINT_ADD, {"NUMBA_CPU_NAME": "generic"}, 0, [3, 1, 0]),
    (PRINT_ADD, {"NUMBA_DISABLE_JIT": "1"}, 0, [3, 0, 0]),
    # an announcement is called once before a function is compiled
    ("from engine.compiled import announcements; announcements.append(lambda: print(7))" + PRINT_ADD, {}, 0, [3, 0, 1]),
    ("from engine.compiled import announcements; announcements.append(lambda: print(7))"
     + PRINT_ADD.replace("add(2)", "add(2.0) + add(2, 1.0)"), {}, 0, [7, 6, 2, 0]),
    # numba freezes constants that are set at run time in the machine code
    ("from add import *\nprint(add(2), first(Pair(2, 3)), counts['compiled'])", {}, 0, [3, 2, 1]),
    ("from add import *\nprint(add(2), first(Pair(2, 3)), counts['compiled'])", {"OFFSET": "4"}, 0, [7, 2, 2]),
    ("from add import *\nprint(add(2), first(Pair(2, 3)), counts['compiled'])", {"METHOD": "4"}, 0, [3, 2, 2]),
    # without a private name of numba, or without its cache, each function is compiled
    ("import numba; numba.njit = lambda *function, **options: function[0] if function else numba.njit" + PRINT_ADD,
     {}, 1, [3, 0, 0]),
    (GONE.format("bytecode", "FunctionIdentity")
     + f"import engine.compiled; bytecode.FunctionIdentity = before\n{BOTH}", {}, 1, [3, 3]),  # numba needs it later
    *((GONE.format(*name.split(" ")) + BOTH, {}, 1, [3, 3]) for name in (
        "caching NullCache", "serialize loads", "compiler CompileResult._rebuild", "compiler CompileResult._reduce",
        "codegen CPUCodegen.magic_tuple",
    )),
    # what another process may find changed is not kept: a class in a function or in the main program, code without a
    # file, and a file that is edited later
    *((f"from add import *\n{before}\nprint({call}, counts['compiled'])", {}, 1, [2, 1]) for before, call in (
        ("", "first(make_local())"), ("Main = namedtuple('Main', 'a')", "first(Main(2))"),
        ("exec('@compiled\\ndef double(x): return x + x')", "double(1)"),
        ("with open(helpers.__file__, 'a') as file: file.write('# a comment')", "add(1)"),
    )),
]  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize(("code", "variables", "warnings", "printed"), STARTS)
def test_when_machine_code_is_loaded_compiled_and_kept(programs, code, variables, warnings, printed):
    kept = programs.kept()
    assert programs.run(code, warnings=warnings, env=variables)[: len(printed)] == printed
    # if only the loading of machine code fails, that of add(2.0) is kept
    assert programs.kept() == kept or not warnings or BOTH in code


def add_comment(path):
    with path.open("a") as file:
        file.write("# a comment\n")


def copy_files(programs, *names):
    for name in names:
        (programs.folder / name).parent.mkdir(exist_ok=True)
        shutil.copy(ROOT / name, programs.folder / name)


def copy_engine(programs):
    copy_files(programs, "engine/__init__.py", "engine/compiled.py", "engine/decision.py", "utils.py", "errors.py")


@pytest.mark.slow
def test_an_edit_of_the_file_of_a_class_or_of_the_cache_compiles_again(programs):
    copy_engine(programs)
    (programs.folder / "rule.py").write_text(RULE)
    code = "from rule import Rule\nfrom add import *\nprint(first(Rule(2.0, 3.0)), counts['compiled'])"
    assert programs.run(code) == [2, 1]
    for name, compiled in (("rule.py", 1), ("engine/compiled.py", 1), ("engine/decision.py", 0)):
        add_comment(programs.folder / name)
        assert programs.run(code) == [2, compiled]


@pytest.mark.slow
def test_an_edit_of_a_file_that_is_not_compiled_compiles_nothing(tmp_path):
    """Wherever the kernel is called: among modules that import the file, too."""
    programs = Programs(tmp_path)
    folders = "engine", "engine/event", "engine/stages", "SpykeTorch"
    files = [path for folder in folders for path in (ROOT / folder).glob("*.py")]
    copy_files(programs, "s1c1.py", "utils.py", "errors.py", *(path.relative_to(ROOT) for path in files))
    code = """
import numpy as np
import engine.phases
from engine.compiled import counts
from s1c1 import normalise
normalise(np.ones((3, 3)), 1, True)
print(counts["compiled"])
"""
    assert programs.run(code) == [1]
    add_comment(tmp_path / "engine" / "phases.py")
    assert programs.run(code) == [0]
    assert programs.run(code.replace("import engine.phases\n", "")) == [0]


@pytest.mark.slow
def test_where_pip_installed_torch_only_a_users_own_modules_count(programs):
    """``pip install --target DIR`` and ``PYTHONPATH=DIR``: the files of other packages are not read at each start."""
    target = programs.folder
    for package in ("torch", "other"):  # a small torch
        (target / package).mkdir()
        (target / package / "__init__.py").write_text("SIZE = 1\n")
        (target / f"{package}-1.dist-info").mkdir()
        (target / f"{package}-1.dist-info" / "METADATA").write_text(
            f"Metadata-Version: 2.1\nName: {package}\nVersion: 1\n"
        )
        (target / f"{package}-1.dist-info" / "RECORD").write_text(f"{package}/__init__.py,,\n")
        (target / f"{package}-1.dist-info" / "top_level.txt").write_text(package)  # Python 3.10 reads no RECORD for it
    helpers = target / "helpers.py"
    helpers.write_text(f"import torch, other\n{helpers.read_text()}")
    assert programs.run(PRINT_ADD) == [3, 1, 0]
    for name, compiled in (
        ("torch/__init__.py", 0),
        ("other/__init__.py", 0),
        ("helpers.py", 1),
        ("shared/constants.py", 1),
    ):
        add_comment(target / name)
        assert programs.run(PRINT_ADD) == [3, compiled, 1 - compiled]


@pytest.mark.slow
def test_the_first_folder_that_can_be_written_to(programs, tmp_path):
    copy_engine(programs)
    file, home = tmp_path / "file", tmp_path / "home"
    file.touch()
    (programs.folder / "engine" / "__pycache__").touch()
    assert programs.run(PRINT_ADD, warnings=1, env={"NUMBA_CACHE_DIR": str(file), "HOME": str(file)}) == [3, 1, 0]
    for expected in ([3, 1, 0], [3, 0, 1]):
        assert programs.run(PRINT_ADD, env={"NUMBA_CACHE_DIR": str(file), "HOME": str(home)}) == expected
    assert list((home / ".cache").rglob("*.kernel"))


@pytest.mark.slow
def test_files_that_no_start_has_loaded_for_30_days_are_removed(programs):
    (used,) = programs.kept()
    unused, foreign = used.with_name("unused.kernel"), used.with_name("notes.txt")
    for path, days in ((used, 20), (unused, 31), (foreign, 31)):
        path.touch()
        os.utime(path, 2 * (time.time() - days * 24 * 60 * 60,))
    assert programs.run(PRINT_ADD) == [3, 0, 1]
    assert set(used.parent.iterdir()) == {used, foreign}
    assert used.stat().st_mtime > time.time() - 24 * 60 * 60
