"""``--init-from``: weights of a trained network for a new run."""

import hashlib
import json

import pytest
import torch
from support.command import DIGITS, start
from support.run_folders import only_run

from training.checkpoint import load_checkpoint


def begun(words, output):
    """The state, args.json and log of a run that begins so and learns nothing."""
    assert start(f"--model mozafari2018 {DIGITS} --epochs 0 0 0 {words}", output) == 0
    run = only_run(output)
    args = json.loads((run / "args.json").read_text())
    return load_checkpoint(run / "checkpoints" / "last.safetensors").state, args, (run / "log.txt").read_text()


@pytest.mark.parametrize("place", ["", "checkpoints/last.safetensors"])
def test_each_stage_that_fits_is_copied_with_its_rates(place, trained, tmp_path, undrawn):
    file = trained / (place or "checkpoints/best.safetensors")
    source = load_checkpoint(file).state
    state, args, log = begun(f"--init-from {trained / place}", tmp_path)
    stages = [key for key in state if key.startswith("stages.")]
    assert {key.rpartition(".")[2] for key in stages} == {"weight", "stdp_rates", "rstdp_rates", "images_seen"}
    assert all(torch.equal(state[key], source[key]) for key in stages)
    assert not any(state[key].any() for key in state.keys() - set(stages))  # the batches of the phases
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    assert args["init_from"] == {"checkpoint": str(file), "sha256": digest, "stages": ["s1", "s2", "s3"]}
    assert f"s1 s2 s3 from {file}\n" in log
    assert "validation images" not in log


def test_what_does_not_fit_is_new_and_a_split_that_was_seen_is_logged(trained, tmp_path, undrawn):
    source = load_checkpoint(trained / "checkpoints" / "best.safetensors").state
    state, args, log = begun(f"--init-from {trained} --seed 1 --set s3.kernel=3 s2.threshold=12", tmp_path)
    assert torch.equal(state["stages.s2.weight"], source["stages.s2.weight"])
    assert state["stages.s3.weight"].shape == (200, 250, 3, 3)
    assert args["init_from"]["stages"] == ["s1", "s2"]
    assert "; s3 from the seed\n" in log
    # 1318 of 1437 images were trained on: of another 119 about 109
    assert "another split: on 11" in log or "another split: on 10" in log
    assert "of these 119 validation images" in log


def test_other_data_are_logged(trained, tmp_path, undrawn):
    _, _, log = begun(f"--init-from {trained} --image-size 24 24 --dry-run", tmp_path)
    assert "other data, digits" in log
