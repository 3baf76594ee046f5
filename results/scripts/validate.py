"""How well does a network do with other settings? Trains it on few images and classifies others; reads no test image.

    python -m results.scripts.validate NETWORK DATASET --epochs N N … [--seed S] [--set NAME=VALUE …]

NETWORK and DATASET are those of train.py; --epochs has one number for each phase. The network learns from at most
10,000 of the training images and classifies at most 5,000 others (a fifth, if there are fewer than 25,000), as in
controls.py.
Prints the accuracy on these after the last and after the best epoch, that on the images it learned from, and which
fraction of the neurons of each stage spikes on 500 of them.
"""

import argparse

import torch

import datasets
from encoders import choose_encoder
from engine.stages import INPUT
from models import model_class
from network_trainer import LatencyDataset
from results.scripts.controls import MEASURED, encode_splits, measure_activity
from training.settings import read_pairs


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("network")
    parser.add_argument("dataset")
    parser.add_argument("--epochs", type=int, nargs="+", required=True)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--set", nargs="+", default=[], metavar="NAME=VALUE")
    args = parser.parse_args()
    torch.set_num_threads(1)
    data = datasets.load(args.dataset)
    declared = model_class(args.network)
    encoder = choose_encoder(declared.encoder, colours=data.colours)
    splits = encode_splits(data, encoder, args.seed)
    model = declared(
        splits[0][0].shape[1],
        data.num_classes,
        args.seed,
        time_steps=encoder.time_steps,
        overrides=read_pairs(args.set),
        image_size=data.image_size,
    )
    progress = model.fit(*(LatencyDataset(*split) for split in splits), args.epochs, seed=args.seed)
    last = progress.history[-1]
    print(
        f"{args.network} {args.dataset.rpartition('/')[2]} seed {args.seed} epochs {' '.join(map(str, args.epochs))}: "
        f"last {100 * last['val_accuracy']:.2f} %, best {100 * progress.best['accuracy']:.2f} %, "
        f"learned from {100 * last['train_accuracy']:.1f} %; {' '.join(args.set)}",
        flush=True,
    )
    measured = {INPUT: splits[0][0][:MEASURED]}
    for label, layer in model.named_layers():
        if not layer.stage.decides:
            name = next(name for name in model.declaration if label.startswith(name))
            active = measure_activity(layer, model.map_of(measured, model.input_name(name))[:])
            print(f"    {label}: {100 * active:.1f} % spike, threshold {float(layer.thresholds.mean()):.3g}")


if __name__ == "__main__":
    main()
