"""The public interface of trained networks: they classify images and compute features for other programs."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import nn

from encoders import encode_chunks
from engine.checks import check_labels, check_number
from engine.decision import Outcome
from engine.encoder import Encoder
from engine.plugins import PLUGINS, digest_plugin, import_plugin
from engine.stages import INPUT, set_fields
from errors import InputError, make_printable, warn
from imagesets.image_files import read_image
from imagesets.pictures import GROUNDS, find_border
from models import build_model
from network_trainer import NetworkTrainer
from run_folder import find_checkpoint
from training.checkpoint import (
    Checkpoint,
    RunRecord,
    collect_checkpoint,
    decode_checkpoint,
    encode_checkpoint,
    load_checkpoint,
    rebuild_network,
    save_checkpoint,
)
from training.settings import TrainSettings

OTHER_BORDER = 64  # levels of 255 between the borders of a picture and of the training images


@dataclass(frozen=True, repr=False)
class TrainedNetwork:
    """A trained network that classifies images and computes their features. ``load_network`` returns it."""

    checkpoint: Checkpoint
    model: NetworkTrainer
    encoder: Encoder

    def __repr__(self) -> str:
        return f"TrainedNetwork({self.model.name} of {self.checkpoint.path}, {len(self.class_names)} classes)"

    @property
    def class_names(self) -> tuple[str, ...]:
        """The names of the classes, or their numbers if the checkpoint does not contain names."""
        names = self.checkpoint.record.class_names or map(str, range(self.model.num_classes))
        return tuple(map(make_printable, names))

    @property
    def settings(self) -> TrainSettings:
        """The settings of the run that has trained the network; the defaults if no run has."""
        return TrainSettings.from_dict({"model": self.model.name} | self.checkpoint.record.flags)

    def classify(self, images: Any) -> tuple[np.ndarray, np.ndarray]:
        """Classify images.

        images: the path of a file, or an image of Pillow, which are converted by ``read_image``; an array or tensor
            uint8 (H, W), in colour (H, W, 3), of the size of the training images; a sequence of these, or uint8
            (N, H, W) or (N, H, W, 3).

        Returns arrays: the classes, int64 (N,), -1 for a silent image, and the scores, float32 (N, classes), see
        ``NetworkTrainer.decide``. Raises InputError for images that do not fit, for files that are no images, and if
        the network has no decision stage.
        """
        classes, scores = self.decide(images)
        return classes.numpy(), scores.float().numpy()

    def decide(self, images: Any) -> tuple[torch.Tensor, torch.Tensor]:
        """Do the work of ``classify``, with scores in the type in which the network computes them.

        Rounded to float32, different scores of first spikes are equal.
        """
        images = self.gather(images)
        decided = [self.model.decide(latencies) for _, latencies in encode_chunks(self.encoder, images)]
        classes, scores = zip(*decided, strict=True)
        return torch.cat(classes).cpu(), torch.cat(scores).cpu()

    def learn(self, images: Any, labels: Any) -> Outcome:
        """Let the decision stage learn from images as they come, once each, by the rule that trained it.

        This changes ``model``. To forget less, call it also with images of the other classes in between. A rule whose
        rates decay with the epochs, as the margin rule, uses its first rates; others go on from their current rates.
        Other stages learn only if the last phase of the training trains them, too, as in ``deepr2024``.

        images: as in ``classify``. labels: the name of the class of each image, see ``class_names``.

        Returns what the decisions were worth, each before the network learned from the image. Raises InputError for
        images and labels that do not fit, and if the network has no decision stage.
        """
        images = self.gather(images)
        names = list(map(str, np.asarray(labels).ravel().tolist()))
        for name in names:
            if name not in self.class_names:
                known = ", ".join(self.class_names)
                raise InputError(f"no class is called {name!r}, there are {known}; add_classes([{name!r}]) adds it")
        numbers = check_labels(np.array(list(map(self.class_names.index, names)), np.int64), len(images))
        outcomes = [self.model.train_rl(maps, numbers[part]) for part, maps in encode_chunks(self.encoder, images)]
        return Outcome(*map(sum, zip(*outcomes, strict=True)))

    def add_classes(self, names: Iterable[str]) -> "TrainedNetwork":
        """Return a copy of the network with further classes, which follow the others.

        The neurons of the new classes have their declared first weights, drawn by the seed 0, so they may decide for
        any image until they have learned. With R-STDP they go on doing so, because its punishments are in proportion
        to the correct decisions. All other weights, and the rates, are those of this network.

        Raises InputError for a name that the network has already, and if it has no decision stage.
        """
        model = self.model
        every = [*self.class_names, *(make_printable(str(name)) for name in names)]
        if len({*every}) < len(every):
            raise InputError(f"classes need different names, not {', '.join(every)}")
        neurons = len(model.class_of_feature()) // model.num_classes
        count = len(every)
        grown = build_model(
            model.name,
            in_channels=model.in_channels,
            num_classes=count,
            time_steps=model.time_steps,
            image_size=model.image_size,
            dtype=next(model.parameters()).dtype,
            device=model.device,
            saved=set_fields(model.declaration, {f"{model.decision}.out_channels": neurons * count}),
        )
        state = grown.state_dict()
        for name, tensor in model.state_dict().items():
            state[name][tuple(map(slice, tensor.shape))] = tensor  # the features of the new classes are the last
        record = replace(self.checkpoint.record, class_names=every)
        checkpoint = collect_checkpoint(self.checkpoint.path, grown, self.encoder, record)
        return TrainedNetwork(checkpoint, grown, self.encoder)

    def save(self, path: str | Path) -> None:
        """Save the network with what it has learned, for ``load_network`` and evaluate.py, with the record of its run.

        A file that exists is replaced. Raises InputError if the file cannot be written.
        """
        save_checkpoint(collect_checkpoint(Path(path), self.model, self.encoder, self.checkpoint.record))

    def features(self, images: Any, stage: str) -> torch.Tensor:
        """Compute the features of a stage for other classifiers: float32 (N, F, H, W).

        The value of a neuron is T - t if it spikes at the time step t: T, the number of time steps, for the earliest
        spike, and 0 for silence. images: as in ``classify``.

        Raises InputError for images that do not fit, and for a stage that the network does not have below its decision.
        """
        return self.module(stage)(self.gather(images))

    def module(self, stage: str, encode: bool = True) -> "FrozenStages":
        """Return the stages up to this one as a module without gradients, which shares its weights with the network.

        encode: whether the module reads images; otherwise latency maps. Raises InputError for a stage that the network
        does not have below its decision.
        """
        names = [name for name in self.model.declaration if name != self.model.decision]
        if stage not in names:
            raise InputError(f"{self.model.name} has no features of {stage!r}; choose from {', '.join(names)}")
        return FrozenStages(self.model, stage, self.encoder if encode else None)

    def gather(self, images: Any) -> np.ndarray | torch.Tensor:
        """Return the images of ``classify`` as one array or tensor."""
        size = self.checkpoint.picture_size
        images = self._read(images)
        if not hasattr(images, "shape"):
            arrays = [np.asarray(self._read(image)) for image in images]
            try:
                images = np.stack(arrays)
            except ValueError as error:
                raise InputError(f"these images cannot be classified together: {error}") from error
        shape = (*size, 3) if self.encoder.colours == 3 else size
        if images.shape == shape:
            images = images[None]
        if images.shape[1:] != shape:
            sizes = ", ".join(map(str, shape))
            raise InputError(f"this network takes images (N, {sizes}), not {tuple(images.shape)}")
        return images

    def _read(self, image: Any) -> Any:
        """Return the image of a file or of Pillow, and anything else as it is."""
        return self.read_image(image)[0] if isinstance(image, str | Path | Image.Image) else image

    def read_image(self, path: str | Path | Image.Image, raw: bool = False) -> tuple[np.ndarray, str]:
        """Read an image file by ``image_files.read_image``. Returns the image, and a note on how it was changed.

        raw: do not centre the ink. By default it is centred for networks that were trained on characters.
        """
        record = self.checkpoint.record
        settings = self.settings
        centred = record.characters and not raw
        stretched = bool(settings.image_size)
        ground = settings.ground or GROUNDS[0]
        image, note = read_image(path, *self.checkpoint.picture_size, centred, self.encoder.colours, stretched, ground)
        border = find_border(image[None])
        usual = record.border
        if usual is not None and abs(border - usual) > OTHER_BORDER:
            note += f"{', ' * bool(note)}its border is {border:.0f}, that of the training images {usual:.0f} of 255"
        return image, note


def load_network(
    name: str | Path,
    output: str | Path = "runs",
    device: torch.device | str = "cpu",
    backend: str = "auto",
    plugin: str | Path | None = None,
) -> TrainedNetwork:
    """Load a trained network: the folder of a run, its name in ``output``, "latest", or a checkpoint.

    plugin: the user's own file with which it was trained. It is imported, unless it is imported already. A line on
        stderr states that it has changed since the training.

    Raises InputError if there is no such file, or if it cannot be used.
    """
    if plugin is not None:
        import_plugin(plugin)
    checkpoint = load_checkpoint(find_checkpoint(name, output))
    imported = list(map(digest_plugin, PLUGINS))
    for before in checkpoint.record.flags.get("plugin", ()):
        if before not in imported:
            file, _, _ = before.rpartition(" ")
            warn(f"{file} has changed since the training of {checkpoint.path}: results may differ")
    return TrainedNetwork(checkpoint, rebuild_network(checkpoint, device, backend), checkpoint.build_encoder())


def save_network(
    path: str | Path,
    network: NetworkTrainer,
    class_names: Sequence[str] = (),
    encoder: Encoder | None = None,
    image_size: Sequence[int] | None = None,
) -> None:
    """Save a network that was trained from Python, for ``load_network``, evaluate.py and ``train.py --init-from``.

    Args:
        path: the file, which is replaced if it exists.
        class_names: the names of the classes in the order of their numbers; none: their numbers are the names.
        encoder: the fitted encoder of the images. None: that of the network, if it is not fitted to training images.
        image_size: height and width of the images in pixels; None: those of the network's input.

    Raises InputError if these do not fit the network, if a network rebuilt from the file would be another one, and if
    the file cannot be written. Then nothing is written.
    """
    if not isinstance(network, NetworkTrainer):
        message = f'the network must be one such as build_model("mozafari2018"), not {type(network).__name__}'
        raise InputError(message)
    if not isinstance(path, str | Path) or not Path(path).name or "\0" in str(path):
        raise InputError(f"path must be the path of a file, not {path!r}")
    path = Path(path)
    encoder = network.encoder if encoder is None else encoder
    if not isinstance(encoder, Encoder):
        raise InputError(f"encoder must be an encoder such as S1C1(), not {encoder!r}")
    sides = np.ravel(network.image_size if image_size is None else image_size).tolist()
    size = tuple(check_number("a side of image_size", side, 1) for side in sides)
    if len(size) != 2:
        raise InputError(f"image_size must be a height and a width in pixels, such as (28, 28), not {image_size!r}")
    if not isinstance(class_names, Iterable):
        raise InputError(f"class_names must be a list of names, not {class_names!r}")
    names = [make_printable(str(name)) for name in class_names]
    if "name" not in vars(type(network)):  # it is built by its name
        form = f'class {type(network).__name__}(…, name="mine")'
        raise InputError(f"a network that is saved needs a name of its own: {form}")
    for layer_name, layer in network.named_layers():
        if layer.threshold != layer.stage.threshold:
            change = f'overrides={{"{layer_name}.threshold": {layer.threshold}}}'
            reason = "has another threshold than its declaration"
            raise InputError(f"{layer_name} {reason}; build the network with {change}")
    if names and len({*names}) != network.num_classes:
        raise InputError(f"class_names must be {network.num_classes} different names, not {len(names)}: {names}")
    if encoder.fitted and not encoder.state:
        fit = "encoder.with_state(encoder.fit(training_images))"
        raise InputError(f"the encoder {encoder.name} is fitted to training images: give encoder={fit}")
    maps = encoder.channels, encoder.time_steps, encoder.shape(*size)
    inputs = network.in_channels, network.time_steps, network.image_size
    for what, ours, own in zip(("channels", "time steps", "height and width"), maps, inputs, strict=True):
        if ours != own:
            message = f"from images of {size}, the encoder {encoder.name} makes maps with other {what} than the network"
            raise InputError(f"{message} reads: {ours}, not {own}; see image_size=, and encoder=")
    checkpoint = collect_checkpoint(path, network, encoder, RunRecord(class_names=names, image_size=list(size)))
    try:
        rebuilt = rebuild_network(decode_checkpoint(encode_checkpoint(checkpoint), path))
    except InputError as error:
        raise InputError(f"{network.name} could not be loaded again: {error}") from error
    ours = _list_parts(network)
    again = _list_parts(rebuilt)
    changed = [name for name in ours if not _are_equal(ours[name], again.get(name))]
    if changed:
        raise InputError(f"{network.name} was changed after it was built: {', '.join(changed)} would not be loaded")
    save_checkpoint(checkpoint)


def _list_parts(network: NetworkTrainer) -> dict[str, Any]:
    """Return what determines how a network decides and learns: its state dict, and what its declaration contains."""
    parts: dict = {f"the phase {phase.name}": (phase.stages, phase.rules) for phase in network.phases}
    for name, module in network.stages.items():
        parts[name] = (network.declaration.get(name), type(module), module.stage, module.channels, module.time_steps)
    return parts | network.state_dict()


def _are_equal(part: Any, other: Any) -> bool:
    if isinstance(part, torch.Tensor) and isinstance(other, torch.Tensor):
        return part.dtype == other.dtype and torch.equal(part.cpu(), other.cpu())
    return part == other


def compute_maps(model: NetworkTrainer, encoder: Encoder, images: np.ndarray, stage: str) -> torch.Tensor:
    """Compute the latency maps uint8 (N, C, H, W) of a stage."""
    for part, latencies in encode_chunks(encoder, images):
        maps = model.map_of(latencies, stage)[:].cpu()
        if not part.start:  # filled in place, because to join the parts at the end takes twice the memory
            out = maps.new_empty((len(images), *maps.shape[1:]))
        out[part] = maps
    return out


class FrozenStages(nn.Module):
    """The encoder of a trained network and its stages up to one of them, for networks that learn by gradients above it.

    Nothing in it learns. ``.to`` and ``.half`` do not move or convert it, because its kernels need its device and its
    type, and ``train`` and ``eval`` change nothing. Its state dict contains these stages and the encoder's tensors.

    Args:
        model: the network.
        stage: the name of the last stage.
        encoder: the network's encoder; None: the inputs are latency maps.
    """

    def __init__(self, model: NetworkTrainer, stage: str, encoder: Encoder | None):
        super().__init__()
        self._source = (model, encoder)  # a tuple hides the network, of which the state dict contains only a part
        self.stage = stage
        needed = model.between([INPUT], [stage])
        self.stages = nn.ModuleDict({name: model.stages[name] for name in needed if name in model.stages})
        self.encoder = nn.Module()
        for name, tensor in getattr(encoder, "state", {}).items():
            self.encoder.register_buffer(name, tensor)

    def extra_repr(self) -> str:
        return f"{self.stage} of {self._source[0].name}"

    def _apply(self, fn, recurse=True):
        """Change nothing: ``nn.Module`` moves and converts its modules by this method."""
        return self

    @torch.no_grad()
    def forward(self, inputs: Any) -> torch.Tensor:
        """Compute the features of the stage: float32 (N, F, H, W) on the device of the inputs.

        The value of a neuron is T - t if it spikes at the time step t, and 0 if it is silent.

        inputs: images as the encoder takes them, uint8 (N, H, W) or (N, H, W, 3), or latency maps, uint8 (N, C, H, W).
        """
        model, encoder = self._source
        self.requires_grad_(False)  # also after ``requires_grad_`` of the whole: the kernels read plain tensors
        if encoder is None:
            latencies = model.map_of(inputs, self.stage)[:]
        else:
            latencies = compute_maps(model, encoder, inputs, self.stage)
        device = getattr(inputs, "device", "cpu")
        return model.time_steps - latencies.to(device).float()
