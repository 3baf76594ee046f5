"""Which images to label first (``evaluate.py RUN --ask N``): one of each of N groups of images that are alike.

Labels of few images spread (``training/neighbours.py``) best from the middle of groups. So the components of each image
are spread first, as labels are, which moves the images of a group together; k-means divides them into N groups; and of
each group, the image nearest to the mean is chosen.
"""

from typing import TYPE_CHECKING

import numpy as np
from threadpoolctl import threadpool_limits

from encoders import encode_chunks
from engine.packed import PackedSpikes
from errors import InputError
from training.neighbours import Show, build_system, check_neighbours, compare_images, join_nearest
from training.trained import TrainedNetwork

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix


def choose_to_label(
    network: TrainedNetwork, images: np.ndarray, count: int, show: Show
) -> tuple[np.ndarray, np.ndarray]:
    """Choose the images to label first, by what a network has learned, those of large groups first.

    images: uint8 (N, H, W) or (N, H, W, 3). count: how many are chosen; if fewer images differ, all of these.

    Returns their places and the sizes of their groups, int64 (count,). Raises InputError if fewer images have a spike,
    or if they do not fit in memory.
    """
    model = network.model
    below = model.input_name(model.find_decision())
    shape = model.shapes(*model.image_size)[below]
    check_neighbours("--ask", len(images), int(np.prod(shape)))
    maps = PackedSpikes(len(images), shape, model.time_steps)
    for part, latencies in encode_chunks(network.encoder, images):
        maps[part] = model.map_of(latencies.to(model.device), below)[:].cpu()
        show("spikes of the images", part.stop, len(images))
    with threadpool_limits(1):  # the result does not depend on the number of threads
        vectors = compare_images(maps, model.time_steps, show)
        spiking = np.flatnonzero(~np.isnan(vectors[:, 0]))
        if not count < len(spiking):
            reason = f"{len(spiking):,} of {len(images):,} images have a spike below {model.decision}"
            raise InputError(f"--ask {count} must be below the number of images: {reason}")
        vectors = vectors[spiking]
        different = len(np.unique(vectors.round(4), axis=0))
        moved = move_together(vectors, join_nearest(vectors, show))
        chosen, sizes = choose_middles(moved, min(count, different))
    return spiking[chosen], sizes


def move_together(vectors: np.ndarray, graph: "csr_matrix") -> np.ndarray:
    """Return the vectors (N, components), spread over the graph as labels are, of length 1."""
    from scipy.sparse.linalg import cg

    system = build_system(graph)
    moved = np.stack([cg(system, column, rtol=1e-3)[0] for column in vectors.T], 1).astype(np.float32)
    return moved / np.linalg.norm(moved, axis=1, keepdims=True).clip(1e-30)


def choose_middles(moved: np.ndarray, count: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Return the image nearest to the mean of each of ``count`` groups of k-means, and the sizes of the groups."""
    from sklearn.cluster import KMeans

    groups = KMeans(count, random_state=seed).fit(moved)
    sizes = np.bincount(groups.labels_, minlength=count)
    distances = groups.transform(moved)
    distances[groups.labels_[:, None] != np.arange(count)] = np.inf
    order = np.argsort(-sizes, kind="stable")
    order = order[sizes[order] > 0]
    return distances.argmin(0)[order], sizes[order]
