"""An encoder without filters: the brighter a pixel, the earlier it spikes. It is an example of a user's own encoder."""

from dataclasses import dataclass

import numpy as np

from engine.encoder import Encoder


@dataclass(frozen=True)
class Intensity(Encoder, name="intensity"):
    """Encode the brightness p of a pixel, 0 to 255, as the time step (255 - p) · time_steps // 255; black is silent.

    Args:
        time_steps: number of time steps, 1 to 255, of which networks read up to 254.
        colours: 1 for grey images; 3 for red, green and blue, each a channel.
    """

    time_steps: int = 15
    colours: int = 1

    @property
    def channels(self):
        return self.colours

    def encode(self, images):
        darkness = 255 - self.to_planes(images).astype(np.int64)
        return (darkness * self.time_steps // 255).astype(np.uint8)
