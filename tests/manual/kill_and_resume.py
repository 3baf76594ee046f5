"""Kill a training run again and again, resume it each time, and compare the result with an undisturbed run.

    python tests/manual/kill_and_resume.py --kills 30

Every round is a separate run, killed by SIGKILL once or more in each place: while the program starts, in each phase,
and while it tests and draws; half of the kills at a random moment, half as soon as a file is being written. The number
of threads changes from process to process. Weights, history, scores, predictions, activation maps and TensorBoard's
curves must be the same to the bit; only the seconds may differ.
"""

import argparse
import itertools
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from support.run_folders import only_run, outcome, same  # noqa: E402

from training.checkpoint import load_checkpoint  # noqa: E402
from utils import find_temporaries  # noqa: E402

RUN = "--ratio 0.2 --batch-size 250 --save-every 0 --tensorboard --map-index 0 --map-every 1"
THREADS = itertools.cycle([*range(1, (os.cpu_count() or 1) + 1), 0])  # of each process another number; 0: auto
START = -1  # the place before the first batch of a process; the phases are 0, 1, …, and then comes the end of the run


class Training:
    """A process of train.py, and what its run folder shows of it."""

    def __init__(self, output, words):
        self.output, self.run = output, only_run(output)
        self.began = time.monotonic()
        self._before = self._saved()
        words = ["--resume", str(self.run)] if self.run else [*words, "--output", str(output)]
        words += ["--threads", str(next(THREADS))]
        self.process = subprocess.Popen(
            [sys.executable, ROOT / "train.py", *words], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
        )

    def _saved(self):
        return (self.run / "checkpoints" / "last.safetensors").stat().st_mtime_ns if self.run else None

    def place(self):
        """Where the process is, by the checkpoint that it wrote last."""
        self.run = self.run or only_run(self.output)
        return START if self._saved() == self._before else phase_of(self.run)

    def reach(self, place):
        """Wait until the process is there, or has ended."""
        while self.running() and self.place() < place:
            time.sleep(0.005)

    def wait_for_a_write(self, seconds):
        until = time.monotonic() + seconds
        while self.running() and time.monotonic() < until:
            if self.run and any(find_temporaries(self.run)):
                return

    def running(self):
        return self.process.poll() is None

    def kill(self):
        """Whether there was something to kill."""
        self.process.send_signal(signal.SIGKILL)
        _, errors = self.process.communicate()
        if self.process.returncode not in (0, -signal.SIGKILL):
            raise SystemExit(f"train.py failed with {self.process.returncode}:\n{errors}")
        self.run = only_run(self.output)
        return self.process.returncode != 0

    def finish(self):
        _, errors = self.process.communicate()
        if self.process.returncode != 0:
            raise SystemExit(f"train.py failed with {self.process.returncode}:\n{errors}")


def phase_of(run):
    return load_checkpoint(run / "checkpoints" / "last.safetensors").progress.phase


def undisturbed(output, words):
    """Run to the end; returns the seconds spent in each place, {place: seconds}."""
    training, entered = Training(output, words), {}
    while training.running():
        entered.setdefault(training.place(), time.monotonic())
        time.sleep(0.005)
    training.finish()
    ends = [*list(entered.values())[1:], time.monotonic()]
    return {place: end - began for (place, began), end in zip(entered.items(), ends, strict=True)}


def disturbed(output, words, lengths, kinds, kills, rng):
    """A run killed at most ``kills`` times; returns [(place, whether a file was being written)] of its kills."""
    met = []
    for place, kind in itertools.product(lengths, kinds):
        if len(met) == kills:
            break
        training = Training(output, words)
        if place != START:
            training.reach(place)
        # resumed runs have less of a phase before them
        time.sleep(rng.uniform(0, lengths[place] * (0.9 if place == START else 0.4)))
        if kind == "write":
            training.wait_for_a_write(seconds=lengths[place])
        if training.kill():
            met.append((training.place(), bool(training.run and any(find_temporaries(training.run)))))
    Training(output, words).finish()
    return met


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=30)
    parser.add_argument("--end", action="store_true", help="kill while it tests, draws and writes the page only")
    parser.add_argument("--model", default="mozafari2018")
    parser.add_argument("--epochs", nargs="+", default=["1", "1", "2"])
    parser.add_argument("--seed", type=int, default=0, help="of the moments of the kills")
    args = parser.parse_args()
    rng = random.Random(args.seed)
    words = ["--model", args.model, "--epochs", *args.epochs, *RUN.split()]
    kinds = ("any", "write") * (3 if args.end else 1)
    print(f"python train.py {' '.join(words)}", flush=True)

    def name(place):
        return "start" if place == START else f"phase {place + 1}" if place < len(args.epochs) else "tests and figures"

    with tempfile.TemporaryDirectory() as folder:
        lengths = undisturbed(Path(folder) / "undisturbed", words)
        expected = outcome(only_run(Path(folder) / "undisturbed"))
        lengths = {place: length for place, length in lengths.items() if not args.end or place == max(lengths)}
        seconds = ", ".join(f"{name(place)} {length:.1f} s" for place, length in lengths.items())
        print(f"undisturbed run: {seconds}", flush=True)
        places, rounds = [], 0
        while len(places) < args.kills:
            rounds += 1
            output = Path(folder) / str(rounds)
            met = disturbed(output, words, lengths, kinds, args.kills - len(places), rng)
            found = outcome(only_run(output))
            differing = [what for what in expected if not same(expected[what], found[what])]
            if differing:
                raise SystemExit(f"run {rounds}: {', '.join(differing)} differ after {len(met)} kills")
            print(f"run {rounds}: equal after {len(met)} kills", flush=True)
            places += met
    print(f"{len(places)} kills by SIGKILL in {rounds} runs; every run ended equal to the undisturbed one, to the bit")
    for place, count in sorted(Counter(where for where, _ in places).items()):
        writing = sum(writing for where, writing in places if where == place)
        print(f"    {name(place) + ':':<18} {count:>2} kills, {writing:>2} of them left a half-written file")


if __name__ == "__main__":
    main()
