"""Preferred features against get_deep_feature, sums written out, and a network whose answer can be worked out."""

import numpy as np
import pytest
import torch

from models import MODELS, build_model
from report.preferred import center_features, compute_preferred_features, project_features
from SpykeTorch.visualization import get_deep_feature, get_deep_receptive_field

POLARITY = (1, -1) * 3  # of S1C1


def without_decision(model):
    """The network's STDP stages alone."""
    del model.stages[model.decision]
    model.__class__ = type("Features", (type(model),), {"decision": None})
    return model


def test_one_polarity_is_get_deep_feature():
    below, weight = torch.rand(7, 3, 4), torch.rand(45, 7, 3, 2)
    expected = torch.stack([get_deep_feature(below, (2, 3), (3, 2), 1, w[None])[0][0] for w in weight])
    assert torch.equal(project_features(below, (2, 3), weight), expected)
    assert torch.equal(project_features(-below, (2, 3), weight), -expected)


def test_light_and_dark_are_carried_apart():
    below = torch.tensor([1.0, -1.0])[:, None, None]  # a cell for light and a cell for dark, of one pixel
    weight = torch.tensor([[[[0.9, 0.2]], [[0.1, 0.6]]]])
    assert project_features(below, (1, 1), weight).flatten().tolist() == pytest.approx([0.8, -0.4])


def test_smaller_branches_lie_in_the_middle():
    picture = torch.arange(1.0, 5).reshape(1, 2, 2)
    assert torch.equal(center_features(picture, (6, 4))[0, 2:4, 1:3], picture[0])
    assert center_features(picture, (6, 4)).shape == (1, 6, 4)
    assert center_features(picture, (6, 4)).sum() == 10


@pytest.mark.parametrize("name", list(MODELS))
def test_every_network(name):
    model = build_model(name)
    features = compute_preferred_features(model, POLARITY)
    firing = [name for name in model.stages if name != model.decision]
    assert list(features) == [label for label, _ in model.named_convs(firing)]
    for label, conv in model.named_convs(firing):
        assert features[label].dtype == np.float32
        assert len(features[label]) == conv.out_channels
        assert np.abs(features[label]).max() == pytest.approx(1)


def test_size_is_the_receptive_field():
    features = compute_preferred_features(build_model("mozafari2018"), POLARITY)
    layers = (5, 5, 1, 1), (2, 2, 2, 2), (3, 3, 1, 1)
    for label, depth in (("s1", 1), ("s2", 3)):
        assert features[label].shape[1:] == get_deep_receptive_field(*layers[:depth])


def test_a_bar_is_found_again():
    model = build_model("mozafari2018")
    for conv in model.convs():
        conv.weight.zero_()
    model.stages["s1"].weight[4, 0, :, 2] = 1  # light in a column …
    model.stages["s1"].weight[4, 1, :, 0] = 1  # … beside dark
    model.stages["s2"].weight[9, 4, :, 1] = 1  # three such bars, one below the other, two pixels apart
    features = compute_preferred_features(model, POLARITY)
    expected = np.zeros((5, 5))
    expected[:, 2], expected[:, 0] = 1, -1
    assert np.array_equal(features["s1"][4], expected)
    assert not features["s1"][:4].any()
    # pooling puts the 5 pixels at 0 to 4 of 6, the kernel's middle column at 2 more: light at column 4, dark at 2
    light, dark = (features["s2"][9] > 0).any(0), (features["s2"][9] < 0).any(0)
    assert np.flatnonzero(light).tolist() == [4]
    assert np.flatnonzero(dark).tolist() == [2]


def test_one_input_channel():
    features = compute_preferred_features(build_model("mozafari2018", in_channels=1), (1,))
    assert (features["s1"] > 0).all()


def test_polarity_is_the_encoders():
    model = build_model("mozafari2018", in_channels=2)
    weight = model.stages["s1"].weight
    weight.zero_()
    weight[0, 0, 2, 2] = weight[1, 1, 2, 2] = 1
    for polarity, expected in (((-1, 1), (-1, 1)), ((0, -1), (0, -1)), ((0, 0), (1, 1))):
        features = compute_preferred_features(model, polarity)["s1"]
        assert features[:2, 2, 2].tolist() == list(expected)


def test_a_network_that_does_not_decide():
    model = without_decision(build_model("inception2024"))
    assert list(compute_preferred_features(model, POLARITY)) == ["s1", "s2", "s3_3x3", "s3_5x5", "s3_7x7"]
