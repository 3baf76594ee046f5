"""Using a trained network: ``--evaluate`` and ``--predict``."""

import shutil

import numpy as np
import pytest
from PIL import Image
from support.command import DIGITS, contents, read_csv, results, start
from support.run_folders import curves

import datasets
import train
from s1c1 import S1C1
from training.checkpoint import load_checkpoint, rebuild_network
from training.run import wanted_maps
from training.settings import Settings


@pytest.mark.parametrize("place", ["", "checkpoints/best.safetensors"])
def test_evaluating_gives_the_numbers_of_the_run(place, trained, tmp_path, undrawn, capsys):
    before = contents(trained)
    for _ in range(2):
        assert start(f"--evaluate {trained / place} --device cpu --threads 1", tmp_path) == 0
    out = capsys.readouterr().out
    assert "mozafari2018 on digits, test images:" in out
    assert "stage  spikes per image  synaptic additions per image\ninput" in out
    first, second = tmp_path.iterdir()
    for folder in first, second:
        assert results(folder)["test"] == results(trained)["test"]["best"]
        assert results(folder)["activity"] == results(trained)["activity"]
        assert (folder / "predictions.csv").read_text() == (trained / "predictions.csv").read_text()
    assert contents(trained) == before


def test_an_evaluation_in_tensorboard(trained, tmp_path, undrawn):
    """Goes to the events of the run, behind its end; the last one counts. That of a lone checkpoint has its own."""
    run, alone = tmp_path / "run", tmp_path / "lone.safetensors"
    shutil.copytree(trained, run)
    shutil.copy(trained / "checkpoints" / "best.safetensors", alone)
    best, rows = results(run)["test"]["best"], len(read_csv(run / "metrics.csv"))
    flags = "--tensorboard --device cpu --threads 1"
    for more in ("", "", "--dataset mnist --dry-run"):
        assert start(f"--evaluate {run} {flags} {more}", tmp_path / "evaluations") == 0
    shown = {tag for (_, tag), points in curves(run).items() if points}
    scores = "accuracy", "loss", "silent", "f1_macro", "roc_auc_macro"
    assert shown == {f"test_mnist/{part}" for part in scores}
    assert start(f"--evaluate {run} {flags}", tmp_path / "evaluations") == 0
    found = curves(run)
    assert found[".", "test/accuracy"] == {rows + 2: pytest.approx(best["accuracy"])}
    assert start(f"--evaluate {alone} {flags} --name alone", tmp_path / "evaluations") == 0
    found = curves(tmp_path / "evaluations" / "alone")
    assert found[".", "test/loss"] == {2: pytest.approx(best["loss"])}


def test_an_alias_is_its_network(tmp_path, undrawn):
    words = f"--model deepr2024_2 {DIGITS} --dry-run"
    assert start(words, tmp_path) == 0
    assert start("--evaluate latest --model deepr2024_2 --dry-run --device cpu --threads 1", tmp_path) == 0


def test_maps_of_chosen_and_of_named_images():
    labels = datasets.load("digits").test_labels
    first, second = np.flatnonzero(labels == 1)[:2].tolist()
    indices = wanted_maps(Settings(model="mozafari2018", map_index=(second, first), save_maps=1), labels)
    assert indices[:2].tolist() == [second, first]
    assert len(set(indices.tolist())) == len(indices) == 11  # and the first one of each of nine other classes
    assert sorted(labels[indices[1:]].tolist()) == list(range(10))


def test_evaluating_on_another_data_set(trained, tmp_path, undrawn):
    assert start(f"--evaluate {trained} --dataset mnist --dry-run --device cpu", tmp_path) == 0
    (folder,) = tmp_path.iterdir()
    assert results(folder)["test"]["count"] == 100
    assert len(read_csv(folder / "predictions.csv")) == 100


def predictions(files, network, capsys):
    """What is printed for each file: (class, note)."""
    assert (
        train.main(["--predict", *map(str, files), "--evaluate", str(network), "--device", "cpu", "--threads", "1"])
        == 0
    )
    out = capsys.readouterr().out.splitlines()
    assert [line.split(": ")[0] for line in out] == [str(file) for file in files]
    parts = [line.split(": ", 1)[1].partition("  ") for line in out]
    return [name for name, _, _ in parts], [note for _, _, note in parts]


def alike(names, others):
    return np.mean([a == b for a, b in zip(names, others, strict=True)])


def test_predicting_image_files(trained, tmp_path, capsys):
    """An exact image file is decided as the test image is; one that had to be adapted comes with a note."""
    images, labels = datasets.load("digits").test_images[:20], datasets.load("digits").test_labels[:20]
    model = rebuild_network(load_checkpoint(trained / "checkpoints" / "best.safetensors"))
    decided = [str(label) for label in model.predict(S1C1().encode(images)).tolist()]
    assert len(set(decided)) > 4
    assert alike(decided, map(str, labels)) > 0.4

    def write(kind, change):
        files = [tmp_path / f"{index:02}-{kind}.png" for index in range(len(images))]
        for file, image in zip(files, images, strict=True):
            change(Image.fromarray(image)).save(file)
        return predictions(files, trained, capsys)

    assert write("exact", lambda picture: picture) == (decided, [""] * 20)
    negative = write("negative", lambda picture: Image.fromarray(255 - np.asarray(picture)))
    centred = "contrast stretched, scaled from {0}×{0} and centred as MNIST's digits)"
    assert alike(negative[0], decided) > 0.7
    assert negative[1] == ["(inverted: it was dark on light, " + centred.format(28)] * 20
    assert write("colour", lambda picture: picture.convert("RGB")) == (decided, ["(made grey)"] * 20)
    assert write("opaque", lambda picture: picture.convert("RGBA")) == (decided, ["(made grey)"] * 20)
    written = [str(path) for path in sorted(tmp_path.glob("*-negative.png"))]
    assert train.main(["--predict", *written, "--raw", "--evaluate", str(trained), "--device", "cpu"]) == 0
    raw = capsys.readouterr().out
    assert "centred" not in raw
    assert alike([line.rsplit(" ")[-1] for line in raw.splitlines()], decided) < 1
    names, notes = write("large", lambda picture: picture.resize((280, 280), Image.Resampling.NEAREST))
    assert notes == ["(" + centred.format(280)] * 20
    assert alike(names, decided) > 0.7


def test_predicting_silence(trained, tmp_path, capsys):
    Image.new("L", (28, 28)).save(tmp_path / "black.png")
    names, _ = predictions([tmp_path / "black.png"], trained, capsys)
    assert names == ["silent: no neuron of the last stage fired"]
