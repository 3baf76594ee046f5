"""The sheet of the images to label first: evaluate.py --ask writes it, and train.py --labels reads it, filled in."""

import csv
import io
import unicodedata
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np

from errors import InputError
from imagesets import DataSet
from imagesets.data_set import number_classes
from report.evaluation import quote

HEADER = "\ufeffimage", "images alike", "class"  # with the mark by which Excel reads UTF-8


def name_training_images(data: DataSet) -> list[str]:
    """Return the names of the training images in a sheet: files, or of arrays their fingerprint and index."""
    names = data.name_images("train", np.arange(len(data.train_images)))
    return [quote(str(name)) if data.files else f"{data.fingerprint}:{name}" for name in names]


def read_sheet(path: str) -> dict[str, str]:
    """Read {image: class, "" if it has none} from a sheet, as spreadsheets save it: with commas, semicolons or tabs.

    Raises InputError if the file is missing or is no such sheet, and if nothing can be learned from its classes.
    """
    try:
        text = unicodedata.normalize("NFC", Path(path).read_bytes().decode("utf-8-sig"))
    except OSError as error:
        raise InputError(f"--labels must be a number, a fraction or a sheet; there is no file {path}") from error
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is not in UTF-8; save it as CSV UTF-8") from error
    first, _, _ = text.partition("\n")
    rows = csv.DictReader(io.StringIO(text, newline=""), delimiter=max(",;\t", key=first.count))
    if not {"image", "class"} <= {*(rows.fieldnames or ())}:
        raise InputError(f"the first line of {path} must name the columns image and class, as --ask writes them")
    sheet: dict[str, str] = {}
    names: dict[str, str] = {}  # as they are first written
    for row in rows:
        image = row["image"]
        name = " ".join((row["class"] or "").split())
        if image in sheet:
            raise InputError(f"{path} contains the image {image!r} twice")
        sheet[image] = name
        if name and name != names.setdefault(name.casefold(), name):
            raise InputError(f"{path} writes one class in two ways: {names[name.casefold()]!r} and {name!r}")
    if len(names) < 2:
        raise InputError(
            f"{path} needs images of two classes or more; it has {', '.join(names.values()) or 'no class'}"
        )
    return sheet


def label_by_sheet(data: DataSet, sheet: Mapping[str, str], path: str) -> DataSet:
    """Return a data set in which only the training images that have a class in a sheet have a label.

    The test part stays if its classes contain those of the sheet; otherwise nothing can be tested.

    sheet: of ``read_sheet``. path: its file, for messages.

    Raises InputError if an image of the sheet is no training image.
    """
    images = name_training_images(data)
    if unknown := sheet.keys() - images:
        raise InputError(f"{path}: {min(unknown)!r} is no training image of {data.name}; it may be of other images")
    classes = np.array([sheet.get(image, "") for image in images])
    order = np.argsort(classes == "", kind="stable")  # those that have a class are the first
    given = classes[classes != ""]
    files = data.name_images("train", order)
    if {*given} <= {*data.class_names}:
        fields: dict = {"train_labels": np.array([*map(data.class_names.index, given)]), "val_count": 0}
        files = [*files, *data.name_images("test", np.arange(len(data.test_part[1])))]
    else:
        fields = number_classes(path, {"train": given}) | {"test_images": None}
    return replace(
        data,
        train_images=data.train_images[order],
        unlabelled=len(order) - len(given),
        files=files,
        notes=(*data.notes, f"{path}: {len(given)} images have a class, {len(sheet) - len(given)} none"),
        sheet=sheet,
        **fields,
    )
