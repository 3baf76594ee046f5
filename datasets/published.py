"""The published data sets. They are read from their archives without unpacking, so the folder may be read-only.

Names, checksums and class names are those of torchvision. torchvision is imported only for a download, because the
import takes a second.
"""

import gzip
import hashlib
import math
import shutil
import socket
import string
import tempfile
import zipfile
from functools import partial
from http.client import HTTPException
from pathlib import Path
from typing import NamedTuple

import numpy as np

from datasets.data_set import DataSet, dataset
from errors import InputError
from utils import write_atomically

DOWNLOAD_TIMEOUT = 10  # seconds without an answer


class Published(NamedTuple):
    """A data set of IDX files.

    ``folder``: the name of its folder, and of its class in ``torchvision.datasets``.
    ``archives``: {name: MD5}.
    ``files``: {name of an unpacked file: name of its archive}: images and labels of the training set, then of the test
    set.
    """

    folder: str
    archives: dict[str, str]
    class_names: tuple[str, ...]
    files: dict[str, str]


def _gzip_files(folder: str, class_names: tuple[str, ...], *checksums: str) -> Published:
    parts = "train-images-idx3", "train-labels-idx1", "t10k-images-idx3", "t10k-labels-idx1"
    archives = {f"{part}-ubyte.gz": md5 for part, md5 in zip(parts, checksums, strict=True)}
    return Published(folder, archives, class_names, {name.removesuffix(".gz"): name for name in archives})


def _emnist_split(split: str, class_names: tuple[str, ...]) -> Published:
    parts = "train-images-idx3", "train-labels-idx1", "test-images-idx3", "test-labels-idx1"
    return Published("EMNIST", EMNIST, class_names, {f"emnist-{split}-{part}-ubyte": "gzip.zip" for part in parts})


EMNIST = {"gzip.zip": "58c8d27c78d21e728a6bc7b3cc06412e"}
CLOTHES = "T-shirt/top, Trouser, Pullover, Dress, Coat, Sandal, Shirt, Sneaker, Bag, Ankle boot"
PUBLISHED = {
    "mnist": _gzip_files(
        "MNIST",
        tuple(string.digits),
        "f68b3c2dcbeaaa9fbdd348bbdeb94873",
        "d53e105ee54ea40749a09fcbcd1e9432",
        "9fb629c4189551a2d022fa330f9573f3",
        "ec29112dd5afa0611ce80d1b7f02629c",
    ),
    "fashion-mnist": _gzip_files(
        "FashionMNIST",
        tuple(CLOTHES.split(", ")),
        "8d4fb7e6c68d591d4c3dfef9ec88bf0d",
        "25c81989df183df01b3e8a0aad5dffbe",
        "bef4ecab320f06d8554ea6380940ec79",
        "bb300cfdad3c16e7a12a480ee83cd310",
    ),
    "kmnist": _gzip_files(
        "KMNIST",
        ("o", "ki", "su", "tsu", "na", "ha", "ma", "ya", "re", "wo"),
        "bdb82020997e1d708af4cf47b453dcf7",
        "e144d726b3acfaa3e44228e80efcd344",
        "5c965bf0a639b31b8f53240b1b52f4d7",
        "7320c461ea6c1c855c0b718fb2a4b134",
    ),
    "emnist-digits": _emnist_split("digits", tuple(string.digits)),
    "emnist-letters": _emnist_split("letters", tuple(string.ascii_lowercase)),
}


@dataset(*[name for name in PUBLISHED if name != "fashion-mnist"], characters=True)
@dataset("fashion-mnist")
def read_published(name: str, data_dir: Path, image_size: tuple[int, int] | None) -> DataSet:
    """Read one of ``PUBLISHED``: images of 28×28 pixels.

    If an archive and the unpacked file are missing, the archive is downloaded. If both exist, the archive is read,
    because it has a checksum. Raises InputError for files that are damaged, or that are missing and cannot be
    downloaded.
    """
    source = PUBLISHED[name]
    raw = data_dir / source.folder / "raw"
    try:
        for archive, md5 in source.archives.items():
            if (raw / archive).is_file() and _md5(raw / archive) != md5:
                raise InputError(
                    f"{raw / archive} is damaged or not the original, whose MD5 is {md5}; replace it by the original, "
                    "or delete it, so that it is downloaded",
                )
        files = [(raw / file, raw / archive) for file, archive in source.files.items()]
        missing = {archive.name: None for file, archive in files if not (archive.is_file() or file.is_file())}
        if missing:
            _download(source, raw, list(missing))
        train_images, train_labels, test_images, test_labels = (read_idx(*pair) for pair in files)
    except OSError as error:
        raise InputError(f"cannot read the data set in {raw}: {error}") from error
    if source.folder == "EMNIST":  # Cohen et al. 2017: its files contain every image transposed
        train_images, test_images = (np.ascontiguousarray(x.transpose(0, 2, 1)) for x in (train_images, test_images))
    first = 1 if name == "emnist-letters" else 0
    train_labels = train_labels.astype(np.int64) - first
    test_labels = test_labels.astype(np.int64) - first
    return DataSet(name, train_images, train_labels, source.class_names, test_images, test_labels)


def read_idx(file: Path, archive: Path) -> np.ndarray:
    """Read an IDX file of bytes: from its archive (``.gz``, or EMNIST's zip of ``.gz``), or the unpacked file.

    The format is 0, 0, 8 (bytes), the number of dimensions, their sizes (big-endian, 4 bytes each), the values. Returns
    uint8 (N, H, W), or (N,) for a file of labels. Raises InputError for a damaged file.
    """
    if not archive.is_file():
        content = file.read_bytes()
    elif archive.suffix == ".zip":
        with zipfile.ZipFile(archive) as members:
            content = gzip.decompress(members.read(f"gzip/{file.name}.gz"))
    else:
        content = gzip.decompress(archive.read_bytes())
    ndim = 3 if "idx3" in file.name else 1
    start = 4 + 4 * ndim
    shape = [int.from_bytes(content[first : first + 4], "big") for first in range(4, start, 4)]
    if content[:4] != bytes([0, 0, 8, ndim]) or len(content) != start + math.prod(shape):
        raise InputError(
            f"{file} is damaged; replace it by the original {archive.name}, or delete it, so that it is downloaded",
        )
    return np.frombuffer(content, np.uint8, offset=start).reshape(shape).copy()  # torch needs writable arrays


def _md5(path: Path) -> str:
    digest = hashlib.md5(usedforsecurity=False)
    with path.open("rb") as file:
        while piece := file.read(1 << 20):  # EMNIST's archive has half a gigabyte
            digest.update(piece)
    return digest.hexdigest()


def _download(source: Published, raw: Path, archives: list[str]) -> None:
    """Download archives into the folder, each from the first of torchvision's mirrors that has it."""
    import torchvision
    from torchvision.datasets.utils import download_url

    theirs = getattr(torchvision.datasets, source.folder)
    mirrors = [theirs.url.removesuffix("gzip.zip")] if source.folder == "EMNIST" else theirs.mirrors
    timeout = socket.getdefaulttimeout()
    socket.setdefaulttimeout(DOWNLOAD_TIMEOUT)
    try:
        for archive in archives:
            for mirror in mirrors:
                try:
                    # into another folder until it is complete, because another run may search for it
                    with tempfile.TemporaryDirectory() as folder:
                        download_url(mirror + archive, folder, archive, source.archives[archive])
                        raw.mkdir(parents=True, exist_ok=True)
                        write_atomically(raw / archive, partial(shutil.copyfile, Path(folder, archive)))
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
