"""``--augment``: moved copies of the training images, from which the decision stage learns too."""

import numpy as np
import pytest
import torch
from support.command import DIGITS, SMALL, refuse, results, start
from support.run_folders import ROOT, only_run, same

from datasets import augmentation
from datasets.augmentation import Augmentation, MovedCopies, move_images
from s1c1 import S1C1
from training.checkpoint import load_checkpoint

TRAINED = ROOT / "results" / "checkpoints" / "mozafari2018.safetensors"
MARGIN = f"{SMALL} --model mozafari2018_margin --init-from {TRAINED} --epochs 0 0 2"
MOVES = "--augment copies=2 turn=10 shift=1"
IMAGES = np.random.default_rng(0).integers(0, 256, (7, 28, 28), np.uint8)


def state(folder, name="last.safetensors"):
    return load_checkpoint(folder / "checkpoints" / name).state


def test_copies_are_the_moved_images_encoded():
    moves = Augmentation(copies=2, turn=10, shift=1)
    copies = MovedCopies(IMAGES, moves, 3, S1C1().encode, 4000, None)
    assert len(copies) == 2
    for number, copy in enumerate(copies, start=1):
        assert len(copy) == 7
        assert torch.equal(copy[2:5], S1C1().encode(move_images(IMAGES, moves, number, 3)[2:5]))


@pytest.mark.parametrize("limit", [0, 2**30])
def test_many_are_stored_in_a_file_without_a_name(limit, tmp_path, monkeypatch):
    monkeypatch.setattr(augmentation, "MAX_IN_MEMORY", limit)
    file = MovedCopies(IMAGES, Augmentation(copies=2, flip=True), 0, None, 4000, tmp_path).file(1)
    assert (file is None) == bool(limit)
    assert list(tmp_path.iterdir()) == []
    if file:
        file.close()


def test_a_run_learns_from_copies_and_resumes_to_the_bit(tmp_path, undrawn, stop_after, monkeypatch):
    """Without a pause, and interrupted in memory and on the disk: the same weights, other than without copies."""
    for place in ("whole", "plain", "memory", "disk"):
        (tmp_path / place).mkdir()
    assert start(f"{MARGIN} {MOVES}", tmp_path / "whole") == 0
    assert start(f"{MARGIN} --augment none", tmp_path / "plain") == 0
    whole, plain = (only_run(tmp_path / place) for place in ("whole", "plain"))
    assert not same(state(whole), state(plain))
    assert results(whole)["flags"]["augment"] == "copies=2 turn=10 shift=1"
    assert results(plain)["flags"]["augment"] == "none"
    for place, limit in (("memory", 2**30), ("disk", 0)):
        monkeypatch.setattr(augmentation, "MAX_IN_MEMORY", limit)
        stop_after(4)  # in the second epoch
        assert start(f"{MARGIN} {MOVES}", tmp_path / place) == 130
        stop_after(None)
        assert start("--resume latest", tmp_path / place) == 0
        assert same(state(whole), state(only_run(tmp_path / place)))


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (f"--model deepr2024 {MOVES}", "deepr2024"),
        (f"--model kheradpisheh2018 {MOVES}", "kheradpisheh2018"),
        ("--model mozafari2018 --augment twist=3", "twist"),
        ("--model mozafari2018 --augment turn=3", "copies"),
    ],
)
def test_what_cannot_learn_from_copies_is_refused(words, named, tmp_path, capsys):
    assert named in refuse(f"{words} --output {tmp_path} {DIGITS}", capsys)
    assert list(tmp_path.iterdir()) == []
