"""Write conformance.npz: python -m results.conformance.make_conformance

The inputs are drawn from a seed. The winners and the weights are those of the compiled backend in float64.
"""

import math
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import torch

from engine.decision import Outcome, class_of_features, classes_of
from engine.layers import Layer
from engine.rules import RSTDP, STDP, MarginRule, Rule
from engine.stages import SpikingConv
from utils import write_atomically

IMAGES = 20
BLANK, SPARSE = 0, 12  # the numbers of images without spikes, and with a few


def draw_cases() -> dict[str, SimpleNamespace]:
    """Return {name: case} without winners and weights.

    All numbers are exact in binary. So sums are exact in any order of the additions, and ties are ties. Only the
    weights of stdp_stabilizer and stdp_bounds become inexact; there, no two potentials that are compared are nearly
    equal.
    """
    firing = {"rates": [(0.0625, -0.03125)], "double_every": 8, "highest": 0.1875, "depression": -0.75}
    firing |= {"lower": 0.0, "upper": 1.0}
    stdp = {"time_steps": 6, "padding": 0, "threshold": 2.5, "winners": 3, "radius": 0, "stabilizer": False}
    stabilizer = {"time_steps": 15, "padding": 1, "threshold": 5.0, "winners": 5, "radius": 2, "stabilizer": True}
    deciding = {"threshold": 0.0, "winners": 1, "radius": 0, "stabilizer": False, "lower": 0.25, "upper": 0.75}
    deciding |= {"batch": 4, "epoch": 10}
    rstdp = {"time_steps": 8, "padding": 2, "classes": 4, "rates": [(0.0625, -0.03125), (-0.0625, 0.0078125)]}
    margin = {"time_steps": 10, "padding": 1, "classes": 3, "rates": [(0.125, -0.03125), (-0.125, 0.03125)]}
    margin |= {"margin": 0.125, "decay": 0.5}
    coarse = {"rates": [(0.25, -0.25)], "time_steps": 4, "threshold": 1.5, "winners": 4, "radius": 1}
    between = {"lower": 0.25, "upper": 0.75, "threshold": 4.0}
    equal = {"time_steps": 6, "padding": 0, "classes": 2, "rates": [(0.25, -0.25), (-0.25, 0.25)]}
    equal |= {"margin": 0.5, "decay": 0.5, "lower": 0.0, "upper": 1.0}
    cases = {
        "stdp": draw("stdp", 60, (6, 2, 2), (9, 7), (0.25, 1.25, 0.25), **firing, **stdp),
        "stdp_stabilizer": draw("stdp", 0, (8, 4, 3), (8, 10), (0.5, 1.0, 2**-10), **firing, **stabilizer),
        "rstdp": draw("rstdp", 2, (8, 3, 3), (7, 5), (0.125, 0.875, 0.125), **deciding, **rstdp),
        "margin": draw("margin", 1, (6, 4, 2), (5, 6), (0.125, 0.875, 0.125), **deciding, **margin),
        "stdp_ties": draw("stdp", 0, (8, 2, 2), (6, 7), (0.25, 0.75, 0.25), **firing | stdp | coarse),
        "stdp_bounds": draw("stdp", 8, (8, 4, 3), (8, 10), (0.25, 0.75, 2**-10), **firing | stabilizer | between),
        "margin_equal": draw("margin", 0, (4, 2, 2), (4, 4), (0.0, 1.0, 0.5), **deciding | equal),
    }
    case = cases["margin_equal"]  # features 0 and 1, of the first class, are silent in two images, one of each class
    case.first_weights[:2, 0] = 0
    case.latencies[1:3, 1] = case.time_steps
    case.labels[1:3] = 0, 1
    return cases


def draw(rule: str, seed: int, sizes: tuple, sides: tuple, weights: tuple, **fields) -> SimpleNamespace:
    """Return a case with drawn images and first weights.

    sizes: features, channels, side of the kernel. sides: (H, W). weights: the lowest and the highest first weight, and
    the unit of which they are multiples. fields: other fields of the case.
    """
    rng = np.random.default_rng(seed)
    features, channels, kernel = sizes
    lowest, highest, unit = weights
    steps = fields["time_steps"]
    drawn = rng.integers(lowest / unit, highest / unit, (features, channels, kernel, kernel), endpoint=True)
    labels = rng.integers(0, fields.get("classes", IMAGES), IMAGES)
    latencies = rng.integers(0, 2 * steps, (IMAGES, channels, *sides)).clip(max=steps)  # half of the inputs are silent
    is_common = rng.random(latencies.shape) < 0.75
    latencies = np.where(is_common, latencies[labels], latencies)  # images of a class are alike
    latencies[BLANK] = steps
    latencies[SPARSE, :, 2:] = steps
    case = SimpleNamespace(rule=rule, latencies=latencies.astype(np.uint8), first_weights=drawn * unit, **fields)
    case.rates = np.array(case.rates)
    if "classes" in fields:
        case.labels = labels
    return case


def build_rule(case: SimpleNamespace) -> Rule:
    """Return the rule of a case."""
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


def learn(case: SimpleNamespace, backend: str = "event", dtype: torch.dtype = torch.float64) -> Iterator[tuple]:
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


def main() -> None:
    arrays = {}
    for name, case in draw_cases().items():
        shape = IMAGES, case.winners, 4
        case.expected_winners = np.full(shape, -1)
        case.expected_weights = np.empty((IMAGES, *case.first_weights.shape))
        for image, (winners, weights) in enumerate(learn(case)):
            case.expected_winners[image, : len(winners)] = np.reshape(winners, (-1, 4))
            case.expected_weights[image] = weights
        fields = vars(case)
        del fields["rule"]  # it begins the name
        arrays |= {f"{name}/{field}": value for field, value in fields.items()}
    path = Path(__file__).with_name("conformance.npz")
    write_atomically(path, partial(np.savez_compressed, **arrays))


if __name__ == "__main__":
    main()
