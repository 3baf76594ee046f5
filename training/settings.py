"""What a command of train.py is to do: one record of all its flags, checked once, when it is made."""

import re
from dataclasses import dataclass, field, fields
from typing import get_args, get_origin

from datasets.augmentation import Augmentation, parse_noise
from errors import InputError
from training.config import SWITCHED_OFF, read_set

COMMANDS = "list_models", "summary", "resume", "predict", "evaluate"  # the flags that name one; else: train
MOST = 2**31 - 1  # of whatever is counted
RANGES = {
    "epochs": (0, MOST),
    "batch_size": (1, MOST),
    "seed": (0, 2**63 - 1),
    "patience": (0, MOST),
    "val_split": (0, MOST),
    "save_maps": (0, MOST),
    "map_every": (0, MOST),
    "save_every": (0, MOST),
}

MACHINE = {"device", "backend", "threads"}
TRAINING = {
    "model", "encoder", "set", "config", "init_from", "after", "epochs", "batch_size", "seed", "patience", "augment",
    "dataset", "image_size", "data_dir", "ratio", "val_split", "test", "dry_run", "output", "name", "figures",
    "tensorboard", "save_maps", "map_index", "map_every", "save_every", "save_features", "readout", *MACHINE,
}  # fmt: skip
# The flags that go with each command. The others would have no effect, and are refused.
TAKES = {
    "train": TRAINING,
    # as they are in the run, but for those that MAY_CHANGE
    "resume": TRAINING - {"set", "config", "init_from", "after"},
    "evaluate": {
        "model", "dataset", "image_size", "data_dir", "noise", "dry_run", *MACHINE, "output", "name", "figures",
        "tensorboard", "save_maps", "map_index",
    },
    "predict": {"evaluate", "model", *MACHINE, "output", "raw", "scores", "json"},
    "summary": {"model", "encoder", "set", "config", "dataset", "image_size", "data_dir"},
    "list_models": set(),
}  # fmt: skip
WHY = {
    "train": "to train is not the command for it",
    "resume": "--resume goes on with the settings that the run began with",
    "evaluate": "--evaluate does not train",
    "predict": "--predict takes image files",
    "summary": "--summary prints a table and computes nothing",
    "list_models": "--list-models prints a list and takes nothing",
}
# What a resumed run may do otherwise than it began: its weights stay the same.
MAY_CHANGE = {*MACHINE, "data_dir", "figures", "save_every"}


# What a run that begins --after another cannot have: these need every epoch, or begin otherwise.
NOT_AFTER = "tensorboard", "map_every", "init_from"


@dataclass(frozen=True)
class Settings:
    """One command of train.py, a field for each flag; ``python train.py --help`` says what they mean.

    ``given``: the names of those that were on the command line, whatever their values; ``command_line``: all of it.

    Errors: InputError for a value out of its range or of another type, and for flags that do not go together. What
    depends on the network, the data or the machine is checked where these are known.
    """

    list_models: bool = False
    summary: bool = False
    resume: str | None = None
    predict: tuple[str, ...] = ()
    evaluate: str | None = None
    dry_run: bool = False

    model: str | None = None
    encoder: str | None = None  # the network's own
    set: tuple[str, ...] = ()
    config: str | None = None  # whose settings are in the others
    init_from: str | None = None
    after: str | None = field(default=None, compare=False)  # which spares work and changes no result
    epochs: tuple[int, ...] = ()  # the network's own
    batch_size: int = 1000
    seed: int = 0
    patience: int = 0
    augment: tuple[str, ...] = ()  # the network's own

    dataset: str | None = None  # mnist, or what the evaluated network was trained on
    image_size: tuple[int, ...] = ()  # the images' own
    data_dir: str | None = None  # the repository's
    ratio: float = 1.0
    val_split: int | float | None = None  # 5000, or a twelfth of a smaller set
    test: bool = True
    noise: str | None = None

    raw: bool = False
    scores: bool = False
    json: bool = False

    device: str = "auto"
    backend: str = "auto"
    threads: int | str = "auto"

    output: str = "runs"
    name: str | None = None  # made of network, data set, seed and time
    tensorboard: bool = False
    figures: bool = True
    save_maps: int = 0
    map_index: tuple[int, ...] = ()
    map_every: int = 0
    save_every: float = 60.0
    save_features: str | None = None
    readout: str | None = None  # the network's own, if it has one

    given: frozenset[str] = field(default=frozenset(), compare=False)
    command_line: str = field(default="", compare=False)

    def __post_init__(self):
        self._check_types()
        self._check_together()
        self._check_ranges()

    @property
    def command(self):
        """What is to be done: "train", or the first of ``COMMANDS`` that is asked for."""
        return next((name for name in COMMANDS if getattr(self, name)), "train")

    @property
    def scored(self):
        """Whose images are scored at the end, and drawn: the "test" or, where these stay unread, the "validation"."""
        return "test" if self.test else "validation"

    def to_dict(self):
        """The settings of a run as plain values: for args.json, results.json and checkpoints."""
        values = {name: getattr(self, name) for name in SAVED}
        return {name: list(value) if isinstance(value, tuple) else value for name, value in values.items()}

    @classmethod
    def from_dict(cls, saved):
        """The settings of a run that ``to_dict`` saved. What it lacks has its default, what is unknown is dropped."""
        if not isinstance(saved, dict):
            raise InputError(f"the flags of a run are a dict, not {saved!r}")
        values = {name: saved[name] for name in SAVED if saved.get(name) is not None}
        return cls(**{name: tuple(value) if isinstance(value, list) else value for name, value in values.items()})

    def _check_types(self):
        for each in fields(self):
            value = getattr(self, each.name)
            if not _fits(value, each.type):
                raise InputError(f"{flag(each.name)} cannot be {value!r}")
            for text in value if isinstance(value, tuple) else (value,):
                if isinstance(text, str) and not text.strip() and each.name != "command_line":
                    raise InputError(f"{flag(each.name)} is empty: give it a value, or leave it out")

    def _check_ranges(self):
        for name, (least, most) in RANGES.items():
            values = getattr(self, name)
            for value in values if isinstance(values, tuple) else (values,):
                if value is not None and not value >= least:  # nan is neither
                    raise InputError(f"{flag(name)} must be {least} or more, not {value}")
                if value is not None and value > most:
                    raise InputError(f"{flag(name)} must be at most {most:,}, not {value:,}")
        if not 0 < self.ratio <= 1:
            raise InputError(f"--ratio must be above 0 and at most 1, not {self.ratio}")
        if isinstance(self.threads, str) and self.threads != "auto":
            raise InputError(f"--threads must be a number or auto, not {self.threads!r}")
        read_set(self.set)
        if self.augment:
            Augmentation.parse(" ".join(self.augment))
        if self.noise is not None:
            parse_noise(self.noise)
        if self.name is not None and not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9._-]*", self.name):
            raise InputError(f"--name takes letters, digits and . _ -, the first no . or -; not {self.name!r}")

    def _check_together(self):
        command = self.command
        named = [flag(name) for name in COMMANDS if getattr(self, name)]
        if len(named) > 1 and named != ["--predict", "--evaluate"]:  # which network is to predict
            raise InputError(f"{' and '.join(named)} are different things to do; leave one out")
        if command in ("train", "summary") and self.model is None:
            raise InputError("name a network with --model; --list-models prints them")
        if "set" in self.given and command in ("resume", "evaluate", "predict"):
            raise InputError(f"--{command} takes the network as its checkpoint holds it; leave out --set")
        useless = self.given - TAKES[command] - {command}
        if useless:
            raise InputError(f"{WHY[command]}; leave out {', '.join(map(flag, sorted(useless)))}")
        network = self.resume if command == "resume" else self.evaluate or "latest"
        if "output" in self.given and command in ("resume", "predict") and network != "latest":
            raise InputError(f"--output is where 'latest' is looked for; leave it out beside {network}")
        if self.map_every > 0 and not (self.save_maps or self.map_index):
            raise InputError("--map-every needs to know which images: add --save-maps N or --map-index I")
        if not self.test and (useless := [name for name in ("readout", "save_features") if getattr(self, name)]):
            raise InputError(f"{flag(useless[0])} reads the test images, which --no-test leaves unread; leave one out")
        if self.after is not None and (useless := [name for name in NOT_AFTER if getattr(self, name)]):
            raise InputError(f"--after leaves out epochs of which {flag(useless[0])} would show or change something; "
                             "leave one out")  # fmt: skip


FLAGS = [each.name for each in fields(Settings) if each.name not in (*COMMANDS, "given", "command_line")]
SAVED = [name for name in FLAGS if name in TRAINING - {"config", "after"}]


def flag(name):
    """A setting's name on the command line."""
    return f"--{'no-' if name in SWITCHED_OFF else ''}{name.replace('_', '-')}"


def _fits(value, kind):
    """Whether the value is of a field's type. A whole number is a float too; True is no number."""
    if get_origin(kind) in (tuple, frozenset):
        return isinstance(value, get_origin(kind)) and all(_fits(item, get_args(kind)[0]) for item in value)
    if isinstance(value, bool):
        return kind is bool
    return isinstance(value, int | float if kind is float else kind)
