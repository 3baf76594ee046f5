"""Picture files as arrays: the pictures of class folders, and those that ``--predict`` classifies."""

import glob
import os
import re
import warnings
from functools import partial
from operator import attrgetter
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from errors import InputError

if TYPE_CHECKING:
    import PIL.Image

ENDINGS = {".bmp", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp"}  # the pictures in a folder
FORMATS = "BMP", "JPEG", "PNG", "PPM", "TIFF", "WEBP"  # for others, such as EPS, Pillow may run other programs
GROUNDS = "white", "black"  # the colours behind transparent parts
MAX_SIDE = 4096  # pixels of an image after scaling
MAX_BLACK = 63  # the border of images is black if its median is at most this, of 255


class TransparentError(InputError):
    """A picture has transparent parts."""


def images_at(path: str | Path) -> list[Path]:
    """Return the file itself, the pictures in a folder, or those that match a pattern (``*.png``).

    They are sorted. Raises InputError if there is no such file.
    """
    path = Path(os.path.expanduser(path))
    if os.path.isdir(path):
        files = [file for file in path.iterdir() if file.suffix.lower() in ENDINGS]
    elif glob.has_magic(str(path)) and not os.path.exists(path):
        files = map(Path, glob.glob(str(path), recursive=True))
    else:
        return [path]
    files = sorted(filter(Path.is_file, files), key=attrgetter("parts"))
    if not files:
        raise InputError(f"no files ({', '.join(sorted(ENDINGS))}) at {path}")
    return files


def read_picture(path: "str | Path | PIL.Image.Image", ground: str | None = None) -> np.ndarray:
    """Read the first frame of a picture file of one of ``FORMATS``, which its content shows, or an image of Pillow.

    It is rotated according to its EXIF tag.

    ground: the colour behind transparent parts. None: transparent pictures are refused.

    Returns uint8 (H, W) if all pixels are grey, in any mode, else (H, W, 3). Raises InputError if the file is missing,
    damaged, not a picture or too large, or if it has more than 8 bits per value; TransparentError if it is refused.
    """
    from PIL import Image, ImageOps

    open_picture = path.copy if isinstance(path, Image.Image) else partial(Image.open, path, formats=FORMATS)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow warns of odd metadata
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with open_picture() as picture:
                is_deep = has_deep_values(picture)
                rgba = ImageOps.exif_transpose(picture).convert("RGBA")
    except Exception as error:  # the type depends on the format and on what is damaged
        reason = getattr(error, "strerror", None) or error
        raise InputError(f"{path} cannot be read as an image ({', '.join(FORMATS)}): {reason}") from error
    if is_deep:
        raise InputError(f"{path} has more than 8 bits per value; convert it to 8 bits")
    if ground is not None:
        rgba = Image.alpha_composite(Image.new("RGBA", rgba.size, ground), rgba)
    pixels = np.array(rgba)
    if pixels[..., 3].min() < 255:
        raise TransparentError(f"{path} is transparent in places; put it on a ground of one colour")
    is_grey = (pixels[..., :3] == pixels[..., :1]).all()
    return pixels[..., 0].copy() if is_grey else pixels[..., :3].copy()


def has_deep_values(picture: "PIL.Image.Image") -> bool:
    """Return whether the values in the file of an open picture have more than 8 bits.

    Pillow reduces those of colours, and of grey with alpha, to 8 bits. Only how it reads the file's data shows them.
    """
    if picture.mode.startswith(("I", "F")):
        return True
    for codec, _, _, arguments in getattr(picture, "tile", ()):
        if re.search(r"\b(RGB\w?|LA|CMYK);16", str(arguments)):
            return True
        if codec.startswith("ppm") and isinstance(arguments, tuple) and arguments[1] > 255:
            return True
    return False


def find_border(images: np.ndarray) -> float:
    """Return the median of the outermost pixels of images (N, H, W) or (N, H, W, 3), which are mostly ground."""
    sides = [images[:, 0], images[:, -1], images[:, :, 0], images[:, :, -1]]
    return float(np.median(np.concatenate(sides, axis=1)))


def resize_image(image: np.ndarray, height: int, width: int) -> np.ndarray:
    """Stretch a uint8 or float32 image (H, W) or a uint8 image (H, W, 3) to (height, width), bilinearly.

    The result is that of torchvision's ``Resize``: if the image becomes smaller, pixels are averaged.
    """
    from PIL import Image

    return np.array(Image.fromarray(image).resize((width, height), Image.Resampling.BILINEAR))


def note_stretch(sizes: set[tuple[int, int]]) -> str:
    """Return a note on images that had these heights and widths before they were stretched."""
    ends = [f"{height}×{width}" for height, width in sorted(sizes)]
    return f"before they were stretched, images had {' to '.join(dict.fromkeys([ends[0], ends[-1]]))} pixels"


def resize_images(images: np.ndarray, height: int, width: int) -> np.ndarray:
    """Stretch uint8 images (N, H, W) or (N, H, W, 3), one after another."""
    result = np.empty((len(images), height, width, *images.shape[3:]), np.uint8)
    for resized, image in zip(result, images, strict=True):
        resized[:] = resize_image(image, height, width)
    return result
