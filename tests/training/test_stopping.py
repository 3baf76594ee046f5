"""Signals and a full disk before and after the training: what has been saved is kept, and how to go on is said."""

import errno
import os
import re
import shlex
import signal

import pytest
from support.command import SMALL, start
from support.run_folders import only_run

import train
from training.checkpoint import load_checkpoint
from training.run import Run

WORDS = f"{SMALL} --epochs 0 0 1"
PLACES = (
    "training.run.Run.encode_split",
    "training.run.write_report",
    "training.run.write_page",
)  # before, while, at the end


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_outside_the_training_names_the_command(place, number, code, tmp_path, undrawn, monkeypatch, capsys):
    """Which then ends the run."""
    handler = signal.getsignal(signal.SIGTERM)
    with monkeypatch.context() as context:
        context.setattr(place, lambda *_, **__: os.kill(os.getpid(), number))
        assert start(WORDS, tmp_path) == code
    assert signal.getsignal(signal.SIGTERM) == handler
    run = only_run(tmp_path)
    *_, said, command = capsys.readouterr().out.splitlines()
    assert said == "stopped at once; go on from the last checkpoint with"
    assert shlex.split(command) == ["python", "train.py", "--resume", str(run)]
    assert train.main(shlex.split(command)[2:]) == 0
    assert (run / "results.json").is_file()


def test_a_signal_before_the_run_has_a_folder(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(train, "Data", lambda _: os.kill(os.getpid(), signal.SIGINT))
    assert start(WORDS, tmp_path) == 130
    assert capsys.readouterr() == ("", "stopped at once\n")
    assert not list(tmp_path.iterdir())


def test_a_run_can_be_resumed_as_soon_as_it_begins(tmp_path, monkeypatch):
    seen = []
    monkeypatch.setattr(Run, "train", lambda run: seen.append(run.folder / "checkpoints" / "last.safetensors"))
    assert start(WORDS, tmp_path) == 0
    progress = load_checkpoint(seen[0]).progress
    assert progress.phase == progress.batch == 0


@pytest.mark.parametrize("place", ["training.run.write_page", "training.run.write_results"])
def test_a_full_disk_says_what_to_free_and_how_to_go_on(place, tmp_path, undrawn, monkeypatch, capsys):
    def full(*_, **__):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "index.html")

    with monkeypatch.context() as context:
        context.setattr(place, full)
        assert start(WORDS, tmp_path) == 2
    run, error = only_run(tmp_path), capsys.readouterr().err
    assert error.count("\n") == 1
    assert re.search(
        rf"the disk of {run} is full: .*No space left on device.* free some of it \(a checkpoint takes \d+ MB\), and "
        rf"go on with: python train.py --resume {run}\n",
        error,
    )
    assert train.main(["--resume", str(run)]) == 0


def test_a_disk_that_is_full_while_it_trains(tmp_path, undrawn, monkeypatch, capsys):
    """The checkpoint before is as it was."""
    plain, saves = os.replace, []

    def full(source, target):
        saves.append(target)
        if len(saves) > 6:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        plain(source, target)

    with monkeypatch.context() as context:
        context.setattr(os, "replace", full)
        assert start(f"{WORDS} --save-every 0", tmp_path) == 2
    run = only_run(tmp_path)
    assert f"cannot write {saves[-1]}: No space left on device; free some of it" in capsys.readouterr().err
    assert load_checkpoint(run / "checkpoints" / "last.safetensors").progress.phase == 2
    assert not list(run.glob("**/.*"))
    assert train.main(["--resume", str(run)]) == 0


def test_another_error_of_the_disk_is_told_as_it_is(tmp_path, undrawn, monkeypatch, capsys):
    def gone(*_, **__):
        raise OSError(errno.EACCES, os.strerror(errno.EACCES), "index.html")

    monkeypatch.setattr("training.run.write_page", gone)
    assert start(WORDS, tmp_path) == 2
    assert capsys.readouterr().err == "train.py: cannot read or write index.html: Permission denied\n"
