"""evaluate.py RUN RUN …: each network classifies the same images alone, and all together."""

import json

import numpy as np
import pytest
import torch
from PIL import Image
from support.command import FEW_DIGITS, MACHINE, read_csv, results, start_evaluation
from support.refusals import assert_refuses, refuses
from support.run_folders import files_in

import evaluate
import imagesets
from encoders.intensity import Intensity
from engine.decision import decide_together
from models import build_model
from training.trained import load_network, save_network
from utils import ROOT

NAMES = tuple("0123456789")


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
    """Equal sums; a silent network adds nothing; a score below 0 is 0; all are silent."""
    one = torch.tensor([0, 1, 0, -1]), torch.tensor([[4.0, 2, 0], [1, 2, 0], [3, -9, 0], [1, 2, 3]])
    other = torch.tensor([1, -1, 1, -1]), torch.tensor([[10.0, 20, 0], [9, 0, 0], [1, 4, 2], [3, 2, 1]])
    decisions, scores = decide_together([one, other])
    assert scores.tolist() == [[1.5, 1.5, 0], [0.5, 1, 0], [1.25, 1, 0.5], [0, 0, 0]]
    assert decisions.tolist() == [0, 1, 0, -1]


def test_a_network_with_a_larger_scale_has_no_larger_vote():
    one = torch.tensor([0]), torch.tensor([[1.0, 0.75]])
    other = torch.tensor([1]), torch.tensor([[500.0, 1000.0]])
    decisions, scores = decide_together([one, other])
    assert (decisions.tolist(), scores.tolist()) == ([1], [[1.5, 1.75]])


def test_the_folder_of_a_test(trained, save, tmp_path, capsys):
    """A member on another encoder; each alone has its own accuracy; the page and the figures are of all together."""
    other = save("other", encoder=Intensity())
    words = f"--dataset {FEW_DIGITS} {MACHINE}"
    assert start_evaluation(f"{trained} {other} {words} --name both", tmp_path) == 0
    out = capsys.readouterr().out
    folder = tmp_path / "both"
    drawn = {f"figures/{name}.png" for name in ("confusion_matrix", "errors", "roc_curves")}
    texts = {"args.json", "index.html", "log.txt", "predictions.csv", "results.json", "summary.txt"}
    assert files_in(folder) == drawn | texts
    found = results(folder)
    paths = [str(trained / "checkpoints" / "best.safetensors"), str(other)]
    assert found["checkpoints"] == paths
    for number, path in enumerate(paths):
        assert start_evaluation(f"{path} {words} --no-figures --name alone{number}", tmp_path) == 0
        alone = results(tmp_path / f"alone{number}")["test"]
        assert found["networks"][number]["confusion_matrix"] == alone["confusion_matrix"]
        assert path in out
        assert path in (folder / "index.html").read_text()
    assert found["networks"][0]["accuracy"] > found["networks"][1]["accuracy"]
    rows = read_csv(folder / "predictions.csv")
    correct = [row["label"] == row["prediction"] for row in rows]
    assert np.mean(correct) == pytest.approx(found["test"]["accuracy"])
    assert [*found["differences"]] == ["2 - 1", "together - 1", "together - 2"]
    for name, row in found["differences"].items():
        assert row["difference"] == pytest.approx((row["gained"] - row["lost"]) / len(rows))
        assert f"{name}: {100 * row['difference']:+.2f} ±" in out


def test_the_decisions_of_networks_loaded_together(trained, save, tmp_path, capsys):
    """Those of the command; of one image those of it in a batch; -1 if all are silent."""
    other = save("other", encoder=Intensity())
    data = imagesets.load(str(FEW_DIGITS))
    words = f"{trained} {other} --dataset {FEW_DIGITS} {MACHINE} --no-figures --name both"
    assert start_evaluation(words, tmp_path) == 0
    network = load_network([trained, other])
    classes, scores = network.classify(data.test_images)
    decided = [row["prediction"] for row in read_csv(tmp_path / "both" / "predictions.csv")]
    assert [network.class_names[number] for number in classes] == decided
    for index in range(4):
        assert torch.equal(network.classify(data.test_images[index])[1], scores[index : index + 1])
    files = [tmp_path / f"{index}.png" for index in range(4)]
    for file, image in zip(files, data.test_images, strict=False):
        Image.fromarray(image).save(file)
    capsys.readouterr()
    together = predict([trained, other], files, capsys)
    assert [entry["class"] for entry in together] == decided[:4]
    assert predict([trained, other], files[2:3], capsys) == together[2:3]
    assert network.classify(np.zeros((28, 28), np.uint8))[0].tolist() == [-1]


def predict(runs, files, capsys):
    words = [*map(str, runs), "--predict", *map(str, files), "--json", *MACHINE.split()]
    assert evaluate.main(words) == 0
    return json.loads(capsys.readouterr().out)


def test_a_majority_decides_alone_and_adds_its_scores_together(save, tmp_path, undrawn):
    """The majority of the branches is not always the highest score: the labels are its own decisions."""
    majority, other = ROOT / "results" / "checkpoints" / "majority2024.safetensors", save("other")
    images = imagesets.load(str(FEW_DIGITS)).test_images
    own, scores = load_network(majority).classify(images)
    assert (own != scores.argmax(1)).any()
    parts = {"x_train": images, "y_train": np.arange(40) % 10, "x_test": images, "y_test": own.numpy()}
    np.savez(tmp_path / "own.npz", **parts)
    words = f"{majority} {other} --dataset {tmp_path / 'own.npz'} {MACHINE} --no-figures --name both"
    assert start_evaluation(words, tmp_path) == 0
    assert results(tmp_path / "both")["networks"][0]["accuracy"] == 1
    relative = [network.classify(images)[1].double() for network in map(load_network, (majority, other))]
    sums = sum(each / each.amax(1, keepdim=True) for each in relative)
    assert torch.equal(load_network([majority, other]).classify(images)[0], sums.argmax(1))


@pytest.mark.parametrize(
    ("about", "different"),
    [
        ("('9', '8', '7'", {"class_names": NAMES[::-1]}),
        ("('0', '1', '2')", {"class_names": NAMES[:3]}),
        ("(28, 30)", {"image_size": (28, 30)}),
        ("colour", {"encoder": Intensity(colours=3)}),
    ],
)
def test_networks_that_differ_in_images_or_classes_are_refused(about, different, save, tmp_path, capsys):
    one, other = save("one"), save("other", **different)
    with refuses(about):
        load_network([one, other])
    for words in ("", "--predict nothing.png"):
        assert_refuses(evaluate.main, f"{one} {other} {words} --output {tmp_path / 'out'}", about, capsys)
    assert not (tmp_path / "out").exists()


def test_networks_without_a_decision_or_a_path_are_refused(save):
    with refuses("features.safetensors"):
        load_network([save("one"), save("features", "kheradpisheh2018")])
    with refuses():
        load_network([])


def test_several_networks_have_no_common_stage(save):
    one, other = save("one"), save("other", seed=1)
    network = load_network([one, other])
    image = np.zeros((28, 28), np.uint8)
    for use in (lambda: network.features(image, "s1"), lambda: network.module("s1")):
        with refuses("2 networks"):
            use()
    assert load_network([one]).features(image, "s1").shape[:2] == (1, 30)
