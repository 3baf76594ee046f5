"""Linear classifiers on a network's features: how much these hold, beside how much the network's own rule reads.

An image is one binary vector: whether each neuron of the stage spiked. The classifiers are scikit-learn's: ``svm``, a
linear support vector machine (squared hinge loss), and ``logistic``, logistic regression; each one class against the
rest.
"""

import warnings

import numpy as np

from errors import InputError
from report.metrics import evaluate_predictions
from utils import get_available_memory

READOUTS = "svm", "logistic"
LAST = "last"  # in place of a stage's name: the last before the decision
CS = 0.001, 0.01, 0.1, 1.0  # inverse strengths of the regularisation that are tried
NOT_CHOSEN = 1.0  # where nothing is held out to choose on: scikit-learn's default
TRIED_ON = 10_000  # training images, at most, on which C is chosen
CHUNK = 1000
COPIES = 3  # scikit-learn's of the inputs, and ours


def spikes(latencies, time_steps):
    """Whether each neuron spiked, as a sparse matrix float64 (N, neurons).

    Errors: InputError with the figure if it would not fit in memory, with the copies that training makes.
    """
    from scipy import sparse

    neurons = latencies[0].numel()
    memory, parts, ones = get_available_memory(), [], 0
    for start in range(0, len(latencies), CHUNK):
        parts.append(sparse.csr_matrix((latencies[start : start + CHUNK] < time_steps).flatten(1).numpy(), dtype=float))
        ones += parts[-1].nnz
        seen = min(start + CHUNK, len(latencies))
        needed = COPIES * 12 * ones * len(latencies) / seen  # bytes: a float64 and an int32 for each spike
        if memory is not None and needed > memory:
            raise InputError(
                f"a readout of {len(latencies):,} images with {ones / seen:,.0f} spikes among {neurons:,} neurons "
                f"takes {needed / 1e6:,.0f} MB of memory, and {memory / 1e6:,.0f} MB are free"
            )
    return sparse.vstack(parts, "csr")


def read_out(config, train, validation, test, num_classes):
    """Train a readout and test it.

    Args:
        config: its "name" and, if it is not to be chosen, its "C".
        train, validation, test: (spikes (N, neurons), labels (N,)); validation may have no images. C is that of ``CS``
            with the best validation accuracy after training on ``TRIED_ON`` images at most, the lowest of equal ones.

    Returns a dict for results.json: the readout, all C tried, and the scores of ``evaluate_predictions``.
    Errors: InputError if the training images are all of one class.
    """
    labels = np.asarray(train[1])
    if len(np.unique(labels)) < 2:
        raise InputError("a readout needs training images of two classes or more")
    tried, c = {}, config.get("C")
    if c is None and len(validation[1]):
        part = slice(None, None, -(-len(labels) // TRIED_ON))  # of all classes, also where these follow each other
        for each in CS:
            classifier, _ = _fitted(config["name"], each, train[0][part], labels[part])
            tried[str(each)] = _scores(classifier, *validation, num_classes)["accuracy"]
        c = float(max(tried, key=tried.get))
    c = NOT_CHOSEN if c is None else c
    classifier, converged = _fitted(config["name"], c, train[0], labels)
    parts = {"validation": validation, "test": test} if len(validation[1]) else {"test": test}
    scores = {split: _scores(classifier, *part, num_classes) for split, part in parts.items()}
    about = {"name": config["name"], "C": c, "converged": converged, "neurons": train[0].shape[1]}
    return {**about, "validation_accuracy_of_C": tried, **scores}


def _fitted(name, c, inputs, labels):
    """The trained classifier, and whether it converged."""
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression
    from sklearn.multiclass import OneVsRestClassifier
    from sklearn.svm import LinearSVC

    # liblinear's trust-region Newton method, to its own tolerance: no random order, and a dozen steps or two
    if name == "svm":
        classifier = LinearSVC(C=c, dual=False, tol=0.01)
    else:
        classifier = OneVsRestClassifier(LogisticRegression(C=c, solver="liblinear", tol=0.01))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        classifier.fit(inputs, labels)
    return classifier, not any(issubclass(warning.category, ConvergenceWarning) for warning in caught)


def _scores(classifier, inputs, labels, num_classes):
    """``evaluate_predictions`` of the classifier; a class that it was not shown has the lowest score of all."""
    values = classifier.decision_function(inputs)
    values = np.stack([-values, values], 1) if values.ndim == 1 else values
    scores = np.full((len(values), num_classes), values.min())
    scores[:, classifier.classes_] = values
    return evaluate_predictions(labels, classifier.predict(inputs), scores, num_classes)
