"""Compare the last phase of each network with plain additions: ``python -m benchmarks.networks``, on a quiet machine.

Each network trains for one epoch of every phase on ``TRAINED_ON`` images of MNIST. Then its last phase learns from the
first ``IMAGES`` of them on one thread, repeatedly from the same weights.
"""

import argparse

import torch

import imagesets
from benchmarks.measure import format_header, format_row, learn, train_features
from benchmarks.operations import measure_plain_additions
from benchmarks.timing import measure_per_image
from models import build_model, network_names
from report.energy import measure_energy
from s1c1 import S1C1
from utils import find_processor, set_threads

TRAINED_ON, IMAGES = 10_000, 3000


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", metavar="NAME", help="(default: all that classify)")
    parser.add_argument("--repeats", type=int, default=7, help="their median is printed (default: %(default)s)")
    args = parser.parse_args()
    set_threads(1)
    limit = measure_plain_additions()
    print(f"{find_processor()}, one thread; plain additions: {limit:.1f} giga-operations per second\n")
    speed = "giga-operations per second", "fraction of plain"
    print(format_header(("network", "phase", "additions per image", "ms per image", *speed)))
    data = imagesets.load("mnist")
    latencies, labels = S1C1().encode(data.train_images[:TRAINED_ON]), torch.from_numpy(data.train_labels[:TRAINED_ON])
    for name in args.models or network_names():
        model = build_model(name)
        if model.decision is None:
            continue
        additions, timing = measure(model, latencies, labels, args.repeats)
        speed = additions / timing.median / 1e6
        row = name, model.phases[-1].name, f"{additions:,.0f}", timing, f"{speed:.1f}", f"{speed / limit:.2f}"
        print(format_row(row), flush=True)


def measure(model, latencies, labels, repeats):
    """Return the synaptic additions per image of the stages that learn in the last phase, and the time per image."""
    inputs, truth = train(model, latencies, labels)
    counts = measure_energy(model, S1C1(), latencies[:IMAGES])["stages"]
    additions = sum(counts[label]["synaptic_additions"] for label, _ in model.named_layers(model.phases[-1].stages))
    state = {key: value.clone() for key, value in model.state_dict().items()}
    timing = measure_per_image(
        lambda: learn(model, inputs, truth), len(inputs), repeats, lambda: model.load_state_dict(state)
    )
    return additions, timing


def train(model, latencies, labels):
    """Train every phase for one epoch; return the last phase's inputs and labels of the first ``IMAGES``."""
    train_features(model, latencies)
    inputs = model.map_of(latencies, model.input_name(model.phases[-1].stages[0]))[:]
    learn(model, inputs, labels)
    return inputs[:IMAGES], labels[:IMAGES]


if __name__ == "__main__":
    main()
