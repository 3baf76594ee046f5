"""The published data sets. They are read from their archives without unpacking, so the folder may be read-only.

Names and class names are those of torchvision. torchvision is imported only for a download, whose checksum it
compares, because the import takes a second.
"""

import gzip
import math
import shutil
import socket
import string
import tempfile
import zipfile
import zlib
from contextlib import suppress
from functools import partial
from http.client import HTTPException
from pathlib import Path

import numpy as np

from errors import InputError
from imagesets.data_set import DataSet, Size, dataset
from utils import write_atomically

DOWNLOAD_TIMEOUT = 10  # seconds without an answer

CLOTHES = "T-shirt/top, Trouser, Pullover, Dress, Coat, Sandal, Shirt, Sneaker, Bag, Ankle boot"
KANA = "o ki su tsu na ha ma ya re wo"
COHEN = "Cohen et al. 2017, arXiv 1702.05373"
# Data sets of IDX files: {name: (name of the folder and of the class in torchvision.datasets, names of the classes,
# source)}
PUBLISHED = {
    "mnist": ("MNIST", string.digits, "LeCun, Cortes and Burges 1998, The MNIST database of handwritten digits"),
    "fashion-mnist": ("FashionMNIST", CLOTHES.split(", "), "Xiao et al. 2017, arXiv 1708.07747"),
    "kmnist": ("KMNIST", KANA.split(), "Clanuwat et al. 2018, arXiv 1812.01718"),
    "emnist-digits": ("EMNIST", string.digits, COHEN),
    "emnist-letters": ("EMNIST", string.ascii_lowercase, COHEN),
}
IDX_FILES = "train-images-idx3", "train-labels-idx1", "t10k-images-idx3", "t10k-labels-idx1"


@dataset(*[name for name in PUBLISHED if name != "fashion-mnist"], characters=True)
@dataset("fashion-mnist")
def read_published(name: str, data_dir: Path, image_size: Size | None) -> DataSet:
    """Read one of ``PUBLISHED``: images of 28×28 pixels.

    If an archive and the unpacked file are missing, the archive is downloaded. If both exist, the archive is read.
    Raises InputError for files that are damaged, or that are missing and cannot be downloaded.
    """
    folder, class_names, source = PUBLISHED[name]
    is_emnist = folder == "EMNIST"
    raw = data_dir / folder / "raw"
    files = []
    for part in IDX_FILES:
        file = f"{name}-{part.replace('t10k', 'test')}-ubyte" if is_emnist else f"{part}-ubyte"
        archive = "gzip.zip" if is_emnist else f"{file}.gz"
        files.append((raw / file, raw / archive))
    try:
        missing = {archive.name: None for file, archive in files if not (archive.is_file() or file.is_file())}
        if missing:
            _download(folder, raw, list(missing))
        train_images, train_labels, test_images, test_labels = (read_idx(*pair) for pair in files)
    except OSError as error:
        raise InputError(f"cannot read the data set in {raw}: {error}") from error
    if is_emnist:  # Cohen et al. 2017: its files contain every image transposed
        train_images, test_images = (np.ascontiguousarray(x.transpose(0, 2, 1)) for x in (train_images, test_images))
    first = 1 if name == "emnist-letters" else 0
    train = train_images, train_labels - first
    return DataSet(name, *train, tuple(class_names), test_images, test_labels - first, source=source)


def read_idx(file: Path, archive: Path) -> np.ndarray:
    """Read an IDX file of bytes: from its archive (``.gz``, or EMNIST's zip of ``.gz``), or the unpacked file.

    The format is 0, 0, 8 (bytes), the number of dimensions, their sizes (big-endian, 4 bytes each), the values. Returns
    uint8 (N, H, W), or (N,) for a file of labels. Raises InputError for a damaged file.
    """
    path = archive if archive.is_file() else file
    content = b""
    with suppress(EOFError, KeyError, gzip.BadGzipFile, zipfile.BadZipFile, zlib.error):  # a damaged archive
        if path.suffix == ".zip":
            with zipfile.ZipFile(path) as members:
                content = gzip.decompress(members.read(f"gzip/{file.name}.gz"))
        elif path.suffix == ".gz":
            content = gzip.decompress(path.read_bytes())
        else:
            content = path.read_bytes()
    ndim = 3 if "idx3" in file.name else 1
    start = 4 + 4 * ndim
    shape = [int.from_bytes(content[first : first + 4], "big") for first in range(4, start, 4)]
    if content[:4] != bytes([0, 0, 8, ndim]) or len(content) != start + math.prod(shape):
        raise InputError(
            f"{path} is damaged; replace it by the original {archive.name}, or delete it, so that it is downloaded"
        )
    return np.frombuffer(content, np.uint8, offset=start).reshape(shape).copy()  # torch needs writable arrays


def _download(folder: str, raw: Path, archives: list[str]) -> None:
    """Download archives into the folder, each from the first of torchvision's mirrors that has it."""
    import torchvision
    from torchvision.datasets.utils import download_url

    theirs = getattr(torchvision.datasets, folder)
    if folder == "EMNIST":
        mirrors = [theirs.url.removesuffix("gzip.zip")]
        checksums = {"gzip.zip": theirs.md5}
    else:
        mirrors = theirs.mirrors
        checksums = dict(theirs.resources)
    timeout = socket.getdefaulttimeout()
    socket.setdefaulttimeout(DOWNLOAD_TIMEOUT)
    try:
        for archive in archives:
            for mirror in mirrors:
                try:
                    # into another folder until it is complete, because another run may search for it
                    with tempfile.TemporaryDirectory() as temporary:
                        download_url(mirror + archive, temporary, archive, checksums[archive])
                        raw.mkdir(parents=True, exist_ok=True)
                        write_atomically(raw / archive, partial(shutil.copyfile, Path(temporary, archive)))
                    break
                except (OSError, HTTPException, RuntimeError) as error:  # RuntimeError: wrong checksum
                    reason = error
            else:
                raise InputError(
                    f"{raw} lacks {', '.join(archives)}, and the download failed ({' '.join(str(reason).split())}); "
                    "put these files into that folder",
                ) from reason
    finally:
        socket.setdefaulttimeout(timeout)
