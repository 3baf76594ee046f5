"""The preferred feature of each neuron, as a picture in image space."""

from collections.abc import Mapping

import numpy as np
import torch

from engine.encoder import Encoder
from engine.stages import INPUT
from network_trainer import NetworkTrainer
from SpykeTorch.functional import center
from SpykeTorch.visualization import get_deep_feature

BLOCK = 32768  # values that are computed together: they fit in a cache, and torch does not divide them among threads


@torch.no_grad()
def compute_preferred_features(
    model: NetworkTrainer,
    encoder: Encoder,
    weights: Mapping[str, torch.Tensor] = {},
) -> dict[str, np.ndarray]:
    """Compute the preferred features of the convolutions that fire.

    A feature is a signed picture: positive where the neuron prefers light among dark (on-centre cells), negative where
    it prefers dark among light (off-centre cells), 0 where it prefers neither or both equally. An input channel stands
    for the pixel in its centre at every scale. The value 1 is what the strongest weight of the layer would give for
    all its inputs of one polarity. So pictures of neurons that learned little are faint, and those above them.

    Args:
        encoder: of the input. If the polarity of all its channels is 0, all count as light. If it encodes colours, and
            each has equally many channels, first those of red, then of green, then of blue, the pictures are in colour.
        weights: {name of a layer: (N, C, k, k)}, whose features are computed instead of those of the layer. They read
            the features of the network.

    Returns {name: float32 (F, h, w), in pixels; of three colours (F, h, w, 3)}. A name is that of a stage or of a
    branch ("s3_3x3", "s3_5x5", …).
    A stage without a threshold is not included: its neurons compare sums over hundreds of synapses, and prefer no
    pattern. Nor are stages that see whole maps, and those above a stage that has other channels than the one below it.
    """
    features = {}
    signs = torch.tensor(encoder.polarity, dtype=torch.float32)
    if not signs.any():
        signs += 1
    colours = encoder.colours if len(signs) % encoder.colours == 0 else 1
    of_colours = torch.eye(colours).repeat_interleave(len(signs) // colours, 1)
    # {stage: (features (colours, F, h, w), pixels between neighbouring neurons)}
    maps = {INPUT: ((of_colours * signs)[..., None, None], (1, 1))}
    for name, stage in model.declaration.items():
        source = model.inputs_of(name)[0]
        if not stage.fires or stage.sees_whole_maps or source not in maps:
            continue
        below, stride = maps[source]
        if not stage.convs:
            if below.shape[1] != model.channels[name]:  # of a user's own stage, which does not keep the channels
                continue
            _, size = stage.receptive_field(1, 1)
            pictures, stride = get_deep_feature(below.flatten(0, 1), stride, size, size)
            maps[name] = pictures.unflatten(0, below.shape[:2]), stride
            continue
        branches = []
        full = below.abs() / below.abs().max().clamp(min=1e-12)
        for layer_name, layer in model.named_layers([name]):
            strong = torch.full_like(layer.weight[:1], float(layer.weight.max()))
            most = project_features(full, stride, strong).max().clamp(min=1e-12)
            pictures = project_features(below, stride, layer.weight) / most
            branches.append(pictures)
            if layer_name in weights:
                pictures = project_features(below, stride, weights[layer_name]) / most
            features[layer_name] = pictures.movedim(0, -1).squeeze(-1).numpy()
        largest = max(pictures.shape[2:] for pictures in branches)
        maps[name] = torch.cat([center(pictures, *largest) for pictures in branches], 1), stride
    return features


def project_features(below: torch.Tensor, stride: tuple[int, int], weight: torch.Tensor) -> torch.Tensor:
    """Compute the features (colours, F, h', w') of a convolution from those below it, by ``get_deep_feature``.

    ``get_deep_feature`` keeps the largest value at each position. Therefore light and dark are computed separately, and
    dark is subtracted from light.

    Args:
        below: features (colours, C, h, w) of the layer below.
        stride: pixels between neighbouring neurons of the layer below.
        weight: (F, C, kh, kw).
    """
    window = weight.shape[2:]
    blocks = weight.detach().cpu().float().split(max(1, BLOCK // below[0].numel()))

    def project(polarity):
        return torch.cat([get_deep_feature(polarity, stride, window, 1, block)[0] for block in blocks])

    return torch.stack([project(colour.clamp(min=0)) - project((-colour).clamp(min=0)) for colour in below])
