"""The data of a run: the data set, its splits, and the images whose activation maps are saved."""

import numpy as np

import datasets
from datasets.splits import stratified_part, stratified_split
from errors import InputError
from report.activation_maps import choose_images
from training.settings import NetworkSettings, TrainSettings

DRY_RUN_IMAGES = {"train": 300, "validation": 100, "test": 100}


def load_data(settings: NetworkSettings) -> datasets.DataSet:
    """Load the data set of the settings. Raises InputError."""
    data_dir = settings.data_dir or datasets.DATA_DIR
    return datasets.load(settings.dataset or "mnist", data_dir, settings.image_size or None)


class Data:
    """The data set of a run, and the indices of the images of its splits.

    Args:
        settings: the settings of the run.
        data: the data set; None: load it.

    Attributes:
        set: the data set.
        train, validation, test: sorted indices, int64. ``test`` is empty if the run does not read the test images.
        splits: the names of the splits that the run uses.
    """

    def __init__(self, settings: TrainSettings, data: datasets.DataSet | None = None):
        self.set = data or load_data(settings)
        split = settings.val_split, settings.ratio, settings.seed, settings.dry_run
        self.train, self.validation = split_indices(self.set.train_labels, *split)
        self.splits = "train", "validation"
        self.test = np.arange(0)
        if settings.test:
            self.splits += ("test",)
            self.test = np.arange(len(self.set.test_labels))
        if settings.dry_run:
            self.test = self.test[: DRY_RUN_IMAGES["test"]]

    def get_split(self, split: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return the images and labels of the whole training or test set, and the indices of the split in them."""
        if split == "test":
            return self.set.test_images, self.set.test_labels, self.test
        return self.set.train_images, self.set.train_labels, getattr(self, split)

    def count_images(self) -> dict[str, int]:
        """Return {split: number of images}."""
        return {split: len(getattr(self, split)) for split in self.splits}


def split_indices(
    labels: np.ndarray, val_split: int | float | None, ratio: float, seed: int, dry_run: bool
) -> tuple[np.ndarray, np.ndarray]:
    """Return the indices of the training images and of the validation images of a run with these settings."""
    held_out = min(5000, len(labels) // 12) if val_split is None else val_split
    train = np.arange(len(labels))
    validation = np.arange(0)
    if held_out:
        train, validation = stratified_split(labels, held_out, seed)
    if ratio != 1:
        train = train[stratified_part(labels[train], ratio, seed)]
    if dry_run:
        train = train[: DRY_RUN_IMAGES["train"]]
        validation = validation[: DRY_RUN_IMAGES["validation"]]
    return train, validation


def choose_map_images(settings: NetworkSettings, labels: np.ndarray) -> np.ndarray:
    """Return the indices of the images whose activation maps are saved. Raises InputError for an impossible index."""
    named = settings.map_index
    if named and not 0 <= min(named) <= max(named) < len(labels):
        raise InputError(
            f"--map-index must be from 0 to {len(labels) - 1}, the {settings.scored_split} images, "
            f"not {min(named)} to {max(named)}"
        )
    named = np.asarray(named, np.int64)
    chosen = choose_images(labels, settings.save_maps)
    if settings.dry_run:
        chosen = chosen[:2]
    return np.concatenate([named, chosen[~np.isin(chosen, named)]])
