"""The handwritten digits of scikit-learn."""

import string
from pathlib import Path

import numpy as np

from imagesets.data_set import DataSet, Size, dataset
from imagesets.splits import stratified_split


@dataset("digits", characters=True)
def read_digits(name: str, data_dir: Path, image_size: Size | None) -> DataSet:
    """Load scikit-learn's 1797 digits (UCI, Alpaydin and Kaynak 1998) in the form of MNIST; 1437 train, 360 test.

    The 8×8 images of 0 … 16 become 20×20 images of 0 … 255 (bicubic) in the middle of 28×28, as in MNIST, whose digits
    fill a box of 20×20. The split is stratified and always the same.
    """
    from PIL import Image
    from sklearn.datasets import load_digits

    small = load_digits()
    images = []
    for digit in np.rint(small.images * (255 / 16)).astype(np.uint8):
        large = Image.fromarray(digit).resize((20, 20), Image.Resampling.BICUBIC)
        images.append(np.pad(np.asarray(large), 4))
    images = np.stack(images)
    train, test = stratified_split(small.target, held_out=360, seed=0)
    parts = images[train], small.target[train], tuple(string.digits), images[test], small.target[test]
    return DataSet("digits", *parts, source="Alpaydin and Kaynak 1998, Optical Recognition of Handwritten Digits, UCI")
