"""What simple classifiers of pixels reach: the nearest neighbour, and logistic regression.

    python -m results.scripts.baselines [--data-dir DIR] [--val-split N] [--image-size H W] DATASET [DATASET …]

DATASET and the flags are those of train.py. The classifiers learn from the images that a network with seed 0 learns
from, so N is 0 for folds. Of recordings, they read the numbers of events at each pixel. Pixels are divided by 255. Both
classifiers are those of scikit-learn, with C = 0.1 for the regression and everything else as it is. Prints the accuracy
on the test images.
"""

import argparse
from collections.abc import Iterator

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier

import imagesets
from imagesets.splits import stratified_split


def score_classifiers(data: imagesets.DataSet, chosen, max_iter: int) -> Iterator[tuple[str, float]]:
    """Yield the name and the test accuracy, in per cent, of each classifier.

    chosen: indices of the training images that they learn from. max_iter: of the regression.
    """
    train, test = (
        np.asarray(images).reshape(len(images), -1) / 255 for images in (data.train_images[chosen], data.test_images)
    )
    for classifier in (KNeighborsClassifier(1), LogisticRegression(C=0.1, max_iter=max_iter)):
        accuracy = classifier.fit(train, data.train_labels[chosen]).score(test, data.test_labels)
        yield type(classifier).__name__, 100 * accuracy


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("datasets", nargs="+", metavar="DATASET")
    parser.add_argument("--data-dir", default=imagesets.DATA_DIR, metavar="DIR")
    parser.add_argument("--val-split", type=int, metavar="N", help="images that do not train (default: as train.py)")
    parser.add_argument("--image-size", type=int, nargs=2, metavar=("H", "W"))
    args = parser.parse_args()
    for name in args.datasets:
        data = imagesets.load(name, args.data_dir, args.image_size)
        chosen = np.arange(len(data.train_labels))
        held_out = min(5000, len(chosen) // 12) if args.val_split is None else args.val_split
        if held_out:
            chosen, _ = stratified_split(data.train_labels, held_out, 0)
        for classifier, accuracy in score_classifiers(data, chosen, 1000):
            sizes = f"{len(chosen):,} + {len(data.test_labels):,} images"
            print(f"{name}: {classifier} {accuracy:.2f} %, {sizes}", flush=True)


if __name__ == "__main__":
    main()
