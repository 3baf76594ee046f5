"""Linear classifiers on a network's features, to compare with the network's own decision.

The input of an image is one binary vector: whether each neuron of the stage spiked. The classifiers are scikit-learn's,
one class against the rest: ``svm``, a linear support vector machine (squared hinge loss), and ``logistic``, logistic
regression.
"""

import math
import warnings
from typing import TYPE_CHECKING

import numpy as np
import torch

from errors import InputError
from report.metrics import evaluate_predictions
from utils import get_available_memory

if TYPE_CHECKING:
    import scipy.sparse

READOUTS = "svm", "logistic"
LAST = "last"  # instead of a stage's name: the last stage before the decision stage
CS = 0.001, 0.01, 0.1, 1.0  # inverse strengths of the regularisation from which C is chosen
DEFAULT_C = 1.0  # scikit-learn's default, which is used without validation images
MAX_TRIED = 10_000  # the largest number of training images for the choice of C
CHUNK = 1000
COPIES = 3  # copies of the inputs in memory, including those of scikit-learn
BYTES = 12  # of a spike in a sparse matrix: a float64 and an int32


def find_spikes(latencies: torch.Tensor, time_steps: int) -> "scipy.sparse.csr_matrix":
    """Return which neurons spiked: a sparse matrix (scipy's CSR) float64 (N, neurons) of 0 and 1.

    Raises InputError if the matrix and its copies in training do not fit in memory.
    """
    from scipy import sparse

    ones = sum(int((part < time_steps).sum()) for part in latencies.split(CHUNK))
    needed, memory = COPIES * BYTES * ones, get_available_memory() or math.inf
    if needed > memory:
        raise InputError(
            f"a readout of {len(latencies):,} images with {ones:,} spikes takes {needed / 1e6:,.0f} MB of memory, and "
            f"{memory / 1e6:,.0f} MB are free",
            flag="--readout",
        )
    parts = ((part < time_steps).flatten(1).numpy() for part in latencies.split(CHUNK))
    return sparse.vstack([sparse.csr_matrix(part, dtype=float) for part in parts], "csr")


def train_readout(config: dict, train: tuple, validation: tuple, test: tuple, num_classes: int) -> dict:
    """Train a readout and test it.

    Args:
        config: "name" and, optionally, "C". Without "C", C is the value of ``CS`` with the best validation accuracy
            (the lowest of equal ones) after training on at most ``MAX_TRIED`` images, or ``DEFAULT_C`` if there are no
            validation images.
        train, validation, test: the spikes (N, neurons) and labels (N,) of each split.

    Returns a dict for results.json: the readout, the validation accuracy of each C, and the scores of
    ``evaluate_predictions``. Raises InputError if all training images are of one class.
    """
    inputs, labels = train
    if len(np.unique(labels)) < 2:
        raise InputError("a readout needs training images of two classes or more", flag="--readout")
    splits = {"validation": validation, "test": test} if len(validation[1]) else {"test": test}
    tried, c = {}, config.get("C", DEFAULT_C)
    if "C" not in config and "validation" in splits:
        part = slice(None, None, -(-len(labels) // MAX_TRIED))  # contains all classes, even if the images are sorted
        for each in CS:
            classifier, _ = _fit(config["name"], each, inputs[part], labels[part])
            tried[str(each)] = _score(classifier, *validation, num_classes)["accuracy"]
        c = float(max(tried, key=tried.get))
    classifier, converged = _fit(config["name"], c, inputs, labels)
    found = {"C": c, "converged": converged, "neurons": inputs.shape[1]}
    scores = {split: _score(classifier, *part, num_classes) for split, part in splits.items()}
    return {**found, "validation_accuracy_of_C": tried, **scores}


def _fit(name: str, c: float, inputs, labels: np.ndarray):
    """Train a classifier. Returns it, and whether it converged."""
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression
    from sklearn.multiclass import OneVsRestClassifier
    from sklearn.svm import LinearSVC

    # liblinear's trust-region Newton method is deterministic, and needs 10 to 20 steps
    if name == "svm":
        classifier = LinearSVC(C=c, dual=False, tol=0.01)
    else:
        classifier = OneVsRestClassifier(LogisticRegression(C=c, solver="liblinear", tol=0.01))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        classifier.fit(inputs, labels)
    return classifier, not any(issubclass(warning.category, ConvergenceWarning) for warning in caught)


def _score(classifier, inputs, labels: np.ndarray, num_classes: int) -> dict:
    """Evaluate a classifier by ``evaluate_predictions``. A class without training images has the lowest score."""
    values = classifier.decision_function(inputs)
    values = np.stack([-values, values], 1) if values.ndim == 1 else values
    scores = np.full((len(values), num_classes), values.min())
    scores[:, classifier.classes_] = values
    return evaluate_predictions(labels, classifier.predict(inputs), scores, num_classes)
