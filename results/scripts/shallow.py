"""Measure mozafari2018_shallow on faces and motorbikes and on ETH-80, beside other networks and classifiers of pixels.

    python -m results.scripts.shallow FOLDER [--data faces eth80] [--splits image object] [--models …] [--seeds 0 …]

FOLDER contains Caltech's photographs as ``faces/CLASS/*.jpg``, and ETH-80 as ``eth80/train`` and ``eth80/test``, 64×64.
Each seed has its own split, but for the objects of ETH-80. ``image``: random photographs are tested, as many of each
class. ``object``: of ETH-80, objects 8 to 10 of each class are tested; of faces and motorbikes, a fifth of the files
that follow each other by name. The photographs of a person follow each other, so hardly any person is in both parts.
All pictures are grey. mozafari2018_shallow gets photographs of 160×160 pixels, and ETH-80 enlarged to 128×128; all
others get 32×32. Nothing is validated, and the last epoch is tested. Finished runs are in FOLDER/runs and are not
repeated. A line for each run contains its test accuracy.
"""

import argparse
import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np

import imagesets
from imagesets.class_folders import read_folder
from imagesets.splits import stratified_split
from results.scripts.baselines import score_classifiers
from utils import ROOT

SIZES = {"faces": (160, 160), "eth80": (64, 64)}
TESTED = 123  # pictures of each class of ETH-80: three objects of ten
PARTS = 5  # one fifth of the photographs is tested
OF_ETH80 = (
    "s2.kernel=31 s2.threshold=160 s2.rule.dropout=0.4 s2.rule.reward=0.01,-0.0035 s2.rule.punishment=-0.01,0.0006 "
    "encoder.pool=5 encoder.stride=4"
)
SHALLOW = {
    "faces": "--model mozafari2018_shallow --image-size 160 160 --batch-size 5000 --epochs 400",
    "eth80": f"--model mozafari2018_shallow --image-size 128 128 --batch-size 5000 --epochs 250 --set {OF_ETH80}",
}
MULTISCALE = "--model multiscale2026 --augment none --epochs 2 4 4 2 10 --converge 0.01 --image-size 32 32"
COMMON = "--val-split 0 --no-figures --no-references --readout none --threads 1 --device cpu"
MODELS = "shallow", "pixels", "multiscale2026"


def prepare(folder: Path, data: str, split: str, seed: int) -> str:
    """Write a split of a data set as a file of arrays. Returns the name of the data set for train.py."""
    target = folder / f"{data}-{split}-{seed}-grey.npz"
    if target.exists():
        return str(target)
    parts = [folder / data] if data == "faces" else [folder / data / "train", folder / data / "test"]
    sets = [read_folder(str(part), folder, SIZES[data]) for part in parts]
    images = np.concatenate([part.train_images for part in sets])
    labels = np.concatenate([part.train_labels for part in sets])
    if split == "image":
        count = TESTED * 8 if data == "eth80" else len(labels) // PARTS
        _, tested = stratified_split(labels, count, seed)
    elif data == "eth80":
        tested = np.arange(len(sets[0].train_labels), len(labels))
    else:
        of_classes = [np.flatnonzero(labels == label) for label in np.unique(labels)]
        tested = np.concatenate([np.array_split(files, PARTS)[seed] for files in of_classes])
    is_tested = np.isin(np.arange(len(labels)), tested)
    if images.ndim == 4:  # in colour; luma, ITU-R BT.601
        images = np.rint(images @ [0.299, 0.587, 0.114]).astype(np.uint8)
    arrays = {"x_train": images[~is_tested], "y_train": labels[~is_tested]}
    arrays |= {"x_test": images[is_tested], "y_test": labels[is_tested]}
    np.savez(target, **arrays)
    return str(target)


def train(words: list[str], output: Path) -> float:
    """Train in the folder ``output``, unless this is done. Returns the test accuracy of the last epoch."""
    results = output / "results.json"
    if not results.exists():
        shutil.rmtree(output, ignore_errors=True)  # an interrupted run
        command = [sys.executable, "train.py", *words, "--output", str(output.parent), "--name", output.name]
        subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
    return json.loads(results.read_text(encoding="utf-8"))["test"]["last"]["accuracy"]


def measure(folder: Path, model: str, data: str, split: str, seed: int) -> None:
    """Print the test accuracy of a network, or of both classifiers of pixels."""
    source = prepare(folder, data, split, seed)
    row = f"{data}, {split}, seed {seed}"
    if model == "pixels":
        for name, accuracy in score_classifiers(imagesets.load(source, image_size=(32, 32)), slice(None), 300):
            print(f"{row}: {name} {accuracy:.2f} %", flush=True)
        return
    words = SHALLOW[data] if model == "shallow" else MULTISCALE
    words += f" --dataset {source} --seed {seed} {COMMON}"
    accuracy = train(words.split(), folder / "runs" / f"{model}-{data}-{split}-{seed}")
    print(f"{row}: {model} {100 * accuracy:.2f} %", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--data", nargs="+", default=list(SIZES), choices=SIZES)
    parser.add_argument("--splits", nargs="+", default=["image", "object"], choices=["image", "object"])
    parser.add_argument("--models", nargs="+", default=MODELS, choices=MODELS)
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2, 3, 4])
    args = parser.parse_args()
    folder = args.folder.resolve()
    for model in args.models:
        for data in args.data:
            for split in args.splits:
                for seed in args.seeds:
                    measure(folder, model, data, split, seed)


if __name__ == "__main__":
    main()
