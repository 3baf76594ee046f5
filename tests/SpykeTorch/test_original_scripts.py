"""Scripts and state dicts of the original library: they run, and load, on this one."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

from SpykeTorch import functional as sf
from SpykeTorch import snn, utils

ROOT = Path(__file__).resolve().parent.parent.parent
PAIRS = [(0.5, -0.25), (0.125, -0.0625), (2.0, -1.0)]  # one for each of three features, exact in float32


class Network(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = snn.Convolution(2, 3, 2)
        self.stdp = snn.STDP(self.conv, (0.004, -0.003))
        self.anti_stdp = snn.STDP(self.conv, (-0.004, 0.0005))


def rule_of_the_original(weight, pairs=PAIRS, prefix=""):
    """The part of a state dict that the original keeps for a rule."""
    state = {f"{prefix}conv_layer.weight": weight}
    for feature, (ltp, ltd) in enumerate(pairs):
        state[f"{prefix}ltp_{feature}"] = torch.tensor([ltp])
        state[f"{prefix}ltd_{feature}"] = torch.tensor([ltd])
    return state


def weights():
    return torch.arange(24.0).view(3, 2, 2, 2) / 32


# state dicts


def test_a_network_of_the_original_loads():
    state = {"conv.weight": weights()}
    state |= rule_of_the_original(weights(), prefix="stdp.")
    state |= rule_of_the_original(weights(), [(-ltp, -ltd) for ltp, ltd in PAIRS], "anti_stdp.")
    network = Network()
    assert str(network.load_state_dict(state)) == "<All keys matched successfully>"
    assert torch.equal(network.conv.weight, weights())
    assert list(zip(network.stdp.ltp.tolist(), network.stdp.ltd.tolist(), strict=True)) == PAIRS
    assert network.anti_stdp.ltp.tolist() == [-0.5, -0.125, -2]
    assert network.stdp.ltp.dtype == torch.float64
    assert set(network.state_dict()) == {
        "conv.weight", "stdp.ltp", "stdp.ltd", "anti_stdp.ltp", "anti_stdp.ltd"
    }  # fmt: skip
    twin = Network()
    twin.load_state_dict(network.state_dict())
    assert torch.equal(twin.stdp.ltd, network.stdp.ltd)


def test_a_rule_of_the_original_loads_alone_and_takes_its_weights_along():
    layer = snn.Convolution(2, 3, 2).double()
    stdp = snn.STDP(layer, (0.004, -0.003))
    state = rule_of_the_original(weights())
    state["ltp_1"] = torch.tensor(0.75)
    stdp.load_state_dict(state)
    assert torch.equal(layer.weight, weights().double())
    assert stdp.ltp.tolist() == [0.5, 0.75, 2]


def test_weights_that_were_loaded_are_clamped_by_the_next_update():
    layer = snn.Convolution(1, 1, 1)
    stdp = snn.STDP(layer, (0.5, -0.5), use_stabilizer=False)
    wave = torch.ones(2, 1, 2, 2)
    stdp(wave, wave, wave)
    stdp.load_state_dict(rule_of_the_original(torch.full((1, 1, 1, 1), 3.0), PAIRS[:1]))
    stdp(wave, wave, wave)
    assert layer.weight.item() == 1


def change(state, **values):
    return {key: value for key, value in (state | values).items() if value is not None}


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({"ltp_1": None}, r'Missing key\(s\) in state_dict: "stdp.ltp_1"'),
        ({"conv_layer.weight": None}, r'Missing key\(s\) in state_dict: "stdp.conv_layer.weight"'),
        ({"ltd_3": torch.ones(1)}, r'Unexpected key\(s\) in state_dict: "stdp.ltd_3"'),
        ({"conv_layer.bias": torch.ones(3)}, r'Unexpected key\(s\) in state_dict: "stdp.conv_layer.bias"'),
        (
            {"ltp": torch.ones(3)},
            r'Missing key\(s\) in state_dict: "stdp.ltd".*\n.*Unexpected.*"stdp.conv_layer.weight"',
        ),
        ({"ltp_2": torch.ones(2)}, r"size mismatch for stdp.ltp_2: .* shape torch.Size\(\[2\]\) from checkpoint"),
        ({"conv_layer.weight": torch.ones(3, 2, 5, 5)}, r"size mismatch for stdp.conv_layer.weight"),
    ],
)
def test_what_does_not_fit_is_told_as_torch_does(values, told):
    network = Network()
    rest = {key: value for key, value in network.state_dict().items() if not key.startswith("stdp.")}
    state = change(rule_of_the_original(weights()), **values)
    with pytest.raises(RuntimeError, match=told):
        network.load_state_dict(rest | {f"stdp.{key}": value for key, value in state.items()})


def test_without_strictness_what_is_there_is_taken():
    network = Network()
    keys = network.load_state_dict({"stdp.ltp_1": torch.ones(1), "stdp.momentum": torch.ones(1)}, strict=False)
    assert {"conv.weight", "stdp.ltp_0", "stdp.ltd_1", "stdp.conv_layer.weight"} <= set(keys.missing_keys)
    assert keys.unexpected_keys == ["stdp.momentum"]
    assert network.stdp.ltp.tolist() == [0.004, 1, 0.004]


def test_the_rates_of_a_feature_are_views():
    stdp = Network().stdp
    assert stdp.ltd_2.shape == (1,)
    stdp.ltp_0.fill_(0.25)
    stdp.ltd_1 = nn.Parameter(torch.tensor([-0.5]), requires_grad=False)
    stdp.ltd_2 = -0.75
    assert stdp.ltp.tolist() == [0.25, 0.004, 0.004]
    assert stdp.ltd.tolist() == [-0.003, -0.5, -0.75]
    assert list(dict(stdp.named_parameters())) == []
    for name in ("ltp_3", "ltp_00", "ltp_", "momentum"):
        with pytest.raises(AttributeError, match=f"no attribute '{name}'"):
            getattr(stdp, name)
    with pytest.raises(AttributeError, match="no attribute 'ltd_3'"):
        stdp.ltd_3 = 0.5


# attributes


def test_attributes_of_the_encoders():
    filter = utils.Filter([utils.DoGKernel(3, 1, 2), utils.GaborKernel(7, 30), torch.ones(1, 1)])
    assert (filter.number_of_kernels, filter.max_window_size) == (3, 7)
    image = torch.tensor([[[[3.0, 1.0], [0.0, 2.0]]]])
    for to_spike in (False, True):
        encode = utils.Intensity2Latency(3, to_spike)
        assert encode.intensity_to_latency(image).flatten(1).tolist() == [[3, 0, 0, 0], [3, 0, 0, 2], [3, 1, 0, 2]]
        assert torch.equal(encode(image), encode.intensity_to_latency(image).sign()) == to_spike
    inhibit = utils.LateralIntencityInhibition([0.5])
    assert torch.equal(inhibit.intensity_lateral_inhibition(image), inhibit(image))
    assert sf.to_pair is utils.to_pair


@pytest.mark.parametrize("on_disk", [False, True])
def test_a_cache_shows_what_it_holds(on_disk, tmp_path):
    entries = [(torch.full((1,), float(n)), n) for n in range(3)]
    cached = utils.CacheDataset(entries, tmp_path if on_disk else None)
    assert cached.cache == [None, None, None]
    assert cached[-1][1] == 2
    assert cached.cache == [None, None, tmp_path / "2.cached" if on_disk else entries[2]]
    assert [target for _, target in cached] == [0, 1, 2]
    cached.reset_cache()
    assert cached.cache == [None, None, None]


# the installed package


def test_a_script_runs_on_the_package_alone(tmp_path, monkeypatch):
    """``pip install .`` in a copy of the repository, since pip leaves files beside what it builds."""
    monkeypatch.setattr(sys, "path", [*sys.path])  # to which setuptools adds
    pytest.importorskip("setuptools", "77", reason="pip builds the package with it")
    source, place = tmp_path / "source", tmp_path / "place"
    (source / "SpykeTorch").mkdir(parents=True)
    for path in [*ROOT.glob("*.py"), ROOT / "pyproject.toml", ROOT / "LICENSE", *ROOT.glob("SpykeTorch/*.py")]:
        (source / path.relative_to(ROOT)).write_bytes(path.read_bytes())
    offline = ["--quiet", "--disable-pip-version-check", "--no-deps", "--no-build-isolation"]
    subprocess.run([sys.executable, "-m", "pip", "install", *offline, "--target", place, source], check=True)
    assert sorted(path.name.partition("-")[0] for path in place.iterdir()) == ["SpykeTorch", "first_spike_networks"]
    script = tmp_path / "script.py"
    script.write_text((ROOT / "tests" / "support" / "shallow_script.py").read_text())
    environment = {**os.environ, "PYTHONPATH": str(place)}
    command = [sys.executable, "-W", "error", script, tmp_path / "state.pt"]
    printed = subprocess.run(command, env=environment, cwd=tmp_path, check=True, capture_output=True, text=True).stdout
    package, before, after = printed.split()
    assert Path(package).is_relative_to(place)
    assert float(after) > float(before) + 0.1
    assert float(after) > 0.6
