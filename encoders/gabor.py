"""An encoder by Gabor filters: edges of several orientations, on a map that is smaller than the picture."""

from dataclasses import dataclass

import numpy as np
import torch

from engine.declaration import MAX_VALUE, ranged
from engine.encoder import Encoder
from errors import InputError
from s1c1 import MAX_PIXELS, PIXEL_MAX
from SpykeTorch import functional as sf
from SpykeTorch.utils import Filter, GaborKernel, Intensity2Latency, LateralIntencityInhibition


@dataclass(frozen=True)
class Gabor(Encoder, name="gabor"):
    """Encode grey images by the strengths of their edges, as SpykeTorch's script for photographs does.

    The operations are those of the SpykeTorch interface. The network is that of Mozafari et al. 2018, IEEE TNNLS,
    "First-spike-based visual categorization using reward-modulated STDP".

    1. A Gabor filter for each of the ``orientations`` is applied to the image, from 0 to 1, where it fits. Absolute
       responses are the intensities.
    2. The maximum over windows of ``pool`` × ``pool`` intensities, ``stride`` apart, with ``pool // 2`` zeros on each
       side.
    3. Lateral inhibition: for each weaker neighbour in the same map at the distance n, an intensity grows by the n-th
       factor of ``inhibition`` times itself.
    4. Intensity to latency, as in S1C1; then only the strongest orientation spikes at each position.

    Args:
        window: side of the filters in pixels, odd.
        orientations: in degrees, a channel each.
        pool, stride: side of the windows and the distance between them, in pixels.
        inhibition: the factors, for the nearest neighbours first.
        time_steps: number of time steps, 1 to 255, of which networks read up to 254.
    """

    source = "Mozafari et al. 2018, IEEE TNNLS 29, arXiv 1705.09132"

    window: int = ranged(3, MAX_PIXELS, 5)
    orientations: tuple[float, ...] = (67.5, 112.5, 157.5, 202.5)
    pool: int = ranged(1, MAX_PIXELS, 7)
    stride: int = ranged(1, MAX_PIXELS, 6)
    inhibition: tuple[float, ...] = ranged(0, MAX_VALUE, (0.15, 0.12, 0.1, 0.07, 0.05))
    time_steps: int = 15

    def __post_init__(self):
        super().__post_init__()
        if self.window % 2 == 0:
            raise InputError(f"window must be odd, not {self.window}")
        if not self.orientations:
            raise InputError("orientations must be degrees, at least one")

    @property
    def channels(self) -> int:
        return len(self.orientations)

    @property
    def channel_names(self) -> tuple[str, ...]:  # type: ignore[override]  # it may be a field or a property
        return tuple(f"{angle:g}°" for angle in self.orientations)

    def shape(self, height, width):
        if min(height, width) < self.window:
            raise InputError(
                f"--encoder {self.name} needs images of at least {self.window}×{self.window} pixels, not "
                f"{height}×{width}"
            )
        margin = self.window - 1 + self.pool - 2 * (self.pool // 2)
        return (height - margin) // self.stride + 1, (width - margin) // self.stride + 1

    def encode(self, images):
        kernels = [GaborKernel(self.window, angle) for angle in self.orientations]
        apply_filters = Filter(kernels, use_abs=True)
        inhibit = LateralIntencityInhibition(self.inhibition)
        rank = Intensity2Latency(self.time_steps)
        size = self.shape(*images.shape[1:])
        latencies = torch.empty((len(images), self.channels, *size), dtype=torch.uint8)
        for latency, image in zip(latencies, images, strict=True):
            pixels = torch.from_numpy(image[None, None].astype(np.float32)) / PIXEL_MAX
            pooled = sf.pooling(apply_filters(pixels), self.pool, self.stride, self.pool // 2)
            ranked = sf.pointwise_inhibition(rank(inhibit(pooled)))
            latency.copy_(sf.wave_to_latency(ranked.sign()))
        return latencies
