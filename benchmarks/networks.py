"""How near each network's last phase comes to plain additions: ``python -m benchmarks.networks``, on a quiet machine.

Each network learns one epoch of every phase from ``TRAINED_ON`` images of MNIST. Then its last phase learns from the
first ``IMAGES`` of them on one thread, again and again from the same weights.
"""

import argparse

import torch

import datasets
from benchmarks.measure import learn, per_image, train_features
from benchmarks.operations import plain_additions
from models import build_model, network_names
from report.activity import activity
from s1c1 import S1C1
from utils import find_processor, set_threads

TRAINED_ON, IMAGES = 10_000, 3000


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", metavar="NAME", help="(default: all that decide)")
    parser.add_argument("--repeats", type=int, default=7, help="of which the median counts (default: %(default)s)")
    args = parser.parse_args()
    set_threads(1)
    limit = plain_additions()
    print(f"{find_processor()}, one thread; plain additions: {limit:.1f} giga-operations per second\n")
    header = (
        "network", "phase", "additions per image", "ms per image", "giga-operations per second", "fraction of plain",
    )  # fmt: skip
    print(f"| {' | '.join(header)} |\n{'|---' * len(header)}|")
    data = datasets.load("mnist")
    latencies, labels = S1C1().encode(data.train_images[:TRAINED_ON]), torch.from_numpy(data.train_labels[:TRAINED_ON])
    for name in args.models or network_names():
        model = build_model(name)
        if model.decision is None:
            continue
        additions, timing = last_phase(model, latencies, labels, args.repeats)
        speed = additions / timing.median / 1e6
        row = name, model.phases[-1].name, f"{additions:,.0f}", timing, f"{speed:.1f}", f"{speed / limit:.2f}"
        print(f"| {' | '.join(map(str, row))} |", flush=True)


def last_phase(model, latencies, labels, repeats):
    """Synaptic additions per image of the stages that learn in it, and what an image takes."""
    inputs, truth = trained(model, latencies, labels)
    counts = activity(model, latencies[:IMAGES])
    additions = sum(counts[label]["synaptic_additions"] for label, _ in model.named_convs(model.phases[-1].stages))
    state = {key: value.clone() for key, value in model.state_dict().items()}
    return additions, per_image(
        lambda: learn(model, inputs, truth), len(inputs), repeats, lambda: model.load_state_dict(state)
    )


def trained(model, latencies, labels):
    """Train every phase by one epoch; returns inputs and labels of the last phase, for the first ``IMAGES``."""
    train_features(model, latencies)
    inputs = model.input_of(model.phases[-1].stages[0], latencies)[:]
    learn(model, inputs, labels)
    return inputs[:IMAGES], labels[:IMAGES]


if __name__ == "__main__":
    main()
