"""The page on which images are drawn: ``draw.html``, which extends the page of a run, and its script ``draw.js``.

The page computes with weights of 8 bits, whole numbers, whose sums are exact in any order. A weight is
lower + q · (upper - lower) / 255, where q is a whole number from 0 to 255, and lower and upper are the bounds of the
stage's rule. Without a rule, they are its smallest and its largest weight. All these weights are whole multiples of a
unit. For example, weights of 0.2 to 0.8 are 85 to 340 units of 0.6 / 255. A sum of whole numbers exceeds
threshold / unit if and only if it exceeds the next lower whole number.

The decision stage also learns on the page. Its unit is ``RATE_UNITS`` times smaller, and its rates are rounded to whole
units, so that each weight remains a whole number. For example, the rates 0.01 and 0.0005 are 5,100 and 255 units of
1 / 510,000.
"""

import copy
import math
from collections.abc import Mapping
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import nn

from engine.declaration import MAX_VALUE, to_plain
from engine.layers import Layer
from engine.rules import RSTDP, Margin, MarginRule, Rewarded, Rule
from engine.stages import Inhibit, Pool, SpikingConv, SpikingDense
from errors import InputError
from network_trainer import NetworkTrainer
from report.page import collect_data, encode, load_template
from s1c1 import S1C1
from utils import write_text

COMPUTED = SpikingConv, SpikingDense, Inhibit, Pool  # the kinds of stages in ``answer`` of draw.js
DRAWN = 20  # images of the page
REHEARSED = 5  # training images of each class that are presented in between while the decision stage learns on the page
TESTED = 10  # test images of each class that are decided then
WEIGHT_LEVELS = 255  # spacings between the bounds
RATE_UNITS = 2000  # of a spacing; a rate of a decision stage is a whole number of them: 255 · 2000 is one of 1 / 0.0005
TEACHABLE = {(MarginRule, Margin), (RSTDP, Rewarded)}  # the rules, and their plasticities, in ``learn`` of draw.js
MAX_DENOMINATOR = 64  # lower / spacing is rounded to such a fraction: it changes by at most 1/64 of a spacing
EXACT = 2**24  # float32 represents all whole numbers below it


class WholeWeights(NamedTuple):
    """The weights of a convolution as whole numbers, ``lowest + scale * steps``.

    Attributes:
        steps: uint8 (F, C, k, k).
        unit: a positive number.
        threshold: as a multiple of the unit, rounded down; inf without a threshold.
    """

    steps: np.ndarray
    lowest: int
    scale: int
    unit: float
    threshold: float


def to_whole_weights(layer: Layer, parts: int = 1) -> WholeWeights:
    """Return the nearest weights of 8 bits. parts: of a spacing, which are whole numbers, too."""
    weight = layer.weight.numpy(force=True).astype(np.float64)
    lower, upper = float(weight.min()), float(weight.max())
    if layer.stage.rule is not None:
        plasticity = layer.stage.rule.plasticity()
        lower, upper = plasticity.lower, plasticity.upper
    elif lower == upper:
        upper = lower + max(1.0, abs(lower))
    spacing = (upper - lower) / WEIGHT_LEVELS
    steps = ((weight - lower) / spacing).round().clip(0, WEIGHT_LEVELS).astype(np.uint8)
    ratio = Fraction(lower / spacing).limit_denominator(MAX_DENOMINATOR)
    scale = ratio.denominator * parts
    unit = spacing / scale
    threshold = float(np.floor(layer.threshold / unit * (1 + 1e-12)))  # division may round below a whole number
    return WholeWeights(steps, ratio.numerator * parts, scale, unit, threshold)


def quantize(model: NetworkTrainer) -> tuple[NetworkTrainer, dict[str, WholeWeights]]:
    """Return a copy of a network with weights of 8 bits, and {name of a layer: its whole weights}.

    The weights of the copy are whole numbers, in float32 where all sums are exact, otherwise in float64.
    """
    network = copy.deepcopy(model)
    whole_weights = {}
    for layer_name, layer in network.named_layers():
        learns = layer_name == model.decision and find_rule(layer)
        whole = whole_weights[layer_name] = to_whole_weights(layer, RATE_UNITS if learns else 1)
        if MAX_VALUE < whole.threshold < math.inf:
            raise InputError(
                f"the page of --draw computes with whole numbers: the threshold of {layer_name} must be at most "
                f"{MAX_VALUE * whole.unit:g}, not {layer.threshold:g}"
            )
        weight = whole.lowest + whole.scale * torch.from_numpy(whole.steps).long()
        dtype = torch.float32 if weight[0].numel() * int(weight.abs().max()) < EXACT else torch.float64
        layer.weight = nn.Parameter(weight.to(layer.weight.device, dtype), requires_grad=False)
        layer.threshold = whole.threshold
    return network, whole_weights


def find_rule(layer: Layer) -> Rule | None:
    """Return the rule of a decision layer; None if it is not one by which the page learns."""
    rule = layer.stage.rule
    return rule if rule and (type(rule), type(rule.plasticity())) in TEACHABLE else None


def describe_rule(layer: Layer, whole: WholeWeights) -> dict | None:
    """Describe ``find_rule`` for the page's script: its numbers in whole units, without dropout."""
    rule = find_rule(layer)
    if rule is None:
        return None
    plasticity = rule.plasticity()
    rates = np.rint(rule.first_rates() / whole.unit)
    bounds = [whole.lowest, whole.lowest + WEIGHT_LEVELS * whole.scale]
    first = [value / whole.unit for value in layer.stage.first_weights]
    return {"rates": rates.tolist(), "bounds": bounds, "first": first, "margin": getattr(plasticity, "margin", None)}


def write_drawing_page(
    path: Path,
    network: Any,
    images: np.ndarray,
    labels: np.ndarray,
    indices: np.ndarray,
    examples: Mapping[str, tuple[np.ndarray, np.ndarray]],
    **more: object,
) -> None:
    """Write a page on which images are drawn. The network answers in the browser, by ``draw.js``.

    Args:
        network: a ``TrainedNetwork`` that decides.
        images: test images, uint8 (N, H, W). The page contains how many of them are decided as with the floats.
        labels: their labels, int64 (N,).
        indices: of the images that the page shows.
        examples: images and labels: "rehearsed" while the decision stage learns on the page, and "tested" then.
        more: what the template ``draw.html`` also reads: ``data_name``, of the data set; ``settings``: those of the
            command.

    Raises InputError if the page cannot compute the network, or if the file cannot be written.
    """
    model = network.model
    encoder = network.encoder
    if type(encoder) is not S1C1 or encoder.colours > 1:
        raise InputError(f"the page of --draw encodes grey images by S1C1; it cannot compute {encoder}")
    if model.declaration[model.decision].fires:
        raise InputError(f"the page of --draw cannot compute a decision by the first spike, as {model.name} has")
    for name, stage in model.declaration.items():
        if type(stage) not in COMPUTED:
            kind = type(stage).__name__
            raise InputError(f"the page of --draw cannot compute a stage such as {kind}, {name} of {model.name}")
    computed, whole_weights = quantize(model)
    weights = {}
    for layer_name, whole in whole_weights.items():
        weights[layer_name] = {
            "lowest": whole.lowest,
            "scale": whole.scale,
            "unit": whole.unit,
            "shape": whole.steps.shape,
            "bytes": encode(whole.steps),
        }
    (encoder_fields,) = to_plain(encoder).values()
    rule = describe_rule(model.stages[model.decision], whole_weights[model.decision])
    expected, _ = network.classify(images)
    decisions, _ = replace(network, model=computed).classify(images)
    page = load_template("exports/draw.html").render(
        data=collect_data(network),
        network=network,
        weights=weights,
        description={"decision": model.decision, "encoder": encoder_fields, "stages": describe_stages(computed)},
        rule=rule,
        examples={name: pack_examples(computed, encoder, *each) for name, each in examples.items()} if rule else {},
        indices=indices,
        labels=labels[indices].tolist(),
        pictures=encode(images[indices]),
        decisions=decisions[indices].tolist(),
        tested=len(images),
        equal=int((decisions == expected).sum()),
        **more,
    )
    write_text(path, page)


def pack_examples(model: NetworkTrainer, encoder: S1C1, images: np.ndarray, labels: np.ndarray) -> dict:
    """Return labels, and as bits which inputs of the decision stage spike, (N, C, H, W)."""
    maps = model.map_of(encoder.encode(images), model.input_name(model.find_decision()))[:]
    return {"labels": labels.tolist(), "bits": encode(np.packbits((maps < model.time_steps).numpy()))}


def describe_stages(model: NetworkTrainer) -> list[dict]:
    """Describe the stages for the page's script, bottom up."""
    stages = []
    for name, stage in model.declaration.items():
        entry: dict = {"name": name, "kind": type(stage).__name__, "inputs": model.inputs_of(name)}
        for layer_name, layer in model.named_layers([name]):
            conv = layer.stage
            entry |= {"label": layer_name, "kernel": conv.kernel, "padding": conv.padding, "levels": conv.levels}
            entry["threshold"] = layer.threshold if conv.fires else None
        if not stage.convs:
            entry |= {key: value for key, value in vars(stage).items() if key != "inputs"}
        stages.append(entry)
    return stages
