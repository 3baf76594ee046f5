"""An encoder without filters: the brighter a pixel, the earlier it spikes. It is an example of a user's own encoder."""

import numpy as np

from s1c1 import Encoder, check_field


class Intensity(Encoder, name="intensity"):
    """Encode the brightness p of a pixel, 0 to 255, as the time step (255 - p) · time_steps // 255; black is silent.

    Args:
        time_steps: number of time steps, 1 to 254.
        colours: 1 for grey images; 3 for red, green and blue, each a channel.
    """

    def __init__(self, time_steps: int = 15, colours: int = 1):
        check_field(time_steps in range(1, 255), "time_steps", "a whole number from 1 to 254", time_steps)
        self.time_steps = int(time_steps)
        self.colours = self.channels = colours

    def encode(self, images):
        darkness = 255 - self.to_planes(images).astype(np.int64)
        return (darkness * self.time_steps // 255).astype(np.uint8)
