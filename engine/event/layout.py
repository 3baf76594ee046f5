"""The layout of a layer in memory, and the records that describe it.

* A *row* contains one number per feature. Zeros pad it to whole vectors: it has ``stride`` numbers.
* The weights of a firing layer are rows (C, k, k). Its potentials are rows (Ho, Wo) with mirrored columns. Then the
  outputs that a spike reaches in one line, and the weights that it adds there, are two runs of memory in the same
  order, and one long vector addition computes them all.
* The weights of a decision layer lie in *banks* of 32 or 64 features (``bank_width``): (banks, k, k, C) rows. The
  weights of one kernel offset of one bank stay in the innermost cache while the spikes of many images are added.
* While a firing layer does not learn, the features that count (``counting.py``) have rows of their own, of bytes.
* For learning, both kinds of layers also keep the weights *transposed*: (F, k · k, C). There, the synapses of a winner
  at one kernel offset are a run of memory, like the times of their inputs. Each change is copied to the rows or banks.
"""

from typing import NamedTuple

import numpy as np

from engine.compiled import compiled
from engine.event.simd import LINE_BYTES

BANK = 32  # features of a decision layer whose potentials are computed together


class Geometry(NamedTuple):
    """The sizes of a layer, of its input (C, H, W) and of its output (F, Ho, Wo)."""

    time_steps: int
    channels: int
    height: int
    width: int
    kernel: int
    padding: int
    features: int
    stride: int  # numbers in a row
    out_height: int
    out_width: int


class Weights(NamedTuple):
    """The weights in two layouts, which learning keeps equal: transposed (F, k · k, C), and rows or banks.

    ``inside``, bool (1,): whether all weights lie within the bounds of the rule. First weights need not. They are
    clipped with the first update, as by SpykeTorch: if they were clipped before, other neurons would win the first
    images.
    """

    transposed: np.ndarray
    rows: np.ndarray
    inside: np.ndarray


@compiled
def is_dense(geometry):
    """Return whether the layer is that of a ``SpikingDense``: a kernel of 1×1 on a map of one pixel, not padded."""
    return geometry.kernel * geometry.out_height * geometry.out_width == 1


@compiled
def bank_width(geometry):
    """Return the number of features of a bank: 64 of a dense layer, whose sums then hide the latency of an addition."""
    is_wide = is_dense(geometry) and geometry.stride % (2 * BANK) == 0
    return 2 * BANK if is_wide else BANK


def transpose(weight: np.ndarray) -> np.ndarray:
    """Copy weight (F, C, k, k) to (F, k · k, C)."""
    return weight.reshape(*weight.shape[:2], -1).transpose(0, 2, 1).copy()  # copies 1×1 kernels, too


def transpose_back(transposed: np.ndarray, weight: np.ndarray) -> None:
    """Copy transposed (F, k · k, C) to weight (F, C, k, k), in place."""
    weight[:] = transposed.transpose(0, 2, 1).reshape(weight.shape)  # weight may be a view with any strides


def make_rows(transposed: np.ndarray, stride: int) -> np.ndarray:
    """Return the rows (C, k, k) of transposed weights."""
    rows = allocate_aligned(transposed[0].size * stride, transposed.reshape(-1))
    rows[:] = 0
    to_rows(transposed, rows)
    return rows


def make_banks(transposed: np.ndarray, width: int) -> np.ndarray:
    """Return the banks of ``width`` features of transposed weights."""
    features, offsets, channels = transposed.shape
    banks = allocate_aligned(-(-features // width) * width * offsets * channels, transposed.reshape(-1))
    banks[:] = 0
    to_banks(transposed, np.arange(features), width, banks)
    return banks


@compiled
def allocate_aligned(count, like):
    """Return ``count`` numbers of the type of ``like`` (n,), not initialized, that begin at a cache line.

    Then no vector of a row lies in two cache lines.
    """
    raw = np.empty(count + LINE_BYTES // like.itemsize, like.dtype)
    skip = (-raw.ctypes.data % LINE_BYTES) // raw.itemsize
    return raw[skip : skip + count]


@compiled
def to_rows(transposed, rows):
    """Copy transposed weights (F, k · k, C) to rows (C, k, k)."""
    features, offsets, channels = transposed.shape
    by_synapse = rows.reshape((channels, offsets, -1))
    for c in range(channels):
        for offset in range(offsets):
            for f in range(features):
                by_synapse[c, offset, f] = transposed[f, offset, c]


@compiled
def to_banks(transposed, chosen, width, banks):
    """Copy the weights of the ``chosen`` features, int64 (n,), from transposed (F, k · k, C) to banks (k · k, C)."""
    offsets, channels = transposed.shape[1:]
    for bank in range(banks.size // (offsets * channels * width)):
        features = chosen[chosen // width == bank]
        for offset in range(offsets):
            at = (bank * offsets + offset) * channels * width
            for start in range(0, channels, 64):  # rows that stay in the innermost cache for all features
                for f in features:
                    lane = at + f - bank * width
                    synapses = transposed[f, offset]
                    for c in range(start, min(start + 64, channels)):
                        banks[lane + c * width] = synapses[c]
