"""Run trained networks in SpikingJelly, from their NIR graphs, and compare every first spike and every decision.

    python results/scripts/nir_in_spikingjelly.py write FOLDER CHECKPOINT …  # in the environment of this repository
    python results/scripts/nir_in_spikingjelly.py run FOLDER                 # in an environment with SpikingJelly

The second environment needs Python 3.11 and: pip install torch torchaudio spikingjelly nir nirtorch.
The potentials of a network in SpikingJelly begin at the reset potential; here they are given 0 as their state.
"""

import sys
from pathlib import Path

import numpy as np
import torch

IMAGES, BATCH = 1000, 50  # the first test images of MNIST


def write(folder: Path, checkpoints: list[str]) -> None:
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent.parent))
    import datasets
    from report.nir import write_nir
    from training.checkpoint import load_network

    folder.mkdir(parents=True, exist_ok=True)
    images = datasets.load("mnist").test_images[:IMAGES]
    for path in checkpoints:
        network = load_network(path)
        model, latency = network.model.double(), network.encoder.encode(images)
        write_nir(folder / f"{model.name}.nir", model, network.class_names)
        maps = {f"map {name}": found.numpy() for name, found in model.walk(latency)}
        np.savez_compressed(folder / f"{model.name}.npz", input=latency, decisions=model.predict(latency), **maps)


@torch.no_grad()
def run(folder: Path) -> None:
    import nir
    from spikingjelly.activation_based.nir_exchange import import_from_nir

    fired = {}  # {neurons: their spikes at the last step}

    def note(module, args, output):
        fired[module] = output[0]

    for path in sorted(folder.glob("*.nir")):
        graph, expected = nir.read(path), np.load(path.with_suffix(".npz"))
        network, steps = import_from_nir(path, dtype=torch.float64), int(graph.metadata["time_steps"])
        neurons = [name for name, node in graph.nodes.items() if isinstance(node, nir.IF)]
        modules = {name: network.get_submodule(name) for name in neurons}
        for module in modules.values():
            module.register_forward_hook(note)
        different, wrong = dict.fromkeys(neurons, 0), 0
        for start in range(0, IMAGES, BATCH):
            latency = torch.from_numpy(expected["input"][start : start + BATCH])
            shapes = {name: (BATCH, *graph.nodes[name].v_threshold.shape) for name in neurons}
            state = dict.fromkeys(graph.nodes) | {n: (torch.zeros(s, dtype=torch.float64),) for n, s in shapes.items()}
            first = {name: torch.full(shape, steps, dtype=torch.uint8) for name, shape in shapes.items()}
            potential = 0
            for t in range(steps):
                output, state = network((latency == t).double(), state)
                potential = potential + output
                for name in neurons:
                    first[name][(fired[modules[name]] > 0) & (first[name] == steps)] = t
            for name in neurons:
                map_ = torch.from_numpy(expected[f"map {name.removesuffix('_neurons')}"][start : start + BATCH])
                different[name] += int((first[name] != map_).sum())
            peaks = potential.amax((2, 3))
            classes = torch.from_numpy(graph.metadata["class_of_feature"])[peaks.argmax(1)]
            classes[peaks.amax(1) <= 0] = -1
            wrong += int((classes != torch.from_numpy(expected["decisions"][start : start + BATCH])).sum())
        print(
            f"{path.stem}, {IMAGES} images: {wrong} other decisions; first spikes that differ:", different, flush=True
        )


if __name__ == "__main__":
    if sys.argv[1] == "write":
        write(Path(sys.argv[2]), sys.argv[3:])
    else:
        run(Path(sys.argv[2]))
