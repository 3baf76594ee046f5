"""S1C1: from an image to spikes. Difference-of-Gaussians filters, local normalisation, intensity-to-latency.

The input stage of Mozafari et al. 2018 and 2019 (SpykeTorch): a strong local contrast spikes early, a weak one late or
never. ``S1C1()`` is a torchvision transform, ``S1C1().encode(images)`` encodes a whole data set at once, compiled.

**Exact arithmetic.** A latency is a rank among some 1,200 intensities, and about one MNIST image in 250 has two equal
intensities on the border between two bins. Adding in another order changes the last bit, and they swap bins. Here
nothing is rounded before the one division per intensity: pixels are integers, the filters are rounded once to integers
(33 bits after the binary point with the default parameters), and every sum of their products stays below 2**53, where
float64 is exact in any order. So the latencies are the same on every machine and for any number of threads, equal
surroundings give equal intensities, and equal intensities are ranked by position.

Of the 600 golden encodings, made by the original chain, every one is reproduced bit for bit. The same chain in torch's
float32 differs on 20 of 10,000 other MNIST images, in 74 neurons of 47 million: rounding, at a border or at the
threshold, decides there. In float64 it differs on 10, in 152 neurons.
"""

import engine  # noqa: F401  before torch: threads that wait are to sleep

# isort: split
import math

import numpy as np
import torch
from numba import prange
from PIL import Image

from engine.compiled import compiled
from errors import InputError
from SpykeTorch.functional import latency_to_wave
from SpykeTorch.utils import DoGKernel

PIXEL_MAX = 255
MOST_FILTERS, MOST_PIXELS = 64, 1023  # of the filters, and of a window and a radius: memory grows with their squares


class S1C1:
    """Encodes 8-bit images as spikes, at most one per neuron; see Mozafari et al. 2018, section 2, for grey ones.

    1. Each of the `filters` is applied twice, as it is and with σ1 and σ2 swapped (on- and off-centre), to the image
       padded with zeros, so that a map is as large as the image. Responses under the `threshold` become 0. Of a colour
       image, red, green and blue are each filtered like a grey image.
    2. Local normalisation: each response is divided by the mean of its map over the square of side ``2 radius + 1``
       around it, zeros outside the image counted.
    3. Intensity to latency: the n non-zero intensities of all maps are ranked together, strongest first (equal ones by
       channel, row, column), and dealt into `time_steps` bins of ``n // time_steps`` each; the weakest
       ``n % time_steps`` never spike. With fewer intensities than bins each has a bin of its own. A blank image is
       silent.

    Args:
        filters: ``(window, σ1, σ2)`` of each difference of Gaussians, in pixels; window odd. The channels are, in
            this order, ``filters[0]``, ``filters[0]`` swapped, ``filters[1]``, ``filters[1]`` swapped, …; of colour
            images all those of red first, then of green, then of blue.
        threshold: the least response that counts, for pixels from 0 to 255 and filters with maximum 1.
        radius: of the local normalisation, in pixels.
        time_steps: number of latency bins T, 1 to 255; latency T means silent.
        colours: 1 for grey images, 3 for red, green and blue.

    Raises:
        InputError: a parameter out of its range.
    """

    def __init__(
        self,
        filters=((3, 3 / 9, 6 / 9), (7, 7 / 9, 14 / 9), (13, 13 / 9, 26 / 9)),
        threshold=50.0,
        radius=8,
        time_steps=15,
        colours=1,
    ):
        if not 1 <= len(filters) <= MOST_FILTERS:
            raise InputError(f"S1C1 needs at least one filter (window, σ1, σ2) and at most {MOST_FILTERS}")
        for dog in filters:
            if not isinstance(dog, tuple | list) or len(dog) != 3:
                raise InputError(f"each filter of S1C1 is (window, σ1, σ2), not {dog}")
            window, sigma1, sigma2 = dog
            if window != int(window) or not 3 <= window <= MOST_PIXELS or window % 2 == 0:
                raise InputError(f"a DoG window must be an odd number from 3 to {MOST_PIXELS}, not {window}")
            if not (0 < sigma1 < math.inf and 0 < sigma2 < math.inf and sigma1 != sigma2):
                raise InputError(f"the σ of a DoG must be positive and different, not {sigma1} and {sigma2}")
        if not 0 <= threshold < math.inf:
            raise InputError(f"the S1C1 threshold must be a number from 0 on, not {threshold}")
        if radius != int(radius) or not 0 <= radius <= MOST_PIXELS:
            raise InputError(f"the normalisation radius must be a whole number from 0 to {MOST_PIXELS}, not {radius}")
        if time_steps != int(time_steps) or not 1 <= time_steps <= 255:
            raise InputError(f"the number of time steps must be between 1 and 255, not {time_steps}")
        if colours not in (1, 3):
            raise InputError(f"the number of colours must be 1 (grey) or 3 (red, green, blue), not {colours}")

        self.filters = tuple((int(window), float(sigma1), float(sigma2)) for window, sigma1, sigma2 in filters)
        self.threshold = float(threshold)
        self.radius = int(radius)
        self.time_steps = int(time_steps)
        self.colours = int(colours)
        self.channels = 2 * len(self.filters) * self.colours
        self.polarity = (1, -1) * len(self.filters) * self.colours  # on-centre and off-centre
        self.scales = tuple(f"{window}×{window}" for window, _, _ in self.filters) * self.colours
        self._kernels, self._windows, self._thresholds = integer_filters(self.filters, self.threshold, self.radius)

    def __call__(self, image):
        """One image → its spike wave, as a torchvision transform.

        Args:
            image: a grey PIL image (mode "L"), or uint8 ``(H, W)`` or ``(1, H, W)``, tensor or array; with
                ``colours=3`` a colour PIL image (mode "RGB"), or uint8 ``(H, W, 3)``.

        Returns:
            uint8 ``(T, C, H, W)``; 1 from the neuron's spike on, T = time_steps, C = channels.

        Raises:
            InputError: another mode, type or shape; also after ``ToTensor()``, whose floats are not accepted.
        """
        if isinstance(image, Image.Image):
            kind, mode = ("grey", "L") if self.colours == 1 else ("colour", "RGB")
            if image.mode != mode:
                raise InputError(
                    f'S1C1 takes {kind} images: use image.convert("{mode}") on this one of mode "{image.mode}"'
                )
            image = np.asarray(image)
        pixels = _pixels(image)
        if self.colours == 1 and pixels.ndim == 3 and len(pixels) == 1:
            pixels = pixels[0]
        if pixels.ndim != (2 if self.colours == 1 else 3) or (self.colours == 3 and pixels.shape[-1] != 3):
            fits = "one grey image, (H, W) or (1, H, W)" if self.colours == 1 else "one colour image, (H, W, 3)"
            raise InputError(f"S1C1 takes {fits}, not {_shape(pixels)}")
        # Not through the parallel loop: a DataLoader's forked workers must not touch numba's threads.
        planes = _planes(pixels[None])[0]
        latency = np.empty((self.channels, *planes.shape[1:]), np.uint8)
        _encode_one(planes, *self._compiled_args(), latency)
        return latency_to_wave(torch.from_numpy(latency), self.time_steps, torch.uint8)

    def encode(self, images):
        """Many images → their latencies, in parallel over the images on numba's threads.

        Args:
            images: uint8 ``(N, H, W)``, with ``colours=3`` uint8 ``(N, H, W, 3)``; tensor or array.

        Returns:
            uint8 tensor ``(N, C, H, W)``: time step of the spike, 0 to T-1, or T for silence; T = time_steps.

        Raises:
            InputError: another type or shape.
        """
        pixels = _pixels(images)
        if pixels.ndim != (3 if self.colours == 1 else 4) or (self.colours == 3 and pixels.shape[-1] != 3):
            fits = "grey images (N, H, W)" if self.colours == 1 else "colour images (N, H, W, 3)"
            raise InputError(f"S1C1.encode takes {fits}, not {_shape(pixels)}")
        return torch.from_numpy(_encode_many(_planes(pixels), *self._compiled_args()))

    def config(self):
        """The parameters that define this encoding, as plain numbers and lists (for checkpoints and caches)."""
        return {
            "filters": [list(dog) for dog in self.filters],
            "threshold": self.threshold,
            "radius": self.radius,
            "time_steps": self.time_steps,
            "colours": self.colours,
        }

    def _compiled_args(self):
        return self._kernels, self._windows, self._thresholds, self.radius, self.time_steps

    def __repr__(self):
        return f"S1C1({', '.join(f'{name}={value}' for name, value in self.config().items())})"


def integer_filters(filters, threshold, radius):
    """The filters in units so small that they are whole numbers, and the thresholds in the same units.

    A filter with σ1 and σ2 swapped is a negative multiple -c of the filter itself, and the local normalisation
    cancels the factor c. So the swapped filter's map is the negative response, with the threshold over c, and half of
    the filters need not be applied.

    Returns:
        kernels float64 ``(F, w, w)`` of whole numbers, w the largest window, the smaller ones in the top left corner;
        windows int64 ``(F,)``; thresholds float64 ``(F, 2)`` for the positive and the negative responses.
    """
    windows = np.array([window for window, _, _ in filters])
    kernels = np.zeros((len(filters), windows.max(), windows.max()))
    thresholds = np.empty((len(filters), 2))
    for kernel, window, least, (_, sigma1, sigma2) in zip(kernels, windows, thresholds, filters, strict=True):
        dog = DoGKernel(window, sigma1, sigma2)().float().numpy()  # in float32 whatever torch's default type
        kernel[:window, :window] = dog
        least[:] = threshold, threshold * -float(dog.min())  # swapped: -dog / max(-dog)

    # The largest sum there can be: a square of the normalisation full of the largest response, which a filter of mean
    # 0 gives where its positive half, or its negative one, lies on white and the other on black.
    largest = (2 * radius + 1) ** 2 * PIXEL_MAX * np.abs(kernels).sum(axis=(1, 2)).max() / 2
    unit = 2.0 ** math.floor(53 - math.log2(largest))
    kernels = np.round(kernels * unit)
    for kernel, window in zip(kernels, windows, strict=True):
        kernel[window // 2, window // 2] -= kernel.sum()  # a uniform patch answers exactly 0
    return kernels, windows, thresholds * unit


def _pixels(images):
    """`images`, a tensor or an array, as a uint8 array; InputError for any other type of pixel."""
    if not isinstance(images, (torch.Tensor, np.ndarray)):
        raise InputError(f"S1C1 takes a uint8 tensor or array, not {type(images).__name__}")
    dtype = str(images.dtype).removeprefix("torch.")
    if "float" in dtype:
        raise InputError(
            f"S1C1 takes uint8 pixels from 0 to 255, not {dtype}: use it in place of ToTensor(), not after it"
        )
    if dtype != "uint8":
        raise InputError(f"S1C1 takes uint8 pixels from 0 to 255, not {dtype}")
    return images.numpy(force=True) if isinstance(images, torch.Tensor) else images


def _planes(pixels):
    """Grey (N, H, W) or colour (N, H, W, 3) → (N, colours, H, W), laid out as the compiled code wants them."""
    if 0 in pixels.shape[1:]:
        raise InputError(f"S1C1 cannot encode images without pixels: {_shape(pixels)}")
    planes = pixels[:, None] if pixels.ndim == 3 else pixels.transpose(0, 3, 1, 2)
    return np.require(planes, requirements=["C", "W"])


def _shape(array):
    return f"({', '.join(str(n) for n in array.shape)})"


@compiled(parallel=True)
def _encode_many(images, kernels, windows, thresholds, radius, time_steps):
    """Latencies uint8 (N, C, H, W) of images uint8 (N, colours, H, W), each on one thread."""
    n, colours, height, width = images.shape
    latencies = np.empty((n, 2 * len(kernels) * colours, height, width), np.uint8)
    for i in prange(n):
        _encode_one(images[i], kernels, windows, thresholds, radius, time_steps, latencies[i])
    return latencies


@compiled
def _encode_one(image, kernels, windows, thresholds, radius, time_steps, latency):
    """Fills latency uint8 (C, H, W) from an image uint8 (colours, H, W); kernels … as from ``integer_filters``."""
    colours, height, width = image.shape
    maps = np.zeros((2 * len(kernels) * colours, height, width))
    for f in range(len(kernels)):
        half = windows[f] // 2
        for colour in range(colours):
            response = _filter(image[colour], kernels[f, : windows[f], : windows[f]])
            on = 2 * (colour * len(kernels) + f)
            for y in range(height):
                for x in range(width):
                    r = response[y + half, x + half]
                    if r > 0 and r >= thresholds[f, 0]:
                        maps[on, y, x] = r
                    elif r < 0 and -r >= thresholds[f, 1]:
                        maps[on + 1, y, x] = -r
    for c in range(len(maps)):
        _normalise(maps[c], radius)
    latency[:] = time_steps
    _deal(maps.reshape(-1), latency.reshape(-1), time_steps)


@compiled
def _filter(image, kernel):
    """Every response of the kernel (w, w) to the image (H, W), also the partial ones: float64 (H + w - 1, W + w - 1).

    Event-driven: each pixel that is not black adds the kernel (symmetric, so correlation and convolution are one)
    around itself. Four fifths of a digit's pixels are black.
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
def _normalise(intensity, radius):
    """Divides the map (H, W), in place, by its sum over the square around each position.

    The mean would be this sum over the area, the same area for all: for ranking, the sum does, and spares a rounding.
    No ε is needed either, as a response above 0 has a sum above 0. The square slides: rows enter and leave the column
    sums, columns enter and leave the square's, which leaves no trace, as all of them are exact.
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
        for x in range(width):
            if intensity[y, x] > 0:
                intensity[y, x] /= square[y, x]


@compiled
def _deal(intensity, latency, time_steps):
    """Ranks the non-zero values of `intensity` and writes their bins into `latency` (both flat, same length).

    Only who is on which side of a border between two bins matters. So: a counting sort into about 2n buckets, then an
    exact sort of the few buckets that lie across a border.
    """
    n = 0
    where = np.empty(len(intensity), np.int64)  # position of the i-th non-zero intensity
    for position in range(len(intensity)):
        if intensity[position] > 0:
            where[n] = position
            n += 1
    if n == 0:
        return

    # The bits of positive floats, read as integers, are in the order of the floats. Buckets count from the strongest.
    bits = intensity.view(np.int64)
    strongest, weakest = bits[where[0]], bits[where[0]]
    for i in range(n):
        strongest = max(strongest, bits[where[i]])
        weakest = min(weakest, bits[where[i]])
    shift = 0
    while (strongest - weakest) >> shift > 2 * n:
        shift += 1
    start = np.zeros(((strongest - weakest) >> shift) + 2, np.int64)  # first rank of each bucket, once summed up
    for i in range(n):
        start[((strongest - bits[where[i]]) >> shift) + 1] += 1
    for bucket in range(1, len(start)):
        start[bucket] += start[bucket - 1]
    ranked = np.empty(n, np.int64)  # positions by rank; within a bucket, as yet, by position
    free = start.copy()
    for i in range(n):
        bucket = (strongest - bits[where[i]]) >> shift
        ranked[free[bucket]] = where[i]
        free[bucket] += 1

    per_bin = max(1, n // time_steps)
    spikes = min(n, per_bin * time_steps)
    for border in range(per_bin, min(spikes, n - 1) + 1, per_bin):
        bucket = (strongest - bits[ranked[border]]) >> shift
        if start[bucket] < border:
            _sort(ranked, start[bucket], start[bucket + 1], bits)
    for rank in range(spikes):
        latency[ranked[rank]] = rank // per_bin


@compiled
def _sort(ranked, start, end, bits):
    """Insertion sort of ranked[start:end] by falling bits; equal ones stay in their order. A bucket holds a handful."""
    for i in range(start + 1, end):
        position = ranked[i]
        j = i
        while j > start and bits[ranked[j - 1]] < bits[position]:
            ranked[j] = ranked[j - 1]
            j -= 1
        ranked[j] = position
