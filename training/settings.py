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
from collections.abc import Callable
from dataclasses import Field, dataclass, field, fields
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, get_args, get_origin

from datasets import DATASETS
from datasets.augmentation import Augmentation, parse_noise
from engine.overrides import describe, fits
from errors import InputError
from models import MODELS
from training.encoders import ENCODERS
from training.readout import LAST, READOUTS

try:
    import tomllib
except ModuleNotFoundError:  # before Python 3.11
    import tomli as tomllib

# What a setting changes. A setting changes what is learned unless its field declares something else.
LEARNING = "what is learned"
ROUNDING = "what is learned, by rounding only"  # a resumed run may change it
FILES = "which files are written"
NOTHING = "neither weights nor results"  # a resumed run may change it
COMMAND = "what the command does"  # not a property of the run, so it is not saved

MAX_COUNT, MAX_SEED = 2**31 - 1, 2**63 - 1
BACKENDS, CLASSIFIERS = ("auto", "event", "torch"), (*READOUTS, "none")
SET_HELP = (
    "change fields of a stage, a rule or the encoder: s2.threshold=12 s3.1.rule.winners=8 "
    "s3.rule.reward=0.01,-0.0005 encoder.time_steps=20"
)
AUGMENT_HELP = (
    "train the decision stage on moved copies of the images too: copies=17 turn=8 (degrees) shift=1.2 (pixels) "
    "scale=0.08 shear=0.08 flip, or none (default: the network's own)"
)
NOT_REPEATED = {"device", "output", "name"}  # --config does not take them from the args.json of a run


def setting(
    group: str,
    default: Any,
    metavar: str | tuple[str, ...] | None,
    help: str,
    changes: str = LEARNING,
    *,
    range: tuple[float, float] = (0, MAX_COUNT),
    choices: tuple[str, ...] = (),
    read: Callable[[Any], Any] | None = None,
    title: str = "",
    **argparse: Any,
) -> Any:
    """Declare a setting: the value of a dataclass field.

    Args:
        group: the group of the help, one of ``GROUPS``.
        default: the value if the setting is not given; ``dict`` stands for an empty dict.
        metavar, help, argparse: as in ``ArgumentParser.add_argument``. A bool has no metavar.
        changes: what the setting changes, one of the constants above.
        range: the lowest and the highest number that are allowed.
        choices: the texts that are allowed; if it is empty, all are.
        read: computes the value from a list of words, and from the plain value that ``to_dict`` returns.
        title: how the titles of figures show the value, a format string; "" if they do not.
    """
    metadata = {name: value for name, value in locals().items() if name != "default"}
    return field(metadata=metadata, **{"default_factory" if default is dict else "default": default})


GROUPS = "commands", "network", "data", "training", "prediction", "machine", "output"
of_commands, of_network, of_data, of_training, of_prediction, of_machine, of_output = (
    partial(setting, group) for group in GROUPS
)


def to_flag(each: Field) -> str:
    """The flag of a setting, such as ``--batch-size`` or ``--no-figures``; RUN, which evaluate.py takes without one."""
    no = "no-" if each.default is True else ""
    return "RUN" if each.name == "run" else f"--{no}{each.name.replace('_', '-')}"


# ---------------------------------------------------------------------------------------------------------------------
# Values


def read_value(text: str) -> Any:
    """Read a value as Python writes it, or none, inf, true, false. Lists become tuples; any other text stays a text."""
    words = {"none": "None", "true": "True", "false": "False", "inf": "1e999"}
    python = re.sub(
        rf"\b({'|'.join(words)})\b", lambda match: words[match[0].lower()], text.strip(), flags=re.IGNORECASE
    )
    try:
        value = to_tuples(ast.literal_eval(python))
        str(value)  # ValueError for an integer of more than 4300 digits, which Python does not print
        return value
    except (SyntaxError, ValueError, TypeError, RecursionError, MemoryError):
        return text.strip()


def to_tuples(value: Any) -> Any:
    """The value with tuples in place of lists."""
    return tuple(map(to_tuples, value)) if isinstance(value, list | tuple) else value


def read_set(given: list[str] | dict[str, Any]) -> dict[str, Any]:
    """``["s2.threshold=12", …]`` or ``{"s2": {"threshold": 12}, …}`` → {"s2.threshold": 12, …}.

    If a field is set twice, the last value counts. Errors: InputError for a text that is not FIELD=VALUE.
    """
    pairs = [text.partition("=")[::2] for text in given] if isinstance(given, list) else [*given.items()]
    values = {}
    for name, value in pairs:
        name = name.strip()
        if isinstance(value, dict):  # a table of TOML
            values |= read_set({f"{name}.{key}": inner for key, inner in value.items()})
            continue
        if not str(value).strip() or not re.fullmatch(r"\w+(\.\w+)+", name):
            raise InputError(f"{name!r} does not set a field; write FIELD=VALUE, such as s2.threshold=12", field=name)
        if re.search(r"(?<![\d.])\d{19}", str(value)):
            raise InputError(f"{name} has a number of more than 18 digits", field=name)
        values.pop(name, None)  # fields are set in the order of their last values
        values[name] = read_value(value) if isinstance(value, str) else to_tuples(value)
    return values


def read_augmentation(given: list[str] | str) -> Augmentation:
    """``["copies=8", "turn=8"]`` or ``"copies=8 turn=8"`` → Augmentation."""
    return Augmentation.parse(given if isinstance(given, str) else " ".join(given))


def to_text(value: Any, separator: str = " ") -> str:
    """A value as the command line takes it: the items of a tuple apart, a dict as FIELD=VALUE."""
    if isinstance(value, dict):
        return " ".join(f"{name}={to_text(each, ',')}" for name, each in value.items())
    if not isinstance(value, tuple):
        return str(value)
    items = [f"({to_text(each, ',')})" if isinstance(each, tuple) else str(each) for each in value]
    return separator.join(items) + ("," if separator == "," and len(items) == 1 else "")


# ---------------------------------------------------------------------------------------------------------------------
# Settings


@dataclass(frozen=True)
class Settings:
    """The settings of a command.

    ``given`` contains the names of the settings that the command line or its ``--config`` file contains, and
    ``command_line`` the whole command line.

    Errors: InputError for a value of another type or out of range, and for settings that exclude each other. What
    depends on the network, the data or the machine is checked where these are known.
    """

    program: ClassVar[str]
    usage: ClassVar[str]

    given: frozenset = field(default=frozenset(), compare=False)
    command_line: str = field(default="", compare=False)

    @classmethod
    def flags(cls) -> dict[str, Field]:
        """{name: field} of all settings, by groups."""
        found = [each for each in fields(cls) if each.metadata]
        return {each.name: each for each in sorted(found, key=lambda each: GROUPS.index(each.metadata["group"]))}

    @classmethod
    def parse(cls, argv: list[str]) -> "Settings":
        """Read a command line. Errors: InputError."""
        words = [re.sub(r"^--\w+", lambda match: match[0].replace("_", "-"), word) for word in argv]
        known, more = make_parser(cls).parse_known_args(words)
        if more and "run_flags" not in cls.__dataclass_fields__:
            program = "evaluate.py" if {"--evaluate", "--predict"} & {*more} else cls.program
            raise InputError(f"unrecognized arguments: {' '.join(more)} (see {program} --help)", flag=more[0])
        values = cls.read(vars(known))
        if "config" in values:
            found = cls.read(read_config(Path(values["config"]), cls))
            now = values.get("set", {})
            merged = {name: value for name, value in found.get("set", {}).items() if name not in now} | now
            values = found | values | ({"set": merged} if merged else {})
        more = {"run_flags": tuple(more)} if more else {}
        return cls(**values, **more, given=frozenset(values), command_line=shlex.join([cls.program, *argv]))

    @classmethod
    def from_dict(cls, saved: dict[str, Any]) -> "Settings":
        """The settings that ``to_dict`` returned. A setting that is missing or None has its default."""
        return cls(**cls.read({name: saved[name] for name in cls.flags() if saved.get(name) is not None}))

    @classmethod
    def read(cls, values: dict[str, Any]) -> dict[str, Any]:
        """Compute the values of settings from words and plain values. Errors: InputError."""
        found = {}
        for each in (cls.flags()[name] for name in values):
            try:
                found[each.name] = _read(each, values[each.name])
            except InputError as error:
                message = str(error).removeprefix(f"{to_flag(each)} ")
                raise InputError(f"{to_flag(each)} {message}", flag=to_flag(each), field=error.field) from error
        return found

    def to_dict(self) -> dict[str, Any]:
        """The settings of a run as plain values, for args.json, results.json and checkpoints."""
        found = self.select(LEARNING, ROUNDING, FILES, NOTHING)
        return json.loads(json.dumps(found, default=str))  # tuples become lists, an augmentation its text

    def select_learning(self) -> dict[str, Any]:
        """{name: value} of all settings on which the learned weights depend."""
        return self.select(LEARNING, ROUNDING)

    def select(self, *changes: str) -> dict[str, Any]:
        """{name: value} of the settings that change something, given by the constants above."""
        flags = self.flags().values()
        return {each.name: getattr(self, each.name) for each in flags if each.metadata["changes"] in changes}

    def title(self, **shown: str) -> str:
        """The first part of the title of a figure. ``shown``: values to show in place of others, by name."""
        parts = []
        for name, each in self.flags().items():
            value = shown.get(name, getattr(self, name))
            parts += [each.metadata["title"].format(to_text(value))] if value not in (None, {}) else []
        return textwrap.fill("".join(parts), 90)

    def refuse(self, name: str, reason: str) -> None:
        """Raise an InputError about a setting."""
        about = to_flag(self.flags()[name])
        raise InputError(f"{about} {reason}", flag=about)

    def __post_init__(self):
        for name, each in self.flags().items():
            value, (least, most), choices = getattr(self, name), each.metadata["range"], each.metadata["choices"]
            for one in value if isinstance(value, tuple) else [value]:
                if isinstance(one, str) and (not one.strip() or "\0" in one):
                    self.refuse(name, f"cannot be {one!r}: give it a value, or leave it out")
                if isinstance(one, str) and choices and one not in choices:
                    self.refuse(name, f"must be {' or '.join(choices)}, not {one!r}")
                if isinstance(one, int | float) and not least <= one <= most:
                    self.refuse(name, f"must be {least:,} to {most:,}, not {one}")
            if not fits(value, each.type):
                self.refuse(name, f"cannot be {value!r}; it is {describe(each.type)}")


def _read(each: Field, given: Any) -> Any:
    """The value of a setting, from a word, a list of words or a plain value."""
    if each.metadata["read"]:
        is_words = isinstance(given, list) and all(isinstance(word, str) for word in given)
        if not is_words and not isinstance(given, dict if each.type is dict else str):
            raise InputError(f"cannot be {given!r}; see --help")
        return each.metadata["read"](given)
    if isinstance(given, list):
        return tuple(_read(each, one) for one in given)
    is_number = {each.type, *get_args(each.type)} & {int, float}
    return read_value(given) if isinstance(given, str) and is_number else given


@dataclass(frozen=True)
class NetworkSettings(Settings):
    """The settings that train.py and evaluate.py share."""

    dataset: str | None = of_data(
        None, "NAME", f"{', '.join(DATASETS)}, folder:PATH or FILE.npz (default: mnist)", title=", {}"
    )
    image_size: tuple[int, ...] = of_data((), ("H", "W"), "stretch images to this height and width in pixels", nargs=2)
    data_dir: str | None = of_data(None, "DIR", "the folder of downloaded data sets (default: data)", NOTHING)
    dry_run: bool = of_data(False, None, "use a few images only, to try a command out")

    device: str = of_machine(
        "auto", "NAME", "cpu, cuda, cuda:N or auto: a GPU if --backend is torch, otherwise the CPU", ROUNDING
    )
    backend: str = of_machine(
        "auto",
        "NAME",
        "event: compiled kernels, for the CPU; torch: tensor operations; auto",
        ROUNDING,
        choices=BACKENDS,
    )
    threads: int | str = of_machine(
        "auto", "N", "0: one for each core; auto: one only, where that is faster", NOTHING, choices=("auto",)
    )

    output: str = of_output("runs", "DIR", "the folder in which every run makes its own folder", FILES)
    name: str | None = of_output(
        None, "NAME", "the name of the run's folder (default: network, data set, seed and time)", FILES
    )
    tensorboard: bool = of_output(False, None, "write events for TensorBoard into the run's folder", FILES)
    figures: bool = of_output(True, None, "draw neither figures nor activation maps", NOTHING)
    save_maps: int = of_output(
        0, "N", "save activation maps for N test images of each class (N left out: 1)", FILES, nargs="?", const=1
    )
    map_index: tuple[int, ...] = of_output(
        (), "I", "save activation maps for the test images with these indices", FILES
    )

    def __post_init__(self):
        super().__post_init__()
        if len(self.image_size) not in (0, 2):
            self.refuse("image_size", f"is a height and a width, not {self.image_size}")
        if self.name is not None and not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9._-]*", self.name):
            self.refuse("name", f"takes letters, digits and . _ -, and begins with none of . -; not {self.name!r}")


@dataclass(frozen=True)
class TrainSettings(NetworkSettings):
    """Train a convolutional network of first-spike neurons by STDP and reward-modulated STDP."""

    program, usage = "train.py", "python train.py --model NAME [flags]\n       python train.py --resume RUN [flags]"

    list_models: bool = of_commands(False, None, "print all networks with their phases and epochs", COMMAND)
    summary: bool = of_commands(False, None, "print the stages of --model as a table", COMMAND)
    resume: str | None = of_commands(
        None,
        "RUN",
        "continue a run (latest, a folder, its name in --output); a finished run takes a larger last --epochs",
        COMMAND,
    )

    model: str | None = of_network(None, "NAME", ", ".join(MODELS), title="{}")
    encoder: str | None = of_network(None, "NAME", f"{', '.join(ENCODERS)} (default: the network's own)")
    set: dict = of_network(dict, "F=V", SET_HELP, read=read_set, title=" with {}")  # noqa: RUF009
    config: str | None = of_network(
        None, "FILE", "read settings from a TOML file or a run's args.json; the command line takes precedence", COMMAND
    )
    init_from: str | None = of_network(
        None, "RUN", "start with all stages of a trained network that fit, and their rates"
    )

    ratio: float = of_data(1.0, "R", "the fraction of the training images to use", range=(0, 1))
    val_split: int | float | None = of_data(
        None, "N", "training images to hold out for validation, a number or a fraction (default: 5000, at most 1/12)"
    )
    test: bool = of_data(True, None, "leave the test images unread, and score the validation images instead", FILES)

    epochs: tuple[int, ...] = of_training(
        (), "E", "one number for each phase; 0 skips a phase (default: the network's own, see --list-models)"
    )
    batch_size: int = of_training(1000, "N", "images between two adaptations of the R-STDP rates", range=(1, MAX_COUNT))
    seed: int = of_training(
        0, "S", "the seed of the weights, the splits and the order of images", range=(0, MAX_SEED), title=", seed {}"
    )
    patience: int = of_training(0, "E", "stop after E epochs of R-STDP without a better validation accuracy; 0: never")
    augment: Augmentation | None = of_training(None, "A=X", AUGMENT_HELP, read=read_augmentation)  # noqa: RUF009

    map_every: int = of_output(0, "E", "save the activation maps after every E-th epoch too", FILES)
    save_every: float = of_output(60.0, "SECONDS", "the time between two checkpoints", NOTHING)
    save_features: str | None = of_output(
        None,
        "STAGE",
        "write latency maps of all images (STAGE left out: before the decision)",
        FILES,
        nargs="?",
        const=LAST,
    )
    readout: str | None = of_output(
        None,
        "NAME",
        "train a linear classifier on the same features: svm, logistic or none",
        FILES,
        choices=CLASSIFIERS,
    )

    @property
    def command(self) -> str:
        """The name of a setting in the group "commands" that is given, or "train"."""
        return (*self.commands, "train")[0]

    @property
    def commands(self) -> list[str]:
        return [name for name in ("list_models", "summary", "resume") if getattr(self, name)]

    @property
    def scored_split(self) -> str:
        """The split that is scored and drawn at the end: "test", or "validation" if the test images stay unread."""
        return "test" if self.test else "validation"

    def __post_init__(self):
        super().__post_init__()
        if len(self.commands) > 1:
            self.refuse(self.commands[1], f"and --{self.command} are different commands; leave one out")
        if self.command in ("train", "summary") and self.model is None:
            self.refuse("model", "is missing: name a network; --list-models prints their names")
        if not self.ratio:
            self.refuse("ratio", "must be above 0")
        if self.map_every and not (self.save_maps or self.map_index):
            self.refuse("map_every", "needs images: add --save-maps N or --map-index I")
        if not self.test and (self.readout or self.save_features):
            self.refuse("test", "leaves the test images unread, which --readout and --save-features read")


@dataclass(frozen=True)
class EvaluateSettings(NetworkSettings):
    """Test a trained network, classify image files with it, or write it for other simulators."""

    program = "evaluate.py"
    usage = (
        "python evaluate.py RUN [flags]\n       python evaluate.py RUN --predict IMAGE …\n"
        "       python evaluate.py RUN --nir FILE"
    )

    run: str = of_network("latest", "RUN", "the folder of a run, its name in --output, a checkpoint, or latest")
    model: str | None = of_network(None, "NAME", "the network that RUN must contain (default: any)")
    dataset: str | None = of_data(
        None, "NAME", f"{', '.join(DATASETS)}, folder:PATH or FILE.npz (default: the data set of the training)"
    )
    noise: str | None = of_data(
        None, "KIND=X", "disturb the test images: gaussian=0.1 (σ) or salt-pepper=0.05 (the fraction of pixels)"
    )
    predict: tuple[str, ...] = of_prediction(
        (), "IMAGE", "print the classes of image files, folders of images, or patterns ('*.png')"
    )
    raw: bool = of_prediction(False, None, "fit pictures of digits and letters to the size, but do not centre the ink")
    scores: bool = of_prediction(False, None, "print the scores of all classes too")
    json: bool = of_prediction(False, None, "print one JSON list of all images, with their scores")
    nir: str | None = of_output(None, "FILE", "write the network as a NIR graph, for other simulators and hardware")

    scored_split: ClassVar[str] = "test"

    def __post_init__(self):
        super().__post_init__()
        try:
            parse_noise(self.noise or "gaussian=0")
        except InputError as error:
            self.refuse("noise", f"{self.noise} cannot be used: {error}")
        useless, reason = ("prediction",), "needs --predict"
        if self.predict:
            useless, reason = ("data", "output"), "has no effect beside --predict"
        elif self.nir:
            useless, reason = ("data", "prediction", "output"), "has no effect beside --nir"
        for name in self.given - {"output"} - ({"nir"} if not self.predict else set()):  # output: finds the latest run
            if self.flags()[name].metadata["group"] in useless:
                self.refuse(name, reason)


@dataclass(frozen=True)
class SweepSettings(Settings):
    """Train networks × data sets × settings × seeds, several runs at a time, and report on them.

    Every other flag of train.py (--ratio, --patience, …) is given to every run. A finished run is skipped, and an
    interrupted one continued. Phases that several runs train identically are trained once, unless --tensorboard,
    --map-every or --init-from is used.
    """

    program = "sweep.py"
    usage = "python sweep.py --model NAME … --seeds S … --output DIR [flags]\n       python sweep.py --report RUN …"

    model: tuple[str, ...] = of_network((), "NAME", "the networks")
    set: dict = of_network(dict, "F=V", SET_HELP, read=read_set)  # noqa: RUF009
    grid: tuple[tuple[str, ...], ...] = of_network(
        (), ("F", "V"), "a field as in --set, and the values to try; several fields are combined", action="append"
    )
    dataset: tuple[str, ...] = of_data(("mnist",), "NAME", "the data sets (default: mnist)")
    epochs: tuple[int, ...] = of_training((), "E", "one number for each phase, for all networks (default: their own)")
    seeds: tuple[int, ...] = of_training((0,), "S", "the seeds (default: 0)", range=(0, MAX_SEED))
    threads: int = of_machine(1, "N", "the number of threads of each run", range=(1, MAX_COUNT))
    jobs: int = of_machine(0, "N", "the number of runs at a time; 0: as many as the cores allow")
    cluster: str | None = of_machine(
        None, "NAME", "dask or ray, with this repository and --output at the same paths", choices=("dask", "ray")
    )
    scheduler: str | None = of_machine(
        None, "ADDRESS", "the cluster's: tcp://HOST:PORT of Dask, HOST:PORT of Ray (default: Ray's on this machine)"
    )
    output: str | None = of_output(None, "DIR", "the folder in which every run makes its own folder")
    report: tuple[str, ...] = of_output(
        (), "RUN", "write tables and curves about these runs, or the runs in these folders"
    )
    run_flags: tuple[str, ...] = ()  # all words of the command line that are no settings of the sweep

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
            self.refuse("scheduler", "is the address of a cluster: --cluster dask needs it, --cluster ray may have it")
        fields = [*self.set, *(name for name, *_ in self.grid)]
        for name, *values in self.grid:
            if not values or "=" in name or fields.count(name) > 1:
                self.refuse("grid", f"takes a field, once, and its values: --grid s2.threshold 8 10 12; not {name}")


# ---------------------------------------------------------------------------------------------------------------------
# The command line and --config


class Parser(argparse.ArgumentParser):
    """Raises InputError where argparse prints the usage and exits."""

    def error(self, message: str) -> None:
        about = re.match(r"argument (\S+):", message)
        raise InputError(f"{message} (see {self.prog} --help)", flag=about and about[1])


def make_parser(settings: type[Settings]) -> Parser:
    """The parser of a command. What it parses contains the words of the command line, and no defaults."""
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
    for each in settings.flags().values():
        about, name = each.metadata, to_flag(each).replace("RUN", "run")
        words = {"metavar": about["metavar"], "help": about["help"], **about["argparse"]}
        if name != "run" and type(each.default) in (int, float, str) and "(default" not in about["help"]:
            words["help"] += f" (default: {each.default})"
        if each.type is bool:
            words = {"help": about["help"], "dest": each.name, "action": f"store_{str(not each.default).lower()}"}
        elif about["read"] or get_origin(each.type) is tuple:
            words = {"nargs": "+", **words}
        groups[about["group"]].add_argument(name, **words)
    return parser


def read_config(path: Path, settings: type[Settings]) -> dict[str, Any]:
    """The values in a TOML file, or in the args.json of a run, by the names of settings.

    In TOML, ``batch-size = 100`` and ``no-figures = true`` stand for flags, and the table ``[set]`` for ``--set``.
    Errors: InputError for a file that cannot be read, and for a key in TOML that is no setting of a run.
    """
    known = {each.name: each for each in settings.flags().values() if each.metadata["changes"] != COMMAND}
    try:
        text = path.read_text(encoding="utf-8")
        if path.suffix == ".json":
            saved = json.loads(text)["flags"]
            return {name: saved[name] for name in known.keys() - NOT_REPEATED if saved.get(name) is not None}
        content = tomllib.loads(text)
        str(content)  # ValueError for an integer of more than 4300 digits, which Python does not print
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        reason = getattr(error, "strerror", None) or " ".join(str(error).split())
        raise InputError(f"--config {path} cannot be read: {reason}", flag="--config", path=path) from error
    keys, found = {to_flag(each)[2:]: name for name, each in known.items()}, {}
    for key, value in content.items():
        key = key.replace("_", "-")
        if key not in keys:
            raise InputError(
                f"--config {path} has {key!r}; it can have {' '.join(sorted(keys))}", flag="--config", field=key
            )
        found[keys[key]] = not value if key.startswith("no-") and isinstance(value, bool) else value
    return found
