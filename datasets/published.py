"""The published data sets: archives, their MD5, and the names of the classes; all as torchvision has them.

torchvision itself is asked only for what has to be downloaded: to import it takes a second.
"""

import string
from typing import NamedTuple


class Published(NamedTuple):
    """``folder``: under the data folder, and the class in ``torchvision.datasets``. ``archives``: {name: MD5}."""

    folder: str
    archives: dict[str, str]
    class_names: tuple[str, ...]


def _four(*checksums):
    kinds = "train-images-idx3", "train-labels-idx1", "t10k-images-idx3", "t10k-labels-idx1"
    return {f"{kind}-ubyte.gz": md5 for kind, md5 in zip(kinds, checksums, strict=True)}


EMNIST = {"gzip.zip": "58c8d27c78d21e728a6bc7b3cc06412e"}
PUBLISHED = {
    "mnist": Published(
        "MNIST",
        _four(
            "f68b3c2dcbeaaa9fbdd348bbdeb94873",
            "d53e105ee54ea40749a09fcbcd1e9432",
            "9fb629c4189551a2d022fa330f9573f3",
            "ec29112dd5afa0611ce80d1b7f02629c",
        ),
        tuple(string.digits),
    ),
    "fashion-mnist": Published(
        "FashionMNIST",
        _four(
            "8d4fb7e6c68d591d4c3dfef9ec88bf0d",
            "25c81989df183df01b3e8a0aad5dffbe",
            "bef4ecab320f06d8554ea6380940ec79",
            "bb300cfdad3c16e7a12a480ee83cd310",
        ),
        (
            "T-shirt/top",
            "Trouser",
            "Pullover",
            "Dress",
            "Coat",
            "Sandal",
            "Shirt",
            "Sneaker",
            "Bag",
            "Ankle boot",
        ),
    ),
    "kmnist": Published(
        "KMNIST",
        _four(
            "bdb82020997e1d708af4cf47b453dcf7",
            "e144d726b3acfaa3e44228e80efcd344",
            "5c965bf0a639b31b8f53240b1b52f4d7",
            "7320c461ea6c1c855c0b718fb2a4b134",
        ),
        ("o", "ki", "su", "tsu", "na", "ha", "ma", "ya", "re", "wo"),
    ),
    "emnist-digits": Published("EMNIST", EMNIST, tuple(string.digits)),
    "emnist-letters": Published("EMNIST", EMNIST, tuple(string.ascii_lowercase)),
}
