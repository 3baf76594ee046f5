"""Why does the accuracy of deepr2024 fall while s3 learns from rewards? What the rewards do to s3, epoch by epoch.

    python -m results.scripts.collapse [--images N] [--epochs E] [--seed S] > results/logs/deepr2024.tsv

Trains deepr2024 on N training images of MNIST, its last phase three times, and prints a row at the start of this phase
and after each of its E epochs:

* "published": with the published rates.
* "s3 frozen": from the epoch on after which the published rates reach their best accuracy, only s4 learns.
* "balanced": with punishments of s3 that balance its rewards, -0.001 and 0.00075.

A row has the accuracies on the training images of the epoch and on 5,000 other training images; on 1,000 of the latter
the spikes of s3 and c3 per image, and the fraction of a winner's inputs that spiked no later than the winner; and the
mean weight of s3. No test image is read.
"""

import argparse
import copy

import numpy as np
import torch
from torch.nn import functional as F

import imagesets
from models import build_model
from network_trainer import LatencyDataset, Progress
from s1c1 import S1C1

HELD_OUT = 5000
MEASURED = 1000
PHASE = 3  # s3 and s4, by rewards
COLUMNS = "rates", "seed", "epoch", "train", "held_out", "spikes_s3", "spikes_c3", "in_time", "mean_weight"
BALANCED = {"s3.rule.punishment": (-0.001, 0.00075)}
FROZEN = {"s3.rule.reward": (0.0, 0.0), "s3.rule.punishment": (0.0, 0.0)}
# With these rates, a learning step of s3 without labels chooses winners and changes nothing.
STILL = {"s3.rule.warm_up.rates": (0.0, 0.0), "s3.rule.warm_up.double_every": 0}


def measure(model, data) -> tuple[float, float, float]:
    """Return the spikes of s3 and of c3 per image, and the fraction of the winners' inputs that spiked in time."""
    latency = data.maps["c2"][:MEASURED]
    layer = model.stages["s3"]
    stage = layer.stage
    fired = layer.fire(latency)
    pooled = model.stages["c3"].fire(fired)
    still = build_model("deepr2024", overrides=STILL).stages["s3"]
    still.weight.copy_(layer.weight)
    winners = still.learn_features(latency, still.stage.rule.warm_up)
    padded = F.pad(latency, [stage.padding] * 4, value=model.time_steps)
    fractions = []
    for image, winners_of_image in zip(padded, winners.tolist(), strict=True):
        for feature, line, column, time in winners_of_image:
            if feature >= 0:
                inputs = image[:, line : line + stage.kernel, column : column + stage.kernel]
                fractions.append(float((inputs <= time).float().mean()))
    spikes = [int((spiked < model.time_steps).sum()) / MEASURED for spiked in (fired, pooled)]
    return *spikes, float(np.mean(fractions))


def train(title: str, model, splits: list[LatencyDataset], epochs: int, seed: int, progress: Progress) -> dict:
    """Train the rest of the phases, and print the rows of the last one. Returns the weights at its start."""
    train_set, held_out = map(copy.copy, splits)  # their maps are replaced
    state = {}
    for step in model.steps(train_set, held_out, (2, 4, 1, epochs), seed=seed, progress=progress):
        if progress.phase != PHASE or step.kind not in ("phase", "epoch") or "c2" not in held_out.maps:
            continue
        accuracies = ("", "")
        if step.kind == "phase":
            state = copy.deepcopy(model.state_dict())
        else:
            row = progress.history[-1]
            accuracies = [f"{100 * row[name]:.2f}" for name in ("train_accuracy", "val_accuracy")]
        *spikes, in_time = measure(model, held_out)
        numbers = (*(f"{count:.1f}" for count in spikes), f"{100 * in_time:.1f}")
        mean = float(model.stages["s3"].weight.mean())
        print(title, seed, progress.epoch, *accuracies, *numbers, f"{mean:.4f}", sep="\t", flush=True)
    return state


def build_changed(state: dict, seed: int, overrides: dict):
    """Return deepr2024 with the weights ``state`` and other rates of s3."""
    model = build_model("deepr2024", seed=seed, overrides=overrides)
    model.load_state_dict(state)
    layer = model.stages["s3"]
    layer.rstdp_rates.copy_(torch.from_numpy(layer.stage.rule.first_rates()))
    return model


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=55_000, metavar="N", help="training images (default: 55000)")
    parser.add_argument("--epochs", type=int, default=12, metavar="E", help="of the last phase (default: 12)")
    parser.add_argument("--seed", type=int, default=0)
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    seed = chosen.seed
    mnist = imagesets.load("mnist")
    order = np.random.default_rng(seed).permutation(len(mnist.train_images))[: chosen.images + HELD_OUT]
    latencies = S1C1().encode(mnist.train_images[order])
    labels = torch.as_tensor(mnist.train_labels)[order]
    parts = slice(HELD_OUT, None), slice(HELD_OUT)
    splits = [LatencyDataset(latencies[part], labels[part]) for part in parts]
    print(*COLUMNS, sep="\t", flush=True)

    progress = Progress()
    start = train("published", build_model("deepr2024", seed=seed), splits, chosen.epochs, seed, progress)
    best = progress.best
    frozen = build_changed(best["state"], seed, FROZEN)
    rest = Progress(phase=PHASE, epoch=best["epoch"], history=progress.history[: best["step"]])
    train("s3 frozen", frozen, splits, chosen.epochs, seed, rest)
    balanced = build_changed(start, seed, BALANCED)
    train("balanced", balanced, splits, chosen.epochs, seed, Progress(phase=PHASE))


if __name__ == "__main__":
    main()
