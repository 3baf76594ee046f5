"""What simple classifiers of pixels reach: the nearest neighbour, and logistic regression.

    python -m results.scripts.baselines [--data-dir DIR] [--val-split N] [--image-size H W] [--augment copies=N …]
        [--bins N] DATASET [DATASET …]

DATASET and the flags are those of train.py. The classifiers learn from the images that a network with seed 0 learns
from, so N is 0 for folds. With --augment, the nearest neighbour also learns from the same moved copies as a network
with seed 0, and there is no regression. Of recordings, the classifiers read the numbers of events at each pixel; with
--bins, log(1 + events) of each pixel in so many bins of equal duration and two polarities, as the encoder does. Pixels
are divided by 255. Both classifiers are those of scikit-learn, with C = 0.1 for the regression and everything else as
it is. Prints the accuracy on the test images.
"""

import argparse
from collections.abc import Iterator

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier

import imagesets
from engine.augmentation import Augmentation
from imagesets.augmentation import move_images
from imagesets.recordings import Recordings, read_events
from imagesets.splits import stratified_split
from training.plan import read_augmentation


def count_events(recordings: Recordings, bins: int) -> np.ndarray:
    """Return log(1 + events) of each bin, polarity and pixel: float32 (N, 2 · bins, H, W)."""
    counts = np.zeros((len(recordings), 2 * bins, *recordings.image_size), np.float32)
    for count, path in zip(counts, recordings.paths, strict=True):
        events = read_events(path, recordings.image_size)
        t = events.t - events.t[0]
        part = np.minimum(t * bins // (t[-1] + 1), bins - 1)
        np.add.at(count, (2 * part + 1 - events.p, events.y, events.x), 1)
    return np.log1p(counts)


def score_classifiers(
    data: imagesets.DataSet, chosen, max_iter: int, augmentation: Augmentation | None = None, bins: int = 0
) -> Iterator[tuple[str, float]]:
    """Yield the name and the test accuracy, in per cent, of each classifier.

    chosen: indices of the training images that they learn from. max_iter: of the regression. augmentation: moved copies
    of these images, from which the nearest neighbour learns, too. bins: of recordings of events; 0: pictures.
    """
    images = data.train_images[chosen]
    labels = data.train_labels[chosen]
    classifiers = [KNeighborsClassifier(1), LogisticRegression(C=0.1, max_iter=max_iter)]
    if augmentation:
        copies = range(augmentation.copies + 1)
        images = np.concatenate([move_images(images, augmentation, copy, seed=0) for copy in copies])
        labels = np.tile(labels, len(copies))
        classifiers = classifiers[:1]
    parts = []
    for part in (images, data.test_images):
        values = count_events(part, bins) if bins else np.asarray(part) / 255
        parts.append(values.reshape(len(part), -1))
    train, test = parts
    for classifier in classifiers:
        accuracy = classifier.fit(train, labels).score(test, data.test_labels)
        yield type(classifier).__name__, 100 * accuracy


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("datasets", nargs="+", metavar="DATASET")
    parser.add_argument("--data-dir", default=imagesets.DATA_DIR, metavar="DIR")
    parser.add_argument("--val-split", type=int, metavar="N", help="images that do not train (default: as train.py)")
    parser.add_argument("--image-size", type=int, nargs=2, metavar=("H", "W"))
    parser.add_argument("--augment", nargs="+", default=["none"], metavar="A=X", help="moved copies, as of train.py")
    parser.add_argument("--bins", type=int, default=0, metavar="N", help="of recordings of events")
    args = parser.parse_args()
    augmentation = read_augmentation(" ".join(args.augment))
    for name in args.datasets:
        data = imagesets.load(name, args.data_dir, args.image_size)
        chosen = np.arange(len(data.train_labels))
        held_out = min(5000, len(chosen) // 12) if args.val_split is None else args.val_split
        if held_out:
            chosen, _ = stratified_split(data.train_labels, held_out, 0)
        for classifier, accuracy in score_classifiers(data, chosen, 1000, augmentation, args.bins):
            sizes = f"{len(chosen):,} + {len(data.test_labels):,} images"
            sizes += f", {augmentation.copies} copies" * bool(augmentation) + f", {args.bins} bins" * bool(args.bins)
            print(f"{name}: {classifier} {accuracy:.2f} %, {sizes}", flush=True)


if __name__ == "__main__":
    main()
