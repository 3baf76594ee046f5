"""The names of the input's channels, in figures, sheets and on the page."""

import numpy as np
import pytest

from encoders.gabor import Gabor
from encoders.intensity import Intensity
from models import build_model
from report import sheets
from report.activation_maps import save_activation_maps
from report.channels import name_channels, name_scales
from report.page import collect_data
from report.report import Report
from s1c1 import S1C1

SIX = ["on 3×3", "off 3×3", "on 7×7", "off 7×7", "on 13×13", "off 13×13"]


@pytest.mark.parametrize(
    ("encoder", "scales", "channels"),
    [
        (S1C1(), ["3×3", "7×7", "13×13"], SIX),
        (S1C1(filters=((3, 1.0, 2.0),), colours=3), ["red 3×3", "green 3×3", "blue 3×3"], None),
        (Gabor(orientations=(0, 90)), ["0°", "90°"], ["0°", "90°"]),
        (Intensity(), ["1"], ["1"]),
    ],
    ids=["grey", "colour", "angles", "none"],
)
def test_scales_and_channels_have_names(encoder, scales, channels):
    assert name_scales(encoder) == scales
    assert name_channels(encoder) == (channels or [f"{side} {name}" for name in scales for side in ("on", "off")])


def test_the_maps_of_the_input_have_these_names(tmp_path, latencies, images, monkeypatch):
    """Other maps are numbered."""
    rows = []
    draw = sheets.draw_sheet

    def note(tiles, columns, title, caption, names=(), *more):
        rows.append(list(names))
        return draw(tiles, columns, title, caption, names, *more)

    monkeypatch.setattr(sheets, "draw_sheet", note)
    model = build_model("mozafari2018")
    stages = ("s1",)
    save_activation_maps(model, latencies[:1], [0], [0], tmp_path, "0123456789", stages, True, name_channels(S1C1()))
    assert rows == [["on 3×3, off 3×3", "on 7×7, off 7×7", "on 13×13, off 13×13"], []]
    report = Report(model, S1C1(), images, np.zeros(12, int), latencies, "0123456789", "title")
    assert collect_data(report)["channels"] == SIX
