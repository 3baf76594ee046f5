"""The traces of the original, and networks with the weights with which they begin."""

from pathlib import Path

import numpy as np
import torch

from models import build_model

GOLDEN = np.load(Path(__file__).parent.parent / "golden" / "reference_traces.npz")


def golden_network(name, backend="event"):
    """Return a float64 network with the weights with which its trace begins."""
    model = build_model(name, in_channels=6, num_classes=10, dtype=torch.float64, backend=backend)
    rng = np.random.default_rng(int(GOLDEN["seed"]))
    for _, layer in model.named_layers():
        shape = tuple(layer.weight.shape)
        weight = rng.normal(0.8, 0.05, shape) if name == "mozafari2018" else np.clip(rng.normal(0.4, 0.2, shape), 0, 1)
        layer.weight.copy_(torch.from_numpy(weight))
    return model
