"""The settings of the commands. Each setting is declared once, as a field.

The following are derived from the fields: the parsers and their help, the checks of types and ranges, the keys of a
``--config`` file, what checkpoints save, what a resumed run may change, the titles of figures, and what two runs must
have in common to learn the same. To add a flag, add a field.
"""

import argparse
import ast
import json
import re
import textwrap
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields, replace
from functools import partial
from pathlib import Path
from types import NoneType
from typing import Any, ClassVar, NamedTuple, get_args, get_origin

from encoders import ENCODERS
from engine.backends import AUTO, BACKENDS
from engine.declaration import fits, to_field
from engine.lengths import EARLY
from engine.plugins import import_plugin
from errors import InputError
from imagesets import list_datasets
from imagesets.pictures import GROUNDS
from models import model_class, network_names
from report.formats import check_format
from utils import join_words

try:
    import tomllib
except ModuleNotFoundError:  # before Python 3.11
    import tomli as tomllib

# What a setting affects: what is learned, unless its field declares something else.
LEARNING = "what is learned"
CODE = "which files are imported, and so what is learned"  # only the command line names them
DECLARATION = "the stages and the encoder, and so what is learned"
ROUNDING = "what is learned, by rounding only"  # a resumed run may change it
SCORES = "which scores are computed"
FILES = "which files are written"
LOCATION = "where the run is"  # --config does not repeat it
HARMLESS = "neither weights nor results"  # a resumed run may change it
COMMAND = "what the command does"  # not a property of the run, so it is not saved

LEARNED = LEARNING, CODE, DECLARATION
FIXED = *LEARNED, SCORES, FILES  # a resumed run may not change these

TYPES = {
    bool: ("true or false", "true or false"),
    int: ("a whole number", "whole numbers"),
    float: ("a number", "numbers"),
    str: ("a text", "texts"),
}
MAX_COUNT, MAX_SEED = 2**31 - 1, 10**18 - 1
MAX_NAME = 200  # letters; with ".error.txt" and the like, file systems allow 255 bytes
NAME = re.compile(rf"[A-Za-z0-9_][A-Za-z0-9._-]{{0,{MAX_NAME - 1}}}(?<!\.)")
LAST_STAGE = "last"  # of --save-features: the last stage before the decision stage
SET_HELP = (
    "set fields of a stage, a rule or the encoder, such as s2.threshold=12 s3.1.rule.winners=8 "
    "s3.rule.reward=0.01,-0.0005 s3.rule=margin encoder.time_steps=20"
)
AUGMENT_HELP = (
    "also train the decision stage on moved copies of the images: copies=8 turn=8 (degrees) shift=1.2 (pixels) "
    "scale=0.08 shear=0.08 flip, or none (default: that of the network)"
)


class Setting(NamedTuple):
    """What the field of a setting declares.

    Attributes:
        group: the group of the help, one of ``GROUPS``.
        default: the value if the setting is not given.
        metavar, help: the arguments of ``ArgumentParser.add_argument``. A bool has no metavar.
        affects: what the setting affects, one of the constants above.
        range: the lowest and the highest number that are allowed.
        choices: the texts that are allowed; if it is empty, all are.
        arguments: more arguments of ``add_argument``.
        name, type: the name and the type of the field.
    """

    group: str
    default: Any
    metavar: str | tuple[str, ...] | None
    help: str
    affects: str = LEARNING
    range: tuple[float, float] = (0, MAX_COUNT)
    choices: tuple[str, ...] = ()
    arguments: Mapping[str, Any] = {}
    name: str = ""
    type: Any = None

    @property
    def flag(self) -> str:
        """The flag, such as ``--batch-size`` or ``--no-figures``; RUN for evaluate.py's positional argument."""
        no = "no-" if self.default is True else ""
        return "RUN" if self.name == "run" else f"--{no}{self.name.replace('_', '-')}"

    def convert(self, value: Any) -> Any:
        """Return a value of the command line, of JSON or of TOML in the form of the field: a list as tuple or text."""
        if isinstance(value, list) and str in get_args(self.type) and get_origin(self.type) is not tuple:
            return " ".join(map(str, value))
        return to_field(to_words(value) if isinstance(value, dict) else value)

    def check(self, value: Any) -> None:
        """Raise InputError unless the value has the type of the setting, and is in its range and its choices."""
        least, most = self.range
        if not fits(value, self.type):
            raise InputError(f"{self.flag} must be {describe_type(self.type)}, not {value!r}")
        for item in value if isinstance(value, tuple) else [value]:
            if isinstance(item, str) and (not item.strip() or "\0" in item):
                raise InputError(f"{self.flag} cannot be {item!r}: give it a value, or leave it out")
            if isinstance(item, str) and self.choices and item not in self.choices:
                raise InputError(f"{self.flag} must be {' or '.join(self.choices)}, not {item!r}")
            if isinstance(item, int | float) and not least <= item <= most:
                raise InputError(f"{self.flag} must be from {least:,} to {most:,}, not {item}")

    def add_to(self, group: argparse._ArgumentGroup) -> None:
        """Add the flag to a group of a parser."""
        if self.type is bool:
            action = "store_false" if self.default else "store_true"
            group.add_argument(self.flag, dest=self.name, action=action, help=self.help)
            return
        text = self.help
        types = {self.type, *get_args(self.type)}
        options = {"type": read_value if types & {int, float} else str, **self.arguments}
        if self.flag != "RUN" and isinstance(self.default, int | float | str) and "(default" not in text:
            text += f" (default: {self.default})"
        if get_origin(self.type) is tuple:
            options.setdefault("nargs", "+")
        group.add_argument(self.flag.replace("RUN", "run"), metavar=self.metavar, help=text, **options)


def describe_type(hint: Any, is_plural: bool = False) -> str:
    """Return the values of a type in words, such as "a list of whole numbers"."""
    if get_origin(hint) is tuple:
        items = describe_type(get_args(hint)[0], is_plural=True)
        return f"lists of {items}" if is_plural else f"a list of {items}"
    options = [option for option in get_args(hint) or (hint,) if option is not NoneType]
    return " or ".join(TYPES[option][is_plural] for option in options)


def setting(group: str, default: Any, *declared: Any, **more: Any) -> Any:
    """Declare a setting: the value of a dataclass field. The arguments are those of ``Setting``."""
    return field(default=default, metadata={"setting": Setting(group, default, *declared, **more)})


GROUPS = "commands", "network", "data", "training", "prediction", "machine", "output"
of_commands, of_network, of_data, of_training, of_prediction, of_machine, of_output = (
    partial(setting, group) for group in GROUPS
)


# ---------------------------------------------------------------------------------------------------------------------
# Values: of flags, of NAME=VALUE in --set, --grid and --augment, and of the table [set] in TOML


LITERALS = {"none": "None", "true": "True", "false": "False", "inf": "1e999"}
NAMES_OF_LITERALS = re.compile(rf"\b({'|'.join(LITERALS)})\b", re.IGNORECASE)


def read_value(text: str) -> Any:
    """Parse a Python literal, or none, inf, true, false. Lists become tuples. Any other text is returned as it is."""
    text = text.strip()
    python = NAMES_OF_LITERALS.sub(lambda match: LITERALS[match[0].lower()], text)
    try:
        return to_field(ast.literal_eval(python))
    except (SyntaxError, ValueError, TypeError, RecursionError, MemoryError):
        return text


def read_pairs(words: Iterable[str]) -> dict[str, Any]:
    """Parse ``["s2.threshold=12", "flip"]`` to {"s2.threshold": 12, "flip": True}.

    If a name appears twice, the last value counts, and its place.
    """
    values = {}
    for word in words:
        name, sign, value = word.partition("=")
        name = name.strip()
        values.pop(name, None)
        values[name] = read_value(value) if sign else True
    return values


def to_words(table: Mapping[str, Any], prefix: str = "") -> list[str]:
    """Return the words that ``read_pairs`` parses to a table: {"s2": {"threshold": 12}, …} → ["s2.threshold=12", …]."""
    words = []
    for name, value in table.items():
        if isinstance(value, dict):
            words += to_words(value, f"{prefix}{name}.")
        else:
            words.append(f"{prefix}{name}={value}")
    return words


def to_text(value: Any) -> str:
    """Return a value in the form of the command line."""
    return " ".join(map(str, value)) if isinstance(value, tuple) else str(value)


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
    def declared(cls) -> dict[str, Setting]:
        """Return {name: setting}, sorted by group, the run and the network first in theirs."""
        fields_of_settings = [item for item in fields(cls) if item.metadata]
        declared = [item.metadata["setting"]._replace(name=item.name, type=item.type) for item in fields_of_settings]
        declared.sort(key=lambda setting: (GROUPS.index(setting.group), setting.name not in ("run", "model")))
        return {setting.name: setting for setting in declared}

    @classmethod
    def names(cls, *affects: str) -> list[str]:
        """Return the names of the settings whose ``affects`` is one of these constants."""
        return [name for name, setting in cls.declared().items() if setting.affects in affects]

    @classmethod
    def parse(cls, argv: list[str]) -> "Settings":
        """Parse a command line. Raises InputError."""
        known, more = make_parser(cls).parse_known_args(argv)
        values = cls.convert(vars(known))
        if more and "run_flags" not in cls.__dataclass_fields__:
            raise InputError(f"unrecognized arguments: {' '.join(more)} (see {cls.program} --help)")
        if more:
            values["run_flags"] = tuple(more)
        if "plugin" in values:  # only here, so that no other file than those of the command line is imported
            cls.declared()["plugin"].check(values["plugin"])
            values["plugin"] = tuple(map(import_plugin, values["plugin"]))
        if "config" in values:
            configured = cls.convert(read_config(Path(values["config"]), cls))
            if "set" in configured and "set" in values:
                cls.declared()["set"].check(configured["set"])
                values["set"] = configured["set"] + values["set"]
            values = configured | values
        return cls(**values, given=frozenset(values), command_line=join_words([cls.program, *argv]))

    @classmethod
    def from_dict(cls, saved: Mapping[str, Any]) -> "Settings":
        """Return the settings of a dict from ``to_dict``. A setting that is missing or None has its default."""
        return cls(**cls.convert(saved))

    @classmethod
    def convert(cls, values: Mapping[str, Any]) -> dict[str, Any]:
        """Convert the values of settings by ``Setting.convert``. Names of other things and None are left out."""
        converted = {}
        for name, setting in cls.declared().items():
            if values.get(name) is not None:
                converted[name] = setting.convert(values[name])
        return converted

    def to_dict(self) -> dict[str, Any]:
        """Return the settings of a run as plain values, for args.json, results.json and checkpoints."""
        return json.loads(json.dumps(self.select(*FIXED, ROUNDING, LOCATION, HARMLESS)))  # tuples become lists

    def select(self, *affects: str) -> dict[str, Any]:
        """Return {name: value} of the settings whose ``affects`` is one of these constants."""
        return {name: getattr(self, name) for name in self.names(*affects)}

    def describe(self, name: str) -> str:
        """Return the flag and the value of a setting, such as "--patience 5"."""
        return f"{self.declared()[name].flag} {to_text(getattr(self, name))}"

    def refuse(self, name: str, reason: str) -> None:
        """Raise an InputError about a setting: its flag and the reason."""
        raise InputError(f"{self.declared()[name].flag} {reason}")

    def __post_init__(self):
        for name, setting in self.declared().items():
            setting.check(getattr(self, name))


@dataclass(frozen=True)
class NetworkSettings(Settings):
    """The settings that train.py and evaluate.py share."""

    plugin: tuple[str, ...] = of_network(
        (),
        "FILE.py",
        "import networks, stages, rules, encoders, data sets and figures from your own files; --resume and evaluate.py "
        "need it again",
        CODE,
    )
    dataset: str | None = of_data(
        None,
        "NAME",
        f"the data set: {list_datasets()} (default: mnist)",
    )
    image_size: tuple[int, ...] = of_data(
        (),
        ("H", "W"),
        "stretch images to this height and width in pixels",
        arguments={"nargs": 2},
    )
    ground: str | None = of_data(
        None,
        "COLOUR",
        "put pictures with transparent parts on white or black; --predict uses the ground of the training",
        choices=GROUNDS,
    )
    data_dir: str | None = of_data(
        None, "DIR", "the folder of downloaded data sets (default: data, beside train.py)", HARMLESS
    )
    dry_run: bool = of_data(False, None, "test a command on a few images; training has one epoch of each phase")

    device: str = of_machine(
        "auto",
        "NAME",
        "cpu, cuda, cuda:N or auto (a GPU if --backend is torch, otherwise the CPU)",
        ROUNDING,
    )
    backend: str = of_machine(
        "auto",
        "NAME",
        "event (compiled kernels, CPU), torch (tensor operations) or auto (torch if --device names a GPU, else event)",
        ROUNDING,
        choices=(AUTO, *BACKENDS),
    )
    threads: int | str = of_machine(
        "auto",
        "N",
        "the number of threads; 0 or auto: one per core",
        HARMLESS,
        choices=("auto",),
    )
    traceback: bool = of_machine(False, None, "print the traceback of an error, not only its last line", COMMAND)

    output: str = of_output("runs", "DIR", "the folder in which each run creates its own folder", LOCATION)
    name: str | None = of_output(
        None,
        "NAME",
        "the name of the new folder (default: network, data set and time, of a run also the seed)",
        LOCATION,
    )
    tensorboard: bool = of_output(False, None, "log to TensorBoard, in the run's folder", FILES)
    figures: bool = of_output(True, None, "write no figures, no pictures of activation maps and no page", HARMLESS)
    save_maps: int = of_output(
        0,
        "N",
        "save the activation maps of N tested images of each class (without N: 1)",
        FILES,
        arguments={"nargs": "?", "const": 1},
    )
    map_index: tuple[int, ...] = of_output(
        (), "I", "save the activation maps of the tested images with these indices", FILES
    )
    save_features: str | None = of_output(
        None,
        "STAGE",
        "save the latency maps of all images (without STAGE: of the last stage before the decision); evaluate.py does "
        "this in place of a test, and with --predict for these files",
        FILES,
        arguments={"nargs": "?", "const": LAST_STAGE},
    )

    def __post_init__(self):
        super().__post_init__()
        if len(self.image_size) not in (0, 2):
            self.refuse("image_size", f"must be a height and a width, not {self.image_size}")
        if self.name is not None and not NAME.fullmatch(self.name):
            rule = f"must be up to {MAX_NAME} letters, digits and . _ -, not begin with . or -, not end with ."
            self.refuse("name", f"{rule}: {self.name!r}")


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

    model: str | None = of_network(None, "NAME", f"the network: {', '.join(network_names())}", DECLARATION)
    encoder: str | None = of_network(
        None, "NAME", f"the encoder: {', '.join(ENCODERS)} (default: that of the network)", DECLARATION
    )
    set: tuple[str, ...] = of_network((), "F=V", SET_HELP, DECLARATION)
    config: str | None = of_network(
        None, "FILE", "read settings from a TOML file or a run's args.json; the command line takes precedence", COMMAND
    )
    init_from: str | None = of_network(
        None, "RUN", "start with the weights and rates of a trained network, for all stages that fit"
    )

    characters: bool = of_data(
        False,
        None,
        "the images are characters, light on black: --predict and --draw scale and centre the ink of pictures as in "
        "MNIST; for your own data, because published ones need no flag",
        FILES,
    )
    ratio: float = of_data(
        1.0, "R", "the fraction of the training images to use; all images without labels are used", range=(0, 1)
    )
    val_split: int | float | None = of_data(
        None,
        "N",
        "the number or fraction of training images for validation (default: 5000, but at most 1/12 of them; of few "
        "images one of each class); not for data with a validation part",
    )
    labels: int | float | None = of_data(
        None,
        "N",
        "phases with labels learn from N of the training images, the same number of each class, or from a fraction of "
        "them; phases without labels learn from all (default: all)",
    )
    test: bool = of_data(True, None, "do not classify the test images; report the validation images instead", SCORES)

    epochs: tuple[int, ...] = of_training(
        (),
        "E",
        "the number of epochs of each phase, for deep2024: 2 4 4 10; 0 skips a phase (default: see --list-models)",
    )
    converge: float = of_training(
        0.0,
        "C",
        "after its epochs, a phase without labels trains until its convergence, the mean of w (1 - w) of features that "
        "won, is below C, at most to epoch 20, of fewer than 1,000 images for 20,000 presentations; a number of "
        "--epochs above 20 is the most instead; 0: never (default: 0 with --epochs, otherwise that of the network)",
    )
    batch_size: int = of_training(
        1000, "N", "the number of images of a batch, after which the R-STDP rates adapt", range=(1, MAX_COUNT)
    )
    seed: int = of_training(0, "S", "the seed of the weights, the splits and the order of images", range=(0, MAX_SEED))
    patience: int = of_training(0, "E", "stop if the validation accuracy has not improved for E epochs; 0: never")
    augment: str | None = of_training(None, "A=X", AUGMENT_HELP, arguments={"nargs": "+"})

    references: bool = of_output(
        True,
        None,
        "on data other than MNIST, do not compare the network with its references: the largest class, two classifiers "
        "of the pixels and control2026",
        HARMLESS,
    )
    map_every: int = of_output(0, "E", "also save the activation maps every E epochs; 0: only at the end", FILES)
    save_every: float = of_output(60.0, "SECONDS", "seconds between two checkpoints", HARMLESS)

    @property
    def early(self) -> dict[str, float]:
        """The settings that end phases before their last epoch, see ``engine/lengths.py``."""
        return {name: getattr(self, name) for name in EARLY}

    @property
    def scored_split(self) -> str:
        """The split that is tested and drawn at the end: "test", or "validation" if the test images are not read."""
        return "test" if self.test else "validation"

    def title(self, dataset: str, model: str | None = None) -> str:
        """Return the first part of the titles of figures. model: its name; None: that of the settings."""
        fields = f" with {to_text(self.set)}" if self.set else ""
        labels = "" if self.labels is None else f", labels {self.labels}"
        return textwrap.fill(f"{model or self.model}{fields}, {dataset}{labels}, seed {self.seed}", 90)

    def __post_init__(self):
        super().__post_init__()
        commands = [name for name in ("list_models", "summary", "resume") if getattr(self, name)]
        if len(commands) > 1:
            self.refuse(commands[1], f"cannot be combined with {self.declared()[commands[0]].flag}")
        if commands in ([], ["summary"]) and self.model is None:
            self.refuse("model", "is missing: name a network; --list-models prints their names")
        if not self.ratio:
            self.refuse("ratio", "must be above 0")
        if self.map_every and not (self.save_maps or self.map_index):
            self.refuse("map_every", "needs images: add --save-maps N or --map-index I")


@dataclass(frozen=True)
class EvaluateSettings(NetworkSettings):
    """Test a trained network, classify image files with it, or export it for other simulators.

    A test writes a folder NETWORK-DATA-evaluation-TIME with the scores, figures and page.
    """

    program = "evaluate.py"
    usage = (
        "python evaluate.py RUN … [flags]\n       python evaluate.py RUN --predict FILE …\n"
        "       python evaluate.py RUN --nir FILE\n"
        "       python evaluate.py RUN --draw FILE\n"
        "       python evaluate.py RUN --save-features STAGE [--predict FILE …]\n\n"
        "example: python evaluate.py latest --save-maps 1"
    )

    run: tuple[str, ...] = of_network(
        (),
        "RUN",
        "the trained network: a run's folder, its name in --output, a checkpoint, or latest; several networks are "
        "tested alone and together, and compared",
    )
    model: str | None = of_network(None, "NAME", "the network that RUN must contain (default: any)")
    dataset: str | None = of_data(
        None,
        "NAME",
        f"the data set: {list_datasets()} (default: that of the training)",
    )
    predict: tuple[str, ...] = of_prediction(
        (), "FILE", "classify image files: their names, folders, or patterns ('*.png')"
    )
    raw: bool = of_prediction(False, None, "only resize pictures of characters; do not centre the ink")
    scores: bool = of_prediction(False, None, "also print the scores of all classes")
    json: bool = of_prediction(False, None, "print the classes and scores of all images as one JSON list")
    nir: str | None = of_output(None, "FILE", "export the network as a NIR graph, for other simulators and hardware")
    draw: str | None = of_output(
        None,
        "FILE",
        "write a page (.html) on which an image is drawn and the network answers, in a browser, offline; --map-index "
        "and --save-maps choose its test images",
    )

    def __post_init__(self):
        super().__post_init__()
        if len(self.run) > 1:
            self._refuse_groups(("output", "prediction"), "takes one RUN", {"name"})
        elif self.save_features:
            used = {"save_features", "name"}
            if self.predict:
                self._refuse_groups(("data",), "has no effect beside --predict")
                used |= {"predict", "raw"}
            self._refuse_groups(("prediction", "output"), "has no effect beside --save-features", used)
        elif self.predict:
            self._refuse_groups(("data", "output"), "has no effect beside --predict")
        elif self.nir:
            self._refuse_groups(("data", "prediction", "output"), "has no effect beside --nir", {"nir"})
        elif self.draw:
            used = {"draw", "save_maps", "map_index"}
            self._refuse_groups(("prediction", "output"), "has no effect beside --draw", used)
        else:
            self._refuse_groups(("prediction",), "needs --predict")

    def _refuse_groups(self, groups, reason, allowed=frozenset()):
        """Raise InputError if a setting of these groups is given, except for --output, in which RUN is searched for."""
        for name in self.given - allowed - {"output"}:
            if self.declared()[name].group in groups:
                self.refuse(name, reason)


@dataclass(frozen=True)
class SweepSettings(Settings):
    """Train all combinations of networks, data sets, settings and seeds, several runs at a time, and report on them.

    Other flags of train.py (--ratio, --patience, …) apply to every run, except those for a single run. Finished runs
    are skipped, and interrupted runs are continued.
    """

    program = "sweep.py"
    usage = (
        "python sweep.py --model NAME … --output DIR [flags]\n       python sweep.py --report RUN … --output DIR\n\n"
        "example: python sweep.py --model mozafari2018 --seeds 0 1 2 \\\n"
        "             --grid s2.threshold 8 10 12 --output runs/sweep"
    )

    model: tuple[str, ...] = of_network((), "NAME", "the networks")
    set: tuple[str, ...] = of_network((), "F=V", SET_HELP)
    grid: tuple[tuple[str, ...], ...] = of_network(
        (),
        ("F", "V"),
        "a field as in --set, and its values; repeat the flag to combine several fields",
        arguments={"action": "append"},
    )
    dataset: tuple[str, ...] = of_data(("mnist",), "NAME", "the data sets (default: mnist)")
    epochs: tuple[int, ...] = of_training(
        (), "E", "the number of epochs of each phase, for all networks (default: that of each network)"
    )
    labels: tuple[float, ...] = of_data(
        (), "N", "the numbers or fractions of training images whose labels are learned (default: all)"
    )
    seeds: tuple[int, ...] = of_training((0,), "S", "the seeds (default: 0)", range=(0, MAX_SEED))
    threads: int = of_machine(1, "N", "the number of threads of each run", range=(1, MAX_COUNT))
    jobs: int = of_machine(0, "N", "the number of runs at a time; 0: as many as the cores allow")
    scheduler: str | None = of_machine(
        None,
        "ADDRESS",
        "train on a Dask cluster: the address of its scheduler, tcp://HOST:PORT; its machines have this repository and "
        "--output at the same paths",
    )
    output: str | None = of_output(None, "DIR", "the folder in which each run creates its own folder")
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
        fields = [*read_pairs(self.set), *(name for name, *_ in self.grid)]
        for name, *values in self.grid:
            if not values or "=" in name or fields.count(name) > 1:
                self.refuse("grid", f"must name a field once, with its values: --grid s2.threshold 8 10 12; not {name}")


def apply_changes(saved: TrainSettings, settings: TrainSettings) -> TrainSettings:
    """Return a run's settings with the changes of the command line. The last phase may have more epochs.

    Raises InputError for a change that would lead to other weights or other files.
    """
    ignored = {"resume", "config", "traceback", "output"}
    given = {name: getattr(settings, name) for name in settings.given - ignored}
    if "model" in given:
        given["model"] = model_class(given["model"]).name
    free = {*saved.names(ROUNDING, HARMLESS)}
    if is_longer(settings.epochs, saved.epochs):
        free.add("epochs")
    for name in sorted(given.keys() - free):
        before = getattr(saved, name)
        if given[name] != before:
            change = f"{to_text(given[name])} would change the run, which has {to_text(before)}"
            settings.refuse(name, f"{change}; it is for a new run, with another --name")
    return replace(saved, **{name: given[name] for name in given.keys() & free})


def is_longer(epochs: tuple[int, ...], before: tuple[int, ...]) -> bool:
    """Return whether only the last number of epochs differs, and is larger."""
    return len(epochs) == len(before) and epochs[:-1] == before[:-1] and epochs[-1:] > before[-1:]


# ---------------------------------------------------------------------------------------------------------------------
# The command line and --config


class Parser(argparse.ArgumentParser):
    """An ArgumentParser that raises InputError instead of printing the usage."""

    def error(self, message: str) -> None:
        raise InputError(f"{message} (see {self.prog} --help)")

    def parse_known_args(self, args: list[str], namespace: Any = None) -> tuple[argparse.Namespace, list[str]]:
        """Parse words. Lists of negative numbers (-0.004,-0.003) and -1e-5 are values, not flags."""
        words = [f" {word}" if re.match(r"-(\d|\.|inf)", word) else word for word in args]
        return super().parse_known_args(words, namespace)


def make_parser(settings: type[Settings]) -> Parser:
    """Return the parser of a command. Its result contains only what the command line contains, no defaults."""
    description, _, more = settings.__doc__.partition("\n\n")
    parser = Parser(
        prog=settings.program,
        usage=settings.usage,
        description=description,
        epilog=more,
        argument_default=argparse.SUPPRESS,
        allow_abbrev=False,
    )
    groups = {name: parser.add_argument_group(name) for name in GROUPS}
    for setting in settings.declared().values():
        setting.add_to(groups[setting.group])
    return parser


def read_config(path: Path, settings: type[Settings]) -> dict[str, Any]:
    """Read settings from a TOML file or from the args.json of a run. Returns {name: plain value}.

    In TOML, ``batch-size = 100`` and ``no-figures = true`` stand for flags, and the table ``[set]`` for ``--set``.
    Raises InputError for a file that cannot be read, and for a TOML key that is not a setting of a run.
    """
    is_run = path.suffix == ".json"
    try:
        if not path.is_file():  # a pipe may never end
            raise OSError("it is missing, or not a regular file")
        text = path.read_text(encoding="utf-8-sig")  # editors on Windows write a byte order mark
        content = check_format(json.loads(text), path)["flags"] if is_run else tomllib.loads(text)
        commands = settings.names(COMMAND, CODE)
        known = {name: setting for name, setting in settings.declared().items() if name not in commands}
        if is_run:
            return {name: content.get(name) for name, setting in known.items() if setting.affects != LOCATION}
    except (OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        expected = "the args.json of a run" if is_run else "a TOML file"
        raise InputError(f"--config {path} is not {expected}: {' '.join(str(error).split())}") from error
    names = {setting.flag.removeprefix("--"): name for name, setting in known.items()}
    values = {}
    for key, value in content.items():
        if key not in names:
            raise InputError(f"--config {path}: unknown setting {key!r}; choose from {', '.join(sorted(names))}")
        is_negated = key.startswith("no-") and isinstance(value, bool)
        values[names[key]] = not value if is_negated else value
    return values
