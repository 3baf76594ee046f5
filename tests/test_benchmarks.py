"""The benchmarks run, and both ways that they compare learn the same."""

import re

import pytest
import torch

import benchmarks.__main__ as program
import imagesets
from benchmarks import peers
from benchmarks.reference import Reference, make_waves
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
    """A script on SpykeTorch, in its own process, decides as the event backend, up to ties."""
    monkeypatch.setattr(program, "IMAGES", 100)
    peers.main(["--threads", "1", "--output", str(tmp_path / "peers.md")])
    lines = (tmp_path / "peers.md").read_text().splitlines()
    rows = [line.strip("| ").split(" | ") for line in lines if line.startswith("| ")]
    cells = {name: rest for name, *rest in rows}
    assert int(cells["SpykeTorch, this repository's package"][-1].removesuffix(" of 20")) > 15
    assert all(float(cell.split()[0]) > 0 for cell in cells["event backend"][:4])
