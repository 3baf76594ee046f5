"""Picture files as arrays: the pictures of class folders, and those that ``--predict`` classifies."""

import glob
import os
import warnings
from collections.abc import Collection
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from errors import InputError

if TYPE_CHECKING:
    import PIL.Image

ENDINGS = {".bmp", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp"}  # the pictures in a folder
ORIENTATION = 0x0112  # the EXIF tag with the orientation of the camera
MAX_SIDE = 4096  # pixels of an image after scaling
DEPTHS = 8, 10, 12, 14, 16  # bits per value of cameras and scanners


def images_at(path: str | Path, endings: Collection[str] = ENDINGS) -> list[Path]:
    """Return the file itself, the files in a folder with these endings, or those that match a pattern (``*.png``).

    They are sorted. Raises InputError if there is no such file.
    """
    path = Path(os.path.expanduser(path))
    if os.path.isdir(path):
        files = [file for file in path.iterdir() if file.suffix.lower() in endings]
    elif glob.has_magic(str(path)) and not os.path.exists(path):
        files = map(Path, glob.glob(str(path), recursive=True))
    else:
        return [path]
    files = sorted(filter(Path.is_file, files))
    if not files:
        raise InputError(f"no files ({', '.join(sorted(endings))}) at {path}")
    return files


def read_picture(path: "str | Path | PIL.Image.Image", exact: bool = False) -> tuple[np.ndarray, list[str]]:
    """Read the first frame of a picture file of any format that Pillow reads, or an image of Pillow.

    It is rotated according to its EXIF tag.

    Integers of more than 8 bits and floats are converted to 8 bits. Transparent parts become white, or black if the
    opaque parts are light.

    Args:
        exact: raise an error if one of these conversions is necessary. They depend on the single picture, so they would
            change what a network learns.

    Returns uint8 (H, W) if all pixels are grey, in any mode, else (H, W, 3), and notes on how the picture was changed.
    Raises InputError if the file is missing, damaged, not a picture or too large.
    """
    from PIL import Image, ImageOps

    open_picture = path.copy if isinstance(path, Image.Image) else partial(Image.open, path)
    if not isinstance(path, Image.Image) and not os.path.isfile(path):
        raise InputError(f"no image at {path}")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow warns of odd metadata
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with open_picture() as picture:
                frames = getattr(picture, "n_frames", 1)
                picture.seek(0)
                is_turned = picture.getexif().get(ORIENTATION) in range(2, 9)
                picture = ImageOps.exif_transpose(picture)
                is_deep = picture.mode.startswith(("I", "F"))
                has_alpha = picture.has_transparency_data and not is_deep
                if has_alpha:
                    picture = picture.convert("RGBA")
                elif not is_deep and picture.mode != "L":
                    picture = picture.convert("RGB")
                pixels = np.array(picture)
    except (Image.DecompressionBombWarning, Image.DecompressionBombError) as error:
        raise InputError(f"{path} has too many pixels; give an image of at most {Image.MAX_IMAGE_PIXELS:,}") from error
    except Exception as error:  # the type depends on the format and on what is damaged
        reason = getattr(error, "strerror", None) or "give a PNG or JPEG file"
        raise InputError(f"{path} cannot be read as an image; {reason}") from error
    notes = []
    if frames > 1:
        notes.append(f"frame 1 of {frames}")
    if is_turned:
        notes.append("turned upright, by its EXIF tag")
    is_transparent = has_alpha and pixels[..., 3].min() < 255
    if exact and (is_deep or is_transparent):
        reason = "has more than 8 bits per value" if is_deep else "is transparent in places"
        raise InputError(f"{path} {reason}; convert it to 8 bits per value on a ground of one colour")
    if is_deep:
        pixels, note = _reduce_to_8_bits(pixels.astype(np.float64))
        notes.append(note)
    elif has_alpha:
        opacity = pixels[..., 3:] / 255
        pixels = pixels[..., :3]
        if is_transparent:
            opaque = pixels[opacity[..., 0] > 0.5]
            is_light = opaque.size and np.median(opaque) > 127
            ground, name = (0, "black") if is_light else (255, "white")
            pixels = np.rint(opacity * pixels + (1 - opacity) * ground).astype(np.uint8)
            notes.append(f"transparent parts made {name}")
    if pixels.ndim == 3 and (pixels == pixels[..., :1]).all():
        pixels = pixels[..., 0].copy()
    return pixels, notes


def _reduce_to_8_bits(values: np.ndarray) -> tuple[np.ndarray, str]:
    """Scale float64 values to uint8. Returns them and a note. Values that are not finite become the smallest value.

    Values from 0 to more than 1 are scaled by the smallest depth of ``DEPTHS`` that contains them, others by their
    range.
    """
    finite = values[np.isfinite(values)]
    low, high = (finite.min(), finite.max()) if finite.size else (0.0, 0.0)
    note = f"its values of {low:.3g} to {high:.3g} made 8 bits"
    values = np.where(np.isfinite(values), values, low)
    if low >= 0 and 1 < high < 2 ** DEPTHS[-1]:
        bits = next(depth for depth in DEPTHS if high < 2**depth)
        note = f"reduced from {bits} to 8 bits" if bits > 8 else "taken as 8 bits"
        low = 0
        high = 2**bits - 1
    factor = 255 / (high - low or 1)
    return np.rint((values - low) * factor).astype(np.uint8), note


def resize_image(image: np.ndarray, height: int, width: int) -> np.ndarray:
    """Stretch a uint8 or float32 image (H, W) or a uint8 image (H, W, 3) to (height, width), bilinearly.

    The result is that of torchvision's ``Resize``: if the image becomes smaller, pixels are averaged.
    """
    from PIL import Image

    if image.shape[:2] == (height, width):
        return image
    return np.array(Image.fromarray(image).resize((width, height), Image.Resampling.BILINEAR))


def resize_images(images: np.ndarray, height: int, width: int) -> np.ndarray:
    """Stretch uint8 images (N, H, W) or (N, H, W, 3), one after another."""
    if images.shape[1:3] == (height, width):
        return images
    result = np.empty((len(images), height, width, *images.shape[3:]), np.uint8)
    for resized, image in zip(result, images, strict=True):
        resized[:] = resize_image(image, height, width)
    return result
