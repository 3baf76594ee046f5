"""The functions of the event backend, which ``engine/layers.py`` calls; ``engine/torch_backend.py`` has the same.

They get layers and tensors that ``Layer`` has checked. Each call lays out the weights anew, because users can write to
the weights of a layer at any time; what takes longer is kept for the next call in case nobody has (``PREPARED``).
"""

import math
import threading
from weakref import WeakKeyDictionary

import numpy as np
import torch
from torch import Tensor

from engine.backends import LayerState
from engine.decision import NO_TARGETS, Result, Targets, allow_rounding
from engine.event import deciding, firing, learning, together
from engine.event.competition import Competitor
from engine.event.counting import FULL, find_counts
from engine.event.identity import make_plasticity
from engine.event.layout import (
    BANK,
    Geometry,
    Weights,
    allocate_aligned,
    bank_width,
    is_dense,
    make_banks,
    make_rows,
    transpose,
    transpose_back,
)
from engine.event.potentials import find_peaks, make_inputs, make_peaks
from engine.event.screening import can_screen, make_screen, sum_codes
from engine.event.simd import lanes
from engine.event.together import LowerLayer
from engine.rules import Rule, find_competition, naming
from engine.threads import run_parts

IMAGES_AT_ONCE = 256  # images whose spikes are listed together when nothing is learned
FEW_ADDITIONS = 2_000_000  # for an image, if all inputs spike; below, one thread is as fast (results/logs/busy.log)
NO_RATES = np.empty((0, 1, 2))  # a layer decides and does not learn


class Prepared(threading.local):
    """What is kept for the next call belongs to one thread, because it contains the memory of a call.

    layers: {layer: (what it depends on beside the weights, the ``DecidingLayer`` of the last call)}.
    """

    def __init__(self):
        self.layers: WeakKeyDictionary = WeakKeyDictionary()


PREPARED = Prepared()


def fire(layer: LayerState, latency: Tensor, threshold: float, pool: int) -> Tensor:
    """Compute the first spikes of latency uint8 (N, C, H, W), as ``torch_backend.fire`` does.

    Returns:
        uint8 (N, F, Ho / pool, Wo / pool), the earliest spike of each pool×pool window.
    """
    array = layer.weight.detach().numpy()
    geometry = geometry_of(layer, latency, 1)
    limit = array.dtype.type(allow_rounding(threshold, array.dtype))
    counts = find_counts(array, threshold)
    counted = np.flatnonzero(counts)
    ones = (array[counted] > 0.5).view(np.uint8)
    starts = (FULL - counts[counted]).astype(np.uint8)
    summed = np.flatnonzero(counts == 0)
    parts = (
        _choose_features(geometry, counted, ones, np.uint8(FULL - 1), starts),
        _choose_features(geometry, summed, array[summed], limit, np.zeros(len(summed))),
    )
    size = geometry.out_height // pool, geometry.out_width // pool
    # by NumPy: torch's threads would fill it, and then wait in a loop that takes the time of the kernel's threads
    out = np.full((len(latency), geometry.features, *size), geometry.time_steps, np.uint8)
    run_parts(firing.fire_part, len(latency), latency.numpy(), geometry._replace(stride=1), *parts, pool, out)
    return torch.from_numpy(out)


def peaks(layer: LayerState, latency: Tensor, only_highest: bool = False) -> Tensor:
    """Compute the peaks at the last time step, as ``torch_backend.peaks`` does: uint8 (N, C, H, W) -> (N, F).

    only_highest: whether all but the highest peak of an image may be -1, which takes about half the time (screening).
    """
    stage = layer.stage
    if only_highest and not stage.fires and any(rule.needs_labels for rule in stage.rules):
        one = np.zeros(stage.out_channels, np.int64)
        result = learn_decisions(layer, latency, torch.zeros(len(latency), dtype=torch.int64), one, NO_RATES, None)
        found = layer.weight.new_full((len(latency), stage.out_channels), -1)
        found[torch.arange(len(latency)), result.decisions[:, 0].long()] = result.highest
        return found
    array = layer.weight.detach().numpy()
    geometry = geometry_of(layer, latency, BANK)
    banks = make_banks(transpose(array), bank_width(geometry))
    inputs = make_inputs(min(len(latency), IMAGES_AT_ONCE), geometry)
    found = make_peaks(min(len(latency), IMAGES_AT_ONCE), geometry.stride, array.dtype)
    out = layer.weight.new_empty((len(latency), geometry.features))
    for start in range(0, len(latency), IMAGES_AT_ONCE):
        part = latency[start : start + IMAGES_AT_ONCE]
        find_peaks(part.numpy(), geometry, banks, deciding.LARGE_CHUNK, inputs, found)
        out.numpy()[start : start + len(part)] = found.values[: len(part), : geometry.features]
    return out


def learn_features(
    layer: LayerState,
    latency: Tensor,
    rule: Rule,
    rates: np.ndarray,
    targets: Targets = NO_TARGETS,
) -> Tensor:
    """Let a firing layer learn from latency uint8 (N, C, H, W), as ``torch_backend.learn_features`` does.

    Args:
        rates: float64 (N, 1, 2), (LTP, LTD) for each image; with labels (N, 2, 2), of a reward and of a punishment.
        targets: of a decision layer: its first winner decides, and all winners learn from the decision.

    Returns:
        The winners, int32 (N, K, 4): feature, line, column, time step; -1: fewer winners.
    """
    competitor, weights, plasticity = _prepare_firing(layer, latency, rule)
    winners = torch.full((len(latency), competitor.max_winners, 4), -1, dtype=torch.int32)
    rates = rates.astype(weights.rows.dtype)
    with naming(rule):
        learning.learn_features(latency.numpy(), targets, competitor, weights, plasticity, rates, winners.numpy())
    transpose_back(weights.transposed, layer.weight.detach().numpy())
    return winners


def learn_decisions(
    layer: LayerState,
    latency: Tensor,
    labels: Tensor,
    classes: np.ndarray,
    rates: np.ndarray,
    left_out: np.ndarray | None,
) -> Result:
    """Learn by the rule of a decision stage, as ``torch_backend.learn_decisions`` does, one image after another.

    Args:
        latency: uint8 (N, C, H, W).
        labels: int64 (N,).
        classes: int64 (F,), the class of each feature.
        rates: float64 (N, rows, 2), the rows (LTP, LTD) of the rule for each image.
        left_out: bool (N, F), the neurons that are left out, see ``Rule.draw_left_out``; None: none.
    """
    rule = layer.stage.rules[-1]
    if left_out is None:
        left_out = np.zeros((len(latency), layer.stage.out_channels), bool)
    if layer.stage.fires:
        targets = Targets(labels.numpy(), classes, left_out)
        winners = learn_features(layer, latency, rule, rates, targets)
        return Result.of_first_spikes(winners, layer.weight.dtype)
    result = Result.silent(len(latency), layer.weight.dtype)
    geometry = geometry_of(layer, latency, BANK)
    deciding_layer = _prepare_deciding(layer, latency, classes)
    weights, inputs, screen = deciding_layer.weights, deciding_layer.inputs, deciding_layer.screen
    chunk = len(inputs.times)
    threads = _count_threads(geometry)
    pieces = threads if is_dense(geometry) else min(threads, 2)  # of each bank: a dense layer has few banks
    size = math.ceil(chunk / pieces)  # images of a piece of work
    rates = rates.astype(weights.rows.dtype)
    labels = labels.numpy()
    start = 0
    with naming(rule):
        while start < len(latency):
            part = slice(start, start + chunk)
            images = latency[part].numpy()
            if len(screen.spacing):
                sum_codes(images, geometry, inputs, screen, threads)
            else:
                find_peaks(images, geometry, weights.rows, size, inputs, deciding_layer.peaks, threads)
            decisions = deciding.Decisions(result.decisions.numpy()[part], result.highest.numpy()[part])
            start += deciding.learn_decisions(labels[part], deciding_layer, rates[part], left_out[part], decisions)
    if len(rates):  # a decision writes no weights: another thread may learn
        transpose_back(weights.transposed, layer.weight.detach().numpy())
    return result


def learn_together(
    lower: LayerState,
    upper: LayerState,
    latency: Tensor,
    labels: Tensor,
    pool: int,
    classes: np.ndarray,
    rates: tuple[np.ndarray, np.ndarray | None],
) -> Result:
    """Let a firing layer and the decision layer above it learn, as ``torch_backend.learn_together`` does.

    Both learn from each decision, one image after another.

    Args:
        latency: uint8 (N, C, H, W), the input of the firing layer.
        labels: int64 (N,).
        pool: size of the pooling between the layers.
        classes: int64 (F,), the class of each feature of the decision layer.
        rates: float64 (N, rows, 2) of the firing layer (row 0 after a correct decision, row 1 after a wrong decision),
            and of the decision layer; None: the decision layer does not learn.
    """
    rule = lower.stage.rules[-1]
    lower_rates, upper_rates = rates
    if upper_rates is None:
        upper_rates = NO_RATES
    competitor, weights, plasticity = _prepare_firing(lower, latency, rule)
    result = Result.silent(len(latency), upper.weight.dtype, competitor.max_winners)
    geometry = competitor.geometry
    line = np.tile(competitor.start, geometry.out_width)
    indices = np.arange(geometry.features)
    features = firing.FiringFeatures(indices, weights.rows, geometry, competitor.limit, line, 1)
    below = LowerLayer(competitor, features, weights, plasticity, pool)
    size = geometry.out_height // pool, geometry.out_width // pool
    above = _prepare_deciding(upper, latency.new_empty((1, geometry.features, *size)), classes)
    lower_rates = lower_rates.astype(weights.rows.dtype)
    upper_rates = upper_rates.astype(weights.rows.dtype)
    decisions = deciding.Decisions(result.decisions.numpy(), result.highest.numpy())
    with naming(rule, upper.stage.rules[-1]):
        winners = result.winners.numpy()
        images = latency.numpy()
        together.learn_together(images, labels.numpy(), below, above, lower_rates, upper_rates, winners, decisions)
    transpose_back(weights.transposed, lower.weight.detach().numpy())
    transpose_back(above.weights.transposed, upper.weight.detach().numpy())
    return result


def geometry_of(layer, latency, block):
    """Return the ``Geometry`` of a layer for latency (N, C, H, W); its rows are whole blocks of numbers."""
    stage = layer.stage
    shape = latency.shape[1:]
    features, *out_size = stage.shape([shape])
    stride = -(-features // block) * block
    values = layer.time_steps, *shape, stage.kernel, stage.padding, features, stride, *out_size
    return Geometry._make(values)


def _choose_features(geometry, indices, weight, limit, start):
    """Return the ``FiringFeatures`` with these indices, weight (n, C, k, k), limit and first potentials (n,)."""
    block = lanes(weight.dtype)
    stride = -(-len(indices) // block) * block
    row = np.zeros(stride, weight.dtype)
    row[: len(indices)] = start
    line = np.tile(row, geometry.out_width)
    rows = line[:0]
    if len(indices):
        rows = make_rows(transpose(weight), stride)
    geometry = geometry._replace(features=len(indices), stride=stride)
    return firing.FiringFeatures(indices, rows, geometry, limit, line, stride)


def _prepare_firing(layer, latency, rule):
    """Return what a firing layer needs to learn from latency (N, C, H, W)."""
    array = layer.weight.detach().numpy()
    geometry = geometry_of(layer, latency, lanes(array.dtype))
    plasticity = make_plasticity(rule, array.dtype)
    transposed = transpose(array)
    rows = make_rows(transposed, geometry.stride)
    winners, radius = find_competition(rule)
    limit = array.dtype.type(allow_rounding(layer.threshold, array.dtype))
    start = np.zeros(geometry.stride, array.dtype)
    radius = min(radius, max(geometry.out_height, geometry.out_width))  # no neuron is farther away
    potential = allocate_aligned(geometry.out_height * geometry.out_width * geometry.stride, rows)
    spikes = firing.make_spikes(geometry)
    competitor = Competitor(geometry, rows, limit, start, winners, radius, potential, spikes)
    return competitor, Weights(transposed, rows, _are_inside(array, plasticity)), plasticity


def _prepare_deciding(layer, latency, classes):
    """Return a decision layer for the kernels, and the memory for a chunk of the images of ``latency``.

    For a single image, codes would take longer than exact sums.
    """
    array = layer.weight.detach().numpy()
    rule = layer.stage.rules[-1]
    geometry = geometry_of(layer, latency, BANK)
    transposed = transpose(array)
    plasticity = make_plasticity(rule, array.dtype)  # of a user's rule, its numbers may differ in each batch
    key = type(plasticity), plasticity.lower, plasticity.upper, geometry, array.dtype, len(latency)
    last_key, prepared = PREPARED.layers.get(layer, (None, None))
    if last_key == key and np.array_equal(prepared.weights.transposed, transposed):
        return prepared._replace(plasticity=plasticity, classes=classes, drops=rule.drops)
    is_screened = len(latency) > 1 and can_screen(geometry, transposed, plasticity.verdict)
    chunk = deciding.LARGE_CHUNK if is_screened or is_dense(geometry) else deciding.EXACT_CHUNK
    images = min(len(latency), chunk)
    none = transposed[:0]
    screen = make_screen(images, geometry, transposed if is_screened else none)
    rows = make_banks(none if is_screened else transposed, bank_width(geometry))  # codes take their place
    weights = Weights(transposed, rows, _are_inside(array, plasticity))
    inputs = make_inputs(images, geometry)
    found = make_peaks(images, geometry.stride, array.dtype)
    drift = np.zeros(geometry.features)
    prepared = deciding.DecidingLayer(geometry, weights, plasticity, classes, rule.drops, inputs, found, screen, drift)
    PREPARED.layers[layer] = key, prepared
    return prepared


def _are_inside(array, plasticity):
    """Return whether all weights lie within the bounds of a rule, bool (1,)."""
    return np.array([plasticity.lower <= array.min() and array.max() <= plasticity.upper])


def _count_threads(geometry):
    """Return the number of threads of a decision layer that learns: torch's, or 1 if the layer is small."""
    reached = min(geometry.kernel**2, geometry.out_height * geometry.out_width)  # positions, by each spike
    additions = geometry.channels * geometry.height * geometry.width * reached * geometry.features
    return 1 if additions < FEW_ADDITIONS else torch.get_num_threads()
