"""An encoder that converts recordings of events to latencies, by numbers of events or by times of first events."""

from dataclasses import dataclass

import numpy as np

from engine.compiled import compiled
from engine.declaration import ranged
from engine.encoder import Encoder
from errors import InputError
from imagesets.recordings import MAX_TIME, Events, Recordings, read_events
from s1c1 import MAX_PIXELS, bin_by_rank, normalise

MAX_BINS = 64
UNIT = 2.0**32  # logarithms are rounded to integers in this unit, so that every sum of them is exact, as in S1C1


@dataclass(frozen=True)
class EventEncoder(Encoder, name="events"):
    """Encode recordings of events as spikes, at most one per neuron.

    * ``mode`` "count": the window is divided into `bins` of equal duration. Each bin has two channels, for the pixels
      that become brighter and darker. For n events, a neuron has the intensity log(1 + n), divided by the mean of its
      map over the square of side ``2 radius + 1`` around it. All intensities are ranked together and divided into
      `time_steps` bins as in S1C1, the strongest first.
    * ``mode`` "first": there are two channels. With T = `time_steps`, a neuron spikes at time step ⌊T t / d⌋: t is the
      time of its first event after the beginning of the window, d the duration of the window.

    Args:
        mode: "count" or "first".
        bins, radius: only for "count".
        window: begin and end in milliseconds after the first event of the recording. Events outside are ignored. None:
            the whole recording.
        time_steps: number T of time steps, 1 to 254; latency T means silent.

    Raises InputError for a parameter out of its range.
    """

    mode: str = "count"
    bins: int = ranged(1, MAX_BINS, 5)
    radius: int = ranged(0, MAX_PIXELS, 2)
    window: tuple[float, float] | None = ranged(0, MAX_TIME / 1000, None)
    time_steps: int = ranged(1, 254, 15)

    colours = 0

    def __post_init__(self):
        super().__post_init__()
        if self.mode not in ("count", "first"):
            raise InputError(f"mode must be count or first, not {self.mode!r}")
        if self.window and self.window[0] >= self.window[1]:
            raise InputError(f"window must be two increasing times, not {self.window}")

    @property
    def scales(self) -> tuple[str, ...]:
        return tuple(f"bin {i + 1}" for i in range(self.bins)) if self.mode == "count" else ("first event",)

    def check_images(self, images: Recordings) -> Recordings:
        if not isinstance(images, Recordings):
            raise InputError(f"--encoder events takes recordings, not {type(images).__name__}")
        return images

    def encode(self, images: Recordings) -> np.ndarray:
        """Return latencies uint8 (N, C, H, W), which are computed from one recording after another."""
        latencies = np.full((len(images), self.channels, *images.image_size), self.time_steps, np.uint8)
        for latency, path in zip(latencies, images.paths, strict=True):
            events = read_events(path, images.image_size)
            if self.mode == "first":
                (x, y, _, p), steps = self._divide(events, self.time_steps)
                np.minimum.at(latency, (1 - p, y, x), steps.astype(np.uint8))
            else:
                (x, y, _, p), bins = self._divide(events, self.bins)
                counts = np.zeros(latency.shape)
                np.add.at(counts, (2 * bins + 1 - p, y, x), 1)
                _rank(np.rint(np.log1p(counts) * UNIT), self.radius, self.time_steps, latency)
        return latencies

    def _divide(self, events: Events, parts: int) -> tuple[Events, np.ndarray]:
        """Return the events in the window, and the part of the window in which each is, int64 from 0 to parts - 1."""
        t = events.t - events.t[0]
        if self.window is None:
            begin = 0
            end = t[-1] + 1
        else:
            begin, end = (round(1000 * edge) for edge in self.window)
        is_inside = (begin <= t) & (t < end)
        chosen = Events(*(values[is_inside] for values in events))
        return chosen, (t[is_inside] - begin) * parts // (end - begin)


@compiled
def _rank(maps, radius, time_steps, latency):
    """Normalise maps float64 (C, H, W) of whole numbers, in place, and write the bins of their ranks into latency."""
    for c in range(len(maps)):
        normalise(maps[c], radius)
    bin_by_rank(maps.reshape(-1), latency.reshape(-1), time_steps)
