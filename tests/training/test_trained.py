"""The trained network that comes with the repository: it can be tested, asked, and built upon."""

import re

from command import results, start
from kill_and_resume import ROOT, only_run

import train
from training import checkpoint

TRAINED = ROOT / "results" / "checkpoints" / "multiscale2026.pt"


def test_it_is_of_todays_format_and_says_what_it_saw():
    content = checkpoint.load(TRAINED)
    assert content["format"] == checkpoint.FORMAT
    assert content["run"]["flags"]["model"] == content["model"] == "multiscale2026"
    assert TRAINED.stat().st_size < 15e6


def test_it_reads_test_images(tmp_path, undrawn, capsys):
    """The first hundred of them, at least 98 right; the whole set is in results/."""
    assert start(f"--evaluate {TRAINED} --dry-run --no-figures", tmp_path) == 0
    assert "no checksum" not in capsys.readouterr().out
    assert results(next(tmp_path.iterdir()))["test"]["accuracy"] >= 0.98


def test_it_reads_a_picture(capsys):
    assert train.main(["--predict", str(ROOT / "images" / "example-digit.png"), "--evaluate", str(TRAINED)]) == 0
    assert re.search(r"example-digit\.png: 7 ", capsys.readouterr().out)


def test_a_network_begins_with_it(tmp_path, undrawn, capsys):
    words = f"--model multiscale2026 --init-from {TRAINED} --epochs 0 0 0 0 1 --augment none --dry-run --no-figures"
    assert start(words, tmp_path) == 0
    assert f"s1 s2 s3 s4 s5 from {TRAINED}" in capsys.readouterr().out
    assert results(only_run(tmp_path))["test"]["best"]["accuracy"] >= 0.97
