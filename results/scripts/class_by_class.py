"""Let decision stages learn the digits of MNIST class by class, with and without rehearsal, and test what they forget.

    python -m results.scripts.class_by_class

The classes come in pairs: 0 and 1, then 2 and 3, … Each training image is presented once, in batches of 100. With a
rehearsal of n images, the first n images of each earlier class are presented again after each batch. A line has the
seed, the method, the features, n, and the accuracy in % on the 10,000 test images, all classes and the first two,
after the last class. "mixed": all classes in one random order. The margin rule is the decision stage of
``mozafari2018_margin`` with its first weights; the stages below are those of
results/checkpoints/mozafari2018.safetensors, which learned from all images without labels. SGD is scikit-learn's
SGDClassifier with its defaults by ``partial_fit``, on the same maps (1: the neuron has spiked) or on the pixels from
0 to 1. Nothing was chosen by these numbers.
"""

import sys
from collections.abc import Callable, Iterator

import numpy as np
import torch
from scipy.sparse import csr_matrix
from sklearn.linear_model import SGDClassifier

import imagesets
from encoders import encode_chunks
from models import build_model
from training.trained import load_network
from utils import ROOT

SEEDS = 0, 1, 2
REHEARSED = 0, 5, 20  # images of each earlier class
BATCH = 100
PAIRS = [(first, first + 1) for first in range(0, 10, 2)]
STAGE = "s3"


def list_batches(labels: np.ndarray, seed: int, kept: int | None) -> Iterator[np.ndarray]:
    """Yield the indices of the images of each batch; kept: how many images of each class are rehearsed; None: mixed."""
    rng = np.random.default_rng(seed)
    memory: list[int] = []
    for pair in [range(10)] if kept is None else PAIRS:
        chosen = rng.permutation(np.flatnonzero(np.isin(labels, pair)))
        for start in range(0, len(chosen), BATCH):
            yield chosen[start : start + BATCH]
            if memory:
                yield rng.permutation(memory)
        for label in pair:
            memory += chosen[labels[chosen] == label][:kept].tolist() if kept else []


def learn_by_margin(maps: torch.Tensor, labels: np.ndarray, seed: int) -> tuple[Callable, Callable]:
    """Return functions that learn from a batch of indices, and that classify maps, by the margin rule."""
    network = build_model("mozafari2018_margin", seed=seed)
    name = network.input_name(STAGE)

    def learn(batch):
        network.train_rl({name: maps[batch]}, labels[batch])

    return learn, lambda tested: network.predict({name: tested}).numpy()


def learn_by_sgd(vectors, labels: np.ndarray, seed: int) -> tuple[Callable, Callable]:
    """Return the same functions of a linear classifier that learns by gradients of its own layer."""
    classifier = SGDClassifier(random_state=seed)

    def learn(batch):
        classifier.partial_fit(vectors[batch], labels[batch], classes=np.arange(10))

    return learn, classifier.predict


def main() -> None:
    data = imagesets.load("mnist")
    trained = load_network(ROOT / "results" / "checkpoints" / "mozafari2018.safetensors")
    name = trained.model.input_name(STAGE)
    maps = {}
    for part, images in (("train", data.train_images), ("test", data.test_images)):
        chunks = [trained.model.map_of(latencies, name)[:] for _, latencies in encode_chunks(trained.encoder, images)]
        maps[part] = torch.cat(chunks)
    spikes = {part: csr_matrix((of < 15).flatten(1).numpy(), dtype=np.float64) for part, of in maps.items()}
    pixels = {
        "train": data.train_images.reshape(len(data.train_images), -1) / 255,
        "test": data.test_images.reshape(len(data.test_images), -1) / 255,
    }
    methods = (
        ("margin", "STDP", learn_by_margin, maps),
        ("SGD", "STDP", learn_by_sgd, spikes),
        ("SGD", "pixels", learn_by_sgd, pixels),
    )
    labels = np.asarray(data.train_labels)
    tested = np.asarray(data.test_labels)
    for seed in SEEDS:
        for method, features, make, inputs in methods:
            for kept in (None, *REHEARSED):
                learn, classify = make(inputs["train"], labels, seed)
                for batch in list_batches(labels, seed, kept):
                    learn(batch)
                correct = classify(inputs["test"]) == tested
                first = correct[tested < 2].mean()
                order = "mixed" if kept is None else f"rehearsal {kept}"
                print(f"seed {seed} {method} {features} {order}: {correct.mean():.2%}, 0 and 1 {first:.2%}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
