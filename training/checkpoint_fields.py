"""What a checkpoint holds, field by field: of which kind each is, and that they fit each other. Nothing is built here
but the encoder; ``checkpoint_fit.py`` compares them with the network.
"""

import torch

from errors import InputError
from network_trainer import MODELS
from training.config import divided
from training.encoders import DEFAULT, build_encoder, encoder_config
from training.kinds import (
    COUNTS,
    FLOATS,
    each,
    number,
    one_of,
    optional,
    plain,
    record,
    refuse,
    short,
    table,
    tensor,
    text,
    walk,
    whole,
)
from training.log import COLUMNS
from training.settings import Settings

FORMATS = 1, 2
MOST_PIXELS = 65535  # of an image's side
DTYPES = {"float32": torch.float32, "float64": torch.float64}


def flags(value, where):
    """The flags of a run, or some of them."""
    if not isinstance(value, dict):
        refuse(where, value, "a dict")
    try:
        Settings.from_dict({"model": "any", **value})
    except InputError as error:
        raise InputError(f"its {where} cannot be used: {error}") from error


# ---------------------------------------------------------------------------------------------------------------------
# The fields. A new one is a line here, and in what ``checkpoint.save`` writes.

STATE = table(tensor((*FLOATS, *COUNTS)))
SHARE = optional(number(0, 1))

ROW = dict.fromkeys(COLUMNS, optional(number())) | {
    "step": whole(1), "phase": text(), "rule": text(), "epoch": whole(1), "images": whole(1),
    "train_accuracy": SHARE, "train_loss": SHARE, "train_silent": SHARE,
    "val_accuracy": SHARE, "val_loss": SHARE, "val_silent": SHARE,
    "convergence": number(), "winners_per_image": number(0), "dead_features": whole(),
    "ltp_rate": number(), "ltd_rate": number(), "seconds": number(0),
}  # fmt: skip
ROW_NEEDED = (
    "step", "phase", "rule", "epoch", "images", "train_accuracy", "train_loss", "train_silent", "val_accuracy",
    "val_loss", "val_silent", "convergence", "winners_per_image", "dead_features", "seconds",
)  # fmt: skip
BEST = {
    "phase": text(), "epoch": whole(1), "step": whole(1), "correct": whole(), "accuracy": number(0, 1), "state": STATE,
}  # fmt: skip
PROGRESS = {  # the fields of ``network_trainer.Progress``
    "phase": whole(), "epoch": whole(), "batch": whole(),
    "tally": each(whole(), 3), "told": each(whole(), 3),
    "wins": table(tensor(COUNTS, 1, 0)),
    "history": each(record(ROW, ROW_NEEDED)),
    "best": optional(record(BEST, BEST)),
    "waited": whole(), "seconds": number(0), "phase_seconds": table(number(0)), "test_reads": whole(),
}  # fmt: skip
RUN = {
    "flags": flags,
    "dataset": text(),
    "class_names": each(text()),
    "image_size": each(whole(1, MOST_PIXELS), 2),
    "fingerprint": text("[0-9a-f]{16}"),
}
FIELDS = {
    "format": one_of(*FORMATS),
    "model": text(),
    "in_channels": whole(1),
    "num_classes": whole(1),
    "steps": whole(1, 254),
    "image_size": optional(each(whole(1, MOST_PIXELS), 2)),
    "overrides": optional(table(plain)),
    "dtype": one_of(*DTYPES),
    "class_of_feature": optional(each(whole())),
    "encoding": table(plain),
    "run": record(RUN, others=plain),
    "progress": optional(record(PROGRESS, ("phase", "epoch", "batch"))),
    "state": STATE,
    "sha256": text("[0-9a-f]{64}"),
}
NEEDED = "format", "model", "in_channels", "num_classes", "steps", "dtype", "encoding", "run", "progress", "state"


def check(content):
    """Errors: InputError, with the field's name, unless every field is of its kind, and they fit each other."""
    for _ in walk(content):
        pass
    record(FIELDS, NEEDED, others=plain)(content, "")
    _check_sizes(content)
    _check_encoding(content)
    _check_declared(content)
    if content["progress"] is not None:
        _check_history(content["progress"])


def _check_sizes(content):
    """What the weights tell: nothing larger than they are is asked for when the network is built."""
    weights = {key: value for key, value in content["state"].items() if key.endswith(".weight")}
    for key, value in weights.items():
        if value.dim() != 4 or value.dtype not in FLOATS:
            refuse(f"state[{key!r}]", value, "a tensor (features, channels, kernel, kernel) of float32 or float64")
        if value.dtype != DTYPES[content["dtype"]]:
            raise InputError(f"its dtype is {content['dtype']}, but its state[{key!r}] is {short(value)}")
    if not weights:
        raise InputError("its state has no weights")
    for key, value in content["state"].items():
        if value.dtype in COUNTS:
            tensor(COUNTS, least=0)(value, f"state[{key!r}]")
    lowest = next(iter(weights.values()))
    if lowest.shape[1] % content["in_channels"]:  # of neurons that see whole maps it is a multiple
        refuse("in_channels", content["in_channels"], f"{lowest.shape[1]}, as its lowest weights have")
    most = max(len(value) for value in weights.values())
    if content["num_classes"] > most and content["num_classes"] != len(content["run"].get("class_names", ())):
        refuse("num_classes", content["num_classes"], f"up to {most}, the features of its largest stage")
    for field, value in (content.get("overrides") or {}).items():
        stage, last = field.partition(".")[0], field.rpartition(".")[2]
        if last not in ("out_channels", "kernel"):
            continue
        side = 0 if last == "out_channels" else 2
        there = sorted({w.shape[side] for key, w in weights.items() if key.split(".")[1] == stage})
        if value not in there:
            refuse(f"overrides[{field!r}]", value, f"one of {there}, as its weights are")


def _check_encoding(content):
    try:
        encoder = build_encoder(content["encoding"])
    except InputError as error:
        raise InputError(f"its encoding cannot be used: {error}") from error
    for field, makes in (("in_channels", encoder.channels), ("steps", encoder.time_steps)):
        if content[field] != makes:
            refuse(field, content[field], f"{makes}, which its encoding makes")


def _check_declared(content):
    """What is said twice, each by its field."""
    run, flags = content["run"], content["run"].get("flags", {})
    names, classes = run.get("class_names"), content.get("class_of_feature")
    for there, count in (("run.class_names", names), ("class_of_feature", classes and set(classes))):
        if count is not None and len(count) != content["num_classes"]:
            refuse("num_classes", content["num_classes"], f"{len(count)}, as many as its {there} tells apart")
    sizes = content.get("image_size"), run.get("image_size")
    if None not in sizes and list(sizes[0]) != list(sizes[1]):
        raise InputError(f"its image_size is {list(sizes[0])}, but its run.image_size is {list(sizes[1])}")
    wanted = {cls.name for name, cls in MODELS.items() if name.lower() == str(flags.get("model")).lower()}
    if wanted and content["model"] not in wanted:
        raise InputError(f"its model is {content['model']}, but its run.flags.model is {flags['model']}")
    encoder = content["encoding"].get("name", DEFAULT)
    if flags.get("encoder") not in (None, encoder):
        raise InputError(f"its encoding is {encoder}, but its run.flags.encoder is {flags['encoder']}")
    if flags.get("set") is None:
        return
    overrides, parameters = divided(flags["set"])
    found = content.get("overrides") or {}
    for key in {**overrides, **found}:
        told, wanted = (_as_lists(values.get(key, "not set")) for values in (found, overrides))
        if told != wanted:
            raise InputError(f"its overrides[{key!r}] is {told}, but in its run.flags.set it is {wanted}")
    made = encoder_config(build_encoder(content["encoding"]))
    wanted = encoder_config(build_encoder({**content["encoding"], **parameters}))
    if made != wanted:
        told = ", ".join(f"{key} {made[key]}, not {wanted[key]}" for key in made if made[key] != wanted[key])
        raise InputError(f"its encoding is not what its run.flags.set says: {told}")


def _as_lists(value):
    return [_as_lists(item) for item in value] if isinstance(value, list | tuple) else value


def _check_history(progress):
    steps = [row["step"] for row in progress.get("history", ())]
    for place, step in enumerate(steps):
        if step != place + 1:
            refuse(f"progress.history[{place}].step", step, place + 1)
    best = progress.get("best")
    if best is None:
        return
    if best["step"] > len(steps):
        refuse("progress.best.step", best["step"], f"one of the {len(steps)} rows of its progress.history")
    row = progress["history"][best["step"] - 1]
    for field, column in (("phase", "phase"), ("epoch", "epoch"), ("accuracy", "val_accuracy")):
        if best[field] != row[column]:
            refuse(f"progress.best.{field}", best[field], f"{row[column]}, as in that row of its progress.history")
