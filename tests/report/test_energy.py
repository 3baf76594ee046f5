"""Spikes and synaptic additions against numbers worked out by hand, and additions against a convolution."""

import pytest
import torch
from support.command import TRAINED
from support.tiers import slow_except
from torch.nn import functional as F

import imagesets
from engine.rules import RSTDP, STDP
from engine.stages import Pool, SpikingConv
from models import build_model, network_names
from network_trainer import NetworkTrainer
from report.energy import describe_energy, measure_energy
from s1c1 import S1C1
from training.trained import load_network

LATENCIES = S1C1().encode(imagesets.load("digits").test_images[:2])


class Small(NetworkTrainer):
    """A 2×2 convolution, padded by 1, of 3 features, that fires by one weight; a pooling; a decision of 4 features."""

    name, aliases = "small", ()

    def build(self, num_classes):
        return {
            "s1": SpikingConv(3, 2, padding=1, threshold=0.5, rule=STDP(winners=1, radius=0)),
            "c1": Pool(2),
            "s2": SpikingConv(4, 2, rule=RSTDP()),
        }


def test_by_hand():
    """3×3 inputs, T = 15. Image 0 spikes in a corner and in the middle, image 1 nowhere."""
    model = Small(in_channels=1, num_classes=2)
    latencies = torch.full((2, 1, 3, 3), 15, dtype=torch.uint8)
    latencies[0, 0, 0, 0], latencies[0, 0, 1, 1] = 2, 5
    # s1 is 4×4: each spike, padded, is seen by 2·2 positions: 4 · 3 features · 2 spikes = 24 additions, one weight
    # (0.8) over the threshold: (0,0) … (1,1) and (1,1) … (2,2), 7 positions, 21 spikes. But one weight of feature 0 is
    # 0, which each spike meets once: 22 effective additions, and at (2,2) feature 0 does not spike: 20 spikes. c1 is
    # 2×2: all spike but feature 0 in the last window, 11. s2 sees all 2×2 positions at one place: 11 · 4 = 44.
    # A conventional s1 meets each of the 9 pixels at 2·2 positions: 9 · 4 · 3 = 108.
    model.stages["s1"].weight.fill_(0.8)[0, 0, 0, 0] = 0
    model.stages["s2"].weight.fill_(0.005)
    energy = measure_energy(model, S1C1(filters=((3, 1, 2),)), latencies)
    assert energy["stages"] == {
        "input": {"spikes": 1},
        "s1": {
            "spikes": 10, "synaptic_additions": 12, "effective_accumulates": 11, "neurons": 48, "dense_macs": 108
        },
        "c1": {"spikes": 5.5},
        "s2": {"synaptic_additions": 22, "effective_accumulates": 22, "neurons": 4, "dense_macs": 48},
    }  # fmt: skip
    assert energy["encoder_macs"] == (2 + 3 + 2) ** 2
    assert energy["silent_neurons"] == pytest.approx(1 - 10 / 48)
    assert energy["activation_sparsity"] == pytest.approx(1 - 10 / (48 * 15))
    assert (energy["parameters"], energy["bytes"]) == (12 + 48, 4 * 60)
    assert (energy["zero_weights"], energy["small_weights"]) == pytest.approx((1 / 60, 49 / 60))
    assert energy["estimated_uj"] == pytest.approx(
        {"network": 33 * 0.9e-6, "encoder": 49 * 4.6e-6, "dense": 156 * 4.6e-6}
    )
    assert describe_energy(energy).startswith("per image: 16 spikes, 34 additions, 33 of them")


def count_additions(conv, latency):
    """Additions for the images (N, C, H, W): a convolution counts the spikes that each output reads."""
    spiked = (latency < 15).double()
    ones = torch.ones(1, latency.shape[1], conv.kernel, conv.kernel, dtype=torch.float64)
    return conv.out_channels * F.conv2d(spiked, ones, padding=conv.padding).sum().item()


@pytest.mark.parametrize("name", slow_except(["majority2024"], network_names()))
def test_every_network_against_a_convolution(name):
    """Every stage and branch of every network, by its saved maps."""
    model = build_model(name, in_channels=6)
    counted = measure_energy(model, S1C1(), LATENCIES)["stages"]
    maps, labels = {"input": LATENCIES}, ["input"]
    for stage, latency in model.walk(LATENCIES):
        if not model.declaration[stage].convs:
            labels.append(stage)
            assert counted[stage]["spikes"] == int((latency < 15).sum()) / 2
        first = 0
        for label, layer in model.named_layers([stage]):
            labels.append(label)
            conv, below = layer.stage, model.map_of(maps, model.input_name(stage))[:]
            own = latency[:, first : first + conv.out_channels]
            assert not conv.fires or counted[label]["spikes"] == int((own < 15).sum()) / 2
            assert counted[label]["synaptic_additions"] == count_additions(conv, below) / 2 > 0
            first += conv.out_channels
        maps[stage] = latency
    assert list(counted) == labels


@pytest.mark.slow
def test_neurobench_counts_the_same():
    """Accumulates of weights above 0, and dense operations, of each convolution of a trained network.

    Needs ``pip install --no-deps neurobench snntorch tonic``.
    """
    models = pytest.importorskip("neurobench.models")
    workload = pytest.importorskip("neurobench.metrics.workload")
    network = load_network(TRAINED)
    latencies = network.encoder.encode(imagesets.load("mnist").test_images[:20])
    counted = measure_energy(network.model, network.encoder, latencies)["stages"]
    maps = {"input": latencies} | dict(network.model.walk(latencies))
    for name, layer in network.model.named_layers():
        spikes = (maps[network.model.input_name(name)] < 15).double()  # of all time steps, each once
        conv = torch.nn.Conv2d(*layer.weight.shape[1::-1], layer.stage.kernel, padding=layer.stage.padding, bias=False)
        conv.weight.data = layer.weight.double()
        model = models.TorchModel(torch.nn.Sequential(conv))
        model.register_hooks()
        found = workload.SynapticOperations()(model, model(spikes), (spikes, None))
        assert float(found["Effective_ACs"]) == counted[name]["effective_accumulates"]
        assert float(found["Dense"]) == counted[name]["dense_macs"]
