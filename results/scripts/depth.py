"""The accuracy of three classifiers on each feature map of trained networks.

    python -m results.scripts.depth [--epochs N] [--ratio R] RUN [RUN …]

For each pooled map of each run's best network (equal maps once), three classifiers are trained on its latency maps of
the same training images: scikit-learn's linear support vector machine on which neurons spiked; the published decision
layer, a convolution of 5×5 with 20 neurons per class, by R-STDP; and five neurons per class that see the whole map, by
the margin rule. Each keeps the epoch (or the C) with the best validation accuracy, and then classifies the test images
once. A line is printed when a map is done, and the table at the end.
"""

import argparse
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

from engine.rules import RSTDP, MarginRule
from engine.stages import SpikingConv, SpikingDense
from network_trainer import LatencyDataset, NetworkTrainer, Progress
from training.checkpoint import compute_checksum, load_checkpoint, rebuild_network
from training.features import find_spikes, train_readout
from training.log import RunLog
from training.plan import Data, load_data
from training.settings import TrainSettings

CHUNK = 1000  # images that are encoded together
HEADER = "network", "map", "neurons", "spikes per image", "linear (SVM)", "R-STDP", "margin rule"


class RewardReader(NetworkTrainer):
    """The decision layer of mozafari2018 alone; its input is a map of another network."""

    name = "depth: R-STDP"

    def build(self, num_classes):
        return {"decision": SpikingConv(20 * num_classes, 5, padding=2, rule=RSTDP())}


class MarginReader(NetworkTrainer):
    """Five neurons per class that see the whole of a map of another network."""

    name = "depth: margin rule"

    def build(self, num_classes):
        return {"decision": SpikingDense(5 * num_classes, rule=MarginRule())}


def read_by_rule(reader, maps, labels, epochs):
    """Return the test accuracy of a reader with the weights of the best validation accuracy."""
    train, validation = (LatencyDataset(maps[split], labels[split]) for split in ("train", "validation"))
    progress = Progress()
    with tqdm(total=epochs, desc=reader.name, leave=False) as bar:
        for step in reader.steps(train, validation, [epochs], progress=progress):
            if step.kind == "epoch":
                bar.update()
                bar.set_postfix(validation=f"{100 * progress.history[-1]['val_accuracy']:.2f} %")
    reader.load_state_dict(progress.best["state"])
    return reader.evaluate(maps["test"], labels["test"]).fraction("correct")


def compute_maps(model, encoder, images, stage):
    """Return the latency maps of a stage for images, uint8 (N, C, H, W)."""
    parts = (images[start : start + CHUNK] for start in range(0, len(images), CHUNK))
    return torch.cat([model.map_of(encoder.encode(part), stage) for part in parts])


def read_map(model, encoder, data, stage, epochs):
    """Return (neurons, spikes per image, test accuracies of the three classifiers) for one stage of a network."""
    maps, labels = {}, {}
    for split in data.splits:
        images, truth, chosen = data.get_split(split)
        maps[split], labels[split] = compute_maps(model, encoder, images[chosen], stage), truth[chosen]
    bits = {split: find_spikes(maps[split], model.time_steps) for split in maps}
    pairs = {split: (bits[split], labels[split]) for split in maps}
    found = train_readout({"name": "svm"}, pairs, model.num_classes, RunLog())
    counted = bits["train"].nnz / len(labels["train"])
    del bits, pairs
    shape = maps["train"].shape[1:]
    about = {"num_classes": model.num_classes, "time_steps": model.time_steps, "image_size": shape[1:]}
    by_rules = [read_by_rule(kind(shape[0], **about), maps, labels, epochs) for kind in (RewardReader, MarginReader)]
    return int(np.prod(shape)), counted, found["test"]["accuracy"], *by_rules


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "runs", nargs="+", type=Path, metavar="RUN", help="folders of trained networks, of one data set"
    )
    parser.add_argument("--epochs", type=int, default=20, metavar="N", help="of each rule (default: %(default)s)")
    parser.add_argument(
        "--ratio", type=float, default=1.0, metavar="R", help="part of the training images (default: 1)"
    )
    chosen = parser.parse_args()
    rows, read = [], {}
    for run in chosen.runs:
        content = load_checkpoint(run / "checkpoints" / "best.safetensors")
        model, encoder = rebuild_network(content), content.build_encoder()
        settings = replace(TrainSettings.from_dict(content.run["flags"]), ratio=chosen.ratio)
        data = Data(settings, load_data(settings))
        for stage in (name for name, each in model.declaration.items() if not each.convs):
            below = model.between(["input"], [stage])
            learned = {name: each for name, each in model.stages.state_dict().items() if name.split(".")[0] in below}
            key = str([model.declaration[name] for name in below]), compute_checksum("", learned)
            start = time.perf_counter()
            if key not in read:
                read[key] = read_map(model, encoder, data, stage, chosen.epochs)
            neurons, counted, *accuracies = read[key]
            row = f"{neurons:,}", f"{counted:,.0f}", *(f"{100 * value:.2f} %" for value in accuracies)
            rows.append((model.name, stage, *row))
            print(*rows[-1], f"{time.perf_counter() - start:.0f} s", sep="  ", flush=True)
    print("", *(f"| {' | '.join(cells)} |" for cells in (HEADER, ["---"] * len(HEADER), *rows)), sep="\n")


if __name__ == "__main__":
    main()
