"""Encoders by name: the registry, the encoders that networks declare, and a new encoder in a few lines."""

import json

import numpy as np
import pytest
import torch
from support.command import DIGITS, read_csv, results, start, start_evaluation
from support.refusals import assert_refuses, refuses
from support.run_folders import only_run

import train
from engine.rules import RSTDP, STDP
from engine.stages import Pool, SpikingConv
from errors import InputError
from models import MODELS
from network_trainer import NetworkTrainer
from report import figures
from s1c1 import S1C1, Encoder
from training.checkpoint import load_checkpoint
from training.encoders import ENCODERS, build_encoder, choose_encoder, get_encoder_config


class Brightness(Encoder):
    """A light pixel spikes early, a dark one late, a black one never. ``steps``: how many times there are."""

    channels, polarity, scales = 1, (0,), ("pixels",)

    def __init__(self, steps=4):
        if not 1 <= steps <= 254:
            raise InputError(f"time steps must be 1 to 254, not {steps}")
        self.time_steps = steps

    def encode(self, images):
        late = (255 - np.asarray(images).astype(int)) * self.time_steps // 255
        return torch.from_numpy(late.astype(np.uint8))[:, None]

    def config(self):
        return {"steps": self.time_steps}


class Small(NetworkTrainer):
    """A network that learns and is drawn in no time."""

    name, aliases, epochs = "small", (), (1, 1)

    def build(self, num_classes):
        return {
            "s1": SpikingConv(4, 5, threshold=5, rule=STDP(winners=2, radius=1)),
            "c1": Pool(8),
            "s2": SpikingConv(num_classes, 3, rule=RSTDP()),
        }


@pytest.fixture
def brightness(monkeypatch):
    """The line that adds it; and the small network."""
    monkeypatch.setitem(ENCODERS, "brightness", Brightness)
    monkeypatch.setitem(MODELS, "small", Small)


def test_there_and_back(brightness):
    for config in ({}, {"name": "s1c1"}, {"name": "s1c1", "threshold": 30.0, "time_steps": 7}):
        encoder = build_encoder(config)
        assert isinstance(encoder, S1C1)
        assert (encoder.threshold, encoder.time_steps) == (config.get("threshold", 50.0), config.get("time_steps", 15))
        assert get_encoder_config(encoder) == {"name": "s1c1", **encoder.config()}
        assert get_encoder_config(build_encoder(get_encoder_config(encoder))) == get_encoder_config(encoder)
    assert (encoder.polarity, encoder.scales) == ((1, -1, 1, -1, 1, -1), ("3×3", "7×7", "13×13"))
    assert get_encoder_config(build_encoder({"name": "brightness", "steps": 9})) == {"name": "brightness", "steps": 9}


@pytest.mark.parametrize(
    ("config", "about"),
    [
        ({"name": "nonsense"}, "--encoder"),
        ({"name": ["s1c1"]}, "--encoder"),
        ("s1c1", "encoder"),
        ({"window": 3}, "encoder.window"),
        ({"threshold": "high"}, None),
        ({"radius": float("inf")}, "encoder.radius"),
        ({"time_steps": 0}, "encoder.time_steps"),
    ],
)
def test_an_encoder_that_cannot_be(config, about):
    with refuses(about):
        build_encoder(config)


def test_a_network_names_its_encoder_and_sets_it(brightness):
    class Own(NetworkTrainer):
        encoder = {"name": "brightness", "steps": 9}  # noqa: RUF012

    assert isinstance(choose_encoder(NetworkTrainer), S1C1)
    assert choose_encoder(Own).time_steps == choose_encoder(Own, "brightness").time_steps == 9
    assert choose_encoder(Own, "brightness", {"steps": 7}).time_steps == 7
    assert get_encoder_config(choose_encoder(Own, "s1c1", {"radius": 4}, 3)) == get_encoder_config(
        S1C1(radius=4, colours=3)
    )
    for wrong, about in (({"colours": 3}, "encoder.colours"), ({"time_steps": 3}, "encoder.time_steps")):
        with refuses(about):
            choose_encoder(Own, None, wrong)
    with refuses("--encoder"):
        choose_encoder(Own, colours=3)


def test_one_more_encoder_through_everything(brightness, tmp_path, monkeypatch, capsys):
    """Its file and its line are enough to train, resume, evaluate and predict, with figures and maps."""
    monkeypatch.setattr(figures, "DPI", 20)
    words = f"--model small --encoder brightness {DIGITS} --dry-run --map-index 0 --tensorboard --name one"
    assert start(words, tmp_path) == 0
    run = tmp_path / "one"
    content = load_checkpoint(run / "checkpoints" / "best.safetensors")
    assert content.encoding == {"name": "brightness", "steps": 4}
    assert (content.in_channels, content.time_steps) == (1, 4)
    assert "for 1×28×28 inputs" in (run / "summary.txt").read_text()
    assert json.loads((run / "args.json").read_text())["flags"]["encoder"] == "brightness"
    assert (run / "figures" / "filters_s1.png").is_file()
    assert len(list((run / "maps" / "end").glob("*.npz"))) == 1

    assert start_evaluation("latest --no-figures --dry-run --device cpu --threads 1 --name two", tmp_path) == 0
    assert results(tmp_path / "two")["test"] == results(run)["test"]["best"]
    assert start("--resume latest --encoder brightness --no-figures", tmp_path) == 0
    capsys.readouterr()
    assert_refuses(train.main, f"--resume {run} --encoder s1c1", "--encoder", capsys)


def test_a_network_is_trained_with_its_own_encoder(brightness, tmp_path, monkeypatch):
    class Bright(Small):
        name = "bright"
        encoder = {"name": "brightness", "steps": 6}  # noqa: RUF012

    monkeypatch.setitem(MODELS, "bright", Bright)
    assert start(f"--model bright {DIGITS} --dry-run --no-figures", tmp_path) == 0
    run = only_run(tmp_path)
    assert load_checkpoint(run / "checkpoints" / "last.safetensors").encoding == {"name": "brightness", "steps": 6}
    assert len(read_csv(run / "metrics.csv")) == 2
