"""Labels that spread over a graph: by the formula, however many labels each class has."""

import numpy as np
from scipy.sparse import csr_array

from training.spread import spread_over


def test_each_class_weighs_the_same_however_many_labels_it_has():
    """Two rings of 20 images with one edge between them, and one image alone. A ring has 1 label, the other 8."""
    edges = np.zeros((41, 41))
    for first in 0, 20:
        ring = first + np.arange(20)
        for step in 1, 2:
            edges[ring, np.roll(ring, step)] = edges[np.roll(ring, step), ring] = 1
    edges[0, 20] = edges[20, 0] = 1
    labels = np.full(41, -1)
    labels[5] = 3
    labels[[21, 23, 25, 27, 29, 31, 33, 35]] = 1
    classes, certainty = spread_over(csr_array(edges), labels)
    assert classes.tolist() == [3] * 20 + [1] * 20 + [-1]
    degrees = edges.sum(1).clip(1)
    given = np.stack([(labels == 1) / 8, labels == 3], 1)
    solved = np.linalg.solve(np.eye(41) - 0.99 * edges / np.sqrt(np.outer(degrees, degrees)), given)
    shares = solved[:40] / solved[:40].sum(1, keepdims=True)
    np.testing.assert_allclose(certainty[:40], shares.max(1), atol=5e-3)  # the iteration ends before the limit
    assert certainty[40] == 0
