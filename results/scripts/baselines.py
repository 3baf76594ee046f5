"""What simple classifiers of pixels reach: the nearest neighbour and logistic regression, or several from few labels.

    python -m results.scripts.baselines [--data-dir DIR] [--val-split N] [--image-size H W] [--augment copies=N …]
        DATASET [DATASET …]
    python -m results.scripts.baselines --labels N … [--seeds S …] [--folds K] [--data-dir DIR] DATASET [DATASET …]

DATASET and the flags are those of train.py. The classifiers learn from the images that a network with seed 0 learns
from, so N is 0 for folds. With --augment, the nearest neighbour also learns from the same augmented images as a network
with seed 0, and there is no regression. Pixels
are divided by 255. Both classifiers are those of scikit-learn, with C = 0.1 for the regression and everything else as
it is. Prints the accuracy on the test images.

With --labels, 5,000 training images (at most a fifth) choose the setting of each classifier of ``FewLabels``, and it
learns from N of the others, which the seed chooses; of 60,000 images, those of train.py --labels N. With --folds, K
folds of the N images choose the setting instead.
"""

import argparse
import functools
import sys
from collections.abc import Iterable, Iterator, Sequence
from itertools import product

import numpy as np
from scipy import sparse
from scipy.sparse.linalg import cg
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold
from sklearn.neighbors import KNeighborsClassifier, NearestNeighbors
from sklearn.svm import SVC

import imagesets
from engine.augmentation import Augmentation
from errors import InputError
from imagesets.augmentation import move_images
from imagesets.splits import choose_labelled, stratified_split
from training.command import command_line
from training.data import Splits
from training.plan import read_augmentation
from training.settings import TrainSettings

# The classifiers of ``FewLabels``, and the settings from which held-out images choose: the C of both machines, the
# numbers of neighbours, the share of its label that an image takes from its neighbours, and the length of an image
FEW_LABELS = {
    "logistic regression": [(0.01,), (0.1,), (1,)],
    "nearest neighbour": [(1,), (3,), (5,)],
    "SVM": [(1,), (10,)],
    "label spreading": [*product((5, 10), (0.2, 0.8, 0.99), ("length 1", "any length"))],
}


COMPONENTS = 64  # of the pixels, for label spreading
FITTED = 10_000  # images that determine them


class FewLabels:
    """Classifiers of pixels, divided by 255, that learn from few labelled images: those of scikit-learn.

    The kernel of the support vector machine is Gaussian with gamma="scale". Label spreading (training/neighbours.py)
    joins each image with its nearest ones, by up to 64 principal components, and also reads images without labels.

    images, labels: from which the labelled images are chosen, uint8 (N, …) and int64 (N,). scored: images and labels to
        classify; the first ones choose the settings.
    """

    def __init__(self, images: np.ndarray, labels: np.ndarray, scored: Sequence[tuple]):
        self.labels = labels
        self.scored = [of_each for _, of_each in scored]
        self.pixels = [to_pixels(each) for each in (images, *(each for each, _ in scored))]

    def score(self, name: str, labelled: np.ndarray, folds: int = 0) -> tuple[list[float], str]:
        """Return the accuracies in per cent on the scored images, and the setting, of a classifier.

        labelled: positions of the labelled images. folds: of them that choose the setting; 0: the first scored ones do.
        """
        fitted = {setting: self.fit(name, setting, labelled) for setting in FEW_LABELS[name]}
        if folds:
            chosen = max(fitted, key=lambda setting: self.cross_validate(name, setting, labelled, folds))
        else:
            chosen = max(fitted, key=lambda setting: (fitted[setting](1) == self.scored[0]).mean())
        decide = fitted[chosen]
        accuracies = [100 * (decide(part) == labels).mean() for part, labels in enumerate(self.scored, 1)]
        return accuracies, " ".join(map(str, chosen))

    def cross_validate(self, name: str, setting: tuple, labelled: np.ndarray, folds: int) -> float:
        """Return the accuracy of the labelled images, as a fraction, if each fold is classified by the others."""
        correct = 0
        for chosen, left_out in StratifiedKFold(folds).split(labelled, self.labels[labelled]):
            decide = self.fit(name, setting, labelled[chosen])
            correct += (decide(0, labelled[left_out]) == self.labels[labelled[left_out]]).sum()
        return correct / len(labelled)

    def fit(self, name: str, setting: tuple, labelled: np.ndarray):
        """Return a function that returns the classes of the images of a part, or of some of them.

        Its arguments are the number of the part, 0 for the images that may be labelled, and positions in the part.
        """
        if name == "label spreading":
            return self.spread(*setting, labelled)
        (value,) = setting
        models = {
            "logistic regression": LogisticRegression(C=value, max_iter=300),
            "SVM": SVC(C=value),
            "nearest neighbour": KNeighborsClassifier(min(value, len(labelled)), algorithm="brute"),
        }
        model = models[name].fit(self.pixels[0][labelled], self.labels[labelled])
        return lambda part, chosen=slice(None): model.predict(self.pixels[part][chosen])

    def spread(self, neighbours: int, share: float, length: str, labelled: np.ndarray):
        """As ``fit``, for label spreading."""
        targets = np.full(len(self.labels), -1)
        targets[labelled] = self.labels[labelled]
        nearest = self.find_nearest(length)
        shares = spread_labels(join(nearest[0][:, :neighbours]), targets, share)

        def decide(part, chosen=slice(None)):
            return shares[nearest[part][chosen, :neighbours]].sum(1).argmax(1)

        return decide

    @functools.cache  # noqa: B019  it lives as long as the program
    def find_nearest(self, length: str) -> list[np.ndarray]:
        """Return the positions of the nearest images of each image, the nearest first: int64 (n, neighbours).

        Those of the images themselves, and of each scored part.
        """
        most = max(neighbours for neighbours, *_ in FEW_LABELS["label spreading"])
        parts = self.pixels
        if length == "length 1":
            parts = [pixels / np.linalg.norm(pixels, axis=1, keepdims=True).clip(1e-6) for pixels in parts]
        fitted = parts[0][:FITTED]
        pca = PCA(min(COMPONENTS, *fitted.shape), svd_solver="randomized", random_state=0).fit(fitted)
        parts = [pca.transform(pixels) for pixels in parts]
        search = NearestNeighbors(n_neighbors=most, algorithm="brute").fit(parts[0])
        nearest = [search.kneighbors(return_distance=False)]  # without the image itself
        return nearest + [search.kneighbors(vectors, return_distance=False) for vectors in parts[1:]]


def score_few_labels(
    data: imagesets.DataSet, seed: int, counts: Sequence[int], folds: int = 0, names: Iterable[str] = FEW_LABELS
) -> Iterator[tuple[str, int, list[float], str]]:
    """Yield name, number of labelled images, accuracies in per cent and setting of the classifiers of few labels.

    The accuracies are on the images that choose the settings (without folds), and on the test images.
    """
    train, held_out = stratified_split(data.train_labels, min(5000, len(data.train_labels) // 5), seed)
    labels = data.train_labels[train]
    scored = [(data.train_images[held_out], data.train_labels[held_out]), (data.test_images, data.test_labels)]
    few = FewLabels(data.train_images[train], labels, scored)
    chosen = {count: choose_labelled(labels, count, seed) for count in counts}
    for count, labelled in chosen.items():
        fewest = np.unique(labels[labelled], return_counts=True)[1].min()
        if folds and not 2 <= folds <= fewest:
            raise InputError(f"--folds must be 2 to {fewest}, the labels of a class with --labels {count}, not {folds}")
    for name, count in product(names, counts):
        accuracies, setting = few.score(name, chosen[count], folds)
        yield name, count, accuracies, setting


def to_pixels(images: np.ndarray) -> np.ndarray:
    return images.reshape(len(images), -1).astype(np.float32) / 255


def join(nearest: np.ndarray) -> sparse.csr_matrix:
    """Return a matrix with a 1 for each image and its nearest images, int (N, k)."""
    count, neighbours = nearest.shape
    rows = np.repeat(np.arange(count), neighbours)
    return sparse.csr_matrix((np.ones(nearest.size), (rows, nearest.ravel())), (count, count))


def spread_labels(nearest: sparse.csr_matrix, labels: np.ndarray, share: float) -> np.ndarray:
    """Return the part of each class in the labels that reach an image, (N, classes), see training/neighbours.py.

    nearest: 1 for the nearest images of each image. labels: int64 (N,), -1 without a label. share: α. Conjugate
    gradients need a tenth of the time of scikit-learn's LabelSpreading, which computes the same.
    """
    edges = nearest.maximum(nearest.T)
    scale = sparse.diags(np.asarray(edges.sum(1)).ravel() ** -0.5)
    system = sparse.identity(len(labels)) - share * scale @ edges @ scale
    columns = [cg(system, (labels == label).astype(float), atol=0.0)[0] for label in range(labels.max() + 1)]
    parts = np.stack(columns, 1).clip(0)
    return parts / parts.sum(1, keepdims=True).clip(1e-300)


def score_classifiers(
    data: imagesets.DataSet, chosen, max_iter: int, augmentation: Augmentation | None = None
) -> Iterator[tuple[str, float]]:
    """Yield the name and the test accuracy, in per cent, of each classifier.

    chosen: indices of the training images that they learn from. max_iter: of the regression. augmentation: of these
    images; the nearest neighbour learns from the augmented images, too.
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
        parts.append((part / 255).reshape(len(part), -1))
    train, test = parts
    for classifier in classifiers:
        accuracy = classifier.fit(train, labels).score(test, data.test_labels)
        yield type(classifier).__name__, 100 * accuracy


@command_line
def main(words: list[str]) -> None:
    """Print the accuracies, as the words of a command line request."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("datasets", nargs="+", metavar="DATASET")
    parser.add_argument("--data-dir", default=imagesets.DATA_DIR, metavar="DIR")
    parser.add_argument("--val-split", type=int, metavar="N", help="images that do not train (default: as train.py)")
    parser.add_argument("--image-size", type=int, nargs=2, metavar=("H", "W"))
    parser.add_argument("--augment", nargs="+", default=["none"], metavar="A=X", help="augmentation, as of train.py")
    parser.add_argument("--labels", type=int, nargs="+", default=[], metavar="N", help="numbers of labelled images")
    parser.add_argument("--folds", type=int, default=0, metavar="K", help="of the labelled images, choose settings")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0], metavar="S", help="with --labels (default: 0)")
    parser.add_argument("--classifiers", nargs="+", default=[*FEW_LABELS], choices=FEW_LABELS, help="with --labels")
    args = parser.parse_args(words)
    augmentation = read_augmentation(" ".join(args.augment))
    for name in args.datasets:
        data = imagesets.load(name, args.data_dir, args.image_size)
        for seed in args.seeds if args.labels else ():
            rows = score_few_labels(data, seed, args.labels, args.folds, args.classifiers)
            for classifier, count, (held_out, accuracy), setting in rows:
                title = f"{name}, seed {seed}, {count} labels: {classifier} ({setting})"
                print(f"{title} {accuracy:.2f} %, validation {held_out:.2f} %", flush=True)
        if args.labels:
            continue
        settings = TrainSettings(model="control2026", val_split=args.val_split)
        chosen = Splits(settings, data).get_split("labelled").indices
        for classifier, accuracy in score_classifiers(data, chosen, 1000, augmentation):
            sizes = f"{len(chosen):,} + {len(data.test_labels):,} images"
            sizes += f", {augmentation.copies} copies" * bool(augmentation)
            print(f"{name}: {classifier} {accuracy:.2f} %, {sizes}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
