"""The features of a trained network for other classifiers: the latency maps of one stage, saved or read out.

They are computed with the weights of the epoch with the best validation accuracy. If the network has no decision stage,
they are computed with the last weights.

A readout (``engine/readout.py``) is computed by scikit-learn. Its input is whether each neuron of the stage spiked. It
is compared with the network's own decision. Logistic regression on the pixels is a reference for all networks.
"""

import hashlib
import math
import time
import warnings
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn

from datasets.data_set import Images
from encoders import encode_chunks
from engine.readout import Readout
from engine.rules import RSTDP
from engine.stages import INPUT
from errors import InputError
from network_trainer import NetworkTrainer
from report.diagnosis import is_near_chance
from report.evaluation import evaluate_predictions
from report.run_folder import read_record
from s1c1 import Encoder
from training.log import RunLog
from training.plan import Plan
from utils import check_memory, write_atomically, write_json

if TYPE_CHECKING:
    import scipy.sparse

CS = 0.001, 0.01, 0.1, 1.0  # inverse strengths of the regularisation from which C is chosen
DEFAULT_C = 1.0  # scikit-learn's default, which is used without validation images
MAX_TRIED = 10_000  # the largest number of training images for the choice of C
PIXELS = {"C": 0.1, "max_iter": 300}  # the logistic regression on the pixels
MAX_IMAGES = 5000  # of a split for this regression
MAX_VALUES = 4_000_000  # of the pixels of these images
GREY_MODEL = "multiscale2026"  # is better than the other networks on grey images of other data
LOWEST = -1e9  # the score of a class without training images
COPIES = 3  # copies of the inputs in memory, including those of scikit-learn
BYTES = 12  # of a spike in a sparse matrix: a float64 and an int32


def read_features(plan: Plan, folder: Path, log: RunLog) -> dict:
    """Save the features of a stage, and train a readout, as far as ``plan.features`` contains them.

    The features of each split are saved in ``folder`` as ``features/SPLIT.npz``: latencies uint8 (N, C, H, W), labels
    and indices in the data set int64 (N,), the stage and the number of time steps.

    Returns {"readout": a dict for results.json}, or {} without a readout. If the readout does not fit in memory or
    takes too long, the dict contains the reason as "refused", because the rest of the run is finished.
    """
    model = plan.model
    stage = plan.features.stage
    readout = plan.features.readout
    log.info(f"features of {stage}")
    maps = {}
    for split in plan.data.splits:
        images, labels, indices = plan.data.get_split(split)
        if not len(indices):
            continue
        latencies = compute_maps(model, plan.encoder, images[indices], stage)
        if plan.features.is_saved:
            target = folder / "features"
            target.mkdir(exist_ok=True)
            arrays = {"latencies": latencies.numpy(), "labels": labels[indices], "indices": indices, "stage": stage}
            save = partial(np.savez_compressed, **arrays, time_steps=model.time_steps)
            write_atomically(target / f"{split}.npz", save)
        if readout is not None:
            maps[split] = latencies, labels[indices]
    if readout is None:
        return {}
    try:
        inputs = {split: (find_spikes(part, model.time_steps), labels) for split, (part, labels) in maps.items()}
        result = train_readout(readout, inputs, model.num_classes, log, plan.settings.readout_seconds)
        note = "" if result["converged"] else ", not converged"
        split = "test" if "test" in result else "validation"
        text = f"C {result['C']:g}{note}: {split} accuracy {100 * result[split]['accuracy']:.2f} %"
    except InputError as error:
        result = {"refused": str(error)}
        text = f"none: {error}"
    log.info(f"readout    {readout.kind} on {stage}, {text}")
    return {"readout": {"name": readout.kind, "stage": stage, **result}}


def compute_maps(model: NetworkTrainer, encoder: Encoder, images: Images, stage: str) -> torch.Tensor:
    """Compute the latency maps uint8 (N, C, H, W) of a stage."""
    out = None
    for part, latencies in encode_chunks(encoder, images):
        maps = model.map_of(latencies.to(model.device), stage).cpu()
        if out is None:  # filled in place, because to join the parts at the end takes twice the memory
            out = maps.new_empty((len(images), *maps.shape[1:]))
        out[part] = maps
    return out


class FrozenStages(nn.Module):
    """The encoder of a trained network and its stages up to one of them, for networks that learn by gradients above it.

    Nothing in it learns. ``.to`` and ``.half`` do not move or convert it, because its kernels need its device and its
    type, and ``train`` and ``eval`` change nothing. Its state dict contains these stages and the encoder's tensors.

    Args:
        model: the network.
        stage: the name of the last stage.
        encoder: the network's encoder; None: the inputs are latency maps.
    """

    def __init__(self, model: NetworkTrainer, stage: str, encoder: Encoder | None):
        super().__init__()
        self._source = (model, encoder)  # a tuple hides the network, of which the state dict contains only a part
        self.stage = stage
        needed = model.between([INPUT], [stage])
        self.stages = nn.ModuleDict({name: model.stages[name] for name in needed if name in model.stages})
        self.encoder = nn.Module()
        for name, tensor in getattr(encoder, "state", {}).items():
            self.encoder.register_buffer(name, tensor)

    def extra_repr(self) -> str:
        return f"{self.stage} of {self._source[0].name}"

    def _apply(self, fn, recurse=True):
        """Change nothing: ``nn.Module`` moves and converts its modules by this method."""
        return self

    @torch.no_grad()
    def forward(self, inputs: Any) -> torch.Tensor:
        """Compute the features of the stage: float32 (N, F, H, W) on the device of the inputs.

        The value of a neuron is T - t if it spikes at the time step t, and 0 if it is silent.

        inputs: images as the encoder takes them, uint8 (N, H, W) or (N, H, W, 3), or latency maps, uint8 (N, C, H, W).
        """
        model, encoder = self._source
        self.requires_grad_(False)  # also after ``requires_grad_`` of the whole: the kernels read plain tensors
        if encoder is None:
            latencies = model.map_of(inputs, self.stage)
        else:
            latencies = compute_maps(model, encoder, inputs, self.stage)
        device = getattr(inputs, "device", "cpu")
        return model.time_steps - latencies.to(device).float()


# ---------------------------------------------------------------------------------------------------------------------
# The readout


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
    with warnings.catch_warnings(record=True) as caught:
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


def compare_with_pixels(plan: Plan, best: dict | None) -> Iterator[str]:
    """Yield the accuracy of a linear classifier on the pixels, as a reference, and whether the network reaches less.

    best: ``Progress.best``.
    """
    model = plan.model
    data = plan.data.set
    reference = measure_pixels(plan)
    if not reference:
        return
    accuracy = reference["accuracy"]
    text = f"for reference, a linear classifier on the pixels of {reference['images']:,} training images: "
    text += f"{reference['split']} accuracy {100 * accuracy:.2f} %"
    is_less = best is not None and best["accuracy"] < accuracy
    if best:
        text += f"; the network reaches {'less' if is_less else 'no less'}"
    if is_less and not is_near_chance(best["accuracy"], data.num_classes):
        if model.phases[-1].main_rule.name == RSTDP.name:
            text += f": try --set {model.decision}.rule=margin"
        elif data.colours == 1 and model.name != GREY_MODEL:
            text += f": try --model {GREY_MODEL}"
    yield text


def measure_pixels(plan: Plan) -> dict[str, Any]:
    """Train a linear classifier on the pixels of evenly spaced images of each split.

    The runs of a sweep with the same splits measure it once. Returns its accuracy, the split and the number of training
    images; {} if they are of one class.
    """
    data = plan.data
    digest = hashlib.sha256(data.set.fingerprint.encode())
    for chosen in data.splits.values():
        digest.update(chosen)
    shared = plan.settings.shared_phases
    path = Path(shared or ".") / f"pixels-{digest.hexdigest()}.json"
    if shared and path.exists():
        return read_record(path)
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression

    split = "validation" if len(data.splits["validation"]) else plan.settings.scored_split
    parts = []
    for name in ("train", split):
        images, labels, indices = data.get_split(name)
        count = min(MAX_IMAGES, max(1, MAX_VALUES // math.prod(images.shape[1:])))
        chosen = indices[:: math.ceil(len(indices) / count)]
        pixels = np.asarray(images[chosen]).reshape(len(chosen), -1)
        parts.append((np.float32(pixels / 255), labels[chosen]))
    train, scored = parts
    if len(np.unique(train[1])) < 2:
        return {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        classifier = LogisticRegression(**PIXELS).fit(*train)
    reference = {"accuracy": classifier.score(*scored), "split": split, "images": len(train[1])}
    if shared:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_json(path, reference)
    return reference
