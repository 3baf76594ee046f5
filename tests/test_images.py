"""The README's figures: the script draws all of them, started in any folder, and the repository holds them."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

FOLDER = Path(__file__).parent.parent / "images"
NAMES = [
    *("snn_illustration", "Long-Term-Potentiation", "RSTDP", "latency_map", "memory_layout", "networks"),
    "mozafari2018",
]


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    """A folder the script has drawn into, started there, with matplotlib's warnings (a missing sign, …) as errors."""
    folder = tmp_path_factory.mktemp("images")
    command = [sys.executable, "-W", "error::UserWarning", FOLDER / "draw.py", "."]
    run = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=120)
    assert run.returncode == 0, run.stderr
    return folder


def check(path):
    assert path.stat().st_size < 300_000
    with Image.open(path) as image:
        assert 1200 <= image.width <= 1600
        pixels = np.asarray(image.convert("L"))
    frame = np.concatenate([pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1]])
    assert (frame == 255).all()  # a white background, and nothing runs over the edge
    assert (pixels < 128).mean() > 0.01  # not blank


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_a_figure_is_drawn(drawn, name):
    check(drawn / f"{name}.png")


@pytest.mark.parametrize("name", NAMES)
def test_a_figure_is_in_the_repository(name):
    check(FOLDER / f"{name}.png")


@pytest.mark.slow
def test_nothing_else_is_drawn(drawn):
    assert sorted(path.name for path in drawn.iterdir()) == sorted(f"{name}.png" for name in NAMES)
