"""Train a readout (``engine/readout.py``) by scikit-learn, on whether each neuron of a stage has spiked."""

import math
import time
import warnings
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import torch
from threadpoolctl import threadpool_limits

from engine.readout import Readout
from errors import InputError
from report.evaluation import evaluate_predictions
from training.log import RunLog
from utils import check_memory

if TYPE_CHECKING:
    import scipy.sparse

CS = 0.001, 0.01, 0.1, 1.0  # inverse strengths of the regularisation from which C is chosen
DEFAULT_C = 1.0  # scikit-learn's default, which is used without validation images
MAX_TRIED = 10_000  # the largest number of training images for the choice of C
LOWEST = -1e9  # the score of a class without training images
COPIES = 3  # copies of the inputs in memory, including those of scikit-learn
BYTES = 12  # of a spike in a sparse matrix: a float64 and an int32


def find_spikes(latencies: torch.Tensor, time_steps: int) -> "scipy.sparse.csr_matrix":
    """Return which neurons spiked: a sparse matrix (scipy's CSR) float64 (N, neurons) of 0 and 1.

    Raises InputError if the matrix and its copies in training do not fit in memory.
    """
    from scipy import sparse

    spiked = (latencies < time_steps).flatten(1).numpy()
    ones = np.count_nonzero(spiked)
    check_memory(f"a readout of {len(latencies):,} images with {ones:,} spikes", COPIES * BYTES * ones)
    return sparse.csr_matrix(spiked, dtype=float)


def train_readout(
    readout: Readout, splits: dict[str, tuple], num_classes: int, log: RunLog, seconds: float = math.inf
) -> dict:
    """Train a readout on the split "train", and score it on the others.

    Args:
        readout: the readout. If its C is None, C is the value of ``CS`` with the best validation accuracy
            (the lowest of equal ones) after training on at most ``MAX_TRIED`` images, or ``DEFAULT_C`` if there are no
            validation images.
        splits: {name of a split: its spikes (N, neurons) and labels (N,)}.
        log: gets a line for each value of C, and shows the progress.
        seconds: after this time, no further class is learned.

    Returns a dict for results.json: the readout, the validation accuracy of each C, and the scores of
    ``evaluate_predictions``. Raises InputError if all training images are of one class, or after ``seconds``.
    """
    splits = dict(splits)
    inputs, labels = splits.pop("train")
    if len(np.unique(labels)) < 2:
        raise InputError("a readout needs training images of two classes or more")
    fit = partial(_fit, readout.kind, log=log, end=time.monotonic() + seconds)
    tried = {}
    c = DEFAULT_C if readout.C is None else readout.C
    if readout.C is None and "validation" in splits:
        every = -(-len(labels) // MAX_TRIED)  # so that all classes are there, even if the images are sorted
        for value in CS:
            classifiers, _ = fit(value, inputs[::every], labels[::every])
            accuracy = _score(classifiers, *splits["validation"], num_classes)["accuracy"]
            log.info(f"{readout.kind}, C {value:g}: validation accuracy {100 * accuracy:.2f} %")
            tried[str(value)] = accuracy
        c = float(max(tried, key=tried.get))
    classifiers, converged = fit(c, inputs, labels)
    result = {"C": c, "converged": converged, "neurons": inputs.shape[1], "validation_accuracy_of_C": tried}
    for split, (spikes, classes) in splits.items():
        result[split] = _score(classifiers, spikes, classes, num_classes)
    return result


def _fit(name: str, c: float, inputs, labels: np.ndarray, log: RunLog, end: float):
    """Train a classifier of each class against the rest, until the time ``end``.

    Returns {class: classifier}, and whether all of them converged.
    """
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression
    from sklearn.svm import LinearSVC

    # liblinear's trust-region Newton method is deterministic, and needs 10 to 20 steps
    create = partial(LogisticRegression, solver="liblinear")
    if name == "svm":
        create = partial(LinearSVC, dual=False)
    classes = np.unique(labels).tolist()
    classifiers = {}
    with warnings.catch_warnings(record=True) as caught, threadpool_limits(torch.get_num_threads()):
        warnings.simplefilter("always")
        for number, label in enumerate(classes, start=1):
            if time.monotonic() > end:
                raise InputError("it was not ready in time")
            classifiers[label] = create(C=c, tol=0.01).fit(inputs, labels == label)
            log.show(f"{name}, C {c:g}", number * len(labels), len(classes) * len(labels))
    log.close_bar()
    return classifiers, not any(issubclass(warning.category, ConvergenceWarning) for warning in caught)


def _score(classifiers: dict, inputs, labels: np.ndarray, num_classes: int) -> dict:
    """Score the classifiers of ``_fit`` by ``evaluate_predictions``."""
    scores = np.full((len(labels), num_classes), LOWEST)
    for label, classifier in classifiers.items():
        scores[:, label] = classifier.decision_function(inputs)
    return evaluate_predictions(labels, scores.argmax(1), scores, num_classes)
