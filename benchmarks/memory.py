"""What a run holds in memory: ``python -m benchmarks.memory``.

Of each network, on MNIST, and of ``mozafari2018`` on 240,000 images (MNIST four times, the copies shifted by two pixels
each way): the most memory of its own that the process held (anonymous; the system cannot drop it), the most that was
resident, with the pages of files, and the time. One epoch of each phase, with all figures.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

import datasets
from models import MODELS, network_names
from utils import ROOT, find_processor

SHIFTS = (0, 0), (2, 0), (0, 2), (-2, -2)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", metavar="NAME", help="(default: all)")
    args = parser.parse_args()
    print(f"{find_processor()}, {os.cpu_count()} cores\n")
    print("| network | training images | anonymous, MB | resident, MB | s |\n|---|---|---|---|---|")
    mnist = datasets.load("mnist")
    for name in args.models or network_names():
        tell(name, len(mnist.train_labels), ["--dataset", "mnist"])
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "mnist-times-4.npz"
        images = np.concatenate([np.roll(mnist.train_images, shift, (1, 2)) for shift in SHIFTS])
        labels = np.tile(mnist.train_labels, len(SHIFTS))
        np.savez(path, x_train=images, y_train=labels, x_test=mnist.test_images, y_test=mnist.test_labels)
        del images, labels
        tell("mozafari2018", 4 * len(mnist.train_labels), ["--dataset", str(path)])


def tell(name, images, data):
    """Train the network, and print its line of the table."""
    with tempfile.TemporaryDirectory() as output:
        epochs = ["1"] * len(MODELS[name].epochs)
        words = ["train.py", "--model", name, "--epochs", *epochs, "--augment", "none", *data, "--output", output]
        start = time.perf_counter()
        process = subprocess.Popen([sys.executable, *words], cwd=ROOT, stdout=subprocess.DEVNULL)
        anonymous = resident = 0
        while process.poll() is None:
            held = memory_of(process.pid)
            anonymous = max(anonymous, held.get("RssAnon", 0))
            resident = max(resident, held.get("VmHWM", 0))
            time.sleep(0.02)
        if process.returncode:
            sys.exit(f"{' '.join(words)} ended with {process.returncode}")
        seconds = time.perf_counter() - start
        print(f"| {name} | {images:,} | {anonymous / 1024:,.0f} | {resident / 1024:,.0f} | {seconds:.0f} |", flush=True)


def memory_of(process):
    """{field of /proc/…/status: kB}; empty once the process has ended."""
    try:
        lines = Path(f"/proc/{process}/status").read_text().splitlines()
    except OSError:
        return {}
    return {name: int(value.split()[0]) for name, _, value in (line.partition(":") for line in lines) if " kB" in value}


if __name__ == "__main__":
    main()
