"""Label spreading (``--spread``): the labels of few images reach the others, over what was learned without labels.

Images in which the same neurons spike probably have one class. Each image is joined with its nearest ones, and passes
its label on to them (Zhou et al. 2004, "Learning with local and global consistency"):

    F = (1 - α) (I - α S)^-1 Y,    S = D^(-1/2) W D^(-1/2)

W is 1 between two images if one is among the ``NEIGHBOURS`` nearest ones of the other, D contains the sums of its rows,
and Y is 1 for each labelled image and its class. The class of an image is that of the largest number in its row of F.
"""

import math
from collections.abc import Iterator

import numpy as np
import torch
from threadpoolctl import threadpool_limits

from engine.graph import CHUNK, LatencyMap
from engine.phases import Phase
from engine.progress import ChunkStep
from imagesets.splits import choose_evenly
from network_trainer import LatencyDataset
from training.run import Run

COMPONENTS = 100
FITTED = 200_000_000  # values of the vectors that determine them: of at most 5,238 images for ``multiscale2026``
NEIGHBOURS = 10
ALPHA = 0.99  # the part of its shares that an image takes from its neighbours
ITERATIONS = 3000  # at most: what is left to change falls by ALPHA in each


def spread(run: Run, phase: Phase, train: LatencyDataset) -> Iterator[ChunkStep]:
    """Give the training images of a run the labels that reach them: the argument ``teach`` of ``steps``.

    The images are compared by the principal components of the vectors of ``read_vectors``. Yields the progress.
    """
    from sklearn.decomposition import PCA
    from sklearn.neighbors import NearestNeighbors
    from sklearn.semi_supervised import LabelSpreading

    plan = run.plan
    time_steps = plan.model.time_steps
    maps = train.maps[plan.model.input_name(phase.stages[0])]
    count = len(train)
    labels = np.full(count, -1)
    labels[train.labelled] = train.labels[train.labelled]
    is_given = labels >= 0
    with threadpool_limits(1):  # the result does not depend on the number of threads
        chosen = choose_evenly(count, max(COMPONENTS, FITTED // math.prod(maps.shape[1:])))
        fitted = read_vectors(maps, chosen, time_steps)
        pca = PCA(min(COMPONENTS, *fitted.shape), svd_solver="randomized", random_state=0, copy=False).fit(fitted)
        parts = []
        for places in np.split(np.arange(count), range(CHUNK, count, CHUNK)):
            parts.append(pca.transform(read_vectors(maps, places, time_steps)))
            yield ChunkStep(phase, "neighbours of the training images", places[-1] + 1, count)
        search = NearestNeighbors(n_neighbors=min(NEIGHBOURS, count - 1), algorithm="brute").fit(np.concatenate(parts))
        nearest = search.kneighbors_graph()
        edges = nearest.maximum(nearest.T)
        method = LabelSpreading(lambda *_: edges, alpha=ALPHA, max_iter=ITERATIONS)
        certainty = method.fit(np.arange(count)[:, None], labels).label_distributions_.max(1)
    labels = np.where((certainty > 0) & ~is_given, method.transduction_, labels)
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


def read_vectors(maps: LatencyMap, places: np.ndarray, time_steps: int) -> np.ndarray:
    """Return which neurons spike, 1 or 0, divided by the length of this vector: float32 (n, neurons).

    maps: latencies uint8 (N, C, H, W), of which ``time_steps`` means silence. places: int64 (n,), of the images.
    """
    spikes = (maps[places] < time_steps).flatten(1).numpy(force=True).astype(np.float32)
    spikes /= np.sqrt(spikes.sum(1, keepdims=True)).clip(1)
    return spikes
