"""The script that runs a NIR graph in SpikingJelly, where SpikingJelly is installed."""

import re
import subprocess
import sys
from importlib.util import find_spec

import pytest

from utils import ROOT


@pytest.mark.skipif(not find_spec("spikingjelly"), reason="needs SpikingJelly")
def test_spikingjelly_computes_the_same_first_spikes_and_decisions():
    checkpoint = ROOT / "results" / "checkpoints" / "mozafari2018.safetensors"
    command = [sys.executable, "-m", "results.scripts.nir_in_spikingjelly", checkpoint, "--images", "10"]
    printed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert "10 images: 0 other decisions" in printed
    assert re.findall(r"'(\w+)': (\d+)", printed) == [(stage, "0") for stage in ("c1", "c2", "s1", "s2")]
