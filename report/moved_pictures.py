"""The figure of moved images: what an augmentation makes of some training images."""

import numpy as np
import torch

from report.figures import new_figure, styled

SHOWN_IMAGES, SHOWN_COPIES = 8, 11


@styled
def draw_moved(images, title):
    """A line for each image, uint8 (N, 1 + copies, H, W) or (N, 1 + copies, H, W, 3): the plain one first."""
    from torchvision.utils import make_grid  # a second, before anything is said

    pictures = torch.as_tensor(np.ascontiguousarray(images))
    pictures = pictures[:, :, None] if pictures.dim() == 4 else pictures.permute(0, 1, 4, 2, 3)
    mosaic = make_grid(pictures.flatten(0, 1), nrow=pictures.shape[1], padding=2, pad_value=96).permute(1, 2, 0)
    figure = new_figure(0.75 * pictures.shape[1] + 0.2, 0.75 * len(pictures) + 0.3, title)
    axes = figure.add_subplot()
    axes.imshow(mosaic.numpy(), interpolation="nearest")
    axes.set_axis_off()
    axes.set_title("each image as it is, and its first copies", fontsize=9)
    return figure
