"""The references of a run on other data than MNIST, on a sample of the same images.

They are the largest class, two classifiers on the pixels, and a network without features.
"""

import math
import warnings
from collections.abc import Mapping
from contextlib import suppress

import numpy as np
import torch
from threadpoolctl import threadpool_limits

from engine.encoder import Encoder
from engine.stages import INPUT
from errors import InputError
from models import build_model
from models.control2026 import LEVELS
from network_trainer import LatencyDataset, NetworkTrainer
from training.checkpoint import best_weights
from training.data import Split, Splits

PIXELS = {"C": 0.1, "max_iter": 300}  # the logistic regression on the pixels
MAX_IMAGES = 5000  # of a split for these classifiers
MAX_VALUES = 4_000_000  # of the pixels of these images
CONTROL = "control2026"
CONTROL_EPOCHS = 10
CONTROL_DECAY = 0.7  # of its rate in each epoch; the defaults are for five times as many epochs

Accuracies = dict[str, dict[str, float]]  # {split: {name: accuracy}}


def measure_references(splits: Splits, encoder: Encoder, model: NetworkTrainer, seed: int) -> dict[str, dict]:
    """Measure the references of a network on a sample of its validation and of its test images.

    They learn from a sample of the training images whose labels the network learns, "labelled".

    Returns {"references": {split: {name: accuracy}}, "reference_images": {split: number}}; {} if the training images
    are of one class, and on MNIST, on which results/README.md compares networks.
    """
    parts = choose_images(splits, seed)
    is_published = splits.data.name == "mnist" and splits.data.source  # a folder of this name has no source
    if is_published or len(np.unique(parts["labelled"].labels)) < 2:
        return {}
    accuracies = measure_pixels(parts)
    if model.name != CONTROL:
        with suppress(InputError):  # it reads whole maps: of large images, its weights are too many
            measure_control(parts, encoder, model, seed, accuracies)
    return {"references": accuracies, "reference_images": {name: len(part) for name, part in parts.items()}}


def choose_images(splits: Splits, seed: int) -> dict[str, Split]:
    """Return a sample of the training images whose labels are learned, "labelled", and one of each scored split.

    Images at equal distances could be of one class.
    """
    rng = np.random.default_rng(seed)
    most = min(MAX_IMAGES, max(1, MAX_VALUES // math.prod(splits.data.train_images.shape[1:])))
    parts = {}
    for name in ("labelled", "validation", "test"):
        if name == "labelled" or len(splits.indices.get(name, ())):
            part = splits.get_split(name)
            chosen = rng.choice(len(part), min(most, len(part)), replace=False)
            parts[name] = part[np.sort(chosen)]
    return parts


def measure_pixels(parts: Mapping[str, Split]) -> Accuracies:
    """Classify images by the largest class, the nearest neighbour and a linear classifier, which learn from "labelled".

    The largest class is that of the most training images, of equal ones the first: it is the decision for all images.
    The nearest neighbour is the training image with the smallest Euclidean distance. The linear classifier is a
    logistic regression.

    parts: what ``choose_images`` returns. Returns {split: {name: accuracy}}.
    """
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression
    from sklearn.neighbors import KNeighborsClassifier

    pixels = {name: part.images.reshape(len(part), -1) for name, part in parts.items()}
    train = pixels.pop("labelled")
    labels = parts["labelled"].labels
    accuracies = {}
    with warnings.catch_warnings(), threadpool_limits(torch.get_num_threads()):
        warnings.simplefilter("ignore", ConvergenceWarning)
        nearest = KNeighborsClassifier(1, algorithm="brute").fit(np.float64(train), labels)  # sums are exact
        linear = LogisticRegression(**PIXELS).fit(np.float32(train / 255), labels)
        for split, scored in pixels.items():
            classes = parts[split].labels
            accuracies[split] = {
                "largest class": float((classes == np.bincount(labels).argmax()).mean()),
                "nearest neighbour": nearest.score(np.float64(scored), classes),
                "linear classifier": linear.score(np.float32(scored / 255), classes),
            }
    return accuracies


def measure_control(
    parts: Mapping[str, Split],
    encoder: Encoder,
    model: NetworkTrainer,
    seed: int,
    accuracies: Accuracies,
) -> None:
    """Add the accuracy of ``control2026``, a network without features, which learns from "labelled", on each split.

    As of the network, the weights are those of the best validation epoch, without validation images of the last. The
    number of images is limited, so this takes a few seconds. Raises InputError if it cannot be trained.
    """
    sets = {name: LatencyDataset(encoder.encode(part.images), part.labels) for name, part in parts.items()}
    levels = tuple(level for level in LEVELS if level < encoder.time_steps)
    control = build_model(
        CONTROL,
        in_channels=encoder.channels,
        num_classes=model.num_classes,
        seed=seed,
        time_steps=encoder.time_steps,
        overrides={"s1.rule.decay": CONTROL_DECAY, "s1.levels": levels},
        image_size=model.image_size,
    )
    progress = control.fit(sets["labelled"], sets.get("validation"), (CONTROL_EPOCHS,), seed=seed)
    with best_weights(control, progress.best):
        for split, of_split in accuracies.items():
            outcome = control.evaluate(sets[split].maps[INPUT], sets[split].labels)
            of_split[CONTROL] = outcome.fraction("correct")
