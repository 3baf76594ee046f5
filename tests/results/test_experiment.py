"""The script that measures features with few labels, and into tables."""

import csv

import pytest
from support.command import FEW_DIGITS, MACHINE, results, start
from support.run_folders import only_run

from results.scripts import experiment


@pytest.mark.slow
def test_the_table_is_continued(tmp_path, monkeypatch, capsys):
    """A kind whose row is there is not measured again."""
    table = tmp_path / "controls.tsv"
    words = f"experiment mozafari2018_margin digits --epochs 1 1 1 --images 200 --table {table} --kinds none ones"
    monkeypatch.setattr("sys.argv", words.split())
    experiment.main()
    assert len(capsys.readouterr().out.splitlines()) == 2
    monkeypatch.setattr("sys.argv", [*words.split(), "patch", "STDP"])
    experiment.main()
    assert len(capsys.readouterr().out.splitlines()) == 2
    with open(table, newline="") as file:
        rows = list(csv.DictReader(file, delimiter="\t"))
    assert [row["features"] for row in rows] == ["none", "ones", "patch", "STDP"]
    assert all(0 <= float(row["best"]) <= 100 for row in rows)


@pytest.mark.parametrize(
    ("network", "flags", "kind"),
    [
        (
            "mozafari2018_margin",
            "--epochs 2 2 20 --augment none --set s1.threshold=45 s2.threshold=10 encoder.threshold=50",
            "STDP",
        ),
        ("control2026", "--epochs 4 --augment none --set s1.rule.decay=0.5", "none"),
        ("control2026", "--epochs 4 --augment copies=2 turn=9 shift=2", "none"),
    ],
)
def test_few_labels_are_those_of_train_py(network, flags, kind, tmp_path, monkeypatch, capsys):
    """The same images teach the features and the decision stage, in the same order: equal accuracies, above chance."""
    table = tmp_path / "labels.tsv"
    words = f"experiment {network} {FEW_DIGITS} {flags} --images 0 --labels 30 --test --table {table} --seeds 1"
    monkeypatch.setattr("sys.argv", [*words.split(), "--kinds", kind])
    experiment.main()
    with open(table, newline="") as file:
        (row,) = csv.DictReader(file, delimiter="\t")
    words = f"--model {network} --dataset {FEW_DIGITS} {flags} --labels 30 --val-split 30 --seed 1"
    words += f" --no-references {MACHINE}"
    assert start(words, tmp_path / "runs") == 0
    found = results(only_run(tmp_path / "runs"))
    assert float(row["test"]) == pytest.approx(100 * found["test"]["last"]["accuracy"])
    assert 15 < float(row["test"]) < 90


def test_features_of_the_labelled_images_alone_are_others(tmp_path, monkeypatch, capsys):
    folder = tmp_path / "features"
    words = f"experiment mozafari2018_margin {FEW_DIGITS} --epochs 1 1 1 --images 0 --labels 20 40 --features {folder}"
    monkeypatch.setattr("sys.argv", [*words.split(), "--kinds", "STDP", "labelled"])
    experiment.main()
    assert [path.name for path in folder.iterdir()] == ["mozafari2018_margin-few_digits-seed0.safetensors"]
    activities = [line.rpartition("  ")[2] for line in capsys.readouterr().out.splitlines()]
    assert activities[0] == activities[1]  # learned from all images
    assert len({*activities}) == 3


@pytest.mark.slow
def test_a_support_vector_machine_reads_the_learned_features(tmp_path, monkeypatch, capsys):
    table = tmp_path / "labels.tsv"
    words = f"experiment mozafari2018_margin digits --epochs 1 1 1 --images 300 --labels 50 --test --table {table}"
    monkeypatch.setattr("sys.argv", [*words.split(), "--kinds", experiment.SVM_ON_FEATURES])
    experiment.main()
    with open(table, newline="") as file:
        (row,) = csv.DictReader(file, delimiter="\t")
    assert row["features"] == "SVM on features"
    assert 25 < float(row["test"]) < 100  # chance: 10
