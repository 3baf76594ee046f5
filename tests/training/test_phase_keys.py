"""What identifies a phase: its key, and the version of the code."""

import shutil

import numpy as np
import pytest
import torch
from support.command import SMALL, start

from engine.phases import Phase
from models import build_model
from s1c1 import S1C1
from training import identity
from training.checkpoint import load_checkpoint
from training.identity import make_keys
from training.settings import TrainSettings
from utils import ROOT


class Scaled(Phase):
    """A phase of a user's network, with attributes of its own."""

    def __init__(self, *args, keep, shifts):
        super().__init__(*args)
        self.keep = keep
        self.shifts = shifts


@pytest.mark.parametrize("attribute", ["keep", "shifts"])
def test_the_attributes_of_a_phase_belong_to_its_key(attribute):
    def digest(**changes):
        model = build_model("mozafari2018")
        first = model.phases[0]
        model.phases[0] = Scaled(first.stages, first.rules, **{"keep": 1.0, "shifts": torch.zeros(5000)} | changes)
        settings = TrainSettings(model="x", dataset="digits", device="cpu", epochs=(1, 1, 1))
        return make_keys(model, S1C1(), settings, "images", np.arange(3))[0].digest

    other = torch.zeros(5000)
    other[2500] = 1
    assert digest() == digest()
    assert digest() != digest(**{attribute: {"keep": 0.2, "shifts": other}[attribute]})


@pytest.mark.parametrize(("epochs", "is_same"), [(2, True), (20, True), (21, False)])
def test_the_key_of_a_phase_names_a_number_of_epochs_that_is_the_most(epochs, is_same):
    parts = []
    for converge in (0.0, 0.01):
        flags = {"device": "cpu", "epochs": (epochs, 1, 1), "converge": converge}
        settings = TrainSettings(model="x", dataset="digits", **flags)
        keys = make_keys(build_model("mozafari2018"), S1C1(), settings, "images", np.arange(3))
        parts.append(keys[0].parts["--epochs"])
    assert (parts[0] == parts[1]) == is_same


COVERED = "imagesets/augmentation.py", "training/plan.py", "engine/event/firing.py"


@pytest.mark.parametrize("name", COVERED)
def test_the_version_of_the_code_covers_what_chooses_and_decodes_images(name, tmp_path, monkeypatch):
    for path in COVERED:
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / path, tmp_path / path)
    monkeypatch.setattr(identity, "ROOT", tmp_path)
    before = identity.digest_core.__wrapped__()  # it is kept for the process
    with open(tmp_path / name, "a") as file:
        file.write("# changed\n")
    assert identity.digest_core.__wrapped__() != before


def test_a_resumed_run_whose_code_has_changed_warns_once_and_keeps_both_versions(tmp_path, undrawn, monkeypatch):
    assert start(f"{SMALL} --epochs 1 1 1 --until s1 --name run", tmp_path) == 0
    run = tmp_path / "run"
    assert start("--resume latest --until s1", tmp_path) == 0
    assert "warning" not in (run / "log.txt").read_text()
    (before,) = identity.describe_code()
    monkeypatch.setattr(identity, "digest_core", lambda: "0123")
    assert start("--resume latest", tmp_path) == 0
    assert (run / "log.txt").read_text().count("warning: ") == 1
    assert [*load_checkpoint(run / "checkpoints" / "last.safetensors").record.code] == [before, "0123"]


@pytest.mark.parametrize("pair", [(12, 12.0), ([12.0, 0.5], (12, 0.5))])
def test_numbers_that_are_equal_have_one_description(pair):
    one, other = pair
    assert identity.describe(one) == identity.describe(other)
