"""Several trained networks on the same test images: each alone, all together, and differences paired by image."""

import math
from collections.abc import Sequence
from itertools import combinations

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from encoders import IMAGES
from engine.decision import deciding_features
from errors import InputError
from report.evaluation import Evaluation
from training.trained import TrainedNetwork

SCOPE = (
    "intervals and p are about these trained networks, not about their settings: with other seeds, the difference can "
    "be another. Several p are not corrected for their number. To compare settings, train three seeds or more of each, "
    "and use sweep.py --report"
)


def check_alike(networks: Sequence[TrainedNetwork]) -> None:
    """Raise InputError unless networks decide, and have images of one kind and size, and classes in one order."""
    kinds = {}
    for network in networks:
        network.model.find_decision()
        images = f"{IMAGES[network.encoder.colours]} {network.checkpoint.picture_size}"
        kind = f"{images} with the classes {network.class_names}"
        kinds[kind] = f"{network.checkpoint.path} has {kind}"
    if len(kinds) != 1:
        found = "; ".join(kinds.values())
        raise InputError(f"networks that classify together need the same images and classes: {found}")


def decide_together(decided: list[tuple[Tensor, Tensor]]) -> tuple[Tensor, Tensor]:
    """Return the decisions of several networks together, int64 (N,), and their scores, float64 (N, classes).

    Of each network that is not silent, the scores of an image are divided by the highest of them, and added:
    S_c = Σ s_c / max s. A score below 0 counts as 0. The class with the highest sum is the decision, the first class of
    equal sums, and -1 if all networks are silent.

    decided: of each network, its decisions int64 (N,), -1 for silence, and its scores (N, classes).
    """
    sums = torch.zeros(())
    for decisions, scores in decided:
        relative = F.normalize(scores.double().clamp(min=0), math.inf)
        sums = sums + relative * (decisions >= 0)[:, None]
    return deciding_features(sums), sums


def compare_networks(
    networks: Sequence[TrainedNetwork], images: np.ndarray, labels: np.ndarray
) -> tuple[Evaluation, dict, list[str]]:
    """Test networks alone and together.

    Returns the evaluation of all together; the scores of each and the differences, for results.json; and lines with
    these.
    """
    decided = [network.decide(images) for network in networks]
    alone = [Evaluation(*each, labels) for each in decided]
    together = Evaluation(*decide_together(decided), labels)
    differences = {}
    lines = []
    for number, (network, evaluation) in enumerate(zip(networks, alone, strict=True), 1):
        lines.append(f"{number}: {network.model.name} of {network.checkpoint.path}: {evaluation.describe()}")
    lines.append("differences of accuracies, paired by image, with 95 % intervals and the exact p of McNemar's test:")
    for (first, before), (second, evaluation) in combinations([*enumerate(alone, 1), ("together", together)], 2):
        row = differences[f"{second} - {first}"] = evaluation.compare(before)
        points = 100 * row["difference"]
        half = 100 * row["interval"]
        interval = f"95 % interval {points - half:+.2f} to {points + half:+.2f}"
        changes = f"gained {row['gained']:,}, lost {row['lost']:,} images"
        lines.append(f"  {second} - {first}: {points:+.2f} points ({interval}), p = {row['p']:.2g} ({changes})")
    facts = {"networks": [evaluation.metrics for evaluation in alone], "differences": differences, "scope": SCOPE}
    return together, facts, [*lines, SCOPE]
