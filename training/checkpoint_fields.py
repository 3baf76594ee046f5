"""What a checkpoint holds, field by field: of which type each is, and within which range. Nothing is built here.

A kind of value is a function ``check(value, where)``, which raises InputError with ``where``, the field's name, unless
the value is of that kind.
"""

import math
import re
from collections import OrderedDict

import torch

from errors import InputError
from network_trainer import MODELS
from training.config import divided
from training.encoders import DEFAULT, build_encoder, encoder_config
from training.run_log import COLUMNS
from training.settings import Settings

FORMATS = 1, 2
MOST = 2**53  # of whatever is counted: up to here a float64 counts too
MOST_VALUES, DEPTH = 5_000_000, 12  # of all values, and how deep they lie in each other: far more than any run has
MOST_PIXELS = 65535  # of an image's side
DTYPES = {"float32": torch.float32, "float64": torch.float64}


def refuse(where, value, needed):
    raise InputError(f"its {where} is {_short(value)}, not {needed}")


def _short(value):
    """A few words that tell which value it is."""
    if isinstance(value, torch.Tensor):
        return f"{str(value.dtype).removeprefix('torch.')} {tuple(value.shape)}"
    if isinstance(value, dict | list | tuple | set) and (len(value) > 8 or not all(map(_is_plain, value))):
        return f"a {type(value).__name__} of {len(value)}"
    if isinstance(value, int) and abs(value) >= 2**63:  # Python does not print all of them
        return "a number of more than 63 bits"
    text = repr(value)
    return text if len(text) < 80 else f"{text[:77]}…"


# ---------------------------------------------------------------------------------------------------------------------
# Kinds of values


def whole(least=0, most=MOST):
    def check(value, where):
        if type(value) is not int or not least <= value <= most:
            refuse(where, value, f"a whole number from {least} to {most}")

    return check


def number(least=-math.inf, most=math.inf):
    def check(value, where):
        if type(value) not in (int, float) or not (math.isfinite(value) and least <= value <= most):
            refuse(where, value, "a finite number" + (f" from {least} to {most}" if least > -math.inf else ""))

    return check


def text(pattern=r"(?s).+"):
    def check(value, where):
        if type(value) is not str or not re.fullmatch(pattern, value):
            refuse(where, value, "a text" if pattern == r"(?s).+" else f"a text like {pattern}")

    return check


def one_of(*values):
    def check(value, where):
        if not any(type(value) is type(one) and value == one for one in values):
            refuse(where, value, " or ".join(map(repr, values)))

    return check


def optional(kind):
    """The kind, or None."""

    def check(value, where):
        if value is not None:
            kind(value, where)

    return check


def each(kind, count=None):
    """A list of the kind, of so many (None: any number)."""

    def check(value, where):
        if not isinstance(value, list | tuple) or count not in (None, len(value)):
            refuse(where, value, "a list" + (f" of {count}" if count else ""))
        for place, item in enumerate(value):
            kind(item, f"{where}[{place}]")

    return check


def table(kind):
    """A dict of texts to the kind."""

    def check(value, where):
        if not isinstance(value, dict):
            refuse(where, value, "a dict")
        for key, item in value.items():
            text()(key, f"a key of {where}")
            kind(item, f"{where}[{key!r}]")

    return check


def record(fields, needed=(), others=None):
    """A dict of these fields, each of its kind; ``others``: the kind of all others (None: there are none)."""

    def check(value, where):
        if not isinstance(value, dict):
            refuse(where, value, "a dict")
        prefix = f"{where}." if where else ""
        if lacking := [name for name in needed if name not in value]:
            raise InputError(f"it has no {prefix}{lacking[0]}")
        for key, item in value.items():
            kind = fields.get(key, others) if isinstance(key, str) else None
            if kind is None:
                raise InputError(f"{prefix}{_short(key)} is no field of it that is known here")
            kind(item, prefix + key)

    return check


def tensor(dtypes, dimensions=None, least=None):
    """A tensor of one of the types, with numbers that are finite and not under ``least``."""

    def check(value, where):
        if not isinstance(value, torch.Tensor) or value.dtype not in dtypes or dimensions not in (None, value.dim()):
            refuse(where, value, f"a tensor of {' or '.join(str(dtype).removeprefix('torch.') for dtype in dtypes)}")
        if not value.isfinite().all():
            raise InputError(f"its {where} has numbers that are not finite")
        if least is not None and int(value.min()) < least:
            raise InputError(f"its {where} reaches {int(value.min())}, under {least}")

    return check


def plain(value, where):
    """Anything without tensors."""
    for _, item in walk(value, where):
        if isinstance(item, torch.Tensor):
            refuse(where, item, "a plain value")


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

FLOATS, COUNTS = tuple(DTYPES.values()), (torch.int64,)
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


def walk(content, where=""):
    """Yield (name, value) of all that is in nested dicts and lists, whose ends are plain values and tensors.

    Errors: InputError for values of other types, and for more of them, or deeper ones, than there can be.
    """
    waiting, count = [(where, content, 0)], 0
    while waiting:
        name, value, depth = waiting.pop()
        count += len(value) if type(value) in (dict, OrderedDict, list, tuple) else 0
        if count > MOST_VALUES or depth > DEPTH:
            raise InputError(f"its {name or 'content'} lies too deep, or is one of too many values")
        if type(value) in (dict, OrderedDict):
            waiting += [(f"a key of {name or 'it'}", key, depth + 1) for key in value]
            waiting += [(_below(name, key), item, depth + 1) for key, item in value.items()]
        elif type(value) in (list, tuple):
            waiting += [(f"{name}[{place}]", item, depth + 1) for place, item in enumerate(value)]
        elif not (_is_plain(value) or _is_whole_tensor(value)):
            refuse(name or "content", value, "a number, a text, or a tensor of float32, float64 or int64")
        yield name, value


def _below(where, key):
    """The name of a dict's entry."""
    if not where:
        return key if isinstance(key, str) else _short(key)
    return f"{where}.{key}" if isinstance(key, str) and key.isidentifier() else f"{where}[{_short(key)}]"


def _is_plain(value):
    if type(value) is int:
        return abs(value) < 2**63
    return value is None or type(value) in (bool, float, str)


def _is_whole_tensor(value):
    return (
        isinstance(value, torch.Tensor)
        and value.dtype in (*FLOATS, *COUNTS)
        and (value.layout, value.device.type) == (torch.strided, "cpu")
        and value.numel() > 0
        and value.is_contiguous()
    )


def _check_sizes(content):
    """What the weights tell: nothing larger than they are is asked for when the network is built."""
    weights = {key: value for key, value in content["state"].items() if key.endswith(".weight")}
    for key, value in weights.items():
        if value.dim() != 4 or value.dtype not in FLOATS:
            refuse(f"state[{key!r}]", value, "a tensor (features, channels, kernel, kernel) of float32 or float64")
        if value.dtype != DTYPES[content["dtype"]]:
            raise InputError(f"its dtype is {content['dtype']}, but its state[{key!r}] is {_short(value)}")
    if not weights:
        raise InputError("its state has no weights")
    for key, value in content["state"].items():
        if value.dtype in COUNTS:
            tensor(COUNTS, least=0)(value, f"state[{key!r}]")
    lowest = next(iter(weights.values()))
    if lowest.shape[1] != content["in_channels"]:
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


# ---------------------------------------------------------------------------------------------------------------------
# Beside the network that it names


def check_state(state, model, where="state"):
    """Errors: InputError unless the state has the network's entries, of their shapes and types, finite and possible."""
    declared = model.state_dict()
    for key in (*declared, *state):
        if key not in state or key not in declared:
            raise InputError(f"its {where} {'has no' if key in declared else 'has an unknown'} {key}")
        if (state[key].shape, state[key].dtype) != (declared[key].shape, declared[key].dtype):
            refuse(f"{where}[{key!r}]", state[key], _short(declared[key]))
        counts = declared[key].dtype == torch.int64
        tensor((declared[key].dtype,), least=0 if counts else None)(state[key], f"{where}[{key!r}]")
        if counts and int(state[key].max()) > MOST:
            raise InputError(f"its {where}[{key!r}] reaches {int(state[key].max())}, over {MOST}")


def check_bounds(state, model, where="state"):
    """Errors: InputError if weights of a stage that has learned lie outside the bounds of its rule.

    ``model`` has its first weights: where these are still there, nothing has clipped them.
    """
    first = model.state_dict()
    for key, weight in state.items():
        conv = model.get_submodule(key.rpartition(".")[0])
        if not key.endswith(".weight") or not conv.rules or torch.equal(weight, first[key].cpu()):
            continue
        seen = state.get(key.replace(".weight", ".images_seen"), torch.zeros(1))
        rewarded = state["rl_batches"] if any(rule.needs_labels for rule in conv.rules) else torch.zeros(1)
        if not (seen.any() or rewarded.any()):
            continue
        rules = [rule.plasticity(lambda bound, like=weight: like.new_tensor(bound).item()) for rule in conv.rules]
        lower = min(getattr(rule, "lower", -math.inf) for rule in rules)
        upper = max(getattr(rule, "upper", math.inf) for rule in rules)
        least, most = weight.min().item(), weight.max().item()
        if least < lower or most > upper:
            raise InputError(
                f"its {where}[{key!r}] has learned, so it lies within {lower:g} and {upper:g}, but reaches from "
                f"{least:g} to {most:g}"
            )


def check_progress(progress, model, epochs):
    """Errors: InputError unless the progress is one of the network, with so many epochs in each phase."""
    phases = model.phases
    if epochs and len(epochs) != len(phases):
        refuse("run.flags.epochs", epochs, f"{len(phases)} numbers, one for each phase")
    if progress["phase"] > len(phases):
        refuse("progress.phase", progress["phase"], f"at most {len(phases)}")
    most = 0 if progress["phase"] == len(phases) else epochs[progress["phase"]] if epochs else MOST
    if progress["epoch"] > most:
        refuse("progress.epoch", progress["epoch"], f"at most {most}")
    names = {phase.name for phase in phases}
    for place, row in enumerate(progress.get("history", ())):
        if row["phase"] not in names:
            refuse(f"progress.history[{place}].phase", row["phase"], f"one of {', '.join(sorted(names))}")
    features = {label: conv.out_channels for label, conv in model.named_convs()}
    wins = progress.get("wins", {})
    for label, counts in wins.items():
        if len(counts) != features.get(label):
            refuse(f"progress.wins[{label!r}]", counts, "one number for each feature of a stage")
    if progress["batch"] and progress["phase"] < len(phases):
        for label, _ in model.named_convs(phases[progress["phase"]].stages):
            if label not in wins:
                raise InputError(f"its progress.wins has no {label}, which learns")


def check_batches(progress, images, batch_size):
    """Errors: InputError unless the progress is within an epoch of so many images."""
    done = progress.batch * batch_size
    if done >= images + batch_size:
        refuse("progress.batch", progress.batch, f"one of the batches of {images:,} images")
    for field in ("tally", "told"):
        if sum(getattr(progress, field)) > min(done, images):
            refuse(f"progress.{field}", getattr(progress, field), f"outcomes of {min(done, images):,} images at most")
