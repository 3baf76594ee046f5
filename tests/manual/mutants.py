"""Change one expression of the product at a time, and see whether a test of the first tier fails.

    python tests/manual/mutants.py --seed 1 --count 30 sweep.py report/sweep_report.py --tests tests/test_sweep.py
    python tests/manual/mutants.py --seed 1 --count 30 imagesets --tests tests/imagesets tests/training
    python tests/manual/mutants.py utils.py:187 training/run.py:116  # all changes of these lines

One process imports the product and collects the tests. It forks for each change, exchanges the code of the functions of
the file, and runs the tests up to the first failure, for ``BUDGET`` seconds of processor time: those of the file of the
same name first, then those that name the function. No file changes, so that no kernel is compiled again. Kernels, what
runs when a module is imported, defaults of arguments, and the processes that tests start are not changed.

Prints for each change: path:line, function, how it ended in which test, the change. Needs Python 3.11 on Linux.
"""

import argparse
import ast
import gc
import inspect
import os
import random
import resource
import signal
import sys
from functools import cache
from pathlib import Path
from types import CodeType, FunctionType

import pytest
from _pytest.runner import runtestprotocol

ROOT = Path(__file__).resolve().parent.parent.parent
BUDGET = 10  # seconds of processor time of a change
SWAPS = (
    "Lt:LtE LtE:Lt Gt:GtE GtE:Gt Eq:NotEq NotEq:Eq Is:IsNot IsNot:Is In:NotIn NotIn:In And:Or Or:And Add:Sub Sub:Add "
    "Mult:Div Div:Mult FloorDiv:Mult Mod:Mult BitOr:BitAnd BitAnd:BitOr"
)
SWAPPED = {getattr(ast, one): getattr(ast, other) for one, other in (pair.split(":") for pair in SWAPS.split())}
KERNELS = {"compiled", "intrinsic", "overload", "window", "change", "verdict"}  # decorators, and methods of rules


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


def list_sites(path):
    """Yield (path, line, name of the function, number of the node, number of the change) of all changes of a file."""
    tree = ast.parse((ROOT / path).read_text(encoding="utf-8"))
    numbers = {node: number for number, node in enumerate(ast.walk(tree))}
    classes = [each.body for each in tree.body if isinstance(each, ast.ClassDef)]
    for function in (each for body in (tree.body, *classes) for each in body if isinstance(each, ast.FunctionDef)):
        names = {function.name, *(getattr(mark, "id", "") for mark in function.decorator_list)}
        for node in (each for statement in function.body for each in ast.walk(statement)):
            for change in range(len(list_changes(node)) if names.isdisjoint(KERNELS) else 0):
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


def attempt(site, items):
    """Try a change in a process of its own. Returns a line."""
    path, line, name, number, change = site
    items = sorted(items, key=lambda item: (item.path.stem != f"test_{Path(path).stem}", name not in read_source(item)))
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.setpgid(0, 0)
        resource.setrlimit(resource.RLIMIT_CPU, (BUDGET, BUDGET))
        signal.alarm(20 * BUDGET)
        try:
            os.write(writing, f"{exchange(path, number, change)}\n".encode())
            for item, following in zip(items, [*items[1:], None], strict=True):
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
    code = os.waitstatus_to_exitcode(status)
    result = {0: "NOT NOTICED by the last of", 1: "noticed by the last of"}.get(code, f"ended by {code} in the last of")
    return f"{path}:{line} {name}\t{result} {len(tests)} tests, {''.join(tests[-1:])}\t{text}"


@cache
def read_source(item):
    return inspect.getsource(item.function)


class Server:
    """A plugin of pytest, which tries changes in place of running all tests."""

    def __init__(self, options):
        self.options = options

    def pytest_runtestloop(self, session):
        options = self.options
        paths = {place.partition(":")[0] for place in options.places}
        files = sorted(
            file for path in paths for file in [ROOT / path, *ROOT.glob(f"{path}/**/*.py")] if file.is_file()
        )
        sites = [site for file in files for site in list_sites(file.relative_to(ROOT).as_posix())]
        lines = {place for place in options.places if ":" in place}
        if lines:
            sites = [site for site in sites if f"{site[0]}:{site[1]}" in lines]
        for site in random.Random(options.seed).sample(sites, min(options.count or len(sites), len(sites))):
            print(attempt(site, session.items), file=sys.__stderr__, flush=True)
        return True


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("places", nargs="+", help="files, folders, or path:line")
    parser.add_argument("--tests", nargs="+", default=["tests"], help="the arguments of pytest")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--count", type=int, help="the number of changes (default: all)")
    options = parser.parse_args()
    os.chdir(ROOT)
    plain = "-o", "addopts=", "-p", "no:cacheprovider", "-p", "no:terminal", "-n", "0"
    sys.exit(pytest.main([*options.tests, *plain], [Server(options)]))


if __name__ == "__main__":
    main()
