"""What simple classifiers of pixels reach: the nearest neighbour, and logistic regression.

    python -m results.scripts.baselines [--data-dir DIR] [--val-split N] [--image-size H W] [--augment copies=N …]
        [--bins N] DATASET [DATASET …]

DATASET and the flags are those of train.py. The classifiers learn from the images that a network with seed 0 learns
from, so N is 0 for folds. With --augment, the nearest neighbour also learns from the same augmented images as a network
with seed 0, and there is no regression. Of recordings, the classifiers read the numbers of events at each pixel; with
--bins, log(1 + events) of each pixel in so many bins of equal duration and two polarities, as the encoder does. Pixels
are divided by 255. Both classifiers are those of scikit-learn, with C = 0.1 for the regression and everything else as
it is. Prints the accuracy on the test images.
"""

import argparse
from collections.abc import Iterator, Sequence
from itertools import product

import numpy as np
from scipy import sparse
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from sklearn.semi_supervised import LabelSpreading
from sklearn.svm import SVC

import imagesets
from engine.augmentation import Augmentation
from imagesets.augmentation import move_images
from imagesets.recordings import Recordings, read_events
from imagesets.splits import stratified_split
from training.plan import read_augmentation

# The classifiers of ``FewLabels``, and the settings from which held-out images choose: the C of both machines, the
# numbers of neighbours, and the share of its label that an image takes from its neighbours
FEW_LABELS = {
    "logistic regression": [(0.01,), (0.1,), (1,)],
    "nearest neighbour": [(1,), (3,), (5,)],
    "SVM": [(1,), (10,)],
    "label spreading": [*product((5, 10), (0.2, 0.8))],
}
SPREAD = 14_000  # images that label spreading reads at most


class FewLabels:
    """Classifiers of pixels, divided by 255, that learn from few labelled images: those of scikit-learn.

    The kernel of the support vector machine is Gaussian with gamma="scale". Label spreading joins each image with its
    nearest ones, and also reads images without labels.

    images, labels: from which the labelled images are chosen, uint8 (N, …) and int64 (N,). largest: positions of all
        that are ever labelled. scored: images and labels to classify; the first ones choose the settings.
    """

    def __init__(self, images: np.ndarray, labels: np.ndarray, largest: np.ndarray, scored: Sequence[tuple]):
        others = np.setdiff1d(np.arange(len(images)), largest)
        self.positions = np.concatenate([largest, others[: max(0, SPREAD - len(largest))]])
        self.labels = labels[self.positions]
        self.pixels = to_pixels(images[self.positions])
        self.scored = [(to_pixels(each), of_each) for each, of_each in scored]
        self.distances = [square_distances(each, self.pixels) for each in (self.pixels, *(x for x, _ in self.scored))]
        most = max(neighbours for neighbours, _ in FEW_LABELS["label spreading"])
        self.nearest = [find_nearest(each, most) for each in self.distances]

    def score(self, name: str, labelled: np.ndarray) -> tuple[list[float], str]:
        """Return the accuracies in per cent on the scored images, and the setting, of a classifier.

        labelled: positions of the labelled images.
        """
        places = np.flatnonzero(np.isin(self.positions, labelled))
        tried = {}
        for setting in FEW_LABELS[name]:
            decide = self.fit(name, setting, places)
            _, labels = self.scored[0]
            tried[setting] = decide, (decide(1) == labels).mean()
        chosen = max(tried, key=lambda setting: tried[setting][1])
        decide, _ = tried[chosen]
        accuracies = [100 * (decide(n) == labels).mean() for n, (_, labels) in enumerate(self.scored, start=1)]
        return accuracies, " ".join(map(str, chosen))

    def fit(self, name: str, setting: tuple, places: np.ndarray):
        """Return a function of the number of a part, from 1, that returns the classes of its images."""
        labels = self.labels[places]
        value = setting[0]
        if name == "logistic regression":
            model = LogisticRegression(C=value, max_iter=300).fit(self.pixels[places], labels)
            return lambda n: model.predict(self.scored[n - 1][0])
        if name == "label spreading":
            return self.spread(*setting, places)
        if name == "SVM":
            gamma = 1 / (self.pixels.shape[1] * self.pixels[places].var())
            model = SVC(C=value, kernel="precomputed")

            def read(rows):
                return np.exp(-gamma * rows[:, places])

        else:
            model = KNeighborsClassifier(value, metric="precomputed")

            def read(rows):
                return rows[:, places]

        model.fit(read(self.distances[0][places]), labels)
        return lambda n: np.concatenate([model.predict(read(part)) for part in split_rows(self.distances[n])])

    def spread(self, neighbours: int, share: float, places: np.ndarray):
        """As ``fit``, for label spreading."""
        count = len(self.positions)
        targets = np.full(count, -1)
        targets[places] = self.labels[places]
        edges = [join(each[:, :neighbours], count) for each in self.nearest]
        read = 0  # the part that the kernel reads

        def kernel(_, queries):
            return edges[read].T.tocsr() if read else edges[0]

        indices = np.arange(count)[:, None]
        model = LabelSpreading(kernel, alpha=share, max_iter=200).fit(indices, targets)

        def decide(part):
            nonlocal read
            read = part
            return model.predict(np.arange(edges[part].shape[0])[:, None])

        return decide


def to_pixels(images: np.ndarray) -> np.ndarray:
    return images.reshape(len(images), -1).astype(np.float32) / 255


def square_distances(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Return the squared distances of rows (n, p) and (m, p): float32 (n, m)."""
    products = a @ b.T
    products *= -2
    products += (a**2).sum(1)[:, None]
    products += (b**2).sum(1)
    return products.clip(0, out=products)


def split_rows(rows: np.ndarray) -> list[np.ndarray]:
    return np.array_split(rows, -(-len(rows) // 1000))


def find_nearest(distances: np.ndarray, count: int) -> np.ndarray:
    """Return the columns of the ``count`` smallest distances of each row, in order: int64 (n, count)."""
    parts = []
    for part in split_rows(distances):
        nearest = np.argpartition(part, count, axis=1)[:, :count]
        order = np.take_along_axis(part, nearest, 1).argsort(1)
        parts.append(np.take_along_axis(nearest, order, 1))
    return np.concatenate(parts)


def join(nearest: np.ndarray, columns: int) -> sparse.csr_matrix:
    """Return a matrix with a 1 for each row and its nearest columns."""
    count, neighbours = nearest.shape
    rows = np.repeat(np.arange(count), neighbours)
    return sparse.csr_matrix((np.ones(nearest.size), (rows, nearest.ravel())), (count, columns))


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

    chosen: indices of the training images that they learn from. max_iter: of the regression. augmentation: of these
    images; the nearest neighbour learns from the augmented images, too. bins: of recordings of events; 0: pictures.
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
    parser.add_argument("--augment", nargs="+", default=["none"], metavar="A=X", help="augmentation, as of train.py")
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
