"""How well does a network do with other settings? Trains it on few images and classifies others; reads no test image.

    python -m results.scripts.validate NETWORK DATASET --epochs N N … [--seed S] [--set NAME=VALUE …]

NETWORK and DATASET are those of train.py; --epochs has one number for each phase. The network learns from at most
10,000 of the training images and classifies at most 5,000 others (a fifth, if there are fewer than 25,000), as in
controls.py.
Prints the accuracy on these after the last and after the best epoch, that on the images it learned from, and which
fraction of the neurons of each stage spikes on 500 of them.
"""

from network_trainer import LatencyDataset
from results.scripts.controls import MEASURED, prepare, replace_features


def main() -> None:
    args, model, splits = prepare(__doc__)
    progress = model.fit(*(LatencyDataset(*split) for split in splits), args.epochs, seed=args.seed)
    last = progress.history[-1]
    activity = replace_features(model, None, splits[0][0][:MEASURED], None)
    print(
        f"{args.network} {args.dataset.rpartition('/')[2]} seed {args.seed} epochs {' '.join(map(str, args.epochs))}: "
        f"last {100 * last['val_accuracy']:.2f} %, best {100 * progress.best['accuracy']:.2f} %, "
        f"learned from {100 * last['train_accuracy']:.1f} %; {'; '.join(activity)}"
    )


if __name__ == "__main__":
    main()
