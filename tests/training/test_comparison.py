"""evaluate.py RUN RUN …: each network classifies the same images alone, and all together."""

import numpy as np
import pytest
import torch
from support.command import FEW_DIGITS, MACHINE, read_csv, results, run_evaluate
from support.refusals import assert_refuses
from support.run_folders import events_of, files_in

import evaluate
import imagesets
from encoders.intensity import Intensity
from models import build_model
from training.comparison import decide_together
from training.trained import load_network, save_network
from utils import ROOT

NAMES = tuple("0123456789")
WORDS = f"--dataset {FEW_DIGITS} {MACHINE}"


@pytest.fixture
def save(tmp_path):
    """A function that saves an untrained network, and returns its path."""

    def save_untrained(name, model="mozafari2018", class_names=NAMES, encoder=None, **arguments):
        path = tmp_path / f"{name}.safetensors"
        if encoder is not None:
            arguments |= {"in_channels": encoder.channels, "time_steps": encoder.time_steps}
        network = build_model(model, num_classes=len(class_names), **arguments)
        save_network(path, network, class_names, encoder)
        return path

    return save_untrained


def test_the_rule_by_hand():
    """Equal sums; a silent network adds nothing; a score below 0 is 0; all are silent; a scale is no vote."""
    one = torch.tensor([0, 1, 0, -1, 0]), torch.tensor([[4.0, 2, 0], [1, 2, 0], [3, -9, 0], [1, 2, 3], [4, 3, 0]])
    scores = torch.tensor([[10.0, 20, 0], [9, 0, 0], [1, 4, 2], [3, 2, 1], [500, 1000, 0]])
    decisions, scores = decide_together([one, (torch.tensor([1, -1, 1, -1, 1]), scores)])
    assert scores.tolist() == [[1.5, 1.5, 0], [0.5, 1, 0], [1.25, 1, 0.5], [0, 0, 0], [1.5, 1.75, 0]]
    assert decisions.tolist() == [0, 1, 0, -1, 1]


def test_the_folder_of_a_test(trained, save, tmp_path, capsys):
    """A network on another encoder; each alone has its own accuracy; the predictions are of all together."""
    other = save("other", encoder=Intensity())
    folder = run_evaluate(f"{trained} {other} {WORDS}", tmp_path)
    out = capsys.readouterr().out
    assert files_in(folder) == {"args.json", "log.txt", "predictions.csv", "results.json", "summary.txt"}
    found = results(folder)
    paths = [str(trained / "checkpoints" / "best.safetensors"), str(other)]
    assert found["checkpoints"] == paths
    for number, path in enumerate(paths):
        alone = results(run_evaluate(f"{path} {WORDS} --no-figures", tmp_path))["test"]
        assert found["networks"][number]["confusion_matrix"] == alone["confusion_matrix"]
        assert path in out
    assert found["networks"][0]["accuracy"] > found["networks"][1]["accuracy"]
    rows = read_csv(folder / "predictions.csv")
    correct = [row["label"] == row["prediction"] for row in rows]
    assert np.mean(correct) == pytest.approx(found["test"]["accuracy"])
    assert [*found["differences"]] == ["2 - 1", "together - 1", "together - 2"]
    for name, row in found["differences"].items():
        assert row["difference"] == pytest.approx((row["gained"] - row["lost"]) / len(rows))
        ends = [f"{100 * (row['difference'] + side * row['interval']):+.2f}" for side in (-1, 1)]
        interval = f"{100 * row['difference']:+.2f} points (95 % interval {' to '.join(ends)}), p = "
        assert f"{name}: {interval}" in out
    assert "not about their settings" in found["scope"]
    assert found["scope"] in out


def test_a_majority_decides_alone_and_adds_its_scores_together(save, tmp_path):
    """The majority of the branches is not always the highest score: the labels are its own decisions.

    Scripts for one network also run with several: --no-figures leaves nothing out, because there are none; TensorBoard
    shows the scores of all together.
    """
    majority, other = ROOT / "results" / "checkpoints" / "majority2024.safetensors", save("other")
    images = imagesets.load(str(FEW_DIGITS)).test_images
    own, scores = load_network(majority).classify(images)
    assert (own != scores.argmax(1)).any()
    parts = {"x_train": images, "y_train": np.arange(40) % 10, "x_test": images, "y_test": own}
    np.savez(tmp_path / "own.npz", **parts)
    words = f"{majority} {other} --dataset {tmp_path / 'own.npz'} {MACHINE} --no-figures --tensorboard"
    both = run_evaluate(words, tmp_path)
    assert results(both)["networks"][0]["accuracy"] == 1
    relative = [network.classify(images)[1].astype(np.float64) for network in map(load_network, (majority, other))]
    sums = sum(each / each.max(1, keepdims=True) for each in relative)
    decided = [int(row["prediction"]) for row in read_csv(both / "predictions.csv")]
    assert decided == sums.argmax(1).tolist()
    (point,) = events_of(both)["."].Scalars("test/accuracy")
    assert point.value == pytest.approx(results(both)["test"]["accuracy"])


@pytest.mark.slow
def test_a_network_given_twice_decides_as_alone(save, tmp_path):
    """Scores of first spikes differ by less than float32 can represent."""
    path = save("first", overrides={"s3.threshold": 100})
    folders = [run_evaluate(f"{paths} {WORDS} --no-figures", tmp_path) for paths in (path, f"{path} {path}")]
    alone, twice = map(results, folders)
    alone = alone["test"]
    assert twice["networks"] == [alone, alone]
    assert twice["test"] == alone | {"roc_auc_macro_raw": twice["test"]["roc_auc_macro_raw"]}
    decided = [[row["prediction"] for row in read_csv(folder / "predictions.csv")] for folder in folders]
    assert decided[0] == decided[1]
    assert len({*decided[0]}) > 1


@pytest.mark.parametrize(
    ("about", "different"),
    [
        ("('9', '8', '7'", {"class_names": NAMES[::-1]}),
        ("('0', '1', '2')", {"class_names": NAMES[:3]}),
        ("(28, 30)", {"image_size": (28, 30)}),
        ("colour", {"encoder": Intensity(colours=3)}),
        ("kheradpisheh2018", {"model": "kheradpisheh2018"}),
    ],
)
def test_networks_that_differ_in_images_or_classes_or_do_not_decide_are_refused(about, different, save, tmp_path):
    one, other = save("one"), save("other", **different)
    assert_refuses(evaluate.main, f"{one} {other} --output {tmp_path / 'out'}", about)
