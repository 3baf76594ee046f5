"""What a run prints about its training; none of the published networks on MNIST gets a text."""

import html
import re
from collections import defaultdict

import pytest
import torch
from support.command import SMALL, dont_draw, results, start
from support.run_folders import ROOT, only_run

from datasets import load
from models import build_model
from network_trainer import LatencyDataset
from report.diagnosis import Diagnosis
from training.checkpoint import load_network
from training.settings import read_pairs

EPOCH = re.compile(
    r"^(?P<phase>s\d) +STDP +epoch +(?P<epoch>\d+)/(?P<epochs>\d+) +convergence (?P<convergence>[^,]+), "
    r"(?P<winners>\S+) winners per image(, (?P<dead>\d+) features never won)?",
    re.MULTILINE,
)
LOGS = {
    name: sorted((ROOT / "results").glob(f"{name}-*.log"))
    for name in ("mozafari2018", "deep2024", "deepr2024", "inception2024", "majority2024", "multiscale2026")
}


def diagnose(model, latencies, labels=None, epochs=None, images=None):
    labels = torch.arange(len(latencies)) % 10 if labels is None else labels
    diagnosis = Diagnosis(model, epochs or model.epochs, LatencyDataset(latencies, labels))
    diagnosis.images = images or diagnosis.images
    return diagnosis


def row_of(diagnosis, phase, convergence=1e-5, dead=0, epoch=1):
    row = {"phase": phase.name, "images": diagnosis.images, "epoch": epoch, "convergence": convergence}
    return row | {"dead_features": dead, "train_accuracy": 0.53, "val_accuracy": 0.46}


@pytest.mark.parametrize("name", LOGS)
def test_the_committed_runs_on_mnist_have_learned(name):
    """By their convergence and dead features in results/*.log, after the first epoch of each phase already."""
    model, counts = build_model(name), defaultdict(int)
    diagnosis = diagnose(model, torch.zeros(2, 6, 28, 28, dtype=torch.uint8), images=55_000)
    phases = {phase.name: phase for phase in model.phases}
    assert LOGS[name]
    for log in LOGS[name]:
        for found in EPOCH.finditer(log.read_text()):
            row = row_of(diagnosis, phases[found["phase"]], float(found["convergence"]), int(found["dead"] or 0))
            assert [*diagnosis.diagnose_learning(phases[found["phase"]], row)] == [], log
            counts[log] += 1
    assert min(counts.values()) >= 6


@pytest.mark.parametrize("name", ["mozafari2018", "deepr2024", "multiscale2026"])
def test_suggested_thresholds_fit_the_network(name):
    """In deepr2024, s3 has only a warm-up by STDP: --set would refuse its fields."""
    diagnosis = diagnose(build_model(name), torch.zeros(2, 6, 28, 28, dtype=torch.uint8))
    _, *fields = diagnosis.suggest_adaptive_thresholds().split()
    stages = build_model(name, overrides=read_pairs(fields)).stages
    adapting = {stage for stage, found in stages.items() if any(rule.adapts_thresholds for rule in found.rules)}
    assert {"s1", "s2"} <= adapting
    assert ("s3" in adapting) == (name == "multiscale2026")


@pytest.mark.parametrize("name", ["mozafari2018", "deep2024", "multiscale2026"])
def test_a_trained_network_of_the_repository_gets_no_text(name):
    network, data = load_network(ROOT / "results" / "checkpoints" / f"{name}.safetensors"), load("mnist")
    latencies = network.encoder.encode(data.train_images[:100])
    diagnosis = diagnose(network.model, latencies, torch.from_numpy(data.train_labels[:100]), images=55_000)
    history = [row_of(diagnosis, phase) for phase in network.model.phases]
    assert diagnosis.diagnose_all(history) == []
    fresh = diagnose(build_model(name), latencies, images=55_000)
    assert [*fresh.diagnose_next(fresh.model.phases[0])] == []


def test_stages_that_hardly_learned_or_fire_are_named_with_a_threshold_that_fits():
    network, data = load_network(ROOT / "results" / "checkpoints" / "mozafari2018.safetensors"), load("mnist")
    latencies = network.encoder.encode(data.train_images[:100])
    model, phases = network.model, network.model.phases
    diagnosis = diagnose(model, latencies, epochs=(1, 4, 10), images=1000)

    plan = [*diagnosis.diagnose_plan()]
    assert len(plan) == 1
    assert "--epochs 3 4 680" in plan[0]

    row = row_of(diagnosis, phases[0], convergence=0.21, dead=12, epoch=1)
    learned, dead = diagnosis.diagnose_learning(phases[0], row)
    assert "0.21" in learned
    assert "3,000" in learned
    assert "--epochs 3 4 680" in learned
    assert "12 of 30" in dead
    (text,) = diagnosis.diagnose_learning(phases[0], row_of(diagnosis, phases[0], convergence=0.21, dead=12, epoch=9))
    first = "s1.rule.target=0.75 s1.rule.positions=0.05"
    assert text.endswith(f"try --set {first} s2.threshold=2 s2.rule.target=0.5 s2.rule.positions=0.05")

    model.stages["s2"].threshold = 40
    (text,) = diagnosis.diagnose(phases[1], row_of(diagnosis, phases[1]))
    suggested = re.search(r"--set s2\.threshold=(\S+)$", text)
    assert 4 <= float(suggested[1]) <= 13, text  # 10 is the declared threshold
    model.stages["s2"].threshold = 1.5
    (text,) = diagnosis.diagnose(phases[1], row_of(diagnosis, phases[1]))
    assert "s2.rule.target=0.5" in text

    model.stages["s2"].threshold = 1e5  # far from what would fit, and nothing reaches the decision stage
    (text,) = diagnosis.diagnose(phases[1], row_of(diagnosis, phases[1]))
    assert "s2 is silent" in text
    assert "--set" not in text
    texts = [*diagnosis.diagnose(phases[2], row_of(diagnosis, phases[2]))]
    assert len(texts) == 1
    assert texts[0].startswith("s3 is silent")

    model.stages["s2"].threshold = 10
    model.stages["s3"].weight[20:] = 0
    texts = [*diagnosis.diagnose(phases[2], row_of(diagnosis, phases[2]))]
    assert len(texts) == 1
    assert texts[0].startswith("s3 gives one class")


def test_learning_by_heart_and_few_validation_images_are_named():
    diagnosis = diagnose(build_model("mozafari2018"), torch.zeros(9, 6, 28, 28, dtype=torch.uint8), images=55_000)
    phase = diagnosis.model.phases[2]
    gap = row_of(diagnosis, phase) | {"val_accuracy": 0.26}
    by_heart = [text for text in diagnosis.diagnose(phase, gap) if "53 %" in text and "26 %" in text]
    assert "--set s3.rule=margin" in by_heart[0]
    diagnosis.validation = 100
    (few,) = diagnosis.diagnose_plan()  # the standard error is the square root of 0.9 · 0.1 / 100
    assert "100 validation images" in few
    assert " 3 %" in few


def test_small_and_large_images_and_silent_encoders_are_named():
    diagnosis = diagnose(build_model("mozafari2018"), torch.full((50, 6, 8, 8), 15, dtype=torch.uint8), images=55_000)
    encoder, decision = diagnosis.diagnose_plan()
    assert encoder.startswith("the encoder")
    assert "--image-size" in decision
    diagnosis = diagnose(build_model("mozafari2018"), torch.zeros(9, 6, 64, 64, dtype=torch.uint8), images=55_000)
    (large,) = diagnosis.diagnose_plan()
    assert "--image-size" in large
    diagnosis.events = True
    (large,) = diagnosis.diagnose_plan()
    assert "c2.size" in large


def test_a_run_prints_and_saves_its_diagnosis(tmp_path, monkeypatch, capsys):
    dont_draw(monkeypatch)
    assert start(f"{SMALL} --epochs 1 0 1 --set s1.threshold=1e5", tmp_path) == 0
    folder = only_run(tmp_path)
    texts, page = results(folder)["diagnosis"], (folder / "index.html").read_text()
    printed = (folder / "log.txt").read_text()
    assert capsys.readouterr().out == printed
    assert any(text.startswith("s1 is silent") for text in texts)
    assert any(text.startswith("s3 is silent") for text in texts)
    assert not any(text.startswith("s2 ") for text in texts)
    for text in texts:
        assert text in printed
        assert text in html.unescape(page)
