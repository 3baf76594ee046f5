"""The plan of a run: the machine, the encoder and the network of its settings, and the checks before it starts."""

from dataclasses import replace

import torch

from datasets import DataSet
from datasets.augmentation import MAX_IN_MEMORY, Augmentation
from encoders import choose_encoder, get_encoder_config
from engine.graph import CHUNK
from engine.stages import INPUT
from models import model_class
from network_trainer import NetworkTrainer
from report.summary import summarize
from s1c1 import Encoder
from training.data import Data, choose_map_images
from training.features import check_features, count_inputs, count_neurons, get_readout
from training.settings import NetworkSettings, TrainSettings, to_text
from utils import check_memory, choose_device, set_threads


def prepare_machine(settings: NetworkSettings) -> torch.device:
    """Set the number of threads. Returns the device on which the network is built."""
    set_threads(settings.threads)
    return choose_device(settings.device, settings.backend)


def resolve(
    settings: TrainSettings, data: DataSet, device: torch.device | str = "cpu"
) -> tuple[TrainSettings, Encoder, NetworkTrainer]:
    """Build the encoder and the network. In the returned settings, the network's defaults replace missing values.

    Raises InputError for settings that do not fit the network.
    """
    network = model_class(settings.model)
    fields = {}
    encoder_fields = {}
    for name, value in settings.set.items():
        if name.startswith("encoder."):
            encoder_fields[name.removeprefix("encoder.")] = value
        else:
            fields[name] = value
    encoder = choose_encoder(network.encoder, settings.encoder, encoder_fields, data.colours)
    model = network(
        in_channels=encoder.channels,
        num_classes=data.num_classes,
        seed=settings.seed,
        device=device,
        backend=settings.backend,
        time_steps=encoder.time_steps,
        overrides=fields,
        image_size=data.image_size[:2],
    )
    names = [phase.name for phase in model.phases]
    epochs = settings.epochs or tuple(model.epochs)
    if len(epochs) != len(names):
        phases = f"the phases of {model.name} ({' '.join(names)})"
        settings.refuse("epochs", f"needs {len(names)} numbers for {phases}, not {len(epochs)}")
    if settings.dry_run:
        epochs = tuple(min(count, 1) for count in epochs)
    image_size = settings.image_size
    augmentation = settings.augment
    if augmentation is None:
        augmentation = Augmentation.parse(network.augmentation)
    if not data.colours:  # recordings of events
        image_size = data.image_size  # of the sensor
        augmentation = settings.augment or Augmentation()
    encoder_name = get_encoder_config(encoder)["name"]
    resolved = replace(
        settings,
        model=network.name,
        encoder=encoder_name,
        epochs=epochs,
        augment=augmentation,
        image_size=image_size,
    )
    return resolved, encoder, model


def check_run(model: NetworkTrainer, data: Data, settings: TrainSettings) -> None:
    """Raise InputError if the settings do not fit the network or the data."""
    lack = None
    if not len(data.validation):
        lack = "--val-split is 0"
    elif model.decision is None:
        lack = f"{model.name} has no decision stage"
    if settings.patience and lack:
        settings.refuse("patience", f"needs a validation accuracy, but {lack}")
    decides = model.decision is not None or get_readout(settings, model) is not None
    if not settings.test and not (decides and len(data.validation)):
        settings.refuse("test", f"tests on the validation images, but {lack}")
    if settings.until is not None:
        model.find_phase(settings.until)
    _, labels, used = data.get_split(settings.scored_split)
    choose_map_images(settings, labels[used])
    if settings.augment:
        if not data.set.colours:
            settings.refuse("augment", "moves images, not recordings of events")
        model.check_copies()
    images = min(CHUNK, len(data.train))
    neurons = count_neurons(model, INPUT, data.set.image_size)
    parts = {f"the latencies of {images:,} images": images * neurons}
    if settings.augment and settings.epochs[-1] and settings.until is None:
        copies = settings.augment.copies * len(data.train) * (count_inputs(model, data) // 8)
        parts[f"{settings.augment.copies} moved copies"] = min(copies, MAX_IN_MEMORY)
    check_memory(parts)
    check_features(settings, model, data)


def describe(model: NetworkTrainer, data: DataSet, settings: TrainSettings) -> str:
    """Return the table of the stages, and the fields of ``--set``. Raises InputError for images that are too small."""
    table = summarize(model, *data.image_size)
    return f"{table}\nset: {to_text(settings.set)}" if settings.set else table
