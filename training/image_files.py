"""Picture files as input images of a network.

In MNIST, characters are light on black, the longer side has 20 of 28 pixels, and the centre of mass is in the middle
(LeCun et al. 1998, Proceedings of the IEEE 86). ``read_image(centred=True)`` converts photographs and drawings to this
form.
"""

from pathlib import Path

import numpy as np
from PIL import Image

from datasets.pictures import read_picture, resize_image

MAX_SIDE = 320  # pixels: larger pictures are reduced to this size before the search for ink
MAX_BLACK = 63  # a picture of the network's size is not changed if the median of its border is at most this
MIN_CONTRAST = 6  # smallest difference between ink and ground, in levels of 255
BOX = 20 / 28  # longer side of a character as a fraction of the image
SEPARATE = 0.4  # of the area of the largest object: an object of this area is no dot and no broken stroke
MIN_STROKE = 2 / 20  # smallest width of a stroke as a fraction of the character; MNIST's strokes are 2 to 3 pixels wide


def read_image(
    path: str | Path | Image.Image,
    height: int,
    width: int,
    centred: bool = False,
    colours: int = 1,
    stretched: bool = False,
) -> tuple[np.ndarray, str]:
    """Read a picture file, or an image of Pillow, as an input image of a network.

    Args:
        height, width: size of the network's images. A picture of another size is scaled in proportion and put on black.
        centred: for networks trained on characters: scale and centre the ink as in MNIST, unless the picture has
            the size of the network's images and a black border. Colour images are never centred.
        colours: 1 for grey images, 3 for colour images.
        stretched: for networks trained with ``--image-size``: stretch the picture, as in training.

    Returns uint8 (height, width), in colour (height, width, 3), and a note on how the picture was changed. A picture
    without contrast becomes black, so that no neuron spikes. Raises InputError for a file that is not a picture.
    """
    image, notes = read_picture(path)
    if colours == 1 and image.ndim == 3:
        image = np.rint(image @ [0.299, 0.587, 0.114]).astype(np.uint8)  # luma, ITU-R BT.601
        notes.append("made grey")
    elif colours == 3 and image.ndim == 2:
        image = np.repeat(image[..., None], 3, axis=2)
    rows, columns = image.shape[:2]
    is_other_size = (rows, columns) != (height, width)
    border = [*image[0], *image[-1], *image[:, 0], *image[:, -1]]
    if image.min() == image.max():
        notes.append("nothing to see: all pixels are equal")
        image = np.zeros((height, width, *image.shape[2:]), np.uint8)
    elif centred and (is_other_size or np.median(border) > MAX_BLACK):
        image = _centre_character(image, height, width, notes)
    elif is_other_size and stretched:
        notes.append(f"stretched from {columns}×{rows}")
        image = resize_image(image, height, width)
    elif is_other_size:
        notes.append(f"resized from {columns}×{rows}")
        image = _place(_scale(image, height, width), height, width)
    return image, ", ".join(notes)


def _centre_character(pixels: np.ndarray, height: int, width: int, notes: list[str]) -> np.ndarray:
    """Return the ink of a picture uint8 (H, W) in the form of MNIST, uint8 (height, width)."""
    from scipy import ndimage

    rows, columns = pixels.shape
    if max(rows, columns) > MAX_SIDE:
        pixels = _scale(pixels, MAX_SIDE, MAX_SIDE)
    ink, is_dark = _find_ink(pixels)
    if ink is None:
        notes.append("nothing to see: no ink found")
        return np.zeros((height, width), np.uint8)
    objects, _ = ndimage.label(ink > 0.25, np.ones((3, 3)))
    areas = np.bincount(objects.ravel())[1:]
    count = int((areas > SEPARATE * areas.max()).sum())
    if count > 1:
        notes.append(f"{count} separate objects, but the network decides for one character")
    if is_dark:
        notes.append("inverted: it was dark on light")
    notes.append("contrast stretched")
    inside = np.pad(ink > 0.5, 1)
    distance = ndimage.distance_transform_edt(inside)[inside]
    stroke = 4 * distance.mean() - 2  # the mean distance in a bar is a quarter of its width
    missing = round((MIN_STROKE * max(ink.shape) - stroke) / 2)
    if missing > 0:
        side = 2 * missing + 1
        ink = ndimage.grey_dilation(np.pad(ink, missing), (side, side))
        notes.append("strokes thickened")
    ink = _scale(ink, round(BOX * height), round(BOX * width))
    strong = ink[ink > 0.25 * ink.max()]
    contrast = 255 * ink / np.percentile(strong, 90)
    ink = contrast.clip(0, 255).round().astype(np.uint8)
    notes.append(f"scaled from {columns}×{rows} and centred as MNIST's digits")
    return _place(ink, height, width, ndimage.center_of_mass(ink))


def _find_ink(pixels: np.ndarray) -> tuple[np.ndarray | None, bool]:
    """Return the strength of the ink, float32 from 0 to 1, cut out of the picture, and whether the ink is dark.

    Ink differs from the ground in one direction. Connected pixels are ink if one of them is strong and if they are at
    least as large as the dot of an i. The strength is None if nothing differs from the ground by more than its noise.
    """
    from scipy import ndimage

    difference = pixels - _fit_ground(pixels.astype(np.float32))
    smooth = difference
    if min(pixels.shape) > 40:
        smooth = ndimage.gaussian_filter(difference, 1)
    is_dark = bool(-smooth.min() > smooth.max())
    if is_dark:
        difference = -difference
        smooth = -smooth
    other_side = smooth[smooth < 0]  # there is no ink on this side of the ground
    noise = -1.5 * np.median(np.append(other_side, 0))
    if smooth.max() < max(MIN_CONTRAST, 6 * noise):
        return None, is_dark
    strong = np.median(smooth[smooth > smooth.max() / 2])
    regions, count = ndimage.label(smooth > 0.25 * strong, np.ones((3, 3)))
    is_strong = ndimage.maximum(smooth, regions, range(count + 1)) > 0.6 * strong
    areas = np.bincount(regions.ravel())
    is_large = areas > 0.05 * areas[is_strong].max()
    is_ink = (is_strong & is_large)[regions]
    ink = np.where(is_ink, difference / strong, 0).clip(0, 1)
    (box,) = ndimage.find_objects((ink > 0).astype(int))
    return ink[box], is_dark


def _fit_ground(pixels: np.ndarray) -> np.ndarray:
    """Fit a quadratic surface, as uneven light makes it, to the ground of a picture float32 (H, W).

    It is fitted to the border, which is mostly ground, then to all that is near it. A tiny picture's ground is level.
    """
    height, width = pixels.shape
    y, x = np.mgrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j].astype(np.float32)
    terms = [np.ones_like(x)]
    if min(height, width) >= 16:
        terms += [x, y, x * y, x * x, y * y]
    terms = np.stack(terms, -1)
    rim = max(1, min(height, width) // 20)
    is_ground = np.ones((height, width), bool)
    is_ground[rim:-rim, rim:-rim] = False
    distance = np.abs(pixels - np.median(pixels[is_ground]))
    for _ in range(6):
        is_ground &= _is_near(distance, is_ground)
        factors, *_ = np.linalg.lstsq(terms[is_ground], pixels[is_ground], rcond=None)
        surface = terms @ factors
        distance = np.abs(pixels - surface)
        is_ground = _is_near(distance, is_ground)
    return surface


def _is_near(distance: np.ndarray, is_ground: np.ndarray) -> np.ndarray:
    """Return which distances to the surface are at most 3 robust deviations of those of the ground."""
    deviation = 1.5 * np.median(distance[is_ground])
    return distance <= 3 * max(deviation, 2)


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
