"""How a layer lies in memory, and the records that the kernels pass around.

* a *row* holds one number per feature, padded with zeros to whole vectors: ``stride`` numbers;
* the weights of a firing layer are rows (C, k, k), its potentials rows (Ho, Wo) with the columns mirrored: the outputs
  that a spike reaches within one line and the weights it adds there are then two runs of memory in the same order,
  and one long vector addition does them all;
* the weights of a decision layer lie in *banks* of 32 features, (bank, k, k, C) rows: one kernel offset of one bank
  stays in the innermost cache while many images pass over it;
* for learning, the weights are also kept *turned*, (F, k · k, C): a winner's synapses at one kernel offset are a run of
  memory beside the times of their inputs. What changes there is carried over to the rows or banks.
"""

from typing import NamedTuple

import numpy as np

from engine import geometry
from engine.compiled import compiled
from engine.event.simd import LINE_BYTES, lanes

BANK = 32  # features of a decision layer whose potentials are computed together


class Geometry(NamedTuple):
    """The sizes of a layer and of its input (C, H, W) and output (F, Ho, Wo); all are int."""

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
    """The weights twice: turned (F, k · k, C), and in rows or banks, in step with each other.

    ``inside`` bool (1,): all lie within the rule's bounds.
    """

    turned: np.ndarray
    rows: np.ndarray
    inside: np.ndarray


def geometry_of(weight, shape, time_steps, padding, least):
    """The ``Geometry`` of a layer with weight (F, C, k, k) for images (C, H, W); rows of a multiple of ``least``."""
    features, channels, kernel = weight.shape[:3]
    _, height, width = shape
    out = geometry.output_size(height, width, kernel, padding)
    return Geometry(
        time_steps, channels, height, width, kernel, padding, features, -(-features // least) * least, *out
    )  # fmt: skip


def in_rows(weight):
    """The rows (C, k, k) of a weight (F, C, k, k), and their stride."""
    stride = -(-len(weight) // lanes(weight.dtype)) * lanes(weight.dtype)
    rows = aligned(weight[0].size * stride, weight.reshape(-1))
    rows[:] = 0
    _to_rows(weight, rows)
    return rows, stride


def in_banks(turned):
    """The banks of turned weights."""
    banks = aligned(-(-len(turned) // BANK) * BANK * turned[0].size, turned.reshape(-1))
    banks[:] = 0
    to_banks(turned, np.arange(len(turned)), banks)
    return banks


def turn(weight):
    """weight (F, C, k, k) -> (F, k · k, C)."""
    return weight.reshape(*weight.shape[:2], -1).transpose(0, 2, 1).copy()  # also where the order stays: of 1×1 kernels


def turn_back(turned, weight):
    """turned (F, k · k, C) -> weight (F, C, k, k), in place."""
    weight.reshape(*weight.shape[:2], -1)[:] = turned.transpose(0, 2, 1)


@compiled
def aligned(count, like):
    """``count`` numbers of the type of ``like`` (n,) that begin a cache line: no vector of a row straddles two."""
    raw = np.empty(count + LINE_BYTES // like.itemsize, like.dtype)
    skip = (-raw.ctypes.data % LINE_BYTES) // raw.itemsize
    return raw[skip : skip + count]


@compiled
def _to_rows(weight, rows):
    features = weight.shape[0]
    flat = weight.reshape(features, -1)
    stride = rows.size // flat.shape[1]
    for start in range(0, features, 16):  # a cache line of a row at a time
        for synapse in range(flat.shape[1]):
            for f in range(start, min(start + 16, features)):
                rows[synapse * stride + f] = flat[f, synapse]


@compiled
def to_banks(turned, chosen, banks):
    """Copy chosen features of all kernel offsets: (F, k · k, C) -> (banks, k · k, C) rows of BANK."""
    offsets, channels = turned.shape[1:]
    for bank in range(banks.size // turned[0].size // BANK):
        within = chosen[chosen // BANK == bank]
        for offset in range(offsets):
            at = (bank * offsets + offset) * channels * BANK
            for f in within:
                lane = at + f - bank * BANK
                synapses = turned[f, offset]
                for c in range(channels):
                    banks[lane + c * BANK] = synapses[c]
