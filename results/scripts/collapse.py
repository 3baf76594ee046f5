"""Why the accuracy of deepr2024 falls while s3 learns from rewards: what the rewards do to the weights of s3.

    python -m results.scripts.collapse [--images N] [--epochs E] [--reward LTP LTD] [--punishment LTP LTD]

Trains deepr2024 (seed 0) on N training images of MNIST and prints a line at the start of its last phase and after each
of E epochs:

* the accuracies on the training images and on 5,000 other training images;
* the spikes of s3 and c3 per image, and the fraction of a winner's inputs that spiked no later than the winner, on
  1,000 of the 5,000 images;
* the mean weight of s3;
* the expected change of a synapse per winner, in 10⁻⁶. A fraction c of the decisions is correct, w is wrong. The rule
  multiplies the rates r of the reward by w and the rates p of the punishment by c, so the change is c·(w·r) + w·(c·p) =
  c·w·(r + p): with the LTP rates for an input that spiked in time, and with the LTD rates for every other input.
"""

import argparse
import copy

import numpy as np
import torch
from torch.nn import functional as F

import datasets
from engine.rules import STDP
from models import build_model
from network_trainer import LatencyDataset, Progress
from s1c1 import S1C1

HELD_OUT = 5000
MEASURED = 1000
# Chooses the winners of a learning step of s3, and changes nothing: all rates are 0
STILL = STDP(winners=15, radius=0, rates=(0.0, 0.0), bounds=(-1.0, 2.0), stabilize=False, double_every=0)


def measure(model, data) -> tuple[float, float, float]:
    """Return the spikes of s3 and of c3 per image, and the fraction of the winners' inputs that spiked in time."""
    latency = data.maps["c2"][:MEASURED]
    layer = model.stages["s3"]
    stage = layer.stage
    fired = layer.fire(latency)
    pooled = model.stages["c3"].fire(fired)
    winners = copy.deepcopy(layer).learn_features(latency, STILL)
    padded = F.pad(latency, [stage.padding] * 4, value=model.time_steps)
    fractions = []
    for image, winners_of_image in zip(padded, winners.tolist(), strict=True):
        for feature, line, column, time in winners_of_image:
            if feature >= 0:
                inputs = image[:, line : line + stage.kernel, column : column + stage.kernel]
                fractions.append(float((inputs <= time).float().mean()))
    spikes = [int((spiked < model.time_steps).sum()) / MEASURED for spiked in (fired, pooled)]
    return *spikes, float(np.mean(fractions))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=20_000, metavar="N", help="training images (default: 20000)")
    parser.add_argument("--epochs", type=int, default=10, metavar="E", help="of the last phase (default: 10)")
    parser.add_argument("--reward", type=float, nargs=2, default=(0.001, -0.00075), metavar=("LTP", "LTD"))
    parser.add_argument("--punishment", type=float, nargs=2, default=(-0.001, 0.000125), metavar=("LTP", "LTD"))
    chosen = parser.parse_args()
    reward = tuple(chosen.reward)
    punishment = tuple(chosen.punishment)
    model = build_model("deepr2024", overrides={"s3.rule.reward": reward, "s3.rule.punishment": punishment})
    mnist = datasets.load("mnist")
    order = np.random.default_rng(0).permutation(len(mnist.train_images))[: chosen.images + HELD_OUT]
    latencies = S1C1().encode(mnist.train_images[order])
    labels = torch.as_tensor(mnist.train_labels)[order]
    held_out = LatencyDataset(latencies[:HELD_OUT], labels[:HELD_OUT])
    train = LatencyDataset(latencies[HELD_OUT:], labels[HELD_OUT:])
    progress = Progress()
    for step in model.steps(train, held_out, (2, 4, 1, chosen.epochs), progress=progress):
        if step.phase.name != "s3+s4" or step.kind not in ("phase", "epoch") or "c2" not in held_out.maps:
            continue
        row = progress.history[-1]
        of_s3, of_c3, in_time = measure(model, held_out)
        mean = float(model.stages["s3"].weight.mean())
        number = 0
        line = f"s3 {of_s3:6.1f}  c3 {of_c3:5.1f} spikes, inputs in time {100 * in_time:4.1f} %, mean weight {mean:.4f}"
        if step.kind == "epoch":
            number = row["epoch"]
            both = row["train_accuracy"] * row["train_loss"]
            change = [1e6 * both * (rewarded + punished) for rewarded, punished in zip(reward, punishment, strict=True)]
            accuracies = f"train {100 * row['train_accuracy']:.2f} %, held out {100 * row['val_accuracy']:.2f} %"
            line = f"{accuracies}  {line}, expected change in time {change[0]:+.0f}, other {change[1]:+.0f}"
        print(f"epoch {number:2}  {line}", flush=True)


if __name__ == "__main__":
    main()
