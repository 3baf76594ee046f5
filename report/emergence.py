"""Features that emerge: the weights of a layer at moments of its first epoch, and the pictures of its features."""

from collections.abc import Iterable, Mapping

import numpy as np
import torch

from engine.encoder import Encoder
from engine.layers import Layer
from network_trainer import NetworkTrainer
from report.preferred import compute_preferred_features

# The numbers of images after which weights are kept. They are spaced like the change of s1 of mozafari2018, which
# learns 78 % of it between images 100 and 2,100.
MOMENTS = 0, 100, 500, 1000, 1500, 2000, 3000, 5000
SHOWN_FEATURES = 30  # of a layer, the first

Emergence = dict[str, tuple[list[int], np.ndarray]]  # {layer: see ``compute_emergence``}
Moments = Mapping[str, Mapping[int, torch.Tensor]]  # {layer: {images that it has seen: weight (F, C, k, k)}}


def is_moment(images: int, kept: Iterable[int]) -> bool:
    """Return whether a moment has come since the last that was kept. images: that the layer has seen."""
    since = max(kept, default=-1)
    return any(since < moment <= images for moment in MOMENTS)


def copy_features(layer: Layer) -> torch.Tensor:
    """Return a copy of the weights of the first features, on the CPU."""
    return layer.weight[:SHOWN_FEATURES].detach().cpu().clone()


def compute_emergence(model: NetworkTrainer, moments: Moments, encoder: Encoder) -> Emergence:
    """Compute the preferred features of each layer at its moments, and those of the network.

    Returns {layer: (numbers of images, float32 (moments + 1, F, h, w) or (…, 3))}, the features of the network last.
    The values of a layer have one scale, see ``compute_preferred_features``.
    """
    stacks = {}
    for layer_name, layer in model.named_layers():
        if kept := moments.get(layer_name):
            stacks[layer_name] = torch.cat([*(kept[images] for images in sorted(kept)), copy_features(layer)])
    if not stacks:
        return {}
    features = compute_preferred_features(model, encoder, stacks)
    emergence = {}
    for layer_name in stacks:
        if layer_name in features:
            images = sorted(moments[layer_name])
            emergence[layer_name] = images, np.stack(np.split(features[layer_name], len(images) + 1))
    return emergence
