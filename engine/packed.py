"""Spikes as bits: what a decision stage reads of a whole data set, in an eighth of the memory, or on the disk."""

import errno
import math

import numpy as np
import torch

from errors import InputError

_BITS = np.unpackbits(np.arange(256, dtype=np.uint8)[:, None], axis=1)  # of each byte


class PackedSpikes:
    """Whether each neuron of the latency maps (N, C, H, W) of ``images`` images spiked, one bit a neuron.

    It is read as the tensor would be, by images or in parts: 0 where a neuron spiked, ``time_steps`` where it was
    silent. ``earliest`` uint8 (N,) keeps the time step of each image's first spike.

    ``file``: a binary file, open for reading and writing, that holds the bits in place of the memory. It is read row
    by row, not mapped: so its pages are the system's, which gives them back when memory is short.
    """

    device = torch.device("cpu")

    def __init__(self, images, shape, time_steps, file=None):
        self.shape, self.time_steps, self._file = torch.Size((images, *shape)), time_steps, file
        self._row = -(-math.prod(shape) // 8)
        self._times = (1 - _BITS) * np.uint8(time_steps)
        self.earliest = np.full(images, time_steps, np.uint8)
        self._bits = np.zeros((images, self._row), np.uint8) if file is None else None

    def __len__(self):
        return self.shape[0]

    def close(self):
        """Give the memory or the file back."""
        self._bits = None
        if self._file is not None:
            self._file.close()

    def write(self, start, latencies):
        """Keep the images from ``start`` on: latencies uint8 (n, C, H, W)."""
        if latencies.shape[1:] != self.shape[1:] or not 0 <= start <= len(self) - len(latencies):
            raise InputError(f"{tuple(latencies.shape)} from {start} on are not among {tuple(self.shape)} latency maps")
        flat = latencies.flatten(1).numpy(force=True)
        bits = np.packbits(flat < self.time_steps, axis=1)
        self.earliest[start : start + len(bits)] = flat.min(1)
        if self._file is None:
            self._bits[start : start + len(bits)] = bits
        else:
            self._file.seek(start * self._row)
            if self._file.write(bits) != bits.nbytes:
                raise OSError(errno.ENOSPC, "no room left for the spikes of moved images")

    def __getitem__(self, chosen):
        """The images of indices int64 (n,), or of a slice, as uint8 (n, C, H, W)."""
        chosen = np.arange(len(self))[chosen.numpy(force=True) if isinstance(chosen, torch.Tensor) else chosen]
        bits = np.empty((len(chosen), self._row), np.uint8)
        if self._file is None:
            np.take(self._bits, chosen, axis=0, out=bits)
        else:
            for row, image in zip(bits, chosen, strict=True):
                self._file.seek(int(image) * self._row)
                if self._file.readinto(row) != self._row:
                    raise OSError(f"{self._file.name} ends before image {image}: it was changed while in use")
        times = self._times[bits].reshape(len(chosen), 8 * self._row)[:, : math.prod(self.shape[1:])]
        return torch.from_numpy(np.ascontiguousarray(times)).reshape(len(chosen), *self.shape[1:])

    def split(self, size):
        """Parts of ``size`` images, one after another."""
        for start in range(0, len(self), size):
            yield self[start : start + size]
