"""Recordings of events in every command, and what is refused for them."""

import json
from pathlib import Path

import numpy as np
import pytest
from support.command import MACHINE, start, start_evaluation
from support.refusals import assert_refuses, refuses
from support.run_folders import assert_read_alike
from support.simulated_events import write_part

import evaluate
import train
from engine.augmentation import Augmentation
from engine.rules import RSTDP, STDP
from engine.stages import Pool, SpikingConv
from imagesets import load
from imagesets.recordings import Recordings
from models import MODELS
from network_trainer import NetworkTrainer
from report import report
from training.checkpoint import load_checkpoint
from training.trained import load_network


class Small(NetworkTrainer):
    """A network that learns in no time, with moved copies."""

    name, aliases, epochs, augmentation = "small", (), (1, 1), Augmentation(copies=2, turn=5)

    def build(self, num_classes):
        return {
            "s1": SpikingConv(4, 5, threshold=5, rule=STDP(winners=2, radius=1)),
            "c1": Pool(8),
            "s2": SpikingConv(num_classes, 3, rule=RSTDP()),
        }


@pytest.fixture(scope="module")
def simulated(tmp_path_factory):
    """Simulated events: 20 training and 6 test recordings of two classes."""
    root, rng = tmp_path_factory.mktemp("data") / "my events", np.random.default_rng(0)
    for seed, (part, count) in enumerate((("Train", 20), ("Test", 6))):
        images = np.zeros((count, 28, 28), np.uint8)
        for image in images[::2]:  # class 0: a box
            y, x = rng.integers(6, 10, 2)
            image[y : y + 12, x : x + 10] = 255
        images[1::2, 4:24, 12:16] = 255  # class 1: a bar
        write_part(root / part, images, np.arange(count) % 2, seed)
    return root


@pytest.fixture
def small(monkeypatch):
    monkeypatch.setitem(MODELS, "small", Small)


def test_a_run_its_resume_and_its_evaluation(simulated, small, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(report, "FIGURES", {"errors": report.FIGURES["errors"]})
    words = f"--model small --dataset 'events:{simulated}' --val-split 4 {MACHINE}"
    assert start(f"{words} --map-index 0 --name run", tmp_path) == 0
    run = tmp_path / "run"
    log = (run / "log.txt").read_text()
    assert "34×34" in log
    assert "copies=2" in log  # are off
    assert "6 test recordings" in log
    page = (run / "index.html").read_text()
    assert "6 recordings" in page
    assert "IMAGE.png" not in page
    content = load_checkpoint(run / "checkpoints" / "best.safetensors")
    assert (content.in_channels, [*content.encoding], content.image_size) == (10, ["events"], (34, 34))
    assert content.record.flags["augment"] == "none"
    assert (run / "figures" / "errors.png").is_file()
    assert '"shape": [34, 34]' in (run / "index.html").read_text()  # the picture of the counts

    data = load(f"events:{simulated}")
    classes, _ = assert_read_alike(run, tmp_path, data.test_images, data.test_labels)
    capsys.readouterr()
    picture = Path(__file__).parent.parent.parent / "images" / "example-digit.png"
    for wrong, about in (("--noise gaussian=0.1", "--noise"), ("--dataset digits", "digits")):
        assert_refuses(evaluate.main, f"{run} {wrong} {MACHINE}", about, capsys)
    assert_refuses(evaluate.main, f"{run} --predict {picture} {MACHINE}", ".bin", capsys)
    assert evaluate.main([str(run), "--predict", str(simulated / "Test" / "0"), "--json", *MACHINE.split()]) == 0
    found = [entry["class"] for entry in json.loads(capsys.readouterr().out)]
    expected = classes[data.test_labels == 0].tolist()
    assert found == [None if decision < 0 else data.class_names[decision] for decision in expected]
    assert load_network(run).classify(data.test_images.paths[0])[0] == classes[0]
    words = f"{run} --save-features c1 --predict '{simulated / 'Test' / '0'}' --name features {MACHINE}"
    assert start_evaluation(words, tmp_path) == 0
    assert "files 3" in capsys.readouterr().out
    with np.load(tmp_path / "features" / "features" / "files.npz") as arrays:
        recordings = data.test_images[np.flatnonzero(data.test_labels == 0)]
        features = load_network(run).features(recordings, "c1")
        assert np.array_equal(load_network(run).model.time_steps - arrays["latencies"], features)
    with refuses():
        load_network(run).classify(Recordings(data.test_images.paths, None, (20, 20)))

    path = simulated / "Train" / "0" / "00000.bin"
    before = path.read_bytes()
    try:
        path.write_bytes(before[:-1] + bytes([before[-1] ^ 1]))
        assert_refuses(train.main, f"--resume {run} --epochs 1 2", content.record.fingerprint, capsys)
    finally:
        path.write_bytes(before)
    assert start(f"--resume {run} --epochs 1 2 --no-figures --no-references", tmp_path) == 0


@pytest.mark.parametrize(
    ("words", "about"), [
        ("--augment copies=2 turn=5", "--augment"), ("--encoder s1c1", "s1c1"), ("--image-size 20 20", ".bin"),
        ("--dataset digits --val-split 0.1 --encoder events", "encoder events"),
    ],
)  # fmt: skip
def test_what_is_refused(simulated, small, tmp_path, capsys, words, about):
    words = f"--model small --dataset 'events:{simulated}' --output {tmp_path} --val-split 4 {MACHINE} {words}"
    assert_refuses(train.main, words, about, capsys)
    assert not list(tmp_path.iterdir())
