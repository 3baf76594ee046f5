"""The trained networks that come with the repository: they can be tested, asked, and built upon."""

import re

import pytest
from support.command import results, start
from support.run_folders import ROOT, only_run

import train
from training import checkpoint

FOLDER = ROOT / "results" / "checkpoints"
NETWORKS = {"mozafari2018": "s1 s2 s3", "multiscale2026": "s1 s2 s3 s4 s5"}  # and their stages with weights


def test_there_are_two_which_a_clone_can_bear():
    assert {path.name for path in FOLDER.iterdir()} == {f"{name}.pt" for name in NETWORKS}
    assert sum(path.stat().st_size for path in FOLDER.iterdir()) < 15 * 2**20


@pytest.mark.parametrize("name", NETWORKS)
def test_it_is_of_todays_format_and_says_what_it_saw(name):
    content = checkpoint.load(FOLDER / f"{name}.pt")
    assert content["format"] == checkpoint.FORMAT
    assert content["run"]["flags"]["model"] == content["model"] == name
    assert content["run"]["flags"]["data_dir"] is None
    assert (FOLDER / f"{name}.pt").stat().st_size < 15e6


@pytest.mark.parametrize("name", NETWORKS)
def test_it_reads_test_images(name, tmp_path, undrawn, capsys):
    """The first hundred of them, at least 98 right; the whole set is in results/."""
    assert start(f"--evaluate {FOLDER / name}.pt --dry-run --no-figures", tmp_path) == 0
    assert "no checksum" not in capsys.readouterr().out
    assert results(next(tmp_path.iterdir()))["test"]["accuracy"] >= 0.98


@pytest.mark.parametrize("name", NETWORKS)
def test_it_reads_a_picture(name, capsys):
    words = ["--predict", str(ROOT / "images" / "example-digit.png"), "--evaluate", str(FOLDER / f"{name}.pt")]
    assert train.main(words) == 0
    assert re.search(r"example-digit\.png: 7 ", capsys.readouterr().out)


@pytest.mark.parametrize("name", NETWORKS)
def test_a_network_begins_with_it(name, tmp_path, undrawn, capsys):
    stages = NETWORKS[name]
    epochs = " ".join([*("0" for _ in stages.split()[1:]), "1"])
    words = f"--model {name} --init-from {FOLDER / name}.pt --epochs {epochs} --augment none --dry-run --no-figures"
    assert start(words, tmp_path) == 0
    assert f"{stages} from {FOLDER / name}.pt" in capsys.readouterr().out
    assert results(only_run(tmp_path))["test"]["best"]["accuracy"] >= 0.97
