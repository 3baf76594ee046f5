"""Screening: short codes of the weights show which neurons of a decision layer can be the strongest.

The weights of feature f are w ≈ lowest(f) + spacing(f) · code, with codes from 0 to ``LEVELS``. The sum of the codes of
m spikes gives a potential up to m · slack(f). Only the *candidates*, whose upper bound reaches the highest lower bound,
are summed exactly, in the same order as in ``peaks.py``. Without codes, a learning step takes about twice as long. The
slack contains, for each spike,

    spacing(f) / 2                                    for the rounding of the weights to codes
    drift(f)                                          for how much the weights have changed since they were encoded
    (m + 1) · eps / 4 · (largest weight + drift(f))   for the rounding of the exact sum, to the first order of m · eps

The k-th partial sum of a potential is at most k · (largest weight), and each is rounded by a factor of 1 ± eps / 2.
"""

from typing import NamedTuple

import numpy as np

from engine.compiled import compiled
from engine.decision import tolerance
from engine.declaration import MAX_VALUE
from engine.event.layout import allocate_aligned, is_dense
from engine.event.peaks import list_spikes_of_images, raise_peaks
from engine.event.simd import add_rows
from engine.threads import run_parts

BITS = 10
LEVELS = 2**BITS - 1
ROWS = 2 ** (16 - BITS)  # rows of codes whose sum fits in 16 bits
LANES = 32  # codes of one cache line


class Screen(NamedTuple):
    """The codes of a layer, and their sums for the images of a chunk. Without features: the layer is not screened."""

    codes: np.ndarray  # uint16 (k · k, C) rows of whole cache lines
    lowest: np.ndarray  # float64 (F,): no weight of a feature is lower
    highest: np.ndarray  # float64 (F,): no weight of a feature is higher
    spacing: np.ndarray  # float64 (F,): between the weights of neighbouring codes
    sums: np.ndarray  # int32 (N, Ho · Wo, numbers of a row): the sums of the codes
    counts: np.ndarray  # int64 (N, Ho · Wo): the numbers of spikes


def can_screen(geometry, transposed, verdict) -> bool:
    """Return whether codes help: the verdict reads only the strongest neurons, and their sums fit in 32 bits."""
    is_small = abs(transposed).max() <= MAX_VALUE and transposed[0].size * LEVELS < 2**31
    return is_small and getattr(verdict, "reads_strongest", False) and not is_dense(geometry)


def make_screen(images, geometry, transposed) -> Screen:
    """Return the codes of transposed weights (F, k · k, C), and memory for the sums of a chunk of images."""
    features, offsets, channels = transposed.shape
    row = -(-features // LANES) * LANES
    codes = allocate_aligned(offsets * channels * row, np.empty(0, np.uint16))
    codes[:] = 0
    positions = geometry.out_height * geometry.out_width
    sums = np.empty((images, positions, row), np.int32)
    counts = np.empty((images, positions), np.int64)
    lowest = transposed.min((1, 2)).astype(np.float64)
    highest = transposed.max((1, 2)).astype(np.float64)
    screen = Screen(codes, lowest, highest, np.empty(features), sums, counts)
    encode(transposed, np.arange(features), screen)
    return screen


def sum_codes(latency, geometry, inputs, screen, threads):
    """Sum the codes of the spikes of latency (N, C, H, W)."""
    run_parts(list_spikes_of_images, len(latency), latency, geometry, inputs, threads=threads)
    run_parts(_sum_codes_of_images, len(latency), len(latency), geometry, inputs, screen, threads=threads)


@compiled
def encode(transposed, chosen, screen):
    """Encode the weights of the ``chosen`` features, int64 (n,), of transposed (F, k · k, C)."""
    codes, lowest, highest, spacing, sums, _ = screen
    offsets, channels = transposed.shape[1:]
    numbers = sums.shape[2]
    for f in chosen:
        spacing[f] = max((highest[f] - lowest[f]) / LEVELS, 1e-20)
    for offset in range(offsets):
        for start in range(0, channels, 64):  # rows that stay in the innermost cache for all features
            for f in chosen:
                at = offset * channels * numbers + f
                low = lowest[f]
                scale = 1 / spacing[f]
                synapses = transposed[f, offset]
                for c in range(start, min(start + 64, channels)):
                    codes[at + c * numbers] = np.int32((synapses[c] - low) * scale + 0.5)


@compiled
def _sum_codes_of_images(part, parts, images, geometry, inputs, screen):
    """Sum the codes of the spikes of every ``parts``-th image, kernel offset by kernel offset."""
    codes, sums, counts = screen.codes, screen.sums, screen.counts
    width = geometry.width
    out_height = geometry.out_height
    out_width = geometry.out_width
    numbers = sums.shape[2]
    for n in range(part, images, parts):
        sums[n] = 0
        counts[n] = 0
    for offset in range(geometry.kernel * geometry.kernel):
        weights = offset * geometry.channels * numbers
        dy, dx = offset // geometry.kernel - geometry.padding, offset % geometry.kernel - geometry.padding
        for n in range(part, images, parts):
            for y in range(max(0, -dy), min(out_height, geometry.height - dy)):
                for x in range(max(0, -dx), min(out_width, width - dx)):
                    pixel = (y + dy) * width + x + dx
                    position = y * out_width + x
                    lo = inputs.first[n, pixel]
                    hi = inputs.first[n, pixel + 1]
                    counts[n, position] += hi - lo
                    row = sums[n, position]
                    for start in range(lo, hi, ROWS):
                        end = min(start + ROWS, hi)
                        add_rows(row, 0, codes, inputs.sources, (start, end), weights, numbers, numbers)


@compiled
def find_candidates(inputs, n, geometry, transposed, drift, group, screen, peaks):
    """Compute the peaks of image n that can be the highest of their group or of all; the others become -1.

    group: int64 (F,), 0 or 1; 2: the feature belongs to no group.
    """
    _, lowest, highest, spacing, sums, counts = screen
    features = geometry.features
    most = counts[n].max()
    eps = np.finfo(transposed.dtype).eps
    rounding = 0.25 * (most + 1) * eps * (1 + most * eps) + 1e-12
    low = np.empty(features)
    high = np.empty(features)
    for f in range(features):
        largest = max(abs(lowest[f]), abs(highest[f])) + drift[f]
        slack = 0.501 * spacing[f] + drift[f] + rounding * largest
        low[f] = lowest[f] - slack
        high[f] = lowest[f] + slack
    bounds = np.full(features, -np.inf)
    for position in range(sums.shape[1]):
        m = np.float64(counts[n, position])
        row = sums[n, position]
        for f in range(features):
            bound = m * low[f] + spacing[f] * row[f]
            bounds[f] = bound if bound > bounds[f] else bounds[f]
    limits = np.full(3, -np.inf)
    for f in range(features):
        limits[group[f]] = max(limits[group[f]], bounds[f])
    limits[2] = limits.max()
    for f in range(features):
        limit = limits[group[f]]
        bounds[f] = limit - abs(limit) * 4 * tolerance(bounds.itemsize)
    peaks.values[n] = -1
    candidates = np.empty(features, np.int64)
    for position in range(sums.shape[1]):
        m = np.float64(counts[n, position])
        row = sums[n, position]
        count = 0
        for f in range(features):
            if m * high[f] + spacing[f] * row[f] >= bounds[f]:
                candidates[count] = f
                count += 1
        raise_peaks(inputs, n, geometry, transposed, position, candidates[:count], peaks)
