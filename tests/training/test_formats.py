"""Runs whose files have no format number are tested and trained longer as by the version that wrote them.

See golden/README.md. Their scores and weights do not depend on the machine: the kernels add in the order of the spikes,
the copies are only mirrored, and the first weights are in the checkpoints.
"""

import json
import shutil

import pytest
from safetensors.torch import load_file
from support.command import results, start, start_evaluation
from support.golden_checkpoints import GOLDEN, LONGER, compute_digest
from support.refusals import assert_refuses
from support.tiers import slow_except

import train
from encoders.whitening import Whitening
from report.formats import FORMAT
from training.plan import load_data, resolve
from training.settings import TrainSettings


@pytest.mark.parametrize("name", slow_except(["whitened"], LONGER))
def test_a_run_of_format_1_is_tested_and_trained_longer(name, tmp_path):
    run = tmp_path / name
    shutil.copytree(GOLDEN / "runs" / name, run)
    assert start_evaluation(f"{run} --threads 1 --no-figures --name again", tmp_path) == 0
    for score in ("accuracy", "silent", "count"):
        assert results(tmp_path / "again")["test"][score] == results(run)["test"]["best"][score]
    assert (tmp_path / "again" / "predictions.csv").read_text() == (run / "predictions.csv").read_text()
    assert start(f"--resume {run} --epochs {LONGER[name]} --no-references", tmp_path) == 0
    tensors = load_file(run / "checkpoints" / "last.safetensors")
    expected = json.loads((GOLDEN / "runs.json").read_text())[name]
    assert {key: compute_digest(tensor) for key, tensor in tensors.items()} == expected


def test_a_config_of_format_1_declares_the_same():
    settings = TrainSettings.parse(["--config", str(GOLDEN / "runs" / "whitened" / "args.json")])
    settings, encoder, model = resolve(settings, load_data(settings))
    assert encoder == Whitening(patch=5, time_steps=8)
    assert (settings.augment, settings.readout, model.stages["s2"].weight.shape[0]) == ("copies=1 flip", "svm", 10)


def test_the_format_of_a_newer_version_is_refused(tmp_path, capsys):
    path = tmp_path / "args.json"
    path.write_text(json.dumps({"format": FORMAT + 1, "flags": {"model": "mozafari2018"}}))
    assert_refuses(train.main, f"--config {path}", f"format {FORMAT + 1}", capsys)
