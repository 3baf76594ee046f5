"""Inputs that several tests of reports share."""

import pytest
from support.draws import draw_maps, draw_pixels

from models.mozafari2018 import Mozafari2018


@pytest.fixture(scope="session")
def latencies():
    return draw_maps(12, 6, 28, 28, below=60)


@pytest.fixture(scope="session")
def images():
    return draw_pixels(12, 28, 28)


@pytest.fixture
def features_only():
    """A network that does not decide."""

    class Features(Mozafari2018):
        def build(self, num_classes):
            stages = super().build(num_classes)
            del stages["s3"]
            return stages

    return Features()
