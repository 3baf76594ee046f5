"""A trained network as a NIR graph, which other simulators and neuromorphic hardware read.

NIR is the Neuromorphic Intermediate Representation (Pedersen et al. 2024, Nature Communications 15:8122). A simulator
that reads the graph gets the spikes of one time step after the other, each spike once: ``wave[t] - wave[t - 1]``.

* A convolution with a threshold is a Conv2d without a bias, and integrate-and-fire neurons (IF) with r = 1 / ``DT``, so
  that a step of length ``DT`` adds the sum of the weights to the potential. Neurons of this program fire strictly above
  their threshold, but some simulators fire at the threshold: the threshold in the graph is the next float64 number
  above the declared one. Rounded to float32, it is the declared one again. After its spike, a neuron is reset to
  ``RESET``, so that it fires once.
* A pooling is an AvgPool2d, and IF neurons whose threshold is half of what a single spike adds. Padding counts as
  neurons without a spike.
* Branches are convolutions with their neurons, and after each of them a Conv2d of 1×1 with padding, which places its
  spikes among the features of the joined map. A node that several nodes precede gets the sum of their outputs.
* The decision stage is its Conv2d. The sum of its output over time is the potential at the last time step, and the
  highest potential of each feature decides. Of a ``SpikingDense``, each map that it reads has a Flatten and a Linear,
  all of which precede the output.
* A decision by the first spike, the levels of a ``SpikingDense``, the rank of a ``Pool`` and all other stages have no
  place in NIR.

Potentials begin at 0. A simulator that begins at the reset potential must be given the state 0. Simulators differ: for
example, snnTorch 1.0 reads IF neurons with a leak of 0.9, and sinabs 3.1 ignores the reset potential.
"""

from io import BytesIO
from pathlib import Path

import numpy as np

from engine.graph import StageGraph
from engine.stages import INPUT, Branches, Pool, SpikingConv, SpikingDense
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
        raise InputError("--nir needs another package: pip install nir") from error

    graph = _Graph(nir, model)
    represented = {
        SpikingConv: graph.add_single,
        SpikingDense: graph.add_dense,
        Branches: graph.add_branches,
        Pool: graph.add_pool,
    }
    for name, stage in model.declaration.items():
        kind = type(stage)
        if name == model.decision and stage.fires:
            graph.refuse(name, "decision by the first spike")
        if kind not in represented:
            graph.refuse(name, f"stage such as {kind.__name__}")
        graph.ends[name] = represented[kind](name, stage)
    *_, last = model.declaration
    shape = graph.shapes[last]
    if model.declaration[last].sees_whole_maps:
        shape = shape[:1]
    end = "output"
    while end in graph.nodes:  # a stage has this name
        end += "_"
    graph.add(end, nir.Output({"output": np.array(shape)}), graph.ends[last])
    metadata: dict = {"time_steps": model.time_steps, "dt": DT}
    if model.decision:
        metadata |= {"classes": list(class_names), "class_of_feature": model.class_of_feature()}
    data = BytesIO()  # the HDF5 library ends the process if the disk is full
    nir.write(data, nir.NIRGraph(graph.nodes, graph.edges, metadata))
    write_atomically(path, lambda temporary: temporary.write_bytes(data.getvalue()))


class _Graph:
    """The nodes and edges of a graph, stage after stage.

    Attributes:
        nodes, edges: those of ``nir.NIRGraph``.
        shapes: {"input" or stage: the shape of its map}.
        ends: {"input" or stage: names of the nodes whose outputs add up to its map}.
    """

    def __init__(self, nir, model):
        self.nir = nir
        self.model = model
        self.shapes = model.shapes(*model.image_size)
        self.nodes = {INPUT: nir.Input({"input": np.array(self.shapes[INPUT])})}
        self.edges = []
        self.ends = {INPUT: [INPUT]}

    def refuse(self, name, lack):
        """Raise an InputError about a stage or branch."""
        raise InputError(f"NIR has no {lack}, so it cannot represent {name} of {self.model.name}")

    def add(self, name, node, before):
        self.nodes[name] = node
        self.edges += [(other, name) for other in before]
        return name

    def add_weights(self, name, weight, sides, padding, before):
        bias = np.zeros(len(weight), weight.dtype)
        return self.add(name, self.nir.Conv2d(tuple(sides), weight, 1, padding, 1, 1, bias), before)

    def add_neurons(self, name, shape, threshold, before):
        resistance = np.full(shape, 1 / DT)
        above = np.nextafter(np.full(shape, threshold), np.inf)
        reset = np.full(shape, RESET)
        return self.add(f"{name}_neurons", self.nir.IF(resistance, above, reset), before)

    def add_conv(self, layer_name, layer, name):
        """Add a convolution of the stage ``name`` and, if it has a threshold, its neurons. Returns the last node."""
        below = self.model.input_name(name)
        shape = self.shapes[below]
        conv = layer.stage
        weight = layer.weight.numpy(force=True)
        weights = self.add_weights(layer_name, weight, shape[1:], conv.padding, self.ends[below])
        if not conv.fires:
            return weights
        return self.add_neurons(layer_name, conv.shape([shape]), layer.threshold, [weights])

    def add_single(self, name, stage):
        return [self.add_conv(name, self.model.stages[name], name)]

    def add_pool(self, name, stage):
        if stage.rank > 1:
            self.refuse(name, "ranks of spikes")
        size = np.array([stage.size] * 2)
        padding = np.array([stage.padding] * 2)
        mean = self.add(name, self.nir.AvgPool2d(size, size, padding), self.ends[self.model.input_name(name)])
        return [self.add_neurons(name, self.shapes[name], 0.5 / stage.size**2, [mean])]

    def add_branches(self, name, stage):
        """Add convolutions whose spikes are placed in one map. Returns the nodes that place them."""
        below = self.shapes[self.model.input_name(name)]
        shape = self.shapes[name]
        placed = []
        regions = stage.regions([], below, shape)
        for (layer_name, layer), region in zip(self.model.named_layers([name]), regions, strict=True):
            neurons = self.add_conv(layer_name, layer, name)
            sides = layer.stage.shape([below])[1:]
            padding = region.rows.start, region.columns.start
            padded = tuple(side + 2 * pad for side, pad in zip(sides, padding, strict=True))
            if padded != shape[1:]:
                self.refuse(layer_name, "padding that differs between the sides of a map")
            place = np.eye(shape[0], dtype=layer.weight.numpy(force=True).dtype)[:, region.features, None, None]
            placed.append(self.add_weights(f"{layer_name}_placed", place, sides, padding, [neurons]))
        return placed

    def add_dense(self, name, stage):
        """Add a Flatten and a Linear for each map that a stage reads. Returns the Linear nodes."""
        if stage.levels:
            self.refuse(name, "levels of spike times")
        below = self.model.inputs_of(name)
        last = np.cumsum([np.prod(self.shapes[other]) for other in below])
        weights = np.split(self.model.stages[name].weight.numpy(force=True)[:, :, 0, 0], last[:-1], 1)
        linears = []
        for other, weight in zip(below, weights, strict=True):
            flat = self.nir.Flatten(np.array(self.shapes[other]), 0)  # of one image, so that dimension 0 is no batch
            flatten = self.add(f"{name}_{other}_flat", flat, self.ends[other])
            linears.append(self.add(f"{name}_{other}", self.nir.Linear(weight), [flatten]))
        return linears
