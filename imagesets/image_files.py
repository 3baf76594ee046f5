"""Picture files as input images of a network.

In MNIST, characters are light on black, the longer side has 20 of 28 pixels, and the centre of mass is in the middle
(LeCun et al. 1998, Proceedings of the IEEE 86). ``read_image(centred=True)`` converts photographs and drawings to this
form.
"""

from pathlib import Path

import numpy as np
from PIL import Image

from imagesets.pictures import MAX_BLACK, find_border, read_picture, resize_image

SEARCHED_SIDE = 320  # pixels: larger pictures are reduced to this size before the search for ink
MIN_CONTRAST = 6  # smallest difference between ink and ground, in levels of 255
SMOOTHED = 40  # pixels: noise of pictures whose shorter side is longer is smoothed; strokes of smaller ones are thin
BOX = 20 / 28  # longer side of a character as a fraction of the image


def read_image(
    path: str | Path | Image.Image,
    height: int,
    width: int,
    centred: bool = False,
    colours: int = 1,
    stretched: bool = False,
    ground: str = "white",
) -> tuple[np.ndarray, str]:
    """Read a picture file, or an image of Pillow, as an input image of a network.

    Args:
        height, width: size of the network's images. A picture of another size is scaled in proportion and put on black.
        centred: for networks trained on characters: scale and centre the ink as in MNIST, unless the picture has
            the size of the network's images and a black border. Colour images are never centred.
        colours: 1 for grey images, 3 for colour images.
        stretched: for networks trained with ``--image-size``: stretch the picture, as in training.
        ground: the colour of transparent parts.

    Returns uint8 (height, width), in colour (height, width, 3), and a note on how the picture was changed. A picture
    without contrast becomes black, so that no neuron spikes. Raises InputError for a file that is not a picture.
    """
    image = read_picture(path, ground)
    notes = []
    if colours == 1 and image.ndim == 3:
        image = np.rint(image @ [0.299, 0.587, 0.114]).astype(np.uint8)  # luma, ITU-R BT.601
        notes.append("made grey")
    elif colours == 3 and image.ndim == 2:
        image = np.repeat(image[..., None], 3, axis=2)
    rows, columns = image.shape[:2]
    is_other_size = (rows, columns) != (height, width)
    size = f"{columns}×{rows}"
    if image.min() == image.max():
        notes.append("nothing to see: all pixels are equal")
        image = np.zeros((height, width, *image.shape[2:]), np.uint8)
    elif centred and (is_other_size or find_border(image[None]) > MAX_BLACK):
        notes.append(f"scaled from {size} and centred as MNIST's digits")
        image = _centre_character(image, height, width, notes)
    elif is_other_size and stretched:
        notes.append(f"stretched from {size}")
        image = resize_image(image, height, width)
    elif is_other_size:
        notes.append(f"resized from {size}")
        image = _place(_scale(image, height, width), height, width)
    return image, ", ".join(notes)


def _centre_character(pixels: np.ndarray, height: int, width: int, notes: list[str]) -> np.ndarray:
    """Return the ink of a picture uint8 (H, W) in the form of MNIST, uint8 (height, width).

    Ink differs from the ground, in one direction, by more than half of the largest difference.
    """
    from scipy import ndimage

    pixels = pixels.astype(np.float32)
    if max(pixels.shape) > SEARCHED_SIDE:
        pixels = _scale(pixels, SEARCHED_SIDE, SEARCHED_SIDE)
    if min(pixels.shape) > SMOOTHED:
        pixels = ndimage.gaussian_filter(pixels, 1)
    ink = pixels - find_border(pixels[None])
    if -ink.min() > ink.max():
        ink = -ink
        notes.append("inverted: it was dark on light")
    contrast = ink.max()
    if contrast < MIN_CONTRAST:
        notes.append("nothing to see: no ink found")
        return np.zeros((height, width), np.uint8)
    ink[ink <= contrast / 2] = 0
    (box,) = ndimage.find_objects((ink > 0).astype(int))
    character = _scale(ink[box], round(BOX * height), round(BOX * width))
    strong = character[character > 0.25 * character.max()]
    levels = 255 / np.percentile(strong, 90) * character
    character = levels.clip(0, 255).round().astype(np.uint8)
    return _place(character, height, width, ndimage.center_of_mass(character))


def _scale(pixels: np.ndarray, height: int, width: int) -> np.ndarray:
    """Scale an image (H, W) or (H, W, 3) in proportion, to the largest size within height × width."""
    rows, columns = pixels.shape[:2]
    scale = min(height / rows, width / columns)
    return resize_image(pixels, max(1, round(rows * scale)), max(1, round(columns * scale)))


def _place(small: np.ndarray, height: int, width: int, middle: tuple[float, float] | None = None) -> np.ndarray:
    """Put a smaller image on black, with its point ``middle`` (y, x) as close to the centre as the borders allow."""
    rows, columns = small.shape[:2]
    y, x = middle or (rows / 2, columns / 2)
    top = round(min(max(height / 2 - y, 0), height - rows))
    left = round(min(max(width / 2 - x, 0), width - columns))
    image = np.zeros((height, width, *small.shape[2:]), np.uint8)
    image[top : top + rows, left : left + columns] = small
    return image
