"""The page of a run: whole, by itself, and with the numbers of the run."""

import base64
import csv
import json
from html.parser import HTMLParser

import numpy as np
import pytest
from PIL import Image

from models import build_model
from report import page
from report.activation_maps import save_activation_maps
from report.metrics import evaluate_predictions
from report.writing import Report
from s1c1 import S1C1

NAMES = ("T-shirt/top", "<u>", "</script>", "&amp;", '"', *"56789")
VOID = {"meta", "img", "input"}


class Reader(HTMLParser):
    """Tags, attributes and texts; asserts that every tag is closed in its order."""

    def __init__(self, text):
        super().__init__()
        self.open, self.tags, self.scripts, self.texts = [], [], {}, []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        if tag not in VOID:
            self.open.append((tag, dict(attributes)))

    def handle_endtag(self, tag):
        assert self.open.pop()[0] == tag

    def handle_data(self, data):
        tag, attributes = self.open[-1] if self.open else (None, {})
        if tag == "script":
            self.scripts[attributes.get("id", "code")] = data
        elif tag != "style":
            self.texts.append(data.strip())


def scores():
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 10, 300)
    return evaluate_predictions(labels, np.where(rng.random(300) < 0.1, -1, labels), rng.random((300, 10)), 10)


def make_run(folder, results):
    (folder / "results.json").write_text(json.dumps(results))
    (folder / "args.json").write_text(json.dumps({"command_line": "train.py --model mozafari2018"}))
    (folder / "summary.txt").write_text("stage  rule\ns1     STDP")
    with open(folder / "metrics.csv", "w", newline="") as file:
        row = {"phase": "s1", "rule": "stdp", "epoch": 1, "convergence": 0.125, "seconds": 2.5}
        row |= {f"{split}_{part}": "" for split in ("train", "val") for part in ("accuracy", "loss", "silent")}
        writer = csv.DictWriter(file, row)
        writer.writeheader()
        writer.writerows([row, {**row, "phase": "s3", "rule": "rstdp", "train_accuracy": 0.7654}])
    (folder / "figures").mkdir()
    for name in ("history", "errors", "features_s2"):
        Image.new("L", (8, 8)).save(folder / "figures" / f"{name}.png")
    (folder / "checkpoints").mkdir()
    (folder / "checkpoints" / "last.safetensors").touch()


def read(folder, model, images, maps=None):
    report = Report(model, S1C1(), images, np.arange(12) % 10, None, NAMES, "mozafari2018, some <data>, seed 0")
    path = page.write_page(folder, report, maps)
    assert path.stat().st_size < 20e6
    text = path.read_text(encoding="utf-8")
    reader = Reader(text)
    for _, attributes in reader.tags:  # nothing comes from anywhere else
        for key in ("src", "href", "srcset", "action", "data", "poster"):
            assert attributes.get(key, "#").startswith(("#", "data:image/png;base64,"))
    assert not {tag for tag, _ in reader.tags} & {"link", "iframe", "object", "u"}
    assert "@import" not in text
    assert "fetch(" not in text
    return reader


def test_a_whole_run(tmp_path, latencies, images):
    model = build_model("mozafari2018")
    results = {"test": {"best": scores(), "last": scores()}, "validation": {"best": scores()}, "seconds": None}
    results["activity"] = {"s1": {"spikes": 1039.58, "synaptic_additions": 846391.4}}
    make_run(tmp_path, results)
    save_activation_maps(model, latencies[[3, 5]], np.arange(12) % 10, [3, 5], tmp_path / "maps", NAMES, draw=False)
    reader = read(tmp_path, model, images, tmp_path / "maps")
    assert json.loads(reader.scripts["results"]) == results
    best = results["test"]["best"]
    for part in ("accuracy", "loss", "silent"):
        assert f"{100 * best[part]:.2f} %" in reader.texts
    assert f"{best['f1_macro']:.4f}" in reader.texts
    assert {"1,039.6", "846,391"} <= set(reader.texts)
    assert {str(count) for row in best["confusion_matrix"] for count in row if count} <= set(reader.texts)
    assert set(NAMES) <= set(reader.texts)
    assert {"test, last epoch", "validation, best epoch", "76.54 %", "1.2e-01", "2 epochs as a table"} <= set(
        reader.texts
    )
    assert f"python train.py --resume {tmp_path}" in reader.texts
    assert f"python evaluate.py {tmp_path} --save-maps 1" in reader.texts
    alts = [attributes["alt"] for tag, attributes in reader.tags if tag == "img"]
    assert alts == ["Training history", "Errors", "Preferred features of s2"]

    data = json.loads(reader.scripts["data"])
    assert data["classes"] == list(NAMES)
    assert [stage["name"] for stage in data["stages"]] == ["input", "s1", "c1", "s2", "c2", "s3"]
    with np.load(next((tmp_path / "maps").glob("00005*.npz"))) as arrays:
        image = data["images"][1]
        assert (image["index"], image["label"], image["decision"]) == (5, 5, arrays["decision"])
        for stage in data["stages"]:
            shape = (stage["parts"][0]["count"], *stage["size"])
            assert np.array_equal(unpacked(image["maps"][stage["name"]]).reshape(shape), arrays[stage["name"]])
        potentials = image["potentials"]["potentials"]
        levels = unpacked(potentials["bytes"]).reshape(potentials["shape"])
        values = potentials["low"] + (potentials["high"] - potentials["low"]) * levels / 255
        assert values == pytest.approx(arrays["potentials"], abs=0.003 * (potentials["high"] - potentials["low"]))
    assert np.array_equal(unpacked(image["picture"]["bytes"]).reshape(28, 28), images[5])
    weights = data["weights"]["s2"]
    assert weights["shape"] == [250, 30, 3, 3]
    assert weights["high"] == float(model.stages["s2"].weight.max())
    assert "left-out" not in {attributes.get("id") for _, attributes in reader.tags}


def unpacked(text):
    return np.frombuffer(base64.b64decode(text), np.uint8)


def test_branches_without_their_padding(tmp_path, latencies, images):
    model = build_model("inception2024")
    save_activation_maps(model, latencies[:1], [1], [0], tmp_path, NAMES, draw=False)
    data = json.loads(read(tmp_path, model, images, tmp_path).scripts["data"])
    stages = {stage["name"]: stage for stage in data["stages"]}
    parts = stages["s3"]["parts"]
    assert [part["label"] for part in parts] == ["s3_3x3", "s3_5x5", "s3_7x7"]
    assert [(part["top"], part["rows"], part["first"]) for part in parts] == [(0, 7, 0), (1, 5, 100), (2, 3, 200)]
    assert [part["label"] for part in stages["c3"]["parts"]] == ["c3_3x3", "c3_5x5", "c3_7x7"]


def test_a_network_that_does_not_decide_and_no_scores(tmp_path, latencies, images, features_only):
    make_run(tmp_path, {})
    save_activation_maps(features_only, latencies[:1], [1], [0], tmp_path / "maps", NAMES, draw=False)
    reader = read(tmp_path, features_only, images, tmp_path / "maps")
    data = json.loads(reader.scripts["data"])
    assert [stage["name"] for stage in data["stages"]] == ["input", "s1", "c1", "s2", "c2"]
    assert data["images"][0]["decision"] == -2
    assert "Scores" not in reader.texts


def test_an_evaluation_without_maps_or_figures(tmp_path, images):
    results = {"test": scores(), "checkpoint": "runs/a b/checkpoints/best.safetensors"}
    (tmp_path / "results.json").write_text(json.dumps(results))
    reader = read(tmp_path, build_model("mozafari2018"), images)
    assert set(reader.scripts) == {"results"}
    assert json.loads(reader.scripts["results"]) == results
    assert "python evaluate.py 'runs/a b/checkpoints/best.safetensors' --predict IMAGE.png" in reader.texts
    assert not [text for text in reader.texts if "--resume" in text]


def test_it_says_what_it_leaves_out(tmp_path, latencies, images, monkeypatch):
    model = build_model("mozafari2018")
    make_run(tmp_path, {})
    save_activation_maps(model, latencies[:3], [1, 2, 3], [0, 1, 2], tmp_path / "maps", NAMES, draw=False)
    monkeypatch.setattr(page, "MAX_BYTES", {"maps": 250_000, "weights": 50_000, "figures": 100})
    reader = read(tmp_path, model, images, tmp_path / "maps")
    data = json.loads(reader.scripts["data"])
    assert 1 <= len(data["images"]) < 3
    assert list(data["weights"]) == ["s1"]
    (said,) = (text for text in reader.texts if text.startswith("Left out"))
    assert f"the maps of {3 - len(data['images'])} of 3 images" in said
    assert "the weights of s2" in said
    assert "figures/features_s2.png" in said
