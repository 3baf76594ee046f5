"""``--init-from``: what a new network takes over from a trained one, and what that one has seen."""

import hashlib

import numpy as np

from errors import InputError
from training import checkpoint
from training.encoders import build_encoder, encoder_config
from training.run import divide
from training.settings import Settings


def take_over(place, model, encoder, data, settings):
    """Copy into the model every stage of a checkpoint whose name and shapes fit, with its rates.

    Returns a record of it for args.json, and the sentences to be said of it. Errors: InputError for a checkpoint of
    another encoder or number of time steps, and for one of which no stage fits.
    """
    content = checkpoint.load(place)
    theirs, own = encoder_config(build_encoder(content["encoding"])), encoder_config(encoder)
    if theirs != own:
        differ = [key for key in {**own, **theirs} if own.get(key) != theirs.get(key)]
        told = ", ".join(f"{key} {theirs.get(key)}, not {own.get(key)}" for key in differ)
        raise InputError(f"--init-from {place} was trained on spikes of another encoder: {told}")
    taken = [name for name in model.stages if _copy(model, name, content["state"])]
    if not taken:
        raise InputError(f"--init-from {place} holds a {content['model']}; no stage fits one of {model.name}")
    new = [name for name, stage in model.stages.items() if stage.convs and name not in taken]
    record = {"checkpoint": str(place), "sha256": hashlib.sha256(place.read_bytes()).hexdigest(), "stages": taken}
    lack = checkpoint.lack(place, content)
    notes = [
        *([lack] if lack else []),
        f"{' '.join(taken)} from {place}" + (f"; {' '.join(new)} from the seed" if new else ""),
    ]
    return record, [*notes, *_seen(place, content["run"], data, settings)]


def _copy(model, name, state):
    """Whether the stage has weights of the same shapes in ``state``; they and the rates that fit are then its own."""
    own = {key: value for key, value in model.state_dict().items() if key.startswith(f"stages.{name}.")}
    theirs = {key: value for key, value in state.items() if key.startswith(f"stages.{name}.")}
    shapes, other = (
        {key: value.shape for key, value in values.items() if key.endswith(".weight")} for values in (own, theirs)
    )
    if not shapes or shapes != other:
        return False
    for key, value in own.items():
        if key in theirs and theirs[key].shape == value.shape:
            value.copy_(theirs[key])
    return True


def _seen(place, run, data, settings):
    """A sentence if the checkpoint's network was, or may have been, trained on the validation images."""
    if not len(data.validation):
        return []
    if not isinstance(run.get("flags"), dict):
        return [f"{place} does not say what it was trained on: it may have seen these validation images"]
    if run.get("fingerprint", data.set.fingerprint) != data.set.fingerprint or run["dataset"] != data.set.name:
        return [f"it was trained on other data, {run['dataset']}: if they share images, it may have seen these "
                "validation images"]  # fmt: skip
    trained, _ = divide(data.set.train_labels, Settings.from_dict(run["flags"]))
    seen = len(np.intersect1d(trained, data.validation))
    if not seen:
        return []
    return [f"it was trained on another split: it has seen {seen:,} of these {len(data.validation):,} validation "
            "images, so the validation accuracy is too good"]  # fmt: skip
