"""The command line of train.py, read into ``Settings``."""

import argparse
import shlex
import shutil
import textwrap
from dataclasses import fields

from datasets import DATASETS
from errors import InputError
from models import MODELS
from training.config import last_of_each, read_config
from training.encoders import ENCODERS
from training.readout import LAST, READOUTS
from training.settings import FLAGS, MAY_CHANGE, SAVED, TAKES, Settings, flag

WIDTH = 100
_UNSET = object()


class Parser(argparse.ArgumentParser):
    def error(self, message):
        raise InputError(f"{message} (see --help)")


class Format(argparse.RawDescriptionHelpFormatter):
    def __init__(self, prog):
        super().__init__(prog, max_help_position=26, width=min(WIDTH, shutil.get_terminal_size().columns))


def count_or_fraction(text):
    return int(text) if text.lstrip("-").isdigit() else float(text)


def number_or_auto(text):
    return text if text == "auto" else int(text)


count_or_fraction.__name__, number_or_auto.__name__ = "count or fraction", "number or auto"  # in argparse's messages


def make_parser():
    parser = Parser(
        prog="train.py",
        description="Train a first-spike network on MNIST-like images, by STDP and reward-modulated STDP.",
        usage="python train.py --model NAME [flags], or one of the commands below",
        epilog=_which_go_together(),
        formatter_class=Format,
        allow_abbrev=False,
    )

    what = parser.add_argument_group("commands (otherwise: train --model)")
    what.add_argument("--list-models", action="store_true", help="print the networks, their phases and default epochs")
    what.add_argument("--summary", action="store_true", help="print the table of stages of --model")
    what.add_argument("--resume", metavar="RUN", help="go on with an interrupted run: its folder, or 'latest'; "
                      "lengthen a finished one: --epochs with a larger last number")  # fmt: skip
    what.add_argument("--evaluate", metavar="RUN", help="test a trained network: a run, a checkpoint or 'latest'")
    what.add_argument("--predict", nargs="+", metavar="IMAGE", help="print the class of image files, folders of them "
                      "or patterns ('*.png'), by the network of --evaluate (default: latest)")  # fmt: skip

    net = parser.add_argument_group("network and training")
    net.add_argument("--model", metavar="NAME", help=f"one of {', '.join(MODELS)}")
    net.add_argument("--encoder", metavar="NAME", help=f"what makes spikes of the images, one of {', '.join(ENCODERS)} "
                     "(default: the network's own)")  # fmt: skip
    net.add_argument("--set", nargs="+", metavar="F=V", help="other values for fields of a stage, a rule or the "
                     "encoder: s2.threshold=12 s3.1.rule.winners=8 s3.rule.reward=0.01,-0.0005 encoder.time_steps=20"
                     )  # fmt: skip
    net.add_argument("--config", metavar="FILE", help="take flags and settings from a TOML file, or from the args.json "
                     "of a run to repeat; the command line goes before it")  # fmt: skip
    net.add_argument("--init-from", metavar="RUN", help="begin with the stages of a trained network, a run or a "
                     "checkpoint, whose names and shapes fit, and with their rates")  # fmt: skip
    net.add_argument("--after", metavar="RUN", help="leave out the lowest phases that another run trains, or is "
                     "training, alike, and begin behind them; the result is the same to the bit")  # fmt: skip
    net.add_argument("--epochs", type=int, nargs="+", metavar="E", help="one number for each phase, 0 skips the phase "
                     "(default: the network's own, see --list-models)")  # fmt: skip
    net.add_argument("--batch-size", type=int, metavar="N",
                     help="images between two adaptations of the R-STDP rates (default: %(default)s)")  # fmt: skip
    net.add_argument("--batch_size", type=int, dest="batch_size", help=argparse.SUPPRESS)
    net.add_argument("--seed", type=int, metavar="S",
                     help="of the weights, the splits and the order of the images (default: %(default)s)")  # fmt: skip
    net.add_argument("--patience", type=int, metavar="E", help="stop after E epochs of R-STDP without a "
                     "better validation accuracy; 0: never (default: %(default)s)")  # fmt: skip
    net.add_argument("--augment", nargs="+", metavar="A=X", help="let the decision stage learn from moved copies of "
                     "the images too: copies=17 turn=8 (degrees) shift=1.2 (pixels) scale=0.08 shear=0.08 flip, or "
                     "none (default: the network's own)")  # fmt: skip
    net.add_argument("--dry-run", action="store_true", help="a few images through every phase and every artefact")

    data = parser.add_argument_group("data")
    data.add_argument("--dataset", metavar="NAME", help=f"one of {', '.join(DATASETS)}; your own: folder:PATH, class "
                      "folders of images, or FILE.npz (default: mnist; with --evaluate what the network was trained on)"
                      )  # fmt: skip
    data.add_argument("--image-size", type=int, nargs=2, metavar=("H", "W"), help="stretch every image to so many "
                      "pixels (default: as they are)")  # fmt: skip
    data.add_argument("--data-dir", metavar="DIR", help="where its files are or will be put "
                      "(default: the repository's data)")  # fmt: skip
    data.add_argument("--ratio", type=float, metavar="R",
                      help="part of the training images to use, stratified (default: %(default)s)")  # fmt: skip
    data.add_argument("--val-split", type=count_or_fraction, metavar="N", help="training images held out to choose the "
                      "best epoch, a count or a fraction (0.1); 0: none (default: 5000, or a twelfth of a smaller set)"
                      )  # fmt: skip
    data.add_argument("--no-test", action="store_false", dest="test", help="to choose settings: leave the test images "
                      "unread; the validation images are scored and drawn in their place")  # fmt: skip
    data.add_argument("--noise", metavar="KIND=X", help="with --evaluate: disturb the test images, gaussian=0.1 (σ as "
                      "a fraction of white) or salt-pepper=0.05 (fraction of the pixels)")  # fmt: skip

    shown = parser.add_argument_group("with --predict")
    shown.add_argument("--raw", action="store_true", help="take pictures of digits and letters as they are, only "
                       "fitted to the size: no ink is looked for, nothing is centred")  # fmt: skip
    shown.add_argument("--scores", action="store_true", help="print the scores of all classes too")
    shown.add_argument("--json", action="store_true", help="print one JSON list of all images")

    machine = parser.add_argument_group("machine")
    machine.add_argument("--device", metavar="NAME", help="cpu, cuda, cuda:N, or auto: the CPU, with "
                         "--backend torch a GPU if there is one (default: %(default)s)")  # fmt: skip
    machine.add_argument("--backend", choices=("auto", "event", "torch"), help="event: compiled "
                         "kernels (CPU); torch: tensor operations; auto: what fits (default: %(default)s)")  # fmt: skip
    machine.add_argument("--threads", type=number_or_auto, metavar="N", help="0: one per core; auto: the same, but "
                         "one alone where a decision stage learns faster so (default: %(default)s)")  # fmt: skip

    out = parser.add_argument_group("output")
    out.add_argument("--output", metavar="DIR", help="gets a folder per run (default: %(default)s)")
    out.add_argument("--name", metavar="NAME", help="of this run's folder, a new one "
                     "(default: network, data set, seed and time)")  # fmt: skip
    out.add_argument("--tensorboard", action="store_true", help="write TensorBoard events into the run's folder; "
                     "with --evaluate: add scores and figures to those of RUN")  # fmt: skip
    out.add_argument("--no-figures", action="store_false", dest="figures", help="draw nothing: leave figures, and the "
                     "pictures of activation maps, out")  # fmt: skip
    out.add_argument("--save-maps", type=int, nargs="?", const=1, metavar="N", help="save activation "
                     "maps of every stage for N test images of each class; an image takes about a tenth of a second, "
                     "most of it for the pictures (N left out: 1; default: 0)")  # fmt: skip
    out.add_argument("--map-index", type=int, nargs="+", metavar="I", help="save them for these test images")
    out.add_argument("--map-every", type=int, metavar="E", help="save them also after every E-th epoch; needs "
                     "--save-maps or --map-index (default: at the end only)")  # fmt: skip
    out.add_argument("--save-every", type=float, metavar="SECONDS", help="between checkpoints; one is "
                     "also made after each epoch (default: %(default)s)")  # fmt: skip
    out.add_argument("--save-features", nargs="?", const=LAST, metavar="STAGE", help="write latency maps of all images "
                     "after that stage (STAGE left out: the last before the decision)")  # fmt: skip
    out.add_argument("--readout", choices=(*READOUTS, "none"), help="a linear classifier on the same features, beside "
                     "the network's own decision (default: the network's own, mostly none)")  # fmt: skip
    parser.set_defaults(**{each.name: each.default for each in fields(Settings)})
    return parser


def _which_go_together():
    lines = ["which flags go together:"]
    for text, names in (
        ("to train, all but the commands and", {*FLAGS} - TAKES["train"]),
        ("--resume RUN, as the run began, but for a larger last number of --epochs, and", MAY_CHANGE),
        ("--evaluate RUN, with", TAKES["evaluate"]),
        ("--predict IMAGE …, with", TAKES["predict"]), ("--summary, with", TAKES["summary"]),
    ):  # fmt: skip
        text = f"  {text} {' '.join(map(flag, sorted(names)))}"
        lines += textwrap.wrap(text, WIDTH, subsequent_indent=" " * 6, break_on_hyphens=False)
    return "\n".join([*lines, "  --list-models, alone"])


def parse(argv):
    """The settings of a command line. Errors: InputError."""
    parser = make_parser()
    blank = argparse.Namespace(**{each.name: _UNSET for each in fields(Settings)})
    given = {name for name, value in vars(parser.parse_args(argv, blank)).items() if value is not _UNSET}
    values = vars(parser.parse_args(argv))
    if values["config"] is not None:
        found = read_config(values["config"], {*SAVED})
        if "set" in found and "set" in given:
            found["set"] = last_of_each([*found["set"], *values["set"]])
        values |= {name: value for name, value in found.items() if name == "set" or name not in given}
    values |= {name: tuple(value) for name, value in values.items() if isinstance(value, list)}
    return Settings(**values | {"given": frozenset(given), "command_line": shlex.join(["train.py", *argv])})
