"""The preferred feature of each neuron, as a picture in image space."""

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F

from engine.stages import INPUT
from network_trainer import NetworkTrainer
from SpykeTorch.visualization import get_deep_feature

BLOCK = 32768  # values that are computed together: they fit in a cache, and torch does not divide them among threads


@torch.no_grad()
def compute_preferred_features(model: NetworkTrainer, polarity: Sequence[int]) -> dict[str, np.ndarray]:
    """Compute the preferred features of the convolutions that fire.

    A feature is a signed picture: positive where the neuron prefers light among dark (on-centre cells), negative where
    it prefers dark among light (off-centre cells), 0 where it prefers neither or both equally. An input channel stands
    for the pixel in its centre at every scale. The values of each convolution are scaled to a maximum of 1, so the
    pictures of neurons that learned little remain faint.

    Args:
        polarity: for each input channel 1 (on-centre), -1 (off-centre) or 0 (neither). If all are 0, all channels
            count as light.

    Returns {label: float32 (F, h, w), in pixels}. A label is the name of a stage or of a branch ("s3_3x3", "s3_5x5",
    …).
    The decision stage is not included: its neurons compare sums over hundreds of synapses, and prefer no pattern.
    """
    features = {}
    signs = torch.tensor(list(polarity), dtype=torch.float32)
    if not signs.any():
        signs += 1
    maps = {INPUT: (signs[:, None, None], (1, 1))}  # {stage: (features, pixels between neighbouring neurons)}
    for name, stage in model.declaration.items():
        if name == model.decision:
            continue
        below, step = maps[model.inputs_of(name)[0]]
        if not stage.convs:
            maps[name] = get_deep_feature(below, step, stage.size, stage.size)
            continue
        weights = [layer.weight.detach().cpu().float() for _, layer in model.named_layers([name])]
        branches = [scale_features(project_features(below, step, weight)) for weight in weights]
        for (label, _), pictures in zip(model.named_layers([name]), branches, strict=True):
            features[label] = pictures.numpy()
        largest = max(pictures.shape[1:] for pictures in branches)
        centered = [center_features(pictures, largest) for pictures in branches]
        maps[name] = torch.cat(centered), step
    return features


def project_features(below: torch.Tensor, step: tuple[int, int], weight: torch.Tensor) -> torch.Tensor:
    """Compute the features (F, h', w') of a convolution from those of the layer below, by ``get_deep_feature``.

    ``get_deep_feature`` keeps the largest value at each position. Therefore light and dark are computed separately, and
    dark is subtracted from light.

    Args:
        below: features (C, h, w) of the layer below.
        step: pixels between neighbouring neurons of the layer below.
        weight: (F, C, kh, kw).
    """
    window = tuple(weight.shape[2:])

    blocks = weight.split(max(1, BLOCK // below.numel()))

    def project(polarity):
        features = [get_deep_feature(polarity, step, window, 1, block)[0] for block in blocks]
        return torch.cat(features)

    light = project(below.clamp(min=0))
    dark = project((-below).clamp(min=0))
    return light - dark


def scale_features(pictures: torch.Tensor) -> torch.Tensor:
    """Scale pictures to a largest absolute value of 1."""
    largest = pictures.abs().max()
    return pictures / largest.clamp(min=1e-12)


def center_features(pictures: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    """Pad pictures (F, h, w) with zeros on all sides to ``size`` = (rows, columns)."""
    rows = size[0] - pictures.shape[1]
    columns = size[1] - pictures.shape[2]
    top = rows // 2
    left = columns // 2
    return F.pad(pictures, (left, columns - left, top, rows - top))
