"""Is it the learning? The decision stage of a run learns again, on features that have not learned.

    python -m results.scripts.controls RUN [RUN …] [--kinds KIND …] [--plugin FILE.py …]

RUN is a finished run of train.py, whose last phase trains the decision stage alone. The stages below, each a single
convolution, are replaced, bottom up. Then train.py trains the last phase with the flags and the seed of the run, in a
folder RUN-KIND for each kind; a folder that is there is not trained again. The last epochs are compared: on the
validation images, if there are some, so that a choice between networks reads no test image. The kinds:

* imprinted: each feature has the same weights in another order. A random position of a random image is drawn at which
  at least as many inputs spike as the feature has weights above 0.5. The inputs receive the weights in the order of
  their spikes, the earliest input the greatest weight. Inputs that spike together are in random order.
* random: each feature has the same weights in random order.

So both have the same number of strong synapses. The thresholds of a stage are multiplied by a factor, so that the same
fraction of its neurons spikes as in RUN, on 500 training images. Most weights are near 0 or 1, and so are potentials
near whole numbers, and a small change of the factor can change the fraction by a third. Therefore the weights of some
features are multiplied by a number below 1, as if their thresholds were higher. The fractions are printed.

These two take the number of strong synapses and the activity from the learned features. Two others take nothing:

* patch: as imprinted, but 10 % of the weights of each feature are 1 and the others 0.
* ones: 10 % of the weights, chosen at random, are 1 and the others 0.

Their thresholds let 5 % of the neurons of each stage spike. Both numbers were fixed before anything was measured. For a
network without features, train control2026.
"""

import argparse
import copy
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch.nn import functional as F

from engine.layers import Layer
from engine.stages import INPUT
from errors import InputError
from models import import_plugin
from network_trainer import NetworkTrainer
from run_folder import RunFolder, find_run, read_json, read_rows
from train import train
from training.command import command_line, print_output
from training.data import Splits, load_data
from training.plan import resolve
from training.settings import TrainSettings
from training.trained import TrainedNetwork, compute_maps, load_network, save_network
from utils import join_words

MEASURED = 500  # images on which the activity of a stage is measured
DRAWS = 100  # positions that are drawn for a feature, before the one with the most spikes is used
STRONG = 0.5
ONES = 0.1  # of the weights of a feature that takes nothing from learning
RATE = 0.05  # of the neurons of its stage spike
BISECTIONS = 14  # so the two factors differ by 0.04 %, much more than potentials by rounding


def shuffle(layer: Layer, latency: torch.Tensor, rng: np.random.Generator) -> None:
    """Give each feature its weights in random order."""
    flat = layer.weight.flatten(1)
    for feature in flat:
        feature.copy_(feature[torch.from_numpy(rng.permutation(len(feature)))])


def imprint(layer: Layer, latency: torch.Tensor, rng: np.random.Generator) -> None:
    """Give each feature its weights in the order of the spikes at a position of an image."""
    stage = layer.stage
    padded = F.pad(latency, [stage.padding] * 4, value=layer.time_steps).numpy()
    lines, columns = (side - stage.kernel + 1 for side in padded.shape[2:])
    for feature in layer.weight.flatten(1):
        wanted = int((feature > STRONG).sum())
        most = -1
        for _ in range(DRAWS):
            image, line, column = rng.integers((len(padded), lines, columns))
            seen = padded[image, :, line : line + stage.kernel, column : column + stage.kernel].ravel()
            spikes = np.count_nonzero(seen < layer.time_steps)
            if spikes > most:
                most = spikes
                pattern = seen
            if most >= wanted:
                break
        order = np.lexsort((rng.random(len(pattern)), pattern))
        feature[torch.from_numpy(order)] = feature.sort(descending=True).values


class Kind(NamedTuple):
    """How features are replaced: a function that reorders their weights, and whether it takes nothing from learning."""

    reorder: Callable
    is_fixed: bool = False


KINDS = {
    "imprinted": Kind(imprint),
    "random": Kind(shuffle),
    "patch": Kind(imprint, is_fixed=True),
    "ones": Kind(shuffle, is_fixed=True),
}


def measure_features(layer: Layer, latency: torch.Tensor) -> torch.Tensor:
    """Return the fraction of the neurons of each feature that spike, float64 (F,)."""
    return (layer.fire(latency) < layer.time_steps).double().mean((0, 2, 3))


def measure_activity(layer: Layer, latency: torch.Tensor) -> float:
    """Return the fraction of the neurons that spike."""
    return float(measure_features(layer, latency).mean())


def match_activity(layer: Layer, latency: torch.Tensor, wanted: float) -> None:
    """Change the thresholds until the fraction ``wanted`` of the neurons spikes.

    Bisection finds two factors: with the lower one, more neurons spike, with the higher one, fewer. The features
    receive the lower one in turn, unless too many neurons spike then. The others receive the higher one; dividing the
    weights of a feature has the same effect as multiplying its threshold.
    """
    threshold = layer.threshold

    def scale(factor: float) -> torch.Tensor:
        layer.threshold = threshold * factor
        return measure_features(layer, latency)

    lowest = 0.01
    highest = 10.0
    for _ in range(BISECTIONS):
        factor = (lowest * highest) ** 0.5
        if float(scale(factor).mean()) > wanted:
            lowest = factor
        else:
            highest = factor
    fewer = scale(highest)
    more = scale(lowest) - fewer
    missing = wanted * len(fewer) - float(fewer.sum())
    for weight, gained in zip(layer.weight, more.tolist(), strict=True):
        if gained <= missing:
            missing -= gained
        else:
            weight *= lowest / highest


def set_ones(layer: Layer) -> None:
    """Set ``ONES`` of the weights of each feature to 1 and the others to 0."""
    layer.weight.zero_()
    flat = layer.weight.flatten(1)
    flat[:, : round(ONES * flat.shape[1])] = 1


def list_features(model: NetworkTrainer) -> list[str]:
    """Return the names of the stages that learn without labels, bottom up."""
    return [name for phase in model.phases if not phase.needs_labels for name in phase.stages]


def replace_features(model: NetworkTrainer, kind: Kind, latency: torch.Tensor, rng: np.random.Generator) -> None:
    """Replace the features of all stages that learn without labels.

    latency: the encoded images on which the activity is measured, uint8 (N, C, H, W).
    """
    learned = copy.deepcopy(model)
    for name in list_features(model):
        below = model.input_name(name)
        inputs = model.map_of(latency, below)
        layer = model.stages[name]
        wanted = RATE
        if kind.is_fixed:
            set_ones(layer)
        else:
            wanted = measure_activity(learned.stages[name], learned.map_of(latency, below))
        kind.reorder(layer, inputs, rng)
        match_activity(layer, inputs, wanted)


def describe_features(model: NetworkTrainer, latency: torch.Tensor) -> str:
    """Return a text about each stage that learns without labels: its activity and its mean threshold."""
    texts = []
    for name in list_features(model):
        layer = model.stages[name]
        activity = measure_activity(layer, model.map_of(latency, model.input_name(name)))
        texts.append(f"{name} {100 * activity:.1f} % spike, threshold {layer.threshold:.3g}")
    return "; ".join(texts)


def load_run(run: Path) -> TrainedNetwork:
    """Load a finished run. Raises InputError if its features cannot be replaced."""
    network = load_network(run)
    read_accuracy(run)
    model = network.model
    if model.decision is None or model.phases[-1].stages != (model.decision,):
        raise InputError(f"{run} contains {model.name}, whose last phase does not train the decision stage alone")
    for name in list_features(model):
        if not isinstance(model.stages[name], Layer):
            raise InputError(f"{run} contains {model.name}; {name} is not a single convolution, so it is not replaced")
    return network


def read_accuracy(run: Path) -> str:
    """Return the accuracy of the last epoch in words. Raises InputError if the run is not finished, or has none."""
    found = {}
    rows = read_rows(run / "metrics.csv")
    if rows and RunFolder(run).is_finished:
        results = read_json(run / "results.json")
        found["validation"] = rows[-1]["val_accuracy"]
        found["test"] = results.get("test", {}).get("last", {}).get("accuracy", "")
    for split, accuracy in found.items():
        if accuracy != "":
            return f"{100 * float(accuracy):.2f} % of the {split} images"
    hint = "finish it (train.py --resume), or train a run with a decision stage and with validation images"
    raise InputError(f"{run} has no accuracy of a last epoch: {hint}")


def train_control(run: Path, network: TrainedNetwork, kind: str) -> Path:
    """Train the decision stage of a run anew, on features of a kind. Returns the folder of the new run."""
    folder = run.with_name(f"{run.name}-{kind}")
    if folder.exists():
        return folder
    settings = TrainSettings.from_dict(network.checkpoint.record.flags)
    data = load_data(settings)
    images = data.train_images[Splits(settings, data).indices["train"][:MEASURED]]
    latency = compute_maps(network.model, network.encoder, images, INPUT)
    features = copy.deepcopy(network.model)
    replace_features(features, KINDS[kind], latency, np.random.default_rng(settings.seed))
    print_output(f"{folder.name}: {describe_features(features, latency)}")
    names = list_features(features)
    thresholds = tuple(f"{name}.threshold={features.stages[name].threshold}" for name in names)
    settings = replace(settings, set=settings.set + thresholds)
    _, _, model = resolve(settings, data)  # with the first weights of the decision stage
    for name in names:
        model.stages[name].load_state_dict(features.stages[name].state_dict())
    path = folder.with_name(f"{folder.name}.safetensors")
    save_network(path, model, data.class_names, network.encoder, data.image_size)
    epochs = (*[0] * (len(settings.epochs) - 1), settings.epochs[-1])
    location = {"output": str(folder.parent), "name": folder.name}
    command = join_words(["-m", "results.scripts.controls", str(run), "--kinds", kind])
    train(replace(settings, init_from=str(path), epochs=epochs, converge=0.0, command_line=command, **location))
    return folder


@command_line
def main(words: list[str]) -> None:
    """Train the controls of runs, as the words of a command line request."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="+", metavar="RUN", help="a folder, or its name in runs/")
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=["imprinted", "random"])
    parser.add_argument("--plugin", nargs="+", default=[], metavar="FILE.py", help="the files that the runs imported")
    args = parser.parse_args(words)
    for file in args.plugin:
        import_plugin(file)
    networks = {}
    for name in args.runs:
        run = find_run(name)
        networks[run] = load_run(run)
    for run, network in networks.items():
        print_output(f"{run.name}: {read_accuracy(run)}, last epoch")
        for kind in args.kinds:
            folder = train_control(run, network, kind)
            print_output(f"{folder.name}: {read_accuracy(folder)}, last epoch")


if __name__ == "__main__":
    sys.exit(main())
