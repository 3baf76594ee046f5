"""Run trained networks in SpikingJelly, from their NIR graphs, and compare every first spike and every decision.

    python -m results.scripts.nir_in_spikingjelly write FOLDER CHECKPOINT …  # in the environment of this repository
    python results/scripts/nir_in_spikingjelly.py run FOLDER                 # in an environment with SpikingJelly

The second environment needs Python 3.11 and: pip install torch torchaudio spikingjelly nir nirtorch.
The potentials of a network in SpikingJelly begin at the reset potential; here they are given 0 as their state.
"""

import sys
from pathlib import Path

import numpy as np
import torch

IMAGES = 1000  # the first test images of MNIST
BATCH = 50


def write(folder: Path, checkpoints: list[str]) -> None:
    """Write the graph of each network, and its spikes and decisions for the test images."""
    import imagesets
    from report.nir import write_nir
    from training.trained import load_network

    folder.mkdir(parents=True, exist_ok=True)
    images = imagesets.load("mnist").test_images[:IMAGES]
    for path in checkpoints:
        network = load_network(path)
        model = network.model.double()
        latency = network.encoder.encode(images)
        write_nir(folder / f"{model.name}.nir", model, network.class_names)
        maps = {f"map {name}": found.numpy() for name, found in model.walk(latency)}
        np.savez_compressed(folder / f"{model.name}.npz", input=latency, decisions=model.predict(latency), **maps)


def simulate(network: torch.nn.Module, graph, latency: torch.Tensor) -> tuple[dict[str, torch.Tensor], torch.Tensor]:
    """Run some images through a network in SpikingJelly.

    latency: uint8 (N, C, H, W), the time step of each input's spike. Returns {neurons: the time step of each first
    spike, uint8 (N, F, H, W)}, and the potentials of the decision stage at the last time step.
    """
    import nir

    steps = int(graph.metadata["time_steps"])
    neurons = {name: node for name, node in graph.nodes.items() if isinstance(node, nir.IF)}
    shapes = {name: (len(latency), *node.v_threshold.shape) for name, node in neurons.items()}
    first = {name: torch.full(shape, steps, dtype=torch.uint8) for name, shape in shapes.items()}
    state = dict.fromkeys(graph.nodes)
    for name, shape in shapes.items():
        state[name] = (torch.zeros(shape, dtype=torch.float64),)
    fired = {}  # {module: its spikes at this step}

    def keep(module, args, output):
        fired[module] = output[0]

    modules = {name: network.get_submodule(name) for name in neurons}
    hooks = [module.register_forward_hook(keep) for module in modules.values()]
    potential = 0
    for t in range(steps):
        output, state = network((latency == t).double(), state)
        potential = potential + output
        for name, module in modules.items():
            first[name][(fired[module] > 0) & (first[name] == steps)] = t
    for hook in hooks:
        hook.remove()
    return first, potential


@torch.no_grad()
def run(folder: Path) -> None:
    """Print how many decisions and first spikes differ for each network of the folder."""
    import nir
    from spikingjelly.activation_based.nir_exchange import import_from_nir

    for path in sorted(folder.glob("*.nir")):
        graph = nir.read(path)
        expected = {name: torch.from_numpy(array) for name, array in np.load(path.with_suffix(".npz")).items()}
        network = import_from_nir(path, dtype=torch.float64)
        classes = torch.from_numpy(graph.metadata["class_of_feature"])
        different = {}
        wrong = 0
        for start in range(0, IMAGES, BATCH):
            part = slice(start, start + BATCH)
            first, potential = simulate(network, graph, expected["input"][part])
            for name, times in first.items():
                wanted = expected[f"map {name.removesuffix('_neurons')}"][part]
                different[name] = different.get(name, 0) + int((times != wanted).sum())
            peaks = potential.amax((2, 3))
            decisions = classes[peaks.argmax(1)]
            decisions[peaks.amax(1) <= 0] = -1
            wrong += int((decisions != expected["decisions"][part]).sum())
        print(
            f"{path.stem}, {IMAGES} images: {wrong} other decisions; first spikes that differ:", different, flush=True
        )


if __name__ == "__main__":
    command, folder, *checkpoints = sys.argv[1:]
    if command == "write":
        write(Path(folder), checkpoints)
    else:
        run(Path(folder))
