"""Preferred features against get_deep_feature, sums written out, and a network whose answer can be worked out."""

import numpy as np
import pytest
import torch

from models import MODELS, build_model
from report.features import centred, deepest, features_of_winners, preferred_features, summed
from SpykeTorch.visualization import get_deep_feature, get_deep_receptive_field


@pytest.fixture(scope="module")
def latencies():
    """Five images of random spikes in the middle and a blank one."""
    rng = np.random.default_rng(0)
    out = np.full((6, 6, 28, 28), 15, np.uint8)
    out[:5, :, 6:22, 6:22] = rng.integers(0, 30, (5, 6, 16, 16)).clip(max=15)
    return torch.from_numpy(out)


def test_one_polarity_is_get_deep_feature():
    below, weight = torch.rand(7, 3, 4), torch.rand(45, 7, 3, 2)
    expected = torch.stack([get_deep_feature(below, (2, 3), (3, 2), 1, w[None])[0][0] for w in weight])
    assert torch.equal(deepest(below, (2, 3), weight), expected)
    assert torch.equal(deepest(-below, (2, 3), weight), -expected)


def test_light_and_dark_are_carried_apart():
    below = torch.tensor([1.0, -1.0])[:, None, None]  # a cell for light and a cell for dark, of one pixel
    weight = torch.tensor([[[[0.9, 0.2]], [[0.1, 0.6]]]])
    assert deepest(below, (1, 1), weight).flatten().tolist() == pytest.approx([0.8, -0.4])


def test_deciding_neurons_sum():
    below, weight = torch.randn(4, 3, 3, dtype=torch.float64), torch.rand(2, 4, 2, 2, dtype=torch.float64)
    expected = torch.zeros(2, 8, 8, dtype=torch.float64)  # 3 pixels + one step of 5
    for feature, w in enumerate(weight):
        for channel, row, column in np.ndindex(4, 2, 2):
            over = max(0.0, float(w[channel, row, column] - w.mean()))
            expected[feature, 5 * row : 5 * row + 3, 5 * column : 5 * column + 3] += over * below[channel]
    torch.testing.assert_close(summed(below, (5, 5), weight), expected)


def test_smaller_branches_lie_in_the_middle():
    picture = torch.arange(1.0, 5).reshape(1, 2, 2)
    assert torch.equal(centred(picture, (6, 4))[0, 2:4, 1:3], picture[0])
    assert centred(picture, (6, 4)).shape == (1, 6, 4)
    assert centred(picture, (6, 4)).sum() == 10


@pytest.mark.parametrize("name", list(MODELS))
def test_every_network(name):
    model = build_model(name)
    features = preferred_features(model)
    assert list(features) == [label for label, _ in model.named_convs()]
    for label, conv in model.named_convs():
        assert features[label].dtype == np.float32
        assert len(features[label]) == conv.out_channels
        assert np.abs(features[label]).max() == pytest.approx(1)


def test_size_is_the_receptive_field():
    features = preferred_features(build_model("mozafari2018"))
    layers = (5, 5, 1, 1), (2, 2, 2, 2), (3, 3, 1, 1), (3, 3, 3, 3), (5, 5, 1, 1)
    for label, depth in (("s1", 1), ("s2", 3), ("s3", 5)):
        assert features[label].shape[1:] == get_deep_receptive_field(*layers[:depth])


def test_a_bar_is_found_again():
    model = build_model("mozafari2018")
    for conv in model.convs():
        conv.weight.zero_()
    model.stages["s1"].weight[4, 0, :, 2] = 1  # light in a column …
    model.stages["s1"].weight[4, 1, :, 0] = 1  # … beside dark
    model.stages["s2"].weight[9, 4, :, 1] = 1  # three such bars, one below the other, two pixels apart
    features = preferred_features(model)
    expected = np.zeros((5, 5))
    expected[:, 2], expected[:, 0] = 1, -1
    assert np.array_equal(features["s1"][4], expected)
    assert not features["s1"][:4].any()
    # pooling puts the 5 pixels at 0 to 4 of 6, the kernel's middle column at 2 more: light at column 4, dark at 2
    light, dark = (features["s2"][9] > 0).any(0), (features["s2"][9] < 0).any(0)
    assert np.flatnonzero(light).tolist() == [4]
    assert np.flatnonzero(dark).tolist() == [2]
    assert not features["s3"].any()  # no synapse is over the mean


def test_one_input_channel():
    features = preferred_features(build_model("mozafari2018", in_channels=1))
    assert (features["s1"] > 0).all()


@pytest.mark.parametrize("name", ["mozafari2018", "majority2024"])
def test_winners(name, latencies):
    model = build_model(name)
    for seed, conv in enumerate(model.stages[model.decision].convs):  # clear winners
        conv.weight.copy_(torch.rand(conv.weight.shape, generator=torch.Generator().manual_seed(seed)))
    features = preferred_features(model)
    found = features_of_winners(model, latencies, features)
    decisions, classes = model.predict(latencies).tolist(), model.class_of_feature()
    assert decisions[-1] == -1
    assert found[-1] is None
    own = [pictures for label, pictures in features.items() if label.startswith(model.decision)]
    for decision, picture in zip(decisions[:-1], found[:-1], strict=True):
        of_size = next(pictures for pictures in own if pictures.shape[1:] == picture.shape)
        neurons = [i for i, candidate in enumerate(of_size) if np.array_equal(candidate, picture)]
        assert decision in classes[neurons]
    assert features_of_winners(model, latencies[:0], features) == []
