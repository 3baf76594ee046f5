"""What each neuron is selective to, as a picture in image space; and the picture of the neuron that decided."""

import torch
import torch.nn.functional as F

from engine.decision import deciding_features
from engine.stages import Pool
from SpykeTorch.visualization import get_deep_feature

BLOCK = 32768  # values worked on together: they fit a cache, and torch does not divide them among threads


@torch.no_grad()
def preferred_features(model, polarity=None):
    """The preferred features of every convolution: label → float32 array (features, h, w), h and w in pixels.

    The labels are the stages' names; with several branches "s3_3x3", "s3_5x5", …

    A feature is a signed picture: positive where the neuron wants light among dark (on-centre cells), negative where
    it wants dark among light (off-centre cells), 0 where it wants neither or both alike. An input channel stands for
    the pixel in its centre, whatever its scale. Each convolution is scaled so that the strongest value among its
    neurons is 1; the pictures of neurons that learned little stay faint.

    ``polarity``: of the input channels, 1 on-centre, -1 off-centre, 0 neither (None: on and off in turn, as S1C1).
    """
    features = {}
    below, step = on_minus_off(model.in_channels), (1, 1)
    if polarity is not None:
        below = torch.tensor(polarity, dtype=torch.float32)[:, None, None]
    for name, stage in model.stages.items():
        if isinstance(stage, Pool):
            below, step = get_deep_feature(below, step, stage.size, stage.size)
            continue
        reconstruct = summed if stage.decides else deepest
        branches = [scaled(reconstruct(below, step, conv.weight.detach().cpu().float())) for conv in stage.convs]
        labels = (label for label, _ in model.named_convs([name]))
        features.update(zip(labels, (pictures.numpy() for pictures in branches), strict=True))
        largest = max(pictures.shape[1:] for pictures in branches)
        below = torch.cat([centred(pictures, largest) for pictures in branches])
    return features


def on_minus_off(channels):
    """Features of the input's neurons, (channels, 1, 1): 1 of on-centre cells (even channels), -1 of off-centre."""
    return torch.tensor([1.0, -1.0]).repeat((channels + 1) // 2)[:channels, None, None]


def deepest(below, step, weight):
    """Features (F, h', w') of neurons that fire at a threshold, by ``get_deep_feature``: the strongest synapse counts.

    The strongest is one of a positive and of a negative picture at each place; so light and dark are carried upwards
    apart, and subtracted then. below (C, h, w), step: pixels between its neurons; weight (F, C, kh, kw).
    """
    window = tuple(weight.shape[2:])

    def carried(polarity):
        blocks = weight.split(max(1, BLOCK // below.numel()))
        return torch.cat([get_deep_feature(polarity, step, window, 1, block)[0] for block in blocks])

    return carried(below.clamp(min=0)) - carried((-below).clamp(min=0))


def summed(below, step, weight):
    """Features (F, h', w') of deciding neurons: all synapses over the neuron's mean weight count, and add up.

    Such a neuron does not ask for a pattern but compares a sum over hundreds of synapses, which all start at the
    upper bound and end between 0.2 and 0.8: at every place some are at the bound, so the strongest alone says nothing.
    Arguments as of ``deepest``.
    """
    above = (weight - weight.mean((1, 2, 3), keepdim=True)).clamp(min=0)
    return F.conv_transpose2d(above, below[:, None], stride=step)[:, 0]


def scaled(pictures):
    return pictures / pictures.abs().max().clamp(min=1e-12)


def centred(pictures, size):
    """The pictures (F, h, w) in the middle of ``size`` = (rows, columns), with zeros around."""
    top, left = (size[0] - pictures.shape[1]) // 2, (size[1] - pictures.shape[2]) // 2
    bottom, right = size[0] - pictures.shape[1] - top, size[1] - pictures.shape[2] - left
    return F.pad(pictures, (left, right, top, bottom))


@torch.no_grad()
def features_of_winners(model, latencies, features):
    """For each image the preferred feature of the neuron that decided, or None of a silent network.

    Of several branches it is the winner of one that voted for the decision, the middle branch if it did.

    Args:
        latencies: the network's input, uint8 (N, C, H, W).
        features: what ``preferred_features`` returns.

    Returns:
        list of N float32 arrays (h, w) or None.
    """
    classes = torch.from_numpy(model.class_of_feature())
    latencies = model.check(latencies)
    decisions = model.predict(latencies).cpu().tolist()
    below = model.pass_through(latencies, model.between(None, model.decision))
    branches = list(model.named_convs([model.decision]))
    branches.append(branches.pop(len(branches) // 2))  # the middle branch has the last word
    found = [None] * len(decisions)
    for label, conv in branches:
        for image, neuron in enumerate(deciding_features(conv.peaks(below)).cpu().tolist()):
            if neuron >= 0 and classes[neuron] == decisions[image]:
                found[image] = features[label][neuron]
    return found
