"""Scripts and state dicts of the original library run, and load, on this one."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

import SpykeTorch
from SpykeTorch import snn, utils
from utils import ROOT

PAIRS = [(0.5, -0.25), (0.125, -0.0625), (2.0, -1.0)]  # one for each of three features, exact in float32
WEIGHTS = torch.arange(24.0).view(3, 2, 2, 2) / 32


class Network(nn.Module):
    def __init__(self, channels=2, features=3, kernel=2):
        super().__init__()
        self.conv = snn.Convolution(channels, features, kernel)
        self.stdp = snn.STDP(self.conv, (0.004, -0.003))


def original_state(prefix="", **values):
    """The part of a state dict that the original keeps for a rule; ``values`` replace, or remove (None), entries."""
    state = {"conv_layer.weight": WEIGHTS}
    for feature, (ltp, ltd) in enumerate(PAIRS):
        state |= {f"ltp_{feature}": torch.tensor([ltp]), f"ltd_{feature}": torch.tensor([ltd])}
    return {prefix + key: value for key, value in (state | values).items() if value is not None}


def test_a_network_of_the_original_loads():
    network = Network()
    network.load_state_dict({"conv.weight": WEIGHTS, **original_state("stdp.")})
    assert torch.equal(network.conv.weight, WEIGHTS)
    assert list(zip(network.stdp.ltp.tolist(), network.stdp.ltd.tolist(), strict=True)) == PAIRS
    assert network.stdp.ltp.dtype == torch.float64


def test_a_rule_of_the_original_loads_with_its_weights():
    """They are clamped by the next update."""
    layer = snn.Convolution(2, 3, 2).double()
    stdp = snn.STDP(layer, (0.004, -0.003), upper_bound=0.5)
    call = torch.ones(2, 2, 2, 2), torch.ones(2, 3, 1, 1), torch.ones(2, 3, 1, 1)
    stdp(*call)
    stdp.load_state_dict(original_state(ltp_1=torch.tensor(0.75)))
    assert torch.equal(layer.weight, WEIGHTS.double())
    assert stdp.ltp.tolist() == [0.5, 0.75, 2]
    stdp(*call)
    assert layer.weight.max() == 0.5


@pytest.mark.parametrize(
    ("values", "message"), [
        ({"ltp_1": None}, r'Missing.*"stdp.ltp_1"'),
        ({"conv_layer.weight": None}, r'Missing.*"stdp.conv_layer.weight"'),
        ({"ltd_3": torch.ones(1)}, r'Unexpected.*"stdp.ltd_3"'),
        ({"conv_layer.bias": torch.ones(3)}, r'Unexpected.*"stdp.conv_layer.bias"'),
        ({"conv_layer.weight": torch.ones(3, 2, 5, 5)}, r"size mismatch for stdp.conv_layer.weight"),
    ],
)  # fmt: skip
def test_a_state_that_does_not_fit_is_refused_as_by_torch(values, message):
    with pytest.raises(RuntimeError, match=message):
        Network().load_state_dict({"conv.weight": WEIGHTS, **original_state("stdp.", **values)})


def test_a_part_of_a_state_loads_without_strictness():
    network = Network()
    keys = network.load_state_dict({"stdp.ltp_1": torch.ones(1), "stdp.momentum": torch.ones(1)}, strict=False)
    assert {"conv.weight", "stdp.ltp_0", "stdp.ltd_1", "stdp.conv_layer.weight"} <= set(keys.missing_keys)
    assert keys.unexpected_keys == ["stdp.momentum"]
    assert network.stdp.ltp.tolist() == [0.004, 1, 0.004]


def test_the_rates_of_a_feature_are_views():
    stdp = Network().stdp
    assert stdp.ltd_2.shape == (1,)
    stdp.ltp_0.fill_(0.25)
    stdp.ltd_1 = nn.Parameter(torch.tensor([-0.5]))
    stdp.ltd_2 = -0.75
    assert stdp.ltp.tolist() == [0.25, 0.004, 0.004]
    assert stdp.ltd.tolist() == [-0.003, -0.5, -0.75]
    assert not stdp.ltd.requires_grad
    assert list(stdp.parameters()) == []
    for name in ("ltp_3", "ltp_00", "ltp_", "momentum"):
        assert not hasattr(stdp, name)
    with pytest.raises(AttributeError, match="ltd_3"):
        stdp.ltd_3 = 0.5


def test_attributes_of_the_encoders():
    filter = utils.Filter([utils.DoGKernel(3, 1, 2), utils.GaborKernel(7, 30), torch.ones(1, 1)])
    assert (filter.number_of_kernels, filter.max_window_size) == (3, 7)
    image = torch.tensor([[[[3.0, 1.0], [0.0, 2.0]]]])
    for to_spike in (False, True):
        encode = utils.Intensity2Latency(3, to_spike)
        assert encode.intensity_to_latency(image).flatten(1).tolist() == [[3, 0, 0, 0], [3, 0, 0, 2], [3, 1, 0, 2]]
    inhibit = utils.LateralIntencityInhibition([0.5])
    assert torch.equal(inhibit.intensity_lateral_inhibition(image), inhibit(image))


@pytest.mark.slow
def test_a_script_runs_on_the_package_alone(tmp_path):
    """The package of a copy of the repository, in a folder without the rest of it."""
    pytest.importorskip("setuptools", "77", reason="pip builds the package with it")
    pytest.importorskip("pip", reason="this environment has no pip")
    source, place = tmp_path / "source", tmp_path / "place"
    (source / "SpykeTorch").mkdir(parents=True)
    for path in [*ROOT.glob("*.py"), ROOT / "pyproject.toml", ROOT / "LICENSE", *ROOT.glob("SpykeTorch/*.py")]:
        shutil.copy(path, source / path.relative_to(ROOT))
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet", "install", "--no-index", "--no-deps"]
    subprocess.run([*pip, "--no-build-isolation", "--target", place, source], check=True)
    assert sorted(path.name.partition("-")[0] for path in place.iterdir()) == ["SpykeTorch", "first_spike_networks"]
    script = shutil.copy(ROOT / "tests" / "support" / "shallow_script.py", tmp_path)
    command = [sys.executable, "-W", "error", script, tmp_path / "state.pt"]
    environment = {**os.environ, "PYTHONPATH": str(place)}
    printed = subprocess.run(command, env=environment, cwd=tmp_path, check=True, capture_output=True, text=True).stdout
    file, version = printed.splitlines()
    assert Path(file).is_relative_to(place)
    assert version == f"{SpykeTorch.__version__} {SpykeTorch.__version__}"
