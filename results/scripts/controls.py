"""Is it the learning? A network with the features that STDP has learned, and with features that it has not learned.

    python -m results.scripts.controls NETWORK DATASET --epochs N N … [--seed S] [--set NAME=VALUE …]

NETWORK and DATASET are those of train.py; --epochs has one number for each phase. NETWORK learns from at most 10,000 of
the training images and classifies at most 5,000 others (a fifth, if there are fewer than 25,000). No test image is
read. Then the features are replaced, bottom up, and the decision stage learns anew:

* STDP: the features as they have learned.
* imprinted: each feature has the same weights in another order. A random position of a random image is drawn at which
  at least as many inputs spike as the feature has weights above 0.5. The inputs receive the weights in the order of
  their spikes, the earliest input the greatest weight. Inputs that spike together are in random order.
* random: each feature has the same weights in random order.

So all three have the same number of strong synapses. The thresholds of a stage are multiplied by a factor, so that the
same fraction of its neurons spikes as with STDP, on 500 training images. (Most weights are near 0 or 1, and so are
potentials near whole numbers. Therefore the fractions can differ a little.)
"""

import argparse
import copy

import numpy as np
import torch
from torch.nn import functional as F

import imagesets
from encoders import choose_encoder, encode_chunks
from engine.layers import Layer
from engine.stages import INPUT
from imagesets.splits import stratified_split
from models import model_class
from network_trainer import LatencyDataset, NetworkTrainer, Progress
from training.settings import read_pairs

IMAGES = 10_000
HELD_OUT = 5000
MEASURED = 500  # images on which the activity of a stage is measured
DRAWS = 100  # positions that are drawn for a feature, before the one with the most spikes is used
STRONG = 0.5


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


def measure_activity(layer: Layer, latency: torch.Tensor) -> float:
    """Return the fraction of the neurons that spike."""
    return float((layer.fire(latency) < layer.time_steps).double().mean())


def scale_thresholds(layer: Layer, factor: float) -> None:
    """Multiply the thresholds of all features."""
    layer.threshold *= factor
    layer.raised *= factor


def match_activity(layer: Layer, latency: torch.Tensor, wanted: float) -> None:
    """Scale the thresholds until the fraction ``wanted`` of the neurons spikes, by bisection."""
    original = copy.deepcopy(layer)
    lowest = 0.01
    highest = 10.0
    for _ in range(20):
        factor = (lowest * highest) ** 0.5
        layer.threshold = original.threshold
        layer.raised.copy_(original.raised)
        scale_thresholds(layer, factor)
        if measure_activity(layer, latency) > wanted:
            lowest = factor
        else:
            highest = factor


def replace_features(model: NetworkTrainer, replace, latency: torch.Tensor, rng: np.random.Generator) -> list[str]:
    """Replace the features of all stages that learn without labels. Returns a text for each stage."""
    learned = copy.deepcopy(model)
    texts = []
    for phase in model.phases:
        if phase.needs_labels:
            continue
        for name in phase.stages:
            below = model.input_name(name)
            wanted = measure_activity(learned.stages[name], learned.map_of({INPUT: latency}, below))
            inputs = model.map_of({INPUT: latency}, below)
            layer = model.stages[name]
            if replace is not None:
                replace(layer, inputs, rng)
                match_activity(layer, inputs, wanted)
            found = measure_activity(layer, inputs)
            texts.append(f"{name} {100 * found:.1f} % spike, threshold {float(layer.thresholds.mean()):.3g}")
    return texts


def choose_images(labels: np.ndarray, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the positions of the training images to learn from, and of those held out, stratified and sorted."""
    rest, held_out = stratified_split(labels, min(HELD_OUT, len(labels) // 5), seed)
    if len(rest) > IMAGES:
        _, chosen = stratified_split(labels[rest], IMAGES, seed)
        rest = rest[chosen]
    return rest, held_out


def encode_splits(data: imagesets.DataSet, encoder, seed: int) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """Return (latencies, labels) of the images to learn from, and of those held out. Fits the encoder."""
    train, held_out = choose_images(data.train_labels, seed)
    encoder = encoder.with_state(encoder.fit(data.train_images[train]))
    splits = []
    for chosen in (train, held_out):
        parts = [latencies for _, latencies in encode_chunks(encoder, data.train_images[chosen])]
        splits.append((torch.cat(parts), torch.from_numpy(data.train_labels[chosen])))
    return splits


def prepare(description: str) -> tuple[argparse.Namespace, NetworkTrainer, list[tuple[torch.Tensor, torch.Tensor]]]:
    """Return the command's arguments, the network that they name, and the images of ``encode_splits``."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("network")
    parser.add_argument("dataset")
    parser.add_argument("--epochs", type=int, nargs="+", required=True)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--set", nargs="+", default=[], metavar="NAME=VALUE")
    args = parser.parse_args()
    torch.set_num_threads(1)
    data = imagesets.load(args.dataset)
    declared = model_class(args.network)
    encoder = choose_encoder(declared.encoder, colours=data.colours)
    splits = encode_splits(data, encoder, args.seed)
    network = declared(
        splits[0][0].shape[1],
        data.num_classes,
        args.seed,
        time_steps=encoder.time_steps,
        overrides=read_pairs(args.set),
        image_size=data.image_size,
    )
    return args, network, splits


def main() -> None:
    args, trained, splits = prepare(__doc__)
    count = len(trained.phases) - 1
    trained.fit(LatencyDataset(*splits[0]), None, (*args.epochs[:count], 0), seed=args.seed)
    sizes = f"{len(splits[0][1]):,} + {len(splits[1][1]):,} images"
    for title, replace in (("STDP", None), ("imprinted", imprint), ("random", shuffle)):
        model = copy.deepcopy(trained)
        texts = replace_features(model, replace, splits[0][0][:MEASURED], np.random.default_rng(args.seed))
        train, validation = (LatencyDataset(*split) for split in splits)
        progress = model.fit(
            train, validation, (*(0,) * count, args.epochs[-1]), seed=args.seed, progress=Progress(phase=count)
        )
        last = 100 * progress.history[-1]["val_accuracy"]
        best = 100 * progress.best["accuracy"]
        row = f"{args.network:19} {args.dataset.rpartition('/')[2]:14} seed {args.seed} {sizes}  {title:9}"
        print(f"{row} last {last:5.2f} %, best {best:5.2f} %  {'; '.join(texts)}", flush=True)


if __name__ == "__main__":
    main()
