"""Compute all winners and weights of conformance.npz anew, by the equations alone: python check_conformance.py

In each case, a layer learns from 20 images, one after another. An image is a latency map, uint8 (C, H, W): the time
step of each input neuron's only spike, 0 to T - 1; T: silent. The layer has F features with kernels (C, k, k). Its
neurons (F, Ho, Wo) integrate and fire without a leak. Of equal potentials, the first by feature, line, column is taken.
In the case "encoder", images uint8 (H, W) become such maps.
"""

import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np


def make_filter(window, inner, outer):
    """Return G(inner) - G(outer), minus its mean, over its maximum: (window, window), σ in pixels."""
    distance = np.arange(window) - window // 2
    squares = distance[:, None] ** 2 + distance**2
    narrow, wide = (np.exp(-squares / (2 * sigma**2)) / (2 * np.pi * sigma**2) for sigma in (inner, outer))
    difference = narrow - wide
    difference -= difference.mean()
    return difference / difference.max()


def sum_windows(image, kernel):
    """Return the sum of kernel · image around each position, (H, W). Outside the image are zeros."""
    padded = np.pad(image.astype(float), len(kernel) // 2)
    return np.einsum("yxij,ij->yx", np.lib.stride_tricks.sliding_window_view(padded, kernel.shape), kernel)


def encode(case):
    """Yield the latency map, uint8 (2 · filters, H, W), of each image: of each filter the on-centre map comes first."""
    square = np.ones((2 * case.radius + 1,) * 2)
    for image in case.images:
        maps = []
        for window, sigma1, sigma2 in case.filters:
            for inner, outer in ((sigma1, sigma2), (sigma2, sigma1)):
                response = sum_windows(image, make_filter(int(window), inner, outer))
                response[response < case.threshold] = 0
                mean = sum_windows(response, square / square.size)
                maps.append(response / np.where(response > 0, mean, 1))
        intensities = np.stack(maps).round(9)  # equal ones are equal whatever the order of the additions
        n = np.count_nonzero(intensities)
        ranked = np.argsort(-intensities, axis=None, kind="stable")  # of equal ones, the first by map, row, column
        steps = np.arange(n) // max(1, n // case.time_steps)
        latency = np.full(intensities.size, case.time_steps, np.uint8)
        latency[ranked[:n]] = np.minimum(steps, case.time_steps)
        yield latency.reshape(intensities.shape)


def compute_potentials(latency, weights, case):
    """Return V (T, F, Ho, Wo): V(t, f, y, x) = sum of w(f, c, i, j) · [t_in(c, y + i, x + j) <= t] over c, i, j."""
    inputs = np.lib.stride_tricks.sliding_window_view(latency, weights.shape[2:], (1, 2))  # (C, Ho, Wo, k, k)
    spiked = np.stack([inputs <= t for t in range(case.time_steps)])
    potentials = np.einsum("tcyxij,fcij->tfyx", spiked, weights)
    if case.rule != "stdp":  # a layer that decides: its potentials at the last time step count, with a threshold of 0
        potentials[:-1] = 0
    return potentials


def choose_winners(potentials, case):
    """Return at most ``winners`` neurons (feature, line, column, time step of the spike) in the order of the choice."""
    fires = potentials > case.threshold  # not if it is equal
    times = np.where(fires.any(0), fires.argmax(0), case.time_steps)  # of the first spikes, (F, Ho, Wo)
    strengths = np.take_along_axis(potentials, times[None].clip(max=case.time_steps - 1), 0)[0]  # V at these times
    # Point-wise inhibition leaves one feature at each position: the earliest; of these, the one with the highest V.
    best = np.argmax(np.where(times == times.min(0), strengths, -np.inf), 0)
    candidates = (np.arange(len(times))[:, None, None] == best) & (times < case.time_steps)
    winners = []
    while len(winners) < case.winners and candidates.any():  # the earliest; of these, the one with the highest V
        time = times[candidates].min()
        earliest = np.where(candidates & (times == time), strengths, -np.inf)
        f, y, x = np.unravel_index(np.argmax(earliest), earliest.shape)
        winners.append((f, y, x, time))
        candidates[f] = False  # a winner excludes its feature, and all features within the radius
        rows = slice(max(y - case.radius, 0), y + case.radius + 1)
        candidates[:, rows, max(x - case.radius, 0) : x + case.radius + 1] = False
    return winners


def choose_learners(winners, potentials, image, case):
    """Return (row of the rates, neuron) of each neuron that learns."""
    if case.rule == "stdp":
        return [(0, winner) for winner in winners]
    is_true = np.arange(potentials.shape[1]) * case.classes // potentials.shape[1] == case.labels[image]
    if case.rule == "rstdp":  # row 0, the reward, after a correct decision; row 1, the punishment, after a wrong one
        return [(0 if is_true[winner[0]] else 1, winner) for winner in winners]
    true = choose_winners(np.where(is_true[:, None, None], potentials, 0), case)
    other = choose_winners(np.where(is_true[:, None, None], 0, potentials), case)
    if true and other and potentials[-1][true[0][:3]] < (1 + case.margin) * potentials[-1][other[0][:3]]:
        return [(0, true[0]), (1, other[0])]
    return []


def find_rates(image, rows, case):
    """Return the rows (ltp, ltd) of an image. rows: for each image before it, the rows by which neurons learned."""
    if case.rule == "margin":
        return case.rates * case.decay ** (image // case.epoch)
    if case.rule == "rstdp":  # after a batch, reward · fraction of wrong and punishment · fraction of correct decisions
        start = image - image % case.batch
        last = rows[start - case.batch : start]
        return case.rates * [[last.count([1]) / case.batch], [last.count([0]) / case.batch]] if start else case.rates
    doublings = (image + 1) // case.double_every
    ltp = min(case.rates[0, 0] * 2.0**doublings, case.highest)
    return [(ltp, case.depression * ltp)] if doublings else case.rates


def learn(case):
    """Yield the winners and the weights after each image. The winner of a layer that decides is its decision."""
    weights = case.first_weights.copy()
    rows = []
    for image, unpadded in enumerate(case.latencies):
        latency = np.pad(unpadded, [(0, 0), (case.padding,) * 2, (case.padding,) * 2], constant_values=case.time_steps)
        potentials = compute_potentials(latency, weights, case)
        winners = choose_winners(potentials, case)
        rates = find_rates(image, rows, case)
        learners = choose_learners(winners, potentials, image, case)
        for row, (f, y, x, time) in learners:
            # w + ltp · s(w) if the input spiked no later than the neuron; w + ltd · s(w) otherwise (later, or silent)
            inputs = latency[:, y : y + weights.shape[2], x : x + weights.shape[3]]
            stabilizer = (weights[f] - case.lower) * (case.upper - weights[f]) if case.stabilizer else 1
            weights[f] += np.where(inputs <= time, *rates[row]) * stabilizer
        if learners:
            weights.clip(case.lower, case.upper, out=weights)  # of all features: first weights may be out of bounds
        rows.append([row for row, _ in learners])
        yield winners, weights


def compute(case):
    """Yield what ``compare`` takes, of each image of a case."""
    return encode(case) if case.rule == "encoder" else learn(case)


def compare(case, steps):
    """Return "equal", or the first image and quantity of ``steps`` that differ: (winners, weights) after each image.

    In the case "encoder", ``steps`` are the latency maps.
    """
    if case.rule == "encoder":
        for image, (found, expected) in enumerate(zip(steps, case.expected_latencies, strict=True)):
            if (found != expected).any():
                return f"image {image}: {(found != expected).sum()} spike times differ"
        return "equal"
    for image, (winners, weights) in zip(range(len(case.latencies)), steps, strict=True):
        rows = np.array(winners, int).reshape(-1, 4), case.expected_winners[image]
        found, expected = (part[part[:, 0] >= 0].tolist() for part in rows)  # -1: fewer winners
        error = np.abs(weights - case.expected_weights[image]).max()
        if found != expected:
            return f"image {image}: the winners are {found}, not {expected}"
        if not error <= 1e-12:
            return f"image {image}: the weights differ by up to {error:.2g}"
    return "equal"


def read_cases():
    """Return {name: case}. The file contains arrays "name/field"; a case has an attribute for each field."""
    cases = {}
    with np.load(Path(__file__).with_name("conformance.npz")) as file:
        for key in file:
            name, field = key.split("/")
            setattr(cases.setdefault(name, SimpleNamespace(rule=name.split("_")[0])), field, file[key][()])
    return cases


if __name__ == "__main__":
    results = {name: compare(case, compute(case)) for name, case in read_cases().items()}
    print("\n".join(f"{name}: {result}" for name, result in results.items()))
    sys.exit(set(results.values()) != {"equal"})
