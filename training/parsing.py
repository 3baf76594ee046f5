"""How settings become flags: what a setting declares, and how its value is parsed, checked, saved and read again.

``training/settings.py`` declares the settings, each once, as a field. The following are derived from the fields: the
parsers and their help, the checks of types and ranges, the keys of a ``--config`` file, what checkpoints save, and what
a resumed run may change.
"""

import argparse
import ast
import json
import os
import re
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from functools import partial
from pathlib import Path
from types import NoneType
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, NoReturn, get_args, get_origin

from engine.declaration import fits, to_field
from engine.plugins import import_plugin
from errors import InputError
from run_folder import check_format
from utils import copy_plain, join_words

if TYPE_CHECKING:
    from typing_extensions import Self

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

# What a setting affects: what is learned, unless its field declares something else.
LEARNING = "what is learned, or what is tested"
CODE = "which files are imported, and so what is learned"  # only the command line names them
ROUNDING = "what is learned, by rounding only"  # a resumed run may change it
FILES = "which files are written"
LOCATION = "where the run is"  # --config does not repeat it
HARMLESS = "neither weights nor scores"  # a resumed run may change it
COMMAND = "what the command does"  # not a property of the run, so it is not saved

FIXED = LEARNING, CODE, FILES  # a resumed run may not change these

TYPES = {bool: "true or false", int: "a whole number", float: "a number", str: "a text"}
MAX_COUNT = 2**31 - 1


class Setting(NamedTuple):
    """What the field of a setting declares.

    Attributes:
        group: the group of the help, one of ``HELP_GROUPS``.
        default: the value if the setting is not given.
        help, metavar: the arguments of ``ArgumentParser.add_argument``. A bool has no metavar.
        affects: what the setting affects, one of the constants above.
        range: the lowest and the highest number that are allowed.
        choices: the texts that are allowed; if it is empty, all are.
        arguments: more arguments of ``add_argument``.
        word: the word of the flag, if it is not the name.
        name, type: the name and the type of the field.
    """

    group: str
    default: Any
    help: str
    metavar: str | tuple[str, ...] | None = None
    affects: str = LEARNING
    range: tuple[float, float] = (0, MAX_COUNT)
    choices: tuple[str, ...] = ()
    arguments: Mapping[str, Any] = {}
    word: str = ""
    name: str = ""
    type: Any = None

    @property
    def flag(self) -> str:
        """The flag, such as ``--batch-size`` or ``--no-figures``; RUN for evaluate.py's positional argument."""
        no = "no-" if self.default is True else ""
        word = self.word or self.name.replace("_", "-")
        return "RUN" if self.name == "run" else f"--{no}{word}"

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
        if isinstance(self.default, int | float | str) and "(default" not in text:
            text += f" (default: {self.default})"
        if get_origin(self.type) is tuple:
            options.setdefault("nargs", "+")
        if self.word:
            options["dest"] = self.name
        group.add_argument(self.flag.replace("RUN", "run"), metavar=self.metavar, help=text, **options)


def describe_type(hint: Any) -> str:
    """Return the values of a type in words, such as "a list, each item a whole number"."""
    if get_origin(hint) is tuple:
        return f"a list, each item {describe_type(get_args(hint)[0])}"
    return " or ".join(TYPES[option] for option in get_args(hint) or (hint,) if option is not NoneType)


def setting(group: str, default: Any, help: str, metavar: Any = None, **more: Any) -> Any:
    """Declare a setting: the value of a dataclass field. The arguments are those of ``Setting``."""
    return field(default=default, metadata={"setting": Setting(group, default, help, metavar, **more)})


HELP_GROUPS = "commands", "network", "data", "training", "prediction", "machine", "output"
of_commands, of_network, of_data, of_training, of_prediction, of_machine, of_output = (
    partial(setting, group) for group in HELP_GROUPS
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
    values: dict = {}
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
        declared.sort(key=lambda setting: (HELP_GROUPS.index(setting.group), setting.name not in ("run", "model")))
        return {setting.name: setting for setting in declared}

    @classmethod
    def names(cls, *affects: str) -> list[str]:
        """Return the names of the settings whose ``affects`` is one of these constants."""
        return [name for name, setting in cls.declared().items() if setting.affects in affects]

    @classmethod
    def parse(cls, argv: list[str]) -> "Self":
        """Parse a command line. Raises InputError."""
        # lists of negative numbers (-0.004,-0.003) and -1e-5 are values, not flags
        words = [f" {word}" if re.match(r"-(\d|\.|inf)", word) else word for word in argv]
        known, more = make_parser(cls).parse_known_args(words)
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
    def from_dict(cls, saved: Mapping[str, Any]) -> "Self":
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
        return copy_plain(self.select(*FIXED, ROUNDING, LOCATION, HARMLESS))

    def select(self, *affects: str) -> dict[str, Any]:
        """Return {name: value} of the settings whose ``affects`` is one of these constants."""
        return {name: getattr(self, name) for name in self.names(*affects)}

    def describe(self, name: str) -> str:
        """Return the flag and the value of a setting, such as "--patience 5"."""
        setting = self.declared()[name]
        return setting.flag if setting.type is bool else f"{setting.flag} {to_text(getattr(self, name))}"

    def refuse(self, name: str, reason: str) -> NoReturn:
        """Raise an InputError about a setting: its flag and the reason."""
        raise InputError(f"{self.declared()[name].flag} {reason}")

    def __post_init__(self):
        for name, setting in self.declared().items():
            setting.check(getattr(self, name))


# ---------------------------------------------------------------------------------------------------------------------
# The command line and --config


class Parser(argparse.ArgumentParser):
    """An ArgumentParser that raises InputError instead of printing the usage."""

    def error(self, message: str) -> NoReturn:
        raise InputError(f"{message} (see {self.prog} --help)")


def make_parser(settings: type[Settings]) -> Parser:
    """Return the parser of a command. Its result contains only what the command line contains, no defaults."""
    description, _, more = str(settings.__doc__).partition("\n\n")
    parser = Parser(
        prog=settings.program,
        usage=settings.usage,
        description=description,
        epilog=more,
        argument_default=argparse.SUPPRESS,
        allow_abbrev=False,
    )
    groups = {name: parser.add_argument_group(name) for name in HELP_GROUPS}
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
    except InputError:  # of another version
        raise
    except (OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        expected = "the args.json of a run" if is_run else "a TOML file"
        raise InputError(f"--config {path} is not {expected}: {' '.join(str(error).split())}") from error
    names = {setting.flag.removeprefix("--"): name for name, setting in known.items()}
    values = {}
    for key, value in content.items():
        if key not in names:
            raise InputError(f"--config {path}: unknown setting {key!r}; choose from {', '.join(sorted(names))}")
        if isinstance(value, str):
            value = os.path.expanduser(value)  # as the shell does in a command line
        is_negated = key.startswith("no-") and isinstance(value, bool)
        values[names[key]] = not value if is_negated else value
    return values
