"""Train the same networks with two checkouts of the repository, and compare results and weights to the bit.

    git worktree add ../before COMMIT
    python tests/manual/compare_checkouts.py ../before .        # --only mozafari2018: commands that contain a word

The commands train all networks with one epoch for each phase, on the digits of scikit-learn, colour images or
photographs, and on a few images of MNIST (``--dry-run``), and use the torch backend, moved
copies, ``--labels``, ``--patience``, ``--converge``, and the rule of the tutorial. ``results.json`` and the
columns of ``metrics.csv`` are compared without times, paths and versions, ``last.safetensors`` tensor by tensor. What a
run advises, the references beside its network, and what only one of the versions writes, are compared apart: a
difference there is printed, but not counted. The exit code is 1 if something else differs.
"""

import argparse
import csv
import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from safetensors.torch import load_file

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT)]

from models import MODELS  # noqa: E402

OTHER_DATA = "mozafari2018_shallow", "colour2026_counts"  # not on digits
RULE = ROOT / "tutorial" / "recent.py"
# not compared: when, where and with which version a run was trained, and what its flags are called
IGNORED = {"seconds", "phase_seconds", "started", "finished", "machine", "versions", "command", "flags", "git_commit"}
IGNORED |= {"peak_memory_mb"}
ADVICE = "diagnosis", "references", "table", "findings", "next"
TENSORS = "last.safetensors"


def list_commands(data: Path) -> list[str]:
    """Return the arguments of train.py, and write the files that they read into the folder ``data``."""
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (240, 32, 32, 3), np.uint8)
    images[::2, :, 8:16] //= 4
    labels = np.arange(240) % 2
    for name, pictures in (("colour", images), ("photographs", images[..., 0].repeat(4, 1).repeat(4, 2))):
        parts = {"x_train": pictures[:200], "y_train": labels[:200], "x_test": pictures[200:], "y_test": labels[200:]}
        np.savez(data / f"{name}.npz", **parts)
    names = sorted({model.name for model in MODELS.values()} - {*OTHER_DATA})
    commands = [f"--model {name} --dataset digits --epochs {'1 ' * len(MODELS[name].epochs)}" for name in names]
    commands += [f"--model {name} --dry-run" for name in names]
    return [
        *commands,
        f"--model mozafari2018_shallow --dataset {data / 'photographs.npz'} --epochs 2",
        f"--model colour2026_counts --dataset {data / 'colour.npz'} --epochs 1 1 1 --converge 0 --augment none",
        "--model mozafari2018 --dataset digits --ratio 0.2 --epochs 1 1 1 --backend torch",
        "--model deepr2024_greedy --dataset digits --ratio 0.1 --epochs 1 1 1 1 --backend torch",
        "--model mozafari2018_margin --dataset digits --epochs 1 1 3 --augment copies=2 turn=8 shift=1",
        f"--model mozafari2018 --dataset digits --epochs 1 1 1 --plugin {RULE} --set s1.rule=recent",
        "--model mozafari2018_margin --dataset digits --labels 100 --epochs 2 2 10 --patience 3",
        "--model mozafari2018_margin --dataset digits --ratio 0.1 --converge 0.15",
        "--model mozafari2018 --dataset digits --ratio 0.2 --epochs 1 1 2 --val-split 0",
    ]


def train(checkout: Path, arguments: str, folder: Path) -> dict[str, object]:
    """Train a network with a checkout; return {name: value} of its results and of its last checkpoint."""
    command = [sys.executable, "train.py", *arguments.split(), "--no-figures", "--threads", "1"]
    command += ["--output", str(folder / "runs"), "--name", "run"]
    subprocess.run(command, cwd=checkout, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    run = folder / "runs" / "run"
    results = json.loads((run / "results.json").read_text(encoding="utf-8"))
    with open(run / "metrics.csv", encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    results["metrics.csv"] = {name: [row[name] for row in rows] for name in rows[0]}
    tensors = load_file(run / "checkpoints" / "last.safetensors")
    shutil.rmtree(run)
    return flatten({**results, TENSORS: {name: (each.dtype, each.tolist()) for name, each in tensors.items()}})


def flatten(values: dict, prefix: str = "") -> dict[str, object]:
    """Return {name: value} of nested dicts, such as test.best.accuracy, without what differs between two equal runs."""
    flat = {}
    for key, value in values.items():
        if key in IGNORED:
            continue
        flat |= flatten(value, f"{prefix}{key}.") if isinstance(value, dict) else {prefix + key: value}
    return flat


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("before", type=Path, help="a checkout of the repository")
    parser.add_argument("after", type=Path, help="another one")
    parser.add_argument("--only", default="", metavar="WORD", help="commands that contain this word")
    args = parser.parse_args()
    differences = 0
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for arguments in list_commands(folder):
            if args.only not in arguments:
                continue
            before, after = (train(path.resolve(), arguments, folder) for path in (args.before, args.after))
            names = {name for name in before | after if before.get(name) != after.get(name)}
            only = {name for name in names if (name in before) != (name in after) and not name.startswith(TENSORS)}
            differences += any(name.partition(".")[0] not in ADVICE for name in names - only)
            print(f"{', '.join(sorted(names - only)) or 'equal'}: {arguments}", flush=True)
            if only:
                print(f"    only one version writes {', '.join(sorted(only))}", flush=True)
    print(f"{differences} commands with a difference")
    return 1 if differences else 0


if __name__ == "__main__":
    sys.exit(main())
