"""The conformance file: its check, deliberate errors in the check, both backends, and the package SpykeTorch."""

import math
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from engine.decision import Outcome, class_of_features, classes_of
from engine.layers import Layer
from engine.rules import RSTDP, STDP, MarginRule
from engine.stages import SpikingConv
from results.conformance import check_conformance as check
from s1c1 import S1C1
from SpykeTorch import functional as sf
from SpykeTorch import snn

SCRIPT = Path(check.__file__)
CASES = check.read_cases()
LAYERS = [name for name in CASES if name != "encoder"]
LAST = "(lambda v, axis=None: (v.size if axis is None else len(v)) - 1 - np.flip(v, axis).argmax(axis))("
ERRORS = {  # the text that an error replaces, and what is found
    "LTP and LTD swapped": ("*rates[row])", "*rates[row][::-1])", "stdp: image 1: the weights differ by up to 0.09"),
    "ties by the last index": ("np.argmax(", LAST, "stdp: image 1: the winners are [["),
    "winners by position before feature": (
        "np.unravel_index(np.argmax(earliest), earliest.shape)",
        "np.roll(np.unravel_index(np.argmax(np.moveaxis(earliest, 0, 2)), np.roll(earliest.shape, -1)), 1)",
        "stdp_ties: image 1: the winners are",
    ),
    "winners by column before line": (
        "np.unravel_index(np.argmax(earliest), earliest.shape)",
        "(np.array(np.unravel_index(np.argmax(earliest.swapaxes(1, 2)), earliest.swapaxes(1, 2).shape)))[[0, 2, 1]]",
        "stdp_ties: image 1: the winners are",
    ),
    "the stabilizer between 0 and 1": (
        "(weights[f] - case.lower) * (case.upper - weights[f])",
        "weights[f] * (1 - weights[f])",
        "stdp_bounds: image 1: the weights differ by",
    ),
    "learning at the margin itself": (
        "< (1 + case.margin)",
        "<= (1 + case.margin)",
        "margin_equal: image 3: the weights differ by",
    ),
    "learning if the true class is silent": (
        "if true and other and",
        "if other and not true:\n        return [(1, other[0])]\n    if true and other and",
        "margin_equal: image 1: the weights differ by",
    ),
    "learning if the other classes are silent": (
        "if true and other and",
        "if true and not other:\n        return [(0, true[0])]\n    if true and other and",
        "margin_equal: image 2: the weights differ by",
    ),
    "no stabilizer": (
        "if case.stabilizer else",
        "if False else",
        "stdp_stabilizer: image 1: the weights differ by",
    ),
    "off-centre filters with the scale of on-centre ones": (
        "return difference / difference.max()",
        "return difference / np.abs(difference).max()",
        "encoder: image 1: ",
    ),
    "light outside the image": ("kernel) // 2)", 'kernel) // 2, "edge")', "encoder: image 1: "),
    "no normalisation": ("np.where(response > 0, mean, 1)", "1", "encoder: image 1: "),
    "silent values if there are few": ("np.arange(n) //", "15 * (n < 15) + np.arange(n) //", "encoder: image 1: "),
    "the weakest values spike": (
        "np.minimum(steps, case.time_steps)",
        "np.minimum(steps, case.time_steps - 1)",
        "encoder: image 2: ",
    ),
    "equal values by column": (
        "np.argsort(-intensities,",
        "np.argsort(-intensities.swapaxes(1, 2),",
        "encoder: image 1: ",
    ),
}


def build_rule(case):
    """The rule of a case."""
    bounds = float(case.lower), float(case.upper)
    first, *others = map(tuple, case.rates.tolist())
    if case.rule == "stdp":
        competition = int(case.winners), int(case.radius)
        schedule = int(case.double_every), float(case.highest), float(case.depression)
        return STDP(*competition, first, bounds, bool(case.stabilizer), *schedule)
    if case.rule == "rstdp":
        return RSTDP(reward=first, punishment=others[0], bounds=bounds)
    ltp, ltd = first
    return MarginRule(float(case.margin), ltp, float(case.decay), -ltd / ltp, bounds)


def learn(case, backend, dtype=torch.float64):
    """Let a layer learn from the images of a case. Yields its winners and its weights after each image."""
    rule = build_rule(case)
    features, channels, kernel, _ = case.first_weights.shape
    threshold = math.inf if rule.needs_labels else float(case.threshold)
    stage = SpikingConv(features, kernel, padding=int(case.padding), threshold=threshold, rule=rule)
    layer = Layer(stage, channels, int(case.time_steps), backend, dtype)
    layer.weight.copy_(torch.from_numpy(case.first_weights))
    images = torch.from_numpy(case.latencies).split(1)
    if not rule.needs_labels:
        for image in images:
            winners = layer.learn_features(image, rule)[0]
            yield winners[winners[:, 0] >= 0].tolist(), layer.weight.numpy()
        return
    labels = torch.from_numpy(case.labels)
    classes = class_of_features(features, int(case.classes))
    outcome = Outcome(0, 0, 0)
    for number, image in enumerate(images):
        label = labels[number : number + 1]
        result = layer.learn_decisions(image, label, classes, np.random.default_rng(0), number // int(case.epoch))
        decisions = result.decisions[result.decisions[:, 0] >= 0]
        yield [[*decision, case.time_steps - 1] for decision in decisions.tolist()], layer.weight.numpy()
        found = Outcome.of(classes_of(result.decisions[:, 0].long(), classes), label)
        outcome = Outcome(*map(sum, zip(outcome, found, strict=True)))
        if sum(outcome) == case.batch:
            layer.adapt(rule, outcome)
            outcome = Outcome(0, 0, 0)


def test_the_check_computes_the_file_anew():
    """Without the repository in its module path (-I), because the specification imports nothing of it."""
    checked = subprocess.run([sys.executable, "-I", SCRIPT], capture_output=True, text=True)
    assert (checked.returncode, checked.stderr) == (0, "")
    assert checked.stdout.split() == [word for name in CASES for word in (f"{name}:", "equal")]


@pytest.mark.parametrize("error", ERRORS)
def test_an_error_is_found(error):
    right, wrong, printed = ERRORS[error]
    source = SCRIPT.read_text(encoding="utf-8")
    assert right in source
    changed = {}
    exec(source.replace(right, wrong), changed)
    name, _, expected = printed.partition(": ")
    assert check.compare(CASES[name], changed["compute"](CASES[name])).startswith(expected)


@pytest.mark.parametrize("name", LAYERS)
def test_the_form_of_the_file_conforms(name):
    """Fewer winners than ``winners`` are filled up with -1."""
    case = CASES[name]
    assert check.compare(case, zip(case.expected_winners, case.expected_weights, strict=True)) == "equal"


@pytest.mark.parametrize("name", LAYERS)
def test_both_backends_conform(name, backend):
    """Tensors in float32 too, if all sums are exact; kernels would be compiled for each type."""
    case = CASES[name]
    assert check.compare(case, learn(case, backend)) == "equal"
    if name not in ("stdp_stabilizer", "stdp_bounds") and backend == "torch":
        assert check.compare(case, learn(case, backend, torch.float32)) == "equal"


def test_the_encoder_conforms():
    """By whole numbers; the specification computes with float64."""
    case = CASES["encoder"]
    filters = tuple((int(window), *sigmas) for window, *sigmas in case.filters.tolist())
    encoder = S1C1(filters, float(case.threshold), int(case.radius), int(case.time_steps))
    assert encoder == S1C1()
    assert check.compare(case, encoder.encode(case.images).numpy()) == "equal"


def learn_by_spyketorch(case):
    """Yield the winners and the weights of a script with the SpykeTorch interface."""
    features, channels, kernel, _ = case.first_weights.shape
    layer = snn.Convolution(channels, features, kernel).double()
    layer.load_weight(torch.from_numpy(case.first_weights))
    rule = snn.STDP(layer, (0, 0), bool(case.stabilizer), case.lower, case.upper)
    rows = []
    for number, latency in enumerate(torch.from_numpy(case.latencies)):
        wave = sf.latency_to_wave(latency, int(case.time_steps), torch.float64)
        padded = sf.pad(wave, (int(case.padding),) * 4)
        potentials = layer(padded)
        row = 0
        if case.rule == "stdp":
            _, thresholded = sf.fire(potentials, case.threshold, True)
            potentials = sf.pointwise_inhibition(thresholded)
            spikes = potentials.sign()
            winners = sf.get_k_winners(potentials, int(case.winners), int(case.radius), spikes)
        else:
            spikes = sf.fire(potentials)
            winners = sf.get_k_winners(sf.threshold(potentials), 1, 0, spikes)
            row = int(any(f * case.classes // features != case.labels[number] for f, _, _ in winners))
        rule.update_all_learning_rate(*check.find_rates(number, rows, case)[row])  # scripts compute the rates
        rule(padded, potentials, spikes, winners)
        rows.append([row] * len(winners))
        times = sf.wave_to_latency(spikes)
        yield [(*winner, int(times[winner])) for winner in winners], layer.weight.numpy()


@pytest.mark.parametrize("name", [name for name in LAYERS if CASES[name].rule != "margin"])
def test_the_package_conforms(name):
    assert check.compare(CASES[name], learn_by_spyketorch(CASES[name])) == "equal"
