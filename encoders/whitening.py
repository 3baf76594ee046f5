"""An encoder that whitens images: neighbouring pixels and colours, which are alike, become uncorrelated.

ZCA whitening by one convolution, after Falez et al. 2020 (arXiv 2002.10177), who encode colour images for STDP with it.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from threadpoolctl import threadpool_limits
from torch.nn import functional as F

from engine.declaration import ranged
from engine.encoder import Encoder
from errors import InputError
from imagesets.splits import choose_evenly
from s1c1 import PIXEL_MAX

MAX_PATCH = 15  # memory and time grow with its fourth power
PATCHES = 300_000  # patches from which the filters are computed: sums of their products stay below 2^53
PATCHES_AT_ONCE = 10_000  # of them in memory at the same time
SAMPLED_VALUES = 2_000_000  # values of pixels from which the borders between the time steps are computed
EXACT = 2**24  # whole numbers up to it are exact in float32
CONVOLVED_TOGETHER = 100  # images that share a convolution


@dataclass(frozen=True)
class Whitening(Encoder, name="whitening"):
    """Encode images as spikes by whitening filters that are fitted to the training images.

    1. C is the covariance of the pixels of random patches of the training images, as fractions of white, and
       W = (C + ε I)^(-1/2). The filters are the rows of W for the colours of the central pixel. They are applied to the
       image minus the mean colour, continued outside by its outermost pixels.
    2. Each response has two channels, for its positive and for its negative values.
    3. The strongest ``spiking`` of all positive intensities spike, and the borders between the time steps divide the
       spikes of the training images into equal parts. So a latency is a rank among all training images, not within
       the image: an image of low contrast has few and late spikes.

    Args:
        patch: side of the filters in pixels, odd.
        epsilon: ε, in units of the variance of pixels from 0 to 1. Larger: smoother.
        spiking: fraction of the intensities that spike.
        time_steps: number of time steps, 1 to 255, of which networks read up to 254.
        colours: 1 for grey images, 3 for red, green and blue.

    ``state`` contains the filters (colours, colours, patch, patch), the mean of each colour, and the borders:
    intensities in ascending order. The filters are rounded to whole multiples of a unit, so that no sum reaches 2^24,
    and responses are exact in float32, in any order of the additions.
    """

    patch: int = ranged(1, MAX_PATCH, 9)
    epsilon: float = ranged(1e-4, 1e4, 0.01)
    spiking: float = ranged(0, 1, 0.5, above=True)
    time_steps: int = 15
    colours: int = 1

    source = "Falez et al. 2020, arXiv 2002.10177"
    fitted: ClassVar[tuple[str, ...]] = ("filters", "mean", "borders")

    def __post_init__(self):
        super().__post_init__()
        if self.patch % 2 == 0:
            raise InputError(f"patch must be odd, not {self.patch}")

    @property
    def scales(self) -> tuple[str, ...]:  # type: ignore[override]  # it may be a field or a property
        return ("red", "green", "blue") if self.colours == 3 else ("whitened",)

    def fit(self, images):
        images = self.check_images(images)
        height, width = images.shape[1:3]
        side = min(height, width)
        if self.patch > side:
            raise InputError(f"patch must be at most {side} for images of {height}×{width} pixels, not {self.patch}")
        mean, covariance = self._measure_patches(images.reshape(*images.shape[:3], self.colours))
        filters = self._compute_filters(covariance)
        sampled = images[choose_evenly(len(images), math.ceil(SAMPLED_VALUES / images[0].size))]
        strengths = torch.cat([part.abs().flatten() for part in self._respond(sampled, filters, mean)])
        strengths = strengths[strengths > 0].sort(descending=True).values
        if not len(strengths):
            raise InputError("--encoder whitening cannot be fitted to uniform images")
        ranks = torch.arange(1, self.time_steps + 1) * self.spiking * len(strengths) / self.time_steps
        last = ranks.ceil().long() - 1
        return {"filters": filters, "mean": mean, "borders": strengths[last.clamp(min=0)].flip(0)}

    def _measure_patches(self, pixels: np.ndarray) -> tuple[torch.Tensor, np.ndarray]:
        """Return the mean colour, and the covariance (n, n) of the n = colours · patch² pixels of random patches.

        All sums are of whole numbers below 2^53. So they are exact, in any order.
        """
        rng = np.random.default_rng(0)
        windows = np.lib.stride_tricks.sliding_window_view(pixels, (self.patch, self.patch), axis=(1, 2))
        size = self.colours * self.patch**2
        total = np.zeros(size)
        products = np.zeros((size, size))
        for _ in range(PATCHES // PATCHES_AT_ONCE):
            places = tuple(rng.integers(0, side, PATCHES_AT_ONCE) for side in windows.shape[:3])
            patches = windows[places].reshape(PATCHES_AT_ONCE, size).astype(np.float64)
            total += patches.sum(0)
            products += patches.T @ patches
        mean = total / PATCHES
        colour = mean.reshape(self.colours, -1).mean(1).round()
        covariance = products / PATCHES - np.outer(mean, mean)
        return torch.from_numpy(colour).float(), covariance / PIXEL_MAX**2

    def _compute_filters(self, covariance: np.ndarray) -> torch.Tensor:
        with threadpool_limits(1):  # the result does not depend on the number of threads
            variances, axes = np.linalg.eigh(covariance)
            scaled = axes / np.sqrt(variances.clip(0) + self.epsilon)
            whitening = scaled @ axes.T
        pixels = self.patch**2
        rows = np.arange(self.colours) * pixels + pixels // 2
        filters = whitening[rows].reshape(self.colours, self.colours, self.patch, self.patch)
        largest = PIXEL_MAX * np.abs(filters).sum((1, 2, 3)).max()  # of all sums
        room = EXACT - PIXEL_MAX * filters[0].size  # each rounding adds less than PIXEL_MAX to a sum
        filters = np.rint(filters / (largest / room))
        return torch.from_numpy(filters).float()

    def _respond(self, images: np.ndarray, filters: torch.Tensor, mean: torch.Tensor) -> Iterator[torch.Tensor]:
        """Yield the responses float32 (N, colours, H, W) to ``CONVOLVED_TOGETHER`` images at a time."""
        for first in range(0, len(images), CONVOLVED_TOGETHER):
            pixels = self.to_planes(images[first : first + CONVOLVED_TOGETHER]).astype(np.float32)
            planes = torch.from_numpy(pixels) - mean[:, None, None]
            planes = F.pad(planes, [self.patch // 2] * 4, mode="replicate")
            yield F.conv2d(planes, filters)

    def encode(self, images):
        latencies = torch.empty((len(images), self.channels, *images.shape[1:3]), dtype=torch.uint8)
        filters, mean, borders = (self.state[name] for name in self.fitted)
        parts = latencies.split(CONVOLVED_TOGETHER)
        for part, responses in zip(parts, self._respond(images, filters, mean), strict=False):
            intensities = torch.stack([responses, -responses], 2).flatten(1, 2)
            earlier = torch.searchsorted(borders, intensities, right=True)
            part.copy_(self.time_steps - earlier)
        return latencies
