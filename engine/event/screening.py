"""Screening: short codes of the weights show which neurons of a decision layer can be the strongest.

The weights of feature f are w ≈ lowest(f) + spacing(f) · code, with codes from 0 to ``MAX_CODE``. The sum of the codes
of m spikes gives a potential up to m · slack(f). Only the *candidates*, whose upper bound reaches the highest lower
bound, are summed exactly, in the same order as in ``potentials.py``. Without codes, learning takes about twice as long.

Sums of codes are exact in any order. So an image takes those of its *model*, the most similar earlier image of its
chunk, and adds only the codes of the spikes that differ: six of ten, for digits. The slack contains, for each spike,

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
from engine.event.potentials import Inputs, list_spikes_of_images, make_inputs, raise_peaks
from engine.event.simd import add_rows
from engine.threads import run_parts

BITS = 9
MAX_CODE = 2**BITS - 1
ROWS = 2 ** (15 - BITS)  # rows of codes whose sum fits in 16 bits with a sign
LANES = 32  # codes of one cache line
COMPARED_NEURONS = 255  # neurons that are compared to find a model


class Screen(NamedTuple):
    """The codes of a layer, and their sums for the images of a chunk. Without features: the layer is not screened.

    Beside the codes, a row contains a 1, so that the sum of rows contains the number of spikes.
    """

    codes: np.ndarray  # int16 (k · k, 2, C) rows of whole cache lines; the second C rows are the first with a minus
    lowest: np.ndarray  # float64 (F,): no weight of a feature was lower when it was encoded
    highest: np.ndarray  # float64 (F,): no weight of a feature was higher
    spacing: np.ndarray  # float64 (F,): between the weights of neighbouring codes
    sums: np.ndarray  # int32 (N, Ho · Wo, numbers of a row): the sums of rows, at first without those of the model
    models: np.ndarray  # int64 (N,): the model of each image but the first
    changes: Inputs  # the spikes that only an image has, channel c, or only its model, channel C + c


def can_screen(geometry, transposed, verdict) -> bool:
    """Return whether codes help: the verdict reads only the strongest neurons, and their sums fit in 32 bits."""
    is_small = max(transposed.max(), -transposed.min()) <= MAX_VALUE and transposed[0].size * MAX_CODE < 2**31
    return is_small and getattr(verdict, "reads_strongest", False) and not is_dense(geometry)


def make_screen(images, geometry, transposed) -> Screen:
    """Return the codes of transposed weights (F, k · k, C), and memory for the sums of a chunk of images."""
    features, offsets, channels = transposed.shape
    row = (features // LANES + 1) * LANES
    codes = allocate_aligned(offsets * 2 * channels * row, np.empty(0, np.int16))
    codes[:] = 0
    codes.reshape(offsets, 2, channels, row)[..., features] = [[1], [-1]]
    sums = np.empty((images, geometry.out_height * geometry.out_width, row), np.int32)
    lowest = transposed.min((1, 2)).astype(np.float64)
    highest = transposed.max((1, 2)).astype(np.float64)
    models = np.empty(images, np.int64)
    screen = Screen(codes, lowest, highest, np.empty(features), sums, models, make_inputs(images, geometry))
    encode(transposed, np.arange(features), screen)
    return screen


def sum_codes(latency, geometry, inputs, screen, threads):
    """Sum the codes of the spikes of latency (N, C, H, W)."""
    images = len(latency)
    run_parts(list_spikes_of_images, images, latency, geometry, inputs, threads=threads)
    sample = (latency.reshape(images, -1)[:, :COMPARED_NEURONS] < geometry.time_steps).view(np.uint8)
    run_parts(_sum_codes_of_images, images, sample, geometry, inputs, screen, threads=threads)


@compiled
def encode(transposed, chosen, screen):
    """Encode the weights of the ``chosen`` features, int64 (n,), of transposed (F, k · k, C)."""
    codes, lowest, highest, spacing, sums = screen[:5]
    offsets, channels = transposed.shape[1:]
    numbers = sums.shape[2]
    for f in chosen:
        spacing[f] = max((highest[f] - lowest[f]) / MAX_CODE, 1e-20)
    for offset in range(offsets):
        for start in range(0, channels, 64):  # rows that stay in the innermost cache for all features
            for f in chosen:
                at = offset * 2 * channels * numbers + f
                low = lowest[f]
                scale = 1 / spacing[f]
                synapses = transposed[f, offset]
                for c in range(start, min(start + 64, channels)):
                    code = np.int16((synapses[c] - low) * scale + 0.5)
                    codes[at + c * numbers] = code
                    codes[at + (channels + c) * numbers] = -code


@compiled
def _list_changes(sample, n, geometry, inputs, screen):
    """Find the model of image n, and list the spikes that only one of both has."""
    sources, first, _ = screen.changes
    pixels = geometry.height * geometry.width
    model = 0
    fewest = COMPARED_NEURONS + 1
    for earlier in range(n):
        differ = np.uint8(0)
        for i in range(sample.shape[1]):
            differ = np.uint8(differ + (sample[n, i] ^ sample[earlier, i]))
        if differ < fewest:
            fewest = differ
            model = earlier
    screen.models[n] = model
    at = n * pixels * geometry.channels
    for pixel in range(pixels):
        first[n, pixel] = at
        for c in range(geometry.channels):
            is_lost = n > 0 and inputs.times[model, pixel, c] < geometry.time_steps
            sources[at] = c + is_lost * geometry.channels
            at += (inputs.times[n, pixel, c] < geometry.time_steps) != is_lost
    first[n, pixels] = at


@compiled
def _sum_codes_of_images(part, parts, sample, geometry, inputs, screen):
    """Sum the rows of the changes of every ``parts``-th image, kernel offset by kernel offset.

    sample: uint8 (N, ``COMPARED_NEURONS`` or fewer), whether some neurons of the input have spiked.
    """
    codes, _, _, _, sums, _, changes = screen
    width = geometry.width
    out_height = geometry.out_height
    out_width = geometry.out_width
    numbers = sums.shape[2]
    for n in range(part, len(sample), parts):
        _list_changes(sample, n, geometry, inputs, screen)
        sums[n] = 0
    for offset in range(geometry.kernel * geometry.kernel):
        weights = offset * 2 * geometry.channels * numbers
        dy, dx = offset // geometry.kernel - geometry.padding, offset % geometry.kernel - geometry.padding
        for n in range(part, len(sample), parts):
            for y in range(max(0, -dy), min(out_height, geometry.height - dy)):
                for x in range(max(0, -dx), min(out_width, width - dx)):
                    pixel = (y + dy) * width + x + dx
                    row = sums[n, y * out_width + x]
                    end = changes.first[n, pixel + 1]
                    for start in range(changes.first[n, pixel], end, ROWS):
                        span = start, min(start + ROWS, end)
                        add_rows(row, 0, codes, changes.sources, span, weights, numbers, numbers)


@compiled
def find_candidates(inputs, n, geometry, transposed, drift, group, screen, peaks):
    """Compute the peaks of image n that can be the highest of their group or of all; the others become -1.

    group: int64 (F,), 0 or 1; 2: the feature belongs to no group.
    """
    _, lowest, highest, spacing, sums, models, _ = screen
    features = geometry.features
    most = 0
    for position in range(sums.shape[1]):
        row = sums[n, position]
        if n > 0:
            before = sums[models[n], position]
            for f in range(features + 1):
                row[f] += before[f]
        most = max(most, row[features])
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
        row = sums[n, position]
        m = row[features]
        for f in range(features):
            bound = m * low[f] + spacing[f] * row[f]
            bounds[f] = bound if bound > bounds[f] else bounds[f]
    limits = np.full(3, -np.inf)
    for f in range(features):
        limits[group[f]] = max(limits[group[f]], bounds[f])
    limits[2] = max(limits[0], limits[1], limits[2])
    for f in range(features):
        limit = limits[group[f]]
        bounds[f] = limit - abs(limit) * 4 * tolerance(bounds.itemsize)
    peaks.values[n] = -1
    candidates = np.empty(features, np.int64)
    for position in range(sums.shape[1]):
        row = sums[n, position]
        m = row[features]
        count = 0
        for f in range(features):
            count += m * high[f] + spacing[f] * row[f] >= bounds[f]
        if count == 0:
            continue
        count = 0
        for f in range(features):
            if m * high[f] + spacing[f] * row[f] >= bounds[f]:
                candidates[count] = f
                count += 1
        raise_peaks(inputs, n, geometry, transposed, position, candidates[:count], peaks)
