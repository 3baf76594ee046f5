"""Images of your own, as arrays: class folders of pictures, or the ``.npz`` file that Keras's data sets come in."""

import io
import os
import warnings
import zipfile
from collections import Counter
from contextlib import contextmanager
from numbers import Integral
from pathlib import Path
from typing import NamedTuple

import numpy as np

from errors import InputError

LARGEST_SIDE = 4096  # pixels of an image after scaling
LISTED = 12  # how many classes or sizes a message lists at most
ORIENTATION = 0x0112  # the EXIF tag of how a camera was held; 5 to 8: on its side


class OwnData(NamedTuple):
    """Images uint8 (N, H, W) or (N, H, W, 3), labels int64 (N,); the test part is None where there is none."""

    name: str
    train_images: np.ndarray
    train_labels: np.ndarray
    test_images: np.ndarray | None
    test_labels: np.ndarray | None
    class_names: tuple[str, ...]
    notes: tuple[str, ...]


def is_own(name: str) -> bool:
    return name.startswith("folder:") or name.lower().endswith(".npz")


def read(name: str, image_size: tuple[int, int] | None = None) -> OwnData:
    """``folder:PATH`` or ``FILE.npz``, relative to the current directory; images scaled to image_size (H, W) if given.

    Errors: InputError for whatever cannot be used, and for images of different sizes without ``image_size``.
    """
    if name.startswith("folder:"):
        path = name.removeprefix("folder:")
        if not path:
            raise InputError("name the folder: folder:PATH")
        return _read_folder(Path(os.path.expanduser(path)), image_size)
    return _read_npz(Path(os.path.expanduser(name)), image_size)


def checked_size(image_size) -> tuple[int, int]:
    """``image_size`` as two ints. Errors: InputError unless it is a height and a width in pixels."""
    sides = tuple(image_size)
    if len(sides) != 2 or not all(isinstance(n, Integral) and 1 <= n <= LARGEST_SIDE for n in sides):
        raise InputError(f"an image size is a height and a width from 1 to {LARGEST_SIDE} pixels, not {image_size}")
    return int(sides[0]), int(sides[1])


def scaled(images: np.ndarray, image_size: tuple[int, int]) -> np.ndarray:
    """uint8 images (N, H, W) or (N, H, W, 3), each stretched to ``image_size``, as torchvision's Resize does it."""
    from PIL import Image

    if images.shape[1:3] == image_size:
        return images
    result = np.empty((len(images), *image_size, *images.shape[3:]), np.uint8)
    for i, image in enumerate(images):
        result[i] = _stretched(Image.fromarray(image), image_size)
    return result


def _stretched(picture, image_size):
    from PIL import Image

    height, width = image_size
    return picture.resize((width, height), Image.Resampling.BILINEAR)  # which averages where it makes smaller


def _read_folder(root: Path, image_size) -> OwnData:
    """Folders named after the classes, in ``root`` itself or in its ``train`` and, if there is one, ``test``.

    The images are grey if every pixel of every one is, also where they are stored as colours.
    """
    if not os.path.isdir(root):  # unlike Path's, False whatever is wrong with the path
        raise InputError(f"there is no folder {root}")
    try:
        within = {path.name for path in root.iterdir() if path.is_dir() and not _hidden(path.name)}
    except OSError as error:
        raise InputError(f"cannot read {root}: {error.strerror}") from error
    if "test" in within and "train" not in within:
        raise InputError(f"{root} has a folder test but none called train")
    parts = [root / part for part in ("train", "test") if part in within] or [root]
    samples, class_names = _list_folder(parts[0])
    files = [samples]
    if len(parts) == 2:
        samples, test_names = _list_folder(parts[1])
        _refuse_unseen(parts[1], set(test_names) - set(class_names))
        files.append([(path, class_names.index(test_names[label])) for path, label in samples])
    images = _read_pictures([path for part in files for path, _ in part], image_size)
    labels = np.array([label for part in files for _, label in part], np.int64)
    if (images == images.flat[0]).all():
        raise InputError(f"every pixel of every image in {root} is {images.flat[0]}")
    notes = _mapping(class_names)
    if "train" in within and (others := sorted(within - {"train", "test"})):
        notes += (f"of {root} only train and test are read, not {_listed(others)}",)
    count = len(files[0])
    test = (images[count:], labels[count:]) if len(parts) == 2 else (None, None)
    return OwnData(root.resolve().name, images[:count], labels[:count], *test, tuple(class_names), notes)


def _list_folder(folder: Path) -> tuple[list[tuple[str, int]], list[str]]:
    """The image files with their classes' numbers, and the classes' names, as torchvision's ImageFolder finds them."""
    from torchvision.datasets import ImageFolder

    class ClassFolders(ImageFolder):
        def find_classes(self, directory):
            names = [name for name in super().find_classes(directory)[0] if not _hidden(name)]
            return names, {name: number for number, name in enumerate(names)}

    try:
        found = ClassFolders(folder)
    except (OSError, ValueError) as error:  # no class folders; a class without an image; folders it may not read
        raise InputError(f"{folder} does not hold class folders of images: {' '.join(str(error).split())}") from error
    return found.samples, found.classes


def _hidden(name):
    return name.startswith(".") or name == "__MACOSX"


def _read_pictures(paths: list[str], image_size) -> np.ndarray:
    """uint8 (N, H, W) if all are grey, else (N, H, W, 3)."""
    pictures = []
    for path in paths:
        pixels = _read_picture(path, image_size)
        if pictures and pixels.shape[:2] != pictures[0].shape[:2]:
            raise InputError(
                f"the images differ in size ({_listed_sizes(paths)}, height×width): "
                "give the size that all are to be scaled to, --image-size H W"
            )
        pictures.append(pixels)
    if all(pixels.ndim == 2 for pixels in pictures):
        return np.stack(pictures)
    images = np.empty((len(pictures), *pictures[0].shape[:2], 3), np.uint8)
    for image, pixels in zip(images, pictures, strict=True):
        image[:] = pixels if pixels.ndim == 3 else pixels[..., None]
    return images


def _read_picture(path: str, image_size) -> np.ndarray:
    """One image file as uint8 (H, W) if all its pixels are grey, else (H, W, 3); turned upright as the camera noted."""
    from PIL import ImageOps

    with _opened(path) as picture:
        if picture.mode.startswith(("I", "F")):
            raise InputError(f"{path} has more than 8 bits per pixel (mode {picture.mode}): save it with 8")
        if picture.mode.upper().endswith("A") or "transparency" in picture.info:
            picture = picture.convert("RGBA")
            if picture.getextrema()[3][0] < 255:
                raise InputError(f"{path} is transparent in places: save it on a ground of one colour")
        picture = ImageOps.exif_transpose(picture).convert("L" if picture.mode in ("1", "L") else "RGB")
        pixels = np.asarray(picture if image_size is None else _stretched(picture, image_size))
    is_grey = pixels.ndim == 3 and (pixels == pixels[..., :1]).all()
    return pixels[..., 0].copy() if is_grey else pixels


def _listed_sizes(paths: list[str]) -> str:
    sizes = Counter()
    for path in paths:
        with _opened(path) as picture:  # of a picture that is not looked at, only the header is read
            on_its_side = picture.getexif().get(ORIENTATION) in range(5, 9)
            width, height = picture.size[::-1] if on_its_side else picture.size
            sizes[f"{height}×{width}"] += 1
    return _listed([f"{count} of {size}" for size, count in sizes.most_common()])


@contextmanager
def _opened(path):
    """``PIL.Image.open``. Errors: InputError, also for whatever goes wrong while the picture is used."""
    from PIL import Image

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(path) as picture:
                yield picture
    except InputError:
        raise
    except Exception as error:  # Pillow raises many kinds, by what is damaged where
        raise InputError(f"{path} cannot be read as an image: {_first_line(error)}") from error


def _read_npz(path: Path, image_size) -> OwnData:
    """x_train, y_train and, if there are any, x_test, y_test. Labels may be integers or strings."""
    if not os.path.isfile(path):
        raise InputError(f"there is no file {path}")
    arrays = _arrays(path)
    lacking = [name for name in ("x_train", "y_train") if name not in arrays]
    if "x_test" in arrays or "y_test" in arrays:
        lacking += [name for name in ("x_test", "y_test") if name not in arrays]
    if lacking:
        raise InputError(f"{path} lacks {', '.join(lacking)}: save it with np.savez(FILE, x_train=…, y_train=…, …)")
    images, labels = {}, {}
    for part in ("train", "test") if "x_test" in arrays else ("train",):
        x, y = f"x_{part}", f"y_{part}"
        images[part] = _checked_images(arrays[x], f"{x} of {path}")
        labels[part] = _checked_labels(arrays[y], f"{y} of {path}")
        if len(images[part]) != len(labels[part]):
            raise InputError(f"{path} has {len(images[part])} images in {x}, but {len(labels[part])} labels in {y}")
        if image_size is not None:
            images[part] = scaled(images[part], image_size)
    classes = np.unique(labels["train"])
    if "test" in labels:
        if (classes.dtype.kind == "U") != (labels["test"].dtype.kind == "U"):
            raise InputError(f"y_train of {path} holds {classes.dtype}, y_test {labels['test'].dtype}: use one kind")
        _refuse_unseen(f"y_test of {path}", set(labels["test"].tolist()) - set(classes.tolist()))
    class_names = tuple(str(label) for label in classes)
    numbers = {part: np.searchsorted(classes, labels[part].astype(classes.dtype)) for part in labels}
    parts = [(images[part], numbers[part].astype(np.int64)) for part in labels]
    train, test = parts if len(parts) == 2 else (*parts, (None, None))
    return OwnData(path.name, *train, *test, class_names, _mapping(class_names))


def _arrays(path: Path) -> dict[str, np.ndarray]:
    """The arrays of the archive that are read here, their checksums compared; never a pickle."""
    arrays = {}
    try:
        with zipfile.ZipFile(path) as archive, warnings.catch_warnings():
            warnings.simplefilter("ignore")  # NumPy's about headers that Python 2 wrote
            _check_count(path, len(archive.namelist()))
            for name in ("x_train", "y_train", "x_test", "y_test"):
                if f"{name}.npy" in archive.namelist():
                    content = io.BytesIO(archive.read(f"{name}.npy"))  # whole, as only the end tells the checksum
                    arrays[name] = np.lib.format.read_array(content, allow_pickle=False)
                    if content.read(1):
                        raise ValueError(f"{name} goes on after its last value")
    except Exception as error:  # zipfile, zlib and NumPy raise many kinds, by what is damaged where
        if "allow_pickle" in str(error):
            error = ValueError("an array of Python objects; save labels that are strings with y.astype(str)")
        raise InputError(f"{path} cannot be read as .npz: {_first_line(error)}") from error
    return arrays


def _check_count(path, count):
    """Damage to one entry of a zip's directory can hide the ones after it, which zipfile does not notice."""
    with path.open("rb") as file:
        file.seek(-22, io.SEEK_END)
        end = file.read()  # the directory's end record, if no comment follows it
    announced = int.from_bytes(end[10:12], "little")
    if end.startswith(b"PK\5\6") and announced not in (count, 0xFFFF):  # 0xFFFF: told elsewhere
        raise ValueError(f"its directory lists {count} of {announced} files")


def _checked_images(images: np.ndarray, what: str) -> np.ndarray:
    """uint8 (N, H, W) or (N, H, W, 3); a last axis of one grey value is left out."""
    x = what.split()[0]
    if images.ndim == 4 and images.shape[-1] == 1:
        images = images[..., 0]
    if images.size == 0 or not (images.ndim == 3 or (images.ndim == 4 and images.shape[-1] == 3)):
        raise InputError(f"{what} has shape {images.shape}; (N, H, W), (N, H, W, 1) or (N, H, W, 3) are images")
    if images.dtype != np.uint8:
        raise InputError(
            f"{what} holds {images.dtype}{_range(images)}: save uint8 from 0 to 255, {_conversion(images, x)}"
        )
    if images.min() == images.max():
        raise InputError(f"every pixel of {what} is {images.flat[0]}")
    return np.ascontiguousarray(images)


def _range(values):
    if values.dtype.kind not in "iuf":
        return ""
    if np.isnan(values).any():
        return " with values that are no numbers (NaN)"
    return f" from {values.min():g} to {values.max():g}"


def _conversion(images, x):
    if images.dtype.kind == "f" and images.min() >= 0 and images.max() <= 1:
        return f"as with (255 * {x}).round().astype('uint8')"
    if images.dtype.kind in "iuf" and images.min() >= 0 and images.max() <= 255:
        return f"as with {x}.round().astype('uint8')"
    return "black 0 and white 255"


def _checked_labels(labels: np.ndarray, what: str) -> np.ndarray:
    """Integers or strings (N,)."""
    if labels.ndim == 2 and labels.shape[1] == 1:
        labels = labels[:, 0]
    if labels.ndim != 1:
        hint = f": {what.split()[0]}.argmax(1) makes labels of one-hot rows" if labels.ndim == 2 else ""
        raise InputError(f"{what} has shape {labels.shape}, not (N,) or (N, 1){hint}")
    if labels.dtype.kind == "S":
        try:
            labels = np.char.decode(labels, "utf-8")
        except UnicodeDecodeError as error:
            raise InputError(f"{what} holds bytes that are not UTF-8: {error}") from error
    if labels.dtype.kind not in "iuU":
        raise InputError(f"{what} holds {labels.dtype}{_range(labels)}, where integers or strings belong")
    return labels


def _mapping(class_names) -> tuple[str, ...]:
    """The note on which label got which number, unless each is its own."""
    if list(class_names) == [str(number) for number in range(len(class_names))]:
        return ()
    return (f"classes: {_listed([f'{number} is {name!r}' for number, name in enumerate(class_names)])}",)


def _refuse_unseen(what, unseen):
    if unseen:
        names = _listed(sorted(map(repr, unseen)))
        raise InputError(f"{what} has images of classes without a training image: {names}")


def _listed(items) -> str:
    items = list(items)
    more = f" and {len(items) - LISTED} more" if len(items) > LISTED else ""
    return ", ".join(items[:LISTED]) + more


def _first_line(error) -> str:
    return (str(error).splitlines() or [""])[0] or type(error).__name__
