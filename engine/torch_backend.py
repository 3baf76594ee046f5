"""The torch backend: whole spike waves, one convolution for each time step, on any device.

It consists of SpykeTorch's operations. A GPU runs it, and it is the slow reference implementation with which the tests
compare ``engine/event``. It has the same five functions; ``engine/event/backend.py`` states their arguments.

How a layer learns from an image is in the first functions, ``learn_features`` to ``_change_weights``.
"""

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from engine.backends import LayerState
from engine.checks import check_learners
from engine.decision import NO_TARGETS, Result, Targets, allow_rounding, strongest, tolerance
from engine.rules import Competition, Rule, find_competition, naming
from engine.stages import pool_latency
from SpykeTorch import functional as sf

WAVE_ELEMENTS = 1 << 26  # numbers in memory at the same time, if images share a convolution


# ---------------------------------------------------------------------------------------------------------------------
# Learning without labels: spikes and potentials, winners, changes of their weights


def learn_features(
    layer: LayerState,
    latency: Tensor,
    rule: Rule,
    rates: np.ndarray,
    targets: Targets = NO_TARGETS,
) -> Tensor:
    """Let a firing layer learn, as ``event.learn_features`` does; return the winners int32 (N, K, 4)."""
    competition = find_competition(rule)
    result = torch.full((len(latency), competition.winners, 4), -1, dtype=torch.int32)
    rates = torch.tensor(rates).to(layer.weight)
    with naming(rule):
        for n, image in enumerate(latency):
            left_out = targets.left_out[n] if len(targets.left_out) else None
            winners, _ = _compete(layer, image, competition, left_out)
            row = 0  # (LTP, LTD), the only row without labels
            if len(winners) and len(targets.labels):  # the first winner decides
                decided = targets.classes[winners[0, 0]]
                row = 0 if decided == targets.labels[n] else 1
            _update_winners(layer, image, winners, rates[n, row], rule)
            result[n, : len(winners)] = winners
    return result


def _compete(
    layer: LayerState, image: Tensor, competition: Competition, left_out: np.ndarray | None = None
) -> tuple[Tensor, Tensor]:
    """Return the winners int32 (n, 4) and first spikes uint8 (F, Ho, Wo) of an image. Kernel: ``competition.compete``.

    image: (C, H, W). left_out: bool (F,), the features that do not fire.
    """
    # 1. Neurons fire when their potentials exceed the threshold.
    potentials = _compute_potentials(layer, image[None])[0]
    if left_out is not None:
        silent = torch.from_numpy(left_out).to(potentials.device)
        potentials[:, silent] = -torch.inf
    limit = allow_rounding(layer.threshold, layer.weight.dtype)
    spikes, thresholded = sf.fire(potentials, limit, return_thresholded_potentials=True)
    first = sf.wave_to_latency(spikes)
    # 2. Point-wise inhibition leaves one candidate at each position, the earliest or, of several, the strongest.
    candidates = sf.pointwise_inhibition(merge_ties(thresholded))
    # 3. The earliest candidates win, of several the strongest. Each inhibits its feature, and all within the radius.
    winners = sf.get_k_winners(candidates, *competition)
    places = torch.tensor(winners, dtype=torch.long).reshape(-1, 3)
    feature, line, column = places.to(first.device).unbind(1)
    times = first[feature, line, column].cpu()
    return torch.column_stack([places, times]).int(), first


def _compute_potentials(layer: LayerState, latency: Tensor) -> Tensor:
    """Return the potentials (N, T, F, Ho, Wo). Kernel: ``firing.integrate``, for a time step.

    A potential that can fall is replaced by its highest value so far, which crosses the threshold at the same step, and
    with the same value, but never falls.
    """
    padded = _pad(layer, latency)
    wave = sf.latency_to_wave(padded, layer.time_steps, layer.weight.dtype)  # (N, T, C, H, W)
    potentials = sf.conv2d(wave.flatten(0, 1), layer.weight)
    potentials = potentials.unflatten(0, wave.shape[:2])
    if layer.weight.min() < 0:
        potentials = potentials.cummax(1).values
    return potentials


def _update_winners(layer: LayerState, image: Tensor, winners: Tensor, rates: Tensor, rule: Rule) -> None:
    """Change the weights of the winners (n, 4) of an image, and clamp all. Kernel: ``plasticity.update_winners``."""
    if len(winners) == 0:
        return
    winners = winners.to(image.device, torch.long)
    feature, line, column, time = winners.unbind(1)
    kernel = torch.arange(layer.stage.kernel, device=image.device)
    rows = (line[:, None] + kernel)[:, :, None]
    columns = (column[:, None] + kernel)[:, None, :]
    padded = _pad(layer, image)
    times = padded[:, rows, columns].transpose(0, 1)  # (n, C, k, k), what each winner's kernel reads
    t_out = time.to(layer.weight.dtype)
    _change_weights(layer.weight, feature, times, t_out[:, None, None, None], rates, rule)
    plasticity = rule.plasticity()
    layer.weight.clamp_(plasticity.lower, plasticity.upper)  # of all features: first weights may lie outside


def _change_weights(
    weight: Tensor, features: Tensor | list, times: Tensor, t_out: Tensor | int, rates: Tensor, rule: Rule
) -> None:
    """Change the weights of winners: w + Δw. Kernel: ``plasticity.renew``, for a winner.

    features: list or int64 (n,). times: (n, C, k, k), of the input spikes of each winner. t_out: (n, 1, 1, 1), of the
    spike of the winner, in the type of the weights, or one number. rates: (2,), (LTP, LTD).
    """
    plasticity = rule.plasticity()
    ltp, ltd = rates
    before = weight[features]
    t_in = times.to(weight.dtype)  # so that powers in a rule are computed in this type
    rate = plasticity.window(t_in, t_out, ltp, ltd)  # of STDP: ltp if t_in <= t_out, else ltd
    after = before + plasticity.change(before, rate)
    after = after.clamp_(plasticity.lower, plasticity.upper)
    is_denormal = after.abs() < torch.finfo(after.dtype).tiny  # additions of such numbers are slow
    weight[features] = after.masked_fill_(is_denormal, 0)


def _pad(layer: LayerState, latency: Tensor) -> Tensor:
    """Return a latency map with silent neurons around it."""
    return F.pad(latency, [layer.stage.padding] * 4, value=layer.time_steps)


def merge_ties(potentials: Tensor) -> Tensor:
    """Return the potentials; equal ones (``tolerance``) become the highest. Kernel: ``competition._best_candidate``."""
    relative = tolerance(potentials.dtype.itemsize)
    if relative == 0:
        return potentials
    is_spike = potentials != 0  # zero equals nothing else, and most potentials are zero
    values, places = potentials[is_spike].unique(return_inverse=True)  # ascending
    is_last = torch.ones_like(values, dtype=torch.bool)  # of the values that are equal
    is_last[:-1] = values[1:] * (1 - relative) > values[:-1]
    group = is_last.cumsum(0) - is_last.long()
    merged = potentials.clone()
    merged[is_spike] = values[is_last][group][places]
    return merged


# ---------------------------------------------------------------------------------------------------------------------
# Learning with labels


def learn_decisions(
    layer: LayerState,
    latency: Tensor,
    labels: Tensor,
    classes: np.ndarray,
    rates: np.ndarray,
    left_out: np.ndarray | None,
) -> Result:
    """Learn by the rule of a decision stage, as ``event.learn_decisions`` does."""
    rule = layer.stage.rules[-1]
    if left_out is None:
        left_out = NO_TARGETS.left_out
    targets = Targets(labels.numpy(), classes, left_out)
    if layer.stage.fires:
        winners = learn_features(layer, latency, rule, rates, targets)
        return Result.of_first_spikes(winners, layer.weight.dtype)
    result = Result.silent(len(latency), layer.weight.dtype)
    rates = torch.tensor(rates).to(layer.weight)
    with naming(rule):
        for n, image in enumerate(latency):
            _decide(layer, image, n, targets, rates[n], result)
    return result


def _decide(layer: LayerState, image: Tensor, n: int, targets: Targets, rates: Tensor | None, result: Result) -> None:
    """Decide the n-th image (C, H, W), and learn unless rates (rows, 2) is None. Kernel: ``deciding.learn_decisions``.

    Neurons that are left out cannot learn and, if the rule drops them, cannot decide.
    """
    rule = layer.stage.rules[-1]
    potentials = sum_weights(layer, image[None])[0]
    highest = potentials.amax((1, 2)).numpy(force=True)
    candidates = highest
    if len(targets.left_out):
        candidates = np.where(targets.left_out[n], -1, highest)
    best = int(strongest(candidates if rule.drops else highest))
    if best < 0:
        return
    position = _find_position(potentials[best])
    result.decisions[n] = torch.tensor([best, *position])
    result.highest[n] = float(highest[best])
    if rates is None:
        return
    learners = np.full((len(candidates), 2), -1)
    plasticity = rule.plasticity()
    label = int(targets.labels[n])
    count = int(plasticity.verdict(candidates, label, targets.classes, learners))
    check_learners(learners, count, len(rates))
    kernel = layer.stage.kernel
    padded = _pad(layer, image)
    last = layer.time_steps - 1
    for feature, row in learners[:count]:
        line, column = _find_position(potentials[feature])
        times = padded[:, line : line + kernel, column : column + kernel]
        _change_weights(layer.weight, [feature], times[None], last, rates[row], rule)
    if count:
        layer.weight.clamp_(plasticity.lower, plasticity.upper)


def sum_weights(layer: LayerState, latency: Tensor) -> Tensor:
    """Return the potentials (N, F, Ho, Wo) of latency (N, C, H, W) at the end. Kernel: ``potentials.add_bank``."""
    spiked = (latency < layer.time_steps).to(layer.weight.dtype)
    return sf.conv2d(spiked, layer.weight, padding=layer.stage.padding)


def _find_position(potential: Tensor) -> tuple[int, int]:
    """Return the first (line, column) of the highest potential (Ho, Wo). Kernel: ``potentials.find_highest``."""
    highest = potential.max()
    lowest = highest - highest.abs() * tolerance(potential.dtype.itemsize)
    is_highest = (potential >= lowest).flatten()
    first = int(is_highest.int().argmax())
    return divmod(first, potential.shape[1])


def learn_together(
    lower: LayerState,
    upper: LayerState,
    latency: Tensor,
    labels: Tensor,
    pool: int,
    classes: np.ndarray,
    rates: tuple[np.ndarray, np.ndarray | None],
) -> Result:
    """Let a firing layer and the decision layer above it learn, as ``event.learn_together`` does."""
    rule = lower.stage.rules[-1]
    lower_rates, upper_rates = rates
    lower_rates = torch.from_numpy(lower_rates).to(lower.weight)
    if upper_rates is not None:
        upper_rates = torch.from_numpy(upper_rates).to(upper.weight)
    competition = find_competition(rule)
    result = Result.silent(len(latency), upper.weight.dtype, competition.winners)
    targets = Targets(labels.numpy(), classes, NO_TARGETS.left_out)
    with naming(rule, upper.stage.rules[-1]):
        for n, image in enumerate(latency):
            winners, first = _compete(lower, image, competition)
            result.winners[n, : len(winners)] = winners
            rates_of_image = None if upper_rates is None else upper_rates[n]
            pooled = pool_latency(first, pool)
            _decide(upper, pooled, n, targets, rates_of_image, result)
            feature = int(result.decisions[n, 0])
            if feature >= 0:
                row = 0 if classes[feature] == labels[n] else 1
                _update_winners(lower, image, winners, lower_rates[n, row], rule)
    return result


# ---------------------------------------------------------------------------------------------------------------------
# What layers compute without learning


def fire(layer: LayerState, latency: Tensor, threshold: float, pool: int) -> Tensor:
    """Compute the first spikes of latency uint8 (N, C, H, W), as ``event.fire`` does."""
    parts = _split_images(layer, latency, layer.time_steps)
    limit = allow_rounding(threshold, layer.weight.dtype)
    pooled = []
    for part in parts:
        wave = _compute_potentials(layer, part) > limit
        first = sf.wave_to_latency(wave)
        pooled.append(pool_latency(first, pool))
    return torch.cat(pooled)


def _split_images(layer: LayerState, latency: Tensor, time_steps: int) -> tuple[Tensor, ...]:
    """Split images (N, C, H, W) into parts with up to WAVE_ELEMENTS numbers, if so many time steps are convolved.

    A position takes the potentials of all features, or the inputs of its window, to which some devices copy them.
    """
    numbers = max(layer.weight.shape[0], layer.weight[0].numel())
    elements = time_steps * numbers * latency[:1, 0].numel()
    return latency.split(max(1, WAVE_ELEMENTS // max(1, elements)))


def peaks(layer: LayerState, latency: Tensor, only_highest: bool = False) -> Tensor:
    """Compute the highest potential of each feature at the last time step: uint8 (N, C, H, W) -> (N, F)."""
    parts = _split_images(layer, latency, 1)
    highest = [sum_weights(layer, part).amax((2, 3)) for part in parts]
    return torch.cat(highest)
