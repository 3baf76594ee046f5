"""List the lines of the kernels that no test compiles.

    python tests/manual/compiled_lines.py tests/engine

numba reports each line that it compiles (``NUMBA_JIT_COVERAGE``). Whether a compiled line is executed is not known:
these numbers are not to be added to a coverage of executed lines. All kernels are compiled anew, which takes minutes.
"""

import ast
import os
import sys
import tempfile
from collections import defaultdict
from pathlib import Path

os.environ |= {"NUMBA_JIT_COVERAGE": "1", "PYTEST_ADDOPTS": "-n 0"}

import pytest
from numba.misc import coverage_support

ROOT = Path(__file__).resolve().parent.parent.parent
compiled = defaultdict(set)  # {path: numbers of lines}


class Recorder(coverage_support.NotifyLocBase):
    def notify(self, loc):
        compiled[loc.filename].add(loc.line)

    def close(self):
        """Nothing is open."""


def find_kernel_lines(path):
    """Return the first line of each statement of the functions that ``@compiled`` decorates."""
    lines = set()
    for function in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        decorators = map(ast.unparse, getattr(function, "decorator_list", ()))
        if any(decorator.partition("(")[0] == "compiled" for decorator in decorators):
            statements = [node for node in ast.walk(function) if isinstance(node, ast.stmt) and node is not function]
            lines |= {node.lineno for node in statements if not isinstance(getattr(node, "value", None), ast.Constant)}
    return lines


def main():
    coverage_support._the_registry.append(Recorder)
    os.chdir(ROOT)
    with tempfile.TemporaryDirectory() as folder:
        os.environ["NUMBA_CACHE_DIR"] = folder
        code = pytest.main(sys.argv[1:])
    for path in sorted(ROOT.rglob("*.py")):
        lines = find_kernel_lines(path)
        if lines and "tests" not in path.parts:
            missing = sorted(lines - compiled[str(path)])
            print(
                f"{path.relative_to(ROOT)}: {len(lines) - len(missing)} of {len(lines)}; missing:", *missing or ["none"]
            )
    sys.exit(code)


if __name__ == "__main__":
    main()
