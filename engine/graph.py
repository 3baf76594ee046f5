"""The stages of a network as a graph, and the way of latency maps through it. Nothing is learned here."""

import torch
from torch import nn

from engine.packed import Packed, PackedLatencies, PackedSpikes
from engine.stages import INPUT, Pool, SpikingDense, Stage
from errors import InputError

CHUNK = 1000  # images that pass through the stages together


class StageGraph(nn.Module):
    """Stages by name, bottom up: each reads the one before it, or those below it that it names.

    A subclass sets ``stages``, ``in_channels``, ``time_steps``, ``image_size`` (height, width) and ``device``; then it
    calls ``connect``.
    """

    def connect(self):
        """Tell every stage what it reads. Errors: InputError where the stages do not fit each other."""
        maps = {INPUT: (self.in_channels, *self.image_size)}
        for name, stage in self.stages.items():
            if not isinstance(stage, Stage):
                raise InputError(
                    f"{name} is a {type(stage).__name__}; stages are SpikingConv, SpikingDense, Pool, Branches and Vote"
                )
            missing = [other for other in self.inputs_of(name) if other not in maps]
            if missing:
                raise InputError(f"{name} reads {missing[0]!r}; the maps below it are {', '.join(maps)}")
            read = [maps[other] for other in self.inputs_of(name)]
            try:
                stage.connect(read)
            except InputError as error:
                raise InputError(f"{name} {error}") from error
            # sizes only where they matter: other networks take images of any size
            size = stage.output_size(*read[0][1:]) if self._sees_all() else self.image_size
            maps[name] = getattr(stage, "out_channels", read[0][0]), *size

    def convs(self):
        return [conv for stage in self.stages.values() for conv in stage.convs]

    def named_convs(self, names=None):
        """(label, convolution) of the named stages (None: all).

        The label of a branch names its kernel, "s3_5x5", or its place, "s3_2", where two have the same.
        """
        for name in self.stages if names is None else names:
            convs = self.stages[name].convs
            kernels = [conv.kernel for conv in convs]
            for place, conv in enumerate(convs, start=1):
                which = f"{conv.kernel}x{conv.kernel}" if len(set(kernels)) == len(kernels) else f"{place}"
                yield (name if len(convs) == 1 else f"{name}_{which}"), conv

    @property
    def decision(self):
        """Name of the last stage, which decides; None if it does not."""
        name = list(self.stages)[-1]
        return name if self.stages[name].decides else None

    def _sees_all(self):
        """Whether a stage sees the whole image, so that the network is bound to its size."""
        return any(isinstance(stage, SpikingDense) for stage in self.stages.values())

    def inputs_of(self, name):
        """Names of the stages that a stage reads; "input" is the network's input."""
        names = [INPUT, *self.stages]
        return self.stages[name].inputs or (names[names.index(name) - 1],)

    def drop_read(self, maps, name):
        """Take out of ``maps`` {stage: latency map} what no stage after ``name`` reads."""
        later = list(self.stages)[list(self.stages).index(name) + 1 :]
        for other in [*maps]:
            if not any(other in self.inputs_of(reader) for reader in later):
                del maps[other]

    def between(self, first, last):
        """Names of the stages that make of the input of stage ``first`` (None: the network's) that of ``last``.

        Bottom up; ``last`` None: the stages from ``first`` up to the end. Errors: InputError if ``last`` reads more
        than follows from the input of ``first``.
        """
        if last is None:
            names = list(self.stages)
            return names[names.index(first) if first else 0 :]
        there = (INPUT,) if first is None else self.inputs_of(first)
        names, read = self._way(there, last)
        if INPUT in read and INPUT not in there:
            raise InputError(f"the input of {last} does not follow from that of {first} alone")
        return names

    def _way(self, there, last):
        """The stages between the maps ``there`` and the input of stage ``last``, bottom up; which maps these read."""
        needed, read = set(), set()
        wanted = list(self.inputs_of(last))
        while wanted:
            name = wanted.pop()
            if name in there or name == INPUT:
                read.add(name)
            elif name not in needed:
                needed.add(name)
                wanted.extend(self.inputs_of(name))
        return [name for name in self.stages if name in needed], read

    def sizes(self, height, width):
        """(stage name, output size) bottom up. Errors: InputError where a kernel or the size does not fit."""
        return [(name, shape[1:]) for name, shape in self.shapes(height, width).items() if name != INPUT]

    def shapes(self, height, width):
        """{"input" or stage: (channels, rows, columns) of its map}, bottom up. Errors: as of ``sizes``."""
        if (height, width) != self.image_size and self._sees_all():
            raise InputError(
                f"this {self.name} was built for images of {self.image_size[0]}×{self.image_size[1]}, not "
                f"{height}×{width}: its decision neurons see the whole image"
            )
        shapes = {INPUT: (self.in_channels, height, width)}
        for name, stage in self.stages.items():
            channels, *size = shapes[self.inputs_of(name)[0]]
            shapes[name] = getattr(stage, "out_channels", channels), *stage.output_size(*size)
        return shapes

    def check(self, latencies):
        """``latencies`` as a tensor on the network's device. Errors: InputError if the network cannot take them."""
        latencies = torch.as_tensor(latencies)
        if latencies.dtype != torch.uint8 or latencies.dim() != 4 or latencies.shape[1] != self.in_channels:
            raise InputError(
                f"latencies must be uint8 (N, {self.in_channels}, H, W), not {latencies.dtype} {tuple(latencies.shape)}"
            )
        if latencies.numel() and int(latencies.max()) > self.time_steps:
            raise InputError(f"latencies reach {int(latencies.max())}; this network has {self.time_steps} time steps")
        self.sizes(*latencies.shape[2:])
        return latencies.to(self.device).contiguous()

    def pass_through(self, latencies, names, advance=lambda images: None):
        """Latency maps after the named stages, of which the first reads ``latencies``. Nothing is learned.

        ``advance`` is called with the number of images of each finished part.
        """
        if not names:
            return latencies
        below = self.inputs_of(names[0])
        if len(below) > 1 or any(set(self.inputs_of(name)) - {*below, *names} for name in names):
            raise InputError(f"{', '.join(names)} do not all follow from what {names[0]} reads")
        maps = {below[0]: latencies}
        return self._through(maps, names, names[-1:], advance)[names[-1]]

    def input_of(self, stage, latencies, first=None, advance=lambda images: None):
        """The input of a stage, for ``latencies`` of the network's input, or of that of stage ``first``.

        uint8 (N, C, H, W), packed if ``latencies`` are; of a ``SpikingDense`` it is ``PackedSpikes``.
        """
        if stage == first:
            return latencies
        self.between(first, stage)
        maps = {INPUT if first is None else self.inputs_of(first)[0]: latencies}
        if isinstance(self.stages[stage], SpikingDense):
            return self._packed_input(stage, maps, advance)
        reads = self.inputs_of(stage)[0]
        names, packed = self._way(maps, stage)[0], isinstance(latencies, Packed)
        return self._through(maps, names, {reads}, advance, packed)[reads]

    def _part_of_input(self, stage, maps):
        """The input of a stage for some images, uint8 (n, C, H, W), of ``maps`` below it."""
        maps = {name: latencies.to(self.device) for name, latencies in maps.items()}
        reads = self.inputs_of(stage)
        maps = self._fire(maps, self._way(maps, stage)[0], reads)
        return self.stages[stage].gather([maps[name] for name in reads])

    def _packed_input(self, stage, maps, advance, file=None):
        """The input of a decision stage for whole data sets, of ``maps`` below it."""
        count, packed = len(next(iter(maps.values()))), None
        for start in range(0, count or 1, CHUNK):
            latencies = self._part_of_input(stage, {name: every[start : start + CHUNK] for name, every in maps.items()})
            if packed is None:
                packed = PackedSpikes(count, latencies.shape[1:], self.time_steps, file)
            packed.write(start, latencies)
            advance(len(latencies))
        return packed

    def _through(self, maps, names, wanted, advance, packed=False):
        """The ``wanted`` maps of whole data sets, and those there were, through the named stages.

        ``packed``: as ``PackedLatencies``, not tensors.
        """
        count, out = len(next(iter(maps.values()))), dict(maps)
        for start in range(0, count or 1, CHUNK):  # of no images too there are maps, of a size
            part = {name: latencies[start : start + CHUNK].to(self.device) for name, latencies in maps.items()}
            part = self._fire(part, names, wanted)
            for name in names:
                if name not in wanted:
                    continue
                shape = part[name].shape[1:]
                if name not in out:  # filled in place: joining parts at the end would take the memory twice
                    out[name] = (
                        PackedLatencies(count, shape, self.time_steps) if packed
                        else part[name].new_empty((count, *shape))
                    )  # fmt: skip
                if packed:
                    out[name].write(start, part[name])
                else:
                    out[name][start : start + CHUNK] = part[name]
            advance(min(CHUNK, count - start))
        return out

    def _fire(self, maps, names, wanted):
        """Latency maps {stage: map} of some images through the named stages; a pooling in the pass of what it reads,
        where nothing else reads that. The ``wanted`` maps are among them."""
        maps = dict(maps)
        for name in names:
            if name in maps:
                continue
            stage, latencies = self.stages[name], [maps[other] for other in self.inputs_of(name)]
            pool = self._pooling(name, names, wanted)
            if pool:
                maps[pool] = stage.fire(stage.gather(latencies), self.stages[pool].size)
            else:
                maps[name] = stage.fire(stage.gather(latencies))
        return maps

    def _pooling(self, name, names, wanted):
        """The pooling that is all that becomes of the map of a stage with neurons, or None."""
        readers = [other for other in names if name in self.inputs_of(other)]
        alone = len(readers) == 1 and name not in wanted and self.stages[name].convs
        return readers[0] if alone and isinstance(self.stages[readers[0]], Pool) else None

    @torch.no_grad()
    def walk(self, latencies):
        """Yield (stage name, latency map) bottom up. Without a threshold a neuron fires at the last step, if at all."""
        maps = {INPUT: self.check(latencies)}
        for name, stage in self.stages.items():
            maps[name] = stage.fire(stage.gather([maps[other] for other in self.inputs_of(name)]))
            yield name, maps[name]
            self.drop_read(maps, name)
