"""Poolings: neurons that each read a window of one channel, and the earliest spike of a window, or that of a rank."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from engine.compiled import compiled
from engine.declaration import ranged
from engine.stages.stage import MAX_FEATURES, Region, Shape, Stage, read_single
from engine.threads import run_parts
from errors import InputError


@dataclass(frozen=True)
class Windowed(Stage, is_kind=False):
    """The base class of poolings: one neuron for each size×size window; what does not fill a window is dropped.

    Args:
        size: side of a window and distance between windows, in neurons.
        padding: rows and columns of silent neurons on each side of the input, at most half of ``size``.
        inputs: see ``Stage``.
    """

    size: int = ranged(1, MAX_FEATURES)
    padding: int = ranged(0, MAX_FEATURES, 0, kw_only=True)

    def __post_init__(self):
        super().__post_init__()
        if 2 * self.padding > self.size:
            raise InputError(f"padding must be at most {self.size // 2}, half of the size, not {self.padding}")

    @property
    def window(self) -> int:
        return self.size

    def shape(self, maps: Sequence[Shape]) -> Shape:
        channels, height, width = read_single(maps)
        return channels, *pooled_size(height, width, self.size, self.padding)

    def receptive_field(self, side: int, stride: int) -> tuple[int, int]:
        return side + (self.size - 1) * stride, stride * self.size

    def regions(self, below: list[Region], shape_below: Shape, shape: Shape) -> list[Region]:
        def pooled(side: slice, length: int) -> slice:
            start = (side.start + self.padding) // self.size
            stop = -(-(side.stop + self.padding) // self.size)
            return slice(start, min(length, stop))

        _, height, width = shape
        return [Region(region.features, pooled(region.rows, height), pooled(region.columns, width)) for region in below]

    def split(self, latency: Tensor, time_steps: int) -> Tensor:
        """Return the windows of latency uint8 (N, C, H, W): uint8 (N, C, Ho, Wo, size²)."""
        padded = F.pad(latency, [self.padding] * 4, value=time_steps)
        return padded.unfold(2, self.size, self.size).unfold(3, self.size, self.size).flatten(4)


@dataclass(frozen=True)
class Pool(Windowed):
    """The earliest spike of each size×size window; rows and columns that do not fill a window are dropped.

    Args:
        size, padding, inputs: see ``Windowed``.
        rank: which spike of the window, in the order of time: 1, the earliest, to size². A neuron of rank r spikes if
            the window has at least r spikes. So several poolings of one map, with different ranks, count its spikes
            (thermometer code), and each neuron still spikes at most once. A rank above 1 takes no padding.
    """

    rank: int = ranged(1, MAX_FEATURES, 1, kw_only=True)

    title: ClassVar[str] = "pooling"
    reads_times: ClassVar[bool] = False

    def __post_init__(self):
        super().__post_init__()
        if self.rank > 1 and (self.padding or self.rank > self.size**2):
            raise InputError(f"rank must be 1 with padding, and at most {self.size**2}, size², not {self.rank}")

    @property
    def is_plain_pool(self) -> bool:
        return type(self) is Pool and self.rank == 1 and not self.padding

    def explain(self) -> str:
        which = "earliest spike" if self.rank == 1 else f"spike of rank {self.rank}"
        return f"the {which} of each {self.size}×{self.size} window"

    def fire(self, latency: Tensor, time_steps: int) -> Tensor:
        """Return the map, see ``Stage``. Kernel: ``_pool_images``, which counts spikes instead of sorting them."""
        if self.rank == 1:
            return pool_latency(latency, self.size, self.padding)
        return self.split(latency, time_steps).sort(4).values[..., self.rank - 1]

    def fire_compiled(self, latency: Tensor, time_steps: int) -> Tensor:
        if self.rank == 1:
            return self.fire(latency, time_steps)
        images, channels, height, width = latency.shape
        out = torch.empty((images, channels, height // self.size, width // self.size), dtype=torch.uint8)
        run_parts(_pool_images, images, latency.numpy(), self.size, self.rank, time_steps, out.numpy())
        return out


def pooled_size(height: int, width: int, size: int, padding: int = 0) -> tuple[int, int]:
    """Return (Ho, Wo) of a pooling, which drops what does not fit. Raises InputError if no window fits."""
    height += 2 * padding
    width += 2 * padding
    if not 1 <= size <= min(height, width):
        raise InputError(f"pooling {size} does not fit a {height}×{width} input (padding included)")
    return height // size, width // size


def pool_latency(latency: Tensor, size: int, padding: int = 0) -> Tensor:
    """Return the earliest spike of each size×size window of latency (…, H, W); what does not fit is dropped.

    padding: silent neurons on each side, at most half of ``size``, so that each window contains a neuron.
    """
    if padding:
        latest = torch.iinfo(torch.uint8).max  # later than any spike and silence
        latency = F.pad(latency, [padding] * 4, value=latest)
    height = latency.shape[-2] // size * size
    width = latency.shape[-1] // size * size
    rows = [latency[..., i:height:size, :width] for i in range(size)]
    earliest = reduce(torch.minimum, rows)
    columns = [earliest[..., i::size] for i in range(size)]
    return reduce(torch.minimum, columns)


@compiled
def _pool_images(part, parts, latency, size, rank, silent, out):
    """Compute the map of ``Pool.fire``, of a rank. latency: (N, C, H, W). out: (N, C, Ho, Wo)."""
    _, channels, height, width = out.shape
    counts = np.empty((width, silent), np.int32)
    for n in range(part, len(out), parts):
        for c in range(channels):
            for y in range(height):
                counts[:] = 0
                for line in latency[n, c, y * size : (y + 1) * size]:
                    for x in range(width * size):
                        t = line[x]
                        if t < silent:  # a branch, because most neurons are silent
                            counts[x // size, t] += 1
                for x in range(width):
                    out[n, c, y, x] = find_time(counts[x], rank)


@compiled
def find_time(counts, rank):
    """Return the time step of the spike of a rank, or T if there are fewer. counts (T,): the spikes of each step."""
    seen = 0
    for t in range(len(counts)):
        seen += counts[t]
        if seen >= rank:
            return t
    return len(counts)
