"""Divide class folders into stratified folds: folders of links that ``--dataset folder:`` reads.

    python -m results.scripts.folds SOURCE TARGET [--folds 5]

SOURCE contains a folder of files for each class. In TARGET/K/test are the files of fold K, in TARGET/K/train all
others. SOURCE can also be a file of arrays, x_train and y_train; then the folds are the files TARGET/K.npz. The folds
are always the same.
"""

import argparse
from pathlib import Path

import numpy as np


def divide(source: Path, target: Path, folds: int) -> None:
    """Write the folds. Files that are there already stay."""
    rng = np.random.default_rng(0)
    for of_class in sorted(path for path in source.iterdir() if path.is_dir()):
        files = sorted(of_class.iterdir())
        fold_of = rng.permutation(len(files)) % folds
        for fold in range(folds):
            for path, own in zip(files, fold_of, strict=True):
                part = "test" if own == fold else "train"
                link = target / str(fold) / part / of_class.name / path.name
                link.parent.mkdir(parents=True, exist_ok=True)
                if not link.exists():
                    link.symlink_to(path.resolve())


def divide_arrays(source: Path, target: Path, folds: int) -> None:
    """Write the folds of a file of arrays."""
    with np.load(source) as arrays:
        images, labels = arrays["x_train"], arrays["y_train"]
    fold_of = np.empty(len(labels), int)
    rng = np.random.default_rng(0)
    for label in np.unique(labels):
        own = np.flatnonzero(labels == label)
        fold_of[own] = rng.permutation(len(own)) % folds
    target.mkdir(parents=True, exist_ok=True)
    for fold in range(folds):
        test = fold_of == fold
        parts = {"x_train": images[~test], "y_train": labels[~test], "x_test": images[test], "y_test": labels[test]}
        np.savez(target / f"{fold}.npz", **parts)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("source", type=Path)
    parser.add_argument("target", type=Path)
    parser.add_argument("--folds", type=int, default=5)
    args = parser.parse_args()
    share = divide_arrays if args.source.suffix == ".npz" else divide
    share(args.source, args.target, args.folds)


if __name__ == "__main__":
    main()
