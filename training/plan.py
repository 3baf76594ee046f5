"""The plan of a run: encoder, network and epochs, which its settings describe, and the checks of them."""

import math
import os
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from encoders import IMAGES, choose_encoder
from engine.augmentation import Augmentation
from engine.encoder import Encoder
from engine.lengths import EARLY, FEW_PRESENTATIONS, WITH_LABELS, Lengths
from engine.plugins import PLUGINS
from engine.progress import Progress
from errors import InputError
from imagesets import DataSet
from imagesets.data_set import CHARACTERS, find_reader, make_absolute
from imagesets.pictures import MAX_BLACK, find_border
from models import model_class
from network_trainer import NetworkTrainer
from report.diagnosis import LEARNED
from report.summary import summarize
from run_folder import RunFolder
from training.changes import compare_backends, compare_code
from training.checkpoint import Kept, RunCheckpoint, RunRecord, rebuild_network
from training.data import Splits, check_unchanged, load_data_of_run
from training.initial import initialize_from
from training.neighbours import check_neighbours
from training.parsing import read_pairs, to_text
from training.settings import LAST_STAGE, NetworkSettings, TrainSettings
from training.sheet import read_sheet
from utils import check_memory, choose_device, set_threads


@dataclass(frozen=True)
class Plan:
    """What a run trains, on which data, what it writes, and where it begins.

    Attributes:
        settings: in which the network's defaults replace missing values, see ``resolve``.
        splits: the data set with its splits.
        encoder: fitted to the training images.
        model: the network.
        record, progress, kept: of the run, see ``Checkpoint``. As the network, they are those of its beginning, and
            change while it trains.
        notes: lines for the log.
        lengths: how many epochs the phases have.
        augmentation: the moved copies.
        map_images: indices of the images of the scored split whose activation maps are saved.
        feature_stage, readout_stage: whose features are saved, and whose a readout reads; None without these.
    """

    settings: TrainSettings
    splits: Splits
    encoder: Encoder
    model: NetworkTrainer
    record: RunRecord
    progress: Progress
    kept: Kept
    notes: list[str]
    lengths: Lengths
    augmentation: Augmentation
    map_images: np.ndarray
    feature_stage: str | None
    readout_stage: str | None

    @classmethod
    def new(
        cls, settings: TrainSettings, data: DataSet, device: torch.device | str = "cpu", fits: bool = True
    ) -> "Plan":
        """Return the plan of a new run, whose network is on this device.

        fits: whether the encoder is fitted to the training images, if it depends on them; a sweep only checks the plan.

        Raises InputError if the settings do not fit the network, the data or the memory.
        """
        if "silent" in data.class_names:
            reason = "or --labels has a class 'silent', the word for no decision in predictions.csv: rename it"
            settings.refuse("dataset", reason)
        settings, encoder, model = resolve(settings, data, device)
        splits = Splits(settings, data)
        outputs = plan_outputs(settings, splits, model)
        record = describe_run(settings, splits, RunRecord())
        notes = [] if settings.dry_run else warn_of_short(model, outputs["lengths"])
        if settings.init_from:  # with the fitted encoder of the checkpoint
            encoder, source, copied = initialize_from(settings.init_from, settings, splits, encoder, model)
            record.origin["init_from"] = source
            notes += copied
        elif encoder.fitted and fits:
            encoder = encoder.with_state(encoder.fit(data.train_images[splits.indices["train"]]))
        return cls(settings, splits, encoder, model, record, Progress(), {}, notes, **outputs)

    @classmethod
    def resumed(cls, checkpoint: RunCheckpoint, settings: TrainSettings) -> "Plan":
        """Return the plan of a run that goes on from its last checkpoint, with the settings of ``apply_changes``.

        Raises InputError also if the data have changed.
        """
        device = prepare_machine(settings)
        settings = replace(settings, device=str(device))
        record = checkpoint.record
        before = TrainSettings.from_dict(record.flags)
        model = rebuild_network(checkpoint, device, settings.backend)
        encoder = checkpoint.build_encoder()
        data = load_data_of_run(settings, record)
        sheet = settings.sheet
        if sheet and os.path.isfile(sheet) and read_sheet(sheet) != record.sheet:
            settings.refuse("labels", f"{sheet} has changed since the run began; restore it, or begin another run")
        place = record.paths.get("dataset", "PATH")
        check_unchanged(record.fingerprint, data, f"restore the images, or add --dataset {place}, where they were")
        splits = Splits(settings, data)
        outputs = plan_outputs(settings, splits, model)
        progress = checkpoint.progress
        notes = [*compare_code(RunFolder(checkpoint.path.parent.parent)), *compare_backends(before, settings)]
        record = describe_run(settings, splits, record)
        if progress.phase == len(model.phases) and before.epochs != settings.epochs:
            progress = continue_last_phase(settings, model, progress, outputs["lengths"])
            if progress.epoch:  # what was wrong after these epochs may not be wrong after more of them
                record = replace(record, **record.earlier)
        return cls(settings, splits, encoder, model, record, progress, checkpoint.kept, notes, **outputs)

    @property
    def title(self) -> str:
        """The first part of the titles of figures."""
        return self.settings.title(self.splits.data.name)


def plan_outputs(settings: TrainSettings, splits: Splits, model: NetworkTrainer) -> dict[str, Any]:
    """Return {field of ``Plan``: value} of what the settings request. Raises InputError if they do not fit."""
    check_splits(settings, splits, model)
    augmentation = check_copies(settings, model)
    split = splits.scored
    feature_stage = None
    if settings.save_features:
        feature_stage = choose_stage(model, settings.save_features, max(splits.count_images().values()))
    return {
        "lengths": Lengths(model.phases, settings.epochs, len(splits.indices["train"]), **settings.early),
        "augmentation": augmentation,
        "map_images": choose_map_images(settings, splits.get_split(split).labels, split),
        "feature_stage": feature_stage,
        "readout_stage": None if model.readout is None else choose_stage(model, LAST_STAGE),
    }


def warn_of_short(model: NetworkTrainer, lengths: Lengths) -> list[str]:
    """Return a line that names the phases that end before their features can learn, or []."""
    names = [phase.name for phase, is_short in zip(model.phases, lengths.is_short, strict=True) if is_short]
    if not names:
        return []
    few = f"images times epochs are fewer than {FEW_PRESENTATIONS:,} presentations"
    return [f"{', '.join(names)} may hardly learn: {few}; try --converge {LEARNED}"]


def describe_run(settings: TrainSettings, splits: Splits, record: RunRecord) -> RunRecord:
    """Return the record with what it contains of the settings, the data and the code."""
    data = splits.data
    return replace(
        record,
        flags=settings.to_dict(),
        paths={"dataset": make_absolute(settings.data_name), "plugin": [*map(str, PLUGINS)]},
        dataset=data.name,
        class_names=list(data.class_names),
        image_size=list(data.image_size),
        fingerprint=data.fingerprint,
        sheet=dict(data.sheet),
        border=find_border(data.train_images),
        characters=check_characters(settings, data),
    )


def continue_last_phase(
    settings: TrainSettings, model: NetworkTrainer, progress: Progress, lengths: Lengths
) -> Progress:
    """Return the progress of a finished run in its last phase. Raises InputError if the phase ended by itself."""
    name = model.phases[-1].name
    history = progress.history
    epoch = history[-1].epoch if history and history[-1].phase == name else 0
    progress = replace(progress, phase=progress.phase - 1, epoch=epoch)
    ended_by = progress.ended_by
    if ended_by not in EARLY:
        ended_by = lengths.find_end(progress.phase, progress.rows)
    if ended_by == "epochs":
        settings.refuse("epochs", f"must be above {epoch} to train {name} longer with --converge")
    if ended_by:
        settings.refuse("epochs", f"cannot be larger: {settings.describe(ended_by)} ended {name}")
    return progress


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
    overrides = read_pairs(settings.set)
    of_encoder = {name: overrides.pop(name) for name in list(overrides) if name.startswith("encoder.")}
    encoder = choose_encoder(network.encoder, settings.encoder, of_encoder, data.colours)
    model = network(
        in_channels=encoder.channels,
        num_classes=data.num_classes,
        seed=settings.seed,
        device=device,
        backend=settings.backend,
        time_steps=encoder.time_steps,
        overrides=overrides,
        image_size=encoder.shape(*data.image_size),
    )
    epochs = settings.epochs or model.epochs
    model.check_epochs(epochs)
    converge = model.converge if settings.converge is None else settings.converge
    if settings.dry_run:
        epochs = tuple(min(count, 1) for count in epochs)
        converge = 0.0
    resolved = replace(
        settings,
        model=network.name,
        dataset=settings.data_name,
        encoder=encoder.name,
        epochs=epochs,
        converge=converge,
        device=str(device),
        augment=settings.augment or str(network.augmentation),
    )
    return resolved, encoder, model


def check_splits(settings: TrainSettings, splits: Splits, model: NetworkTrainer) -> None:
    """Raise InputError if there are no images for what the settings request."""
    has_validation = len(splits.indices["validation"]) > 0
    lack = f"{model.name} has no decision stage" if has_validation else "--val-split is 0"
    is_validated = has_validation and model.decision is not None
    learns_labels = any(phase.needs_labels for phase in model.phases) or model.readout
    if settings.labels is not None and not learns_labels:
        settings.refuse("labels", f"has no effect: {model.name} learns nothing with labels")
    for name in WITH_LABELS:
        if getattr(settings, name) and not is_validated:
            settings.refuse(name, f"needs a validation accuracy, but {lack}")
    if model.readout and splits.scored == "labelled":
        settings.refuse("test", f"tests on the validation images, but {lack}")
    if settings.spread and len(splits.get_split("labelled")) == len(splits.indices["train"]):
        settings.refuse("spread", "needs training images without labels: add --labels N, or a folder 'unlabelled'")
    if settings.spread and model.decision:
        below = model.input_name(model.decision)
        check_neighbours("--spread", len(splits.indices["train"]), count_neurons(model, below))


def check_copies(settings: TrainSettings, model: NetworkTrainer) -> Augmentation:
    """Return the augmentation. Raises InputError if the network cannot learn from it, or from labels that spread."""
    augmentation = read_augmentation(settings.augment or "none")
    for name, is_given in (("augment", augmentation), ("spread", settings.spread)):
        if is_given and not model.learns_from_copies:
            networks = "networks that learn with labels in a last stage without a threshold alone"
            settings.refuse(name, f"is for {networks}, not {model.name}: copies keep which neurons spike, not when")
    return augmentation


def check_characters(settings: TrainSettings, data: DataSet) -> bool:
    """Return whether the images are characters. Raises InputError if ``--characters`` does not fit them."""
    if settings.characters:
        if data.colours != 1:
            settings.refuse("characters", f"is for grey images; {data.name} has {IMAGES[data.colours]}")
        border = find_border(data.train_images)
        if border > MAX_BLACK:
            light = f"the border of the images of {data.name} is {border:.0f} of 255: invert them"
            settings.refuse("characters", f"is for light characters on black, but {light}")
    return settings.characters or (data.colours == 1 and find_reader(settings.data_name) in CHARACTERS)


def read_augmentation(text: str) -> Augmentation:
    """Parse ``"copies=8 turn=8 shift=1.2 scale=0.08 shear=0.08 flip"``, or some of these words, or ``"none"``."""
    values = read_pairs(text.split())
    if values == {"none": True}:
        return Augmentation()
    try:
        return Augmentation().set_fields({(name,): value for name, value in values.items()})
    except InputError as error:
        raise InputError(f"--augment: {error}") from error


def choose_map_images(settings: NetworkSettings, labels: np.ndarray, split: str = "test") -> np.ndarray:
    """Return the indices of the images whose activation maps are saved. Raises InputError for an impossible index."""
    named = np.array(settings.map_index, np.int64)
    if any(named >= len(labels)):
        settings.refuse("map_index", f"must be from 0 to {len(labels) - 1}, the {split} images, not {max(named)}")
    chosen = choose_images(labels, settings.save_maps)
    if settings.dry_run:
        chosen = chosen[:2]
    return np.concatenate([named, chosen[~np.isin(chosen, named)]])


def choose_images(labels: np.ndarray, per_class: int) -> np.ndarray:
    """Return the indices of the first ``per_class`` images of each class, in the order of the classes, int64."""
    indices = [np.arange(0)]
    for label in np.unique(labels):
        indices.append(np.flatnonzero(labels == label)[:per_class])
    return np.concatenate(indices)


def choose_stage(model: NetworkTrainer, stage: str, images: int = 0) -> str:
    """Return the stage of --save-features by its name, or the last before the decision stage.

    Raises InputError if there is no such stage, or if its maps of this number of images do not fit in memory.
    """
    names = [name for name in model.declaration if name != model.decision]
    if stage == LAST_STAGE and names:
        stage = names[-1]
    if stage not in names:
        known = ", ".join(names) or "none"
        raise InputError(f"{model.name} has no stage {stage!r} before its decision stage; choose from {known}")
    check_memory(f"--save-features {stage}", images * count_neurons(model, stage))
    return stage


def count_neurons(model: NetworkTrainer, stage: str) -> int:
    """Return the number of neurons of a stage, or of the input ("input"), for inputs of the network's size."""
    return math.prod(model.shapes(*model.image_size)[stage])


def describe(model: NetworkTrainer, settings: TrainSettings) -> str:
    """Return the table of the stages, and the fields of ``--set``."""
    table = summarize(model)
    return f"{table}\nset: {to_text(settings.set)}" if settings.set else table
