"""Kill a training run again and again, resume it each time, and compare the result with an undisturbed run.

    python tests/manual/kill_and_resume.py --kills 30

Every round is a separate run. Its processes are killed by SIGKILL at random moments, half of them as soon as a file is
being written. The number of threads changes from process to process. Weights, history, scores, predictions, activation
maps and TensorBoard's curves must be the same to the bit; only the seconds may differ.
"""

import argparse
import itertools
import os
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from support.run_folders import only_run, outcome, same  # noqa: E402

from utils import find_temporaries  # noqa: E402

RUN = "--ratio 0.2 --batch-size 250 --save-every 0 --tensorboard --map-index 0 --map-every 1"
THREADS = itertools.cycle([*range(1, (os.cpu_count() or 1) + 1), 0])  # of each process another number; 0: auto


def start(output, words):
    """Start or resume the run in a folder."""
    run = only_run(output)
    words = ["--resume", str(run)] if run else [*words, "--output", str(output)]
    command = [sys.executable, ROOT / "train.py", *words, "--threads", str(next(THREADS))]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)


def finish(process):
    _, errors = process.communicate()
    if process.returncode != 0:
        raise SystemExit(f"train.py failed with {process.returncode}:\n{errors}")


def kill(process, output, seconds, while_writing):
    """Kill a process after some seconds or, from then on, while it writes. Returns whether it was still running."""
    time.sleep(seconds)
    until = time.monotonic() + 5
    while while_writing and process.poll() is None and time.monotonic() < until:
        run = only_run(output)
        if run and any(find_temporaries(run)):
            break
    if process.poll() is not None:
        finish(process)
        return False
    process.kill()
    process.communicate()
    return True


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=30)
    parser.add_argument("--model", default="mozafari2018")
    parser.add_argument("--epochs", nargs="+", default=["1", "1", "2"])
    parser.add_argument("--seed", type=int, default=0, help="of the moments of the kills")
    args = parser.parse_args()
    rng, kills = random.Random(args.seed), 0
    words = ["--model", args.model, "--epochs", *args.epochs, *RUN.split()]
    with tempfile.TemporaryDirectory() as folder:
        began = time.monotonic()
        finish(start(Path(folder) / "undisturbed", words))
        length = time.monotonic() - began
        expected = outcome(only_run(Path(folder) / "undisturbed"))
        for number in itertools.count():
            output = Path(folder) / str(number)
            for while_writing in itertools.cycle((False, True)):
                if kills == args.kills or not kill(start(output, words), output, rng.uniform(0, length), while_writing):
                    break
                kills += 1
            finish(start(output, words))
            found = outcome(only_run(output))
            differing = [what for what in expected if not same(expected[what], found[what])]
            if differing:
                raise SystemExit(f"run {number}: {', '.join(differing)} differ")
            print(f"run {number}: equal after {kills} kills in all", flush=True)
            if kills == args.kills:
                break


if __name__ == "__main__":
    main()
