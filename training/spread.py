"""Label spreading (``--spread``): the labels of few images reach the others, over what was learned without labels.

Images in which the same neurons spike probably have one class. Each image is joined with its nearest ones, and passes
its label on to them (Zhou et al. 2004, "Learning with local and global consistency"):

    F = (1 - α) (I - α S)^-1 Y,    S = D^(-1/2) W D^(-1/2)

W is 1 between two images if one is among the ``NEIGHBOURS`` nearest ones of the other, D contains the sums of its rows,
and Y is 1 / n for each of the n labelled images of a class: with 1, a class that has more labels than others wins
nearly all images. The class of an image is that of the largest number in its row of F.
"""

import math
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import numpy as np
import torch
from threadpoolctl import threadpool_limits

from engine.graph import CHUNK, LatencyMap
from engine.phases import Phase
from engine.progress import ChunkStep
from imagesets.splits import choose_evenly
from network_trainer import LatencyDataset
from training.run import Run

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

COMPONENTS = 100
FITTED = 200_000_000  # values of the vectors that determine them: of at most 5,238 images for ``multiscale2026``
NEIGHBOURS = 10
ALPHA = 0.99  # the part of its shares that an image takes from its neighbours
ITERATIONS = 3000  # at most: what is left to change falls by ALPHA in each


def spread(run: Run, phase: Phase, train: LatencyDataset) -> Iterator[ChunkStep]:
    """Give the training images of a run the labels that reach them: the argument ``teach`` of ``steps``.

    The images are compared by the principal components of the vectors of ``read_vectors``. Yields the progress.
    """
    plan = run.plan
    maps = train.maps[plan.model.input_name(phase.stages[0])]
    count = len(train)
    labels = np.full(count, -1)
    labels[train.labelled] = train.labels[train.labelled]
    is_given = labels >= 0
    with threadpool_limits(1):  # the result does not depend on the number of threads
        project = fit_components(maps, plan.model.time_steps)
        parts = []
        for places in np.split(np.arange(count), range(CHUNK, count, CHUNK)):
            parts.append(project(places))
            yield ChunkStep(phase, "neighbours of the training images", places[-1] + 1, count)
        labels, certainty = spread_over(join_nearest(np.concatenate(parts)), labels)
    is_spread = (labels >= 0) & ~is_given
    truth = plan.splits.get_split("train").labels
    is_known = is_spread & (truth >= 0)
    classes = plan.model.num_classes
    record = {
        "given": np.bincount(labels[is_given], minlength=classes).tolist(),
        "spread": np.bincount(labels[is_spread], minlength=classes).tolist(),
        "certainty": round(float(certainty[is_spread].sum()) / max(1, int(is_spread.sum())), 4),
        "known": int(is_known.sum()),
        "wrong": int((labels != truth)[is_known].sum()),
    }
    plan.record.spread = record
    counts = ", ".join(f"{name} {value}" for name, value in record.items())
    run.log.info(f"labels spread to {is_spread.sum():,} of {count:,} training images: {counts}")
    train.labels = torch.from_numpy(labels)
    train.labelled = torch.from_numpy(np.flatnonzero(labels >= 0))


def fit_components(maps: LatencyMap, time_steps: int) -> Callable[[np.ndarray], np.ndarray]:
    """Return a function: places of images, int64 (n,) → their principal components, float32 (n, COMPONENTS or fewer).

    maps: as in ``read_vectors``, whose vectors have these components.
    """
    from sklearn.decomposition import PCA

    chosen = choose_evenly(len(maps), max(COMPONENTS, FITTED // math.prod(maps.shape[1:])))
    fitted = read_vectors(maps, chosen, time_steps)
    pca = PCA(min(COMPONENTS, *fitted.shape), svd_solver="randomized", random_state=0, copy=False).fit(fitted)
    return lambda places: pca.transform(read_vectors(maps, places, time_steps))


def join_nearest(vectors: np.ndarray) -> "csr_matrix":
    """Return the graph W of images, (N, N), by their Euclidean distances. vectors: (N, components)."""
    from sklearn.neighbors import NearestNeighbors

    search = NearestNeighbors(n_neighbors=min(NEIGHBOURS, len(vectors) - 1), algorithm="brute").fit(vectors)
    nearest = search.kneighbors_graph()
    return nearest.maximum(nearest.T)


def spread_over(graph: "csr_matrix", labels: np.ndarray, alpha: float = ALPHA) -> tuple[np.ndarray, np.ndarray]:
    """Spread labels over the edges of a graph.

    graph: W, (N, N), symmetric. labels: the given ones, int64 (N,), -1 of the other images. alpha: α, below 1.

    Returns the class of each image, int64 (N,), -1 of an image that no label reaches, and its certainty (N,): the share
    of this class in its row of F. Given labels stay as they are.
    """
    from sklearn.semi_supervised import LabelSpreading

    method = LabelSpreading(lambda *_: graph, alpha=alpha, max_iter=ITERATIONS)
    method.fit(np.arange(len(labels))[:, None], labels)
    counts = np.bincount(labels[labels >= 0])[method.classes_]
    # F is linear in Y, which is 1 there. Equal numbers change no bit
    shares = method.label_distributions_ / (counts / counts.max())
    certainty = shares.max(1) / shares.sum(1).clip(np.finfo(float).tiny)
    classes = method.classes_[shares.argmax(1)]
    classes[certainty == 0] = -1
    return np.where(labels < 0, classes, labels), certainty


def read_vectors(maps: LatencyMap, places: np.ndarray, time_steps: int) -> np.ndarray:
    """Return which neurons spike, 1 or 0, divided by the length of this vector: float32 (n, neurons).

    maps: latencies uint8 (N, C, H, W), of which ``time_steps`` means silence. places: int64 (n,), of the images.
    """
    spikes = (maps[places] < time_steps).flatten(1).numpy(force=True).astype(np.float32)
    spikes /= np.sqrt(spikes.sum(1, keepdims=True)).clip(1)
    return spikes
