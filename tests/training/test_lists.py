"""``--list-models`` and ``--summary``, also if a file in ``models/`` is faulty."""

import shutil
import subprocess
import sys

from support.run_folders import ROOT

import train
from models import MODELS, network_names
from network_trainer import NetworkTrainer


def listed(text):
    return [line.split(maxsplit=1)[0].rstrip(":") for line in text.splitlines() if not line.startswith(" ")]


def test_lists_and_summaries(capsys):
    assert train.main(["--list-models"]) == 0
    assert listed(capsys.readouterr().out) == network_names()
    for name in ("mozafari2018", "Deep2024"):
        assert train.main(["--summary", "--model", name, "--dataset", "digits"]) == 0
        assert f"{name.lower()} for 6×28×28 inputs" in capsys.readouterr().out


def test_a_network_that_cannot_be_built_is_one_line_of_the_list(monkeypatch, capsys):
    monkeypatch.setitem(MODELS, "hollow", type("Hollow", (NetworkTrainer,), {"name": "hollow"}))
    assert train.main(["--list-models"]) == 0
    assert sorted(listed(capsys.readouterr().out)) == network_names()


def test_a_faulty_file_is_one_line_of_the_list_and_its_network_shows_the_line(tmp_path):
    for folder in ("SpykeTorch", "datasets", "encoders", "engine", "models", "report", "training"):
        shutil.copytree(ROOT / folder, tmp_path / folder, ignore=shutil.ignore_patterns("__pycache__"))
    for file in (*ROOT.glob("*.py"), ROOT / "requirements.txt"):
        shutil.copy(file, tmp_path)
    (tmp_path / "models" / "crooked2026.py").write_text("from engine.stages import SpikingKonv\n")

    def run(*words):
        return subprocess.run([sys.executable, "train.py", *words], cwd=tmp_path, capture_output=True, text=True)

    done = run("--list-models")
    assert (done.returncode, done.stderr) == (0, "")
    assert listed(done.stdout) == [*network_names(), "crooked2026"]
    fault = "cannot import name 'SpikingKonv' from 'engine.stages'"
    assert fault in done.stdout.splitlines()[-1]
    asked = run("--model", "crooked2026")
    assert asked.returncode == 2
    assert f"{tmp_path}/models/crooked2026.py, line 1" in asked.stderr
    assert fault in asked.stderr
    assert asked.stderr.count("\n") == 1
