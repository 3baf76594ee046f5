"""Inputs that several tests of reports share."""

import numpy as np
import pytest
import torch

from models.mozafari2018 import Mozafari2018


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

    class Features(Mozafari2018):
        def build(self, num_classes):
            stages = super().build(num_classes)
            del stages["s3"]
            return stages

    return Features()
