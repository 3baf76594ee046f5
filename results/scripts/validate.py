"""How well does a network do with other settings? Trains it on few images and classifies others; reads no test image.

    python -m results.scripts.validate NETWORK DATASET --epochs N N … [--seeds S …] [--set NAME=VALUE …]

The flags and the images are those of controls.py.
Prints the accuracy on these after the last and after the best epoch, that on the images it learned from, and which
fraction of the neurons of each stage spikes on 500 of them.
"""

import torch

from network_trainer import LatencyDataset
from results.scripts.controls import ALL, KINDS, MEASURED, Experiment, make_parser, replace_features


def main() -> None:
    args = make_parser(__doc__).parse_args()
    torch.set_num_threads(1)
    for seed in args.seeds:
        experiment = Experiment(args, seed)
        model = experiment.build(args.network, experiment.overrides)
        splits = (LatencyDataset(*split) for split in experiment.splits)
        progress = model.fit(
            *splits, args.epochs, seed=seed, copies=experiment.make_copies(model, experiment.choose_labelled(ALL))
        )
        last = progress.history[-1]
        activity = replace_features(model, KINDS["STDP"], experiment.splits[0][0][:MEASURED], None)
        data = args.dataset.rpartition("/")[2]
        print(
            f"{args.network} {data} seed {seed} epochs {' '.join(map(str, args.epochs))}: "
            f"last {100 * last['val_accuracy']:.2f} %, best {100 * progress.best['accuracy']:.2f} %, "
            f"learned from {100 * last['train_accuracy']:.1f} %; {'; '.join(activity)}",
            flush=True,
        )


if __name__ == "__main__":
    main()
