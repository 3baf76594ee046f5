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
from datasets.events import is_events
from engine.overrides import describe, fits
from errors import InputError
from models import MODELS, import_plugin
from training.encoders import ENCODERS

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
    """Return the flag of a setting, such as ``--batch-size`` or ``--no-figures``; RUN for evaluate.py's positional."""
    no = "no-" if each.default is True else ""
    return "RUN" if each.name == "run" else f"--{no}{each.name.replace('_', '-')}"


# ---------------------------------------------------------------------------------------------------------------------
# Values


def read_value(text: str) -> Any:
    """Parse a Python literal, or none, inf, true, false. Lists become tuples. Any other text is returned as it is."""
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
    """Return the value with tuples in place of lists."""
    return tuple(map(to_tuples, value)) if isinstance(value, list | tuple) else value


def read_set(given: list[str] | dict[str, Any]) -> dict[str, Any]:
    """Parse ``["s2.threshold=12", …]`` or ``{"s2": {"threshold": 12}, …}`` to {"s2.threshold": 12, …}.

    If a field is set twice, the last value counts. Raises InputError for a text that is not FIELD=VALUE.
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
    """Parse ``["copies=8", "turn=8"]`` or ``"copies=8 turn=8"``."""
    return Augmentation.parse(given if isinstance(given, str) else " ".join(given))


def to_text(value: Any, separator: str = " ") -> str:
    """Return a value in the form of the command line: the items of a tuple with separators, a dict as FIELD=VALUE."""
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
    def flags(cls) -> dict[str, Field]:
        """Return {name: field} of all settings, sorted by group."""
        found = [each for each in fields(cls) if each.metadata]
        return {each.name: each for each in sorted(found, key=lambda each: GROUPS.index(each.metadata["group"]))}

    @classmethod
    def parse(cls, argv: list[str]) -> "Settings":
        """Parse a command line. Raises InputError."""
        words = [re.sub(r"^--\w+", lambda match: match[0].replace("_", "-"), word) for word in argv]
        known, more = make_parser(cls).parse_known_args(words)
        if more and "run_flags" not in cls.__dataclass_fields__:
            program = "evaluate.py" if {"--evaluate", "--predict"} & {*more} else cls.program
            raise InputError(f"unrecognized arguments: {' '.join(more)} (see {program} --help)", flag=more[0])
        values = cls.read(vars(known))
        if "plugin" in values:  # only here, so that no other file than those of the command line is imported
            values["plugin"] = tuple(map(import_plugin, values["plugin"]))
        if "config" in values:
            found = cls.read(read_config(Path(values["config"]), cls))
            now = values.get("set", {})
            merged = {name: value for name, value in found.get("set", {}).items() if name not in now} | now
            values = found | values | ({"set": merged} if merged else {})
        more = {"run_flags": tuple(more)} if more else {}
        return cls(**values, **more, given=frozenset(values), command_line=shlex.join([cls.program, *argv]))

    @classmethod
    def from_dict(cls, saved: dict[str, Any]) -> "Settings":
        """Return the settings of a dict from ``to_dict``. A setting that is missing or None has its default."""
        return cls(**cls.read({name: saved[name] for name in cls.flags() if saved.get(name) is not None}))

    @classmethod
    def read(cls, values: dict[str, Any]) -> dict[str, Any]:
        """Compute the values of settings from words and plain values. Raises InputError."""
        found = {}
        for each in (cls.flags()[name] for name in values):
            try:
                found[each.name] = _read(each, values[each.name])
            except InputError as error:
                message = str(error).removeprefix(f"{to_flag(each)} ")
                raise InputError(f"{to_flag(each)} {message}", flag=to_flag(each), field=error.field) from error
        return found

    def to_dict(self) -> dict[str, Any]:
        """Return the settings of a run as plain values, for args.json, results.json and checkpoints."""
        found = self.select(LEARNING, ROUNDING, FILES, NOTHING)
        return json.loads(json.dumps(found, default=str))  # tuples become lists, an augmentation its text

    def select_learning(self) -> dict[str, Any]:
        """Return {name: value} of the settings on which the learned weights depend."""
        return self.select(LEARNING, ROUNDING)

    def select(self, *changes: str) -> dict[str, Any]:
        """Return {name: value} of the settings whose ``changes`` is one of these constants."""
        flags = self.flags().values()
        return {each.name: getattr(self, each.name) for each in flags if each.metadata["changes"] in changes}

    def title(self, **shown: str) -> str:
        """Return the first part of the titles of figures. ``shown``: values that replace those of the settings."""
        parts = []
        for name, each in self.flags().items():
            value = shown.get(name, getattr(self, name))
            parts += [each.metadata["title"].format(to_text(value))] if value not in (None, {}) else []
        return textwrap.fill("".join(parts), 90)

    def refuse(self, name: str, reason: str) -> None:
        """Raise an InputError about a setting: its flag and the reason."""
        about = to_flag(self.flags()[name])
        raise InputError(f"{about} {reason}", flag=about)

    def __post_init__(self):
        for name, each in self.flags().items():
            value, (least, most), choices = getattr(self, name), each.metadata["range"], each.metadata["choices"]
            for item in value if isinstance(value, tuple) else [value]:
                if isinstance(item, str) and (not item.strip() or "\0" in item):
                    self.refuse(name, f"cannot be {item!r}: give it a value, or leave it out")
                if isinstance(item, str) and choices and item not in choices:
                    self.refuse(name, f"must be {' or '.join(choices)}, not {item!r}")
                if isinstance(item, int | float) and not least <= item <= most:
                    self.refuse(name, f"must be from {least:,} to {most:,}, not {item}")
            if not fits(value, each.type):
                self.refuse(name, f"cannot be {value!r}; it is {describe(each.type)}")


def _read(each: Field, given: Any) -> Any:
    """Return the value of a setting, from a word, a list of words or a plain value."""
    if each.metadata["read"]:
        is_words = isinstance(given, list) and all(isinstance(word, str) for word in given)
        if not is_words and not isinstance(given, dict if each.type is dict else str):
            raise InputError(f"cannot be {given!r}; see --help")
        return each.metadata["read"](given)
    if isinstance(given, list):
        return tuple(_read(each, item) for item in given)
    is_number = {each.type, *get_args(each.type)} & {int, float}
    return read_value(given) if isinstance(given, str) and is_number else given


@dataclass(frozen=True)
class NetworkSettings(Settings):
    """The settings that train.py and evaluate.py share."""

    plugin: tuple[str, ...] = of_network(
        (), "FILE.py", "import networks, rules and encoders from your own files; --resume and evaluate.py need it again"
    )
    dataset: str | None = of_data(
        None,
        "NAME",
        f"the data set: {', '.join(DATASETS)}, folder:PATH, FILE.npz or events:PATH (default: mnist)",
        title=", {}",
    )
    image_size: tuple[int, ...] = of_data(
        (), ("H", "W"), "stretch images to this height and width in pixels; of events: the size of the sensor", nargs=2
    )
    data_dir: str | None = of_data(None, "DIR", "the folder of downloaded data sets (default: data)", NOTHING)
    dry_run: bool = of_data(False, None, "use only a few images, to test a command")

    device: str = of_machine(
        "auto", "NAME", "cpu, cuda, cuda:N or auto (a GPU if --backend is torch, otherwise the CPU)", ROUNDING
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
        "the number of threads; 0: one per core; auto: one per core, but a single thread where it is faster",
        NOTHING,
        choices=("auto",),
    )

    output: str = of_output("runs", "DIR", "the folder in which each run creates its own folder", FILES)
    name: str | None = of_output(
        None, "NAME", "the name of the run's folder (default: network, data set, seed and time)", FILES
    )
    tensorboard: bool = of_output(False, None, "log to TensorBoard, in the run's folder", FILES)
    figures: bool = of_output(True, None, "draw neither figures nor activation maps", NOTHING)
    save_maps: int = of_output(
        0, "N", "save the activation maps of N test images of each class (without N: 1)", FILES, nargs="?", const=1
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


@dataclass(frozen=True)
class TrainSettings(NetworkSettings):
    """Train a convolutional network of first-spike neurons by STDP and reward-modulated STDP."""

    program, usage = "train.py", "python train.py --model NAME [flags]\n       python train.py --resume RUN [flags]"

    list_models: bool = of_commands(False, None, "print all networks with their phases and epochs", COMMAND)
    summary: bool = of_commands(False, None, "print the stages of --model as a table", COMMAND)
    resume: str | None = of_commands(
        None,
        "RUN",
        "continue a run: latest, a folder, or its name in --output; to train a finished run longer, add --epochs with "
        "a larger last number",
        COMMAND,
    )

    model: str | None = of_network(None, "NAME", f"the network: {', '.join(MODELS)}", title="{}")
    encoder: str | None = of_network(None, "NAME", f"the encoder: {', '.join(ENCODERS)} (default: that of the network)")
    set: dict = of_network(dict, "F=V", SET_HELP, read=read_set, title=" with {}")  # noqa: RUF009
    config: str | None = of_network(
        None, "FILE", "read settings from a TOML file or a run's args.json; the command line takes precedence", COMMAND
    )
    init_from: str | None = of_network(
        None, "RUN", "start with the weights and rates of a trained network, for all stages that fit"
    )

    ratio: float = of_data(1.0, "R", "the fraction of the training images to use", range=(0, 1))
    val_split: int | float | None = of_data(
        None, "N", "the number or fraction of training images for validation (default: 5000, but at most 1/12 of them)"
    )
    test: bool = of_data(True, None, "do not read the test images; test on the validation images instead", FILES)

    epochs: tuple[int, ...] = of_training(
        (), "E", "the number of epochs of each phase; 0 skips a phase (default: see --list-models)"
    )
    batch_size: int = of_training(
        1000, "N", "the number of images between two adaptations of the R-STDP rates", range=(1, MAX_COUNT)
    )
    seed: int = of_training(
        0, "S", "the seed of the weights, the splits and the order of images", range=(0, MAX_SEED), title=", seed {}"
    )
    patience: int = of_training(0, "E", "stop if the validation accuracy has not improved for E epochs; 0: never")
    augment: Augmentation | None = of_training(None, "A=X", AUGMENT_HELP, read=read_augmentation)  # noqa: RUF009

    map_every: int = of_output(
        0, "E", "also save the activation maps after every E-th epoch; 0: only at the end", FILES
    )
    save_every: float = of_output(60.0, "SECONDS", "the time between two checkpoints", NOTHING)
    save_features: str | None = of_output(
        None,
        "STAGE",
        "save the latency maps of all images (without STAGE: of the last stage before the decision)",
        FILES,
        nargs="?",
        const=LAST_STAGE,
    )
    readout: str | None = of_output(
        None,
        "NAME",
        "train a linear classifier on the latency maps of this stage: svm, logistic or none (default: that of the "
        "network)",
        FILES,
        choices=(*READOUTS, "none"),
    )

    @property
    def command(self) -> str:
        """The setting of the group "commands" that is given, or "train"."""
        return (*self.commands, "train")[0]

    @property
    def commands(self) -> list[str]:
        return [name for name in ("list_models", "summary", "resume") if getattr(self, name)]

    @property
    def scored_split(self) -> str:
        """The split that is tested and drawn at the end: "test", or "validation" if the test images are not read."""
        return "test" if self.test else "validation"

    def __post_init__(self):
        super().__post_init__()
        if len(self.commands) > 1:
            self.refuse(self.commands[1], f"cannot be combined with {to_flag(self.flags()[self.command])}")
        if self.command in ("train", "summary") and self.model is None:
            self.refuse("model", "is missing: name a network; --list-models prints their names")
        if not self.ratio:
            self.refuse("ratio", "must be above 0")
        if self.augment and is_events(self.dataset):
            self.refuse("augment", "moves images, not recordings of events")
        if self.map_every and not (self.save_maps or self.map_index):
            self.refuse("map_every", "needs images: add --save-maps N or --map-index I")
        if not self.test and (self.readout or self.save_features):
            self.refuse("test", "excludes --readout and --save-features, which read the test images")


@dataclass(frozen=True)
class EvaluateSettings(NetworkSettings):
    """Test a trained network, classify image files with it, or export it for other simulators."""

    program = "evaluate.py"
    usage = (
        "python evaluate.py RUN [flags]\n       python evaluate.py RUN --predict IMAGE …\n"
        "       python evaluate.py RUN --nir FILE"
    )

    run: str = of_network(
        "latest", "RUN", "the trained network: a run's folder, its name in --output, a checkpoint, or latest"
    )
    model: str | None = of_network(None, "NAME", "the network that RUN must contain (default: any)")
    dataset: str | None = of_data(
        None,
        "NAME",
        f"the data set: {', '.join(DATASETS)}, folder:PATH, FILE.npz or events:PATH (default: that of the training)",
    )
    noise: str | None = of_data(
        None, "KIND=X", "add noise to the test images: gaussian=0.1 (σ) or salt-pepper=0.05 (the fraction of pixels)"
    )
    predict: tuple[str, ...] = of_prediction(
        (), "IMAGE", "classify image files: their names, folders, or patterns ('*.png')"
    )
    raw: bool = of_prediction(False, None, "only resize pictures of digits and letters; do not centre the ink")
    scores: bool = of_prediction(False, None, "also print the scores of all classes")
    json: bool = of_prediction(False, None, "print the classes and scores of all images as one JSON list")
    nir: str | None = of_output(None, "FILE", "export the network as a NIR graph, for other simulators and hardware")

    scored_split: ClassVar[str] = "test"

    def __post_init__(self):
        super().__post_init__()
        try:
            parse_noise(self.noise or "gaussian=0")
        except InputError as error:
            self.refuse("noise", f"{self.noise} cannot be used: {error}")
        if self.noise and is_events(self.dataset):
            self.refuse("noise", "changes images, not recordings of events")
        useless, reason = ("prediction",), "needs --predict"
        if self.predict:
            useless, reason = ("data", "output"), "has no effect beside --predict"
        elif self.nir:
            useless, reason = ("data", "prediction", "output"), "has no effect beside --nir"
        allowed = {"output"} if self.predict else {"output", "nir"}  # RUN is searched for in --output
        for name in self.given - allowed:
            if self.flags()[name].metadata["group"] in useless:
                self.refuse(name, reason)


@dataclass(frozen=True)
class SweepSettings(Settings):
    """Train all combinations of networks, data sets, settings and seeds, several runs at a time, and report on them.

    All other flags of train.py (--ratio, --patience, …) apply to every run. Finished runs are skipped, and interrupted
    runs are continued. Phases that are the same in several runs are trained once, unless --tensorboard, --map-every or
    --init-from is used.
    """

    program = "sweep.py"
    usage = "python sweep.py --model NAME … --seeds S … --output DIR [flags]\n       python sweep.py --report RUN …"

    model: tuple[str, ...] = of_network((), "NAME", "the networks")
    set: dict = of_network(dict, "F=V", SET_HELP, read=read_set)  # noqa: RUF009
    grid: tuple[tuple[str, ...], ...] = of_network(
        (),
        ("F", "V"),
        "a field as in --set, and its values; repeat the flag to combine several fields",
        action="append",
    )
    dataset: tuple[str, ...] = of_data(("mnist",), "NAME", "the data sets (default: mnist)")
    epochs: tuple[int, ...] = of_training(
        (), "E", "the number of epochs of each phase, for all networks (default: that of each network)"
    )
    seeds: tuple[int, ...] = of_training((0,), "S", "the seeds (default: 0)", range=(0, MAX_SEED))
    threads: int = of_machine(1, "N", "the number of threads of each run", range=(1, MAX_COUNT))
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
        if bool(self.scheduler) != (self.cluster == "dask") and self.cluster != "ray":
            self.refuse("scheduler", "is required with --cluster dask, optional with --cluster ray, unused otherwise")
        fields = [*self.set, *(name for name, *_ in self.grid)]
        for name, *values in self.grid:
            if not values or "=" in name or fields.count(name) > 1:
                self.refuse("grid", f"must name a field once, with its values: --grid s2.threshold 8 10 12; not {name}")


# ---------------------------------------------------------------------------------------------------------------------
# The command line and --config


class Parser(argparse.ArgumentParser):
    """An ArgumentParser that raises InputError instead of printing the usage."""

    def error(self, message: str) -> None:
        about = re.match(r"argument (\S+):", message)
        raise InputError(f"{message} (see {self.prog} --help)", flag=about and about[1])


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
    """Read settings from a TOML file or from the args.json of a run. Returns {name: value}.

    In TOML, ``batch-size = 100`` and ``no-figures = true`` stand for flags, and the table ``[set]`` for ``--set``.
    Raises InputError for a file that cannot be read, and for a TOML key that is not a setting of a run.
    """
    known = {each.name: each for each in settings.flags().values() if each.metadata["changes"] != COMMAND}
    known.pop("plugin", None)
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
                f"--config {path}: unknown setting {key!r}; choose from {', '.join(sorted(keys))}",
                flag="--config",
                field=key,
            )
        found[keys[key]] = not value if key.startswith("no-") and isinstance(value, bool) else value
    return found
