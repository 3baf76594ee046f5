"""The stages of a network as a graph, and the way of latency maps through it. Nothing is learned here."""

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import fields
from inspect import signature
from io import FileIO
from itertools import chain
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import nn

from engine.checks import check_latencies
from engine.decision import class_of_features
from engine.declaration import fits
from engine.layers import LAYERS, Layer, Operation, StageModule, drop_times
from engine.packed import Packed, PackedLatencies, PackedSpikes
from engine.rules import Rule
from engine.stages import INPUT, STAGES, Gather, Shape, SpikingConv, Stage
from engine.threads import Turns
from errors import InputError, refuse_result

CHUNK = 1000  # images that pass through the stages together
ANY_SIDE = 10**9  # neurons: of images that every kernel and pooling fits, if the size of the images is not known

LatencyMap = torch.Tensor | Packed  # uint8 (N, C, H, W)


class Node(NamedTuple):
    """A map of the graph: the stage that computes it, and the names of the maps that this stage reads."""

    stage: Stage
    inputs: tuple[str, ...]


class StageGraph(nn.Module):
    """Stages by name, bottom up. Each reads the stage before it, or the stages below it that it names.

    Attributes:
        declaration: {name: stage}, bottom up.
        nodes: {name of a map: node}, bottom up. A map has the name of its stage. Before a stage that sees whole maps, a
            ``Gather`` stage makes the map "input of STAGE".
        stages: {name of a map: layer}, what computes the maps.
        channels: {name of a map: number of channels}.

    A subclass sets ``in_channels``, ``num_classes``, ``time_steps`` and ``image_size`` (height, width), and then calls
    ``connect``.
    """

    name = "network"  # of a class without a name, in texts
    in_channels: int
    num_classes: int
    time_steps: int
    image_size: tuple[int, int]
    stages: Mapping[str, StageModule]

    def connect(
        self, declaration: dict[str, Stage], has_size: bool, seed: int, backend: str, dtype: torch.dtype
    ) -> None:
        """Connect the stages of a declaration, and make their layers.

        Args:
            has_size: whether all images have the size ``image_size``; otherwise they have any size.
            seed: of the weights.
            backend: of the layers, "event" or "torch".
            dtype: of the weights.

        Raises InputError if the stages do not fit each other, or cannot be trained.
        """
        self.declaration = declaration
        self.turns = Turns()
        self.nodes: dict[str, Node] = {}
        before = INPUT
        for name, stage in declaration.items():
            inputs = stage.inputs or (before,)
            if stage.levels and stage.levels[-1] >= self.time_steps:
                raise InputError(f"{name}.levels must be below {self.time_steps} time steps, not {stage.levels}")
            if stage.sees_whole_maps:
                gathered = f"{INPUT} of {name}"
                self.nodes[gathered] = Node(Gather(levels=stage.levels, only_bits=not stage.fires), inputs)
                inputs = (gathered,)
            self.nodes[name] = Node(stage, inputs)
            before = name
        has_size = has_size or self._sees_whole_maps()
        shapes = self.shapes(*(self.image_size if has_size else (ANY_SIDE, ANY_SIDE)))
        check_training(self)
        rng = np.random.default_rng(seed)
        self.channels = {name: channels for name, (channels, _, _) in shapes.items()}
        layers = {}
        for name, (stage, inputs) in self.nodes.items():
            channels = self.channels[inputs[0]]
            kind = LAYERS.get(type(stage), Operation)
            layers[name] = kind(stage, channels, self.time_steps, backend, dtype, rng)
        self.stages = nn.ModuleDict(layers)  # type: ignore[assignment]  # torch's dicts have no type of their items

    # -----------------------------------------------------------------------------------------------------------------
    # The graph

    def named_layers(self, names: Iterable[str] | None = None) -> Iterator[tuple[str, Layer]]:
        """Yield (name, layer) of the layers with weights of the named stages (None: of all), bottom up.

        A layer has the name of its stage. The name of a branch contains its kernel, "s3_5x5", or its number, "s3_2", if
        two kernels are the same.
        """
        for name in self.declaration if names is None else names:
            layer_names = name_layers(self.declaration[name], name)
            yield from zip(layer_names, self.stages[name].layers, strict=True)

    @property
    def device(self) -> torch.device:
        return next(self.parameters()).device

    @property
    def decision(self) -> str | None:
        """The name of the decision stage: the last stage, if its rule needs labels; otherwise None."""
        name = list(self.declaration)[-1]
        return name if any(rule.needs_labels for rule in self.declaration[name].rules) else None

    def find_decision(self) -> str:
        """Return the name of the decision stage. Raises InputError if the network has none."""
        if self.decision is None:
            raise InputError(
                f"{self.name} has no decision stage (a last stage whose rule needs labels), so it cannot classify"
            )
        return self.decision

    def class_of_feature(self) -> np.ndarray:
        """Return the class of each feature of the decision stage's convolutions, int64 (F,).

        Raises InputError if the network has no decision stage.
        """
        first, *_ = self.declaration[self.find_decision()].convs
        return class_of_features(first.out_channels, self.num_classes)

    def _sees_whole_maps(self) -> bool:
        return any(stage.sees_whole_maps for stage in self.declaration.values())

    def inputs_of(self, name: str) -> tuple[str, ...]:
        """Return the names of the stages that a stage reads; "input" is the input of the network."""
        below = self.input_name(name)
        return self.nodes[below].inputs if self.declaration[name].sees_whole_maps else (below,)

    def input_name(self, stage: str) -> str:
        """Return the name of the map from which a stage with weights learns."""
        return self.nodes[stage].inputs[0]

    def between(self, known: Collection[str], wanted: Collection[str]) -> list[str]:
        """Return the names, bottom up, of the maps to compute for the ``wanted`` maps if some maps are ``known``.

        Raises InputError if that takes the input of the network and this is not known, and for an unknown map.
        """
        self.check_names(wanted)
        needed = set(wanted) - set(known)
        for name in reversed(self.nodes):
            if name in needed:
                needed |= set(self.nodes[name].inputs) - set(known)
        if INPUT in needed:
            raise InputError(f"{', '.join(wanted)} cannot be computed from {', '.join(known)} alone")
        return [name for name in self.nodes if name in needed]

    def read_for(self, known: Collection[str], wanted: Collection[str]) -> set[str]:
        """Return which of the ``known`` maps are among the ``wanted`` maps, or are read to compute these."""
        read = chain.from_iterable(self.nodes[name].inputs for name in self.between(known, wanted))
        return {*read, *wanted} & set(known)

    def shapes(self, height: int, width: int) -> dict[str, Shape]:
        """Return {name of a map: (channels, rows, columns)}, bottom up, for images of this size.

        Raises InputError if a kernel or a pooling does not fit, or if the network was built for another size.
        """
        if (height, width) != self.image_size and self._sees_whole_maps():
            raise InputError(
                f"this {self.name} was built for images of {self.image_size[0]}×{self.image_size[1]}, not "
                f"{height}×{width}: its decision neurons see the whole image"
            )
        shapes = {INPUT: (self.in_channels, height, width)}
        for name, (stage, inputs) in self.nodes.items():
            missing = [other for other in inputs if other not in shapes]
            if missing:
                raise InputError(f"{name} reads {missing[0]!r}; the maps below it are {', '.join(shapes)}")
            try:
                shapes[name] = stage.shape([shapes[other] for other in inputs])
                if not fits(shapes[name], Shape):
                    refuse_result(stage.shape, "(channels, rows, columns)", shapes[name])
                for conv in stage.convs:
                    conv.weight_shape(shapes[inputs[0]][0])
            except InputError as error:
                raise InputError(f"{name}: {error}") from error
        return shapes

    def check_names(self, names: Iterable[str]) -> None:
        """Raise InputError unless all are names of maps."""
        for name in names:
            if name not in self.channels:
                raise InputError(f"{self.name} has no map {name!r}; choose from {', '.join(self.channels)}")

    def check_maps(self, maps: Mapping[str, LatencyMap]) -> dict[str, LatencyMap]:
        """Return maps by name, as tensors or packed.

        Raises InputError if a name, a type, a shape or a latency does not fit the network, or if the maps are of
        different numbers of images.
        """
        self.check_names(maps)
        checked = {}
        for name, latencies in maps.items():
            if not isinstance(latencies, Packed):
                latencies = check_latencies(latencies, self.time_steps, self.channels[name])
            elif (latencies.shape[1], latencies.time_steps) != (self.channels[name], self.time_steps):
                raise InputError(
                    f"the packed latencies {name!r} have {latencies.shape[1]} channels and {latencies.time_steps} time "
                    f"steps; the network needs {self.channels[name]} channels and {self.time_steps} time steps"
                )
            checked[name] = latencies
        if INPUT in checked:
            self.shapes(*checked[INPUT].shape[2:])
        if len(set(map(len, checked.values()))) > 1:
            raise InputError(f"the maps {', '.join(maps)} must be of the same images")
        return checked

    def to_maps(self, maps: LatencyMap | Mapping[str, LatencyMap]) -> dict[str, LatencyMap]:
        """Return {name: map} of maps by name, or of the network's input, which is moved to its device.

        Raises InputError as ``check_maps``.
        """
        if isinstance(maps, Mapping):
            return self.check_maps(maps)
        latencies = self.check_maps({INPUT: maps})[INPUT]
        return {INPUT: latencies if isinstance(latencies, Packed) else latencies.to(self.device)}

    # -----------------------------------------------------------------------------------------------------------------
    # Maps on their way up

    def walk(
        self, maps: torch.Tensor | Mapping[str, torch.Tensor], wanted: Collection[str] | None = None
    ) -> Iterator[tuple[str, torch.Tensor]]:
        """Yield (name, map) of the ``wanted`` maps, bottom up, for a few images. A map is kept until it is not read.

        If all that is read of a stage's map is one pooling without padding, both are computed together. The neurons of
        a stage without a threshold fire at the last step, if their potential is positive.

        maps: the network's input, or {name: map} of maps from which the wanted maps can be computed. wanted: names;
        None: of all stages.
        """
        wanted = list(self.declaration) if wanted is None else wanted
        return self._walk(self.to_maps(maps), wanted)

    @torch.no_grad()
    def _walk(self, maps, wanted):
        """Do the work of ``walk`` with maps that are checked."""
        maps = {name: latencies[:].to(self.device) for name, latencies in maps.items()}
        yield from ((name, maps[name]) for name in wanted if name in maps)
        waiting = self.between(maps, wanted)
        while waiting:
            name = waiting.pop(0)
            read = [maps[other] for other in self.nodes[name].inputs]
            pool = None if name in wanted else self._find_pool(name, waiting)
            if pool is None:
                maps[name] = self.stages[name].fire(*read)
            else:
                waiting.remove(pool)
                name, size = pool, self.declaration[pool].window
                maps[name] = self.stages[self.input_name(pool)].fire(*read, size)
            if name in wanted:
                yield name, maps[name]
            still_read = set(chain.from_iterable(self.nodes[other].inputs for other in waiting))
            maps = {other: latencies for other, latencies in maps.items() if other in still_read}

    def _find_pool(self, name: str, waiting: list[str]) -> str | None:
        """Return the pooling without padding that alone reads a convolution's map, among the maps to compute."""
        readers = [other for other in waiting if name in self.nodes[other].inputs]
        if len(readers) != 1 or not self.nodes[name].stage.convs:
            return None
        return readers[0] if self.nodes[readers[0]].stage.is_plain_pool else None

    def propagate(
        self,
        maps: Mapping[str, LatencyMap],
        wanted: Collection[str],
        results: dict[str, LatencyMap],
        bits: bool = False,
        file: FileIO | None = None,
    ) -> Iterator[int]:
        """Compute the ``wanted`` maps of a data set from ``maps`` {name: map}, ``CHUNK`` images at a time.

        Args:
            maps: {name: map}, which are checked (``to_maps``), or are read by slices.
            results: gets the wanted maps, {name: map}.
            bits: whether only one bit per neuron is kept (``PackedSpikes``), also of wanted maps that are known. This
                always holds for a map that is gathered for a stage without a threshold. If the times of the known
                spikes do not matter, they are dropped, because this is faster.
            file: where the bits are written; None: in memory.

        The computed maps are packed if ``maps`` are. Yields the number of images that are done, after each chunk.
        """
        if not bits:
            results |= {name: maps[name] for name in wanted if name in maps}
        computed = [name for name in wanted if name not in results]
        if not computed:
            return
        maps = {name: maps[name] for name in self.read_for(maps, computed)}
        count = len(next(iter(maps.values())))
        pack = any(isinstance(latencies, Packed) for latencies in maps.values())
        drops_times = bits and not self._times_matter(maps, computed)
        for start in range(0, count or 1, CHUNK):  # once for an empty data set, because its maps have a shape, too
            part = {name: latencies[start : start + CHUNK] for name, latencies in maps.items()}
            if drops_times:
                part = self.check_maps(part)  # a latency above T would become silent
                part = {name: drop_times(latency[:], self.time_steps) for name, latency in part.items()}
            for name, latency in self._walk(part, computed):
                if name not in results:  # filled in place: joining the chunks would take the memory twice
                    results[name] = self.allocate(name, latency, count, pack, bits, file)
                results[name][start : start + CHUNK] = latency
            yield min(start + CHUNK, count)

    def allocate(
        self,
        name: str,
        latency: torch.Tensor,
        count: int,
        pack: bool,
        bits: bool = False,
        file: FileIO | None = None,
    ) -> LatencyMap:
        """Return a map of ``count`` images to fill.

        latency: the map of a few images. pack: whether the map is packed. bits, file: as in ``propagate``.
        """
        shape = latency.shape[1:]
        stage = None if name == INPUT else self.nodes[name].stage
        if bits or (isinstance(stage, Gather) and stage.only_bits):
            return PackedSpikes(count, shape, self.time_steps, file)
        if pack:
            return PackedLatencies(count, shape, self.time_steps)
        return latency.new_empty((count, *shape))

    def _times_matter(self, known: Collection[str], wanted: Collection[str]) -> bool:
        """Return whether the times of the spikes of the ``known`` maps determine which neurons of the ``wanted`` spike.

        They do if a stage between reads times, or if weights are negative. Otherwise a potential never falls, and the
        last one decides.
        """
        if any(self.nodes[name].stage.reads_times for name in self.between(known, wanted)):
            return True
        firing = [layer for _, layer in self.named_layers() if layer.stage.fires]
        return any(bool((layer.weight < 0).any()) for layer in firing)

    @torch.no_grad()
    def map_of(self, maps: LatencyMap | Mapping[str, LatencyMap], name: str) -> LatencyMap:
        """Return the map ``name`` of many images, packed if ``maps`` are.

        maps: the network's input, or {name: map} of maps from which the wanted map follows.

        Raises InputError also if the network learns in another thread meanwhile.
        """
        maps = self.to_maps(maps)
        results: dict[str, LatencyMap] = {}
        with self.turns.read():
            for _ in self.propagate(maps, [name], results):
                pass
        return results[name]


def name_layers(stage: Stage, name: str) -> list[str]:
    """Return the names of the layers of a stage with this name, see ``StageGraph.named_layers``."""
    kernels = [conv.kernel for conv in stage.convs]
    if len(kernels) == 1:
        return [name]
    if len(set(kernels)) == len(kernels):
        return [f"{name}_{kernel}x{kernel}" for kernel in kernels]
    return [f"{name}_{number}" for number in range(1, 1 + len(kernels))]


# ---------------------------------------------------------------------------------------------------------------------
# What a declaration must fulfil


def check_stages(declaration: Any) -> dict[str, Stage]:
    """Return what ``build`` of a network has returned. Raises InputError unless it is a dict of stages."""
    if not isinstance(declaration, dict) or not any(getattr(stage, "convs", ()) for stage in declaration.values()):
        raise InputError(f"build must return a dict of stages, some of which learn, not {declaration!r}")
    for key, stage in declaration.items():
        name = str(key)
        if type(stage) not in STAGES.values():
            raise InputError(f"{name} is a {type(stage).__name__}; stages are {', '.join(STAGES)}")
        fire = getattr(stage, "fire", None)
        can_fire = fire is not None and "time_steps" in signature(fire).parameters
        if type(stage) not in LAYERS and (stage.convs or not can_fire):
            raise InputError(f"{type(stage).__name__} needs a method fire(self, latency, time_steps), and no weights")
        is_free = name.isidentifier() and name != INPUT and not hasattr(nn.ModuleDict(), name)
        if key != name or not is_free or len(name) > 100:  # files are named after one stage, or after two
            raise InputError(f"a stage cannot be called {name!r}; use at most 100 letters and digits, such as s1")
    if len({name.lower() for name in declaration}) < len(declaration):  # some systems have one folder for both
        raise InputError(f"names of stages must differ in more than their case: {', '.join(declaration)}")
    return declaration


def check_effects(name: str, stage: Stage) -> None:
    """Raise InputError if a new stage has the name of something else in files, or a rule a field without effect."""
    if name in ("label", "index", "steps", "decision") or name.startswith(("potentials", "race")):
        raise InputError(
            f"a stage cannot be called {name!r}: files of activation maps have something else by this name"
        )
    rules = [conv.rule for conv in stage.convs if not conv.fires and conv.rule is not None]
    for rule in rules:
        for item in fields(rule):
            if item.name in rule.only_firing and getattr(rule, item.name) != item.default:
                raise InputError(f"{name}.rule.{item.name} has no effect: without a threshold, one neuron wins")


def check_training(network: StageGraph) -> None:
    """Raise InputError if the stages could not be trained: what decides, what learns from rewards, what is read."""
    stages = network.declaration
    *_, last = stages
    for name, stage in stages.items():
        supervised = [rule for rule in stage.rules if rule.needs_labels]
        if not stage.fires and name != last:
            raise InputError(f"{name} has no threshold, so it must be the last stage, which decides")
        decides = name == network.decision or not stage.fires
        if decides and (not supervised or len(stage.rules) > 1):
            raise InputError(f"{name} decides, so it learns by one rule, which needs labels, such as RSTDP()")
        if supervised and stage.fires:
            _check_rewarded(network, name, supervised[0])
    for conv in stages[last].convs:
        if network.decision and conv.out_channels % network.num_classes:
            raise InputError(
                f"{last} has {conv.out_channels} features, not as many for each of {network.num_classes} classes"
            )


def _check_rewarded(network: StageGraph, name: str, rule: Rule) -> None:
    """Raise InputError unless a firing stage can learn from its own decisions, or from those of the stage above it."""
    if not rule.rewards_firing:
        raise InputError(f"{name} has a threshold: {rule.title} is a rule for a last stage without one")
    if name == network.decision:
        return
    last = list(network.declaration)[-1]
    decision = network.declaration[last]
    below = None
    if network.decision and type(decision) is SpikingConv and not decision.fires:
        below = network.input_name(last)
        if below != INPUT and network.nodes[below].stage.is_plain_pool:
            below = network.input_name(below)
    if below != name:
        raise InputError(
            f"{name} learns from rewards, so one decision stage must read it, a SpikingConv without a threshold, with "
            "at most one Pool between, without padding or rank"
        )
    if any(getattr(each, "dropout", 0) for each in (rule, *decision.rules)):
        raise InputError(f"{name} learns from the decisions of {network.decision}, so the dropout of both must be 0")
