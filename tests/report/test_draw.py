"""The page on which images are drawn: whole, by itself, and with the network's spikes and decisions in a browser."""

import base64
import json
import re
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from unittest import mock

import numpy as np
import pytest
import torch
from PIL import Image
from support.browser import (
    answer_in_browser,
    centre_in_browser,
    compute_in_browser,
    compute_in_node,
    needs_browser,
    needs_node,
)
from support.command import TRAINED
from support.layers import make_layer
from support.own_rules import Own
from support.refusals import assert_refuses, refuses
from support.tiers import slow_except
from torch.nn import functional as F

import evaluate
import imagesets
from engine.decision import class_of_features
from engine.rules import RSTDP, STDP, MarginRule
from engine.stages import Inhibit, SpikingConv
from imagesets.image_files import read_image
from imagesets.splits import stratified_split
from models import build_model
from network_trainer import NetworkTrainer
from report.exports.draw import quantize, to_whole_weights, write_drawing_page
from s1c1 import S1C1
from training.checkpoint import RunRecord
from training.data import choose_few
from training.trained import TrainedNetwork
from utils import ROOT

NAMES = ("</script>", "&amp;", *"23456789")


class Signed(NetworkTrainer):
    """Decision neurons with weights from -1 to 1."""

    def build(self, num_classes):
        return {"s1": SpikingConv(2 * num_classes, 28, rule=RSTDP(bounds=(-1.0, 1.0)), first_weights=(0.0, 0.5))}


class TinyShare(NetworkTrainer):
    """A share of the features that is less than one of them: the first spikes at each position pass."""

    def build(self, num_classes):
        return {
            "s1": SpikingConv(8, 5, threshold=2, rule=STDP(winners=2, radius=1)),
            "i1": Inhibit(1e-12),
            "s2": SpikingConv(2 * num_classes, 24, rule=RSTDP()),
        }


OWN = {"own": Own, "signed": Signed, "tiny-share": TinyShare}
ENCODER = S1C1()
FEW = {"s2.out_channels": 40}  # features: the pages are computed and read sooner


def layer_of(weights, **more):
    return make_layer("event", torch.tensor(weights).view(1, -1, 1, 1), **more)


@pytest.mark.parametrize(
    ("bounds", "weights", "whole", "unit"),
    [
        ((0.0, 1.0), [0.0, 0.4, 0.6, 1.0], [0, 102, 153, 255], 1 / 255),
        ((0.2, 0.8), [0.2, 0.4, 0.6, 0.8], [85, 170, 255, 340], 0.6 / 255),
        ((-1.0, 1.0), [-1.0, -0.2, 0.5, 1.0], [-255, -51, 127, 255], 1 / 255),  # 127.5 is 191.25 steps above -255
    ],
)
def test_whole_weights_by_hand(bounds, weights, whole, unit):
    found = to_whole_weights(layer_of(weights, rule=MarginRule(bounds=bounds)))
    assert (found.lowest + found.scale * found.steps.astype(int)).flatten().tolist() == whole
    assert found.unit == pytest.approx(unit)


def test_thresholds_weights_outside_the_bounds_and_stages_without_a_rule_by_hand():
    layer = layer_of([0.0, 0.5, 1.0], threshold=15)
    assert to_whole_weights(layer).threshold == 3825  # 15 · 255; 15 / (1 / 255) may be less in floats
    assert to_whole_weights(layer).steps.flatten().tolist() == [0, 128, 255]
    assert to_whole_weights(layer_of([-0.5, 0.2, 2.0], rule=MarginRule())).steps.flatten().tolist() == [0, 51, 255]
    assert np.unique(to_whole_weights(layer_of([0.5, 0.5])).steps).size == 1


def test_the_sums_are_those_of_int64(digits):
    model = build_model("mozafari2018")
    network, whole = quantize(model)
    latencies = ENCODER.encode(digits[:3])
    weights = {name: each.lowest + each.scale * torch.from_numpy(each.steps).long() for name, each in whole.items()}
    stage = network.declaration["s1"]
    first = torch.full((len(latencies), *stage.shape([latencies.shape[1:]])), 15)
    for step in reversed(range(15)):
        spiked = (latencies <= step).long()
        above = F.conv2d(spiked, weights["s1"], padding=stage.padding) > whole["s1"].threshold
        first[above] = step
    assert torch.equal(network.map_of(latencies, "s1").long(), first)
    below = network.map_of(latencies, "c2")
    potentials = F.conv2d((below < 15).long(), weights["s3"], padding=2).amax((2, 3))
    assert torch.equal(network.stages["s3"].peaks(below).long(), potentials)


@pytest.fixture(scope="module")
def digits():
    """Images of each class, (N, 28, 28)."""
    return imagesets.load("digits").test_images[:40]


def write(folder, model, images, encoder=ENCODER):
    """Write the page of a network, with these images, and return its path."""
    run = RunRecord(class_names=NAMES, characters=True)
    checkpoint = SimpleNamespace(path=Path("best.safetensors"), record=run, picture_size=images.shape[1:3])
    network = TrainedNetwork(checkpoint, model, encoder)
    labels = np.arange(len(images)) % 10
    settings = SimpleNamespace(command_line="evaluate.py latest --draw <page>.html")
    examples = {"rehearsed": (images[2:5], labels[2:5]), "tested": (images[:2], labels[:2])}
    more = {"data_name": "digits", "settings": settings}
    write_drawing_page(folder / "page.html", network, images, labels, np.arange(len(images)), examples, **more)
    return folder / "page.html"


def read_exported(page):
    return json.loads(re.search(r'id="exported">(.*?)</script>', page.read_text(encoding="utf-8"), re.DOTALL)[1])


@pytest.fixture(scope="module")
def page(tmp_path_factory, digits):
    """The page of a network that has not learned, with five digits."""
    return write(tmp_path_factory.mktemp("page"), build_model("mozafari2018", seed=1, overrides=FEW), digits[:5])


def test_it_is_whole_and_loads_nothing(page):
    text = page.read_text(encoding="utf-8")
    assert not re.findall(r"<(?:link|img|iframe)|(?:src|href)=(?!.#)|@import|fetch\(|https?:", text)
    assert text.count("<script") == text.count("</script>") == 3
    data = json.loads(re.search(r'id="data">(.*)</script>', text)[1])
    assert data["classes"] == list(NAMES)
    exported = read_exported(page)
    assert exported["labels"] == [0, 1, 2, 3, 4]
    assert exported["weights"]["s2"]["shape"] == [40, 30, 3, 3]
    assert [stage["name"] for stage in exported["description"]["stages"]] == ["s1", "c1", "s2", "c2", "s3"]


def test_networks_that_it_cannot_compute_are_refused(tmp_path, digits):
    for name, kind in (("inception2024", "Branches"), ("majority2024", "Vote")):
        with refuses(kind):
            write(tmp_path, build_model(name), digits[:1])
    with refuses("s2"):
        write(tmp_path, build_model("mozafari2018", overrides={"s2.threshold": 4000}), digits[:1])
    with refuses("S1C1"):
        coloured = np.repeat(digits[:1, ..., None], 3, 3)
        write(tmp_path, build_model("mozafari2018", in_channels=18), coloured, S1C1(colours=3))
    assert not [*tmp_path.iterdir()]


def test_it_contains_how_many_decisions_are_equal(tmp_path, digits):
    """Rounding changes decisions of an untrained network, but not the silence for a black image."""
    model = build_model("mozafari2018", seed=1)
    network, _ = quantize(model)
    images = np.concatenate([digits[:5], np.zeros_like(digits[:3])])
    latencies = ENCODER.encode(images)
    equal = int((model.predict(latencies) == network.predict(latencies)).sum())
    assert 3 <= equal < 8
    text = write(tmp_path, model, images).read_text(encoding="utf-8")
    assert f"{equal} of 8 test images" in " ".join(text.split())


def test_the_command(tmp_path, capsys):
    """Training images are rehearsed, but not those that the run has validated with."""
    path = tmp_path / "page.html"
    words = ["--map-index", "3", "7", "--threads", "1", "--dry-run"]
    with mock.patch.object(evaluate, "write_drawing_page", wraps=write_drawing_page) as writing:
        assert evaluate.main([str(TRAINED), "--draw", str(path), *words]) == 0
    assert str(path) in capsys.readouterr().out
    assert 1e6 < path.stat().st_size < 2.1e6
    exported = read_exported(path)
    data = imagesets.load("mnist")
    chosen = choose_few("test", len(data.test_labels))[[3, 7]]  # of the images of a dry run
    assert (exported["indices"], exported["labels"]) == ([3, 7], data.test_labels[chosen].tolist())
    pictures = np.frombuffer(base64.b64decode(exported["pictures"]), np.uint8).reshape(2, 28, 28)
    assert np.array_equal(pictures, data.test_images[chosen])
    (images, labels), (_, tested) = (writing.call_args.args[5][name] for name in ("rehearsed", "tested"))
    assert np.bincount(labels).tolist() == [5] * 10
    assert 80 <= len(tested) <= 100
    train, validation = stratified_split(data.train_labels, 5000, seed=2)
    for split, is_there in ((train, True), (validation, False)):
        among = {image.tobytes() for image in data.train_images[split]}
        assert {image.tobytes() in among for image in images} == {is_there}

    assert_refuses(evaluate.main, f"{TRAINED} --draw {tmp_path / 'other.html'} --scores", "--scores")
    majority = TRAINED.with_name("majority2024.safetensors")
    assert_refuses(evaluate.main, f"{majority} --draw {tmp_path / 'other.html'}", "Vote")
    assert not (tmp_path / "other.html").exists()


def test_the_page_of_the_documentation():
    """If a script has changed, the command at the end of the page writes it again."""
    text = (ROOT / "docs" / "draw.html").read_text(encoding="utf-8")
    assert len(text) < 2.1e6
    for script in ("tiles.js", "neuron.js", "page.js", "exports/draw.js"):
        assert (ROOT / "report" / script).read_text(encoding="utf-8").strip() in text


ENGINES = [
    pytest.param(compute_in_browser, marks=[needs_browser, pytest.mark.slow], id="browser"),
    pytest.param(compute_in_node, marks=needs_node, id="node"),
]


@pytest.mark.parametrize("compute", ENGINES)
@pytest.mark.parametrize("name", slow_except([*OWN], [*OWN, "mozafari2018"]))
def test_the_page_computes_the_same_spikes_potentials_and_decisions(name, compute, tmp_path, digits):
    """Its potentials are in the unit of the network's weights."""
    encoder = S1C1(border="edge", radius=5) if name == "own" else ENCODER
    if name in OWN:
        model = OWN[name]()
    else:
        model = build_model("mozafari2018")
        model.stages["s1"].weight.sub_(0.3)
    images = np.concatenate([digits[:6], np.zeros((1, 28, 28), np.uint8)])
    page = write(tmp_path, model, images, encoder)
    decisions, details, _ = answer_in_browser(page, images, len(images), compute)
    network, whole_weights = quantize(model)
    unit = whole_weights[network.decision].unit
    latencies = encoder.encode(images)
    assert decisions.tolist() == network.predict(latencies).tolist()
    assert decisions[-1] == -1
    below = [name for name in network.declaration if name != network.decision]
    maps = {"input": latencies, **dict(network.walk(latencies, below))}
    ((_, gathered),) = network.walk(latencies, [network.input_name(network.decision)])
    peaks = network.stages[network.decision].peaks(gathered).numpy()
    for i, found in enumerate(details):
        for stage, latency in maps.items():
            assert np.array_equal(found[stage], latency[i].numpy().ravel()), stage
        potentials = found["potentials"].reshape(peaks.shape[1], -1)
        assert np.array_equal(potentials.max(1), peaks[i].astype(np.float64) * unit)
        for step, race in enumerate(found["race"].reshape(15, -1)):
            so_far = torch.where(gathered[i : i + 1] <= step, gathered[i : i + 1], 15)
            of_features = network.stages[network.decision].peaks(so_far)
            assert np.array_equal(race, of_features.view(10, -1).amax(1).numpy().astype(np.float64) * unit)


@needs_node
def test_a_threshold_of_the_slider_is_that_of_the_program(page, digits):
    """Also if it is set back."""
    latencies, changes = ENCODER.encode(digits[:2]), ""
    for s1, s2 in ((30.5, 7), (15, 10)):
        changes += f"setThreshold(layers[0], {s1}); setThreshold(layers[2], {s2});"
        decisions, details, _ = answer_in_browser(
            page, digits[:2], 2, lambda page, body, given, changes=changes: compute_in_node(page, changes + body, given)
        )
        overrides = {"s1.threshold": s1, "s2.threshold": s2, **FEW}
        network, _ = quantize(build_model("mozafari2018", seed=1, overrides=overrides))
        assert decisions.tolist() == network.predict(latencies).tolist()
        for name, latency in network.walk(latencies, ["s1", "s2"]):
            assert all(np.array_equal(found[name], latency[i].numpy().ravel()) for i, found in enumerate(details))


LEARN = """
const pixels = unpack(given.pixels), area = height * width, rehearsed = unpackLessons(exported.examples.rehearsed);
const reply = i => answer({ shape: [height, width], bytes: pixels.subarray(i * area, (i + 1) * area) });
if (given.name) addClass(given.name);
const first = [...decider.whole], lessons = given.labels.map((label, i) => makeLesson(reply(i).inputs, { label }));
practise(lessons, rehearsed, 3);
const last = [...decider.whole], decisions = lessons.map(lesson => decide(lesson));
arrange(decider, decider.whole);
const answers = given.labels.map((_, i) => reply(i).decision);
practise([lessons[0]], []);
return { first, last, decisions, answers, end: decide(lessons[0]), rule: exported.rule };
"""


@needs_node
@pytest.mark.parametrize("name", ["mozafari2018_margin", "mozafari2018"])
def test_the_page_learns_as_the_program_to_the_bit(name, tmp_path, digits):
    """Digits with others in between, three times. By the margin rule, some belong to a new class."""
    model = build_model(name, seed=1, overrides=FEW)
    page = write(tmp_path, model, digits[:5])
    names = ["A"] * hasattr(model.declaration["s3"].rule, "margin")
    labels = (np.arange(8) % 3 + 7 + len(names)).tolist()  # the new class is 10
    given = {"pixels": base64.b64encode(digits[5:13].tobytes()).decode(), "labels": labels, "name": "".join(names)}
    found = compute_in_node(page, LEARN, given)
    network, _ = quantize(model)
    first, last = (torch.tensor(found[each], dtype=torch.float64).view(-1, 40, 5, 5) for each in ("first", "last"))
    assert len(first) == 200 + 20 * len(names)
    assert torch.equal(first[:200], network.stages["s3"].weight)
    rates, bounds = found["rule"]["rates"], tuple(found["rule"]["bounds"])
    changes = {"rate": rates[0][0]} if names else {"reward": tuple(rates[0]), "punishment": tuple(rates[1])}
    rule = replace(model.declaration["s3"].rule, bounds=bounds, **changes)
    layer = make_layer("event", first.clone(), padding=2, rule=rule)
    maps = network.map_of(ENCODER.encode(digits[2:13]), "c2")
    classes = class_of_features(len(first), 10 + len(names))
    for _ in range(3):
        layer.learn_decisions(maps, torch.tensor([2, 3, 4, *labels]), classes, np.random.default_rng(0))
    assert torch.equal(layer.weight, last)
    assert (first != last).any()
    assert found["decisions"] == found["answers"] == classes[layer.peaks(maps[3:]).argmax(1)].tolist()
    assert found["end"] == labels[0]


@needs_node
def test_a_wrong_decision_is_punished_until_another_class_decides(page):
    """R-STDP is not told the class. A right decision is rewarded once."""
    body = """
    const { inputs, decision } = answer({ shape: [height, width], bytes: pictures.subarray(0, blank.length) });
    const wrong = makeLesson(inputs, { not: decision }), learned = practise([wrong], [])[0], second = decide(wrong);
    const again = practise([wrong], []), rewarded = practise([makeLesson(inputs, { label: second })], []);
    return { decision, learned, second, again, rewarded };
    """
    found = compute_in_node(page, body, None)
    assert found["second"] not in (-1, found["decision"])
    assert {(feature // 20, row) for ((feature, row),) in found["learned"]} == {(found["decision"], 1)}
    assert found["again"] == [[]]
    (((feature, row),),) = found["rewarded"][0]
    assert (feature // 20, row) == (found["second"], 0)


def test_rules_by_which_the_page_does_not_learn(page, tmp_path, digits):
    """They are those whose changes are not whole numbers, or of a user's own."""
    other = write(tmp_path, build_model("mozafari2018", overrides={"s3.rule.stabilize": True}), digits[:5])
    for path, learns in ((page, True), (other, False)):
        exported = read_exported(path)
        assert bool(exported["rule"]) == bool(exported["examples"]) == learns
        assert ('id="forget"' in path.read_text(encoding="utf-8")) == learns


CHANGE = """
const picture = { shape: [height, width], bytes: pictures.subarray(0, blank.length) }, { whole } = layers[0];
const grey = { shape: [28, 28], bytes: blank.map(() => 128) }, { inputs, shares, amounts } = given;
return {
  inputs: inputs.map(([end, share]) => { steps = end; silenced = share; return [...answer(picture).maps.input]; }),
  weights: shares.map(share => { shuffle(layers[0], whole, share); return [...layers[0].whole]; }),
  pixels: amounts.map(amount => { noise = amount; return [...addNoise(grey).bytes]; }),
};
"""


@needs_node
def test_changes_of_the_page_by_hand(page):
    """Fewer time steps and silent inputs; weights that each feature keeps in other places; noise of each picture."""
    given = {"inputs": [[15, 0], [4, 0], [15, 0.5]], "shares": [0, 0.5, 1, 0], "amounts": [0, 0.2, 0.2]}
    found = {name: np.array(values) for name, values in compute_in_node(page, CHANGE, given).items()}
    whole, early, half = found["inputs"]
    assert (early == np.where(whole < 4, whole, 15)).all()
    assert ((half == whole) | (half == 15)).all()
    assert (half < 15).sum() == pytest.approx((whole < 15).sum() / 2, rel=0.1)

    weights = found["weights"].reshape(4, 30, -1)
    assert (np.sort(weights) == np.sort(weights[0])).all()
    assert (weights == weights[0]).mean((1, 2)) == pytest.approx([1, 0.5, 0, 1], abs=0.1)

    none, some, again = found["pixels"]
    assert (none == 128).all()
    assert (some == again).all()
    assert np.abs(some - 128).max() > 100
    assert some.mean() == pytest.approx(128, abs=4)
    assert some.std() == pytest.approx(0.2 * 255, rel=0.1)


@needs_node
def test_a_neuron_adds_up_to_its_spike(page):
    """Whole numbers: each neuron of some features exceeds the threshold when the map says so."""
    body = """
    const { maps } = answer({ shape: [28, 28], bytes: pictures.subarray(0, 784) }), others = [];
    for (const [place, layer] of [[1, layers[0]], [3, layers[2]]]) {
      const stage = run.stages[place], [part] = stage.parts, { shape: [, channels, k] } = run.weights[stage.name];
      for (let i = 0; i < 3 * part.rows * part.columns; i++) {
        const size = channels * k * k, f = i / part.rows / part.columns | 0;
        const y = (i / part.columns | 0) % part.rows, x = i % part.columns;
        const weights = bytes(run.weights[stage.name]).subarray(f * size, (f + 1) * size);
        const first = addUp(findInputs(maps, stage, part, y, x), weights, k).findIndex(sum => sum > layer.threshold);
        if ((first < 0 ? run.steps : first) !== maps[stage.name][i]) others.push([stage.name, f, y, x]);
      }
    }
    return others;
    """
    assert compute_in_node(page, body, None) == []


@pytest.mark.slow
@needs_browser
def test_an_empty_paper_is_silent(page):
    body = """
    const state = () => [$("decision").textContent, $("votes").querySelector("i").style.width, $("label").textContent];
    const empty = state();
    start(1);
    return [empty, state()];
    """
    empty, of_image = compute_in_browser(page, body, None)
    assert empty == ["silent", "0%", ""]
    assert of_image[2] == "label </script>"  # that of the first image, whose class has this name
    assert of_image[0] in NAMES


@pytest.mark.slow
@needs_browser
def test_the_browser_centres_drawings_as_the_command_does(page, digits):
    drawn = digits[:8].repeat(10, 1).repeat(10, 2)
    drawn[1::2] = np.roll(drawn[1::2] // 2, 40, 2)
    expected = [read_image(Image.fromarray(picture), 28, 28, centred=True)[0] for picture in drawn]
    found = centre_in_browser(page, drawn)
    assert np.abs(found.astype(int) - expected).max() <= 1  # exponentials of the browser may be rounded otherwise
