"""Follow what the diagnosis of a run advises, and compare the validation accuracy with that of the run itself.

    python -m results.scripts.advice FOLDER [--seeds 0 1 2] [--cases digits intensity …]

FOLDER contains N-MNIST's recordings as ``nmnist/Train`` and ``nmnist/Test``, photographs of faces and motorbikes as
``faces/CLASS``, and CIFAR-10 as ``cifar/CLASS``. A quarter of the training images is held out; no test image is read.
A line for each advice contains the accuracy of the last epoch, mean and standard error over the seeds, and the mean
difference with its standard error.
"""

import argparse
import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parent.parent.parent
COMMON = "--val-split 0.25 --no-test --no-figures --readout none --threads 1"
CASES = {
    "digits": "--model mozafari2018 --dataset digits --epochs 4 8 20",
    "intensity": "--model mozafari2018 --dataset digits --encoder intensity --epochs 8 12 20",
    "edge": "--plugin results/scripts/edge.py --encoder edge --model mozafari2018 --dataset digits --epochs 4 8 20",
    "nmnist": "--model mozafari2018 --dataset events:{folder}/nmnist --epochs 6 12 20",
    "nmnist-multiscale": "--model multiscale2026 --dataset events:{folder}/nmnist --augment none --epochs 6 12 12 6 15",
    "faces": "--model mozafari2018 --dataset folder:{folder}/faces --image-size 40 60 --epochs 4 8 20",
    "cifar": "--model mozafari2018 --dataset folder:{folder}/cifar --ratio 0.1 --epochs 2 5 10",
}
ADVICE = re.compile(r"(?:try|or) (--.*?)(?= or |, |; | \(|$)")


def train(words: list[str], seed: int) -> tuple[float, list[str]]:
    """Return the validation accuracy of the last epoch, and the texts of the diagnosis."""
    with tempfile.TemporaryDirectory() as output:
        flags = [*words, *COMMON.split(), "--seed", str(seed), "--output", output, "--name", "run"]
        subprocess.run([sys.executable, "train.py", *flags], cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
        results = json.loads((Path(output) / "run" / "results.json").read_text())
    return results["validation"]["last"]["accuracy"], results["diagnosis"]


def describe(values: np.ndarray) -> str:
    error = values.std(ddof=1) / np.sqrt(len(values)) if len(values) > 1 else 0.0
    return f"{100 * values.mean():.2f} ± {100 * error:.2f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--cases", nargs="+", default=list(CASES), choices=CASES)
    args = parser.parse_args()
    print(f"python train.py … {COMMON}; seeds {args.seeds}", flush=True)
    for case in args.cases:
        words = CASES[case].format(folder=args.folder.resolve()).split()
        runs = [train(words, seed) for seed in args.seeds]
        before = np.array([accuracy for accuracy, _ in runs])
        print(f"{case}: {describe(before)} %; {CASES[case]}", flush=True)
        texts = {ADVICE.search(text)[1]: text for _, diagnosis in runs for text in diagnosis if ADVICE.search(text)}
        for advice, text in texts.items():
            after = np.array([train([*words, *advice.split()], seed)[0] for seed in args.seeds])
            print(f"    {text}\n    {describe(after)} %, difference {describe(after - before)}", flush=True)


if __name__ == "__main__":
    main()
