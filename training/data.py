"""The data set of a run, and the splits of its images, which its settings describe."""

import os
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

import imagesets
from errors import InputError
from imagesets import DataSet
from imagesets.data_set import find_reader, is_path, split_name
from imagesets.duplicates import find_equal, note_copies
from imagesets.splits import choose_evenly, choose_labelled, stratified_part, stratified_split
from training.checkpoint import RunRecord
from training.settings import NetworkSettings, TrainSettings
from training.sheet import label_by_sheet, read_sheet

DRY_RUN_IMAGES = {"train": 300, "validation": 100, "test": 100}


class Split:
    """A split of the images of a data set. The images are read when they are used.

    Args:
        images, labels: all training or all test images, as in ``DataSet``.
        indices: of the images of the split, sorted, int64 (N,).
        labelled: positions in the split of the images whose labels are learned; None: of all.

    Attributes:
        labels: those of the split, int64 (N,).
    """

    def __init__(self, images: np.ndarray, labels: np.ndarray, indices: np.ndarray, labelled: np.ndarray | None = None):
        self._of_part = images, labels
        self.indices = indices
        self.labels = labels[indices]
        self.labelled = labelled

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, places: slice | np.ndarray) -> "Split":
        """Return some images of the split."""
        return Split(*self._of_part, self.indices[places])

    @property
    def images(self) -> np.ndarray:
        """The images of the split: uint8 (N, H, W), in colour (N, H, W, 3)."""
        images, _ = self._of_part
        return images[self.indices]


class Splits:
    """The data set of a run, and the indices of the images of its splits.

    Args:
        settings: the settings of the run.
        data: the data set.

    Attributes:
        data: the data set.
        indices: {"train", "validation" and, if the run reads the test images, "test": sorted, int64}.
        labelled: positions in the split "train" of the images whose labels are learned, int64; None: of all images.
    """

    def __init__(self, settings: TrainSettings, data: DataSet):
        self.data = data
        labels = data.train_labels
        held_out = settings.val_split
        if held_out is None:  # of few images, one of each class
            held_out = 0 if settings.sheet else min(5000, max(len(labels) // 12, data.num_classes))
        train, validation = np.split(np.arange(len(labels)), [len(labels) - data.val_count])
        if data.val_count and settings.val_split is not None:
            settings.refuse("val_split", f"has no effect: {data.name} has {data.val_count:,} validation images")
        if held_out and not data.val_count:
            train, validation = stratified_split(labels, held_out, settings.seed)
        train = train[stratified_part(labels[train], settings.ratio, settings.seed)]
        self.indices = {"train": train, "validation": validation}
        if settings.test and len(data.test_part[1]):
            self.indices["test"] = np.arange(len(data.test_part[1]))
        unlabelled = np.arange(len(labels), len(data.train_images))
        count = None if isinstance(settings.labels, str) else settings.labels
        if settings.dry_run:
            if count is not None:  # refuse what the run refuses
                chosen = choose_labelled(labels[train], count, settings.seed)
                count = min(len(chosen), DRY_RUN_IMAGES["train"])
            self.indices = {name: chosen[choose_few(name, len(chosen))] for name, chosen in self.indices.items()}
            unlabelled = unlabelled[choose_few("train", len(unlabelled))]
        train = self.indices["train"]
        self.labelled = None
        if count is not None:
            self.labelled = choose_labelled(labels[train], count, settings.seed)
        elif len(unlabelled):
            self.labelled = np.arange(len(train))
        self.indices["train"] = np.concatenate([train, unlabelled])

    @property
    def scored(self) -> str:
        """The split that is tested and drawn at the end; "labelled", which is only drawn, if no images are held out."""
        held_out = [name for name in ("test", "validation") if len(self.indices.get(name, ()))]
        return held_out[0] if held_out else "labelled"

    def note_copies(self) -> Iterator[str]:
        """Yield a note if images of a validation part that was drawn are also training images."""
        if not self.data.val_count:  # otherwise, ``imagesets.load`` has noted them
            train, validation = ({*self.indices[name].tolist()} for name in ("train", "validation"))
            groups = find_equal(self.data.train_images)
            yield from note_copies("validation", validation, train, "training", groups, self.data)

    def get_split(self, name: str) -> Split:
        """Return a split of ``indices``, or "labelled": the training images whose labels are learned.

        An image without a label has the label -1.
        """
        if name == "labelled":
            train = self.get_split("train")
            return train if self.labelled is None else train[self.labelled]
        if name == "test":
            return Split(*self.data.test_part, self.indices[name])
        labels = np.pad(self.data.train_labels, (0, self.data.unlabelled), constant_values=-1)
        labelled = self.labelled if name == "train" else None
        return Split(self.data.train_images, labels, self.indices[name], labelled)

    def count_images(self) -> dict[str, int]:
        """Return {split: number of images}, and the number of "labelled" training images if not all are."""
        counts = {name: len(chosen) for name, chosen in self.indices.items()}
        return counts if self.labelled is None else counts | {"labelled": len(self.labelled)}


def choose_few(split: str, count: int) -> np.ndarray:
    """Return which of the ``count`` images of a split a dry run reads, int64."""
    return choose_evenly(count, DRY_RUN_IMAGES[split])


def load_data(settings: NetworkSettings, sheet: Mapping[str, str] | None = None) -> DataSet:
    """Load the data set of the settings, with the labels of their sheet, if they name one. Raises InputError.

    sheet: the content of the sheet; None: it is read.
    """
    if settings.sheet:
        sheet = sheet or read_sheet(settings.sheet)
    data_dir = settings.data_dir or imagesets.DATA_DIR
    size: Any = settings.image_size or None
    data = imagesets.load(settings.data_name, data_dir, size, settings.ground, settings.holds_out)
    return label_by_sheet(data, sheet, settings.sheet) if settings.sheet and sheet else data


def load_data_of_run(settings: NetworkSettings, record: RunRecord) -> DataSet:
    """Load the data set of a run. Its path may be relative to another folder, or the images may have been moved since.

    Raises InputError as ``load_data``; if there are no such files, with the flag that names them.
    """
    try:
        return load_data(settings, record.sheet)
    except InputError as error:
        prefix, path = split_name(settings.data_name)
        if not is_path(settings.data_name) or os.path.exists(path):
            raise
        place = record.paths.get("dataset", "")
        _, recorded = split_name(place)
        reason = "" if os.path.abspath(path) == recorded else ", relative to another folder"
        if not os.path.exists(recorded):
            unknown = f"{prefix}PATH" if prefix else f"FILE{find_reader(settings.data_name)}"
            place = f"{unknown}, where the images are now"
        text = f"{error}: it is the --dataset of the training{reason}; add --dataset {place}"
        raise InputError(text) from error


def check_unchanged(fingerprint: str, data: DataSet, advice: str) -> None:
    """Raise InputError with an advice if a data set does not have the fingerprint with which a run began."""
    if fingerprint != data.fingerprint:
        change = f"its fingerprint was {fingerprint} and is now {data.fingerprint}"
        raise InputError(f"{data.name} has changed since the run began ({change}); {advice}")
