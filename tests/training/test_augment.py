"""``--augment``: moved copies of the training images, from which the decision stage learns too."""

import numpy as np
import pytest
import torch
from support.command import DIGITS, refuse, results, start
from support.run_folders import only_run, same

from datasets.augmentation import Augmentation, moved
from s1c1 import S1C1
from training import copies
from training.checkpoint import load_checkpoint
from training.copies import MovedCopies

SMALL = f"--model mozafari2018_margin {DIGITS} --ratio 0.2 --batch-size 60 --epochs 2 12 2"
MOVES = "--augment copies=2 turn=10 shift=1"
IMAGES = np.random.default_rng(0).integers(0, 256, (7, 28, 28), np.uint8)


def state(folder, name="last.safetensors"):
    return load_checkpoint(folder / "checkpoints" / name).state


def test_copies_are_the_moved_images_encoded():
    encoder, augmentation = S1C1(), Augmentation(copies=2, turn=10, shift=1)
    made = MovedCopies(IMAGES, augmentation, 3, encoder.encode, 4000, None)
    assert len(made) == 2
    for number, copy in enumerate(made, start=1):
        assert len(copy) == 7
        assert torch.equal(copy[2:5], encoder.encode(moved(IMAGES, augmentation, number, 3)[2:5]))


@pytest.mark.parametrize("most", [0, 2**30])
def test_many_lie_in_a_file_without_a_name(most, tmp_path, monkeypatch):
    monkeypatch.setattr(copies, "MOST_IN_MEMORY", most)
    made = MovedCopies(IMAGES, Augmentation(copies=2, flip=True), 0, None, 4000, tmp_path)
    file = made.file(1)
    assert (file is None) == bool(most)
    assert list(tmp_path.iterdir()) == []
    if file:
        file.close()


@pytest.mark.parametrize("most", [0, 2**30])
def test_a_run_learns_from_copies_and_resumes_to_the_bit(most, tmp_path, undrawn, stop_after, monkeypatch):
    """In memory and on the disk, at one go and interrupted: the same weights, and others than without copies."""
    monkeypatch.setattr(copies, "MOST_IN_MEMORY", most)
    for place in ("whole", "stopped", "plain"):
        (tmp_path / place).mkdir()
    assert start(f"{SMALL} {MOVES}", tmp_path / "whole") == 0
    stop_after(5 * 14 + 7)  # in the second epoch of s3
    assert start(f"{SMALL} {MOVES}", tmp_path / "stopped") == 130
    stop_after(None)
    assert start("--resume latest", tmp_path / "stopped") == 0
    assert start(f"{SMALL} --augment none", tmp_path / "plain") == 0
    whole, stopped, plain = (only_run(tmp_path / place) for place in ("whole", "stopped", "plain"))
    assert same(state(whole), state(stopped))
    assert not same(state(whole), state(plain))
    assert results(whole)["flags"]["augment"] == ["copies=2", "turn=10", "shift=1"]
    assert results(plain)["flags"]["augment"] == ["none"]
    assert (whole / "figures" / "moved_images.png").is_file()
    assert not (plain / "figures" / "moved_images.png").exists()


def test_what_cannot_learn_from_copies_is_refused(tmp_path, capsys):
    out = f"--output {tmp_path} {DIGITS}"
    error = refuse(f"--model deepr2024 {out} {MOVES}", capsys)
    assert "only a decision stage learns; in deepr2024 that is s3+s4" in error
    error = refuse(f"--model kheradpisheh2018 {out} {MOVES}", capsys)
    assert "in kheradpisheh2018 that is none" in error
    assert "--augment does not know 'twist=3'" in refuse(f"--model mozafari2018 {out} --augment twist=3", capsys)
    assert "needs its number of copies" in refuse(f"--model mozafari2018 {out} --augment turn=3", capsys)
    assert list(tmp_path.iterdir()) == []
