"""Spikes and synaptic additions against numbers worked out by hand, and additions against a convolution."""

import pytest
import torch
from support.tiers import slow_except
from torch.nn import functional as F

import imagesets
from engine.rules import RSTDP, STDP
from engine.stages import Pool, SpikingConv
from models import build_model, network_names
from network_trainer import NetworkTrainer
from report.operations import count_operations, describe_operations
from s1c1 import S1C1


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
    # 0, so at (2,2) feature 0 does not spike: 20 spikes. c1 is 2×2: all spike but feature 0 in the last window, 11. s2
    # sees all 2×2 positions at one place: 11 · 4 = 44.
    model.stages["s1"].weight.fill_(0.8)[0, 0, 0, 0] = 0
    model.stages["s2"].weight.fill_(0.005)
    counts = count_operations(model, latencies)
    assert counts == {
        "input": {"spikes": 1},
        "s1": {"spikes": 10, "synaptic_additions": 12},
        "c1": {"spikes": 5.5},
        "s2": {"synaptic_additions": 22},
    }
    assert describe_operations(counts) == "per image: 16 spikes, 34 additions of weights"


def count_additions(conv, latency):
    """Additions for the images (N, C, H, W): a convolution counts the spikes that each output reads."""
    spiked = (latency < 15).double()
    ones = torch.ones(1, latency.shape[1], conv.kernel, conv.kernel, dtype=torch.float64)
    return conv.out_channels * F.conv2d(spiked, ones, padding=conv.padding).sum().item()


@pytest.mark.parametrize("name", slow_except(["majority2024"], network_names()))
def test_every_network_against_a_convolution(name):
    """Every stage and branch of every network, by its saved maps."""
    model = build_model(name, in_channels=6)
    latencies = S1C1().encode(imagesets.load("digits").test_images[:2])
    counted = count_operations(model, latencies)
    maps, labels = {"input": latencies}, ["input"]
    for stage, latency in model.walk(latencies):
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
