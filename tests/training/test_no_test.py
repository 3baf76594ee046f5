"""``--no-test``: settings are chosen on the validation images, and the test images stay unread."""

import pytest
from support.command import SMALL, read_csv, results, start, start_evaluation
from support.refusals import assert_refuses

import datasets
import report.page
import train
from report.sweep_report import read_run

WORDS = f"{SMALL} --epochs 0 0 2"


@pytest.fixture
def unreadable(monkeypatch):
    """A data set that loses its test images when it is loaded: to read them is an error."""
    load = datasets.load

    def without_test_images(*args):
        data = load(*args)
        assert data.fingerprint  # of all images, and kept
        object.__setattr__(data, "test_images", None)  # it is frozen
        return data

    monkeypatch.setattr(datasets, "load", without_test_images)


def test_the_test_images_are_not_read(tmp_path, unreadable, monkeypatch, undrawn, capsys):
    words = f"{WORDS} --no-test --name one --map-index 3 --tensorboard --save-features c1 --readout svm"
    assert start(words, tmp_path) == 0
    out, run = capsys.readouterr().out, tmp_path / "one"
    found = results(run)
    assert "test" not in found
    assert (found["test_reads"], "test" in found["images"]) == (0, False)
    assert found["validation"].keys() == {"best", "last"}
    assert "test " not in out
    assert f"validation best  accuracy {100 * found['best_epoch']['accuracy']:.2f} %, wrong" in out
    held_out = found["images"]["validation"]
    assert found["readout"]["validation"]["count"] == held_out
    assert "svm on c1" in out
    assert found["readout"]["validation"]["accuracy"] > found["validation"]["best"]["accuracy"] + 0.1
    assert sorted(file.stem for file in run.glob("features/*.npz")) == ["train", "validation"]
    assert len(read_csv(run / "predictions.csv")) == found["validation"]["best"]["count"] == held_out
    assert len(list(run.glob("maps/end/*.npz"))) == 1
    page = (run / "index.html").read_text()
    assert "validation, last epoch" in page
    assert "means over the validation images" in page
    assert f"validation {100 * found['best_epoch']['accuracy']:.2f} %" in read_run(run).describe()


def test_the_weights_are_those_of_a_run_that_tests(tmp_path, undrawn):
    for name, more in (("one", ""), ("two", "--no-test")):
        assert start(f"{WORDS} --name {name} {more}", tmp_path) == 0
    one, two = (results(tmp_path / name) for name in ("one", "two"))
    assert one["best_epoch"] == two["best_epoch"]
    assert one["validation"]["best"] == two["validation"]["best"]
    # tested later, and once
    assert start_evaluation(f"{tmp_path / 'two'} --device cpu --threads 1 --no-figures --name three", tmp_path) == 0
    assert results(tmp_path / "three")["test"]["accuracy"] == one["test"]["best"]["accuracy"]


def test_the_titles_name_the_images(monkeypatch, tmp_path):
    titles = []
    monkeypatch.setattr("report.figures.draw_errors", lambda *args: titles.append(args[5]) or ())
    monkeypatch.setattr("report.figures.save", lambda *_: None)
    monkeypatch.setattr(report.page, "read_figures", lambda *_: [])
    assert start(f"{WORDS} --no-test --name one", tmp_path) == 0
    assert f"{results(tmp_path / 'one')['images']['validation']} validation images" in titles[0]


@pytest.mark.parametrize(
    ("words", "about"),
    [
        (f"{WORDS} --no-test --val-split 0", "--val-split"),
        ("--model kheradpisheh2018 --dataset digits --no-test --readout none", "--no-test"),
        ("--model kheradpisheh2018 --dataset digits --no-test --val-split 0", "--no-test"),
        (f"{WORDS} --no-test --map-index 100000", "--map-index"),
    ],
)
def test_refused(words, about, tmp_path, capsys):
    assert_refuses(train.main, f"{words} --output {tmp_path}", about, capsys)
    assert not list(tmp_path.iterdir())
