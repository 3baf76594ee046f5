"""Weights of few bits: each stage computes with whole numbers, as many chips do.

With b bits, a weight is w = lower + q · (upper - lower) / (2^b - 1), where q is a whole number from 0 to 2^b - 1, and
lower and upper are the bounds of the stage's rule. Without a rule, they are its smallest and its largest weight. All
these weights are whole multiples of a unit. For example, weights of 0.2 to 0.8 become 1 and 4 of a unit of 0.2 with one
bit. A sum of whole numbers exceeds threshold / unit if and only if it exceeds the next lower whole number.
"""

import copy
import math
from collections.abc import Iterator, Sequence
from fractions import Fraction
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import nn

from engine.event.counting import find_counts
from engine.graph import LatencyMap
from engine.layers import Layer
from network_trainer import NetworkTrainer
from report.evaluation import Evaluation

MAX_DENOMINATOR = 64  # lower / step is rounded to such a fraction, so it changes by at most 1/64 of a step
EXACT = 2**24  # float32 represents all whole numbers below it
ROUNDING = 1e-6  # of upper - lower: a float32 weight at a bound may lie outside by less


class WholeWeights(NamedTuple):
    """The weights of a convolution as whole numbers.

    Attributes:
        weight: int64 (F, C, k, k), multiples of the unit.
        unit: a positive number.
        threshold: as a multiple of the unit, rounded down; inf without a threshold.
        clipped: number of weights that lay outside the bounds.
    """

    weight: torch.Tensor
    unit: float
    threshold: float
    clipped: int


def to_whole_weights(layer: Layer, bits: int) -> WholeWeights:
    """Return the nearest weights of ``bits`` bits."""
    weight = layer.weight.detach().double().cpu()
    lower, upper = float(weight.min()), float(weight.max())
    if layer.stage.rule is not None:
        plasticity = layer.stage.rule.plasticity()
        lower, upper = plasticity.lower, plasticity.upper
    elif lower == upper:
        upper = lower + max(1.0, abs(lower))
    levels = 2**bits - 1
    step = (upper - lower) / levels
    outside = ROUNDING * (upper - lower)
    clipped = int(((weight < lower - outside) | (weight > upper + outside)).sum())
    steps = ((weight - lower) / step).round().clamp(0, levels).long()
    ratio = Fraction(lower / step).limit_denominator(MAX_DENOMINATOR)
    unit = step / ratio.denominator
    threshold = float(np.floor(layer.threshold / unit * (1 + 1e-12)))  # division may round below a whole number
    return WholeWeights(ratio.numerator + ratio.denominator * steps, unit, threshold, clipped)


def quantize(model: NetworkTrainer, bits: int) -> tuple[NetworkTrainer, dict[str, WholeWeights]]:
    """Return a copy of a network with weights of ``bits`` bits, and {name of a layer: its whole weights}.

    The weights of the copy are whole numbers, in float32 where all sums are exact, otherwise in float64.
    """
    network = copy.deepcopy(model)
    whole_weights = {}
    for layer_name, layer in network.named_layers():
        whole = whole_weights[layer_name] = to_whole_weights(layer, bits)
        largest_sum = whole.weight[0].numel() * int(whole.weight.abs().max())
        dtype = torch.float32 if largest_sum < EXACT else torch.float64
        layer.weight = nn.Parameter(whole.weight.to(layer.weight.device, dtype), requires_grad=False)
        layer.most_threshold = 2.0**53  # of whole units
        layer.threshold = whole.threshold
    return network, whole_weights


def measure_bits(
    model: NetworkTrainer, latencies: LatencyMap, labels: np.ndarray, bits: Sequence[int]
) -> Iterator[dict[str, Any]]:
    """Test a network with weights of few bits; yield a dict for each number of bits.

    It contains the accuracy, the fraction of silent images, the number of images for which two classes have the same
    highest score ("ties"; the first of them is decided), the number of weights outside the bounds ("clipped"), and the
    bytes of all weights.
    """
    for count in bits:
        network, whole_weights = quantize(model, count)
        evaluation = Evaluation(*network.decide(latencies), labels)
        highest = evaluation.scores.max(1, keepdims=True)
        is_tie = ((evaluation.scores == highest) & (highest > 0)).sum(1) > 1
        weights = sum(whole.weight.numel() for whole in whole_weights.values())
        yield {
            "bits": count,
            "accuracy": evaluation.metrics["accuracy"],
            "silent": evaluation.metrics["silent"],
            "ties": int(is_tie.sum()),
            "clipped": sum(whole.clipped for whole in whole_weights.values()),
            "bytes": math.ceil(weights * count / 8),
        }


def describe_bits(rows: Sequence[dict[str, Any]], model: NetworkTrainer) -> Iterator[str]:
    """Yield the lines of a table of ``measure_bits``, and how many features of each firing stage are counters."""
    yield f"weights of few bits, of decision neurons that have learned by {model.phases[-1].main_rule.title}:"
    yield "bits  accuracy   silent   ties   weights"
    for row in rows:
        clipped = f"  ({row['clipped']:,} weights outside their bounds were clipped)" if row["clipped"] else ""
        scores = f"{100 * row['accuracy']:7.2f} %  {100 * row['silent']:5.2f} %  {row['ties']:5,}"
        yield f"{row['bits']:>4}  {scores}  {row['bytes'] / 1000:,.0f} kB{clipped}"
    shares = []
    for layer_name, layer in model.named_layers():
        if layer.stage.fires:
            weight = layer.weight.numpy(force=True)
            counts = find_counts(weight, layer.threshold)
            shares.append(f"{layer_name} {np.count_nonzero(counts)} of {len(counts)}")
    if shares:
        yield f"features that only count the spikes of their strong inputs: {', '.join(shares)}"
