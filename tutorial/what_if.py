"""What if images are noisy, or labels wrong? Two data sets of your own.

    python train.py --model mozafari2018 --epochs 2 4 10 --plugin tutorial/what_if.py --dataset noisy:0.3
    python train.py --model mozafari2018 --epochs 2 4 10 --plugin tutorial/what_if.py --dataset wrong:0.4

``tests/imagesets/test_datasets.py`` checks them.
"""

from dataclasses import replace

import numpy as np

from errors import InputError
from imagesets import dataset, load

VALIDATION = 5000  # the last training images, whose labels stay right


@dataset("noisy:")
def noisy(name, data_dir, image_size):
    """MNIST with Gaussian noise on all images; the number is its standard deviation, 1: from black to white."""
    rng = np.random.default_rng(0)
    sigma = read_fraction(name)
    data = load("mnist", data_dir)

    def add_noise(images):
        noise = sigma * rng.standard_normal(images.shape, np.float32)
        return (images + 255 * noise).round().clip(0, 255).astype(np.uint8)

    train, test = add_noise(data.train_images), add_noise(data.test_images)
    return replace(data, name=f"noisy {name}", train_images=train, test_images=test)


@dataset("wrong:")
def wrong(name, data_dir, image_size):
    """MNIST, where the number is the fraction of the training images that have the label of another class."""
    rng = np.random.default_rng(0)
    fraction = read_fraction(name)
    data = load("mnist", data_dir)
    labels = data.train_labels.copy()
    count = len(labels) - VALIDATION
    chosen = rng.choice(count, round(fraction * count), replace=False)
    labels[chosen] = (labels[chosen] + rng.integers(1, 10, len(chosen))) % 10  # 1 to 9 further: never the true class
    return replace(data, name=f"wrong {name}", train_labels=labels, val_count=VALIDATION)


def read_fraction(text: str) -> float:
    """Return a number from 0 to 1. Raises InputError for any other text."""
    try:
        number = float(text)
    except ValueError:
        number = -1.0
    if not 0 <= number <= 1:
        raise InputError(f"noisy: and wrong: need a number from 0 to 1, not {text!r}")
    return number
