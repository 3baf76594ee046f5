"""``--list-models`` and ``--summary``, also where a file in ``models/`` is faulty."""

import shutil
import subprocess
import sys

from support.run_folders import ROOT

import train
from models import MODELS, network_names
from network_trainer import NetworkTrainer

NETWORKS = network_names()


def test_lists(capsys):
    assert train.main(["--list-models"]) == 0
    out = capsys.readouterr().out
    assert [line.split(maxsplit=1)[0].rstrip(":") for line in out.splitlines()[::2]] == NETWORKS
    assert train.main(["--summary", "--model", "mozafari2018", "--dataset", "digits"]) == 0
    assert "mozafari2018 for 6×28×28 inputs" in capsys.readouterr().out


def test_a_name_in_capitals(capsys):
    assert train.main(["--summary", "--model", "Deep2024", "--dataset", "digits"]) == 0
    assert "deep2024 for 6×28×28 inputs" in capsys.readouterr().out


def test_a_network_that_cannot_be_built_is_one_line_of_the_list(monkeypatch, capsys):
    monkeypatch.setitem(MODELS, "hollow", type("Hollow", (NetworkTrainer,), {"name": "hollow"}))
    assert train.main(["--list-models"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[-1] == "hollow: cannot be built: Hollow declares no stages"
    assert len(lines) == 2 * len(NETWORKS) + 1


def test_a_faulty_file_is_one_line_of_the_list_and_shows_its_traceback_when_asked_for(tmp_path):
    rooms = "SpykeTorch", "datasets", "engine", "models", "report", "training"
    for room in rooms:
        shutil.copytree(ROOT / room, tmp_path / room, ignore=shutil.ignore_patterns("__pycache__"))
    for file in ROOT.glob("*.py"):
        shutil.copy(file, tmp_path)
    (tmp_path / "models" / "crooked2026.py").write_text("from engine.stages import SpikingKonv\n")
    program = (
        "import train; print(train.main(['--list-models'])); print(train.main(['--model', 'crooked2026']));"
        "print(train.main(['--model', 'crooked']))"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=True)
    *lines, listed, asked, near = done.stdout.splitlines()
    assert (listed, asked, near) == ("0", "2", "2")
    fault = "cannot import name 'SpikingKonv' from 'engine.stages'"
    assert lines[-1].startswith(f"crooked2026: models/crooked2026.py cannot be imported: ImportError: {fault}")
    assert [line.split(maxsplit=1)[0].rstrip(":") for line in lines[:-1:2]] == NETWORKS
    first, trace, *middle, last, unknown = done.stderr.splitlines()
    assert first == "train.py: models/crooked2026.py cannot be imported:"
    assert trace == "Traceback (most recent call last):"
    assert 'crooked2026.py", line 1' in " ".join(middle)
    assert last.startswith(f"ImportError: {fault}")
    assert unknown.startswith("train.py: unknown model 'crooked'; there are deep2024, ")
    assert unknown.endswith("; --list-models says what is wrong with crooked2026")
