"""The latency maps of whole data sets, packed: most neurons are silent, and a decision stage only needs bits."""

import errno
import math
import tempfile
from collections.abc import Callable, Sequence
from io import FileIO
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from engine.checks import check_latencies, check_time_steps
from engine.compiled import compiled
from engine.threads import run_parts
from errors import InputError

MAX_IN_MEMORY = 256 * 2**20  # bytes of bits that are read together; more bits are stored in files


class Packed:
    """Latency maps uint8 (N, C, H, W) of N images, which are read and written like the tensor.

    A subclass stores them by ``_write(start, flat)`` and ``_read(indices, flat)``, with flat uint8 (n, C · H · W).

    Args:
        images: N.
        shape: (C, H, W).
        time_steps: the latency that means silence.
    """

    device = torch.device("cpu")
    _write: Callable[[int, np.ndarray], None]
    _read: Callable[[np.ndarray, np.ndarray], None]

    def __init__(self, images: int, shape: Sequence[int], time_steps: int):
        self.shape = torch.Size((images, *shape))
        self.time_steps = check_time_steps(time_steps)

    def __len__(self) -> int:
        return self.shape[0]

    def __setitem__(self, part: slice, latencies: Tensor) -> None:
        """Write latencies uint8 (n, C, H, W), the images of a slice.

        Raises InputError for another type or shape, latencies above T, and images that cannot be written there.
        """
        latencies = check_latencies(latencies, self.time_steps)
        start, stop, step = part.indices(len(self))
        wanted = max(0, stop - start), *self.shape[1:]
        if latencies.shape != wanted or step != 1:
            raise InputError(f"the latencies {tuple(latencies.shape)} are not {wanted}, the images {start} to {stop}")
        flat = latencies.flatten(1).numpy(force=True)
        self._write(start, np.ascontiguousarray(flat))

    def __getitem__(self, chosen: Tensor | np.ndarray | slice) -> Tensor:
        """Return the images with the indices int64 (n,), or of a slice: uint8 (n, C, H, W)."""
        if isinstance(chosen, Tensor):
            chosen = chosen.numpy(force=True)
        indices = np.arange(len(self))[chosen]
        neurons = math.prod(self.shape[1:])
        flat = np.empty((len(indices), neurons), np.uint8)
        self._read(indices, flat)
        return torch.from_numpy(flat).reshape(len(indices), *self.shape[1:])


class PackedSpikes(Packed):
    """Latency maps as bits: whether a neuron spikes. A latency is read as 0 if it does, as ``time_steps`` if not.

    Args:
        images, shape, time_steps: as of ``Packed``.
        file: a binary file, open for reading and writing, that holds the bits; None: they are in memory. The file is
            read row by row and not mapped: the system owns its pages, and frees them when memory is short.
    """

    def __init__(self, images: int, shape: Sequence[int], time_steps: int, file: FileIO | None = None):
        super().__init__(images, shape, time_steps)
        self._file = file
        self._row = -(-math.prod(shape) // 8)
        self._bits = np.zeros((images if file is None else 0, self._row), np.uint8)

    def close(self) -> None:
        """Free the memory, or close the file."""
        self._bits = np.empty((0, self._row), np.uint8)
        if self._file is not None:
            self._file.close()

    def _write(self, start, flat):
        bits = np.packbits(flat < self.time_steps, axis=1)
        if self._file is None:
            self._bits[start : start + len(bits)] = bits
        else:
            self._file.seek(start * self._row)
            if self._file.write(bits.data) != bits.nbytes:
                raise OSError(errno.ENOSPC, "no room left for the spikes of moved images")

    def _read(self, indices, flat):
        if self._file is None:
            bits = self._bits[indices]
        else:
            bits = np.empty((len(indices), self._row), np.uint8)
            for row, image in zip(bits, indices, strict=True):
                self._file.seek(int(image) * self._row)
                self._file.readinto(row.data)
        is_silent = np.unpackbits(~bits, axis=1, count=flat.shape[1])
        np.multiply(is_silent, np.uint8(self.time_steps), out=flat)


class PackedLatencies(Packed):
    """Latency maps as lists of spikes: which neuron, and when.

    Images are written in their order, each once.
    """

    def __init__(self, images: int, shape: Sequence[int], time_steps: int):
        super().__init__(images, shape, time_steps)
        self._number = np.uint16 if math.prod(shape) <= 2**16 else np.uint32  # the type of the numbers of the neurons
        self._neurons = bytearray()  # grows in place: an array would be copied
        self._times = bytearray()
        self._first = np.zeros(1, np.int64)  # the first spike of each image; at the end, the number of spikes

    def _write(self, start, flat):
        written = len(self._first) - 1
        if start != written:
            raise InputError(f"packed latencies are written in their order: image {written} is next, not {start}")
        images, neurons = np.nonzero(flat < self.time_steps)
        self._neurons += neurons.astype(self._number).tobytes()
        self._times += flat[images, neurons].tobytes()
        ends = np.bincount(images, minlength=len(flat)).cumsum()
        self._first = np.append(self._first, self._first[-1] + ends)

    def _read(self, indices, flat):
        _ = self._first[indices + 1]  # an IndexError for an image that is not written
        flat.fill(self.time_steps)
        neurons = np.frombuffer(self._neurons, self._number)
        times = np.frombuffer(self._times, np.uint8)
        run_parts(_fill_times, len(indices), neurons, times, self._first, indices, flat)


def open_storage(size: int, folder: Path | None) -> FileIO | None:
    """Open a temporary file in a folder (None: that of the system) for bits; None if ``size`` bytes fit in memory."""
    return tempfile.TemporaryFile(dir=folder, buffering=0) if size > MAX_IN_MEMORY else None


@compiled
def _fill_times(part, parts, neurons, times, first, chosen, flat):
    """Write the spikes of the chosen images, int64 (n,), to the rows of flat uint8 (n, neurons)."""
    for i in range(part, len(chosen), parts):
        for spike in range(first[chosen[i]], first[chosen[i] + 1]):
            flat[i, neurons[spike]] = times[spike]
