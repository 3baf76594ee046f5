"""Image files as inputs of a network."""

import warnings
from pathlib import Path

import numpy as np

from errors import InputError

ORIENTATION = 0x0112  # the EXIF tag of how a camera was held


def read_image(path, height, width):
    """An image file (PNG, JPEG, …) as uint8 (height, width), light on a dark ground, and what was done to it.

    Colours become grey; an image whose border is lighter than its middle grey is inverted, because the networks learn
    from light strokes on a dark ground; another size is fitted, its sides kept in proportion, onto a dark ground.
    """
    from PIL import Image, ImageOps, UnidentifiedImageError

    path = Path(path)
    if not path.is_file():
        raise InputError(f"no image at {path}")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)  # a line on the console otherwise
            picture = Image.open(path)
        with picture:
            picture.load()
            turned = picture.getexif().get(ORIENTATION) in range(2, 9)
            picture = ImageOps.exif_transpose(picture)
            if picture.mode in ("P", "LA", "PA", "RGBA"):
                picture = picture.convert("RGBA")
            elif picture.mode not in ("L", "RGB") and not picture.mode.startswith("I"):
                picture = picture.convert("RGB")  # CMYK, YCbCr, black and white, …
    except (Image.DecompressionBombWarning, Image.DecompressionBombError) as error:
        most = Image.MAX_IMAGE_PIXELS
        raise InputError(f"{path} has too many pixels; give an image of at most {most:,}") from error
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError) as error:
        raise InputError(f"{path} cannot be read as an image; give a PNG or JPEG file") from error
    done = ["turned upright, as the camera noted"] if turned else []
    if picture.mode.startswith("I"):  # 16 bits: Pillow would cut them off at 255
        picture = Image.fromarray((np.asarray(picture).clip(0, 65535) >> 8).astype(np.uint8))
        done.append("reduced to 8 bits")
    if picture.mode == "RGBA":
        # on a transparent ground dark strokes are meant to stand on light, light ones on dark
        grey, opaque = np.asarray(picture.convert("RGB").convert("L")), np.asarray(picture)[..., 3] > 127
        light = opaque.any() and not opaque.all() and np.median(grey[opaque]) > 127
        ground = Image.new("RGBA", picture.size, "black" if light else "white")
        picture = Image.alpha_composite(ground, picture)
    if picture.mode != "L":
        picture = picture.convert("L")
        done.append("made grey")
    pixels = np.asarray(picture)
    border = np.concatenate([pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1]])
    if np.median(border) > 127:
        picture = Image.fromarray(255 - pixels)
        done.append("inverted: it was dark on light")
    if picture.size != (width, height):
        done.append(f"resized from {picture.width}×{picture.height}")
        scale = min(width / picture.width, height / picture.height)
        size = max(1, round(picture.width * scale)), max(1, round(picture.height * scale))
        fitted = picture.resize(size, Image.Resampling.LANCZOS)
        picture = Image.new("L", (width, height), 0)
        picture.paste(fitted, ((width - size[0]) // 2, (height - size[1]) // 2))
    return np.array(picture), ", ".join(done)
