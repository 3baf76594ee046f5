"""The references of a run on other data than MNIST, on a sample of the same images.

They are the largest class, two classifiers on the pixels, and a network without features.
"""

import math
import warnings
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch
from threadpoolctl import threadpool_limits

from encoders import encode_chunks
from engine.rules import RSTDP
from engine.stages import INPUT
from errors import InputError
from models import build_model
from models.control2026 import LEVELS
from network_trainer import LatencyDataset, NetworkTrainer
from report.diagnosis import Finding, is_near_chance
from report.evaluation import Accuracy, Evaluation
from training.data import Split
from training.plan import Plan

PIXELS = {"C": 0.1, "max_iter": 300}  # the logistic regression on the pixels
MAX_IMAGES = 5000  # of a split for these classifiers
MAX_VALUES = 4_000_000  # of the pixels of these images
CONTROL = "control2026"
CONTROL_EPOCHS = 10
CONTROL_DECAY = 0.7  # of its rate in each epoch; the defaults are for five times as many epochs
GREY_MODEL = "multiscale2026"  # is better than the other networks on grey images of other data


def compare_with_pixels(plan: Plan, evaluations: Mapping[str, Evaluation]) -> Iterator[Finding]:
    """Yield the accuracies of the largest class and of two classifiers on the pixels, and that of the network.

    The network is compared with the best of them, and nothing is claimed within two standard errors.

    evaluations: as ``testing.evaluate`` returns them.
    """
    references = measure_pixels(plan)
    if not references:
        return
    split = references["split"]
    count = references["count"]
    accuracies = {name: Accuracy(value, count) for name, value in references["accuracies"].items()}
    text = f"for reference, the largest class and classifiers on pixels of {references['trained']:,} training images: "
    text += ", ".join(f"{name} {accuracy}" for name, accuracy in accuracies.items())
    text += f" of {count:,} {split} images"
    evaluation = evaluations.get(f"{split}.best")
    if not evaluation:
        yield Finding(text)
        return
    network = evaluation.accuracy
    best = max(accuracies.values())
    text += f"; the network reaches {network}{of_all(network, count)}, "
    text += _compare(network, best, "all of them", "the best of them")
    advice = {}
    if network.fraction < best.fraction and not is_near_chance(network.fraction, plan.model.num_classes):
        advice = _advise_rule(plan.model)
        if not advice and plan.splits.data.colours == 1 and plan.model.name != GREY_MODEL:
            text += f"; try --model {GREY_MODEL}, with its own --epochs and --set"
    yield Finding(text, advice)


def compare_with_control(plan: Plan, evaluations: Mapping[str, Evaluation]) -> Iterator[Finding]:
    """Yield the accuracy of a network without features, ``control2026``, as a reference, and that of the network.

    It learns from the same images as the classifiers of ``compare_with_pixels``. Their number is limited, so this takes
    a few seconds.

    evaluations: as ``testing.evaluate`` returns them.
    """
    split, parts = choose_images(plan)
    evaluation = evaluations.get(f"{split}.best")
    if plan.model.name == CONTROL or not evaluation or len(np.unique(parts[0].labels)) < 2:
        return
    sets = []
    for part in parts:
        chunks = [latencies for _, latencies in encode_chunks(plan.encoder, part.images)]
        sets.append(LatencyDataset(torch.cat(chunks), part.labels))
    train, scored = sets
    levels = tuple(level for level in LEVELS if level < plan.encoder.time_steps)
    try:
        control = build_model(
            CONTROL,
            in_channels=plan.encoder.channels,
            num_classes=plan.model.num_classes,
            seed=plan.settings.seed,
            time_steps=plan.encoder.time_steps,
            overrides={"s1.rule.decay": CONTROL_DECAY, "s1.levels": levels},
            image_size=plan.model.image_size,
        )
    except InputError as error:  # it reads whole maps: of large images, its weights are too many
        yield Finding(f"for reference, {CONTROL} cannot be trained on these images: {error}")
        return
    control.fit(train, None, (CONTROL_EPOCHS,), seed=plan.settings.seed)
    outcome = control.evaluate(scored.maps[INPUT], scored.labels)
    count = len(scored)
    accuracy = Accuracy(outcome.fraction("correct"), count)
    text = f"for reference, {CONTROL}, which has no features, learns from {len(train):,} training images and reaches "
    text += f"{accuracy} of {count:,} {split} images; the network reaches "
    text += f"{evaluation.accuracy}{of_all(evaluation.accuracy, count)}, "
    yield Finding(text + _compare(evaluation.accuracy, accuracy, "it", "it"))


def of_all(network: Accuracy, sampled: int) -> str:
    """Return how many images the network has classified, if only some of them were sampled, else ""."""
    return f" of all {network.count:,}" if network.count > sampled else ""


def _compare(network: Accuracy, best: Accuracy, all_of_them: str, highest: str) -> str:
    if network.is_above(best):
        return f"more than {all_of_them}"
    if best.is_above(network):
        return f"less than {highest}"
    return f"within two standard errors of {highest}"


def _advise_rule(model: NetworkTrainer) -> dict[str, str]:
    """Return the advice to let the decision stage learn by the margin rule, if it learns by R-STDP and never fires."""
    if model.phases[-1].main_rule.name == RSTDP.name and not model.declaration[model.find_decision()].fires:
        return {f"set.{model.decision}.rule": "margin"}
    return {}


def choose_images(plan: Plan) -> tuple[str, list[Split]]:
    """Return the name of the split that is scored, and a sample of the training images and one of the split.

    The training images are those whose labels the network learns. Images at equal distances could be of one class.
    """
    rng = np.random.default_rng(plan.settings.seed)
    splits = plan.splits
    split = "validation" if len(splits.indices["validation"]) else plan.settings.scored_split
    parts = []
    for name in ("labelled", split):
        part = splits.get_split(name)
        count = min(MAX_IMAGES, max(1, MAX_VALUES // math.prod(splits.data.train_images.shape[1:])))
        chosen = rng.choice(len(part), min(count, len(part)), replace=False)
        parts.append(part[np.sort(chosen)])
    return split, parts


def measure_pixels(plan: Plan) -> dict[str, Any]:
    """Classify a sample of a split by the largest class, the nearest neighbour and a linear classifier.

    The largest class is that of the most training images, of equal ones the first: it is the decision for all images.
    The nearest neighbour is the training image with the smallest Euclidean distance. The linear classifier is a
    logistic regression.

    Returns {"accuracies": {name: fraction}, "split", "count" (the images), "trained" (the training images)}; {} if the
    training images are of one class.
    """
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression
    from sklearn.neighbors import KNeighborsClassifier

    split, parts = choose_images(plan)
    (pixels, labels), (scored, classes) = ((part.images.reshape(len(part), -1), part.labels) for part in parts)
    if len(np.unique(labels)) < 2:
        return {}
    accuracies = {"largest class": float((classes == np.bincount(labels).argmax()).mean())}
    with warnings.catch_warnings(), threadpool_limits(torch.get_num_threads()):
        warnings.simplefilter("ignore", ConvergenceWarning)
        nearest = KNeighborsClassifier(1, algorithm="brute").fit(np.float64(pixels), labels)  # sums are exact
        accuracies["nearest neighbour"] = nearest.score(np.float64(scored), classes)
        linear = LogisticRegression(**PIXELS).fit(np.float32(pixels / 255), labels)
        accuracies["linear classifier"] = linear.score(np.float32(scored / 255), classes)
    return {"accuracies": accuracies, "split": split, "count": len(classes), "trained": len(labels)}
