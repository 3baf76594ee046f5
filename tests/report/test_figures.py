"""The figures: what is in them, that they can be written, and that they are written whole."""

import string

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure
from PIL import Image

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


def history(stdp, rstdp, validated=True):
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
            row |= {f"{split}_accuracy": right, f"{split}_loss": 0.99 - right, f"{split}_silent": 0.01}
        rows.append(row)
    return rows


@pytest.mark.parametrize(("stdp", "rstdp", "panels"), [(2, 10, 3), (4, 680, 3), (0, 1, 2), (1, 1, 3), (3, 0, 1)])
def test_history(stdp, rstdp, panels, tmp_path):
    figure = figures.draw_history(history(stdp, rstdp), "a network on some data")
    assert len(figure.axes) == panels
    assert figure.get_suptitle() == "a network on some data"
    if rstdp:
        accuracy, errors = figure.axes[-2:]
        lines = {line.get_label(): line for line in (*accuracy.lines, *errors.lines)}
        assert {f"{part}, {split}" for part in ("right", "loss", "silent") for split in ("training", "validation")} < {
            *lines
        }
        (star,) = (line for label, line in lines.items() if label.startswith("best epoch"))
        assert star.get_xdata() == [rstdp // 2 + 1]
        assert star.get_ydata() == [pytest.approx(90)]
        assert lines["silent, training"].get_ydata() == pytest.approx([1] * rstdp)
        assert "s3+s4" in accuracy.get_title(loc="left")
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


@pytest.mark.parametrize(("strength", "scale"), [(6, "log"), (0.3, "linear")])
def test_roc(strength, scale, tmp_path):
    labels = np.arange(600) % 3
    scores = strength * np.eye(4)[labels] + np.random.default_rng(0).normal(size=(600, 4))
    curves = roc_curves(labels, scores, 4)
    figure = figures.draw_roc(curves, "abcd", "title")
    (axes,) = figure.axes
    assert axes.get_xscale() == scale
    legend = [text.get_text() for text in axes.get_legend().get_texts()]
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
        .endswith({1: "the DoG scales 1", 2: "scales 1", 5: "3×3, 7×7, 13×13"}[channels])
    )


@pytest.mark.parametrize("count", [1, 7, 800])
def test_features_of_any_number(count, tmp_path):
    features = np.random.default_rng(0).normal(size=(count, 12, 12))
    figure = figures.draw_features(features, "title")
    assert len(figure.axes) == 1
    assert len(figure.axes[0].collections[0].get_paths()) == count  # frames
    picture = pixels(figure, tmp_path)
    assert picture.shape[1] < 3000
    assert picture.std() > 20


def test_features_by_class():
    features = np.zeros((9, 40, 40))
    features[:, 18:22, 10:30] = 1
    marks = list("aabbbbbcc")
    figure = figures.draw_features(features, "title", marks)
    (axes,) = figure.axes
    assert [label.get_text() for label in axes.get_yticklabels()] == ["a", "b", "c"]
    height, width = axes.images[0].get_array().shape
    # margins are cut to one pixel: three rows of 6 × 22 pixels (three times enlarged), five columns
    assert (height, width) == (3 * 18 + 2 * 3, 5 * 66 + 4 * 3)
    assert "40×40" in axes.get_title(loc="left")
    with pytest.raises(ValueError, match="2 marks do not fit 9 features"):
        figures.draw_features(features, "title", "ab")


def test_features_of_nothing(tmp_path):
    pixels(figures.draw_features(np.zeros((4, 5, 5)), "title"), tmp_path)


@pytest.mark.parametrize("stages", [1, 6])
def test_spike_times(stages, tmp_path):
    counts = np.r_[np.arange(15), 895]
    figure = figures.draw_spike_times({f"s{i}": counts for i in range(stages)}, "title")
    drawn = [axes for axes in figure.axes if axes.patches]
    assert len(drawn) == stages
    assert [bar.get_height() for bar in drawn[0].patches] == pytest.approx(np.arange(15) / 10)
    assert drawn[-1].get_title(loc="left") == f"s{stages - 1}: 89.5 % silent"
    assert has_colour(pixels(figure, tmp_path), figures.BLUE)


def test_spike_times_of_silence(tmp_path):
    pixels(figures.draw_spike_times({"s1": np.r_[np.zeros(15), 10], "s2": np.zeros(16)}, "title"), tmp_path)


@pytest.mark.parametrize("steps", [1, 15, 254])
@pytest.mark.parametrize("shape", [(1, 28, 28), (110, 4, 4), (800, 1, 1)])
def test_activation_maps(shape, steps, tmp_path):
    maps = np.full(shape, steps, np.uint8)
    maps[0, 0, 0] = 0
    figure = figures.draw_activation_maps(torch.from_numpy(maps), steps, "title")
    axes, bar = figure.axes
    values = axes.images[0].get_array().compressed()
    zoom = -(-figures.TILE // max(shape[1:]))
    assert (values == 0).sum() == zoom**2
    assert (values == steps).sum() == zoom**2 * (maps.size - 1)
    labels = [label.get_text() for label in bar.get_yticklabels()]
    assert labels[0] == "0"
    assert labels[-1] == "silent"
    assert bar.get_ylabel() == "time step of the spike"
    assert has_colour(pixels(figure, tmp_path), figures.PALE)


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


@pytest.mark.parametrize("count", [0, 1, 45])
@pytest.mark.parametrize("paired", [True, False])
def test_gallery(count, paired, tmp_path):
    images = np.random.default_rng(0).integers(0, 256, (count, 28, 28), np.uint8)
    labels, predictions = np.arange(count) % 10, np.full(count, -1)
    predictions[1:] = 4
    features = [None if p < 0 else np.ones((60, 60), np.float32) for p in predictions] if paired else None
    figure = figures.draw_gallery(images, labels, predictions, features, DIGITS, "title", most=40)
    (axes,) = figure.axes
    texts = [text.get_text() for text in axes.texts]
    assert texts == (["none"] if not count else ["0 → silent", *(f"{i % 10} → 4" for i in range(1, min(count, 40)))])
    assert len(axes.images) == min(count, 40) * (1 + paired)
    if count == 45:
        assert axes.get_title(loc="left").startswith("40 of 45 images")
    picture = pixels(figure, tmp_path)
    if count:
        assert picture.std() > 40


def test_the_winners_picture_is_cut_to_its_content():
    feature = np.zeros((92, 92), np.float32)
    feature[60:80, 5:15] = 1
    figure = figures.draw_gallery(np.zeros((1, 28, 28), np.uint8), [0], [1], [feature], DIGITS, "title")
    shown = figure.axes[0].images[1].get_array()
    assert shown.shape == (28, 28)
    assert shown.sum() == 200


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
