"""Files of other versions are refused in one line that names the version that reads them."""

import json
from dataclasses import replace

import pytest
from support.command import TRAINED
from support.refusals import assert_refuses

import evaluate
import train
from report.formats import FORMAT, LAST
from training.checkpoint import load_checkpoint, save_checkpoint


@pytest.mark.parametrize(("number", "about"), [(FORMAT + 1, f"format {FORMAT + 1}"), (3, LAST), (None, LAST)])
def test_the_record_of_another_version_is_refused(number, about, tmp_path, capsys):
    path = tmp_path / "args.json"
    path.write_text(json.dumps({"format": number, "flags": {"model": "mozafari2018"}} if number else {"flags": {}}))
    assert_refuses(train.main, f"--config {path}", about, capsys)


@pytest.mark.parametrize("number", [1, 3])
def test_a_checkpoint_and_a_run_of_an_older_version_are_refused(number, tmp_path, monkeypatch, capsys):
    run = tmp_path / "old"
    checkpoint = load_checkpoint(TRAINED)
    monkeypatch.setattr("training.checkpoint.FORMAT", number)
    for name in ("last", "best"):
        path = run / "checkpoints" / f"{name}.safetensors"
        path.parent.mkdir(parents=True, exist_ok=True)
        save_checkpoint(replace(checkpoint, path=path))
    monkeypatch.undo()
    assert_refuses(evaluate.main, f"{run}", LAST, capsys)
    assert_refuses(train.main, f"--resume {run}", LAST, capsys)
