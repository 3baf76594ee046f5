"""Threads: how they wait, and that their number changes no result."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
MODULES = "engine", "models", "network_trainer", "s1c1", "train", "sweep"
PROGRAM = """
import os, sys
from importlib.abc import MetaPathFinder

class Watch(MetaPathFinder):
    def find_spec(self, name, path, target=None):
        if name == "torch":
            sys.exit(os.environ.get("OMP_WAIT_POLICY"))  # which prints it on stderr

sys.meta_path.insert(0, Watch())
sys.path.insert(0, {root!r})
import {module}, torch
"""


@pytest.mark.parametrize(
    ("module", "given", "expected"),
    [("engine", "active", "active"), *((module, None, "passive") for module in MODULES)],
)
def test_threads_sleep_while_they_wait(module, given, expected):
    """The variable is set when torch, and with it OpenMP, is loaded; a user's own value is kept."""
    environment = {name: value for name, value in os.environ.items() if name != "OMP_WAIT_POLICY"}
    environment |= {"OMP_WAIT_POLICY": given} if given else {}
    command = [sys.executable, "-c", PROGRAM.format(root=str(ROOT), module=module)]
    assert subprocess.run(command, env=environment, capture_output=True, text=True).stderr.strip() == expected
