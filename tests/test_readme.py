"""Every command of the README, as it stands there but for a few images instead of all."""

import re
import runpy
import shlex
from pathlib import Path

import pytest

import models
import train
from training.flags import parse
from training.settings import TAKES

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text()
COMMANDS = [
    shlex.split(match) for block in re.findall(r"```bash\n(.*?)```", README, re.DOTALL)
    for match in re.findall(r"python train\.py (.*)", block)
]  # fmt: skip


def test_the_commands_are_found():
    """The README trains, lists, resumes, evaluates and predicts."""
    flags = {word for command in COMMANDS for word in command}
    assert {"--model", "--list-models", "--summary", "--resume", "--evaluate", "--predict", "--save-maps"} <= flags


def test_every_command_runs(tmp_path, capsys, monkeypatch):
    """In the README's order, because later ones use what earlier ones leave."""
    monkeypatch.chdir(ROOT)
    for command in COMMANDS:
        takes = TAKES[parse(command).command]
        shorter = ["--dry-run"] if "dry_run" in takes else []
        place = ["--output", str(tmp_path)] if "output" in takes else []
        assert train.main([*command, *shorter, *place]) == 0, command
        assert capsys.readouterr().out


@pytest.mark.parametrize("path", re.findall(r"\]\(([^)#:]+)\)", README))
def test_every_link_leads_somewhere(path):
    assert (ROOT / path).exists()


def test_the_tables_are_those_of_the_logs():
    """``results/collect.py`` would write what stands there."""
    collect = runpy.run_path(str(ROOT / "results" / "collect.py"))
    assert collect["table"]("results/") in README
    assert collect["printed"]() in README
    assert collect["speed"]() in README
    assert collect["table"]() in (ROOT / "results" / "README.md").read_text()


def test_the_python_examples_run(monkeypatch):
    """The network of the example is there once it is declared, and the library example learns."""
    monkeypatch.delitem(models.MODELS, "shallow", raising=False)  # a file that was made after the example
    namespace = {}
    for block in re.findall(r"```python\n(.*?)```", README, re.DOTALL):
        exec(block.replace("[:2000]", "[:200]"), namespace)
    shallow = namespace["Shallow"](in_channels=6, num_classes=10)
    monkeypatch.delitem(models.MODELS, "shallow")  # other tests are not to meet it
    assert [phase.name for phase in shallow.phases] == ["s1", "s2"]
    assert len(shallow.epochs) == len(shallow.phases)
