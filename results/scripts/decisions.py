"""What the decision layer is worth without its features, and the features without their decision layer.

    python -m results.scripts.decisions dense DATASET SEED …  # that of control2026 reads c2 of mozafari2018
    python -m results.scripts.decisions rstdp DATASET SEED …  # R-STDP neurons read the output of the encoder

As results.scripts.experiment, from all training images but 5,000, without augmentation: the features learn for 2 and 4
epochs, the decision layer for 25. The accuracy is that on the test images after the last epoch. The encoder's threshold
on Fashion-MNIST is 20. The R-STDP layer is s3 of mozafari2018; a pooling by 4 leaves 7×7 positions below it.
"""

import sys
import time

import torch

from engine.decision import Outcome
from engine.rules import RSTDP
from engine.stages import Pool, SpikingConv
from models import model_class
from network_trainer import LatencyDataset, NetworkTrainer
from results.scripts.experiment import Experiment, make_parser


class Rewarded(NetworkTrainer):
    """The decision layer of mozafari2018 reads the output of the encoder."""

    def build(self, num_classes):
        return {"c1": Pool(4), "s1": SpikingConv(20 * num_classes, 5, padding=2, rule=RSTDP())}


def main() -> None:
    what, dataset, *seeds = sys.argv[1:]
    torch.set_num_threads(1)
    changed = ["--set", "encoder.threshold=20"] if dataset == "fashion-mnist" else []
    words = ["mozafari2018_margin", dataset, "--epochs", "2", "4", "25", "--images", "0", "--test"]
    args = make_parser("").parse_args([*words, "--features", "runs/features", *changed])
    for seed in map(int, seeds):
        start = time.process_time()
        experiment = Experiment(args, seed)
        about = {"num_classes": 10, "seed": seed, "time_steps": experiment.encoder.time_steps}
        maps = [latency for latency, _ in experiment.splits]
        if what == "dense":
            learned = experiment.learn_features()
            name = learned.input_name(learned.decision)
            maps = [learned.map_of(latency, name) for latency in maps]
            _, channels, *size = maps[0].shape
            overrides = {"s1.rule.decay": 0.85}
            model = model_class("control2026")(channels, image_size=size, overrides=overrides, **about)
        else:
            model = Rewarded(6, image_size=(28, 28), **about)
        labels = [each for _, each in experiment.splits]
        model.fit(LatencyDataset(maps[0], labels[0]), None, (25,), seed=seed)
        scores = []
        for part, of_part in zip(maps[1:], labels[1:], strict=True):
            scores.append(100 * Outcome.of(model.decide(part)[0], of_part).fraction("correct"))
        text = f"{what} {dataset} seed {seed}: validation {scores[0]:.2f} %, test {scores[1]:.2f} %"
        print(f"{text}, {time.process_time() - start:.0f} s", flush=True)


if __name__ == "__main__":
    main()
