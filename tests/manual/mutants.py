"""Change one expression of the product at a time, and see whether a test fails.

    python tests/manual/mutants.py --seed 0             # 60 mutants; --only event s1c1: those of some files
    python tests/manual/mutants.py --list               # only print them

The operators change comparisons, arithmetic, ``and`` and ``or``, ``min`` and ``max``, numbers, and statements, in all
functions. The sample contains equally many mutants of each file, as far as the file has them. A mutant is applied in a
copy of the repository in a temporary folder. Then the tests of that file run until one fails, of the first tier alone.
A change of a kernel compiles kernels again, so that a mutant that no quick test kills takes minutes. The exit code is 1
if a mutant survives.
"""

import argparse
import ast
import copy
import itertools
import random
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from itertools import zip_longest
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent.parent
LIMIT = 900  # seconds for the tests of a mutant

EVENT = ["tests/engine/test_event.py -k 'event and by_hand'", "tests/engine/test_event.py -k event"]
TRACES = "tests/engine/test_traces.py tests/engine/test_first_spikes.py"
NETWORKS = "tests/engine/test_graph.py tests/models/test_networks.py tests/test_network_trainer.py"
GOLDEN = "tests/training/test_golden_checkpoints.py tests/engine/test_random_networks.py"
# Arguments of pytest for the files of a folder, or for one file; those whose tests are quick come first.
TESTS = {
    "SpykeTorch/": ["tests/SpykeTorch"],
    "encoders/": ["tests/encoders"],
    "engine/": ["tests/test_refusals.py", NETWORKS, "tests/engine", GOLDEN],
    "engine/event/": [*EVENT, TRACES, GOLDEN],
    "engine/event/counting.py": ["tests/engine/test_counting.py"],
    "engine/event/simd.py": ["tests/engine/test_simd.py", *EVENT],
    "engine/rules.py": ["tests/engine/test_rules.py", "tests/models/test_networks.py"],
    "imagesets/": ["tests/imagesets", "tests/test_refusals.py"],
    "network_trainer.py": [NETWORKS, GOLDEN],
    "report/": ["tests/report", "tests/test_sweep.py"],
    "s1c1.py": ["tests/test_s1c1.py"],
    "training/": ["tests/training"],
}

SWAPPED = {
    ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq, ast.NotEq: ast.Eq,
    ast.Is: ast.IsNot, ast.IsNot: ast.Is, ast.In: ast.NotIn, ast.NotIn: ast.In, ast.And: ast.Or, ast.Or: ast.And,
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Add, ast.Div: ast.Mult, ast.FloorDiv: ast.Mult,
    ast.Mod: ast.Mult, ast.LShift: ast.RShift, ast.RShift: ast.LShift, ast.BitOr: ast.BitAnd, ast.BitAnd: ast.BitOr,
}  # fmt: skip
CALLS = {"min": "max", "max": "min"}


class Mutant(NamedTuple):
    """``after`` replaces the bytes from ``start`` to ``end`` of the file."""

    file: str
    start: int
    end: int
    text: str
    after: str

    def __str__(self):
        return self.text


def change(node):
    """Return the node that replaces a node, or None."""
    changed = copy.deepcopy(node)
    if isinstance(node, ast.Compare):
        changed.ops[0] = SWAPPED[type(node.ops[0])]()
    elif isinstance(node, (ast.BinOp, ast.BoolOp, ast.AugAssign)) and type(node.op) in SWAPPED:
        changed.op = SWAPPED[type(node.op)]()
    elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in CALLS:
        changed.func.id = CALLS[node.func.id]
    elif isinstance(node, ast.Constant) and type(node.value) in (int, float):
        changed.value = node.value + 1
    elif isinstance(node, ast.Constant) and isinstance(node.value, bool):
        changed.value = not node.value
    elif isinstance(node, ast.Assign) and isinstance(node.targets[0], (ast.Subscript, ast.Attribute)):
        return ast.Pass()
    else:
        return None
    return changed


def walk(node):
    """Yield the nodes of a function, without its docstring, annotations and messages."""
    unchanged = [
        *getattr(node, "decorator_list", ()),
        getattr(node, "returns", None),
        getattr(node, "annotation", None),
    ]
    for child in ast.iter_child_nodes(node):
        if isinstance(child, (ast.JoinedStr, ast.Raise, ast.arguments)) or child in unchanged:
            continue
        yield child
        yield from walk(child)


def list_mutants(file):
    """Return the mutants of a file, in its order."""
    text = (ROOT / file).read_text(encoding="utf-8")
    lines = text.encode().splitlines(keepends=True)
    begins = [sum(map(len, lines[:number])) for number in range(len(lines))]
    mutants = {}
    functions = [node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.FunctionDef)]
    for node in itertools.chain(*map(walk, functions)):
        after = change(node)
        if after is not None:
            start = begins[node.lineno - 1] + node.col_offset
            end = begins[node.end_lineno - 1] + node.end_col_offset
            replacement = ast.unparse(after)
            if isinstance(node, ast.expr):
                replacement = f"({replacement})"
            before = " ".join(ast.get_source_segment(text, node).split())
            line = lines[node.lineno - 1].decode().strip()
            where = f"{file}:{node.lineno}, {line!r}: {before} -> {replacement}"
            mutants[start, end] = Mutant(file, start, end, where, replacement)  # once, also in nested functions
    return [*mutants.values()]


def draw_sample(files, count, seed):
    """Return ``count`` mutants, equally many of each file, as far as there are so many."""
    drawn = []
    for file in files:
        mutants = list_mutants(file)
        random.Random(f"{seed} {file}").shuffle(mutants)
        drawn.append(mutants)
    in_turn = [mutant for row in zip_longest(*drawn) for mutant in row if mutant]
    return sorted(in_turn[:count])


def copy_repository(folder):
    """Copy the files that git lists or would list."""
    listed = subprocess.run(
        ["git", "-C", ROOT, "ls-files", "--cached", "--others", "--exclude-standard"],
        capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    for path in [ROOT / name for name in listed.splitlines()]:
        if path.is_file():
            target = folder / path.relative_to(ROOT)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(path, target)


def find_killer(mutant, folder):
    """Return the first test that fails in the folder, or None if all pass."""
    longest = max((name for name in TESTS if mutant.file.startswith(name)), key=len)
    for words in TESTS[longest]:
        command = [sys.executable, "-m", "pytest", "-n", "0", "-x", "-q", "-p", "no:cacheprovider", *shlex.split(words)]
        try:
            done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=LIMIT)
        except subprocess.TimeoutExpired:
            return f"{words} (longer than {LIMIT} s)"
        if done.returncode < 0:
            return f"{words} (a crash)"
        if done.returncode not in (0, 1, 2):
            raise SystemExit(f"pytest ended with {done.returncode}:\n{done.stdout}{done.stderr}")
        if done.returncode:
            failed = [line.split()[1] for line in done.stdout.splitlines() if line.startswith(("FAILED", "ERROR"))]
            return failed[0].partition("[")[0] if failed else words
    return None


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="+", default=[""], metavar="PART", help="of the files' names")
    parser.add_argument("--count", type=int, default=60)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--list", action="store_true", help="only print the mutants")
    args = parser.parse_args()
    files = [str(path.relative_to(ROOT)) for path in sorted(ROOT.rglob("*.py"))]
    tested = [file for file in files if file.startswith(tuple(TESTS))]
    chosen = [file for file in tested if any(part in file for part in args.only)]
    sample = draw_sample(chosen, args.count, args.seed)
    if args.list:
        print(*sample, f"{len(sample)} of {sum(len(list_mutants(file)) for file in tested)} mutants", sep="\n")
        return
    survivors = 0
    with tempfile.TemporaryDirectory() as folder:
        copy_repository(Path(folder))
        for mutant in sample:
            start, file = time.monotonic(), Path(folder, mutant.file)
            content = file.read_bytes()
            file.write_bytes(content[: mutant.start] + mutant.after.encode() + content[mutant.end :])
            killer = find_killer(mutant, folder)
            file.write_bytes(content)
            print(f"{mutant}: {killer or 'SURVIVED'} ({time.monotonic() - start:.0f} s)", flush=True)
            survivors += killer is None
    print(f"{len(sample)} mutants, {survivors} survive")
    sys.exit(bool(survivors))


if __name__ == "__main__":
    main()
