"""Change one expression of the product at a time, and see whether a test of the first tier fails.

    python tests/manual/mutants.py --seed 1 --count 120                      # changes that the seed draws
    python tests/manual/mutants.py --seed 1 --count 30 --files sweep.py --tests tests/test_sweep.py
    python tests/manual/mutants.py --files utils.py:187 training/run.py:116  # all changes of these lines
    python tests/manual/mutants.py --kernels --count 24 --tests tests/engine # of kernels alone, which run as Python

One process imports the product and collects all tests. It forks for each change, exchanges the code of the functions of
the file, and runs tests up to the first failure, for ``BUDGET`` seconds of processor time: those of its own file, of
files that import the module, and of its folder; those that train come later, those that name the function first. No
file changes, so that no kernel is compiled again. What runs when a module is imported, defaults of arguments, and the
processes that tests start are not changed. A change that these tests do not notice may be noticed by another test.

Prints for each change: path:line, function, the test that failed or how many passed, the change. Needs Python 3.11 on
Linux.
"""

import argparse
import ast
import gc
import inspect
import os
import random
import re
import resource
import signal
import sys
from functools import cache
from pathlib import Path
from types import CodeType, FunctionType

import pytest
from _pytest.runner import runtestprotocol

ROOT = Path(__file__).resolve().parent.parent.parent
FOLDERS = ".", "SpykeTorch", "encoders", "engine/**", "imagesets", "models", "report/**", "training/**"
LEFT_OUT = "results", "test_benchmarks.py", "test_house.py", "test_one_file.py", "test_readme.py"
BUDGET = 10  # seconds of processor time of a change
MAX_TESTS = 60  # of a change
SWAPS = (
    "Lt:LtE LtE:Lt Gt:GtE GtE:Gt Eq:NotEq NotEq:Eq Is:IsNot IsNot:Is In:NotIn NotIn:In And:Or Or:And Add:Sub Sub:Add "
    "Mult:Div Div:Mult FloorDiv:Mult Mod:Mult BitOr:BitAnd BitAnd:BitOr"
)
SWAPPED = {getattr(ast, one): getattr(ast, other) for one, other in (pair.split(":") for pair in SWAPS.split())}
KERNELS = "compiled", "intrinsic", "overload", "window", "change", "verdict"  # decorators, and methods of rules


def list_changes(node):
    """Return functions without arguments, each of which changes a node of a syntax tree in place."""
    found = []
    value = getattr(node, "value", None)
    if isinstance(node, ast.Compare):
        found.append(lambda: node.ops.append(SWAPPED[type(node.ops.pop())]()))
    if type(getattr(node, "op", None)) in SWAPPED:
        found.append(lambda: setattr(node, "op", SWAPPED[type(node.op)]()))
    if isinstance(node, ast.Constant) and isinstance(value, int | float):
        found.append(lambda: setattr(node, "value", not value if isinstance(value, bool) else 2 * value + 1))
    if isinstance(node, ast.If | ast.IfExp | ast.While):
        found.append(lambda: setattr(node, "test", ast.UnaryOp(ast.Not(), node.test)))
    if isinstance(node, ast.Return) and value:
        found.append(lambda: setattr(node, "value", ast.Constant(None)))
    if isinstance(node, ast.Raise | ast.AugAssign | ast.Expr) and not isinstance(value, ast.Constant):
        found.append(lambda: setattr(node, "__class__", ast.Pass))
    if isinstance(node, ast.Call) and node.keywords:
        found.append(node.keywords.pop)
    return found


def list_sites(path, kernels):
    """Yield (path, line, name of the function, number of the node, number of the change) of all changes of a file."""
    tree = ast.parse((ROOT / path).read_text(encoding="utf-8"))
    numbers = {node: number for number, node in enumerate(ast.walk(tree))}
    for scope in (tree, *(each for each in tree.body if isinstance(each, ast.ClassDef))):
        for function in (each for each in scope.body if isinstance(each, ast.FunctionDef)):
            names = {function.name, *(getattr(mark, "id", "") for mark in function.decorator_list)}
            if names.isdisjoint(KERNELS) == kernels:
                continue
            for node in (each for statement in function.body for each in ast.walk(statement)):
                for change in range(len(list_changes(node))):
                    yield path, node.lineno, function.name, numbers[node], change


def exchange(path, number, change):
    """Change the functions of a file in this process. Returns the text of the change."""
    tree = ast.parse((ROOT / path).read_text(encoding="utf-8"))
    node = [*ast.walk(tree)][number]
    before = ast.unparse(node)
    list_changes(node)[change]()
    codes = {}
    waiting = [compile(ast.fix_missing_locations(tree), str(ROOT / path), "exec")]
    while waiting:
        code = waiting.pop()
        codes[code.co_qualname, code.co_firstlineno] = code
        waiting += [constant for constant in code.co_consts if isinstance(constant, CodeType)]
    for function in gc.get_objects():
        if type(function) is FunctionType and function.__code__.co_filename == str(ROOT / path):
            function.__code__ = codes[function.__code__.co_qualname, function.__code__.co_firstlineno]
    return " ".join(f"{before} → {ast.unparse(node)}".split())


@cache
def read_imports(path):
    return "\n".join(re.findall(r"^(?:from|import) .*", path.read_text(encoding="utf-8"), re.MULTILINE))


read_source = cache(inspect.getsource)


def choose(path, name, items):
    """Return the tests that may notice a change of a function, the likeliest first."""
    place = Path(path.replace("/__init__", ""))
    ranked = []
    for number, item in enumerate(items):
        words = re.findall(r"\w+", read_imports(item.path))
        is_near = item.path.stem == f"test_{place.stem}" or place.stem in words
        if is_near or place.parent.name in (*words, item.path.parent.name):
            source = read_source(item.function)
            trains = bool(re.search(r"start\(|main\(|train|subprocess", source))
            ranked.append((not is_near, trains, name not in source, number))
    return [items[number] for *_, number in sorted(ranked)[:MAX_TESTS]]


def attempt(site, items):
    """Try a change in a process of its own. Returns a line."""
    path, line, name, number, change = site
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.setpgid(0, 0)
        resource.setrlimit(resource.RLIMIT_CPU, (BUDGET, BUDGET))
        signal.alarm(20 * BUDGET)
        try:
            os.write(writing, f"{exchange(path, number, change)}\n".encode())
            for item, following in zip(items, [*items[1:], None], strict=False):
                os.write(writing, f"{item.nodeid}\n".encode())
                if any(report.failed for report in runtestprotocol(item, nextitem=following, log=False)):
                    os._exit(1)
            os._exit(0)
        except BaseException as error:
            os.write(writing, f"{error!r}\n".encode())
            os._exit(2)
    os.close(writing)
    with open(reading, encoding="utf-8") as output:
        text, *tests = output.read().splitlines() or [""]
    _, status = os.waitpid(child, 0)
    ends = {
        0: f"{len(tests)} passed",
        1: f"FAILED {tests[-1:]}",
        -signal.SIGXCPU: f"{len(tests)} in {BUDGET} s {tests[-1:]}",
    }
    code = os.waitstatus_to_exitcode(status)
    return f"{path}:{line} {name}\t{ends.get(code, f'ended by {code}: {tests[-1:]}')}\t{text}"


class Server:
    """A plugin of pytest, which tries changes in place of running all tests."""

    def __init__(self, options):
        self.options = options

    def pytest_runtestloop(self, session):
        options = self.options
        paths = sorted(path for folder in FOLDERS for path in ROOT.glob(f"{folder}/*.py"))
        names = [path.relative_to(ROOT).as_posix() for path in paths]
        sites = [site for name in names for site in list_sites(name, options.kernels)]
        if options.files:
            sites = [site for site in sites if {site[0], f"{site[0]}:{site[1]}"} & {*options.files}]
        for site in random.Random(options.seed).sample(sites, min(options.count or len(sites), len(sites))):
            chosen = choose(site[0], site[2], session.items)
            print(attempt(site, chosen), file=sys.__stderr__, flush=True)
        return True


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--kernels", action="store_true")
    parser.add_argument("--files", nargs="+", default=())
    parser.add_argument("--tests", nargs="+", default=["tests"])
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--count", type=int)
    options = parser.parse_args()
    os.chdir(ROOT)
    if options.kernels:
        os.environ["NUMBA_DISABLE_JIT"] = "1"
    left_out = [f"--ignore=tests/{name}" for name in LEFT_OUT]
    plain = "-o", "addopts=", "-p", "no:cacheprovider", "-p", "no:terminal", "-n", "0"
    sys.exit(pytest.main([*options.tests, *left_out, *plain], [Server(options)]))


if __name__ == "__main__":
    main()
