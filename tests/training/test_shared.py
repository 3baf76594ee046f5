"""``--after``: which phases two runs train alike, and that a run begun behind them is the one trained alone."""

import json
from dataclasses import replace

import pytest
import torch
from support.command import SMALL, refuse, results, start
from support.run_folders import only_run, outcome, same

from engine.rules import STDP
from engine.stages import Branches, SpikingConv
from models import build_model
from models.mozafari2018 import Mozafari2018
from network_trainer import NetworkTrainer
from s1c1 import S1C1
from training.encoders import encoder_config
from training.run import Run
from training.settings import TrainSettings
from training.shared import count_alike, leading_phases


def leading(model, encoder=None, epochs=None, **settings):
    wanted = replace(TrainSettings(model="x", dataset="digits"), **settings)
    return leading_phases(model, encoder_config(encoder or S1C1()), wanted, epochs or type(model).epochs)


def network(name, *overrides):
    return build_model(name, overrides=dict(overrides))


@pytest.mark.parametrize(
    ("name", "changes", "other", "other_changes", "alike"),
    [
        ("mozafari2018", [], "mozafari2018", [], 2),  # the last phase needs labels
        ("mozafari2018", [], "mozafari2018_margin", [], 2),
        ("mozafari2018", [], "majority2024", [], 2),
        ("mozafari2018", [], "multiscale2026", [], 2),
        ("multiscale2026", [], "multiscale2026", [("s3.threshold", 9)], 2),
        ("mozafari2018", [], "deep2024", [], 1),  # 250 features, and 150
        ("deep2024", [], "deepr2024", [], 2),  # s3 learns by another rule
        ("deepr2024", [], "deepr2024_greedy", [], 2),  # s3 learns again, by rewards
        ("deep2024", [], "deep2024", [("s4.rule.reward", (0.01, -0.01))], 3),
        ("inception2024", [], "inception2024", [("s3.1.threshold", 20)], 2),
        ("mozafari2018", [], "mozafari2018", [("s3.kernel", 3)], 2),
        ("mozafari2018", [], "mozafari2018", [("c2.size", 2)], 2),
        ("mozafari2018", [], "mozafari2018", [("c1.size", 3)], 1),
        ("mozafari2018", [], "mozafari2018", [("s2.rule.winners", 3)], 1),
        ("mozafari2018", [], "mozafari2018", [("s2.first_weights", (0.5, 0.05))], 1),
        ("mozafari2018", [], "mozafari2018", [("s1.threshold", 10)], 0),
        ("mozafari2018", [("s1.rule.radius", 2)], "mozafari2018_margin", [("s1.rule.radius", 2)], 2),
        ("kheradpisheh2018", [], "kheradpisheh2018", [("s2.threshold", 2)], 1),
    ],
)
def test_alike_are_the_phases_below_what_differs(name, changes, other, other_changes, alike):
    """And the stages that these have trained begin with the same weights."""
    one, two = network(name, *changes), network(other, *other_changes)
    assert count_alike(leading(one), leading(two)) == alike
    for stage in [f"s{number}" for number in range(1, alike + 1)]:
        assert torch.equal(one.stages[stage].weight, two.stages[stage].weight)


@pytest.mark.parametrize(
    ("different", "alike"),
    [
        ({"seed": 1}, 0),
        ({"dataset": "mnist"}, 0),
        ({"ratio": 0.5}, 0),
        ({"val_split": 0}, 0),
        ({"batch_size": 100}, 0),
        ({"backend": "torch"}, 0),
        ({"init_from": "run"}, 0),
        ({"encoder": S1C1(radius=4)}, 0),
        ({"epochs": (2, 4, 1)}, 2),
        ({"epochs": (2, 5, 680)}, 1),
        ({"epochs": (1, 4, 680)}, 0),
        ({"patience": 3, "threads": 2, "name": "other", "save_maps": 1}, 2),
    ],
)
def test_alike_are_runs_that_show_the_same_images_in_the_same_order(different, alike):
    model = network("mozafari2018")
    assert count_alike(leading(model), leading(model, **different)) == alike


def test_a_network_with_code_of_its_own_is_like_none_but_itself():
    class Slow(Mozafari2018):
        def fire(self, maps, wanted):
            return super().fire(maps, wanted)

    class Chunky(Mozafari2018):
        decision = "s2"

    class Same(Mozafari2018):
        epochs = (2, 4, 7)

    plain = leading(network("mozafari2018"))
    assert [count_alike(plain, leading(kind())) for kind in (Slow, Chunky, Same)] == [0, 0, 2]
    assert count_alike(leading(Slow()), leading(Slow())) == 2


def test_what_branches_read_counts():
    def leading_of(inputs):
        class Wide(NetworkTrainer):
            epochs = (1, 1)

            def build(self, num_classes):
                rule = STDP(winners=1, radius=0)
                scales = [SpikingConv(4, kernel, padding=kernel // 2, threshold=2, rule=rule) for kernel in (3, 5)]
                return {
                    "s1": SpikingConv(6, 3, padding=1, threshold=2, rule=rule),
                    "s2": Branches(*scales, inputs=inputs),
                }

        return leading(Wide())

    assert count_alike(leading_of("s1"), leading_of("s1")) == 2
    assert count_alike(leading_of("s1"), leading_of("input")) == 1


EPOCHS = f"{SMALL} --epochs 1 2 2"
OTHER = "--set s3.rule.reward=0.01,-0.0005"


@pytest.fixture(scope="module")
def first(tmp_path_factory):
    """The folder of a run that others begin behind."""
    output = tmp_path_factory.mktemp("first")
    assert start(f"{EPOCHS} --no-figures", output) == 0
    return only_run(output)


def learned(monkeypatch):
    """A list that gets the phase of each epoch that a run trains."""
    phases, plain = [], Run.epoch

    def epoch(self, progress, wins):
        phases.append(progress.history[-1]["phase"])
        plain(self, progress, wins)

    monkeypatch.setattr(Run, "epoch", epoch)
    return phases


def test_a_run_begun_behind_anothers_phases_is_the_one_trained_alone(first, tmp_path, monkeypatch):
    words = f"{EPOCHS} {OTHER} --no-figures"
    assert start(words, tmp_path / "alone") == 0
    phases = learned(monkeypatch)
    assert start(f"{words} --after {first}", tmp_path / "after") == 0
    assert phases == ["s3", "s3"]
    alone, after = only_run(tmp_path / "alone"), only_run(tmp_path / "after")
    expected = outcome(alone)
    assert expected["last weights"].keys() == outcome(first)["last weights"].keys()
    assert not same(expected["last weights"], outcome(first)["last weights"])
    assert same(outcome(after), expected)
    changing = {"seconds": 0, "peak_memory_mb": 0, "flags": 0}
    assert results(after) | changing == results(alone) | changing
    assert results(after)["flags"] | {"output": 0} == results(alone)["flags"] | {"output": 0}

    lines, epochs = ((run / "log.txt").read_text().splitlines() for run in (after, first))
    assert lines[2] == f"s1 s2 as {first} has trained them, in the seconds that it took there"
    assert lines[3:6] == [line for line in epochs if " STDP " in line]  # with the other run's seconds
    assert lines[6].startswith("s3     R-STDP epoch   1/2  ")
    assert json.loads((after / "args.json").read_text())["after"] == {"run": str(first), "phases": ["s1", "s2"]}


def test_as_far_as_both_go(first, tmp_path, monkeypatch):
    """Only s1 is alike; then behind a run that is in its first epoch yet: it trains everything itself."""
    phases = learned(monkeypatch)
    assert start(f"{EPOCHS} --set s2.threshold=8 --no-figures --after {first}", tmp_path / "one") == 0
    assert phases == ["s2", "s2", "s3", "s3"]

    def stopped(run, progress):
        run.save()
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Run, "batch", stopped)
        assert start(f"{EPOCHS} --no-figures", tmp_path / "begun") == 130
    del phases[:]
    begun = only_run(tmp_path / "begun")
    assert start(f"{EPOCHS} --no-figures --after {begun}", tmp_path / "two") == 0
    assert phases == ["s1", "s2", "s2", "s3", "s3"]
    two = only_run(tmp_path / "two")
    assert f"{begun} has not come to the end of a phase yet: all" in (two / "log.txt").read_text()
    assert "after" not in json.loads((two / "args.json").read_text())
    assert same(outcome(two), outcome(first))


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--seed 1", "it trains no phase as this run would; the images, the seed, the encoder, the stages"),
        ("--set s1.threshold=9", "it trains no phase as this run would"),
        ("--tensorboard", "--after excludes --tensorboard"),
        ("--save-maps --map-every 1", "--after excludes"),
        ("--init-from {first}", "--after excludes"),
    ],
)
def test_refused(words, message, first, tmp_path, capsys):
    words = words.format(first=first)
    capsys.readouterr()
    assert message in refuse(f"{EPOCHS} --after {first} {words} --output {tmp_path}", capsys)
    assert not list(tmp_path.iterdir())
