"""Labels that spread over a graph: by the formula, however many labels each class has, and whether they come back."""

from unittest import mock

import numpy as np
import pytest
import torch
from scipy.sparse import csr_array
from sklearn.neighbors import NearestNeighbors
from support.command import FEW_DIGITS, MACHINE, NO_REFERENCES, read_csv, results, run_train
from support.run_folders import read_log
from threadpoolctl import threadpool_limits

from engine.phases import make_phase
from models.mozafari2018_margin import Mozafari2018Margin
from report.diagnosis import diagnose_spread
from training import spread as spreading
from training.neighbours import compare_images, divide_labels, join_nearest, leave_out, solve, spread_over


def ignore(*progress):
    pass


@pytest.fixture
def rings():
    """Two rings of 20 images with one edge between them, and one image alone: W, and 1 label and 8 of the rings."""
    edges = np.zeros((41, 41))
    for first in 0, 20:
        ring = first + np.arange(20)
        for step in 1, 2:
            edges[ring, np.roll(ring, step)] = edges[np.roll(ring, step), ring] = 1
    edges[0, 20] = edges[20, 0] = 1
    labels = np.full(41, -1)
    labels[5] = 3
    labels[[21, 23, 25, 27, 29, 31, 33, 35]] = 1
    return edges, labels


def test_each_class_weighs_the_same_however_many_labels_it_has(rings):
    edges, labels = rings
    classes, certainty = spread_over(csr_array(edges), labels)
    assert classes.tolist() == [3] * 20 + [1] * 20 + [-1]
    degrees = edges.sum(1).clip(1)
    given = np.stack([(labels == 1) / 8, labels == 3], 1)
    solved = np.linalg.solve(np.eye(41) - 0.99 * edges / np.sqrt(np.outer(degrees, degrees)), given)
    shares = solved[:40] / solved[:40].sum(1, keepdims=True)
    np.testing.assert_allclose(certainty[:40], shares.max(1), atol=5e-3)  # the iteration ends before the limit
    assert certainty[40] == 0
    assert np.array_equal(solve(csr_array(edges), labels, np.arange(41)), classes)


def test_labels_that_are_left_out_come_back_or_not(rings):
    """One label of the second ring, 39, is wrong: it does not come back. One is alone: it does not count."""
    edges, labels = rings
    labels[[7, 39, 40]] = 3, 3, 5
    vectors = np.arange(41.0)[:, None]  # near 39 is 35, near 5 is 7
    counted = leave_out(csr_array(edges), vectors, labels, ignore)
    assert counted == {"left_out": 11, "came_back": 10, "nearest": 10}


def test_each_class_is_in_as_many_parts_as_it_can_be():
    labels = np.repeat([-1, 0, 1, 2, 3], [7, 25, 10, 2, 1])
    parts = [*divide_labels(labels)]
    assert sorted(np.concatenate(parts)) == [*range(7, 44)]
    counts = np.array([np.bincount(labels[part], minlength=3) for part in parts])
    assert counts.max(0).tolist() == [3, 1, 1]
    assert [len(part) for part in divide_labels(np.array([-1, 0, 0, 1, 1, 2]))] == [1] * 4


def test_images_are_joined_as_by_one_search_but_without_those_that_have_no_spike():
    vectors = np.random.default_rng(0).normal(size=(4500, 3)).astype(np.float32)
    vectors[5:4400:160] = vectors[5]  # more equal images than neighbours
    with threadpool_limits(1):
        near = NearestNeighbors(n_neighbors=10, algorithm="brute").fit(vectors).kneighbors_graph()
        assert not (join_nearest(vectors, ignore) != near.maximum(near.T)).nnz
        graph = join_nearest(np.insert(vectors, 1000, np.nan, axis=0), ignore)
    kept = np.delete(np.arange(4501), 1000)
    assert not (graph[kept][:, kept] != near.maximum(near.T)).nnz
    assert graph[1000].nnz == 0


def test_silent_and_equal_images_have_components_without_a_warning():
    maps = torch.full((4, 2, 3, 3), 15, dtype=torch.uint8)
    assert np.isnan(compare_images(maps, 15, ignore)).all()
    maps[1:, 0] = 3
    vectors = compare_images(maps, 15, ignore)
    assert np.isnan(vectors[0]).all()
    assert np.ptp(vectors[1:], 0).max() < 1e-6
    assert join_nearest(vectors, ignore).nnz == 6


@pytest.mark.parametrize(
    ("counts", "spread", "words"),
    [
        ((80, 24, 16), [5] * 10, ["only 24 come back, so"]),
        ((80, 50, 78), [5] * 10, ["the 78 of the nearest"]),
        ((80, 75, 78), [5] * 10, []),  # within two standard errors
        ((19, 0, 19), [5] * 10, []),  # too few to say so
        ((80, 75, 70), [0, 1322, 10], ["1,322 of 1,332 spread labels are of the class '1'"]),
        ((80, 75, 70), [0], []),
    ],
)
def test_a_finding_says_that_spread_labels_are_probably_wrong(counts, spread, words):
    record = dict(zip(("left_out", "came_back", "nearest"), counts, strict=True), spread=spread)
    texts = [finding.text for finding in diagnose_spread(record, "0123456789"[: len(spread)])]
    assert len(texts) == len(words)
    assert all(word in text for word, text in zip(words, texts, strict=True))


WORDS = f"--dataset {FEW_DIGITS} {MACHINE} {NO_REFERENCES} --labels 50 --val-split 0 --spread --name run"


def test_two_phases_learn_from_labels_that_spread_once(tmp_path, undrawn):
    class Twice(Mozafari2018Margin, name="twice"):
        epochs = (1, 1, 1, 1)

        def build_phases(self):
            phases = super().build_phases()
            return [*phases, make_phase(phases[-1].stages, phases[-1].rules)]

    with mock.patch.object(spreading, "leave_out", wraps=leave_out) as counted:
        run = run_train(f"--model twice {WORDS}", tmp_path)
    counted.assert_called_once()
    assert results(run)["spread"]["given"] == [5] * 10
    assert [row["images"] for row in read_csv(run / "metrics.csv")] == ["150", "150", "150", "150"]
    assert "given labels come back" in read_log(run)
    assert "train, spread labels" in read_log(run)
    assert "given labels came back" in (run / "methods.md").read_text()


def test_a_signal_while_labels_are_left_out_stops_the_run(tmp_path, undrawn):
    def stop(graph, vectors, labels, show):
        show.__self__.stop.asked = True
        return leave_out(graph, vectors, labels, show)

    with mock.patch.object(spreading, "leave_out", stop):
        run = run_train(f"--model mozafari2018_margin --epochs 1 1 1 {WORDS}", tmp_path, 130)
    run_train(f"--resume {run} --no-figures", tmp_path)
    assert results(run)["spread"]["left_out"] == 50
