"""The figures: what is in them, that they can be written, and that they are written whole."""

import itertools
import string

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure
from PIL import Image
from sklearn.metrics import auc

from errors import InputError
from report import figures
from report.metrics import roc_curves

DIGITS = tuple(string.digits)


def pixels(figure, folder):
    """The figure as it is written, (H, W, 3); asserts that nothing else is left in the folder."""
    figures.save(figure, folder / "figure.png")
    assert [path.name for path in folder.iterdir()] == ["figure.png"]
    with Image.open(folder / "figure.png") as picture:
        return np.asarray(picture.convert("RGB")).astype(int)


def has_colour(picture, colour, tolerance=3):
    wanted = [int(colour[i : i + 2], 16) for i in (1, 3, 5)]
    return bool((np.abs(picture - wanted).max(2) <= tolerance).any())


def texts(figure):
    """The title and the lines below it."""
    return [text.get_text() for text in figure.texts]


def history(stdp, rstdp, validated=True, silent=0.01):
    outcome = ("accuracy", "loss", "silent")
    none = {f"{split}_{part}": None for split in ("train", "val") for part in outcome}
    rows = [
        {"phase": phase, "rule": "stdp", "epoch": epoch + 1, "convergence": 0.1 / (epoch + 1), **none}
        for phase in ("s1", "s2")
        for epoch in range(stdp)
    ]
    for epoch in range(rstdp):
        right = 0.9 - abs(epoch - rstdp // 2) / (2 * rstdp)
        row = {"phase": "s3+s4", "rule": "rstdp", "epoch": epoch + 1, "convergence": 0.15, **none}
        for split in ("train", "val") if validated else ("train",):
            row |= {
                f"{split}_accuracy": right, f"{split}_loss": 1 - silent - right, f"{split}_silent": silent,
            }  # fmt: skip
        rows.append(row)
    return rows


@pytest.mark.parametrize(("stdp", "rstdp", "panels"), [(2, 10, 4), (4, 680, 4), (0, 1, 3), (1, 1, 4), (3, 0, 1)])
def test_history(stdp, rstdp, panels, tmp_path):
    figure = figures.draw_history(history(stdp, rstdp), "Training history\na network on some data")
    assert len(figure.axes) == panels
    assert texts(figure) == ["Training history", "a network on some data"]
    if rstdp:
        accuracy, loss, silent = figure.axes[-3:]
        for axes in (accuracy, loss, silent):
            assert {"training", "validation"} < {line.get_label() for line in axes.lines}
        (star,) = (line for line in accuracy.lines if line.get_label().startswith("best epoch"))
        assert star.get_xdata() == [rstdp // 2 + 1]
        assert star.get_ydata() == [pytest.approx(90)]
        assert silent.lines[0].get_ydata() == pytest.approx([1] * rstdp)
        assert "s3+s4" in accuracy.get_title(loc="left")
        low, high = loss.get_ylim()
        losses = loss.lines[1].get_ydata()
        assert high - low < 2.5 + 1.5 * (max(losses) - min(losses))  # the curve fills the axis
    if stdp:
        assert {text.get_text() for text in figure.axes[0].texts} == {"s1", "s2"}
        assert figure.axes[0].lines[1].get_xdata().tolist() == list(range(stdp + 1, 2 * stdp + 1))
    assert has_colour(pixels(figure, tmp_path), figures.BLUE, 40)


def test_history_without_validation_or_epochs(tmp_path):
    figure = figures.draw_history(history(0, 3, validated=False), "title")
    labels = [line.get_label() for axes in figure.axes for line in axes.lines]
    assert [label for label in labels if "validation" in label or "best" in label] == []
    pixels(figure, tmp_path)
    assert figures.draw_history([], "title").axes == []
    pixels(figures.draw_history([], "title"), tmp_path)


def test_silence_has_a_panel_where_there_is_some():
    accuracy, loss = figures.draw_history(history(0, 3, silent=0.0), "title").axes
    assert "silent" not in accuracy.get_title(loc="left")
    assert "no image was silent" in loss.get_title(loc="left")


def test_the_loss_is_logarithmic_where_it_falls_far():
    rows = history(0, 5, silent=0.0)
    for row, loss in zip(rows, (0.3, 0.2, 0.1, 0.05, 0.04), strict=True):
        row["train_loss"] = row["val_loss"] = loss
    _, axes = figures.draw_history(rows, "title").axes
    assert axes.get_yscale() == "log"
    assert axes.get_ylim() == pytest.approx((3.4, 35.4))
    rows[-1]["val_loss"] = 0.0
    _, axes = figures.draw_history(rows, "title").axes
    assert axes.get_yscale() == "linear"


def test_convergence_is_drawn_where_it_is(tmp_path):
    rows = history(3, 0)
    for row, value in zip(rows, (1e-3, 3e-8, 2e-11, 0.1, 0.0, 0.0), strict=True):
        row["convergence"] = value
    figure = figures.draw_history(rows, "title")
    (axes,) = figure.axes
    assert axes.lines[0].get_ydata() == pytest.approx([1e-3, 3e-8, 2e-11], rel=1e-9)
    low, high = axes.get_ylim()
    assert low < 2e-12 < 0.1 < high
    assert [text.get_text() for text in axes.texts].count("0 ↓") == 2
    pixels(figure, tmp_path)


def test_rules_go_by_their_names():
    rows = history(1, 2)
    for row in rows:
        row["rule"] = {"stdp": "stdp", "rstdp": "margin"}[row["rule"]]
    figure = figures.draw_history(rows, "title")
    assert figure.axes[0].get_title(loc="left") == "STDP phases"
    assert figure.axes[1].get_title(loc="left") == "margin phase, s3+s4: accuracy"


def test_colours_differ_in_deuteranopia():
    """As a reader without the cones for green sees them (Machado et al. 2009), at least 20 ΔE (CIE 1976) apart."""
    for colours in (
        figures.PALETTE,
        (figures.ON, figures.OFF, "#FFFFFF"),
        (figures.BLUE, figures.ORANGE, figures.GREY),
    ):
        seen = [lab(deuteranopia(colour)) for colour in colours]
        for a, b in itertools.combinations(seen, 2):
            assert np.linalg.norm(a - b) > 20
    assert np.linalg.norm(lab(deuteranopia("#FF0000")) - lab(deuteranopia("#857A00"))) < 20  # red and olive do not


def deuteranopia(colour):
    """Linear RGB."""
    srgb = np.array([int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)])
    linear = np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4)
    cones = [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]]
    return np.clip(np.array(cones) @ linear, 0, 1)


def lab(linear):
    to_xyz = [[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]]
    xyz = np.array(to_xyz) @ linear / [0.9505, 1, 1.089]
    x, y, z = np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 16 / 116)
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


@pytest.mark.parametrize("names", [DIGITS, tuple(string.ascii_lowercase), ("T-shirt/top", "Bag", "Coat")])
def test_confusion(names, tmp_path):
    classes = len(names)
    matrix = np.c_[500 * np.eye(classes, dtype=int), np.zeros(classes, int)]
    matrix[0, -1], matrix[1, 0] = 7, 3
    figure = figures.draw_confusion(matrix, names, "title")
    axes, _ = figure.axes
    cells = {text.get_position(): text.get_text() for text in axes.texts}
    assert len(cells) == classes + 2  # nothing stands for 0
    assert cells[(0, 1)] == "3"  # column, row: true class 1, decision 0
    silent = axes.get_xticks()[-1]
    assert silent > classes  # set apart
    assert cells[(silent, 0)] == "7"
    assert [tick.get_text() for tick in axes.get_xticklabels()] == [*names, "silent"]
    assert [tick.get_text() for tick in axes.get_yticklabels()] == list(names)
    assert axes.get_title(loc="left") == f"{500 * classes:,} of {500 * classes + 10:,} images right, 7 silent"
    picture = pixels(figure, tmp_path)
    dark = (picture[..., 0] < 20) & (picture[..., 2] > 80) & (picture[..., 2] < 140)
    assert dark.mean() > 0.5 / (classes + 2) ** 2  # the diagonal
    with pytest.raises(ValueError, match="3 classes is"):
        figures.draw_confusion(np.eye(3), "abc", "title")


@pytest.mark.parametrize(("strength", "sides"), [(6, [1]), (0.3, [])])
def test_roc(strength, sides, tmp_path):
    """Where the curves are far from their corner, there is no second picture of the same."""
    labels = np.arange(600) % 3
    scores = strength * np.eye(4)[labels] + np.random.default_rng(0).normal(size=(600, 4))
    curves = roc_curves(labels, scores, 4)
    figure = figures.draw_roc(curves, "abcd", "title")
    whole, *corner = figure.axes
    for line, curve in zip(whole.lines, curves[:3], strict=False):
        assert line.get_drawstyle() == "default"
        x, y = line.get_xdata(), line.get_ydata()
        assert auc(x, y) / 1e4 == pytest.approx(curve[2])  # the polygon's area is what the legend says
    assert [axes.get_xlim() for axes in corner] == [(0, side) for side in sides]
    legend = [text.get_text() for text in figure.axes[-1].get_legend().get_texts()]
    assert legend[:4] == [f"{name}: {curve[2]:.4f}" for name, curve in zip("abc", curves, strict=False)] + [
        "d: no images"
    ]
    assert has_colour(pixels(figure, tmp_path), figures.BLUE)


def test_roc_of_perfect_and_of_absent_classes(tmp_path):
    labels = np.arange(52) % 26
    figure = figures.draw_roc(roc_curves(labels, np.eye(26)[labels], 26), string.ascii_lowercase, "title")
    looks = {(line.get_color(), str(line._dash_pattern)) for line in figure.axes[0].lines[:26]}
    assert len(looks) == 26
    pixels(figure, tmp_path)
    pixels(figures.draw_roc([None, None], "ab", "title"), tmp_path)


def test_filters(tmp_path):
    weight = torch.zeros(30, 6, 5, 5)
    weight[0, 0] = 1  # on-centre, first scale
    weight[1, 5] = 1  # off-centre, last scale
    weight[2, 2:4] = 1  # both, middle scale
    figure = figures.draw_filters(weight, "title")
    (axes,) = figure.axes
    assert [text.get_text() for text in axes.texts] == [str(i) for i in range(30)]
    assert "3×3, 7×7, 13×13" in axes.get_title(loc="left")
    mosaic = axes.images[0].get_array()
    on, off = (np.array([int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]) for colour in (figures.ON, figures.OFF))
    assert np.allclose(mosaic[0, 0], on, atol=0.01)
    for colour in (on, off, np.zeros(3)):
        assert np.isclose(mosaic, colour, atol=0.01).all(2).sum() == 50 * 50  # one picture of 5 × 5, enlarged
    picture = pixels(figure, tmp_path)
    assert has_colour(picture, figures.ON)
    assert has_colour(picture, figures.OFF)


@pytest.mark.parametrize("channels", [1, 2, 5])
def test_filters_of_other_inputs(channels, tmp_path):
    figure = figures.draw_filters(np.ones((4, channels, 3, 3)), "title")
    pixels(figure, tmp_path)
    assert (
        figure.axes[0]
        .get_title(loc="left")
        .endswith({1: "the scales 1", 2: "scales 1", 5: "3×3, 7×7, 13×13"}[channels])
    )


def test_filters_of_an_encoder_without_polarity(tmp_path):
    weight = np.zeros((2, 4, 3, 3))
    weight[0, 0], weight[0, 1], weight[0, 2], weight[0, 3] = 1, 1, 1, 1
    figure = figures.draw_filters(weight, "title", (0, 1, -1, -1), ("0°", "blob", "late"))
    (axes,) = figure.axes
    assert axes.get_title(loc="left").endswith("the scales 0°, blob, late")
    neither, both, off = (axes.images[0].get_array()[0, 50 * scale].tolist() for scale in range(3))
    assert neither == pytest.approx([0x50 / 255] * 3)
    assert max(both) < 0.1
    assert off == pytest.approx([0, 0x72 / 255, 0xB2 / 255])
    legend = [text.get_text() for text in figure.legends[0].get_texts()]
    assert legend == ["on-centre synapse strong", "off-centre synapse strong", "synapse strong", "both", "none"]
    pixels(figure, tmp_path)


@pytest.mark.parametrize("count", [1, 7, 800])
def test_features_of_any_number(count, tmp_path):
    features = np.random.default_rng(0).normal(size=(count, 12, 12))
    figure = figures.draw_features(features, "title")
    assert len(figure.axes) == 1
    assert len(figure.axes[0].collections[0].get_paths()) == count  # frames
    picture = pixels(figure, tmp_path)
    assert picture.shape[1] < 3000
    assert picture.std() > 20


def test_margins_of_features_are_cut():
    features = np.zeros((9, 40, 40))
    features[:, 18:22, 10:30] = 1
    (axes,) = figures.draw_features(features, "title").axes
    # to one pixel: three rows of 6 × 22 pixels (three times enlarged), four columns
    assert axes.images[0].get_array().shape[:2] == (3 * 18 + 2 * 3, 4 * 66 + 3 * 3)
    assert "40×40" in axes.get_title(loc="left")


def test_features_of_nothing(tmp_path):
    pixels(figures.draw_features(np.zeros((4, 5, 5)), "title"), tmp_path)


@pytest.mark.parametrize("stages", [1, 6])
def test_spike_times(stages, tmp_path):
    counts = np.r_[np.arange(15), 895]
    figure = figures.draw_spike_times({f"s{i}": counts for i in range(stages)}, "title")
    drawn = [axes for axes in figure.axes if axes.patches]
    assert len(drawn) == stages
    figure.canvas.draw()
    assert all(any(label.get_text() for label in axes.get_xticklabels()) for axes in drawn)
    assert [bar.get_height() for bar in drawn[0].patches] == pytest.approx(np.arange(15) / 10)
    assert drawn[-1].get_title(loc="left") == f"s{stages - 1}: 89.5 % silent"
    assert has_colour(pixels(figure, tmp_path), figures.BLUE)


def test_spike_times_of_silence(tmp_path):
    pixels(figures.draw_spike_times({"s1": np.r_[np.zeros(15), 10], "s2": np.zeros(16)}, "title"), tmp_path)


def test_wave(tmp_path):
    latency = np.full((6, 20, 20), 15, np.uint8)
    latency[0:6:2, :5] = 3  # on-centre
    latency[1:6:2, 15:] = 9  # off-centre
    figure = figures.draw_wave(latency, 15, "title")
    assert len(figure.axes) == 15
    panels = [axes.images[0].get_array() for axes in figure.axes]
    assert panels[2].min() == 1  # white
    assert panels[3][0, 0].tolist() == panels[14][0, 0].tolist() != [1, 1, 1]  # spikes stay
    assert panels[8][19, 0].tolist() == [1, 1, 1] != panels[9][19, 0].tolist()
    picture = pixels(figure, tmp_path)
    assert has_colour(picture, figures.ON)
    assert has_colour(picture, figures.OFF)
    assert len(figures.draw_wave(latency[:1], 254, "title").axes) == 16


def test_wave_of_other_channels():
    latency = np.full((2, 8, 8), 15, np.uint8)
    latency[0, :4], latency[1, 4:] = 0, 0
    panel = figures.draw_wave(latency, 15, "title", (-1, 0)).axes[0].images[0].get_array()
    assert panel[0, 0].tolist() == pytest.approx([0, 0x72 / 255, 0xB2 / 255])
    assert panel[7, 0].tolist() == pytest.approx([0x50 / 255] * 3)


@pytest.mark.parametrize("count", [0, 1, 40])
def test_errors(count, tmp_path):
    images = np.random.default_rng(0).integers(0, 256, (count, 28, 28), np.uint8)
    labels, predictions = np.arange(count) % 10, np.full(count, -1)
    predictions[1:] = 4
    total = 3534 if count == 40 else None
    figure = figures.draw_errors(images, 100 + np.arange(count), labels, predictions, DIGITS, "title", total)
    drawn = [axes for axes in figure.axes if axes.images]
    assert len(drawn) == count
    said = {0: "no errors", 1: "1 error", 40: "40 of 3,534 errors"}[count]
    assert figure.get_supxlabel() == f"{said}: true class → decision"
    titles = [axes.get_title() for axes in drawn]
    assert titles == [f"{i % 10} → {'4' if i else 'silent'}" for i in range(count)]
    assert [axes.texts[0].get_text() for axes in drawn] == [f"image {100 + i}" for i in range(count)]
    picture = pixels(figure, tmp_path)
    if count:
        assert picture.std() > 30


def test_save_replaces_whole_files_only(tmp_path, monkeypatch):
    path = tmp_path / "figure.png"
    path.write_bytes(b"before")
    figure = Figure()
    with monkeypatch.context() as patch:
        patch.setattr(figure, "savefig", lambda *_, **__: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            figures.save(figure, path)
    assert path.read_bytes() == b"before"
    figures.save(figure, path)
    assert path.read_bytes().startswith(b"\x89PNG")
    assert list(tmp_path.iterdir()) == [path]


def test_save_where_nothing_can_be_written(tmp_path):
    (tmp_path / "file").touch()
    for folder in (tmp_path / "missing", tmp_path / "file"):
        with pytest.raises(InputError, match="cannot write"):
            figures.save(Figure(), folder / "figure.png")


def test_no_window_and_no_global_state():
    import matplotlib

    before = dict(matplotlib.rcParams)
    figures.draw_history(history(1, 2), "title")
    assert dict(matplotlib.rcParams) == before
