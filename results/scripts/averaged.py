"""Do averaged weights decide better? A moving mean of the weights of the decision stage, beside the weights themselves.

    python -m results.scripts.averaged NETWORK DATASET --epochs N N … [--seed S] [--set NAME=VALUE …]

Trains as validate.py does. After each batch of 1,000 images, each mean moves towards the weights; its window is given
in epochs. Prints the accuracy on held-out images, mean of the second half of the epochs, best and last.
"""

import numpy as np

from network_trainer import LatencyDataset, Progress
from results.scripts.controls import prepare

WINDOWS = 0, 1, 3, 5, 20  # epochs; 0: the weights themselves
BATCH = 1000


def main() -> None:
    args, model, splits = prepare(__doc__)
    train, validation = (LatencyDataset(*split) for split in splits)
    weight = model.stages[model.decision].weight
    batches = -(-len(train) // BATCH)
    means = {}
    accuracies = {window: [] for window in WINDOWS}
    for step in model.steps(train, validation, args.epochs, seed=args.seed, batch_size=BATCH, progress=Progress()):
        if step.kind == "batch" and step.phase.needs_labels:
            for window in WINDOWS:
                mean = means.setdefault(window, weight.double())
                means[window] = mean + (weight - mean) / max(1, batches * window)
        if step.kind == "validation":
            live = weight.clone()
            for window, mean in means.items():
                weight.copy_(mean)
                decisions, _ = model.decide(validation.maps)
                accuracies[window].append(float((decisions.cpu() == validation.labels).double().mean()))
            weight.copy_(live)
    print(f"{args.network} {args.dataset.rpartition('/')[2]} seed {args.seed} epochs {' '.join(map(str, args.epochs))}")
    for window, found in accuracies.items():
        half = np.mean(found[len(found) // 2 :])
        title = f"mean of {window} epochs" if window else "weights"
        print(f"{title:18} second half {100 * half:.2f} %, best {100 * max(found):.2f} %, last {100 * found[-1]:.2f} %")


if __name__ == "__main__":
    main()
