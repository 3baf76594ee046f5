"""Print how much of each firing stage is active, for trained networks: the tables behind ``results/README.md``.

python results/activity.py runs/RUN/checkpoints/best.pt [CHECKPOINT ...]
"""

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import datasets
from training import checkpoint
from training.encoders import build_encoder


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoints", nargs="+", type=Path)
    parser.add_argument("--images", type=int, default=500, help="the first test images of MNIST (default: %(default)s)")
    args = parser.parse_args()
    data = datasets.load("mnist")
    images, labels = data.test_images[: args.images], data.test_labels[: args.images]
    for path in args.checkpoints:
        content = checkpoint.load(path)
        model, latencies = checkpoint.rebuild(content), build_encoder(content["encoding"]).encode(images)
        accuracy = model.evaluate(latencies, labels).fraction("correct")
        print(f"{path}: {model.name}, {100 * accuracy:.1f} % right on {len(images)} test images")
        for name, times in model.walk(latencies):
            if not model.stages[name].convs or name == model.decision:
                continue
            fired = times < model.time_steps
            print(
                f"    {name}: {100 * fired.double().mean():.1f} % of the neurons fire, "
                f"{100 * (times == 0).double().mean():.1f} % at the first step; "
                f"{int((~fired.amax((0, 2, 3))).sum())} of {times.shape[1]} features never"
            )


if __name__ == "__main__":
    main()
