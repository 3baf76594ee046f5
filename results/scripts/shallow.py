"""Measure mozafari2018_shallow on faces and motorbikes and on ETH-80, beside other networks and classifiers of pixels.

    python -m results.scripts.shallow FOLDER [--data faces eth80] [--splits image object] [--models …] [--seeds 0 …]
    python -m results.scripts.shallow FOLDER --time

FOLDER contains Caltech's photographs as ``faces/CLASS/*.jpg``, and ETH-80 as ``eth80/train`` and ``eth80/test``, 64×64.
Each seed has its own split, but for the objects of ETH-80. ``image``: random photographs are tested, as many of each
class. ``object``: of ETH-80, objects 8 to 10 of each class are tested; of faces and motorbikes, a fifth of the files
that follow each other by name. The photographs of a person follow each other, so hardly any person is in both parts.
All pictures are grey. mozafari2018_shallow gets photographs of 160×160 pixels, and ETH-80 enlarged to 128×128; all
others get 32×32. Nothing is validated, and the last epoch is tested. Finished runs are in FOLDER/runs and are not
repeated. A line for each run contains its test accuracy.

With ``--time``: an epoch of the photographs by ``train_rl``, and by the loop of a script on the SpykeTorch interface.
"""

import argparse
import re
import statistics
import time
from pathlib import Path

import numpy as np
import torch

import imagesets
from encoders.gabor import Gabor
from imagesets.class_folders import read_folder
from imagesets.splits import stratified_split
from models import build_model
from results.scripts.advice import ROOT
from results.scripts.baselines import score_classifiers
from results.scripts.own_data import save, train
from SpykeTorch import functional as sf
from SpykeTorch import snn

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
COMMON = "--val-split 0 --no-figures --readout none --threads 1 --device cpu"
MODELS = "shallow", "pixels", "multiscale2026"
COLUMNS = {
    "shallow": "`mozafari2018_shallow`",
    "multiscale2026": "`multiscale2026`",
    "KNeighborsClassifier": "nearest neighbour, pixels",
    "LogisticRegression": "logistic regression, pixels",
}


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
    arrays = {"x_train": images[~is_tested], "y_train": labels[~is_tested]}
    arrays |= {"x_test": images[is_tested], "y_test": labels[is_tested]}
    if images.ndim == 3:
        np.savez(target, **arrays)
        return str(target)
    return save(target, arrays)


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
    accuracy = train(ROOT, words.split(), folder / "runs" / f"{model}-{data}-{split}-{seed}")
    print(f"{row}: {model} {100 * accuracy:.2f} %", flush=True)


class Script:
    """The layer of mozafari2018_shallow as a script on the SpykeTorch interface learns it, picture by picture."""

    def __init__(self, weight: torch.Tensor):
        features, channels, kernel, _ = weight.shape
        self.conv = snn.Convolution(channels, features, kernel)
        self.conv.load_weight(weight)
        self.reward = snn.STDP(self.conv, (0.005, -0.0025))
        self.punish = snn.STDP(self.conv, (-0.005, 0.0005))

    def learn(self, wave: torch.Tensor, label: int, dropped: torch.Tensor) -> None:
        potentials = sf.feature_inhibition_(self.conv(wave), dropped)
        spikes, potentials = sf.fire(potentials, 42, True)
        winners = sf.get_k_winners(potentials, 1, 0, spikes)
        if winners:
            rule = self.reward if winners[0][0] // 10 == label else self.punish
            rule(wave, potentials, spikes, winners)


def make_table() -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """Return the columns and the rows of ``logs/shallow.log``: the means over the seeds, a row for each split."""
    found = {}
    for line in (ROOT / "results" / "logs" / "shallow.log").read_text(encoding="utf-8").splitlines():
        if match := re.fullmatch(r"(.*), seed \d+: (\S+) ([\d.]+) %", line):
            row, name, accuracy = match.groups()
            found.setdefault(row, {}).setdefault(name, []).append(float(accuracy))
    rows = []
    for row, of_row in found.items():
        cells = []
        for name in COLUMNS:
            values = of_row.get(name, [])
            spread = f" ± {statistics.stdev(values):.2f}" if len(set(values)) > 1 else ""
            cells.append(f"{statistics.mean(values):.2f}{spread} ({len(values)})" if values else "")
        rows.append((row, *cells))
    return ("test accuracy, %", *COLUMNS.values()), rows


def measure_time(folder: Path) -> None:
    """Print the seconds of an epoch of the training photographs, both ways, in turn, the fastest of three."""
    torch.set_num_threads(1)
    data = imagesets.load(prepare(folder, "faces", "image", 0))
    start = time.perf_counter()
    latencies = Gabor().encode(data.train_images)
    print(f"encoding {len(latencies)} photographs: {time.perf_counter() - start:.2f} s", flush=True)
    network = build_model("mozafari2018_shallow", in_channels=4, num_classes=2, image_size=(26, 26))
    script = Script(network.stages["s2"].weight)
    waves = [sf.latency_to_wave(latency, 15) for latency in latencies]
    dropped = np.random.default_rng(0).random(20) < 0.5
    network.train_rl(latencies[:1], data.train_labels[:1])  # compiles
    seconds = {"script": [], "train_rl": []}
    for _ in range(3):
        start = time.perf_counter()
        for wave, label in zip(waves, data.train_labels, strict=True):
            script.learn(wave, label, torch.from_numpy(dropped))
        seconds["script"].append(time.perf_counter() - start)
        start = time.perf_counter()
        network.train_rl(latencies, data.train_labels, left_out=dropped)
        seconds["train_rl"].append(time.perf_counter() - start)
    for name, found in seconds.items():
        print(f"an epoch by {name}: {min(found):.3f} s", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--data", nargs="+", default=list(SIZES), choices=SIZES)
    parser.add_argument("--splits", nargs="+", default=["image", "object"], choices=["image", "object"])
    parser.add_argument("--models", nargs="+", default=MODELS, choices=MODELS)
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2, 3, 4])
    parser.add_argument("--time", action="store_true")
    args = parser.parse_args()
    folder = args.folder.resolve()
    if args.time:
        measure_time(folder)
        return
    for model in args.models:
        for data in args.data:
            for split in args.splits:
                for seed in args.seeds:
                    measure(folder, model, data, split, seed)


if __name__ == "__main__":
    main()
