"""Write 30,000 digits of MNIST, each blended with a picture of CIFAR-10, as a .npz file: digits on any ground.

    python -m results.scripts.blend_digits CIFAR NEW.npz

CIFAR is a folder with CIFAR-10's training pictures, CLASS/*.jpg. The digits are the first 30,000 training images of
MNIST, in the middle of 32×32 pixels. A pixel of the result is |ground - digit| in each colour, as in MNIST-M (Ganin et
al. 2016). The grounds are different pictures, drawn with seed 0. Test images of MNIST or CIFAR-10 are not read.
"""

import sys
from pathlib import Path

import numpy as np
from PIL import Image

import imagesets

IMAGES = 30_000
MARGIN = 2  # pixels around a digit


def main() -> None:
    folder, target = map(Path, sys.argv[1:])
    digits = imagesets.load("mnist")
    paths = sorted(folder.glob("*/*.jpg"))
    chosen = np.random.default_rng(0).permutation(len(paths))[:IMAGES]
    images = []
    for position, digit in zip(chosen, digits.train_images, strict=False):
        with Image.open(paths[position]) as picture:
            ground = np.asarray(picture.convert("RGB")).astype(np.int16)
        images.append(np.abs(ground - np.pad(digit, MARGIN)[..., None]).astype(np.uint8))
    np.savez_compressed(target, x_train=np.stack(images), y_train=digits.train_labels[:IMAGES])


if __name__ == "__main__":
    main()
