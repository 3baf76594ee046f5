"""Kill a training run again and again, resume it each time, and compare the result with an undisturbed run.

    python tests/kill_and_resume.py --kills 30

Weights, history, metrics and predictions must be the same to the bit; only the seconds may differ.
"""

import argparse
import csv
import json
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import torch  # noqa: E402

import checkpoint  # noqa: E402

RUN = "--ratio 0.05 --batch-size 250 --save-every 0 --tensorboard"


def start(*words):
    return subprocess.Popen(
        [sys.executable, ROOT / "train.py", *words], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )


def finish(process):
    _, errors = process.communicate()
    if process.returncode != 0:
        raise SystemExit(f"train.py failed with {process.returncode}:\n{errors}")


def only_run(output):
    runs = [path for path in output.iterdir() if (path / "checkpoints" / "last.pt").exists()] if output.exists() else []
    return runs[0] if runs else None


def outcome(folder):
    """Everything of a run that must not depend on interruptions, for comparison."""
    last = checkpoint.load(folder / "checkpoints" / "last.pt")
    with open(folder / "metrics.csv", newline="") as file:
        rows = [{key: value for key, value in row.items() if key != "seconds"} for row in csv.DictReader(file)]
    results = json.loads((folder / "results.json").read_text())
    best = checkpoint.load(folder / "checkpoints" / "best.pt")
    return {
        "last weights": last["state"],
        "best weights": best["state"],
        "metrics.csv": rows,
        "history": [{**row, "seconds": 0} for row in last["progress"]["history"]],
        "test": results["test"],
        "validation": results["validation"],
        "predictions": (folder / "predictions.csv").read_text(),
    }


def same(a, b):
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[key], b[key]) for key in a)
    return torch.equal(a, b) if isinstance(a, torch.Tensor) else a == b


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=30)
    parser.add_argument("--model", default="mozafari2018")
    parser.add_argument("--epochs", nargs="+", default=["1", "1", "3"])
    parser.add_argument("--seed", type=int, default=0, help="of the moments of the kills")
    args = parser.parse_args()
    rng = random.Random(args.seed)
    with tempfile.TemporaryDirectory() as folder:
        words = ["--model", args.model, "--epochs", *args.epochs, *RUN.split()]
        quiet, disturbed = Path(folder) / "quiet", Path(folder) / "disturbed"
        began = time.monotonic()
        finish(start(*words, "--output", str(quiet)))
        length = time.monotonic() - began
        print(f"undisturbed run: {length:.1f} s", flush=True)

        kills, places, leftovers = 0, Counter(), 0
        rounds = 0
        while kills < args.kills:
            rounds += 1
            output = disturbed / str(rounds)
            while True:
                run = only_run(output)
                process = start("--resume", str(run)) if run else start(*words, "--output", str(output))
                over = run and checkpoint.load(run / "checkpoints" / "last.pt")["progress"]["phase"] >= len(args.epochs)
                if kills == args.kills or over:  # another kill would only meet the figures again
                    finish(process)
                    break
                # Start-up is the same every time; the moments should fall where the work is.
                try:
                    process.wait(timeout=rng.uniform(0.15, 0.5) * length)
                except subprocess.TimeoutExpired:
                    process.send_signal(signal.SIGKILL)
                    process.wait()
                    process.stderr.close()
                    kills += 1
                    run = only_run(output)
                    if run:
                        progress = checkpoint.load(run / "checkpoints" / "last.pt")["progress"]
                        places[progress["phase"]] += 1
                        leftovers += len(list(run.glob("**/.[0-9]*.*")))
                    continue
                finish(process)
                break
            for what, value in outcome(only_run(quiet)).items():
                if not same(value, outcome(only_run(output))[what]):
                    raise SystemExit(f"{what} differ after {kills} kills")
    where = ", ".join(f"{count} in phase {phase + 1}" for phase, count in sorted(places.items()))
    print(
        f"{kills} kills over {rounds} runs ({where}; {leftovers} while a file was being written): all runs ended equal"
    )


if __name__ == "__main__":
    main()
