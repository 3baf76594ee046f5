"""Run trained networks in SpikingJelly, from their NIR graphs, and compare every first spike and every decision.

    pip install nir && pip install --no-deps spikingjelly nirtorch loguru  # Python 3.11 or newer
    python -m results.scripts.nir_in_spikingjelly CHECKPOINT … [--images N]

The networks classify the first test images of MNIST, in float64. The potentials of a network in SpikingJelly begin at
the reset potential of its neurons; here they are given 0 as their state.
"""

import argparse
import tempfile
from pathlib import Path

import nir
import torch

import imagesets
from engine.graph import StageGraph
from report.exports.nir import write_nir
from training.trained import load_network

BATCH = 50


@torch.no_grad()
def simulate(path: Path, latency: torch.Tensor) -> tuple[dict[str, torch.Tensor], torch.Tensor]:
    """Run images through the network of a NIR graph in SpikingJelly.

    latency: uint8 (N, C, H, W), the time step of the spike of each input. Returns {stage: the time step of each first
    spike, uint8 (N, F, H, W)}, and the decisions, int64 (N,), -1: silent.
    """
    from spikingjelly.activation_based.nir_exchange import import_from_nir

    graph = nir.read(path)
    network = import_from_nir(path, dtype=torch.float64)
    steps = int(graph.metadata["time_steps"])
    neurons = {name: node for name, node in graph.nodes.items() if isinstance(node, nir.IF)}
    first = {}
    state = dict.fromkeys(graph.nodes)
    for name, node in neurons.items():
        shape = len(latency), *node.v_threshold.shape
        first[name] = torch.full(shape, steps, dtype=torch.uint8)
        state[name] = (torch.zeros(shape, dtype=torch.float64),)

    spikes = {}  # {module: its spikes at this time step}

    def keep(module, args, output):
        spikes[module] = output[0]

    modules = {name: network.get_submodule(name) for name in neurons}
    for module in modules.values():
        module.register_forward_hook(keep)
    potential = 0
    for t in range(steps):
        output, state = network((latency == t).double(), state)
        potential = potential + output
        for name, module in modules.items():
            first[name][(spikes[module] > 0) & (first[name] == steps)] = t

    peaks = potential.amax((2, 3))
    decisions = torch.from_numpy(graph.metadata["class_of_feature"])[peaks.argmax(1)]
    decisions[peaks.amax(1) <= 0] = -1
    return {name.removesuffix("_neurons"): times for name, times in first.items()}, decisions


def compare(model: StageGraph, path: Path, latencies: torch.Tensor) -> tuple[dict[str, int], int]:
    """Return {stage: how many first spikes of SpikingJelly are others than those of the network}, and of decisions."""
    different = {}
    wrong = 0
    for part in latencies.split(BATCH):
        first, decisions = simulate(path, part)
        wrong += int((decisions != model.predict(part)).sum())
        maps = dict(model.walk(part))
        for name, times in first.items():
            different[name] = different.get(name, 0) + int((times != maps[name]).sum())
    return different, wrong


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("checkpoints", nargs="+", metavar="CHECKPOINT")
    parser.add_argument("--images", type=int, default=1000, metavar="N")
    flags = parser.parse_args()
    images = imagesets.load("mnist").test_images[: flags.images]
    for checkpoint in flags.checkpoints:
        network = load_network(checkpoint)
        model = network.model.double()
        latencies = torch.as_tensor(network.encoder.encode(images))
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "network.nir"
            write_nir(path, model, network.class_names)
            different, wrong = compare(model, path, latencies)
        print(f"{model.name}, {len(images)} images: {wrong} other decisions; other first spikes: {different}")


if __name__ == "__main__":
    main()
