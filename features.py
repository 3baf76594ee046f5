"""What each neuron is selective to, as pictures in image space; which neuron decided about an image."""

import torch

from models.layers import Pool
from SpykeTorch.visualization import get_deep_feature

BLOCK = 20  # features reconstructed together: more would not fit a processor's cache


@torch.no_grad()
def preferred_features(model):
    """The preferred features of every convolution: label → float32 array (features, h, w), h and w in pixels.

    The labels are the stages' names; with several branches "s3_3x3", "s3_5x5", …

    A feature is a signed picture: positive where the neuron wants light on dark (on-centre input), negative where it
    wants dark on light (off-centre input), 0 where it wants neither or both alike. An input channel stands for one
    pixel of its centre, whatever its scale. From there on-centre and off-centre channels are carried upwards apart by
    ``get_deep_feature``, which takes the strongest synapse at each place, and subtracted at the end.
    """
    features = {}
    below, step = on_and_off(model.in_channels), (1, 1)
    for name, stage in model.stages.items():
        if isinstance(stage, Pool):
            polarities = [get_deep_feature(polarity, step, stage.size, stage.size) for polarity in below]
            below, step = torch.stack([feature for feature, _ in polarities]), polarities[0][1]
            continue
        branches = [through(conv, below, step) for conv in stage.convs]
        for conv, feature in zip(stage.convs, branches, strict=True):
            label = name if len(branches) == 1 else f"{name}_{conv.kernel}x{conv.kernel}"
            features[label] = (feature[0] - feature[1]).numpy()
        below = torch.cat([centred(feature, branches[-1].shape[2:]) for feature in branches], 1)
    return features


def on_and_off(channels):
    """Features of the input, of one pixel each: (2, channels, 1, 1), first the on-centre ones, the even channels."""
    polarity = torch.zeros(2, channels, 1, 1)
    polarity[0, 0::2] = polarity[1, 1::2] = 1
    return polarity
