"""The flags of train.py."""

import argparse

from datasets import DATASETS
from errors import InputError
from models import MODELS

_UNSET = object()


class Parser(argparse.ArgumentParser):
    def error(self, message):
        raise InputError(f"{message} (see --help)")


def count_or_fraction(text):
    return int(text) if text.lstrip("-").isdigit() else float(text)


def make_parser():
    parser = Parser(
        prog="train.py",
        description="Train a first-spike network on MNIST-like images, by STDP and reward-modulated STDP.",
        allow_abbrev=False,
    )

    what = parser.add_argument_group("what to do (otherwise: train)")
    what.add_argument("--list-models", action="store_true", help="print the networks, their phases and default epochs")
    what.add_argument("--summary", action="store_true", help="print the table of stages of --model")
    what.add_argument("--resume", metavar="RUN", help="go on with an interrupted run: its folder, or 'latest'")
    what.add_argument("--evaluate", metavar="RUN", help="test a trained network: a run, a checkpoint or 'latest'")
    what.add_argument("--predict", nargs="+", metavar="IMAGE", help="print the class of image files, by the network of "
                      "--evaluate (default: latest)")  # fmt: skip
    what.add_argument("--dry-run", action="store_true", help="a few images through every phase and every artefact")

    net = parser.add_argument_group("network and training")
    net.add_argument("--model", metavar="NAME", help=f"one of {', '.join(MODELS)}")
    net.add_argument("--epochs", type=int, nargs="+", metavar="E", help="one number for each phase, 0 skips the phase "
                     "(default: the network's own, see --list-models)")  # fmt: skip
    net.add_argument("--batch-size", "--batch_size", type=int, default=1000, metavar="N",
                     help="images between two adaptations of the R-STDP rates (default: %(default)s)")  # fmt: skip
    net.add_argument("--seed", type=int, default=0, metavar="S",
                     help="of the weights, the splits and the order of the images (default: %(default)s)")  # fmt: skip
    net.add_argument("--patience", type=int, default=0, metavar="E", help="stop after E epochs of R-STDP without a "
                     "better validation accuracy; 0: never (default: %(default)s)")  # fmt: skip

    data = parser.add_argument_group("data")
    data.add_argument("--dataset", metavar="NAME", help=f"one of {', '.join(DATASETS)} (default: mnist)")
    data.add_argument("--data-dir", metavar="DIR", help="where its files are or will be put "
                      "(default: the repository's data)")  # fmt: skip
    data.add_argument("--ratio", type=float, default=1.0, metavar="R",
                      help="part of the training images to use, stratified (default: %(default)s)")  # fmt: skip
    data.add_argument("--val-split", type=count_or_fraction, metavar="N", help="training images held out to choose the "
                      "best epoch, a count or a fraction (0.1); 0: none (default: 5000, or a twelfth of a smaller set)"
                      )  # fmt: skip

    machine = parser.add_argument_group("machine")
    machine.add_argument("--device", default="auto", help="cpu, cuda, cuda:N, or auto: the CPU, with "
                         "--backend torch a GPU if there is one (default: %(default)s)")  # fmt: skip
    machine.add_argument("--backend", default="auto", choices=("auto", "event", "torch"), help="event: compiled "
                         "kernels (CPU); torch: tensor operations; auto: what fits (default: %(default)s)")  # fmt: skip
    machine.add_argument("--threads", type=int, default=0, metavar="N", help="0: one per core (default: %(default)s)")

    out = parser.add_argument_group("output")
    out.add_argument("--output", default="runs", metavar="DIR", help="gets a folder per run (default: runs)")
    out.add_argument("--tensorboard", action="store_true", help="write TensorBoard events into the run's folder")
    out.add_argument("--save-maps", type=int, nargs="?", const=1, default=0, metavar="N", help="save activation "
                     "maps of every stage for N test images of each class (N left out: 1; default: 0)")  # fmt: skip
    out.add_argument("--map-index", type=int, nargs="+", metavar="I", help="save them for these test images")
    out.add_argument("--map-every", type=int, default=0, metavar="E", help="save them also after every "
                     "E-th epoch (default: at the end only)")  # fmt: skip
    out.add_argument("--save-every", type=float, default=60.0, metavar="SECONDS", help="between checkpoints; one is "
                     "also made after each epoch (default: %(default)s)")  # fmt: skip
    return parser


def parse(argv):
    """The flags, and the names of those that were given on the command line. Errors: InputError."""
    parser = make_parser()
    blank = argparse.Namespace(**{action.dest: _UNSET for action in parser._actions})
    given = {name for name, value in vars(parser.parse_args(argv, blank)).items() if value is not _UNSET}
    return parser.parse_args(argv), given
