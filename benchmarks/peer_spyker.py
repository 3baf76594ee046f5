"""mozafari2018 by Spyker (Rezghi Shirsavar et al. 2023, arXiv 2301.13659); ``benchmarks.peers`` runs it by path.

    python benchmarks/peer_spyker.py FILE THREADS

FILE contains the weights, images and labels. Prints the times of the best batch and the decisions as JSON, for the
dense and the sparse interface. In a batch, all winners learn from the weights before the batch: that is another
algorithm than image by image. The sparse interface decides ties by the order of its lists. s3 reads a dense tensor of
the last time step, because only its potentials at this step decide.
"""

import json
import sys
from importlib.metadata import version

import numpy as np
import spyker
from timing import measure_per_image

BATCHES = 1, 16, 64
REPEATS = 3
STEPS = 15
THRESHOLDS = 15, 10
SIZES = 2, 3  # of the poolings
WINNERS = (3, 5), (1, 8)  # radius and number


class Network:
    """The layers, with the weights of FILE."""

    def __init__(self, content):
        self.convs = []
        for name, padding in (("s1", 2), ("s2", 1), ("s3", 2)):
            weight = content[name]
            conv = spyker.Conv(weight.shape[1], weight.shape[0], weight.shape[2], pad=padding)
            spyker.copy_array(weight, conv.kernel)
            self.convs.append(conv)
        stdp = spyker.STDPConfig(0.004, -0.003)
        self.convs[0].stdpconfig = [stdp]
        self.convs[1].stdpconfig = [stdp]
        reward = spyker.STDPConfig(0.004, -0.003, False, 0.2, 0.8)
        punishment = spyker.STDPConfig(-0.004, 0.0005, False, 0.2, 0.8)
        self.convs[2].stdpconfig = [reward, punishment]
        self.classes = content["classes"]

    def decide(self, batch):
        """Return the input of s3 and its potentials, both at the last time step only, and the winner of each image."""
        below = self.run_to_end(batch)
        potentials = self.convs[2](below)
        return below, potentials, spyker.convwta(potentials, 0, 1)

    def learn_s3(self, batch, labels):
        below, potentials, winners = self.decide(batch)
        for of_image, label in zip(winners, labels, strict=True):
            for winner in of_image:
                winner.c = int(self.classes[winner.z] != label)  # reward or punishment
        self.convs[2].stdp(below, winners, spyker.fire(potentials, dtype="f32"))

    def evaluate(self, batch):
        _, _, winners = self.decide(batch)
        return [int(self.classes[of_image[0].z]) if of_image else -1 for of_image in winners]


class Dense(Network):
    """Tensors of all time steps."""

    def run_to(self, layer, batch):
        """Return the input of a layer, from the input of the network: latencies (N, C, H, W)."""
        steps = np.arange(STEPS)[:, None, None, None]
        spikes = (batch[:, None] <= steps).astype(np.float32)
        for conv, threshold, size in zip(self.convs[:layer], THRESHOLDS, SIZES, strict=False):
            spikes = spyker.pool(spyker.fire(conv(spikes), threshold, dtype="f32"), size)
        return spikes

    def run_to_end(self, batch):
        return np.ascontiguousarray(self.run_to(2, batch)[:, -1:])

    def learn_features(self, layer, batch):
        below = self.run_to(layer, batch)
        potentials = spyker.inhibit(spyker.threshold(self.convs[layer](below), THRESHOLDS[layer]))
        winners = spyker.convwta(potentials, *WINNERS[layer])
        self.convs[layer].stdp(below, winners, spyker.fire(potentials, dtype="f32"))


class Sparse(Network):
    """Lists of spikes."""

    def run_to(self, layer, batch):
        coded = spyker.to_tensor((STEPS - batch).astype(np.float32))
        spikes = spyker.sparse.code(coded, STEPS)
        for conv, threshold, size in zip(self.convs[:layer], THRESHOLDS, SIZES, strict=False):
            spikes = spyker.sparse.pool(conv(spikes, threshold), size)
        return spikes

    def run_to_end(self, batch):
        latencies = spyker.to_numpy(spyker.sparse.gather(self.run_to(2, batch)))
        return (latencies < STEPS).astype(np.float32)[:, None]

    def learn_features(self, layer, batch):
        below = self.run_to(layer, batch)
        fired = spyker.sparse.inhibit(self.convs[layer](below, THRESHOLDS[layer]))
        self.convs[layer].stdp(below, spyker.sparse.convwta(fired, *WINNERS[layer]))


def list_work(network, latencies, labels, size):
    """Return {row: work} on all images, in batches of a size."""
    batches = [slice(start, start + size) for start in range(0, len(labels), size)]
    return {
        "s1 STDP step": lambda: [network.learn_features(0, latencies[batch]) for batch in batches],
        "s2 STDP step": lambda: [network.learn_features(1, latencies[batch]) for batch in batches],
        "s3 R-STDP step": lambda: [network.learn_s3(latencies[batch], labels[batch]) for batch in batches],
        "evaluation": lambda: [network.evaluate(latencies[batch]) for batch in batches],
    }


def main():
    path, threads = sys.argv[1:]
    spyker.set_max_threads(int(threads))
    content = np.load(path)
    latencies = content["latencies"]
    labels = content["labels"]
    found = {}
    for name, kind in (("dense", Dense), ("sparse", Sparse)):
        times = {}
        for size in BATCHES:
            for row, work in list_work(kind(content), latencies, labels, size).items():
                timing = measure_per_image(work, len(labels), REPEATS)
                times[row] = min(times.get(row, timing), timing)
        title = f"Spyker {version('spyker')}, {name}"
        found[title] = {"times": times, "decisions": kind(content).evaluate(latencies)}
    print(json.dumps(found))


if __name__ == "__main__":
    main()
