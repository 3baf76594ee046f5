"""The settings of the commands. Each setting is declared once, as a field.

The following are derived from the fields: the parsers and their help, the checks of types and ranges, the keys of a
``--config`` file, what checkpoints save, what a resumed run may change, the titles of figures, and what two runs must
have in common to learn the same. To add a flag, add a field.
"""

import argparse
import ast
import json
import re
import shlex
import shutil
import textwrap
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, replace
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, get_args, get_origin

from datasets import list_datasets
from datasets.augmentation import Augmentation, parse_noise
from encoders import ENCODERS
from engine.declaration import describe, fits
from errors import InputError, print_output
from models import import_plugin, network_names

try:
    import tomllib
except ModuleNotFoundError:  # before Python 3.11
    import tomli as tomllib

# What a setting changes. A setting changes what is learned unless its field declares something else.
LEARNING = "what is learned"
CODE = "which files are imported, and so what is learned"  # only the command line names them
DECLARATION = "the stages and the encoder, and so what is learned"
LABELS = "what phases with labels learn"
ROUNDING = "what is learned, by rounding only"  # a resumed run may change it
SCORES = "which scores are computed"
EPOCH_FILES = "which files are written after each epoch"
FILES = "which other files are written"
NOTHING = "neither weights nor results"  # a resumed run may change it
COMMAND = "what the command does"  # not a property of the run, so it is not saved

LEARNED = LEARNING, CODE, DECLARATION, LABELS
FIXED = *LEARNED, SCORES, EPOCH_FILES, FILES  # a resumed run may not change these

MAX_COUNT, MAX_SEED = 2**31 - 1, 2**63 - 1
LONGEST_NAME = 200  # of a run; with ".error.txt" and the like, file systems allow 255 bytes
BACKENDS = "auto", "event", "torch"
READOUTS = "svm", "logistic"
LAST_STAGE = "last"  # of --save-features: the last stage before the decision stage
SET_HELP = (
    "set fields of a stage, a rule or the encoder, such as s2.threshold=12 s3.1.rule.winners=8 "
    "s3.rule.reward=0.01,-0.0005 s3.rule=margin encoder.time_steps=20"
)
AUGMENT_HELP = (
    "also train the decision stage on moved copies of the images: copies=8 turn=8 (degrees) shift=1.2 (pixels) "
    "scale=0.08 shear=0.08 flip, or none (default: that of the network)"
)


@dataclass(frozen=True)
class Setting:
    """What the field of a setting declares.

    Attributes:
        group: the group of the help, one of ``GROUPS``.
        default: the value if the setting is not given; ``dict`` stands for an empty dict.
        metavar, help: as in ``ArgumentParser.add_argument``. A bool has no metavar.
        changes: what the setting changes, one of the constants above.
        range: the lowest and the highest number that are allowed.
        choices: the texts that are allowed; if it is empty, all are.
        read: computes the value from a list of words, and from the plain value that ``to_dict`` returns.
        title: how the titles of figures show the value, a format string; "" if they do not.
        is_repeated: whether ``--config`` takes the value from the args.json of a run.
        sets: for a setting of a sweep, the settings of train.py that it sets for each run.
        arguments: more arguments of ``add_argument``.
        name, type: of the field.
    """

    group: str
    default: Any
    metavar: str | tuple[str, ...] | None
    help: str
    changes: str = LEARNING
    range: tuple[float, float] = (0, MAX_COUNT)
    choices: tuple[str, ...] = ()
    read: Callable[[Any], Any] | None = None
    title: str = ""
    is_repeated: bool = True
    sets: tuple[str, ...] = ()
    arguments: Mapping[str, Any] = field(default_factory=dict)
    name: str = ""
    type: Any = None

    @property
    def flag(self) -> str:
        """The flag, such as ``--batch-size`` or ``--no-figures``; RUN for evaluate.py's positional argument."""
        if self.name == "run":
            return "RUN"
        no = "no-" if self.default is True else ""
        return f"--{no}{self.name.replace('_', '-')}"

    def refuse(self, reason: str) -> None:
        """Raise an InputError with the flag and the reason."""
        raise InputError(f"{self.flag} {reason}")

    def convert(self, given: Any) -> Any:
        """Compute the value from a word, a list of words, or a plain value of JSON or TOML. Raises InputError."""
        if self.read is not None:
            plain = dict if self.type is dict else str
            is_words = isinstance(given, list) and all(isinstance(word, str) for word in given)
            if not is_words and not isinstance(given, plain):
                raise InputError(f"cannot be {given!r}; see --help")
            return self.read(given)
        if isinstance(given, list):
            return tuple(map(self.convert, given))
        is_number = {self.type, *get_args(self.type)} & {int, float}
        return read_value(given) if is_number and isinstance(given, str) else given

    def check(self, value: Any) -> None:
        """Raise InputError unless the value has the type of the setting, and is in its range and its choices."""
        least, most = self.range
        for item in value if isinstance(value, tuple) else [value]:
            if isinstance(item, str) and (not item.strip() or "\0" in item):
                self.refuse(f"cannot be {item!r}: give it a value, or leave it out")
            if isinstance(item, str) and self.choices and item not in self.choices:
                self.refuse(f"must be {' or '.join(self.choices)}, not {item!r}")
            if isinstance(item, int | float) and not least <= item <= most:
                self.refuse(f"must be from {least:,} to {most:,}, not {item}")
        if not fits(value, self.type):
            self.refuse(f"cannot be {value!r}; it is {describe(self.type)}")

    def add_to(self, group: argparse._ArgumentGroup) -> None:
        """Add the flag to a group of a parser."""
        if self.type is bool:
            action = "store_false" if self.default else "store_true"
            group.add_argument(self.flag, dest=self.name, action=action, help=self.help)
            return
        help = self.help
        options = dict(self.arguments)
        if self.flag != "RUN" and isinstance(self.default, int | float | str) and "(default" not in help:
            help += f" (default: {self.default})"
        if self.read or get_origin(self.type) is tuple:
            options.setdefault("nargs", "+")
        group.add_argument(self.flag.replace("RUN", "run"), metavar=self.metavar, help=help, **options)


def setting(group: str, default: Any, *declared: Any, **more: Any) -> Any:
    """Declare a setting: the value of a dataclass field. The arguments are those of ``Setting``."""
    metadata = {"setting": Setting(group, default, *declared, **more)}
    if default is dict:
        return field(default_factory=dict, metadata=metadata)
    return field(default=default, metadata=metadata)


GROUPS = "commands", "network", "data", "training", "prediction", "machine", "output"
of_commands, of_network, of_data, of_training, of_prediction, of_machine, of_output = (
    partial(setting, group) for group in GROUPS
)


# ---------------------------------------------------------------------------------------------------------------------
# Values


LITERALS = {"none": "None", "true": "True", "false": "False", "inf": "1e999"}


def read_value(text: str) -> Any:
    """Parse a Python literal, or none, inf, true, false. Lists become tuples. Any other text is returned as it is."""
    pattern = rf"\b({'|'.join(LITERALS)})\b"
    python = re.sub(pattern, lambda match: LITERALS[match[0].lower()], text.strip(), flags=re.IGNORECASE)
    try:
        value = to_tuples(ast.literal_eval(python))
        str(value)  # ValueError for an integer of more than 4300 digits, which Python does not print
    except (SyntaxError, ValueError, TypeError, RecursionError, MemoryError):
        return text.strip()
    return value


def to_tuples(value: Any) -> Any:
    """Return the value with tuples in place of lists."""
    return tuple(map(to_tuples, value)) if isinstance(value, list | tuple) else value


def read_set(given: list[str] | dict[str, Any]) -> dict[str, Any]:
    """Parse ``["s2.threshold=12", …]`` or ``{"s2": {"threshold": 12}, …}`` to {"s2.threshold": 12, …}.

    If a field is set twice, the last value counts. Raises InputError for a text that is not FIELD=VALUE.
    """
    pairs = given.items() if isinstance(given, dict) else [text.partition("=")[::2] for text in given]
    values = {}
    for name, value in pairs:
        name = name.strip()
        if isinstance(value, dict):  # a table of TOML
            values |= read_set({f"{name}.{key}": inner for key, inner in value.items()})
            continue
        if not str(value).strip() or not re.fullmatch(r"\w+(\.\w+)+", name):
            raise InputError(f"{name!r} does not set a field; write FIELD=VALUE, such as s2.threshold=12")
        if re.search(r"(?<![\d.])\d{19}", str(value)):
            raise InputError(f"{name} has a number of more than 18 digits")
        value = read_value(value) if isinstance(value, str) else to_tuples(value)
        values = update_fields(values, {name: value})
    return values


def update_fields(fields: dict[str, Any], later: dict[str, Any]) -> dict[str, Any]:
    """Return the fields with later values. Fields are set in the order of their last values."""
    return {name: value for name, value in fields.items() if name not in later} | later


def read_augmentation(given: list[str] | str) -> Augmentation:
    """Parse ``["copies=8", "turn=8"]`` or ``"copies=8 turn=8"``."""
    return Augmentation.parse(given if isinstance(given, str) else " ".join(given))


def to_text(value: Any, separator: str = " ") -> str:
    """Return a value in the form of the command line: the items of a tuple with separators, a dict as FIELD=VALUE."""
    if isinstance(value, dict):
        return " ".join(f"{name}={to_text(item, ',')}" for name, item in value.items())
    if not isinstance(value, tuple):
        return str(value)
    items = [to_text(item, ",") for item in value]
    texts = [f"({text})" if isinstance(item, tuple) else text for item, text in zip(value, items, strict=True)]
    text = separator.join(texts)
    is_single = separator == "," and len(value) == 1
    return f"{text}," if is_single else text


# ---------------------------------------------------------------------------------------------------------------------
# Settings


@dataclass(frozen=True)
class Settings:
    """The settings of a command.

    ``given`` contains the names of the settings in the command line and its ``--config`` file, ``command_line`` the
    whole command line.

    Raises InputError for a value of another type or out of range, and for settings that exclude each other. Values that
    depend on the network, the data or the machine are checked later.
    """

    program: ClassVar[str]
    usage: ClassVar[str]

    given: frozenset = field(default=frozenset(), compare=False)
    command_line: str = field(default="", compare=False)

    @classmethod
    def flags(cls) -> dict[str, Setting]:
        """Return {name: setting}, sorted by group, the run and the network first in theirs."""
        settings = []
        for declared in fields(cls):
            if declared.metadata:
                settings.append(replace(declared.metadata["setting"], name=declared.name, type=declared.type))
        settings.sort(key=lambda setting: (GROUPS.index(setting.group), setting.name not in ("run", "model")))
        return {setting.name: setting for setting in settings}

    @classmethod
    def names(cls, *changes: str) -> list[str]:
        """Return the names of the settings whose ``changes`` is one of these constants."""
        return [name for name, setting in cls.flags().items() if setting.changes in changes]

    @classmethod
    def parse(cls, argv: list[str]) -> "Settings":
        """Parse a command line. Raises InputError."""
        known, more = make_parser(cls).parse_known_args(argv)
        values = cls.read(vars(known))
        if more and "run_flags" not in cls.__dataclass_fields__:
            raise InputError(f"unrecognized arguments: {' '.join(more)} (see {cls.program} --help)")
        if more:
            values["run_flags"] = tuple(more)
        if "plugin" in values:  # only here, so that no other file than those of the command line is imported
            cls.flags()["plugin"].check(values["plugin"])
            values["plugin"] = tuple(map(import_plugin, values["plugin"]))
        if "config" in values:
            configured = cls.read(read_config(Path(values["config"]), cls))
            if "set" in configured:
                values["set"] = update_fields(configured["set"], values.get("set", {}))
            values = configured | values
        return cls(**values, given=frozenset(values), command_line=shlex.join([cls.program, *argv]))

    @classmethod
    def from_dict(cls, saved: Mapping[str, Any]) -> "Settings":
        """Return the settings of a dict from ``to_dict``. A setting that is missing or None has its default."""
        return cls(**cls.read({name: saved.get(name) for name in cls.flags()}))

    @classmethod
    def read(cls, given: Mapping[str, Any]) -> dict[str, Any]:
        """Compute the values of settings from words and plain values, unless they are None. Raises InputError."""
        values = {}
        for name, setting in cls.flags().items():
            if given.get(name) is None:
                continue
            try:
                values[name] = setting.convert(given[name])
            except InputError as error:
                message = str(error).removeprefix(f"{setting.flag} ")
                raise InputError(f"{setting.flag} {message}") from error
        return values

    def to_dict(self) -> dict[str, Any]:
        """Return the settings of a run as plain values, for args.json, results.json and checkpoints."""
        values = self.select(*FIXED, ROUNDING, NOTHING)
        return json.loads(json.dumps(values, default=str))  # tuples become lists, an augmentation its text

    def select(self, *changes: str) -> dict[str, Any]:
        """Return {name: value} of the settings whose ``changes`` is one of these constants."""
        return {name: getattr(self, name) for name in self.names(*changes)}

    def title(self, **shown: str) -> str:
        """Return the first part of the titles of figures. ``shown``: values that replace those of the settings."""
        parts = []
        for name, setting in self.flags().items():
            value = shown.get(name, getattr(self, name))
            if value not in (None, {}):
                parts.append(setting.title.format(to_text(value)))
        return textwrap.fill("".join(parts), 90)

    def refuse(self, name: str, reason: str) -> None:
        """Raise an InputError about a setting: its flag and the reason."""
        self.flags()[name].refuse(reason)

    def __post_init__(self):
        for name, setting in self.flags().items():
            setting.check(getattr(self, name))


@dataclass(frozen=True)
class NetworkSettings(Settings):
    """The settings that train.py and evaluate.py share."""

    plugin: tuple[str, ...] = of_network(
        (),
        "FILE.py",
        "import networks, rules, encoders, data sets and figures from your own files; --resume and evaluate.py need it "
        "again",
        CODE,
    )
    dataset: str | None = of_data(
        None,
        "NAME",
        f"the data set: {list_datasets()} (default: mnist)",
        title=", {}",
    )
    image_size: tuple[int, ...] = of_data(
        (),
        ("H", "W"),
        "stretch images to this height and width in pixels; of events: the size of the sensor",
        arguments={"nargs": 2},
    )
    data_dir: str | None = of_data(None, "DIR", "the folder of downloaded data sets (default: data)", NOTHING)
    dry_run: bool = of_data(False, None, "test a command: one epoch of each phase on a few images")

    device: str = of_machine(
        "auto",
        "NAME",
        "cpu, cuda, cuda:N or auto (a GPU if --backend is torch, otherwise the CPU)",
        ROUNDING,
        is_repeated=False,
    )
    backend: str = of_machine(
        "auto",
        "NAME",
        "event (compiled kernels, on a CPU), torch (tensor operations) or auto (event on a CPU, torch on a GPU)",
        ROUNDING,
        choices=BACKENDS,
    )
    threads: int | str = of_machine(
        "auto",
        "N",
        "the number of threads; 0 or auto: one per core",
        NOTHING,
        choices=("auto",),
    )
    traceback: bool = of_machine(False, None, "print the traceback of an error, not only its last line", COMMAND)

    output: str = of_output(
        "runs", "DIR", "the folder in which each run creates its own folder", FILES, is_repeated=False
    )
    name: str | None = of_output(
        None,
        "NAME",
        "the name of the run's folder (default: network, data set, seed and time)",
        FILES,
        is_repeated=False,
    )
    tensorboard: bool = of_output(False, None, "log to TensorBoard, in the run's folder", EPOCH_FILES)
    figures: bool = of_output(True, None, "draw neither figures nor activation maps", NOTHING)
    save_maps: int = of_output(
        0,
        "N",
        "save the activation maps of N test images of each class (without N: 1)",
        FILES,
        arguments={"nargs": "?", "const": 1},
    )
    map_index: tuple[int, ...] = of_output(
        (), "I", "save the activation maps of the test images with these indices", FILES
    )

    def __post_init__(self):
        super().__post_init__()
        if len(self.image_size) not in (0, 2):
            self.refuse("image_size", f"must be a height and a width, not {self.image_size}")
        if self.name is not None and not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9._-]*", self.name):
            self.refuse(
                "name", f"must contain only letters, digits and . _ -, and not begin with . or -: {self.name!r}"
            )
        if self.name is not None and len(self.name) > LONGEST_NAME:
            self.refuse("name", f"must have at most {LONGEST_NAME} characters, not {len(self.name):,}")


@dataclass(frozen=True)
class TrainSettings(NetworkSettings):
    """Train a convolutional network of first-spike neurons by STDP and reward-modulated STDP."""

    program = "train.py"
    usage = (
        "python train.py --model NAME [flags]\n       python train.py --resume RUN [flags]\n\n"
        "example: python train.py --model deep2024 --epochs 2 4 4 10 --tensorboard\n"
        "         python train.py --resume latest"
    )

    list_models: bool = of_commands(False, None, "print all networks with their phases and epochs", COMMAND)
    summary: bool = of_commands(False, None, "print the stages of --model as a table", COMMAND)
    resume: str | None = of_commands(
        None,
        "RUN",
        "continue a run: latest, a folder, or its name in --output; to train a finished run longer, add --epochs with "
        "a larger last number",
        COMMAND,
    )

    model: str | None = of_network(None, "NAME", f"the network: {', '.join(network_names())}", DECLARATION, title="{}")
    encoder: str | None = of_network(
        None, "NAME", f"the encoder: {', '.join(ENCODERS)} (default: that of the network)", DECLARATION
    )
    set: dict = of_network(dict, "F=V", SET_HELP, DECLARATION, read=read_set, title=" with {}")  # noqa: RUF009
    config: str | None = of_network(
        None, "FILE", "read settings from a TOML file or a run's args.json; the command line takes precedence", COMMAND
    )
    init_from: str | None = of_network(
        None, "RUN", "start with the weights and rates of a trained network, for all stages that fit"
    )
    continue_from: str | None = of_network(
        None, "RUN", "take over the phases without labels that a run has finished and that are the same here", COMMAND
    )

    ratio: float = of_data(1.0, "R", "the fraction of the training images to use", range=(0, 1))
    val_split: int | float | None = of_data(
        None, "N", "the number or fraction of training images for validation (default: 5000, but at most 1/12 of them)"
    )
    test: bool = of_data(True, None, "do not read the test images; report the validation images instead", SCORES)

    epochs: tuple[int, ...] = of_training(
        (),
        "E",
        "the number of epochs of each phase, for deep2024: 2 4 4 10; 0 skips a phase (default: see --list-models)",
    )
    until: str | None = of_training(
        None, "PHASE", "end after this phase, without a test; --resume trains the rest", COMMAND
    )
    batch_size: int = of_training(
        1000, "N", "the number of images between two adaptations of the R-STDP rates", range=(1, MAX_COUNT)
    )
    seed: int = of_training(
        0, "S", "the seed of the weights, the splits and the order of images", range=(0, MAX_SEED), title=", seed {}"
    )
    patience: int = of_training(
        0, "E", "stop if the validation accuracy has not improved for E epochs; 0: never", LABELS
    )
    augment: Augmentation | None = of_training(None, "A=X", AUGMENT_HELP, LABELS, read=read_augmentation)  # noqa: RUF009

    map_every: int = of_output(0, "E", "also save the activation maps every E epochs; 0: only at the end", EPOCH_FILES)
    save_every: float = of_output(60.0, "SECONDS", "seconds between two checkpoints", NOTHING)
    save_features: str | None = of_output(
        None,
        "STAGE",
        "save the latency maps of all images (without STAGE: of the last stage before the decision)",
        FILES,
        arguments={"nargs": "?", "const": LAST_STAGE},
    )
    readout: str | None = of_output(
        None,
        "NAME",
        "train a linear classifier on the latency maps of the stage of --save-features: svm, logistic or none "
        "(default: that of the network)",
        SCORES,
        choices=(*READOUTS, "none"),
    )

    @property
    def command(self) -> str:
        """The setting of the group "commands" that is given, or "train"."""
        return (*self.commands, "train")[0]

    @property
    def commands(self) -> list[str]:
        return [name for name, setting in self.flags().items() if setting.group == "commands" and getattr(self, name)]

    @property
    def scored_split(self) -> str:
        """The split that is tested and drawn at the end: "test", or "validation" if the test images are not read."""
        return "test" if self.test else "validation"

    def __post_init__(self):
        super().__post_init__()
        if len(self.commands) > 1:
            self.refuse(self.commands[1], f"cannot be combined with {self.flags()[self.command].flag}")
        if self.command in ("train", "summary") and self.model is None:
            self.refuse("model", "is missing: name a network; --list-models prints their names")
        if not self.ratio:
            self.refuse("ratio", "must be above 0")
        if self.map_every and not (self.save_maps or self.map_index):
            self.refuse("map_every", "needs images: add --save-maps N or --map-index I")


@dataclass(frozen=True)
class EvaluateSettings(NetworkSettings):
    """Test a trained network, classify image files with it, or export it for other simulators.

    A test writes a folder RUN-evaluation-TIME with the scores, figures and page.
    """

    program = "evaluate.py"
    usage = (
        "python evaluate.py RUN [flags]\n       python evaluate.py RUN --predict FILE …\n"
        "       python evaluate.py RUN --nir FILE\n       python evaluate.py RUN --export FILE\n\n"
        "example: python evaluate.py latest --save-maps 1"
    )

    run: str = of_network(
        "latest", "RUN", "the trained network: a run's folder, its name in --output, a checkpoint, or latest"
    )
    model: str | None = of_network(None, "NAME", "the network that RUN must contain (default: any)")
    dataset: str | None = of_data(
        None,
        "NAME",
        f"the data set: {list_datasets()} (default: that of the training)",
    )
    noise: str | None = of_data(
        None,
        "KIND=X",
        "add noise to the test images: gaussian=0.1 (σ as a fraction of white) or salt-pepper=0.05 (the fraction of "
        "pixels that become black or white)",
    )
    predict: tuple[str, ...] = of_prediction(
        (), "FILE", "classify image files, or recordings of events: their names, folders, or patterns ('*.png')"
    )
    raw: bool = of_prediction(False, None, "only resize pictures of digits and letters; do not centre the ink")
    scores: bool = of_prediction(False, None, "also print the scores of all classes")
    json: bool = of_prediction(False, None, "print the classes and scores of all images as one JSON list")
    nir: str | None = of_output(None, "FILE", "export the network as a NIR graph, for other simulators and hardware")
    export: str | None = of_output(
        None, "FILE", "export the network and 20 test vectors as NumPy arrays (.npz), for hardware and simulators"
    )
    bits: tuple[int, ...] = of_output(
        (),
        "B",
        "also test the network with weights of B bits, such as 8 4 2 1; with --export: one number, the bits of the "
        "exported weights (default: floats)",
        range=(1, 16),
    )

    scored_split: ClassVar[str] = "test"

    def __post_init__(self):
        super().__post_init__()
        try:
            parse_noise(self.noise or "gaussian=0")
        except InputError as error:
            self.refuse("noise", f"{self.noise} cannot be used: {error}")
        if self.predict:
            self._refuse_groups(("data", "output"), "has no effect beside --predict")
        elif self.nir:
            self._refuse_groups(("data", "prediction", "output"), "has no effect beside --nir", {"nir"})
        elif self.export:
            self._refuse_groups(("prediction", "output"), "has no effect beside --export", {"export", "bits"})
            if len(self.bits) > 1:
                self.refuse("bits", f"takes one number beside --export, not {len(self.bits)}")
        else:
            self._refuse_groups(("prediction",), "needs --predict")

    def _refuse_groups(self, groups, reason, allowed=frozenset()):
        """Raise InputError if a setting of these groups is given, except for --output, in which RUN is searched for."""
        for name in self.given - allowed - {"output"}:
            if self.flags()[name].group in groups:
                self.refuse(name, reason)


@dataclass(frozen=True)
class SweepSettings(Settings):
    """Train all combinations of networks, data sets, settings and seeds, several runs at a time, and report on them.

    All other flags of train.py (--ratio, --patience, …) apply to every run. Finished runs are skipped, and interrupted
    runs are continued. Phases that are the same in several runs are trained once, unless --tensorboard or --map-every
    is used.
    """

    program = "sweep.py"
    usage = (
        "python sweep.py --model NAME … --output DIR [flags]\n       python sweep.py --report RUN …\n\n"
        "example: python sweep.py --model mozafari2018 --seeds 0 1 2 \\\n"
        "             --grid s2.threshold 8 10 12 --output runs/sweep"
    )

    model: tuple[str, ...] = of_network((), "NAME", "the networks", sets=("model",))
    set: dict = of_network(dict, "F=V", SET_HELP, read=read_set)  # noqa: RUF009
    grid: tuple[tuple[str, ...], ...] = of_network(
        (),
        ("F", "V"),
        "a field as in --set, and its values; repeat the flag to combine several fields",
        arguments={"action": "append"},
    )
    dataset: tuple[str, ...] = of_data(("mnist",), "NAME", "the data sets (default: mnist)", sets=("dataset",))
    epochs: tuple[int, ...] = of_training(
        (), "E", "the number of epochs of each phase, for all networks (default: that of each network)"
    )
    seeds: tuple[int, ...] = of_training((0,), "S", "the seeds (default: 0)", range=(0, MAX_SEED), sets=("seed",))
    threads: int = of_machine(1, "N", "the number of threads of each run", range=(1, MAX_COUNT), sets=("threads",))
    jobs: int = of_machine(0, "N", "the number of runs at a time; 0: as many as the cores allow")
    cluster: str | None = of_machine(
        None,
        "NAME",
        "train on a dask or ray cluster, whose machines have this repository and --output at the same paths",
        choices=("dask", "ray"),
    )
    scheduler: str | None = of_machine(
        None,
        "ADDRESS",
        "the address of the cluster: tcp://HOST:PORT for dask, HOST:PORT for ray (default: ray on this machine)",
    )
    output: str | None = of_output(
        None, "DIR", "the folder in which each run creates its own folder", sets=("output", "name")
    )
    report: tuple[str, ...] = of_output(
        (), "RUN", "write tables and learning curves of these runs, or of the runs in these folders"
    )
    run_flags: tuple[str, ...] = ()  # all words of the command line that are not settings of the sweep

    def __post_init__(self):
        super().__post_init__()
        if self.report:
            if useless := [*self.given - {"report", "output"}, *self.run_flags]:
                self.refuse("report", f"reads finished runs; leave out {' '.join(useless)}")
            return
        for name in ("model", "output"):
            if not getattr(self, name):
                self.refuse(name, "is missing: a sweep needs --model NAME … and the folder --output DIR")
        if bool(self.scheduler) != (self.cluster == "dask") and self.cluster != "ray":
            self.refuse("scheduler", "is required with --cluster dask, optional with --cluster ray, unused otherwise")
        if self.cluster == "dask" and not self.scheduler.startswith("tcp://"):
            self.refuse("scheduler", f"must be tcp://HOST:PORT for dask, not {self.scheduler}")
        fields = [*self.set, *(name for name, *_ in self.grid)]
        for name, *values in self.grid:
            if not values or "=" in name or fields.count(name) > 1:
                self.refuse("grid", f"must name a field once, with its values: --grid s2.threshold 8 10 12; not {name}")


# ---------------------------------------------------------------------------------------------------------------------
# The command line and --config


class Parser(argparse.ArgumentParser):
    """An ArgumentParser that raises InputError instead of printing the usage."""

    def error(self, message: str) -> None:
        raise InputError(f"{message} (see {self.prog} --help)")

    def print_help(self, file: object = None) -> None:
        """Print the help. Raises InputError if the output is closed or full."""
        print_output(self.format_help(), end="")

    def parse_known_args(self, args: list[str], namespace: Any = None) -> tuple[argparse.Namespace, list[str]]:
        """Parse words. Lists of negative numbers (-0.004,-0.003) and -1e-5 are values, not flags."""
        words = [f" {word}" if re.match(r"-(\d|\.|inf)", word) else word for word in args]
        return super().parse_known_args(words, namespace)


def make_parser(settings: type[Settings]) -> Parser:
    """Return the parser of a command. Its result contains only what the command line contains, no defaults."""
    width = min(100, shutil.get_terminal_size().columns)
    description, _, more = settings.__doc__.partition("\n\n")
    parser = Parser(
        prog=settings.program,
        usage=settings.usage,
        description=description,
        epilog=more,
        formatter_class=lambda prog: argparse.HelpFormatter(prog, max_help_position=26, width=width),
        argument_default=argparse.SUPPRESS,
        allow_abbrev=False,
    )
    groups = {name: parser.add_argument_group(name) for name in GROUPS}
    for setting in settings.flags().values():
        setting.add_to(groups[setting.group])
    return parser


def read_config(path: Path, settings: type[Settings]) -> dict[str, Any]:
    """Read settings from a TOML file or from the args.json of a run. Returns {name: value}.

    In TOML, ``batch-size = 100`` and ``no-figures = true`` stand for flags, and the table ``[set]`` for ``--set``.
    Raises InputError for a file that cannot be read, and for a TOML key that is not a setting of a run.
    """
    is_run = path.suffix == ".json"
    if path.exists() and not path.is_file():  # a pipe may never end
        raise InputError(f"--config {path} is not a regular file")
    try:
        text = path.read_text(encoding="utf-8-sig")  # editors on Windows write a byte order mark
        content = json.loads(text) if is_run else tomllib.loads(text)
        str(content)  # ValueError for an integer of more than 4300 digits, which Python does not print
    except (OSError, ValueError, RecursionError) as error:
        reason = getattr(error, "strerror", None) or " ".join(str(error).split())
        raise InputError(f"--config {path} cannot be read: {reason}") from error
    if is_run:
        content = content.get("flags") if isinstance(content, dict) else None
        if not isinstance(content, dict):
            message = f"--config {path} is not the args.json of a run: it has no flags; other settings are TOML files"
            raise InputError(message)
    known = [setting for setting in settings.flags().values() if setting.changes not in (COMMAND, CODE)]
    if is_run:
        return {setting.name: content.get(setting.name) for setting in known if setting.is_repeated}
    names = {setting.flag.removeprefix("--"): setting.name for setting in known}
    values = {}
    for key, value in content.items():
        if key not in names:
            raise InputError(f"--config {path}: unknown setting {key!r}; choose from {', '.join(sorted(names))}")
        is_negated = key.startswith("no-") and isinstance(value, bool)
        values[names[key]] = not value if is_negated else value
    return values
