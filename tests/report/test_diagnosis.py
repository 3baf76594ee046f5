"""What a run prints about its training; none of the published networks on MNIST gets a text."""

import html
import json
import math
import re
from collections import defaultdict

import pytest
import torch
from support.command import SMALL, TRAINED, dont_draw, results, start
from support.own_rules import Soft
from support.run_folders import only_run

from engine.encoder import ENCODERS
from engine.rules import STDP, Additive
from imagesets import load
from models import build_model
from network_trainer import LatencyDataset
from report.diagnosis import Diagnosis, compare_splits
from report.evaluation import Accuracy
from s1c1 import S1C1
from training.trained import load_network
from utils import ROOT

EPOCH = re.compile(
    r"^(?P<phase>s\d) +STDP +epoch +(?P<epoch>\d+)/(?P<epochs>\d+) +convergence (?P<convergence>[^,]+), "
    r"(?P<winners>\S+) winners per image(, (?P<dead>\d+) features never won)?",
    re.MULTILINE,
)
LOGS = {
    name: sorted((ROOT / "results" / "runs").glob(f"{name}-*.log"))
    for name in ("mozafari2018", "deep2024", "deepr2024", "inception2024", "majority2024", "multiscale2026")
}


def diagnose(model, latencies, encoder="s1c1"):
    labels = torch.arange(len(latencies)) % 10
    return Diagnosis(model, ENCODERS[encoder](), LatencyDataset(latencies, labels))


def row_of(phase, dead=0, convergence=0.0):
    values = {"train_accuracy": 0.53, "val_accuracy": 0.46, "val_silent": 0.0}
    return {"phase": phase.name, "epoch": 2, "dead_features": dead, "convergence": convergence, **values}


@pytest.mark.parametrize("name", LOGS)
def test_the_committed_runs_on_mnist_have_learned(name):
    """By their dead features in results/runs/*.log, after the first epoch of each phase already, and convergence."""
    model, counts = build_model(name), defaultdict(int)
    diagnosis = diagnose(model, torch.zeros(2, 6, 28, 28, dtype=torch.uint8))
    phases = {phase.name: phase for phase in model.phases}
    assert LOGS[name]
    for log in LOGS[name]:
        for found in EPOCH.finditer(log.read_text()):
            phase, is_last = phases[found["phase"]], found["epoch"] == found["epochs"]
            row = row_of(phase, int(found["dead"] or 0), is_last * float(found["convergence"]))
            assert [*diagnosis.diagnose_features(phase, row)] == [], log
            counts[log] += 1
    assert min(counts.values()) >= 6


@pytest.mark.parametrize("name", ["mozafari2018", "deep2024", "multiscale2026"])
def test_a_trained_network_of_the_repository_gets_no_text(name):
    network, data = load_network(ROOT / "results" / "checkpoints" / f"{name}.safetensors"), load("mnist")
    diagnosis = diagnose(network.model, network.encoder.encode(data.train_images[:100]))
    for phase in network.model.phases:
        assert [*diagnosis.diagnose(phase, row_of(phase))] == []


def test_silent_stages_are_named_with_the_potentials_that_they_reach():
    network, data = load_network(TRAINED), load("mnist")
    model, phases = network.model, network.model.phases
    diagnosis = diagnose(model, network.encoder.encode(data.train_images[:100]))
    model.stages["s2"].threshold = 40
    (text,) = diagnosis.diagnose(phases[1], row_of(phases[1], dead=100))
    found = re.search(r"s2 is silent .* reach (\S+), .* (\S+); try --set s2.threshold=(\S+)$", text)
    reached, threshold, lower = found.groups()
    assert 10 < float(reached) < float(threshold) * 1.5  # 10 is the declared threshold
    assert float(threshold) == 40
    assert 10 < float(lower) < 14


def test_a_high_threshold_below_a_silent_stage_is_named():
    network, data = load_network(TRAINED), load("mnist")
    model, phases = network.model, network.model.phases
    diagnosis = diagnose(model, network.encoder.encode(data.train_images[:100]))
    model.stages["s1"].threshold = 24  # it is silent for few images, but spikes rarely
    assert not any("s1" in text for text in diagnosis.diagnose(phases[0], row_of(phases[0])))
    (text,) = diagnosis.diagnose(phases[1], row_of(phases[1]))
    (lower,) = re.findall(r"s2 is silent .*; try --set s1.threshold=(\S+)$", text)
    assert 10 < float(lower) < 20


def test_the_advice_for_a_silent_branch_is_accepted():
    model = build_model("inception2024", overrides={"s3.threshold": 1e6})
    diagnosis = diagnose(model, torch.zeros(9, 6, 28, 28, dtype=torch.uint8))
    phase = model.phases[2]
    texts = [*diagnosis.diagnose(phase, row_of(phase))]
    assert len(texts) == 3
    for text in texts:
        (path, value) = re.findall(r"try --set (\S+)=(\S+)$", text)[0]
        build_model("inception2024", overrides={path: float(value)})


def test_features_that_never_won_are_named():
    diagnosis = diagnose(build_model("mozafari2018"), torch.zeros(9, 6, 28, 28, dtype=torch.uint8))
    first = diagnosis.model.phases[0]
    (text,) = diagnosis.diagnose_features(first, row_of(first, dead=12))
    assert "12 of 30" in text


@pytest.mark.parametrize(
    ("stabilize", "converge", "epoch", "advised"),
    [
        (True, 0, 2, "--converge 0.01"),
        (True, 0, 19, "--converge 0.01"),
        (True, 0.01, 2, None),
        (False, 0, 2, None),
        (True, 0, 20, "--epochs 2 200 680"),  # --converge would not train it longer
        (True, 0.01, 20, "--epochs 2 200 680"),
    ],
)
def test_stdp_that_has_hardly_learned_is_named_with_the_flag(stabilize, converge, epoch, advised):
    model = build_model("mozafari2018", overrides={"s2.rule.stabilize": stabilize})
    diagnosis = diagnose(model, torch.zeros(9, 6, 28, 28, dtype=torch.uint8))
    diagnosis.converge = converge
    phase = diagnosis.model.phases[1]
    row = row_of(phase, convergence=0.2) | {"epoch": epoch}
    texts = [*diagnosis.diagnose_features(phase, row)]
    assert [text.partition(": try ")[2] for text in texts] == [advised] * bool(advised)
    assert [*diagnosis.diagnose_features(phase, row | {"convergence": 0.04})] == []


class Quartic(Additive):
    """Weights stop at both bounds, by an expression that is not the stabilizer."""

    def change(self, w, rate):
        return rate * ((w - self.lower) * (self.upper - w)) * ((w - self.lower) * (self.upper - w))


@pytest.mark.parametrize(("kind", "advised"), [(Quartic, 1), (Soft, 0)])
def test_a_rule_of_a_user_that_has_hardly_learned_is_named_if_its_weights_stop_at_the_bounds(kind, advised):
    own = type("Own", (STDP,), {"plasticity": lambda self, number=float: kind(*map(number, self.bounds))})
    diagnosis = diagnose(build_model("mozafari2018"), torch.zeros(9, 6, 28, 28, dtype=torch.uint8))
    first = diagnosis.model.phases[0]
    first.rules["s1"] = own(winners=5, radius=3)
    texts = [*diagnosis.diagnose_features(first, row_of(first, convergence=0.2))]
    assert ["--converge 0.01" in text for text in texts] == [True] * advised


@pytest.mark.parametrize(("encoder", "advice"), [("s1c1", ""), ("intensity", "--encoder s1c1")])
def test_chance_and_too_many_spikes_are_named_with_the_usual_encoder(encoder, advice):
    adapting = {"s1.rule.target": 0.75, "s1.threshold": 0.5}
    model = build_model("mozafari2018", overrides=adapting)
    diagnosis = diagnose(model, torch.zeros(9, 6, 28, 28, dtype=torch.uint8), encoder)
    often = [*diagnosis.diagnose(model.phases[0], row_of(model.phases[0]))]
    assert [advice in text for text in often] == [True] * bool(advice)
    last = model.phases[-1]
    (near,) = diagnosis.diagnose(last, row_of(last) | {"val_accuracy": 0.18})
    assert "18 %" in near
    assert near.endswith(advice or "chance")
    (silent,) = diagnosis.diagnose(last, row_of(last) | {"val_accuracy": 0.0, "val_silent": 0.9})
    assert "90 %" in silent


@pytest.mark.parametrize(("border", "encoder", "count"), [(65, "s1c1", 1), (64, "s1c1", 0), (200, "intensity", 0)])
def test_light_borders_are_named_with_the_flag_of_s1c1(border, encoder, count):
    diagnosis = diagnose(build_model("mozafari2018"), torch.zeros(9, 6, 28, 28, dtype=torch.uint8), encoder)
    texts = [*diagnosis.diagnose_border(border)]
    assert ["--set encoder.border=edge" in text for text in texts] == [True] * count
    diagnosis.encoder = S1C1(border="edge")
    assert [*diagnosis.diagnose_border(border)] == []


@pytest.mark.parametrize(
    ("validation", "test", "count"),
    [
        ((0.942, 138), (0.883, 402), 1),  # by hand: 130 and 355 images, 2 · sqrt(2.15² + 1.61²) = 5.4 points
        ((0.942, 138), (0.89, 402), 0),
        ((0.942, 1380), (0.915, 4020), 0),  # 2.7 points are less than 3
        ((0.942, 1380), (0.91, 4020), 1),
        ((0.9, 138), (1.0, 402), 0),
    ],
)
def test_a_test_accuracy_below_that_of_the_validation_is_named(validation, test, count):
    assert len([*compare_splits(Accuracy(*validation), Accuracy(*test))]) == count


def test_a_few_images_that_are_all_correct_have_an_error():
    assert Accuracy(1.0, 12).error == pytest.approx(math.sqrt(14 / 16 * 2 / 16 / 16))
    assert Accuracy(0.5, 96).error == pytest.approx(0.05)


@pytest.mark.parametrize("name", [*LOGS, "deepr2024_greedy", "mozafari2018_margin"])
def test_the_test_accuracy_of_the_committed_runs_on_mnist_is_not_below(name):
    runs = {path: json.loads(path.read_text()) for path in (ROOT / "results" / "runs").glob(f"{name}-*.json")}
    validated = {path: scores for path, scores in runs.items() if "fashion" not in path.name and scores["best_epoch"]}
    assert validated
    for path, scores in validated.items():
        best = [scores[split]["best"] for split in ("validation", "test")]
        assert [*compare_splits(*(Accuracy(each["accuracy"], each["count"]) for each in best))] == [], path


def test_a_run_prints_and_saves_its_diagnosis(tmp_path, monkeypatch, capsys):
    dont_draw(monkeypatch)
    assert start(f"{SMALL} --epochs 1 0 1 --set s1.threshold=1e5", tmp_path) == 0
    folder = only_run(tmp_path)
    texts, page = results(folder)["diagnosis"], (folder / "index.html").read_text()
    printed = (folder / "log.txt").read_text()
    assert capsys.readouterr().out == printed
    assert any(text.startswith("s1 is silent") for text in texts)
    assert re.search(r"nearest neighbour [1-9].*, linear classifier [1-9].*; the network reaches \d", texts[-1])
    assert "try" not in texts[-1]  # near chance
    assert start(f"{SMALL} --epochs 0 0 1 --no-figures --name plain", tmp_path) == 0
    assert "linear" not in (tmp_path / "plain" / "log.txt").read_text()
    assert not any(text.startswith("s2 ") for text in texts)
    for text in texts:
        assert text in printed
        assert text in html.unescape(re.sub(r"</?span[^>]*>", "", page))
