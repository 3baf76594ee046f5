"""The decision layer of multiscale2026, s5: ``python -m benchmarks.dense`` prints its processor time of an image.

With trained weights, it learns from a batch of 1,000 training images of MNIST, which prepares the layer, and from a
second one, which is timed, on one thread. The digest of the weights that it then has shows whether two versions learn
the same bits. On a busy machine, alternate the versions and compare the smallest times.
"""

import argparse
import hashlib
import statistics
import time

import numpy as np
import torch

import imagesets
from training.trained import load_network
from utils import ROOT

CHECKPOINT = ROOT / "results" / "checkpoints" / "multiscale2026.safetensors"
IMAGES = 1000


def main(argv=None):
    parser = argparse.ArgumentParser(prog="python -m benchmarks.dense", description=__doc__)
    parser.add_argument("--repeats", type=int, default=15)
    repeats = parser.parse_args(argv).repeats
    torch.set_num_threads(1)
    network = load_network(CHECKPOINT)
    model, phase = network.model, network.model.phases[-1]
    data = imagesets.load("mnist")
    latencies = network.encoder.encode(data.train_images[: 2 * IMAGES])
    labels = torch.from_numpy(data.train_labels[: 2 * IMAGES])
    inputs = model.map_of(latencies, model.input_name(model.decision))[:]
    before = {name: value.clone() for name, value in model.state_dict().items()}
    digests = set()
    microseconds = []
    for _ in range(1 + repeats):  # the first compiles
        model.load_state_dict(before)
        for part in (slice(0, IMAGES), slice(IMAGES, 2 * IMAGES)):
            start = time.process_time()
            phase.learn(model, inputs[part], labels[part], rng=np.random.default_rng(0))
        microseconds.append(1e6 * (time.process_time() - start) / IMAGES)
        ((_, layer),) = model.named_layers([model.decision])
        digests.add(hashlib.sha256(layer.weight.numpy().tobytes()).hexdigest()[:16])
    spikes = int((inputs < model.time_steps).sum()) / len(inputs)
    median, least = statistics.median(microseconds[1:]), min(microseconds[1:])
    print(f"{inputs.shape[1]:,} inputs, {spikes:,.0f} spikes: {median:.1f} µs an image, at least {least:.1f}")
    print(f"digest of the weights {' '.join(digests)}")


if __name__ == "__main__":
    main()
