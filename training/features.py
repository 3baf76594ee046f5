"""The features of a trained network, for classifiers other than its own: latency maps of one stage, for all images.

They are of the weights with the best validation accuracy; of a network that decides nothing, of the last.
"""

import math
import shutil
import time
from pathlib import Path

import numpy as np
import torch

from errors import InputError
from training.readout import LAST, read_out, spikes
from utils import get_available_memory, write_atomically

CHUNK = 1000  # images encoded together


def feature_stage(settings, model):
    """The stage whose maps are the features. Errors: InputError if there is no such stage, or nothing below it."""
    names = model.below_decision()
    wanted = settings.save_features or LAST
    if wanted == LAST and names:
        return names[-1]
    if wanted not in names:
        raise InputError(
            f"{model.name} has no stage {wanted!r} before its decision; there are {', '.join(names) or 'none'}"
        )
    return wanted


def check_features(settings, model, data):
    """Errors: InputError if the features that the settings ask for are not there, or fit neither memory nor disk."""
    if settings.save_features is None and wanted_readout(settings, model) is None:
        return
    stage = feature_stage(settings, model)
    if settings.save_features is None:
        return
    size = sum(data.counts().values()) * neurons(model, stage, data)
    most = max(data.counts().values()) * neurons(model, stage, data)
    memory, disk = get_available_memory(), _free_disk(settings.output)
    if memory is not None and most > memory:
        raise InputError(
            f"--save-features {stage} takes {most / 1e6:,.0f} MB of memory, and {memory / 1e6:,.0f} MB are free; "
            "name a higher stage, or use less images with --ratio"
        )
    if size > disk:
        raise InputError(
            f"--save-features {stage} writes {size / 1e6:,.0f} MB before compression, and {disk / 1e6:,.0f} MB are "
            f"free in {settings.output}; name a higher stage, or another --output"
        )


def wanted_readout(settings, model):
    """The readout as a dict of its "name" and, if it is not to be chosen, its "C"; None for none."""
    if settings.readout is None:
        return model.readout
    return None if settings.readout == "none" else {"name": settings.readout}


def neurons(model, stage, data):
    """Neurons of the stage for the data set's images."""
    return math.prod(model.shapes(*data.set.image_size)[stage])


def latency_maps(model, encode, images, stage):
    """Return the latency maps uint8 (N, C, H, W) of a stage; ``encode`` makes latencies of images."""
    out = None
    for start in range(0, len(images), CHUNK):
        part = model.map_of(encode(images[start : start + CHUNK]), stage).cpu()
        if out is None:  # filled in place: joining parts at the end would take the memory twice
            out = part.new_empty((len(images), *part.shape[1:]))
        out[start : start + CHUNK] = part
    return torch.empty(0, dtype=torch.uint8) if out is None else out


def save_features(folder, split, latencies, labels, indices, stage, time_steps):
    """``folder/split.npz``: latencies uint8 (N, C, H, W), labels and indices in the data set int64 (N,), the rest."""
    folder.mkdir(exist_ok=True)
    arrays = {"latencies": latencies.numpy(), "labels": labels, "indices": indices}
    write_atomically(
        folder / f"{split}.npz",
        lambda temporary: np.savez_compressed(temporary, **arrays, stage=stage, time_steps=time_steps),
    )


def read_features(run, seconds):
    """Save the features of a ``Run`` and train its readout, as its settings want.

    ``seconds`` gets how long each took. Returns {"readout": what ``read_out`` returns}, or {}. A readout that does not
    fit in memory is no reason to lose the run: it is {"refused": why}.
    """
    settings, model, data = run.settings, run.model, run.data
    config = wanted_readout(settings, model)
    if settings.save_features is None and config is None:
        return {}
    stage, start = feature_stage(settings, model), time.perf_counter()
    run.log.info(f"features of {stage}")
    inputs = {}
    try:
        for split in data.splits:
            images, labels, indices = data.part(split)
            if not len(indices):
                inputs[split] = None, labels[indices]
                continue
            latencies = latency_maps(model, run.encode, images[indices], stage)
            if settings.save_features is not None:
                save_features(
                    run.folder / "features", split, latencies, labels[indices], indices, stage, model.time_steps
                )
            if config is not None:
                inputs[split] = spikes(latencies, model.time_steps), labels[indices]
        seconds["features"] = time.perf_counter() - start
        if config is None:
            return {}
        found = read_out(config, *inputs.values(), model.num_classes)
        seconds["readout"] = time.perf_counter() - start - seconds["features"]
        return {"readout": {"stage": stage, **found}}
    except InputError as error:
        if config is None:
            raise
        return {"readout": {"name": config["name"], "stage": stage, "refused": str(error)}}


def describe_readout(found):
    """One line about what ``read_features`` returns."""
    about = f"{found['name']} on {found['stage']}"
    if "refused" in found:
        return f"{about}: none; {found['refused']}"
    note = "" if found["converged"] else ", not converged"
    return f"{about}, C {found['C']:g}{note}: {100 * found['test']['accuracy']:.2f} % of the test images right"


def _free_disk(output):
    """Bytes free where the output folder is, or will be made."""
    place = Path(output).resolve()
    while not place.exists():
        place = place.parent
    return shutil.disk_usage(place).free
