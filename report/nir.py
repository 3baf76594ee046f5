"""A trained network as a NIR graph, which other simulators and neuromorphic hardware read.

NIR is the Neuromorphic Intermediate Representation (Pedersen et al. 2024, Nature Communications 15:8122). A simulator
that reads the graph gets the spikes of one time step after the other, each spike once: ``wave[t] - wave[t - 1]``.

* A convolution with a threshold is a Conv2d without a bias, and integrate-and-fire neurons (IF) with r = 1 / ``DT``, so
  that a step of length ``DT`` adds the sum of the weights to the potential. Neurons of this program fire strictly above
  their threshold, but some simulators fire at the threshold: the threshold in the graph is the next float64 number
  above the declared one. Rounded to float32, it is the declared one again. After its spike, a neuron is reset to
  ``RESET``, so that it fires once.
* A pooling is an AvgPool2d, and IF neurons whose threshold is half of what a single spike adds.
* The decision stage is its Conv2d. The sum of its output over time is the potential at the last time step, and the
  highest potential of each feature decides.

Potentials begin at 0. A simulator that begins at the reset potential must be given the state 0. Simulators differ: for
example, snnTorch 1.0 reads IF neurons with a leak of 0.9, and sinabs 3.1 ignores the reset potential.
"""

from io import BytesIO
from itertools import pairwise
from pathlib import Path

import numpy as np

from engine.graph import StageGraph
from engine.stages import INPUT
from errors import InputError
from utils import write_atomically

DT = 1e-4  # seconds of a time step, as most readers of NIR assume
RESET = -1e9  # no neuron reaches its threshold from here


def write_nir(path: Path, model: StageGraph, class_names: tuple[str, ...]) -> None:
    """Write a network for images of its ``image_size`` as a NIR graph, an HDF5 file.

    Raises InputError for a network that NIR cannot represent, and without the package ``nir``.
    """
    try:
        import nir
    except ImportError as error:
        raise InputError("--nir needs another package: pip install nir", flag="--nir") from error

    def make_neurons(shape, threshold):
        resistance = np.full(shape, 1 / DT)
        above = np.full(shape, np.nextafter(threshold, np.inf))
        reset = np.full(shape, RESET)
        return nir.IF(resistance, above, reset)

    below = INPUT
    shape = model.in_channels, *model.image_size
    nodes = {INPUT: nir.Input({"input": np.array(shape)})}
    for name, stage in model.stages.items():
        if model.inputs_of(name) != (below,) or len(stage.convs) > 1 or stage.sees_whole_maps:
            reason = f"is a {type(stage).__name__}"
            if model.inputs_of(name) != (below,):
                reason = f"reads {' and '.join(model.inputs_of(name))}, not {below} below it"
            lack = "NIR represents chains of SpikingConv and Pool"
            raise InputError(f"{lack}; {name} of {model.name} {reason}", flag="--nir", field=name)
        below = name
        sides = shape[1:]
        shape = stage.output_shape(*shape)
        if stage.convs:
            threshold = stage.threshold
            weight = stage.weight.numpy(force=True)
            bias = np.zeros(len(weight), weight.dtype)
            nodes[name] = nir.Conv2d(sides, weight, 1, stage.padding, 1, 1, bias)
        else:
            threshold = 0.5 / stage.size**2
            size = np.array([stage.size] * 2)
            padding = np.array([stage.padding] * 2)
            nodes[name] = nir.AvgPool2d(size, size, padding)
        if not stage.decides:
            nodes[f"{name}_neurons"] = make_neurons(shape, threshold)
    nodes["output"] = nir.Output({"output": np.array(shape)})
    metadata = {"time_steps": model.time_steps, "dt": DT}
    if model.decision:
        metadata |= {"classes": list(class_names), "class_of_feature": model.class_of_feature()}
    graph = nir.NIRGraph(nodes, [*pairwise(nodes)], metadata)
    data = BytesIO()  # the HDF5 library ends the process if the disk is full
    nir.write(data, graph)
    write_atomically(path, lambda temporary: temporary.write_bytes(data.getvalue()))
