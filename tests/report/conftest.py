"""Inputs that several tests of reports share."""

import numpy as np
import pytest
import torch

from models import build_model


@pytest.fixture(scope="session")
def latencies():
    rng = np.random.default_rng(0)
    return torch.from_numpy(rng.integers(0, 60, (12, 6, 28, 28)).clip(max=15).astype(np.uint8))


@pytest.fixture(scope="session")
def images():
    return np.random.default_rng(0).integers(0, 256, (12, 28, 28), np.uint8)


@pytest.fixture
def features_only():
    """A network that does not decide."""
    model = build_model("mozafari2018")
    del model.stages[model.decision]
    model.__class__ = type("Features", (type(model),), {"decision": None})
    return model
