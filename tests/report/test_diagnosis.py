"""What a run prints about its training; none of the published networks on MNIST gets a text."""

import html
import json
import math
import re
import shlex
from collections import defaultdict
from dataclasses import replace

import numpy as np
import pytest
import torch
from support.command import COMPARED, FEW_DIGITS, TRAINED, dont_draw, read_csv, results, start, start_evaluation
from support.own_rules import Soft
from support.registries import forgetting
from support.run_folders import only_run
from support.tiers import slow_except

import train
from engine.encoder import ENCODERS
from engine.lengths import Lengths
from engine.progress import Row
from engine.rules import STDP, Additive
from imagesets import load
from models import build_model
from network_trainer import LatencyDataset
from report.diagnosis import Diagnosis, compare_splits, join_advice
from report.evaluation import Accuracy, Evaluation, compute_balanced_accuracy
from results.scripts import balanced as balanced_script
from s1c1 import S1C1
from training.advice import replace_flags
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


AT_ONCE = torch.zeros(9, 6, 28, 28, dtype=torch.uint8)  # all spikes at the first time step


def diagnose(model, latencies=AT_ONCE, encoder="s1c1", converge=0.0):
    """The diagnosis of a network that learns from 1,000 images by its own numbers of epochs."""
    labels = torch.arange(len(latencies)) % 10
    lengths = Lengths(model.phases, model.epochs, 1000, converge=converge)
    return Diagnosis(model, ENCODERS[encoder](), LatencyDataset(latencies, labels), lengths)


def diagnose_trained(name):
    """The diagnosis of a trained network of the repository on 100 digits."""
    network = load_network(TRAINED.with_stem(name))
    return diagnose(network.model, network.encoder.encode(load("mnist").train_images[:100]))


def row_of(phase, dead=0, convergence=0.0, epoch=2):
    scores = {"train_accuracy": 0.53, "val_accuracy": 0.46, "val_silent": 0.0}
    values = {"dead_features": dead, "convergence": convergence, **scores}
    return Row(step=2, phase=phase.name, rule="stdp", epoch=epoch, images=1, **values)


@pytest.mark.parametrize("name", LOGS)
def test_the_committed_runs_on_mnist_have_learned(name):
    """By their dead features in results/runs/*.log, after the first epoch of each phase already, and convergence."""
    model, counts = build_model(name), defaultdict(int)
    diagnosis = diagnose(model)
    phases = {phase.name: phase for phase in model.phases}
    assert LOGS[name]
    for log in LOGS[name]:
        for found in EPOCH.finditer(log.read_text()):
            phase, is_last = phases[found["phase"]], found["epoch"] == found["epochs"]
            row = row_of(phase, int(found["dead"] or 0), is_last * float(found["convergence"]))
            assert [*diagnosis.diagnose_features(phase, row)] == [], log
            counts[log] += 1
    assert min(counts.values()) >= 6


@pytest.mark.parametrize("name", slow_except(["mozafari2018"], ["mozafari2018", "deep2024", "multiscale2026"]))
def test_a_trained_network_of_the_repository_gets_no_text(name):
    diagnosis = diagnose_trained(name)
    for phase in diagnosis.model.phases:
        assert [*diagnosis.diagnose(phase, row_of(phase))] == []


def test_silent_stages_are_named_with_the_potentials_that_they_reach():
    diagnosis = diagnose_trained("mozafari2018")
    model, phases = diagnosis.model, diagnosis.model.phases
    model.stages["s2"].threshold = 40
    (found,) = diagnosis.diagnose(phases[1], row_of(phases[1], dead=100))
    reached, threshold = re.search(r"silent .* reach (\S+), .* (\S+)$", found.measured).groups()
    assert 10 < float(reached) < float(threshold) * 1.5  # 10 is the declared threshold
    assert float(threshold) == 40
    ((field, lower),) = found.advice.items()
    assert field == "set.s2.threshold"
    assert 10 < float(lower) < 14


def test_a_high_threshold_below_a_silent_stage_is_named():
    diagnosis = diagnose_trained("mozafari2018")
    model, phases = diagnosis.model, diagnosis.model.phases
    model.stages["s1"].threshold = 24  # it is silent for few images, but spikes rarely
    assert [*diagnosis.diagnose(phases[0], row_of(phases[0]))] == []
    (found,) = diagnosis.diagnose(phases[1], row_of(phases[1]))
    assert found.stage == "s2"
    assert "silent" in found.measured
    assert 10 < float(found.advice["set.s1.threshold"]) < 20


def test_the_advice_for_a_silent_branch_is_accepted():
    model = build_model("inception2024", overrides={"s3.threshold": 1e6})
    diagnosis = diagnose(model)
    phase = model.phases[2]
    texts = [*diagnosis.diagnose(phase, row_of(phase))]
    assert len(texts) == 3
    for found in texts:
        ((path, value),) = found.advice.items()
        build_model("inception2024", overrides={path.removeprefix("set."): float(value)})


def test_features_that_never_won_are_named():
    diagnosis = diagnose(build_model("mozafari2018"))
    first = diagnosis.model.phases[0]
    (found,) = diagnosis.diagnose_features(first, row_of(first, dead=12))
    assert "12 of 30" in found.text


@pytest.mark.parametrize(
    ("stabilize", "converge", "epoch", "advised"),
    [
        (True, 0, 2, {"converge": 0.01}),
        (True, 0, 19, {"converge": 0.01}),
        (True, 0.01, 2, None),
        (False, 0, 2, None),
        (True, 0, 20, {"epochs.1": 200}),  # --converge would not train it longer
        (True, 0.01, 20, {"epochs.1": 200}),
    ],
)
def test_stdp_that_has_hardly_learned_is_named_with_the_flag(stabilize, converge, epoch, advised):
    model = build_model("mozafari2018", overrides={"s2.rule.stabilize": stabilize})
    diagnosis = diagnose(model, converge=converge)
    phase = diagnosis.model.phases[1]
    row = row_of(phase, convergence=0.2, epoch=epoch)
    assert [found.advice for found in diagnosis.diagnose_features(phase, row)] == [advised] * bool(advised)
    assert [*diagnosis.diagnose_features(phase, replace(row, convergence=0.04))] == []


@pytest.mark.parametrize(
    ("advice", "converge", "words", "expected"),
    [
        ({}, 0.02, ["s1.threshold=9"], ""),
        ({"encoder": "s1c1", "spread": False}, 0, [], "--encoder s1c1"),
        ({"converge": 0.01}, 0, [], "--converge 0.01"),
        ({"epochs.0": 200, "epochs.1": 210}, 0.02, [], "--epochs 200 210 680"),
        ({"epochs.1": 210, "converge": 0.01}, 0, [], "--epochs 2 210 680 --converge 0.01"),
        (
            {"set.s3.rule": "margin", "set.s1.threshold": "24"},
            0.02,
            ["s3.rule.reward=1,0", "s3.kernel=3", "s1.threshold=60", "s1.threshold_like=1"],
            "--set s3.kernel=3 s1.threshold_like=1 s3.rule=margin s1.threshold=24",
        ),
        (  # of branches
            {"set.s3.rule": "margin"},
            0,
            ["s3.1.rule.reward=1,0", "s3.1.kernel=3", "s3.10.rule=rstdp", "s31.rule=rstdp"],
            "--set s3.1.kernel=3 s31.rule=rstdp s3.rule=margin",
        ),
    ],
)
def test_all_advice_is_one_command_that_keeps_what_the_run_has(advice, converge, words, expected):
    lengths = Lengths(build_model("mozafari2018").phases, (2, 4, 680), 1000, converge=converge)
    flags = join_advice(advice, lengths, words)
    assert " ".join(replace_flags([], flags)) == expected
    line = ["train.py", "--spread", "--set", *words, "--seed", "3"]
    kept = replace_flags(line, flags)
    assert ("--spread" in kept) == ("spread" not in advice)
    assert kept.count("--set") == 1
    assert "--seed 3" in " ".join(kept)


CONVERGING = """
from models.mozafari2018 import Mozafari2018


class Converging(Mozafari2018, name="converging"):
    epochs = 1, 1, 1
    converge = 0.01
"""


def list_learned(folder):
    """The stages that have learned, with few dead features, by the last epoch of each phase without labels."""
    rows = {row["phase"]: row for row in read_csv(folder / "metrics.csv") if not row["train_accuracy"]}
    return {name for name, row in rows.items() if float(row["convergence"]) < 0.05 and int(row["dead_features"]) <= 2}


@pytest.mark.parametrize(
    ("flags", "learned"),
    [
        ("--model mozafari2018 --epochs 21 21 1 --converge 0.01 --set s1.rule.double_every=1000", set()),
        # s1 has converged by the network's own number, s2 learns slowly
        pytest.param("--model converging --set s1.rule.double_every=50", {"s1"}, marks=pytest.mark.slow),
    ],
)
def test_what_has_learned_has_learned_after_the_advised_command(flags, learned, tmp_path, monkeypatch):
    """The two stages that have not learned in the first case get one command, after which they have learned."""
    dont_draw(monkeypatch)
    monkeypatch.setattr("engine.lengths.MAX_PRESENTATIONS", 0, raising=False)
    monkeypatch.setattr("report.diagnosis.LONGER", 4)
    (tmp_path / "own.py").write_text(CONVERGING)
    words = f"--dataset {FEW_DIGITS} --threads 1 --no-test --no-figures --no-references"
    words += f" --plugin {tmp_path / 'own.py'} {flags} s2.out_channels=50 s2.rule.double_every={0 if learned else 1000}"
    with forgetting():
        assert start(f"{words} --name before", tmp_path) == 0
        assert list_learned(tmp_path / "before") == learned
        command = results(tmp_path / "before")["next"]["command"]
        assert f"next: {command}\n" in (tmp_path / "before" / "log.txt").read_text()
        _, program, *advised = shlex.split(command)
        assert (program, train.main(advised)) == ("train.py", 0)
    assert list_learned(tmp_path / "before-2") >= (learned or {"s1", "s2"})


class Quartic(Additive):
    """Weights stop at both bounds, by an expression that is not the stabilizer."""

    def change(self, w, rate):
        return rate * ((w - self.lower) * (self.upper - w)) * ((w - self.lower) * (self.upper - w))


@pytest.mark.parametrize(("kind", "advised"), [(Quartic, 1), (Soft, 0)])
def test_a_rule_of_a_user_that_has_hardly_learned_is_named_if_its_weights_stop_at_the_bounds(kind, advised):
    own = type("Own", (STDP,), {"plasticity": lambda self, number=float: kind(*map(number, self.bounds))})
    diagnosis = diagnose(build_model("mozafari2018"))
    first = diagnosis.model.phases[0]
    first.rules["s1"] = own(winners=5, radius=3)
    found = [*diagnosis.diagnose_features(first, row_of(first, convergence=0.2))]
    assert [each.advice for each in found] == [{"converge": 0.01}] * advised


@pytest.mark.parametrize(("encoder", "advice"), [("s1c1", {}), ("intensity", {"encoder": "s1c1"})])
def test_chance_is_named_with_the_usual_encoder(encoder, advice):
    model = build_model("mozafari2018")
    diagnosis = diagnose(model, encoder=encoder)
    last = model.phases[-1]
    (near,) = diagnosis.diagnose(last, replace(row_of(last), val_accuracy=0.18))
    assert "18 %" in near.text
    assert near.advice == advice
    assert not [*diagnosis.diagnose(last, replace(row_of(last), val_accuracy=0.2))]  # above a tenth of the way up
    (silent,) = diagnosis.diagnose(last, replace(row_of(last), val_accuracy=0.0, val_silent=0.9))
    assert "90 %" in silent.text


@pytest.mark.parametrize(("border", "encoder", "count"), [(65, "s1c1", 1), (64, "s1c1", 0), (200, "intensity", 0)])
def test_light_borders_are_named_with_the_flag_of_s1c1(border, encoder, count):
    diagnosis = diagnose(build_model("mozafari2018"), encoder=encoder)
    found = [*diagnosis.diagnose_border(border)]
    assert ["--set encoder.border=edge" in each.text for each in found] == [True] * count
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


VALIDATED = {125: 125, 25: 24, 7: 7, 3: 3}  # {images of a class: how many are correctly classified}
TESTED = {1010: 997, 892: 864, 974: 832, 1009: 846}  # mozafari2018_margin on the same images of MNIST
OF_ANOTHER_KIND = {1010: 970, 892: 803, 974: 341, 1009: 303}


@pytest.mark.parametrize(("tested", "count"), [(TESTED, 0), (OF_ANOTHER_KIND, 1)])
def test_other_proportions_of_the_classes_alone_are_not_another_kind(tested, count):
    """The accuracies are 99.4 and 91.1 %, the balanced ones 99.0 (error 4.8) and 91.2 % (0.4)."""
    balanced = []
    for classes in (VALIDATED, tested):
        labels = np.repeat(range(4), [*classes])
        decisions = []
        for number, (images, correct) in enumerate(classes.items()):
            decisions += correct * [number] + (images - correct) * [(number + 1) % 4]
        evaluation = Evaluation(torch.tensor(decisions), torch.zeros(len(labels), 4), labels)
        balanced.append(compute_balanced_accuracy(evaluation.metrics))
    assert len([*compare_splits(*balanced)]) == count


def test_a_few_images_that_are_all_correct_have_an_error():
    assert Accuracy(1.0, 12).estimate() == pytest.approx((14 / 16, math.sqrt(14 / 16 * 2 / 16 / 16)))
    assert Accuracy(0.5, 96).estimate() == pytest.approx((0.5, 0.05))
    halves = Accuracy(1.0, 6), Accuracy(0.5, 2)  # 7 of 8 and 2 of 4 images, with one more of each kind
    error = math.sqrt(7 / 8 * 1 / 8 / 8 + 2 / 4 * 2 / 4 / 4) / 2
    assert Accuracy(0.75, 8, halves).estimate() == pytest.approx((11 / 16, error))
    assert Accuracy(0.5, 96, (Accuracy(0.5, 48),) * 2).estimate() == pytest.approx((0.5, 0.05))


def test_an_accuracy_has_a_95_percent_interval():
    """The example of a validation part of 96 images; an interval ends at 0 and at 1."""
    assert str(Accuracy(93 / 96, 96)) == "96.88 % (95 % interval 90.7 to 99.3)"
    assert str(Accuracy(0.0, 10)) == "0.00 % (95 % interval 0.0 to 32.6)"
    assert str(Accuracy(1.0, 12)) == "100.00 % (95 % interval 71.3 to 100.0)"


@pytest.mark.parametrize("name", [*LOGS, "deepr2024_greedy", "mozafari2018_margin"])
def test_the_test_accuracy_of_the_committed_runs_on_mnist_is_not_below(name):
    runs = {path: json.loads(path.read_text()) for path in (ROOT / "results" / "runs").glob(f"{name}-*.json")}
    validated = {path: scores for path, scores in runs.items() if "fashion" not in path.name and scores["best_epoch"]}
    assert validated
    for path, scores in validated.items():
        best = [scores[split]["best"] for split in ("validation", "test")]
        assert [*compare_splits(*map(compute_balanced_accuracy, best))] == [], path


def test_a_run_shows_one_table_of_findings_and_one_of_results_everywhere(tmp_path, monkeypatch, capsys):
    dont_draw(monkeypatch)
    assert start(f"{COMPARED} --epochs 1 0 1 --set s1.threshold=1e5", tmp_path) == 0
    folder = only_run(tmp_path)
    printed, page = (folder / "log.txt").read_text(), (folder / "index.html").read_text()
    assert capsys.readouterr().out == printed
    found = results(folder)
    stages = {stage for stage, _, _ in found["findings"]}
    assert "s1" in stages
    assert "s2" not in stages
    for stage, measured, usual in found["findings"]:
        assert f"{stage}: {measured} (usual: {usual})" in printed  # when it was found
        assert {measured, usual} <= {*re.findall("<td>(.*)</td>", html.unescape(page))}
    assert found["next"]["command"] in printed
    assert found["next"]["command"] in html.unescape(page)
    assert re.search(r" --set s1.threshold=\d+$", found["next"]["command"])  # near chance, no other rule is advised
    kinds = [row["kind"] for row in found["table"]["rows"]]
    assert sorted(kinds) == ["chance", "network", *["reference"] * 3]
    for row in found["table"]["rows"]:
        assert re.search(rf"{re.escape(row['name'])} +{100 * row['accuracy']:.2f} %", printed)
        assert row["name"] in page


@pytest.mark.parametrize(("more", "count"), [("--no-figures", 3), ("--no-references", 0), ("--dry-run", 0)])
def test_the_comparison_depends_on_its_own_flag(more, count, tmp_path, monkeypatch):
    dont_draw(monkeypatch)
    assert start(f"{COMPARED} --epochs 0 0 1 {more} --name run", tmp_path) == 0
    logged = (tmp_path / "run" / "log.txt").read_text()
    rows = results(tmp_path / "run")["table"]["rows"]
    assert sum(row["kind"] == "reference" for row in rows) == count
    for name in ("control2026", "nearest neighbour"):
        assert (f"  {name}" in logged) == bool(count)


@pytest.fixture
def unequal(tmp_path):
    """A data set of few digits: 0 and 1 are the class "big", 2 is "mid", 3 is "rare"."""
    with np.load(FEW_DIGITS) as few:
        images, labels = (np.concatenate([few[f"{name}_train"], few[f"{name}_test"]]) for name in "xy")
    left = [[*images[labels // 2 == 0]], [*images[labels == 2]], [*images[labels == 3]]]
    arrays = {}
    for part, counts in {"train": (20, 6, 3), "val": (8, 4, 1), "test": (8, 4, 2)}.items():
        pairs = zip(left, counts, strict=True)
        arrays[f"x_{part}"] = [images.pop() for images, count in pairs for _ in range(count)]
        arrays[f"y_{part}"] = np.repeat(["big", "mid", "rare"], counts)
    np.savez(tmp_path / "unequal.npz", **arrays)
    return tmp_path / "unequal.npz"


def test_classes_of_unequal_size(unequal, tmp_path, monkeypatch, capsys):
    """The log of the run, its results and that of evaluate.py agree with predictions.csv."""
    dont_draw(monkeypatch)
    words = f"--model mozafari2018 --dataset {unequal} --epochs 0 0 2 --device cpu --threads 1 --name run"
    assert start(words, tmp_path) == 0
    run = tmp_path / "run"
    rows = read_csv(run / "predictions.csv")
    correct = defaultdict(list)
    for row in rows:
        correct[row["label"]].append(row["label"] == row["prediction"])
    assert {name: len(found) for name, found in correct.items()} == {"big": 8, "mid": 4, "rare": 2}
    balanced = 100 * sum(sum(found) / len(found) for found in correct.values()) / 3
    table = results(run)["table"]
    described = " ".join(table["classes"])
    assert f"(balanced accuracy) {balanced:.2f} %" in described
    assert '8 images of "big" to 2 images of "rare"' in described
    logged = (run / "log.txt").read_text()
    assert described in " ".join(logged.split())
    assert table["rows"][-1] | {"name": ""} == {"name": "", "kind": "chance", "accuracy": pytest.approx(8 / 14)}
    best = results(run)["best_epoch"]
    assert float(read_csv(run / "metrics.csv")[best["step"] - 1]["val_balanced"]) == best["balanced"]
    assert f" val {100 * best['accuracy']:6.2f} % (balanced {100 * best['balanced']:.2f} %)" in logged
    (command,) = re.findall(r"count equally: python -m results\.scripts\.balanced (.*)", logged)
    capsys.readouterr()
    assert balanced_script.main(shlex.split(command)) == 0
    plain, weighted = capsys.readouterr().out.splitlines()
    assert "14 test images" in plain
    assert float(re.search(r", balanced (\S+) %", weighted)[1]) > 100 / 3  # as good as one class for all
    assert start_evaluation(f"{run} --no-figures --device cpu --threads 1 --name test", tmp_path) == 0
    assert described in " ".join(capsys.readouterr().out.split())
    assert results(tmp_path / "test")["diagnosis"] == table["classes"]
