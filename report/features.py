"""What each neuron is selective to, as a picture in image space."""

import torch
import torch.nn.functional as F

from engine.stages import INPUT
from SpykeTorch.visualization import get_deep_feature

BLOCK = 32768  # values worked on together: they fit a cache, and torch does not divide them among threads


@torch.no_grad()
def compute_preferred_features(model, polarity=None):
    """The preferred features of the convolutions that fire: label → float32 array (features, h, w), in pixels.

    The labels are the stages' names; with several branches "s3_3x3", "s3_5x5", … A decision stage has none: its neurons
    ask for no pattern but compare sums over hundreds of synapses.

    A feature is a signed picture: positive where the neuron wants light among dark (on-centre cells), negative where
    it wants dark among light (off-centre cells), 0 where it wants neither or both alike. An input channel stands for
    the pixel in its centre, whatever its scale. Each convolution is scaled so that the strongest value among its
    neurons is 1; the pictures of neurons that learned little stay faint.

    ``polarity``: of the input channels, 1 on-centre, -1 off-centre, 0 neither (None: on and off in turn, as S1C1).
    Without an on- or off-centre channel every one counts as light.
    """
    features = {}
    signs = alternate_polarity(model.in_channels) if polarity is None else list(polarity)
    signs = torch.tensor(signs, dtype=torch.float32)
    found = {INPUT: ((signs if signs.any() else signs + 1)[:, None, None], (1, 1))}
    for name, stage in model.stages.items():
        if name == model.decision:
            continue
        below, step = found[model.inputs_of(name)[0]]
        if not stage.convs:
            found[name] = get_deep_feature(below, step, stage.size, stage.size)
            continue
        weights = [conv.weight.detach().cpu().float() for conv in stage.convs]
        branches = [scale_features(project_features(below, step, weight)) for weight in weights]
        labels = (label for label, _ in model.named_convs([name]))
        features.update(zip(labels, (pictures.numpy() for pictures in branches), strict=True))
        largest = max(pictures.shape[1:] for pictures in branches)
        found[name] = torch.cat([center_features(pictures, largest) for pictures in branches]), step
    return features


def alternate_polarity(channels):
    """The polarity of S1C1's channels: on-centre (1) and off-centre (-1) in turn."""
    return [-1 if channel % 2 else 1 for channel in range(channels)]


def project_features(below, step, weight):
    """Features (F, h', w') of neurons that fire at a threshold, by ``get_deep_feature``: the strongest synapse counts.

    The strongest is one of a positive and of a negative picture at each place; so light and dark are carried upwards
    apart, and subtracted then. below (C, h, w), step: pixels between its neurons; weight (F, C, kh, kw).
    """
    window = tuple(weight.shape[2:])

    def carried(polarity):
        blocks = weight.split(max(1, BLOCK // below.numel()))
        return torch.cat([get_deep_feature(polarity, step, window, 1, block)[0] for block in blocks])

    return carried(below.clamp(min=0)) - carried((-below).clamp(min=0))


def scale_features(pictures):
    return pictures / pictures.abs().max().clamp(min=1e-12)


def center_features(pictures, size):
    """The pictures (F, h, w) in the middle of ``size`` = (rows, columns), with zeros around."""
    top, left = (size[0] - pictures.shape[1]) // 2, (size[1] - pictures.shape[2]) // 2
    bottom, right = size[0] - pictures.shape[1] - top, size[1] - pictures.shape[2] - left
    return F.pad(pictures, (left, right, top, bottom))
