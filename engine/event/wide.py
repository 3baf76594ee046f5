"""Firing of layers with many features, one bank of 64 features after another.

In ``firing.py``, a spike adds its weights to the positions of a line that it reaches, so that a potential is loaded and
stored for each spike. Here, the synapses of each position and time step are listed first, once for all banks. Then the
potentials of a position stay in registers while its weights are added, in the same order as there: the results are
equal to the bit.
"""

import numpy as np

from engine.compiled import compiled
from engine.event.firing import make_spikes, reset, sort_by_time
from engine.event.layout import WIDE_BANK, allocate_aligned
from engine.event.simd import add_rows, mark_above

FEATURES = 200  # with more, and at least so many positions, the lists save more time than they take
POSITIONS = 100
LINES = 32  # output lines that are listed together: the lists of a large image would fill the memory


def is_faster(geometry) -> bool:
    """Return whether ``fire`` of this file is faster than that of ``firing.py``."""
    return geometry.features > FEATURES and geometry.out_height * geometry.out_width >= POSITIONS


@compiled
def fire(part, parts, latency, rows, geometry, thresholds, pool, out):
    """Compute the first spikes of a part of the images (N, C, H, W), pooled: out (N, F, Ho / pool, Wo / pool).

    The stride of ``geometry`` is that of a bank. Positions that the pooling leaves out are not computed.
    """
    spikes = make_spikes(geometry)
    lines = max(LINES // pool, 1)  # of the pooled map
    width = out.shape[3] * pool
    positions = min(lines, out.shape[2]) * pool * width
    ends = np.empty(geometry.time_steps * positions + 2, np.int32)
    synapses = np.empty(positions * geometry.kernel * geometry.kernel * geometry.channels, np.int32)
    for n in range(part, len(latency), parts):
        sort_by_time(latency[n], geometry, spikes)
        for top in range(0, out.shape[2], lines):
            pooled = out[n, :, top : top + lines]
            _list_synapses(spikes, geometry, top * pool, pooled.shape[1] * pool, width, ends, synapses)
            for bank in range(-(-geometry.features // WIDE_BANK)):
                _fire_bank(ends, synapses, rows, bank, geometry, thresholds, pool, pooled)


@compiled
def _list_synapses(spikes, geometry, top, lines, width, ends, synapses):
    """List the synapses of each time step and position that spikes reach, in the order of the spikes.

    The list i = (time step · lines + line - top) · width + column is synapses[ends[i] : ends[i + 1]]. Each synapse is
    the place of its row of weights in a bank.
    """
    kernel = geometry.kernel
    groups = spikes.groups
    ends[:] = 0
    for t in range(geometry.time_steps):  # a counting sort
        for g in range(spikes.step_groups[t], spikes.step_groups[t + 1]):
            y = groups[g, 0] + geometry.padding
            x = groups[g, 1] + geometry.padding
            left = max(0, x - kernel + 1)
            right = min(width, x + 1)
            count = groups[g + 1, 2] - groups[g, 2]
            for line in range(max(top, y - kernel + 1), min(top + lines, y + 1)):
                at = (t * lines + line - top) * width + 2
                for i in range(at + left, at + right):
                    ends[i] += count
    total = np.int32(0)
    for i in range(len(ends)):
        total += ends[i]
        ends[i] = total
    for t in range(geometry.time_steps):
        for g in range(spikes.step_groups[t], spikes.step_groups[t + 1]):
            y = groups[g, 0] + geometry.padding
            x = groups[g, 1] + geometry.padding
            left = max(0, x - kernel + 1)
            right = min(width, x + 1)
            for source in spikes.sources[groups[g, 2] : groups[g + 1, 2]]:
                for line in range(max(top, y - kernel + 1), min(top + lines, y + 1)):
                    at = (t * lines + line - top) * width + 1
                    synapse = source + ((y - line) * kernel + x - left) * WIDE_BANK
                    for i in range(at + left, at + right):
                        synapses[ends[i]] = synapse
                        ends[i] += 1
                        synapse -= WIDE_BANK


@compiled
def _fire_bank(ends, synapses, rows, bank, geometry, thresholds, pool, out):
    """Compute the pooled first spikes of a bank of features in some lines: out (F, lines / pool, Wo / pool)."""
    lines = out.shape[1] * pool
    width = out.shape[2] * pool
    first = bank * WIDE_BANK
    used = min(WIDE_BANK, geometry.features - first)
    weights = first * geometry.kernel * geometry.kernel * geometry.channels
    start = np.zeros(WIDE_BANK, rows.dtype)
    start[:used] = thresholds.start[first : first + used]
    is_raised = thresholds.raised.max() > 0
    potential = allocate_aligned(width * WIDE_BANK, rows)
    marks = np.empty(out.shape[2] * WIDE_BANK, np.uint8)  # pooled first spikes of a line, as rows
    for py in range(out.shape[1]):
        marks[:] = geometry.time_steps
        for line in range(py * pool, (py + 1) * pool):
            reset(potential, start, is_raised)
            for t in range(geometry.time_steps):
                i = (t * lines + line) * width
                if ends[i] == ends[i + width]:
                    continue
                for px in range(out.shape[2]):
                    for column in range(px * pool, (px + 1) * pool):
                        lo = ends[i + column]
                        hi = ends[i + column + 1]
                        if lo == hi:
                            continue
                        at = column * WIDE_BANK
                        add_rows(potential, at, rows, synapses, (lo, hi), weights, WIDE_BANK, 1)
                        mark_above(potential, at, thresholds.lowest, marks, px * WIDE_BANK, np.uint8(t))
        for px in range(out.shape[2]):
            for f in range(used):
                out[first + f, py, px] = marks[px * WIDE_BANK + f]
