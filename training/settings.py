"""The settings of the commands. To add a flag, add a field; ``training/parsing.py`` describes what it declares."""

import re
import textwrap
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from encoders import ENCODERS
from engine.backends import AUTO, BACKENDS
from engine.lengths import EARLY
from imagesets import list_datasets
from imagesets.data_set import is_path
from imagesets.pictures import GROUNDS
from models import model_class, network_names
from training.parsing import (
    CODE,
    COMMAND,
    FILES,
    HARMLESS,
    LEARNING,
    LOCATION,
    MAX_COUNT,
    ROUNDING,
    Settings,
    of_commands,
    of_data,
    of_machine,
    of_network,
    of_output,
    of_prediction,
    of_training,
    read_pairs,
    to_text,
)

UNTITLED = "model", "dataset", "seed", "dry_run", "test"  # titles contain these otherwise, or not at all
MAX_SEED = 10**18 - 1
MAX_NAME = 200  # letters; with ".error.txt" and the like, file systems allow 255 bytes
DEVICES = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\.|$)", re.IGNORECASE)  # of Windows: runs can be copied there
NAME = re.compile(rf"[A-Za-z0-9_][A-Za-z0-9._-]{{0,{MAX_NAME - 1}}}(?<!\.)")
WITHOUT_EFFECT = {  # {what evaluate.py does in place of a test: groups of flags without effect, those that have one}
    "save_features": ("prediction output", "save_features name predict raw"),
    "ask": ("prediction output", "ask name"),
    "predict": ("data output", ""),
    "nir": ("data prediction output", "nir"),
    "draw": ("prediction output", "draw save_maps map_index"),
}
LAST_STAGE = "last"  # of --save-features: the last stage before the decision stage
SET_HELP = (
    "set fields of a stage, a rule or the encoder, such as s2.threshold=12 s3.1.rule.winners=8 "
    "s3.rule.reward=0.01,-0.0005 s3.rule=margin encoder.time_steps=20"
)
AUGMENT_HELP = (
    "also train the decision stage on augmented images: copies=8 (of each) turn=8 (degrees) shift=1.2 (pixels) "
    "scale=0.08 shear=0.08 flip, or none (default: that of the network)"
)


def of_formats() -> Any:
    """Declare the setting of all commands that draw figures."""
    about = "also write the figures as pdf, svg or both, for papers"
    return of_output((), about, "FORMAT", affects=HARMLESS, choices=("pdf", "svg"), word="figures")


@dataclass(frozen=True)
class NetworkSettings(Settings):
    """The settings that train.py and evaluate.py share."""

    plugin: tuple[str, ...] = of_network(
        (),
        "import networks, stages, rules, encoders, data sets and figures from your own files; --resume and evaluate.py "
        "need it again",
        "FILE.py",
        affects=CODE,
    )
    dataset: str | None = of_data(None, f"the data set: {list_datasets()} (default: mnist)", "NAME")
    image_size: tuple[int, ...] = of_data(
        (), "stretch images to this height and width in pixels", ("H", "W"), arguments={"nargs": 2}
    )
    ground: str | None = of_data(
        None,
        "put pictures with transparent parts on white or black; --predict uses the ground of the training",
        "COLOUR",
        choices=GROUNDS,
    )
    data_dir: str | None = of_data(
        None, "the folder of downloaded data sets (default: data, beside train.py)", "DIR", affects=HARMLESS
    )
    dry_run: bool = of_data(False, "test a command on a few images; training has one epoch of each phase")

    device: str = of_machine(
        "auto", "cpu, cuda, cuda:N or auto (a GPU if --backend is torch, otherwise the CPU)", "NAME", affects=ROUNDING
    )
    backend: str = of_machine(
        "auto",
        "event (compiled kernels, CPU), torch (tensor operations) or auto (torch if --device names a GPU, else event)",
        "NAME",
        affects=ROUNDING,
        choices=(AUTO, *BACKENDS),
    )
    threads: int | str = of_machine(
        "auto", "the number of threads; 0 or auto: one per core", "N", affects=HARMLESS, choices=("auto",)
    )
    traceback: bool = of_machine(False, "print the traceback of an error, not only its last line", affects=COMMAND)

    output: str = of_output("runs", "the folder in which each run creates its own folder", "DIR", affects=LOCATION)
    name: str | None = of_output(
        None,
        "the name of the new folder (default: network, data set and time, of a run also the seed)",
        "NAME",
        affects=LOCATION,
    )
    tensorboard: bool = of_output(False, "log to TensorBoard, in the run's folder", affects=FILES)
    figures: bool = of_output(True, "write no figures, no pictures of activation maps and no page", affects=HARMLESS)
    figure_formats: tuple[str, ...] = of_formats()
    save_maps: int = of_output(
        0,
        "save the activation maps of N tested images of each class (without N: 1)",
        "N",
        affects=FILES,
        arguments={"nargs": "?", "const": 1},
    )
    map_index: tuple[int, ...] = of_output(
        (), "save the activation maps of the tested images with these indices", "I", affects=FILES
    )
    save_features: str | None = of_output(
        None,
        "save the latency maps of all images (without STAGE: of the last stage before the decision); evaluate.py does "
        "this in place of a test, and with --predict for these files",
        "STAGE",
        affects=FILES,
        arguments={"nargs": "?", "const": LAST_STAGE},
    )

    @property
    def sheet(self) -> str | None:
        """The sheet with the labels, see ``training/sheet.py``."""
        return None

    @property
    def holds_out(self) -> bool:
        """Whether images of a data set without a test part are held out for the test."""
        return True

    @property
    def data_name(self) -> str:
        """The name of the data set, by default MNIST."""
        return self.dataset or "mnist"

    def __post_init__(self):
        super().__post_init__()
        if self.figure_formats and not self.figures:
            self.refuse("figure_formats", "cannot be combined with --no-figures")
        if len(self.image_size) not in (0, 2):
            self.refuse("image_size", f"must be a height and a width, not {self.image_size}")
        if self.name is not None and (not NAME.fullmatch(self.name) or DEVICES.match(self.name)):
            rule = (
                f"must be up to {MAX_NAME} letters, digits and . _ -, not begin with . or -, not end with ., and not "
            )
            self.refuse("name", f"{rule}be the name of a device on Windows: {self.name!r}")


@dataclass(frozen=True)
class TrainSettings(NetworkSettings):
    """Train a convolutional network of first-spike neurons by STDP and reward-modulated STDP."""

    program = "train.py"
    usage = (
        "python train.py --model NAME [flags]\n       python train.py --resume RUN [flags]\n\n"
        "example: python train.py --model deep2024 --epochs 2 4 4 10 --tensorboard\n"
        "         python train.py --resume latest"
    )

    list_models: bool = of_commands(False, "print all networks with their phases and epochs", affects=COMMAND)
    summary: bool = of_commands(False, "print the stages of --model as a table", affects=COMMAND)
    resume: str | None = of_commands(
        None,
        "continue a run: latest, a folder, or its name in --output; to train a finished run longer, add --epochs with "
        "a larger last number",
        "RUN",
        affects=COMMAND,
    )

    model: str | None = of_network(None, f"the network: {', '.join(network_names())}", "NAME")
    encoder: str | None = of_network(None, f"the encoder: {', '.join(ENCODERS)} (default: that of the network)", "NAME")
    set: tuple[str, ...] = of_network((), SET_HELP, "F=V")
    config: str | None = of_network(
        None,
        "read settings from a TOML file or a run's args.json; the command line takes precedence",
        "FILE",
        affects=COMMAND,
    )
    init_from: str | None = of_network(
        None,
        "start with the weights and rates of a trained network, for all stages that fit; if RUN is a folder of runs, "
        "start from its run with the same --seed",
        "RUN",
    )

    characters: bool = of_data(
        False,
        "the images are characters, light on black: --predict and --draw scale and centre the ink of pictures as in "
        "MNIST; for your own data, because published ones need no flag",
        affects=FILES,
    )
    ratio: float = of_data(1.0, "the fraction of the training images to use; all images without labels are used", "R")
    val_split: int | float | None = of_data(
        None,
        "the number or fraction of training images for validation (default: 5000, but at most 1/12 of them; of few "
        "images one of each class); not for data with a validation part",
        "N",
    )
    labels: int | float | str | None = of_data(
        None,
        "phases with labels learn from N of the training images, the same number of each class, or from a fraction of "
        "them, or from those that have a class in a sheet of evaluate.py --ask; phases without labels learn from all "
        "(default: all)",
        "N",
    )
    spread: bool = of_data(
        False,
        "spread the labels of few images over all training images, by what the stages below the decision stage have "
        "learned; the decision stage learns from all of them",
    )
    test: bool = of_data(
        True,
        "do not classify the test images; report the validation images instead; with --val-split 0, no image is held "
        "out and nothing is tested",
    )
    epochs: tuple[int, ...] = of_training(
        (),
        "the number of epochs of each phase, for deep2024: 2 4 4 10; 0 skips a phase (default: see --list-models)",
        "E",
    )
    converge: float | None = of_training(
        None,
        "after its epochs, a phase without labels trains until its convergence, the mean of w (1 - w) of features that "
        "won, is below C, at most to epoch 20, of fewer than 1,000 images for 20,000 presentations; a number of "
        "--epochs above 20 is the most instead; 0: never (default: that of the network)",
        "C",
    )
    batch_size: int = of_training(
        1000, "the number of images of a batch, after which the R-STDP rates adapt", "N", range=(1, MAX_COUNT)
    )
    seed: int = of_training(0, "the seed of the weights, the splits and the order of images", "S", range=(0, MAX_SEED))
    patience: int = of_training(0, "stop if the validation accuracy has not improved for E epochs; 0: never", "E")
    augment: str | None = of_training(None, AUGMENT_HELP, "A=X", arguments={"nargs": "+"})

    references: bool = of_output(
        True,
        "on data other than MNIST, do not compare the network with its references: simple methods and control2026",
        affects=HARMLESS,
    )
    map_every: int = of_output(
        0, "also save the activation maps every E epochs; 0: only at the end", "E", affects=FILES
    )
    save_every: float = of_output(60.0, "seconds between two checkpoints", "SECONDS", affects=HARMLESS)

    @property
    def early(self) -> dict[str, float]:
        """The settings that end phases before their last epoch, see ``engine/lengths.py``."""
        return {name: getattr(self, name) or 0 for name in EARLY}

    @property
    def sheet(self) -> str | None:
        return self.labels if isinstance(self.labels, str) else None

    @property
    def holds_out(self) -> bool:
        """A run that cannot be one of version 2.1 keeps all images."""
        return not self.sheet and (self.test or self.val_split != 0)

    def title(self, dataset: str) -> str:
        """Return the first part of the titles of figures, with the flags that differ from the network's defaults.

        In these settings, the defaults of the network have replaced missing values, see ``resolve``.
        """
        network = model_class(self.model)
        usual: dict = {name: self.declared()[name].default for name in self.names(LEARNING) if name not in UNTITLED}
        usual |= {
            "epochs": network.epochs,
            "converge": network.converge,
            "encoder": network.encoder.name,
            "augment": str(network.augmentation),
        }
        flags = [self.describe(name) for name in usual if getattr(self, name) != usual[name]]
        title = ", ".join([f"{network.name}, {dataset}, seed {self.seed}", *flags])
        return textwrap.fill(title, 90, break_on_hyphens=False)

    def __post_init__(self):
        super().__post_init__()
        commands = [name for name in ("list_models", "summary", "resume") if getattr(self, name)]
        if len(commands) > 1:
            self.refuse(commands[1], f"cannot be combined with {self.declared()[commands[0]].flag}")
        if commands in ([], ["summary"]) and self.model is None:
            self.refuse("model", "is missing: name a network; --list-models prints their names")
        if self.map_every and not (self.save_maps or self.map_index):
            self.refuse("map_every", "needs images: add --save-maps N or --map-index I")


@dataclass(frozen=True)
class EvaluateSettings(NetworkSettings):
    """Test a trained network, classify image files with it, or export it for other simulators.

    A test writes a folder RUN-evaluation-TIME with the scores, figures and page.
    """

    program = "evaluate.py"
    usage = (
        "python evaluate.py RUN … [flags]\n       python evaluate.py RUN --predict FILE …\n"
        "       python evaluate.py RUN --ask N\n"
        "       python evaluate.py RUN --nir FILE\n"
        "       python evaluate.py RUN --draw FILE\n"
        "       python evaluate.py RUN --save-features STAGE [--predict FILE …]\n\n"
        "example: python evaluate.py latest --save-maps 1"
    )

    run: tuple[str, ...] = of_network(
        (),
        "the trained network: a run's folder, its name in --output, a checkpoint, or latest; several networks are "
        "tested alone and together, and compared",
        "RUN",
    )
    model: str | None = of_network(None, "the network that RUN must contain (default: any)", "NAME")
    dataset: str | None = of_data(None, f"the data set: {list_datasets()} (default: that of the training)", "NAME")
    predict: tuple[str, ...] = of_prediction(
        (), "classify image files: their names, folders, or patterns ('*.png')", "FILE"
    )
    raw: bool = of_prediction(False, "only resize pictures of characters; do not centre the ink")
    scores: bool = of_prediction(False, "also print the scores of all classes")
    json: bool = of_prediction(False, "print the classes and scores of all images as one JSON list")
    ask: int = of_output(
        0,
        "name the N training images that should be labelled first, for train.py --labels ask.csv --spread: a sheet and "
        "a picture in a new folder",
        "N",
    )
    nir: str | None = of_output(None, "export the network as a NIR graph, for other simulators and hardware", "FILE")
    draw: str | None = of_output(
        None,
        "write a page (.html) on which an image is drawn and the network answers, in a browser, offline; --map-index "
        "and --save-maps choose its test images",
        "FILE",
    )

    def __post_init__(self):
        super().__post_init__()
        if len(self.run) > 1:
            self._refuse_groups("prediction output", "takes one RUN", "name figures tensorboard")
            return
        for command, (groups, allowed) in WITHOUT_EFFECT.items():
            if getattr(self, command):
                self._refuse_groups(groups, f"has no effect beside {self.declared()[command].flag}", allowed)
                break
        if not self.predict:
            self._refuse_groups("prediction", "needs --predict")
        elif self.save_features:
            self._refuse_groups("data", "has no effect beside --predict")

    def _refuse_groups(self, groups: str, reason: str, allowed: str = "") -> None:
        """Raise InputError if a setting of these groups is given, except for --output, in which RUN is searched for."""
        for name in self.given.difference(allowed.split(), ["output"]):
            if self.declared()[name].group in groups.split():
                self.refuse(name, reason)


@dataclass(frozen=True)
class SweepSettings(Settings):
    """Train all combinations of networks, data sets, settings and seeds, several runs at a time, and report on them.

    Other flags of train.py (--ratio, --patience, …) apply to every run, except those for a single run. Finished runs
    are skipped, and interrupted runs are continued.
    """

    program = "sweep.py"
    usage = (
        "python sweep.py --model NAME … --output DIR [flags]\n       python sweep.py --test DIR [flags]\n"
        "       python sweep.py --report RUN … --output DIR\n\n"
        "example: python sweep.py --model mozafari2018 --seeds 0 1 2 \\\n"
        "             --grid s2.threshold 8 10 12 --output runs/sweep"
    )

    model: tuple[str, ...] = of_network((), "the networks", "NAME")
    set: tuple[str, ...] = of_network((), SET_HELP, "F=V")
    grid: tuple[tuple[str, ...], ...] = of_network(
        (),
        "a field as in --set, or a flag of train.py such as augment, and its values, of several words in quotes; "
        "'default' is the network's own value; repeat --grid to combine them",
        ("NAME", "V"),
        arguments={"action": "append"},
    )
    dataset: tuple[str, ...] = of_data(("mnist",), "the data sets (default: mnist)", "NAME")
    epochs: tuple[int, ...] = of_training(
        (), "the number of epochs of each phase, for all networks (default: that of each network)", "E"
    )
    labels: tuple[float, ...] = of_data(
        (), "the numbers or fractions of training images whose labels are learned (default: all)", "N"
    )
    seeds: tuple[int, ...] = of_training((0,), "the seeds (default: 0)", "S", range=(0, MAX_SEED))
    threads: int = of_machine(1, "the number of threads of each run", "N", range=(1, MAX_COUNT))
    jobs: int = of_machine(0, "the number of runs at a time; 0: as many as the cores allow", "N")
    scheduler: str | None = of_machine(
        None,
        "train on a Dask cluster: the address of its scheduler, tcp://HOST:PORT; its machines have this repository and "
        "--output at the same paths",
        "ADDRESS",
    )
    output: str | None = of_output(None, "the folder in which each run creates its own folder", "DIR")
    figure_formats: tuple[str, ...] = of_formats()
    test: str | None = of_output(
        None,
        "classify the test images by the finished runs in this folder that were trained with --no-test, each once, and "
        "add their scores to the report",
        "DIR",
    )
    best: bool = of_output(
        False, "with --test, classify them only by the setting of each data set with the best validation accuracy"
    )
    report: tuple[str, ...] = of_output(
        (), "write tables and learning curves of these runs, or of the runs in these folders", "RUN"
    )
    run_flags: tuple[str, ...] = ()  # all words of the command line that are not settings of the sweep

    @property
    def folder(self) -> Path:
        """The folder of the runs: that of --output, or of --test."""
        return Path(self.output or self.test or "").resolve()

    def __post_init__(self):
        super().__post_init__()
        if self.best and not self.test:
            self.refuse("best", "needs --test DIR")
        if self.report:
            if useless := [*self.given - {"report", "output", "figure_formats"}, *self.run_flags]:
                self.refuse("report", f"reads finished runs; leave out {' '.join(useless)}")
            return
        if self.test:
            if useless := self.given - {"test", "best", "jobs", "threads", "figure_formats", "dataset", "run_flags"}:
                self.refuse("test", f"reads finished runs; leave out {' '.join(useless)}")
            return
        for name in ("model", "output"):
            if not getattr(self, name):
                self.refuse(name, "is missing: a sweep needs --model NAME … and the folder --output DIR")
        names = [*read_pairs(self.set), *(name for name, *_ in self.grid)]
        for name, *values in self.grid:
            if not values or "=" in name or names.count(name) > 1:
                form = "must name a field of --set or a flag once, with its values: --grid s2.threshold 8 10 12"
                self.refuse("grid", f"{form}; not {name}")


def apply_changes(saved: TrainSettings, settings: TrainSettings) -> TrainSettings:
    """Return a run's settings with the changes of the command line. The last phase may have more epochs.

    Raises InputError for a change that would lead to other weights or other files.
    """
    ignored = {"resume", "config", "traceback", "output"}
    given = {name: getattr(settings, name) for name in settings.given - ignored}
    if "model" in given:
        given["model"] = model_class(given["model"]).name
    free = {*saved.names(ROUNDING, HARMLESS)}
    if settings.epochs[:-1] == saved.epochs[:-1] and settings.epochs > saved.epochs:
        free.add("epochs")
    if is_path(settings.dataset or "") and is_path(saved.data_name):
        free.add("dataset")  # the images, which are compared, may be in another place
    for name in sorted(given.keys() - free):
        before = getattr(saved, name)
        if given[name] != before:
            change = f"{to_text(given[name])} would change the run, which has {to_text(before)}"
            settings.refuse(name, f"{change}; it is for a new run, with another --name")
    return replace(saved, **{name: given[name] for name in given.keys() & free})
