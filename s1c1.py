"""Encode images as spikes: difference-of-Gaussians filters, local normalisation, intensity-to-latency.

This is the input stage of Mozafari et al. 2018 and 2019 (SpykeTorch): strong local contrasts spike early, weak
contrasts late or never. ``S1C1()`` is a torchvision transform; ``S1C1().encode(images)`` encodes a data set, compiled.

**Exact arithmetic.** A latency is a rank among some 1,200 intensities. Two equal intensities on the border between two
bins would swap bins if the order of additions changed the last bit of one of them. Here nothing is rounded before the
one division per intensity: pixels are integers, the filters are rounded once to integers (33 bits after the binary
point with the default parameters), and every sum of their products stays below 2**53, where float64 is exact in any
order. So the latencies do not depend on the machine or the number of threads, and equal intensities are ranked by
position. The 600 golden encodings, which were computed with SpykeTorch, are reproduced bit for bit.
"""

from engine.encoder import Encoder  # before torch, see engine/__init__.py

# isort: split
import functools
import math
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image

from engine.compiled import compiled
from engine.declaration import ranged
from engine.threads import run_parts
from errors import InputError
from SpykeTorch.functional import latency_to_wave
from SpykeTorch.utils import DoGKernel

PIXEL_MAX = 255
MAX_FILTERS = 64
MAX_PIXELS = 1023  # the largest window and radius: memory grows with their squares
MAX_THRESHOLD = 1e9  # larger than any response of a filter
FILTERS = f"1 to {MAX_FILTERS} of (odd window, σ1, other σ2), with σ from 1e-6 to 1e6"

BLACK, EDGE = BORDERS = "black", "edge"  # what continues an image outside


@dataclass(frozen=True)
class S1C1(Encoder, name="s1c1"):
    """Encode 8-bit images as spikes, at most one per neuron (for grey images: Mozafari et al. 2018, section 2).

    1. Each of the `filters` is applied twice, as it is and with σ1 and σ2 swapped (on- and off-centre), to the image
       with its `border`, so that a map is as large as the image. Responses under the `threshold` become 0. Red, green
       and blue of a colour image are each filtered like a grey image.
    2. Local normalisation: each response is divided by the mean of its map over the square of side ``2 radius + 1``
       around it, with zeros outside the image; with the border "edge", over the positions inside the image. The
       radius 0 leaves the responses as they are, as SpykeTorch's ``Filter`` and ``Intensity2Latency`` alone do.
    3. Intensity to latency: the n non-zero intensities of all maps are ranked together, strongest first (equal ones by
       channel, row, column), and divided into `time_steps` bins of ``n // time_steps`` each; the weakest
       ``n % time_steps`` never spike. If there are fewer intensities than bins, each has a separate bin. A blank image
       is silent.

    Args:
        filters: ``(window, σ1, σ2)`` of each difference of Gaussians, in pixels; window odd. The channels are, in
            this order, ``filters[0]``, ``filters[0]`` swapped, ``filters[1]``, ``filters[1]`` swapped, …; of colour
            images, first all of red, then of green, then of blue.
        threshold: smaller responses become 0, for pixels from 0 to 255 and filters with maximum 1.
        radius: radius of the local normalisation, in pixels; 0: none.
        time_steps: number of latency bins T, 1 to 255; latency T means silent.
        colours: 1 for grey images, 3 for red, green and blue.
        border: "black": zeros continue the image outside, as published, so the frame of a light image is an edge;
            "edge": its outermost pixels do.

    Raises:
        InputError: a parameter is out of its range.
    """

    source = "Mozafari et al. 2019, Pattern Recognition 94, arXiv 1804.00227"

    filters: tuple[tuple[int, float, float], ...] = field(
        default=((3, 3 / 9, 6 / 9), (7, 7 / 9, 14 / 9), (13, 13 / 9, 26 / 9)), metadata={"form": FILTERS}
    )
    threshold: float = ranged(0, MAX_THRESHOLD, 50.0)
    radius: int = ranged(0, MAX_PIXELS, 8)
    time_steps: int = 15
    colours: int = 1
    border: str = BLACK

    def __post_init__(self):
        super().__post_init__()
        if self.border not in BORDERS:
            raise InputError(f"border must be {' or '.join(BORDERS)}, not {self.border!r}")
        are_filters = 1 <= len(self.filters) <= MAX_FILTERS and all(is_filter(*dog) for dog in self.filters)
        if not are_filters:
            raise InputError(f"filters must be {FILTERS}, not {self.filters}")

    @property
    def scales(self) -> tuple[str, ...]:  # type: ignore[override]  # it may be a field or a property
        return tuple(f"{window}×{window}" for window, _, _ in self.filters) * self.colours

    @functools.cached_property
    def integer_filters(self) -> "IntegerFilters":
        return compute_integer_filters(self.filters, self.threshold, self.radius)

    def __call__(self, image) -> torch.Tensor:
        """Return the spike wave of one image, as a torchvision transform does.

        Args:
            image: a grey PIL image (mode "L"), or uint8 ``(H, W)`` or ``(1, H, W)``, tensor or array; with
                ``colours=3`` a colour PIL image (mode "RGB"), or uint8 ``(H, W, 3)``.

        Returns:
            uint8 ``(T, C, H, W)``: 1 from the neuron's spike on, T = time_steps, C = channels.

        Raises:
            InputError: the image has another mode, type or shape, such as the floats of ``ToTensor()``.
        """
        if isinstance(image, Image.Image):
            mode = "L" if self.colours == 1 else "RGB"
            if image.mode != mode:
                raise InputError(f'S1C1 takes images of mode "{mode}", not "{image.mode}": use image.convert("{mode}")')
            image = np.asarray(image)
        has_channel = self.colours == 1 and image.ndim == 3 and len(image) == 1
        if not has_channel:
            image = image[None]
        (latency,) = self.encode(image)
        return latency_to_wave(latency, self.time_steps, torch.uint8)

    def encode(self, images) -> torch.Tensor:
        """Return the latencies of many images, which are encoded in parallel.

        Args:
            images: uint8 ``(N, H, W)``, with ``colours=3`` uint8 ``(N, H, W, 3)``; tensor or array.

        Returns:
            uint8 tensor ``(N, C, H, W)``: time step of the spike, 0 to T-1, or T for silence; T = time_steps.

        Raises:
            InputError: the images have another type or shape.
        """
        planes = self.to_planes(images)
        latencies = np.empty((len(planes), self.channels, *planes.shape[2:]), np.uint8)
        if self.border == EDGE:
            half = max(window for window, _, _ in self.filters) // 2
            planes = np.pad(planes, [(0, 0), (0, 0), (half, half), (half, half)], mode="edge")
        run_parts(_encode_many, len(planes), planes, self.integer_filters, self.radius, self.time_steps, latencies)
        return torch.from_numpy(latencies)


def is_filter(window: int, sigma1: float, sigma2: float) -> bool:
    """Return whether a filter has an odd window, and two different σ, whose exponentials are finite."""
    are_usual = 1e-6 <= sigma1 <= 1e6 and 1e-6 <= sigma2 <= 1e6
    return window in range(3, MAX_PIXELS + 1, 2) and are_usual and sigma1 != sigma2


class IntegerFilters(NamedTuple):
    """Filters whose responses to an image are whole numbers.

    Attributes:
        kernels: float64 ``(F, w, w)`` of whole numbers, where w is the largest window and smaller kernels are in the
            top left corner.
        windows: int64 ``(F,)``.
        thresholds: float64 ``(F, 2)`` for positive and negative responses.
        factors: float64 ``(F,)``, by which negative responses are multiplied; 1 with a normalisation.
    """

    kernels: np.ndarray
    windows: np.ndarray
    thresholds: np.ndarray
    factors: np.ndarray


def compute_integer_filters(filters, threshold: float, radius: int) -> IntegerFilters:
    """Return the filters and thresholds in units in which the filters are whole numbers.

    A filter with σ1 and σ2 swapped is a negative multiple -c of the filter itself, and the local normalisation
    cancels the factor c. So the swapped filter's map is the negative response, with the threshold over c, and half of
    the filters need not be applied. Without a normalisation, the factor remains.
    """
    windows = np.array([window for window, _, _ in filters])
    kernels = np.zeros((len(filters), windows.max(), windows.max()))
    thresholds = np.empty((len(filters), 2))
    factors = np.ones(len(filters))
    for number, (window, sigma1, sigma2) in enumerate(filters):
        dog = DoGKernel(window, sigma1, sigma2)().float().numpy()  # float32 whatever torch's default type is
        kernels[number, :window, :window] = dog
        scale = -float(dog.min())  # swapped: dog / -scale
        thresholds[number] = threshold, threshold * scale
        factors[number] = 1 if radius else 1 / scale

    # The largest possible sum: all values in a square of the normalisation are the largest response. A filter of mean 0
    # has this response where its positive half lies on white and its negative half on black, or the reverse.
    largest = (2 * radius + 1) ** 2 * PIXEL_MAX * np.abs(kernels).sum(axis=(1, 2)).max() / 2
    unit = 2.0 ** math.floor(53 - math.log2(largest))
    kernels = np.round(kernels * unit)
    for kernel, window in zip(kernels, windows, strict=True):
        kernel[window // 2, window // 2] -= kernel.sum()  # the response to a uniform patch is exactly 0
    return IntegerFilters(kernels, windows, thresholds * unit, factors)


@compiled
def _encode_many(part, parts, images, filters, radius, time_steps, latencies):
    """Fill latencies uint8 (N, C, H, W) from a part of the images uint8 (N, colours, H, W), which may have borders."""
    for n in range(part, len(images), parts):
        _encode_one(images[n], filters, radius, time_steps, latencies[n])


@compiled
def _encode_one(image, filters, radius, time_steps, latency):
    """Fill latency uint8 (C, H, W) from an image uint8 (colours, H, W). filters: ``IntegerFilters``.

    The image may be larger than the maps, by an equal border at each side.
    """
    colours = len(image)
    count = len(filters.kernels)
    height, width = latency.shape[1:]
    border = (image.shape[1] - height) // 2
    maps = np.zeros((2 * count * colours, height, width))
    for f in range(count):
        window = filters.windows[f]
        half = window // 2 + border
        for colour in range(colours):
            response = _filter(image[colour], filters.kernels[f, :window, :window])
            on = 2 * (colour * count + f)
            for y in range(height):
                for x in range(width):
                    r = response[y + half, x + half]
                    if r > 0 and r >= filters.thresholds[f, 0]:
                        maps[on, y, x] = r
                    elif r < 0 and -r >= filters.thresholds[f, 1]:
                        maps[on + 1, y, x] = -r * filters.factors[f]
    if radius > 0:
        for c in range(len(maps)):
            normalise(maps[c], radius, border > 0)
    latency[:] = time_steps
    bin_by_rank(maps.reshape(-1), latency.reshape(-1), time_steps)


@compiled
def _filter(image, kernel):
    """Return all responses of the kernel (w, w) to the image (H, W), with partial overlap: (H + w - 1, W + w - 1).

    The computation is event-driven: each pixel that is not black adds the kernel around itself. (The kernel is
    symmetric, so correlation and convolution are the same.) Four fifths of a digit's pixels are black.
    """
    height, width = image.shape
    window = len(kernel)
    response = np.zeros((height + window - 1, width + window - 1))
    for y in range(height):
        for x in range(width):
            pixel = float(image[y, x])
            if pixel != 0:
                for j in range(window):
                    for i in range(window):
                        response[y + j, x + i] += pixel * kernel[j, i]
    return response


@compiled
def normalise(intensity, radius, counts_inside):
    """Divide the map (H, W), in place, by its sum over the square around each position.

    The mean is this sum over an area that is the same everywhere, so the sum gives the same ranks without a second
    rounding. With ``counts_inside``, it is divided by the mean of the positions of the square inside the map.

    No ε is needed, because a response above 0 has a sum above 0. The square slides: rows enter and leave the
    column sums, and columns enter and leave the square's sum, all of them exactly.
    """
    height, width = intensity.shape
    side = 2 * radius + 1
    columns = np.zeros(width + side)  # column x is columns[radius + x]; zeros on both sides
    square = np.empty((height, width))
    for y in range(-radius, height):
        if y + radius < height:
            for x in range(width):
                columns[radius + x] += intensity[y + radius, x]
        if y - radius - 1 >= 0:
            for x in range(width):
                columns[radius + x] -= intensity[y - radius - 1, x]
        if y >= 0:
            total = columns[:side].sum()
            for x in range(width):
                square[y, x] = total
                total += columns[x + side] - columns[x]
    for y in range(height):
        rows = min(y + radius, height - 1) - max(y - radius, 0) + 1
        for x in range(width):
            if intensity[y, x] > 0:
                intensity[y, x] /= square[y, x]
                if counts_inside:
                    intensity[y, x] *= rows * (min(x + radius, width - 1) - max(x - radius, 0) + 1)


@compiled
def bin_by_rank(intensity, latency, time_steps):
    """Rank the non-zero values of `intensity` and write their bins to `latency` (both flat, same length).

    A counting sort into about 2n buckets, then a stable insertion sort, which moves values within a bucket only. With
    a stable sort of NumPy in their place, the encoder takes 1.8 times as long.
    """
    where = np.flatnonzero(intensity)
    n = len(where)
    if n == 0:
        return

    # The bits of positive floats, read as integers, are in the order of the floats. Buckets count from the strongest.
    bits = intensity[where].view(np.int64)
    strongest = bits.max()
    spread = strongest - bits.min()
    shift = 0
    while spread >> shift > 2 * n:
        shift += 1
    buckets = (strongest - bits) >> shift
    start = np.bincount(buckets).cumsum()  # the rank at which each bucket ends …
    ranked = np.empty(n, np.int64)
    for i in range(n - 1, -1, -1):  # … and then, as the buckets fill from their ends, the rank at which it starts
        start[buckets[i]] -= 1
        ranked[start[buckets[i]]] = i
    for rank in range(1, n):
        i = ranked[rank]
        place = rank
        while place > 0 and bits[ranked[place - 1]] < bits[i]:
            ranked[place] = ranked[place - 1]
            place -= 1
        ranked[place] = i

    per_bin = max(1, n // time_steps)
    for rank in range(min(n, per_bin * time_steps)):
        latency[where[ranked[rank]]] = rank // per_bin
