"""A slow, obvious layer: float64, the equations as they are written. And small layers for Hypothesis.

Potentials are rounded to 9 digits, so that equal ones tie.
"""

import numpy as np
from hypothesis import settings
from hypothesis import strategies as st
from numpy.lib.stride_tricks import sliding_window_view


def patches(latency, steps, kernel, pad):
    """What each output position sees of latency (C, H, W): (C, k, k, Ho, Wo), silence outside."""
    padded = np.pad(latency, ((0, 0), (pad, pad), (pad, pad)), constant_values=steps)
    return sliding_window_view(padded, (kernel, kernel), axis=(1, 2)).transpose(0, 3, 4, 1, 2)


def potentials(latency, weight, steps, pad):
    """p[t] = Σ w [latency <= t]: (T, F, Ho, Wo)."""
    seen = patches(latency, steps, weight.shape[2], pad)
    wave = seen.reshape(weight[0].size, 1, -1) <= np.arange(steps)[:, None]  # (synapses, T, positions)
    p = weight.reshape(len(weight), -1).astype(np.float64) @ wave.reshape(len(wave), -1)
    return np.round(p, 9).reshape(len(weight), steps, *seen.shape[3:]).swapaxes(0, 1)


def fire(latency, weight, steps, pad, threshold, pool=1):
    """First spikes (F, Ho / pool, Wo / pool): the first step at which p is over the threshold."""
    fires = potentials(latency, weight, steps, pad) > threshold
    first = np.where(fires.any(0), fires.argmax(0), steps).astype(np.uint8)
    height, width = first.shape[1] // pool, first.shape[2] // pool
    out = np.empty((len(first), height, width), np.uint8)
    for y, x in np.ndindex(height, width):
        out[:, y, x] = first[:, y * pool : (y + 1) * pool, x * pool : (x + 1) * pool].min((1, 2))
    return out


def choose_winners(latency, weight, steps, pad, threshold, limit, radius):
    """Point-wise inhibition, then winners one by one: earliest, highest potential, lowest flat index."""
    p = potentials(latency, weight, steps, pad)
    left = {}  # of each position the best (time, -potential then, feature, line, column): the smallest
    for f, y, x in np.argwhere((p > threshold).any(0)).tolist():
        t = int((p[:, f, y, x] > threshold).argmax())
        neuron = (t, -p[t, f, y, x], f, y, x)
        left[y, x] = min(left.get((y, x), neuron), neuron)
    left, winners = list(left.values()), []
    while left and len(winners) < limit:
        t, _, f, y, x = min(left)
        winners.append((f, y, x, t))
        left = [n for n in left if n[2] != f and max(abs(n[3] - y), abs(n[4] - x)) > radius]
    return winners


def update(latency, weight, winners, steps, pad, rates, rule):
    """STDP of the winners (feature, line, column, time); the first update clips all weights."""
    low, high = rule.bounds
    new = weight.copy()
    for f, y, x, t in winners:
        before = patches(latency, steps, weight.shape[2], pad)[..., y, x]
        rate = np.where((before <= t) & (before < steps), rates[0], rates[1])
        new[f] += rate * ((weight[f] - low) * (high - weight[f])) if rule.stabilize else rate
    return np.clip(new, low, high) if winners else weight


def last_potentials(latency, weight, steps, pad):
    """p at the last time step, when all that ever spikes has spiked: (F, Ho, Wo)."""
    return potentials(np.where(latency < steps, 0, 1), weight, 1, pad)[0]


def decide(latency, weight, steps, pad):
    """(feature, line, column) of the highest potential at the last step, the first of equal ones; None: silence."""
    last = last_potentials(latency, weight, steps, pad)
    return tuple(map(int, np.unravel_index(last.argmax(), last.shape))) if last.max() > 0 else None


@st.composite
def layers(draw):
    """A small input map and weights that are multiples of 1/8, whose sums are exact: (latency, weight, steps, pad)."""
    kernel = draw(st.sampled_from([1, 3, 5, 7]))
    pad = draw(st.integers(0, min(3, kernel - 1)))
    steps = draw(st.sampled_from([1, 2, 5, 15, 254]))
    smallest = max(1, kernel - 2 * pad)
    height, width = draw(st.integers(smallest, smallest + 6)), draw(st.integers(smallest, smallest + 6))
    channels, features = draw(st.integers(1, 4)), draw(st.sampled_from([1, 2, 7, 16, 17, 33]))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    latency = rng.integers(0, steps + 1, (channels, height, width), dtype=np.uint8)
    latency[rng.random(latency.shape) < draw(st.sampled_from([0, 0.5, 0.95]))] = steps
    lowest, highest = draw(st.sampled_from([(0, 2), (0, 9), (-6, 9)]))  # with negative weights, potentials fall
    weight = rng.integers(lowest, highest, (features, channels, kernel, kernel)) / 8
    return latency, weight, steps, pad


thresholds = st.sampled_from([0.0, 0.5, 1.0, 2.0, 5.0])
random_maps = settings(max_examples=80, derandomize=True)
