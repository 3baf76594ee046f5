"""Image files as inputs of a network.

A network that was trained on characters knows them as MNIST shows them: light on black, the longer side 20 of 28
pixels, the centre of mass in the middle (LeCun et al. 1998, Proceedings of the IEEE 86). ``read_image(centred=True)``
brings other pictures into this form.
"""

import glob
import warnings
from pathlib import Path

import numpy as np

from errors import InputError

CHARACTERS = {"mnist", "digits", "emnist-digits", "emnist-letters", "kmnist"}  # data sets to centre pictures for
ORIENTATION = 0x0112  # the EXIF tag of how a camera was held
LARGEST = 1024  # pixels of the longer side in which ink is looked for; a larger picture is reduced to it
BLACK = 63  # the lightest ground of a picture that is taken as it is
FAINTEST = 6  # levels of 255 by which ink differs from its ground at least
BOX = 20 / 28  # the share of the image that a character fills
THINNEST = 2 / 28  # width of a stroke as a share of the image; MNIST's are of 2 to 3 pixels


def read_image(path, height, width, centred=False, colours=1):
    """An image file (PNG, JPEG, TIFF, …) as uint8 (height, width), and what was done to it.

    With ``colours=3`` it is (height, width, 3), and never centred; otherwise colours become grey. Deep and float values
    become 8 bits; an image without any contrast becomes black, hence silent. The rest depends on what the network was
    trained on.

    ``centred=False``: another size is fitted, its sides kept in proportion, onto black. Nothing else is changed.
    ``centred=True``, for CHARACTERS: an image of this size on a black ground is taken as it is. In any other the
    ground is found and taken away, whatever is on it becomes light, and is scaled and centred as MNIST's digits were.

    Raises InputError for what is not there or no image.
    """
    pixels, done = _pixels(Path(path), "L" if colours == 1 else "RGB")
    if pixels.min() == pixels.max():
        done.append("nothing to see: all its pixels are alike")
        return np.zeros((height, width, *pixels.shape[2:]), np.uint8), ", ".join(done)
    if centred and not (pixels.shape == (height, width) and np.median(_border(pixels)) <= BLACK):
        image, what = _character(pixels, height, width)
        done.extend(what)
    else:
        image = pixels
        if pixels.shape[:2] != (height, width):
            done.append(f"resized from {pixels.shape[1]}×{pixels.shape[0]}")
            image = _fitted(pixels, height, width)
    return image, ", ".join(done)


def images_at(path):
    """The image files that a path means: itself, those in a folder, or those that fit a pattern (``*.png``), sorted.

    Raises InputError where there is none.
    """
    from torchvision.datasets.folder import IMG_EXTENSIONS

    path = Path(path).expanduser()
    if path.is_dir():
        found = [file for file in path.iterdir() if file.suffix.lower() in IMG_EXTENSIONS and file.is_file()]
    elif not path.exists() and glob.has_magic(str(path)):
        found = [file for file in map(Path, glob.glob(str(path), recursive=True)) if file.is_file()]
    else:
        return [path]
    if not found:
        raise InputError(f"no images at {path}")
    return sorted(found)


def _pixels(path, mode):
    """The first frame of a file, upright: uint8 (H, W), in mode "RGB" (H, W, 3), and a list of what was done."""
    from PIL import Image, ImageOps, UnidentifiedImageError

    if not path.is_file():
        raise InputError(f"no image at {path}")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow's, of odd metadata
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            picture = Image.open(path)
        with picture, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            frames = getattr(picture, "n_frames", 1)
            picture.seek(0)
            picture.load()
            turned = picture.getexif().get(ORIENTATION) in range(2, 9)
            picture = ImageOps.exif_transpose(picture)
            keyed = picture.mode in ("1", "L", "RGB") and "transparency" in picture.info  # one colour is transparent
            if keyed or picture.mode in ("P", "LA", "La", "PA", "RGBa"):
                picture = picture.convert("RGBA")
            elif picture.mode not in ("L", "RGB", "RGBA", "F") and not picture.mode.startswith("I"):
                picture = picture.convert("RGB")  # CMYK, YCbCr, black and white, …
    except (Image.DecompressionBombWarning, Image.DecompressionBombError) as error:
        most = Image.MAX_IMAGE_PIXELS
        raise InputError(f"{path} has too many pixels; give an image of at most {most:,}") from error
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError) as error:
        raise InputError(f"{path} cannot be read as an image; give a PNG or JPEG file") from error
    done = [f"frame 1 of {frames}"] if frames > 1 else []
    if turned:
        done.append("turned upright, as the camera noted")
    if picture.mode == "F" or picture.mode.startswith("I"):
        values, done = _eight_bits(np.asarray(picture), done)
        return (values if mode == "L" else np.repeat(values[..., None], 3, 2)), done
    if picture.mode == "RGBA":
        # on a transparent ground dark strokes are meant to stand on light, light ones on dark
        grey, opaque = np.asarray(picture.convert("RGB").convert("L")), np.asarray(picture)[..., 3] > 127
        light = opaque.any() and not opaque.all() and np.median(grey[opaque]) > 127
        ground = Image.new("RGBA", picture.size, "black" if light else "white")
        picture = Image.alpha_composite(ground, picture)
    if picture.mode != mode:
        picture = picture.convert(mode)
        done += ["made grey"] if mode == "L" else []
    return np.asarray(picture), done


def _eight_bits(values, done):
    """Deep integers and floats as uint8.

    Positive integers of up to 16 bits by the number of bits that the largest needs (cameras and scanners give 10, 12
    or 14), everything else by the range of its values. What is not finite is taken for the smallest value.
    """
    values = values.astype(np.float64)
    finite = np.isfinite(values)
    low, high = (values[finite].min(), values[finite].max()) if finite.any() else (0, 0)
    bits = next((bits for bits in (8, 10, 12, 14, 16) if high < 2**bits), None)
    if low >= 0 and bits and np.array_equal(values, np.floor(values)) and high > 1:
        low, high, what = 0, 2**bits - 1, f"reduced from {bits} to 8 bits" if bits > 8 else "taken as 8 bits"
    else:
        what = f"its values of {low:.3g} to {high:.3g} made 8 bits"
    scaled = (np.where(finite, values, low) - low) * (255 / (high - low) if high > low else 0)
    return np.rint(scaled.clip(0, 255)).astype(np.uint8), [*done, what]


def _border(pixels):
    return np.concatenate([pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1]])


def _resized(pixels, height, width):
    from PIL import Image

    return np.array(Image.fromarray(pixels).resize((width, height), Image.Resampling.LANCZOS))


def _scaled(shape, height, width):
    """The largest size of these proportions within height × width."""
    scale = min(height / shape[0], width / shape[1])
    return tuple(max(1, round(side * scale)) for side in shape[:2])


def _fitted(pixels, height, width):
    size = _scaled(pixels.shape, height, width)
    image = np.zeros((height, width, *pixels.shape[2:]), np.uint8)
    top, left = (height - size[0]) // 2, (width - size[1]) // 2
    image[top : top + size[0], left : left + size[1]] = _resized(pixels, *size)
    return image


# ---------------------------------------------------------------------------------------------------------------------
# Characters


def _character(pixels, height, width):
    """What is written on a picture, as MNIST would show it: uint8 (height, width), and a list of what was done."""
    size = pixels.shape
    if max(size) > LARGEST:
        pixels = _resized(pixels, *_scaled(size, LARGEST, LARGEST))
    ink, dark = _ink(pixels.astype(np.float32))
    if ink is None:
        return np.zeros((height, width), np.uint8), ["nothing to see: no ink on its ground"]
    done = ["inverted: it was dark on light"] if dark else []
    rows, columns = (np.flatnonzero(ink.any(axis)) for axis in (1, 0))
    ink = ink[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    ink, thickened = _thickened(ink, THINNEST * max(ink.shape) / BOX)
    small = _resized(ink, *_scaled(ink.shape, round(BOX * height), round(BOX * width))).clip(0, None)
    small = np.rint(255 * (small / np.percentile(small[small > 0.25 * small.max()], 90)).clip(0, 1))
    done.append("contrast stretched")
    if thickened:
        done.append("strokes thickened")
    done.append(f"scaled from {size[1]}×{size[0]} and centred as MNIST's digits")
    return _centred(small.astype(np.uint8), height, width), done


def _ink(pixels):
    """The strength of the ink at each pixel, float (H, W) from 0 to 1, 0 on the ground; and whether it was dark.

    The ground is a smooth surface, as uneven light makes it; ink is what stands out on one side of it. Returns None if
    nothing does.
    """
    from scipy import ndimage

    difference = pixels - _ground(pixels)
    smooth = ndimage.gaussian_filter(difference, 1 if min(pixels.shape) > 40 else 0)
    dark = bool(-smooth.min() > smooth.max())
    difference, smooth = (-difference, -smooth) if dark else (difference, smooth)
    peak, below = smooth.max(), smooth[smooth < 0]
    noise = 1.5 * np.median(-below) if len(below) else 0  # no ink is on that side
    if peak < max(FAINTEST, 6 * noise):
        return None, dark
    strong = np.percentile(smooth[smooth > peak / 2], 50)
    regions, count = ndimage.label(smooth > 0.25 * strong, np.ones((3, 3)))
    indices = np.arange(1, count + 1)
    certain = ndimage.maximum(smooth, regions, indices) > 0.6 * strong
    areas = ndimage.sum_labels(np.ones_like(regions), regions, indices)
    kept = certain & (areas > 0.05 * areas[certain].max())  # the dot of an i, but no specks
    written = np.isin(regions, indices[kept])
    return np.where(written, difference / strong, 0).clip(0, 1), dark


def _ground(pixels):
    """The ground of a picture as a quadratic surface (H, W).

    The border is ground for the most part: the surface is fitted to it, and then to all pixels near the surface. The
    ground of a tiny picture is level.
    """
    height, width = pixels.shape
    y, x = np.mgrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j].astype(np.float32)
    terms = np.stack([np.ones_like(x), x, y, x * y, x * x, y * y], -1)
    if min(height, width) < 16:
        terms = terms[..., :1]
    step = max(1, max(height, width) // 128)
    samples, values = terms[::step, ::step].reshape(-1, terms.shape[-1]), pixels[::step, ::step].ravel()
    border = np.zeros(pixels.shape, bool)
    rim = max(1, min(height, width) // 20)
    border[:rim] = border[-rim:] = border[:, :rim] = border[:, -rim:] = True
    among = border[::step, ::step].ravel()
    distance = np.abs(values - np.median(values[among]))
    for _ in range(6):
        near = among & (distance <= 3 * max(1.5 * np.median(distance[among]), 2))
        surface = np.linalg.lstsq(samples[near], values[near], rcond=None)[0]
        distance = np.abs(values - samples @ surface)
        among = among | (distance <= 3 * max(1.5 * np.median(distance[near]), 2))
    return terms @ surface


def _thickened(ink, thinnest):
    """Ink (H, W) whose strokes are at least ``thinnest`` pixels wide, and whether they had to be thickened."""
    from scipy import ndimage

    written = np.pad(ink > 0.5, 1)
    edge = sum(np.count_nonzero(np.diff(written, axis=axis)) for axis in (0, 1))
    stroke = np.count_nonzero(written) / max(1, edge * np.pi / 8)  # the edge is counted 4/π times, on either side
    missing = round((thinnest - stroke) / 2)
    if missing < 1:
        return ink, False
    return ndimage.maximum_filter(np.pad(ink, missing), 2 * missing + 1), True


def _centred(character, height, width):
    """The character on black, its centre of mass in the middle, as far as it stays within the image."""
    from scipy import ndimage

    image = np.zeros((height, width), np.uint8)
    (rows, columns), (row, column) = character.shape, ndimage.center_of_mass(character)
    top = round(np.clip(height / 2 - row, 0, height - rows))
    left = round(np.clip(width / 2 - column, 0, width - columns))
    image[top : top + rows, left : left + columns] = character
    return image
