"""The benchmarks run, both ways that they compare learn the same, and they count correctly."""

import re

import numpy as np
import pytest
import torch

import benchmarks.__main__ as program
import imagesets
from benchmarks import epochs, peers
from benchmarks.operations import count_operations
from benchmarks.reference import Reference, make_waves
from engine.layers import Layer
from engine.stages import SpikingConv
from models import build_model
from s1c1 import S1C1

ROWS = "s1 STDP step", "s2 STDP step", "s3 R-STDP step", "evaluation", "encoding"
DATA = imagesets.load("mnist")


@pytest.mark.slow
def test_the_quick_benchmark(tmp_path, monkeypatch, capsys):
    """Every row of the tables has its numbers, and the file contains what is printed."""
    for name in ("REFERENCE_IMAGES", "IMAGES", "TRAINED_ON"):  # undone afterwards
        monkeypatch.setattr(program, name, getattr(program, name))
    program.main(["--quick", "--output", str(tmp_path / "speed.md")])
    text = (tmp_path / "speed.md").read_text()
    assert all(line in text for line in capsys.readouterr().out.splitlines() if line.startswith(("|", "#")))
    timing = r"[\d.]+ \([\d.]+ to [\d.]+\)"
    for row in ROWS:
        compared = re.findall(rf"^\| {row} \| {timing} \| {timing} \| (\d+) \|$", text, re.MULTILINE)
        assert len(compared) == len(re.findall(r"^### \d+ thread", text, re.MULTILINE))
    for row in (*ROWS[:3], "s1 firing", "s2 firing", "s3 deciding"):
        assert re.search(rf"^\| {row} \| [\d,]+ \| {timing} \| [\d.]+ \| [\d.]+ \|$", text, re.MULTILINE)


@pytest.mark.slow
def test_the_reference_learns_the_same():
    """In float64, upstream's way and ours end with equal weights. Otherwise their times are not comparable."""
    latencies, labels = S1C1().encode(DATA.train_images[:30]), DATA.train_labels[:30]
    ours = build_model("mozafari2018", dtype=torch.float64)
    reference = Reference([layer.weight for _, layer in ours.named_layers()], ours.class_of_feature())
    for layer, (_, own) in zip(reference.convs, ours.named_layers(), strict=True):
        layer.double()
        layer.load_weight(own.weight)
    wave = make_waves(latencies, ours.time_steps).double()
    for layer, stage in zip(reference.convs, ("s1", "s2", "s3"), strict=True):
        if stage == "s3":
            ours.train_rl(latencies, labels)
        else:
            ours.train_unsupervised(latencies, stage)
        for image, label in zip(wave, labels.tolist(), strict=True):
            getattr(reference, f"learn_{stage}")(image, *[label] * (stage == "s3"))
        torch.testing.assert_close(layer.weight.double(), ours.stages[stage].weight, rtol=0, atol=1e-12)
    assert ours.predict(latencies).tolist() == [reference.evaluate(image) for image in wave]


@pytest.mark.slow
def test_other_programs(tmp_path, monkeypatch):
    """A script on SpykeTorch, in its own process, decides as the event backend, up to ties. Others are "not run"."""
    for name in ("IMAGES", "TRAINED_ON"):
        monkeypatch.setattr(program, name, 100)
    peers.main(["--threads", "1", "--output", str(tmp_path / "peers.md")])
    rows = {row[0]: row[1:] for row in rows_of((tmp_path / "peers.md").read_text())}
    assert rows["SpykeTorch, original"] == rows["Spyker"] == ["not run"] * 5
    assert int(rows["SpykeTorch, this repository's package"][-1].removesuffix(" of 20")) > 15
    assert all(float(cell.split()[0]) > 0 for cell in rows["event backend"][:4])


@pytest.mark.slow
def test_an_epoch_of_each_phase_is_compared(monkeypatch, capsys):
    monkeypatch.setattr(program, "TRAINED_ON", 100)
    for name, value in {"SCRIPT_IMAGES": 2, "OWN_IMAGES": 50, "REPEATS": 1}.items():
        monkeypatch.setattr(epochs, name, value)
    epochs.main()
    rows = {row[0]: row[1:] for row in rows_of(capsys.readouterr().out)}
    assert list(rows)[-3:] == ["s1", "s2", "s3"]
    assert all(float(rows[name][column]) > 0 for name in ("s1", "s2", "s3") for column in (0, 1))


@pytest.mark.parametrize("padding", [0, 1, 2])
def test_operations_are_the_additions_of_a_plain_loop(padding):
    layer = Layer(SpikingConv(5, 3, padding=padding, threshold=3), 2)
    latency = np.random.default_rng(0).integers(0, 16, (4, 2, 6, 5)).astype(np.uint8)
    last = np.array([0, 5, 14, 9])
    count = 0
    for image, until in zip(latency, last, strict=True):
        for y, x in np.argwhere(image <= until)[:, 1:]:
            for ky in range(3):
                for kx in range(3):
                    count += (0 <= y + padding - ky < 4 + 2 * padding) and (0 <= x + padding - kx < 3 + 2 * padding)
    assert count_operations(layer, latency, last) == count * 5 / 4


def rows_of(text):
    """The cells of each row of the printed tables."""
    return [line.strip("| ").split(" | ") for line in text.splitlines() if line.startswith("| ")]
