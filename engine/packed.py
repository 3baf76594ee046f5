"""The latency maps of whole data sets, packed: most neurons are silent, and a decision stage only needs bits."""

import errno
import math
from collections.abc import Sequence
from typing import BinaryIO

import numpy as np
import torch
from torch import Tensor

from engine.checks import check_latencies, check_time_steps, check_times
from engine.compiled import compiled
from engine.threads import run_parts
from errors import InputError


class Packed:
    """Latency maps uint8 (N, C, H, W) of N images, which are read and written like the tensor.

    Args:
        images: N.
        shape: (C, H, W).
        time_steps: the latency that means silence.
    """

    device = torch.device("cpu")

    def __init__(self, images: int, shape: Sequence[int], time_steps: int):
        self.shape = torch.Size((images, *shape))
        self.time_steps = check_time_steps(time_steps)

    def __len__(self) -> int:
        return self.shape[0]

    def __setitem__(self, part: slice, latencies: Tensor) -> None:
        """Write latencies uint8 (n, C, H, W), the images of a slice.

        Raises InputError for another type or shape, latencies above T, and images that cannot be written there.
        """
        latencies = check_latencies(latencies)
        check_times(latencies, self.time_steps)
        start, stop, step = part.indices(len(self))
        wanted = max(0, stop - start), *self.shape[1:]
        if latencies.shape != wanted or step != 1:
            raise InputError(f"the latencies {tuple(latencies.shape)} are not {wanted}, the images {start} to {stop}")
        flat = latencies.flatten(1).numpy(force=True)
        self._write(start, np.ascontiguousarray(flat))

    def __getitem__(self, chosen: Tensor | slice) -> Tensor:
        """Return the images with the indices int64 (n,), or of a slice: uint8 (n, C, H, W)."""
        if isinstance(chosen, Tensor):
            chosen = chosen.numpy(force=True)
        indices = np.arange(len(self))[chosen]
        neurons = math.prod(self.shape[1:])
        flat = np.empty((len(indices), neurons), np.uint8)
        self._read(indices, flat)
        return torch.from_numpy(flat).reshape(len(indices), *self.shape[1:])


class PackedLatencies(Packed):
    """Latency maps as lists of spikes. Silent neurons take next to no memory. Images are written in their order,
    each once.

    A map is a list of codes. A code has two halves of 4 bits for up to 15 time steps, otherwise of 8 bits:

    ==========  ==========  =============================================================
    upper half  lower half  meaning
    ==========  ==========  =============================================================
    t           n           n silent neurons, and then a neuron that spikes at step t
    all bits 1  n           (n + 1) · 16 silent neurons; with halves of 8 bits, (n + 1) · 256
    ==========  ==========  =============================================================
    """

    def __init__(self, images: int, shape: Sequence[int], time_steps: int):
        super().__init__(images, shape, time_steps)
        is_short = time_steps <= 15
        self._half = 4 if is_short else 8  # bits
        self._type = np.uint8 if is_short else np.uint16
        self._codes = bytearray()  # grows in place: an array would be copied
        self._first = np.zeros(1, np.int64)  # the first code of each image; at the end, the number of codes

    def _write(self, start, flat):
        written = len(self._first) - 1
        if start != written:
            raise InputError(f"packed latencies are written in their order: image {written} is next, not {start}")
        codes = np.empty(flat.shape, self._type)
        counts = np.empty(len(flat), np.int64)
        run_parts(_to_codes, len(flat), flat, self.time_steps, self._half, codes, counts)
        for row, count in zip(codes, counts, strict=True):
            self._codes += row[:count].tobytes()
        self._first = np.append(self._first, self._first[-1] + np.cumsum(counts))

    def _read(self, indices, flat):
        codes = np.frombuffer(self._codes, self._type)
        _ = self._first[indices + 1]  # an IndexError for an image that is not written
        run_parts(_from_codes, len(indices), codes, self._first, indices, self.time_steps, self._half, flat)


@compiled
def _to_codes(part, parts, latencies, time_steps, half, codes, counts):
    """Write the codes of latencies uint8 (n, neurons) to the rows of codes (n, neurons); counts (n,): their numbers."""
    for i in range(part, len(latencies), parts):
        counts[i] = _to_codes_of_image(latencies[i], time_steps, half, codes[i])


@compiled
def _to_codes_of_image(latency, time_steps, half, codes):
    count = silent = 0
    longest = 1 << half
    for neuron in range(len(latency)):
        if latency[neuron] >= time_steps:
            silent += 1
            continue
        while silent >= longest:
            whole = min(silent >> half, longest)
            codes[count] = (longest - 1) << half | (whole - 1)
            count += 1
            silent -= whole << half
        codes[count] = np.int64(latency[neuron]) << half | silent
        count += 1
        silent = 0
    return count


@compiled
def _from_codes(part, parts, codes, first, chosen, time_steps, half, latencies):
    """Write latencies uint8 (n, neurons) from the codes of the chosen images, int64 (n,)."""
    for i in range(part, len(chosen), parts):
        _from_codes_of_image(codes[first[chosen[i]] : first[chosen[i] + 1]], time_steps, half, latencies[i])


@compiled
def _from_codes_of_image(codes, time_steps, half, latency):
    latency[:] = time_steps
    longest = 1 << half
    neuron = 0
    for code in codes:
        t = np.int64(code) >> half
        silent = np.int64(code) & (longest - 1)
        if t == longest - 1:
            neuron += (silent + 1) << half
        else:
            neuron += silent
            latency[neuron] = t
            neuron += 1


class PackedSpikes(Packed):
    """Whether each neuron spikes, one bit per neuron: read as 0 if it does, as ``time_steps`` if it is silent.

    Args:
        file: a binary file, open for reading and writing, that holds the bits; None: they are in memory. The file is
            read row by row and not mapped: the system owns its pages, and frees them when memory is short.
    """

    def __init__(self, images: int, shape: Sequence[int], time_steps: int, file: BinaryIO | None = None):
        super().__init__(images, shape, time_steps)
        self._file = file
        self._row = -(-math.prod(shape) // 8)
        self._bits = np.zeros((images, self._row), np.uint8) if file is None else None

    def close(self) -> None:
        """Free the memory, or close the file."""
        self._bits = None
        if self._file is not None:
            self._file.close()

    def _write(self, start, flat):
        bits = np.packbits(flat < self.time_steps, axis=1)
        if self._file is None:
            self._bits[start : start + len(bits)] = bits
        else:
            self._file.seek(start * self._row)
            if self._file.write(bits) != bits.nbytes:
                raise OSError(errno.ENOSPC, "no room left for the spikes of moved images")

    def _read(self, indices, flat):
        if self._file is None:
            bits = self._bits[indices]
        else:
            bits = np.empty((len(indices), self._row), np.uint8)
            for row, image in zip(bits, indices, strict=True):
                self._file.seek(int(image) * self._row)
                self._file.readinto(row)
        is_silent = np.unpackbits(~bits, axis=1, count=flat.shape[1])
        np.multiply(is_silent, np.uint8(self.time_steps), out=flat)
