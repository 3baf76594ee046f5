"""Encoding of images as spike waves: filters, intensity-to-latency, caching; tensors as text files."""

import math
import uuid
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import Dataset

from .functional import center, conv2d, intensity_lateral_inhibition, latency_to_wave, to_pair


def tensor_to_text(data: Tensor, address) -> None:
    """Write a tensor of numbers as two lines: its shape and its values in row-major order, separated by commas.

    Numbers are written in full, so that ``text_to_tensor`` returns int64 and torch's default float type unchanged.
    """
    data = data.long() if data.dtype == torch.bool else data
    lines = (",".join(map(str, values)) for values in (data.shape, data.flatten().tolist()))
    Path(address).write_text("\n".join(lines) + "\n", encoding="utf-8")


def text_to_tensor(address, type: str = "float") -> Tensor:
    """Read a tensor that ``tensor_to_text`` wrote, as torch's default float type or, for ``type="int"``, as int64."""
    lines = Path(address).read_text(encoding="utf-8").split("\n")[:2]
    shape, values = ([v for v in line.split(",") if v] for line in lines)
    dtype, parse = (torch.long, int) if type == "int" else (torch.get_default_dtype(), float)
    return torch.tensor([parse(v) for v in values], dtype=dtype).reshape([int(n) for n in shape])


def generate_inhibition_kernel(inhibition_percents) -> Tensor:
    """Return a square of side ``2n + 1`` for n factors: the d-th at Chebyshev distance d, and 0 in the centre."""
    n = len(inhibition_percents)
    distance = torch.arange(-n, n + 1).abs()
    ring = torch.maximum(distance[:, None], distance[None, :])
    return torch.tensor([0.0, *inhibition_percents])[ring]


class LateralIntencityInhibition:
    """Apply ``functional.intensity_lateral_inhibition`` with a kernel of these factors, nearest ring first."""

    def __init__(self, inhibition_percents):
        self.inhibition_kernel = generate_inhibition_kernel(inhibition_percents)

    def intensity_lateral_inhibition(self, intencities: Tensor) -> Tensor:
        """Sharpen the contrast of ``(1, C, H, W)``."""
        return intensity_lateral_inhibition(intencities, self.inhibition_kernel)

    __call__ = intensity_lateral_inhibition


class FilterKernel:
    """Base class of the filter kernels. A call returns the ``(window, window)`` tensor.

    ``window_size`` is odd. The tensor of an even number is one larger, because the centre is one pixel.
    """

    def __init__(self, window_size: int):
        self.window_size = window_size

    def __call__(self) -> Tensor:
        raise NotImplementedError

    def _grid(self):
        """Return row and column distances from the centre pixel, ``(window, 1)`` and ``(1, window)``, in float64."""
        half = self.window_size // 2
        distance = torch.arange(-half, half + 1, dtype=torch.float64)
        return distance[:, None], distance[None, :]

    @staticmethod
    def _balance(kernel):
        """Return the kernel with mean 0, so that a uniform image gives 0, and maximum 1, in torch's default type."""
        kernel = kernel - kernel.mean()
        return (kernel / kernel.max()).to(torch.get_default_dtype())


class DoGKernel(FilterKernel):
    """Difference of Gaussians ``G(σ1) - G(σ2)``, then minus its mean, over its maximum.

    ``G(σ) = exp(-(x² + y²) / (2σ²)) / (2π σ²)``, in pixels. ``σ1 < σ2`` is an on-centre cell, ``σ1 > σ2`` an off-centre
    cell.
    """

    def __init__(self, window_size: int, sigma1: float, sigma2: float):
        super().__init__(window_size)
        self.sigma1 = sigma1
        self.sigma2 = sigma2

    def __call__(self) -> Tensor:
        x, y = self._grid()
        doubled = [2 * sigma**2 for sigma in (self.sigma1, self.sigma2)]
        g1, g2 = (torch.exp(-(x**2 + y**2) / variance) / (math.pi * variance) for variance in doubled)
        return self._balance(g1 - g2)


class GaborKernel(FilterKernel):
    """Gabor filter ``exp(-(X² + γ² Y²) / (2σ²)) cos(2π X / λ)``, then minus its mean, over its maximum.

    ``X = y sin θ + x cos θ``, ``Y = y cos θ - x sin θ`` with row x and column y from the centre, ``θ`` the orientation
    in degrees; wavelength ``λ = 2 · window / div`` and width ``σ = 0.8 λ`` in pixels; aspect ratio ``γ = 0.3``
    (Mozafari et al. 2019, Front. Neurosci. 13:625, after the S1 cells of HMAX).
    """

    def __init__(self, window_size: int, orientation: float, div: float = 4.0):
        super().__init__(window_size)
        self.orientation = orientation
        self.div = div

    def __call__(self) -> Tensor:
        x, y = self._grid()
        theta = math.radians(self.orientation)
        wavelength = 2 * self.window_size / self.div
        sigma = 0.8 * wavelength
        aspect = 0.3
        along = y * math.sin(theta) + x * math.cos(theta)
        across = y * math.cos(theta) - x * math.sin(theta)
        envelope = torch.exp(-(along**2 + aspect**2 * across**2) / (2 * sigma**2))
        return self._balance(envelope * torch.cos(2 * math.pi * along / wavelength))


class Filter:
    """Convolve an image with K kernels and set the weak responses to 0.

    Args:
        filter_kernels: list of ``FilterKernel`` or 2-D tensors; each is zero-padded on all sides to the largest.
        padding: of the image, in pixels, a number or ``(rows, columns)``.
        thresholds: responses under it become 0; a number, or one per kernel; ``None`` keeps all.
        use_abs: take the absolute responses, before the threshold.

    ``number_of_kernels`` is K, ``max_window_size`` the longer side of the largest kernel, in pixels.
    """

    def __init__(self, filter_kernels, padding=0, thresholds=None, use_abs: bool = False):
        kernels = []
        for kernel in filter_kernels:
            kernel = kernel if isinstance(kernel, Tensor) else kernel()
            kernels.append(kernel if kernel.is_floating_point() else kernel.to(torch.get_default_dtype()))
        height = max(kernel.shape[0] for kernel in kernels)
        width = max(kernel.shape[1] for kernel in kernels)
        padded = [center(kernel, height, width) for kernel in kernels]
        self.kernels = torch.stack(padded).unsqueeze(1)  # (K, 1, height, width)
        self.number_of_kernels = len(kernels)
        self.max_window_size = max(height, width)
        self.padding = to_pair(padding)
        self.use_abs = use_abs
        thresholds = -torch.inf if thresholds is None else thresholds
        self.thresholds = torch.as_tensor(thresholds, dtype=self.kernels.dtype).reshape(-1, 1, 1)  # (1 or K, 1, 1)

    def __call__(self, input: Tensor) -> Tensor:
        """Return the responses ``(1, K, H', W')`` to an image ``(1, 1, H, W)``."""
        input = input if input.is_floating_point() else input.to(self.kernels.dtype)
        output = conv2d(input, self.kernels.to(input), padding=self.padding)
        output = output.abs() if self.use_abs else output
        return torch.where(output < self.thresholds.to(output), 0, output)


class Intensity2Latency:
    """Encode intensities as spikes, the strongest first, with equally many in each of T time steps.

    All n non-zero values are ranked together and divided into T bins of ``n // T``; the ``n mod T`` weakest never
    spike. If there are fewer values than bins, each value has a separate bin. Of equal values, the lower flat index
    ranks first. (Mozafari et al. 2019, Front. Neurosci. 13:625.)

    Args:
        number_of_spike_bins: T.
        to_spike: return ones instead of the intensities.
    """

    def __init__(self, number_of_spike_bins: int, to_spike: bool = False):
        self.time_steps = number_of_spike_bins
        self.to_spike = to_spike

    def __call__(self, image: Tensor) -> Tensor:
        """Return the cumulative wave ``(T, C, H, W)`` of an image: its intensities or, with ``to_spike``, spikes."""
        return self._encode(image) if self.to_spike else self.intensity_to_latency(image)

    def intensity_to_latency(self, image: Tensor) -> Tensor:
        """Return the cumulative wave ``(T, C, H, W)`` of intensities, of the type of the image ``(1, C, H, W)``."""
        return self._encode(image) * image

    def _encode(self, image):
        values = image.flatten()
        ranked = values.argsort(descending=True, stable=True)
        ranked = ranked[values[ranked] != 0]
        bins = torch.arange(len(ranked), device=image.device) // max(len(ranked) // self.time_steps, 1)
        latency = torch.full_like(values, self.time_steps, dtype=torch.long)
        latency[ranked] = bins.clamp(max=self.time_steps)
        return latency_to_wave(latency.view(image.shape[1:]), self.time_steps, image.dtype)


class CacheDataset(Dataset):
    """A cache for the ``(sample, target)`` entries of a data set: each entry is computed once.

    Without an address, the entries are kept in memory: each worker process of a DataLoader then has a separate cache,
    which lasts as long as the worker (``persistent_workers=True``). With the address of a folder, the entries are files
    that the workers share; they must be tensors and plain Python values. A folder contains the cache of one data set,
    and a new CacheDataset deletes the entries in it.

    ``cache`` is a list by index: the entry, the path of its file on disk, or None if this process has not cached it.
    """

    def __init__(self, dataset, cache_address=None):
        self.dataset = dataset
        self.cache_address = None if cache_address is None else Path(cache_address)
        self.reset_cache()

    def reset_cache(self) -> None:
        """Remove all entries, also those on disk."""
        self.cache: list[Any] = [None] * len(self)
        if self.cache_address is not None:
            self.cache_address.mkdir(parents=True, exist_ok=True)
            for path in self.cache_address.glob("*.cached*"):
                path.unlink(missing_ok=True)

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index):
        index = range(len(self))[index]  # a sampler may give tensors, and -1 is the last entry
        if self.cache_address is None:
            if self.cache[index] is None:
                self.cache[index] = tuple(self.dataset[index])
            return self.cache[index]
        path = self.cache_address / f"{index}.cached"
        if not path.exists():
            # Other workers may read or write this entry, too, so each writes a separate file and moves it into place
            temporary = path.with_name(f"{path.name}.{uuid.uuid4().hex}")
            torch.save(tuple(self.dataset[index]), temporary)
            temporary.replace(path)
        self.cache[index] = path
        return torch.load(path, weights_only=True)
