"""The graph over which labels spread: each training image is joined with its nearest ones.

Images in which the same neurons spike probably have one class. So an image is a vector: which neurons below the
decision stage spike, 1 or 0, divided by its length. Its principal components are compared by Euclidean distance. Along
the edges of the graph, images pass their labels on (Zhou et al. 2004, "Learning with local and global consistency"):

    F = (1 - α) (I - α S)^-1 Y,    S = D^(-1/2) W D^(-1/2)

W is 1 between two images if one is among the ``NEIGHBOURS`` nearest ones of the other, D contains the sums of its rows,
and Y is 1 / n for each of the n labelled images of a class: with 1, a class that has more labels than others wins
nearly all images. The class of an image is that of the largest number in its row of F.

Results do not depend on the number of threads within ``threadpoolctl.threadpool_limits(1)``.
"""

import math
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import numpy as np

from engine.graph import CHUNK, LatencyMap
from imagesets.splits import choose_evenly
from utils import check_memory

if TYPE_CHECKING:
    from scipy.sparse import csr_array, csr_matrix

COMPONENTS = 100
FITTED = 200_000_000  # values of the vectors that determine them: of at most 5,238 images for ``multiscale2026``
NEIGHBOURS = 10
SEARCHED = 2048  # images for which neighbours are searched at once, or up to twice as many
ALPHA = 0.99  # the part of its shares that an image takes from its neighbours
ITERATIONS = 3000  # at most: what is left to change falls by ALPHA in each
LEFT_OUT_PARTS = 10  # in which given labels are left out
VECTOR_BYTES = 7  # for each value of the vectors: the latency, whether it is a spike, and a float, with room for sums

Show = Callable[[str, int, int], object]  # shows the progress: what is computed, how many are done, of how many


def check_neighbours(flag: str, images: int, neurons: int) -> None:
    """Raise InputError if what compares the images does not fit in memory. flag: what needs it."""
    fitted = min(images, max(COMPONENTS, FITTED // neurons))
    check_memory(flag, VECTOR_BYTES * fitted * neurons + 16 * images * (COMPONENTS + 4 * NEIGHBOURS))


def compare_images(maps: LatencyMap, time_steps: int, show: Show) -> np.ndarray:
    """Return the principal components of images, float32 (N, COMPONENTS or fewer), NaN of an image without a spike.

    maps: latencies uint8 (N, C, H, W), of which ``time_steps`` means silence.
    """
    from sklearn.decomposition import PCA

    count = len(maps)
    at_once = max(1, FITTED // math.prod(maps.shape[1:]))
    fitted = read_vectors(maps, choose_evenly(count, max(COMPONENTS, at_once)), time_steps)
    pca = PCA(min(COMPONENTS, *fitted.shape), svd_solver="randomized", random_state=0, copy=False)
    with np.errstate(all="ignore"):  # of equal images, the variance is 0
        pca.fit(fitted)
    parts = []
    size = min(CHUNK, at_once)
    for places in np.split(np.arange(count), range(size, count, size)):
        vectors = read_vectors(maps, places, time_steps)
        has_spikes = vectors.any(1, keepdims=True)
        parts.append(np.where(has_spikes, pca.transform(vectors), np.float32(np.nan)))
        show("components of the training images", places[-1] + 1, count)
    return np.concatenate(parts)


def read_vectors(maps: LatencyMap, places: np.ndarray, time_steps: int) -> np.ndarray:
    """Return which neurons spike, 1 or 0, divided by the length of this vector: float32 (n, neurons).

    maps, time_steps: as of ``compare_images``. places: int64 (n,), of the images.
    """
    spikes = (maps[places] < time_steps).flatten(1).numpy(force=True).astype(np.float32)
    spikes /= np.sqrt(spikes.sum(1, keepdims=True)).clip(1)
    return spikes


def join_nearest(vectors: np.ndarray, show: Show) -> "csr_matrix":
    """Return the graph W of images, (N, N). vectors: (N, components). An image whose vector is NaN has no edge."""
    from scipy.sparse import csr_matrix
    from sklearn.neighbors import NearestNeighbors

    images = np.flatnonzero(~np.isnan(vectors[:, 0]))
    near = max(0, min(NEIGHBOURS, len(images) - 1))
    columns = [np.empty(0, np.int64)]
    if near:
        search = NearestNeighbors(n_neighbors=near + 1, algorithm="brute").fit(vectors[images])
        # of parts that are not small, it finds the same of equally near images as of all
        for places in np.array_split(np.arange(len(images)), max(1, len(images) // SEARCHED)):
            found = search.kneighbors(vectors[images[places]], return_distance=False)
            is_other = found != places[:, None]
            is_other[is_other.all(1), 0] = False  # more images than that are equal to this one
            columns.append(images[found[is_other]])
            show("neighbours of the training images", places[-1] + 1, len(images))
    edges = np.concatenate(columns)
    nearest = csr_matrix((np.ones(len(edges)), (images.repeat(near), edges)), (len(vectors), len(vectors)))
    return nearest.maximum(nearest.T)


def spread_over(graph: "csr_matrix", labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Spread labels over the edges of a graph.

    graph: W, (N, N), symmetric. labels: the given ones, int64 (N,), -1 of the other images.

    Returns the class of each image, int64 (N,), -1 of an image that no label reaches, and its certainty (N,): the share
    of this class in its row of F. Given labels stay as they are.
    """
    from sklearn.semi_supervised import LabelSpreading

    method = LabelSpreading(lambda *_: graph, alpha=ALPHA, max_iter=ITERATIONS)
    method.fit(np.arange(len(labels))[:, None], labels)
    counts = np.bincount(labels[labels >= 0])[method.classes_]
    # F is linear in Y, which is 1 there. Equal numbers change no bit
    shares = method.label_distributions_ / (counts / counts.max())
    certainty = shares.max(1) / shares.sum(1).clip(np.finfo(float).tiny)
    classes = method.classes_[shares.argmax(1)]
    classes[certainty == 0] = -1
    return np.where(labels < 0, classes, labels), certainty


def leave_out(graph: "csr_matrix", vectors: np.ndarray, labels: np.ndarray, show: Show) -> dict[str, int]:
    """Leave out the given labels in ten parts, and count those that come back from the others.

    A label that is alone in its class, or whose image has no spike, does not count.

    graph, labels: as in ``spread_over``. vectors: as in ``join_nearest``.

    Returns how many labels were "left_out", for how many of them the label "came_back" over the graph, and of how many
    the class is that of the "nearest" image that has a label.
    """
    from sklearn.neighbors import KNeighborsClassifier

    labels = np.where(np.isnan(vectors[:, 0]), -1, labels)
    counted = {"left_out": 0, "came_back": 0, "nearest": 0}
    parts = [*divide_labels(labels)]
    for number, part in enumerate(parts):
        rest = labels.copy()
        rest[part] = -1
        given = np.flatnonzero(rest >= 0)
        nearest = KNeighborsClassifier(1, algorithm="brute").fit(vectors[given], rest[given])
        counted["left_out"] += len(part)
        counted["came_back"] += int((solve(graph, rest, part) == labels[part]).sum())
        counted["nearest"] += int((nearest.predict(vectors[part]) == labels[part]).sum())
        show("given labels that are left out", number + 1, len(parts))
    return counted


def divide_labels(labels: np.ndarray) -> Iterator[np.ndarray]:
    """Yield the places of the given labels in ten parts, each class in as many of them as it can be.

    Those that are alone in their class are in no part.
    """
    order = np.random.default_rng(0).permutation(np.flatnonzero(labels >= 0))
    order = order[np.argsort(labels[order], kind="stable")]
    counts = np.bincount(labels[order], minlength=1)
    order = order[counts[labels[order]] > 1]
    for first in range(min(LEFT_OUT_PARTS, len(order))):
        yield order[first::LEFT_OUT_PARTS]


def solve(graph: "csr_matrix", labels: np.ndarray, places: np.ndarray) -> np.ndarray:
    """Return the classes of some images as ``spread_over``, by conjugate gradients, in a tenth of its time.

    It solves the equation, while the iteration of ``spread_over`` ends before its limit: of 60,000 images of MNIST, at
    most 2 have another class.
    """
    from scipy.sparse.linalg import cg

    system = build_system(graph)
    classes, counts = np.unique(labels[labels >= 0], return_counts=True)
    shares = []
    for label, count in zip(classes, counts, strict=True):
        share, _ = cg(system, (labels == label) / count, rtol=1e-6)
        shares.append(share[places])
    return np.where(np.max(shares, 0) > 0, classes[np.argmax(shares, 0)], -1)


def build_system(graph: "csr_matrix", alpha: float = ALPHA) -> "csr_array":
    """Return I - α S of a graph W; of an image without an edge, the row is that of (1 - α) I."""
    from scipy.sparse import csgraph, eye_array

    return (1 - alpha) * eye_array(graph.shape[0]) + alpha * csgraph.laplacian(graph, normed=True)
