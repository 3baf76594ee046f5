"""Which files a report consists of, for networks that decide and for others."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image
from support.run_folders import files_in

from engine.augmentation import Augmentation
from engine.progress import Row
from imagesets.augmentation import make_copies, move_images
from models import build_model
from report import figures, report, sheets
from report.evaluation import Evaluation
from report.report import Report, count_spike_times, draw_figures
from s1c1 import S1C1
from training.log import RunLog
from training.testing import report_test

NAMES = "0123456789"
LABELS = np.arange(12) % 10
HISTORY = [Row(step=1, phase="s1", rule="stdp", epoch=1, images=1, convergence=0.1)]
ALWAYS = {"filters_s1", "features_s1", "features_s2", "raster", "spike_times", "spike_wave"}
DECIDING = {"confusion_matrix", "roc_curves", "errors"}


@pytest.fixture
def make_report(latencies, images):
    def make(model, **more):
        return Report(model, S1C1(), images, LABELS, latencies, NAMES, "a network", names=range(len(LABELS)), **more)

    return make


def test_a_network_that_does_not_decide(tmp_path, features_only, make_report, images, monkeypatch):
    monkeypatch.setattr(figures, "DPI", 20)
    copies = make_copies(images, Augmentation(copies=2, turn=5.0), 0, S1C1().encode)
    draw_figures(tmp_path, make_report(features_only, history=HISTORY, copies=copies))
    assert files_in(tmp_path) == {f"{name}.png" for name in ALWAYS | {"history", "moved_images"}}


def test_figures_for_papers(tmp_path, make_report, monkeypatch):
    """As PDF and SVG, with fonts of type 42; pictures of pixels are not."""
    drawn = {name: report.FIGURES[name] for name in ("history", "filters")}
    monkeypatch.setattr(report, "FIGURES", drawn)
    draw_figures(tmp_path, make_report(build_model("mozafari2018"), history=HISTORY), ["pdf", "svg"])
    assert files_in(tmp_path) == {"history.png", "filters_s1.png", "history.pdf", "history.svg"}
    content = (tmp_path / "history.pdf").read_bytes()
    assert content.startswith(b"%PDF")
    assert b"/Type3" not in content
    assert b"/FontFile2" in content  # TrueType, embedded
    assert "<svg" in (tmp_path / "history.svg").read_text()


def test_the_moved_images_are_those_that_the_network_learns_from(make_report, images, monkeypatch):
    """Of 12 images, every second with its copies."""
    drawn = []
    monkeypatch.setattr(sheets, "draw_copies", lambda rows, title: drawn.append(rows))
    moves = Augmentation(copies=3, turn=20, shift=2)
    copies = make_copies(images, moves, 7, S1C1().encode)
    assert len([*report.moved_images(make_report(build_model("mozafari2018"), copies=copies), "")]) == 1
    learned = np.stack([move_images(images, moves, number, 7) for number in range(4)], 1)
    np.testing.assert_array_equal(drawn[0], learned[::2])


def test_a_network_that_decides(tmp_path, make_report, latencies, monkeypatch):
    monkeypatch.setattr(figures, "DPI", 20)
    model = build_model("mozafari2018")
    evaluation = Evaluation(*model.decide(latencies), LABELS)
    report = make_report(model, evaluations={("test", ""): evaluation})
    report_test(report, tmp_path, RunLog(tmp_path), draw=False)
    assert files_in(tmp_path) == {"results.json", "predictions.csv"}
    report_test(replace(report, shown=np.array([3])), tmp_path, RunLog(tmp_path))
    maps = {"maps/00003_label-3.npz", *(f"maps/{stage}/00003_label-3.png" for stage in ("input", *model.declaration))}
    drawn = {f"figures/{name}.png" for name in ALWAYS | DECIDING}
    assert files_in(tmp_path) == {"results.json", "predictions.csv"} | drawn | maps


def test_the_raster_shows_the_first_image_of_each_class(make_report, latencies, monkeypatch):
    drawn = {}

    def note(maps, classes, decisions, *more):
        drawn.update(maps=maps, classes=classes, decisions=decisions)

    monkeypatch.setattr(figures, "draw_raster", note)
    labels = np.array([7, 1, 7, 1, 1, 3, *[3] * 6])
    model = build_model("mozafari2018")
    list(report.raster(replace(make_report(model), labels=labels), "Raster"))
    assert drawn["classes"][1] == [1, 3, 7]
    assert drawn["decisions"][-1] == model.predict(latencies[[1, 5, 0]]).tolist()
    assert len(drawn["decisions"]) == 15
    assert list(drawn["maps"]) == ["input", "s1", "s2"]  # pooling repeats spikes, and s3 has no times
    np.testing.assert_array_equal(drawn["maps"]["input"], latencies[[1, 5, 0]])
    np.testing.assert_array_equal(drawn["maps"]["s1"], dict(model.walk(latencies[[1, 5, 0]]))["s1"])


def test_errors_of_all_classes_are_shown_in_proportion(make_report, monkeypatch):
    labels = np.repeat([0, 1, 2], [60, 0, 20])
    evaluation = SimpleNamespace(labels=labels, predictions=np.where(np.arange(80) % 7, 1, -1))
    monkeypatch.setattr(figures, "draw_errors", lambda *drawn: drawn)
    shown = make_report(build_model("mozafari2018"), evaluations={("test", ""): evaluation})
    files = [f"{index}.png" for index in range(80)]
    shown = replace(shown, images=np.zeros((80, 28, 28), np.uint8), names=files)
    ((_, (_, indices, of_shown, *_, names)),) = report.errors(shown, "")
    assert np.bincount(of_shown).tolist() == [30, 0, 10]
    assert names == [files[index] for index in indices]


def test_weights_of_whole_maps_are_no_filters(make_report):
    report_on_control = make_report(build_model("control2026"))
    assert list(report.filters(report_on_control, "Filters of")) == []


def test_a_figure_is_one_function(tmp_path, make_report, features_only, monkeypatch):
    monkeypatch.setattr(report, "FIGURES", {})

    @report.figure("Something new of")
    def something(report, caption):
        for label in ("s1", "s2"):
            yield label, Figure(figsize=(2, 1))

    assert {"something": something} == report.FIGURES
    draw_figures(tmp_path, make_report(features_only))
    assert files_in(tmp_path) == {"something_s1.png", "something_s2.png"}
    with Image.open(tmp_path / "something_s1.png") as picture:
        assert picture.size == (2 * figures.DPI, figures.DPI)


def test_a_figure_that_cannot_be_drawn_costs_one_line(tmp_path, make_report, features_only, monkeypatch):
    drawn = {"spike_times": report.FIGURES["spike_times"]}
    monkeypatch.setattr(report, "FIGURES", {})

    @report.figure("Broken")
    def broken(report, caption):
        raise ValueError("two\nlines")

    report.FIGURES.update(drawn)
    (line,) = draw_figures(tmp_path, make_report(features_only))
    assert "broken" in line
    assert "\n" not in line
    assert files_in(tmp_path) == {"spike_times.png"}


def test_spike_times_count_neurons_only(latencies):
    """The padding of smaller branches is not silent neurons, and the decision stage has no times."""
    times = count_spike_times(build_model("inception2024"), latencies)
    assert list(times) == ["input", "s1", "c1", "s2", "c2", "s3", "c3"]
    np.testing.assert_allclose(times["input"], np.bincount(latencies.numpy().ravel(), minlength=16) / 12)
    assert times["s3"].sum() == pytest.approx(100 * (7 * 7 + 5 * 5 + 3 * 3))


def test_spike_times_are_of_images_of_all_classes(latencies, monkeypatch):
    monkeypatch.setattr("report.report.TIMED_IMAGES", 4)
    sorted_images = latencies.new_full((24, *latencies.shape[1:]), 15)
    sorted_images[12:] = latencies  # after silent ones
    assert count_spike_times(build_model("mozafari2018"), sorted_images)["input"][:15].sum()
