"""The spikes of S1C1, and the grey levels of the pixels. S1C1 encodes where the brightness changes, not how bright."""

import numpy as np
import torch

from errors import InputError
from s1c1 import PIXEL_MAX, S1C1, Encoder


class S1C1Grey(Encoder, name="s1c1_grey"):
    """Encode grey images by S1C1, and by two more channels, for light and for dark pixels.

    Pixels of 0 are ground and never spike. Of all other pixels of the training images, the lighter half spikes in the
    channel for light, the lightest first, and the darker half in the channel for dark, the darkest first. The time
    steps of each channel contain equal numbers of pixels, as far as equal pixels allow.

    Args:
        threshold: that of ``S1C1``.
        time_steps: number of time steps, 1 to 254.

    ``state`` contains the latencies of light and of dark for the pixels 0 to 255, uint8 (2, 256).
    """

    fitted = ("latencies",)

    def __init__(self, threshold: float = 50.0, time_steps: int = 15):
        self.edges = S1C1(threshold=threshold, time_steps=time_steps)
        self.threshold = self.edges.threshold
        self.time_steps = self.edges.time_steps
        self.channels = self.edges.channels + 2
        self.polarity = (*self.edges.polarity, 1, -1)
        self.scales = (*self.edges.scales, "grey")

    def fit(self, images):
        counts = np.bincount(self.check_images(images).ravel(), minlength=PIXEL_MAX + 1)
        counts[0] = 0
        until = counts.cumsum()  # pixels of this value and darker ones
        total = until[-1]
        if not total:
            raise InputError("--encoder s1c1_grey cannot be fitted to blank images")
        light = 2 * (total - until) * self.time_steps // total
        dark = 2 * until * self.time_steps // total
        latencies = np.stack([light, dark]).clip(max=self.time_steps)
        latencies[:, 0] = self.time_steps
        self.state = {"latencies": torch.from_numpy(latencies.astype(np.uint8))}

    def encode(self, images):
        grey = self.state["latencies"].numpy()[:, images]
        return torch.cat([self.edges.encode(images), torch.from_numpy(grey).transpose(0, 1)], 1)

    def count_macs(self, height, width):
        return self.edges.count_macs(height, width)
