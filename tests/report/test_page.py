"""The page of a run: whole, by itself, and with the numbers of the run."""

import base64
import json
import shutil
from dataclasses import replace
from html.parser import HTMLParser
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image
from support.browser import compute_in_node, needs_node
from support.neurons import POTENTIALS, choose_neurons, is_potential
from support.registries import forgetting
from support.tiers import slow_except

from engine import plugins
from engine.progress import Row
from engine.rules import Additive
from models import build_model
from report import page
from report.activation_maps import save_activation_maps
from report.evaluation import Accuracy, evaluate_predictions
from report.report import FIGURES, Report, figure
from report.results import tabulate
from run_folder import FORMAT
from s1c1 import S1C1

NAMES = ("T-shirt/top", "<u>", "</script>", "&amp;", '"', *"56789")
LABELS = np.arange(12) % 10
HISTORY = [
    Row(step=1, phase="s1", rule="stdp", epoch=1, images=9, convergence=0.125, seconds=2.5),
    Row(step=2, phase="s3", rule="rstdp", epoch=1, images=9, train_accuracy=0.7654, seconds=2.5),
]


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
        if tag not in {"meta", "img", "input"}:
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
    return evaluate_predictions(labels, np.where(rng.random(300) < 0.1, -1, labels), rng.random((300, 10)))


def make_run(folder, results):
    (folder / "results.json").write_text(json.dumps(results))
    (folder / "args.json").write_text(json.dumps({"format": FORMAT, "command_line": "train.py --model mozafari2018"}))
    (folder / "summary.txt").write_text("stage  rule\ns1     STDP")
    for name in ("figures", "checkpoints"):
        (folder / name).mkdir()
    for name in ("history", "confusion_matrix", "errors", "features_s2"):
        Image.new("L", (8, 8)).save(folder / "figures" / f"{name}.png")
    (folder / "checkpoints" / "last.safetensors").touch()


@pytest.fixture
def read(tmp_path, latencies, images):
    """Write the page of a network with activation maps of some images, and read it. Returns (reader, data)."""

    def write_and_read(model, shown, history=HISTORY):
        indices = list(range(shown))
        save_activation_maps(model, latencies[:shown], LABELS, indices, tmp_path / "maps", NAMES, draw=False)
        title = "mozafari2018, some <data>, seed 0"
        report = Report(model, S1C1(), images, LABELS, latencies, NAMES, title, history=history)
        path = page.write_page(tmp_path, report)
        assert path.stat().st_size < 20e6
        text = path.read_text(encoding="utf-8")
        reader = Reader(text)
        for _, attributes in reader.tags:  # nothing comes from anywhere else
            for key in ("src", "href", "srcset", "action", "data", "poster"):
                target = attributes.get(key, "#")
                assert target.startswith(("#", "data:image/png;base64,")) or (tmp_path / target).is_file()
        assert not {tag for tag, _ in reader.tags} & {"link", "iframe", "object", "u"}
        assert not [word for word in ("@import", "fetch(") if word in text]
        return reader, json.loads(reader.scripts.get("data", "null"))

    return write_and_read


def unpack(text):
    return np.frombuffer(base64.b64decode(text), np.uint8)


@pytest.mark.parametrize("balanced", [None, 0.4321])
def test_the_history_has_the_columns_with_values(balanced, tmp_path, read):
    make_run(tmp_path, {})
    history = [replace(row, val_balanced=balanced) for row in HISTORY]
    reader, _ = read(build_model("mozafari2018"), 0, history)
    assert ("val balanced" in reader.texts) == ("43.21 %" in reader.texts) == bool(balanced)
    assert "train accuracy" in reader.texts


def test_the_balanced_accuracy_of_unequal_classes(tmp_path, read):
    labels = np.repeat([0, 1], [6, 1])
    for decided, expected in ((np.zeros(7, int), True), (labels[:4], False)):
        found = evaluate_predictions(labels[: len(decided)], decided, np.zeros((len(decided), 10)))
        evaluation = SimpleNamespace(metrics=found, accuracy=Accuracy(found["accuracy"], found["count"]))
        table = tabulate("test", {"a network": evaluation}, [*"0123456789"])
        make_run(tmp_path, {"test": {"best": found}, "table": table})
        reader, _ = read(build_model("mozafari2018"), 0)
        assert "a network" in reader.texts
        assert any("balanced accuracy" in text and "50.00 %" in text for text in reader.texts) == expected
        shutil.rmtree(tmp_path)
        tmp_path.mkdir()


def test_a_figure_of_your_own_has_its_own_caption(tmp_path):
    """Also if its name begins with that of another figure."""
    for name in ("errors", "errors_by_class"):
        Image.new("L", (8, 8)).save(tmp_path / f"{name}.png")
    with forgetting():

        @figure("Errors of each class")
        def errors_by_class(report, caption):
            yield "", None

        found = [caption for _, caption, *_ in page.read_figures(tmp_path)]
    assert found == [FIGURES["errors"].caption, "Errors of each class"]


def test_a_whole_run(tmp_path, read, images):
    model = build_model("mozafari2018")
    results = {"test": {"best": scores(), "last": scores()}, "validation": {"best": scores()}, "seconds": None}
    results["findings"] = [["s1", "silent", "at most 30 %"]]
    results["next"] = {"command": "python train.py --seed 3", "reason": "it is silent"}
    results["images"] = {"train": 12345, "labelled": 678}
    results["operations"] = {"input": {"spikes": 1039.58}, "s1": {"synaptic_additions": 846391.4}}
    make_run(tmp_path, results)
    reader, data = read(model, 2)
    assert json.loads(reader.scripts["results"]) == results
    best, texts = results["test"]["best"], set(reader.texts)
    assert {f"{100 * best[part]:.2f} %" for part in ("accuracy", "loss", "silent")} <= texts
    assert {str(count) for count in best["per_class"]["support"]} <= texts
    assert {*NAMES, f"{best['f1_macro']:.4f}", "1,040", "846,391", "76.54 %", "1.2e-01"} <= texts
    assert {"test, last epoch", "validation, best epoch"} <= texts
    assert {"silent", "at most 30 %", "python train.py --seed 3", "It is silent:"} <= texts
    assert "12,345 train, 678 labelled images" in texts
    assert {f"python train.py --resume {tmp_path}", f"python evaluate.py {tmp_path} --save-maps 1"} <= texts
    alts = [attributes["alt"] for tag, attributes in reader.tags if tag == "img"]
    assert alts == ["Confusion matrix", "Training history", "Preferred features of s2", "Errors"]

    assert data["classes"] == list(NAMES)
    assert data["tints"] | {"1": [0, 114, 178], "-1": [213, 94, 0]} == data["tints"]  # as in figures
    assert [stage["name"] for stage in data["stages"]] == ["input", "s1", "c1", "s2", "c2", "s3"]
    image = data["images"][1]
    with np.load(next((tmp_path / "maps").glob("00001*.npz"))) as arrays:
        assert (image["index"], image["label"], image["decision"]) == (1, 1, arrays["decision"])
        for stage in data["stages"]:
            shape = (stage["parts"][0]["count"], *stage["size"])
            assert np.array_equal(unpack(image["maps"][stage["name"]]).reshape(shape), arrays[stage["name"]])
        values = unpack(image["potentials"][""]["floats"]).view("<f4")
        assert np.array_equal(values, arrays["potentials"].ravel())
    links = {attributes["href"] for tag, attributes in reader.tags if tag == "a"}
    files = {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*.*")}
    assert {name for name in files if not name.endswith((".png", ".html", ".safetensors"))} <= links
    assert np.array_equal(unpack(image["picture"]["bytes"]).reshape(28, 28), images[1])
    assert "left-out" not in {attributes.get("id") for _, attributes in reader.tags}


@pytest.mark.parametrize(
    ("name", "results", "offered"),
    [
        ("mozafari2018", {}, ["--resume", "evaluate.py"]), ("mozafari2018", {"finished": [1, 2]}, ["evaluate.py"]),
        ("kheradpisheh2018", {}, ["--resume"]),
    ],
)  # fmt: skip
def test_commands_of_finished_runs_and_of_networks_without_decisions(name, results, offered, tmp_path, read):
    make_run(tmp_path, results)
    reader, _ = read(build_model(name), 0)
    assert [word for word in ("--resume", "evaluate.py") if any(word in text for text in reader.texts)] == offered


def test_commands_name_the_files_of_a_users_own(tmp_path, read, monkeypatch):
    make_run(tmp_path, {})
    monkeypatch.setitem(plugins.PLUGINS, tmp_path / "own.py", "own")
    reader, _ = read(build_model("mozafari2018"), 0)
    commands = [text for text in reader.texts if text.startswith(("python evaluate", "python train.py --resume"))]
    assert len(commands) == 3
    assert all(command.endswith(f" --plugin {tmp_path / 'own.py'}") for command in commands)


def test_stages_name_the_maps_that_they_read(read):
    _, data = read(build_model("multiscale2026", image_size=(28, 28)), 1)
    inputs = {stage["name"]: stage["inputs"] for stage in data["stages"]}
    assert (inputs["input"], inputs["s1"], inputs["s3"], inputs["s4"]) == ([], ["input"], ["c1"], ["input"])
    assert inputs["s5"] == ["c1", "c2", "c3", "c4"]


def test_branches_without_their_padding(read):
    _, data = read(build_model("inception2024"), 1)
    parts = {stage["name"]: stage["parts"] for stage in data["stages"]}
    places = [(part["label"], part["top"], part["rows"], part["first"]) for part in parts["s3"]]
    assert places == [("s3_3x3", 0, 7, 0), ("s3_5x5", 1, 5, 100), ("s3_7x7", 2, 3, 200)]
    assert [part["label"] for part in parts["c3"]] == ["c3_3x3", "c3_5x5", "c3_7x7"]


@needs_node
@pytest.mark.parametrize("name", slow_except(["mozafari2018"], ["mozafari2018", "inception2024"]))
def test_a_neuron_adds_up_the_potentials_of_the_kernels(name, tmp_path, read, latencies):
    """To the bit: the page contains the float32 weights of all stages that fire."""
    model = build_model(name)
    _, data = read(model, 2)
    rng = np.random.default_rng(0)
    given, expected = [], []
    for number, stage in enumerate(data["stages"]):
        for place, part in enumerate(stage["parts"]):
            if "threshold" not in part:
                continue
            layer = dict(model.named_layers())[part["label"]]
            below = model.map_of(latencies[1:2], stage["inputs"][0])[0]
            for neuron in choose_neurons(layer, below, 4, rng):
                given.append([1, number, place, *neuron])
                expected.append((layer, below, neuron))
    assert len({(number, place) for _, number, place, *_ in given}) == len(data["weights"]) - 1  # all but the decision
    found = compute_in_node(tmp_path / "index.html", POTENTIALS, given)
    assert all(is_potential(*neuron, potentials) for neuron, potentials in zip(expected, found, strict=True))
    assert max(map(max, found)) > 10


@needs_node
def test_what_a_neuron_sees_by_hand(tmp_path, read):
    """Row 2 of each part: s1 has 5×5 kernels, padding 2; the branches of s3 have padding 1; the poolings join them."""
    read(build_model("inception2024"), 1)
    body = "return run.stages.map(stage => stage.parts.map(part => see(stage, part, 2, 2)));"
    found = compute_in_node(tmp_path / "index.html", body, None)
    branches = [[0, 19], [0, 27], [0, 35]]  # c2 sees 4y-4 to 4y+7; s3 reads its rows y-1 to y+1, y+3 or y+5
    pooled = [[16, 43], [12, 47], [8, 51]]  # of s3, rows 6 to 8; branches of 5×5 and 7×7 begin in rows 1 and 2
    assert found == [[[2, 2]], [[0, 4]], [[2, 7]], [[0, 9]], [[4, 15]], branches, pooled, [[-16, 75]]]


@needs_node
def test_what_a_winner_would_learn_by_hand(tmp_path, read):
    """With the stabilizer: ltp · w (1 - w) for inputs that spike until the winner's step 3, else ltd · w (1 - w)."""
    model = build_model("mozafari2018")
    model.stages["s2"].stdp_rates.copy_(torch.tensor([0.08, -0.06]))
    _, data = read(model, 1)
    parts = {stage["name"]: stage["parts"][0] for stage in data["stages"]}
    assert not [name for name in ("c1", "s3") if "learns" in parts[name]]
    body = """
    const { parts: [part] } = run.stages[3];
    return given.map(([weight, t]) => findChange(part, weight, part.learns[3][t]));
    """
    found = compute_in_node(tmp_path / "index.html", body, [[0.5, 3], [0.5, 4], [0.5, 15], [0, 0], [1, 9]])
    assert found == pytest.approx([0.02, -0.015, -0.015, 0, 0])


@pytest.mark.parametrize(
    ("window", "grows"),
    [
        (Additive.window, np.arange(16) <= 2),
        (lambda self, t_in, t_out, ltp, ltd: 2 ** (t_in - t_out) - 1, np.arange(16) > 2),
    ],
    ids=["additive", "power"],
)
def test_what_a_winner_would_learn_by_other_rules(window, grows, read, monkeypatch):
    """A weight at its upper bound cannot grow; a window may be a power of the times."""
    monkeypatch.setattr(Additive, "window", window)
    _, data = read(build_model("mozafari2018", overrides={"s1.rule.stabilize": False}), 1)
    part = data["stages"][1]["parts"][0]
    at_the_bottom, at_the_top = (np.array(part["changes"])[part["learns"][2], end] for end in (0, -1))
    assert ((at_the_bottom > 0) == grows).all()
    assert (at_the_top <= 0).all()


@pytest.mark.parametrize("name", slow_except(["multiscale2026"], ["majority2024", "multiscale2026"]))
def test_the_race_of_the_classes(name, read, latencies):
    """At each step, the potentials of a network that gets no later spike at its decision stage."""
    model = build_model(name, image_size=(28, 28))
    _, data = read(model, 2)
    ((_, latency),) = model.walk(latencies[1:2], [model.input_name(model.decision)])
    races = data["images"][1]["race"]
    for layer_name, layer in model.named_layers([model.decision]):
        race = unpack(races[layer_name.removeprefix(model.decision)]["floats"]).view("<f4").reshape(15, 10)
        for step in (0, 7, 14):
            peaks = layer.peaks(torch.where(latency <= step, latency, 15))
            assert race[step] == pytest.approx(peaks.view(10, -1).amax(1).numpy(), rel=1e-5)
        assert (race[0] < race[-1]).all()
    assert len(races) == len(list(model.named_layers([model.decision])))


def test_an_evaluation_without_maps_or_figures(tmp_path, read):
    results = {"test": scores(), "checkpoint": "runs/a b/checkpoints/best.safetensors"}
    (tmp_path / "results.json").write_text(json.dumps(results))
    reader, _ = read(build_model("mozafari2018"), 0)
    assert json.loads(reader.scripts["results"]) == results
    assert "data" not in reader.scripts
    assert "python evaluate.py 'runs/a b/checkpoints/best.safetensors' --predict IMAGE.png" in reader.texts
    assert not [text for text in reader.texts if "--resume" in text]


def test_it_names_what_it_leaves_out(tmp_path, read, monkeypatch):
    make_run(tmp_path, {})
    monkeypatch.setattr(page, "MAX_BYTES", 250_000)
    reader, data = read(build_model("mozafari2018"), 3)
    assert 1 <= len(data["images"]) < 3
    assert "left-out" in {attributes.get("id") for _, attributes in reader.tags}
    lacking = f"{3 - len(data['images'])} of 3 images"
    assert any(lacking in text for text in reader.texts)
