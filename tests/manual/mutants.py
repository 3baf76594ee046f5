"""Change one expression of the product at a time, and see whether a test of the first tier fails: a plugin of pytest.

    export PYTHONPATH=tests/manual
    pytest -p mutants -n 0 tests/test_sweep.py --seed 1 --count 30 --mutate sweep.py report/sweep_report.py
    pytest -p mutants -n 0 tests/imagesets tests/training --seed 1 --count 30 --mutate imagesets
    pytest -p mutants -n 0 tests --mutate utils.py:187 training/run.py:116  # all changes of these lines

The process that has imported the product and collected the tests forks for each change, exchanges the code of the
functions of the file, and runs the tests up to the first failure, for ``BUDGET`` seconds of processor time: those of
the file of the same name first, then those that name the function. No file changes, so that no kernel is compiled
again. Kernels, what runs when a module is imported, defaults of arguments, and the processes that tests start are not
changed.

Prints for each change: path:line, function, the change, and how it ended in which test. Needs Python 3.11 on Linux.
"""

import ast
import gc
import os
import random
import resource
import signal
import sys
import time
from pathlib import Path
from types import CodeType, FunctionType

from _pytest.runner import runtestprotocol

BUDGET = 10  # seconds of processor time of a change
SWAPS = (
    "Lt:LtE LtE:Lt Gt:GtE GtE:Gt Eq:NotEq NotEq:Eq Is:IsNot IsNot:Is In:NotIn NotIn:In And:Or Or:And Add:Sub Sub:Add "
    "Mult:Div Div:Mult FloorDiv:Mult Mod:Mult BitOr:BitAnd BitAnd:BitOr"
)
SWAPPED = {getattr(ast, one): getattr(ast, other) for one, other in (pair.split(":") for pair in SWAPS.split())}
KERNELS = {"compiled", "intrinsic", "overload", "window", "change", "verdict"}  # decorators, and methods of rules


def pytest_addoption(parser):
    parser.addoption("--mutate", nargs="+", help="files, folders, or path:line")
    parser.addoption("--seed", type=int, default=0)
    parser.addoption("--count", type=int, default=sys.maxsize, help="the number of changes (default: all)")


def list_changes(node):
    """Return {attribute: another value} of a node of a syntax tree; each is a change."""
    changes = {}
    value = getattr(node, "value", None)
    if isinstance(node, ast.Compare):
        changes["ops"] = [*node.ops[:-1], SWAPPED[type(node.ops[-1])]()]
    if type(getattr(node, "op", None)) in SWAPPED:
        changes["op"] = SWAPPED[type(node.op)]()
    if isinstance(node, ast.Constant) and isinstance(value, int | float):
        changes["value"] = not value if isinstance(value, bool) else 2 * value + 1
    if isinstance(node, ast.If | ast.IfExp | ast.While):
        changes["test"] = ast.UnaryOp(ast.Not(), node.test)
    if isinstance(node, ast.Return) and value:
        changes["value"] = ast.Constant(None)
    if isinstance(node, ast.Raise | ast.AugAssign | ast.Expr) and not isinstance(value, ast.Constant):
        changes["__class__"] = ast.Pass
    if isinstance(node, ast.Call) and node.keywords:
        changes["keywords"] = node.keywords[:-1]
    return changes


def list_sites(path):
    """Yield (path, name of the function, line, number of the node, attribute) of all changes of a file."""
    tree = ast.parse(path.read_bytes())
    numbers = {node: number for number, node in enumerate(ast.walk(tree))}
    classes = [each.body for each in tree.body if isinstance(each, ast.ClassDef)]
    for function in (each for body in (tree.body, *classes) for each in body if isinstance(each, ast.FunctionDef)):
        names = {function.name, *(getattr(mark, "id", "") for mark in function.decorator_list)}
        for node in (each for statement in function.body for each in ast.walk(statement)):
            for attribute in list_changes(node) if names.isdisjoint(KERNELS) else ():
                yield path, function.name, node.lineno, numbers[node], attribute


def exchange(path, number, attribute):
    """Change the functions of a file in this process. Returns the text of the change."""
    tree = ast.parse(path.read_bytes())
    node = [*ast.walk(tree)][number]
    before = ast.unparse(node)
    setattr(node, attribute, list_changes(node)[attribute])
    codes = {}
    waiting = [compile(ast.fix_missing_locations(tree), path.absolute(), "exec")]
    while waiting:
        code = waiting.pop()
        codes[code.co_qualname, code.co_firstlineno] = code
        waiting += [constant for constant in code.co_consts if isinstance(constant, CodeType)]
    for function in gc.get_objects():
        if type(function) is FunctionType and function.__code__.co_filename == str(path.absolute()):
            function.__code__ = codes[function.__code__.co_qualname, function.__code__.co_firstlineno]
    return " ".join(f"{before} → {ast.unparse(node)}".split())


def attempt(items, *change):
    """Try a change in this process, and leave it. items: the tests, the likeliest first."""
    os.setpgid(0, 0)
    signal.alarm(20 * BUDGET)
    resource.setrlimit(resource.RLIMIT_CPU, (2 * BUDGET, 2 * BUDGET))
    show(f"{exchange(*change)}\t")
    for item, following in zip(items, [*items[1:], None], strict=True):
        if any(report.failed for report in runtestprotocol(item, nextitem=following, log=False)):
            show(f"noticed by {item.nodeid}")
            os._exit(0)
        if time.process_time() > BUDGET:
            break
    show(f"NOT NOTICED; the last test: {item.nodeid}")
    os._exit(0)


def show(text):
    print(text, end="", file=sys.__stderr__, flush=True)


def pytest_runtestloop(session):
    """Try changes in place of running all tests."""
    options = session.config.option
    paths = {Path(place.partition(":")[0]) for place in options.mutate}
    files = sorted(file for path in paths for file in [path, *path.glob("**/*.py")] if file.is_file())
    sites = [site for file in files for site in list_sites(file)]
    if any(":" in place for place in options.mutate):
        sites = [site for site in sites if f"{site[0]}:{site[2]}" in options.mutate]
    for path, name, line, *change in random.Random(options.seed).sample(sites, min(options.count, len(sites))):
        ranks = {}
        for item in session.items:
            ranks[item] = item.path.stem != f"test_{path.stem}", name not in item.function.__code__.co_names
        show(f"{path}:{line} {name}\t")
        child = os.fork()
        if child == 0:
            attempt(sorted(ranks, key=ranks.get), path, *change)
        _, status = os.waitpid(child, 0)
        show(f"ended by {os.waitstatus_to_exitcode(status)}\n" if status else "\n")
    return True
