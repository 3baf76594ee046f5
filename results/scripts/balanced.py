"""Classify what the decision stage of a run reads by logistic regression, in which each class can count equally.

    python -m results.scripts.balanced RUN [--plugin FILE …] [--dataset …]

The flags are those of evaluate.py. The classifier is scikit-learn's, with at most 200 iterations, on 1 - t / T of each
neuron's spike at the time step t of T, 0 for silence. It learns from the run's training images with labels. Prints its
accuracy and its balanced accuracy, the mean over the classes, without and with ``class_weight="balanced"``, on the
images on which the run was scored: the test images, after --no-test the validation images.
"""

import sys
import warnings

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score, balanced_accuracy_score
from threadpoolctl import threadpool_limits

from evaluate import load_networks, split_data
from training.command import command_line
from training.data import Split
from training.settings import EvaluateSettings
from training.trained import TrainedNetwork, compute_maps
from utils import check_memory


@command_line
def main(words: list[str]) -> None:
    settings = EvaluateSettings.parse(words)
    network = load_networks(settings)[0]
    network.model.find_decision()
    splits = split_data(settings, network)
    split = "test" if network.settings.test else "validation"
    train, tested = splits.get_split("labelled"), splits.get_split(split)
    x, y = read_inputs(network, train), read_inputs(network, tested)
    for weight in (None, "balanced"):
        with warnings.catch_warnings(), threadpool_limits(1):
            warnings.simplefilter("ignore", ConvergenceWarning)
            decided = LogisticRegression(max_iter=200, class_weight=weight).fit(x, train.labels).predict(y)
        scores = (100 * score(tested.labels, decided) for score in (accuracy_score, balanced_accuracy_score))
        accuracy, balanced = scores
        name = f"{weight or 'plain'} logistic regression"
        print(f"{name}: accuracy {accuracy:.2f} %, balanced {balanced:.2f} % of {len(tested):,} {split} images")


def read_inputs(network: TrainedNetwork, part: Split) -> np.ndarray:
    """Return what the decision stage reads of images, float32 (N, neurons), from 0 (silent) to 1 (the first step)."""
    model = network.model
    inputs = []
    for stage in model.inputs_of(model.find_decision()):
        maps = compute_maps(model, network.encoder, part.images, stage).flatten(1).numpy()
        check_memory(f"{stage} of {len(part):,} images", 12 * maps.size)
        inputs.append(1 - maps / np.float32(model.time_steps))
    return np.concatenate(inputs, 1)


if __name__ == "__main__":
    sys.exit(main())
