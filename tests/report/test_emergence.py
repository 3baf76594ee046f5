"""Features while they emerge: the figure and the data of the page."""

import base64

import numpy as np
import torch

from models import build_model
from report import emergence, sheets
from report.page import pack_emergence
from report.preferred import compute_preferred_features
from report.report import Report
from s1c1 import S1C1


def test_moments_come_once_and_are_not_missed_between_batches():
    kept = []
    for images in (0, 1, 499, 501, 900, 1700, 60_000, 61_000):
        if emergence.is_moment(images, kept):
            kept.append(images)
    assert kept == [0, 499, 501, 1700, 60_000]


def test_the_features_at_a_moment_are_those_of_a_network_with_its_weights():
    """Of s2, they read the features that s1 has at the end. All moments have the scale of the last."""
    model = build_model("mozafari2018")
    s2 = model.stages["s2"].weight
    s2.copy_(torch.rand(s2.shape, generator=torch.Generator().manual_seed(0)))
    before = emergence.copy_features(model.stages["s2"])
    moments = {"s2": {500: before / 4, 0: before / 2}}  # not in order
    found = emergence.compute_emergence(model, moments, S1C1())
    assert found.keys() == {"s2"}
    images, pictures = found["s2"]
    assert images == [0, 500]
    end = compute_preferred_features(model, S1C1())["s2"][: emergence.SHOWN_FEATURES]
    np.testing.assert_allclose(pictures[2], end, rtol=1e-5)
    np.testing.assert_allclose(pictures[0], pictures[2] / 2, atol=1e-6)
    np.testing.assert_allclose(pictures[1], pictures[2] / 4, atol=1e-6)


def test_the_sheet_has_a_row_for_each_moment_and_the_page_the_same_tiles(images, latencies):
    """A feature that begins grey and becomes light in the middle."""
    model = build_model("mozafari2018")
    model.stages["s1"].weight.zero_()
    model.stages["s1"].weight[:, 0, 2, 2] = 1  # on-centre: light
    moments = {"s1": {0: torch.zeros(30, 6, 5, 5), 500: torch.full((30, 6, 5, 5), 0.5)}}
    report = Report(model, S1C1(), images, np.zeros(12, int), latencies, "0123456789", "title", moments=moments)
    packed = pack_emergence(report)["s1"]
    assert packed["images"] == [0, 500]
    tiles = np.frombuffer(base64.b64decode(packed["bytes"]), np.uint8).reshape(packed["shape"])
    assert tiles.shape[:2] == (3, 30)
    _, _, height, width, _ = tiles.shape
    middles = tiles[:, :, height // 2, width // 2, 0]
    assert [set(each.tolist()) for each in middles] == [{127}, {127}, {255}]
    sheet = np.asarray(sheets.draw_emergence(report.emergence["s1"][1], [0, 500], "title", "legend"))
    assert (sheet == 127).all(2).any()
    assert (sheet == 255).all(2).any()
