"""Preferred features against get_deep_feature, sums written out, and a network whose answer can be worked out."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from support.tiers import slow_except

from models import MODELS, build_model
from report.preferred import compute_preferred_features, project_features
from s1c1 import S1C1
from SpykeTorch.visualization import get_deep_feature


def test_one_polarity_is_get_deep_feature():
    below, weight = torch.rand(7, 3, 4), torch.rand(45, 7, 3, 2)
    expected = torch.stack([get_deep_feature(below, (2, 3), (3, 2), 1, w[None])[0][0] for w in weight])
    both = project_features(torch.stack([below, -below]), (2, 3), weight)
    assert torch.equal(both, torch.stack([expected, -expected]))


@pytest.mark.parametrize("name", slow_except(["inception2024"], list(MODELS)))
def test_every_network(name):
    model = build_model(name, in_channels=6)
    features = compute_preferred_features(model, S1C1())
    firing = [name for name, stage in model.declaration.items() if stage.fires]
    assert list(features) == [label for label, _ in model.named_layers(firing)]
    for label, layer in model.named_layers(firing):
        assert features[label].dtype == np.float32
        assert len(features[label]) == layer.stage.out_channels
        assert 0 < np.abs(features[label]).max() < 0.25  # faint: no layer has learned


def build_empty(in_channels):
    """Build a network whose weights are 0."""
    model = build_model("mozafari2018", in_channels=in_channels)
    for _, layer in model.named_layers():
        layer.weight.zero_()
    return model


def test_a_bar_is_found_again():
    model = build_empty(6)
    model.stages["s1"].weight[4, 0, :, 2] = 1  # light in a column …
    model.stages["s1"].weight[4, 1, :, 0] = 1  # … beside dark
    model.stages["s2"].weight[9, 4, :, 1] = 1  # three such bars, one below the other, two pixels apart
    features = compute_preferred_features(model, S1C1())
    expected = np.zeros((5, 5))
    expected[:, 2], expected[:, 0] = 1, -1
    assert np.array_equal(features["s1"][4], expected)
    assert not features["s1"][:4].any()
    # pooling puts the 5 pixels at 0 to 4 of 6, the kernel's middle column at 2 more: light at column 4, dark at 2
    light, dark = (features["s2"][9] > 0).any(0), (features["s2"][9] < 0).any(0)
    assert np.flatnonzero(light).tolist() == [4]
    assert np.flatnonzero(dark).tolist() == [2]


def test_colours_are_those_of_the_channels():
    """Of 18 channels, the first six are red: s1 prefers light red beside dark blue, s2 two such features."""
    model = build_empty(18)
    model.stages["s1"].weight[4, 0, 2, 2] = model.stages["s1"].weight[4, 17, 2, 4] = 1
    model.stages["s2"].weight[9, 4, 0, 0] = 1
    features = compute_preferred_features(model, S1C1(colours=3))
    assert features["s1"].shape == (30, 5, 5, 3)
    assert features["s1"][4, 2, 2].tolist() == [1, 0, 0]
    assert features["s1"][4, 2, 4].tolist() == [0, 0, -1]
    assert features["s2"][9, ..., 0].max() == -features["s2"][9, ..., 2].min() == 1


def test_polarity_is_the_encoders():
    model = build_empty(2)
    weight = model.stages["s1"].weight
    weight[0, 0, 2, 2] = weight[1, 1, 2, 2] = 1
    for polarity, expected in (((-1, 1), (-1, 1)), ((0, -1), (0, -1)), ((0, 0), (1, 1))):
        features = compute_preferred_features(model, SimpleNamespace(polarity=polarity, colours=1))["s1"]
        assert features[:2, 2, 2].tolist() == list(expected)
