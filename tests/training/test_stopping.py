"""Signals and a full disk before, during and after the training: what was saved is kept, and the run can go on."""

import errno
import os
import shlex
import signal
import subprocess
import sys

import pytest
from support.command import SMALL, start
from support.refusals import assert_refused
from support.run_folders import only_run

import train
from training.checkpoint import load_checkpoint
from training.run import Run
from utils import ROOT

WORDS = f"{SMALL} --epochs 0 0 1"


@pytest.mark.parametrize("place", ["RunLog", "write_report", "write_page"])
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_after_a_signal_outside_the_training_a_command_completes_the_run(
    place, number, code, tmp_path, undrawn, monkeypatch, capsys
):
    handlers = [signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM)]
    with monkeypatch.context() as context:
        context.setattr(f"training.run.{place}", lambda *_, **__: os.kill(os.getpid(), number))
        assert start(WORDS, tmp_path) == code
    assert [signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM)] == handlers
    run = only_run(tmp_path)
    command = shlex.split(capsys.readouterr().out.splitlines()[-1])
    assert command == ["python", "train.py", "--resume", str(run)]
    assert train.main(command[2:]) == 0
    assert (run / "results.json").is_file()


def test_a_signal_before_the_run_has_a_folder(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(train, "load_data", lambda _: os.kill(os.getpid(), signal.SIGINT))
    assert start(WORDS, tmp_path) == 130
    assert capsys.readouterr().err.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_a_run_can_be_resumed_as_soon_as_it_begins(tmp_path, monkeypatch):
    seen = []
    monkeypatch.setattr(Run, "train", lambda run: seen.append(run.folder / "checkpoints" / "last.safetensors"))
    assert start(WORDS, tmp_path) == 0
    progress = load_checkpoint(seen[0]).progress
    assert progress.phase == progress.batch == 0


@pytest.mark.parametrize("place", ["write_page", "write_json"])
def test_after_a_full_disk_a_command_completes_the_run(place, tmp_path, undrawn, monkeypatch, capsys):
    def full(*_, **__):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "index.html")

    with monkeypatch.context() as context:
        context.setattr(f"training.run.{place}", full)
        code = start(WORDS, tmp_path)
    run = only_run(tmp_path)
    assert_refused("train.py", code, "", capsys.readouterr().err, f"python train.py --resume {run}")
    assert train.main(["--resume", str(run)]) == 0


def test_a_disk_that_is_full_during_the_training(tmp_path, undrawn, monkeypatch, capsys):
    """The checkpoint before is as it was."""
    plain, saves = os.replace, []

    def full(source, target):
        saves.append(target)
        if len(saves) > 7:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        plain(source, target)

    with monkeypatch.context() as context:
        context.setattr(os, "replace", full)
        code = start(f"{WORDS} --save-every 0", tmp_path)
    run = only_run(tmp_path)
    assert_refused("train.py", code, "", capsys.readouterr().err, saves[-1])
    assert load_checkpoint(run / "checkpoints" / "last.safetensors").progress.phase == 2
    assert not list(run.glob("**/.*"))
    assert train.main(["--resume", str(run)]) == 0


def test_the_page_exists_while_the_run_trains(tmp_path, undrawn, monkeypatch):
    monkeypatch.setattr(Run, "report", lambda *_: None)
    assert start(WORDS, tmp_path) == 0
    page = (only_run(tmp_path) / "index.html").read_text()
    assert "epoch 1 of s3" in page
    assert "--resume" in page


def test_another_error_of_the_disk(tmp_path, undrawn, monkeypatch, capsys):
    def gone(*_, **__):
        raise OSError(errno.EACCES, os.strerror(errno.EACCES), "index.html")

    monkeypatch.setattr("training.run.write_page", gone)
    code = start(WORDS, tmp_path)
    assert_refused("train.py", code, "", capsys.readouterr().err, "index.html")


@pytest.mark.parametrize("module", ["dataclasses", "numba"])
@pytest.mark.parametrize("command", ["train.py", "evaluate.py", "sweep.py"])
def test_ctrl_c_while_modules_are_imported(command, module, tmp_path):
    (tmp_path / f"{module}.py").write_text("import os\nos.kill(os.getpid(), 2)\n")
    environment = os.environ | {"PYTHONPATH": str(tmp_path)}
    done = subprocess.run([sys.executable, ROOT / command], capture_output=True, env=environment, timeout=60)
    assert (done.returncode, done.stdout, done.stderr) == (130, b"", b"")
