"""The reference of a run on data of one's own: logistic regression on the pixels of the same images."""

import hashlib
import math
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from engine.rules import RSTDP
from report.diagnosis import is_near_chance
from report.run_folder import read_record
from training.plan import Plan
from utils import write_json

PIXELS = {"C": 0.1, "max_iter": 300}  # the logistic regression on the pixels
MAX_IMAGES = 5000  # of a split for this regression
MAX_VALUES = 4_000_000  # of the pixels of these images
GREY_MODEL = "multiscale2026"  # is better than the other networks on grey images of other data


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
