"""Follow what the diagnosis of a run advises, and compare the validation accuracy with that of the run itself.

    python -m results.scripts.advice FOLDER [--seeds 0 1 2] [--cases nmnist faces …]

FOLDER contains N-MNIST's recordings as ``nmnist/CLASS``, photographs of faces and motorbikes as ``faces/CLASS``,
Fashion-MNIST as ``FashionMNIST/raw``, the first 300 training images of each class of CIFAR-10 as ``cifar/CLASS``,
``kannada.npz`` and ``usps.npz``, and the sets in grey that own_data.py writes, ``held-out/NAME.npz``.
A part of the training images is held out; no test image is read. What the run with the first seed advises is followed
with all seeds. A line for each advice contains the accuracy of the last epoch, mean and standard error over the seeds,
and the mean difference with its standard error.
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
COMMON = "--model mozafari2018 --val-split 0.25 --no-test --readout none --threads 1"
ADAPTIVE = "--set s1.rule.target=0.75 s1.rule.positions=0.05 s2.threshold=2 s2.rule.target=0.5 s2.rule.positions=0.05"
NMNIST = "--dataset events:{folder}/nmnist --epochs 6 12 20"
FACES = "--dataset folder:{folder}/faces --image-size 28 28 --epochs 10 10 20"
FASHION = "--dataset fashion-mnist --data-dir {folder} --ratio 0.1 --val-split 2000 --epochs 2 4 10"
CIFAR = "--dataset folder:{folder}/cifar --epochs 2 4 10"
EARLY = "--epochs 1 1 10 --set s3.rule=margin"
SILENT = "--epochs 2 4 10 --set s3.rule=margin s1.threshold=60"
FEW = "--epochs 20 20 20 --set s3.rule=margin"
SILENT_CONVERGED = f"--converge 0.01 {SILENT}"
CASES = {
    "nmnist": NMNIST,
    "faces": FACES,
    "fashion": FASHION,
    "fashion-adaptive-intensity": f"{FASHION} --encoder intensity {ADAPTIVE}",
    "cifar-adaptive-intensity": f"{CIFAR} --encoder intensity {ADAPTIVE}",
    "faces-adaptive-intensity": f"{FACES} --encoder intensity {ADAPTIVE}",
    "eth80-grey-adaptive-intensity": (
        f"--dataset {{folder}}/held-out/eth80-grey.npz --epochs 10 10 20 --encoder intensity {ADAPTIVE}"
    ),
    "nmnist-early": f"--dataset events:{{folder}}/nmnist {EARLY}",
    "faces-early": f"--dataset folder:{{folder}}/faces --image-size 28 28 {EARLY}",
    "eth80-grey-early": f"--dataset {{folder}}/held-out/eth80-grey.npz {EARLY}",
    "cifar-grey-early": f"--dataset {{folder}}/held-out/cifar-grey.npz {EARLY}",
    "usps-few": f"--dataset {{folder}}/usps.npz --image-size 28 28 --ratio 0.015 {FEW}",
    "kannada-few": f"--dataset {{folder}}/kannada.npz --ratio 0.015 {FEW}",
    "faces-few": f"--dataset folder:{{folder}}/faces --image-size 28 28 --ratio 0.2 {FEW}",
    "nmnist-silent": f"--dataset events:{{folder}}/nmnist {SILENT}",
    "faces-silent": f"--dataset folder:{{folder}}/faces --image-size 28 28 {SILENT}",
    "kannada-silent": f"--dataset {{folder}}/kannada.npz --ratio 0.2 {SILENT}",
    "faces-silent-converged": f"--dataset folder:{{folder}}/faces --image-size 28 28 {SILENT_CONVERGED}",
    "eth80-grey-silent": f"--dataset {{folder}}/held-out/eth80-grey.npz {SILENT_CONVERGED}",
    "usps-silent": f"--dataset {{folder}}/usps.npz --image-size 28 28 --ratio 0.3 {SILENT_CONVERGED}",
}
ADVICE = re.compile(r"try (--.*)$")


def run_training(words: list[str], output: Path, checkout: Path = ROOT) -> dict:
    """Run train.py of a checkout, and return its results.json. output: the folder of the run."""
    command = [sys.executable, "train.py", *words, "--output", str(output.parent), "--name", output.name]
    subprocess.run(command, cwd=checkout, check=True, stdout=subprocess.DEVNULL)
    return json.loads((output / "results.json").read_text(encoding="utf-8"))


def train(words: list[str], seed: int) -> tuple[float, list[str]]:
    """Return the validation accuracy of the last epoch, and the texts of the diagnosis."""
    with tempfile.TemporaryDirectory() as output:
        results = run_training([*COMMON.split(), *words, "--seed", str(seed)], Path(output) / "run")
    return results["validation"]["last"]["accuracy"], results["diagnosis"]


def follow(words: list[str], advice: list[str]) -> list[str]:
    """Return the flags of a run with an advice. ``--set`` is the last flag of ``words``, if it is there."""
    return words + advice[("--set" in words) and advice[0] == "--set" :]


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
        first, *others = args.seeds
        accuracy, diagnosis = train(words, first)
        before = np.array([accuracy, *(train([*words, "--no-figures"], seed)[0] for seed in others)])
        print(f"{case}: {describe(before)} %; {CASES[case]}", flush=True)
        texts = {ADVICE.search(text)[1]: text for text in diagnosis if ADVICE.search(text)}
        texts = {advice: text for advice, text in texts.items() if "--model" not in advice}  # it has other epochs
        for advice, text in texts.items():
            followed = follow(words, advice.split())
            after = np.array([train([*followed, "--no-figures"], seed)[0] for seed in args.seeds])
            print(f"    {text}\n    {describe(after)} %, difference {describe(after - before)}", flush=True)


if __name__ == "__main__":
    main()
