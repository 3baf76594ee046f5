"""The latency maps of whole data sets, packed: most neurons are silent, and a decision stage needs bits only."""

import errno
import math

import numpy as np
import torch
from numba import prange

from engine.compiled import compiled
from errors import InputError


class Packed:
    """Latency maps (N, C, H, W) of ``images`` images, which are read as the tensor would be, by images or in parts.

    ``earliest`` uint8 (N,) keeps the time step of each image's first spike.
    """

    device = torch.device("cpu")

    def __init__(self, images, shape, time_steps):
        self.shape, self.time_steps = torch.Size((images, *shape)), time_steps
        self.earliest = np.full(images, time_steps, np.uint8)

    def __len__(self):
        return self.shape[0]

    def split(self, size):
        """Parts of ``size`` images, one after another."""
        for start in range(0, len(self), size):
            yield self[start : start + size]

    def write(self, start, latencies):
        """Keep the images from ``start`` on: latencies uint8 (n, C, H, W)."""
        if latencies.shape[1:] != self.shape[1:] or not 0 <= start <= len(self) - len(latencies):
            raise InputError(f"{tuple(latencies.shape)} from {start} on are not among {tuple(self.shape)} latency maps")
        flat = latencies.flatten(1).numpy(force=True)
        self.earliest[start : start + len(flat)] = flat.min(1)
        self._write(start, flat)

    def __setitem__(self, part, latencies):
        """``write`` the images of a slice."""
        self.write(part.start, latencies)

    def _indices(self, chosen):
        """Of images chosen by indices int64 (n,), or by a slice. Errors: IndexError where there are none."""
        return np.arange(len(self))[chosen.numpy(force=True) if isinstance(chosen, torch.Tensor) else chosen]


class PackedLatencies(Packed):
    """The latency maps as they are, of each image the list of its spikes: exact, and most neurons take no memory.

    A spike's *code* is its time step, and in its lower half how many neurons before it were silent: a byte for up to
    15 time steps, else two. A time step of all ones stands for silence that is too long for that: code after code, up
    to 256 neurons (65,536) each. The images have to be written in their order.
    """

    def __init__(self, images, shape, time_steps):
        super().__init__(images, shape, time_steps)
        self._half = 4 if time_steps <= 15 else 8  # bits
        self._parts, self._codes = [], np.empty(0, np.uint8 if self._half == 4 else np.uint16)
        self._first = np.zeros(1, np.int64)  # of each image's codes, and where the last one's end

    def _write(self, start, flat):
        if start != len(self._first) - 1:
            raise InputError(f"the latency maps of image {len(self._first) - 1} come next, not those of {start}")
        codes = np.empty(flat.shape, self._codes.dtype)
        counts = np.empty(len(flat), np.int64)
        _to_codes(np.require(flat, requirements="C"), self.time_steps, self._half, codes, counts)
        rows = [row[:count] for row, count in zip(codes, counts, strict=True)]
        self._parts.append(np.concatenate([self._codes[:0], *rows]))
        self._first = np.append(self._first, self._first[-1] + np.cumsum(counts))

    def __getitem__(self, chosen):
        """The images of indices int64 (n,), or of a slice, as uint8 (n, C, H, W)."""
        if self._parts:
            self._join()
        if len(self._first) <= len(self):
            raise InputError(f"of {len(self)} latency maps only {len(self._first) - 1} have been written")
        chosen = self._indices(chosen)
        out = torch.empty((len(chosen), math.prod(self.shape[1:])), dtype=torch.uint8)
        _from_codes(self._codes, self._first, chosen, self.time_steps, self._half, out.numpy())
        return out.reshape(len(chosen), *self.shape[1:])

    def _join(self):
        """Move the parts into one run, each given back before the next."""
        codes, at = np.empty(self._first[-1], self._codes.dtype), 0
        parts = self._parts[::-1]
        self._parts = []
        while parts:
            part = parts.pop()
            codes[at : at + len(part)] = part
            at += len(part)
        self._codes = codes


@compiled(parallel=True)
def _to_codes(latencies, time_steps, half, codes, counts):
    """Latencies uint8 (n, neurons) -> codes (n, neurons) from the left, ``counts`` (n,) of them."""
    for i in prange(len(latencies)):
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


@compiled(parallel=True)
def _from_codes(codes, first, chosen, time_steps, half, latencies):
    """The codes of chosen images, which begin at ``first`` -> latencies uint8 (chosen, neurons)."""
    for i in prange(len(chosen)):
        _from_codes_of_image(codes[first[chosen[i]] : first[chosen[i] + 1]], time_steps, half, latencies[i])


@compiled
def _from_codes_of_image(codes, time_steps, half, latency):
    latency[:] = time_steps
    longest = 1 << half
    neuron = 0
    for code in codes:
        t, silent = np.int64(code) >> half, np.int64(code) & (longest - 1)
        if t == longest - 1:
            neuron += (silent + 1) << half
        else:
            neuron += silent
            latency[neuron] = t
            neuron += 1


class PackedSpikes(Packed):
    """Whether each neuron spiked, one bit a neuron: read as 0 where one did, ``time_steps`` where it was silent.

    ``file``: a binary file, open for reading and writing, that holds the bits in place of the memory. It is read row
    by row, not mapped: so its pages are the system's, which gives them back when memory is short.
    """

    def __init__(self, images, shape, time_steps, file=None):
        super().__init__(images, shape, time_steps)
        self._file, self._row = file, -(-math.prod(shape) // 8)
        self._bits = np.zeros((images, self._row), np.uint8) if file is None else None

    def close(self):
        """Give the memory or the file back."""
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

    def __getitem__(self, chosen):
        """The images of indices int64 (n,), or of a slice, as uint8 (n, C, H, W)."""
        chosen = self._indices(chosen)
        bits = np.empty((len(chosen), self._row), np.uint8)
        if self._file is None:
            np.take(self._bits, chosen, axis=0, out=bits)
        else:
            for row, image in zip(bits, chosen, strict=True):
                self._file.seek(int(image) * self._row)
                if self._file.readinto(row) != self._row:
                    raise OSError(f"{self._file.name} ends before image {image}: it was changed while in use")
        silent = np.unpackbits(~bits, axis=1, count=math.prod(self.shape[1:]))
        silent *= np.uint8(self.time_steps)
        return torch.from_numpy(silent).reshape(len(chosen), *self.shape[1:])
