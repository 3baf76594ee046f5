"""``--set`` and ``--config``: what is read, where it goes, and where it is kept."""

import json
import math
import shlex

import pytest
from support.command import DIGITS, read_csv, start

from training.checkpoint import load_checkpoint, rebuild_network
from training.config import divided, read_value, title
from training.flags import parse


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("12", 12), ("-0.5", -0.5), ("1e-3", 0.001), ("none", None), ("None", None), ("inf", math.inf),
        ("-inf", -math.inf), ("true", True), ("False", False), ("0.01,-0.0005", (0.01, -0.0005)),
        ("[1, inf]", (1, math.inf)),
        ("((3, .3, .6),)", ((3, 0.3, 0.6),)), ("fast", "fast"), ("'12'", "12"), ("1 +", "1 +"), ("f(3)", "f(3)"),
    ],
)  # fmt: skip
def test_a_value_as_python_writes_it(text, value):
    found = read_value(text)
    assert (found, type(found)) == (value, type(value))


def test_stages_and_the_encoder():
    texts = "s2.threshold=12", "encoder.time_steps=20", "s3.1.rule.winners=8"
    assert divided(texts) == ({"s2.threshold": 12, "s3.1.rule.winners": 8}, {"time_steps": 20})


def test_a_title_stays_within_its_lines():
    assert title("net", ()) == "net, "
    many = title("net", [f"s{i}.threshold={i}" for i in range(20)])
    assert max(map(len, many.splitlines())) <= 90
    assert many.startswith("net with s0.threshold=0 s1.")
    assert many.endswith("s19.threshold=19,\n")


CONFIG = """
model = "mozafari2018"
batch-size = 50
epochs = [1, 2, 3]
no-figures = true
no-test = true
[set]
s2.threshold = 12
s3.1.rule.reward = [0.01, -0.0005]
s3.rule.warm_up = "none"
"""


def test_a_file_of_flags_and_settings(tmp_path):
    file = tmp_path / "my.toml"
    file.write_text(CONFIG)
    settings = parse(shlex.split(f"--config {file} --epochs 4 5 6 --set s2.threshold=13 encoder.radius=4"))
    assert (settings.model, settings.batch_size, settings.epochs) == ("mozafari2018", 50, (4, 5, 6))
    assert not settings.figures
    assert not settings.test
    expected = "s2.threshold=13", "s3.1.rule.reward=[0.01, -0.0005]", "s3.rule.warm_up=none", "encoder.radius=4"
    assert settings.set == expected
    stages, encoder = divided(settings.set)
    assert stages == {"s2.threshold": 13, "s3.1.rule.reward": (0.01, -0.0005), "s3.rule.warm_up": None}
    assert encoder == {"radius": 4}


def test_what_is_set_is_kept_and_can_be_repeated(tmp_path, undrawn):
    """In args.json, the summary and the checkpoint; from which the same network is built again."""
    words = f"--model mozafari2018 {DIGITS} --dry-run --set s1.out_channels=20 s2.threshold=12 encoder.time_steps=10"
    assert start(f"{words} --name one --tensorboard", tmp_path) == 0
    one, two = tmp_path / "one", tmp_path / "two"
    saved = json.loads((one / "args.json").read_text())["flags"]
    assert saved["set"] == ["s1.out_channels=20", "s2.threshold=12", "encoder.time_steps=10"]
    assert (
        (one / "summary.txt").read_text().endswith("\nset: s1.out_channels=20 s2.threshold=12 encoder.time_steps=10\n")
    )
    content = load_checkpoint(one / "checkpoints" / "best.safetensors")
    assert content.overrides == {"s1.out_channels": 20, "s2.threshold": 12}
    assert content.encoding["time_steps"] == content.time_steps == 10
    model = rebuild_network(content)
    assert (model.stages["s2"].in_channels, model.stages["s2"].threshold) == (20, 12)
    check_hyperparameters(one)

    assert start(f"--config {one / 'args.json'} --name two", tmp_path) == 0
    rows = [
        [{key: value for key, value in row.items() if key != "seconds"} for row in read_csv(run / "metrics.csv")]
        for run in (one, two)
    ]
    assert rows[0] == rows[1]
    assert start(f"--evaluate {one} --dry-run --device cpu --threads 1 --name three", tmp_path) == 0
    assert "set: s1.out_channels=20 s2.threshold=12" in (tmp_path / "three" / "summary.txt").read_text()


def check_hyperparameters(run):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    from tensorboard.plugins.hparams.metadata import parse_session_start_info_plugin_data

    plugins = EventAccumulator(str(run)).Reload().SummaryMetadata("_hparams_/session_start_info").plugin_data
    found = parse_session_start_info_plugin_data(plugins.content).hparams
    assert found["s1.out_channels"].number_value == 20
    assert found["encoder.time_steps"].number_value == 10
