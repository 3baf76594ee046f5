"""How many features must a screened decision layer sum exactly?

    python -m results.scripts.candidates [NETWORK …]

The networks learn as in benchmarks/networks.py, each phase for one epoch, from 13,000 images of MNIST on one thread.
Prints the mean number of features with candidates (docs/engine.md) for the first and the last 1,000 images of the last
phase.
"""

import sys

import torch

import datasets
from benchmarks.networks import train
from engine.event import deciding
from models import build_model
from s1c1 import S1C1
from utils import set_threads

IMAGES = 13_000
NAMES = "mozafari2018", "deep2024", "inception2024", "mozafari2018_margin"


def main() -> None:
    set_threads(1)
    data = datasets.load("mnist")
    latencies, labels = S1C1().encode(data.train_images[:IMAGES]), torch.from_numpy(data.train_labels[:IMAGES])
    learn_chunk = deciding.learn_chunk
    counts = []

    def count(labels, layer, rates, left_out, inputs, peaks, *rest):
        images = learn_chunk(labels, layer, rates, left_out, inputs, peaks, *rest)
        values = peaks.values[:images, : layer.geometry.features]
        counts.extend((values >= 0).sum(1).tolist())  # of the others, no peak is known
        return images

    deciding.learn_chunk = count
    print("network, features of the last layer, features with candidates: first 1,000 images, last 1,000 images")
    for name in sys.argv[1:] or NAMES:
        model = build_model(name)
        counts.clear()
        train(model, latencies, labels)
        features = len(model.stages[model.decision].weight)
        print(f"{name:20} {features:4} {sum(counts[:1000]) / 1000:6.1f} {sum(counts[-1000:]) / 1000:6.1f}", flush=True)


if __name__ == "__main__":
    main()
