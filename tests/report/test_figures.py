"""The figures: what is in them, that they can be written, and that they are written whole."""

import itertools
import string
from dataclasses import replace

import matplotlib
import numpy as np
import pytest
from matplotlib.colors import to_rgb
from matplotlib.lines import Line2D
from PIL import Image
from sklearn.metrics import auc
from support.draws import draw_pixels
from support.tiers import slow_except

from encoders.intensity import Intensity
from encoders.whitening import Whitening
from engine.progress import Row
from report import figures, sheets
from report.colors import BLUE, ORANGE
from report.evaluation import compute_roc_curves
from s1c1 import S1C1

ON, OFF = to_rgb(BLUE), to_rgb(ORANGE)


def render(figure, folder):
    """The figure as it is saved, (H, W, 3); asserts that nothing else is left in the folder."""
    figures.save(figure, folder / "figure.png")
    assert [path.name for path in folder.iterdir()] == ["figure.png"]
    with Image.open(folder / "figure.png") as picture:
        return np.asarray(picture.convert("RGB")).astype(int)


def has_color(picture, color, tolerance=3):
    return bool((np.abs(picture - 255 * np.array(to_rgb(color))).max(-1) <= tolerance).any())


def texts_of(artists):
    return [artist.get_text() for artist in artists]


def history(stdp, rstdp, validated=True, silent=0.01):
    parts = ("accuracy", "loss", "silent")
    rows = [
        Row(step=0, phase=phase, rule="stdp", epoch=epoch + 1, images=1, convergence=0.1 / (epoch + 1))
        for phase in ("s1", "s2")
        for epoch in range(stdp)
    ]
    for epoch in range(rstdp):
        right = 0.9 - abs(epoch - rstdp // 2) / (2 * rstdp)
        values = right, 1 - silent - right, silent
        scores = {}
        for split in ("train", "val") if validated else ("train",):
            scores |= {f"{split}_{part}": value for part, value in zip(parts, values, strict=True)}
        row = Row(step=0, phase="s3+s4", rule="margin", epoch=epoch + 1, images=1, convergence=0.15, **scores)
        rows.append(row)
    return rows


PANELS = (2, 10, 4), (0, 0, 0), (0, 1, 3), (3, 0, 1)


@pytest.mark.parametrize(("stdp", "rstdp", "panels"), slow_except(PANELS[:2], PANELS))
def test_history(stdp, rstdp, panels, tmp_path):
    figure = figures.draw_history(history(stdp, rstdp), "Training history\na network on some data")
    assert len(figure.axes) == panels
    assert texts_of(figure.texts) == ["Training history", "a network on some data"]
    assert all(0.5 < text.get_position()[1] < 1 for text in figure.texts)
    if rstdp:
        accuracy, _, silent = figure.axes[-3:]
        for axes in figure.axes[-3:]:
            colors = {line.get_label(): line.get_color() for line in axes.lines}
            assert (colors["training"], colors["validation"]) == (BLUE, ORANGE)
        (star,) = (line for line in accuracy.lines if line.get_marker() == "*")
        assert (star.get_xdata()[0], star.get_ydata()[0]) == (rstdp // 2 + 1, pytest.approx(90))
        assert silent.lines[0].get_ydata() == pytest.approx([1] * rstdp)
        assert "margin phase, s3+s4" in accuracy.get_title(loc="left")  # a user's own rule has its own name
    if stdp:
        assert texts_of(figure.axes[0].get_legend().get_texts()) == ["s1", "s2"]
        assert figure.axes[0].lines[1].get_xdata().tolist() == list(range(1, stdp + 1))  # an image for each epoch
        for get_style in (Line2D.get_linestyle, Line2D.get_marker):
            assert len({*map(get_style, figure.axes[0].lines[:2])}) == 2
        assert "STDP" in figure.axes[0].get_title(loc="left")
    picture = render(figure, tmp_path)
    labels = texts_of(label for axes in figure.axes for label in axes.get_yticklabels(minor=True))
    assert not [label for label in labels if "$" in label]  # the source of a formula
    assert has_color(picture, BLUE, 40) == has_color(picture, ORANGE, 40) == bool(rstdp)


def test_phases_with_labels_are_named_and_divided():
    phases = "s3", "s3", "s4"
    rows = [replace(row, phase=phase) for row, phase in zip(history(0, 3, silent=0.0), phases, strict=True)]
    (axes,) = figures.draw_history(rows, "title").axes
    assert [line.get_xdata()[0] for line in axes.lines if line.get_linestyle() == ":"] == [2.5]
    assert {text.get_text(): text.get_position()[0] for text in axes.texts} == {"s3": 1.5, "s4": 3}


def test_histories_of_other_shapes():
    """Without validation; without silence; with convergence far below 1, and of 0, and from the first image on."""
    figure = figures.draw_history(history(0, 3, validated=False), "title")
    assert not [line for axes in figure.axes for line in axes.lines if "validation" in line.get_label()]
    assert len(figures.draw_history(history(0, 3, silent=0.0), "title").axes) == 1
    values = (1e-3, 3e-8, 2e-11, 0.1, 0.0, 0.0)
    rows = [replace(row, convergence=value) for row, value in zip(history(3, 0), values, strict=True)]
    early = {"s1": [(0, 0.16), (0.5, 0.15)], "s3_3x3": [(0, 0.1)]}  # of a layer that is not a phase: not drawn
    (axes,) = figures.draw_history(rows, "title", early).axes
    assert [line.get_ydata().tolist() for line in axes.lines] == [[0.16, 0.15, 1e-3, 3e-8, 2e-11], [0.1, 0, 0]]
    assert axes.lines[0].get_xdata().tolist() == [0, 0.5, 1, 2, 3]


def test_raster(tmp_path):
    """Two images. A dot is at its time step, in the row of its feature, and there at its neuron's place."""
    maps = {"input": np.full((2, 2, 4, 4), 15, np.uint8), "s1": np.full((2, 3, 4, 4), 15, np.uint8)}
    maps["input"][0, 0, 0, 3] = 2  # on-centre, at the upper right
    maps["input"][1, 1, 3, 0] = 5  # off-centre, at the lower left
    maps["s1"][1, 2] = 9
    decisions = [[-1, 0]] * 4 + [[2, 0]] * 11  # the second image is of class 1
    classes = ["nil", "one", "two"], [2, 1]
    encoder = S1C1(filters=((3, 1.0, 2.0),))
    figure = figures.draw_raster(maps, classes, decisions, encoder, "title")
    of_input, of_s1, decided = figure.axes
    dots = {line.get_color(): line.get_xydata() for line in of_input.lines if line.get_marker() == "."}
    start = 16  # of the second image
    np.testing.assert_allclose(dots[BLUE], [[2, 3.5 / 16 - 0.5]])
    np.testing.assert_allclose(dots[ORANGE], [[start + 5, 1 + 12.5 / 16 - 0.5]])
    assert len(of_s1.lines[0].get_xydata()) == 16
    assert texts_of(of_input.get_yticklabels()) == ["on 3×3", "off 3×3"]
    assert of_s1.get_ylim() == (2.5, -0.5)  # the first feature is at the top
    correct, wrong = decided.lines
    assert correct.get_xydata().tolist() == [[step, 2] for step in range(4, 15)]
    assert wrong.get_xydata().tolist() == [[start + step, 0] for step in range(15)]
    (top,) = of_input.child_axes
    assert top.get_xlabel() == "class"
    render(figure, tmp_path)
    assert texts_of(top.get_xticklabels()) == ["two", "one"]
    assert len(figures.draw_raster(maps, classes, [], encoder, "title").axes) == 2


def test_confusion(tmp_path):
    names = "T-shirt/top", *string.ascii_lowercase
    classes = len(names)
    matrix = np.c_[500 * np.eye(classes, dtype=int), np.zeros(classes, int)]
    matrix[0, -1], matrix[1, 0] = 7, 3
    figure = figures.draw_confusion(matrix.tolist(), names, "title")
    axes, _ = figure.axes
    cells = {text.get_position(): text.get_text() for text in axes.texts}
    silent = axes.get_xticks()[-1]
    assert silent == classes
    expected = {(c, c): "500" for c in range(classes)}
    assert cells == expected | {(0, 1): "3", (silent, 0): "7"}  # column, row; nothing stands for 0
    assert texts_of(axes.get_xticklabels()) == [*names, "silent"]
    assert texts_of(axes.get_yticklabels()) == list(names)
    assert axes.get_title(loc="left").startswith(f"{500 * classes:,} of {500 * classes + 10:,} correct")
    render(figure, tmp_path)


def test_any_name_of_a_class_can_be_drawn(tmp_path, monkeypatch):
    """Without a warning, and if the user's matplotlibrc sets text.usetex."""
    monkeypatch.setitem(matplotlib.rcParams, "text.usetex", True)
    names = "$\\frac{1}$", "漢" * 255, "{0}%s"
    curve = np.array([0, 1]), np.array([0, 1]), 0.5
    for figure in (
        figures.draw_confusion([[1, 2, 0, 0]] * 3, names, f"title {names}"),
        figures.draw_roc([curve] * 3, names, names[1]),
        figures.draw_errors(np.zeros((2, 5, 5), np.uint8), [0, 1], [0, 2], [1, 1], names, names[0], 2),
    ):
        render(figure, tmp_path)


@pytest.mark.parametrize(("strength", "side"), [(6, 1), (0.3, 100)])
def test_roc(strength, side, tmp_path):
    """The panel is the part in which the curves differ."""
    labels = np.arange(600) % 3
    scores = strength * np.eye(4)[labels] + np.random.default_rng(0).normal(size=(600, 4))
    curves = compute_roc_curves(labels, scores)
    figure = figures.draw_roc(curves, "abcd", "title")
    (axes,) = figure.axes
    for line, curve in zip(axes.lines, curves[:3], strict=False):
        assert auc(line.get_xdata(), line.get_ydata()) / 1e4 == pytest.approx(curve[2])  # what the legend says
    assert axes.get_xlim() == (0, side)
    assert axes.get_ylabel()
    legend = texts_of(axes.get_legend().get_texts())
    assert ("chance: 0.5" in legend) == (side == 100)  # only if its line is in the panel
    assert legend[:3] == [f"{name}: {curve[2]:.4f}" for name, curve in zip("abc", curves, strict=False)]
    assert has_color(render(figure, tmp_path), BLUE)


def test_of_many_classes_the_smallest_areas_are_shown(tmp_path):
    labels = np.arange(4300) % 43
    scores = np.linspace(0.5, 3, 43) * np.eye(43)[labels] + np.random.default_rng(0).normal(size=(4300, 43))
    curves = [*compute_roc_curves(labels, scores)[:42], None]
    figure = figures.draw_roc(curves, [f"sign {number}" for number in range(43)], "title")
    (axes,) = figure.axes
    shown = [text.split(": ")[1] for text in texts_of(axes.get_legend().get_texts()) if text.startswith("sign")]
    assert shown == [f"{area:.4f}" for area in sorted(area for _, _, area in curves[:42])[:30]]
    assert has_color(render(figure, tmp_path), BLUE)


@pytest.mark.slow
def test_titles_of_errors_do_not_overlap(tmp_path):
    """With words as names of classes, from five letters to more than are shown."""
    for names in (("apple", "tomato"), ("dangerous curve to the left", "roundabout mandatory")):
        images = np.zeros((25, 8, 8), np.uint8)
        figure = figures.draw_errors(images, range(25), [0] * 25, [1] * 25, names, "title", 25)
        render(figure, tmp_path)
        boxes = [text.get_window_extent() for text in figure.axes[0].texts]
        assert not any(box.overlaps(other) for box, other in itertools.combinations(boxes, 2))


def count_pixels(sheet, color):
    return int((np.abs(np.asarray(sheet).astype(int) - 255 * np.array(color)).max(2) <= 1).sum())


def test_filters(tmp_path):
    weight = np.zeros((30, 6, 5, 5))
    weight[0, 0] = 1  # on-centre, first scale
    weight[1, 5] = 1  # off-centre, last scale
    sheet = sheets.draw_filters(weight, "title", S1C1())
    of_key = 12 * 12
    one = count_pixels(sheet, ON) - of_key
    assert one > 0
    assert one % 25 == 0  # a picture of 5×5, enlarged
    assert count_pixels(sheet, OFF) - of_key == one
    render(sheet, tmp_path)


def test_rows_are_named_beside_their_tiles_below_a_title():
    tiles = np.zeros((3, 9, 9, 3), np.uint8)
    tiles[..., 0] = np.reshape([60, 120, 180], (3, 1, 1))

    def draw(title, rows):
        return np.asarray(sheets.draw_sheet(tiles, 1, title, "", rows))

    plain = draw("a", "000")
    assert (draw("b", "000") != plain).any()
    for tile, rows in zip(tiles, ("100", "010", "001"), strict=True):
        changed, drawn = (draw("a", rows) != plain).any(2), (plain == tile[0, 0]).all(2)
        assert np.nonzero(changed)[0].mean() == pytest.approx(np.nonzero(drawn)[0].mean(), abs=2)


def test_of_many_filters_the_first_are_shown(monkeypatch):
    """Here 300 strips of red, green and blue."""
    shown = {}
    monkeypatch.setattr(sheets, "draw_sheet", lambda tiles, *args, **more: shown.update(tiles=tiles, caption=args[2]))
    sheets.draw_filters(np.zeros((300, 6, 5, 5)), "title", Whitening(colours=3))
    assert len(shown["tiles"]) == 3 * sheets.SHOWN_FILTERS
    assert shown["caption"].startswith("the first 100 of 300 features; ")
    assert shown["caption"].endswith("red, green, blue")


def test_features_of_any_number_and_nothing_to_show(tmp_path):
    """Also features without weights, silent stages, and curves of no class."""
    for count in (1, 7, 800):
        features = np.random.default_rng(0).normal(size=(count, 12, 12))
        picture = render(sheets.draw_features(features, "title", "legend"), tmp_path)
        assert picture.shape[1] < 1500
        assert picture.std() > 20
    render(sheets.draw_features(np.zeros((4, 5, 5)), "title", "legend"), tmp_path)
    faint = sheets.shade(np.full((4, 5, 5), 0.1), 4)  # a fifth of the contrast of what has learned
    assert faint.max() == 153 < sheets.shade(np.full((4, 5, 5), 0.6), 4).max() == 255
    coloured = np.zeros((4, 5, 5, 3))
    coloured[:, 2, 2, 0], coloured[:, 2, 2, 1:] = 1, -1
    assert has_color(render(sheets.draw_features(coloured, "title", "legend"), tmp_path), (1, 0, 0))
    render(figures.draw_spike_times({"s1": np.r_[np.zeros(15), 10]}, "title"), tmp_path)
    render(figures.draw_roc([None, None], "ab", "title"), tmp_path)


@pytest.mark.parametrize("stages", slow_except([1], [1, 6]))
def test_spike_times(stages, tmp_path):
    """All stages have one axis: one that is almost silent looks so."""
    counts = {f"s{i}": np.r_[np.arange(15) / 100**i, 895] for i in range(stages)}
    figure = figures.draw_spike_times(counts, "title")
    drawn = [axes for axes in figure.axes if axes.patches]
    assert len(drawn) == len(figure.axes) == stages
    assert figure.get_supylabel()
    assert [bar.get_height() for bar in drawn[0].patches] == pytest.approx(np.arange(15))
    assert drawn[0].get_title(loc="left") == "s0: 105 spikes, 89.5 % silent"
    assert [axes.get_ylim() for axes in drawn] == stages * [(0, pytest.approx(14.7))]
    assert has_color(render(figure, tmp_path), BLUE)


def test_wave(tmp_path):
    latency = np.full((6, 20, 20), 15, np.uint8)
    latency[0:6:2, :5] = 3  # on-centre
    latency[1:6:2, 15:] = 9  # off-centre
    sheet = sheets.draw_wave(latency, "title", S1C1())
    shown = count_pixels(sheet, ON), count_pixels(sheet, OFF)
    area = (shown[0] - 12 * 12) // 12  # of a strip of 5 of 20 rows: on spikes from step 3, in 12 of 15 pictures
    assert shown == (12 * area + 12 * 12, 6 * area + 12 * 12)  # off spikes from step 9, in 6 of 15
    render(sheet, tmp_path)
    many = sheets.draw_wave(latency[:1], "title", Intensity(time_steps=254))
    assert many.width < 1500


@pytest.mark.parametrize(("count", "total", "said"), [(0, 0, "no"), (1, 1, "1"), (40, 3534, "40 of 3,534")])
def test_errors(count, total, said, tmp_path):
    images = draw_pixels(count, 28, 28)
    labels, predictions = np.arange(count) % 10, np.full(count, -1)
    predictions[1:] = 4
    indices = 100 + np.arange(count)
    files = [f"test/a/Alexandra_en-us_{index}.png" for index in indices] if total > 1 else ()
    figure = figures.draw_errors(images, indices, labels, predictions, string.digits, "title", total, files)
    (axes,) = figure.axes
    texts = texts_of(axes.texts)
    assert figure.get_supxlabel().startswith(f"{said} error")
    assert texts[::2] == [f"{i % 10} → {'4' if i else 'silent'}" for i in range(count)]
    ends = [f"\nxandra_en-us_{index}.png" if files else "" for index in indices]
    assert texts[1::2] == [f"image {index}{end}" for index, end in zip(indices, ends, strict=True)]
    for drawn, image in zip(axes.images, images, strict=True):  # as given: white is drawn white
        np.testing.assert_allclose(drawn.to_rgba(image)[..., 0], image / 255, atol=0.01)
    assert count == 0 or render(figure, tmp_path).std() > 30
