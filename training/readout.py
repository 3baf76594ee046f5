"""The features of a trained network for other classifiers: the latency maps of one stage, saved or read out.

They are computed with the weights of the epoch with the best validation accuracy. If the network has no decision stage,
they are computed with the last weights. A readout, a linear support vector machine (squared hinge loss), is trained by
scikit-learn on whether each neuron of the stage has spiked, one class against the rest.
"""

import warnings
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from threadpoolctl import threadpool_limits

from engine.graph import CHUNK
from errors import InputError
from report.evaluation import evaluate_predictions
from training.data import Split
from training.log import RunLog
from training.plan import Plan
from training.trained import compute_maps
from utils import check_memory, write_npz

if TYPE_CHECKING:
    import scipy.sparse

LOWEST = -1e9  # the score of a class without training images
COPIES = 3  # copies of the inputs in memory, including those of scikit-learn
BYTES = 12  # of a spike in a sparse matrix: a float64 and an int32


def read_features(plan: Plan, folder: Path, log: RunLog) -> dict:
    """Save the features of a stage, and train a readout on those of a stage, as far as the plan contains them.

    The features of each split are saved in ``folder`` as ``features/SPLIT.npz``: latencies uint8 (N, C, H, W), labels
    and indices in the data set int64 (N,), the stage and the number of time steps; if phases with labels learn from
    some training images alone, also which, ``labelled`` bool (N,). An image without a label has the label -1.

    Returns {"readout": a dict for results.json}, or {} without a readout. If the readout does not fit in memory, the
    dict contains the reason as "refused", because the rest of the run is finished.
    """
    model = plan.model
    stages = sorted({stage for stage in (plan.feature_stage, plan.readout_stage) if stage})
    log.info(f"features of {', '.join(stages)}")
    maps = {}
    for split in plan.splits.indices:
        chosen = plan.splits.get_split(split)
        if not len(chosen):
            continue
        features = {stage: compute_maps(model, plan.encoder, chosen.images, stage) for stage in stages}
        if stage := plan.feature_stage:
            save_features(folder, split, chosen, features[stage], stage, model.time_steps)
        if stage := plan.readout_stage:
            latencies = features[stage]
            labelled = chosen.labelled
            if labelled is not None:
                latencies = latencies[labelled]
                chosen = chosen[labelled]
            maps[split] = latencies, chosen.labels
    if model.readout is None:
        return {}
    try:
        inputs = {}
        for split in tuple(maps):
            latencies, labels = maps.pop(split)  # frees those that are converted
            inputs[split] = find_spikes(latencies, model.time_steps), labels
        result = train_readout(model.readout, inputs, model.num_classes, log)
        note = "" if result["converged"] else ", not converged"
        split = "test" if "test" in result else "validation"
        text = f"C {model.readout:g}{note}: {split} accuracy {100 * result[split]['accuracy']:.2f} %"
    except InputError as error:
        result = {"refused": str(error)}
        text = f"none: {error}"
    log.info(f"readout    svm on {plan.readout_stage}, {text}")
    return {"readout": {"name": "svm", "stage": plan.readout_stage, **result}}


def save_features(
    folder: Path, name: str, chosen: Split, latencies: torch.Tensor, stage: str, time_steps: int, **more: np.ndarray
) -> None:
    """Save ``features/NAME.npz`` in a folder: the latencies uint8 (N, C, H, W) of a stage for the images of a split.

    more: other arrays to save.
    """
    target = folder / "features"
    target.mkdir(exist_ok=True)
    arrays = {
        "latencies": latencies.numpy(),
        "labels": chosen.labels,
        "indices": chosen.indices,
        "stage": stage,
        "time_steps": time_steps,
        **more,
    }
    if chosen.labelled is not None:
        arrays["labelled"] = np.isin(np.arange(len(chosen)), chosen.labelled)
    write_npz(target / f"{name}.npz", arrays)


def find_spikes(latencies: torch.Tensor, time_steps: int) -> "scipy.sparse.csr_matrix":
    """Return which neurons spiked: a sparse matrix (scipy's CSR) float64 (N, neurons) of 0 and 1.

    Raises InputError if the matrix and its copies in training do not fit in memory.
    """
    from scipy import sparse

    ones = int(np.count_nonzero((latencies < time_steps).numpy()))
    check_memory(f"a readout of {len(latencies):,} images with {ones:,} spikes", COPIES * BYTES * ones)
    parts = []
    for part in latencies.split(CHUNK):  # scipy converts the indices of all spikes of a matrix at once, as int64
        parts.append(sparse.csr_matrix((part < time_steps).flatten(1).numpy(), dtype=float))
    return sparse.vstack(parts, format="csr")


def train_readout(c: float, splits: dict[str, tuple], num_classes: int, log: RunLog) -> dict:
    """Train a readout on the split "train", and score it on the others.

    Args:
        c: inverse strength of the regularisation.
        splits: {name of a split: its spikes (N, neurons) and labels (N,)}.
        log: shows the progress.

    Returns a dict for results.json: the readout, and the scores of ``evaluate_predictions``. Raises InputError if all
    training images are of one class.
    """
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.svm import LinearSVC

    inputs, labels = splits["train"]
    classes = np.unique(labels).tolist()
    if len(classes) < 2:
        raise InputError("a readout needs training images of two classes or more")
    classifiers = {}
    with warnings.catch_warnings(record=True) as caught, threadpool_limits(torch.get_num_threads()):
        warnings.simplefilter("always")
        for number, label in enumerate(classes, start=1):
            # liblinear's trust-region Newton method is deterministic, and needs 10 to 20 steps
            classifiers[label] = LinearSVC(dual=False, C=c, tol=0.01).fit(inputs, labels == label)
            log.show(f"svm, C {c:g}", number * len(labels), len(classes) * len(labels))
    log.close_bar()
    converged = not any(issubclass(warning.category, ConvergenceWarning) for warning in caught)
    result = {"C": c, "converged": converged, "neurons": inputs.shape[1]}
    for split, (spikes, classes) in splits.items():
        if split != "train":
            scores = np.full((len(classes), num_classes), LOWEST)
            for label, classifier in classifiers.items():
                scores[:, label] = classifier.decision_function(spikes)
            result[split] = evaluate_predictions(classes, scores.argmax(1), scores)
    return result
