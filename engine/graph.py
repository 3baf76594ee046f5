"""The stages of a network as a graph, and the way of latency maps through it. Nothing is learned here."""

from collections.abc import Collection, Generator, Iterable, Iterator, Mapping
from itertools import chain
from typing import Any, BinaryIO, NamedTuple

import torch
from torch import nn

from engine.latency import drop_times, to_latency_map
from engine.packed import Packed, PackedLatencies, PackedSpikes
from engine.stages import INPUT, Shape, SpikingConv
from errors import InputError

CHUNK = 1000  # images that pass through the stages together

LatencyMap = torch.Tensor | Packed  # uint8 (N, C, H, W)


class InputOf(NamedTuple):
    """The key of the map that a stage gathers from all maps that it reads; other keys are names of stages."""

    stage: str

    def __str__(self) -> str:
        return f"input of {self.stage}"


MapKey = str | InputOf


class StageGraph(nn.Module):
    """Stages by name, bottom up. Each reads the stage before it, or the stages below it that it names.

    A subclass sets ``stages``, ``in_channels``, ``time_steps``, ``image_size`` (height, width) and ``device``, and then
    calls ``connect``.
    """

    def connect(self) -> None:
        """Connect every stage with what it reads. Raises InputError if the stages do not fit each other."""
        shapes = {INPUT: (self.in_channels, *self.image_size)}
        for name, stage in self.stages.items():
            missing = [other for other in self.inputs_of(name) if other not in shapes]
            if missing:
                raise InputError(f"{name} reads {missing[0]!r}; the maps below it are {', '.join(shapes)}")
            read = [shapes[other] for other in self.inputs_of(name)]
            try:
                stage.connect(read)
            except InputError as error:
                raise InputError(f"{name} {error}") from error
            if self._sees_whole_maps():
                shapes[name] = stage.output_shape(*read[0])
            else:  # sizes do not matter: such a network takes images of any size
                channels = getattr(stage, "out_channels", read[0][0])
                shapes[name] = channels, *self.image_size

    # -----------------------------------------------------------------------------------------------------------------
    # The graph

    def convs(self) -> list[SpikingConv]:
        """Return all convolutions, bottom up."""
        return [conv for _, conv in self.named_convs()]

    def named_convs(self, names: Iterable[str] | None = None) -> Iterator[tuple[str, SpikingConv]]:
        """Yield (label, convolution) of the named stages (None: of all).

        The label of a branch contains its kernel, "s3_5x5", or its number, "s3_2", if two kernels are the same.
        """
        if names is None:
            names = self.stages
        for name in names:
            convs = self.stages[name].convs
            kernels = {conv.kernel for conv in convs}
            for number, conv in enumerate(convs, start=1):
                if len(convs) == 1:
                    yield name, conv
                elif len(kernels) == len(convs):
                    yield f"{name}_{conv.kernel}x{conv.kernel}", conv
                else:
                    yield f"{name}_{number}", conv

    @property
    def decision(self) -> str | None:
        """The name of the decision stage: the last stage, if it has no threshold; otherwise None."""
        name = list(self.stages)[-1]
        return name if self.stages[name].decides else None

    def _sees_whole_maps(self) -> bool:
        return any(stage.sees_whole_maps for stage in self.stages.values())

    def inputs_of(self, key: MapKey) -> tuple[str, ...]:
        """Return the names of the maps that a map is computed from; "input" is the input of the network.

        Raises InputError if there is no such map.
        """
        name = key.stage if isinstance(key, InputOf) else key
        if name not in self.stages:
            raise InputError(f"no stage is called {name!r}; there are {', '.join(self.stages)}")
        names = [INPUT, *self.stages]
        before = names[names.index(name) - 1]
        return self.stages[name].inputs or (before,)

    def input_name(self, stage: str) -> MapKey:
        """Return the key of the map that a stage learns from: of the map that it reads.

        A stage that sees whole maps learns from a separate map, which is gathered from all maps that it reads.
        """
        return InputOf(stage) if self.stages[stage].sees_whole_maps else self.inputs_of(stage)[0]

    def drop_read(self, maps: dict[str, Any], name: str) -> None:
        """Remove from ``maps`` {stage: its map} what no stage after ``name`` reads."""
        names = list(self.stages)
        later = names[names.index(name) + 1 :]
        read = set(chain.from_iterable(map(self.inputs_of, later)))
        for other in set(maps) - read:
            del maps[other]

    def between(self, known: Collection[MapKey], wanted: Collection[MapKey]) -> list[MapKey]:
        """Return the keys, bottom up, of the maps to compute for the ``wanted`` maps if some maps are ``known``.

        Raises InputError if that takes the input of the network and this is not known.
        """
        needed = set()
        waiting = [*wanted]
        while waiting:
            key = waiting.pop()
            if key in known or key in needed:
                continue
            if key == INPUT:
                wanted = ", ".join(map(str, wanted))
                raise InputError(f"{wanted} cannot be computed from {', '.join(map(str, known))} alone")
            needed.add(key)
            waiting.extend(self.inputs_of(key))
        keys = []
        for stage in self.stages:
            keys += [InputOf(stage), stage]
        return [key for key in keys if key in needed]

    def _read_between(self, known: Collection[MapKey], wanted: Collection[MapKey]) -> set[str]:
        """Return the names of all maps that are read to compute the ``wanted`` maps from the ``known`` maps."""
        return set(chain.from_iterable(map(self.inputs_of, self.between(known, wanted))))

    def read_for(self, known: Collection[MapKey], wanted: Collection[MapKey]) -> set[MapKey]:
        """Return which of the ``known`` maps are among the ``wanted`` maps, or are read to compute these."""
        return (self._read_between(known, wanted) | set(wanted)) & set(known)

    def below_decision(self) -> list[str]:
        """Return the names of the stages that the decision depends on; of a network that does not decide, of all."""
        if not self.decision:
            return list(self.stages)
        return self.between((INPUT,), self.inputs_of(self.decision))

    def shapes(self, height: int, width: int) -> dict[str, Shape]:
        """Return {"input" or stage: (channels, rows, columns) of its map}, bottom up, for images of this size.

        Raises InputError if a kernel or a pooling does not fit, or if the network was built for another size.
        """
        if (height, width) != self.image_size and self._sees_whole_maps():
            raise InputError(
                f"this {self.name} was built for images of {self.image_size[0]}×{self.image_size[1]}, not "
                f"{height}×{width}: its decision neurons see the whole image"
            )
        shapes = {INPUT: (self.in_channels, height, width)}
        for name, stage in self.stages.items():
            shapes[name] = stage.output_shape(*shapes[self.inputs_of(name)[0]])
        return shapes

    def check(self, latencies: torch.Tensor) -> torch.Tensor:
        """Return the input as a tensor on the network's device. Raises InputError if it does not fit."""
        latencies = self._check_times(to_latency_map(latencies, self.in_channels))
        self.shapes(*latencies.shape[2:])
        return latencies.to(self.device).contiguous()

    def check_maps(self, maps: LatencyMap | Mapping[MapKey, LatencyMap]) -> dict[MapKey, LatencyMap]:
        """Return {name: map} of the network's input, or of maps by name. Raises InputError if they do not fit."""
        if isinstance(maps, Packed):
            return {INPUT: maps}
        if not isinstance(maps, Mapping):
            return {INPUT: self.check(maps)}
        if not maps:
            raise InputError("there are no maps from which a decision could be computed")
        checked = {}
        for key, latencies in maps.items():
            if not isinstance(latencies, Packed):
                latencies = self._check_times(to_latency_map(latencies))
            checked[key] = latencies
        return checked

    def _check_times(self, latencies: torch.Tensor) -> torch.Tensor:
        if latencies.numel() and int(latencies.max()) > self.time_steps:
            raise InputError(f"latencies reach {int(latencies.max())}; this network has {self.time_steps} time steps")
        return latencies

    # -----------------------------------------------------------------------------------------------------------------
    # Maps on their way up

    def fire(self, maps: Mapping[MapKey, torch.Tensor], wanted: Collection[MapKey]) -> dict[MapKey, torch.Tensor]:
        """Compute the ``wanted`` maps from ``maps`` {key: map}, for a few images at once; return all of them.

        If all that is read of a stage's map is one pooling without padding, both are computed together, and only the
        pooled map is returned.
        """
        maps = {key: latencies.to(self.device) for key, latencies in maps.items()}
        keys = self.between(maps, wanted)
        for key in keys:
            if key in maps:
                continue
            name = key.stage if isinstance(key, InputOf) else key
            stage = self.stages[name]
            latency = stage.gather([maps[other] for other in self.inputs_of(key)])
            pool = None
            if key not in wanted and stage.convs:
                pool = self._find_pool(key, keys)
            if isinstance(key, InputOf):
                maps[key] = latency
            elif pool:
                maps[pool] = stage.fire(latency, self.stages[pool].size)
            else:
                maps[key] = stage.fire(latency)
        return maps

    def _find_pool(self, key: MapKey, keys: list[MapKey]) -> str | None:
        """Return the name of the pooling without padding that alone reads a map, among the ``keys`` to compute."""
        readers = [other for other in keys if key in self.inputs_of(other)]
        if len(readers) != 1 or isinstance(readers[0], InputOf):
            return None
        reader = self.stages[readers[0]]
        return None if reader.convs or reader.padding else readers[0]

    def propagate(
        self,
        maps: Mapping[MapKey, LatencyMap],
        wanted: Collection[MapKey],
        pack: bool = False,
        bits: bool = False,
        file: BinaryIO | None = None,
    ) -> Generator[int, None, dict[MapKey, LatencyMap]]:
        """Compute the ``wanted`` maps of a data set from ``maps`` {key: map}, ``CHUNK`` images at a time.

        Args:
            pack: whether the computed maps are packed.
            bits: whether only one bit per neuron is kept (``PackedSpikes``), also of wanted maps that are known. This
                always holds for a map that a stage gathers. If the times of the known spikes do not matter, they are
                dropped, because this is faster.
            file: where the bits are written; None: in memory.

        Yields the number of images after each chunk, and returns {key: map} of the wanted maps.
        """
        results = {}
        if not bits:
            results = {key: maps[key] for key in wanted if key in maps}
        computed = [key for key in wanted if key not in results]
        if not computed:
            return results
        read = self._read_between(maps, wanted) | set(computed)
        maps = {key: latencies for key, latencies in maps.items() if key in read}
        count = len(next(iter(maps.values())))
        drops_times = bits and not self._times_matter(computed)
        for start in range(0, count or 1, CHUNK):  # an empty data set has maps too, of a shape
            part = {key: latencies[start : start + CHUNK] for key, latencies in maps.items()}
            if drops_times:
                part = {key: drop_times(latency, self.time_steps) for key, latency in part.items()}
            part = self.fire(part, wanted)
            for key in computed:
                if key not in results:  # filled in place: joining the chunks would take the memory twice
                    results[key] = self.allocate(key, count, part[key], pack, bits, file)
                results[key][start : start + CHUNK] = part[key]
            yield min(CHUNK, count - start)
        return results

    def allocate(
        self,
        key: MapKey,
        count: int,
        sample: torch.Tensor,
        pack: bool,
        bits: bool = False,
        file: BinaryIO | None = None,
    ) -> LatencyMap:
        """Return memory for the map ``key`` of ``count`` images. sample: this map of some images; see ``propagate``."""
        shape = sample.shape[1:]
        if bits or isinstance(key, InputOf):
            return PackedSpikes(count, shape, self.time_steps, file)
        if pack:
            return PackedLatencies(count, shape, self.time_steps)
        return sample.new_empty((count, *shape))

    def _times_matter(self, names: Collection[MapKey]) -> bool:
        """Return whether the times of the input's spikes determine which neurons of the maps ``names`` spike.

        They do if a stage has levels or negative weights. Otherwise a potential never falls, and the last one decides.
        """
        for name, stage in self.stages.items():
            if InputOf(name) in names and stage.levels:
                return True
        firing = [conv for conv in self.convs() if not conv.decides]
        return any(bool((conv.weight < 0).any()) for conv in firing)

    @torch.no_grad()
    def map_of(self, maps: LatencyMap | Mapping[MapKey, LatencyMap], key: MapKey) -> LatencyMap:
        """Return the map ``key`` (of a stage, or an ``input_name``) of many images, packed if ``maps`` are.

        maps: the network's input, or {key: map} of maps from which the wanted map follows.
        """
        if isinstance(maps, Mapping) and key in maps:
            return maps[key]
        maps = self.check_maps(maps)
        is_packed = any(isinstance(latencies, Packed) for latencies in maps.values())
        chunks = self.propagate(maps, [key], is_packed)
        while True:
            try:
                next(chunks)
            except StopIteration as done:
                return done.value[key]

    @torch.no_grad()
    def walk(self, latencies: torch.Tensor) -> Iterator[tuple[str, torch.Tensor]]:
        """Yield (stage name, latency map) bottom up.

        The neurons of a stage without a threshold fire at the last step, if their potential is positive.
        """
        maps = {INPUT: self.check(latencies)}
        for name, stage in self.stages.items():
            read = [maps[other] for other in self.inputs_of(name)]
            maps[name] = stage.fire(stage.gather(read))
            yield name, maps[name]
            self.drop_read(maps, name)
