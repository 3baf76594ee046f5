"""Run a sweep on a Ray cluster of two local workers, and compare its runs with those of train.py alone, to the bit.

    pip install ray
    python tests/manual/sweep_on_ray.py

Then the same sweep is interrupted by SIGTERM while two runs train, and the command that it prints continues it. The
exit code is 1 if a weight differs, or if the sweep does not end as it should.
"""

import shlex
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from support.command import FEW_DIGITS  # noqa: E402
from support.run_folders import outcome, same  # noqa: E402

NETWORKS = "mozafari2018", "mozafari2018_margin"
FLAGS = ["--dataset", str(FEW_DIGITS), "--batch-size", "50", "--epochs", "1", "1", "2", "--no-figures"]


def start(*words: str) -> subprocess.Popen:
    """Start a command in its own process; its output on stderr is kept."""
    command = [sys.executable, *words]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)


def sweep(output: Path) -> list[str]:
    """Return the words of the sweep."""
    return ["sweep.py", "--model", *NETWORKS, "--seeds", "1", "2", "--cluster", "ray", "--output", str(output), *FLAGS]


def compare(output: Path, alone: Path) -> list[str]:
    """Return the runs of a sweep that differ from those of train.py alone, or that are missing."""
    different = []
    for run in sorted(alone.iterdir()):
        found = output / run.name
        if not (found / "results.json").exists() or not same(outcome(found), outcome(run)):
            different.append(str(found))
    return different


def main() -> int:
    folder = Path(tempfile.mkdtemp(prefix="sweep-on-ray-"))
    wrong = []
    for network in NETWORKS:
        for seed in "12":
            name = f"{network}-{FEW_DIGITS.name}-seed{seed}"
            words = ["train.py", "--model", network, "--seed", seed, "--threads", "1", "--name", name, *FLAGS]
            start(*words, "--output", str(folder / "alone")).communicate()

    process = start(*sweep(folder / "whole"))
    _, errors = process.communicate()
    if process.returncode:
        wrong.append(f"the sweep ended with code {process.returncode}: {errors}")
    wrong += compare(folder / "whole", folder / "alone")

    process = start(*sweep(folder / "stopped"))
    while len(list((folder / "stopped").glob("*/log.txt"))) < 2 and process.poll() is None:
        time.sleep(0.05)
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate()
    command = shlex.split(errors.splitlines()[-1])
    if process.returncode != 130 or command[:2] != ["python", "sweep.py"]:
        wrong.append(f"the stopped sweep ended with code {process.returncode}: {errors}")
    finished = len(list((folder / "stopped").glob("*/results.json")))
    print(f"{finished} of 4 runs were finished when the sweep was stopped")
    process = start(*command[1:])
    _, errors = process.communicate()
    if process.returncode:
        wrong.append(f"the continued sweep ended with code {process.returncode}: {errors}")
    wrong += compare(folder / "stopped", folder / "alone")

    for line in wrong:
        print(f"differs: {line}")
    print(f"{len(wrong)} differences; see {folder}")
    return int(bool(wrong))


if __name__ == "__main__":
    sys.exit(main())
