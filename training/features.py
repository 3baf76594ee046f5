"""The features of a trained network for other classifiers: the latency maps of one stage, saved or read out.

They are computed with the weights of the epoch with the best validation accuracy. If the network has no decision stage,
they are computed with the last weights.

A readout is a linear classifier of scikit-learn, one class against the rest: ``svm``, a linear support vector machine
(squared hinge loss), or ``logistic``, logistic regression. Its input is whether each neuron of the stage spiked. It is
compared with the network's own decision.
"""

import warnings
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from datasets.data_set import Images
from encoders import encode_chunks
from engine.graph import CHUNK
from errors import InputError
from network_trainer import NetworkTrainer
from report.evaluation import evaluate_predictions
from s1c1 import Encoder
from utils import check_memory, write_atomically

if TYPE_CHECKING:
    import scipy.sparse

CS = 0.001, 0.01, 0.1, 1.0  # inverse strengths of the regularisation from which C is chosen
DEFAULT_C = 1.0  # scikit-learn's default, which is used without validation images
MAX_TRIED = 10_000  # the largest number of training images for the choice of C
COPIES = 3  # copies of the inputs in memory, including those of scikit-learn
BYTES = 12  # of a spike in a sparse matrix: a float64 and an int32


def read_features(
    model: NetworkTrainer,
    encoder: Encoder,
    splits: Mapping[str, tuple[Images, np.ndarray, np.ndarray]],
    stage: str,
    readout: dict | None,
    folder: Path | None,
) -> dict:
    """Save the features of a stage in ``folder`` unless it is None, and train a readout.

    Args:
        splits: {name: images and labels of a data set, and the indices of the split in them}.
        readout: "name" and, unless C is chosen by validation, "C"; None: no readout.

    The features of each split are saved in ``SPLIT.npz``: latencies uint8 (N, C, H, W), labels and indices in
    the data set int64 (N,), the stage and the number of time steps.

    Returns {"readout": a dict for results.json}, or {} without a readout. If the readout does not fit in memory, the
    dict contains the reason as "refused", because the rest of the run is finished.
    """
    inputs = {}
    result = {}
    for split, (images, labels, indices) in splits.items():
        if not len(indices):
            continue
        latencies = compute_maps(model, encoder, images[indices], stage)
        if folder is not None:
            folder.mkdir(exist_ok=True)
            arrays = {"latencies": latencies.numpy(), "labels": labels[indices], "indices": indices, "stage": stage}
            save = partial(np.savez_compressed, **arrays, time_steps=model.time_steps)
            write_atomically(folder / f"{split}.npz", save)
        if readout is not None and not result:
            try:
                inputs[split] = find_spikes(latencies, model.time_steps), labels[indices]
            except InputError as error:
                result = {"refused": str(error)}
    if readout is None:
        return {}
    try:
        result = result or train_readout(readout, inputs, model.num_classes)
    except InputError as error:
        result = {"refused": str(error)}
    return {"readout": {"name": readout["name"], "stage": stage, **result}}


def describe_readout(readout: dict) -> str:
    """Return one line about the readout of ``read_features``."""
    title = f"{readout['name']} on {readout['stage']}"
    if "refused" in readout:
        return f"{title}: none; {readout['refused']}"
    note = "" if readout["converged"] else ", not converged"
    split = "test" if "test" in readout else "validation"
    return f"{title}, C {readout['C']:g}{note}: {split} accuracy {100 * readout[split]['accuracy']:.2f} %"


def compute_maps(model: NetworkTrainer, encoder: Encoder, images: Images, stage: str) -> torch.Tensor:
    """Compute the latency maps uint8 (N, C, H, W) of a stage."""
    out = None
    for part, latencies in encode_chunks(encoder, images):
        maps = model.map_of(latencies.to(model.device), stage).cpu()
        if out is None:  # filled in place, because to join the parts at the end takes twice the memory
            out = maps.new_empty((len(images), *maps.shape[1:]))
        out[part] = maps
    return out


# ---------------------------------------------------------------------------------------------------------------------
# The readout


def find_spikes(latencies: torch.Tensor, time_steps: int) -> "scipy.sparse.csr_matrix":
    """Return which neurons spiked: a sparse matrix (scipy's CSR) float64 (N, neurons) of 0 and 1.

    Raises InputError if the matrix and its copies in training do not fit in memory.
    """
    from scipy import sparse

    ones = sum(int((part < time_steps).sum()) for part in latencies.split(CHUNK))
    check_memory(f"a readout of {len(latencies):,} images with {ones:,} spikes", COPIES * BYTES * ones)
    parts = ((part < time_steps).flatten(1).numpy() for part in latencies.split(CHUNK))
    return sparse.vstack([sparse.csr_matrix(part, dtype=float) for part in parts], "csr")


def train_readout(config: dict, splits: dict[str, tuple], num_classes: int) -> dict:
    """Train a readout on the split "train", and score it on the others.

    Args:
        config: "name" and, optionally, "C". Without "C", C is the value of ``CS`` with the best validation accuracy
            (the lowest of equal ones) after training on at most ``MAX_TRIED`` images, or ``DEFAULT_C`` if there are no
            validation images.
        splits: {name of a split: its spikes (N, neurons) and labels (N,)}.

    Returns a dict for results.json: the readout, the validation accuracy of each C, and the scores of
    ``evaluate_predictions``. Raises InputError if all training images are of one class.
    """
    splits = dict(splits)
    inputs, labels = splits.pop("train")
    if len(np.unique(labels)) < 2:
        raise InputError("a readout needs training images of two classes or more")
    tried = {}
    c = config.get("C", DEFAULT_C)
    if "C" not in config and "validation" in splits:
        every = -(-len(labels) // MAX_TRIED)  # so that all classes are there, even if the images are sorted
        for value in CS:
            classifier, _ = _fit(config["name"], value, inputs[::every], labels[::every])
            tried[str(value)] = _score(classifier, *splits["validation"], num_classes)["accuracy"]
        c = float(max(tried, key=tried.get))
    classifier, converged = _fit(config["name"], c, inputs, labels)
    result = {"C": c, "converged": converged, "neurons": inputs.shape[1], "validation_accuracy_of_C": tried}
    for split, (spikes, classes) in splits.items():
        result[split] = _score(classifier, spikes, classes, num_classes)
    return result


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
